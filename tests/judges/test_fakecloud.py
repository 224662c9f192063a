"""Judges the fake cloud by clients that know AWS: boto3 and the AWS CLI.

Every operation is driven through both, and what they parsed is compared. The binary is the one that
the environment variable FAKECLOUD_BIN names.
"""

import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.error
import urllib.request

import boto3
import botocore.config
import botocore.exceptions
import botocore.parsers
import botocore.utils
import pytest

REGION = "ap-northeast-2"
ACCOUNT = "123456789012"
FORBIDDEN = "You do not have permission to access the specified resource."


class Refused(Exception):
    """An error that the service answered, as the client read it."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class Fake:
    """A running fakecloud, and its world by name."""

    def __init__(self, process):
        self.process = process
        self.hello = self.answer()
        self.env = self.hello["env"]

    def answer(self):
        line = self.process.stdout.readline()
        assert line, "fakecloud died"
        return json.loads(line)

    def ask(self, command, **args):
        self.process.stdin.write(json.dumps({"do": command, **args}) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def do(self, command, **args):
        answer = self.ask(command, **args)
        assert "error" not in answer, answer
        return answer

    def __getitem__(self, name):
        return self.hello["names"][name]

    def holder(self, name):
        return self.do("holder", address=name)["holder"]

    def requests(self, action):
        return self.do("requests", action=action)["requests"]


@pytest.fixture
def start(tmp_path):
    """Starts a fakecloud with the world that is given."""
    running = []

    def starter(world):
        file = tmp_path / f"world{len(running)}.json"
        file.write_text(json.dumps(world))
        process = subprocess.Popen(
            [os.environ["FAKECLOUD_BIN"], "--world", str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return Fake(process)

    yield starter
    for process in running:
        process.stdin.close()
        assert process.wait(timeout=10) == 0, "fakecloud ends well at the end of its input"


def environment(fake, credentials=None):
    """The administrator's environment, or that of someone with these credentials; nothing of ours."""
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true", **fake.env}
    if credentials:
        env["AWS_ACCESS_KEY_ID"] = credentials["access_key"]
        env["AWS_SECRET_ACCESS_KEY"] = credentials["secret_key"]
        env["AWS_SESSION_TOKEN"] = credentials["token"]
    return env


class Boto:
    def __init__(self, fake, credentials=None):
        env = environment(fake, credentials)
        self.env = env
        self.session = boto3.session.Session(
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=env.get("AWS_SESSION_TOKEN"),
            region_name=REGION,
        )
        self.clients = {}

    def client(self, service):
        if service not in self.clients:
            name = {"autoscaling": "AUTO_SCALING"}.get(service, service.upper())
            config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=5)
            endpoint = self.env[f"AWS_ENDPOINT_URL_{name}"]
            self.clients[service] = self.session.client(service, endpoint_url=endpoint, config=config)
        return self.clients[service]

    def __call__(self, service, operation, **params):
        try:
            answer = getattr(self.client(service), operation)(**params)
        except botocore.exceptions.ClientError as error:
            raise Refused(error.response["Error"]["Code"], error.response["Error"]["Message"]) from error
        answer.pop("ResponseMetadata")
        return json.loads(json.dumps(answer, default=lambda time: time.isoformat()))


class Cli:
    def __init__(self, fake, credentials=None):
        self.env = environment(fake, credentials)
        self.env.update(AWS_MAX_ATTEMPTS="1", AWS_PAGER="")

    def run(self, *words):
        aws = pathlib.Path(sys.executable).parent / "aws"
        done = subprocess.run(
            [sys.executable, str(aws), *words, "--output", "json"], env=self.env, capture_output=True, text=True, timeout=60
        )
        if done.returncode == 0:
            return json.loads(done.stdout) if done.stdout.strip() else {}
        found = re.search(r"An error occurred \((.+?)\) when calling the \w+ operation(?: \(.*?\))?: (.*)", done.stderr, re.S)
        assert found, done.stderr
        raise Refused(found[1], found[2].strip())

    def __call__(self, service, operation, **params):
        return self.run(service, operation.replace("_", "-"), "--cli-input-json", json.dumps(params))


@pytest.fixture(params=[Boto, Cli], ids=["boto3", "cli"])
def client(request):
    return request.param


def refused(call, *args, **params):
    with pytest.raises(Refused) as caught:
        call(*args, **params)
    return caught.value.code, caught.value.message


def fetch_credentials(fake, name):
    """Credentials of an instance, by botocore's own fetcher."""
    endpoint = fake.do("env", instance=name)["env"]["AWS_EC2_METADATA_SERVICE_ENDPOINT"]
    fetcher = botocore.utils.InstanceMetadataFetcher(
        timeout=2, num_attempts=1, env={}, config={"ec2_metadata_service_endpoint": endpoint + "/"}
    )
    return fetcher.retrieve_iam_role_credentials()


def pair():
    """Two instances and an address that the first holds."""
    return {
        "addresses": [
            {"name": "web", "tags": {"eip-claim": "web"}},
            {"name": "star", "tags": {"eip-claim": "we*", "other": ""}},
            {"name": "free"},
        ],
        "instances": [
            {"name": "old", "holds": "web", "tags": {"eip-claim": "web"}, "zone": REGION + "a"},
            {"name": "new", "zone": REGION + "b"},
            {"name": "wide", "interfaces": [["10.0.0.10", "10.0.0.11"], []]},
        ],
    }


# Addresses.


def test_describe_addresses_shows_what_is_there_and_not_what_is_not(start, client):
    fake = start(pair())
    aws = client(fake)
    addresses = {a["AllocationId"]: a for a in aws("ec2", "describe_addresses")["Addresses"]}
    held, free = addresses[fake["web"]], addresses[fake["free"]]
    holder = fake.holder("web")
    assert held == {
        "AllocationId": fake["web"],
        "PublicIp": "203.0.113.1",
        "Domain": "vpc",
        "InstanceId": fake["old"],
        "AssociationId": holder["association"],
        "NetworkInterfaceId": holder["interface"],
        "NetworkInterfaceOwnerId": ACCOUNT,
        "PrivateIpAddress": holder["private_ip"],
        "Tags": [{"Key": "eip-claim", "Value": "web"}],
        "PublicIpv4Pool": "amazon",
        "NetworkBorderGroup": REGION,
    }
    assert set(free) == {"AllocationId", "PublicIp", "Domain", "PublicIpv4Pool", "NetworkBorderGroup"}


def test_filters_of_addresses(start, client):
    fake = start(pair())
    aws = client(fake)
    holder = fake.holder("web")
    names = {fake[name]: name for name in ("web", "star", "free")}

    def found(*filters):
        listed = [{"Name": name, "Values": list(values)} for name, *values in filters]
        return {names[a["AllocationId"]] for a in aws("ec2", "describe_addresses", Filters=listed)["Addresses"]}

    assert found(("tag:eip-claim", "web")) == {"web"}
    assert found(("tag:eip-claim", "we*")) == {"web", "star"}
    assert found(("tag:eip-claim", "we?")) == {"web", "star"}
    assert found(("tag:eip-claim", "we\\*")) == {"star"}
    assert found(("tag:eip-claim", "WEB")) == set()
    assert found(("tag-key", "other"), ("tag:eip-claim", "*")) == {"star"}
    assert found(("instance-id", fake["old"])) == {"web"}
    assert found(("allocation-id", fake["free"], fake["star"])) == {"free", "star"}
    assert found(("association-id", holder["association"])) == {"web"}
    assert found(("network-interface-id", holder["interface"])) == {"web"}
    assert found(("private-ip-address", holder["private_ip"])) == {"web"}
    assert found(("network-interface-owner-id", ACCOUNT)) == {"web"}
    assert found(("network-border-group", REGION)) == {"web", "star", "free"}
    assert found(("public-ip", "203.0.113.2")) == {"star"}
    code, message = refused(aws, "ec2", "describe_addresses", Filters=[{"Name": "colour", "Values": ["red"]}])
    assert (code, "colour" in message) == ("InvalidParameterValue", True)


def test_addresses_by_id(start, client):
    fake = start(pair())
    aws = client(fake)
    by_id = aws("ec2", "describe_addresses", AllocationIds=[fake["free"]])["Addresses"]
    assert [a["AllocationId"] for a in by_id] == [fake["free"]]
    by_ip = aws("ec2", "describe_addresses", PublicIps=["203.0.113.3"])["Addresses"]
    assert by_ip == by_id
    missing = "eipalloc-00000000000000000"
    code, message = refused(aws, "ec2", "describe_addresses", AllocationIds=[missing])
    assert (code, message) == ("InvalidAllocationID.NotFound", f"The allocation ID '{missing}' does not exist")
    assert refused(aws, "ec2", "describe_addresses", PublicIps=["192.0.2.250"])[0] == "InvalidAddress.NotFound"


def test_associate_moves_and_repeats_without_change(start, client):
    fake = start(pair())
    aws = client(fake)
    before = fake.holder("web")
    moved = aws("ec2", "associate_address", AllocationId=fake["web"], InstanceId=fake["new"])
    assert fake.holder("web")["instance"] == fake["new"]
    assert moved["AssociationId"] == fake.holder("web")["association"] != before["association"]
    for allow in (True, False):
        again = aws(
            "ec2", "associate_address", AllocationId=fake["web"], InstanceId=fake["new"], AllowReassociation=allow
        )
        assert again["AssociationId"] == moved["AssociationId"]
    assert [request["remap"] for request in fake.requests("AssociateAddress")] == [False, True, True]
    history = [(event["from"], event["to"]) for event in fake.do("history")["history"]]
    assert history[1:] == [(fake["old"], fake["new"])] + [(fake["new"], fake["new"])] * 2


def test_both_texts_of_already_associated(start, client):
    fake = start(pair())
    aws = client(fake)
    held = fake.holder("web")
    error = refused(
        aws, "ec2", "associate_address", AllocationId=fake["web"], InstanceId=fake["new"], AllowReassociation=False
    )
    suffix = f"is already associated with associate-id {held['association']}"
    assert error == ("Resource.AlreadyAssociated", f"resource {fake['web']} {suffix}")
    error = refused(
        aws, "ec2", "associate_address", AllocationId=fake["free"], InstanceId=fake["old"], AllowReassociation=False
    )
    assert error == ("Resource.AlreadyAssociated", f"resource {held['interface']} {suffix}")
    assert fake.holder("web") == held and fake.holder("free") is None
    aws("ec2", "associate_address", AllocationId=fake["free"], InstanceId=fake["old"], AllowReassociation=True)
    assert fake.holder("web") is None and fake.holder("free")["instance"] == fake["old"]


def test_disassociation_is_idempotent(start, client):
    fake = start(pair())
    aws = client(fake)
    association = fake.holder("web")["association"]
    aws("ec2", "disassociate_address", AssociationId=association)
    assert fake.holder("web") is None
    aws("ec2", "disassociate_address", AssociationId=association)
    error = refused(aws, "ec2", "disassociate_address", AssociationId="eipassoc-00000000000000000")
    assert error[0] == "InvalidAssociationID.NotFound"


def test_an_association_that_is_over_may_be_an_error(start, client):
    fake = start({**pair(), "options": {"stale_association_not_found": True}})
    association = fake.holder("web")["association"]
    fake.do("disassociate", address="web")
    error = refused(client(fake), "ec2", "disassociate_address", AssociationId=association)
    assert error[0] == "InvalidAssociationID.NotFound"


def test_targets_and_their_states(start, client):
    fake = start(pair())
    aws = client(fake)

    def associate(**target):
        return aws("ec2", "associate_address", AllocationId=fake["free"], **target)

    code, message = refused(associate, InstanceId=fake["wide"])
    assert (code, message) == (
        "InvalidInstanceID",
        f"There are multiple interfaces attached to instance '{fake['wide']}'. "
        "Please specify an interface ID for the operation instead.",
    )
    reservations = aws("ec2", "describe_instances", InstanceIds=[fake["wide"]])["Reservations"]
    first, second = reservations[0]["Instances"][0]["NetworkInterfaces"]
    assert (first["Attachment"]["DeviceIndex"], second["Attachment"]["DeviceIndex"]) == (0, 1)
    associate(NetworkInterfaceId=first["NetworkInterfaceId"], PrivateIpAddress="10.0.0.11")
    assert fake.holder("free")["private_ip"] == "10.0.0.11"
    assert refused(associate, NetworkInterfaceId=first["NetworkInterfaceId"], PrivateIpAddress="10.9.9.9")[0] == (
        "InvalidParameterValue"
    )
    assert refused(associate)[0] == "MissingParameter"
    both = refused(associate, InstanceId=fake["old"], NetworkInterfaceId=first["NetworkInterfaceId"])
    assert both[0] == "InvalidParameterCombination"
    assert refused(associate, InstanceId="i-00000000000000000")[0] == "InvalidInstanceID.NotFound"
    assert refused(associate, InstanceId="web")[0] == "InvalidInstanceID.Malformed"
    unknown = refused(associate, NetworkInterfaceId="eni-00000000000000000")
    assert unknown[0] == "InvalidNetworkInterfaceID.NotFound"

    for state in ("pending", "terminated"):
        fake.do("set_state", instance="new", state=state)
        assert refused(associate, InstanceId=fake["new"]) == (
            "InvalidInstanceID",
            f"The {state} instance '{fake['new']}' is not in a valid state for this operation.",
        )
    fake.do("set_state", instance="wide", state="pending")
    assert refused(associate, NetworkInterfaceId=second["NetworkInterfaceId"]) == (
        "IncorrectInstanceState",
        f"The pending-instance-creation instance to which '{second['NetworkInterfaceId']}' is attached "
        "is not in a valid state for this operation",
    )
    fake.do("stop", instance="old")
    associate(InstanceId=fake["old"])
    assert fake.holder("free")["instance"] == fake["old"]


def test_addresses_that_are_not_to_be_had(start, client):
    fake = start({**pair(), "addresses": [{"name": n} for n in ("web", "nat", "alb", "foreign", "far")]})
    aws = client(fake)
    fake.do("associate_bare_interface", address="nat")
    fake.do("edit_address", address="alb", service_managed="alb")
    fake.do("edit_address", address="foreign", owner="210987654321")
    fake.do("edit_address", address="far", network_border_group="ap-northeast-2-wl1")
    for name in ("nat", "alb", "foreign"):
        error = refused(aws, "ec2", "associate_address", AllocationId=fake[name], InstanceId=fake["new"])
        assert error == ("AuthFailure", FORBIDDEN)
    error = refused(aws, "ec2", "associate_address", AllocationId=fake["far"], InstanceId=fake["new"])
    assert "network border group" in error[1]
    missing = refused(
        aws, "ec2", "associate_address", AllocationId="eipalloc-00000000000000000", InstanceId=fake["new"]
    )
    assert missing[0] == "InvalidAllocationID.NotFound"
    shown = {a["AllocationId"]: a for a in aws("ec2", "describe_addresses")["Addresses"]}
    assert shown[fake["alb"]]["ServiceManaged"] == "alb"
    nat = shown[fake["nat"]]
    assert "InstanceId" not in nat and nat["NetworkInterfaceId"].startswith("eni-")


def test_trials_do_nothing(start, client):
    fake = start(pair())
    aws = client(fake)
    association = fake.holder("web")["association"]
    trials = [
        ("associate_address", {"AllocationId": fake["web"], "InstanceId": fake["new"]}),
        ("disassociate_address", {"AssociationId": association}),
        ("describe_addresses", {}),
        ("describe_instances", {}),
        ("describe_instance_status", {}),
        ("describe_tags", {}),
        ("describe_network_interfaces", {}),
    ]
    for operation, params in trials:
        assert refused(aws, "ec2", operation, DryRun=True, **params) == (
            "DryRunOperation",
            "Request would have succeeded, but DryRun flag is set.",
        )
    assert fake.holder("web")["association"] == association
    assert not any(request["committed"] for request in fake.do("log")["requests"])
    assert [request["status"] for request in fake.requests("AssociateAddress")] == [412]


def test_the_cli_by_hand(start):
    """The flags that people type, rather than JSON."""
    fake = start(pair())
    aws = Cli(fake).run
    filters = ["--filters", "Name=tag:eip-claim,Values=web"]
    [address] = aws("ec2", "describe-addresses", *filters)["Addresses"]
    target = ["--allocation-id", address["AllocationId"], "--instance-id", fake["new"]]
    error = refused(aws, "ec2", "associate-address", *target, "--no-allow-reassociation")
    assert error[0] == "Resource.AlreadyAssociated"
    assert refused(aws, "ec2", "associate-address", *target, "--dry-run")[0] == "DryRunOperation"
    done = aws("ec2", "associate-address", *target, "--allow-reassociation")
    aws("ec2", "disassociate-address", "--association-id", done["AssociationId"])
    assert fake.holder("web") is None
    allow = [request["params"].get("AllowReassociation") for request in fake.requests("AssociateAddress")]
    assert allow == ["false", None, "true"]


# Instances.


def test_describe_instances(start, client):
    fake = start(pair())
    aws = client(fake)

    def found(**params):
        reservations = aws("ec2", "describe_instances", **params)["Reservations"]
        return {i["InstanceId"]: i for r in reservations for i in r["Instances"]}

    def by(name, *values):
        return set(found(Filters=[{"Name": name, "Values": list(values)}]))

    old = found(InstanceIds=[fake["old"]])[fake["old"]]
    assert old["State"] == {"Code": 16, "Name": "running"}
    assert old["PublicIpAddress"] == "203.0.113.1"
    assert old["Placement"]["AvailabilityZone"] == REGION + "a"
    assert old["Tags"] == [{"Key": "eip-claim", "Value": "web"}]
    assert datetime.datetime.fromisoformat(old["LaunchTime"]).tzinfo
    new = found(InstanceIds=[fake["new"]])[fake["new"]]
    assert new["PublicIpAddress"].startswith("198.19.")
    assert datetime.datetime.fromisoformat(old["LaunchTime"]) < datetime.datetime.fromisoformat(new["LaunchTime"])
    assert by("instance-id", fake["new"], "i-00000000000000000") == {fake["new"]}
    assert by("tag:eip-claim", "w*") == {fake["old"]}
    fake.do("terminate", instance="old")
    assert by("instance-state-name", "terminated") == {fake["old"]}
    assert by("instance-state-name", "running") == {fake["new"], fake["wide"]}
    assert refused(aws, "ec2", "describe_instances", InstanceIds=["i-00000000000000000"]) == (
        "InvalidInstanceID.NotFound",
        "The instance ID 'i-00000000000000000' does not exist",
    )


def test_instance_status(start, client):
    fake = start(pair())
    aws = client(fake)
    fake.do("set_impaired", instance="old", impaired=True)
    fake.do("stop", instance="wide")

    def statuses(**params):
        listed = aws("ec2", "describe_instance_status", **params)["InstanceStatuses"]
        return {status["InstanceId"]: status["SystemStatus"]["Status"] for status in listed}

    assert statuses() == {fake["old"]: "impaired", fake["new"]: "ok"}
    everything = statuses(IncludeAllInstances=True)
    assert everything == {fake["old"]: "impaired", fake["new"]: "ok", fake["wide"]: "not-applicable"}
    assert statuses(InstanceIds=[fake["new"]]) == {fake["new"]: "ok"}
    impaired = [{"Name": "system-status.status", "Values": ["impaired"]}]
    assert set(statuses(Filters=impaired)) == {fake["old"]}
    fake.do("fail_zone", zone=REGION + "b")
    assert statuses()[fake["new"]] == "impaired"


def test_tags_and_interfaces(start, client):
    fake = start(pair())
    aws = client(fake)
    filters = [{"Name": "resource-id", "Values": [fake["old"]]}, {"Name": "key", "Values": ["eip-claim"]}]
    tag = {"ResourceId": fake["old"], "ResourceType": "instance", "Key": "eip-claim", "Value": "web"}
    assert aws("ec2", "describe_tags", Filters=filters)["Tags"] == [tag]
    filters[1]["Values"] = ["absent"]
    assert aws("ec2", "describe_tags", Filters=filters)["Tags"] == []
    by_instance = [{"Name": "attachment.instance-id", "Values": [fake["wide"]]}]
    interfaces = aws("ec2", "describe_network_interfaces", Filters=by_instance)["NetworkInterfaces"]
    private = [[p["PrivateIpAddress"] for p in nic["PrivateIpAddresses"]] for nic in interfaces]
    assert private[0] == ["10.0.0.10", "10.0.0.11"] and len(private) == 2


def test_reads_lag_and_writes_do_not(start, client):
    fake = start(pair())
    aws = client(fake)
    fake.do("set_options", read_lag_ms=600_000)
    aws("ec2", "associate_address", AllocationId=fake["free"], InstanceId=fake["new"])
    [address] = aws("ec2", "describe_addresses", AllocationIds=[fake["free"]])["Addresses"]
    assert "InstanceId" not in address
    assert fake.holder("free")["instance"] == fake["new"]
    fake.do("settle")
    [address] = aws("ec2", "describe_addresses", AllocationIds=[fake["free"]])["Addresses"]
    assert address["InstanceId"] == fake["new"]


def test_new_instances_are_hidden(start, client):
    fake = start({**pair(), "options": {"new_instance_hidden_for_ms": 600_000}})
    aws = client(fake)
    assert refused(aws, "ec2", "describe_instances", InstanceIds=[fake["new"]])[0] == "InvalidInstanceID.NotFound"
    filters = [{"Name": "instance-id", "Values": [fake["new"]]}]
    assert aws("ec2", "describe_instances", Filters=filters)["Reservations"] == []


def test_requests_are_throttled(start):
    fake = start({**pair(), "options": {"throttle": True}})
    aws = Boto(fake)
    ask = {"AssociationId": "eipassoc-00000000000000000", "DryRun": True}
    codes = []
    while len(codes) < 1000 and codes[-1:] != ["RequestLimitExceeded"]:
        codes.append(refused(aws, "ec2", "disassociate_address", **ask)[0])
    assert codes[-1] == "RequestLimitExceeded"
    assert set(codes[:-1]) == {"DryRunOperation"} and len(codes) > 50
    aws("ec2", "describe_addresses")
    fake.do("set_options", throttle=False)
    assert refused(aws, "ec2", "disassociate_address", **ask)[0] == "DryRunOperation"


# Who may.


def test_a_policy_decides_for_each_resource_and_the_refusal_names_the_first_that_fails(start, client):
    address = {
        "Effect": "Allow",
        "Action": ["ec2:AssociateAddress", "ec2:DisassociateAddress"],
        "Resource": "arn:aws:ec2:*:*:elastic-ip/*",
        "Condition": {"StringEquals": {"aws:ResourceTag/eip-claim": "web"}},
    }
    myself = {
        "Effect": "Allow",
        "Action": "ec2:AssociateAddress",
        "Resource": "arn:aws:ec2:*:*:instance/*",
        "Condition": {"ArnLike": {"ec2:SourceInstanceARN": "arn:aws:ec2:*:*:instance/${ec2:InstanceID}"}},
    }
    document = {"Version": "2012-10-17", "Statement": [address, myself]}
    fake = start({**pair(), "policies": [{"role": "eip-claim", "name": "claim", "policy": document}]})
    aws = client(fake, fetch_credentials(fake, "new"))
    holder = fake.holder("web")

    def refused_for(call, **params):
        code, message = refused(aws, "ec2", call, **params)
        assert code == "UnauthorizedOperation"
        return message.split(" on resource: ")[-1].split()[0].split(":")[-1]

    onto = {"AllocationId": fake["web"], "AllowReassociation": True}
    free = {"AllocationId": fake["free"], "InstanceId": fake["new"]}
    assert refused_for("associate_address", **free) == f"elastic-ip/{fake['free']}"
    assert refused_for("associate_address", **onto, InstanceId=fake["old"]) == f"instance/{fake['old']}"
    card = holder["interface"]
    assert refused_for("associate_address", **onto, NetworkInterfaceId=card) == f"network-interface/{card}"
    association = {"AssociationId": holder["association"]}
    assert refused_for("disassociate_address", **association) == f"network-interface/{card}"
    nobodys = {"AssociationId": "eipassoc-00000000000000000"}
    assert refused_for("disassociate_address", **nobodys) == "elastic-ip/*"
    assert "ec2:DescribeAddresses because no" in refused(aws, "ec2", "describe_addresses")[1]
    aws("ec2", "associate_address", **onto, InstanceId=fake["new"])
    assert fake.holder("web")["instance"] == fake["new"]


def test_a_policy_adds_up_with_others_is_replaced_by_its_name_and_refused_when_it_has_what_is_not_known(start, client):
    fake = start(pair())
    aws = client(fake, fetch_credentials(fake, "new"))

    def put(name, **statement):
        document = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Resource": "*", **statement}}
        return fake.ask("put_role_policy", role="eip-claim", name=name, policy=document)

    def permitted():
        looks = ("describe_addresses", "describe_instances", "describe_tags")
        return [look for look in looks if not is_refused(look)]

    def is_refused(look):
        try:
            aws("ec2", look)
        except Refused as error:
            assert error.code == "UnauthorizedOperation"
            return True
        return False

    assert len(permitted()) == 3, "a role without a policy may do everything"
    assert put("one", Action="ec2:DescribeAddresses") == put("two", Action="ec2:*Instances") == {"ok": True}
    assert permitted() == ["describe_addresses", "describe_instances"]
    put("one", Action="ec2:DescribeTags")
    assert permitted() == ["describe_instances", "describe_tags"]
    for unknown in ({"NotAction": "ec2:*"}, {"Action": "*", "Condition": {"Bool": {"aws:SecureTransport": "true"}}}):
        assert "is not known here" in put("one", **unknown)["error"]
    assert permitted() == ["describe_instances", "describe_tags"]
    put("three", Effect="Deny", Action="ec2:DescribeT*")
    assert permitted() == ["describe_instances"]
    with pytest.raises(Refused, match="explicit deny"):
        aws("ec2", "describe_tags")


def test_a_denial_says_who_what_and_why_and_can_be_decoded(start, client):
    fake = start(pair())
    credentials = fetch_credentials(fake, "new")
    aws = client(fake, credentials)
    aws("ec2", "describe_addresses")
    fake.do("deny", instance="new", action="ec2:AssociateAddress")
    fake.do("deny", instance="new", action="ec2:DescribeInst*")
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/eip-claim/{fake['new']}"
    resource = f"arn:aws:ec2:{REGION}:{ACCOUNT}:elastic-ip/{fake['web']}"
    target = {"AllocationId": fake["web"], "InstanceId": fake["new"]}
    for trial in (True, False):
        code, message = refused(aws, "ec2", "associate_address", DryRun=trial, **target)
        start_of, encoded = message.split(" Encoded authorization failure message: ")
        assert (code, start_of) == (
            "UnauthorizedOperation",
            f"You are not authorized to perform this operation. User: {arn} is not authorized to perform: "
            f"ec2:AssociateAddress on resource: {resource} because no identity-based policy allows the "
            "ec2:AssociateAddress action.",
        )
    code, message = refused(aws, "ec2", "describe_instances")
    assert code == "UnauthorizedOperation" and "ec2:DescribeInstances because no" in message
    assert "Encoded" not in message
    decoded = json.loads(
        aws("sts", "decode_authorization_message", EncodedMessage=encoded)["DecodedMessage"]
    )
    assert decoded["allowed"] is False and decoded["explicitDeny"] is False
    assert decoded["context"]["action"] == "ec2:AssociateAddress"
    assert decoded["context"]["resource"] == resource
    assert decoded["context"]["principal"]["arn"] == arn
    assert {"matchedStatements", "failures"} <= set(decoded)
    assert refused(aws, "sts", "decode_authorization_message", EncodedMessage=encoded[:-1])[0] == (
        "InvalidAuthorizationMessageException"
    )
    fake.do("deny", instance="new", action="sts:DecodeAuthorizationMessage")
    code, message = refused(aws, "sts", "decode_authorization_message", EncodedMessage=encoded)
    assert code == "AccessDenied" and "sts:DecodeAuthorizationMessage" in message
    fake.do("allow", instance="new", action="ec2:AssociateAddress")
    aws("ec2", "associate_address", **target)
    assert fake.requests("AssociateAddress")[-1]["instance"] == fake["new"]
    assert fake.do("history")["history"][-1]["by"] == fake["new"]


def test_identities_and_keys(start, client):
    fake = start(pair())
    me = client(fake)("sts", "get_caller_identity")
    assert me["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/administrator" and me["Account"] == ACCOUNT
    credentials = fetch_credentials(fake, "new")
    aws = client(fake, credentials)
    me = aws("sts", "get_caller_identity")
    assert me["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/eip-claim/{fake['new']}"
    assert me["UserId"].endswith(":" + fake["new"])
    no_token = client(fake, {**credentials, "token": "another"})
    not_validated = ("AuthFailure", "AWS was not able to validate the provided access credentials")
    assert refused(no_token, "ec2", "describe_addresses") == not_validated
    fake.do("rotate_credentials", instance="new")
    assert refused(aws, "ec2", "describe_addresses") == not_validated
    assert refused(aws, "sts", "get_caller_identity")[0] == "InvalidClientTokenId"
    client(fake, fetch_credentials(fake, "new"))("ec2", "describe_addresses")


def test_a_clock_that_is_wrong(start, client):
    fake = start({"options": {"clock_offset": -3600}})
    aws = client(fake)
    assert refused(aws, "ec2", "describe_addresses") == ("RequestExpired", "Request has expired.")
    assert refused(aws, "sts", "get_caller_identity")[0] == "SignatureDoesNotMatch"


# Metadata.


def test_botocore_fetches_credentials(start):
    fake = start(pair())
    credentials = fetch_credentials(fake, "new")
    assert credentials["role_name"] == "eip-claim"
    assert credentials["access_key"].startswith("ASIA") and len(credentials["access_key"]) == 20
    expiry = datetime.datetime.fromisoformat(credentials["expiry_time"].replace("Z", "+00:00"))
    assert expiry > datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    assert fetch_credentials(fake, "old")["access_key"] != credentials["access_key"]
    fake.do("set_role", instance="new", role=None)
    assert fetch_credentials(fake, "new") == {}


def test_botocore_finds_the_region_and_the_cli_its_credentials(start):
    fake = start(pair())
    env = fake.do("env", instance="new")["env"]
    endpoint = env["AWS_EC2_METADATA_SERVICE_ENDPOINT"]
    fetcher = botocore.utils.InstanceMetadataRegionFetcher(
        timeout=2, num_attempts=1, env={}, config={"ec2_metadata_service_endpoint": endpoint + "/"}
    )
    assert fetcher.retrieve_region() == REGION
    cli = Cli(fake)
    cli.env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, **env}
    assert cli.run("sts", "get-caller-identity")["UserId"].endswith(fake["new"])


def test_metadata_by_hand(start):
    fake = start({"instances": [{"name": "a", "tags": {"Name": "x"}, "tags_in_metadata": False, "lifecycle": "InService"}]})
    endpoint = fake.do("env", instance="a")["env"]["AWS_EC2_METADATA_SERVICE_ENDPOINT"]

    def ask(method, path, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(endpoint + path, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, None

    status, token = ask("PUT", "/latest/api/token", X_aws_ec2_metadata_token_ttl_seconds="60")
    assert status == 200

    def get(path):
        return ask("GET", path, X_aws_ec2_metadata_token=token)

    assert get("/latest/meta-data/instance-id") == (200, fake["a"])
    assert get("/latest/meta-data/autoscaling/target-lifecycle-state") == (200, "InService")
    assert get("/latest/meta-data/tags/instance/Name") == (404, None)
    document = json.loads(get("/latest/dynamic/instance-identity/document")[1])
    assert (document["accountId"], document["region"], document["instanceId"]) == (ACCOUNT, REGION, fake["a"])
    assert ask("GET", "/latest/meta-data/instance-id") == (401, None)
    assert ask("POST", "/latest/api/token", X_aws_ec2_metadata_token_ttl_seconds="60") == (405, None)
    fake.do("set_imds_enabled", instance="a", enabled=False)
    assert get("/latest/meta-data/instance-id") == (403, None)


# Auto Scaling.


def group(hook=None):
    zones = [REGION + "a", REGION + "b"]
    return {"groups": [{"name": "asg", "size": 1, "zones": zones, "tags": {"eip-claim": "web"}, "hook": hook}]}


def member(fake):
    [instance] = fake.do("group_instances", group="asg")["instances"]
    return instance


def test_a_group_and_its_instances(start, client):
    fake = start(group("claim"))
    aws = client(fake)
    instance = member(fake)

    def state():
        [shown] = aws("autoscaling", "describe_auto_scaling_instances", InstanceIds=[instance])["AutoScalingInstances"]
        assert shown["AutoScalingGroupName"] == "asg" and shown["HealthStatus"] == "HEALTHY"
        return shown["LifecycleState"]

    assert state() == "Pending:Wait"
    [shown] = aws("autoscaling", "describe_auto_scaling_groups", AutoScalingGroupNames=["asg"])["AutoScalingGroups"]
    assert [i["InstanceId"] for i in shown["Instances"]] == [instance]
    assert (shown["DesiredCapacity"], shown["AvailabilityZones"]) == (1, [REGION + "a", REGION + "b"])
    assert shown["Tags"][0]["Key"] == "eip-claim"
    names = {"AutoScalingGroupName": "asg", "LifecycleHookName": "claim", "LifecycleActionResult": "CONTINUE"}
    aws("autoscaling", "complete_lifecycle_action", InstanceId=instance, **names)
    assert state() == "InService"
    assert refused(aws, "autoscaling", "complete_lifecycle_action", InstanceId=instance, **names) == (
        "ValidationError",
        f"No active Lifecycle Action found with instance ID {instance}",
    )
    tags = aws("ec2", "describe_instances", InstanceIds=[instance])["Reservations"][0]["Instances"][0]["Tags"]
    assert {t["Key"]: t["Value"] for t in tags} == {"eip-claim": "web", "aws:autoscaling:groupName": "asg"}


def test_bad_health_brings_a_replacement(start, client):
    fake = start(group())
    aws = client(fake)
    first = member(fake)
    aws("autoscaling", "set_instance_health", InstanceId=first, HealthStatus="Unhealthy")
    assert member(fake) == first, "the grace period is respected"
    aws(
        "autoscaling",
        "set_instance_health",
        InstanceId=first,
        HealthStatus="Unhealthy",
        ShouldRespectGracePeriod=False,
    )
    assert member(fake) != first
    unknown = refused(
        aws, "autoscaling", "set_instance_health", InstanceId="i-00000000000000000", HealthStatus="Unhealthy"
    )
    assert unknown[0] == "ValidationError"
    credentials = fetch_credentials(fake, member(fake))
    fake.do("deny", action="autoscaling:SetInstanceHealth")
    denied = refused(
        client(fake, credentials),
        "autoscaling",
        "set_instance_health",
        InstanceId=member(fake),
        HealthStatus="Unhealthy",
    )
    assert denied[0] == "AccessDenied"


def test_a_failed_zone_brings_a_replacement_elsewhere(start, client):
    fake = start(group())
    first = member(fake)
    fake.do("fail_zone", zone=REGION + "a")
    second = member(fake)
    shown = client(fake)("autoscaling", "describe_auto_scaling_instances")["AutoScalingInstances"]
    assert [(i["InstanceId"], i["AvailabilityZone"]) for i in shown] == [(second, REGION + "b")]
    reservations = client(fake)("ec2", "describe_instances", InstanceIds=[first])["Reservations"]
    assert reservations[0]["Instances"][0]["State"]["Name"] == "running"


# What goes wrong.


def test_unknown_actions_and_versions(start):
    fake = start({})
    code, _ = refused(Boto(fake), "ec2", "describe_vpcs")
    assert code == "InvalidAction"
    assert refused(Boto(fake), "sts", "get_session_token")[0] == "InvalidAction"


def test_faults_reach_the_client(start):
    fake = start(pair())
    aws = Boto(fake)
    for fault, error in [
        ("reset", botocore.exceptions.ConnectionClosedError),
        ("close", botocore.exceptions.ConnectionClosedError),
        ("truncate", botocore.parsers.ResponseParserError),
    ]:
        fake.do("fault", api="DescribeAddresses", calls={"nth": 1}, fault=fault)
        with pytest.raises(error):
            aws("ec2", "describe_addresses")
        fake.do("clear_faults")
    fake.do("outage", service="EC2", on=True)
    with pytest.raises(botocore.exceptions.EndpointConnectionError):
        aws("ec2", "describe_addresses")
    fake.do("outage", service="EC2", on=False)
    assert aws("ec2", "describe_addresses")["Addresses"]
    fake.do("fault", api="AssociateAddress", fault={"commit_then_error": {"status": 500, "code": "InternalError"}})
    error = refused(aws, "ec2", "associate_address", AllocationId=fake["free"], InstanceId=fake["new"])
    assert error[0] == "InternalError"
    [request] = fake.requests("AssociateAddress")
    assert (request["status"], request["committed"]) == (500, True)
    assert fake.holder("free")["instance"] == fake["new"]


def test_a_mistaken_command_is_an_error_and_not_the_end(start):
    fake = start({})
    with pytest.raises(AssertionError, match="there is no instance ghost"):
        fake.do("terminate", instance="ghost")
    with pytest.raises(AssertionError, match="there is no command dance"):
        fake.do("dance")
    assert fake.do("log") == {"requests": []}
