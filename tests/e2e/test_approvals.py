"""Approvals on a real server: many decisions at once, and kills between their steps."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.server import ServerProcess

MANIFEST = """
exec:
  outputs: [{name: text, type: text}]
approvals: {required: true}
"""
PROPOSE = (
    "import json, os\n"
    "inputs = json.load(open('inputs.json'))\n"
    "text = inputs.get('approved_output', {'text': 'draft'})['text']\n"
    "print(os.environ['FLOOM_PHASE'], inputs['decision'])\n"
    "json.dump({'status': 'success', 'outputs': {'text': text}}, open('result.json', 'w'))\n"
)
CALLERS = 32


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "var") as server:
        server.add_worker("gated", MANIFEST, run_py=PROPOSE)
        server.reload()
        yield server


def decide_at_once(server: ServerProcess, calls: int) -> None:
    """Approve, reject and cancel one run from many connections; judge what stands."""
    run = server.run("gated")
    assert run["status"] == "pending_approval"
    limits = httpx.Limits(max_connections=CALLERS)

    def call(client: httpx.Client, number: int) -> tuple[str, int]:
        action = ("approve", "reject", "cancel")[number % 3]
        return action, client.post(f"/runs/{run['id']}/{action}").status_code

    with (
        httpx.Client(base_url=server.url, timeout=60, limits=limits) as client,
        ThreadPoolExecutor(CALLERS) as pool,
    ):
        answers = Counter(pool.map(lambda number: call(client, number), range(calls)))

    won = [action for action, status in answers if status == 200]
    assert len(won) == 1, answers
    assert answers[won[0], 200] == 1
    assert {status for _, status in answers} == {200, 409}
    runs = server.client.get("/runs", params={"worker_id": "gated"}).json()
    executing = [each for each in runs if each["phase"] == "execute"]
    assert len(executing) == (won == ["approve"])
    for each in executing:
        done = server.finished(each["id"])
        assert (done["status"], done["attempt"], done["outputs"]) == (
            "completed", 1, {"text": "draft"},
        )  # fmt: skip
        assert [line["message"] for line in done["logs"]] == ["execute approved"]


def test_one_of_many_decisions_counts_and_acts_once(server: ServerProcess) -> None:
    decide_at_once(server, calls=150)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_one_of_a_thousand_decisions_counts_and_acts_once(server: ServerProcess) -> None:
    decide_at_once(server, calls=1_000)


def kill_while_deciding(server: ServerProcess, *, kills: int, seed: int) -> Counter[str]:
    """Kill the server at random moments of a decision; judge the next life's view."""
    chance = random.Random(seed)
    seen: Counter[str] = Counter()
    for _ in range(kills):
        run_id = server.run("gated")["id"]
        answers: list[dict[str, Any]] = []

        def approve(
            client: httpx.Client = server.client, run_id: str = run_id, answers: Any = answers
        ) -> None:
            try:
                answers.append(client.post(f"/runs/{run_id}/approve").json())
            except httpx.HTTPError:
                return

        caller = threading.Thread(target=approve)
        caller.start()
        time.sleep(chance.uniform(0, 0.02))  # where in the decision it dies is left to chance
        server.kill()
        caller.join()
        server.start()

        run = server.get(run_id)
        (approval,) = run["approvals"]
        if answers:
            assert approval["status"] == "approved"
        if approval["status"] == "approved":
            assert run["status"] == "completed"
            done = server.finished(approval["follow_up_run_id"])
            assert (done["status"], done["attempt"]) == ("completed", 1)
        else:
            assert (approval["status"], run["status"]) == ("pending", "pending_approval")
            assert approval["votes"] == []
            answer = server.client.post(f"/runs/{run_id}/approve").json()
            done = server.finished(answer["follow_up_run_id"])
            assert done["status"] == "completed"
        seen["acknowledged" if answers else approval["status"]] += 1
    runs = server.client.get("/runs", params={"worker_id": "gated", "limit": 200}).json()
    assert Counter(each["phase"] for each in runs) == {"propose": kills, "execute": kills}
    return seen


def test_kill_9_keeps_a_decision_if_and_only_if_it_was_acknowledged(
    server: ServerProcess,
) -> None:
    kill_while_deciding(server, kills=4, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_kill_9_fifty_times(server: ServerProcess) -> None:
    seen = kill_while_deciding(server, kills=50, seed=2)
    assert seen["acknowledged"]
    assert seen["pending"]
