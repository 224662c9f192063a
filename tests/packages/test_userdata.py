"""The user data: run for real on a copy of this system, and checked by cloud-init, shellcheck and botocore.

tests/boot has cloud-init itself run it.
"""

import base64
import hashlib
import http.server
import json
import os
import subprocess
import threading
from pathlib import Path

import botocore.session
import botocore.validate
import pytest
import yaml

USERDATA = Path(__file__).parents[2] / "userdata"
DEB = os.environ["DEB"]
CONFIGURATION = "/etc/eip-claim.env"
# What EC2 takes, before it is base64.
LARGEST = 16_384
CLAIM = "systemctl restart --no-block eip-claim.service"


class Server:
    """Has one file, and answers with these statuses before it gives it away."""

    def __init__(self, name, content, statuses=()):
        waiting = list(statuses)
        asked = self.asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                status = waiting.pop(0) if waiting else 200
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/{name}"


@pytest.fixture
def content():
    return Path(DEB).read_bytes()


@pytest.fixture
def recording(machine):
    """A machine that notes what is asked of systemd, and how long is paused."""
    machine.record("systemctl", "sleep")
    return machine


def fetching(url, content, **values):
    """The script for an AMI without the package, with its values filled in as its reader would."""
    values = {"URL": url, "SHA256": hashlib.sha256(content).hexdigest(), **values}
    lines = (USERDATA / "ami-without-package.sh").read_text().splitlines()
    for name, value in values.items():
        (at,) = [i for i, line in enumerate(lines) if line.startswith(f"{name}=")]
        lines[at] = f"{name}='{value}'"
    return "\n".join(lines) + "\n"


def run(machine, script, status=0):
    machine.put("/run/script", script)
    return machine.run("sh", "/run/script", status=status)


def is_installed(machine):
    return machine.has("/usr/bin/eip-claim")


def nothing_is_left(machine):
    return machine.run("sh", "-c", f"ls -d /run/tmp.* {CONFIGURATION}* 2>/dev/null || true") == ""


def test_without_the_package_it_is_fetched_verified_installed_configured_and_run(recording, content):
    server = Server("eip-claim.deb", content)
    run(recording, fetching(server.url, content))
    assert server.asked == ["/eip-claim.deb"]
    assert recording.run("dpkg-query", "--show", "--showformat", "${db:Status-Status}", "eip-claim") == "installed"
    assert recording.get(CONFIGURATION).splitlines()[1:] == ["EIP_CLAIM_TAG=eip-claim=web"]
    calls = recording.calls()
    assert calls[-1] == CLAIM and not any("start" in call for call in calls[:-1])


def test_running_it_again_changes_nothing(recording, content):
    server = Server("eip-claim.deb", content)
    run(recording, fetching(server.url, content))
    before = recording.get(CONFIGURATION)
    run(recording, fetching(server.url, content))
    assert recording.get(CONFIGURATION) == before
    assert not recording.has(f"{CONFIGURATION}.new")


def test_without_options_the_shipped_configuration_stays(recording, content):
    run(recording, fetching(Server("eip-claim.deb", content).url, content, OPTIONS=""))
    assert "Set by user data" not in recording.get(CONFIGURATION)
    assert CLAIM in recording.calls()


def test_a_configuration_that_was_there_before_is_kept_and_nobody_is_asked(recording, content):
    recording.put(CONFIGURATION, "EIP_CLAIM_TAG=eip-claim=ours\n")
    run(recording, fetching(Server("eip-claim.deb", content).url, content, OPTIONS=""))
    assert recording.get(CONFIGURATION) == "EIP_CLAIM_TAG=eip-claim=ours\n"
    assert is_installed(recording)


@pytest.mark.parametrize("received", ["other", "truncated"])
def test_what_has_another_checksum_is_not_installed(recording, content, received):
    sent = {"other": content[:-1] + b"x", "truncated": content[:1000]}[received]
    said = run(recording, fetching(Server("eip-claim.deb", sent).url, content), status=1)
    assert hashlib.sha256(content).hexdigest() in said and hashlib.sha256(sent).hexdigest() in said
    assert not is_installed(recording)
    assert nothing_is_left(recording)
    assert recording.calls() == []


def test_a_server_that_is_busy_is_asked_again_after_growing_pauses(recording, content):
    server = Server("eip-claim.deb", content, statuses=[503, 404, 403])
    run(recording, fetching(server.url, content))
    assert len(server.asked) == 4
    assert [call for call in recording.calls() if call.startswith("sleep")] == ["sleep 1", "sleep 2", "sleep 4"]
    assert is_installed(recording)


def test_who_cannot_be_reached_is_given_up_and_the_signature_is_not_shown(recording, content):
    said = run(recording, fetching("http://127.0.0.1:9/eip-claim.deb?X-Amz-Signature=secret", content), status=1)
    assert "eip-claim is not installed: cannot fetch http://127.0.0.1:9/eip-claim.deb\n" in said
    assert "secret" not in said
    assert recording.calls() == [f"sleep {2**n}" for n in range(7)]
    assert nothing_is_left(recording)


def test_a_package_that_is_refused_is_given_up_before_anything_is_configured(recording):
    nonsense = b"!<arch>\nno package"
    said = run(recording, fetching(Server("eip-claim.deb", nonsense).url, nonsense), status=1)
    assert "eip-claim is not installed: dpkg refuses" in said
    assert nothing_is_left(recording)
    assert CLAIM not in recording.calls()


def test_by_s3_the_instance_asks_with_its_own_role(recording, content):
    """A stand-in for the AWS CLI takes its arguments."""
    recording.put("/run/here.deb", "")
    recording.run("cp", DEB, "/run/here.deb")
    recording.put(
        "/usr/bin/aws", '#!/bin/sh\necho "aws $*" >>/run/calls\nfor last; do :; done\ncp /run/here.deb "$last"\n', "755"
    )
    run(recording, fetching("s3://bucket/eip-claim.deb", content))
    assert recording.calls()[0].startswith("aws s3 cp --only-show-errors s3://bucket/eip-claim.deb /run/")
    assert is_installed(recording)


def test_with_an_rpm_it_is_rpm_that_installs_it(recording):
    content = Path(os.environ["RPM"]).read_bytes()
    # This system has no other .rpm that could satisfy anything.
    recording.put("/usr/local/bin/rpm", '#!/bin/sh\nexec /usr/bin/rpm --nodeps "$@"\n', "755")
    script = "PATH=/usr/local/bin:$PATH\n" + fetching(Server("eip-claim.rpm", content).url, content)
    run(recording, script)
    assert recording.run("rpm", "--query", "eip-claim").startswith("eip-claim-")
    run(recording, script)
    assert CLAIM in recording.calls()


def test_with_the_package_the_options_are_written_and_the_claim_is_run_by_them(recording):
    recording.put(CONFIGURATION, "# shipped\n")
    run(recording, (USERDATA / "ami-with-package.sh").read_text())
    assert recording.get(CONFIGURATION).splitlines()[1:] == ["EIP_CLAIM_TAG=eip-claim=web"]
    assert not recording.has(f"{CONFIGURATION}.new")
    assert recording.calls() == [CLAIM]


# The forms.

SCRIPTS = sorted(USERDATA.glob("*.sh"))
CLOUD_CONFIGS = sorted(USERDATA.glob("*.yaml"))
TEMPLATES = sorted(USERDATA.glob("*.json"))


def test_there_is_each_form_for_each_kind_of_ami():
    kinds = {
        f"ami-{kind}-package.{form}"
        for kind in ["with", "without"]
        for form in ["sh", "cloud-config.yaml", "launch-template.json"]
    }
    assert {path.name for path in USERDATA.iterdir()} == kinds | {"tags-only.launch-template.json"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path):
    ended = subprocess.run(["shellcheck", path], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "")


@pytest.mark.parametrize("path", CLOUD_CONFIGS, ids=lambda path: path.name)
def test_cloud_init_accepts_it(path):
    ended = subprocess.run(["cloud-init", "schema", "--config-file", path], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Valid" in ended.stdout


@pytest.mark.parametrize("path", CLOUD_CONFIGS + SCRIPTS, ids=lambda path: path.name)
def test_it_is_not_too_long_and_cloud_init_knows_what_it_is(path):
    content = path.read_bytes()
    assert len(content) < LARGEST
    assert content.startswith(b"#cloud-config\n" if path in CLOUD_CONFIGS else b"#!/bin/sh\n")


def test_the_cloud_config_without_the_package_is_the_script():
    config = yaml.safe_load((USERDATA / "ami-without-package.cloud-config.yaml").read_text())
    (file,) = config["write_files"]
    # packaging/userdata.py puts it there.
    assert file["content"] == (USERDATA / "ami-without-package.sh").read_text()
    assert config["runcmd"] == [["sh", file["path"]]]


def test_the_cloud_config_with_the_package_does_what_the_script_does(recording):
    config = yaml.safe_load((USERDATA / "ami-with-package.cloud-config.yaml").read_text())
    (file,) = config["write_files"]
    run(recording, (USERDATA / "ami-with-package.sh").read_text())
    assert (file["path"], file["content"]) == (CONFIGURATION, recording.get(CONFIGURATION))
    assert [" ".join(command) for command in config["runcmd"]] == recording.calls()


@pytest.fixture(scope="session")
def ec2():
    return botocore.session.get_session().get_service_model("ec2")


def mistakes(ec2, operation, parameters):
    """What botocore would refuse, and values that are none of those that its model lists (which it lets pass)."""
    shape = ec2.operation_model(operation).input_shape
    report = botocore.validate.ParamValidator().validate(parameters, shape)
    return report.generate_report().splitlines() + list(not_listed(shape, parameters))


def not_listed(shape, value):
    if shape.type_name == "structure":
        for name, part in value.items():
            if name in shape.members:
                yield from not_listed(shape.members[name], part)
    elif shape.type_name == "list":
        for part in value:
            yield from not_listed(shape.member, part)
    elif getattr(shape, "enum", []) and value not in shape.enum:
        yield f"{value} is none of {shape.enum}"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_botocore_accepts_the_launch_template(ec2, path):
    data = json.loads(path.read_text())
    assert mistakes(ec2, "CreateLaunchTemplate", {"LaunchTemplateName": "eip-claim", "LaunchTemplateData": data}) == []
    # What a template may say, RunInstances may be told.
    assert mistakes(ec2, "RunInstances", {"MinCount": 1, "MaxCount": 1, **data}) == []


def test_botocore_would_have_found_mistakes(ec2):
    data = json.loads((USERDATA / "tags-only.launch-template.json").read_text())
    data["MetadataOptions"] |= {
        "HttpTokens": "requird",
        "HttpPutResponseHopLimit": "1",
        "InstanceMetadataTag": "enabled",
    }
    found = mistakes(ec2, "CreateLaunchTemplate", {"LaunchTemplateName": "eip-claim", "LaunchTemplateData": data})
    assert len(found) == 3


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_the_launch_template_carries_the_script_and_sets_the_metadata_service(path):
    data = json.loads(path.read_text())
    assert data["MetadataOptions"] == {
        "HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1, "InstanceMetadataTags": "enabled",
    }  # fmt: skip
    script = path.with_name(path.name.replace(".launch-template.json", ".sh"))
    if script.exists():
        # The first lines of the script say how.
        assert base64.b64decode(data["UserData"], validate=True) == script.read_bytes()
    else:
        assert "UserData" not in data
        assert data["TagSpecifications"][0]["Tags"] == [{"Key": "eip-claim", "Value": "web"}]
