"""The units as files: nothing misspelt, nothing open that need not be, and three that do not drift apart."""

import re
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
SERVICES = ["eip-claim.service", "eip-claim@.service", "eip-claim-again.service"]
# What `systemd-analyze security` may say of each, in tenths.
EXPOSURE = 12


def sections(name):
    """The settings of a unit: of each section, the lines in order."""
    found, section = {}, None
    for line in (UNITS / name).read_text().splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            section.append(line)
    return found


@pytest.mark.parametrize("name", ["eip-claim.service", "eip-claim@x.service", "eip-claim-again.service", "eip-claim.timer"])
def test_systemd_has_nothing_to_say_of_the_installed_unit(start, name):
    _, machine = start({"instances": [{"name": "me"}]})
    command = ["chroot", machine.root, "systemd-analyze", "verify", "--man=no", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", SERVICES)
def test_the_sandbox_is_closed(name):
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", UNITS / name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_three_units_differ_only_where_they_have_to():
    one, template, again = map(sections, SERVICES)
    for name, unit, differs in (
        ("template", template, {"Description", "RuntimeDirectory", "Environment"}),
        ("again", again, {"Description", "After", "OnSuccess", "RemainAfterExit", "Restart", "RestartSec", "RestartPreventExitStatus", "Install"}),
    ):
        for section in one:
            kept = [[line for line in lines if line.split("=")[0] not in differs] for lines in (one[section], unit.get(section, []))]
            assert section in differs or kept[0] == kept[1], f"{name}: {section}"
    assert template["Install"] == one["Install"]
    after = {line for line in one["Unit"] if line.startswith("After=")}
    assert {f"{line} eip-claim.service" for line in after} == {line for line in again["Unit"] if line.startswith("After=")}


def test_what_is_not_tried_again_is_what_the_program_says_that_time_does_not_mend():
    source = (UNITS.parent / "src/error.rs").read_text()
    codes = {name: int(code) for name, code in re.findall(r"^    (\w+) = (\d+),$", source, re.MULTILINE)}
    (line,) = [line for line in sections("eip-claim.service")["Service"] if line.startswith("RestartPreventExitStatus=")]
    never = {codes[name] for name in ("Usage", "Unavailable", "NoPerm", "Config")}
    assert {int(code) for code in line.split("=")[1].split()} == never
    assert set(codes.values()) - never == {codes[name] for name in ("Success", "Software", "TempFail")}


def test_the_unit_waits_longer_than_the_program():
    source = (UNITS.parent / "src/cli.rs").read_text()
    assert re.search(r'default_value = "5min", value_parser = parse_timeout', source), "the deadline is 5 min"
    assert "TimeoutStartSec=6min" in sections("eip-claim.service")["Service"]


def test_every_line_of_the_example_is_a_comment_and_every_option_has_one():
    lines = [line for line in (UNITS / "eip-claim.env").read_text().splitlines() if line]
    assert all(line.startswith("#") for line in lines)
    example = {line.split("=")[0] for line in lines if line.startswith("#EIP_CLAIM_")}
    source = (UNITS.parent / "src/cli.rs").read_text()
    options = source[source.index("pub struct Options {") :].split("\n}\n")[0]
    fields = set(re.findall(r"^    pub (\w+):", options, re.MULTILINE)) - {"command"}
    assert example == {f"#EIP_CLAIM_{name.upper()}" for name in fields}
