"""The audit log of a real server: what was answered is on record, whatever happens next."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.server import ServerProcess

SECRET = "the secret of this server"


def request_ids(server: ServerProcess) -> list[str]:
    """Return the request ids of all entries, newest first."""
    found: list[str] = []
    target: str | None = "/audit?limit=200"
    while target:
        answer = server.client.get(target)
        assert answer.status_code == 200, answer.text
        found += [entry["request_id"] for entry in answer.json()]
        target = answer.links.get("next", {}).get("url")
    return found


def test_every_change_that_was_answered_is_on_record_after_a_kill(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "var").start()
    answered: list[str] = []
    enough = threading.Event()

    def post(number: int) -> None:
        with httpx.Client(base_url=server.url, timeout=30) as client:
            try:
                for count in range(10_000):
                    answer = client.delete(f"/connections/secrets/KEY_{number}_{count}")
                    answered.append(answer.headers["x-request-id"])
                    if len(answered) > 200:
                        enough.set()
            except httpx.TransportError:
                return  # the server was killed

    threads = [threading.Thread(target=post, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    assert enough.wait(30)
    server.kill()
    for thread in threads:
        thread.join(30)
    with server:
        recorded = request_ids(server)
    assert len(recorded) == len({*recorded})
    assert {*answered} <= {*recorded}


def test_guesses_at_the_real_server_end_and_leave_no_entry(tmp_path: Path) -> None:
    with ServerProcess(
        tmp_path / "var", FLOOM_SECRET=SECRET, WORKEROS_SHARED_SECRET_ROLE="admin"
    ) as server:
        bad: dict[str, Any] = {"headers": {"x-floom-secret": "a guess"}}
        statuses = [server.client.post("/workers/reload", **bad).status_code for _ in range(41)]
        assert statuses[:20] == [401] * 20  # of 41 in two windows 20 are in a row of one
        assert 429 in statuses
        server.stop()
        server.start()
        assert server.client.post("/nowhere").status_code == 404
        assert [entry["status"] for entry in server.client.get("/audit").json()] == [404]
