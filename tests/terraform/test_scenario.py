"""The scenario from Terraform to the takeover: what the examples render, carried out in the fake cloud.

Names, tags, sizes, the grace period, the policy and the user data come from the plan of an example, and stand nowhere
else. The fake cloud gets what the plan would create, the real program runs on each instance as it boots, by the
options that the planned user data has written, and then a zone fails.
"""

import base64
import json
import os
import subprocess

import pytest
from conftest import ROOT, resources
from region import NAME, Region

# The user data is run for real, on an /etc of its own, with a systemctl that does nothing.
UNSHARE = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
ON_ANOTHER_ETC = 'mount --bind "$1" /etc; PATH="$2:$PATH" exec sh "$3"'

# What the plan cannot know: the account that it is for.
SUBNETS = {f"subnet-{letter}": f"{NAME}{letter}" for letter in "abc"}
ACCOUNT = {"region": NAME, "subnet_ids": list(SUBNETS), "image_id": "ami-0a", "security_group_ids": ["sg-0a"]}

# The options of an instance before its user data has run.
PACKAGED = ROOT / "systemd" / "eip-claim.env"


class Setup:
    """A plan, and the fake cloud in which it is carried out."""

    def __init__(self, region, planned, directory):
        self.region = region
        self.group = planned["aws_autoscaling_group.this"]
        self.template = planned["aws_launch_template.this"]
        self.config = self.configuration(directory)
        role = planned["aws_iam_role.this"]["name"]
        profile = planned["aws_iam_instance_profile.this"]
        assert profile["name"] == self.template["iam_instance_profile"][0]["name"]
        assert role == profile["role"] == planned["aws_iam_role_policy_attachment.this"]["role"]
        policy = planned["aws_iam_policy.this"]
        region.do("put_role_policy", role=role, name=policy["name"], policy=json.loads(policy["policy"]))
        self.launch = {
            "role": role,
            "tags_in_metadata": self.template["metadata_options"][0]["instance_metadata_tags"] == "enabled",
            "interface_tags": self.tags_of("network-interface"),
        }

    def tags_of(self, kind):
        return next((each["tags"] for each in self.template["tag_specifications"] if each["resource_type"] == kind), {})

    def configuration(self, directory):
        """The file of options that an instance has: that of the package, unless user data writes it."""
        if not self.template["user_data"]:
            return PACKAGED
        script, etc, stubs = directory / "user-data", directory / "etc", directory / "stubs"
        script.write_bytes(base64.b64decode(self.template["user_data"]))
        etc.mkdir()
        stubs.mkdir()
        (stubs / "systemctl").write_text("#!/bin/sh\n")
        (stubs / "systemctl").chmod(0o755)
        subprocess.run([*UNSHARE, "sh", "-euc", ON_ANOTHER_ETC, "sh", etc, stubs, script], check=True, timeout=60)
        return etc / "eip-claim.env"

    def create_group(self):
        """The group as planned, and its first instances."""
        group, hooks = self.group, self.group["initial_lifecycle_hook"] or []
        assert group["health_check_type"] == "EC2", "the fake cloud's group looks at nothing else"
        answer = self.region.do(
            "create_group",
            name=group["name"],
            min=group["min_size"],
            max=group["max_size"],
            size=group["desired_capacity"],
            grace_s=group["health_check_grace_period"],
            zones=[SUBNETS[subnet] for subnet in sorted(group["vpc_zone_identifier"])],
            tags={tag["key"]: tag["value"] for tag in group["tag"] if tag["propagate_at_launch"]},
            launch=self.launch,
            **({"hook": hooks[0]["name"]} if hooks else {}),
        )
        return answer["instances"]

    def instances(self):
        return self.region.do("group_instances", group=self.group["name"])["instances"]

    def claim(self, instance, config=None):
        return self.region.run(instance, EIP_CLAIM_CONFIG=str(config or self.config))

    def committed(self):
        return [each["action"] for each in self.region.do("log")["requests"] if each["committed"]]

    def sent(self, instance, service="EC2"):
        """The actions that an instance has asked for."""
        requests = self.region.do("log")["requests"]
        return [each["action"] for each in requests if each["instance"] == instance and each["service"] == service]


@pytest.fixture
def region(tmp_path):
    region = Region({}, tmp_path)
    yield region
    region.close()


def zone_of(region, instance):
    """The zone of an instance, as AWS tells an administrator."""
    described = region.client("ec2").describe_instances(InstanceIds=[instance])
    return described["Reservations"][0]["Instances"][0]["Placement"]["AvailabilityZone"]


@pytest.mark.parametrize("policy", ["original", "tightest"])
def test_the_replacement_in_another_zone_takes_the_address_over(terraform, region, tmp_path, policy):
    address = region.do("allocate")["address"]
    plan = terraform.plan(terraform.example("logic"), **ACCOUNT, allocation_ids=[address], policy=policy)
    planned = resources(plan)
    tag = planned["aws_ec2_tag.this[0]"]
    region.do("edit_address", address=tag["resource_id"], tags={tag["key"]: tag["value"]})
    setup = Setup(region, planned, tmp_path)

    (first,) = setup.create_group()
    # In the first boot the unit runs once before user data has written the options, and finds nothing to do.
    run = setup.claim(first, PACKAGED)
    assert run.exit in (77, 78) and not setup.committed(), run
    run = setup.claim(first)
    assert (run.exit, run.result["outcome"], region.holder(address)) == (0, "claimed", first), run

    # Whatever is said of its health, the instance is in its grace period.
    region.client("autoscaling").set_instance_health(InstanceId=first, HealthStatus="Unhealthy")
    assert setup.instances() == [first]

    region.do("fail_zone", zone=zone_of(region, first))
    (second,) = setup.instances()
    assert zone_of(region, second) != zone_of(region, first)
    assert region.holder(address) == first, "until the replacement claims, the address is where it was"
    run = setup.claim(second)
    assert (run.exit, run.result["outcome"], region.holder(address)) == (0, "claimed", second), run

    # The zone is back, and with it an instance that knows nothing of all this, and reboots.
    region.do("restore_zone", zone=zone_of(region, first))
    run = setup.claim(first)
    if policy == "tightest":
        assert (run.exit, run.result["outcome"], region.holder(address)) == (69, "yielded", second), run
    else:
        # The weakness of the original policy, which the example names: it cannot look, so it takes.
        assert (run.exit, run.result["outcome"], region.holder(address)) == (0, "claimed", first), run
        assert setup.sent(second)[0] == "AssociateAddress", "without a look before"


def test_a_pool_has_an_address_for_the_replacement_as_well(terraform, region, tmp_path):
    account = {**ACCOUNT, "vpc_id": "vpc-0a", "endpoint_security_group_ids": ["sg-0b"]}
    planned = resources(terraform.plan(terraform.example("pool"), **account))
    tags = [values["tags"] for name, values in planned.items() if name.startswith("aws_eip.this[")]
    addresses = [region.do("allocate", tags=each)["address"] for each in tags]
    setup = Setup(region, planned, tmp_path)

    instances = setup.create_group()
    assert len(addresses) == len(instances) + 1
    for instance in instances:
        run = setup.claim(instance)
        assert (run.exit, run.result["outcome"]) == (0, "claimed"), run
    assert {region.holder(address) for address in addresses} == {*instances, None}
    finished = region.committed("CompleteLifecycleAction")
    assert [each["instance"] for each in finished] == instances, "each has told the group that it may serve"

    lost = instances[0]
    region.do("fail_zone", zone=zone_of(region, lost))
    (replacement,) = set(setup.instances()) - set(instances)
    run = setup.claim(replacement)
    assert (run.exit, run.result["outcome"]) == (0, "claimed"), run
    holders = {region.holder(address) for address in addresses}
    assert {*instances[1:], replacement} <= holders, "the siblings have kept theirs"
    assert len(region.committed("CompleteLifecycleAction")) == len(addresses)
