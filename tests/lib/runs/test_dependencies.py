"""Runs and the packages that their workers ask for."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from lib.environments.environment import Environment
from lib.environments.recipe import InstallError
from lib.runs.attempt import Attempt
from lib.runs.dependencies import EarlyInstalls, recipes_of
from lib.sandbox.port import Signal
from lib.storage.records import RunRecord, RunStatus
from tests.lib.no_threads import NoThreads
from tests.lib.runs.fake_sandbox import DEADLINE_SECONDS, GOOD, FakeRun, stay
from tests.lib.runs.world import OWNER, World

RETRY = "retry: {max_attempts: 2, delay_seconds: 0, on: [install_failed]}\n"


def log_of(world: World, run: RunRecord) -> list[tuple[int, str, str]]:
    return [(line.seq, line.stream, line.message) for line in world.logs.tail(run.id, limit=99)]


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_the_process_gets_what_was_installed_and_it_stays_until_the_end(world: World) -> None:
    world.add_worker(requirements_txt="httpx\n")
    world.packages.found = Environment(
        programs=("/e/bin",), variables={"PYTHONUSERBASE": "/e"}, readable=("/e",)
    )
    leased: list[int] = []

    def script(live: FakeRun) -> None:
        leased.append(world.packages.leased)
        live.finish(GOOD)

    world.sandbox.script = script
    assert world.executed().status is RunStatus.COMPLETED
    (launch,) = world.sandbox.launches
    assert launch.readable == ("/e",)
    assert launch.environment["PYTHONUSERBASE"] == "/e"
    assert leased == [1]
    assert world.packages.leased == 0


def test_the_installation_s_log_comes_before_the_worker_s(world: World) -> None:
    world.add_worker(requirements_txt="httpx\n")
    world.packages.log = ("Installing", "+ httpx")

    def script(live: FakeRun) -> None:
        live.log("from the worker", first_seq=live.launch.first_seq)
        live.finish(GOOD)

    world.sandbox.script = script
    run = world.executed()
    assert log_of(world, run) == [
        (1, "system", "Installing"),
        (2, "system", "+ httpx"),
        (3, "stdout", "from the worker"),
    ]


def test_secrets_of_the_worker_are_in_no_line_of_the_installation(world: World) -> None:
    world.add_worker(manifest="exec: {secrets: [KEY]}\n", requirements_txt="httpx\n")
    world.secrets.put("KEY", "correct-horse", at=world.clock.now())
    world.packages.log = ("it said correct-horse",)
    world.packages.failure = "the index said correct-horse"
    run = world.executed()
    assert log_of(world, run) == [(1, "system", "it said ***")]
    assert run.error is not None
    assert "horse" not in run.error.message


def test_a_failed_installation_fails_the_run_in_the_installer_s_words(world: World) -> None:
    world.add_worker(requirements_txt="httpx\n")
    world.packages.failure = "requirements.txt could not be installed: error: no such package"
    run = world.executed()
    assert run.status is RunStatus.FAILED
    assert run.error is not None
    assert run.error.code == "install_failed"
    assert "error: no such package" in run.error.message
    assert world.sandbox.launches == []
    assert not world.folder(run).path.exists()


def test_a_failed_installation_can_be_retried(world: World) -> None:
    world.add_worker(manifest=RETRY, requirements_txt="httpx\n")
    world.packages.failure = "the index is down"
    run = world.executed()
    assert run.status is RunStatus.QUEUED
    world.packages.failure = None
    run = world.claim(run)
    world.execute(run)
    assert world.status(run) is RunStatus.COMPLETED
    assert world.runs.get(run.id).attempt == 2


def test_a_run_that_waits_for_packages_can_be_cancelled(world: World) -> None:
    world.add_worker(requirements_txt="httpx\n")
    world.packages.goes_on.clear()
    run = world.claimed()
    attempt = world.attempt(run)
    thread = in_background(attempt.execute)
    assert world.packages.is_waiting.wait(DEADLINE_SECONDS)
    attempt.cancel()
    thread.join(DEADLINE_SECONDS)
    assert world.status(run) is RunStatus.CANCELLED
    assert world.sandbox.launches == []


@pytest.mark.parametrize("how", ["abandon", "hand_over"])
def test_a_run_that_the_server_lets_go_while_it_waits_is_queued_again(
    world: World, how: str
) -> None:
    world.add_worker(requirements_txt="httpx\n")
    world.packages.goes_on.clear()
    run = world.claimed()
    attempt = world.attempt(run)
    thread = in_background(attempt.execute)
    assert world.packages.is_waiting.wait(DEADLINE_SECONDS)
    getattr(attempt, how)()
    thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()
    world.recovery().recover_own(OWNER, adopt=world.adopt)
    again = world.runs.get(run.id)
    assert (again.status, again.attempt) == (RunStatus.QUEUED, 1)


def test_an_adopted_run_keeps_the_packages_that_it_was_started_with(world: World) -> None:
    world.add_worker(requirements_txt="httpx\n")
    world.packages.found = Environment(keys=("abc", "def"))
    world.sandbox.script = stay
    run = world.claimed()
    attempt = world.attempt(run)
    thread = in_background(attempt.execute)
    live = world.sandbox.next_start()
    attempt.hand_over()
    live.say(Signal.TIMEOUT)
    thread.join(DEADLINE_SECONDS)
    assert world.packages.leased == 0

    live.finish(GOOD)
    Attempt(run, world.collaborators, adopted=live).execute()
    assert world.packages.kept == ["abc", "def"]
    assert world.status(run) is RunStatus.COMPLETED


def test_an_adopted_run_without_packages_needs_no_record_of_them(world: World) -> None:
    world.add_worker()
    world.sandbox.script = stay
    run = world.claimed()
    attempt = world.attempt(run)
    thread = in_background(attempt.execute)
    live = world.sandbox.next_start()
    attempt.hand_over()
    live.say(Signal.TIMEOUT)
    thread.join(DEADLINE_SECONDS)
    assert not (world.folder(run).path / "packages.json").exists()
    live.finish(GOOD)
    Attempt(run, world.collaborators, adopted=live).execute()
    assert world.status(run) is RunStatus.COMPLETED


def test_what_cannot_run_here_installs_nothing(world: World) -> None:
    world.add_worker(
        manifest="exec: {runtime: node, entry: run.js}\n", run_js="", requirements_txt="httpx\n"
    )
    run = world.executed()
    assert run.error is not None
    assert run.error.code == "runtime_missing"
    assert world.packages.asked == []


def recipes(world: World, worker_id: str = "plain", *, builds: bool = False) -> list[str]:
    worker = world.registry.current().workers[worker_id]
    found = recipes_of(world.workspace, worker.sha, source_builds=builds)
    return [f"{each.kind}{' built' if each.source_builds else ''}" for each in found]


def test_files_at_the_top_of_the_folder_say_what_to_install(world: World) -> None:
    world.add_worker(requirements_txt="httpx\n", package_json='{"dependencies": {"left-pad": "1"}}')
    assert recipes(world) == ["python", "node"]
    assert recipes(world, builds=True) == ["python built", "node"]


def test_a_worker_without_such_files_needs_nothing(world: World) -> None:
    folder = world.write_worker(
        "plain", package_json='{"type": "module"}', requirements_txt="# -\n"
    )
    (folder / "deep").mkdir()
    (folder / "deep" / "requirements.txt").write_text("httpx\n")
    world.reload()
    assert recipes(world) == []


def test_a_worker_that_brings_its_own_node_modules_gets_no_others(world: World) -> None:
    world.add_worker(package_json='{"dependencies": {"left-pad": "1"}}')
    assert recipes(world) == ["node"]
    # A reload never takes such a folder from disk; a push may bring one.
    world.push("workers/plain/node_modules/left-pad/index.js", b"", 0o100644)
    assert recipes(world) == []


def test_a_link_in_place_of_the_file_is_not_followed(world: World) -> None:
    world.add_worker()
    world.push("workers/plain/requirements.txt", b"/etc/passwd", 0o120000)
    assert recipes(world) == []


def test_saved_workers_are_installed_for_before_they_run(world: World) -> None:
    world.add_worker("one", requirements_txt="httpx\n")
    world.add_worker("two", requirements_txt="rich\n")
    world.add_worker("bad", requirements_txt="-r /etc/passwd\n")
    world.add_worker("broken", manifest="exec: [\n", requirements_txt="rich\n")
    world.add_worker("retired", manifest="archived: true\n", requirements_txt="rich\n")
    installs = world.early_installs
    installs.request(["bad", "broken", "retired", "gone", "one", "two"])
    for thread in threading.enumerate():
        if thread.name == "early-installs":
            thread.join(DEADLINE_SECONDS)
    assert [each.files["requirements.txt"] for each in world.packages.asked] == [
        "httpx\n",
        "rich\n",
    ]


def test_a_server_that_stops_ends_early_installations(world: World) -> None:
    world.add_worker("one", requirements_txt="httpx\n")
    world.packages.goes_on.clear()
    installs = world.early_installs
    installs.request(["one", "one"])
    assert world.packages.is_waiting.wait(DEADLINE_SECONDS)
    installs.close()
    installs.request(["one"])
    assert len(world.packages.asked) == 1
    assert world.packages.leased == 0


def test_a_host_without_threads_costs_no_installation_for_ever(world: World) -> None:
    world.add_worker("one", requirements_txt="httpx\n")
    host = NoThreads()
    installs = EarlyInstalls(
        workspace=world.workspace,
        registry=world.registry,
        environments=world.packages,
        new_thread=host.new_thread,
    )
    installs.request(["one"])
    host.has_threads = True
    installs.request([])
    for thread in threading.enumerate():
        if thread.name == "early-installs":
            thread.join(DEADLINE_SECONDS)
    assert len(world.packages.asked) == 1
    installs.close()


def test_what_is_refused_is_said_by_the_run(world: World) -> None:
    world.sandbox.script = stay
    world.add_worker(requirements_txt="fine\n--index-url https://evil.example\n")
    run = world.executed()
    assert run.error is not None
    assert "line 2 (--index-url https://evil.example)" in run.error.message
    with pytest.raises(InstallError):
        recipes(world)
