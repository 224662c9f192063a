"""Runs the real Terraform on copies of the module, with the stand-in for the AWS provider, or the provider itself.

TERRAFORM names the program. AWS_PROVIDER=1 takes the provider from wherever `terraform init` finds one (the registry,
or the mirror that the user's own Terraform configuration names); otherwise PROVIDER_SCHEMA is the stand-in's schema.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
REAL = bool(os.environ.get("AWS_PROVIDER"))

# The provider itself wants credentials before it plans, and would try them.
OFFLINE = """
provider "aws" {
  access_key                  = "unused"
  secret_key                  = "unused"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}
"""


class Terraform:
    """A copy of the repository's Terraform part, and Terraform to run in it."""

    def __init__(self, directory, attach):
        self.root = directory
        for part in ("terraform", "userdata", "systemd"):
            shutil.copytree(ROOT / part, directory / part, ignore=shutil.ignore_patterns(".terraform*"))
        self.module = directory / "terraform"
        self.environment = {**os.environ, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_CLI_ARGS": "-no-color"}
        if attach:
            # Whatever the user has configured is for the provider itself.
            self.environment |= {"TF_REATTACH_PROVIDERS": attach, "TF_CLI_CONFIG_FILE": os.devnull}

    def run(self, folder, *arguments, status=0):
        """Runs a command of Terraform there, which must end with this status, unless it is None; what it says."""
        ended = subprocess.run(
            [os.environ["TERRAFORM"], f"-chdir={folder}", *arguments],
            env=self.environment, text=True, timeout=600, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert status in (ended.returncode, None), f"{arguments} ended with {ended.returncode}: {ended.stdout}"
        return ended.stdout

    def example(self, name):
        """An example, ready to be used."""
        folder = self.module / "examples" / name
        if REAL:
            (folder / "offline_override.tf").write_text(OFFLINE)
        self.run(folder, "init", "-input=false")
        return folder

    def plan(self, folder, **variables):
        """The plan for these variables, which warns of nothing, as JSON."""
        (folder / "terraform.tfvars.json").write_text(json.dumps(variables))
        said = self.run(folder, "plan", "-input=false", "-lock=false", "-out=plan")
        assert "Warning:" not in said, said
        return json.loads(self.run(folder, "show", "-json", "plan"))


@pytest.fixture(scope="session")
def attach(tmp_path_factory):
    """How to attach to the stand-in, as long as there is one."""
    if REAL:
        yield None
        return
    socket = tmp_path_factory.mktemp("stand-in") / "socket"
    stand_in = subprocess.Popen(
        [sys.executable, HERE / "stand_in.py", os.environ["PROVIDER_SCHEMA"], socket],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    attach = stand_in.stdout.readline()
    assert attach, "the stand-in does not start"
    yield attach
    stand_in.stdin.close()
    assert stand_in.wait(timeout=10) == 0, "the stand-in ends well at the end of its input"


@pytest.fixture
def terraform(tmp_path, attach):
    return Terraform(tmp_path, attach)


def resources(plan):
    """All that a plan creates, by its address in its module: the values as far as they are known."""

    def walk(module):
        for resource in module.get("resources", []):
            yield resource["address"].removeprefix(module.get("address", "") + "."), resource["values"]
        for child in module.get("child_modules", []):
            yield from walk(child)

    return dict(walk(plan["planned_values"]["root_module"]))
