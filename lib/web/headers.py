"""Headers that every answer carries."""

from __future__ import annotations

from typing import Final

_Header = tuple[bytes, bytes]

# Of the API itself: nothing in an answer may run, load or be framed.
STRICT_POLICY: Final = (
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
# Of pages with scripts: their own files only; data: for the icons in style sheets.
SELF_ONLY_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
PAGE_HEADERS: Final = {"content-security-policy": SELF_ONLY_POLICY}

_FIXED: Final[tuple[_Header, ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_DEFAULTS: Final[dict[bytes, bytes]] = {
    b"content-security-policy": STRICT_POLICY.encode(),
    b"cache-control": b"no-store",
    b"referrer-policy": b"no-referrer",
}
_USUAL: Final = (*_FIXED, *_DEFAULTS.items())
_TLS_ONLY: Final[_Header] = (b"strict-transport-security", b"max-age=31536000")  # a year


def complete(headers: list[_Header], request_id: bytes, *, is_secure: bool) -> list[_Header]:
    """Return an answer's headers with those that every answer carries.

    A responder may set its own content security policy, caching and referrer;
    without that the policy is strict, nothing is stored and no address told.
    """
    set_here = [name for name, _ in headers if name in _DEFAULTS]
    if set_here:
        missing = ((name, value) for name, value in _DEFAULTS.items() if name not in set_here)
        completed = [*headers, *_FIXED, *missing, (b"x-request-id", request_id)]
    else:
        completed = [*headers, *_USUAL, (b"x-request-id", request_id)]
    if is_secure:
        completed.append(_TLS_ONLY)
    return completed
