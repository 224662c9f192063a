"""The README's table of permissions: each feature works with exactly what the table says, and without one of its
permissions it ends as the table says, while the loss of any other permission changes nothing.

The program runs on an instance of the fake region, by the policies that ship.
"""

import json

import documents
import pytest
from region import ROLE

TAGS = {"eip-claim": "web"}
NEEDS = documents.needs()
OUTCOMES = documents.outcomes()
PERMISSIONS = sorted(set().union(*NEEDS.values()))
# Each base with everything that goes with it.
SETS = {
    "recommended": ["recommended", "lifecycle-hook", "unhealthy"],
    "tightest": ["tightest", "interface-mode", "lifecycle-hook", "unhealthy"],
}
FEATURES = {}


class Feature:
    """A world, a run in it, and whether that did what it is for."""

    def __init__(self, world, arguments, works, prepare=lambda region: None, me="me"):
        self.world, self.arguments, self.works, self.prepare, self.me = world, arguments, works, prepare, me


def instance(name, hours, **more):
    """One in service, and old enough that nobody waits for its role."""
    return {"name": name, "launched_ago_s": hours * 3600, "tags": TAGS, "interface_tags": TAGS, **more}


def address(name):
    return {"name": name, "tags": TAGS}


def is_mine(region, run, _):
    return run.exit == 0 and region.holder("web") == region["me"]


def has_completed_the_hook(region, run, _):
    return run.exit == 0 and len(region.committed("CompleteLifecycleAction")) == 1


FREE = {"addresses": [address("web")], "instances": [instance("me", 1)]}
HELD = {"addresses": [address("web")], "instances": [instance("old", 2, holds="web"), instance("me", 1)]}
POOL = {
    "addresses": [address("other"), address("web")],
    "instances": [instance("sibling", 3, holds="other"), instance("old", 2, holds="web"), instance("me", 1)],
}
GROUP = {
    "addresses": [address("web")],
    "groups": [
        {"name": "asg", "zones": ["ap-northeast-2a"], "tags": TAGS, "hook": "claim", "launch": {"interface_tags": TAGS}}
    ],
}


def member(world, **launch):
    group = {**world["groups"][0], "launch": launch}
    return {**world, "groups": [group]}


FEATURES["a free address"] = Feature(FREE, [], is_mine)
FEATURES["the same where there are several interfaces, or with `--device-index` or `--private-ip`"] = Feature(
    {**FREE, "instances": [instance("me", 1, interfaces=[[], []])]}, ["--device-index=1"], is_mine
)
FEATURES["an address that another instance holds"] = Feature(HELD, [], is_mine)
FEATURES["the same in a pool, from an impaired instance"] = Feature(
    POOL, [], is_mine, lambda region: region.do("set_impaired", instance="old", impaired=True)
)
FEATURES["`--takeover=always` with a single `--allocation-id`"] = Feature(
    HELD, ["--takeover=always", "--allocation-id=@web"], is_mine
)
FEATURES["`release`"] = Feature(
    {"addresses": [address("web")], "instances": [instance("me", 1, holds="web")]},
    ["release"],
    lambda region, run, _: run.exit == 0 and region.holder("web") is None,
)
FEATURES["`status` of an address that is held"] = Feature(
    HELD, ["status"], lambda region, run, _: run.exit == 0 and run.result["plan"]["decision"] == "take_over"
)
FEATURES["`check` while the address is held"] = Feature(HELD, ["check"], lambda region, run, _: run.exit == 0)
FEATURES["the value of an own tag, where instance tags are off in the metadata"] = Feature(
    {**FREE, "instances": [instance("me", 1, tags_in_metadata=False)]}, [], is_mine
)
FEATURES["`--lifecycle-hook`"] = Feature(GROUP, ["--lifecycle-hook=claim"], has_completed_the_hook, me=None)
FEATURES[
    "the same, where instance tags are off in the metadata and `--auto-scaling-group` names none"
] = Feature(
    member(GROUP, tags_in_metadata=False),
    ["--tag=eip-claim=web", "--lifecycle-hook=claim"],
    has_completed_the_hook,
    me=None,
)
# EC2 shows nothing of what was written, and the deadline passes.
FEATURES["`--unhealthy-on-failure`"] = Feature(
    GROUP,
    ["--unhealthy-on-failure"],
    lambda region, run, _: run.exit == 75 and len(region.committed("SetInstanceHealth")) == 1,
    lambda region: region.do("set_options", read_lag_ms=60_000),
    me=None,
)
FEATURES["saying why a call was denied"] = Feature(
    HELD,
    ["--takeover=always", "--allocation-id=@web"],
    lambda region, run, _: run.exit == 77 and "may not do" in (run.result["error"]["decoded"] or ""),
    lambda region: region.do("deny", instance="me", action="ec2:AssociateAddress"),
)


def try_out(start, name, policy):
    """Runs a feature by a policy: the region, the run, and whether it worked."""
    feature = FEATURES[name]
    region = start({**feature.world, "policies": [{"role": ROLE, "name": "claim", "policy": policy}]})
    feature.prepare(region)
    me = feature.me or region.do("group_instances", group="asg")["instances"][0]
    arguments = [word.replace("@web", region["web"]) for word in feature.arguments]
    run = region.run(me, *arguments)
    return region, run, feature.works(region, run, me)


def ended_as_said(name, missing, region, run):
    """Whether a run without a permission ended as the table says."""
    missing = missing.partition(":")[2]
    match OUTCOMES[name]:
        case "exit 77":
            return run.exit == 77
        case "exit 77, and the holder keeps it":
            return run.exit == 77 and region.holder("web") == region["old"]
        case "exit 77, and the item says which":
            failed = [item for item in run.result["items"] if item["ok"] is False]
            return run.exit == 77 and any(missing in item["detail"] and missing in item["remedy"] for item in failed)
        case "the hook is left to its default result":
            is_claims = missing in ("AssociateAddress", "DescribeAddresses")
            return run.exit == (77 if is_claims else 0) and not region.committed("CompleteLifecycleAction")
        case "the instance is not reported":
            is_claims = missing in ("AssociateAddress", "DescribeAddresses")
            return run.exit == (77 if is_claims else 75) and not region.committed("SetInstanceHealth")
        case "the same exit, without the reason":
            return run.exit == 77 and run.result["error"]["decoded"] is None
    raise AssertionError(f"nobody has said how to see that {OUTCOMES[name]}")


def test_every_row_of_the_table_is_tried_out():
    assert list(FEATURES) == list(NEEDS) == list(OUTCOMES)


@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_works_with_nothing_but_what_the_table_says(start, name):
    region, run, worked = try_out(start, name, documents.allowing(NEEDS[name]))
    assert worked, run
    assert not ended_as_said(name, "no:Permission", region, run), "the table tells apart what works and what does not"


@pytest.mark.parametrize("permission", ["none", *PERMISSIONS])
@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("base", SETS)
def test_the_loss_of_a_permission_is_felt_where_the_table_says_and_nowhere_else(start, base, name, permission):
    policy = documents.without(documents.merged(*SETS[base]), permission)
    region, run, worked = try_out(start, name, policy)
    if permission in NEEDS[name]:
        assert not worked and ended_as_said(name, permission, region, run), run
    else:
        assert worked, run


@pytest.mark.parametrize("name", [name for name in FEATURES if not any("autoscaling" in p for p in NEEDS[name])])
@pytest.mark.parametrize("names", [["original"], ["recommended"], ["tightest"], ["tightest", "interface-mode"]], ids="+".join)
def test_a_policy_allows_the_features_whose_permissions_it_has(start, names, name):
    policy = documents.merged(*names)
    allowed = NEEDS[name] <= documents.actions(policy)
    if names == ["tightest"] and "interfaces" in name:
        allowed = False
    _, run, worked = try_out(start, name, policy)
    assert worked == allowed, run


@pytest.mark.parametrize("command", ["status", "check"])
def test_in_a_pool_status_and_check_need_the_status_of_the_holders_as_well(start, command):
    (needed,) = [permissions for feature, permissions in NEEDS.items() if feature.startswith(f"`{command}`")]
    for permissions, exit in ((needed | {"ec2:DescribeInstanceStatus"}, 0), (needed, 77)):
        policy = documents.allowing(permissions)
        region = start({**POOL, "policies": [{"role": ROLE, "name": "claim", "policy": policy}]})
        run = region.run("me", command)
        assert run.exit == exit, run


def policy_of_the_remedy(item):
    """The statement that the check says to add."""
    return {"Version": "2012-10-17", "Statement": [json.loads(item["remedy"][item["remedy"].index("{") :])]}


@pytest.mark.parametrize(
    ("name", "permission"),
    [("an address that another instance holds", p) for p in sorted(NEEDS["an address that another instance holds"])]
    + [("the same in a pool, from an impaired instance", "ec2:DescribeInstanceStatus")],
)
def test_what_the_check_says_to_add_is_enough(start, name, permission):
    policy = documents.without(documents.merged("recommended"), permission)
    region = start({**FEATURES[name].world, "policies": [{"role": ROLE, "name": "claim", "policy": policy}]})
    checked = region.run("me", "check")
    failed = [item for item in checked.result["items"] if item["ok"] is False]
    assert (checked.exit, len(failed)) == (77, 1), checked
    region.do("put_role_policy", role=ROLE, name="added", policy=policy_of_the_remedy(failed[0]))
    again = region.run("me", "check")
    assert again.exit == 0, again
    FEATURES[name].prepare(region)
    assert FEATURES[name].works(region, region.run("me"), "me")
