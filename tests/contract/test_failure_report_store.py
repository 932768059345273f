"""FailureReportStore, and the runs that bring reports."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lib.storage.ports import FailureReportStore, RunStore
from lib.storage.records import FailureReport, RunChange, RunRecord, RunStatus
from tests.contract.samples import Samples, ending, starting


def failed(runs: RunStore, samples: Samples) -> str:
    """Return a run whose end brought a report."""
    change = samples.new()
    runs.create(change)
    runs.claim(starting(samples.now), now=samples.now, limit=9)

    def end(run: RunRecord) -> RunChange:
        return replace(ending(samples.now, RunStatus.FAILED)(run), reports_failure=True)

    runs.change(change.run.id, end)
    return change.run.id


def test_a_report_comes_with_the_change_that_brings_it(
    runs: RunStore, reports: FailureReportStore, samples: Samples
) -> None:
    assert [*reports.list(limit=9)] == []
    first, second, third = (failed(runs, samples) for _ in range(3))

    assert [*reports.list(limit=2)] == [FailureReport(first), FailureReport(second)]
    assert [*reports.list(limit=2, after=second)] == [FailureReport(third)]


def test_a_change_that_fails_brings_none(
    runs: RunStore, reports: FailureReportStore, samples: Samples
) -> None:
    run_id = failed(runs, samples)
    reports.settle(run_id)

    def refuse(_: RunRecord) -> RunChange:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        runs.change(run_id, refuse)
    assert [*reports.list(limit=9)] == []


def test_the_first_try_is_remembered(
    runs: RunStore, reports: FailureReportStore, samples: Samples
) -> None:
    run_id = failed(runs, samples)
    first = samples.now
    reports.begin(run_id, at=first)
    samples.clock.advance(hours=1)
    reports.begin(run_id, at=samples.now)

    assert [*reports.list(limit=9)] == [FailureReport(run_id, first)]


def test_a_settled_report_is_gone(
    runs: RunStore, reports: FailureReportStore, samples: Samples
) -> None:
    run_id, other = failed(runs, samples), failed(runs, samples)

    reports.settle(run_id)
    reports.settle(run_id)
    reports.begin(run_id, at=samples.now)

    assert [*reports.list(limit=9)] == [FailureReport(other)]


def test_a_report_goes_with_its_run(
    runs: RunStore, reports: FailureReportStore, samples: Samples
) -> None:
    run_id = failed(runs, samples)
    samples.clock.advance(seconds=1)

    runs.delete([run_id], before=samples.now)

    assert [*reports.list(limit=9)] == []
