"""What issues about runs say: masked, bounded, and readable by the workspace."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.runs.issue_texts import FailureIssue, FeedbackIssue
from lib.secrets.mask import NO_MASK, Mask
from lib.storage.records import RunError, RunStatus
from lib.workspace.issues import Issue
from lib.workspace.issues.document import (
    MAX_LABEL_CHARACTERS,
    MAX_TITLE_CHARACTERS,
    Document,
    decode,
    encode,
    is_plain_line,
)
from tests.contract.samples import Samples

MAX_BODY_BYTES = 64 * 1024
SECRET = "s3cr3t-value"
SAMPLES = Samples()
RUN = SAMPLES.run(
    "w" * 64, status=RunStatus.FAILED, error=RunError("timeout", "slow"), finished_at=SAMPLES.now
)
ROW = SAMPLES.feedback(RUN.id, "f" * 55, rating=4)
texts = st.text(max_size=200) | st.sampled_from(["\r\n# a\r\n", "`" * 9, "\u2028", "a\0b", " \n"])
codes = st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True)


def issue_of(document: Document) -> Issue:
    return Issue.of(document, 0)


def check(document: Document) -> None:
    """Judge what goes into git: by the limits of the API, and by reading it back."""
    assert 0 < len(document.title) <= MAX_TITLE_CHARACTERS
    assert is_plain_line(document.title)
    assert document.title == document.title.strip()
    assert len(document.body.encode()) <= MAX_BODY_BYTES
    assert not {*document.body} & {*map(chr, (*range(9), *range(11, 32), *range(127, 160)))}
    assert all(len(label) <= MAX_LABEL_CHARACTERS for label in document.labels)
    assert all(map(is_plain_line, document.labels))
    assert decode(encode(document), issue_id=document.id) == document


def document(issue: FeedbackIssue | FailureIssue) -> Document:
    new = issue.compose()
    assert new.asset is not None
    return Document(
        id="ISSUE-0001", title=new.title, body=new.body, asset_type=new.asset.type,
        asset_id=new.asset.id, source=new.source, labels=new.labels,
    )  # fmt: skip


@given(words=texts, title=st.none() | st.text("ab #`", min_size=1).filter(str.strip))
def test_any_words_make_an_issue_that_is_known_again(words: str, title: str | None) -> None:
    issue = FeedbackIssue(RUN, ROW, words, title, NO_MASK)

    made = document(issue)

    check(made)
    assert issue.is_like(issue_of(made))
    assert issue.is_like(issue_of(replace(made, status="closed", title="other", body="")))
    assert not issue.is_like(issue_of(replace(made, labels=("run-feedback",))))
    assert not issue.is_like(issue_of(replace(made, asset_id=SAMPLES.id("run"))))
    assert not issue.is_like(issue_of(replace(made, source=None)))


@given(message=texts, detail=st.none() | texts, code=codes)
def test_any_error_makes_an_issue_that_is_known_while_it_is_open(
    message: str, detail: str | None, code: str
) -> None:
    issue = FailureIssue(RUN, RunError(code, message, detail), NO_MASK)

    made = document(issue)

    check(made)
    assert issue.is_like(issue_of(made))
    assert not issue.is_like(issue_of(replace(made, status="closed")))
    assert not issue.is_like(issue_of(replace(made, asset_id="other")))
    assert not issue.is_like(issue_of(replace(made, source="run_feedback")))
    other = FailureIssue(RUN, RunError("other_code_9", message), NO_MASK)
    assert other.is_like(issue_of(made)) is (code == "other_code_9")
    assert other.is_of_worker(issue_of(made))


@pytest.mark.parametrize("words", ["\U0001f600" * 10_000, "\n" * 10_000, "a\n" * 5_000])
def test_the_longest_words_fit(words: str) -> None:
    check(document(FeedbackIssue(RUN, ROW, words, "t" * 300, NO_MASK)))


def test_the_longest_error_is_cut() -> None:
    error = RunError("x" * 64, "m" * 10_000, "d" * 100_000)
    made = document(FailureIssue(RUN, error, NO_MASK))

    check(made)
    assert len(made.body) < 12_000


def test_feedback_says_who_said_what_of_which_run() -> None:
    words = "Wrong:\n\n# the total"
    made = FeedbackIssue(RUN, ROW, words, None, NO_MASK).compose()

    assert made.title == f"Feedback on {RUN.worker_id}: Wrong:"
    assert made.body == (
        "> Wrong:\n>\n> # the total\n\n"
        f"- Worker: `{RUN.worker_id}`\n- Run: `{RUN.id}`, failed (`timeout`)\n- Rating: 4 of 5\n"
        "- From: usr_1, 2026-01-15T12:00:00.002Z"
    )


@pytest.mark.parametrize(("rating", "shown"), [(None, "none"), ("up", "up"), (1, "1 of 5")])
def test_a_rating_is_shown(rating: str | int | None, shown: str) -> None:
    row = SAMPLES.feedback(RUN.id, rating=rating)
    assert f"- Rating: {shown}\n" in FeedbackIssue(RUN, row, "x", None, NO_MASK).compose().body


def test_no_secret_gets_into_git() -> None:
    mask = Mask([SECRET])
    error = RunError("execution_error", f"a {SECRET}" + "x" * 1_980 + SECRET, f"b {SECRET}")
    for issue in (
        FeedbackIssue(RUN, ROW, f"It printed {SECRET}", f"{SECRET} leaks", mask),
        FeedbackIssue(RUN, ROW, f"It printed {SECRET}", None, mask),
        FailureIssue(RUN, error, mask),
    ):
        written = encode(document(issue)).decode()
        assert SECRET[:4] not in written
        assert "***" in written


def test_where_nobody_knows_the_secrets_the_run_has_no_say() -> None:
    made = FailureIssue(RUN, RunError("timeout", "words", "more words"), None).compose()

    assert "words" not in made.body
    assert "`timeout`" in made.body


@pytest.mark.parametrize("place", ["message", "detail"])
def test_what_looks_like_a_credential_is_left_out(place: str) -> None:
    """Nobody sees the text of a failure before it is in git, so nobody could be warned."""
    key = "npm_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"
    error = RunError("timeout", "words", "more")
    body = FailureIssue(RUN, replace(error, **{place: f"a {key}"}), NO_MASK).compose().body

    assert key not in body
    assert body.startswith("What the run said is left out")
    assert "npm token" in body


def test_words_cannot_leave_their_block() -> None:
    error = RunError("timeout", "```\n# not a heading\n````")
    body = FailureIssue(RUN, error, NO_MASK).compose().body

    assert body.startswith("`````\n```\n# not a heading\n````\n`````\n")


def test_git_takes_it_for_text() -> None:
    made = document(FeedbackIssue(RUN, ROW, "a\0b\x1b[31m", None, NO_MASK))

    found = subprocess.run(
        ["git", "diff", "--no-index", "--numstat", "/dev/null", "-"],
        input=encode(made), capture_output=True, check=False,
    )  # fmt: skip
    assert found.stdout.split()[0] != b"-"
