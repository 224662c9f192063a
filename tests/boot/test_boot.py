"""The claim of a boot: when it comes, what it waits for, and who waits for it."""

import time

from machine import until
from worlds import UNIT, needs_address, world


def test_the_first_boot_claims_and_the_next_one_finds_it_held_and_writes_nothing(start):
    cloud, machine = start(world())
    machine.boot()
    assert machine.wait_for(UNIT, "active", "failed") == "active"
    assert machine.show(UNIT, "SubState", "Result") == {"SubState": "exited", "Result": "success"}
    assert cloud.holder("web") == (cloud.me, "10.0.0.10")
    assert cloud.writes() == ["AssociateAddress"]
    (end,) = machine.results()
    assert (end["EIP_CLAIM_OUTCOME"], end["EIP_CLAIM_EXIT"], end["SYSLOG_IDENTIFIER"]) == ("claimed", "0", "eip-claim")
    assert machine.result()["outcome"] == "claimed"

    cloud.do("clear_log")
    machine.power_off()
    machine.boot()
    assert machine.wait_for(UNIT, "active", "failed") == "active"
    (end,) = machine.results()
    assert end["EIP_CLAIM_OUTCOME"] == "already_held"
    assert cloud.writes() == []
    assert len(cloud.calls("DescribeAddresses")) == 1


def test_a_claim_that_waits_for_the_metadata_holds_up_who_requires_it_and_nobody_else(start):
    cloud, machine = start(world())
    machine.write("/etc/systemd/system/mail.service", needs_address())
    machine.enable("mail.service")
    cloud.lose("169.254.169.254")
    machine.boot()
    machine.wait_for("multi-user.target", "active")
    time.sleep(20)
    assert machine.show(UNIT, "ActiveState") == "activating"
    assert machine.show("mail.service", "ActiveState") == "inactive"
    assert machine.show("mail.service", "Job"), "it is still to be started"
    assert machine.call("test", "-e", "/run/eip-claim/result.json").returncode == 1

    cloud.reach("169.254.169.254")
    assert machine.wait_for(UNIT, "active", "failed", timeout=30) == "active"
    machine.wait_for("mail.service", "active")
    assert cloud.holder("web") == (cloud.me, "10.0.0.10")
    assert machine.seconds(UNIT, "ActiveEnter") > 20 > machine.seconds("multi-user.target", "ActiveEnter")
    assert machine.seconds("mail.service", "ExecMainStart") >= machine.seconds(UNIT, "ActiveEnter")
    assert machine.show(UNIT, "NRestarts") == "0"
    codes = {entry.get("EIP_CLAIM_CODE") for entry in machine.entries(f"_SYSTEMD_UNIT={UNIT}", "PRIORITY=4")}
    assert codes == {"ImdsUnreachable"}


def test_a_role_that_comes_late_is_waited_for(start):
    cloud, machine = start(world(role=None))
    machine.boot()
    machine.wait_for("multi-user.target", "active")
    until(lambda: any(e.get("EIP_CLAIM_CODE") == "NoRole" for e in machine.entries(f"_SYSTEMD_UNIT={UNIT}")), "it is missed")
    time.sleep(10)
    assert machine.show(UNIT, "ActiveState") == "activating"
    cloud.do("set_role", instance="me", role="eip-claim")
    assert machine.wait_for(UNIT, "active", "failed", timeout=30) == "active"
    assert cloud.holder("web") == (cloud.me, "10.0.0.10")


def test_a_network_that_is_never_online_does_not_keep_the_address_away(start):
    cloud, machine = start(world())
    machine.write("/etc/systemd/system/waits.service", needs_address("network-online.target"))
    machine.enable("waits.service")
    # By itself it would give up after two minutes.
    wait = "[Service]\nExecStart=\nExecStart=/lib/systemd/systemd-networkd-wait-online --timeout=0\n"
    machine.drop_in("systemd-networkd-wait-online.service", wait)
    machine.boot(interfaces=2)
    assert machine.wait_for(UNIT, "active", "failed") == "active"
    assert cloud.holder("web") == (cloud.me, "10.0.0.10")
    time.sleep(5)
    assert machine.show("network-online.target", "ActiveState") == "inactive"
    assert machine.show("network-online.target", "Job"), "it is still waited for"


def test_an_outage_of_ec2_is_outlasted(start):
    cloud, machine = start(world())
    cloud.lose("192.0.2.2")
    machine.boot()
    machine.wait_for("multi-user.target", "active")
    time.sleep(40)
    assert machine.show(UNIT, "ActiveState", "NRestarts") == {"ActiveState": "activating", "NRestarts": "0"}
    cloud.reach("192.0.2.2")
    assert machine.wait_for(UNIT, "active", "failed", timeout=30) == "active"
    assert cloud.holder("web") == (cloud.me, "10.0.0.10")
    assert cloud.writes() == ["AssociateAddress"]


def test_a_claim_that_ran_out_of_time_is_made_again_however_often_and_upholds_who_failed_with_it(start):
    cloud, machine = start(world())
    for name in ("mail.service", "upheld.service"):
        machine.write(f"/etc/systemd/system/{name}", needs_address())
        machine.enable(name)
    machine.write("/etc/systemd/system/eip-claim.service.d/upholds.conf", "[Unit]\nUpholds=upheld.service\n")
    machine.write("/etc/eip-claim.env", "EIP_CLAIM_TIMEOUT=300ms\n")
    # So soon that systemd's own limit of five starts in ten seconds would end it.
    machine.drop_in(UNIT, "[Service]\nRestartSec=200ms\n")
    cloud.do("outage", service="EC2", on=True)
    machine.boot()
    until(lambda: int(machine.show(UNIT, "NRestarts")) >= 8, "it is started again and again")
    assert set(machine.exits(UNIT)) == {"75"}
    assert machine.show(UNIT, "Result") != "start-limit-hit"
    cloud.do("outage", service="EC2", on=False)
    assert machine.wait_for(UNIT, "active") == "active"
    assert cloud.holder("web") == (cloud.me, "10.0.0.10")
    machine.wait_for("upheld.service", "active")
    # systemd does not start it a second time by itself.
    assert machine.show("mail.service", "ActiveState") == "inactive"


def test_the_address_moves_when_the_service_that_it_is_for_is_ready(start):
    cloud, machine = start(world())
    example = (machine.root / "usr/share/doc/eip-claim/examples/ready.conf").read_text()
    machine.write("/etc/systemd/system/eip-claim.service.d/ready.conf", example)
    slow = "[Service]\nType=notify\nNotifyAccess=all\nExecStart=sh -c 'sleep 6; systemd-notify --ready; exec sleep 1000'\n"
    machine.write("/etc/systemd/system/my.service", slow)
    machine.boot()
    machine.wait_for("my.service", "activating")
    time.sleep(3)
    assert machine.show(UNIT, "ActiveState") == "inactive"
    assert cloud.do("log")["requests"] == []
    assert machine.wait_for(UNIT, "active", "failed") == "active"
    assert machine.seconds(UNIT, "ExecMainStart") >= machine.seconds("my.service", "ActiveEnter") > 6


def test_with_the_drop_in_the_address_is_given_back_when_the_unit_stops_and_when_the_machine_goes_down(start):
    cloud, machine = start(world())
    example = (machine.root / "usr/share/doc/eip-claim/examples/release-on-stop.conf").read_text()
    machine.write("/etc/systemd/system/eip-claim.service.d/release-on-stop.conf", example)
    machine.boot()
    assert machine.wait_for(UNIT, "active", "failed") == "active"
    assert cloud.writes() == ["AssociateAddress"], "to have claimed is not to have stopped"
    machine.run("systemctl", "stop", UNIT)
    assert cloud.holder("web") is None
    assert machine.show(UNIT, "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    assert machine.result()["outcome"] == "released"
    machine.run("systemctl", "start", UNIT)
    assert cloud.holder("web") == (cloud.me, "10.0.0.10")
    machine.power_off()
    assert cloud.holder("web") is None
    assert cloud.writes() == ["AssociateAddress", "DisassociateAddress"] * 2
