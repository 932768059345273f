"""Collects what an ended attempt left: its outcome, its artifacts, its last words."""

from __future__ import annotations

import hashlib
import json
import mimetypes
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from lib.clock import Clock
from lib.ids import Ids
from lib.manifest.models import Manifest
from lib.manifest.policies import Approvals
from lib.runs import state
from lib.runs.folder import MissingFile, UnsafePath, WorkFolder
from lib.runs.masks import mask_error
from lib.runs.outcome import Outcome, evaluate
from lib.runs.outputs import FileOutput
from lib.runs.preparation import OUT_FOLDER, AttemptFolder
from lib.runs.result_file import Decision
from lib.sandbox.port import Sandbox
from lib.secrets.mask import Mask
from lib.storage.approval_records import Approval, ApprovalStatus
from lib.storage.content import ContentStore
from lib.storage.records import Artifact, LogLine, RunError, RunRecord
from lib.storage.stored import StoredBytes

MAX_ARTIFACTS: Final = 1_000
MAX_INLINE_ARTIFACTS_BYTES: Final = 64 * 1024  # of an attempt: they are written with its end


class Collection:
    """Turns an ended attempt's folder into the event that ends it.

    Args:
        content: Where artifacts and large values go.
    """

    def __init__(self, *, sandbox: Sandbox, content: ContentStore, clock: Clock, ids: Ids) -> None:
        self._sandbox = sandbox
        self._content = content
        self._clock = clock
        self._ids = ids

    def collect(
        self, run: RunRecord, folder: AttemptFolder, manifest: Manifest, mask: Mask
    ) -> state.Event:
        """Return what the attempt amounts to; its process tree must be gone.

        `mask` hides values in errors, notes and previews. Outputs, proposals and
        artifacts are kept as they are; of a run that proposes all but the artifacts sealed.
        """
        exit_record = self._sandbox.find_exit(folder.path)
        if exit_record is None:
            return state.Interrupted(run.fence, "The run's supervisor was killed.")
        try:
            work = WorkFolder(folder.work)
        except OSError:
            error = RunError("execution_error", "The worker moved or closed its own folder.")
            return state.Failed(run.fence, error)
        with work:
            outcome = evaluate(exit_record, work, manifest, run.phase)
            keeper = _ArtifactKeeper(run, work, self._content, self._ids, self._clock)
            problem = keeper.keep(outcome, limit_bytes=run.policy.limits.output_bytes)
        notes = [mask.text(note) for note in (*outcome.notes, *keeper.notes)]
        if problem and outcome.error is None and not outcome.cancelled:
            outcome = Outcome(error=problem)
        left = state.Left(
            tuple(keeper.kept.values()),
            exit_record.dropped_lines,
            self._lines(notes, after=exit_record.last_seq),
        )
        return self._event(run, outcome, manifest, left, mask)

    def _event(
        self,
        run: RunRecord,
        outcome: Outcome,
        manifest: Manifest,
        left: state.Left,
        mask: Mask,
    ) -> state.Event:
        if outcome.cancelled:
            return state.Cancelled(run.fence, left)
        if outcome.error is not None:
            return state.Failed(run.fence, mask_error(outcome.error, mask), left=left)
        values = _shown_outputs(run, outcome.outputs or {}, left.artifacts)
        decision, policy = outcome.decision, manifest.approvals
        if decision is None or policy is None:
            outputs = self._content.store_json(canonical(values))
            return state.Completed(run.fence, outputs, left)
        outputs = self._content.store_json(canonical(values), sealed=True)  # often the proposal
        payload = values if decision.preview_payload is None else decision.preview_payload
        shown = _shown_decision(decision, payload, mask)
        approval = self._approval(run, manifest, policy, shown, canonical(payload))
        return state.Proposed(run.fence, approval, outputs, left)

    def _approval(
        self,
        run: RunRecord,
        manifest: Manifest,
        policy: Approvals,
        shown: Decision,
        proposal: str,
    ) -> Approval:
        now = self._clock.now()
        return Approval(
            id=self._ids.new("apr"),
            run_id=run.id,
            worker_id=run.worker_id,
            worker_title=manifest.title,
            status=ApprovalStatus.PENDING,
            label=shown.label or policy.label or manifest.title,
            preview=self._content.store_json(json.dumps(shown.preview), sealed=True),
            preview_type=shown.preview_type,
            proposal=self._content.store_json(proposal, sealed=True),
            proposal_sha256=hashlib.sha256(proposal.encode()).hexdigest(),
            required=policy.required_approvals,
            requested_at=now,
            expires_at=now + timedelta(hours=policy.expires_after_hours),
        )

    def _lines(self, notes: Sequence[str], *, after: int) -> tuple[LogLine, ...]:
        now = self._clock.now()
        return tuple(
            LogLine(seq, now, "warning", "system", note)
            for seq, note in enumerate(notes, start=after + 1)
        )


class _ArtifactKeeper:
    """Stores the files that one attempt leaves, each name once."""

    def __init__(
        self, run: RunRecord, work: WorkFolder, content: ContentStore, ids: Ids, clock: Clock
    ) -> None:
        self._run = run
        self._work = work
        self._content = content
        self._ids = ids
        self._now = clock.now()
        self._inline_left = MAX_INLINE_ARTIFACTS_BYTES
        self.kept: dict[str, Artifact] = {}
        self.notes: list[str] = []

    def keep(self, outcome: Outcome, *, limit_bytes: int) -> RunError | None:
        """Store file outputs, named artifacts and all of `out/`; return what is wrong, if any."""
        left = limit_bytes
        try:
            for path, declared in self._candidates(outcome):
                left -= self._keep_one(path, declared, left)
        except _Refusal as refusal:
            self.notes.append(str(refusal))
            return RunError("output_invalid", str(refusal))
        return None

    def _candidates(self, outcome: Outcome) -> Iterator[tuple[str, FileOutput | None]]:
        """Yield each path once, with the output that declares it."""
        declared = {_normal(file.path): file for file in outcome.files}
        paths = [*declared, *(_normal(path) for path in outcome.named_artifacts)]
        try:
            paths += [path for path, _ in self._work.files(OUT_FOLDER)]
        except UnsafePath as error:
            raise _Refusal(f"out/ {error}.") from error
        unique = list(dict.fromkeys(paths))
        names = Counter(_name(path) for path in unique)
        if twice := [name for name, count in names.items() if count > 1]:
            raise _Refusal(f"Two artifacts have the name {twice[0]}; rename one.")
        if len(unique) > MAX_ARTIFACTS:
            raise _Refusal(
                f"The run left {len(unique)} files; at most {MAX_ARTIFACTS} are kept. "
                "Pack them into one."
            )
        for path in unique:
            if any(0xDC80 <= ord(each) <= 0xDCFF for each in path):  # bytes that are no UTF-8
                raise _Refusal("A file in out/ has a name that is not UTF-8; rename it.")
            yield path, declared.get(path)

    def _keep_one(self, path: str, declared: FileOutput | None, left: int) -> int:
        try:
            with self._work.open_file(path) as file:
                size = file.seek(0, 2)
                if size > left:
                    limit = self._run.policy.limits.output_bytes
                    raise _Refusal(
                        f"{path} makes the run's files larger than {limit} bytes "
                        "(limits.output_bytes)."
                    )
                file.seek(0)
                stored = self._content.store_stream(file, room_bytes=self._inline_left)
        except (MissingFile, UnsafePath) as error:
            raise _Refusal(f"Artifact {path} {error}.") from error
        if stored.data is not None:
            self._inline_left -= stored.size
        self._add(path, declared, stored)
        return stored.size

    def _add(self, path: str, declared: FileOutput | None, stored: StoredBytes) -> None:
        name = _name(path)
        media_type = declared.media_type if declared else None
        self.kept[path] = Artifact(
            id=self._ids.new("art"),
            run_id=self._run.id,
            name=name,
            path=path,
            media_type=media_type or _guess(name),
            size=stored.size,
            sha256=stored.sha256,
            created_at=self._now,
            data=stored.data,
        )


class _Refusal(Exception):
    """A file cannot be kept; the message is a sentence."""


def canonical(value: Any) -> str:
    """Return the JSON text of a value, the same for equal values."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _shown_decision(decision: Decision, payload: dict[str, Any], mask: Mask) -> Decision:
    """Return what reviewers see, masked; without a preview they see the proposal."""
    label = None if decision.label is None else mask.text(decision.label)
    if decision.preview is None:
        preview = canonical(mask.json(payload))  # before it is JSON, where values are escaped
        return Decision(label=label, preview=preview, preview_type="json")
    preview = mask.text(decision.preview)
    return Decision(label=label, preview=preview, preview_type=decision.preview_type)


def _shown_outputs(
    run: RunRecord, values: dict[str, Any], artifacts: tuple[Artifact, ...]
) -> dict[str, Any]:
    """Return the outputs as the API shows them: files described, scalars as they are."""
    by_path = {artifact.path: artifact for artifact in artifacts}
    return {
        name: _describe(run, by_path[_normal(value.path)])
        if isinstance(value, FileOutput)
        else value
        for name, value in values.items()
    }


def _describe(run: RunRecord, artifact: Artifact) -> dict[str, Any]:
    return {
        "name": artifact.name,
        "path": artifact.path,
        "media_type": artifact.media_type,
        "size": artifact.size,
        "sha256": artifact.sha256,
        "url": f"/runs/{run.id}/artifacts/{quote(artifact.name)}",
    }


def _name(path: str) -> str:
    """Return the name of an artifact: its path, without `out/`."""
    return path.removeprefix(f"{OUT_FOLDER}/")


def _normal(path: str) -> str:
    return "/".join(part for part in path.split("/") if part != ".")


def _guess(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
