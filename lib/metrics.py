"""What a monitor asks again and again, in the text form of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lib.overview import Overview
from lib.version import VERSION

if TYPE_CHECKING:
    from prometheus_client import Metric

MEDIA_TYPE: Final = "text/plain; version=1.0.0; charset=utf-8"


@dataclass(frozen=True, slots=True)
class _Value:
    """One number. Counters begin at 0 with the server."""

    name: str
    help: str
    number: float
    is_counter: bool = False


def exposition(overview: Overview) -> bytes:
    """Return the metrics of one server, UTF-8."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

    totals = overview.totals
    runs = GaugeMetricFamily("floom_runs", "Runs by status.", labels=["status"])
    runs.add_metric(["queued"], totals.queued)
    runs.add_metric(["running"], totals.running)
    runs.add_metric(["pending_approval"], totals.pending_approval)
    found = [InfoMetricFamily("floom", "The server.", {"version": VERSION}), runs]
    for each in (*_of_workspace(overview), *_of_remote(overview), *_of_bundles(overview)):
        family = CounterMetricFamily if each.is_counter else GaugeMetricFamily
        found.append(family(f"floom_{each.name}", each.help, each.number))
    registry = CollectorRegistry()
    registry.register(_Collected(found))
    return generate_latest(registry)


def _of_workspace(overview: Overview) -> Iterator[_Value]:
    totals = overview.totals
    yield _Value("runs_24h", "Runs created in 24 hours.", sum(totals.by_hour))
    yield _Value("runs_finished_7d", "Runs ended in 7 days.", totals.finished_7d)
    yield _Value("runs_succeeded_7d", "Of these, completed.", totals.succeeded_7d)
    yield _Value("workers", "Workers that can run.", overview.active_workers)
    yield _Value("attention", "Things to look at.", len(overview.attention))


def _of_remote(overview: Overview) -> Iterator[_Value]:
    remote = overview.git_remote
    if remote is not None:
        yield _Value("git_remote_ahead", "Commits to be pushed.", remote.ahead or 0)
        yield _Value("git_remote_failing", "1: it fails.", bool(remote.last_error))


def _of_bundles(overview: Overview) -> Iterator[_Value]:
    state = overview.bundles
    if state is None:
        return
    yield _Value("bundle_failing", "1: it fails.", bool(state.last_error))
    yield _Value("bundle_restore_bytes", "What a restore reads.", state.bytes)
    yield _Value("bundle_increments", "On the base.", state.increments)
    for name, help_text, number in (
        ("published", "Bundles published.", state.published),
        ("published_bytes", "Bytes published.", state.published_bytes),
        ("races_lost", "Races lost.", state.lost),
        ("in_doubt", "Commits left in doubt.", state.in_doubt),
        ("folds", "Folds and new bases.", state.folds),
    ):
        yield _Value(f"bundle_{name}", help_text, number, is_counter=True)


class _Collected:
    """Metrics that were read already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Return them; the library asks for this."""
        return self._metrics
