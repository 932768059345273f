"""What a reviewer without an account sees of a proposal, and the forms that come back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from lib.bootstrap import Services
from lib.errors import Invalid
from lib.manifest.models import Manifest
from lib.pages.page import Page
from lib.pages.refused import refused
from lib.pages.review import Actions, review
from lib.pages.review_view import NO_ANSWERS, Answers, Choice, ReviewField, ReviewView
from lib.pages.reviewed import reviewed
from lib.runs.approvals.ballots import Outcome
from lib.runs.approvals.edits import name_in
from lib.runs.approvals.errors import ReviewNotFound
from lib.runs.collection import canonical
from lib.storage.approval_records import Approval, ReviewLink
from lib.storage.records import RunRecord
from lib.workspace.errors import ObjectNotFound

_SHOWN_OF_FILES = ("name", "media_type", "size")


@dataclass(frozen=True)
class Proposal:
    """What a reviewer looks at, read once for a request.

    Attributes:
        approval: Whose it is.
        manifest: That proposed; None where it cannot be read any more.
        verbatim: What is executed; for comparing, never for showing.
        masked: The same with secrets hidden.
        stored_preview: What the worker wants to be looked at; masked when it was stored.
    """

    approval: Approval
    manifest: Manifest | None
    verbatim: dict[str, Any]
    masked: dict[str, Any]
    stored_preview: str

    @property
    def outputs(self) -> dict[str, Any]:
        """What is shown of it: of files no more than what they are."""
        return {
            name: _file_in_outline(value) if self._is_file(name) else value
            for name, value in self.masked.items()
        }

    @property
    def preview(self) -> str:
        """What the worker wants to be looked at.

        The engine's own preview is the proposal, in which files have addresses
        that are no reviewer's: of that, what `outputs` shows.
        """
        return canonical(self.outputs) if self.is_previewed_by_us else self.stored_preview

    @property
    def is_previewed_by_us(self) -> bool:
        """Whether the preview says no more than the proposal."""
        is_json = self.approval.preview_type == "json"
        return is_json and self.stored_preview == canonical(self.masked)

    @property
    def fields(self) -> list[ReviewField]:
        """The page's fields, in the order of the manifest's outputs."""
        shown = self.outputs
        declared = [spec.name for spec in self.manifest.outputs] if self.manifest else []
        names = dict.fromkeys([*(name for name in declared if name in shown), *shown])
        return [self._field(name, shown[name]) for name in names]

    def with_files(self, edited: Mapping[str, Any]) -> dict[str, Any]:
        """Return an edit whose files are as they were proposed where they were left as shown."""
        shown = self.outputs
        return {
            name: self.verbatim[name]
            if self._is_file(name) and name in shown and value == shown[name]
            else value
            for name, value in edited.items()
        }

    def _field(self, name: str, value: Any) -> ReviewField:
        spec = self.manifest.find_output(name) if self.manifest else None
        is_masked = self.masked.get(name) != self.verbatim.get(name)
        if spec is None:
            return ReviewField(name, "json", value, is_masked=is_masked)
        return ReviewField(
            name,
            spec.type,
            value.get("name", "") if spec.is_file and isinstance(value, dict) else value,
            label=spec.title,
            help=spec.description or "",
            choices=[Choice(each.value, each.label) for each in spec.options],
            is_file=spec.is_file,
            is_masked=is_masked,
        )

    def _is_file(self, name: str) -> bool:
        spec = self.manifest.find_output(name) if self.manifest else None
        return spec is not None and spec.is_file


class Proposals:
    """Reads proposals; blocks."""

    def __init__(self, services: Services) -> None:
        self._runs = services.runs
        self._registry = services.registry
        self._content = services.content
        self._masks = services.masks
        self._approvals = services.approvals

    def read(self, approval: Approval) -> Proposal:
        """Return what an approval is about. Raises SecretUnreadable."""
        run = self._runs.get(approval.run_id)
        verbatim = self._approvals.verbatim_of(approval)
        return Proposal(
            approval=approval,
            manifest=self._manifest_of(run),
            verbatim=verbatim,
            masked=self._masks.of_run(run).json(verbatim),
            stored_preview=str(json.loads(self._content.load_json(approval.preview))),
        )

    def _manifest_of(self, run: RunRecord) -> Manifest | None:
        try:
            return self._registry.loaded_at(run.worker_id, run.worker_sha).manifest
        except ObjectNotFound:
            return None


def actions_of(base_url: str, token: str) -> Actions:
    """Return where the page's forms go, also below a path of a proxy's."""
    path = f"{urlsplit(base_url).path}/approvals/public/{token}"
    return Actions(f"{path}/approve", f"{path}/reject")


def page_of(
    proposal: Proposal,
    link: ReviewLink,
    actions: Actions,
    *,
    answers: Answers = NO_ANSWERS,
    status: int = 200,
) -> Page:
    """Return the page of an open review."""
    approval = proposal.approval
    view = ReviewView(
        label=approval.label,
        requested_at=approval.requested_at,
        expires_at=approval.expires_at,
        preview="" if proposal.is_previewed_by_us else proposal.stored_preview,
        preview_type=approval.preview_type,
        fields=proposal.fields,
        proposal_sha256=approval.proposal_sha256,
        voter=link.email or "",
        votes=len(approval.counted),
        required=approval.required,
    )
    return review(view, actions, answers=answers, status=status)


def gone(error: ReviewNotFound) -> Page:
    """Return the page of a link that leads to no open review."""
    return refused("There is nothing to review", error.detail, 404)


def recorded(approval: Approval, outcome: Outcome) -> Page:
    """Return the page after a vote."""
    if outcome.status == "pending":
        votes = {"votes": outcome.given, "required": outcome.required}
        return reviewed(approval.label, "counted", **votes)
    return reviewed(approval.label, outcome.status)


def with_problems(answers: Answers, error: Invalid) -> Answers:
    """Return answers with what the worker's outputs do not take, beside its fields."""
    problems = {
        name: f"It {each.detail}."
        for each in error.errors
        if (name := name_in(each.pointer)) is not None
    }
    notice = "" if problems else error.detail
    return replace(answers, problems={**answers.problems, **problems}, notice=notice)


def _file_in_outline(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: value[name] for name in _SHOWN_OF_FILES if name in value}
