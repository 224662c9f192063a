"""`make test-startup`: the instructions that the program takes, by callgrind, and its size, against startup.json.

`startup.py check|update PROGRAM FAKECLOUD`. A figure that grows by more than a tenth fails the check; who means it
runs `make startup-update`, and commits the file.

Counted are a run that looks at nothing (`--version`), one that finds its address held already, and a claim; the last
two speak TLS with the fake cloud, since a good part of what they do is TLS. They vary by half a percent, by what is
answered first and so how many connections are opened, and by some percent on a machine that is very busy: the least of
three runs counts. Valgrind shows every program the same processor, but for AVX2, which ring uses where it is there.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import world

KEPT = Path(__file__).parent / "startup.json"
MAY_GROW = 1.10
RUNS = 3


def instructions(cloud, program, arguments, held):
    def count():
        cloud.begin(held)
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, *arguments],
            env={"PATH": "/usr/bin:/bin", "SSL_CERT_FILE": str(cloud.bundle)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done
        assert arguments or cloud.holder() == cloud.me, done
        return int(re.search(r"Collected : (\d+)", done.stderr).group(1))

    return min(count() for _ in range(RUNS))


def measure(program, fakecloud):
    with tempfile.TemporaryDirectory() as directory:
        cloud = world.Cloud(fakecloud, Path(directory))
        figures = {
            "executable, bytes": program.stat().st_size,
            "--version, instructions": instructions(cloud, program, ["--version"], held=False),
            "already held, instructions": instructions(cloud, program, [], held=True),
            "claim, instructions": instructions(cloud, program, [], held=False),
        }
        cloud.close()
    return figures


def check(figures):
    """Whether nothing has grown too much; says of everything how it stands."""
    kept = json.loads(KEPT.read_text())
    assert kept.keys() == figures.keys(), f"{KEPT.name} has other figures: run `make startup-update`"
    grown = []
    for name, now in figures.items():
        ratio = now / kept[name]
        print(f"{name}: {now:,}, which is {ratio:.3f} of the {kept[name]:,} that are kept")
        if ratio > MAY_GROW:
            grown.append(name)
    for name in grown:
        print(f"{name} has grown by more than a tenth: find out why, or run `make startup-update` and commit {KEPT.name}")
    return not grown


def main():
    what, program, fakecloud = sys.argv[1], *(Path(argument).resolve() for argument in sys.argv[2:])
    world.enter()
    figures = measure(program, fakecloud)
    if what == "update":
        KEPT.write_text(json.dumps(figures, indent=1) + "\n")
        print(KEPT.read_text(), end="")
        return 0
    return 0 if check(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
