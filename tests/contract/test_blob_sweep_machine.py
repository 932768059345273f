"""Whatever happens in whatever order: no blob that is named is lost, no other one stays.

What is named is read from the records themselves, never from what the stores
keep about blobs. A crash is a call to a store that is the last one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lib.runs.blob_sweep import BlobSweep
from lib.runs.retention import Retention
from lib.storage.content import ContentStore
from lib.storage.ports import UploadNotFound
from lib.storage.records import (
    RunChange,
    RunQuery,
    RunRecord,
    RunStatus,
    StoredAnswer,
    Upload,
)
from tests.contract.fused import Fuse, Killed
from tests.contract.samples import Samples, ending, starting
from tests.contract.stores import open_stores

DAYS = 30
TEXTS = ['"' + letter * 20_000 + '"' for letter in "abcd"]  # few, so that they are shared
KEYS = "kl"
HOURS = [0.5, 0.99, 1.01, 23, 25, 24 * DAYS - 1, 24 * DAYS + 1]
texts = st.sampled_from(TEXTS)
fuses = st.one_of(st.none(), st.integers(0, 40)).map(Fuse)


class Machine(RuleBasedStateMachine):
    """Everything that puts, names, releases and sweeps blobs, in any order."""

    backend: ClassVar[str]

    @initialize()
    def open(self) -> None:
        self.exit = ExitStack()
        self.samples = Samples()
        self.stores = self.exit.enter_context(open_stores(self.backend, self.samples.clock))
        self.upload_ids: list[str] = []

    @rule(text=texts)
    def put_and_die(self, text: str) -> None:
        self._content().store_json(text)

    @rule(text=texts, answer=texts, key=st.sampled_from(KEYS), fuse=fuses)
    def start(self, text: str, answer: str, key: str, fuse: Fuse) -> None:
        """Start a run with large inputs, and a large answer under an idempotency key."""
        content = self._content(fuse)
        with suppress(Killed):
            claim = self.samples.claim(key)
            claim = replace(claim, answer=StoredAnswer(202, content.store_json(answer)))
            change = self.samples.new(inputs=content.store_json(text))
            self.stores.runs.create(change, claim=claim)

    @rule(text=texts, minutes=st.integers(0, 59))
    def start_slowly(self, text: str, minutes: int) -> None:
        """Take as long as the grace, with a sweep in between."""
        inputs = self._content().store_json(text)
        self.samples.clock.advance(minutes=minutes)
        self._retention().sweep()
        self.stores.runs.create(self.samples.new(inputs=inputs))

    @rule(text=texts, fuse=fuses)
    def send_upload(self, text: str, fuse: Fuse) -> None:
        upload = self.samples.upload(sha256=hashlib.sha256(text.encode()).hexdigest())
        self.upload_ids.append(upload.id)
        with suppress(Killed):
            fuse.protect(self.stores.uploads).create(upload)
            self._content(fuse).put_bytes(text.encode())
            self.stores.uploads.mark_received(upload.id, at=self.samples.now)

    @precondition(lambda self: self.upload_ids)
    @rule(data=st.data(), is_swept=st.booleans(), ends=st.lists(st.booleans(), max_size=2))
    def use_upload(self, data: st.DataObject, is_swept: bool, ends: list[bool]) -> None:
        """Start runs with an upload that was there a moment ago; some end at once."""
        upload_id = data.draw(st.sampled_from(self.upload_ids))
        if is_swept:
            self._retention().sweep()
        for is_ended in ends:
            change = self.samples.new(uploads=(upload_id,))
            with suppress(UploadNotFound):
                self.stores.runs.create(change)
                if is_ended:
                    end = ending(self.samples.now, RunStatus.CANCELLED)
                    self._change(change.run, end(change.run))

    @rule(text=texts, outputs=texts, fuse=fuses)
    def execute(self, text: str, outputs: str, fuse: Fuse) -> None:
        """Claim a run, keep what it left, record it."""
        now, content = self.samples.now, self._content(fuse)
        for run in self.stores.runs.claim(starting(now), now=now, limit=1):
            with suppress(Killed):
                artifact = self.samples.artifact(run.id, "a", content.put_bytes(b"file")[0])
                approval = self.samples.approval(run, proposal=content.store_json(text))
                end = ending(now, outputs=content.store_json(outputs))
                change = replace(end(run), artifacts=(artifact,), approval=approval)
                self._change(run, change)

    @rule(text=texts, answer=texts, key=st.sampled_from(KEYS), fuse=fuses)
    def say_something(self, text: str, answer: str, key: str, fuse: Fuse) -> None:
        """Leave long feedback on a run, and a large answer under an idempotency key."""
        content = self._content(fuse)
        for run in self._runs()[:1]:
            with suppress(Killed):
                claim = replace(
                    self.samples.claim(key), answer=StoredAnswer(201, content.store_json(answer))
                )
                row = self.samples.feedback(run.id, content=content.store_json(text))
                self.stores.feedback.add(row, now=self.samples.now, claim=claim)

    @rule()
    def end_what_was_interrupted(self) -> None:
        for run in self._runs():
            if run.status is RunStatus.RUNNING:
                self._change(run, ending(self.samples.now, RunStatus.FAILED)(run))

    @rule()
    def replace_outputs(self) -> None:
        for run in self._runs():
            self._change(run, RunChange(replace(run, outputs=None)))

    @rule(hours=st.sampled_from(HOURS))
    def wait(self, hours: float) -> None:
        self.samples.clock.advance(hours=hours)

    @rule(limit=st.sampled_from([1, 2, 1_000]), fuse=fuses)
    def sweep_blobs(self, limit: int, fuse: Fuse) -> None:
        with suppress(Killed):
            self._sweep(fuse).sweep(limit=limit)

    @rule(fuse=fuses)
    def sweep_all(self, fuse: Fuse) -> None:
        with suppress(Killed):
            self._retention(fuse).sweep()

    @rule(text=texts, step=st.integers(1, 60))
    def start_in_the_middle_of_a_sweep(self, text: str, step: int) -> None:
        steps = iter(range(step))

        def somebody(_: str) -> None:
            if next(steps, None) == step - 1:
                inputs = self._content().store_json(text)
                self.stores.runs.create(self.samples.new(inputs=inputs))

        self._retention(Fuse(between=somebody)).sweep()

    @invariant()
    def nothing_that_is_named_is_lost(self) -> None:
        received = {each.sha256 for each in self._uploads() if each.received_at}
        named = {*self._named_by_runs(), *self._named_by_answers(), *received}
        assert named <= {*self._content().list()}

    @invariant()
    def uploads_of_runs_are_there(self) -> None:
        known = {upload.id for upload in self._uploads()}
        assert {upload_id for run in self._runs() for upload_id in run.uploads} <= known

    def teardown(self) -> None:
        """Let the grace pass: then everything that is left is named."""
        if not hasattr(self, "stores"):
            return
        try:
            self.samples.clock.advance(hours=1, milliseconds=1)
            self._retention().sweep()  # ends the round that it finds
            self._retention().sweep()  # a whole one
            self._check_that_all_is_named()
        finally:
            self.exit.close()

    def _check_that_all_is_named(self) -> None:
        uploads = [*self._uploads()]
        named = {*self._named_by_runs(), *self._named_by_answers()}
        assert {*self._content().list()} <= named | {upload.sha256 for upload in uploads}
        used = {upload_id for run in self._runs() for upload_id in run.uploads}
        unused = [upload for upload in uploads if upload.id not in used]
        assert all(upload.used_at is None for upload in unused)
        assert all(upload.expires_at > self.samples.now for upload in unused)

    def _runs(self) -> list[RunRecord]:
        page = self.stores.runs.list(RunQuery(), limit=1_000)
        return [self.stores.runs.get(run.id) for run in page.rows]

    def _uploads(self) -> Iterator[Upload]:
        for upload_id in self.upload_ids:
            with suppress(UploadNotFound):
                yield self.stores.uploads.get(upload_id)

    def _named_by_runs(self) -> Iterator[str]:
        for run in self._runs():
            approvals = self.stores.approvals.list_of_run(run.id)
            values = [run.inputs, run.outputs, *(each.proposal for each in approvals)]
            yield from (value.sha256 for value in values if value and value.sha256)
            yield from (each.sha256 for each in self.stores.runs.list_artifacts(run.id))
            said = self.stores.feedback.list(run.id, limit=1_000).rows
            yield from (each.content.sha256 for each in said if each.content.sha256)

    def _named_by_answers(self) -> Iterator[str]:
        for key in KEYS:
            answer = self.stores.runs.find_answer(key, "d", now=self.samples.now)
            if answer and answer.body.sha256:
                yield answer.body.sha256

    def _change(self, run: RunRecord, change: RunChange) -> None:
        self.stores.runs.change(run.id, lambda _: change)

    def _content(self, fuse: Fuse | None = None) -> ContentStore:
        return ContentStore((fuse or Fuse()).protect(self.stores.blobs))

    def _sweep(self, fuse: Fuse) -> BlobSweep:
        return BlobSweep(
            content=self._content(fuse),
            references=fuse.protect(self.stores.references),
            clock=self.samples.clock,
        )

    def _retention(self, fuse: Fuse | None = None) -> Retention:
        fuse = fuse or Fuse()
        return Retention(
            store=fuse.protect(self.stores.runs),
            claims=fuse.protect(self.stores.claims),
            accounts=fuse.protect(self.stores.accounts),
            logs=fuse.protect(self.stores.logs),
            uploads=fuse.protect(self.stores.uploads),
            audit=self.stores.audit,
            rates=self.stores.rates,
            blobs=self._sweep(fuse),
            clock=self.samples.clock,
            days=DAYS,
            reclaim=lambda: None,
        )


EXAMPLES = {"memory": 150, "disk": 20}  # a durable write takes its time


def test_no_order_of_things_loses_or_leaks_a_blob(backend: str) -> None:
    machine = type("MachineOn", (Machine,), {"backend": backend})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=EXAMPLES[backend], stateful_step_count=40, deadline=None),
    )
