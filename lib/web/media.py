"""Bodies that are not JSON: named by media type, read or written as bytes."""

from __future__ import annotations

from typing import Final

JSON: Final = "application/json"
PROBLEM_JSON: Final = "application/problem+json"
SCHEMA_JSON: Final = "application/schema+json"
HTML: Final = "text/html; charset=utf-8"


class Media:
    """One or more media types of a body that no model describes.

    As an operation's `body` the responder reads the bytes itself, by
    `call.chunks()`; as a response it returns bytes.
    """

    def __init__(self, *types: str) -> None:
        self.types = types

    def accepts(self, content_type: str | None) -> bool:
        """Return whether a `Content-Type` header names one of the types."""
        return "*/*" in self.types or essence(content_type) in self.types


def essence(content_type: str | None) -> str:
    """Return `type/subtype` of a header, lower case, without parameters."""
    return (content_type or "").partition(";")[0].strip().lower()
