"""What checkov says of the module, of the examples, and of the policies that they render.

CHECKOV names the program (`make test` sets it). A finding in a file is left out beside the resource, with its reason.
What it says of a plan is compared as a whole, since it depends on the policy that was chosen.
"""

import json
import os
import shutil
import subprocess

import pytest

ACCOUNT = {"image_id": "ami-0a", "security_group_ids": ["sg-0a"]}
SUBNETS = ["subnet-0a", "subnet-0b"]
# The original policy is what it is: any address, onto any instance. The example says what follows from that.
ANY_ADDRESS = {("CKV_AWS_290", "module.logic.aws_iam_policy.this"), ("CKV_AWS_355", "module.logic.aws_iam_policy.this")}
PLANS = {
    "the original policy": ("logic", {"subnet_ids": SUBNETS, "policy": "original"}, ANY_ADDRESS),
    "the tightest policy": ("logic", {"subnet_ids": SUBNETS, "policy": "tightest"}, set()),
    "a pool": ("pool", {"subnet_ids": SUBNETS, "vpc_id": "vpc-0a", "endpoint_security_group_ids": ["sg-0b"]}, set()),
    "a NAT instance": ("nat-instance", {"public_subnet_ids": SUBNETS, "private_route_table_ids": ["rtb-0a"]}, set()),
}


def findings(*arguments):
    """What fails, as pairs of check and resource; and how many checks passed."""
    command = [os.environ["CHECKOV"], "--skip-download", "--compact", "--output=json", "--soft-fail", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    report = json.loads(ended.stdout)
    assert report["summary"]["parsing_errors"] == 0
    return {(each["check_id"], each["resource"]) for each in report["results"]["failed_checks"]}, report["summary"]["passed"]


def test_nothing_is_found_in_the_files(terraform):
    failed, passed = findings("--framework=terraform", "--directory", terraform.module)
    assert failed == set() and passed > 40


@pytest.mark.parametrize("what", PLANS)
def test_a_plan_has_no_finding_that_is_not_meant(terraform, tmp_path, what):
    name, variables, meant = PLANS[what]
    plan = terraform.plan(terraform.example(name), **ACCOUNT, **variables)
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    root = tmp_path / "root"
    shutil.copytree(terraform.module, root, ignore=shutil.ignore_patterns(".terraform*", "plan"))
    failed, passed = findings(
        "--framework=terraform_plan", "--file", tmp_path / "plan.json", "--repo-root-for-plan-enrichment", root
    )
    assert failed == meant and passed > 15


def test_a_finding_is_found(terraform):
    """A launch template that does not demand IMDSv2 is one that checkov names."""
    path = terraform.module / "main.tf"
    path.write_text(path.read_text().replace('= "required"', '= "optional"', 1))
    failed, _ = findings("--framework=terraform", "--directory", terraform.module)
    assert ("CKV_AWS_79", "module.logic.aws_launch_template.this") in failed
