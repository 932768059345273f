"""One attempt on one thread: prepare, start, watch, record, clear away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import pytest

from lib.runs import state
from lib.runs.attempt import Attempt
from lib.sandbox.port import SandboxUnavailable, Signal
from lib.storage.memory import MemoryLogStore, MemoryRunStore
from lib.storage.ports import StoreUnavailable
from lib.storage.records import LogLine, RunChange, RunRecord, RunStatus
from tests.lib.runs.fake_sandbox import DEADLINE_SECONDS, GOOD, FakeRun, complete, leave_log, stay
from tests.lib.runs.world import OWNER, PYTHON, World, execute

RETRY = "retry: {max_attempts: 2, delay_seconds: 0, on: [interrupted, execution_error]}\n"


def error_of(run: RunRecord) -> tuple[str, str]:
    assert run.error is not None
    return run.error.code, run.error.message


def in_background(attempt: Attempt) -> threading.Thread:
    thread = threading.Thread(target=execute, args=(attempt,))
    thread.start()
    return thread


def test_a_run_that_goes_well_is_completed_and_leaves_no_folder(world: World) -> None:
    world.add_worker(manifest="exec: {outputs: [{name: text, type: string, required: true}]}\n")
    world.sandbox.script = lambda run: run.finish({"status": "success", "outputs": {"text": "hi"}})
    run = world.executed()
    assert run.status is RunStatus.COMPLETED
    assert world.outputs_of(run) == {"text": "hi"}
    assert not world.folder(run).path.exists()
    assert world.signals.heard == [run.id]


def test_the_sandbox_gets_the_command_the_limits_and_the_next_line_number(world: World) -> None:
    world.add_worker(manifest="limits: {timeout_seconds: 7}\n" + RETRY)

    def fail(run: FakeRun) -> None:
        run.log("one", "two")
        run.finish(exit_code=1)

    world.sandbox.script = fail
    run = world.executed()
    assert run.status is RunStatus.QUEUED
    run = world.claim(run)
    world.sandbox.script = lambda run: run.finish(GOOD)
    world.execute(run)

    first, second = world.sandbox.launches
    assert first.command == (str(PYTHON), "run.py")
    assert first.limits.timeout_seconds == 7
    assert (first.fence, first.first_seq) == (1, 1)
    assert (second.fence, second.first_seq) == (2, 3)
    assert first.folder != second.folder
    assert (first.environment["FLOOM_ATTEMPT"], second.environment["FLOOM_ATTEMPT"]) == ("1", "2")


def test_the_run_keeps_to_the_policy_of_its_start_not_to_a_later_manifest(world: World) -> None:
    world.add_worker(manifest="limits: {timeout_seconds: 7}\n", run_py="first")
    run = world.claimed()
    world.add_worker(manifest="limits: {timeout_seconds: 9}\n", run_py="second")
    seen = []

    def script(live: FakeRun) -> None:
        seen.append((live.work / "run.py").read_text())
        live.finish(GOOD)

    world.sandbox.script = script
    world.execute(run)
    assert seen == ["first"]
    assert world.sandbox.launches[0].limits.timeout_seconds == 7


def test_a_run_without_a_process_takes_no_note(world: World) -> None:
    world.add_worker()
    with pytest.raises(state.RunStateConflict, match="no process yet"):
        world.attempt(world.claimed()).note("info", "x")


def test_the_runs_token_is_in_nothing_that_is_kept(world: World) -> None:
    world.add_worker()

    def tell(run: FakeRun) -> None:
        token = run.launch.environment["FLOOM_RUN_TOKEN"]
        run.log(f"mine is {token}")
        run.finish({"status": "error", "error": f"no luck with {token}"})

    world.sandbox.script = tell
    run = world.executed()

    assert [line.message for line in world.logs.tail(run.id, limit=9)] == ["mine is ***"]
    assert error_of(run)[1] == "no luck with ***"
    names = world.sandbox.launches[0].secret_names
    assert {"FLOOM_RUN_TOKEN", "WORKEROS_RUN_TOKEN"} <= set(names)


def test_only_declared_secrets_reach_the_process_and_only_by_its_environment(
    world: World,
) -> None:
    world.add_worker(manifest="exec: {secrets: [API_KEY]}\n")
    for name in ("API_KEY", "OTHER_KEY"):
        world.secrets.put(name, f"value of {name}", at=world.clock.now())
    files: list[bytes] = []

    def script(live: FakeRun) -> None:
        files.extend(path.read_bytes() for path in live.launch.folder.rglob("*") if path.is_file())
        live.finish(GOOD)

    world.sandbox.script = script
    world.executed()
    environment = world.sandbox.launches[0].environment
    assert environment["API_KEY"] == "value of API_KEY"
    assert "OTHER_KEY" not in environment
    assert files
    assert not any(b"value of" in data for data in files)


def test_log_lines_are_carried_while_the_run_runs(world: World) -> None:
    world.add_worker()
    world.sandbox.script = stay
    run = world.claimed()
    thread = in_background(world.attempt(run))
    live = world.sandbox.next_start()

    live.log("one")
    world.signals.until(lambda: world.logs.last_seq(run.id) == 1)
    assert world.status(run) is RunStatus.RUNNING
    live.say(Signal.LOG)  # nothing new: nobody is woken
    live.log("two", first_seq=2)
    world.signals.until(lambda: world.logs.last_seq(run.id) == 2)
    live.finish(GOOD)
    thread.join(DEADLINE_SECONDS)

    assert [line.message for line in world.logs.tail(run.id, limit=9)] == ["one", "two"]
    assert world.signals.heard == [run.id] * 3
    assert live.closed.is_set()


def test_the_last_lines_come_along_even_without_a_word_of_them(world: World) -> None:
    world.add_worker()

    def script(run: FakeRun) -> None:
        leave_log(run.launch.folder, "one")
        leave_log(run.launch.folder, "two", first_seq=2, stream="stderr")
        run.finish(GOOD)

    world.sandbox.script = script
    run = world.executed()
    lines = world.logs.tail(run.id, limit=9)
    assert [(line.message, line.level) for line in lines] == [
        ("one", "info"),
        ("two", "warning"),
    ]


def test_the_last_lines_and_the_outcome_are_one_change(world: World) -> None:
    class Sharp(MemoryLogStore):
        def append(self, run_id: str, lines: Sequence[LogLine]) -> None:
            statuses.append(world.status(run))
            super().append(run_id, lines)

    def script(live: FakeRun) -> None:
        leave_log(live.launch.folder, "one", "two")
        live.finish({"status": "success", "outputs": {"x": 1}}, last_seq=2)

    statuses: list[RunStatus] = []
    world.use_logs(Sharp())
    world.sandbox.script = script
    world.add_worker()
    run = world.claimed()
    world.execute(run)
    assert statuses == [RunStatus.RUNNING]  # one append, by the change that ends the run
    assert [line.message for line in world.logs.tail(run.id, limit=9)] == [
        "one",
        "two",
        "Output x is not declared in worker.yml and was dropped.",
    ]


def started_and_cancelled(world: World) -> tuple[RunRecord, FakeRun]:
    run = world.claimed()
    attempt = world.attempt(run)
    thread = in_background(attempt)
    live = world.sandbox.next_start()
    attempt.cancel()
    thread.join(DEADLINE_SECONDS)
    return run, live


def test_a_cancel_ends_the_process_and_the_run(world: World) -> None:
    world.add_worker()
    world.sandbox.script = stay
    run, live = started_and_cancelled(world)
    assert live.cancelled.is_set()
    assert world.status(run) is RunStatus.CANCELLED


def test_a_cancel_before_the_process_exists_ends_it_as_soon_as_it_does(world: World) -> None:
    world.add_worker()
    world.sandbox.script = stay
    run = world.claimed()
    attempt = world.attempt(run)
    attempt.cancel()
    attempt.execute()
    assert world.sandbox.next_start().cancelled.is_set()
    assert world.status(run) is RunStatus.CANCELLED


def test_an_abandoned_attempt_records_nothing_and_ends_its_process(world: World) -> None:
    world.add_worker()
    world.sandbox.script = stay
    run = world.claimed()
    attempt = world.attempt(run)
    thread = in_background(attempt)
    live = world.sandbox.next_start()
    leave_log(live.launch.folder, "one")
    attempt.abandon()
    thread.join(DEADLINE_SECONDS)
    assert live.cancelled.is_set()
    assert world.runs.get(run.id) == run
    assert world.logs.last_seq(run.id) == 0  # the number may be another attempt's by now
    assert not world.folder(run).path.exists()


def test_an_attempt_that_ended_by_itself_just_before_it_was_abandoned_counts(
    world: World,
) -> None:
    world.add_worker()
    run = world.claimed()
    attempt = world.attempt(run)
    attempt.abandon()  # the sandbox's script ends the run before it hears of this
    attempt.execute()
    assert world.status(run) is RunStatus.COMPLETED


def test_a_late_executor_cannot_overwrite(world: World) -> None:
    world.add_worker(manifest=RETRY)
    world.sandbox.script = stay
    run = world.claimed()
    thread = in_background(world.attempt(run))
    live = world.sandbox.next_start()
    interrupted = world.settle(run, state.Interrupted(run.fence, "lease lost"))
    again = world.claim(interrupted, "srv_other")

    leave_log(live.launch.folder, "one")
    live.finish(GOOD)
    thread.join(DEADLINE_SECONDS)

    assert world.runs.get(run.id) == again
    assert world.logs.last_seq(run.id) == 0
    assert again.lease_owner == "srv_other"
    assert not world.folder(run).path.exists()


def test_a_run_that_was_settled_meanwhile_stays_as_it_is(world: World) -> None:
    world.add_worker()
    world.sandbox.script = stay
    run = world.claimed()
    thread = in_background(world.attempt(run))
    live = world.sandbox.next_start()
    ended = world.settle(run, state.Interrupted(run.fence, "gone"))
    live.finish(GOOD)
    thread.join(DEADLINE_SECONDS)
    assert world.runs.get(run.id) == ended


def test_a_supervisor_that_was_killed_interrupts_the_run(world: World) -> None:
    world.add_worker()
    world.sandbox.script = lambda run: run.say(Signal.ENDED)
    assert error_of(world.executed()) == ("interrupted", "The run's supervisor was killed.")


def test_a_launch_that_was_lost_with_all_that_had_it_is_sent_once_more(world: World) -> None:
    """As when the zygote is killed with a connection that no supervisor has got yet."""
    world.add_worker()
    world.sandbox.takes_runs = False

    def be_killed(run: FakeRun) -> None:
        world.sandbox.takes_runs, world.sandbox.script = True, complete
        run.say(Signal.ENDED)

    world.sandbox.script = be_killed
    run = world.executed()
    assert (run.status, run.attempt) == (RunStatus.COMPLETED, 1)
    first, second = world.sandbox.launches
    assert first == second


def test_a_launch_that_is_lost_again_interrupts_the_run(world: World) -> None:
    world.add_worker()
    world.sandbox.takes_runs = False
    world.sandbox.script = lambda run: run.say(Signal.ENDED)
    assert error_of(world.executed()) == ("interrupted", "The run's supervisor was killed.")
    assert len(world.sandbox.launches) == 2


def test_a_run_that_no_supervisor_takes_can_be_cancelled(world: World) -> None:
    world.add_worker()
    world.sandbox.script = stay
    world.sandbox.takes_runs = False
    run, live = started_and_cancelled(world)
    assert world.status(run) is RunStatus.CANCELLED
    assert live.closed.is_set(), "so that nobody takes it later"


def test_a_sandbox_that_cannot_isolate_fails_the_run_with_its_reason(world: World) -> None:
    world.add_worker()
    world.sandbox.refusal = SandboxUnavailable("Not on this host.")
    run = world.executed()
    assert error_of(run) == ("sandbox_unavailable", "Not on this host.")
    assert not world.folder(run).path.exists()


def test_a_defect_of_ours_fails_the_run_without_its_words(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.add_worker()
    world.sandbox.refusal = ZeroDivisionError("the password is hunter2")
    with caplog.at_level(logging.ERROR):
        run = world.executed()
    code, message = error_of(run)
    assert code == "internal_error"
    assert "hunter2" not in message
    assert "attempt_failed" in caplog.text
    assert not world.folder(run).path.exists()


class AbsentStore(MemoryRunStore):
    """Cannot take the next changes."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals = 0

    def change(self, run_id: str, decide: Callable[[RunRecord], RunChange | None]) -> RunRecord:
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailable("The store is away.")
        return super().change(run_id, decide)


def test_a_store_that_is_down_for_a_moment_still_gets_the_outcome(world: World) -> None:
    world.runs = store = AbsentStore()
    world.record_seconds = 60
    world.add_worker()
    run = world.claimed()
    store.refusals = 1
    world.execute(run)
    assert world.status(run) is RunStatus.COMPLETED
    assert not world.folder(run).path.exists()


def test_a_store_that_stays_down_leaves_the_folder_to_a_restarted_server(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.runs = store = AbsentStore()
    world.add_worker()

    def script(live: FakeRun) -> None:
        (live.work / "out" / "a.txt").write_text("x")
        live.finish(GOOD)

    world.sandbox.script = script
    run = world.claimed()
    store.refusals = 1
    with caplog.at_level(logging.ERROR):
        world.execute(run)
    assert "outcome_not_recorded" in caplog.text
    assert world.runs.get(run.id) == run

    world.recovery().recover_own(OWNER, adopt=world.adopt)
    assert world.status(run) is RunStatus.COMPLETED
    assert [each.name for each in world.runs.list_artifacts(run.id)] == ["a.txt"]


@pytest.mark.parametrize(
    ("manifest", "files", "expected"),
    [
        ("exec: {runtime: node, entry: run.js}\n", {"run_js": ""}, "runtime_missing"),
        ("exec: {mode: agent}\n", {"SKILL_md": "# Skill\n"}, "agent_not_supported"),
        ("contexts: [{name: lore}]\n", {}, "execution_error"),
        ("tags: [a]\n", {"requirements_txt": "-r /etc/passwd\n"}, "install_failed"),
    ],
)
def test_what_this_server_cannot_execute_fails_by_name(
    world: World, manifest: str, files: dict[str, str], expected: str
) -> None:
    world.add_worker(manifest=manifest, **files)
    code, message = error_of(world.executed())
    assert code == expected
    assert message.startswith("The run could not be prepared: ")
    assert world.sandbox.launches == []
