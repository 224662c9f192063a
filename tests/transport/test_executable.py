"""The executable is static: it runs on any Linux of its architecture, with no library and no loader."""

import os
import struct

PROGRAM = os.environ["PROGRAM"]
# The types of program headers that name a loader and the libraries to load (elf(5)).
PT_DYNAMIC, PT_INTERP = 2, 3
DT_NULL, DT_NEEDED = 0, 1


def test_the_executable_names_no_loader_and_no_library():
    with open(PROGRAM, "rb") as file:
        elf = file.read()
    assert elf[:5] == b"\x7fELF\x02", "a 64-bit ELF file"
    offset, size, count = struct.unpack("<Q", elf[32:40]) + struct.unpack("<HH", elf[54:58])
    headers = [struct.unpack("<IIQQQQ", elf[at : at + 40]) for at in range(offset, offset + size * count, size)]
    assert headers
    assert PT_INTERP not in [kind for kind, *_ in headers]
    for kind, _, start, _, _, length in headers:
        if kind == PT_DYNAMIC:
            entries = [struct.unpack("<QQ", elf[at : at + 16]) for at in range(start, start + length, 16)]
            assert DT_NEEDED not in [tag for tag, _ in entries]
