"""The overview: counters, what is due, what needs somebody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from lib.overview import MAX_PER_SCHEDULE, MAX_SCHEDULED, RECENT_RUNS
from lib.runs import state
from lib.storage.records import RunError, RunRecord, SandboxReport, WorkerSettings
from lib.storage.stored import Stored
from tests.lib.runs.samples import approval
from tests.lib.runs.world import World, open_world

WHOLE = SandboxReport(*["held"] * 5)
HOURLY = 'trigger: {type: schedule, cron: "30 * * * *"}\n'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as world:
        yield world


def complete(world: World, run: RunRecord) -> None:
    world.settle(run, state.Completed(run.fence, Stored(2, text="{}")))


def fail(world: World, run: RunRecord) -> None:
    world.settle(run, state.Failed(run.fence, RunError("timeout", "slow")))


def test_an_empty_workspace_has_nothing_to_say(world: World) -> None:
    world.sandbox.holds = WHOLE
    overview = world.overview().read()
    assert overview.totals.by_hour == (0,) * 24
    assert (overview.active_workers, overview.recent_runs, overview.attention) == (0, (), ())
    assert (overview.scheduled, overview.next_fire_at) == ((), None)


def test_figures_are_those_of_the_runs(world: World) -> None:
    world.add_worker()
    world.add_worker("gated", "approvals: {required: true}\n")
    complete(world, world.claimed())
    world.clock.advance(hours=2)
    fail(world, world.claimed())
    world.claimed()
    world.start()
    proposing = world.claimed("gated")
    asked = approval(proposing, world.clock.now())
    world.settle(proposing, state.Proposed(proposing.fence, asked, Stored(2, text="{}")))

    totals = world.overview().read().totals
    assert (totals.running, totals.queued, totals.pending_approval) == (1, 1, 1)
    assert (totals.succeeded_7d, totals.finished_7d) == (1, 2)
    assert totals.by_hour[-3:] == (1, 0, 4)


def test_the_newest_runs_come_first(world: World) -> None:
    world.add_worker()
    runs = [world.start() for _ in range(RECENT_RUNS + 3)]
    recent = world.overview().read().recent_runs
    assert [run.id for run in recent] == [run.id for run in reversed(runs)][:RECENT_RUNS]


def test_slots_of_the_next_day_are_listed_in_order(world: World) -> None:
    world.add_worker("b-hourly", HOURLY)
    world.add_worker(
        "a-daily", 'trigger: {type: schedule, cron: "30 5 * * *", timezone: Asia/Tokyo}\n'
    )
    now = world.clock.now()
    overview = world.overview().read()
    assert len(overview.scheduled) == 25
    assert overview.next_fire_at == now + timedelta(minutes=30)
    times = [slot.fires_at for slot in overview.scheduled]
    assert times == sorted(times)
    assert all(now < at < now + timedelta(hours=24) for at in times)
    (daily,) = (slot for slot in overview.scheduled if slot.worker_id == "a-daily")
    assert daily.fires_at == now + timedelta(hours=20, minutes=30)
    assert (daily.title, daily.cron, daily.timezone) == ("A-Daily", "30 5 * * *", "Asia/Tokyo")


def test_a_slot_in_exactly_a_day_is_tomorrow_s(world: World) -> None:
    world.add_worker("plain", 'trigger: {type: schedule, cron: "0 0 * * *"}\n')
    assert world.overview().read().scheduled == ()


def test_a_busy_schedule_hides_no_other(world: World) -> None:
    world.add_worker("plain", 'trigger: {type: schedule, cron: "* * * * *"}\n')
    world.add_worker("late", 'trigger: {type: schedule, cron: "0 23 * * *"}\n')
    scheduled = world.overview().read().scheduled
    assert [slot.worker_id for slot in scheduled] == ["plain"] * MAX_PER_SCHEDULE + ["late"]


def test_many_schedules_share_the_room(world: World) -> None:
    for number in range(MAX_SCHEDULED // 10):
        world.write_worker(f"busy-{number}", 'trigger: {type: schedule, cron: "* * * * *"}\n')
    world.write_worker("late", 'trigger: {type: schedule, cron: "0 23 * * *"}\n')
    world.reload()
    scheduled = world.overview().read().scheduled
    assert len(scheduled) == MAX_SCHEDULED
    counts = Counter(slot.worker_id for slot in scheduled)
    assert counts.pop("late") == 1
    assert set(counts.values()) == {9, 10}
    times = [slot.fires_at for slot in scheduled]
    assert times == sorted(times)


def test_the_next_slot_of_every_schedule_is_shown(world: World) -> None:
    crons = [f"{{type: schedule, cron: '{n % 60} {n // 60 + 1} * * *'}}" for n in range(20)]
    for number in range(MAX_SCHEDULED // 20 + 1):
        world.write_worker(f"w{number}", f"triggers: [{', '.join(crons)}]\n")
    world.reload()
    scheduled = world.overview().read().scheduled
    assert len(scheduled) == (MAX_SCHEDULED // 20 + 1) * 20
    assert len({slot.worker_id for slot in scheduled}) == MAX_SCHEDULED // 20 + 1


@pytest.mark.parametrize(
    "manifest", ["paused: true\n", "archived: true\n", "exec: {secrets: [KEY]}\n"]
)
def test_a_worker_that_does_not_fire_has_no_slots(world: World, manifest: str) -> None:
    world.add_worker("plain", HOURLY + manifest)
    assert world.overview().read().next_fire_at is None


NEEDS = [
    ("limits: {memory_mb: lots}\n", "manifest_error", "plain does not load: "),
    ("exec: {secrets: [A_KEY, B_KEY]}\n", "missing_secret", "plain needs secrets: A_KEY, B_KEY."),
    ("connections: [gmail]\n", "missing_connection", "plain needs connections: gmail."),
    (
        HOURLY + "exec: {inputs: [{name: who, type: string, required: true}]}\n",
        "blocked",
        "plain is scheduled but lacks inputs: who.",
    ),
]


@pytest.mark.parametrize(("manifest", "kind", "message"), NEEDS)
def test_what_a_worker_needs_is_said(world: World, manifest: str, kind: str, message: str) -> None:
    world.add_worker("plain", manifest)
    world.add_worker("fine")
    world.sandbox.holds = WHOLE
    overview = world.overview().read()
    (attention,) = overview.attention
    assert attention.kind == kind
    assert attention.message.startswith(message)
    assert (attention.worker_id, attention.action_url) == ("plain", "/workers/plain")
    assert overview.active_workers == 1


def test_a_failing_and_a_disabled_worker_are_named(world: World) -> None:
    world.add_worker("failing")
    world.add_worker("off")
    world.settings.change("off", lambda _: WorkerSettings(enabled=False))
    for _ in range(4):
        fail(world, world.claimed("failing"))
    world.sandbox.holds = WHOLE
    overview = world.overview().read()
    assert [(each.kind, each.message) for each in overview.attention] == [
        ("failing", "The last 4 runs of failing failed."),
        ("disabled", "off is disabled."),
    ]
    assert overview.active_workers == 1


def test_an_archived_or_paused_worker_needs_nobody(world: World) -> None:
    world.add_worker("archived", "archived: true\n")
    world.add_worker("paused", "paused: true\n")
    world.sandbox.holds = WHOLE
    assert world.overview().read().attention == ()


def test_isolation_that_is_not_whole_comes_first(world: World) -> None:
    world.add_worker("plain", "connections: [gmail]\n")
    world.sandbox.holds = SandboxReport(limits="rlimits", files="landlock")
    first, _ = world.overview().read().attention
    assert first.kind == "sandbox_degraded"
    assert first.message == "Runs are not isolated in: network, processes, privileges."
    assert first.worker_id is None


def test_isolation_that_is_required_and_not_whole_stops_every_run(world: World) -> None:
    world.sandbox.holds = SandboxReport(limits="rlimits", files="landlock")
    world.sandbox.mode = "require"
    (only,) = world.overview().read().attention
    assert only.message.startswith("No run starts: FLOOM_SANDBOX=require")
    assert only.action_url == "/system/sandbox"
