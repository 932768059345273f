from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from lib.workspace.issues.comments import Comment, append, decode, encode

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]))
COMMENTS = st.builds(
    Comment, id=TEXT, body=TEXT, created_by=TEXT, created_at=st.just(datetime(2026, 1, 1, tzinfo=UTC))
)  # fmt: skip


@given(comments=st.lists(COMMENTS, max_size=5))
def test_comments_are_read_back_in_order(comments: list[Comment]) -> None:
    data = b""
    for comment in comments:
        data = append(data, comment)
    assert decode(data) == tuple(comments)
    assert data.count(b"\n") == len(comments)


@given(before=st.binary(max_size=80), comment=COMMENTS)
def test_an_appended_comment_leaves_all_before_it(before: bytes, comment: Comment) -> None:
    data = append(before, comment)
    assert data.startswith(before)
    assert decode(data)[-1] == comment


def test_bad_lines_are_left_out() -> None:
    good = Comment("cmt_1", "a", "anna", datetime(2026, 1, 1, tzinfo=UTC))
    bad = [
        b"<<<<<<< HEAD", b"[]", b"{}", b'{"id": 1, "body": "", "created_by": "", "created_at": ""}',
        b'{"id": "x", "body": "\\ud800", "created_by": "", "created_at": "2026-01-01"}', b"\xff",
        b"[" * 100_000, encode(good)[:-9],
        encode(good).replace(b"2026-01-01T00:00:00.000Z", b"0001-01-01T00:00:00+01:00"),
    ]  # fmt: skip
    assert b"0001-01" in bad[-1]
    assert decode(b"\n".join([*bad, encode(good), b"", *bad])) == (good,)
