"""The worlds of the tests, and the units that stand for what a person has on such a machine."""

UNIT = "eip-claim.service"


def world(**me):
    """An address, and an instance that has been there for an hour and whose address it is."""
    this = {"name": "me", "launched_ago_s": 3600, "tags": {"eip-claim": "web"}, "interfaces": [["10.0.0.10"]], **me}
    return {"addresses": [{"name": "web", "tags": {"eip-claim": "web"}}], "instances": [this]}


def needs_address(unit=UNIT):
    """A service that must not start before the address is here, as the README has it."""
    return f"""
[Unit]
Requires={unit}
After={unit}
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
[Install]
WantedBy=graphical.target
"""


def give_user_data(machine, text):
    """Turns cloud-init on, with this as user data."""
    (machine.root / "etc/cloud/cloud-init.disabled").unlink()
    machine.write("/etc/cloud/cloud.cfg.d/90_test.cfg", "datasource_list: [NoCloud]\nnetwork: {config: disabled}\n")
    machine.write("/var/lib/cloud/seed/nocloud/meta-data", "instance-id: i-test\n")
    machine.write("/var/lib/cloud/seed/nocloud/user-data", text)
