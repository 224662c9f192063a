"""The README of the module says what the module is."""

import re
import subprocess
import sys

from conftest import ROOT
from test_module import MISTAKES


def test_the_tables_are_those_of_the_module():
    subprocess.run([sys.executable, ROOT / "packaging" / "terraform.py", "--check"], check=True, timeout=60)


def test_the_figures_are_true():
    text = (ROOT / "terraform" / "README.md").read_text()
    assert f"and {len(MISTAKES)} planted mistakes" in text
    (version,) = re.findall(r"schema of the AWS provider (\S+),", text)
    assert f"# {version} of the provider" in (ROOT / "tests" / "terraform" / "schema.txt").read_text()
