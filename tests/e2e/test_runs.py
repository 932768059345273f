"""Runs through the real server: HTTP, engine, processes, stores."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from lib.storage.stored import MAX_INLINE_BYTES
from tests.e2e.server import ServerProcess


@pytest.fixture(scope="module")
def server(shared_server: ServerProcess) -> ServerProcess:
    shared_server.add_worker(
        "sleeper",
        "exec: {inputs: [{name: seconds, type: number, default: 60}]}\n",
        run_py=(
            "import json, time\n"
            "print('asleep', flush=True)\n"
            "time.sleep(json.load(open('inputs.json'))['seconds'])\n"
        ),
    )
    shared_server.add_worker(
        "stubborn",
        "{}\n".replace("{}\n", ""),
        run_py=(
            "import signal, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "print('up', flush=True)\n"
            "time.sleep(60)\n"
        ),
    )
    shared_server.add_worker(
        "proposer",
        "approvals: {required: true, label: Send it}\n"
        "exec: {outputs: [{name: text, type: string, required: true}]}\n",
        run_py=(
            "import json\n"
            "inputs = json.load(open('inputs.json'))\n"
            "json.dump({'status': 'success', 'outputs': {'text': inputs['decision']}},"
            " open('result.json', 'w'))\n"
        ),
    )
    shared_server.add_worker(
        "one-at-a-time",
        "concurrency: {max: 1}\n",
        run_py=(
            "import time\nprint(time.monotonic())\ntime.sleep(0.05)\nprint(time.monotonic())\n"
        ),
    )
    reloaded = shared_server.reload()
    assert reloaded["errors"] == []
    return shared_server


def events_of(
    client: httpx.Client, run_id: str, last_id: str | None = None, limit: int | None = None
) -> list[tuple[str, str, dict[str, Any]]]:
    """Return id, type and data of a run's events, until the end or `limit` of them."""
    headers = {"last-event-id": last_id} if last_id else {}
    found: list[tuple[str, str, dict[str, Any]]] = []
    fields: dict[str, str] = {}
    with client.stream("GET", f"/runs/{run_id}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
            elif not line and "event" in fields:
                found.append((fields["id"], fields["event"], json.loads(fields["data"])))
                fields = {}
                if limit is not None and len(found) == limit:
                    break
    return found


def test_hello_worker_runs_and_shows_all_of_it(server: ServerProcess) -> None:
    run = server.run("hello-worker", who="Ada")
    assert run["status"] == "completed"
    assert "Ada" in run["outputs"]["message"]
    detail = server.get(run["id"])
    assert detail["logs"][0]["seq"] == 1
    assert detail["runner"] == "local"
    assert detail["can_replay"] is True
    assert set(detail["sandbox"]) == {"files", "network", "processes", "privileges", "limits"}
    assert detail["sandbox"] == server.client.get("/system/sandbox").json()["properties"]
    assert detail["duration_ms"] >= 0
    assert detail["inputs"]["who"] == "Ada"


def test_start_answers_before_the_run_ends(server: ServerProcess) -> None:
    answer = server.client.post("/workers/sleeper/runs", json={"inputs": {"seconds": 0.1}})
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/runs/{answer.json()['id']}"
    assert answer.json()["status"] == "queued"
    assert server.finished(answer.json()["id"])["status"] == "completed"


def test_prefer_wait_gives_up_when_its_time_is_over(server: ServerProcess) -> None:
    answer = server.client.post(
        "/workers/sleeper/runs", json={"inputs": {"seconds": 30}}, headers={"prefer": "wait=1"}
    )
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "wait=1"
    server.client.post(f"/runs/{answer.json()['id']}/cancel")


def test_every_way_to_fail_is_recorded_as_the_catalogue_says(server: ServerProcess) -> None:
    worker = server.client.get("/workers/fail-gracefully").json()
    how = next(each for each in worker["inputs"] if each["name"] == "how")
    ways = [option["value"] for option in how["options"]] or list(how["enum"])
    slow = {"timeout", "memory", "cpu", "disk"}
    ids = {
        way: server.start_run("fail-gracefully", how=way)
        for way in ways
        if not any(word in way for word in slow)
    }
    ended = {way: server.finished(run_id) for way, run_id in ids.items()}
    table = worker["long_description"] + worker["how_it_works"]
    for way, run in ended.items():
        assert run["status"] in ("failed", "completed", "pending_approval"), way
        if run["status"] == "failed":
            assert run["error"]["code"] in table, (way, run["error"])
            assert run["error"]["message"], way


def test_cancel_of_a_queued_run_ends_at_once(server: ServerProcess) -> None:
    ids = [server.start_run("sleeper", seconds=20) for _ in range(12)]
    queued = [run_id for run_id in ids if server.get(run_id)["status"] == "queued"]
    assert queued
    for run_id in queued:
        assert server.client.post(f"/runs/{run_id}/cancel").json()["status"] == "cancelled"
    for run_id in set(ids) - set(queued):
        server.client.post(f"/runs/{run_id}/cancel")
        assert server.finished(run_id)["status"] == "cancelled"


def test_cancel_of_a_running_run_ends_its_process(server: ServerProcess) -> None:
    run_id = server.start_run("stubborn")
    server.until(lambda: server.get(run_id), lambda run: bool(run["logs"]))
    begun = time.monotonic()
    assert server.client.post(f"/runs/{run_id}/cancel").status_code == 200
    assert server.finished(run_id)["status"] == "cancelled"
    assert time.monotonic() - begun < 20


def test_cancel_of_a_finished_run_is_a_conflict(server: ServerProcess) -> None:
    run = server.run("hello-worker", who="Ada")
    answer = server.client.post(f"/runs/{run['id']}/cancel")
    assert answer.status_code == 409
    assert answer.json()["error_code"] == "run_state_conflict"


def test_proposing_run_waits_with_its_approval_and_can_be_cancelled(server: ServerProcess) -> None:
    run = server.run("proposer")
    assert run["status"] == "pending_approval"
    assert run["phase"] == "propose"
    assert run["outputs"] == {"text": "proposed"}
    detail = server.get(run["id"])
    assert detail["approvals"][0]["status"] == "pending"
    assert detail["approvals"][0]["label"] == "Send it"
    assert server.client.post(f"/runs/{run['id']}/cancel").json()["status"] == "cancelled"
    assert server.get(run["id"])["approvals"][0]["status"] == "cancelled"


@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.soak)])
def test_runs_started_at_once_all_complete(server: ServerProcess, count: int) -> None:
    with ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(lambda n: server.start_run("hello-worker", who=f"n{n}"), range(count)))
    ended = [server.finished(run_id, seconds=120) for run_id in ids]
    assert {run["status"] for run in ended} == {"completed"}
    assert len({run["outputs"]["message"] for run in ended}) == count


def test_a_capped_worker_never_runs_twice_at_once(server: ServerProcess) -> None:
    ids = [server.start_run("one-at-a-time") for _ in range(12)]
    runs = [server.finished(run_id) for run_id in ids]
    spans = sorted([float(line["message"]) for line in run["logs"]] for run in runs)
    assert len(spans) == 12
    assert all(end < begin for (_, end), (begin, _) in itertools.pairwise(spans))


def test_same_key_and_body_is_one_run_also_at_once(server: ServerProcess) -> None:
    def start(_: int) -> httpx.Response:
        return server.client.post(
            "/workers/hello-worker/runs",
            json={"inputs": {"who": "once"}},
            headers={"idempotency-key": "key-1"},
        )

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(start, range(16)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    replays = [a for a in answers if a.headers.get("idempotent-replayed") == "true"]
    assert len(replays) == 15
    assert len({answer.text for answer in answers}) == 1
    other = server.client.post(
        "/workers/hello-worker/runs",
        json={"inputs": {"who": "other"}, "idempotency_key": "key-1"},
    )
    assert other.status_code == 422
    assert other.json()["error_code"] == "idempotency_key_reused"


def test_key_in_header_and_body_must_agree(server: ServerProcess) -> None:
    answer = server.client.post(
        "/workers/hello-worker/runs",
        json={"idempotency_key": "a"},
        headers={"idempotency-key": "b"},
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/idempotency_key"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"inputs": {"who": 3}}, "/inputs/who"),
        ({"inputs": {"nobody": "x"}}, "/inputs/nobody"),
        ({"inputs": {"decision": "approved"}}, "/inputs/decision"),
        ({"priority": 10}, "/priority"),
        ({"phase": "execute"}, "/phase"),
    ],
)
def test_refused_start_names_the_place(
    server: ServerProcess, body: dict[str, Any], pointer: str
) -> None:
    answer = server.client.post("/workers/hello-worker/runs", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_events_resume_with_nothing_lost_or_repeated(server: ServerProcess) -> None:
    run_id = server.run("text-report", text="One two three. Four five!")["id"]
    everything = events_of(server.client, run_id)
    assert everything[0][1] == "status"
    assert everything[-1][1] == "end"
    assert "artifact" in {each[1] for each in everything}
    for cut in range(1, len(everything)):
        rest = events_of(server.client, run_id, last_id=everything[cut - 1][0])
        assert rest == everything[cut:]


def test_events_arrive_while_the_run_runs(server: ServerProcess) -> None:
    run_id = server.start_run("sleeper", seconds=30)
    seen = events_of(server.client, run_id, limit=3)
    assert [each[1] for each in seen] == ["status", "status", "log"]
    assert seen[2][2]["message"] == "asleep"
    server.client.post(f"/runs/{run_id}/cancel")
    rest = events_of(server.client, run_id, last_id=seen[-1][0])
    assert [each[1] for each in rest] == ["status", "end"]
    assert rest[0][2]["status"] == "cancelled"


def test_log_pages_and_long_poll(server: ServerProcess) -> None:
    run_id = server.start_run("sleeper", seconds=1)
    first = server.client.get(f"/runs/{run_id}/logs", params={"wait": 20})
    assert [line["message"] for line in first.json()] == ["asleep"]
    server.finished(run_id)
    rest = server.client.get(f"/runs/{run_id}/logs", params={"after": 1, "wait": 20})
    assert rest.json() == []
    page = server.client.get(f"/runs/{run_id}/logs", params={"limit": 1})
    assert "next" in page.headers["link"]
    assert server.client.get(f"/runs/{run_id}/logs", params={"level": "warning"}).json() == []


@pytest.mark.parametrize("rows", [10, 3_000])
def test_artifact_with_etag_and_ranges(server: ServerProcess, rows: int) -> None:
    table = b"name,amount\n" + b"Ada,12.50\n" * rows
    run = server.run("csv-enricher", data=upload(server, "people.csv", table))
    artifact = max(server.get(run["id"])["artifacts"], key=lambda each: each["size"])
    assert (artifact["size"] > MAX_INLINE_BYTES) == (rows > 10)  # else it is no blob
    whole = server.client.get(artifact["url"])
    assert whole.status_code == 200
    assert hashlib.sha256(whole.content).hexdigest() == artifact["sha256"]
    assert whole.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-disposition"].startswith("attachment")
    etag = {"if-none-match": whole.headers["etag"]}
    assert server.client.get(artifact["url"], headers=etag).status_code == 304
    for text, expected in [("bytes=2-5", whole.content[2:6]), ("bytes=-4", whole.content[-4:])]:
        part = server.client.get(artifact["url"], headers={"range": text})
        assert part.status_code == 206
        assert part.content == expected
    beyond = server.client.get(artifact["url"], headers={"range": "bytes=999999-"})
    assert beyond.status_code == 416
    assert server.client.head(artifact["url"]).headers["content-length"] == str(artifact["size"])
    assert server.client.get(f"/runs/{run['id']}/artifacts/nope").status_code == 404


def upload(server: ServerProcess, name: str, data: bytes) -> str:
    announced = {
        "name": name,
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "media_type": "text/csv",
    }
    answer = server.client.post("/uploads", json=announced)
    assert answer.status_code == 201, answer.text
    put = server.client.put(answer.json()["put_url"], content=data)
    assert put.status_code == 204, put.text
    return str(answer.json()["id"])


def test_csv_of_100_000_rows_is_enriched(server: ServerProcess) -> None:
    rows = [
        f'"Zoë ""{n}""\nline two",user{n}@example.com,2026-0{1 + n % 9}-1{n % 10},{n * 1.5}'
        for n in range(100_000)
    ]
    data = ("name,email,signed_up,amount\n" + "\n".join(rows) + "\n").encode()
    worker = server.client.get("/workers/csv-enricher").json()
    name = next(each["name"] for each in worker["inputs"] if each["kind"] == "file")
    run = server.finished(
        server.start_run("csv-enricher", **{name: upload(server, "people.csv", data)})
    )
    assert run["status"] == "completed", run["error"]
    files = [value for value in run["outputs"].values() if isinstance(value, dict)]
    enriched = next(each for each in files if each["name"].endswith(".csv"))
    text = server.client.get(enriched["url"]).text
    assert text.count("example.com") >= 200_000  # the address, and the domain made of it
    assert any(each["name"].endswith(".svg") for each in files)


def test_upload_must_be_what_was_announced(server: ServerProcess) -> None:
    announced = {"name": "a.csv", "size": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}
    url = server.client.post("/uploads", json=announced).json()["put_url"]
    assert server.client.put(url, content=b"abd").status_code == 422
    assert server.client.put(url, content=b"abcd").status_code == 413
    assert server.client.put(url, content=b"abc").status_code == 204
    assert server.client.put(url, content=b"abc").status_code == 409


@pytest.mark.parametrize("name", ["../x", "a/b", "", "a\nb", ".", "a\\b"])
def test_upload_names_are_plain(server: ServerProcess, name: str) -> None:
    announced = {"name": name, "size": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    assert server.client.post("/uploads", json=announced).status_code == 422


def test_file_input_that_names_no_upload_is_refused(server: ServerProcess) -> None:
    worker = server.client.get("/workers/csv-enricher").json()
    name = next(each["name"] for each in worker["inputs"] if each["kind"] == "file")
    answer = server.client.post(
        "/workers/csv-enricher/runs", json={"inputs": {name: "upl_" + "0" * 26}}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"/inputs/{name}"


def test_replay_runs_the_same_tree_even_after_an_edit(server: ServerProcess) -> None:
    server.add_worker("edited", "", run_py="print('first')")
    server.reload()
    first = server.run("edited")
    server.add_worker("edited", "", run_py="print('second')")
    assert server.reload()["changed"] == ["edited"]
    replayed = server.client.post(f"/runs/{first['id']}/replay").json()
    assert replayed["worker_sha"] == first["worker_sha"]
    assert replayed["parent_run_id"] == first["id"]
    assert replayed["trigger"]["type"] == "replay"
    server.finished(replayed["id"])
    assert server.get(replayed["id"])["logs"][0]["message"] == "first"
    latest = server.client.post(f"/runs/{first['id']}/replay", json={"latest": True}).json()
    server.finished(latest["id"])
    assert server.get(latest["id"])["logs"][0]["message"] == "second"


def test_runs_are_listed_by_filters_and_pages(server: ServerProcess) -> None:
    made = [server.start_run("hello-worker", who="list") for _ in range(5)]
    for run_id in made:
        server.finished(run_id)
    seen: list[str] = []
    params: dict[str, Any] = {"worker_id": "hello-worker", "status": "completed", "limit": 2}
    while len(seen) < 5:
        page = server.client.get("/runs", params=params)
        seen += [run["id"] for run in page.json()]
        params["cursor"] = page.headers.get("x-next-cursor")
    assert seen[:5] == made[::-1]
    assert "inputs" not in page.json()[0]
    assert server.client.get("/runs", params={"cursor": "x"}).status_code == 422
    assert server.client.get("/runs", params={"limit": 201}).status_code == 422


def test_retry_is_the_same_run(server: ServerProcess) -> None:
    server.add_worker(
        "flaky",
        "retry: {max_attempts: 2, delay_seconds: 0}\n",
        run_py=(
            "import os\n"
            "print('attempt', os.environ['FLOOM_ATTEMPT'], os.environ['FLOOM_IDEMPOTENCY_KEY'])\n"
            "raise SystemExit(os.environ['FLOOM_ATTEMPT'] == '1')\n"
        ),
    )
    server.reload()
    run = server.run("flaky")
    detail = server.get(run["id"])
    assert run["status"] == "completed"
    assert run["attempt"] == 2
    messages = [line["message"] for line in detail["logs"]]
    assert [message.split()[1] for message in messages] == ["1", "2"]
    assert len({message.split()[2] for message in messages}) == 1
    assert [line["seq"] for line in detail["logs"]] == [1, 2]


def test_overview_counts_and_names_what_needs_attention(server: ServerProcess) -> None:
    server.add_worker("broken", "exec: [\n")
    server.reload()
    server.run("hello-worker", who="Ada")
    overview = server.client.get("/system/overview").json()
    assert overview["stats"]["runs_24h"] >= 1
    assert len(overview["stats"]["runs_by_hour"]) == 24
    kinds = {each["kind"] for each in overview["needs_attention"]}
    assert "manifest_error" in kinds
    whole = server.client.get("/system/sandbox").json()["whole"]
    assert ("sandbox_degraded" in kinds) is not whole
    assert overview["recent_runs"][0]["worker_id"] == "hello-worker"
