"""The application behind Lambda's three HTTP event sources, by recorded events."""

import base64
import json
from pathlib import Path

import pytest

from lib.web.aws import lambda_adapter

pytestmark = pytest.mark.usefixtures("thread_loop")

EVENTS = Path(__file__).parent / "events"
SOURCES = ["http_api_v2", "rest_v1", "function_url"]
DOMAINS = [
    "abcdef1234.execute-api.eu-central-1.amazonaws.com",
    "xyz9876.lambda-url.eu-central-1.on.aws",
]


@pytest.fixture
def handler(make_app):
    return lambda_adapter(make_app(allowed_hosts=DOMAINS))


def event(source, name, **changes):
    return json.loads((EVENTS / f"{source}_{name}.json").read_text()) | changes


def renamed(recorded, path):
    """Return the event of another path of the same source."""
    recorded["path"] = recorded["rawPath"] = path
    recorded["requestContext"].get("http", {})["path"] = path
    return recorded


@pytest.mark.parametrize("source", SOURCES)
def test_json_leaves_as_text_with_its_headers(handler, source):
    answer = handler(event(source, "get"), None)

    assert answer["statusCode"] == 200
    assert answer["isBase64Encoded"] is False
    assert json.loads(answer["body"])[0] | {"made_at": ""} == {
        "name": "a&b",
        "size": 2,
        "made_at": "",
        "note": None,
    }
    assert answer["headers"]["strict-transport-security"]
    assert answer["headers"]["link"].startswith("</v1/things?")


@pytest.mark.parametrize("source", SOURCES)
def test_bytes_go_both_ways_and_cookies_leave(handler, source):
    answer = handler(event(source, "put_binary"), None)

    assert answer["statusCode"] == 200
    assert answer["isBase64Encoded"] is True
    assert base64.b64decode(answer["body"]) == bytes(range(256))
    assert answer["headers"]["content-type"] == "image/png"
    cookies = answer.get("cookies") or [answer["headers"].get("set-cookie")]
    assert cookies == ["a=1; Path=/"]


@pytest.mark.parametrize("source", SOURCES)
def test_cookies_come_in_and_problems_leave_as_text(handler, source):
    answer = handler(event(source, "cookie"), None)

    assert answer["statusCode"] == 401
    assert answer["isBase64Encoded"] is False
    assert json.loads(answer["body"])["error_code"] == "unauthenticated"
    cookies = answer.get("cookies") or [answer["headers"].get("set-cookie")]
    assert cookies[0].startswith("floom_session=; ")


@pytest.mark.parametrize("source", SOURCES)
def test_a_stream_becomes_what_is_there_and_when_to_ask_again(handler, things, source):
    answer = handler(renamed(event(source, "get"), "/events") | {
        "rawQueryString": "", "queryStringParameters": None, "multiValueQueryStringParameters": None
    }, None)  # fmt: skip

    assert answer["statusCode"] == 200
    assert answer["isBase64Encoded"] is False
    assert answer["body"].startswith("id: 1\nevent: log\n")
    assert answer["body"].endswith("retry: 2000\n\n")
    assert things.closed.acquire(blocking=False)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("path", ["/nowhere", "/th%ings", "", "/\ud800", "/é"])
def test_odd_paths_are_answered(handler, source, path):
    assert handler(renamed(event(source, "get"), path), None)["statusCode"] == 404


@pytest.mark.parametrize("host", ["evil.example", "a:b", "[::1]:80", "a:1:2", ""])
@pytest.mark.parametrize("source", SOURCES)
def test_odd_hosts_are_answered(handler, source, host):
    recorded = event(source, "get")
    for headers in (recorded["headers"], recorded.get("multiValueHeaders", {})):
        for name in headers:
            if name.lower() == "host":
                headers[name] = [host] if isinstance(headers[name], list) else host

    assert handler(recorded, None)["statusCode"] in {200, 421}


def test_the_adapters_own_log_does_not_name_the_path(handler, caplog):
    caplog.set_level("DEBUG")
    handler(event("http_api_v2", "get"), None)

    assert "/v1/things" not in caplog.text


def test_one_handler_serves_many_events(handler):
    answers = [handler(event(source, "get"), None) for source in SOURCES * 3]

    assert {answer["statusCode"] for answer in answers} == {200}
