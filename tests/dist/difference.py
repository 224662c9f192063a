"""Says how two folders differ: in which files, from which byte on, and in which sections of an executable."""

import re
import subprocess


def files(folder):
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def differences(one, other):
    """A line for each file that is not in both folders, with the same mode and the same bytes."""
    ones, others = files(one), files(other)
    lines = [f"{name}: only in {one if name in ones else other}" for name in sorted(ones.keys() ^ others.keys())]
    for name in sorted(ones.keys() & others.keys()):
        pair = ones[name], others[name]
        modes = [f"{path.stat().st_mode:o}" for path in pair]
        if modes[0] != modes[1]:
            lines.append(f"{name}: the modes are {modes[0]} and {modes[1]}")
        contents = [path.read_bytes() for path in pair]
        if contents[0] != contents[1]:
            at = first_difference(*contents)
            sizes = " and ".join(str(len(content)) for content in contents)
            lines.append(f"{name}: differ from byte {at} on{sections(ones[name], *contents)}; {sizes} bytes long")
    return lines


def first_difference(one, other):
    equal = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(equal) if a != b), min(len(one), len(other)))


def sections(path, one, other):
    """The sections of an executable whose bytes differ: the first is always the one with a checksum of the others."""
    listed = subprocess.run(["readelf", "--section-headers", "--wide", path], capture_output=True, text=True).stdout
    # "  [ 1] .text  PROGBITS  address  offset  size …", the numbers in hexadecimal.
    found = re.findall(r"\] (\S+) +(?!NOBITS)[A-Z]\S* +[0-9a-f]+ ([0-9a-f]+) ([0-9a-f]+) ", listed)
    ranges = {name: slice(int(offset, 16), int(offset, 16) + int(size, 16)) for name, offset, size in found}
    names = [name for name, place in ranges.items() if one[place] != other[place]]
    return f", in {', '.join(names)}" if names else ""
