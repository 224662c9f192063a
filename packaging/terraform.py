#!/usr/bin/env python3
"""Writes the tables of terraform/README.md from the module. Run it after a change of an input, output or resource.

`terraform.py --check` writes nothing, and fails where the tables are not those of the module; the tests run it.
It needs python-hcl2, which tests/requirements.txt has.
"""

import json
import sys
from pathlib import Path

import hcl2

MODULE = Path(__file__).parents[1] / "terraform"
BEGIN, END = "<!-- The tables below are written by packaging/terraform.py. -->\n", "<!-- End of the tables. -->\n"


def blocks(file, kind):
    """The blocks of a kind, by their labels."""
    for block in hcl2.loads((MODULE / file).read_text()).get(kind, []):
        labels = []
        while "__is_block__" not in block:
            ((label, block),) = block.items()
            labels.append(unquoted(label))
        yield ".".join(labels), block


def unquoted(text):
    return text[1:-1].replace('\\"', '"')


def code(value):
    """A type or a default as a table shows it: the parser has expressions in ${}, and strings in quotes."""
    if not isinstance(value, str):
        value = json.dumps(value)
    value = value.removeprefix("${").removesuffix("}") if value.startswith("${") else value
    return f"`{value}`"


def inputs():
    yield "| input | type | default | what it is |\n|---|---|---|---|\n"
    for name, about in blocks("variables.tf", "variable"):
        default = "required" if "default" not in about else "" if about["default"] is None else code(about["default"])
        yield f"| `{name}` | {code(about['type'])} | {default} | {unquoted(about['description'])} |\n"


def outputs():
    yield "| output | what it is |\n|---|---|\n"
    for name, about in blocks("outputs.tf", "output"):
        yield f"| `{name}` | {unquoted(about['description'])} |\n"


def created():
    yield "| resource | how many |\n|---|---|\n"
    for name, about in blocks("main.tf", "resource"):
        many = "as many as the inputs say" if "count" in about or "for_each" in about else "one"
        yield f"| `{name}` | {many} |\n"


def main(arguments):
    path = MODULE / "README.md"
    text = path.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    tables = "\n".join(
        f"## {title}\n\n{''.join(table())}"
        for title, table in [("Inputs", inputs), ("Outputs", outputs), ("What it creates", created)]
    )
    made = f"{before}{BEGIN}\n{tables}\n{END}{after}"
    if arguments == ["--check"]:
        sys.exit("terraform/README.md is not as the module is: run packaging/terraform.py" if made != text else 0)
    path.write_text(made)


if __name__ == "__main__":
    main(sys.argv[1:])
