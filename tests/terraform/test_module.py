"""Terraform's own judgement of the module and its examples, and that each of its tests can fail."""

import json
import re

import pytest
from conftest import ROOT

EXAMPLES = sorted(folder.name for folder in (ROOT / "terraform" / "examples").iterdir())


def test_everything_is_formatted(terraform):
    assert terraform.run(terraform.module, "fmt", "-check", "-recursive", "-diff") == ""


@pytest.mark.parametrize("example", [None, *EXAMPLES])
def test_every_argument_is_one_that_the_provider_has_and_none_is_deprecated(terraform, example):
    if example:
        folder = terraform.example(example)
    else:
        folder = terraform.module
        terraform.run(folder, "init", "-input=false")
    judgement = json.loads(terraform.run(folder, "validate", "-json"))
    assert judgement["valid"] and judgement["diagnostics"] == [], judgement


def test_the_module_passes_its_own_tests(terraform):
    terraform.run(terraform.module, "init", "-input=false")
    said = terraform.run(terraform.module, "test")
    runs = [run for file in terraform.module.glob("tests/*.tftest.hcl") for run in re.findall(r"^run ", file.read_text(), re.M)]
    assert f"{len(runs)} passed, 0 failed" in said, said


# A mistake, and the run that finds it.
MISTAKES = [
    ("main.tf", 'http_tokens                 = "required"', 'http_tokens                 = "optional"', "the_defaults"),
    ("main.tf", "http_put_response_hop_limit = 1", "http_put_response_hop_limit = 2", "the_defaults"),
    ("main.tf", 'instance_metadata_tags      = "enabled"', 'instance_metadata_tags      = "disabled"', "the_defaults"),
    ("main.tf", "propagate_at_launch = true", "propagate_at_launch = false", "the_defaults"),
    ("main.tf", 'version = "$Latest"', 'version = "$Default"', "the_defaults"),
    ("main.tf", 'var.tag_key == "eip-claim" ? {} :', "", "the_defaults"),
    ("variables.tf", "default     = 300", "default     = 301", "the_defaults"),
    ("main.tf", "name = local.role_name", "name = var.name", "names_of_their_own"),
    ("main.tf", "tags        = local.tags", "tags        = {}", "names_of_their_own"),
    ("main.tf", '"ResourceTag/eip-claim", ', '"ResourceTag/eip-klaim", ', "another_tag"),
    ("main.tf", '"\\"web\\""', '"\\"wed\\""', "another_tag"),
    ("main.tf", '"\\"arn:aws:"', '"\\"arn:awz:"', "another_tag"),
    ("main.tf", "length(var.allocation_ids) > 0 ? 0 :", "false ? 0 :", "an_adopted_address"),
    ("main.tf", "count = length(var.allocation_ids)", "count = 0", "an_adopted_address"),
    ("main.tf", "ceil(var.size * 0.1)", "floor(var.size * 0.1)", "a_pool_of_twenty_five"),
    ("main.tf", "local.max_healthy_percentage != 100", "true", "a_pool_that_terminates_first"),
    ("main.tf", "(coalesce(local.max_healthy_percentage, 100) - 100)", "0", "a_pool_that_launches_first"),
    ("main.tf", "condition     = length(local.allocation_ids) >= local.simultaneous", "condition     = length(local.allocation_ids) >= 1", "a_pool_without_spare_addresses_is_warned_of"),
    ("main.tf", 'EC2_INSTANCE_LAUNCHING"', 'EC2_INSTANCE_TERMINATING"', "a_launch_hook"),
    ("main.tf", '["lifecycle-hook"] : []', "[] : []", "a_launch_hook"),
    ("main.tf", '["unhealthy"] : []', "[] : []", "bad_health"),
    ("main.tf", '["interface-mode"] : []', "[] : []", "an_interface_of_choice"),
    ("main.tf", 'for_each = ["network-interface", "volume"]', 'for_each = ["volume"]', "an_interface_of_choice"),
    ("main.tf", "private_dns_enabled = true", "private_dns_enabled = false", "endpoints"),
    ("main.tf", 'local.told_auto_scaling ? ["autoscaling"] : []', "[]", "endpoints_with_a_hook"),
    ("main.tf", "coalesce(var.interface_endpoints.subnet_ids, var.subnet_ids)", "var.subnet_ids", "endpoints_with_a_hook"),
    ("main.tf", "var.user_data != null ? var.user_data :", "", "user_data_of_ones_own"),
]  # fmt: skip


def failing(terraform, file, old, new, tests, wanted):
    """Which runs of a file of tests, of those that have a certain text, fail when the module has this mistake."""
    path = terraform.module / file
    right = path.read_text()
    assert old in right, f"{file} has no {old}"
    path.write_text(right.replace(old, new, 1))
    head, *runs = re.split(r"^(?=run )", (terraform.module / "tests" / tests).read_text(), flags=re.M)
    some = terraform.module / "tests" / "some.tftest.hcl"
    some.write_text("".join([head, *(run for run in runs if wanted in run)]))
    said = terraform.run(terraform.module, "test", "-filter=tests/some.tftest.hcl", status=None)
    path.write_text(right)
    return re.findall(r'run "(\w+)"\.\.\. fail', said)


def test_every_mistake_is_found(terraform):
    terraform.run(terraform.module, "init", "-input=false")
    for file, old, new, run in MISTAKES:
        found = failing(terraform, file, old, new, "created.tftest.hcl", f'run "{run}"')
        assert found == [run], f"nobody notices {new} instead of {old}"


def test_every_validation_is_needed(terraform):
    """Without any one of them, something passes that should be refused."""
    terraform.run(terraform.module, "init", "-input=false")
    text = (terraform.module / "variables.tf").read_text()
    rules = re.findall(r"  validation \{\n.*?\n  \}\n", text, re.S)
    assert len(rules) == len(set(rules)) == text.count("error_message")
    for rule in rules:
        variable = re.findall(r'^variable "(\w+)"', text[: text.index(rule)], re.M)[-1]
        found = failing(terraform, "variables.tf", rule, "", "refused.tftest.hcl", f"[var.{variable}]")
        assert found, f"nobody notices that this is missing:\n{rule}"
