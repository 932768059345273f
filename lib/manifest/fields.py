"""The kinds of value in a manifest, each with its own sentence.

Every kind here checks a value and describes itself in JSON Schema, so that an
editor and the server say the same. Messages complete "`path` ...".
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Strict,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from lib.ids import WORKER_ID_PATTERN
from lib.manifest.data import to_plain

T = TypeVar("T")


class Part(BaseModel):
    """Base of every piece of a manifest: frozen, strict, no unknown key."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


@dataclass(frozen=True)
class Between:
    """A number within a closed range; either end may be open."""

    low: float | None
    high: float | None = None

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Check the range after the type."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the range to the JSON Schema of the type."""
        ends = {"minimum": self.low, "maximum": self.high}
        return {**handler(schema), **{key: end for key, end in ends.items() if end is not None}}

    def _check(self, number: float) -> float:
        below = self.low is not None and number < self.low
        above = self.high is not None and number > self.high
        if below or above:
            raise problem("out_of_range", f"must be {self._range()}")
        return number

    def _range(self) -> str:
        if self.high is None:
            return f"at least {self.low}"
        if self.low is None:
            return f"at most {self.high}"
        return f"between {self.low} and {self.high}"


@dataclass(frozen=True)
class Matching:
    """Text of one form: a regular expression and what it means in words."""

    pattern: str
    meaning: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Check the form after the type."""
        expression = re.compile(self.pattern.removesuffix("$") + r"\Z")

        def check(text: str) -> str:
            if not expression.match(text):
                raise problem("wrong_form", f"must be {self.meaning}")
            return text

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the pattern to the JSON Schema of the type."""
        return {**handler(schema), "pattern": self.pattern}


def problem(code: str, message: str) -> PydanticCustomError:
    """Return an error to raise; `message` completes "`path` ..."."""
    return PydanticCustomError("floom", "{message}", {"code": code, "message": message})


def check(function: Callable[[T], T]) -> AfterValidator:
    """Return an annotation that runs `function` after the type's own checks."""
    return AfterValidator(function)


SECRET_NAME_PATTERN: Final = "^[A-Z][A-Z0-9_]{0,63}$"  # noqa: S105  a form of names
RESERVED_SECRETS: Final = re.compile(
    r"(?:FLOOM_.*|WORKEROS_.*|PATH|HOME|LD_.*|PYTHON.*|NODE_OPTIONS|BASH_ENV|.*_PROXY)\Z"
)
_LONGEST_COMMAND: Final = 4_096
_RESERVED_PATHS: Final = frozenset({"inputs.json", "result.json"})


def _argv(written: Any) -> Any:
    """Split a command as a shell would; nothing is ever expanded."""
    if not isinstance(written, str):
        return written
    if len(written) > _LONGEST_COMMAND:
        raise problem("too_long", f"must have at most {_LONGEST_COMMAND} characters")
    try:
        return shlex.split(written)
    except ValueError as error:
        raise problem("invalid_command", "has a quotation mark that is never closed") from error


def _scalar(value: Any) -> Any:
    if not isinstance(value, (str, int, float)):
        raise problem("not_scalar", "must be text, a number or a boolean")
    return value


def _unreserved_secret(name: str) -> str:
    if RESERVED_SECRETS.match(name):
        raise problem("reserved_secret", f"is {name}, which the runtime sets itself")
    return name


def _folder_path(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or ".." in parts or re.match(r"[A-Za-z]:", path):
        raise problem(
            "path_outside", "must be a relative path inside the worker's folder, with `/`"
        )
    kept = [part for part in parts if part not in {"", "."}]
    if not kept:
        raise problem("path_outside", "must name a file")
    return "/".join(kept)


def _unreserved_path(path: str) -> str:
    if path in _RESERVED_PATHS:
        raise problem("reserved_path", f"is {path}, a file of the runtime's own")
    return path


# Tuples accept YAML's lists; their items stay strict.
Items = Annotated[tuple[T, ...], Strict(strict=False)]
Json = Annotated[Any, BeforeValidator(to_plain)]
JsonMap = Annotated[dict[str, Any], BeforeValidator(to_plain)]
Command = Annotated[
    tuple[str, ...],
    Strict(strict=False),
    BeforeValidator(_argv),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Line = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Prose = Annotated[str, StringConstraints(max_length=10_000)]
Scalar = Annotated[
    Any, AfterValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
Slug = Annotated[str, Matching(WORKER_ID_PATTERN, "a slug: a-z, 0-9, - and _, at most 64")]
Identifier = Annotated[
    str,
    StringConstraints(max_length=64),
    Matching("^[A-Za-z_][A-Za-z0-9_]*$", "letters, digits and _, not starting with a digit"),
]
SecretName = Annotated[
    str,
    Matching(SECRET_NAME_PATTERN, "A-Z, 0-9 and _, starting with a letter, at most 64"),
    check(_unreserved_secret),
]
Semver = Annotated[
    str,
    Matching(
        r"^(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)"
        r"(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$",
        "a semantic version such as 1.2.0",
    ),
    Field(max_length=64),
]
HttpUrl = Annotated[
    str,
    StringConstraints(max_length=2_000),
    Matching(r"^https?://[^\s/?#]+[^\s]*$", "an address that starts with https:// or http://"),
]
Email = Annotated[
    str,
    StringConstraints(max_length=254),
    Matching(r"^[^@\s]+@[^@\s]+\.[^@\s.]+$", "an e-mail address"),
]
FilePath = Annotated[str, StringConstraints(min_length=1, max_length=255), check(_folder_path)]
DataPath = Annotated[FilePath, check(_unreserved_path)]
