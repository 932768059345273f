"""Reading a manifest's bytes: places, budgets, and no surprise from YAML."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import pytest

from lib.manifest.data import Map, Seq, to_plain
from lib.manifest.report import Problem, Report
from lib.manifest.source import MAX_SOURCE_BYTES, read_source

MEBIBYTE = 1024 * 1024
# Far above what any of these takes (some milliseconds) and far below what one
# quadratic pass over a mebibyte would.
DEADLINE_SECONDS = 5.0


def read(source: str | bytes) -> tuple[Any, tuple[Problem, ...]]:
    report = Report()
    data = read_source(source.encode() if isinstance(source, str) else source, report)
    return data, report.problems()


def problem_of(source: str | bytes) -> tuple[str, int | None]:
    """Return code and line of the one problem of a source that is not read."""
    data, problems = read(source)
    assert data is None
    (problem,) = problems
    return problem.code, problem.line


def test_every_value_knows_its_pointer_and_line():
    data, _ = read("a: 1\nb:\n  - x\n  - c/d: {e~f: 2}\n")

    assert to_plain(data) == {"a": 1, "b": ["x", {"c/d": {"e~f": 2}}]}
    item = data["b"][1]
    place = item["c/d"].places["e~f"]
    assert (place.pointer, place.line) == ("/b/1/c~1d/e~0f", 4)
    assert data["b"].places[0].pointer == "/b/0"
    assert data.places["b"].line == 2


def test_a_key_that_is_not_written_has_a_place_on_its_parents_line():
    data, _ = read("\n\na:\n  b: 1\n")

    place = data["a"].place_of("c")
    assert (place.pointer, place.path, place.line) == ("/a/c", "a.c", 3)


def test_the_text_of_a_number_is_kept():
    data, _ = read("a: 0042\nb: '0042'\n")

    assert (data["a"], data.places["a"].text) == (42, "0042")
    assert (data["b"], data.places["b"].text) == ("0042", None)


def test_an_alias_is_a_copy_with_places_of_its_own():
    data, _ = read("a: &x {k: [1, 07]}\nb: *x\nc: &n 08\nd: *n\n")

    assert data["b"] == data["a"]
    assert data["b"] is not data["a"]
    assert isinstance(data["b"], Map)
    assert isinstance(data["b"]["k"], Seq)
    assert data["b"]["k"].places[1].pointer == "/b/k/1"
    assert data.places["d"].text == "08"


def test_merge_keys_give_defaults():
    data, problems = read("a: &a {x: 1, y: 1}\nb: {<<: [*a, {y: 2, z: 2}], x: 0}\n")

    assert to_plain(data["b"]) == {"x": 0, "y": 1, "z": 2}
    assert problems == ()


def test_a_merge_of_something_else_is_an_error():
    _, problems = read("a: {<<: text}\n")

    assert [problem.code for problem in problems] == ["invalid_merge"]


def test_a_quoted_merge_key_is_a_key():
    data, _ = read('a: {"<<": text}\n')

    assert to_plain(data) == {"a": {"<<": "text"}}


def test_a_duplicate_key_is_an_error_on_its_line_and_the_first_counts():
    data, (problem,) = read("a: 1\nb: 2\na: 3\n")

    assert data["a"] == 1
    assert (problem.code, problem.line) == ("duplicate_key", 3)
    assert "line 1" in problem.message


def test_ten_megabytes_are_refused_without_being_read():
    """What is no YAML at all is refused for its size, so nobody has parsed it."""
    assert problem_of(b"a: [\n" * (2 * MEBIBYTE)) == ("source_too_large", 1)


def test_the_cap_is_exact():
    at_the_cap = b"a: " + b"x" * (MAX_SOURCE_BYTES - 3)

    assert read(at_the_cap)[0] is not None
    assert problem_of(at_the_cap + b"x") == ("source_too_large", 1)


@pytest.mark.parametrize(
    ("source", "code", "line"),
    [
        ("a: 1\nb: [1\n", "invalid_yaml", 2),
        ("a: 1\n\tb: 1\n", "tab_indentation", 2),
        ("a: *b\n", "unknown_anchor", 1),
        ("a: &a {b: *a}\n", "unknown_anchor", 1),
        ("a: 1\n? [b]\n: 1\n", "invalid_key", 2),
        ("a: 1\n*b : 1\n", "invalid_key", 2),
        ("a: 1\n---\nb: 1\n", "multiple_documents", 2),
        ("a: 1\nb: \x07\n", "control_character", 2),
        (b"a: 1\nb: \xff\n", "invalid_utf8", 2),
        ('a: 1\nb: "\\0"\n', "control_character", 2),
        ('"a\\0": 1\n', "control_character", 1),
        ("", "not_a_mapping", 1),
        ("---\n", "not_a_mapping", 1),
        ("[]", "not_a_mapping", 1),
        ("%TAG !a! x\n" * 21 + "---\na: 1\n", "invalid_yaml", 1),
    ],
)
def test_a_source_that_cannot_be_read_says_where(source: str | bytes, code: str, line: int):
    assert problem_of(source) == (code, line)


def unfolding(levels: int) -> str:
    """Return the billion laughs: each level nine times the one below."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        below = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} [{below}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (unfolding(10), "too_many_values"),
        ("- x\n" * (MEBIBYTE // 4 - 1), "too_many_values"),
        ("[" * (MEBIBYTE - 1), "nested_too_deep"),
        ("{a: " * (MEBIBYTE // 4 - 1), "nested_too_deep"),
        ("- " * (MEBIBYTE // 2 - 1), "nested_too_deep"),
        ("? " * (MEBIBYTE // 2 - 1), "invalid_key"),
        ("&a " * (MEBIBYTE // 3 - 1), "invalid_yaml"),
        ("%TAG !a! x\n" * (MEBIBYTE // 11 - 1), "invalid_yaml"),
        ("---\n" * (MEBIBYTE // 4 - 1), "multiple_documents"),
        ("'" * (MEBIBYTE - 1), "invalid_yaml"),
        ('"\\x41' * (MEBIBYTE // 5 - 1), "invalid_yaml"),
        ("a:" + " " * (MEBIBYTE - 4) + "b", None),
        ("a: >\n" + "  x\n" * (MEBIBYTE // 4 - 2), None),
        ("a: 1\n" + "# x\n" * (MEBIBYTE // 4 - 2), None),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else str(value),
)
def test_no_source_within_the_cap_takes_long(source: str, code: str | None):
    started = perf_counter()
    _, problems = read(source)

    assert perf_counter() - started < DEADLINE_SECONDS
    assert [problem.code for problem in problems] == ([code] if code else [])
