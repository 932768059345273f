"""What a reviewer without an account sees of a proposal, and the forms that come back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from lib.bootstrap import Services
from lib.errors import Invalid
from lib.manifest.inputs import OutputSpec
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
from lib.secrets.mask import Mask
from lib.storage.records import Approval, ReviewLink
from lib.workspace.errors import ObjectNotFound

_SHOWN_OF_FILES = ("name", "media_type", "size")


class ReviewPages:
    """Makes pages and values of proposals. Its methods block."""

    def __init__(self, services: Services) -> None:
        self._runs = services.runs
        self._registry = services.registry
        self._content = services.content
        self._masks = services.masks
        self._approvals = services.approvals
        self._base_url = services.base_url

    def preview_of(self, approval: Approval) -> str:
        """Return what the worker wants to be looked at; masked when it was stored.

        The engine's own preview is the proposal, in which files have addresses
        that are no reviewer's: of that, what `outputs_of` shows.
        """
        if self._is_engines(approval):
            return canonical(self.outputs_of(approval))
        return self._stored_preview(approval)

    def outputs_of(self, approval: Approval) -> dict[str, Any]:
        """Return what is proposed: secrets masked, of files no more than what they are."""
        manifest = self._manifest(approval)
        return {
            name: _file_in_outline(value) if _is_file(manifest, name) else value
            for name, value in self._approvals.proposal_of(approval).items()
        }

    def with_files(self, approval: Approval, edited: Mapping[str, Any]) -> dict[str, Any]:
        """Return an edit whose files are as they were proposed where they were left as shown."""
        shown, proposal = self.outputs_of(approval), self._approvals.verbatim_of(approval)
        manifest = self._manifest(approval)
        return {
            name: proposal[name]
            if _is_file(manifest, name) and name in shown and value == shown[name]
            else value
            for name, value in edited.items()
        }

    def fields_of(self, approval: Approval) -> list[ReviewField]:
        """Return the proposal as the page's fields, in the order of the manifest's outputs."""
        manifest = self._manifest(approval)
        shown, mask = self.outputs_of(approval), self._mask(approval)
        proposal = self._approvals.verbatim_of(approval)
        order = [spec.name for spec in manifest.outputs] if manifest else []
        names = [*(name for name in order if name in shown), *(n for n in shown if n not in order)]
        return [
            _field(
                name,
                shown[name],
                manifest.find_output(name) if manifest else None,
                is_masked=mask.json(proposal.get(name)) != proposal.get(name),
            )
            for name in names
        ]

    def show(
        self,
        token: str,
        approval: Approval,
        link: ReviewLink,
        *,
        answers: Answers = NO_ANSWERS,
        status: int = 200,
    ) -> Page:
        """Return the page of an open review."""
        view = ReviewView(
            label=approval.label,
            requested_at=approval.requested_at,
            expires_at=approval.expires_at,
            preview="" if self._is_engines(approval) else self._stored_preview(approval),
            preview_type=approval.preview_type,
            fields=self.fields_of(approval),
            proposal_sha256=approval.proposal_sha256,
            voter=link.email or "",
            votes=len(approval.counted),
            required=approval.required,
        )
        path = f"{urlsplit(self._base_url).path}/approvals/public/{token}"
        actions = Actions(f"{path}/approve", f"{path}/reject")
        return review(view, actions, answers=answers, status=status)

    def _is_engines(self, approval: Approval) -> bool:
        proposal = canonical(self._approvals.proposal_of(approval))
        return approval.preview_type == "json" and self._stored_preview(approval) == proposal

    def _stored_preview(self, approval: Approval) -> str:
        return str(json.loads(self._content.load_json(approval.preview)))

    def _mask(self, approval: Approval) -> Mask:
        return self._masks.of_run(self._runs.get(approval.run_id))

    def _manifest(self, approval: Approval) -> Manifest | None:
        sha = self._runs.get(approval.run_id).worker_sha
        try:
            return self._registry.worker_at(approval.worker_id, sha).loaded.manifest
        except ObjectNotFound:
            return None


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


def _field(name: str, value: Any, spec: OutputSpec | None, *, is_masked: bool) -> ReviewField:
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


def _is_file(manifest: Manifest | None, name: str) -> bool:
    spec = manifest.find_output(name) if manifest else None
    return spec is not None and spec.is_file


def _file_in_outline(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: value[name] for name in _SHOWN_OF_FILES if name in value}
