"""What the process of a worker sees, and what this version refuses to run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.server import ServerProcess

SHOW = (
    "import json, os, sys\n"
    "files = sorted(os.path.join(d, f) for d, _, fs in os.walk('.') for f in fs)\n"
    "json.dump({'status': 'success', 'outputs': {'seen': {'env': dict(os.environ), 'cwd': os.getcwd(),"
    " 'files': files, 'argv': sys.argv, 'python': sys.executable}}}, open('result.json', 'w'))\n"
)
SEEN = "exec: {outputs: [{name: seen, type: json, required: true}]}\n"


def test_a_process_sees_its_folder_and_its_variables_only(shared_server: ServerProcess) -> None:
    context = shared_server.workspace / "contexts" / "house" / "style"
    context.mkdir(parents=True)
    (context / "guide.md").write_text("Plain words.")
    shared_server.add_worker("show", "contexts: [house]\n" + SEEN, run_py=SHOW, data_txt="x")
    shared_server.reload()
    run = shared_server.run("show")
    assert run["status"] == "completed", run["error"]
    seen = run["outputs"]["seen"]
    assert seen["files"] == [
        "./context/house/style/guide.md",
        "./data.txt",
        "./inputs.json",
        "./run.py",
        "./worker.yml",
    ]
    environment = seen["env"]
    environment.pop("LC_CTYPE", None)  # Python sets it for itself
    assert set(environment) == {
        "PATH",
        "HOME",
        "TMPDIR",
        "LANG",
        "TZ",
        "PYTHONUNBUFFERED",
        "FLOOM_RUN_ID",
        "FLOOM_WORKER_ID",
        "FLOOM_ATTEMPT",
        "FLOOM_PHASE",
        "FLOOM_IDEMPOTENCY_KEY",
        "FLOOM_API_URL",
        "WORKEROS_API_URL",
        "FLOOM_RUN_TOKEN",
        "WORKEROS_RUN_TOKEN",
    }
    assert environment["HOME"] == seen["cwd"]
    assert environment["FLOOM_RUN_ID"] == run["id"]
    assert environment["FLOOM_ATTEMPT"] == "1"
    assert seen["argv"] == ["run.py"]
    assert ".venv" not in seen["python"]
    folder = shared_server.data / "runs" / run["id"]
    shared_server.until(dict, lambda _: not folder.exists())  # just after the answer


def test_a_missing_context_is_said_by_name(shared_server: ServerProcess) -> None:
    shared_server.add_worker("lost", "contexts: [nowhere]\n", run_py="print(1)")
    shared_server.reload()
    assert "no context nowhere" in shared_server.run("lost")["error"]["message"]


def test_an_agent_is_listed_but_not_executed_yet(shared_server: ServerProcess) -> None:
    folder = shared_server.workspace / "workers" / "agent"
    shared_server.add_worker("agent", "exec: {mode: agent}\n")
    (folder / "SKILL.md").write_text("Be kind.")
    shared_server.reload()
    assert shared_server.client.get("/workers/agent").json()["mode"] == "agent"
    assert shared_server.run("agent")["error"]["code"] == "agent_not_supported"


def test_a_runtime_that_the_host_lacks_is_said_by_name(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    with ServerProcess(tmp_path / "var", PATH=str(tools)) as server:
        worker = server.client.get("/workers/json-transform").json()
        run = server.run("json-transform", **worker["example_input"])
        assert run["error"]["code"] == "runtime_missing"
        assert "runtime_missing" in {warning["code"] for warning in worker["warnings"]}


def test_require_is_the_default_with_a_secret(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "var", FLOOM_SECRET="a secret of 16+ characters") as server:
        probe = server.client.get("/system/sandbox").json()
        run = server.run("hello-worker", who="Ada")
    assert probe["mode"] == "require"
    if probe["whole"]:
        assert (run["status"], run["sandbox"]) == ("completed", probe["properties"])
    else:
        assert run["error"]["code"] == "sandbox_unavailable"


@pytest.mark.parametrize("mode", ["best_effort", "off"])
def test_isolation_may_be_less_where_the_operator_says_so(tmp_path: Path, mode: str) -> None:
    secret = "a secret of 16+ characters"
    with ServerProcess(tmp_path / "var", FLOOM_SECRET=secret, FLOOM_SANDBOX=mode) as server:
        assert server.run("hello-worker", who="Ada")["status"] == "completed"
        assert json.loads(server.client.get("/healthz").text)["status"] == "ok"
