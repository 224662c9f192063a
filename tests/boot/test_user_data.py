"""User data as it is in userdata/, run by cloud-init in a boot."""

import hashlib
import re
from pathlib import Path

import pytest

from cloud import DIRECTORY, give
from machine import until
from worlds import UNIT, give_user_data, world

USER_DATA = Path(__file__).parents[2] / "userdata"
PACKAGE = DIRECTORY / "package.deb"
URL = "https://packages.ap-northeast-2.amazonaws.com/eip-claim_1_amd64.deb"
# cloud-init takes its time, and more on a busy machine.
PATIENCE = 120


def fill_in(name, sha256):
    """User data with its two values that say where the package is."""
    text = (USER_DATA / name).read_text()
    for variable, value in (("URL", URL), ("SHA256", sha256)):
        text, count = re.subn(rf"^(\s*){variable}=.*$", rf"\g<1>{variable}={value}", text, flags=re.MULTILINE)
        assert count == 1, f"{name} has one {variable}="
    return text


def done(machine):
    """Waits until user data has run."""
    machine.wait_for("cloud-final.service", "active", "failed", timeout=PATIENCE)


@pytest.mark.parametrize("name", ["ami-with-package.cloud-config.yaml", "ami-with-package.sh"])
def test_user_data_runs_while_a_claim_is_still_trying_and_its_options_hold_from_then_on(start, name):
    # Without the tag of its own: only the options of the user data say which address.
    cloud, machine = start(world(tags={}))
    give_user_data(machine, (USER_DATA / name).read_text())
    cloud.lose("169.254.169.254")
    machine.boot()
    done(machine)
    assert machine.show("cloud-final.service", "Result") == "success"
    until(lambda: machine.show(UNIT, "ActiveState") == "activating", "the claim is still trying")
    assert "EIP_CLAIM_TAG=eip-claim=web" in machine.run("cat", "/etc/eip-claim.env")
    cloud.reach("169.254.169.254")
    assert machine.wait_for(UNIT, "active", "failed") == "active"
    assert cloud.holder("web") == (cloud.me, "10.0.0.10")
    assert machine.result()["outcome"] == "claimed"


def test_after_cloud_init_the_options_of_user_data_hold_from_the_first_claim_on(start):
    # By its own tag it would take the other address.
    here = world(tags={"eip-claim": "other"})
    here["addresses"].append({"name": "other", "tags": {"eip-claim": "other"}})
    cloud, machine = start(here)
    machine.drop_in(UNIT, "[Unit]\nAfter=cloud-init.service\n")
    give_user_data(machine, (USER_DATA / "ami-with-package.cloud-config.yaml").read_text())
    machine.boot()
    done(machine)
    assert machine.wait_for(UNIT, "active", "failed") == "active"
    assert cloud.holder("web") == (cloud.me, "10.0.0.10")
    assert [event["address"] for event in cloud.do("history")["history"]] == [cloud.hello["names"]["web"]]


@pytest.mark.parametrize("name", ["ami-without-package.cloud-config.yaml", "ami-without-package.sh"])
def test_user_data_fetches_the_package_installs_it_and_claims_and_the_next_boot_does_so_early(start, name):
    cloud, machine = start(world(tags={}), layers=("bare", "base"))
    cloud.names["packages"] = give(PACKAGE)
    give_user_data(machine, fill_in(name, hashlib.sha256(PACKAGE.read_bytes()).hexdigest()))
    machine.boot()
    done(machine)
    assert machine.wait_for(UNIT, "active", "failed") == "active"
    assert cloud.holder("web") == (cloud.me, "10.0.0.10")
    cloud.do("clear_log")
    machine.power_off()
    machine.boot()
    assert machine.wait_for(UNIT, "active", "failed") == "active"
    assert machine.result()["outcome"] == "already_held"
    assert cloud.writes() == []


def test_a_package_with_another_checksum_is_not_installed(start):
    cloud, machine = start(world(tags={}), layers=("bare", "base"))
    cloud.names["packages"] = give(PACKAGE)
    give_user_data(machine, fill_in("ami-without-package.sh", "0" * 64))
    machine.boot()
    done(machine)
    assert machine.show("cloud-final.service", "Result") == "exit-code"
    assert machine.show(UNIT, "LoadState") == "not-found"
    assert cloud.do("log")["requests"] == []
