"""The OpenAPI document of all handlers: valid, current, complete."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from falcon.routing import map_http_methods
from jsonschema import (  # type: ignore[import-untyped]
    Draft202012Validator,
    FormatChecker,
)
from openapi_spec_validator import OpenAPIV31SpecValidator

from handlers import docs
from handlers.registry import all_routes
from lib.web import openapi
from lib.web.access import RUN_ROUTES, is_public
from lib.web.explanations import PROBLEMS
from lib.web.inert import Inert
from lib.web.media import JSON, PROBLEM_JSON, Media
from lib.web.path_ids import PATTERNS

ROOT = Path(__file__).resolve().parents[2]
INERT: Any = Inert()
ROUTES = all_routes(INERT)
ENDPOINTS = list(openapi.endpoints(ROUTES))
IDS = [endpoint.operation.operation_id for endpoint in ENDPOINTS]
DOCUMENT: dict[str, Any] = json.loads(json.dumps(docs.document()))


def described(endpoint: openapi.Endpoint) -> dict[str, Any]:
    """Return what the document says of an endpoint."""
    found: dict[str, Any] = DOCUMENT["paths"][endpoint.path][endpoint.method.lower()]
    return found


def test_it_is_valid_openapi_3_1() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


def test_the_file_in_docs_is_current() -> None:
    """`make generate` writes it."""
    assert json.loads((ROOT / "docs" / "openapi.json").read_text()) == DOCUMENT


def test_every_method_of_every_route_is_in_it_and_nothing_else() -> None:
    served = {
        (re.sub(r"\{(\w+)[^}]*\}", r"{\1}", route.path), method.lower())
        for route in ROUTES
        for method in map_http_methods(route.resource, suffix=route.suffix)
    }
    assert served == {(path, method) for path, item in DOCUMENT["paths"].items() for method in item}


def test_operation_ids_are_unique_and_fit_for_names() -> None:
    assert len(set(IDS)) == len(IDS)
    assert [each for each in IDS if not re.fullmatch(r"[a-z][A-Za-z0-9]+", each)] == []


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=IDS)
def test_every_error_code_is_explained_and_documented(endpoint: openapi.Endpoint) -> None:
    responses = described(endpoint)["responses"]
    for code in endpoint.operation.errors:
        assert code in PROBLEMS
        status = str(PROBLEMS[code].status)
        content = responses[status].get("content", {})
        assert PROBLEM_JSON in content or int(status) in endpoint.operation.responses
        if PROBLEM_JSON in content:
            assert f"`{code}`" in responses[status]["description"]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=IDS)
def test_what_the_kernel_itself_answers_is_documented(endpoint: openapi.Endpoint) -> None:
    responses = described(endpoint)["responses"]
    assert {"400", "421", "422", "500"} <= responses.keys()
    assert ("401" in responses) is not is_public(endpoint.method, endpoint.route.path)
    if endpoint.method != "GET":
        assert "`cross_origin`" in responses["403"]["description"]
    if endpoint.operation.body is not None:
        assert {"413", "415"} <= responses.keys()


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=IDS)
def test_every_success_has_a_schema_or_a_media_type(endpoint: openapi.Endpoint) -> None:
    successes = {
        status: response
        for status, response in described(endpoint)["responses"].items()
        if status.startswith("2")
    }
    assert successes or "303" in described(endpoint)["responses"]
    for status, response in successes.items():
        form = endpoint.operation.responses[int(status)]
        if form is None:
            assert status == "204"
            assert "content" not in response
        elif isinstance(form, Media):
            assert set(response["content"]) == set(form.types)
        else:
            assert response["content"][JSON]["schema"]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=IDS)
def test_it_says_who_may_call(endpoint: openapi.Endpoint) -> None:
    security = described(endpoint).get("security", DOCUMENT["security"])
    assert (security == []) is is_public(endpoint.method, endpoint.route.path)
    is_for_runs = (endpoint.method, endpoint.route.path) in RUN_ROUTES
    assert (security == [{"runToken": []}]) is is_for_runs
    assert {"runToken": []} not in DOCUMENT["security"]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=IDS)
def test_it_can_be_read(endpoint: openapi.Endpoint) -> None:
    operation = described(endpoint)
    assert 0 < len(operation["summary"]) <= 80
    assert operation["description"].strip()
    assert operation["tags"]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=IDS)
def test_parameters_are_those_of_the_path_and_of_the_models(endpoint: openapi.Endpoint) -> None:
    parameters = described(endpoint)["parameters"]
    named = [(each["in"], each["name"]) for each in parameters]
    assert len(set(named)) == len(named)
    assert {name for place, name in named if place == "path"} == set(
        re.findall(r"\{(\w+)", endpoint.route.path)
    )
    for each in parameters:
        if each["name"] in PATTERNS and each["in"] == "path":
            assert each["schema"]["pattern"] == PATTERNS[each["name"]]


def schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema of the document with its place, parts of schemas included."""

    def below(value: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
        if isinstance(value, dict):
            if "type" in value or "anyOf" in value or "$ref" in value:
                yield place, value
            for name, part in value.items():
                if name not in {"examples", "example", "default", "const", "enum"}:
                    yield from below(part, f"{place}/{name}")
        elif isinstance(value, list):
            for index, part in enumerate(value):
                yield from below(part, f"{place}/{index}")

    yield from below(DOCUMENT["paths"], "/paths")
    yield from below(DOCUMENT["components"]["schemas"], "/components/schemas")


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """Return a validator that knows the document's components."""
    return Draft202012Validator(
        {**schema, "components": DOCUMENT["components"]}, format_checker=FormatChecker()
    )


def test_examples_and_defaults_are_what_their_schemas_allow() -> None:
    examples = [
        (place, schema, example)
        for place, schema in schemas()
        for example in schema.get("examples", [])
    ]
    assert len(examples) > 5
    defaults = [
        (place, schema, schema["default"]) for place, schema in schemas() if "default" in schema
    ]
    for place, schema, value in examples + defaults:
        assert list(validator(schema).iter_errors(value)) == [], place


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    prefix = "#/components/schemas/"
    used = {schema["$ref"] for _, schema in schemas() if "$ref" in schema}
    assert all(reference.startswith(prefix) for reference in used)
    assert {each.removeprefix(prefix) for each in used} == set(DOCUMENT["components"]["schemas"])


def test_every_property_of_an_answer_is_required() -> None:
    """Fields with no value are null, not absent."""
    bodies = {name for name in DOCUMENT["components"]["schemas"] if name.endswith("View")}
    assert bodies
    for name in bodies:
        schema = DOCUMENT["components"]["schemas"][name]
        assert set(schema.get("required", [])) == set(schema["properties"]), name


def test_bodies_refuse_what_they_do_not_know() -> None:
    for endpoint in ENDPOINTS:
        content = described(endpoint).get("requestBody", {}).get("content", {})
        if JSON in content:
            name = content[JSON]["schema"]["$ref"].rpartition("/")[2]
            assert DOCUMENT["components"]["schemas"][name]["additionalProperties"] is False, name
