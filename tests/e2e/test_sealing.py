"""What waits for a decision, from outside: no file shows it, and it still opens."""

from __future__ import annotations

import json
import sqlite3  # noqa: TID251 - looks into our file
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lib.clock import SystemClock
from lib.secrets.keys import KeyFolder
from lib.secrets.store import open_secrets
from lib.storage.approval_records import Approval
from lib.storage.content import ContentStore
from lib.storage.documents import APPROVALS
from lib.storage.files import FileBlobStore
from lib.storage.sqlite import SqliteDatabase, SqliteSealedSecretStore
from tests.e2e.server import ServerProcess
from tests.e2e.test_secrets import OTHER_KEY, files_with, put, refused_start

VALUE = "tok_4f9a1c88d7e6"
PRIVATE = "the-salary-is-54321"  # no secret: nothing masks it, only the seal hides it
MANIFEST = (
    "approvals: {}\nexec:\n  secrets: [API_KEY]\n"
    "  inputs: [{name: repeat, type: integer, default: 1}]\n"
    "  outputs: [{name: text, type: string}]\n"
)
PROPOSER = """
import json, os, pathlib
repeat = json.loads(pathlib.Path("inputs.json").read_bytes())["repeat"]
text = (os.environ["API_KEY"] + " the-salary-is-54321 ") * repeat
decision = {"label": "Send it?", "preview": text, "preview_payload": {"body": text}}
result = {"status": "success", "outputs": {"text": text}, "decision_required": decision}
pathlib.Path("result.json").write_text(json.dumps(result))
"""
TEXT = f"{VALUE} {PRIVATE} "
SHOWN = f"*** {PRIVATE} "
LARGE = 1_000  # times: blobs


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "var", FLOOM_LOG_LEVEL="debug") as server:
        server.add_worker("proposer", MANIFEST, run_py=PROPOSER)
        server.reload()
        put(server, "API_KEY", VALUE)
        yield server


def proposed(server: ServerProcess, repeat: int) -> dict[str, Any]:
    run = server.run("proposer", repeat=repeat)
    assert run["status"] == "pending_approval", run["error"]
    return run


def proposals(data: Path) -> list[dict[str, str]]:
    """Open what is stored, as a server would that executes it."""
    with SqliteDatabase(data / "floom.sqlite3") as database:
        opened = open_secrets(
            SqliteSealedSecretStore(database),
            keys=KeyFolder(data / "keys"),
            given=None,
            workspace_id="default",
        )
        blobs = FileBlobStore(data / "blobs", clock=SystemClock())
        content = ContentStore(blobs, sealer=opened.sealer)
        approvals = [APPROVALS.decode(row[0]) for row in database.read(LIST)]
        return [json.loads(content.load_json(each.proposal)) for each in approvals]


LIST = "SELECT document FROM approvals ORDER BY id"


def nothing_shows(data: Path) -> None:
    for text in (VALUE, PRIVATE):
        assert files_with(text, data / "blobs") == []
        found = [path for path in files_with(text, data) if not path.startswith("workspace")]
        assert found == []


def test_no_file_holds_what_waits_for_a_decision_and_it_still_opens(
    server: ServerProcess,
) -> None:
    for repeat in (1, LARGE):
        run = proposed(server, repeat)
        assert run["outputs"] == {"text": SHOWN * repeat}
        approval = server.get(run["id"])["approvals"][0]
        whole = server.client.get(f"/approvals/{approval['id']}").json()["preview"]
        assert whole == SHOWN * repeat

    server.wait_until_tidied_up()
    assert {"floom.sqlite3", "floom.sqlite3-wal"} <= {each.name for each in server.data.iterdir()}
    assert files_with("Send it?", server.data)  # the search would find what is there
    boxes = [each for each in (server.data / "blobs/sha256").rglob("*") if each.is_file()]
    assert len(boxes) == 3  # outputs, preview and proposal of the large one
    nothing_shows(server.data)
    server.kill()
    nothing_shows(server.data)
    assert proposals(server.data) == [{"body": TEXT}, {"body": TEXT * LARGE}]
    assert VALUE not in server.errors.read_text()
    assert PRIVATE not in server.errors.read_text()


def test_a_proposal_needs_its_key_though_no_secret_is_left(server: ServerProcess) -> None:
    run = proposed(server, 1)
    assert server.client.delete("/connections/secrets/API_KEY").status_code == 204
    assert server.stop() == 0

    key_file = server.data / "keys" / "secrets.key"
    aside = key_file.rename(key_file.with_suffix(".aside"))
    assert "proposals, but not the key to them: restore" in refused_start(server.data)
    assert not key_file.exists()
    assert "is not the key" in refused_start(server.data, FLOOM_SECRETS_KEY=OTHER_KEY)
    aside.rename(key_file)
    server.start()
    assert server.get(run["id"])["approvals"][0]["preview"].endswith(f" {PRIVATE} ")


def test_a_damaged_proposal_is_told_and_stops_nothing_else(server: ServerProcess) -> None:
    lost, good = proposed(server, 1), proposed(server, 1)
    server.stop()
    with closing(sqlite3.connect(server.data / "floom.sqlite3")) as connection:
        row = connection.execute("SELECT document FROM approvals WHERE run_id = ?", (lost["id"],))
        document = _damaged(APPROVALS.decode(row.fetchone()[0]))
        connection.execute(
            "UPDATE approvals SET document = ? WHERE run_id = ?", (document, lost["id"])
        )
        connection.commit()
    server.start()

    (shown,) = server.get(lost["id"])["approvals"]
    assert shown["preview"] is None
    answer = server.client.get(f"/approvals/{shown['id']}")
    assert (answer.status_code, answer.json()["error_code"]) == (503, "secret_unreadable")
    assert "start the work anew" in answer.json()["detail"]
    assert server.get(good["id"])["approvals"][0]["preview"] == SHOWN
    assert len(server.client.get("/runs").json()) == 2
    assert server.client.post(f"/runs/{lost['id']}/cancel").json()["status"] == "cancelled"
    assert proposed(server, 1)["status"] == "pending_approval"


def test_the_shipped_demo_waits_for_a_decision(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "var") as server:
        run = server.run("outbound-approval-demo", recipient="ada@example.org", topic="lunch")
        approval = server.get(run["id"])["approvals"][0]
        assert (run["status"], run["phase"]) == ("pending_approval", "propose")
        assert approval["label"] == "Send this message to ada@example.org?"
        assert approval["preview"].startswith("To: ada@example.org\nSubject: Lunch\n\nHi,")
        assert run["outputs"]["body"] in approval["preview"]
        assert server.get(run["id"])["artifacts"] == []


def _damaged(approval: Approval) -> str:
    document = APPROVALS.encode(approval)
    for text in (approval.preview.text or "", approval.proposal.text or ""):
        swapped = text[:20] + ("A" if text[20] != "A" else "B") + text[21:]
        document = document.replace(text, swapped)
    return document
