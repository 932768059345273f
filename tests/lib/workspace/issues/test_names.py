from __future__ import annotations

import pytest

from lib.workspace.issues import names
from lib.workspace.issues.errors import NoNumberLeft
from lib.workspace.workspace import Delete, Workspace
from tests.lib.workspace.place import ANNA, put


@pytest.mark.parametrize(
    ("number", "path"),
    [
        (1, ".floom/issues/ISSUE-0001.md"),
        (99, ".floom/issues/ISSUE-0099.md"),
        (100, ".floom/issues/1/ISSUE-0100.md"),
        (199, ".floom/issues/1/ISSUE-0199.md"),
        (1042, ".floom/issues/10/ISSUE-1042.md"),
        (123_456, ".floom/issues/1234/ISSUE-123456.md"),
    ],
)
def test_each_hundred_has_a_folder(number: int, path: str) -> None:
    assert names.document_path(number) == path
    assert names.comments_path(path) == path.replace(".md", ".comments.ndjson")
    assert names.document_number(path.rpartition("/")[2]) == number


@pytest.mark.parametrize(
    "name",
    ["ISSUE-1.md", "ISSUE-00001.md", "ISSUE-0000.md", "issue-0001.md", "ISSUE-0001.MD", "x.md",
     "ISSUE-0001.md~", "ISSUE-1000000000.md", "ISSUE-\u0660\u0660\u0660\u0661.md", "ISSUE-0001.md\n"],
)  # fmt: skip
def test_names_of_another_form_are_nobodys(name: str) -> None:
    assert names.document_number(name) is None
    assert names.number_of(name.removesuffix(".md")) is None or name == "ISSUE-0001.md~"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 1),
        ({"ISSUE-0001.md": b""}, 2),
        ({"ISSUE-0007.md": b"", "ISSUE-0002.md": b""}, 8),
        ({"ISSUE-0001.md": b"", ".next": b"5\n"}, 5),
        ({"ISSUE-0009.md": b"", ".next": b"5\n"}, 10),
        ({"ISSUE-0009.md": b"", ".next": b"nonsense"}, 10),
        ({"ISSUE-0009.md": b"", ".next": b"<<<<<<< a\n12\n=======\n14\n>>>>>>> b\n"}, 14),
        ({"ISSUE-0009.md": b"", ".next": b"9" * 40}, 10),
        ({"1/ISSUE-0142.md": b"", "ISSUE-0003.md": b""}, 143),
        ({"12/ISSUE-1242.md": b"", "9/ISSUE-0999.md": b""}, 1243),
        ({"1/ISSUE-0142.md": b"", "12/notes.txt": b""}, 143),
        ({"1/ISSUE-0142.md": b"", "ISSUE-0500.md": b""}, 501),
        ({"ISSUE-0012.comments.ndjson": b""}, 13),
        ({"ISSUE-0012.md": b"", "ISSUE-999999999999999999.md": b""}, 13),
        ({"ISSUE-0012.md": b"", "10000000/ISSUE-1000000000.md": b""}, 13),
        ({"ISSUE-999999998.md": b""}, 999_999_999),
        ({".next": b"999999999"}, 999_999_999),
    ],
)
def test_no_number_is_given_twice(
    workspace: Workspace, files: dict[str, bytes], expected: int
) -> None:
    if files:
        put(workspace, *((f".floom/issues/{name}", data) for name, data in files.items()))
    assert names.next_number(workspace.view()) == expected


def test_after_the_last_number_there_is_none(workspace: Workspace) -> None:
    put(workspace, (".floom/issues/9999999/ISSUE-999999999.md", b""))
    with pytest.raises(NoNumberLeft, match=r"no issue number above 999999999"):
        names.next_number(workspace.view())
    assert names.number_after(workspace.view()) == 1_000_000_000
    put(workspace, (names.COUNTER, b"1000000000\n"))
    workspace.commit(lambda _: [Delete(".floom/issues/9999999/ISSUE-999999999.md")], "x", ANNA)
    with pytest.raises(NoNumberLeft):  # it was there: its number is not given again
        names.next_number(workspace.view())


def test_numbers_from_one_on_are_found_in_either_place(workspace: Workspace) -> None:
    paths = [
        ".floom/issues/ISSUE-0007.md",
        ".floom/issues/ISSUE-0250.md",
        ".floom/issues/ISSUE-0250.comments.ndjson",
        ".floom/issues/1/ISSUE-0199.md",
        ".floom/issues/2/ISSUE-0201.md",
        ".floom/issues/2/notes.md",
        ".floom/issues/other/ISSUE-0300.md",
    ]
    put(workspace, *((path, b"x") for path in paths))

    def found(first: int) -> list[int]:
        return sorted(names.numbers_from(workspace.view(), first))

    assert found(1) == [7, 199, 201, 250]
    assert found(199) == [199, 201, 250]
    assert found(200) == [201, 250]
    assert found(251) == []
