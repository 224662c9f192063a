"""Who is measured: what is run, what for, and what has to be on disk for it."""

import dataclasses
import importlib.metadata
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from packaging.requirements import Requirement

HERE = Path(__file__).parent
# What takes milliseconds is measured more often than what takes a second.
OFTEN = 5
# Parts of Python's standard library that no program of this kind needs.
SPARED = {"__pycache__", "site-packages", "dist-packages", "ensurepip", "idlelib", "test", "tests", "tkinter", "turtledemo"}
# What takes milliseconds is measured more often than what takes a second.
OFTEN = 5
# Parts of Python's standard library that no program of this kind needs.
SPARED = {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip"}


@dataclasses.dataclass
class Contender:
    name: str
    command: list
    # What it finds: an address that nobody has, or one that is its own already.
    held: bool = False
    # How often it runs in a round.
    runs: int = 1
    # Bytes on disk of all that it needs, without the trust store and the kernel; nothing, for another run of the same.
    disk: int | None = None


def contenders(program, floor, cloud):
    """Everybody, in the order of the tables. `cloud` is where and what to claim."""
    python = Path(sys.executable)
    script, boto3 = HERE / "contenders/script.sh", HERE / "contenders/with_boto3.py"
    tool = python.parent / "aws-ec2-assign-elastic-ip"
    ends = [cloud.bundle, "127.0.0.1:443"]
    always = ["--takeover=always", f"--allocation-id={cloud.address}"]
    with_aws = executables("bash", "curl") + installed("awscli")
    return [
        Contender("floor", [floor, "claim", *ends], runs=OFTEN, disk=floor.stat().st_size),
        Contender("eip-claim", [program], runs=OFTEN, disk=program.stat().st_size),
        Contender("boto3 script", [python, boto3], disk=installed("boto3") + boto3.stat().st_size),
        Contender("aws-ec2-assign-elastic-ip", [tool], disk=installed("aws-ec2-assign-elastic-ip")),
        Contender("shell script, AWS CLI", [script], disk=with_aws + script.stat().st_size),
        Contender("floor, already held", [floor, "held", *ends], held=True, runs=OFTEN),
        Contender("eip-claim, already held", [program], held=True, runs=OFTEN),
        Contender("floor, given the address", [floor, "given", *ends, cloud.address], runs=OFTEN),
        Contender("eip-claim, explicit `always`", [program, *always], runs=OFTEN),
    ]


def installed(name):
    """Bytes of a distribution from PyPI, of everything that it requires, and of Python itself."""
    names, more = set(), [name]
    while more:
        distribution = importlib.metadata.distribution(more.pop())
        if (found := distribution.metadata["Name"].lower()) in names:
            continue
        names.add(found)
        requirements = map(Requirement, distribution.requires or [])
        more += [r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    files = {
        Path(file.locate()).resolve()
        for name in names
        for file in importlib.metadata.distribution(name).files
        if "__pycache__" not in file.parts
    }
    return sum(file.stat().st_size for file in files) + interpreter()


def interpreter():
    """Bytes of Python: the executable, the libraries it is linked to, and the standard library."""
    library = Path(sysconfig.get_path("stdlib")).resolve()
    unused = re.compile(r"config-.*")
    files = [
        file
        for file in library.rglob("*")
        if file.is_file()
        and not any(part in SPARED or unused.fullmatch(part) for part in file.relative_to(library).parts[:-1])
    ]
    return sum(file.stat().st_size for file in files) + executables(Path(sys.executable).resolve())


def executables(*programs):
    """Bytes of these programs and of the libraries that they are linked to."""
    paths = set()
    for program in programs:
        path = shutil.which(program)
        linked = subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout
        paths |= {Path(file).resolve() for file in [path, *re.findall(r"(/\S+) \(0x", linked)]}
    return sum(path.stat().st_size for path in paths)
