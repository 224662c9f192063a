"""Machines and clouds for the tests, their end whatever happens, and the table of times.

`make test-boot` sets what has to be set. Without that nothing here passes, and nothing is skipped.
"""

import contextlib
import fcntl
import itertools
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

for variable in ("BOOT_DIRECTORY", "FAKECLOUD_BIN"):
    if not os.environ.get(variable):
        pytest.exit(f"the boot test cannot run: {variable} is not set (`make test-boot` sets it)", 2)

from cloud import DIRECTORY, Cloud
from machine import Machine

# Whatever has a name that begins so is ours.
NAMES = "eipt"


def pytest_configure(config):
    if hasattr(config, "workerinput"):
        return
    for part in ("base", "bare", "layer", "tls"):
        if not (DIRECTORY / part).is_dir():
            pytest.exit(f"the boot test cannot run: there is no {DIRECTORY / part} (tree.sh builds it)", 2)
    # Held until the end of this process: two runs would take each other's machines for leftovers.
    config.boot_lock = open(DIRECTORY / "lock", "wb")
    try:
        fcntl.flock(config.boot_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pytest.exit("the boot test cannot run: another run is under way", 2)
    clear()


def clear():
    """Removes what a run that was killed has left: what runs in namespaces of our names, and its files."""
    for namespace in Path("/run/netns").glob(f"{NAMES}*"):
        pids = subprocess.run(["ip", "netns", "pids", namespace.name], capture_output=True, text=True, check=False)
        for pid in pids.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    for root in (DIRECTORY / "machines").glob("*/root"):
        subprocess.run(["umount", "--quiet", "--lazy", root], check=False)
    shutil.rmtree(DIRECTORY / "machines", ignore_errors=True)
    for namespace in Path("/run/netns").glob(f"{NAMES}*"):
        subprocess.run(["ip", "netns", "delete", namespace.name], check=False)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for machine in getattr(item, "machines", []):
            with contextlib.suppress(Exception):
                report.sections.append((f"the units on {machine.name}", machine.story()))


@pytest.fixture
def start(request, worker_id):
    """Makes a cloud of this world and a machine in it, not booted yet."""
    request.node.machines = []
    numbers = itertools.count()
    with contextlib.ExitStack() as undo:

        def starter(world, **options):
            name = f"{NAMES}{worker_id.removeprefix('gw')}n{next(numbers)}"
            cloud = Cloud(name, world)
            undo.callback(cloud.close)
            machine = Machine(name, cloud, **options)
            undo.callback(machine.close)
            request.node.machines.append(machine)
            return cloud, machine

        yield starter


def pytest_terminal_summary(terminalreporter):
    """The times that tests have measured."""
    reports = terminalreporter.getreports("passed")
    times = [value for report in reports for key, value in report.user_properties if key == "time"]
    if times:
        terminalreporter.section("measured")
    for line in times:
        terminalreporter.write_line(line)
