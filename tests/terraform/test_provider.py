"""What Terraform refuses with the stand-in for the AWS provider, and so with the provider itself."""

import json
import os

import pytest
from conftest import REAL

HEAD = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
"""
GROUP = 'resource "aws_autoscaling_group" "x" {\n  min_size = 1\n  max_size = 1\n  %s\n}\n'
REFUSED = {
    "an argument that does not exist": ('resource "aws_eip" "x" {\n  vpc = true\n}\n', "Unsupported argument"),
    "a block that does not exist": ('resource "aws_eip" "x" {\n  filter {}\n}\n', "Unsupported block type"),
    "a resource that does not exist": ('resource "aws_elastic_ip" "x" {}\n', "Invalid resource type"),
    "a wrong type": ('resource "aws_eip" "x" {\n  tags = "asg=test"\n}\n', "Incorrect attribute value type"),
    "an attribute that is only read": ('resource "aws_eip" "x" {\n  public_ip = "203.0.113.7"\n}\n', "Value for unconfigurable attribute"),
    "an argument that is missing": ('resource "aws_ec2_tag" "x" {\n  key = "asg"\n}\n', "Missing required argument"),
    "a block too many": (GROUP % 'launch_template {\n id = "lt-0a"\n}\n  launch_template {\n id = "lt-0b"\n}', "Too many launch_template blocks"),
    "an argument where a block belongs": (GROUP % "timeouts = []", "Unsupported argument"),
    "an argument of a block that does not exist": (GROUP % "timeouts {\n create = \"1m\"\n}", "Unsupported argument"),
    "a block instead of an argument": ('resource "aws_eip" "x" {\n  tags {}\n}\n', "Unsupported block type"),
    "an output that does not exist": ('resource "aws_eip" "x" {}\noutput "x" {\n  value = aws_eip.x.ip\n}\n', "Unsupported attribute"),
    "a deprecated argument": ('resource "aws_iam_role" "x" {\n  assume_role_policy = ""\n  managed_policy_arns = []\n}\n', "Argument is deprecated"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", REFUSED)
def test_terraform_says_what_is_wrong(terraform, tmp_path, wrong):
    text, summary = REFUSED[wrong]
    folder = tmp_path / "wrong"
    folder.mkdir()
    (folder / "main.tf").write_text(HEAD + text)
    terraform.run(folder, "init", "-input=false")
    status = 0 if "deprecated" in wrong else 1
    judgement = json.loads(terraform.run(folder, "validate", "-json", status=status))
    assert summary in [each["summary"] for each in judgement["diagnostics"]], judgement


def flat(block, prefix=""):
    """A schema as lines that can be compared, without what the bindings do not tell."""
    for name, about in block.get("attributes", {}).items():
        flags = [flag for flag in ("required", "optional", "computed") if about.get(flag)]
        yield prefix + name, json.dumps([about["type"], flags])
    for name, about in block.get("block_types", {}).items():
        yield prefix + name, json.dumps([about["nesting_mode"], about.get("min_items", 0) > 0, about.get("max_items") == 1])
        yield from flat(about["block"], f"{prefix}{name}.")


def test_the_schema_that_terraform_sees_is_the_one_that_was_read(terraform):
    """With AWS_PROVIDER=1 this compares the provider itself with what was read of its bindings."""
    folder = terraform.example("logic")
    (seen,) = json.loads(terraform.run(folder, "providers", "schema", "-json"))["provider_schemas"].values()
    with open(os.environ["PROVIDER_SCHEMA"]) as file:
        read = json.load(file)
    for kind in ("resource_schemas", "data_source_schemas"):
        for name, schema in read[kind].items():
            assert dict(flat(seen[kind][name]["block"])) == dict(flat(schema["block"])), name


@pytest.mark.skipif(REAL, reason="the provider itself creates things")
def test_the_stand_in_creates_nothing(terraform):
    folder = terraform.example("logic")
    terraform.plan(folder, image_id="ami-0a", subnet_ids=["subnet-0a"], security_group_ids=["sg-0a"])
    assert "the stand-in creates nothing" in terraform.run(folder, "apply", "-input=false", "plan", status=1)
