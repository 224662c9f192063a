"""`make bench`: everybody who can claim an Elastic IP, side by side in one run against one fake cloud.

`bench.py PROGRAM FLOOR MEASURE FAKECLOUD [MUSL-PROGRAM]`. README.md says what is measured and how; `report.py` writes
it down and says which goals are met. It exits with 1 when one is missed.
"""

import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

import botocore.auth
import botocore.awsrequest
import botocore.credentials

import report
import world
from contenders import contenders

ROUNDS = 10
# What an EC2 call takes, and a read of the metadata, in milliseconds. Within a round the order is drawn, by this seed.
SETTINGS = [(0, 0), (5, 0), (25, 0), (25, 2)]
SEED = 1


class Bench:
    def __init__(self, cloud, measure, directory):
        self.cloud, self.measure, self.directory = cloud, measure, directory
        search = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        self.env = {
            "PATH": search,
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "SSL_CERT_FILE": str(cloud.bundle),
            "AWS_CA_BUNDLE": str(cloud.bundle),
        }

    def run(self, contender):
        """One run, and what it cost; one that does not end with the address here is no measurement."""
        self.cloud.begin(contender.held)
        used = self.directory / "used.json"
        command = [self.measure, used, *contender.command]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, check=True)
        cost = json.loads(used.read_text())
        assert cost["exit"] == 0 and self.cloud.holder() == self.cloud.me, f"{contender.name}: {done}"
        traffic = self.cloud.do("traffic")
        log = self.cloud.do("log")["requests"]
        return {
            "wall_ms": cost["wall_us"] / 1000,
            "cpu_ms": (cost["user_us"] + cost["system_us"]) / 1000,
            "peak_bytes": cost["peak_bytes"],
            "ec2_calls": sum(request["service"] == "EC2" for request in log),
            "imds_calls": sum(request["service"] == "IMDS" for request in log),
            "connections": sum(part["connections"] for part in traffic.values()),
            "wire_bytes": sum(part["received"] + part["sent"] for part in traffic.values()),
            "calls": ", ".join(request["action"] for request in log),
        }

    def all(self, everybody):
        """Everybody at every setting, in turns, so that whatever else the machine does hits all alike."""
        draw = random.Random(SEED)
        turns = [contender for contender in everybody for _ in range(contender.runs)]
        results = []
        for api, metadata in SETTINGS:
            self.cloud.do("set_options", latency_ms=api, imds_latency_ms=metadata)
            for contender in everybody:
                self.run(contender)
            runs = {contender.name: [] for contender in everybody}
            for _ in range(ROUNDS):
                for contender in draw.sample(turns, len(turns)):
                    runs[contender.name].append(self.run(contender))
            results.append({"ec2_ms": api, "imds_ms": metadata, "of": {name: sum_up(of) for name, of in runs.items()}})
        return results

    def judge_signature(self, floor):
        """The fake cloud does not compute signatures; botocore does, so that the floor is one that AWS would accept."""
        self.run(floor)
        reads = self.cloud.do("log")["requests"]
        requests = [request for request in reads if request["service"] == "EC2"]
        for request in requests:
            headers = request["headers"]
            query = request["params"]
            first, last = {"Action": query.pop("Action")}, {"Version": query.pop("Version")}
            body = urllib.parse.urlencode({**first, **dict(sorted(query.items())), **last}, quote_via=urllib.parse.quote)
            names = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
            ours = botocore.awsrequest.AWSRequest(
                "POST", f"https://{world.EC2}/", {name: headers[name] for name in names}, body
            )
            ours.context["timestamp"] = headers["x-amz-date"]
            secret = self.cloud.credentials()
            signer = botocore.auth.SigV4Auth(secret, "ec2", world.REGION)
            text = signer.string_to_sign(ours, signer.canonical_request(ours))
            assert headers["authorization"].endswith(f"Signature={signer.signature(text, ours)}"), request
        assert len(requests) == 3, requests


def sum_up(runs):
    """Median and quartiles of what varies; of what does not, the most that was seen."""
    spread = {}
    for name in ("wall_ms", "cpu_ms", "peak_bytes", "wire_bytes"):
        quartiles = statistics.quantiles([run[name] for run in runs], n=4, method="inclusive")
        spread[name] = dict(zip(("q1", "median", "q3"), (round(value, 3) for value in quartiles)))
    most = {name: max(run[name] for run in runs) for name in ("ec2_calls", "imds_calls", "connections")}
    return {"runs": len(runs), **spread, **most, "calls": runs[-1]["calls"]}


def machine():
    model = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    cpus = f"{os.cpu_count()} × {model[0]}" if model else f"{os.cpu_count()} CPUs"
    return {"cpus": cpus, "kernel": platform.release(), "python": platform.python_version()}


def processors(cloud):
    """Seconds for which the processors have worked: for everybody, and for this benchmark."""
    tick = os.sysconf("SC_CLK_TCK")
    user, nice, system, _, _, interrupts, soft, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    its = Path(f"/proc/{cloud.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    ours = sum(os.times()[:4]) + (int(its[11]) + int(its[12])) / tick
    return (user + nice + system + interrupts + soft + steal) / tick, ours


class Others:
    """What else the machine does meanwhile."""

    def __init__(self, cloud):
        self.cloud, self.since, self.before = cloud, time.monotonic(), processors(cloud)

    def share(self):
        """The part of the processors' time that others took."""
        everybody, ours = (now - then for now, then in zip(processors(self.cloud), self.before))
        return max(0, everybody - ours) / (time.monotonic() - self.since) / os.cpu_count()


def main():
    program, floor, measure, fakecloud, *musl = (Path(argument).resolve() for argument in sys.argv[1:])
    world.enter()
    with tempfile.TemporaryDirectory() as directory:
        cloud = world.Cloud(fakecloud, Path(directory))
        everybody = contenders(program, floor, cloud)
        bench = Bench(cloud, measure, Path(directory))
        bench.judge_signature(everybody[0])
        others = Others(cloud)
        settings = bench.all(everybody)
        share = others.share()
        cloud.close()
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    results = {
        "program": version,
        "machine": {**machine(), "others": round(share, 3)},
        "executable_bytes": {"gnu": program.stat().st_size, "musl": musl[0].stat().st_size if musl else None},
        "disk_bytes": {contender.name: contender.disk for contender in everybody if contender.disk},
        "settings": settings,
    }
    sys.exit(report.write(results))


if __name__ == "__main__":
    main()
