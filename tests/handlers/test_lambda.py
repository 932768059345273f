"""The handlers behind Lambda's three HTTP event sources, by recorded events.

The real groups on the real local services: what AWS adds is the event's form
and that an answer is not a stream.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers import registry
from lib.bootstrap import Local, lambda_handler
from lib.settings import Settings
from lib.web.aws import LambdaHandler
from tests.e2e.server import ROOT

pytestmark = pytest.mark.usefixtures("thread_loop")

EVENTS = Path(__file__).parent / "events"
SOURCES = ["http_api_v2", "rest_v1", "function_url"]
SECRET = "a secret of some length"  # the one in the events
DOMAINS = (
    "abcdef1234.execute-api.eu-central-1.amazonaws.com",
    "xyz9876.lambda-url.eu-central-1.on.aws",
)
BYTES = bytes(range(256))
PAINTER = """schema_version: "0.3"
name: painter
title: Painter
description: Leaves a file of any bytes.
version: 1.0.0
exec:
  outputs: [{name: picture, kind: file, path: out/a picture.png, media_type: image/png}]
"""
GROUPS = [group.__name__.rpartition(".")[2] for group in registry.GROUPS]


class Functions:
    """One Lambda function for each group, on the same services.

    Args:
        source: The kind of event that calls them.
    """

    def __init__(self, handlers: dict[str, LambdaHandler], source: str) -> None:
        self._handlers = handlers
        self._source = source

    def call(
        self, group: str, name: str, path: str | None = None, **changes: Any
    ) -> dict[str, Any]:
        """Call a group's function with a recorded event, changed in some places.

        Args:
            group: Module of `handlers`.
            name: Of the recorded event.
            path: In place of the recorded one.
            changes: `method`, `query`, `body` (bytes), `headers`.
        """
        event = recorded(self._source, name)
        put = _put_v1 if self._source == "rest_v1" else _put_v2
        put(event, path, changes.pop("method", None), changes.pop("query", {}))
        for header, value in changes.pop("headers", {}).items():
            event["headers"][header] = value
            event.get("multiValueHeaders", {})[header] = [value]
        if (body := changes.pop("body", None)) is not None:
            event["body"] = base64.b64encode(body).decode()
            event["isBase64Encoded"] = True
        assert not changes
        return self._handlers[group](event, None)


def recorded(source: str, name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{source}_{name}.json").read_text())
    return event


def _put_v1(
    event: dict[str, Any], path: str | None, method: str | None, query: dict[str, str]
) -> None:
    event["path"] = path or event["path"]
    event["httpMethod"] = method or event["httpMethod"]
    event["requestContext"]["path"] = f"/prod{event['path']}"
    if query:
        event["queryStringParameters"] = query
        event["multiValueQueryStringParameters"] = {k: [v] for k, v in query.items()}


def _put_v2(
    event: dict[str, Any], path: str | None, method: str | None, query: dict[str, str]
) -> None:
    http = event["requestContext"]["http"]
    event["rawPath"] = http["path"] = path or event["rawPath"]
    http["method"] = method or http["method"]
    event["rawQueryString"] = "&".join(f"{name}={value}" for name, value in query.items())


@pytest.fixture(scope="module")
def handlers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LambdaHandler]]:
    settings = Settings.model_validate(
        {
            "FLOOM_DATA_DIR": tmp_path_factory.mktemp("lambda") / "var",
            "FLOOM_SECRET": SECRET,
            "FLOOM_SANDBOX": "best_effort",
            "FLOOM_PUBLIC_URL": "https://floom.example",
            "FLOOM_ALLOWED_HOSTS": ",".join(DOMAINS),
        }
    )
    with Local(settings) as local, local.engine:
        painter = settings.workspace_path / "workers" / "painter"
        painter.mkdir(parents=True)
        (painter / "worker.yml").write_text(PAINTER)
        (painter / "run.py").write_text(
            "open('out/a picture.png', 'wb').write(bytes(range(256)))\nprint('painted')\n"
        )
        yield {
            name: lambda_handler(group.routes, build=lambda: (settings, local.services))
            for name, group in zip(GROUPS, registry.GROUPS, strict=True)
        }


@pytest.fixture(params=SOURCES)
def functions(request: pytest.FixtureRequest, handlers: dict[str, LambdaHandler]) -> Functions:
    return Functions(handlers, request.param)


@pytest.fixture
def painted(functions: Functions) -> dict[str, Any]:
    """A finished run of the painter, made in this process."""
    functions.call("workers", "post", "/workers/reload")
    answer = functions.call("workers", "post", "/workers/painter/runs")
    assert answer["statusCode"] == 200, answer["body"]
    run: dict[str, Any] = json.loads(answer["body"])
    assert run["status"] == "completed", run["error"]
    return run


def headers_of(answer: dict[str, Any]) -> dict[str, str]:
    """Return an answer's headers in whichever form its source takes them."""
    many = answer.get("multiValueHeaders") or {}
    return {**{name: values[0] for name, values in many.items()}, **(answer.get("headers") or {})}


def set_cookies(answer: dict[str, Any]) -> list[str]:
    found: list[str] = (
        answer.get("cookies")
        or (answer.get("multiValueHeaders") or {}).get("set-cookie")
        or [value for name, value in answer["headers"].items() if name == "set-cookie"]
    )
    return found


def problem_of(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the problem of an answer; it must leave as text."""
    assert answer["isBase64Encoded"] is False
    assert headers_of(answer)["content-type"] == "application/problem+json"
    problem: dict[str, Any] = json.loads(answer["body"])
    assert problem["status"] == answer["statusCode"]
    assert problem["instance"] == headers_of(answer)["x-request-id"]
    return problem


def test_workers_are_listed(functions: Functions) -> None:
    answer = functions.call("workers", "get")
    assert answer["statusCode"] == 200
    assert answer["isBase64Encoded"] is False
    assert "hello-worker" in {worker["id"] for worker in json.loads(answer["body"])}
    headers = headers_of(answer)
    assert headers["content-type"] == "application/json"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["strict-transport-security"]


def test_a_query_arrives_and_the_next_page_is_named(functions: Functions) -> None:
    first = functions.call("workers", "get", "/v1/workers", query={"limit": "1"})
    (worker,) = json.loads(first["body"])
    headers = headers_of(first)
    assert headers["link"].startswith("</v1/workers?limit=1&cursor=")
    cursor = headers["x-next-cursor"]
    second = functions.call("workers", "get", query={"limit": "1", "cursor": cursor})
    assert json.loads(second["body"])[0]["id"] > worker["id"]


def test_a_run_is_started_and_waited_for(functions: Functions) -> None:
    body = b'{"inputs": {"who": "Ada"}}'
    answer = functions.call("workers", "post", body=body)
    assert answer["statusCode"] == 200
    run = json.loads(answer["body"])
    assert run["status"] == "completed"
    assert "Ada" in run["outputs"]["message"]
    assert headers_of(answer)["preference-applied"] == "wait=20"
    assert headers_of(answer)["location"] == f"/runs/{run['id']}"


def test_one_who_does_not_wait_is_told_where_to_look(functions: Functions) -> None:
    answer = functions.call("workers", "post", headers={"prefer": "return=minimal", "Prefer": ""})
    assert answer["statusCode"] == 202
    run_id = json.loads(answer["body"])["id"]
    found = functions.call("runs", "get", f"/runs/{run_id}")
    assert json.loads(found["body"])["id"] == run_id


def test_the_same_key_starts_one_run(functions: Functions) -> None:
    key = {"idempotency-key": f"key of {functions._source}"}
    first = functions.call("workers", "post", headers=key)
    second = functions.call("workers", "post", headers=key)
    assert json.loads(first["body"])["id"] == json.loads(second["body"])["id"]
    assert headers_of(second)["idempotent-replayed"] == "true"


def test_a_run_is_shown_with_log_and_artifacts(
    functions: Functions, painted: dict[str, Any]
) -> None:
    answer = functions.call("runs", "get", f"/runs/{painted['id']}")
    assert answer["statusCode"] == 200
    detail = json.loads(answer["body"])
    assert [line["message"] for line in detail["logs"]] == ["painted"]
    assert detail["artifacts"][0]["sha256"] == hashlib.sha256(BYTES).hexdigest()


def test_events_come_as_a_snapshot_with_a_time_to_ask_again(
    functions: Functions, painted: dict[str, Any]
) -> None:
    answer = functions.call("runs", "get", f"/runs/{painted['id']}/events")
    assert answer["statusCode"] == 200
    assert answer["isBase64Encoded"] is False
    assert headers_of(answer)["content-type"].startswith("text/event-stream")
    assert answer["body"].startswith("id: 1-0\nevent: status\n")
    assert "event: log\n" in answer["body"]
    assert "event: end\n" in answer["body"]
    assert answer["body"].endswith("retry: 2000\n\n")
    frames = answer["body"].split("\n\n")
    last_id = frames[1].splitlines()[0].removeprefix("id: ")
    rest = functions.call(
        "runs", "get", f"/runs/{painted['id']}/events", headers={"last-event-id": last_id}
    )
    assert rest["body"] == "\n\n".join(frames[2:])


def test_binary_artifacts_leave_in_base64(functions: Functions, painted: dict[str, Any]) -> None:
    # Gateways pass the path decoded.
    path = f"/runs/{painted['id']}/artifacts/a picture.png"
    answer = functions.call("runs", "get", path)
    assert answer["statusCode"] == 200, answer
    assert answer["isBase64Encoded"] is True
    assert base64.b64decode(answer["body"]) == BYTES
    headers = headers_of(answer)
    assert headers["content-type"] == "image/png"
    assert headers["content-security-policy"] == "sandbox; default-src 'none'"
    part = functions.call("runs", "get", path, headers={"range": "bytes=250-"})
    assert part["statusCode"] == 206
    assert base64.b64decode(part["body"]) == BYTES[250:]
    same = functions.call("runs", "get", path, headers={"if-none-match": headers["etag"]})
    assert same["statusCode"] == 304
    assert not same.get("body")


def test_binary_uploads_arrive_whole(functions: Functions) -> None:
    announced = {"name": "a.bin", "size": 256, "sha256": hashlib.sha256(BYTES).hexdigest()}
    answer = functions.call("uploads", "post", "/uploads", body=json.dumps(announced).encode())
    assert answer["statusCode"] == 201
    path = f"/uploads/{json.loads(answer['body'])['id']}"
    assert functions.call("uploads", "put", path, body=b"\x00" * 256)["statusCode"] == 422
    assert functions.call("uploads", "put", path)["statusCode"] == 204
    again = functions.call("uploads", "put", path)
    assert problem_of(again)["error_code"] == "upload_conflict"


def test_a_cookie_is_read_and_a_bad_session_cleared(functions: Functions) -> None:
    answer = functions.call("runs", "cookie")
    assert problem_of(answer)["error_code"] == "unauthenticated"
    (cookie,) = set_cookies(answer)
    assert cookie.startswith("floom_session=; ")
    assert cookie.endswith("; Secure")


@pytest.mark.parametrize(
    ("group", "name", "path", "changes", "code"),
    [
        ("runs", "get", "/runs/run_00000000000000000000000000", {}, "run_not_found"),
        ("runs", "get", "/runs/junk", {}, "malformed_request"),
        ("runs", "get", "/runs", {"query": {"limit": "0"}}, "validation_failed"),
        ("runs", "get", "/workers", {}, "route_not_found"),  # another function's
        ("runs", "get", "/runs", {"method": "DELETE"}, "method_not_allowed"),
        ("workers", "post", None, {"body": b"{"}, "malformed_request"),
        ("workers", "post", None, {"body": b'{"inputs": {"x": 1}}'}, "validation_failed"),
        ("workers", "post", None, {"body": b" " * 300_000}, "payload_too_large"),
        (
            "workers", "post", None,
            {"headers": {"content-type": "text/plain", "Content-Type": "text/plain"}},
            "unsupported_media_type",
        ),
        (
            "workers", "post", "/workers/reload",
            {"headers": {"origin": "https://evil.example"}}, "cross_origin",
        ),
        ("workers", "get", None, {"headers": {"x-floom-secret": "wrong"}}, "unauthenticated"),
        (
            "workers", "get", None,
            {"headers": {"host": "evil.example", "Host": "evil.example"}}, "wrong_host",
        ),
        ("docs", "get", "/problems/nonsense", {}, "problem_not_found"),
    ],
)  # fmt: skip
def test_errors_are_problems(
    functions: Functions, group: str, name: str, path: str | None, changes: Any, code: str
) -> None:
    assert problem_of(functions.call(group, name, path, **changes))["error_code"] == code


@pytest.mark.parametrize(
    ("group", "path"),
    [("workers", "/workers"), ("runs", "/runs"), ("system", "/healthz"), ("docs", "/docs")],
)
def test_head_has_the_headers_of_get_and_no_body(
    functions: Functions, group: str, path: str
) -> None:
    got = functions.call(group, "get", path)
    head = functions.call(group, "get", path, method="HEAD")
    assert head["statusCode"] == got["statusCode"] == 200
    assert not head.get("body")
    assert headers_of(head)["content-type"] == headers_of(got)["content-type"]


def test_text_of_the_reference_leaves_as_text(functions: Functions) -> None:
    for path, kind in (
        ("/docs", "text/html"),
        ("/docs/swagger-ui.css", "text/css"),
        ("/openapi.json", "application/json"),
        ("/schemas/worker.json", "application/schema+json"),
    ):
        answer = functions.call("docs", "get", path)
        assert answer["statusCode"] == 200
        assert headers_of(answer)["content-type"].startswith(kind)
        assert answer["isBase64Encoded"] is False, path
    icon = functions.call("docs", "get", "/docs/favicon-32x32.png")
    assert base64.b64decode(icon["body"]).startswith(b"\x89PNG")


# The reference is not a function of its own yet.
@pytest.mark.parametrize("name", [name for name in GROUPS if name != "docs"])
def test_each_group_has_a_lambda_handler(name: str) -> None:
    assert callable(importlib.import_module(f"handlers.{name}").handler)


AUDIT = """
import sys
sys.path.insert(0, sys.argv[1])
did = []
def watch(event, args):
    writes = event == "open" and isinstance(args[2], int) and args[2] & 3
    if writes or event.split(".")[0] in ("socket", "sqlite3", "subprocess", "shutil", "tempfile") \\
            or event in ("os.mkdir", "os.fork", "os.system", "os.remove", "os.rename"):
        did.append((event, str(args)[:200]))
sys.addaudithook(watch)
__import__(sys.argv[2])
unwanted = {"sqlite3", "boto3", "botocore", "uvicorn", "lib.storage.sqlite", "lib.storage.memory"}
print(did)
print(sorted(unwanted & set(sys.modules)))
"""


def test_importing_the_handlers_does_nothing(tmp_path: Path) -> None:
    """No client, no store, no settings: a cold start pays for what it uses.

    The registry imports every group; none could do less alone.
    """
    ended = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", AUDIT, str(ROOT), "handlers.registry"],
        env={"PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["[]", "[]"]
    assert list(tmp_path.iterdir()) == []
