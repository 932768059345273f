"""What an operation makes of a request and of what its responder returns."""

import pytest
from pydantic import BaseModel

from lib.web.access import Access
from lib.web.explanations import PROBLEMS, Problem
from lib.web.models import ResponseModel
from lib.web.operation import operation, operation_of
from lib.web.route import Route

RUN = "run_01jd0000000000000000000000"
JSON = {"content-type": "application/json"}


def pointers(answer):
    assert answer.status_code == 422
    return [error["pointer"] for error in answer.json["errors"]]


def test_a_page_is_a_bare_array_that_names_the_next(client):
    answer = client("GET", "/things")

    assert answer.json == [
        {"name": "a", "size": 0, "made_at": "2026-01-01T00:00:00.000Z", "note": None}
    ]
    cursor = answer.headers["x-next-cursor"]
    assert answer.headers["link"] == f'</things?cursor={cursor}>; rel="next"'


def test_the_next_page_keeps_the_filters_and_replaces_the_cursor(client):
    first = client("GET", "/things", query_string="q=a%26b&limit=3")
    target = first.headers["link"].partition(">")[0][1:]

    assert target.startswith("/things?q=a%26b&limit=3&cursor=")
    last = client("GET", *target.split("?")[:1], query_string=target.partition("?")[2])
    assert last.json[0]["name"] == "a&b"
    assert "link" not in last.headers
    assert "x-next-cursor" not in last.headers


@pytest.mark.parametrize("query", ["q=%3E%22%3C", 'q="><x', "q=%C3%A9"])
def test_a_query_cannot_break_out_of_the_link(client, query):
    link = client("GET", "/things", query_string=query).headers["link"]

    assert link.count(">") == 1
    assert link.endswith('>; rel="next"')


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=0", ["query:limit"]),
        ("limit=201", ["query:limit"]),
        ("limit=", ["query:limit"]),
        ("limit=ten", ["query:limit"]),
        ("limit=1.5", ["query:limit"]),
        ("limit=1&limit=2", ["query:limit"]),
        ("limit=99999999999999999999999", ["query:limit"]),
        ("cursor=", ["query:cursor"]),
        ("cursor=x", ["query:cursor"]),
        ("cursor=a&cursor=b", ["query:cursor"]),
        ("q=a&q=b", ["query:q"]),
        ("Limit=1", ["query:Limit"]),
        ("nope=1&limit=0", ["query:limit", "query:nope"]),
    ],
)
def test_a_query_that_is_not_allowed_names_each_parameter(client, query, expected):
    assert pointers(client("GET", "/things", query_string=query)) == expected


@pytest.mark.parametrize(
    ("query", "count"),
    [("status=a", 1), ("status=a&status=b", 2), ("status=a,b", 2), ("status=", 1), ("", 0)],
)
def test_a_list_takes_one_value_or_several(client, query, count):
    assert client("GET", "/things", query_string=query).json[0]["size"] == count


def test_an_operation_without_a_query_takes_no_parameter(client):
    assert pointers(client("GET", "/healthz", query_string="a=1")) == ["query:a"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, ["/name"]),
        ({"name": 1}, ["/name"]),
        ({"name": ""}, ["/name"]),
        ({"name": "a", "size": "2"}, ["/size"]),
        ({"name": "a", "size": 2.5}, ["/size"]),
        ({"name": "a", "size": 10**400}, None),
        ({"name": "a", "extra": None}, ["/extra"]),
        ({"name": "a", "inputs": {"x/y": None}}, ["/inputs/x~1y"] * 3),
        ([], [""]),
    ],
)
def test_a_body_that_is_not_allowed_names_each_place(client, body, expected):
    answer = client("POST", "/things", json=body)

    if expected is None:
        assert answer.status_code < 500
    else:
        assert pointers(answer) == expected


def test_a_creation_answers_its_own_status(client):
    answer = client("POST", "/things", json={"name": "a", "size": 3})

    assert answer.status_code == 201
    assert answer.json["size"] == 3


@pytest.mark.parametrize(
    ("body", "headers", "code", "status"),
    [
        (b"{}", {}, "unsupported_media_type", 415),
        (b"{}", {"content-type": "text/plain"}, "unsupported_media_type", 415),
        (b"{", JSON, "malformed_request", 400),
        (b"", JSON, "malformed_request", 400),
        (None, {}, "malformed_request", 400),
        (b'{"name": "a", "name": "b"}', JSON, "malformed_request", 400),
        (b'{"name": NaN}', JSON, "malformed_request", 400),
        (b'{"name": "\xff"}', JSON, "malformed_request", 400),
        (b'{"name": "\\ud800"}', JSON, "malformed_request", 400),
        (b"[" * 200_000, JSON, "malformed_request", 400),
        (b" " * (256 * 1024 + 1), JSON, "payload_too_large", 413),
        (b'{"name": "taken"}', JSON, "thing_conflict", 409),
    ],
)
def test_a_body_that_cannot_be_taken_has_its_code(client, body, headers, code, status):
    answer = client("POST", "/things", headers, body=body)

    assert (answer.status_code, answer.json["error_code"]) == (status, code)


def test_a_caller_that_is_limited_is_told_when_to_come_back(client):
    answer = client("POST", "/things", json={"name": "slow down"})

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


@pytest.mark.parametrize("body", [None, b"", b"{}"])
def test_an_optional_body_may_be_left_out(client, body):
    headers = JSON if body == b"{}" else {}

    assert client("PATCH", f"/things/{RUN}", headers, body=body).status_code == 200


def test_a_call_knows_its_template_key_caller_and_digest(client):
    one = client("PATCH", f"/v1/things/{RUN}", {"idempotency-key": "k 1"}, json={"force": True})
    two = client("PATCH", f"/things/{RUN}", JSON, body=b'{ "force" : true }')

    assert one.json | {"digest": ""} == {
        "digest": "",
        "key": "k 1",
        "template": "/things/{run_id}",
        "principal": "local-user",
    }
    assert two.json["key"] is None
    assert one.json["digest"] == two.json["digest"]


@pytest.mark.parametrize("key", ["", "x" * 129, "é", "a\tb"])
def test_a_bad_idempotency_key_is_malformed(client, key):
    answer = client("PATCH", f"/things/{RUN}", {"idempotency-key": key})

    assert answer.json["error_code"] == "malformed_request"


def test_a_bad_id_in_the_path_is_malformed(client):
    answer = client("PATCH", "/things/run_x")

    assert (answer.status_code, answer.json["error_code"]) == (400, "malformed_request")
    assert "run_id" in answer.json["detail"]


def test_bytes_come_and_go_as_they_are_with_cookies(client):
    sent = bytes(range(256))
    headers = {"content-type": "application/octet-stream"}
    answer = client("PUT", "/bytes", headers, body=sent)

    assert answer.content == sent
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["set-cookie"] == "a=1; Path=/"
    assert client("PUT", "/bytes", JSON, body=sent).status_code == 415
    assert client("PUT", "/bytes", headers, body=bytes(100_001)).status_code == 413


def test_a_header_that_would_break_the_answer_is_our_failure(client):
    assert client("GET", "/header").json["error_code"] == "internal_error"


def test_a_record_of_ours_that_does_not_validate_is_our_failure(client_of):
    class Strict(ResponseModel):
        number: int

    class Corrupt:
        @operation("corrupt", access=Access.MEMBER, summary="Corrupt", responses={200: Strict})
        async def on_get(self, _call):
            return Strict.model_validate({"number": "stored nonsense"})

    answer = client_of(routes=[Route("/corrupt", Corrupt())])("GET", "/corrupt")

    assert (answer.status_code, answer.json["error_code"]) == (500, "internal_error")
    assert "nonsense" not in answer.text


def test_a_query_that_would_take_anything_is_refused_at_declaration():
    class Loose(BaseModel):
        a: int

    with pytest.raises(TypeError, match="Loose"):
        operation(
            "loose", access=Access.MEMBER, summary="Loose", query=Loose, responses={200: None}
        )(_respond)


def test_a_new_error_code_is_explained_where_it_is_declared():
    problem = Problem("thing_conflict", 409, "The thing exists", "Choose another name.")
    declared = operation(
        "x", access=Access.MEMBER, summary="X", responses={200: None}, errors=[problem, "conflict"]
    )

    spec = operation_of(declared(_respond))

    assert spec is not None
    assert spec.errors == ["thing_conflict", "conflict"]
    assert PROBLEMS["thing_conflict"] == problem
    changed = Problem("thing_conflict", 409, "Another title", "Choose another name.")
    with pytest.raises(ValueError, match="thing_conflict"):
        operation("y", access=Access.MEMBER, summary="Y", responses={200: None}, errors=[changed])(
            _respond
        )


async def _respond(_resource, _call):
    """Do nothing."""
