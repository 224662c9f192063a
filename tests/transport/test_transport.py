"""How the program reaches AWS: TLS with a trust store of its own, names, and proxies.

The TLS server and the proxy are Python's; behind them is the fake cloud.
PROGRAM names the program, FAKECLOUD_BIN the fake cloud (`make test` sets both).
"""

import json
import os
import socket
import ssl
import subprocess
import threading

import pytest
import trustme

PROGRAM = os.environ["PROGRAM"]
FAKECLOUD = os.environ["FAKECLOUD_BIN"]
WORLD = {
    "addresses": [{"name": "web", "tags": {"eip-claim": "web"}}],
    "instances": [{"name": "me", "launched_ago_s": 3600, "tags": {"eip-claim": "web"}}],
}


class Cloud:
    """The fake cloud as a process."""

    def __init__(self, path):
        world = path / "world.json"
        world.write_text(json.dumps(WORLD))
        self.process = subprocess.Popen(
            [FAKECLOUD, "--world", world], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        hello = json.loads(self.process.stdout.readline())
        (self.env,) = hello["instances"].values()
        self.port = int(hello["endpoints"]["EC2"].rsplit(":", 1)[1])

    def do(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def holder(self):
        answer = self.do(do="holder", address="web")
        return answer["holder"] and answer["holder"]["instance"]


@pytest.fixture
def cloud(tmp_path):
    cloud = Cloud(tmp_path)
    yield cloud
    cloud.process.stdin.close()
    cloud.process.wait(timeout=10)


def pipe(a, b):
    """Carries bytes both ways until one side closes."""

    def carry(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    threading.Thread(target=carry, args=(a, b), daemon=True).start()
    threading.Thread(target=carry, args=(b, a), daemon=True).start()


class Server:
    """Accepts connections on a loopback port, each handled by a function in a thread."""

    def __init__(self, handle):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        self.handle = handle
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.listener.accept()
            self.connections += 1
            threading.Thread(target=self.try_to_handle, args=(connection,), daemon=True).start()

    def try_to_handle(self, connection):
        try:
            self.handle(connection)
        except (OSError, ssl.SSLError):
            connection.close()


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
def tls(cloud, authority):
    """TLS for the name `localhost` in front of the fake EC2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    def handle(connection):
        inside = context.wrap_socket(connection, server_side=True)
        pipe(inside, socket.create_connection(("127.0.0.1", cloud.port)))

    return Server(handle)


@pytest.fixture
def proxy():
    """A proxy that knows CONNECT and notes where to."""

    def handle(connection):
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        method, where, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        server.asked.append((method, where))
        host, port = where.rsplit(":", 1)
        upstream = socket.create_connection((host, int(port)))
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        pipe(connection, upstream)

    server = Server(handle)
    server.asked = []
    return server


def claim(env, *arguments):
    command = [PROGRAM, "--output=json", *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout), done.stderr


def over_tls(cloud, tls):
    return {**cloud.env, "AWS_ENDPOINT_URL_EC2": f"https://localhost:{tls.port}"}


def trusting(authority, tmp_path):
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    return {"SSL_CERT_FILE": str(bundle)}


def test_the_endpoint_is_reached_by_name_over_tls_with_the_trust_store_of_the_environment(
    cloud, tls, authority, tmp_path
):
    code, result, log = claim({**over_tls(cloud, tls), **trusting(authority, tmp_path)})
    assert (code, result["outcome"]) == (0, "claimed"), log
    assert cloud.holder() == result["instance_id"]
    # One connection for the look and the write, a new one for the confirming read.
    assert tls.connections == 2


def test_a_certificate_that_nobody_vouches_for_is_refused_and_named(cloud, tls):
    code, result, log = claim(over_tls(cloud, tls), "--timeout=2s")
    assert (code, result["outcome"]) == (75, "failed"), log
    assert result["error"]["code"] == "ConnectionFailed"
    assert "certificate" in log
    assert cloud.holder() is None


def test_aws_is_asked_through_the_proxy_and_the_metadata_service_never(cloud, tls, authority, tmp_path, proxy):
    url = f"http://127.0.0.1:{proxy.port}"
    through = {"HTTPS_PROXY": url, "HTTP_PROXY": url, "https_proxy": url, "http_proxy": url}
    code, result, log = claim({**over_tls(cloud, tls), **trusting(authority, tmp_path), **through})
    assert (code, result["outcome"]) == (0, "claimed"), log
    assert set(proxy.asked) == {("CONNECT", f"localhost:{tls.port}")}


def test_no_proxy_is_respected(cloud, tls, authority, tmp_path, proxy):
    through = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": "localhost"}
    code, result, log = claim({**over_tls(cloud, tls), **trusting(authority, tmp_path), **through})
    assert (code, result["outcome"]) == (0, "claimed"), log
    assert proxy.asked == []


def test_a_name_that_does_not_exist_is_a_failure_that_may_go_away(cloud):
    env = {**cloud.env, "AWS_ENDPOINT_URL_EC2": "https://nowhere.invalid"}
    code, result, log = claim(env, "--timeout=3s")
    assert (code, result["outcome"]) == (75, "failed"), log
    assert result["error"]["code"] in ("ConnectionFailed", "ConnectTimeout", "AttemptTimeout")


@pytest.fixture
def page(authority):
    """A page over TLS that answers with the first address of the fake cloud, as checkip does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    def handle(connection):
        with context.wrap_socket(connection, server_side=True) as inside:
            inside.recv(65536)
            inside.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n203.0.113.1\n")

    return Server(handle)


def test_the_egress_proof_goes_over_tls_with_the_same_trust_and_past_the_proxy(cloud, page, authority, tmp_path, proxy):
    url = f"http://127.0.0.1:{proxy.port}"
    # The fake AWS is on an address that needs no proxy, the page on a name that would.
    through = {"HTTPS_PROXY": url, "https_proxy": url, "ALL_PROXY": url, "NO_PROXY": "127.0.0.1"}
    verify = f"--verify-egress=https://localhost:{page.port}/"
    code, result, log = claim({**cloud.env, **trusting(authority, tmp_path), **through}, verify)
    assert (code, result["outcome"]) == (0, "claimed"), log
    assert result["verified_by"] == ["api", "egress"]
    assert (page.connections, proxy.asked) == (1, [])


def test_an_egress_page_that_nobody_vouches_for_proves_nothing(cloud, page):
    verify = f"--verify-egress=https://localhost:{page.port}/"
    code, result, log = claim(cloud.env, verify, "--timeout=2s")
    assert (code, result["error"]["code"]) == (75, "EgressUnreachable"), log
    assert "certificate" in result["error"]["message"]
    assert result["verified_by"] == ["api"] and cloud.holder() == result["instance_id"]
