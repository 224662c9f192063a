"""The policies as texts: what a linter says of them, what is replaced in them, and what the README shows of them."""

import json
import re

import documents
import parliament
import pytest

# The linter's list of conditions has none that holds for all of EC2's actions; the simulator (test_judges.py) knows it.
FINDINGS = {
    "tightest.json": [
        ("UNKNOWN_CONDITION_FOR_ACTION", "Unknown condition ec2:SourceInstanceARN for action ec2:AssociateAddress")
    ]
}
# What whoever has another partition or tag replaces, and in how many places of which file.
REPLACED = {'"arn:aws:': "arn:aws", "ResourceTag/eip-claim": "eip-claim", '"web"': "web"}
PLACES = {
    "interface-mode.json": 1,
    "lifecycle-hook.json": 1,
    "original.json": 0,
    "recommended.json": 0,
    "tightest.json": 1,
    "unhealthy.json": 1,
}


def test_these_are_all():
    assert documents.FILES == sorted(PLACES)


@pytest.mark.parametrize("file", documents.FILES)
def test_a_linter_finds_nothing_but_the_key_that_it_does_not_know(file):
    analysed = parliament.analyze_policy_string((documents.DIRECTORY / file).read_text())
    found = [(finding.issue, finding.detail) for finding in analysed.findings]
    assert found == FINDINGS.get(file, [])


def test_the_linter_would_find_a_wrong_action_and_a_wrong_resource():
    for action, resource, issue in [
        ("ec2:AssociateAdress", "*", "UNKNOWN_ACTION"),
        ("ec2:DescribeAddresses", "arn:aws:ec2:*:*:elastic-ip/*", "RESOURCE_MISMATCH"),
    ]:
        statement = {"Effect": "Allow", "Action": action, "Resource": resource}
        text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        assert [finding.issue for finding in parliament.analyze_policy_string(text).findings] == [issue]


@pytest.mark.parametrize("file", documents.FILES)
def test_partition_and_tag_stand_only_where_they_are_replaced(file):
    text = (documents.DIRECTORY / file).read_text()
    assert text.count("ResourceTag/eip-claim") == text.count('"web"') == PLACES[file]
    for replaced, word in REPLACED.items():
        text = text.replace(replaced, "")
        assert word not in text, (file, replaced)


@pytest.mark.parametrize("file", documents.FILES)
def test_a_statement_has_a_name_of_its_own_beside_those_of_the_other_policies(file):
    statements = [s["Sid"] for f in documents.FILES for s in documents.policy(f.removesuffix(".json"))["Statement"]]
    own = [s["Sid"] for s in documents.policy(file.removesuffix(".json"))["Statement"]]
    reads = {"Look", "Explain"}
    assert all(statements.count(sid) == 1 for sid in own if sid not in reads)


def test_the_readme_shows_the_recommended_policy_and_what_makes_the_tightest():
    recommended, *decisive = re.findall(r"```json\n(.*?)```", documents.SECTION, re.S)
    assert recommended == (documents.DIRECTORY / "recommended.json").read_text()
    tightest = documents.policy("tightest")["Statement"]
    assert [json.loads(text) for text in decisive] == tightest[:2]
    assert tightest[3:] == documents.policy("recommended")["Statement"][1:], "the same reads"


def test_the_readme_names_every_policy_and_every_permission():
    linked = re.findall(r"\]\(terraform/policies/(.*?)\)", documents.SECTION)
    assert sorted(linked) == documents.FILES
    granted = set().union(*(documents.actions(documents.policy(f.removesuffix(".json"))) for f in documents.FILES))
    assert set().union(*documents.needs().values()) == granted
