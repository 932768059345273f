"""`result.json`: what a worker says of its own run."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Final, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lib.runs.folder import MissingFile, UnsafePath, WorkFolder
from lib.storage.approval_records import PreviewType

MAX_DEPTH: Final = 200  # the serialiser of our answers stops at 255
RESULT_FILE: Final = "result.json"
MAX_RESULT_BYTES: Final = 5 * 1024 * 1024
ERROR_CODE_PATTERN: Final = r"^[a-z][a-z0-9_]{0,63}$"


class ResultProblem(Exception):
    """`result.json` cannot be used; `code` is one of runs.md section 6."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class WorkerError(_Part):
    """An error in the worker's own words."""

    message: str = Field(max_length=10_000)
    detail: str | None = Field(None, max_length=100_000)


class Decision(_Part):
    """A proposal that somebody must decide on."""

    label: str | None = Field(None, max_length=200)
    preview: str | None = None
    preview_type: PreviewType = "text"
    preview_payload: dict[str, Any] | None = None


class ResultFile(_Part):
    """The parsed file; keys that it does not know are ignored."""

    status: Literal["success", "completed", "error", "failed"]
    outputs: dict[str, Any] = {}
    artifacts: Annotated[list[str], Field(max_length=10_000)] = []
    error: str | WorkerError | None = None
    error_code: str | None = Field(None, pattern=ERROR_CODE_PATTERN)
    decision_required: Decision | None = None

    @property
    def is_error(self) -> bool:
        """Whether the worker says that it failed."""
        return self.status in {"error", "failed"}

    @property
    def worker_error(self) -> WorkerError | None:
        """The worker's error as one shape."""
        return (
            WorkerError(message=self.error[:10_000]) if isinstance(self.error, str) else self.error
        )


def read_result(work: WorkFolder) -> ResultFile | None:
    """Return the worker's result, or None where it left none.

    Raises:
        ResultProblem: it is a link, too large, not JSON, or of another shape.
    """
    try:
        with work.open_file(RESULT_FILE) as file:
            data = file.read(MAX_RESULT_BYTES + 1)
    except MissingFile:
        return None
    except UnsafePath as error:
        raise ResultProblem("invalid_result", f"result.json {error}.") from error
    if len(data) > MAX_RESULT_BYTES:
        limit = MAX_RESULT_BYTES // (1024 * 1024)
        raise ResultProblem(
            "result_too_large",
            f"result.json is larger than {limit} MiB; write large values to files in out/.",
        )
    return _parse(data)


def _parse(data: bytes) -> ResultFile:
    try:
        value = json.loads(
            data.decode(), parse_constant=_refuse_constant, parse_float=_finite_float
        )
        _check_depth(value)
        if b"\\u" in data:  # half a surrogate pair is valid JSON, and no text
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ResultProblem("invalid_result", f"result.json is not JSON: {error}.") from error
    try:
        return ResultFile.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = "/".join(str(part) for part in first["loc"])
        raise ResultProblem(
            "invalid_result", f"result.json has a wrong shape at /{place}: {first['msg']}."
        ) from error


def _finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large for a JSON number")
    return number


def _check_depth(value: Any) -> None:
    """Refuse what no reader of our answers could take apart; level by level, not recursive."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [below for each in level for below in _members(each)]
        if not level:
            return
    raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [each for each in value.values() if isinstance(each, dict | list)]
    return [each for each in value if isinstance(each, dict | list)]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
