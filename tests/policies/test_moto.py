"""The policies without conditions under moto's IAM, which we did not write: what they allow passes, the rest is refused.

Moto looks at the actions of a policy alone. The program runs against its EC2; only the metadata are the fake region's.
MOTO_SERVER names moto's server (`make test` sets it).
"""

import contextlib
import datetime
import json
import os
import socket
import subprocess
import time
import urllib.request

import boto3
import botocore.config
import botocore.parsers
import documents
import pytest
from region import ACCOUNT, NAME, Region, refusal

TAGS = [{"ResourceType": "elastic-ip", "Tags": [{"Key": "eip-claim", "Value": "web"}]}]
DENIED = ("AccessDenied", "UnauthorizedOperation")
# Every call that the program makes, but GetCallerIdentity, for which nobody needs a permission.
CALLS = {
    "ec2:AssociateAddress": ("ec2", "associate_address", {"AllocationId": "@address", "InstanceId": "@instance"}),
    "ec2:DisassociateAddress": ("ec2", "disassociate_address", {"AssociationId": "@association"}),
    "ec2:DescribeAddresses": ("ec2", "describe_addresses", {}),
    "ec2:DescribeInstances": ("ec2", "describe_instances", {}),
    "ec2:DescribeInstanceStatus": ("ec2", "describe_instance_status", {}),
    "ec2:DescribeTags": ("ec2", "describe_tags", {}),
    "sts:DecodeAuthorizationMessage": ("sts", "decode_authorization_message", {"EncodedMessage": "none"}),
    "autoscaling:CompleteLifecycleAction": (
        "autoscaling",
        "complete_lifecycle_action",
        {"AutoScalingGroupName": "asg", "LifecycleHookName": "claim", "LifecycleActionResult": "CONTINUE"},
    ),
    "autoscaling:DescribeAutoScalingInstances": ("autoscaling", "describe_auto_scaling_instances", {}),
    "autoscaling:SetInstanceHealth": ("autoscaling", "set_instance_health", {"InstanceId": "@instance", "HealthStatus": "Healthy"}),
}


class Moto:
    """A server of moto's; a role with one policy, two instances, and an address that the older one holds."""

    def __init__(self, policy):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        command = [os.environ["MOTO_SERVER"], "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.wait()
            self.build(policy)
        except BaseException:
            self.close()
            raise

    def wait(self):
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.1)
        raise AssertionError("moto_server does not listen")

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=10)

    def build(self, policy):
        self.administrator = boto3.session.Session("AKIAADMINISTRATOR", "secret", region_name=NAME)
        self.ec2 = self.client(self.administrator, "ec2")
        iam, sts = (self.client(self.administrator, service) for service in ("iam", "sts"))
        role = iam.create_role(RoleName="eip-claim", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        iam.put_role_policy(RoleName="eip-claim", PolicyName="claim", PolicyDocument=json.dumps(policy))
        self.keys = sts.assume_role(RoleArn=role, RoleSessionName="i-1")["Credentials"]
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
        self.role = boto3.session.Session(*(self.keys[name] for name in names), region_name=NAME)
        self.old = self.launch()
        # EC2's launch times are to the second.
        time.sleep(1.1)
        self.new = self.launch()
        self.address = self.ec2.allocate_address(Domain="vpc", TagSpecifications=TAGS)["AllocationId"]
        onto = {"AllocationId": self.address, "InstanceId": self.old["InstanceId"]}
        self.association = self.ec2.associate_address(**onto)["AssociationId"]

    def launch(self):
        return self.ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"][0]

    def client(self, session, service):
        config = botocore.config.Config(retries={"total_max_attempts": 1})
        return session.client(service, endpoint_url=self.url, config=config)

    def enforce(self, enforced):
        """Whether moto looks at policies from now on."""
        count = b"0" if enforced else b"inf"
        request = urllib.request.Request(f"{self.url}/moto-api/reset-auth", count, {"Content-Type": "text/plain"})
        assert json.load(urllib.request.urlopen(request))["status"] == "ok"

    def holder(self):
        self.enforce(False)
        (address,) = self.ec2.describe_addresses()["Addresses"]
        self.enforce(True)
        return address["InstanceId"]

    def run(self, region, instance, *arguments):
        """Runs the program on the instance, whose metadata the fake region shows in the place of its own."""

        def says(path, body, calls="all"):
            fault = {"garbage": body, "content_type": "text/plain"}
            region.do("fault", api=f"GET /latest/{path}", calls=calls, fault=fault)

        region.do("clear_faults")
        (card,) = instance["NetworkInterfaces"]
        identity = {
            "instanceId": instance["InstanceId"],
            "region": NAME,
            "availabilityZone": f"{NAME}a",
            "privateIp": instance["PrivateIpAddress"],
            "pendingTime": "2026-01-01T00:00:00Z",
        }
        keys = {"AccessKeyId": self.keys["AccessKeyId"], "SecretAccessKey": self.keys["SecretAccessKey"]}
        keys = {"Code": "Success", "Type": "AWS-HMAC", **keys, "Token": self.keys["SessionToken"]}
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
        keys["Expiration"] = until.strftime("%Y-%m-%dT%H:%M:%SZ")
        says("dynamic/instance-identity/document", json.dumps(identity))
        says("meta-data/iam/security-credentials/eip-claim", json.dumps(keys))
        macs = "meta-data/network/interfaces/macs/02:5e:00:00:00:01"
        says(f"{macs}/interface-id", card["NetworkInterfaceId"])
        says(f"{macs}/local-ipv4s", instance["PrivateIpAddress"])
        # The public address that the write brings.
        says(f"{macs}/public-ipv4s", "198.51.100.7", {"first": 1})
        says(f"{macs}/public-ipv4s", "203.0.113.7")
        apis = {f"AWS_ENDPOINT_URL_{name}": self.url for name in ("EC2", "STS", "AUTO_SCALING")}
        return region.run("me", *arguments, **apis)


@pytest.fixture
def metadata(tmp_path):
    me = {"name": "me", "launched_ago_s": 3600, "tags": {"eip-claim": "web"}}
    with contextlib.closing(Region({"instances": [me]}, tmp_path)) as region:
        yield region


@pytest.fixture(params=["original", "recommended"])
def moto(request):
    policy = documents.policy(request.param)
    with contextlib.closing(Moto(policy)) as moto:
        moto.name, moto.allowed = request.param, documents.actions(policy)
        moto.enforce(True)
        yield moto


def test_what_the_policy_allows_passes_and_every_other_call_is_refused(moto):
    values = {"@address": moto.address, "@instance": moto.old["InstanceId"], "@association": moto.association}
    assert set(CALLS) == set().union(*documents.needs().values())
    for action, (service, operation, parameters) in CALLS.items():
        parameters = {name: values.get(value, value) for name, value in parameters.items()}
        try:
            refused = refusal(getattr(moto.client(moto.role, service), operation), **parameters)
        except botocore.parsers.ResponseParserError as page:
            # Moto permits it, and does not have it.
            assert action == "sts:DecodeAuthorizationMessage" and "500 Internal Server Error" in str(page)
            refused = None
        is_denied = refused is not None and refused[0] in DENIED
        assert is_denied == (action not in moto.allowed), (action, refused)


def test_the_program_does_by_it_what_the_readme_says(moto, metadata):
    always = ["--takeover=always", f"--allocation-id={moto.address}"]
    old, new = moto.old["InstanceId"], moto.new["InstanceId"]
    if moto.name == "original":
        refused = moto.run(metadata, moto.new)
        assert (refused.exit, moto.holder()) == (77, old), refused
        forced = moto.run(metadata, moto.new, *always)
        assert (forced.exit, forced.result["verified_by"], moto.holder()) == (0, ["imds"], new), forced
        return
    taken = moto.run(metadata, moto.new)
    assert (taken.exit, taken.result["verified_by"], moto.holder()) == (0, ["api"], new), taken
    assert moto.run(metadata, moto.old).exit == 69
    shown = moto.run(metadata, moto.old, "status")
    assert (shown.exit, shown.result["plan"]["decision"]) == (0, "yield"), shown
    released = moto.run(metadata, moto.new, "release")
    assert (released.exit, moto.holder()) == (0, ""), released
    assert moto.run(metadata, moto.old, *always).exit == 0 and moto.holder() == old
