"""The journal: entries arrive by its own protocol when standard error is connected to it, and only then.

A private mount namespace has a socket of ours where the journal's is.
"""

import os
import socket
import struct
import subprocess
import threading

import pytest

PROGRAM = os.environ["PROGRAM"]
# Sent after all entries, it ends the reading.
END = b"END"
UNSHARE = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
# The directory of the journal's socket is replaced by one of ours, for this process and its children alone.
INSIDE = 'mount -t tmpfs none /run && mkdir -p /run/systemd && ln -s "$1" /run/systemd/journal && shift && exec "$@"'


@pytest.fixture
def journal(tmp_path_factory):
    directory = tmp_path_factory.mktemp("j")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(directory / "socket"))
    arrived = []

    def listen():
        while (datagram := listener.recv(65536)) != END:
            arrived.append(parse(datagram))

    reader = threading.Thread(target=listen, daemon=True)
    reader.start()

    def entries():
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(END, str(directory / "socket"))
        reader.join(timeout=10)
        return arrived

    yield directory, entries
    entries()
    listener.close()


def parse(datagram):
    """The fields of one entry, by the native journal protocol."""
    entry = {}
    while datagram:
        line, _, datagram = datagram.partition(b"\n")
        if b"=" in line:
            name, _, value = line.partition(b"=")
        else:
            name, (size,) = line, struct.unpack("<Q", datagram[:8])
            value, datagram = datagram[8 : 8 + size], datagram[8 + size + 1 :]
        entry[name.decode()] = value.decode()
    return entry


def run(directory, stderr, env):
    """A run that ends at once, since nobody listens where it looks for the metadata service."""
    env = {"PATH": os.environ["PATH"], "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9", **env}
    command = [*UNSHARE, "sh", "-c", INSIDE, "sh", str(directory), PROGRAM, "--timeout=300ms"]
    return subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=stderr, timeout=30, check=False)


def stream(file):
    """What systemd sets `JOURNAL_STREAM` to when it has connected `file` to the journal."""
    status = os.fstat(file.fileno())
    return f"{status.st_dev}:{status.st_ino}"


def test_under_systemd_the_log_goes_to_the_journal_with_fields(journal, tmp_path):
    directory, entries = journal
    with open(tmp_path / "stderr", "w+", encoding="utf-8") as stderr:
        done = run(directory, stderr, {"JOURNAL_STREAM": stream(stderr)})
        stderr.seek(0)
        assert stderr.read() == ""
    assert done.returncode == 75
    logged = entries()
    end = [entry for entry in logged if entry.get("EIP_CLAIM_OUTCOME") == "failed"]
    assert len(end) == 1, logged
    assert end[0]["EIP_CLAIM_EXIT"] == "75"
    assert end[0]["EIP_CLAIM_CODE"] == "ImdsUnreachable"
    assert end[0]["PRIORITY"] == "3"
    assert end[0]["SYSLOG_IDENTIFIER"] == "eip-claim"


def test_a_standard_error_that_is_not_the_journals_gets_lines(journal, tmp_path):
    directory, entries = journal
    with open(tmp_path / "stderr", "w+", encoding="utf-8") as stderr:
        done = run(directory, stderr, {"JOURNAL_STREAM": "1:1"})
        stderr.seek(0)
        assert "no answer from IMDS" in stderr.read()
    assert done.returncode == 75
    assert [entry for entry in entries() if entry] == []
