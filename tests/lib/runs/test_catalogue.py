"""The catalogue: what git holds, and what it takes to run it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lib.runs import state
from lib.runs.catalogue import WorkerBroken, WorkerDisabled
from lib.storage.records import RunError, WorkerSettings
from lib.storage.stored import Stored
from lib.workspace.worker_source import WorkerNotFound
from lib.workspace.workspace import Put
from tests.lib.runs.world import AUTHOR, World

# Everything that can be wrong, so that each mend uncovers the next status.
ALL_WRONG = """
archived: true
paused: true
connections: [gmail, {app: slack}, {mcp: {label: x, transport: http, url: "https://example.com"}}]
trigger: {type: schedule, cron: "@daily"}
exec:
  secrets: [A_KEY, B_KEY]
  inputs:
    - {name: who, type: string, required: true}
    - {name: fallback, type: string, required: true, default: x}
"""


def mend(world: World, old: str, new: str) -> None:
    path = world.root / "workspace" / "workers" / "plain" / "worker.yml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    world.reload()


def enable(world: World) -> None:
    world.settings.change("plain", lambda _: WorkerSettings(enabled=True))


def store_secrets(world: World) -> None:
    for name in ("A_KEY", "B_KEY"):
        world.secrets.put(name, "value", at=world.clock.now())


def connect(world: World) -> None:
    mend(world, ALL_WRONG.splitlines()[3], "")


def save_input(world: World) -> None:
    world.settings.change("plain", lambda _: WorkerSettings(True, {"who": "Ada"}))


def run_once(world: World, *, fails: bool) -> None:
    run = world.claimed()
    if fails:
        world.settle(run, state.Failed(run.fence, RunError("timeout", "slow")))
    else:
        world.settle(run, state.Completed(run.fence, Stored(2, text="{}")))


def fail_thrice(world: World) -> None:
    for _ in range(3):
        run_once(world, fails=True)


MENDS: list[tuple[str, Callable[[World], None]]] = [
    ("error", lambda world: mend(world, "limits: {memory_mb: lots}\n", "")),
    ("archived", lambda world: mend(world, "archived: true", "archived: false")),
    ("disabled", enable),
    ("paused", lambda world: mend(world, "paused: true", "paused: false")),
    ("missing_secret", store_secrets),
    ("missing_connection", connect),
    ("blocked", save_input),
]


def test_the_first_status_that_holds_is_shown(world: World) -> None:
    world.add_worker(manifest=ALL_WRONG + "limits: {memory_mb: lots}\n")
    world.settings.change("plain", lambda _: WorkerSettings(enabled=False))

    for status, mended in MENDS:
        assert world.catalogue.get("plain").status == status
        mended(world)

    assert world.catalogue.get("plain").status == "ready"
    fail_thrice(world)
    assert world.catalogue.get("plain").status == "needs_attention"
    run_once(world, fails=False)
    assert world.catalogue.get("plain").status == "healthy"


def test_what_is_missing_is_named_once_and_in_order(world: World) -> None:
    world.add_worker(manifest=ALL_WRONG)
    world.secrets.put("A_KEY", "value", at=world.clock.now())
    entry = world.catalogue.get("plain")
    assert entry.missing_secrets == ("B_KEY",)
    assert entry.missing_connections == ("gmail", "slack")
    assert entry.missing_inputs == ("who",)


def test_a_worker_that_no_clock_starts_is_not_blocked(world: World) -> None:
    world.add_worker(manifest="exec: {inputs: [{name: who, type: string, required: true}]}\n")
    entry = world.catalogue.get("plain")
    assert entry.missing_inputs == ("who",)
    assert entry.status == "ready"


@pytest.mark.parametrize("failures", [1, 2])
def test_fewer_than_three_failures_are_healthy(world: World, failures: int) -> None:
    world.add_worker()
    for _ in range(failures):
        run_once(world, fails=True)
    assert world.catalogue.get("plain").status == "healthy"


def test_one_broken_worker_does_not_hide_the_others(world: World) -> None:
    world.write_worker("good")
    world.write_worker("bad", "exec: [1, 2\n")
    world.write_worker("also-good")
    world.reload()
    statuses = {entry.worker.id: entry.status for entry in world.catalogue.list()}
    assert statuses == {"also-good": "ready", "bad": "error", "good": "ready"}
    assert list(statuses) == sorted(statuses)


def test_a_manifest_with_errors_is_broken_even_where_much_of_it_can_be_read(world: World) -> None:
    world.add_worker(manifest="limits: {memory_mb: lots}\n")
    entry = world.catalogue.get("plain")
    assert entry.manifest is not None
    assert entry.is_broken
    with pytest.raises(WorkerBroken):
        world.catalogue.get_runnable("plain")


def test_only_a_paused_worker_still_runs_by_hand(world: World) -> None:
    world.add_worker("paused", "paused: true\n")
    world.add_worker("archived", "archived: true\n")
    world.add_worker("disabled")
    world.settings.change("disabled", lambda _: WorkerSettings(enabled=False))

    assert world.catalogue.get_runnable("paused")[1].paused
    with pytest.raises(WorkerDisabled, match="archived"):
        world.catalogue.get_runnable("archived")
    with pytest.raises(WorkerDisabled, match="enable it"):
        world.catalogue.get_runnable("disabled")
    with pytest.raises(WorkerNotFound):
        world.catalogue.get_runnable("nobody")


def test_a_quarantined_worker_is_disabled_whatever_the_settings_say(world: World) -> None:
    world.add_worker()
    quarantined = Put(".floom/quarantine/plain", b"imported\n")
    world.workspace.commit(lambda _: [quarantined], "Import plain", AUTHOR)
    enable(world)
    entry = world.catalogue.get("plain")
    assert entry.worker.quarantined
    assert entry.status == "disabled"
    with pytest.raises(WorkerDisabled):
        world.catalogue.get_runnable("plain")


def test_figures_come_with_the_entry(world: World) -> None:
    world.add_worker()
    world.add_worker("other")
    run_once(world, fails=True)
    run_once(world, fails=False)
    facts = world.catalogue.get("plain").facts
    assert (facts.runs_7d, facts.finished_7d, facts.succeeded_7d) == (2, 2, 1)
    assert world.catalogue.get("other").facts.last_run is None
