"""Issues that are about runs: what they say, and how they are known again.

All text is masked and bounded here: what is in git stays there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from lib.clock import rfc3339
from lib.secrets.mask import Mask
from lib.storage.records import Feedback, Rating, RunError, RunRecord
from lib.workspace.issues import Asset, Issue, NewIssue
from lib.workspace.secret_scan import scan

FEEDBACK_SOURCE: Final = "run_feedback"
FEEDBACK_LABEL: Final = "run-feedback"
FAILURE_SOURCE: Final = "run_failure"
FAILURE_LABEL: Final = "run-failure"

MAX_HEADLINE_CHARACTERS: Final = 80
MAX_MESSAGE_CHARACTERS: Final = 2_000
MAX_DETAIL_CHARACTERS: Final = 8_000
LEFT_OUT: Final = "What the run said is left out: it looks like a live credential ({})."
_MAX_LABEL_CHARACTERS: Final = 64
# Git takes a file with NUL for a binary one, and no reader shows the others.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_BLANKS: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class FeedbackIssue:
    """The issue that is made of feedback.

    Attributes:
        words: What was said, as it was said.
        title: Of the issue; None: one is made of the words.
        mask: Of the run.
    """

    run: RunRecord
    feedback: Feedback
    words: str
    title: str | None
    mask: Mask

    @property
    def label(self) -> str:
        """The label that names the feedback."""
        return f"feedback:{self.feedback.feedback_id}"

    def is_like(self, issue: Issue) -> bool:
        """Return whether an issue is this one."""
        return (
            (issue.source, issue.asset_type, issue.asset_id)
            == (FEEDBACK_SOURCE, "run", self.run.id)
        ) and self.label in issue.labels

    def compose(self) -> NewIssue:
        """Return it."""
        run, feedback = self.run, self.feedback
        words = _clean(self.mask.text(self.words))
        quoted = "\n".join(f"> {line}".rstrip() for line in words.split("\n"))
        facts = _facts(
            Worker=f"`{run.worker_id}`",
            Run=f"`{run.id}`, {_outcome(run)}",
            Rating=_rating(feedback.rating),
            From=f"{_clean(feedback.created_by)}, {rfc3339(feedback.created_at)}",
        )
        title = self.title or f"Feedback on {run.worker_id}: {_headline(words)}"
        return NewIssue(
            title=_BLANKS.sub(" ", self.mask.text(title)).strip(),
            body=f"{quoted}\n\n{facts}",
            labels=(FEEDBACK_LABEL, self.label),
            asset=Asset("run", run.id),
            source=FEEDBACK_SOURCE,
        )


@dataclass(frozen=True, slots=True)
class FailureIssue:
    """The issue of one kind of failure: a worker and an error code.

    Attributes:
        mask: Of the run; None: nobody can tell what must not be shown, so
            nothing is that the run itself said.
    """

    run: RunRecord
    error: RunError
    mask: Mask | None

    @property
    def label(self) -> str:
        """The label that names the error code."""
        return f"error:{self.error.code}"[:_MAX_LABEL_CHARACTERS]

    def is_of_worker(self, issue: Issue) -> bool:
        """Return whether an issue is an open one of any failure of this worker."""
        return issue.status == "open" and (issue.source, issue.asset_type, issue.asset_id) == (
            FAILURE_SOURCE, "worker", self.run.worker_id,
        )  # fmt: skip

    def is_like(self, issue: Issue) -> bool:
        """Return whether an issue is an open one of this kind of failure."""
        return self.is_of_worker(issue) and self.label in issue.labels

    def compose(self) -> NewIssue:
        """Return it."""
        run, code = self.run, self.error.code
        facts = _facts(
            Worker=f"`{run.worker_id}`, version `{run.worker_sha}`",
            Run=f"`{run.id}`, attempt {run.attempt}",
            Error=f"`{code}`",
            Failed=f"at {rfc3339(run.finished_at or run.created_at)}",
        )
        closing = "While this issue is open, further failures of this kind open no other."
        return NewIssue(
            title=f"Runs of {run.worker_id} fail: {code}",
            body=f"{self._said()}{facts}\n\n{closing}",
            labels=(FAILURE_LABEL, self.label),
            asset=Asset("worker", run.worker_id),
            source=FAILURE_SOURCE,
        )

    def _said(self) -> str:
        """Return what the run said, in blocks; nothing where that must not get into git."""
        if self.mask is None:
            return ""
        said = [(self.error.message, MAX_MESSAGE_CHARACTERS)]
        if self.error.detail:
            said.append((self.error.detail, MAX_DETAIL_CHARACTERS))
        texts = [_cut(_clean(self.mask.text(text)), most) for text, most in said]
        # Nobody reads it before it is committed, so nobody could be warned.
        kinds = {found.kind for text in texts for found in scan("", text.encode())}
        if kinds:
            return f"{LEFT_OUT.format(', '.join(sorted(kinds)))}\n\n"
        return "".join(f"{_fenced(text)}\n\n" for text in texts)


def _facts(**facts: str) -> str:
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def _outcome(run: RunRecord) -> str:
    return f"{run.status.value} (`{run.error.code}`)" if run.error else run.status.value


def _rating(rating: Rating | None) -> str:
    if rating is None:
        return "none"
    return f"{rating} of 5" if isinstance(rating, int) else rating


def _headline(words: str) -> str:
    """Return the first line that says something, cut to one of a list."""
    lines = (_BLANKS.sub(" ", line).strip() for line in words.split("\n"))
    return _cut(next(filter(None, lines), "no words"), MAX_HEADLINE_CHARACTERS)


def _clean(text: str) -> str:
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n").replace("\r", "\n"))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _fenced(text: str) -> str:
    """Return a block of code, whatever the text holds."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
