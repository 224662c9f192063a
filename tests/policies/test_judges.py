"""The fake cloud judges policies as an IAM simulator does that others wrote from AWS's documentation.

Each call is made with an instance's credentials against the fake cloud, and put to the simulator once for each resource
that it is about: it passes if all of them are allowed, else the first one that is not is named in the refusal.
SIMULATOR names the folder that the simulator is installed in, NODE what runs it (`make test` sets both).
"""

import contextlib
import json
import os
import pathlib
import subprocess

import documents
import pytest
from region import ACCOUNT, NAME, Region, refusal

EC2 = f"arn:aws:ec2:{NAME}:{ACCOUNT}"
GROUP = f"arn:aws:autoscaling:{NAME}:{ACCOUNT}:autoScalingGroup:0:autoScalingGroupName"


def statement(effect, action, resource, **condition):
    return {"Effect": effect, "Action": action, "Resource": resource, **({"Condition": condition} if condition else {})}


def own(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


TAGGED = {"aws:ResourceTag/eip-claim": "web"}
ALL = statement("Allow", "*", "*")
# Those that ship, and some that try what these leave out.
POLICIES = {
    **{file: [documents.policy(file.removesuffix(".json"))] for file in documents.FILES},
    "all that ship, but the original": [
        documents.policy(file.removesuffix(".json")) for file in documents.FILES if file != "original.json"
    ],
    "the tightest with interfaces": [documents.policy("tightest"), documents.policy("interface-mode")],
    "everything": [own(ALL)],
    "wildcards in actions": [own(statement("Allow", "ec2:?ssociate*", "*"), statement("Allow", "EC2:DESCRIBE*", "*"))],
    "wildcards in resources": [own(statement("Allow", "ec2:*", [f"arn:aws:ec2:ap-*:{ACCOUNT[:4]}*:elastic-ip/e*-?*", f"{EC2}:*"]))],
    "another region": [own(statement("Allow", "ec2:*", "arn:aws:ec2:eu-*:*:*"))],
    "another partition": [own(statement("Allow", "ec2:*", "arn:aws-cn:ec2:*:*:*"))],
    "the tag by EC2's own key": [own(statement("Allow", "*", "*", StringEquals={"ec2:ResourceTag/eip-claim": "web"}))],
    "keys in other letters": [own(statement("Allow", "*", "*", StringEquals={"AWS:resourcetag/EIP-claim": "web"}))],
    "no wildcards in StringEquals": [own(statement("Allow", "*", "*", StringEquals={"aws:ResourceTag/eip-claim": "w*"}))],
    "any of several values": [own(statement("Allow", "*", "*", StringEquals={"aws:ResourceTag/eip-claim": ["x", "web"]}))],
    "two conditions": [
        own(
            statement(
                "Allow",
                "*",
                "*",
                StringEquals=TAGGED,
                ArnEquals={"ec2:SourceInstanceARN": f"arn:aws:ec2:{NAME}:*:instance/*"},
            )
        )
    ],
    "a condition on each key": [own(statement("Allow", "*", "*", StringEquals={**TAGGED, "ec2:InstanceID": "i-0"}))],
    "myself by StringEquals": [
        own(statement("Allow", "*", "*", StringEquals={"ec2:SourceInstanceARN": EC2 + ":instance/${ec2:InstanceID}"}))
    ],
    "a variable that is not there": [
        own(ALL, statement("Deny", "*", "*", ArnLike={"ec2:SourceInstanceARN": "arn:aws:ec2:*:*:instance/${ec2:InstanceID}"}))
    ],
    "a denial before": [own(statement("Deny", "ec2:*", "*", StringEquals=TAGGED), ALL)],
    "a denial after, in another policy": [own(ALL), own(statement("Deny", "*", "arn:aws:ec2:*:*:network-interface/*"))],
    "resources for what has none": [
        own(statement("Allow", "*", [f"arn:aws:{service}:*:*:*" for service in ("ec2", "sts", "autoscaling")]))
    ],
}


TAGS = {"eip-claim": "web"}
WORLD = {
    "addresses": [{"name": "tagged", "tags": TAGS}, {"name": "untagged"}, {"name": "spare", "tags": TAGS}],
    "groups": [
        {"name": "mine", "zones": [f"{NAME}a"], "tags": TAGS, "launch": {"interface_tags": TAGS}},
        {"name": "other", "zones": [f"{NAME}b"]},
    ],
}


@pytest.fixture(scope="module")
def region(tmp_path_factory):
    """Three addresses, and two instances in a group each, all of it tagged or not; nothing here changes it."""
    with contextlib.closing(Region(WORLD, tmp_path_factory.mktemp("judges"))) as region:
        region.me, region.other = (region.do("group_instances", group=g)["instances"][0] for g in ("mine", "other"))
        region.do("associate", address="tagged", instance=region.other)
        region.do("associate", address="untagged", instance=region.me)
        region.clients = {name: region.client(name, region.me) for name in ("ec2", "sts", "autoscaling")}
        administrator = region.client("ec2")
        instances = [r["Instances"][0] for r in administrator.describe_instances()["Reservations"]]
        region.cards = {i["InstanceId"]: i["NetworkInterfaces"][0]["NetworkInterfaceId"] for i in instances}
        yield region


def calls(region):
    """Each call, and what it is about: the resources by name, with their tags."""

    def address(name):
        return f"{EC2}:elastic-ip/{region[name]}", {} if name == "untagged" else TAGS

    def instance(i):
        return f"{EC2}:instance/{i}", TAGS if i == region.me else {}

    def card(i):
        return f"{EC2}:network-interface/{region.cards[i]}", TAGS if i == region.me else {}

    for name in ("tagged", "untagged", "spare"):
        for i in (region.me, region.other):
            onto = {"AllocationId": region[name], "DryRun": True}
            yield "ec2", "associate_address", {**onto, "InstanceId": i}, [address(name), instance(i)]
            yield "ec2", "associate_address", {**onto, "NetworkInterfaceId": region.cards[i]}, [address(name), card(i)]
    for name, i in (("tagged", region.other), ("untagged", region.me)):
        association = region.do("holder", address=name)["holder"]["association"]
        yield "ec2", "disassociate_address", {"AssociationId": association, "DryRun": True}, [address(name), card(i)]
    for look in ("describe_addresses", "describe_instances", "describe_instance_status", "describe_tags"):
        yield "ec2", look, {"DryRun": True}, [("*", {})]
    yield "sts", "decode_authorization_message", {"EncodedMessage": "none"}, [("*", {})]
    yield "autoscaling", "describe_auto_scaling_instances", {}, [("*", {})]
    for name, i, tags in (("mine", region.me, TAGS), ("other", region.other, {})):
        group = [(f"{GROUP}/{name}", tags)]
        hook = {"AutoScalingGroupName": name, "LifecycleHookName": "none", "LifecycleActionResult": "CONTINUE"}
        yield "autoscaling", "complete_lifecycle_action", {**hook, "InstanceId": i}, group
        yield "autoscaling", "set_instance_health", {"InstanceId": i, "HealthStatus": "Healthy"}, group


def action_of(service, operation):
    return f"{service}:" + "".join(word.capitalize() for word in operation.split("_"))


def refused_for(answer, action):
    """The resource that a refusal names; nothing when the call was permitted, whatever else became of it."""
    if answer is None or answer[0] not in ("UnauthorizedOperation", "AccessDenied"):
        return None
    assert f"is not authorized to perform: {action} " in answer[1], answer
    on = answer[1].split(" on resource: ")
    return on[1].split()[0] if len(on) == 2 else "*"


def simulate(cases):
    script = pathlib.Path(__file__).with_name("simulate.js")
    done = subprocess.run(
        [os.environ["NODE"], script],
        cwd=os.environ["SIMULATOR"],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def known(region, resource, tags):
    """What AWS knows of a call on the resource."""
    context = {f"aws:ResourceTag/{key}": value for key, value in tags.items()}
    if resource.startswith(f"{EC2}:"):
        context.update({f"ec2:ResourceTag/{key}": value for key, value in tags.items()})
    if resource.startswith(f"{EC2}:instance/"):
        context["ec2:InstanceID"] = resource.rpartition("/")[2]
    return {**context, "ec2:SourceInstanceARN": f"{EC2}:instance/{region.me}"}


@pytest.mark.parametrize("name", POLICIES)
def test_the_fake_cloud_judges_each_call_as_the_simulator_does(region, name):
    policies = POLICIES[name]
    role = name.replace(" ", "-")
    region.do("set_role", instance=region.me, role=role)
    for n, policy in enumerate(policies):
        region.do("put_role_policy", role=role, name=f"policy{n}", policy=policy)
    case = {"policies": policies, "principal": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{region.me}"}
    table, cases = [], []
    for service, operation, parameters, resources in calls(region):
        action = action_of(service, operation)
        answer = refusal(getattr(region.clients[service], operation), **parameters)
        table.append((operation, parameters, len(resources), refused_for(answer, action)))
        for resource, tags in resources:
            about = {"account": ACCOUNT, "action": action, "resource": resource, "context": known(region, resource, tags)}
            cases.append({**case, **about})
    said = iter(zip(cases, simulate(cases)))
    for operation, parameters, count, refused in table:
        judged = [next(said) for _ in range(count)]
        for case, verdict in judged:
            assert verdict.get("ignored") == [], (case, verdict)
            assert verdict["verdict"] in ("Allowed", "ImplicitlyDenied", "ExplicitlyDenied"), (case, verdict)
        failed = [case["resource"] for case, verdict in judged if verdict["verdict"] != "Allowed"]
        assert refused == (failed[0] if failed else None), (operation, parameters, judged)


def test_where_aws_does_not_say_which_instance_is_calling_the_tightest_policy_refuses():
    mine = f"{EC2}:instance/i-0123456789abcdef0"
    case = {
        "policies": [documents.policy("tightest")],
        "principal": f"arn:aws:sts::{ACCOUNT}:assumed-role/eip-claim/i-0123456789abcdef0",
        "account": ACCOUNT,
        "action": "ec2:AssociateAddress",
        "resource": mine,
    }
    source, itself = {"ec2:SourceInstanceARN": mine}, {"ec2:InstanceID": "i-0123456789abcdef0"}
    contexts = [{**source, **itself}, source, itself, {}]
    verdicts = [answer["verdict"] for answer in simulate([{**case, "context": context} for context in contexts])]
    assert verdicts == ["Allowed", "ImplicitlyDenied", "ImplicitlyDenied", "ImplicitlyDenied"]
