"""Kinds of failures and their statuses."""

import inspect
import json

import falcon
import pytest

from lib import errors
from lib.errors import FieldError, FloomError
from lib.web import problems
from lib.web.problems import PROBLEMS, failure_of

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, FloomError) and kind is not FloomError
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_the_status_that_its_code_is_documented_with(kind):
    extra = {"retry_after_seconds": 1} if kind is errors.RateLimited else {}
    failure = failure_of(kind("Do this.", **extra))

    assert failure.status == PROBLEMS[failure.code].status
    assert failure.detail == "Do this."


def test_a_subclass_has_its_kinds_status_and_its_own_code():
    class WorkerGone(errors.NotFound):
        code = "worker_not_found"

    failure = failure_of(WorkerGone("No such worker."))

    assert (failure.status, failure.code) == (404, "worker_not_found")


@pytest.mark.parametrize("error", [FloomError("told"), KeyError("told"), OSError("told")])
def test_what_is_not_of_a_kind_says_nothing(error):
    failure = failure_of(error)

    assert failure is problems.UNEXPECTED
    assert "told" not in failure.detail


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (falcon.HTTPNotFound(), 404, "route_not_found"),
        (falcon.HTTPMethodNotAllowed(["GET"]), 405, "method_not_allowed"),
        (falcon.HTTPBadRequest(), 400, "malformed_request"),
        (falcon.HTTPInvalidHeader("Bad.", "Accept"), 400, "malformed_request"),
        (falcon.HTTPRangeNotSatisfiable(10), 416, "range_not_satisfiable"),
        (falcon.HTTPGone(), 410, "malformed_request"),
        (falcon.HTTPInternalServerError(), 500, "internal_error"),
        (falcon.HTTPServiceUnavailable(), 503, "unavailable"),
    ],
)
def test_the_frameworks_own_failures_have_codes_too(error, status, code):
    failure = failure_of(error)

    assert (failure.status, failure.code) == (status, code)
    assert failure.detail


def test_a_problem_has_the_fields_of_the_contract():
    found = [FieldError("/a", "Must be b.")]
    failure = failure_of(errors.Invalid("Correct the fields.", found))

    assert json.loads(failure.render("r1")) == {
        "type": "/problems/validation_failed",
        "title": PROBLEMS["validation_failed"].title,
        "status": 422,
        "detail": "Correct the fields.",
        "error_code": "validation_failed",
        "instance": "r1",
        "errors": [{"pointer": "/a", "detail": "Must be b."}],
    }


def test_a_detail_that_quotes_half_a_character_can_be_rendered():
    assert b"?" in failure_of(errors.NotFound("No \ud800.")).render("r1")


def test_explanations_are_sentences():
    for problem in PROBLEMS.values():
        assert problem.code.replace("_", "").isalpha()
        assert problem.title
        assert not problem.title.endswith(".")
        assert problem.explanation.endswith(".")
        assert 400 <= problem.status < 600
