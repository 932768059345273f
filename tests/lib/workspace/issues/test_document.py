"""The file of an issue: what goes in comes out, whoever wrote it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from lib.clock import from_milliseconds
from lib.workspace.issues.document import (
    KEYS,
    MAX_FILE_BYTES,
    BadIssueFile,
    Document,
    _read_ours,
    _read_yaml,
    decode,
    encode,
)

AT = datetime(2026, 1, 1, 9, 30, tzinfo=UTC)
FULL = Document(
    id="ISSUE-0001",
    title="Invoices: totals are off",
    body="First line.\n\n---\n\n- a list",
    status="closed",
    asset_type="worker",
    asset_id="csv-enricher",
    source="run_feedback",
    labels=("billing", "a, b"),
    created_by="anna",
    created_at=AT,
    updated_by="usr_1",
    updated_at=AT,
)
TEXT = """---
id: "ISSUE-0001"
status: closed
title: "Invoices: totals are off"
asset_type: worker
asset_id: csv-enricher
source: run_feedback
labels: ["billing", "a, b"]
created_by: anna
created_at: 2026-01-01T09:30:00.000Z
updated_by: usr_1
updated_at: 2026-01-01T09:30:00.000Z
---

First line.

---

- a list
"""


def decoded(text: str | bytes) -> Document:
    data = text.encode() if isinstance(text, str) else text
    return decode(data, issue_id="ISSUE-0001")


def test_the_file_is_as_it_is_documented() -> None:
    assert encode(FULL).decode() == TEXT.replace('id: "ISSUE-0001"', "id: ISSUE-0001")
    assert decode(encode(FULL), issue_id="ISSUE-0001") == FULL


def test_what_is_not_there_is_left_out() -> None:
    plain = Document(id="ISSUE-0001", title="x")
    assert encode(plain) == b"---\nid: ISSUE-0001\nstatus: open\ntitle: x\n---\n\n\n"
    assert decoded(encode(plain)) == plain


LINE = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp", "Cs"]), min_size=1
)
TITLE = LINE.filter(lambda text: bool(text.strip())).map(lambda text: text[:300])
TIME = st.integers(0, 2**45).map(from_milliseconds)
OPTIONAL = st.none() | LINE
DOCUMENTS = st.builds(
    Document,
    id=st.just("ISSUE-0001"),
    title=TITLE.filter(lambda text: bool(text.strip())),
    body=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"])),
    status=st.sampled_from(["open", "closed"]),
    source=OPTIONAL,
    labels=st.lists(LINE, max_size=4, unique=True).map(tuple),
    created_by=OPTIONAL,
    created_at=st.none() | TIME,
    updated_by=OPTIONAL,
    updated_at=st.none() | TIME,
    extra=st.sampled_from(["", "priority: 1\n", "x:\n  - {a: 1}  # why\n\n", 'y: "z"\n']),
)


@given(document=DOCUMENTS)
def test_any_issue_is_read_back_as_it_was(document: Document) -> None:
    data = encode(document)
    assert decode(data, issue_id="ISSUE-0001") == document
    assert encode(decode(data, issue_id="ISSUE-0001")) == data


@given(document=DOCUMENTS)
def test_the_short_way_and_yaml_mean_the_same(document: Document) -> None:
    head = encode(document).decode().split("---\n")[1]
    if document.extra or "\n---" in head:
        return
    ours = _read_ours(head)
    values, extra = _read_yaml(head)
    assert ours == values
    assert extra == ""


@given(document=DOCUMENTS)
def test_other_readers_of_yaml_read_the_same(document: Document) -> None:
    if document.extra:
        return
    head = encode(document).decode().split("---\n")[1]
    found = yaml.load(head, yaml.BaseLoader)  # noqa: S506  # it makes nothing but text
    assert found["title"] == document.title
    assert tuple(found.get("labels", ())) == document.labels


@given(text=st.text(alphabet="abc: \"'\\[]{},#-\n\t0u\u2028\x85", max_size=60))
def test_no_head_means_two_things(text: str) -> None:
    """What the short way takes at all, YAML takes for the same."""
    head = f"title: {text}\n"
    ours = _read_ours(head)
    if ours is None:
        return
    values, extra = _read_yaml(head)
    assert (values, extra) == (ours, "")


@example(data=b"{}", mark=True)
@given(data=st.binary(max_size=200), mark=st.booleans())
def test_any_bytes_are_an_issue_or_refused(data: bytes, mark: bool) -> None:
    try:
        document = decoded(b"---\n" + data + b"\n---\n" if mark else data)
    except BadIssueFile:
        return
    assert decoded(encode(document)) == document


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("---\ntitle: plain\n---\n", {"title": "plain", "body": ""}),
        ("---\ntitle: plain\n---\nno blank line", {"body": "no blank line"}),
        ("---\ntitle: plain\n---\n\n\nbody\n\n", {"body": "\nbody\n"}),
        ("---\r\ntitle: plain\r\n---\r\n\r\na\r\nb\r\n", {"title": "plain", "body": "a\r\nb\r"}),
        ("\ufeff---\ntitle: plain\n---\n", {"title": "plain"}),
        ("---\ntitle: 2026\n---\n", {"title": "2026"}),
        ("---\ntitle: a\nlabels: one\n---\n", {"labels": ("one",)}),
        ("---\ntitle: a\nlabels:\n  - one\n  - two\n---\n", {"labels": ("one", "two")}),
        ("---\ntitle: >-\n  folded\n  text\n---\n", {"title": "folded text"}),
        ("---\ntitle: a # why\nstatus: closed\n---\n", {"title": "a", "status": "closed"}),
        ("---\ntitle: a\ncreated_at: 2026-01-01\n---\n", {"created_at": datetime(2026, 1, 1, tzinfo=UTC)}),
        ("---\ntitle: a\nstatus: null\nlabels: null\n---\n", {"status": "open", "labels": ()}),
        ("---\ntitle: a\n--- \n", {"title": "a"}),
    ],
)  # fmt: skip
def test_what_people_write_is_understood(text: str, fields: dict[str, Any]) -> None:
    document = decoded(text)
    assert {name: getattr(document, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "front matter"),
        (b"# Title\n\nBody\n", "front matter"),
        (b"---\ntitle: a\n", "front matter"),
        (b"---\n---\n", "title"),
        (b"---\n{}\n---\n", "title"),
        (b"---\n- a\n---\n", "key: value"),
        (b"---\n<<<<<<< HEAD\ntitle: a\n=======\ntitle: b\n>>>>>>> x\n---\n", "cannot be read"),
        (b"---\ntitle: a\ntitle: b\n---\n", "cannot be read in line 3"),
        (b"---\ntitle: [\n---\n", "cannot be read"),
        (b"---\ntitle: \xff\n---\n", "UTF-8"),
        (b"---\nstatus: open\n---\n", "title"),
        (b"---\ntitle: '  '\n---\n", "title"),
        (b"---\ntitle: " + b"x" * 301 + b"\n---\n", "title"),
        (b"---\ntitle: {a: 1}\n---\n", "title"),
        (b'---\ntitle: "a\\nb"\n---\n', "one line"),
        (b'---\ntitle: "\\ud800"\n---\n', "cannot be read"),
        (b"---\ntitle: a\nstatus: done\n---\n", "open or closed"),
        (b"---\ntitle: a\nid: ISSUE-0002\n---\n", "ISSUE-0002"),
        (b"---\ntitle: a\nasset_type: worker\n---\n", "by half"),
        (b"---\ntitle: a\nlabels: {a: 1}\n---\n", "labels"),
        (b"---\ntitle: a\ncreated_at: yesterday\n---\n", "created_at"),
        (b"---\ntitle: a\n{b: 1, c: 2}\n---\n", "cannot be read"),
        (b"---\ntitle: a\n---\n" + b"x" * MAX_FILE_BYTES, "larger than"),
        (b"---\n" + b"x: " + b"[" * 5000 + b"\n---\n", "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_issue_says_why(text: bytes, reason: str) -> None:
    with pytest.raises(BadIssueFile, match=reason):
        decoded(text)


@pytest.mark.parametrize(
    "extra",
    ["priority: high\n", "x: # why\n  y: [1,\n    2]\n", "'odd key': |\n  a\n\n  b\n", "z: 1.50\n"],
)
def test_keys_of_somebody_else_stay_as_they_are(extra: str) -> None:
    text = f"---\n{extra}title: a\n---\n\nBody\n"

    document = decoded(text)

    assert document.extra == extra
    assert encode(document).decode() == (
        f"---\nid: ISSUE-0001\nstatus: open\ntitle: a\n{extra}---\n\nBody\n"
    )


def test_the_keys_have_their_order() -> None:
    assert [line.split(":")[0] for line in TEXT.splitlines()[1:12]] == list(KEYS)
