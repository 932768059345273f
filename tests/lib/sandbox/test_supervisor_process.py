"""Supervisors that serve one run after another: which do, and that a run finds nothing of others."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lib.manifest.policies import Limits
from lib.runs.preparation import remove_tree
from lib.sandbox import process_tree
from lib.sandbox.port import Signal
from lib.sandbox.supervisor_process import MAX_RUNS
from lib.sandbox.wire import CONTROL_SOCKET, STARTED_FILE
from tests.lib.sandbox.attacks.successors import LEAVES_ALL_IT_CAN, LOOKS_ROUND
from tests.lib.sandbox.conftest import (
    Ended,
    Runner,
    only_root_sees_descriptors,
    open_runner,
    wait_until,
)

DEADLINE_SECONDS = 30


@pytest.fixture
def confined(tmp_path: Path) -> Iterator[Runner]:
    with open_runner(tmp_path, "best_effort") as runner:
        if not runner.sandbox.inspect().is_whole:
            pytest.skip("this host does not confine whole")
        yield runner


def supervisors(runner: Runner) -> list[int]:
    zygote = runner.sandbox._zygote
    assert zygote is not None
    return process_tree.children(zygote._process.pid)


def next_by(runner: Runner, supervisor: int, script: str) -> Ended:
    """Run a script until that supervisor has had it."""
    for _ in range(10):
        ended = runner(script)
        if runner.supervisor(ended.folder) == supervisor:
            return ended
    raise AssertionError("that supervisor served no other run")


def test_supervisors_take_turns_and_none_serves_more_than_its_share(own_runner: Runner) -> None:
    served: Counter[int] = Counter()
    for _ in range(20 * MAX_RUNS):  # 130 would do; a busy machine may have more of them
        served[own_runner.supervisor(own_runner("pass").folder)] += 1
        if sum(count == MAX_RUNS for count in served.values()) == 2:
            break
    for _ in range(10):
        served[own_runner.supervisor(own_runner("pass").folder)] += 1
    assert max(served.values()) == MAX_RUNS
    assert len(served) < MAX_RUNS


def test_a_supervisor_that_had_a_lasting_secret_serves_no_other_run(own_runner: Runner) -> None:
    folder = own_runner("pass", has_lasting_secrets=True).folder
    wait_until(lambda: own_runner.supervisor(folder) not in supervisors(own_runner))


@pytest.mark.parametrize("command", [("/no/such/program",), None], ids=["no program", "cancelled"])
def test_a_supervisor_whose_run_was_ended_serves_no_other(
    own_runner: Runner, command: tuple[str, ...] | None
) -> None:
    live, folder = own_runner.start("import time; time.sleep(60)", command=command)
    if command is None:
        assert live.wait(DEADLINE_SECONDS) is Signal.STARTED
        live.cancel()
    own_runner.finish(live, folder)
    wait_until(lambda: own_runner.supervisor(folder) not in supervisors(own_runner))


@only_root_sees_descriptors
@pytest.mark.parametrize("worker_is_killed", [False, True], ids=["left alone", "worker killed"])
def test_a_supervisor_holds_no_more_after_many_runs_than_after_one(
    own_runner: Runner, worker_is_killed: bool
) -> None:
    """Nor where each time the worker that waits is killed, and another takes its place."""
    supervisor = own_runner.supervisor(own_runner("print('x')").folder)

    def held() -> int:
        with contextlib.suppress(FileNotFoundError):
            return len(list(Path(f"/proc/{supervisor}/fd").iterdir()))
        return -1

    counts = []
    for _ in range(20):
        wait_until(lambda: waits(supervisor))
        if worker_is_killed:
            (init,) = process_tree.children(supervisor)
            (worker,) = process_tree.children(init)
            os.kill(worker, signal.SIGKILL)
            wait_until(lambda: has_no_worker(supervisor))
        assert next_by(own_runner, supervisor, "print('x')").text == "x"
        wait_until(lambda: waits(supervisor))
        counts.append(held())
    assert max(counts) - min(counts) < 10  # it may be about to close those of an order


@only_root_sees_descriptors
def test_a_zygote_holds_no_more_after_many_runs_than_after_one(own_runner: Runner) -> None:
    own_runner("pass")
    zygote = own_runner.sandbox._zygote
    assert zygote is not None
    held = Path(f"/proc/{zygote._process.pid}/fd")
    before = len(list(held.iterdir()))
    for _ in range(MAX_RUNS):
        own_runner("pass")
    assert len(list(held.iterdir())) < before + 10  # one for each supervisor that there is


def waits(supervisor: int) -> bool:
    """Whether it has prepared a place: its next worker is there."""
    (init,) = process_tree.children(supervisor)[:1] or [-1]
    return len(process_tree.children(init)) == 1


def test_those_that_a_burst_needed_go_when_it_is_over(own_runner: Runner) -> None:
    started = [own_runner.start("import time; time.sleep(0.3)") for _ in range(8)]
    for live, folder in started:
        assert own_runner.finish(live, folder).exit.exit_code == 0
    assert len({own_runner.supervisor(folder) for _, folder in started}) > 2
    wait_until(lambda: len(supervisors(own_runner)) <= 2)
    assert own_runner("print('still')").text == "still"


def test_a_run_finds_nothing_of_the_one_before(confined: Runner) -> None:
    first = confined(LOOKS_ROUND)
    supervisor = confined.supervisor(first.folder)
    assert next_by(confined, supervisor, LEAVES_ALL_IT_CAN).text == "left"
    second = next_by(confined, supervisor, LOOKS_ROUND)
    before, after = json.loads(first.text), json.loads(second.text)
    uids = before.pop("uid"), after.pop("uid")
    assert before == after
    assert (after["files"], after["segment"], after["others"]) == ([], False, [])
    if os.geteuid() == 0:
        assert uids[0] != uids[1]


def test_a_place_that_could_not_be_made_is_made_anew_when_a_run_comes(
    confined: Runner, tmp_path: Path
) -> None:
    if not needs_stage(confined):
        pytest.skip("no root folder is built here")
    confined("pass")
    stage = tmp_path / "sandbox" / "stage"
    stage.rename(stage.with_name("away"))
    wait_until(lambda: fails_everywhere(confined))  # all places from before are used up
    stage.with_name("away").rename(stage)
    assert confined("print('there')").text == "there"


def fails_everywhere(runner: Runner) -> bool:
    """Run once; whether no supervisor has a worker that waits then."""
    runner("pass")
    found = supervisors(runner)
    return bool(found) and all(map(has_no_worker, found))


def needs_stage(runner: Runner) -> bool:
    return runner.sandbox.report().files.startswith("mount namespace")


def has_no_worker(supervisor: int) -> bool:
    """Whether its init has none."""
    return [process_tree.children(init) for init in process_tree.children(supervisor)] == [[]]


def test_a_kill_of_an_attempt_that_has_ended_hits_nobody(own_runner: Runner) -> None:
    ended = own_runner("pass")
    supervisor = own_runner.supervisor(ended.folder)
    assert (ended.folder / "meta" / STARTED_FILE).exists()
    own_runner.sandbox.kill(ended.folder)
    own_runner.sandbox.end_orphans([ended.folder])
    assert next_by(own_runner, supervisor, "print('alive')").text == "alive"


def test_a_supervisor_that_waits_ends_with_a_killed_zygote(
    own_runner: Runner, is_alive: Callable[[int], bool]
) -> None:
    supervisor = own_runner.supervisor(own_runner("pass").folder)
    zygote = own_runner.sandbox._zygote
    assert zygote is not None
    zygote._process.kill()
    zygote._process.wait()
    wait_until(lambda: not is_alive(supervisor))


def test_a_busy_supervisor_outlives_its_zygote_and_serves_nobody_else(
    own_runner: Runner, is_alive: Callable[[int], bool]
) -> None:
    script = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)"
    live, folder = own_runner.start(script)
    assert live.wait(DEADLINE_SECONDS) is Signal.STARTED
    zygote = own_runner.sandbox._zygote
    assert zygote is not None
    zygote._process.kill()
    zygote._process.wait()
    (folder / "work" / "go").touch()
    assert own_runner.finish(live, folder).exit.exit_code == 0
    wait_until(lambda: not is_alive(own_runner.supervisor(folder)))


def test_nothing_runs_before_the_word_to_begin(own_runner: Runner) -> None:
    script = "open('ran', 'w').close()"
    live, folder = own_runner.start(script, begins=False)
    wait_until((folder / "meta" / CONTROL_SOCKET).exists)  # it is got ready
    own_runner(script)  # by another supervisor
    assert not (folder / "meta" / STARTED_FILE).exists()
    assert not (folder / "work" / "ran").exists()
    live.begin()
    assert own_runner.finish(live, folder).exit.exit_code == 0
    assert (folder / "work" / "ran").exists()


def test_a_run_that_is_not_to_be_leaves_nothing(own_runner: Runner) -> None:
    own_runner("pass")  # there are supervisors
    before = set(supervisors(own_runner))
    live, folder = own_runner.start("open('ran', 'w').close()", begins=False)
    wait_until((folder / "meta" / CONTROL_SOCKET).exists)
    live.close()
    wait_until(lambda: len(before - set(supervisors(own_runner))) == 1)  # it serves no other
    assert not (folder / "meta" / STARTED_FILE).exists()
    assert not (folder / "work" / "ran").exists()
    assert own_runner("print('next')").exit.exit_code == 0


@pytest.mark.parametrize("taken", ["before it is there", "once it is there"])
def test_a_run_whose_folder_is_taken_away_before_it_begins_harms_nobody(
    own_runner: Runner, taken: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """As of a creation that is refused: the server hangs up, and removes the folder."""
    live, folder = own_runner.start("pass", begins=False)
    if taken == "once it is there":
        wait_until((folder / "meta" / CONTROL_SOCKET).exists)
    live.close()
    remove_tree(folder)
    for _ in range(3):
        assert own_runner("pass").exit.exit_code == 0
    assert capfd.readouterr().err == ""


def test_a_launch_that_comes_too_late_leaves_the_next_one_alone(own_runner: Runner) -> None:
    """Its server has hung up, and the folder of that name is another's."""
    for delay in range(20):
        late, folder = own_runner.start("pass", begins=False, name="same")
        time.sleep(delay / 5000)
        late.close()
        remove_tree(folder)
        live, _ = own_runner.start("open('ran', 'w').close()", name="same")
        assert own_runner.finish(live, folder).exit.exit_code == 0
        assert (folder / "work" / "ran").exists()
        remove_tree(folder)


def test_a_program_that_stops_who_keeps_its_memory_keeps_to_its_limits(confined: Runner) -> None:
    """It comes in time, or not: that the program runs is then told late, or never."""
    for seconds, ended_by in (("60", "timeout"), ("0.3", None)):
        script = f"kill -STOP $(($$ + 1)); exec sleep {seconds}"
        limits = Limits(timeout_seconds=1, processes=1)
        live, folder = confined.start(command=("/bin/sh", "-c", script), limits=limits)
        assert confined.finish(live, folder).exit.ended_by == ended_by
    assert confined("print('next')").exit.exit_code == 0


def test_a_program_keeps_its_parent(own_runner: Runner) -> None:
    """Else one that asks to end with its parent would end at once."""
    script = 'sleep 0.05; read -r _ _ _ now _ < /proc/$$/stat; [ "$now" = "$PPID" ]'
    for _ in range(3):
        assert own_runner(command=("/bin/sh", "-c", script)).exit.exit_code == 0
