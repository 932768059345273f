"""Workers with dependencies, on the real server, from an index on loopback."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import ServerProcess
from tests.lib.environments.index import DEADLINE_SECONDS, Index, serving
from tests.lib.environments.packages import npm_package, wheel

IMPORT = (
    "import json, needy, plain\n"
    "json.dump({'status': 'success', 'outputs': {'seen': [needy.VERSION, plain.__file__]}},"
    " open('result.json', 'w'))\n"
)
SEEN = "exec: {outputs: [{name: seen, type: json, required: true}]%s}\n"
REQUIRE = (
    "const fs = require('fs')\n"
    "fs.writeFileSync('result.json',"
    " JSON.stringify({status: 'success', outputs: {seen: require('odd')}}))\n"
)


@pytest.fixture
def index() -> Iterator[Index]:
    with stocked_index() as index:
        yield index


@pytest.fixture
def server(tmp_path: Path, index: Index) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "var", **variables_of(index)) as server:
        yield server


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with an index, for tests that look at the runs of a worker of their own."""
    folder = tmp_path_factory.mktemp("dependencies")
    with (
        stocked_index() as index,
        ServerProcess(folder / "var", **variables_of(index)) as server,
    ):
        yield server


@contextmanager
def stocked_index() -> Iterator[Index]:
    with serving() as index:
        index.add(wheel("plain"), wheel("needy", requires=("plain",)))
        index.add_npm(npm_package("odd"))
        yield index


def variables_of(index: Index) -> dict[str, Any]:
    return {**index.variables}


def log_of(server: ServerProcess, run: dict[str, Any]) -> list[tuple[str, str]]:
    lines = server.client.get(f"/runs/{run['id']}/logs").json()
    return [(line["stream"], line["message"]) for line in lines]


@pytest.mark.parametrize("warm", ["true", "false"])
def test_a_python_worker_imports_what_its_file_names(shared: ServerProcess, warm: str) -> None:
    shared.add_worker(
        f"python-{warm}", SEEN % f", warm: {warm}", run_py=IMPORT, requirements_txt="needy==1.0\n"
    )
    shared.reload()
    run = shared.run(f"python-{warm}")
    assert run["status"] == "completed", run["error"]
    version, file = run["outputs"]["seen"]
    assert version == "1.0"
    assert Path(file).is_relative_to(shared.data / "environments")


@pytest.mark.skipif(not shutil.which("npm"), reason="there is no npm")
def test_a_node_worker_requires_what_its_file_names(shared: ServerProcess) -> None:
    manifest = SEEN % ", runtime: node, entry: run.js"
    shared.add_worker(
        "node", manifest, run_js=REQUIRE, package_json='{"dependencies": {"odd": "1"}}'
    )
    shared.reload()
    run = shared.run("node")
    assert run["status"] == "completed", run["error"]
    assert run["outputs"]["seen"] == "odd 1.0.0"


def test_a_confined_worker_cannot_change_packages_that_others_use(shared: ServerProcess) -> None:
    script = (
        "import json, os, plain\n"
        "def attempt(work):\n"
        "    try: work()\n"
        "    except OSError as error: return type(error).__name__\n"
        "    return 'done'\n"
        "tries = [lambda: open(plain.__file__, 'a'), lambda: os.chmod(plain.__file__, 0o777),\n"
        "         lambda: os.unlink(plain.__file__),\n"
        "         lambda: open(os.environ['PYTHONUSERBASE'] + '/new', 'w')]\n"
        "json.dump({'status': 'success', 'outputs': {'seen': [attempt(t) for t in tries]}},"
        " open('result.json', 'w'))\n"
    )
    shared.add_worker("confined", SEEN % "", run_py=script, requirements_txt="plain\n")
    shared.reload()
    run = shared.run("confined")
    assert run["status"] == "completed", run["error"]
    if run["sandbox"]["files"] == "none":
        pytest.skip("this host confines no files")
    assert "done" not in run["outputs"]["seen"]


def test_a_saved_worker_is_installed_for_before_it_runs(
    server: ServerProcess, index: Index
) -> None:
    server.add_worker("deps", SEEN % "", run_py=IMPORT, requirements_txt="needy\n")
    server.reload()
    environments = server.data / "environments"
    server.until(
        lambda: {"built": [*environments.glob("*/environment.json")]},
        lambda seen: bool(seen["built"]),
    )
    asked = len(index.asked)
    run = server.run("deps")
    assert run["status"] == "completed", run["error"]
    assert len(index.asked) == asked
    assert "system" not in {stream for stream, _ in log_of(server, run)}


def test_what_cannot_be_installed_fails_the_run_and_its_log_says_why(
    shared: ServerProcess,
) -> None:
    shared.add_worker("absent", SEEN % "", run_py=IMPORT, requirements_txt="absent-thing\n")
    shared.reload()
    run = shared.run("absent")
    assert run["error"]["code"] == "install_failed"
    assert "absent-thing" in run["error"]["message"]
    assert any("absent-thing" in text for _, text in log_of(shared, run))


def test_a_run_that_waits_for_an_installation_is_cancelled_at_once(
    server: ServerProcess, index: Index
) -> None:
    index.is_open.clear()
    server.add_worker("deps", SEEN % "", run_py=IMPORT, requirements_txt="needy\n")
    server.reload()
    assert index.is_asked.wait(DEADLINE_SECONDS)
    run_id = server.start_run("deps")
    server.until(lambda: server.get(run_id), lambda run: run["status"] == "running")
    assert server.client.post(f"/runs/{run_id}/cancel").status_code in (200, 202)
    assert server.finished(run_id, 10)["status"] == "cancelled"


def test_a_server_that_is_killed_while_it_installs_runs_the_run_after_its_restart(
    server: ServerProcess, index: Index
) -> None:
    index.is_open.clear()
    server.add_worker("deps", SEEN % "", run_py=IMPORT, requirements_txt="needy\n")
    server.reload()
    run_id = server.start_run("deps")
    server.until(lambda: server.get(run_id), lambda run: run["status"] == "running")
    assert index.is_asked.wait(DEADLINE_SECONDS)
    server.kill()
    index.is_open.set()
    server.start()
    assert server.finished(run_id)["status"] == "completed"
    folder = server.data / "environments"
    assert not [*folder.glob(".build-*")]


def test_a_server_stops_at_once_while_it_installs(server: ServerProcess, index: Index) -> None:
    index.is_open.clear()
    server.add_worker("deps", SEEN % "", run_py=IMPORT, requirements_txt="needy\n")
    server.reload()
    run_id = server.start_run("deps")
    server.until(lambda: server.get(run_id), lambda run: run["status"] == "running")
    assert index.is_asked.wait(DEADLINE_SECONDS)
    assert server.stop() == 0
    assert not [*(server.data / "environments").glob(".build-*")]
    index.is_open.set()
    server.start()
    run = server.finished(run_id)
    assert (run["status"], run["attempt"]) == ("completed", 1)


def test_variables_for_installers_reach_no_worker(tmp_path: Path, index: Index) -> None:
    index.password = "ada:correct-horse"
    show = (
        "import json, os\n"
        "json.dump({'status': 'success', 'outputs': {'seen': dict(os.environ)}},"
        " open('result.json', 'w'))\n"
    )
    with ServerProcess(tmp_path / "var", **variables_of(index)) as server:
        server.add_worker("deps", SEEN % "", run_py=show, requirements_txt="needy\n")
        server.reload()
        run = server.run("deps")
        assert run["status"] == "completed", run["error"]
        seen = run["outputs"]["seen"]
        assert "PYTHONUSERBASE" in seen
        assert not {name for name in seen if name.startswith(("UV_", "PIP_", "npm_"))}
        assert "horse" not in str(seen)
        assert "horse" not in str(log_of(server, run))
    assert "horse" not in server.errors.read_text()
