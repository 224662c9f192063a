"""A network that comes up after the program has started, as early in a boot.

The fake cloud and the program are in a network namespace of their own, whose only address is taken away meanwhile.
"""

import json
import os
import subprocess
import time

PROGRAM = os.environ["PROGRAM"]
FAKECLOUD = os.environ["FAKECLOUD_BIN"]
IS_ROOT = os.geteuid() == 0
UNSHARE = ["unshare", "--net"] + ([] if IS_ROOT else ["--map-root-user"])
NSENTER = ["nsenter", "--net"] + ([] if IS_ROOT else ["--user", "--preserve-credentials"])
WORLD = {
    "addresses": [{"name": "web", "tags": {"eip-claim": "web"}}],
    "instances": [{"name": "me", "launched_ago_s": 3600, "tags": {"eip-claim": "web"}}],
}
# The longest pause while nothing can leave the machine.
LONGEST_PAUSE_MS = 500


def test_a_network_that_comes_late_is_used_within_half_a_second(tmp_path):
    world = tmp_path / "world.json"
    world.write_text(json.dumps(WORLD))
    inside = 'ip link set lo up && exec "$@"'
    with subprocess.Popen(
        [*UNSHARE, "sh", "-c", inside, "sh", FAKECLOUD, "--world", world],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as cloud:
        (env,) = json.loads(cloud.stdout.readline())["instances"].values()
        enter = [*NSENTER, f"--target={cloud.pid}"]

        def network(verb):
            subprocess.run([*enter, "ip", "address", verb, "127.0.0.1/8", "dev", "lo"], check=True, timeout=10)

        network("delete")
        with subprocess.Popen(
            [*enter, PROGRAM, "--output=json", "--log-format=json", "--timeout=60s"],
            env={"PATH": os.environ["PATH"], **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as claim:
            # By now the usual pauses would have grown to two seconds.
            time.sleep(6)
            network("add")
            up = time.monotonic()
            stdout, stderr = claim.communicate(timeout=60)
            late = time.monotonic() - up
        cloud.stdin.write('{"do": "log"}\n')
        cloud.stdin.close()
        requests = json.loads(cloud.stdout.readline())["requests"]

    result = json.loads(stdout)
    assert (claim.returncode, result["outcome"]) == (0, "claimed"), stderr
    assert late < 2, "half a second, the claim itself, and what a busy machine adds"
    failed = [entry for entry in map(json.loads, stderr.splitlines()) if "pause_ms" in entry]
    assert len(failed) == result["attempts"] - 1 >= 6_000 // LONGEST_PAUSE_MS, stderr
    assert all(entry["pause_ms"] <= LONGEST_PAUSE_MS for entry in failed), stderr
    assert all("Network is unreachable" in entry["message"] for entry in failed), stderr
    writes = [r["action"] for r in requests if r["action"] in ("AssociateAddress", "DisassociateAddress")]
    assert writes == ["AssociateAddress"]
