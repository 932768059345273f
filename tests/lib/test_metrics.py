"""The text for Prometheus, read back by its own parser."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from lib.metrics import exposition
from lib.overview import Attention, Overview
from lib.storage.records import RunTotals
from lib.version import VERSION
from lib.workspace.bundle_sync import BundleState
from lib.workspace.remote.remote_sync import RemoteState

OVERVIEW = Overview(
    totals=RunTotals(by_hour=(1,) * 24, queued=2, running=3, finished_7d=5, succeeded_7d=4),
    active_workers=7,
    recent_runs=(),
    scheduled=(),
    attention=(Attention("failing", "x", "/"),),
)


def samples(overview: Overview) -> dict[str, float]:
    families = text_string_to_metric_families(exposition(overview).decode())
    return {
        ",".join([sample.name, *sample.labels.values()]): sample.value
        for family in families
        for sample in family.samples
    }


def test_runs_and_workers_are_counted() -> None:
    assert samples(OVERVIEW) == {
        f"floom_info,{VERSION}": 1,
        "floom_runs,queued": 2,
        "floom_runs,running": 3,
        "floom_runs,pending_approval": 0,
        "floom_runs_24h": 24,
        "floom_runs_finished_7d": 5,
        "floom_runs_succeeded_7d": 4,
        "floom_workers": 7,
        "floom_attention": 1,
    }


def test_what_is_beside_the_disk_is_counted_where_there_is_any() -> None:
    bundles = BundleState(
        "s3://secret-name/x", seq=9, increments=3, bytes=999, published=8, published_bytes=7_000,
        lost=2, in_doubt=1, folds=4, last_error="down",
    )  # fmt: skip
    found = samples(replace(OVERVIEW, bundles=bundles, git_remote=RemoteState("git://x", ahead=3)))
    assert found["floom_bundle_published_total"] == 8
    assert found["floom_bundle_published_bytes_total"] == 7_000
    assert found["floom_bundle_races_lost_total"] == 2
    assert found["floom_bundle_in_doubt_total"] == 1
    assert found["floom_bundle_folds_total"] == 4
    assert found["floom_bundle_restore_bytes"] == 999
    assert found["floom_bundle_failing"] == 1
    assert (found["floom_git_remote_ahead"], found["floom_git_remote_failing"]) == (3, 0)
    assert b"secret-name" not in exposition(replace(OVERVIEW, bundles=bundles))
