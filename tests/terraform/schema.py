"""Writes down what the AWS provider accepts, from a package that carries it: python schema.py WHEEL SOURCES SCHEMA.

The provider's own download is not on a package index, but its bindings for CDK Terrain are, and they are generated from
the provider's schema: for every argument the name, the type, whether it is required, optional or computed, and
whether it is an argument or a block. They are machine-made JavaScript, so their text is read, and nothing is run.
The result has the form of `terraform providers schema -json`, for the resources and data sources that the sources
(*.tf below the folder SOURCES) name. What is not understood is an error, never left out.

The bindings do not tell what is deprecated, so that stands here: see DEPRECATED. Nor do they tell a maximum of blocks
other than one.
"""

import json
import pathlib
import re
import sys
import tarfile
import zipfile

# By the upgrade guides and the documentation of versions 5 and 6 of the provider. Terraform warns of them, and the
# tests want no warning. It is a list of what one is tempted to write here, not of all there is.
DEPRECATED = {
    "aws_iam_role": ["managed_policy_arns", "inline_policy"],
    "aws_region": ["name"],
    "aws_launch_template": ["elastic_gpu_specifications", "elastic_inference_accelerator"],
}

ATTRIBUTE = re.compile(
    r"    // (?P<name>\w+) - computed: (?P<computed>\w+), optional: (?P<optional>\w+), required: (?P<required>\w+)\n"
    r"(?P<code>.*?)(?=\n    // |\Z)",
    re.S,
)
SYNTHESIS = re.compile(
    r"(?P<name>\w+): \{\n\s+value: (?P<value>.*),\n\s+isBlock: (?P<block>\w+),\n"
    r'\s+type: "(?P<type>\w+)",\n\s+storageClassType: "(?P<storage>\w+)",\n'
)
# How a value that is only read is asked for.
GETTERS = {
    r"return this\.getStringAttribute\(": "string",
    r"return this\.getNumberAttribute\(": "number",
    r"return this\.getBooleanAttribute\(": "bool",
    r"return this\.getListAttribute\(": ["list", "string"],
    r"return this\.getNumberListAttribute\(": ["list", "number"],
    r"return cdktn\.Fn\.tolist\(this\.getListAttribute\(": ["set", "string"],
    r"return cdktn\.Fn\.tolist\(this\.getNumberListAttribute\(": ["set", "number"],
    r"return this\.getStringMapAttribute\(|= new cdktn\.StringMap\(": ["map", "string"],
}
PRIMITIVES = {"string": "string", "number": "number", "boolean": "bool", "any": "dynamic"}


class Bindings:
    """The generated code of one resource, data source or the provider."""

    def __init__(self, text):
        self.classes = {m[1]: m[2] for m in re.finditer(r"^class (\w+) extends .*? \{\n(.*?)^\}", text, re.S | re.M)}
        self.functions = {m[1]: m[2] for m in re.finditer(r"^function (\w+)\(struct\) \{\n(.*?)^\}", text, re.S | re.M)}

    def schema(self):
        """The block of the thing itself, whose class is the last one."""
        body = list(self.classes.values())[-1]
        return {"version": 0, "block": self.block(body, body[body.index("synthesizeHclAttributes() {") :])}

    def block(self, described, synthesized):
        """A block: what the class says of each attribute, and how what can be set is written."""
        written = {m["name"]: m for m in SYNTHESIS.finditer(synthesized)}
        said = {m["name"]: m for m in ATTRIBUTE.finditer(described)}
        assert written.keys() <= said.keys() or not said, written.keys() - said.keys()
        block = {"attributes": {}, "block_types": {}}
        for name in sorted(said.keys() | written.keys()):
            about = said.get(name)
            flags = [flag for flag in ("required", "optional", "computed") if about and about[flag] == "true"]
            if (entry := written.get(name)) is None:
                block["attributes"][name] = {"type": self.read(about), **dict.fromkeys(flags, True)}
            # Where a list of objects is an attribute, though it may be written as blocks, its mapper is told so.
            elif entry["block"] == "true" and not entry["value"].count("HclTerraform, false)"):
                block["block_types"][name] = self.nested(name, entry, "required" in flags)
            else:
                block["attributes"][name] = {"type": self.type(entry), **dict.fromkeys(flags or ["optional"], True)}
        return block

    def nested(self, name, entry, required):
        """A block in a block, of which there may be many, one, or (timeouts) one without a number."""
        function = re.search(r"(\w+HclTerraform)[,(]", entry["value"])[1]
        one = function[0].upper() + function[1:].removesuffix("ToHclTerraform")
        block = self.block(self.classes.get(one + "OutputReference", ""), self.functions[function])
        if entry["type"] == "struct":
            assert name == "timeouts", f"{name} is a single block, or an attribute that is an object"
            return {"nesting_mode": "single", "block": block}
        nested = {"nesting_mode": entry["type"], "block": block}
        if required:
            nested["min_items"] = 1
        if not entry["value"].startswith("cdktn.listMapperHcl"):
            nested["max_items"] = 1
        return nested

    def type(self, entry):
        """The type of what can be set."""
        kind, storage = entry["type"], entry["storage"]
        if kind == "simple":
            return PRIMITIVES[storage]
        if storage.removesuffix("Map").removesuffix("List") in PRIMITIVES:
            return [kind, PRIMITIVES[storage.removesuffix("Map").removesuffix("List")]]
        # A list of objects that may be written as blocks, and is an attribute all the same.
        function = re.search(r"(\w+HclTerraform)", entry["value"])[1]
        return [kind, self.object(self.block("", self.functions[function]))]

    def read(self, about):
        """The type of what is only computed."""
        for pattern, type in GETTERS.items():
            if re.search(pattern, about["code"]):
                return type
        made = re.search(r'= new (\w+)List\(this, "\w+", (true|false)\)', about["code"])
        assert made, f"{about['name']} is read in a way unknown here: {about['code']}"
        block = self.block(self.classes[made[1] + "OutputReference"], "")
        return ["set" if made[2] == "true" else "list", self.object(block)]

    @staticmethod
    def object(block):
        return ["object", {name: attribute["type"] for name, attribute in block["attributes"].items()}]


def deprecate(name, schema):
    for attribute in DEPRECATED.get(name, []):
        for part in schema["block"].values():
            if attribute in part:
                (part[attribute].get("block") or part[attribute])["deprecated"] = True
    return schema


def named(sources):
    """The kinds and names of what the sources use."""
    text = "".join(path.read_text() for path in sorted(pathlib.Path(sources).rglob("*.tf")))
    return sorted(set(re.findall(r'^(resource|data) "(aws_\w+)"', text, re.M)))


def main(wheel, sources, output):
    with zipfile.ZipFile(wheel) as outer:
        (inner,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with outer.open(inner) as packed, tarfile.open(fileobj=packed, mode="r|gz") as files:
            used = named(sources)
            folders = {("data-aws-" if kind == "data" else "") + name.removeprefix("aws_").replace("_", "-"): (kind, name)
                       for kind, name in used}  # fmt: skip
            folders["provider"] = ("provider", "aws")
            # One pass: the archive is a stream, and unpacking all of it would take a gigabyte.
            texts = {}
            for file in files:
                match = re.fullmatch(r"package/lib/([\w-]+)/index\.js", file.name)
                if match and match[1] in folders:
                    texts[match[1]] = files.extractfile(file).read().decode()
    missing = folders.keys() - texts.keys()
    assert not missing, f"the provider has no {missing}"
    found = {"provider": {}, "resource": {}, "data": {}}
    for folder, (kind, name) in folders.items():
        found[kind][name] = deprecate(name, Bindings(texts[folder]).schema())
    (version,) = set(re.findall(r"providerVersion: '([\d.]+)'", "".join(texts.values())))
    schema = {
        "provider_version": version,
        "provider": found["provider"]["aws"],
        "resource_schemas": found["resource"],
        "data_source_schemas": found["data"],
    }
    pathlib.Path(output).write_text(json.dumps(schema, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
