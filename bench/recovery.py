"""How soon after a fault has ended the claim succeeds, and with how many attempts.

`make bench-recovery` runs it. Every run has a fake cloud of its own, in which something is wrong when the program
starts, for about as long as the row says; the seed of the run draws by how much it is shorter or longer, so that the
end comes at any phase of the pauses. The program draws its own jitter, as it always does. A run counts from right
before the order that ends the fault until the program has ended with exit code 0 and the instance has the address.

The attempts are compared with those of the plain schedule: at once, then 100 ms, 200 ms, 400 ms … 4 s after the
attempt before, without jitter, until one begins after the end of the same fault.

PROGRAM names the program, FAKECLOUD_BIN the fake cloud. Results go to the folder of this file, or to the one that is
given. Runs mostly sleep, so hundreds of them sleep side by side; the last lines say how busy that kept the machine.
"""

import contextlib
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import recovery_plot

PROGRAM = os.environ["PROGRAM"]
FAKECLOUD = os.environ["FAKECLOUD_BIN"]
RUNS = int(os.environ.get("RUNS", "50"))
LENGTHS = (5, 30, 120)
# A fault is shorter or longer by half the time of the longest attempt, so that it ends at any moment of one.
GIVE_OR_TAKE = 2.5
# All faults have ended after this time; the runs begin spread over what it leaves them.
SPREAD = 280
WORLD = {
    "options": {"latency_ms": 20},
    "addresses": [{"name": "web", "tags": {"eip-claim": "web"}}],
    "instances": [{"name": "me", "launched_ago_s": 3600, "tags": {"eip-claim": "web"}}],
}
# What is promised: seconds in the median and at worst, and attempts of the plain schedule's.
GOAL = {"median": 2.5, "worst": 5.0, "attempts": 1.5}

HEAD = """\
# After a fault: the figures

`make bench-recovery` has written this page; [docs/recovery.md](../docs/recovery.md) says what it means.
"""


class Cloud:
    """A fake cloud as a process, in a network of its own if it has to be."""

    def __init__(self, directory, own_network):
        file = Path(directory) / "world.json"
        file.write_text(json.dumps(WORLD))
        command, self.own_network = [FAKECLOUD, "--world", file], own_network
        if own_network:
            mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
            command = ["unshare", "--net", *mapped, "sh", "-c", 'ip link set lo up && exec "$0" "$@"', *command]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        hello = json.loads(self.process.stdout.readline())
        (self.env,) = hello["instances"].values()
        self.me, self.port = hello["names"]["me"], int(hello["endpoints"]["EC2"].rsplit(":", 1)[1])

    def do(self, what, **arguments):
        self.process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer
        return answer

    def inside(self, *command):
        """The command in the network of this cloud."""
        if not self.own_network:
            return command
        mapped = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", f"--target={self.process.pid}", "--net", *mapped, *command]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def no_network(cloud):
    """As early in a boot: there is no address and no route yet, and every connection fails at once."""
    address = ("127.0.0.1/8", "dev", "lo")
    subprocess.run(cloud.inside("ip", "address", "delete", *address), check=True)
    yield
    subprocess.run(cloud.inside("ip", "address", "add", *address), check=True)


def refuses(service):
    """The service does not listen."""

    @contextlib.contextmanager
    def fault(cloud):
        cloud.do("outage", service=service, on=True)
        yield
        cloud.do("outage", service=service, on=False)

    return fault


def answers(api, fault_of_api):
    """Every call of the API ends like this."""

    @contextlib.contextmanager
    def fault(cloud):
        cloud.do("fault", api=api, fault=fault_of_api)
        yield
        cloud.do("clear_faults")

    return fault


@contextlib.contextmanager
def no_role(cloud):
    cloud.do("set_role", instance="me", role=None)
    yield
    cloud.do("set_role", instance="me", role="eip-claim")


@contextlib.contextmanager
def black_hole(cloud):
    """Packets to EC2 vanish: a full queue of a socket that accepts nobody drops all that asks for a connection."""
    cloud.do("outage", service="EC2", on=True)
    with socket.socket() as hole, socket.socket() as filler:
        hole.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        hole.bind(("127.0.0.1", cloud.port))
        hole.listen(0)
        filler.connect(("127.0.0.1", cloud.port))
        yield
        # It ends here, whoever is being started with a copy of the socket.
        hole.shutdown(socket.SHUT_RDWR)
    cloud.do("outage", service="EC2", on=False)


def error(status, code, message):
    return {"error": {"status": status, "code": code, "message": message}}


# What is wrong, and what else is promised of it than the goals for all.
FAULTS = {
    # Nothing leaves the machine, so attempts cost nobody anything.
    "no network": (no_network, {"median": 0.5, "worst": 1.0, "attempts": None}),
    "IMDS refuses": (refuses("IMDS"), {}),
    "IMDS hangs": (answers("IMDS", "hang"), {}),
    "no role": (no_role, {}),
    "EC2 throttles": (answers("EC2", error(503, "RequestLimitExceeded", "Request limit exceeded.")), {}),
    "EC2 fails": (answers("EC2", error(500, "InternalError", "An internal error has occurred")), {}),
    "EC2 refuses": (refuses("EC2"), {}),
    "EC2 unreachable": (black_hole, {}),
    # A call that was accepted and is never answered costs its five seconds, should the fault end meanwhile.
    "EC2 hangs": (answers("EC2", "hang"), {"median": None, "worst": 5.5}),
}


def plain_attempts(lasted):
    """The attempts of the plain schedule."""
    attempts, at, pause = 1, 0.0, 0.1
    while at < lasted:
        attempts, at, pause = attempts + 1, at + pause, min(2 * pause, 4.0)
    return attempts


def run(name, length, seed):
    """One claim that outlasts the fault: how late it was, its attempts and the plain schedule's, its CPU time."""
    lasts = length + random.Random(f"{name} {length} {seed}").uniform(-GIVE_OR_TAKE, GIVE_OR_TAKE)
    fault, _ = FAULTS[name]
    with tempfile.TemporaryDirectory() as directory:
        cloud = Cloud(directory, own_network=fault is no_network)
        try:
            with fault(cloud):
                began = time.monotonic()
                claim = subprocess.Popen(
                    cloud.inside(PROGRAM, "--output=json"),
                    env={**cloud.env, "PATH": os.environ["PATH"]},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
                time.sleep(lasts)
                assert claim.poll() is None, "it ended while the fault lasted"
                ended = time.monotonic()
            _, status, used = os.wait4(claim.pid, 0)
            late = time.monotonic() - ended
            claim.returncode = os.waitstatus_to_exitcode(status)
            with claim.stdout:
                result = json.load(claim.stdout)
            holder = cloud.do("holder", address="web")["holder"]
            assert claim.returncode == 0 and result["outcome"] == "claimed", result
            assert holder and holder["instance"] == cloud.me, holder
        finally:
            cloud.close()
    return {
        "lasted": round(ended - began, 3),
        "late": round(late, 3),
        "attempts": result["attempts"],
        "plain": plain_attempts(ended - began),
        "cpu": round(used.ru_utime + used.ru_stime, 3),
    }


def run_all():
    """All runs, each beginning at a time of its own; returns them by fault and length."""
    order = random.Random(0)
    jobs = [
        (order.uniform(0, SPREAD - length - GIVE_OR_TAKE), (name, length, seed))
        for name in FAULTS
        for length in LENGTHS
        for seed in range(RUNS)
    ]
    begin, runs = time.monotonic(), {}
    with ThreadPoolExecutor(len(jobs)) as pool:
        for at, job in sorted(jobs):
            time.sleep(max(0.0, begin + at - time.monotonic()))
            runs[job] = pool.submit(run, *job)
    failed = [f"{job}: {why!r}" for job, future in sorted(runs.items()) if (why := future.exception())]
    if failed:
        sys.exit("\n".join([*failed, f"{len(failed)} of {len(jobs)} runs failed"]))
    return {
        (name, length): [runs[name, length, seed].result() for seed in range(RUNS)]
        for name in FAULTS
        for length in LENGTHS
    }


def judge(name, runs):
    """The figures of a row, and which goals it misses."""
    late = [run["late"] for run in runs]
    figures = {
        "median": statistics.median(late),
        "worst": max(late),
        "attempts": sum(run["attempts"] for run in runs) / sum(run["plain"] for run in runs),
    }
    goals = {**GOAL, **FAULTS[name][1]}
    missed = [what for what, goal in goals.items() if goal is not None and figures[what] > goal]
    return figures, goals, missed


def table(done):
    """The results as Markdown, and the goals that were missed."""
    lines = [
        "| fault | lasts | median | worst | attempts | of the plain schedule's | CPU time | goals |",
        "|---|---|---|---|---|---|---|---|",
    ]
    all_missed = []
    for (name, length), runs in done.items():
        figures, goals, missed = judge(name, runs)
        all_missed += [f"{name}, {length} s: {what} is {figures[what]:.2f}, not {goals[what]}" for what in missed]
        attempts = statistics.mean(run["attempts"] for run in runs)
        cpu = statistics.mean(run["cpu"] for run in runs)
        of_plain = f"{figures['attempts']:.2f}" if goals["attempts"] else "none leaves the machine"
        verdict = f"missed: {', '.join(missed)}" if missed else "met"
        own = ", ".join(f"{what} {goal} s" for what, goal in FAULTS[name][1].items() if goal)
        verdict += f" (its own: {own})" if own else ""
        lines.append(
            f"| {name} | {length} s | {figures['median']:.2f} s | {figures['worst']:.2f} s | {attempts:.1f} "
            f"| {of_plain} | {cpu * 1000:.0f} ms | {verdict} |"
        )
    return "\n".join(lines) + "\n", all_missed


def jiffies():
    """What the processors have done so far, whoever made them: seconds busy, and seconds in all."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    tick = os.sysconf("SC_CLK_TCK")
    return (sum(fields) - fields[3] - fields[4]) / tick, sum(fields) / tick


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    count = len(FAULTS) * len(LENGTHS) * RUNS
    print(f"{count} runs, side by side: about {SPREAD // 60 + 1} minutes", flush=True)
    begin, busy = time.monotonic(), jiffies()
    done = run_all()
    took, (busy, whole) = time.monotonic() - begin, (now - then for now, then in zip(jiffies(), busy))
    used = os.times()
    ours = used.user + used.system + used.children_user + used.children_system
    text, missed = table(done)
    cost = (
        f"{count} runs in {took:.0f} s; their processes took {ours:.0f} s of {whole:.0f} s on {os.cpu_count()} CPUs, "
        f"{ours / whole:.0%}; with whatever else ran the machine was {busy / whole:.0%} busy"
    )
    (folder / "recovery.md").write_text(f"{HEAD}\n{text}\n{cost}.\n")
    (folder / "recovery.svg").write_text(recovery_plot.draw(done, GOAL))
    lines = (
        f' "{name}, {length} s": {json.dumps({what: [run[what] for run in runs] for what in runs[0]})}'
        for (name, length), runs in done.items()
    )
    (folder / "recovery.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(text, cost, sep="\n")
    if missed:
        sys.exit("\n".join(["missed:", *missed]))
    print("all goals are met")


if __name__ == "__main__":
    main()
