#!/usr/bin/env python3
"""Puts the scripts of userdata/ into the forms that carry them word for word; tests/packages holds them together."""

import base64
import json
import textwrap
from pathlib import Path

USERDATA = Path(__file__).parents[1] / "userdata"

for script in USERDATA.glob("*.sh"):
    template = script.with_suffix(".launch-template.json")
    data = json.loads(template.read_text())
    data["UserData"] = base64.b64encode(script.read_bytes()).decode()
    template.write_text(json.dumps(data, indent=2) + "\n")

config = USERDATA / "ami-without-package.cloud-config.yaml"
head, rest = config.read_text().split("    content: |\n")
_, tail = rest.split("\n\nruncmd:")
script = textwrap.indent((USERDATA / "ami-without-package.sh").read_text(), " " * 6)
config.write_text(f"{head}    content: |\n{script}\nruncmd:{tail}")
