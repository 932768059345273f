"""What a monitor asks again and again, in the text form of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from lib.overview import Overview
from lib.version import VERSION

if TYPE_CHECKING:
    from prometheus_client import Metric

MEDIA_TYPE: Final = "text/plain; version=1.0.0; charset=utf-8"


def exposition(overview: Overview) -> bytes:
    """Return the metrics of one server, UTF-8.

    Counters begin at 0 with the server; those of runs are the workspace's.
    """
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

    totals, bundles, remote = overview.totals, overview.bundles, overview.git_remote
    runs = GaugeMetricFamily("floom_runs", "Runs by status.", labels=["status"])
    for status, count in (
        ("queued", totals.queued),
        ("running", totals.running),
        ("pending_approval", totals.pending_approval),
    ):
        runs.add_metric([status], count)
    found = [
        InfoMetricFamily("floom", "The server.", {"version": VERSION}),
        runs,
        GaugeMetricFamily("floom_runs_24h", "Runs created in 24 hours.", sum(totals.by_hour)),
        GaugeMetricFamily("floom_runs_finished_7d", "Runs ended in 7 days.", totals.finished_7d),
        GaugeMetricFamily("floom_runs_succeeded_7d", "Of these, completed.", totals.succeeded_7d),
        GaugeMetricFamily("floom_workers", "Workers that can run.", overview.active_workers),
        GaugeMetricFamily("floom_attention", "Things to look at.", len(overview.attention)),
    ]
    if remote is not None:
        found += [
            GaugeMetricFamily("floom_git_remote_ahead", "Commits to be pushed.", remote.ahead or 0),
            GaugeMetricFamily("floom_git_remote_failing", "1: it fails.", bool(remote.last_error)),
        ]
    if bundles is not None:
        name = "floom_bundle"
        found += [
            GaugeMetricFamily(f"{name}_failing", "1: it fails.", bool(bundles.last_error)),
            GaugeMetricFamily(f"{name}_restore_bytes", "What a restore reads.", bundles.bytes),
            GaugeMetricFamily(f"{name}_increments", "On the base.", bundles.increments),
            CounterMetricFamily(f"{name}_published", "Bundles published.", bundles.published),
            CounterMetricFamily(
                f"{name}_published_bytes", "Bytes published.", bundles.published_bytes
            ),
            CounterMetricFamily(f"{name}_races_lost", "Races lost.", bundles.lost),
            CounterMetricFamily(f"{name}_in_doubt", "Commits left in doubt.", bundles.in_doubt),
            CounterMetricFamily(f"{name}_folds", "Folds and new bases.", bundles.folds),
        ]
    registry = CollectorRegistry()
    registry.register(_Collected(found))
    return generate_latest(registry)


class _Collected:
    """Metrics that were read already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Return them; the library asks for this."""
        return self._metrics
