"""Reads a JSON body: strictly, once, and never past its cap.

What two readers could understand differently is refused: duplicate keys, NaN
and infinities, other encodings, lone surrogates.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Final, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from lib.errors import MalformedRequest, UnsupportedMedia
from lib.web import validation
from lib.web.media import JSON, essence

DEFAULT_CAP_BYTES: Final = 256 * 1024
ABSENT: Final = object()

M = TypeVar("M", bound=BaseModel)


def check_is_json(content_type: str | None) -> None:
    """Check that a body is declared as JSON in UTF-8.

    Raises:
        UnsupportedMedia: it is not.
    """
    kind = essence(content_type)
    if kind != JSON and not (kind.startswith("application/") and kind.endswith("+json")):
        raise UnsupportedMedia("Send the body as JSON, with Content-Type: application/json.")
    parameters = (content_type or "").partition(";")[2].lower().replace('"', "").replace(" ", "")
    if "charset=" in parameters and "charset=utf-8" not in parameters:
        raise UnsupportedMedia("Send the body in UTF-8.")


def parse(raw: bytes) -> Any:
    """Return the JSON value of a body.

    Raises:
        MalformedRequest: it is not one unambiguous JSON text (RFC 8259, I-JSON).
    """
    try:
        text = raw.decode()
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
        if "\\" in text:  # only an escape can bring in half a character
            _check_unicode(value)
    except RecursionError as ex:
        raise MalformedRequest("The JSON is nested too deeply.") from ex
    except UnicodeEncodeError as ex:
        raise MalformedRequest(
            "A text has half of a surrogate pair, such as \\ud800 alone."
        ) from ex
    except UnicodeDecodeError as ex:
        raise MalformedRequest("The body is not valid UTF-8.") from ex
    except ValueError as ex:  # also an integer of more digits than Python converts
        raise MalformedRequest("The body is not valid JSON.") from ex
    return value


def validate(model: type[M], raw: bytes, value: Any) -> M:
    """Return the model of a parsed body; no value is coerced to another type.

    Raises:
        Invalid: the body has another form; a pointer for each finding.
        MalformedRequest: it is nested too deeply.
    """
    try:
        return model.model_validate_json(raw, strict=True)
    except ValidationError as ex:
        if any(detail["type"] == "json_invalid" for detail in ex.errors(include_input=False)):
            raise MalformedRequest("The body is not JSON that can be read.") from ex
        raise validation.invalid_body(ex, value) from ex


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's canonical form, in hex.

    Keys are sorted and white space dropped, so two bodies that mean the same
    have the same digest. No body has the digest of no bytes.
    """
    if value is ABSENT:
        return hashlib.sha256().hexdigest()
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedRequest("The JSON has an object with the same key twice.")
    return found


def _refuse_constant(_name: str) -> NoReturn:
    raise MalformedRequest("NaN and Infinity are not JSON.")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise MalformedRequest("The JSON has a number that is too large.")
    return number


def _check_unicode(value: Any) -> None:
    json.dumps(value, ensure_ascii=False).encode()
