"""The reference: complete, offline, under the strictest policy that works."""

import importlib.util
import json
import re
import runpy
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from falcon import testing
from openapi_spec_validator import OpenAPIV31SpecValidator

from handlers import docs, registry
from lib.auth.authenticator import Authenticator
from lib.auth.principal import Role
from lib.clock import ManualClock
from lib.errors import FloomError
from lib.web import openapi
from lib.web.access import is_public
from lib.web.app import create_app
from lib.web.explanations import PROBLEMS
from lib.web.headers import SELF_ONLY_POLICY
from lib.web.inert import Inert
from lib.web.problems import STATUSES
from lib.web.shutdown import Shutdown

SERVICES: Any = Inert()
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def app():
    return create_app(
        docs.routes(Inert()),
        authenticator=Authenticator(secret="s" * 16, shared_secret_role=Role.MEMBER),
        clock=ManualClock(),
        public_url="http://localhost:8000",
        shutdown=Shutdown(),
    )


@pytest.fixture(scope="module")
def get(app):
    def request(path, **given):
        return testing.simulate_get(app, path, host="localhost", **given)

    return request


@pytest.fixture(scope="module")
def document():
    return docs.document()


def test_a_browser_that_names_no_page_is_led_to_one(get):
    answer = get("/", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "docs")


@pytest.mark.parametrize("prefix", ["", "/v1", "/api/v1"])
def test_the_page_loads_only_our_own_files(get, prefix):
    page = get(f"{prefix}/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"] == SELF_ONLY_POLICY
    assert not re.search(r"<script(?![^>]*\bsrc=)|\bon\w+=|style=|https?://|//", page.text)

    for target in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        file = get(f"{prefix}/{target}")  # relative to the page's folder
        assert file.status_code == 200, target
        assert file.headers["content-type"].startswith(("text/", "image/png"))


def test_a_files_second_load_is_not_sent_again(get):
    first = get("/docs/swagger-ui.css")
    etag = first.headers["etag"]

    assert "max-age" in first.headers["cache-control"]
    assert get("/docs/swagger-ui.css", headers={"if-none-match": etag}).status_code == 304


@pytest.mark.parametrize(
    "asset", ["index.html", "LICENSE", "..", "%2e%2e%5capps.py", "swagger-ui-bundle.js.map"]
)
def test_no_other_file_is_served(get, asset):
    assert get(f"/docs/{asset}").status_code == 404


def test_a_slash_too_many_leads_to_the_page(get):
    assert get("/v1/docs/").headers["location"] == "../docs"


def test_a_path_that_leaves_the_folder_is_no_route(get):
    assert get("/docs/%2e%2e%2fapps.py", headers={"x-floom-secret": "s" * 16}).status_code == 404


def test_the_carrier_of_the_files_is_never_imported(get):
    assert get("/docs/swagger-ui.css").status_code == 200
    assert importlib.util.find_spec("drf_spectacular_sidecar") is not None
    assert "drf_spectacular_sidecar" not in sys.modules


def test_the_document_is_valid_and_names_every_route(get, document):
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert get("/openapi.json").json == json.loads(json.dumps(document))
    for route in registry.all_routes(SERVICES):
        assert re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path) in document["paths"], route.path


def test_operation_ids_are_unique(document):
    ids = [
        operation["operationId"]
        for item in document["paths"].values()
        for operation in item.values()
    ]

    assert sorted(set(ids)) == sorted(ids)


def test_every_documented_code_is_explained():
    for endpoint in openapi.endpoints(registry.all_routes(SERVICES)):
        for code in endpoint.operation.errors:
            assert code in PROBLEMS, (endpoint.path, code)


def _kinds(kind):
    for below in kind.__subclasses__():
        yield below
        yield from _kinds(below)


def test_every_error_that_the_code_can_raise_is_explained_with_its_status():
    ours = [
        kind for kind in _kinds(FloomError) if kind.__module__.startswith(("lib.", "handlers."))
    ]

    for kind in ours:
        status = next((STATUSES[base] for base in kind.__mro__ if base in STATUSES), 500)
        assert kind.code in PROBLEMS, kind
        assert PROBLEMS[kind.code].status == status, kind


def test_every_time_in_an_answer_has_its_form(document):
    """A model with a plain datetime would render another form."""

    def times(schema, path):
        if isinstance(schema, dict):
            if schema.get("format") == "date-time" and not path.endswith("Input"):
                yield path, schema
            for name, part in schema.items():
                yield from times(part, f"{path}/{name}")

    answers = _answer_schemas(document)
    for name, schema in answers.items():
        for path, found in times(schema, name):
            assert found.get("pattern", "").endswith("Z$"), path


def _answer_schemas(document):
    """Return the schemas that answers reach."""
    schemas, found = document["components"]["schemas"], {}
    waiting = [
        operation["responses"] for item in document["paths"].values() for operation in item.values()
    ]
    while waiting:
        for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(waiting.pop())):
            if name not in found:
                found[name] = schemas[name]
                waiting.append(schemas[name])
    return found


def test_the_schema_of_manifests_is_served(get):
    answer = get("/schemas/worker.json")

    assert answer.headers["content-type"] == "application/schema+json"
    assert answer.json["type"] == "object"
    assert get("/schemas/other.json").json["error_code"] == "schema_not_found"
    assert get("/schemas/openapi.json").status_code == 404


def test_codes_are_explained_to_browsers_and_programs(get):
    as_json = get("/problems/worker_not_found", headers={"accept": "application/json"})
    as_page = get("/problems/worker_not_found", headers={"accept": "text/html,*/*;q=0.8"})

    assert as_json.json["status"] == 404
    assert as_page.headers["content-type"].startswith("text/html")
    assert as_json.json["title"] in as_page.text
    assert get("/problems/worker_not_found").json == as_json.json
    assert get("/problems/nonsense").json["error_code"] == "problem_not_found"
    assert {entry["code"] for entry in get("/problems").json} == set(PROBLEMS)


@pytest.mark.parametrize("accept", ["", "nonsense", "*/*;q=x", "é", ";;", "text/html;q=0"])
def test_an_odd_accept_header_is_answered(get, accept):
    assert get("/problems/worker_not_found", headers={"accept": accept}).status_code == 200


def test_the_whole_reference_is_public():
    assert all(is_public("GET", route.path) for route in docs.routes(Inert()))


@pytest.fixture(scope="module")
def generate():
    path = ROOT / "scripts" / "generate.py"
    return types.SimpleNamespace(**runpy.run_path(str(path), run_name="generate"))


def test_generated_files_are_written_and_checked(generate, tmp_path, capsys):
    renderers = {"docs/a.json": lambda: "{}\n", "docs/b.json": lambda: '"é"\n'}

    def run(*arguments):
        return generate.main(list(arguments), tmp_path, renderers)

    assert run("--check") == 1
    assert run() == 0
    assert run("--check") == 0
    capsys.readouterr()
    (tmp_path / "docs" / "b.json").write_text("[]\n")
    assert run("--check") == 1
    assert capsys.readouterr().err == "stale: docs/b.json; run `make generate`\n"


def test_the_generated_documents_are_the_servers_own(generate, document):
    assert set(generate.RENDERERS) == {"docs/openapi.json", "docs/worker.schema.json"}
    assert json.loads(generate.render_openapi()) == json.loads(json.dumps(document))
    assert json.loads(generate.render_worker_schema())["type"] == "object"
