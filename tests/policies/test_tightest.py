"""What the tightest policy leaves to whoever has the credentials of an instance, and that a claim needs no more."""

import documents
import pytest
from region import ACCOUNT, NAME, ROLE, Run, refusal

EC2 = f"arn:aws:ec2:{NAME}:{ACCOUNT}"
TAGS = {"eip-claim": "web"}
WORLD = {
    "addresses": [
        {"name": "web", "tags": TAGS},
        {"name": "mail", "tags": {"eip-claim": "mail"}},
        {"name": "untagged"},
    ],
    "instances": [
        {"name": "other", "launched_ago_s": 9000, "holds": "untagged"},
        {"name": "old", "launched_ago_s": 7200, "tags": TAGS, "interface_tags": TAGS},
        {"name": "me", "launched_ago_s": 3600, "tags": TAGS, "interface_tags": TAGS},
    ],
}


@pytest.fixture
def begin(start):
    """Starts the region with these policies for every instance."""

    def beginner(*names, **options):
        policies = [{"role": ROLE, "name": name, "policy": documents.policy(name)} for name in names]
        region = start({**WORLD, "policies": policies, "options": options})
        region.ec2 = region.client("ec2", "me")
        administrator = region.client("ec2")
        instances = [r["Instances"][0] for r in administrator.describe_instances()["Reservations"]]
        region.cards = {i["InstanceId"]: i["NetworkInterfaces"][0]["NetworkInterfaceId"] for i in instances}
        return region

    return beginner


def assert_refused_for(resource, call, **parameters):
    code, message = refusal(call, **parameters)
    assert code == "UnauthorizedOperation"
    assert f" on resource: {EC2}:{resource} because no identity-based policy allows" in message


def test_no_address_without_the_tag_can_be_taken_or_let_go(begin):
    region = begin("tightest")
    for name in ("untagged", "mail"):
        onto_me = {"AllocationId": region[name], "InstanceId": region["me"]}
        for allow in (True, False):
            assert_refused_for(
                f"elastic-ip/{region[name]}", region.ec2.associate_address, **onto_me, AllowReassociation=allow
            )
    association = region.do("holder", address="untagged")["holder"]["association"]
    assert_refused_for(
        f"elastic-ip/{region['untagged']}", region.ec2.disassociate_address, AssociationId=association
    )
    assert (region.holder("untagged"), region.holder("mail")) == (region["other"], None)
    for arguments in (["--tag=eip-claim=mail"], ["--takeover=always", f"--allocation-id={region['untagged']}"]):
        run = region.run("me", *arguments)
        assert run.exit == 77 and ":elastic-ip/" in run.result["error"]["decoded"], run
    assert [event["by"] for event in region.do("history")["history"]] == [None], "only the world itself was made"


def test_the_address_cannot_be_put_on_anything_but_the_calling_instance(begin):
    region = begin("tightest")
    web = {"AllocationId": region["web"], "AllowReassociation": True}
    for name in ("other", "old"):
        assert_refused_for(f"instance/{region[name]}", region.ec2.associate_address, **web, InstanceId=region[name])
    for card in region.cards.values():
        assert_refused_for(f"network-interface/{card}", region.ec2.associate_address, **web, NetworkInterfaceId=card)
    assert region.holder("web") is None
    region.ec2.associate_address(**web, InstanceId=region["me"])
    assert region.holder("web") == region["me"]


def test_with_the_policy_for_interfaces_it_goes_onto_those_with_the_tag_whoever_has_them(begin):
    region = begin("tightest", "interface-mode")
    web = {"AllocationId": region["web"], "AllowReassociation": True}
    untagged = region.cards[region["other"]]
    assert_refused_for(f"network-interface/{untagged}", region.ec2.associate_address, **web, NetworkInterfaceId=untagged)
    for name in ("old", "me"):
        region.ec2.associate_address(**web, NetworkInterfaceId=region.cards[region[name]])
        assert region.holder("web") == region[name]


def test_no_other_call_is_allowed(begin):
    region = begin("tightest")
    scaling = region.client("autoscaling", "me")
    calls = [
        (region.ec2.describe_network_interfaces, {}),
        (scaling.describe_auto_scaling_groups, {}),
        (scaling.describe_auto_scaling_instances, {}),
        (scaling.set_instance_health, {"InstanceId": region["me"], "HealthStatus": "Unhealthy"}),
        (
            scaling.complete_lifecycle_action,
            {"AutoScalingGroupName": "asg", "LifecycleHookName": "claim", "LifecycleActionResult": "CONTINUE"},
        ),
    ]
    for call, parameters in calls:
        assert refusal(call, **parameters)[0] in ("UnauthorizedOperation", "AccessDenied")


def test_the_whole_story_of_an_address_can_be_told(begin):
    region = begin("tightest")
    claimed = region.run("old")
    assert (claimed.exit, claimed.result["outcome"], region.holder("web")) == (0, "claimed", region["old"]), claimed
    again = region.run("old")
    assert (again.exit, again.result["outcome"]) == (0, "already_held"), again
    assert region.run("me", "status").result["plan"]["decision"] == "take_over"
    checked = region.run("me", "check")
    assert checked.exit == 0 and all(item["ok"] is not False for item in checked.result["items"]), checked
    taken = region.run("me")
    assert (taken.exit, taken.result["previous_holder"]["instance_id"]) == (0, region["old"]), taken
    yielded = region.run("old")
    assert (yielded.exit, yielded.result["outcome"], region.holder("web")) == (69, "yielded", region["me"]), yielded
    released = region.run("me", "release")
    assert (released.exit, released.result["outcome"], region.holder("web")) == (0, "released", None), released


def test_of_several_instances_that_boot_at_once_the_newest_has_the_address(begin):
    region = begin("tightest", latency_ms=20, stale_association_not_found=True)
    region.do("associate", address="web", instance="old")
    booting = [region.do("launch", tags=TAGS)["instance"] for _ in range(4)]
    runs = [Run(process) for process in [region.begin(instance, timeout="20s") for instance in booting]]
    assert region.holder("web") == booting[-1], runs
    assert {run.exit for run in runs[:-1]} <= {0, 69} and runs[-1].exit == 0, runs


@pytest.mark.parametrize(("age", "exit", "holder"), [(0, 0, "me"), (3600, 77, "other")], ids=["booting", "booted long ago"])
def test_should_ec2_forget_an_association_that_has_ended_a_lost_race_is_a_refusal(begin, age, exit, holder):
    region = begin("tightest", stale_association_not_found=True)
    region.do("associate", address="web", instance="old")
    me = region.do("launch", tags=TAGS, launched_ago_s=age)["instance"]
    region.do("fault", api="DisassociateAddress", calls={"first": 1}, fault={"delay_ms": 500}, only=me)
    process = region.begin(me, timeout="20s")
    while not region.do("requests", action="DisassociateAddress")["requests"]:
        assert process.poll() is None
    region.do("associate", address="web", instance="other")
    run = Run(process)
    assert (run.exit, region.holder("web")) == (exit, me if holder == "me" else region[holder]), run


def test_while_the_address_is_free_the_check_cannot_try_its_disassociation(begin):
    region = begin("tightest")
    checked = region.run("me", "check")
    (failed,) = [item for item in checked.result["items"] if item["ok"] is False]
    assert (checked.exit, failed["name"]) == (77, "DisassociateAddress"), checked
    assert failed["remedy"].startswith("check again while an instance has the address"), failed
    assert region.run("me").exit == 0


def test_should_ec2_judge_the_interface_too_the_claim_is_refused_before_anything_is_changed(begin):
    region = begin("tightest", associate_needs_both_targets=True)
    region.do("associate", address="web", instance="old")
    card = f"{EC2}:network-interface/{region.cards[region['me']]}"
    run = region.run("me")
    assert run.exit == 77 and card in run.result["error"]["decoded"], run
    assert region.holder("web") == region["old"] and not region.do("requests", action="DisassociateAddress")["requests"]
    (failed,) = [item for item in region.run("me", "check").result["items"] if item["ok"] is False]
    assert failed["name"] == "AssociateAddress" and card in failed["detail"]
    region.do("put_role_policy", role=ROLE, name="interface-mode", policy=documents.policy("interface-mode"))
    assert region.run("me", "check").exit == 0
    assert region.run("me").exit == 0 and region.holder("web") == region["me"]


def test_should_ec2_judge_the_instance_too_it_must_be_the_calling_one(begin):
    region = begin("tightest", "interface-mode", associate_needs_both_targets=True)
    web = {"AllocationId": region["web"]}
    theirs = region.cards[region["old"]]
    assert_refused_for(f"instance/{region['old']}", region.ec2.associate_address, **web, NetworkInterfaceId=theirs)
    run = region.run("me", "--device-index=0")
    assert run.exit == 0 and region.holder("web") == region["me"], run
