"""`result.json`: any bytes give a result or one of three codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.runs.folder import WorkFolder
from lib.runs.result_file import (
    MAX_RESULT_BYTES,
    ResultFile,
    ResultProblem,
    WorkerError,
    read_result,
)

Read = Callable[[Any], ResultFile | None]


def read_in(folder: Path, value: Any) -> ResultFile | None:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    (folder / "result.json").write_bytes(data)
    with WorkFolder(folder) as work:
        return read_result(work)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    return lambda value: read_in(tmp_path, value)


def problem(read: Read, value: Any) -> tuple[str, str]:
    with pytest.raises(ResultProblem) as caught:
        read(value)
    return caught.value.code, str(caught.value)


def test_no_file_is_no_result(tmp_path: Path) -> None:
    with WorkFolder(tmp_path) as work:
        assert read_result(work) is None


def test_the_least_that_is_valid(read: Read) -> None:
    result = read({"status": "success"})
    assert result is not None
    assert (result.outputs, result.artifacts, result.is_error) == ({}, [], False)
    assert (result.worker_error, result.decision_required) == (None, None)


@pytest.mark.parametrize(
    ("status", "is_error"), [("completed", False), ("error", True), ("failed", True)]
)
def test_words_for_success_and_failure(read: Read, status: str, is_error: bool) -> None:
    result = read({"status": status})
    assert result is not None
    assert result.is_error is is_error


@pytest.mark.parametrize("error", ["words", {"message": "words"}, {"message": "words", "x": 1}])
def test_an_error_is_text_or_an_object(read: Read, error: Any) -> None:
    result = read({"status": "error", "error": error, "error_code": "no_rows"})
    assert result is not None
    assert result.worker_error == WorkerError(message="words")
    assert result.error_code == "no_rows"


def test_a_long_error_text_is_cut(read: Read) -> None:
    result = read({"status": "error", "error": "x" * 20_000})
    assert result is not None
    assert result.worker_error is not None
    assert len(result.worker_error.message) == 10_000


def test_keys_that_are_not_known_are_ignored(read: Read) -> None:
    assert read({"status": "success", "took": 3}) is not None


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([], "/"),
        ({}, "/status"),
        ({"status": "done"}, "/status"),
        ({"status": "SUCCESS"}, "/status"),
        ({"status": "success", "outputs": []}, "/outputs"),
        ({"status": "success", "artifacts": "a"}, "/artifacts"),
        ({"status": "success", "artifacts": [1]}, "/artifacts/0"),
        ({"status": "error", "error": 3}, "/error"),
        ({"status": "error", "error_code": "Not A Code"}, "/error_code"),
        ({"status": "success", "decision_required": True}, "/decision_required"),
        (
            {"status": "success", "decision_required": {"preview_type": "html"}},
            "/decision_required",
        ),
        ({"status": "success", "decision_required": {"preview_payload": []}}, "/decision_required"),
    ],
)
def test_a_wrong_shape_names_its_place(read: Read, value: Any, place: str) -> None:
    code, message = problem(read, value)
    assert code == "invalid_result"
    assert f"wrong shape at {place}" in message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b'{"status": "success", "outputs": {"a": NaN}}',
        b'{"status": "success", "outputs": {"a": Infinity}}',
        b'{"status": "success", "outputs": {"a": "\\ud800"}}',
        b"[" * 100_000,
        b'{"status": "success", "outputs": {"a": ' + b"9" * 5_000 + b"}}",
    ],
)
def test_what_is_not_json_is_said_to_be_that(read: Read, data: bytes) -> None:
    code, message = problem(read, data)
    assert code == "invalid_result"
    assert "not JSON" in message


def test_whole_characters_may_be_escaped(read: Read) -> None:
    result = read(b'{"status": "success", "outputs": {"a": "\\ud83d\\ude00"}}')
    assert result is not None
    assert result.outputs == {"a": "\N{GRINNING FACE}"}


def test_five_mebibytes_are_enough_and_one_byte_more_is_too_large(read: Read) -> None:
    frame = len(json.dumps({"status": "success", "outputs": {"a": ""}}))
    text = "x" * (MAX_RESULT_BYTES - frame)
    assert read({"status": "success", "outputs": {"a": text}}) is not None
    code, message = problem(read, {"status": "success", "outputs": {"a": text + "x"}})
    assert code == "result_too_large"
    assert "5 MiB" in message


def test_a_link_or_a_folder_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text('{"status": "success"}')
    (tmp_path / "result.json").symlink_to("elsewhere")
    with WorkFolder(tmp_path) as work, pytest.raises(ResultProblem):
        read_result(work)
    (tmp_path / "result.json").unlink()
    (tmp_path / "result.json").mkdir()
    with WorkFolder(tmp_path) as work, pytest.raises(ResultProblem):
        read_result(work)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_result_or_a_problem(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    try:
        read_in(tmp_path_factory.mktemp("work"), data)
    except ResultProblem as found:
        assert found.code == "invalid_result"  # noqa: PT017 - both ways are fine
