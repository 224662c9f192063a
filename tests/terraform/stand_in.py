"""Stands in for the AWS provider: python stand_in.py SCHEMA SOCKET serves Terraform's plugin protocol on a Unix socket.

Terraform attaches to it by TF_REATTACH_PROVIDERS, so nothing is installed, and runs init, validate, plan and test as
ever. The schema is the provider's own (schema.py says where from): an argument that does not exist, a wrong type, a
block that is missing or one too many is found by Terraform itself, and what a plan shows is what Terraform rendered.

What it does not do: it checks no value (a name's length, a JSON document, one of several words), it knows of no
arguments that exclude each other, and it asks AWS nothing. It plans only what is new, and creates nothing.
"""

import json
import os
import sys
from concurrent import futures

import grpc
import msgpack
import tfplugin6_pb2 as protocol
import tfplugin6_pb2_grpc as service

UNKNOWN = msgpack.ExtType(0, b"\0")
# What the provider knows without asking, for the region that the tests are in.
REGION = "ap-northeast-2"
KNOWN = {
    "aws_region": {"region": REGION, "id": REGION, "endpoint": f"ec2.{REGION}.amazonaws.com"},
    "aws_partition": {"partition": "aws", "dns_suffix": "amazonaws.com", "reverse_dns_prefix": "com.amazonaws"},
    "aws_service_principal": {"name": "ec2.amazonaws.com", "suffix": "amazonaws.com", "region": REGION},
}


def pack(value):
    return protocol.DynamicValue(msgpack=msgpack.packb(value))


def unpack(value):
    return msgpack.unpackb(value.msgpack, strict_map_key=False)


def failure(text):
    return [protocol.Diagnostic(severity="ERROR", summary=text)]


def block(described):
    """A block of the schema as the protocol says it."""
    attributes = [
        protocol.Schema.Attribute(name=name, **{**about, "type": json.dumps(about["type"]).encode()})
        for name, about in described["attributes"].items()
    ]
    nested = [
        protocol.Schema.NestedBlock(
            type_name=name,
            block=block(about["block"]),
            nesting=about["nesting_mode"].upper(),
            min_items=about.get("min_items"),
            max_items=about.get("max_items"),
        )
        for name, about in described["block_types"].items()
    ]
    return protocol.Schema.Block(
        attributes=attributes, block_types=nested, deprecated=described.get("deprecated", False)
    )


def schema(described):
    return protocol.Schema(version=described["version"], block=block(described["block"]))


def remarks(described, config):
    """What Terraform leaves to a provider: values for what is only read, and what is deprecated."""
    if not isinstance(config, dict):
        return
    for name, about in described["attributes"].items():
        if config[name] is not None:
            if not about.get("required") and not about.get("optional"):
                yield protocol.Diagnostic(severity="ERROR", summary="Value for unconfigurable attribute", detail=name)
            if about.get("deprecated"):
                yield protocol.Diagnostic(severity="WARNING", summary="Argument is deprecated", detail=name)
    for name, about in described["block_types"].items():
        inner = config[name] if isinstance(config[name], list) else [config[name]]
        for each in inner:
            yield from remarks(about["block"], each)
        if about["block"].get("deprecated") and any(inner):
            yield protocol.Diagnostic(severity="WARNING", summary="Argument is deprecated", detail=name)


def planned(described, proposed):
    """What is proposed for something new, and unknown what the provider will compute."""
    if proposed is None or isinstance(proposed, msgpack.ExtType):
        return proposed
    plan = {}
    for name, about in described["attributes"].items():
        computed = about.get("computed") and proposed[name] is None
        plan[name] = UNKNOWN if computed else proposed[name]
    for name, about in described["block_types"].items():
        many = isinstance(proposed[name], list)
        inner = [planned(about["block"], each) for each in proposed[name]] if many else planned(about["block"], proposed[name])
        plan[name] = inner
    return plan


class StandIn(service.ProviderServicer):
    def __init__(self, described):
        self.resources, self.data = described["resource_schemas"], described["data_source_schemas"]
        self.schema = protocol.GetProviderSchema.Response(
            provider=schema(described["provider"]),
            resource_schemas={name: schema(each) for name, each in self.resources.items()},
            data_source_schemas={name: schema(each) for name, each in self.data.items()},
        )

    def GetProviderSchema(self, request, context):
        return self.schema

    def ValidateProviderConfig(self, request, context):
        return protocol.ValidateProviderConfig.Response()

    def ConfigureProvider(self, request, context):
        return protocol.ConfigureProvider.Response()

    def ValidateResourceConfig(self, request, context):
        found = remarks(self.resources[request.type_name]["block"], unpack(request.config))
        return protocol.ValidateConfig.Response(diagnostics=found)

    def ValidateDataResourceConfig(self, request, context):
        found = remarks(self.data[request.type_name]["block"], unpack(request.config))
        return protocol.ValidateConfig.Response(diagnostics=found)

    def PlanResourceChange(self, request, context):
        if unpack(request.prior_state) is not None:
            return protocol.PlanResourceChange.Response(diagnostics=failure("the stand-in plans only what is new"))
        described = self.resources[request.type_name]["block"]
        # As the provider itself does: its plans follow the rules of an older Terraform.
        return protocol.PlanResourceChange.Response(
            planned_state=pack(planned(described, unpack(request.proposed_new_state))), legacy_type_system=True
        )

    def ApplyResourceChange(self, request, context):
        return protocol.ApplyResourceChange.Response(diagnostics=failure("the stand-in creates nothing"))

    def ReadDataSource(self, request, context):
        if request.type_name not in KNOWN:
            text = f"the stand-in knows no answer of AWS about {request.type_name}"
            return protocol.ReadDataSource.Response(diagnostics=failure(text))
        return protocol.ReadDataSource.Response(state=pack({**unpack(request.config), **KNOWN[request.type_name]}))

    def StopProvider(self, request, context):
        return protocol.StopProvider.Response()


def main(schema_file, socket):
    with open(schema_file) as file:
        described = json.load(file)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    service.add_ProviderServicer_to_server(StandIn(described), server)
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    attach = {
        "Protocol": "grpc",
        "ProtocolVersion": 6,
        "Pid": os.getpid(),
        "Test": True,  # who has attached must not end it
        "Addr": {"Network": "unix", "String": socket},
    }
    print(json.dumps({"registry.terraform.io/hashicorp/aws": attach}), flush=True)
    # It ends with its standard input, and so with whoever started it.
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main(*sys.argv[1:])
