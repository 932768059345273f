"""Real clients, as workers use them: nothing but the variables tells them of the proxy."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading

import pytest

from lib.sandbox.gate.settings import proxy_variables
from tests.lib.sandbox.gate.certificates import Authority
from tests.lib.sandbox.gate.internet import PUBLIC, PUBLIC_TOO, Internet
from tests.lib.sandbox.gate.running import proxying

NAME = "api.example.com"


class Site(http.server.BaseHTTPRequestHandler):
    """Greets, takes bodies, and redirects to a private address."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/away":
            self._answer(302, b"", location="http://private.example/secret")
        elif self.path == "/elsewhere":
            self._answer(302, b"", location="http://other.example/")
        else:
            self._answer(200, f"hello from {self.headers['host']}{self.path}".encode())

    def do_POST(self):
        self._answer(200, self.rfile.read(int(self.headers["content-length"])))

    def _answer(self, status, body, **fields):
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **fields}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Sites:
    """One site over TLS, one over plain HTTP, each at its public names."""

    def __init__(self, folder):
        self.authority = Authority(folder)
        context = self.authority.server_context(NAME, "other.example")
        self._servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) for _ in range(2)]
        self._servers[0].socket = context.wrap_socket(self._servers[0].socket, server_side=True)
        for server in self._servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever).start()

    @property
    def ports(self):
        return [server.server_address[1] for server in self._servers]

    def internet(self):
        internet = Internet()
        internet.name(NAME, [PUBLIC])
        internet.name("other.example", [PUBLIC_TOO])
        internet.name("private.example", ["127.0.0.1"])
        for address in (PUBLIC, PUBLIC_TOO):
            for port, real_port in zip((443, 80), self.ports, strict=True):
                internet.serve(address, port, real_port)
        return internet

    def close(self):
        for server in self._servers:
            server.shutdown()
            server.server_close()


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    sites = Sites(tmp_path_factory.mktemp("sites"))
    yield sites
    sites.close()


@pytest.fixture(scope="module")
def proxy(sites):
    with proxying(sites.internet(), f"{NAME}", "private.example") as proxy:
        yield proxy


@pytest.fixture
def run(sites, proxy):
    def run(*command, **more):
        authority = str(sites.authority.path)
        trust = dict.fromkeys(
            ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
            authority,
        )
        variables = {
            "PATH": os.environ["PATH"],  # noqa: TID251 - of the test
            **trust,
            **proxy_variables(proxy.port),
            **more,
        }
        done = subprocess.run(
            command, env=variables, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout + done.stderr

    return run


URLLIB = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], data=sys.argv[2].encode() if sys.argv[2:] else None)
print(urllib.request.urlopen(request, timeout=30).read().decode())
"""
REQUESTS = """
import sys, requests
session = requests.Session()
for _ in range(2):
    if sys.argv[2:]:
        print(session.post(sys.argv[1], data=sys.argv[2], timeout=30).text)
    else:
        print(session.get(sys.argv[1], timeout=30).text)
"""
HTTPX = """
import sys, httpx
with httpx.Client(follow_redirects=True, timeout=30) as client:
    for _ in range(2):
        if sys.argv[2:]:
            print(client.post(sys.argv[1], content=sys.argv[2]).text)
        else:
            print(client.get(sys.argv[1]).text)
"""
NODE = """
const http = require('http'), https = require('https'), tls = require('tls')
const proxy = new URL(process.env.HTTPS_PROXY), url = new URL(process.argv[1]), body = process.argv[2]
const tunnel = http.request({
  host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: `${url.hostname}:443`,
})
tunnel.on('connect', (answer, socket) => {
  if (answer.statusCode !== 200) { console.log(answer.statusCode, answer.statusMessage); process.exit(1) }
  const agent = new https.Agent()
  agent.createConnection = () => tls.connect({socket, servername: url.hostname})
  const options = {method: body ? 'POST' : 'GET', agent}
  https.request(url, options, (r) => { r.on('data', (d) => process.stdout.write(d)) }).end(body)
})
tunnel.end()
"""
NODE_FETCH = """
fetch(process.argv[1], process.argv[2] ? {method: 'POST', body: process.argv[2]} : {})
  .then(async (r) => console.log(await r.text()), (e) => console.log(e, e.cause))
"""
CURL = ("curl", "-sS", "-L", "--max-time", "30")


@functools.cache
def node_version():
    node = shutil.which("node")
    if node is None:
        return (0, 0)
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
    return tuple(int(part) for part in done.stdout.strip("v\n").split(".")[:2])


needs_node = pytest.mark.skipif(node_version() < (18, 0), reason="no Node")
needs_proxying_node = pytest.mark.skipif(
    not ((22, 21) <= node_version() < (23, 0) or node_version() >= (24, 0)),
    reason="Node's fetch knows NODE_USE_ENV_PROXY from 22.21 and 24 on",
)
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
PYTHON = sys.executable

CLIENTS = [
    pytest.param((PYTHON, "-c", URLLIB), id="urllib"),
    pytest.param((PYTHON, "-c", REQUESTS), id="requests"),
    pytest.param((PYTHON, "-c", HTTPX), id="httpx"),
    pytest.param(CURL, id="curl", marks=needs_curl),
]
TLS_CLIENTS = [
    *CLIENTS,
    pytest.param(("node", "-e", NODE), id="node", marks=needs_node),
    pytest.param(("node", "-e", NODE_FETCH), id="fetch", marks=needs_proxying_node),
]


@pytest.mark.parametrize("client", TLS_CLIENTS)
def test_https_to_a_listed_host(run, client):
    output = run(*client, f"https://{NAME}/ok")

    assert f"hello from {NAME}/ok" in output


@pytest.mark.parametrize("client", TLS_CLIENTS)
def test_https_to_another_host_fails_and_says_why(run, client):
    output = run(*client, "https://other.example/")

    assert "403" in output
    assert "hello" not in output
    if client not in (CURL, ("node", "-e", NODE_FETCH)):  # which show the status and no more
        assert "not listed" in output


@pytest.mark.parametrize("client", CLIENTS)
def test_plain_http_to_a_listed_host(run, client):
    assert f"hello from {NAME}/ok" in run(*client, f"http://{NAME}/ok")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_redirect_to_a_private_address_is_refused(run, proxy, client):
    output = run(*client, f"https://{NAME}/away")

    assert "hello" not in output
    assert "403" in output or "leads to 127.0.0.1" in output
    assert ("127.0.0.1", 80) not in proxy.internet.dialled


@pytest.mark.parametrize("client", CLIENTS)
def test_a_redirect_to_a_host_that_is_not_listed_is_refused(run, proxy, client):
    output = run(*client, f"http://{NAME}/elsewhere")

    assert "hello" not in output
    assert (PUBLIC_TOO, 80) not in proxy.internet.dialled


@pytest.mark.parametrize("client", [each for each in TLS_CLIENTS if each.id != "curl"])
def test_a_body_is_sent_whole(run, client):
    body = "x" * 100_000

    assert body in run(*client, f"https://{NAME}/", body)
    if client[0] != "node":
        assert body in run(*client, f"http://{NAME}/", body)


@needs_curl
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_curl_by_socks(run, proxy, scheme):
    address = f"socks5h://127.0.0.1:{proxy.port}"

    assert "hello" in run(*CURL, "--proxy", address, f"{scheme}://{NAME}/ok")
    assert "hello" not in run(*CURL, "--proxy", address, f"{scheme}://other.example/ok")


@needs_curl
def test_the_runs_own_loopback_is_reached_without_the_proxy(run, sites):
    assert "hello" in run(*CURL, f"http://127.0.0.1:{sites.ports[1]}/ok")
