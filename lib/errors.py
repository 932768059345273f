"""Errors that a caller can act on, by kind.

```
FloomError              code, detail: what the reader should do
├── MalformedRequest    the request cannot be read at all
├── Unauthenticated     no credential, or a bad one
├── Forbidden           known, but not allowed
├── NotFound            no such thing, or not visible to the caller
├── Conflict            the thing is in another state
├── PayloadTooLarge     over a cap, counted while reading
├── UnsupportedMedia    not the media type that is due
├── Invalid             fails validation; carries a pointer per problem
├── RateLimited         too many; carries seconds to wait
└── Unavailable         a store, provider or setting is missing
```

A library module defines its own errors beside the code that raises them, as
subclasses with a fixed `code`. `lib/web/problems.py` turns each kind into an
RFC 9457 answer; nothing else knows status codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """One problem with one place in the input.

    Attributes:
        pointer: JSON Pointer into the request body (`/inputs/who`), or
            `query:limit` / `header:x-...` for the rest.
        detail: One sentence that says what is allowed.
    """

    pointer: str
    detail: str


class FloomError(Exception):
    """A failure with a stable code and a sentence for the reader who must act.

    Attributes:
        code: Stable, snake_case; documented under `/problems/<code>`.
        detail: Never holds a secret or another exception's text.
    """

    code = "internal_error"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code


class MalformedRequest(FloomError):
    """The request cannot be read: bad JSON, bad header, bad id form."""

    code = "malformed_request"


class Unauthenticated(FloomError):
    """No credential, or one that is not accepted."""

    code = "unauthenticated"


class Forbidden(FloomError):
    """The caller is known but may not do this."""

    code = "forbidden"


class NotFound(FloomError):
    """There is no such thing, or the caller may not see it."""

    code = "not_found"


class Conflict(FloomError):
    """The thing is not in the state that the request needs."""

    code = "conflict"


class PayloadTooLarge(FloomError):
    """A body is over its cap."""

    code = "payload_too_large"


class UnsupportedMedia(FloomError):
    """The body is not of the media type that is due."""

    code = "unsupported_media_type"


class Invalid(FloomError):
    """The input can be read but fails validation.

    Attributes:
        errors: Every problem found, not only the first.
    """

    code = "validation_failed"

    def __init__(
        self, detail: str, errors: Sequence[FieldError] = (), *, code: str | None = None
    ) -> None:
        super().__init__(detail, code=code)
        self.errors = tuple(errors)


class RateLimited(FloomError):
    """Too many requests.

    Attributes:
        retry_after_seconds: When the next one will be taken.
    """

    code = "rate_limited"

    def __init__(self, detail: str, *, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(FloomError):
    """Something this needs is missing now: a store, a provider, a setting."""

    code = "unavailable"
