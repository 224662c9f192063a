"""A machine under test: the tree with the package, booted by systemd-nspawn with systemd as process 1.

What it changes goes to an overlay of its own, which is there in every boot of the machine and gone after the test.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from cloud import DIRECTORY, run

UNITS = ["eip-claim.service", "eip-claim@*.service", "eip-claim-again.service", "eip-claim.timer"]
# Long enough for a machine that is busy with other tests.
PATIENCE = 60
# systemd's SD_MESSAGE_UNIT_PROCESS_EXIT.
PROCESS_EXIT = "98e322203f7a4ed290d09fe03c09fe15"
# Moves itself to the control groups before `--`, and becomes the command after it.
MOVE = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done; shift; exec "$@"'


class Machine:
    """The tree, before and after a boot and while it runs."""

    def __init__(self, name, cloud, layers=("layer", "bare", "base")):
        self.name, self.cloud = name, cloud
        self.root = DIRECTORY / "machines" / name / "root"
        self.cleanup = contextlib.ExitStack()
        self.running = None
        self.pid = None
        for part in ("changes", "work", "root"):
            (self.root.parent / part).mkdir(parents=True)
        self.cleanup.callback(shutil.rmtree, self.root.parent)
        lower = ":".join(str(DIRECTORY / layer) for layer in layers)
        changes = f"upperdir={self.root.parent}/changes,workdir={self.root.parent}/work"
        run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},{changes}", self.root)
        self.cleanup.callback(run, "umount", self.root)

    # Before a boot.

    def write(self, path, text, mode=0o644):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def drop_in(self, unit, text):
        self.write(f"/etc/systemd/system/{unit}.d/test.conf", text)

    def enable(self, *units):
        run("systemctl", "--quiet", f"--root={self.root}", "enable", *units)

    def disable(self, *units):
        run("systemctl", "--quiet", f"--root={self.root}", "disable", *units)

    # A boot.

    def boot(self, interfaces=1):
        """Boots, and returns as soon as systemd runs."""
        assert not self.running, "one boot at a time"
        self.running = contextlib.ExitStack()
        self.running.push(self.cloud.plug(f"{self.name}m", interfaces))
        groups = make_groups(self.name)
        self.running.callback(remove_groups, groups)
        console = self.running.enter_context(open(self.root.parent / "console", "ab"))
        command = [
            *["sh", "-c", MOVE, "sh", *groups, "--"],
            *["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe"],
            *["--resolv-conf=off", "--link-journal=no", f"--machine={self.name}", f"--directory={self.root}"],
            # Its own network is its own to configure.
            *[f"--network-namespace-path=/run/netns/{self.name}m", "--capability=CAP_NET_ADMIN"],
        ]
        nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        self.running.callback(self.kill, nspawn)
        self.pid = until(lambda: leader(nspawn) or nspawn.poll() is not None and -1, f"{self.name} has a process 1")
        assert self.pid != -1, f"systemd-nspawn ended: {(self.root.parent / 'console').read_text()}"
        until(lambda: self.call("systemctl", "show", "--property=Version").returncode == 0, "systemd answers")

    def power_off(self):
        """Ends the boot in order."""
        os.kill(self.pid, signal.SIGRTMIN + 4)
        until(lambda: not Path(f"/proc/{self.pid}").exists(), "the machine is off")
        self.crash()

    def crash(self):
        """Ends the boot at once."""
        running, self.running = self.running, None
        self.pid = None
        if running:
            running.close()

    def kill(self, nspawn):
        pid = leader(nspawn)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            nspawn.wait(timeout=30)
        except subprocess.TimeoutExpired:
            nspawn.kill()
            nspawn.wait()

    def close(self):
        self.crash()
        self.cleanup.close()

    # Inside of it.

    def call(self, *command):
        """What became of a command inside."""
        into = ["nsenter", "--target", str(self.pid), "--all"]
        return subprocess.run([*into, *command], capture_output=True, text=True, check=False)

    def run(self, *command):
        """The standard output of a command inside that has to succeed."""
        done = self.call(*command)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def show(self, unit, *properties):
        """Properties of a unit, or with an empty name of the manager: one alone, or a dictionary."""
        text = self.run("systemctl", "show", *([unit] if unit else []), *[f"--property={name}" for name in properties])
        values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        return values[properties[0]] if len(properties) == 1 else values

    def wait_for(self, unit, *states, timeout=PATIENCE):
        """Waits until the unit is in one of the states, and returns it."""
        return until(
            lambda: (state := self.show(unit, "ActiveState")) in states and state, f"{unit} is {states}", timeout
        )

    def entries(self, *matches):
        """The entries of the journal in this boot, as dictionaries."""
        # Early in a boot there is no journal to wait for.
        self.call("journalctl", "--sync")
        text = self.call("journalctl", "--boot", "--output=json", "--all", *matches).stdout
        return [json.loads(line) for line in text.splitlines()]

    def results(self, unit="eip-claim.service"):
        """How the runs of the unit ended, as the program itself has it in the journal."""
        return [entry for entry in self.entries(f"_SYSTEMD_UNIT={unit}") if "EIP_CLAIM_OUTCOME" in entry]

    def result(self, directory="/run/eip-claim"):
        """The result as a file, read as the user nobody."""
        text = self.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", f"{directory}/result.json")
        return json.loads(text)

    def exits(self, unit):
        """The codes with which processes of the unit ended, as systemd has them in the journal."""
        entries = self.entries(f"UNIT={unit}", f"MESSAGE_ID={PROCESS_EXIT}")
        return [entry["EXIT_STATUS"] for entry in entries if entry["EXIT_CODE"] == "exited"]

    def seconds(self, unit, moment):
        """When a unit last did that, in seconds since the start of userspace."""
        start = int(self.show("", "UserspaceTimestampMonotonic"))
        then = int(self.show(unit, f"{moment}TimestampMonotonic"))
        return (then - start) / 1e6 if then else None

    def story(self):
        """What a person has to see when a test has failed."""
        journal = ["journalctl", f"--directory={self.root}/var/log/journal", "--boot", "--output=short-monotonic"]
        if self.pid:
            journal = ["nsenter", "--target", str(self.pid), "--all", "journalctl", "--boot", "--output=short-monotonic"]
        units = [f"--unit={unit}" for unit in UNITS]
        text = subprocess.run([*journal, *units], capture_output=True, text=True, check=False).stdout
        if self.pid:
            text += self.call("systemctl", "list-jobs").stdout + self.call("systemctl", "--failed").stdout
        console = (self.root.parent / "console").read_text() if (self.root.parent / "console").exists() else ""
        return f"{text}\n{console}"


def until(condition, what, timeout=PATIENCE):
    """Waits for a condition, and returns what it is."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {timeout} s: {what}"
        time.sleep(0.05)
    return value


def leader(nspawn):
    """Process 1 of a machine, once it is systemd."""
    try:
        children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children").read_text().split()
        if children and Path(f"/proc/{children[0]}/comm").read_text().strip() == "systemd":
            return int(children[0])
    except OSError:
        pass
    return None


def make_groups(name):
    """A control group of this name in every hierarchy, below that of this process.

    Two machines in one group would find each other's units in it.
    """
    own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    groups = []
    for mount in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options, *_ = mount.split()
        for _, controllers, path in own:
            # Version 2 has no controllers here, and a group for cpusets takes nobody before it is set up.
            is_here = set(controllers.split(",")) <= set(options.split(",")) if controllers else kind == "cgroup2"
            if kind.startswith("cgroup") and is_here and controllers != "cpuset":
                group = Path(where) / path.lstrip("/") / name
                group.mkdir(exist_ok=True)
                groups.append(group)
    return groups


def remove_groups(groups):
    for group in groups:
        # From the leaves up; what died is out of them soon.
        for inner, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(AssertionError):
                until(lambda: remove(inner), f"{inner} is empty", 5)


def remove(group):
    try:
        os.rmdir(group)
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True
