"""The claim of a boot."""

WORLD = {
    "addresses": [{"name": "web", "tags": {"eip-claim": "web"}}],
    "instances": [{"name": "me", "launched_ago_s": 3600, "tags": {"eip-claim": "web"}, "interfaces": [["10.0.0.10"]]}],
}
UNIT = "eip-claim.service"


def test_the_first_boot_claims_and_the_next_one_finds_it_held_and_writes_nothing(start):
    cloud, machine = start(WORLD)
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
