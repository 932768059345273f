"""Structured logging of the server itself: one event a line, JSON or text.

A record is an event name and fields, made by `event()`. Values of secrets never
reach a logger.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from typing import IO, Any, Final, Literal

from lib.clock import from_milliseconds, rfc3339

_FIELDS: Final = "floom_fields"
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, default=str)


def event(logger: logging.Logger, level: int, name: str, **fields: Any) -> None:
    """Log the event `name` with its fields."""
    if logger.isEnabledFor(level):
        # Not `logger.log`: that walks the stack for a file and a line nobody shows.
        record = logging.LogRecord(logger.name, level, "", 0, name, None, None)
        setattr(record, _FIELDS, fields)
        logger.handle(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at, level, logger, event, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, with the traceback as one string."""
        line: dict[str, Any] = {
            "at": _at(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _ENCODER.encode(line)


class TextFormatter(logging.Formatter):
    """A short line for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return `time level event key=value ...`, then the traceback if any."""
        fields = " ".join(f"{key}={value}" for key, value in _fields(record).items())
        line = f"{_at(record)[11:23]} {record.levelname.lower():7} {record.getMessage()} {fields}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line.rstrip()


def configure(
    *, form: Literal["json", "text"], level: str, stream: IO[str] | None = None
) -> logging.Handler:
    """Send every log record to `stream` (standard error) in the given form."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    return handler


def _at(record: logging.LogRecord) -> str:
    return rfc3339(from_milliseconds(int(record.created * 1000)))


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(record, _FIELDS, {})
    return fields
