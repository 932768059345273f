"""Base models of requests and answers, and the form of times at the edge."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema

from lib.clock import rfc3339

Timestamp = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "pattern": r"\.\d{3}Z$",
            "examples": ["2026-01-01T09:30:00.000Z"],
        },
        mode="serialization",
    ),
]
"""An aware time that is rendered in RFC 3339, UTC, with `Z` and milliseconds.

Every time in an answer has this type: pydantic's own form of a datetime leaves
the fraction out or writes six digits.
"""


class RequestModel(BaseModel):
    """A body or query that refuses what it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ResponseModel(BaseModel):
    """An answer. Made from an object's attributes by `model_validate(record)`."""

    model_config = ConfigDict(frozen=True, from_attributes=True)
