"""Several addresses on one instance, by instances of the template."""

import json

from worlds import UNIT, world


def configure(machine, name, private_ip):
    machine.write(f"/etc/eip-claim.d/{name}.env", f"EIP_CLAIM_TAG=eip-claim={name}\nEIP_CLAIM_PRIVATE_IP={private_ip}\n")
    machine.enable(f"eip-claim@{name}.service")


def test_each_address_has_its_claim_and_two_for_one_private_address_displace_nothing(start):
    here = world(interfaces=[["10.0.0.10", "10.0.0.11"]])
    here["addresses"] += [{"name": name, "tags": {"eip-claim": name}} for name in ("mail", "third")]
    cloud, machine = start(here)
    machine.disable(UNIT)
    configure(machine, "web", "10.0.0.10")
    configure(machine, "mail", "10.0.0.11")
    machine.boot()
    for name, ip in (("web", "10.0.0.10"), ("mail", "10.0.0.11")):
        assert machine.wait_for(f"eip-claim@{name}.service", "active", "failed") == "active"
        assert cloud.holder(name) == (cloud.me, ip)
        assert machine.result(f"/run/eip-claim/{name}")["private_ip"] == ip
    assert machine.show(UNIT, "ActiveState") == "inactive"
    machine.power_off()

    # The third wants what the first has, and boots beside it.
    configure(machine, "third", "10.0.0.10")
    cloud.do("clear_log")
    machine.boot()
    for name, state in (("web", "active"), ("mail", "active"), ("third", "failed")):
        assert machine.wait_for(f"eip-claim@{name}.service", "active", "failed") == state
    assert cloud.holder("web") == (cloud.me, "10.0.0.10")
    assert cloud.holder("third") is None
    assert cloud.writes() == []
    unit = "eip-claim@third.service"
    assert machine.exits(unit) == ["78"]
    assert machine.show(unit, "NRestarts") == "0"
    web = machine.result("/run/eip-claim/web")
    result = machine.result("/run/eip-claim/third")
    assert "10.0.0.10" in result["error"]["message"] and web["public_ip"] in result["error"]["message"], result
    (end,) = machine.results(unit)
    assert end["EIP_CLAIM_CODE"] == result["error"]["code"]


def test_of_two_that_race_for_one_private_address_one_wins_and_stays(start):
    here = world(interfaces=[["10.0.0.10", "10.0.0.11"]])
    here["addresses"].append({"name": "mail", "tags": {"eip-claim": "mail"}})
    cloud, machine = start(here)
    machine.disable(UNIT)
    configure(machine, "web", "10.0.0.10")
    configure(machine, "mail", "10.0.0.10")
    machine.boot()
    states = {name: machine.wait_for(f"eip-claim@{name}.service", "active", "failed") for name in ("web", "mail")}
    assert sorted(states.values()) == ["active", "failed"], states
    winner, loser = sorted(states, key=states.get)
    assert machine.exits(f"eip-claim@{loser}.service") == ["78"]
    assert cloud.holder(winner) == (cloud.me, "10.0.0.10")
    assert cloud.holder(loser) is None
    assert cloud.writes() == ["AssociateAddress"]
    assert machine.result(f"/run/eip-claim/{winner}")["public_ip"] in json.dumps(machine.result(f"/run/eip-claim/{loser}"))

    machine.call("systemctl", "restart", f"eip-claim@{loser}.service")
    assert machine.show(f"eip-claim@{loser}.service", "ActiveState") == "failed"
    assert cloud.holder(winner) == (cloud.me, "10.0.0.10")


def test_an_instance_of_the_template_without_its_file_claims_nothing(start):
    cloud, machine = start(world())
    machine.disable(UNIT)
    machine.enable("eip-claim@nothing.service")
    machine.boot()
    assert machine.wait_for("eip-claim@nothing.service", "active", "failed") == "failed"
    assert machine.exits("eip-claim@nothing.service") == ["64"]
    assert cloud.do("log")["requests"] == []
