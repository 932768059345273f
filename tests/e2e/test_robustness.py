"""Ways in which workers and clients once got the better of the server."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from handlers import docs
from tests.e2e import test_hostile_requests as requests_of
from tests.e2e.server import ServerProcess
from tests.e2e.test_hostile_workers import (
    MANIFEST,
    RUN,
    SMALL,
    eventually,
    execute,
    resident_bytes,
    supervisor_of,
)

INPUTS = requests_of.INPUTS


@pytest.fixture(scope="module")
def server(shared_server: ServerProcess) -> ServerProcess:
    for name, limits in (("hostile", ""), ("small", SMALL)):
        shared_server.add_worker(name, MANIFEST + limits, run_py=RUN)
    shared_server.add_worker(
        "number",
        "exec:\n  inputs: [{name: code, type: textarea, required: true}]\n"
        "  outputs: [{name: value, type: number}]\n",
        run_py=RUN,
    )
    shared_server.add_worker("typed", INPUTS, run_py="print('ran')")
    assert shared_server.reload()["errors"] == []
    return shared_server


def is_all_powerful(folder: Path) -> bool:
    closed = folder / "closed"
    closed.mkdir(mode=0)
    return os.access(closed, os.R_OK)


@pytest.mark.parametrize("depth", [254, 256, 300, 900])
def test_result_of_any_depth_leaves_a_run_that_can_be_read(
    server: ServerProcess, depth: int
) -> None:
    run = execute(
        server,
        f"""
        import json
        value = 1
        for _ in range({depth}): value = [value]
        json.dump({{'status': 'success', 'outputs': {{'value': value}}}}, open('result.json', 'w'))
        """,
    )
    assert run["error"] is None or run["error"]["code"] in ("invalid_result", "output_invalid")


def test_nothing_of_an_attempt_stays_on_disk(server: ServerProcess) -> None:
    execute(server, "pass")
    eventually(lambda: list((server.data / "runs").iterdir()) == [])


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.exit(168)",
        "import os; os.kill(os.getpid(), 40)",
        "import os; os._exit(191)",
    ],
)
def test_any_exit_code_is_explained(server: ServerProcess, code: str) -> None:
    assert execute(server, code)["error"]["code"] == "execution_error"


@pytest.mark.parametrize("text", ["9" * 400, "1e999", "-1e999"])
def test_number_beyond_a_float_is_no_output(server: ServerProcess, text: str) -> None:
    code = f'open(\'result.json\', \'w\').write(\'{{"status": "success", "outputs": {{"value": {text}}}}}\')'
    assert execute(server, code, worker="number")["error"]["code"] in (
        "output_invalid",
        "invalid_result",
    )


def test_infinity_is_no_json(server: ServerProcess) -> None:
    code = (
        'open(\'result.json\', \'w\').write(\'{"status": "success", "outputs": {"value": 1e999}}\')'
    )
    assert execute(server, code)["error"]["code"] in ("output_invalid", "invalid_result")


@pytest.mark.timeout(90)
def test_stopped_supervisor_does_not_hold_the_run(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "var") as server:
        server.add_worker("small", MANIFEST + SMALL, run_py=RUN)
        server.reload()
        run = execute(
            server,
            "import time; print('up', flush=True); time.sleep(60)",
            worker="small",
            seconds=40,
            then=lambda run_id: os.kill(supervisor_of(server, run_id), signal.SIGSTOP),
        )
        assert run["error"]["code"] == "timeout"


def test_renamed_folder_is_the_workers_own_fault(server: ServerProcess) -> None:
    run = execute(server, "import os, time; os.rename('../work', '../gone'); time.sleep(0.7)")
    assert (run["error"] or {}).get("code") not in ("interrupted", "internal_error")


def test_two_files_of_one_name_are_not_lost_in_silence(server: ServerProcess) -> None:
    run = execute(
        server,
        """
        import json
        open('same.txt', 'w').write('a')
        open('out/same.txt', 'w').write('bb')
        json.dump({'status': 'success', 'artifacts': ['same.txt']}, open('result.json', 'w'))
        """,
    )
    assert run["status"] == "failed" or len(run["artifacts"]) == 2


def test_what_is_lost_of_a_long_line_is_told(server: ServerProcess) -> None:
    run = execute(
        server,
        """
        import os, time
        os.write(1, b''.join(b'line %d\\n' % n for n in range(4000)))  # the head is full
        time.sleep(0.6)
        for _ in range(40): os.write(1, b'q' * 1_000_000)
        os.write(1, b'\\nend\\n')
        """,
        worker="small",
    )
    assert run["logs_dropped"] == 1
    assert "1 line dropped" in " ".join(line["message"] for line in run["logs"])


def test_deep_folders_are_named_as_the_reason(server: ServerProcess) -> None:
    run = execute(
        server,
        """
        import os
        os.chdir('out')
        for _ in range(2_000):
            os.mkdir('deeper')
            os.chdir('deeper')
        """,
    )
    assert "cannot be looked into" in run["error"]["message"]


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.chmod('.', 0)",
        "import os, time; os.chmod('.', 0); time.sleep(0.6)",
        "import os; os.mkdir('out/d'); open('out/d/f', 'w'); os.chmod('out/d', 0)",
        "import os; os.mkdir('e'); open('e/f', 'w'); os.chmod('e', 0)",
        "import os, time; os.chmod('..', 0); time.sleep(0.6)",
        "import os, time; os.chmod('../meta', 0); time.sleep(0.6)",
    ],
)
def test_closed_folders_are_settled_and_removed(
    server: ServerProcess, tmp_path: Path, code: str
) -> None:
    if is_all_powerful(tmp_path):
        pytest.skip("root enters any folder")
    run = execute(server, code)
    eventually(lambda: list((server.data / "runs").glob("*/*")) == [])
    assert (run["error"] or {}).get("code") not in ("interrupted", "internal_error")


def test_closed_folder_hides_no_bytes(server: ServerProcess, tmp_path: Path) -> None:
    if is_all_powerful(tmp_path):
        pytest.skip("root enters any folder")
    run = execute(
        server,
        """
        import os
        os.mkdir('e')
        for n in range(20): open(f'e/{n}', 'wb').write(b'x' * 1_000_000)
        os.chmod('e', 0)
        """,
        worker="small",
    )
    assert run["error"]["code"] == "disk_exceeded"


def test_number_that_no_float_can_hold_is_refused(server: ServerProcess) -> None:
    answer = requests_of.post(server, b'{"inputs": {"number": ' + b"9" * 400 + b"}}")
    assert answer.status == 422


@pytest.mark.parametrize("after", ["9223372036854775808", "9" * 30])
def test_any_position_in_a_log_is_answered(server: ServerProcess, after: str) -> None:
    run_id = server.run("typed")["id"]
    assert server.client.get(f"/runs/{run_id}/logs", params={"after": after}).status_code in (
        200,
        422,
    )


def test_two_hosts_are_refused_in_either_order(server: ServerProcess) -> None:
    hosts = b"Host: evil.example\r\nHost: localhost\r\n"
    assert requests_of.send(server, b"GET /workers HTTP/1.1\r\n" + hosts + b"\r\n").status in (
        400,
        421,
    )


def test_encoded_body_is_refused(server: ServerProcess) -> None:
    head = b"POST /workers/typed/runs HTTP/1.1\r\n" + requests_of.JSON
    answer = requests_of.send(
        server, head + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert answer.status == 415


def test_headers_without_end_are_refused(server: ServerProcess) -> None:
    before = resident_bytes(server)
    with requests_of.connect(server) as connection, pytest.raises(OSError):  # noqa: PT011, PT012
        connection.sendall(b"GET /healthz HTTP/1.1\r\n" + requests_of.HOST)
        for _ in range(64):
            connection.sendall(b"X: " + b"a" * 1_000_000 + b"\r\n")
            assert resident_bytes(server) - before < 32 * 1024 * 1024


# test_openapi.py, test_lambda.py


def test_unfit_range_is_documented() -> None:
    path = docs.document()["paths"]["/runs/{run_id}/artifacts/{name}"]["get"]
    assert "416" in path["responses"]


def test_the_reference_is_a_function() -> None:
    assert callable(getattr(docs, "handler", None))
