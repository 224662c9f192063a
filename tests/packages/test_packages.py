"""The packages: what is in them, what they do to a system, and what others' tools say of them.

DEB and RPM name them, GENERATE_RPM the tool that made the latter for TARGET_TRIPLE (`make test-packages` sets all).
"""

import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEB, RPM = os.environ["DEB"], os.environ["RPM"]
UNITS = "/usr/lib/systemd/system/"
CONFIGURATION = "/etc/eip-claim.env"
# A line that an administrator has added.
OURS = "EIP_CLAIM_TAG=eip-claim=ours\n"
# Verbs of systemctl by which the claim would run.
STARTS = {"start", "restart", "try-restart", "reload-or-restart", "try-reload-or-restart", "isolate"}


def out(*command, **options):
    """What a command prints; it must succeed."""
    ended = subprocess.run(command, capture_output=True, **options)
    assert ended.returncode == 0, f"{command}: {ended.stdout.decode()}{ended.stderr.decode()}"
    return ended.stdout


def below(tree):
    """The files of a tree: their names, with owner, mode and content."""
    paths = [path for path in tree.rglob("*") if path.is_file() and ".rpmdb" not in path.parts]
    stats = {path: path.stat() for path in paths}
    return {
        f"/{path.relative_to(tree)}": (f"{stat.st_uid}:{stat.st_gid}", stat.st_mode & 0o7777, path.read_bytes())
        for path, stat in stats.items()
    }


@pytest.fixture(scope="session")
def deb(tmp_path_factory):
    tree = tmp_path_factory.mktemp("deb")
    out("dpkg-deb", "--extract", DEB, tree)
    return below(tree)


@pytest.fixture(scope="session")
def rpm(tmp_path_factory):
    tree = tmp_path_factory.mktemp("rpm")
    out("rpm", "--root", tree, "--install", "--nodeps", "--noscripts", RPM)
    return below(tree)


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """What `make install` puts below a folder, as the package of another distribution would have it."""
    tree = tmp_path_factory.mktemp("installed")
    out("make", "install", f"DESTDIR={tree}", "PREFIX=/usr", cwd=ROOT)
    return below(tree)


@pytest.fixture(params=["deb", "rpm", "installed"])
def package(request):
    return request.getfixturevalue(request.param)


def test_everybody_may_read_and_nobody_but_root_may_write(package):
    for name, (owner, mode, _) in package.items():
        assert (owner, mode) == ("0:0", 0o755 if name == "/usr/bin/eip-claim" else 0o644), name


def test_the_program_is_the_one_that_was_built(deb, rpm, installed):
    program = installed["/usr/bin/eip-claim"]
    assert deb["/usr/bin/eip-claim"] == program and rpm["/usr/bin/eip-claim"] == program


def test_whatever_is_made_for_systemd_is_where_systemd_looks_for_it(package):
    for source in (ROOT / "systemd").iterdir():
        if source.suffix in (".service", ".timer"):
            place = UNITS + source.name
        elif source.suffix == ".preset":
            place = f"/usr/lib/systemd/system-preset/{source.name}"
        elif source.suffix in (".sysusers", ".tmpfiles"):
            place = f"/usr/lib/{source.suffix[1:]}.d/{source.stem}.conf"
        elif source.suffix == ".env":
            place = CONFIGURATION
        else:
            continue
        assert package[place][2] == source.read_bytes(), source.name


def test_all_three_ways_to_install_have_the_same_files(deb, rpm, installed):
    def plain(files):
        """Without what each distribution wants in a way of its own: licences, and where zsh looks."""
        names = {name.replace("/zsh/vendor-completions/", "/zsh/site-functions/") for name in files}
        return {n for n in names if not re.search(r"LICENSE|licences|/copyright|changelog|/lintian/", n)}

    assert plain(deb) == plain(rpm) == plain(installed)


def test_make_install_puts_its_own_folder_into_the_units(tmp_path):
    out("make", "install", f"DESTDIR={tmp_path}", "PREFIX=/opt/x", cwd=ROOT)
    for unit in ["eip-claim.service", "eip-claim@.service", "eip-claim-again.service"]:
        lines = (tmp_path / "opt/x/lib/systemd/system" / unit).read_text().splitlines()
        assert [line.split()[0] for line in lines if line.startswith("ExecStart=")] == [
            "ExecStart=/opt/x/bin/eip-claim"
        ]
    assert (tmp_path / "opt/x/bin/eip-claim").exists()


def test_make_install_keeps_an_existing_configuration(tmp_path):
    configuration = tmp_path / CONFIGURATION[1:]
    configuration.parent.mkdir()
    configuration.write_text(OURS)
    out("make", "install", f"DESTDIR={tmp_path}", cwd=ROOT)
    assert configuration.read_text() == OURS


def test_the_licences_of_all_that_is_linked_are_there(deb, rpm, installed):
    texts = {files[name][2] for files in (deb, rpm, installed) for name in files if "third-party" in name}
    (text,) = map(gzip.decompress, texts)
    # Those of the program's largest parts, and the licence of each kind.
    for part in [b"aws-sdk-ec2 ", b"rustls ", b"ring ", b"tokio ", b"Apache License", b"Permission is hereby granted"]:
        assert part in text
    assert b"stateright" not in text, "that is only tested with"


# A life of the packages on a system.


@pytest.fixture(scope="session")
def newer_deb(tmp_path_factory):
    """The next release, in which the shipped configuration has changed."""
    place = tmp_path_factory.mktemp("newer-deb")
    tree = place / "tree"
    out("dpkg-deb", "--raw-extract", DEB, tree)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub("(?m)^Version: .*", "Version: 99-1", control.read_text()))
    with open(tree / CONFIGURATION[1:], "a") as file:
        file.write("# new\n")
    out("dpkg-deb", "-Znone", "--root-owner-group", "--build", tree, place / "newer.deb")
    return str(place / "newer.deb")


@pytest.fixture(scope="session")
def newer_rpm(tmp_path_factory):
    """The same as an .rpm, made from a copy of what this one was made from."""
    place = tmp_path_factory.mktemp("newer-rpm")
    tree = place / "tree"
    for part in ["packaging", "systemd", "src"]:
        shutil.copytree(ROOT / part, tree / part)
    for part in ["Cargo.toml", "README.md", "LICENSE-APACHE", "LICENSE-MIT"]:
        shutil.copy(ROOT / part, tree / part)
    with open(tree / "systemd/eip-claim.env", "a") as file:
        file.write("# new\n")
    out(
        os.environ["GENERATE_RPM"],
        "--target",
        os.environ["TARGET_TRIPLE"],
        "--set-metadata",
        'release = "99"',
        "--output",
        place / "newer.rpm",
        cwd=tree,
    )
    return str(place / "newer.rpm")


def dpkg(machine, *arguments):
    # A question ends it, as it would while an image is baked; what --force-confdef decides is what a person would.
    return machine.run("dpkg", "--force-confdef", "--force-depends", "--no-triggers", *arguments)


def rpm_of(machine, *arguments):
    # This system has no other .rpm that could satisfy anything; test_requirements has what is required.
    return machine.run("rpm", "--nodeps", *arguments)


def enabled(machine, unit):
    """What systemd says of a unit."""
    return machine.run("sh", "-c", 'systemctl is-enabled "$1" || true', "sh", unit).splitlines()[-1]


def edit(machine):
    machine.put(CONFIGURATION, machine.get(CONFIGURATION) + OURS)


def test_deb_enables_the_unit_at_the_first_installation_and_respects_who_disabled_it(machine, newer_deb):
    dpkg(machine, "--install", DEB)
    assert enabled(machine, "eip-claim.service") == "enabled"
    assert enabled(machine, "eip-claim.timer") == "disabled"
    machine.run("systemctl", "disable", "eip-claim.service")
    machine.run("systemctl", "enable", "eip-claim.timer")
    dpkg(machine, "--install", newer_deb)
    assert enabled(machine, "eip-claim.service") == "disabled"
    assert enabled(machine, "eip-claim.timer") == "enabled"


def test_deb_configuration_survives_upgrade_and_removal_and_goes_when_purged(machine, newer_deb):
    dpkg(machine, "--install", DEB)
    edit(machine)
    edited = machine.get(CONFIGURATION)
    dpkg(machine, "--install", newer_deb)
    assert machine.get(CONFIGURATION) == edited
    assert machine.get(f"{CONFIGURATION}.dpkg-dist").endswith("# new\n")
    dpkg(machine, "--remove", "eip-claim")
    assert machine.get(CONFIGURATION) == edited
    assert not machine.has("/usr/bin/eip-claim")
    dpkg(machine, "--install", newer_deb)
    assert machine.get(CONFIGURATION) == edited
    assert enabled(machine, "eip-claim.service") == "enabled"
    dpkg(machine, "--purge", "eip-claim")
    assert not machine.has(CONFIGURATION)
    assert machine.run("find", "/etc/systemd", "/var/lib/systemd", "-name", "*eip-claim*") == ""


def test_deb_configuration_that_nobody_touched_is_replaced(machine, newer_deb):
    dpkg(machine, "--install", DEB)
    dpkg(machine, "--install", newer_deb)
    assert machine.get(CONFIGURATION).endswith("# new\n")


def test_rpm_enables_the_unit_by_preset_and_respects_who_disabled_it(machine, newer_rpm):
    rpm_of(machine, "--install", RPM)
    assert enabled(machine, "eip-claim.service") == "enabled"
    assert enabled(machine, "eip-claim.timer") == "disabled"
    machine.run("systemctl", "disable", "eip-claim.service")
    machine.run("systemctl", "enable", "eip-claim.timer")
    rpm_of(machine, "--upgrade", newer_rpm)
    assert enabled(machine, "eip-claim.service") == "disabled"
    assert enabled(machine, "eip-claim.timer") == "enabled"
    rpm_of(machine, "--erase", "eip-claim")
    assert machine.run("find", "/etc/systemd", "-name", "*eip-claim*") == ""


def test_rpm_leaves_the_unit_off_where_the_presets_of_the_system_say_so(machine):
    machine.put("/etc/systemd/system-preset/00-site.preset", "disable eip-claim.service\n")
    rpm_of(machine, "--install", RPM)
    assert enabled(machine, "eip-claim.service") == "disabled"


def test_rpm_configuration_survives_upgrade_and_removal(machine, newer_rpm):
    rpm_of(machine, "--install", RPM)
    edit(machine)
    edited = machine.get(CONFIGURATION)
    rpm_of(machine, "--upgrade", newer_rpm)
    assert machine.get(CONFIGURATION) == edited
    assert machine.get(f"{CONFIGURATION}.rpmnew").endswith("# new\n")
    rpm_of(machine, "--erase", "eip-claim")
    assert machine.get(f"{CONFIGURATION}.rpmsave") == edited
    assert not machine.has("/usr/bin/eip-claim")


@pytest.mark.parametrize("kind", ["deb", "rpm"])
def test_nothing_is_started_by_installation_or_upgrade_and_all_is_stopped_by_removal(machine, kind, request):
    """A running systemd is what the recorder stands for: whoever bakes an image must not claim its address."""
    newer = request.getfixturevalue(f"newer_{kind}")
    machine.run("mkdir", "-p", "/run/systemd/system")
    machine.record("systemctl")
    # In a container of Debian's it forbids all that is to be found here.
    machine.run("rm", "-f", "/usr/sbin/policy-rc.d")
    steps = {
        "deb": [(dpkg, "--install", DEB), (dpkg, "--install", newer), (dpkg, "--remove", "eip-claim")],
        "rpm": [(rpm_of, "--install", RPM), (rpm_of, "--upgrade", newer), (rpm_of, "--erase", "eip-claim")],
    }
    verbs = []
    for act, *arguments in steps[kind]:
        act(machine, *arguments)
        verbs.append({word for call in machine.calls() for word in call.split()})
    install, upgrade, remove = verbs
    assert "daemon-reload" in install, "the recorder was called"
    assert not install & STARTS and not upgrade & (STARTS | {"stop"})
    assert {"stop", "eip-claim.timer", "eip-claim.service", "eip-claim@*.service"} <= remove


@pytest.mark.parametrize("kind", ["deb", "rpm"])
def test_the_user_of_the_units_exists_at_once(machine, kind):
    assert "eip-claim:" not in machine.get("/etc/passwd")
    dpkg(machine, "--install", DEB) if kind == "deb" else rpm_of(machine, "--install", RPM)
    assert "eip-claim:" in machine.get("/etc/passwd")


def test_requirements():
    deb = out("dpkg-deb", "--field", DEB, "Depends").decode().strip()
    assert deb == "ca-certificates, systemd | systemd-standalone-sysusers | systemd-sysusers"
    rpm = out("rpm", "--query", "--package", "--requires", RPM).decode().splitlines()
    assert {r.strip() for r in rpm if not re.match(r"(rpmlib|config)\(", r)} == {"/bin/sh", "ca-certificates"}


def test_versions_agree():
    version = re.search('(?m)^version = "(.*)"', (ROOT / "Cargo.toml").read_text())[1]
    assert out("dpkg-deb", "--field", DEB, "Version").decode().strip() == f"{version}-1"
    assert out("rpm", "--query", "--package", "--queryformat", "%{VERSION}", RPM).decode() == version
    changelog = out("dpkg-parsechangelog", "--file", ROOT / "packaging/debian/changelog", "--show-field", "Version")
    assert changelog.decode().strip() == f"{version}-1"


# What others' tools say.


def test_lintian_finds_no_error_and_no_warning():
    ended = subprocess.run(
        ["lintian", "--fail-on", "error,warning", "--tag-display-limit", "0", DEB], capture_output=True, text=True
    )
    assert ended.returncode == 0 and " is ignored" not in ended.stdout, ended.stdout + ended.stderr


def test_rpmlint_finds_no_error_and_no_warning():
    ended = subprocess.run(
        ["rpmlint", "--config", ROOT / "packaging/rpm/rpmlint.toml", RPM], capture_output=True, text=True
    )
    assert ended.returncode == 0 and "0 errors, 0 warnings" in ended.stdout, ended.stdout + ended.stderr


@pytest.fixture
def manual(deb, tmp_path):
    page = tmp_path / "eip-claim.1"
    page.write_bytes(gzip.decompress(deb["/usr/share/man/man1/eip-claim.1.gz"][2]))
    return page


def test_the_manual_renders_without_warnings_and_has_every_command_option_and_exit_code(manual):
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "500", "MANROFFOPT": "-c"}
    ended = subprocess.run(
        ["man", "--warnings", "--local-file", manual], capture_output=True, text=True, env=environment
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    text = re.sub(".\b", "", ended.stdout)
    sections = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "COMMANDS",
        "OPTIONS",
        "EXIT STATUS",
        "ENVIRONMENT",
        "FILES",
        "EXAMPLES",
        "SEE ALSO",
    ]
    assert [s for s in text.splitlines() if s in sections] == sections
    options = re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", out(os.environ["PROGRAM"], "--help").decode(), re.MULTILINE)
    assert len(options) > 10
    for option in options:
        assert re.search(rf"(?m)^ +(-\w, )?{option}\b", text), option
    for command in ["claim", "release", "check", "status"]:
        assert re.search(rf"(?m)^ +{command}\n? +[A-Z]", text), command
    # tests/exits.rs holds the README to the program.
    readme = re.findall(r"(?m)^\| (\d+) \| (success|[A-Z]+) \|", (ROOT / "README.md").read_text())
    assert re.findall(r"(?m)^ +(\d+) \((\w+)\)", text) == readme and len(readme) == 7


def test_the_manual_and_the_configuration_name_no_variable_that_is_no_option(manual):
    options = re.findall(r"--([a-z-]+)", out(os.environ["PROGRAM"], "--help").decode())
    known = {f"EIP_CLAIM_{option.replace('-', '_').upper()}" for option in options} | {"EIP_CLAIM_CONFIG"}
    for text in [manual.read_text(), (ROOT / "systemd/eip-claim.env").read_text()]:
        named = set(re.findall(r"EIP_CLAIM_[A-Z_]+", text))
        assert named and named <= known


def test_shellcheck_finds_nothing_in_what_runs_as_root():
    scripts = [ROOT / "packaging/debian" / name for name in ["postinst", "prerm", "postrm"]]
    out("shellcheck", "--shell", "sh", *scripts, *(ROOT / "packaging/rpm").glob("*.sh"))


@pytest.mark.parametrize(
    "shell, name",
    [
        ("bash", "bash-completion/completions/eip-claim"),
        ("zsh", "zsh/vendor-completions/_eip-claim"),
        ("fish", "fish/vendor_completions.d/eip-claim.fish"),
    ],
)
def test_completions_load_and_offer_the_options(deb, tmp_path, shell, name):
    file = tmp_path / Path(name).name
    file.write_bytes(deb[f"/usr/share/{name}"][2])
    out(shell, "-n", file)
    offer = {
        "bash": 'source "$1"; COMP_WORDS=(eip-claim --take) COMP_CWORD=1; [[ $(complete -p eip-claim) =~ -F\\ ([^ ]+) ]]; '
        '"${BASH_REMATCH[1]}" eip-claim --take eip-claim; echo "${COMPREPLY[@]}"',
        "fish": 'source $argv[1]; complete --do-complete "eip-claim --take"',
        # Whatever is asked for is in the specification that the function hands to _arguments.
        "zsh": 'fpath=("${1:h}" $fpath); autoload -Uz compinit; compinit -D -u; print $_comps[eip-claim]; '
        '_arguments() { print -l -- "$@" }; autoload +X _eip-claim; _eip-claim',
    }
    arguments = ["-f"] if shell == "zsh" else ["--no-config"] if shell == "fish" else ["--norc"]
    first = [] if shell == "fish" else [shell]
    offered = out(shell, *arguments, "-c", offer[shell], *first, file, cwd=tmp_path).decode()
    assert "--takeover" in offered
    assert shell != "zsh" or offered.startswith("_eip-claim\n")
