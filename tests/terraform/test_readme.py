"""The READMEs say what the module is."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT, resources
from test_module import MISTAKES

PAGES = ["README.md", "terraform/README.md"]


def test_the_tables_are_those_of_the_module():
    subprocess.run([sys.executable, ROOT / "packaging" / "terraform.py", "--check"], check=True, timeout=60)


def test_the_figures_are_true():
    text = (ROOT / "terraform" / "README.md").read_text()
    assert f"and {len(MISTAKES)} planted mistakes" in text
    (version,) = re.findall(r"schema of the AWS provider (\S+),", text)
    assert f"# {version} of the provider" in (ROOT / "tests" / "terraform" / "schema.txt").read_text()


@pytest.mark.parametrize("page", PAGES)
def test_the_call_of_the_module_makes_what_the_page_says(terraform, page):
    (call,) = [code for code in re.findall(r"```hcl\n(.*?)```", (ROOT / page).read_text(), re.S) if "module " in code]
    folder = terraform.module / "examples" / "page"
    folder.mkdir()
    region = "" if "provider " in call else 'provider "aws" {\n  region = "ap-northeast-2"\n}\n'
    (folder / "main.tf").write_text(region + call.replace('"./eip-claim/terraform"', '"../.."'))
    planned = resources(terraform.plan(terraform.example("page")))
    assert len(planned) == 7
    assert planned["aws_eip.this[0]"]["tags"]["eip-claim"] == "bastion"


def test_a_pool_has_as_many_addresses_as_the_page_says(terraform):
    rows = re.findall(r"^\| (\d+) \| (?:(none|any)|at most (\d+) .*?) \| (\d+)", (ROOT / "README.md").read_text(), re.M)
    assert len(rows) == 5
    folder = terraform.example("pool")
    path = folder / "main.tf"
    text = path.read_text()
    for size, _, percent, addresses in rows:
        policy = ""
        if percent:
            policy = f"instance_maintenance_policy = {{\nmin_healthy_percentage = 90\nmax_healthy_percentage = {percent}\n}}\n"
        path.write_text(re.sub(r"size  += 3\n", f"size = {size}\n{policy}", text))
        plan = terraform.plan(
            folder, subnet_ids=["subnet-0a"], image_id="ami-0a", security_group_ids=["sg-0a"], vpc_id="vpc-0a",
            endpoint_security_group_ids=["sg-0b"],
        )  # fmt: skip
        created = [name for name in resources(plan) if name.startswith("aws_eip.")]
        assert len(created) == int(addresses), f"for {size} instances at {percent} %"
