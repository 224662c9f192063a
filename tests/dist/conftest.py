"""Two releases of the same commit: made in clones of other names and depths, with other folders for everything
that a path could leak from, by people with other habits.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLONES, TOOLS = Path(os.environ["CLONES"]), os.environ["TOOLS"]


def out(*command, **options):
    """What a command prints; it must succeed."""
    ended = subprocess.run(command, capture_output=True, text=True, **options)
    assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
    return ended.stdout


def clone(folder):
    out("git", "clone", "--quiet", ROOT, folder)
    # The clone of a working copy has its HEAD, whatever branch that is on.
    assert out("git", "rev-parse", "HEAD", cwd=folder) == out("git", "rev-parse", "HEAD", cwd=ROOT)
    return folder


class Release:
    """What `make dist` left in a folder, and what it printed."""

    def __init__(self, source, target_directory, cargo_home, umask, **environment):
        self.source = source
        self.build_paths = [source, target_directory, cargo_home, Path.home()]
        self.environment = {**os.environ, "CARGO_HOME": str(cargo_home), **environment}
        make = ["make", "dist", f"TARGET_DIR={target_directory}", f"TOOLS={TOOLS}"]
        self.said = out(*make, cwd=source, env=self.environment, umask=umask)
        (self.folder,) = [path for path in (target_directory / "dist").iterdir() if path.name != "build"]
        shutil.rmtree(target_directory / "dist/build")
        self.unpacked = target_directory / "unpacked"
        self.unpacked.mkdir()
        (archive,) = self.folder.glob(f"*-{native()}.tar.gz")
        out("tar", "--extract", "--file", archive, "--directory", self.unpacked)
        self.name = archive.name.removesuffix(".tar.gz")
        self.program = self.unpacked / self.name / "usr/bin/eip-claim"


def native():
    (host,) = [line for line in out("rustc", "-vV").splitlines() if line.startswith("host: ")]
    return host.removeprefix("host: ")


def other_cargo_home(folder):
    """A CARGO_HOME whose crates are unpacked elsewhere; what was downloaded is not downloaded again."""
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    (folder / "registry").mkdir(parents=True)
    for path in [*home.glob("config*"), *home.glob("registry/cache"), *home.glob("registry/index")]:
        (folder / path.relative_to(home)).symlink_to(path)
    return folder


@pytest.fixture(scope="session")
def releases():
    shutil.rmtree(CLONES, ignore_errors=True)
    CLONES.mkdir(parents=True)
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    source, other_source = clone(CLONES / "one"), clone(CLONES / "far/below/it/the-other")
    for path in other_source.rglob("*"):
        os.utime(path, (10**9, 10**9))  # a tree that was there before the commit was made
    one = Release(source, CLONES / "one/target", home, 0o022)
    other = Release(
        other_source, CLONES / "elsewhere", other_cargo_home(CLONES / "crates"), 0o077,
        TZ="Asia/Seoul", LC_ALL="C.UTF-8", CARGO_PROFILE_RELEASE_OPT_LEVEL="1", RUSTFLAGS="-C target-cpu=native",
        SOURCE_COMMIT="made-up", SOURCE_DATE_EPOCH="1",
    )  # fmt: skip
    return one, other
