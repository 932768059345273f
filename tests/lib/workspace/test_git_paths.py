from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.workspace.errors import InvalidPath
from lib.workspace.git_paths import check_path, decode, encode, refusal, shown


@pytest.mark.parametrize(
    "path",
    [
        "", "/etc/passwd", "a//b", "a/", "./a", "a/../b", "..", "a\\b", "a\0b", "a\nb", "a\x7fb",
        ".git/config", "a/.GIT/hooks/x", ".Git", "git~1/x", "GIT~1", ".gitmodules", "a/.gitmodules",
        ".git ", ".git.", ".git::$INDEX_ALLOCATION", ".g\u200cit", "\udc80", "x" * 300,
        "/".join(["abc"] * 400),
    ],
)  # fmt: skip
def test_paths_that_a_tree_may_not_hold_are_refused(path: str) -> None:
    assert refusal(path)
    with pytest.raises(InvalidPath):
        check_path(path)


@pytest.mark.parametrize(
    "path", ["a", "workers/ä/日本語.txt", ".gitignore", "a/.github/x", "a b/c", "git~10", "..a/b.."]
)
def test_ordinary_paths_pass(path: str) -> None:
    assert check_path(path) == path


@given(st.binary(max_size=40))
def test_any_bytes_survive_as_text_and_can_be_shown(raw: bytes) -> None:
    assert encode(decode(raw)) == raw
    shown(decode(raw)).encode()
