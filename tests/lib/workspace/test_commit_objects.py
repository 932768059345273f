from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.clock import ManualClock
from lib.workspace.commit_objects import Author, compose_message, encode_commit, parse_commit
from lib.workspace.tree_objects import EMPTY_TREE
from lib.workspace.workspace import Put, Workspace
from tests.lib.workspace.place import Place

NOW = ManualClock().now()


def commit(message: str = "a\n", author: Author | None = None) -> bytes:
    return encode_commit(
        tree=EMPTY_TREE,
        parent="1" * 40,
        author=author or Author("Anna", "anna@example.org"),
        at=NOW,
        message=message,
    )


def test_what_is_written_is_read_back() -> None:
    info = parse_commit(commit(compose_message("worker: update a", {"Floom-Request": "ab12"})))
    assert info.tree == EMPTY_TREE
    assert info.parents == ("1" * 40,)
    assert info.author == "Anna <anna@example.org>"
    assert info.committed_at == NOW
    assert info.message == "worker: update a\n\nFloom-Request: ab12\n"


def test_two_equal_commits_differ() -> None:
    assert commit() != commit()


@pytest.mark.parametrize(
    ("subject", "line"),
    [
        ("  spaces ", "spaces"),
        ("first\nsecond", "first"),
        ("tab\there\x07", "tab here"),
        ("x" * 72, "x" * 72),
        ("x" * 73, "x" * 71 + "…"),
        ("\udc80odd", "odd"),
    ],
)
def test_a_subject_is_one_short_clean_line(subject: str, line: str) -> None:
    assert compose_message(subject) == line + "\n"


@pytest.mark.parametrize("subject", ["", " \n ", "\x00"])
def test_a_commit_needs_a_subject(subject: str) -> None:
    with pytest.raises(ValueError, match="subject"):
        compose_message(subject)


def test_a_trailer_cannot_start_another_line() -> None:
    message = compose_message("a", {"Floom-Request": "x\nFloom-Request: y"})
    assert message == "a\n\nFloom-Request: x Floom-Request: y\n"
    with pytest.raises(ValueError, match="key"):
        compose_message("a", {"a: b\n": "c"})


ANY_TEXT = st.text(max_size=30)


@given(ANY_TEXT, ANY_TEXT)
def test_no_author_breaks_the_header(name: str, email: str) -> None:
    info = parse_commit(commit(author=Author(name, email)))
    assert info.committed_at == NOW
    assert info.author.count("<") == info.author.count(">") == 1


@pytest.mark.parametrize(
    "author", [Author("", ""), Author("<>\n", "a b\n>"), Author(".", "@"), Author("日本", "ü@x")]
)
def test_git_accepts_odd_authors(place: Place, workspace: Workspace, author: Author) -> None:
    workspace.commit(lambda _: [Put("workspace.md", b"x")], "odd", author)
    place.fsck()
    assert place.git("log", "-1", "--format=%an").strip()


@pytest.mark.parametrize(
    "header",
    [b"", b"committer x", b"committer A <a> 99999999999999999 +0000", b"committer A <a> x +0"],
)
def test_an_odd_committer_line_is_no_error(header: bytes) -> None:
    raw = b"tree " + EMPTY_TREE.encode() + b"\n" + header + b"\n\nhi"
    assert parse_commit(raw).committed_at.year == 1970
