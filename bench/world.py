"""The region that is measured in, at the addresses of the real one, in a network namespace of this process.

No contender is told where anything is: IMDS is at 169.254.169.254, EC2 at its name, by TLS, with a certificate that
the trust store knows. The store is the one that botocore ships, with the authority of the fake cloud added, so that
everybody reads one of the usual size.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import trustme

REGION = "ap-northeast-2"
EC2 = f"ec2.{REGION}.amazonaws.com"
METADATA = "169.254.169.254"
INSIDE = "BENCH_INSIDE"


def enter():
    """Starts this program again in namespaces of its own, unless it is in them."""
    if INSIDE not in os.environ:
        mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
        command = ["unshare", "--net", "--mount", *mapped, sys.executable, *sys.argv]
        os.execvpe(command[0], command, {**os.environ, INSIDE: "1"})


class Cloud:
    """The fake cloud as a process: one instance, one address that is tagged for it."""

    def __init__(self, program, directory):
        for command in (
            ["ip", "link", "set", "lo", "up"],
            ["ip", "address", "add", f"{METADATA}/32", "dev", "lo"],
        ):
            subprocess.run(command, check=True)
        hosts = directory / "hosts"
        hosts.write_text(f"127.0.0.1 localhost\n127.0.0.1 {EC2}\n")
        subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
        certificate, key, self.bundle = (directory / name for name in ("tls.pem", "tls.key", "bundle.pem"))
        authority = trustme.CA()
        issued = authority.issue_cert(EC2)
        certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        self.bundle.write_bytes(trusted() + authority.cert_pem.bytes())
        world = {
            "options": {
                "region": REGION,
                "tls": {"certificate": str(certificate), "key": str(key)},
                "ec2_at": "127.0.0.1:443",
            },
            "addresses": [{"name": "web", "tags": {"eip-claim": "web"}}],
            "instances": [
                {"name": "me", "launched_ago_s": 3600, "tags": {"eip-claim": "web"}, "imds_at": f"{METADATA}:80"}
            ],
        }
        file = directory / "world.json"
        file.write_text(json.dumps(world))
        self.process = subprocess.Popen(
            [program, "--world", file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        hello = self.read()
        self.me, self.address = hello["names"]["me"], hello["names"]["web"]

    def read(self):
        answer = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer
        return answer

    def do(self, what, **arguments):
        """What the fake cloud answers to a command."""
        self.process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self.process.stdin.flush()
        return self.read()

    def begin(self, held):
        """The address is free, or held by the instance, and nothing has been asked yet."""
        self.do("disassociate", address="web")
        if held:
            self.do("associate", address="web", instance="me")
        self.do("clear_log")

    def credentials(self):
        """Those of the instance profile, as IMDS gives them out."""
        import botocore.utils

        found = botocore.utils.InstanceMetadataFetcher(timeout=5, num_attempts=1).retrieve_iam_role_credentials()
        return botocore.credentials.Credentials(found["access_key"], found["secret_key"], found["token"])

    def holder(self):
        holder = self.do("holder", address="web")["holder"]
        return holder and holder["instance"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)


def trusted():
    """The trust store that botocore ships, which is that of Mozilla."""
    import botocore

    return (Path(botocore.__file__).parent / "cacert.pem").read_bytes()
