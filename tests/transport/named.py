"""A network of its own with a name server, and the program in it: `named.py CASE`, run in new mount and network
namespaces by test_names.py. Prints, as JSON, how the claim ended, who holds the address, and what was asked.

CASE is JSON: `resolv` and `hosts` are the texts of the two files, `host` is the name of the EC2 endpoint,
`records` what the server at 127.0.0.1 knows, `lost` how many questions never reach it, and `mute` the addresses at
which a server never answers.
"""

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

from dnslib import CNAME, QTYPE, RCODE, RR, A, AAAA, DNSError
from dnslib.server import BaseResolver, DNSLogger, DNSServer

SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x41
RECORDS = {"A": A, "AAAA": AAAA, "CNAME": CNAME}


class Zone(BaseResolver):
    """Answers from `records`: a list of [type, value] a name, or the name of an error, or "cut off"; the first
    `lost` questions never arrive."""

    def __init__(self, records, lost):
        self.records, self.lost, self.asked = records, lost, []

    def resolve(self, request, handler):
        name, kind = str(request.q.qname).rstrip("."), QTYPE[request.q.qtype]
        self.asked.append([handler.protocol, kind, name])
        if len(self.asked) <= self.lost:
            raise DNSError("lost")
        reply, known = request.reply(), self.records.get(f"{kind} {name}", self.records.get(name))
        if known is None:
            reply.header.rcode = RCODE.NXDOMAIN
        elif known == "SERVFAIL":
            reply.header.rcode = RCODE.SERVFAIL
        elif handler.protocol == "udp" and known[:1] == ["cut off"]:
            reply.header.tc = 1
        else:
            for kind_of, value in (record for record in known if record != "cut off"):
                owner = name
                if kind_of == "CNAME":
                    reply.add_answer(RR(owner, QTYPE.CNAME, rdata=CNAME(value)))
                    kind_of, value = kind, self.records[value][kind]
                if kind_of == kind:
                    reply.add_answer(RR(owner, getattr(QTYPE, kind), rdata=RECORDS[kind](value)))
        return reply


def main(case):
    here = Path.cwd()
    with socket.socket() as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP_RUNNING))
    for name in ("resolv.conf", "hosts"):
        (here / name).write_bytes(case[name.split(".")[0]].encode("latin-1"))
        subprocess.run(["mount", "--bind", here / name, f"/etc/{name}"], check=True)
    zone = Zone(case["records"], case["lost"])
    for tcp in (False, True):
        DNSServer(zone, address="127.0.0.1", port=53, tcp=tcp, logger=DNSLogger(log="-request,-reply,-truncated,-error,-recv,-send,-data")).start_thread()
    mute = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in case["mute"]]
    for server, address in zip(mute, case["mute"], strict=True):
        server.bind((address, 53))

    world = here / "world.json"
    world.write_text(json.dumps(case["world"]))
    cloud = subprocess.Popen(
        [os.environ["FAKECLOUD_BIN"], "--world", world], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    hello = json.loads(cloud.stdout.readline())
    (env,) = hello["instances"].values()
    port = hello["endpoints"]["EC2"].rsplit(":", 1)[1]
    env["AWS_ENDPOINT_URL_EC2"] = f"http://{case['host']}:{port}"
    command = [os.environ["PROGRAM"], "--output=json", "--timeout=4s"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    cloud.stdin.write('{"do": "holder", "address": "web"}\n')
    cloud.stdin.flush()
    holder = json.loads(cloud.stdout.readline())["holder"]
    result = json.loads(done.stdout)
    print(json.dumps({"code": done.returncode, "result": result, "holder": holder, "asked": zone.asked}))
    cloud.stdin.close()
    cloud.wait(timeout=10)


main(json.loads(sys.argv[1]))
