"""RunStore: changing a run, with what comes into being."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lib.storage.approval_records import ApprovalStatus
from lib.storage.content import ContentStore
from lib.storage.ports import ApprovalStore, LogStore, RunNotFound, RunStore, StaleFence
from lib.storage.records import LogLine, RunChange, RunEvent, RunRecord, RunStatus
from lib.storage.stored import Stored
from tests.contract.samples import Samples, changed, ending, starting
from tests.contract.stores import Stores
from tests.contract.threads import MANY, together


@pytest.fixture
def run(runs: RunStore, samples: Samples) -> RunRecord:
    runs.create(samples.new())
    return runs.claim(starting(samples.now), now=samples.now, limit=1)[0]


class TestChange:
    def test_the_change_is_stored_and_returned(
        self, runs: RunStore, samples: Samples, run: RunRecord
    ) -> None:
        after = runs.change(run.id, ending(samples.now, outputs=Stored(2, text="{}")))

        assert after.status is RunStatus.COMPLETED
        assert after.outputs == Stored(2, text="{}")
        assert runs.get(run.id) == after
        assert [event.seq for event in runs.list_events(run.id)] == [1, 2, 3]
        assert [event.seq for event in runs.list_events(run.id, after=2)] == [3]

    def test_decide_sees_the_run_as_it_is(self, runs: RunStore, run: RunRecord) -> None:
        seen: list[RunRecord] = []

        def decide(current: RunRecord) -> None:
            seen.append(current)

        assert runs.change(run.id, decide) == run
        assert seen == [run]
        assert runs.get(run.id) == run

    def test_an_error_of_decide_changes_nothing(
        self, runs: RunStore, samples: Samples, run: RunRecord
    ) -> None:
        def decide(current: RunRecord) -> RunChange:
            raise StaleFence(f"{current.id} has another fence.")

        with pytest.raises(StaleFence):
            runs.change(run.id, decide)

        assert runs.get(run.id) == run
        runs.change(run.id, ending(samples.now))

    def test_an_unknown_run_is_not_found(self, runs: RunStore, samples: Samples) -> None:
        with pytest.raises(RunNotFound):
            runs.change(samples.id("run"), ending(samples.now))

    def test_no_change_is_lost_among_many_at_once(
        self, runs: RunStore, samples: Samples, run: RunRecord
    ) -> None:
        together(lambda _: runs.change(run.id, lambda current: changed(current, samples.now)))

        assert runs.get(run.id).event_count == run.event_count + MANY
        seqs = [event.seq for event in runs.list_events(run.id)]
        assert seqs == list(range(1, run.event_count + MANY + 1))

    def test_small_facts_are_stored_without_a_change_of_status(
        self, runs: RunStore, samples: Samples, run: RunRecord
    ) -> None:
        runs.change(
            run.id, lambda current: changed(current, samples.now, cancel_requested_at=samples.now)
        )

        assert runs.get(run.id).cancel_requested_at == samples.now
        assert runs.get(run.id).lease_until == run.lease_until


class TestBelongings:
    def test_artifacts_replace_those_of_the_same_name(
        self, runs: RunStore, samples: Samples, run: RunRecord
    ) -> None:
        old, other = samples.artifact(run.id, "b.txt"), samples.artifact(run.id, "a/c.txt")
        runs.change(run.id, lambda current: RunChange(current, artifacts=(old, other)))
        new = samples.artifact(run.id, "b.txt", "9" * 64)
        runs.change(run.id, lambda current: RunChange(current, artifacts=(new,)))

        assert runs.list_artifacts(run.id) == [other, new]
        assert runs.find_artifact(run.id, "b.txt") == new
        assert runs.find_artifact(run.id, "c.txt") is None
        assert runs.list_artifacts(samples.id("run")) == []

    @pytest.mark.parametrize("data", [b"", bytes(range(256)) * 64])
    def test_the_bytes_of_a_small_artifact_are_kept_with_it_and_name_no_blob(
        self, stores: Stores, samples: Samples, run: RunRecord, data: bytes
    ) -> None:
        content = ContentStore(stores.blobs)
        artifact = samples.artifact(run.id, "a", content.put_bytes(b"elsewhere")[0])
        stores.runs.change(run.id, lambda current: RunChange(current, artifacts=(artifact,)))
        assert stores.references.find_unnamed([artifact.sha256]) == set()
        small = replace(artifact, data=data)
        stores.runs.change(run.id, lambda current: RunChange(current, artifacts=(small,)))

        assert stores.runs.find_artifact(run.id, "a") == small
        assert stores.runs.list_artifacts(run.id) == [artifact]  # without its bytes
        assert stores.references.find_unnamed([artifact.sha256]) == {artifact.sha256}
        stores.runs.change(run.id, lambda current: RunChange(current, artifacts=(artifact,)))
        assert stores.runs.find_artifact(run.id, "a") == artifact
        assert stores.references.find_unnamed([artifact.sha256]) == set()

    def test_an_approval_is_inserted_or_replaced_by_id(
        self, runs: RunStore, approvals: ApprovalStore, samples: Samples, run: RunRecord
    ) -> None:
        first, second = samples.approval(run), samples.approval(run)
        runs.change(run.id, lambda current: RunChange(current, approval=second))
        runs.change(run.id, lambda current: RunChange(current, approval=first))
        decided = replace(first, status=ApprovalStatus.APPROVED, decided_by="usr_1")
        runs.change(run.id, lambda current: RunChange(current, approval=decided))

        assert approvals.list_of_run(run.id) == [decided, second]

    def test_what_comes_with_a_failed_change_is_not_kept(
        self, runs: RunStore, approvals: ApprovalStore, samples: Samples, run: RunRecord
    ) -> None:
        bad = RunEvent(1, samples.now, "status", {})  # this number is taken

        def decide(current: RunRecord) -> RunChange:
            return RunChange(
                current, (bad,), (samples.artifact(run.id, "a"),), samples.approval(current)
            )

        with pytest.raises(Exception, match=r"event 1|UNIQUE"):
            runs.change(run.id, decide)

        assert runs.list_artifacts(run.id) == []
        assert approvals.list_of_run(run.id) == []

    def test_last_lines_of_the_log_come_with_it(
        self, runs: RunStore, logs: LogStore, samples: Samples, run: RunRecord
    ) -> None:
        lines = [
            LogLine(seq, samples.now, "info", "stdout", "x" * 3_000 * (seq % 2))
            for seq in range(1, 5)
        ]
        logs.append(run.id, lines[:2])

        runs.change(run.id, lambda current: RunChange(current, lines=tuple(lines[1:3])))
        runs.change(run.id, lambda current: RunChange(current, lines=tuple(lines[3:])))
        runs.change(run.id, lambda current: RunChange(current, lines=tuple(lines)))

        assert logs.list(run.id, limit=9) == lines

    def test_an_event_keeps_its_data(
        self, runs: RunStore, samples: Samples, run: RunRecord
    ) -> None:
        data = {"a": [1, 2.5, None, True, "ü"], "b": {"c": {}}}
        event = RunEvent(run.event_count + 1, samples.now, "tool_call", data)

        runs.change(run.id, lambda current: RunChange(current, (event,)))

        assert runs.list_events(run.id)[-1] == event
