"""The running server against its own OpenAPI document.

Requests are made from the document, fit ones and unfit ones; every answer must
be one that the document promises: status, content type, headers and schema. What
is asked for exists in one half of the tests, so that answers are more than 404.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import run_state_machine_as_test
from schemathesis import Case, CheckFunction
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from handlers import docs
from tests.e2e.server import ServerProcess

SECRET: Final = "the secret of this server"
DOCUMENT: Final[dict[str, Any]] = docs.document()
SCHEMA: Final = schemathesis.openapi.from_dict(DOCUMENT)
READS: Final = [path for path, item in DOCUMENT["paths"].items() if "get" in item]
# A cursor is any text to the schema, and 1.0 an integer: the server is stricter.
TOO_STRICT: Final[list[CheckFunction]] = [checks.positive_data_acceptance]
OF_ANSWERS: Final[list[CheckFunction]] = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
schemathesis.openapi.media_type("application/zip", st.binary(max_size=64))
PAINTER: Final = "exec: {inputs: [{name: text, type: string}, {name: anything, type: json}]}\n"


def bounded(examples: int, *, derandomize: bool = True) -> settings:
    """Return settings: no clock, no folder of old examples, any size of data."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=derandomize,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


class Known:
    """A server with something of each kind on it.

    Attributes:
        parameters: Values of path parameters that name what exists.
    """

    def __init__(self, server: ServerProcess) -> None:
        server.add_worker("painter", PAINTER, run_py="open('out/a b.txt', 'w').write('x' * 99)")
        server.add_worker("doomed", "", run_py="")
        server.add_worker("shared", "", run_py="")
        server.add_worker("gated", "approvals: {required: true}\n", run_py="")
        server.reload()
        server.run("gated")
        (approval,) = server.client.get("/approvals").json()
        links = f"/approvals/{approval['id']}/links"
        link, kept = (
            server.client.post(links, json={"email": f"{name}@example.org"}).json()
            for name in ("eve", "bob")
        )
        run = server.run("painter", text="red")
        issue = server.client.post("/workspace/issues", json={"title": "known"})
        announced = {"name": "a", "size": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}
        self.review = kept["url"].rpartition("/")[2]
        self.server = server
        self.session = requests.Session()
        self.session.headers["x-floom-secret"] = SECRET
        invitation = server.client.post("/auth/magic-link", json={"email": "ada@example.org"})
        requests.post(invitation.json()["url"].replace("localhost", "127.0.0.1"), timeout=60)
        self.parameters = {
            "user_id": server.client.get("/auth/users").json()[0]["id"],
            "token_id": server.client.post("/auth/tokens", json={"name": "ci"}).json()["id"],
            "worker_id": "painter",
            "run_id": run["id"],
            "approval_id": approval["id"],
            "link_id": link["id"],
            "upload_id": server.client.post("/uploads", json=announced).json()["id"],
            "issue_id": issue.json()["id"],
            "token": server.client.post("/workers/shared/share").json()["token"],
            "secret_name": "API_KEY",
            "name": "a b.txt",
            "asset": "swagger-ui.css",
            "code": "worker_not_found",
        }

    def path(self, template: str) -> str:
        """Return a path that leads to something."""
        for name, value in self.of(template).items():
            shown = "worker.json" if template.startswith("/schemas/") else value
            template = template.replace(f"{{{name}}}", shown)
        # Asked first, it is still there for the next request.
        return f"{template}?confirm=1" if template.startswith("/auth/magic/") else template

    def of(self, template: str) -> dict[str, str]:
        """Return the values for a route: not every token opens every door."""
        opens = self.parameters["token"]
        if template.startswith("/approvals/public/"):
            opens = self.review
        if template.startswith("/auth/magic/"):  # good once
            made = self.server.client.post("/auth/magic-link").json()
            opens = made["url"].rpartition("/")[2]
        return {**self.parameters, "token": opens}

    def check(self, case: Case[Any]) -> None:
        """Send a generated request; judge the answer by all that its making allows."""
        case.call_and_validate(
            base_url=self.server.url,
            session=self.session,
            headers={"x-floom-secret": SECRET},
            excluded_checks=[*TOO_STRICT, *self._of_another(case)],
        )

    def _of_another(self, case: Case[Any]) -> list[CheckFunction]:
        """Return what cannot be asked where the secret is not the credential that is due.

        Who presents it is known, and so answered with 403 instead of 401.
        """
        security = case.operation.definition.raw.get("security", DOCUMENT["security"])
        is_due = not security or {"sharedSecret": []} in security
        return [] if is_due else [checks.missing_required_header]

    def check_of_what_exists(self, case: Case[Any]) -> None:
        """Send it to something that exists; judge the answer by the document."""
        there = {name: self.of(case.path)[name] for name in case.path_parameters or {}}
        if case.path == "/schemas/{name}":
            there = {"name": "worker.json"}
        if (case.method, case.path) == ("DELETE", "/workers/{worker_id}"):
            there = {"worker_id": "doomed"}  # the others are still to be asked about
        case.path_parameters = there
        case.call_and_validate(base_url=self.server.url, session=self.session, checks=OF_ANSWERS)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Known]:
    folder = tmp_path_factory.mktemp("schema")
    with ServerProcess(
        folder / "var",
        FLOOM_SECRET=SECRET,
        FLOOM_RATE_LIMITS="0",  # schemas are tried with bad credentials and many exports
        FLOOM_SANDBOX="best_effort",
        WORKEROS_SHARED_SECRET_ROLE="admin",
    ) as server:
        known = Known(server)
        yield known
        known.session.close()
        assert server.client.get("/healthz").json()["status"] == "ok"
        assert "Traceback" not in server.errors.read_text()


@SCHEMA.parametrize()
@bounded(6)
def test_every_answer_is_documented(case: Case[Any], known: Known) -> None:
    known.check(case)


@SCHEMA.parametrize()
@bounded(6)
def test_every_answer_about_what_exists_is_documented(case: Case[Any], known: Known) -> None:
    known.check_of_what_exists(case)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@SCHEMA.parametrize()
@bounded(2_000, derandomize=False)
def test_many_answers_are_documented(case: Case[Any], known: Known) -> None:
    known.check(case)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@SCHEMA.parametrize()
@bounded(2_000, derandomize=False)
def test_many_answers_about_what_exists_are_documented(case: Case[Any], known: Known) -> None:
    known.check_of_what_exists(case)


@pytest.mark.parametrize("template", READS)
def test_head_is_get_without_a_body(known: Known, template: str) -> None:
    url = known.server.url + known.path(template)
    got = known.session.get(url, headers={"accept-encoding": "identity"}, allow_redirects=False)
    head = known.session.head(url, headers={"accept-encoding": "identity"})
    assert got.status_code == head.status_code
    assert got.status_code in {200, 303}
    assert head.content == b""
    ours = {"date", "x-request-id", "transfer-encoding", "content-length"}
    assert {n.lower(): v for n, v in head.headers.items() if n.lower() not in ours} == {
        n.lower(): v for n, v in got.headers.items() if n.lower() not in ours
    }
    if "content-length" in head.headers:
        assert head.headers["content-length"] == got.headers["content-length"]


def test_the_server_serves_this_document(known: Known) -> None:
    assert known.session.get(f"{known.server.url}/openapi.json").json() == DOCUMENT


def call_in_sequences(folder: Path, wanted: settings) -> None:
    """Let answers of some calls give later ones their ids, as the names suggest."""
    # On an open server, whose document would otherwise have credentials made up.
    document = {name: part for name, part in DOCUMENT.items() if name != "security"}
    made = schemathesis.openapi.from_dict(document).as_state_machine()
    with ServerProcess(folder / "var") as server:

        class Calls(made):  # type: ignore[misc, valid-type]
            def get_call_kwargs(self, case: Case[Any]) -> dict[str, Any]:
                return {"base_url": server.url}

            def validate_response(self, response: Any, case: Case[Any], **_: Any) -> None:
                case.validate_response(response, checks=OF_ANSWERS)

        run_state_machine_as_test(Calls, settings=wanted)
        assert server.client.get("/healthz").json()["status"] == "ok"
        assert "Traceback" not in server.errors.read_text()


def test_sequences_of_calls(tmp_path: Path) -> None:
    call_in_sequences(tmp_path, settings(bounded(8), stateful_step_count=8))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_many_sequences_of_calls(tmp_path: Path) -> None:
    """In rounds: one ends early where a run answers otherwise than it did a round before."""
    wanted = settings(bounded(20, derandomize=False), stateful_step_count=20)
    for number in range(25):
        folder = tmp_path / str(number)
        folder.mkdir()
        with suppress(FlakyStrategyDefinition):
            call_in_sequences(folder, wanted)
