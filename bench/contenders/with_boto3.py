"""The same in one Python process: the metadata by the standard library, the address by boto3."""

import json
import urllib.request

import boto3

METADATA = "http://169.254.169.254/latest"
# What IMDS is asked for never goes through a proxy.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(path, method="GET", **headers):
    request = urllib.request.Request(f"{METADATA}/{path}", method=method, headers=headers)
    return OPENER.open(request, timeout=5).read().decode()


token = {"X-aws-ec2-metadata-token": ask("api/token", "PUT", **{"X-aws-ec2-metadata-token-ttl-seconds": "60"})}
document = json.loads(ask("dynamic/instance-identity/document", **token))
value = ask("meta-data/tags/instance/eip-claim", **token)

ec2 = boto3.client("ec2", region_name=document["region"])
(address,) = ec2.describe_addresses(Filters=[{"Name": "tag:eip-claim", "Values": [value]}])["Addresses"]
ec2.associate_address(
    AllocationId=address["AllocationId"], InstanceId=document["instanceId"], AllowReassociation=True
)
