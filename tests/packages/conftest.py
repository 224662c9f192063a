"""A machine to install on: a copy of this system's files that goes away, with the tools that are on it."""

import os
import subprocess

import pytest

# A namespace of mounts that lives as long as its input is open; what is written stays in memory.
NAMESPACE = """
mount -t tmpfs none "$1"
mkdir "$1/written" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/written,workdir=$1/work" "$1/root"
mount -t proc none "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs none "$1/root/run"
echo ready
cat
"""
# Notes how it is called, and behaves as if every unit were enabled, so that who wants to start one goes on to do so.
RECORDER = """#!/bin/sh
echo "${0##*/} $*" >>/run/calls
[ "$1" != is-enabled ] && [ "$2" != is-enabled ] || echo enabled
"""


class Machine:
    """Files of this system that may be changed, without systemd running on them."""

    def __init__(self, directory):
        self.root = directory / "root"
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-euc", NAMESPACE, "sh", directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.holder.stdout.readline() == "ready\n", "a namespace of mounts needs root"

    def close(self):
        self.holder.stdin.close()
        self.holder.wait(timeout=10)

    def run(self, *command, status=0, text=None):
        """Runs a command on it, which must end with this status; its standard output and error."""
        enter = ["nsenter", "--mount", "--target", str(self.holder.pid), "chroot", self.root]
        environment = {"PATH": os.defpath + ":/usr/sbin:/sbin", "HOME": "/root", "TMPDIR": "/run", "LC_ALL": "C.UTF-8"}
        ended = subprocess.run(
            [*enter, *command], env=environment, input=text or "", text=True, timeout=120,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert ended.returncode == status, f"{command} ended with {ended.returncode}: {ended.stdout}"
        return ended.stdout

    def put(self, path, content, mode="644"):
        self.run(
            "sh", "-euc", 'mkdir -p "${1%/*}"; rm -f "$1"; cat >"$1"; chmod "$2" "$1"', "sh", path, mode, text=content
        )

    def get(self, path):
        return self.run("cat", path)

    def has(self, path):
        return self.run("sh", "-c", '[ -e "$1" ] || [ -L "$1" ]; echo $?', "sh", path) == "0\n"

    def record(self, *commands):
        """Puts a recorder in the place of each of these commands."""
        for command in commands:
            self.put(f"/usr/bin/{command}", RECORDER, "755")

    def calls(self):
        """How the recorders were called, since the last time."""
        calls = self.run("sh", "-c", "touch /run/calls; cat /run/calls; rm /run/calls")
        return calls.splitlines()


@pytest.fixture
def machine(tmp_path):
    directory = tmp_path / "machine"
    directory.mkdir()
    machine = Machine(directory)
    yield machine
    machine.close()
