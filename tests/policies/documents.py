"""The policies and the README, as they are in the repository."""

import copy
import json
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
DIRECTORY = ROOT / "terraform/policies"
FILES = sorted(file.name for file in DIRECTORY.glob("*"))
README = (ROOT / "README.md").read_text()
(SECTION,) = re.findall(r"^### Permissions\n(.*?)^## ", README, re.S | re.M)


def policy(name):
    return json.loads((DIRECTORY / f"{name}.json").read_text())


def merged(*names):
    """One policy with the statements of several."""
    return {"Version": "2012-10-17", "Statement": [s for name in names for s in policy(name)["Statement"]]}


def listed(value):
    return value if isinstance(value, list) else [value]


def actions(document):
    return {action for statement in document["Statement"] for action in listed(statement["Action"])}


def without(document, action):
    """The policy without an action."""
    document = copy.deepcopy(document)
    for statement in document["Statement"]:
        statement["Action"] = [other for other in listed(statement["Action"]) if other != action]
    document["Statement"] = [statement for statement in document["Statement"] if statement["Action"]]
    return document


def allowing(needed):
    """A policy of nothing but these actions."""
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": sorted(needed), "Resource": "*"}]}


def rows(heading):
    """The rows of the README's table with this heading, as cells of text."""
    lines = SECTION[SECTION.index(heading) :].splitlines()[2:]
    table = lines[: lines.index("")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def needs():
    """What the README says that each feature needs."""
    table = {feature: permissions for feature, permissions, _ in rows("| for | it needs |")}
    named = {feature: set(re.findall(r"`(\w+:\w+)`", cell)) for feature, cell in table.items()}
    claim = named["a free address"]
    return {f: found | claim if table[f].startswith("+") else found for f, found in named.items()}


def outcomes():
    """What the README says of each feature without one of its permissions."""
    return {feature: outcome for feature, _, outcome in rows("| for | it needs |")}
