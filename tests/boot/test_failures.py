"""A claim that fails: with which code, who says why, and what comes of it."""

import time

from machine import until
from worlds import UNIT, needs_address, world


def failed(machine, code):
    """The one result in the journal of a unit that failed with this code, and was not started again."""
    assert machine.wait_for(UNIT, "active", "failed") == "failed"
    shown = machine.show(UNIT, "Result", "ExecMainStatus", "NRestarts")
    assert shown == {"Result": "exit-code", "ExecMainStatus": str(code), "NRestarts": "0"}
    assert machine.exits(UNIT) == [str(code)]
    (end,) = machine.results()
    assert (end["EIP_CLAIM_EXIT"], end["PRIORITY"]) == (str(code), "3")
    return end


def test_a_denied_permission_fails_the_unit_says_what_is_missing_and_once_granted_the_next_claim_mends_it(start):
    denied = {"denials": [{"instance": "me", "action": "ec2:AssociateAddress"}]}
    cloud, machine = start({**world(), **denied})
    machine.write("/etc/systemd/system/mail.service", needs_address())
    machine.enable("mail.service")
    machine.boot()
    end = failed(machine, 77)
    assert end["EIP_CLAIM_CODE"] == "UnauthorizedOperation"
    errors = [entry["MESSAGE"] for entry in machine.entries(f"_SYSTEMD_UNIT={UNIT}", "PRIORITY=3")]
    (why,) = [text.removeprefix("because: ") for text in errors if text.startswith("because: ")]
    assert "may not do ec2:AssociateAddress on" in why and "no statement allows it" in why
    assert cloud.holder("web") is None
    # The same by the file, which a run that failed leaves, and which anyone may read.
    result = machine.result()
    assert (result["outcome"], result["error"]["decoded"]) == ("failed", why)
    # It has failed along with it, and is not waited for.
    assert machine.show("mail.service", "ActiveState", "Job") == {"ActiveState": "inactive", "Job": ""}
    assert machine.show("multi-user.target", "ActiveState") == "active"

    cloud.do("allow", instance="me", action="ec2:AssociateAddress")
    machine.run("systemctl", "start", "eip-claim-again.service")
    assert cloud.holder("web") == (cloud.me, "10.0.0.10")
    assert machine.wait_for(UNIT, "active", "failed") == "active"
    assert [end["EIP_CLAIM_OUTCOME"] for end in machine.results()] == ["failed", "already_held"]


def test_a_stale_instance_leaves_the_address_with_the_newer_one(start):
    here = world()
    here["instances"].append({"name": "new", "launched_ago_s": 60, "tags": {"eip-claim": "web"}, "holds": "web"})
    cloud, machine = start(here)
    machine.boot()
    end = failed(machine, 69)
    assert end["EIP_CLAIM_OUTCOME"] == "yielded"
    assert cloud.holder("web")[0] == cloud.hello["names"]["new"]
    assert cloud.writes() == []
    assert machine.result()["previous_holder"]["instance_id"] == cloud.hello["names"]["new"]


def test_an_option_that_does_not_exist_is_not_tried_again_and_nothing_is_called(start):
    cloud, machine = start(world())
    machine.write("/etc/eip-claim.env", "EIP_CLAIM_TAKEOVR=never\n")
    machine.boot()
    assert machine.wait_for(UNIT, "active", "failed") == "failed"
    assert machine.exits(UNIT) == ["64"]
    assert machine.show(UNIT, "NRestarts") == "0"
    assert cloud.do("log")["requests"] == []


def test_a_claim_runs_in_its_sandbox_and_a_request_to_stop_ends_it_though_it_is_still_trying(start):
    cloud, machine = start(world())
    cloud.lose("192.0.2.2")
    machine.boot()
    until(lambda: machine.entries(f"_SYSTEMD_UNIT={UNIT}", "PRIORITY=4"), "it has tried once, and tries again")
    process = f"/proc/{machine.show(UNIT, 'MainPID')}"
    status = dict(line.split(":\t", 1) for line in machine.run("cat", f"{process}/status").splitlines())
    for name, value in {"NoNewPrivs": "1", "Seccomp": "2", "CapEff": "0" * 16, "CapBnd": "0" * 16}.items():
        assert status[name] == value, name
    assert status["Uid"].split()[0] == machine.run("id", "--user", "eip-claim").strip() != "0"
    # Nothing on a disk is writable but its own directory.
    mounts = [line.split() for line in machine.run("cat", f"{process}/mountinfo").splitlines()]
    assert [options.split(",")[0] for _, _, _, _, where, options, *_ in mounts if where == "/"] == ["ro"]
    writable = [where for _, _, _, _, where, options, *_ in mounts if options.split(",")[0] == "rw"]
    assert "/run/eip-claim" in writable and not {"/etc", "/usr", "/var", "/home", "/root"} & set(writable)

    machine.run("systemctl", "stop", UNIT)
    assert machine.exits(UNIT) == ["75"]
    assert machine.show(UNIT, "NRestarts") == "0"
    assert machine.result()["error"]["code"] == "Interrupted"


def test_a_claim_that_is_still_trying_does_not_hold_up_the_end_of_the_boot(start):
    cloud, machine = start(world())
    cloud.lose("192.0.2.2")
    machine.boot()
    until(lambda: machine.entries(f"_SYSTEMD_UNIT={UNIT}", "PRIORITY=4"), "it has tried once, and tries again")
    began = time.monotonic()
    machine.power_off()
    assert time.monotonic() - began < 15
