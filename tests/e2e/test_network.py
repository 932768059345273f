"""What a run reaches of the network, through a real server, on each kind of host."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.e2e.server import ServerProcess
from tests.e2e.situations import Situation

# On the loopback of the host, but in nobody's NO_PROXY.
ADDRESS = "127.0.0.2"
FETCH = """
import json, os, subprocess, urllib.error, urllib.request
inputs = json.load(open('inputs.json'))
seen = {}
for url in inputs['urls']:
    try:
        seen[url] = urllib.request.urlopen(url, timeout=20).read().decode()
    except urllib.error.HTTPError as error:
        seen[url] = f'{error.code} {error.read().decode()}'
    except OSError as error:
        seen[url] = f'{type(error).__name__}'
if inputs['curl']:
    done = subprocess.run(['curl', '-s', '-p', inputs['urls'][0]], capture_output=True, text=True)
    seen['curl'] = done.stdout
json.dump({'status': 'success', 'outputs': {'seen': seen}}, open('result.json', 'w'))
"""
MANIFEST = (
    "exec:\n"
    "  inputs: [{name: urls, type: json, required: true}, {name: curl, type: boolean}]\n"
    "  outputs: [{name: seen, type: json}]\n"
)
CALL = """
import json, os, urllib.error, urllib.request
def call(path, body, token=None):
    request = urllib.request.Request(
        os.environ['FLOOM_API_URL'] + path, json.dumps(body).encode(),
        {'authorization': 'Bearer ' + (token or os.environ['FLOOM_RUN_TOKEN']),
         'content-type': 'application/json'})
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code
run = os.environ['FLOOM_RUN_ID']
print('before', flush=True)
value = {
    'log': call(f'/runs/{run}/logs', {'level': 'error', 'message': 'one'}),
    'bad level': call(f'/runs/{run}/logs', {'level': 'loud', 'message': 'x'}),
    'other run': call('/runs/run_00000000000000000000000000/logs', {'level': 'info', 'message': 'x'}),
    'list': call('/workers', {}),
    'start': call('/workers/hello-worker/runs', {'inputs': {'who': 'x'}}),
    'bad token': call(f'/runs/{run}/logs', {'level': 'info', 'message': 'x'}, 'frt_nonsense'),
    'alias': os.environ['WORKEROS_API_URL'] == os.environ['FLOOM_API_URL']
             and os.environ['WORKEROS_RUN_TOKEN'] == os.environ['FLOOM_RUN_TOKEN'],
    'token': os.environ['FLOOM_RUN_TOKEN'][:4],
}
print(os.environ['FLOOM_RUN_TOKEN'])
open('out/token', 'w').write(os.environ['FLOOM_RUN_TOKEN'])
json.dump({'status': 'success', 'outputs': {'value': value}}, open('result.json', 'w'))
"""


class Site(BaseHTTPRequestHandler):
    """A host of the internet: says hello, or sends its guests elsewhere."""

    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.3:{self.connection.getsockname()[1]}/")
        else:
            self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def server(situated_server: ServerProcess) -> ServerProcess:
    return situated_server


@pytest.fixture
def site() -> Iterator[int]:
    server = ThreadingHTTPServer(("0.0.0.0", 0), Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


WITH_NETWORK: tuple[Situation, ...] = ("root", "user")


def skip_without_own_network(situation: Situation) -> None:
    if situation not in WITH_NETWORK:
        pytest.skip(f"{situation} refuses network namespaces")


def fetch(server: ServerProcess, egress: str, *urls: str, curl: bool = False) -> Any:
    server.add_worker(
        "fetch", f"capabilities: {{network: {{egress: {egress}}}}}\n" + MANIFEST, run_py=FETCH
    )
    assert server.reload()["errors"] == []
    run = server.finished(server.start_run("fetch", urls=list(urls), curl=curl))
    assert run["status"] == "completed", run["error"]
    return run, run["outputs"]["seen"]


def test_a_run_reaches_what_is_listed_and_nothing_else(
    server: ServerProcess, situation: Situation, site: int
) -> None:
    skip_without_own_network(situation)
    listed, away = f"http://{ADDRESS}:{site}/", f"http://{ADDRESS}:{site}/away"
    other, metadata = f"http://127.0.0.4:{site}/", "http://169.254.169.254/latest/"
    has_curl = shutil.which("curl") is not None
    run, seen = fetch(
        server, f'{{allow: ["{ADDRESS}:{site}"]}}', listed, away, other, metadata, curl=has_curl
    )
    assert seen[listed] == "hello"
    assert not has_curl or seen["curl"] == "hello"
    for refused in (away, other, metadata):
        assert seen[refused].startswith("403"), seen
        assert "capabilities.network.egress" in seen[refused]
    notices = [line["message"] for line in run["logs"] if line["stream"] == "system"]
    assert any(f"127.0.0.4:{site}" in notice for notice in notices), notices


def test_open_egress_is_public_addresses_only(
    server: ServerProcess, situation: Situation, site: int
) -> None:
    skip_without_own_network(situation)
    own, metadata = f"http://{ADDRESS}:{site}/", "http://169.254.169.254/latest/"
    _, seen = fetch(server, "true", own, metadata)
    assert all(answer.startswith("403") for answer in seen.values()), seen


def test_without_egress_there_is_no_way_out(server: ServerProcess, site: int) -> None:
    _, seen = fetch(server, "false", f"http://{ADDRESS}:{site}/", f"http://127.0.0.1:{site}/")
    assert all(answer in ("URLError", "PermissionError") for answer in seen.values()), seen


def test_where_a_run_has_no_network_of_its_own_it_gets_none(
    server: ServerProcess, situation: Situation
) -> None:
    """Landlock's rules name ports, not hosts: one socket could talk to anybody."""
    if situation in WITH_NETWORK:
        pytest.skip(f"{situation} has one")
    manifest = "capabilities: {network: {egress: true}}\n" + MANIFEST
    server.add_worker("fetch", manifest, run_py=FETCH)
    server.add_worker("look", "", run_py="import os; print('FLOOM_API_URL' in os.environ)")
    server.reload()
    fetched = server.finished(server.start_run("fetch", urls=[]))
    assert fetched["error"]["code"] == "sandbox_unavailable"
    assert "network namespace" in fetched["error"]["message"]
    looked = server.finished(server.start_run("look"))
    assert [line["message"] for line in looked["logs"]] == ["False"]


def test_a_run_writes_its_own_log_and_calls_nothing_else(
    server: ServerProcess, situation: Situation
) -> None:
    skip_without_own_network(situation)
    server.add_worker("call", "exec: {outputs: [{name: value, type: json}]}\n", run_py=CALL)
    server.reload()
    run = server.finished(server.start_run("call"))
    assert run["status"] == "completed", run["error"]
    value = run["outputs"]["value"]
    assert value == {
        "log": 204, "bad level": 422, "other run": 403, "list": 403, "start": 403,
        "bad token": 401, "alias": True, "token": "frt_",
    }  # fmt: skip
    lines = [(line["level"], line["message"]) for line in run["logs"]]
    assert lines == [("info", "before"), ("error", "one"), ("info", "***")]
    token = server.client.get(f"/runs/{run['id']}/artifacts/token").text
    assert token.startswith("frt_")
    late = server.client.post(
        f"/runs/{run['id']}/logs",
        json={"level": "info", "message": "late"},
        headers={"authorization": f"Bearer {token}"},
    )
    assert late.status_code == 401
    assert token not in json.dumps(run)
    assert token not in server.errors.read_text()
