"""What is around a machine under test: its network, and in it the fake region at the addresses of the real one.

The cloud is a network namespace: the metadata service at 169.254.169.254, DHCP and DNS, and the APIs by TLS under
their real names. Each boot of the machine gets a fresh namespace of its own, with an interface or two to the cloud.
"""

import contextlib
import ctypes
import json
import os
import socket
import ssl
import struct
import subprocess
import threading
from pathlib import Path

# What tree.sh has built.
DIRECTORY = Path(os.environ["BOOT_DIRECTORY"])
FAKECLOUD = os.environ["FAKECLOUD_BIN"]
METADATA = "169.254.169.254"
# Behind the router, as all of AWS: when it is taken away, packets go nowhere, without a word.
APIS = "192.0.2.2"
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def run(*command, **options):
    """The standard output of a command that has to succeed."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


class Cloud:
    """A fake region, and the network of one machine in it."""

    def __init__(self, name, world):
        self.name = name
        self.cleanup = contextlib.ExitStack()
        try:
            self.start(world)
        except BaseException:
            self.close()
            raise

    def start(self, world):
        run("ip", "netns", "add", self.name)
        self.cleanup.callback(run, "ip", "netns", "delete", self.name)
        self.ip("link", "set", "lo", "up")
        self.reach(METADATA)
        self.reach(APIS)
        file = DIRECTORY / f"{self.name}.json"
        file.write_text(json.dumps(world))
        self.cleanup.callback(file.unlink)
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.name, FAKECLOUD, "--world", file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.cleanup.callback(self.stop)
        self.hello = json.loads(self.process.stdout.readline())
        self.me = self.hello["names"]["me"]
        endpoint = self.hello["instances"][self.me]["AWS_EC2_METADATA_SERVICE_ENDPOINT"]
        self.metadata = place(endpoint)
        # Names of AWS to where they are answered; a test may add its own.
        self.names = {
            "ec2": forward(place(self.hello["endpoints"]["EC2"])),
            "sts": forward(place(self.hello["endpoints"]["STS"])),
        }
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(DIRECTORY / "tls/server.pem", DIRECTORY / "tls/server.key")
        self.context.sni_callback = lambda inside, name, _: setattr(inside, "asked_for", name)
        for port, handle in ((80, forward(self.metadata)), (443, self.answer_tls)):
            ready = threading.Event()
            threading.Thread(target=self.serve, args=(port, handle, ready), daemon=True).start()
            assert ready.wait(10), f"nobody listens to port {port} in the namespace {self.name}"

    def stop(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)

    def close(self):
        self.cleanup.close()

    def ip(self, *words):
        return run("ip", "-netns", self.name, *words)

    def do(self, what, **arguments):
        """What the fake region answers to a command."""
        self.process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer
        return answer

    def holder(self, address):
        """Who has the address: the id of an instance, and its private address."""
        holder = self.do("holder", address=address)["holder"]
        return holder and (holder["instance"], holder["private_ip"])

    def writes(self):
        """What changed the region since the log was cleared."""
        requests = self.do("log")["requests"]
        return [r["action"] for r in requests if r["committed"] and r["action"] in ("AssociateAddress", "DisassociateAddress")]

    def calls(self, action):
        return self.do("requests", action=action)["requests"]

    # The network.

    def reach(self, address):
        """From now on the address is answered for."""
        self.ip("address", "add", f"{address}/32", "dev", "lo")

    def lose(self, address):
        """From now on packets for the address go nowhere."""
        self.ip("address", "delete", f"{address}/32", "dev", "lo")

    def plug(self, namespace, interfaces):
        """A fresh namespace for a boot, with interfaces to here, of which the first one works; undone by the result."""
        dhcp = ["--dhcp-authoritative", "--no-ping", f"--dhcp-leasefile={DIRECTORY}/{namespace}.leases"]
        names = [f"--address=/{name}.ap-northeast-2.amazonaws.com/{APIS}" for name in self.names]
        with contextlib.ExitStack() as undo:
            undo.callback(Path(f"{DIRECTORY}/{namespace}.leases").unlink, missing_ok=True)
            run("ip", "netns", "add", namespace)
            undo.callback(run, "ip", "netns", "delete", namespace)
            for n in range(interfaces):
                self.ip("link", "add", f"eth{n}", "type", "veth", "peer", "name", f"eth{n}", "netns", namespace)
                self.ip("address", "add", f"10.0.{n}.1/24", "dev", f"eth{n}")
                dhcp += [f"--interface=eth{n}", f"--dhcp-range=10.0.{n}.10,10.0.{n}.250"]
            self.ip("link", "set", "eth0", "up")
            # DHCP and DNS.
            dnsmasq = subprocess.Popen(
                ["ip", "netns", "exec", self.name, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root"]
                + ["--bind-interfaces", "--no-resolv", "--no-hosts", "--pid-file=", "--log-facility=/dev/null", *dhcp, *names]
            )
            undo.callback(dnsmasq.wait, 10)
            undo.callback(dnsmasq.terminate)
            return undo.pop_all()

    def connect(self, n):
        """The nth interface works now."""
        self.ip("link", "set", f"eth{n}", "up")

    # The doors.

    def serve(self, port, handle, ready):
        """Accepts connections inside of the namespace, which threads that are started here are in as well."""
        with open(f"/run/netns/{self.name}", "rb") as namespace:
            assert LIBC.setns(namespace.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        listener = socket.create_server(("0.0.0.0", port))
        self.cleanup.callback(listener.close)
        # Wakes who accepts, which closing alone would not.
        self.cleanup.callback(listener.shutdown, socket.SHUT_RDWR)
        ready.set()
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=guard(handle), args=(connection,), daemon=True).start()

    def answer_tls(self, connection):
        inside = self.context.wrap_socket(connection, server_side=True)
        self.names[inside.asked_for.split(".")[0]](inside)


def place(url):
    host, port = url.removeprefix("http://").rsplit(":", 1)
    return host, int(port)


def guard(handle):
    """The handler of a connection that ends in a reset when something goes wrong."""

    def handler(connection):
        try:
            handle(connection)
        except (OSError, AttributeError, KeyError):
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    return handler


def forward(where):
    """A handler that carries bytes both ways until one side closes."""

    def carry(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def handle(connection):
        upstream = socket.create_connection(where)
        threading.Thread(target=carry, args=(upstream, connection), daemon=True).start()
        carry(connection, upstream)

    return handle


def give(file):
    """A handler that answers any HTTP request with a file."""

    def handle(connection):
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(65536)
        body = Path(file).read_bytes()
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        connection.close()

    return handle
