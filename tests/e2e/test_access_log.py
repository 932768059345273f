"""The access log of the real server: one line for each request, to the end."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.server import ServerProcess

REQUESTS = 200


def test_a_clean_stop_loses_no_line(tmp_path: Path) -> None:
    asked = [f"asked-{number}" for number in range(REQUESTS)]
    with ServerProcess(tmp_path / "data", FLOOM_LOG_FORMAT="json") as server:
        for request_id in asked:
            server.client.get("/runs", headers={"x-request-id": request_id})
        assert server.stop() == 0

    lines = [json.loads(line) for line in server.errors.read_text().splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert [line["request_id"] for line in requests] == asked
    assert {line["route"] for line in requests} == {"/runs"}
