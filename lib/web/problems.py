"""Failures as RFC 9457 answers: the only place that knows their status codes.

Whatever goes wrong leaves as `application/problem+json`, from an unknown route
to a bug. An unexpected failure never carries an exception's text: that goes to
the log, under the request id.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import falcon

from lib import errors, log
from lib.errors import FieldError, FloomError
from lib.web.explanations import PROBLEMS, Problem

__all__ = ["PROBLEMS", "CrossOrigin", "Failure", "Problem", "WrongHost", "failure_of"]

LOGGER: Final = logging.getLogger("floom.web")


class WrongHost(FloomError):
    """The `Host` header names another server (RFC 9110, section 15.5.20)."""

    code = "wrong_host"


class CrossOrigin(errors.Forbidden):
    """A browser sent a change from another origin's page."""

    code = "cross_origin"


STATUSES: Final[Mapping[type[Exception], int]] = {
    errors.MalformedRequest: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMedia: 415,
    WrongHost: 421,
    errors.Invalid: 422,
    errors.RateLimited: 429,
    errors.Unavailable: 503,
}

_FRAMEWORK_CODES: Final[Mapping[int, str]] = {
    401: "unauthenticated",
    403: "forbidden",
    404: "route_not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    409: "conflict",
    413: "payload_too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    422: "validation_failed",
    429: "rate_limited",
    503: "unavailable",
}


@dataclass(frozen=True)
class Failure:
    """One failed request, ready to be answered."""

    status: int
    code: str
    detail: str
    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def render(self, request_id: str) -> bytes:
        """Return the problem document."""
        problem: dict[str, Any] = {
            "type": f"/problems/{self.code}",
            "title": title_of(self.code),
            "status": self.status,
            "detail": self.detail,
            "error_code": self.code,
            "instance": request_id,
        }
        if self.errors:
            problem["errors"] = [
                {"pointer": error.pointer, "detail": error.detail} for error in self.errors
            ]
        # A detail may quote the request: what is not Unicode becomes "?".
        return json.dumps(problem, ensure_ascii=False).encode(errors="replace")


UNEXPECTED: Final = Failure(
    500, "internal_error", "An unexpected failure; the server's log has it under this request id."
)


def title_of(code: str) -> str:
    """Return the title of a code; one made of the code if it has none."""
    problem = PROBLEMS.get(code)
    return problem.title if problem else code.replace("_", " ").capitalize()


def failure_of(error: Exception) -> Failure:
    """Return what a caller may know of an exception."""
    if isinstance(error, FloomError):
        return _of_kind(error)
    if isinstance(error, falcon.HTTPError):
        return _of_framework(error)
    return UNEXPECTED


def report(error: BaseException, **fields: Any) -> None:
    """Log an unexpected failure with its traceback."""
    lines = "".join(traceback.format_exception(error))
    log.event(LOGGER, logging.ERROR, "request_failed", **fields, traceback=lines)


def _of_kind(error: FloomError) -> Failure:
    status = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)
    if status == UNEXPECTED.status:
        return UNEXPECTED
    found = error.errors if isinstance(error, errors.Invalid) else ()
    return Failure(status, error.code, error.detail, found, _headers_of(error))


def _headers_of(error: FloomError) -> Mapping[str, str]:
    if isinstance(error, errors.RateLimited):
        return {"retry-after": str(error.retry_after_seconds)}
    if isinstance(error, errors.Unauthenticated):
        return {"www-authenticate": 'Bearer realm="floom"'}  # RFC 9110: a 401 names a scheme
    return {}


def _of_framework(error: falcon.HTTPError) -> Failure:
    status = error.status_code
    if status >= UNEXPECTED.status and status not in _FRAMEWORK_CODES:
        return UNEXPECTED
    code = _FRAMEWORK_CODES.get(status, "malformed_request")
    known = PROBLEMS[code]
    # The framework's descriptions quote no exception, and say more of headers.
    detail = error.description or known.explanation.partition(". ")[0].rstrip(".") + "."
    return Failure(status, code, detail, headers=dict(error.headers or {}))
