"""Bodies that are not JSON: named by media type, read or written as bytes."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel

JSON: Final = "application/json"
PROBLEM_JSON: Final = "application/problem+json"
SCHEMA_JSON: Final = "application/schema+json"
HTML: Final = "text/html; charset=utf-8"


class Media:
    """One or more media types of a body that no model describes.

    As an operation's `body` the responder reads the bytes itself, by
    `call.chunks()`; as a response it returns bytes.

    Args:
        types: What may be sent, or is.
        model: What JSON may be sent instead of a body of these types.
    """

    def __init__(self, *types: str, model: type[BaseModel] | None = None) -> None:
        self.types = types
        self.model = model

    def accepts(self, content_type: str | None) -> bool:
        """Return whether a `Content-Type` header names one of the types."""
        kind = essence(content_type)
        is_model = self.model is not None and kind == JSON
        return "*/*" in self.types or kind in self.types or is_model


def essence(content_type: str | None) -> str:
    """Return `type/subtype` of a header, lower case, without parameters."""
    return (content_type or "").partition(";")[0].strip().lower()
