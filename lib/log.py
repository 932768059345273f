"""Structured logging of the server itself: one event a line, JSON or text.

A record is an event name and fields, made by `event()`. Values of secrets never
reach a logger.
"""

from __future__ import annotations

import functools
import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import IO, Any, Final, Literal, Protocol

from pydantic_core import to_json

from lib.clock import from_milliseconds, rfc3339
from lib.log_writer import BatchedHandler

Fields = Mapping[str, Any]

_FIELDS: Final = "floom_fields"
_ROOT: Final = logging.getLogger()
# Libraries that tell of each request, in debug mode with its headers.
_CHATTY: Final = ("botocore", "boto3", "urllib3", "s3transfer")
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, default=str)


def event(logger: logging.Logger, level: int, name: str, **fields: Any) -> None:
    """Log the event `name` with its fields."""
    if logger.isEnabledFor(level):
        logger.handle(_record(logger, level, name, fields))


class EventFormatter(Protocol):
    """Makes the line of an event."""

    def line(self, created: float, level: str, logger: str, event: str, fields: Fields) -> str:
        """Return the line; `created` is seconds since the epoch."""
        ...


class FrequentEvent:
    """An event of level info that comes with every request.

    Until the log is written only its values are kept; the line is then made
    with many others in a row, at a fraction of what a record costs each request.

    Args:
        logger: Whose event it is.
        name: Of the event.
        fields: Names of its values, in order.
    """

    def __init__(self, logger: logging.Logger, name: str, *fields: str) -> None:
        self._logger = logger
        self._name = name
        self._fields = fields

    def log(self, *values: Any) -> None:
        """Log the event with these values, which must not change any more."""
        if not self._logger.isEnabledFor(logging.INFO):
            return
        handlers = _ROOT.handlers
        if len(handlers) == 1 and isinstance(handlers[0], BatchedHandler):
            handlers[0].take(self._line, time.time(), values)
        else:  # somebody else listens: they get a record as of any event
            self._logger.handle(
                _record(self._logger, logging.INFO, self._name, self._named(values))
            )

    def _line(self, formatter: EventFormatter, created: float, values: tuple[Any, ...]) -> str:
        named = self._named(values)
        return formatter.line(created, "info", self._logger.name, self._name, named)

    def _named(self, values: tuple[Any, ...]) -> Fields:
        return dict(zip(self._fields, values, strict=True))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at, level, logger, event, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, with the traceback as one string."""
        fields = _fields(record)
        if record.exc_info:
            fields = {**fields, "traceback": self.formatException(record.exc_info)}
        return self.line(
            record.created, record.levelname.lower(), record.name, record.getMessage(), fields
        )

    def line(self, created: float, level: str, logger: str, event: str, fields: Fields) -> str:
        """Return the line of an event."""
        line = {
            "at": _at(int(created * 1000)),
            "level": level,
            "logger": logger,
            "event": event,
            **fields,
        }
        try:
            return to_json(line, fallback=str).decode()  # a third of the time that `json` takes
        except ValueError:  # text that is no Unicode
            return _ENCODER.encode(line)


class TextFormatter(logging.Formatter):
    """A short line for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return `time level event key=value ...`, then the traceback if any."""
        level, event = record.levelname.lower(), record.getMessage()
        line = self.line(record.created, level, record.name, event, _fields(record))
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line

    def line(self, created: float, level: str, logger: str, event: str, fields: Fields) -> str:  # noqa: ARG002
        """Return `time level event key=value ...`."""
        named = " ".join(f"{key}={value}" for key, value in fields.items())
        return f"{_at(int(created * 1000))[11:23]} {level:7} {event} {named}".rstrip()


def configure(
    *, form: Literal["json", "text"], level: str, stream: IO[str] | None = None
) -> BatchedHandler:
    """Send every log record to `stream` (standard error) in the given form.

    Returns:
        The handler that writes; it is flushed when the interpreter ends.
    """
    handler = BatchedHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    _ROOT.handlers[:] = [handler]
    _ROOT.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, _ROOT.level))
    return handler


def _record(logger: logging.Logger, level: int, name: str, fields: Fields) -> logging.LogRecord:
    # Not `logger.log`: that walks the stack for a file and a line nobody shows.
    record = logging.LogRecord(logger.name, level, "", 0, name, None, None)
    setattr(record, _FIELDS, fields)
    return record


@functools.lru_cache(maxsize=64)
def _at(milliseconds: int) -> str:
    return rfc3339(from_milliseconds(milliseconds))


def _fields(record: logging.LogRecord) -> Fields:
    fields: Fields = getattr(record, _FIELDS, {})
    return fields
