"""Outputs against their declaration, on real files."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.manifest.values import ValueMismatch
from lib.runs.folder import WorkFolder
from lib.runs.outputs import (
    FileOutput,
    OutputProblem,
    Outputs,
    check_columns,
    check_json_keys,
    read_outputs,
)
from tests.lib.runs.manifests import manifest

SPEC = manifest("""
exec:
  outputs:
    - {name: text, type: string, required: true}
    - {name: note, type: string}
    - {name: many, type: integer, bounds: {minimum: 0}}
    - {name: report, kind: file, path: out/report.csv, media_type: text/csv, max_size_mb: 0.001}
    - {name: needed, kind: file, path: out/needed.txt, required: true}
""")

Read = Callable[..., Outputs]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "needed.txt").write_text("x")

    def run(given: dict[str, Any], *, required: bool = True) -> Outputs:
        with WorkFolder(tmp_path) as work:
            return read_outputs(given, work, SPEC, required=required)

    return run


def test_values_are_coerced_and_files_found(read: Read, tmp_path: Path) -> None:
    (tmp_path / "out" / "report.csv").write_text("a\n")
    outputs = read({"text": "x", "many": "3"})
    report = FileOutput("report", "out/report.csv", "text/csv")
    needed = FileOutput("needed", "out/needed.txt", None)
    assert outputs.problems == ()
    assert outputs.values == {
        "text": "x", "note": None, "many": 3, "report": report, "needed": needed,
    }  # fmt: skip
    assert outputs.files == (report, needed)


def test_all_problems_are_told_with_their_place(read: Read, tmp_path: Path) -> None:
    (tmp_path / "out" / "needed.txt").unlink()
    assert read({"text": "", "many": -1, "report": 7}).problems == (
        OutputProblem("/outputs/text", "is required, but missing or empty"),
        OutputProblem("/outputs/many", "must be at least 0; it is -1"),
        OutputProblem(
            "/outputs/report", "must be the path of a file in the working directory, as text"
        ),
        OutputProblem("/outputs/needed", "is required, but there is no file out/needed.txt"),
    )


def test_what_is_required_may_be_absent_while_proposing(read: Read, tmp_path: Path) -> None:
    (tmp_path / "out" / "needed.txt").unlink()
    outputs = read({}, required=False)
    assert outputs.problems == ()
    assert set(outputs.values.values()) == {None}


def test_an_optional_text_may_be_empty(read: Read) -> None:
    assert read({"text": "x", "note": ""}).values["note"] == ""


def test_an_optional_file_may_be_empty(read: Read, tmp_path: Path) -> None:
    (tmp_path / "out" / "report.csv").write_text("")
    assert read({"text": "x"}).problems == ()


def test_a_required_file_must_hold_something(read: Read, tmp_path: Path) -> None:
    (tmp_path / "out" / "needed.txt").write_text("")
    assert read({"text": "x"}).problems == (OutputProblem("/outputs/needed", "is an empty file"),)


def test_a_file_may_be_at_its_largest_and_no_larger(read: Read, tmp_path: Path) -> None:
    (tmp_path / "out" / "report.csv").write_bytes(b"x" * 1_048)
    assert read({"text": "x"}).problems == ()
    (tmp_path / "out" / "report.csv").write_bytes(b"x" * 1_049)
    assert "larger than 0.001 MiB" in read({"text": "x"}).problems[0].detail


def test_a_file_may_stand_elsewhere_where_the_worker_says_so(read: Read, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("a\n")
    outputs = read({"text": "x", "report": "mine.csv"})
    assert outputs.values["report"] == FileOutput("report", "mine.csv", "text/csv")
    assert "which is not there" in read({"text": "x", "report": "no.csv"}).problems[0].detail


def test_names_that_are_not_declared_are_listed(read: Read) -> None:
    assert read({"text": "x", "b": 1, "a": 2}).undeclared == ("b", "a")


@pytest.mark.parametrize(
    ("columns", "data"),
    [
        (("a", "b"), b"b,a\n1,2\n"),
        (("a",), "\ufeffa\n".encode()),
        (("a b",), b'"a b",c'),
        (("a",), b" a ,b\r\n"),
        (("a",), b"a\rb\r"),
        ((), b""),
    ],
)
def test_a_header_with_its_columns_is_fine(columns: tuple[str, ...], data: bytes) -> None:
    check_columns(columns, io.BytesIO(data))


@pytest.mark.parametrize("data", [b"", b"b\na\n", b"a;b\n", b"A\n", b"\n" + b"a\n"])
def test_a_column_that_is_missing_is_named(data: bytes) -> None:
    with pytest.raises(ValueMismatch, match="has no column a"):
        check_columns(("a",), io.BytesIO(data))


@given(st.binary(max_size=200))
def test_any_bytes_have_the_columns_or_not(data: bytes) -> None:
    try:
        check_columns(("a",), io.BytesIO(data))
    except ValueMismatch as mismatch:
        assert str(mismatch) == "has no column a"  # noqa: PT017 - both ways are fine


@given(st.binary(max_size=60))
def test_any_bytes_have_the_keys_or_not(data: bytes) -> None:
    try:
        check_json_keys(("a",), io.BytesIO(data))
    except ValueMismatch as mismatch:
        assert str(mismatch).startswith(("is not", "has no key"))  # noqa: PT017 - as above


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a": 1, "b": null}', None),
        ('\ufeff{"a": 1, "b": 2}'.encode(), None),
        (b'{"a": 1}', "has no key b"),
        (b"[]", "is not a JSON object"),
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_keys_of_a_json_file(data: bytes, said: str | None) -> None:
    if said is None:
        check_json_keys(("a", "b"), io.BytesIO(data))
        return
    with pytest.raises(ValueMismatch, match=said):
        check_json_keys(("a", "b"), io.BytesIO(data))
