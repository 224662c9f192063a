"""A fake region, the program on its instances, and their credentials in the hands of boto3.

PROGRAM names the program, FAKECLOUD_BIN the fake cloud (`make test` sets both).
"""

import json
import os
import subprocess

import boto3
import botocore.config
import botocore.exceptions
import botocore.utils

PROGRAM = os.environ["PROGRAM"]
FAKECLOUD = os.environ["FAKECLOUD_BIN"]
NAME = "ap-northeast-2"
ACCOUNT = "123456789012"
ROLE = "eip-claim"


class Region:
    """A running fakecloud, and its world by name."""

    def __init__(self, world, directory):
        file = directory / "world.json"
        file.write_text(json.dumps(world))
        self.process = subprocess.Popen(
            [FAKECLOUD, "--world", file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.hello = json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=10) == 0

    def ask(self, command, **arguments):
        """What the fake region answers to a command, be it an error."""
        self.process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def do(self, command, **arguments):
        answer = self.ask(command, **arguments)
        assert "error" not in answer, answer
        return answer

    def __getitem__(self, name):
        return self.hello["names"].get(name, name)

    def holder(self, address):
        """The id of the instance that has the address."""
        holder = self.do("holder", address=address)["holder"]
        return holder and holder["instance"]

    def committed(self, action):
        return [request for request in self.do("requests", action=action)["requests"] if request["committed"]]

    def run(self, instance, *arguments, **variables):
        """Runs the program on an instance to its end."""
        return Run(self.begin(instance, *arguments, **variables))

    def begin(self, instance, *arguments, timeout="5s", **variables):
        """Starts the program on an instance, for as long as a takeover takes at least."""
        environment = {"PATH": os.environ["PATH"], **self.do("env", instance=instance)["env"], **variables}
        command = [PROGRAM, *arguments, "--output=json", "--attempt-timeout=1s", f"--timeout={timeout}"]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def client(self, service, instance=None):
        """boto3 with the credentials of an instance, or else of an administrator."""
        environment = self.hello["env"]
        if instance is None:
            keys = [environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], None]
        else:
            endpoint = self.do("env", instance=instance)["env"]["AWS_EC2_METADATA_SERVICE_ENDPOINT"]
            fetcher = botocore.utils.InstanceMetadataFetcher(
                timeout=2, num_attempts=1, env={}, config={"ec2_metadata_service_endpoint": endpoint + "/"}
            )
            found = fetcher.retrieve_iam_role_credentials()
            keys = [found["access_key"], found["secret_key"], found["token"]]
        variable = {"autoscaling": "AUTO_SCALING"}.get(service, service.upper())
        return boto3.session.Session(*keys, region_name=NAME).client(
            service,
            endpoint_url=environment[f"AWS_ENDPOINT_URL_{variable}"],
            config=botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=5),
        )


class Run:
    """How a run of the program ended."""

    def __init__(self, process):
        output, self.log = process.communicate(timeout=60)
        self.exit, self.result = process.returncode, json.loads(output)

    def __repr__(self):
        return f"exit {self.exit}: {json.dumps(self.result)}\n{self.log}"


def refusal(call, **parameters):
    """The code and the message of a refused call; nothing of one that is not."""
    try:
        call(**parameters)
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"], error.response["Error"]["Message"]
    return None
