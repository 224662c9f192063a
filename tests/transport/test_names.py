"""Names: what `/etc/hosts`, `/etc/resolv.conf` and name servers say, the server being dnslib's.

Each test is a network of its own (named.py), so that the server can have its port and the files their text.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

UNSHARE = ["unshare", "--mount", "--net"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
HOST = "ec2.ap-northeast-2.amazonaws.com"
WORLD = {
    "addresses": [{"name": "web", "tags": {"eip-claim": "web"}}],
    "instances": [{"name": "me", "launched_ago_s": 3600, "tags": {"eip-claim": "web"}}],
}
USUAL = {"world": WORLD, "resolv": "nameserver 127.0.0.1\n", "hosts": "", "host": HOST, "records": {}, "mute": [], "lost": 0}


@pytest.fixture
def claim(tmp_path):
    def run(**case):
        command = [*UNSHARE, sys.executable, Path(__file__).with_name("named.py"), json.dumps({**USUAL, **case})]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def assert_claimed(end):
    assert (end["code"], end["result"]["outcome"]) == (0, "claimed"), end
    assert end["holder"]["instance"] == end["result"]["instance_id"]


def test_a_name_is_looked_up_for_each_connection_in_both_families(claim):
    end = claim(records={HOST: [["A", "127.0.0.1"]]})
    assert_claimed(end)
    # One connection for the look and the write, a new one for the confirming read.
    assert sorted(end["asked"]) == [["udp", "A", HOST]] * 2 + [["udp", "AAAA", HOST]] * 2


def test_an_alias_is_followed(claim):
    alias = "vpce-1.ec2.vpce.amazonaws.com"
    assert_claimed(claim(records={HOST: [["CNAME", alias]], alias: {"A": "127.0.0.1", "AAAA": "::1"}}))


def test_an_address_that_does_not_connect_is_not_the_last_one_tried(claim):
    # Nobody is at the first two; the port of the fake cloud is open on 127.0.0.1 alone.
    assert_claimed(claim(records={HOST: [["AAAA", "::1"], ["A", "127.0.0.9"], ["A", "127.0.0.1"]]}))


def test_one_family_is_enough_when_the_server_fails_on_the_other(claim):
    assert_claimed(claim(records={f"AAAA {HOST}": "SERVFAIL", HOST: [["A", "127.0.0.1"]]}))


@pytest.mark.parametrize("mute", [[], ["127.0.0.3", "127.0.0.4"]], ids=["absent", "mute"])
def test_the_next_server_is_asked_when_those_before_do_not_answer(claim, mute):
    resolv = "nameserver 127.0.0.3\nnameserver 127.0.0.4\nnameserver 127.0.0.1\n"
    end = claim(resolv=resolv, mute=mute, records={HOST: [["A", "127.0.0.1"]]})
    assert_claimed(end)
    assert end["result"]["attempts"] == 1


def test_a_question_that_is_lost_is_asked_again(claim):
    end = claim(lost=2, records={HOST: [["A", "127.0.0.1"]]})
    assert_claimed(end)
    assert end["result"]["attempts"] == 1


def test_a_name_that_is_not_there_is_not_asked_for_elsewhere(claim):
    resolv = "search a.internal b.internal corp.internal\nnameserver 127.0.0.1\nnameserver 127.0.0.3\n"
    end = claim(host="proxy", resolv=resolv, mute=["127.0.0.3"], records={"proxy.corp.internal": [["A", "127.0.0.1"]]})
    assert_claimed(end)
    assert end["result"]["attempts"] == 1


def test_a_file_with_a_byte_of_another_alphabet_is_read(claim):
    end = claim(resolv="# caf\xe9\nnameserver 127.0.0.1\n", records={HOST: [["A", "127.0.0.1"]]})
    assert_claimed(end)


def test_servers_that_are_silent_are_named(claim):
    resolv = "search a.internal\nnameserver 127.0.0.3\nnameserver 127.0.0.4\n"
    end = claim(resolv=resolv, mute=["127.0.0.3", "127.0.0.4"])
    assert end["code"] == 75, end
    assert "no answer from the name server 127.0.0.3 or 127.0.0.4" in end["result"]["error"]["message"]


def test_an_answer_that_is_cut_off_is_asked_for_over_tcp(claim):
    end = claim(records={HOST: ["cut off", ["A", "127.0.0.1"]]})
    assert_claimed(end)
    assert ["tcp", "A", HOST] in end["asked"]


def test_a_short_name_is_completed(claim):
    end = claim(host="proxy", resolv="search corp.internal\nnameserver 127.0.0.1\n",
                records={"proxy.corp.internal": [["A", "127.0.0.1"]]})
    assert_claimed(end)


def test_what_the_hosts_file_says_nobody_is_asked(claim):
    end = claim(hosts=f"127.0.0.1 {HOST}\n", resolv="")
    assert_claimed(end)
    assert end["asked"] == []


@pytest.mark.parametrize(
    ("records", "why"),
    [({}, "there is no such name"), ({HOST: "SERVFAIL"}, "SERVFAIL"), ({HOST: []}, "has no address")],
    ids=["unknown", "failing", "empty"],
)
def test_a_name_without_an_address_is_a_failure_that_says_so(claim, records, why):
    end = claim(records=records)
    assert (end["code"], end["result"]["error"]["code"]) == (75, "ConnectionFailed"), end
    message = end["result"]["error"]["message"]
    assert HOST in message and why in message
    assert end["holder"] is None
