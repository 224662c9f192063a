"""A release: the same from any folder, of the commit that it names, and with a true list of what is inside.

CLONES names the folder to make the releases in, TOOLS where the packagers are (`make test-dist` sets both).
"""

import json
import os
import re
import subprocess
import tarfile
from hashlib import sha256

from conftest import CLONES, TOOLS, clone, native, out
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.spdx import is_expression
from cyclonedx.validation.json import JsonStrictValidator
from difference import differences
from packageurl import PackageURL


def test_two_clones_make_the_same_bytes(releases):
    one, other = releases
    # What is in the archive first, since that says more.
    assert differences(one.unpacked, other.unpacked) == []
    assert differences(one.folder, other.folder) == []


def test_a_difference_is_found_and_has_a_place(releases, tmp_path):
    program = releases[0].program
    sections = out("readelf", "--section-headers", "--wide", program)
    at = int(re.search(r"\.rodata +PROGBITS +[0-9a-f]+ ([0-9a-f]+)", sections)[1], 16) + 5
    content = bytearray(program.read_bytes())
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "program").write_bytes(content)
        content[at] ^= 1
    (tmp_path / "one/more").write_text("")
    (tmp_path / "other/program").chmod(0o600)
    size = len(content)
    assert differences(tmp_path / "one", tmp_path / "other") == [
        f"more: only in {tmp_path / 'one'}",
        "program: the modes are 100644 and 100600",
        f"program: differ from byte {at} on, in .rodata; {size} and {size} bytes long",
    ]


def test_the_checksums_are_those_of_all_other_files(releases):
    for release in releases:
        checked = out("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=release.folder)
        names = {line.removesuffix(": OK") for line in checked.splitlines()}
        assert names | {"SHA256SUMS"} == {path.name for path in release.folder.iterdir()}


def test_a_release_has_what_is_needed_to_install_it_and_to_pass_it_on(releases):
    release = releases[0]
    version = release.name.removeprefix("eip-claim-").removesuffix(f"-{native()}")
    deb, rpm = {"x86_64": ("amd64", "x86_64"), "aarch64": ("arm64", "aarch64")}[native().split("-")[0]]
    own = [f"{release.name}{end}" for end in (".tar.gz", ".cdx.json", ".third-party-licences.txt.gz")]
    packages = [f"eip-claim_{version}-1_{deb}.deb", f"eip-claim-{version}-1.{rpm}.rpm"]
    common = ["LICENSE-APACHE", "LICENSE-MIT", "SHA256SUMS"]
    assert {*own, *packages, *common} <= {path.name for path in release.folder.iterdir()}


def test_the_archive_is_what_make_install_installs(releases):
    release = releases[0]
    (top,) = release.unpacked.iterdir()
    assert top.name == release.name
    # The list of the package, whose differences tests/packages knows; and the same program in it.
    tree = release.unpacked.parent / "deb"
    (deb,) = release.folder.glob("*.deb")
    out("dpkg-deb", "--extract", deb, tree)
    debians = re.compile("/(copyright$|lintian/|changelog)")
    names = [str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()]
    for name in (name for name in names if not debians.search(name)):
        ours = top / name.replace("/zsh/vendor-completions/", "/zsh/site-functions/")
        assert ours.read_bytes() == (tree / name).read_bytes(), name


def test_the_files_of_the_archive_are_nobodys_and_of_the_time_of_the_commit(releases):
    release = releases[0]
    committed = int(out("git", "log", "-1", "--format=%ct", cwd=release.source))
    with tarfile.open(release.folder / f"{release.name}.tar.gz") as archive:
        entries = archive.getmembers()
    assert entries
    for entry in entries:
        assert (entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime) == (0, 0, "", "", committed), entry.name
        is_open = entry.isdir() or entry.name.endswith("/bin/eip-claim")
        assert entry.mode == (0o755 if is_open else 0o644), entry.name


def test_the_program_names_the_commit_and_the_target(releases):
    for release in releases:
        commit = out("git", "rev-parse", "--short=12", "HEAD", cwd=release.source).strip()
        assert f"({commit}, {native()})" in out(release.program, "--version")


def test_the_executable_needs_no_loader_and_no_library(releases):
    headers = out("readelf", "--program-headers", "--dynamic", "--wide", releases[0].program)
    assert "LOAD" in headers
    assert "INTERP" not in headers and "NEEDED" not in headers


def test_no_path_of_the_machine_that_built_it_is_in_the_executable(releases):
    for release in releases:
        content = release.program.read_bytes()
        assert b"/crates/tokio-" in content, "panics name their source file"
        for path in release.build_paths:
            assert f"{path}/".encode() not in content, path


def test_what_is_left_out_is_said_with_the_reason(releases):
    said = releases[0].said
    for target in [f"{arch}-unknown-linux-{libc}" for arch in ("x86_64", "aarch64") for libc in ("gnu", "musl")]:
        reason = re.search(f"^left out: {target}, which lacks here: (.+)$", said, re.MULTILINE)
        made = (releases[0].folder / f"{releases[0].name.replace(native(), target)}.tar.gz").exists()
        assert made != bool(reason), target
    assert f"left out: {native()}" not in said


# The list of what is inside.


def inventory(release):
    return (release.folder / f"{release.name}.cdx.json").read_text()


def read(release):
    """The list as others' code understands it, and the crates in it."""
    bom = Bom.from_json(json.loads(inventory(release)))
    return bom, [part for part in bom.components if part.purl]


def test_the_list_of_what_is_inside_is_one_of_cyclonedx(releases):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(inventory(releases[0])) is None


def test_the_list_names_exactly_the_crates_that_are_linked(releases):
    release = releases[0]
    bom, parts = read(release)
    listed = {(part.name, part.version, *[licence.value for licence in part.licenses]) for part in parts}
    tree = ["cargo", "tree", "--locked", "--prefix=none", "--edges=normal,no-proc-macro", "--format={p}\t{l}"]
    linked = set()
    for line in out(*tree, "--target", native(), cwd=release.source).splitlines():
        package, licence = line.removesuffix(" (*)").split("\t")
        name, version = package.split(" ")[:2]
        linked.add((name, version.removeprefix("v"), licence.replace("/", " OR ")))
    program = {entry for entry in linked if entry[0] == "eip-claim"}
    assert len(program) == 1 and listed == linked - program
    assert all(is_expression(licence) for _, _, licence in listed)
    assert {part.purl for part in parts} == {PackageURL("cargo", None, name, version) for name, version, _ in listed}
    # And who needs whom is said of the program and of each of them.
    needed = {str(need.ref) for entry in bom.dependencies for need in entry.dependencies}
    assert needed == {str(part.purl) for part in parts}
    assert {str(entry.ref) for entry in bom.dependencies} == needed | {str(bom.metadata.component.purl)}


def test_every_crate_that_the_executable_itself_names_is_in_the_list(releases):
    release = releases[0]
    listed = {f"{part.name}-{part.version}" for part in read(release)[1]}
    named = {name.decode() for name in re.findall(rb"/crates/([\w.+-]+)/", release.program.read_bytes())}
    assert len(named) > 20 and named <= listed


def test_the_sources_of_a_crate_have_the_checksum_that_the_list_has(releases):
    for part in read(releases[0])[1]:
        (archive,) = (CLONES / "crates/registry/cache").glob(f"*/{part.name}-{part.version}.crate")
        assert [hashed.content for hashed in part.hashes] == [sha256(archive.read_bytes()).hexdigest()]


def test_the_list_says_by_what_the_executable_was_compiled(releases):
    bom, _ = read(releases[0])
    said = {fact.name: fact.value for fact in bom.metadata.properties}
    assert said["eip-claim:rustc"] == out("rustc", "--version").strip()
    assert said["eip-claim:c-compiler"] == out("cc", "--version").splitlines()[0]
    versions = {part.name: part.version for part in bom.components if not part.purl}
    assert f"rustc {versions['rust-std']} " in said["eip-claim:rustc"]
    if native().endswith("-gnu"):
        assert versions["glibc"] == os.confstr("CS_GNU_LIBC_VERSION").removeprefix("glibc ")


# What is no commit.


def test_changes_that_are_in_no_commit_are_refused(tmp_path):
    folder = clone(tmp_path / "changed")
    make = ["make", "dist", f"TARGET_DIR={tmp_path / 'target'}", f"TOOLS={TOOLS}"]
    for name in ("src/main.rs", "src/new.rs"):
        with open(folder / name, "a") as file:
            file.write("// changed\n")
        ended = subprocess.run(make, cwd=folder, capture_output=True, text=True)
        assert ended.returncode != 0
        assert "a release is made of a commit, and these files are not as HEAD has them:\n" in ended.stderr
        assert re.search(rf"^(\?\?| M) {name}$", ended.stderr, re.MULTILINE), ended.stderr
        assert not (tmp_path / "target").exists(), "nothing was made"
        out("git", "checkout", "--quiet", ".", cwd=folder)
