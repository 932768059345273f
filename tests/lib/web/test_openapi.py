"""The document: valid, complete, and true to what the kernel does."""

import json

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from lib.web import openapi
from lib.web.inert import Inert
from lib.web.openapi import endpoints


@pytest.fixture
def document(routes):
    return openapi.build(routes, version="1.2.3")


def test_it_is_valid_openapi_3_1(document):
    assert document["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_it_is_plain_json_and_the_same_each_time(routes, document):
    assert json.loads(json.dumps(document)) == openapi.build(routes, version="1.2.3")


def test_every_operation_is_in_it(routes, document):
    listed = {
        (path, method.upper(), operation["operationId"])
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }

    declared = {(e.path, e.method, e.operation.operation_id) for e in endpoints(routes)}
    assert listed == declared
    assert len(listed) == 11


def test_parameters_say_where_they_are_and_what_is_allowed(document):
    listing = {p["name"]: p for p in document["paths"]["/things"]["get"]["parameters"]}
    one = {p["name"]: p for p in document["paths"]["/things/{run_id}"]["patch"]["parameters"]}

    assert listing["limit"]["schema"] == {
        "type": "integer", "default": 50, "minimum": 1, "maximum": 200
    }  # fmt: skip
    assert listing["cursor"]["schema"]["type"] == "string"
    assert "default" not in listing["cursor"]["schema"]
    assert listing["status"]["schema"] == {"type": "array", "items": {"type": "string"}}
    assert listing["status"]["explode"] is False
    assert "ThingsQuery" not in document["components"]["schemas"]
    assert one["run_id"]["required"] is True
    assert one["run_id"]["schema"]["pattern"].startswith("^run_")
    assert one["Idempotency-Key"]["in"] == "header"


def test_lists_document_how_they_continue(document):
    answer = document["paths"]["/things"]["get"]["responses"]["200"]

    assert set(answer["headers"]) == {"Link", "x-next-cursor"}
    assert answer["content"]["application/json"]["schema"]["type"] == "array"


def test_times_are_told_with_their_form(document):
    made_at = document["components"]["schemas"]["Thing"]["properties"]["made_at"]

    assert made_at["format"] == "date-time"
    assert made_at["pattern"].endswith("Z$")


def test_bodies_are_described_by_model_or_media_type(document):
    create = document["paths"]["/things"]["post"]["requestBody"]
    patch = document["paths"]["/things/{run_id}"]["patch"]["requestBody"]
    put = document["paths"]["/bytes"]["put"]["requestBody"]

    assert create["required"] is True
    assert create["content"]["application/json"]["schema"]["$ref"].endswith("/NewThing")
    assert patch["required"] is False
    assert set(put["content"]) == {"application/octet-stream"}


def test_failures_are_listed_by_status_with_their_codes(document):
    answers = document["paths"]["/things"]["post"]["responses"]

    assert {"201", "400", "401", "403", "409", "413", "415", "421", "422", "429", "500"} == set(
        answers
    )
    assert "`conflict`" in answers["409"]["description"]
    assert "application/problem+json" in answers["409"]["content"]


def test_public_operations_need_no_credential(document):
    assert document["paths"]["/healthz"]["get"]["security"] == []
    assert "401" not in document["paths"]["/healthz"]["get"]["responses"]
    assert "security" not in document["paths"]["/things"]["get"]


def test_an_operation_for_admins_says_so(document):
    assert "Administrators only" in document["paths"]["/things"]["delete"]["description"]


def test_what_is_inert_stands_for_any_collaborator():
    inert = Inert()

    assert inert.store.list(limit=1).first() is inert
    with pytest.raises(AttributeError):
        inert.__wrapped__  # noqa: B018
