"""The timer: off unless turned on, and then it claims where nothing else would."""

from machine import until
from worlds import UNIT, needs_address, world

# An empty value takes all the times away, not that one alone.
OFTEN = "[Timer]\nOnActiveSec=\nOnActiveSec=4s\nOnUnitInactiveSec=2s\nRandomizedDelaySec=0\nAccuracySec=100ms\n"


def test_the_timer_claims_when_the_instance_leaves_standby_and_when_the_address_was_taken_off(start):
    cloud, machine = start(world(lifecycle="Standby"))
    machine.write("/etc/systemd/system/mail.service", needs_address())
    machine.enable("mail.service", "eip-claim.timer")
    machine.drop_in("eip-claim.timer", OFTEN)
    machine.boot()
    assert machine.wait_for(UNIT, "active", "failed") == "active"
    assert machine.result()["outcome"] == "skipped"
    machine.wait_for("mail.service", "active")
    before = [machine.show(unit, "ExecMainStartTimestampMonotonic") for unit in (UNIT, "mail.service")]
    assert cloud.holder("web") is None

    cloud.do("set_lifecycle", instance="me", lifecycle="InService")
    until(lambda: cloud.holder("web") == (cloud.me, "10.0.0.10"), "the timer has claimed")
    outcomes = lambda: [end["EIP_CLAIM_OUTCOME"] for end in machine.results("eip-claim-again.service")]
    until(lambda: "already_held" in outcomes(), "it goes on")
    assert cloud.writes() == ["AssociateAddress"]
    cloud.do("disassociate", address="web")
    until(lambda: cloud.holder("web") == (cloud.me, "10.0.0.10"), "the timer has claimed again")
    # Neither the unit of the boot nor who requires it was started again by all that.
    assert [machine.show(unit, "ExecMainStartTimestampMonotonic") for unit in (UNIT, "mail.service")] == before


def test_the_timer_is_off_by_default_and_the_unit_is_on(start):
    _, machine = start(world())
    machine.boot()
    machine.wait_for("multi-user.target", "active")
    assert machine.show("eip-claim.timer", "ActiveState", "UnitFileState", "UnitFilePreset") == {
        "ActiveState": "inactive",
        "UnitFileState": "disabled",
        "UnitFilePreset": "disabled",
    }
    assert machine.show(UNIT, "UnitFileState", "UnitFilePreset") == {"UnitFileState": "enabled", "UnitFilePreset": "enabled"}
