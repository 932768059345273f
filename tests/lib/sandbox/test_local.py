"""The local sandbox with real processes: what ends, what is kept, what is left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from lib.manifest.policies import Limits
from lib.sandbox import process_tree, zygote_process
from lib.sandbox.cgroup import Groups
from lib.sandbox.local import LocalSandbox
from lib.sandbox.port import LiveRun, SandboxMode, SandboxUnavailable, Signal
from lib.sandbox.process_names import boot_id, start_time
from lib.sandbox.wire import CONTROL_SOCKET, EXIT_FILE, STARTED_FILE
from lib.sandbox.zygote_process import ZygoteProcess
from tests.lib.sandbox.conftest import DEADLINE_SECONDS, Runner, open_runner, wait_until

MIB = 1024 * 1024


def wait_for(path: Path, seconds: float = 20) -> str:
    """Return a file's text once there is some."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.005)
    raise AssertionError(f"{path} never came")


def test_output_becomes_lines_with_stream_and_number(runner: Runner) -> None:
    ended = runner("import sys; print('a'); sys.stdout.flush(); print('b', file=sys.stderr)")
    assert sorted((line[2], line[3]) for line in ended.lines) == [("stderr", "b"), ("stdout", "a")]
    assert [line[0] for line in ended.lines] == [1, 2]
    assert ended.exit.exit_code == 0
    assert ended.exit.last_seq == 2


def test_worker_gets_its_environment_and_no_other(runner: Runner) -> None:
    script = "import os; print(sorted(k for k in os.environ if k != 'LC_CTYPE'))"
    ended = runner(script, environment={"TOKEN": "x"})
    assert ended.lines[0][3] == "['HOME', 'PATH', 'TMPDIR', 'TOKEN']"


def test_worker_inherits_no_descriptor(runner: Runner) -> None:
    script = "import os; print([n for n in os.listdir('/proc/self/fd')])"
    ended = runner(script)
    assert ended.lines[0][3] == "['0', '1', '2', '3']"  # 3 is the listing's own


def test_packages_of_the_server_cannot_be_imported(runner: Runner) -> None:
    ended = runner("import falcon")
    assert "ModuleNotFoundError: No module named 'falcon'" in ended.text


@pytest.mark.parametrize(
    ("script", "code"),
    [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137), ("1/0", 1)],
)
def test_exit_code_is_as_a_shell_reports_it(runner: Runner, script: str, code: int) -> None:
    assert runner(script).exit.exit_code == code


def test_a_program_that_is_not_there_is_a_problem_not_an_exit(runner: Runner) -> None:
    ended = runner(command=("no-such-program",))
    assert ended.exit.problem == "no-such-program: No such file or directory"


def test_timeout_ends_even_a_worker_that_ignores_sigterm(runner: Runner) -> None:
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    ended = runner(script, limits=Limits(timeout_seconds=1))
    assert ended.exit.ended_by == "timeout"
    assert ended.exit.exit_code == 128 + signal.SIGKILL
    assert 3_500 < ended.exit.wall_ms < 20_000


def test_a_worker_may_use_the_grace_to_clean_up(runner: Runner) -> None:
    script = (
        "import signal, sys, time\n"
        "signal.signal(15, lambda *_: (print('cleaned'), sys.exit(0)))\n"
        "time.sleep(60)"
    )
    ended = runner(script, limits=Limits(timeout_seconds=1))
    assert ended.exit.ended_by == "timeout"
    assert "cleaned" in ended.text


def test_cancel_ends_the_whole_tree(runner: Runner, is_alive: Callable[[int], bool]) -> None:
    script = (
        "import os, time\n"
        "pid = os.fork()\n"
        "if pid == 0: os.setsid()\n"
        "else: open('child', 'w').write(str(pid))\n"
        "time.sleep(60)"
    )
    live, folder = runner.start(script)
    wait_for(folder / "work" / "child")
    pids = runner.processes(folder)
    assert len(pids) >= 3
    live.cancel()
    ended = runner.finish(live, folder)
    assert ended.exit.ended_by == "cancel"
    wait_until(lambda: not any(map(is_alive, pids)))


def test_daemons_that_a_worker_leaves_behind_are_ended(
    runner: Runner, is_alive: Callable[[int], bool]
) -> None:
    script = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        open('daemon', 'w').write(str(os.getpid()))\n"
        "        time.sleep(600)\n"
        "    os._exit(0)\n"
        "while not os.path.exists('go'): time.sleep(0.01)\n"
    )
    live, folder = runner.start(script)
    wait_for(folder / "work" / "daemon")
    _supervisor, _init, *pids = runner.processes(folder)
    (folder / "work" / "go").touch()
    ended = runner.finish(live, folder)
    assert ended.exit.exit_code == 0
    assert len(pids) >= 2
    wait_until(lambda: not any(map(is_alive, pids)))


def test_flooded_log_keeps_head_and_tail(runner: Runner) -> None:
    script = "import sys\nfor n in range(400_000): sys.stdout.write(f'line {n} {\"x\" * 80}\\n')"
    ended = runner(script, limits=Limits(log_bytes=64 * 1024))
    assert ended.lines[0][3].startswith("line 0 ")
    assert ended.lines[-1][3].startswith("line 399999 ")
    numbers = [line[0] for line in ended.lines]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 400_000
    gap = [line for line in ended.lines if line[2] == "system"]
    assert gap[0][3] == f"{ended.exit.dropped_lines} lines dropped: the log is over its limit"
    assert len(ended.lines) - 1 + ended.exit.dropped_lines == 400_000
    assert sum(len(line[3]) for line in ended.lines) < 512 * 1024


def test_a_line_without_end_is_cut(runner: Runner) -> None:
    ended = runner("print('x' * 50_000)")
    assert len(ended.lines) == 1
    assert ended.lines[0][3].endswith(f" [{50_000 - 16_384} bytes cut]")


def test_disk_limit_ends_a_worker_that_fills_the_folder(runner: Runner) -> None:
    script = "block = b'x' * (1 << 20)\nfor n in range(10_000): open(f'f{n}', 'wb').write(block)\n"
    ended = runner(script, limits=Limits(disk_mb=20))
    assert ended.exit.ended_by == "disk_exceeded"


def test_memory_limit_of_one_process_is_a_memory_error(runner: Runner) -> None:
    ended = runner("x = b'x' * (1 << 30)", limits=Limits(memory_mb=64))
    assert ended.exit.stderr_tail.rstrip().endswith("MemoryError")


def test_memory_limit_counts_the_whole_tree(runner: Runner) -> None:
    script = (
        "import os, time\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0:\n"
        "        block = bytearray(60 << 20)\n"
        "        time.sleep(60)\n"
        "time.sleep(60)\n"
    )
    ended = runner(script, limits=Limits(memory_mb=100))
    assert ended.exit.ended_by == "memory_exceeded"


def test_process_limit_ends_a_fork_loop(runner: Runner) -> None:
    script = (
        "import os, time\n"
        "for _ in range(200):\n"
        "    if os.fork() == 0: time.sleep(60)\n"
        "time.sleep(60)\n"
    )
    ended = runner(script, limits=Limits(processes=20))
    assert ended.exit.ended_by == "processes_exceeded"


def test_cpu_limit_ends_a_busy_loop(runner: Runner) -> None:
    ended = runner("while True: pass", limits=Limits(cpu_seconds=1))
    assert ended.exit.ended_by == "cpu_exceeded" or ended.exit.exit_code == 128 + signal.SIGXCPU


def test_cpu_limit_counts_the_whole_tree(runner: Runner) -> None:
    script = (
        "import os\n"
        "while True:\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        for _ in range(3_000_000): pass\n"
        "        os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
    )
    ended = runner(script, limits=Limits(cpu_seconds=1))
    assert ended.exit.ended_by == "cpu_exceeded"


def test_an_orphan_is_ended_and_leaves_its_record(own_runner: Runner) -> None:
    live, folder = own_runner.start("import time; time.sleep(60)")
    assert live.wait(20) is Signal.STARTED
    live.close()  # as if the server had died
    assert own_runner.sandbox.has_started(folder)
    own_runner.sandbox.end_orphans([folder])
    record = own_runner.sandbox.find_exit(folder)
    assert record is not None
    assert record.ended_by == "cancel"


def test_what_a_killed_supervisor_leaves_is_ended_by_the_zygote(
    own_runner: Runner, is_alive: Callable[[int], bool]
) -> None:
    script = (
        "import os, time\n"
        "pid = os.fork()\n"
        "if pid == 0: os.setsid()\n"
        "else: open('child', 'w').write(str(pid))\n"
        "time.sleep(60)"
    )
    live, folder = own_runner.start(script)
    wait_for(folder / "work" / "child")
    supervisor, *pids = own_runner.processes(folder)
    os.kill(supervisor, signal.SIGKILL)
    while live.wait(20) is not Signal.ENDED:
        pass
    live.close()
    assert own_runner.sandbox.find_exit(folder) is None
    assert len(pids) >= 2
    wait_until(lambda: not any(map(is_alive, pids)))


def test_a_killed_zygote_is_replaced_and_what_waited_ends(
    own_runner: Runner, is_alive: Callable[[int], bool]
) -> None:
    own_runner("pass")
    zygote = own_runner.sandbox._zygote
    assert zygote is not None
    wait_until(lambda: len(process_tree.descendants(zygote._process.pid)) >= 4)
    waiting = process_tree.descendants(zygote._process.pid)
    assert own_runner.sandbox.report_at_hand() == own_runner.sandbox.report()
    zygote._process.kill()
    zygote._process.wait()
    assert own_runner.sandbox.report_at_hand() is None
    assert own_runner("print('again')").text == "again"
    wait_until(lambda: not any(map(is_alive, waiting)))


def test_a_launch_that_was_cut_short_is_sent_again(own_runner: Runner) -> None:
    own_runner("pass")
    zygote = own_runner.sandbox._zygote
    assert zygote is not None
    os.kill(zygote._process.pid, signal.SIGSTOP)
    large = {f"LARGE_{number}": "x" * 100_000 for number in range(10)}  # more than a socket holds
    started = []
    thread = threading.Thread(
        target=lambda: started.append(own_runner.start("print('ran')", environment=large))
    )
    thread.start()
    wait_until(lambda: zygote._runs == 2)
    zygote._process.kill()
    thread.join()
    assert own_runner.finish(*started[0]).text == "ran"


def test_a_large_launch_that_nobody_takes_is_told_as_that(tmp_path: Path) -> None:
    """One that fits a socket's buffer waits there; this takes the ten seconds of its patience."""
    with open_runner(tmp_path, "off") as runner:
        runner("pass")
        zygote = runner.sandbox._zygote
        assert zygote is not None
        os.kill(zygote._process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(SandboxUnavailable, match="does not answer"):
                runner.start("open('ran', 'w')", environment={"LARGE": "x" * 2_000_000})
        finally:
            os.kill(zygote._process.pid, signal.SIGCONT)
        assert runner("print('on')").text == "on"
    assert not list(tmp_path.rglob("ran"))


def test_a_run_whose_server_is_gone_before_it_starts_does_not_start(own_runner: Runner) -> None:
    """The next server finds no mark of it, and queues it again."""
    own_runner("pass")
    zygote = own_runner.sandbox._zygote
    assert zygote is not None
    os.kill(zygote._process.pid, signal.SIGSTOP)
    live, folder = own_runner.start("open('ran', 'w')")
    live.close()
    os.kill(zygote._process.pid, signal.SIGCONT)
    assert own_runner("print('next')").text == "next"
    own_runner.sandbox.close()
    wait_until(lambda: not zygote.is_alive())
    assert not own_runner.sandbox.has_started(folder)
    assert not (folder / "work" / "ran").exists()


def test_a_launch_is_served_where_one_that_was_killed_has_listened(own_runner: Runner) -> None:
    live, folder = own_runner.start(
        "print('hello')",
        spoil=lambda folder: os.mknod(folder / "meta" / CONTROL_SOCKET, stat.S_IFSOCK | 0o600),
    )
    assert own_runner.finish(live, folder).text == "hello"


@pytest.mark.parametrize("command", [None, ("/bin/sh", "-c", "touch ran")], ids=["warm", "sh"])
def test_nothing_runs_whose_start_could_not_be_written_down(
    own_runner: Runner, command: tuple[str, ...] | None
) -> None:
    """The worker is there and confined by then: it waits for the word to go."""
    in_the_way = f".{STARTED_FILE}.tmp"
    live, folder = own_runner.start(
        "open('ran', 'w')",
        command=command,
        spoil=lambda folder: (folder / "meta" / in_the_way).mkdir(),
    )
    while live.wait(DEADLINE_SECONDS) is not Signal.ENDED:
        pass
    live.close()
    assert own_runner("print('next')").text == "next"
    own_runner.sandbox.close()
    assert not own_runner.sandbox.has_started(folder)
    assert not (folder / "work" / "ran").exists()


@pytest.mark.parametrize("killed", ["worker", "init"])
def test_what_waits_for_a_run_may_be_killed(own_runner: Runner, killed: str) -> None:
    """Init forks another worker, if it sees in time; what did not start has no exit code."""
    own_runner("pass")
    zygote = own_runner.sandbox._zygote
    assert zygote is not None

    def below(pids: list[int]) -> list[int]:
        return [child for pid in pids for child in process_tree.children(pid)]

    def inits() -> list[int]:
        return below(process_tree.children(zygote._process.pid))

    wait_until(lambda: len(below(inits())) == 2)
    os.kill(zygote._process.pid, signal.SIGSTOP)
    doomed = below(inits())
    if killed == "init":  # first: its worker goes with it
        doomed = [*inits(), *doomed]
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: all(start_time(pid) is None and not below([pid]) for pid in doomed))
    live, folder = own_runner.start("open('ran', 'w')")
    os.kill(zygote._process.pid, signal.SIGCONT)
    problem = own_runner.finish(live, folder).exit.problem
    assert (folder / "work" / "ran").exists() == (problem is None)
    if killed == "init":
        assert problem in {
            "the process that waited for the run was killed",
            "no worker could be ordered: [Errno 32] Broken pipe",
        }


def test_a_restarted_server_adopts_a_live_run(
    own_runner: Runner, is_alive: Callable[[int], bool]
) -> None:
    script = (
        "import os, time\nprint('before')\n"
        "while not os.path.exists('go'): time.sleep(0.01)\nprint('after')"
    )
    live, folder = own_runner.start(script)
    assert live.wait(20) is Signal.STARTED
    live.close()  # as if the server had died

    supervisor = own_runner.processes(folder)[0]
    adopted = own_runner.sandbox.adopt(folder)

    assert adopted is not None
    assert adopted.wait(20) is Signal.STARTED
    (folder / "work" / "go").touch()
    ended = own_runner.finish(adopted, folder)
    assert (ended.exit.exit_code, ended.text) == (0, "before\nafter")
    assert is_alive(supervisor), "it serves the next run"
    assert own_runner.sandbox.adopt(folder) is None


@pytest.mark.parametrize("begins", [True, False], ids=["begins", "is not to be"])
def test_who_adopts_a_run_waits_while_it_begins(tmp_path: Path, begins: bool) -> None:
    """Its mark is there just before its supervisor listens, and taken away if it is not to be."""
    meta = tmp_path / "meta"
    meta.mkdir()
    os.mkfifo(meta / STARTED_FILE)  # so each look waits for what it is to find
    pid = os.getpid()
    mark = json.dumps({"pid": pid, "start_time": start_time(pid), "boot_id": boot_id()})
    sandbox = LocalSandbox(tmp_path / "sandbox", mode="off")
    adopted: list[LiveRun | None] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(meta / CONTROL_SOCKET))
        thread = threading.Thread(target=lambda: adopted.append(sandbox.adopt(tmp_path)))
        thread.start()
        with next_look(meta / STARTED_FILE) as told:
            told.write(mark)
        with next_look(meta / STARTED_FILE) as told:  # so it was refused
            if begins:
                listener.listen()
                told.write(mark)
        thread.join()
        assert (adopted[0] is not None) is begins
    if adopted[0] is not None:
        adopted[0].close()


def next_look(pipe: Path) -> IO[str]:
    """Return what whoever reads next will read, and leave another pipe; fails where nobody comes."""
    deadline = time.monotonic() + 20
    while True:
        try:
            descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < deadline, "nobody looks again"
        else:
            break
    pipe.unlink()
    os.mkfifo(pipe)
    return os.fdopen(descriptor, "w")


def test_an_adopted_run_can_be_cancelled(own_runner: Runner) -> None:
    live, folder = own_runner.start("import time; time.sleep(60)")
    assert live.wait(20) is Signal.STARTED
    live.close()
    adopted = own_runner.sandbox.adopt(folder)
    assert adopted is not None
    adopted.cancel()
    assert own_runner.finish(adopted, folder).exit.ended_by == "cancel"


def test_a_run_survives_its_zygote(own_runner: Runner) -> None:
    script = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('done')"
    live, folder = own_runner.start(script)
    assert live.wait(20) is Signal.STARTED
    zygote = own_runner.sandbox._zygote
    assert zygote is not None
    zygote._process.kill()
    zygote._process.wait()
    (folder / "work" / "go").touch()
    assert own_runner.finish(live, folder).text == "done"


def test_a_note_stands_in_the_log_with_its_level(runner: Runner) -> None:
    script = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('printed')"
    live, folder = runner.start(script)

    def note() -> None:
        live.note("error", "one\ntwo")
        live.note("debug", "x" * 16_000)
        (folder / "work" / "go").touch()

    noting = threading.Thread(target=note)
    noting.start()
    ended = runner.finish(live, folder)
    noting.join()
    assert [line[4:] for line in ended.lines] == [("error",), ("error",), ("debug",), ()]
    assert [line[3] for line in ended.lines] == ["one", "two", "x" * 16_000, "printed"]


def test_words_that_never_end_are_not_gathered_for_ever(runner: Runner) -> None:
    live, folder = runner.start("import time; time.sleep(1); print('done')")
    connection = live._connection  # type: ignore[attr-defined]
    with contextlib.suppress(OSError):
        for _ in range(100):
            connection.sendall(b"x" * 65536)
    live.close()
    adopted = runner.sandbox.adopt(folder)
    assert adopted is not None
    assert runner.finish(adopted, folder).text == "done"


def test_many_runs_at_once_each_find_a_place(runner: Runner) -> None:
    started = [runner.start("print(1)") for _ in range(12)]
    assert [runner.finish(*each).text for each in started] == ["1"] * 12


def test_a_worn_zygote_is_replaced_while_runs_go_on(
    own_runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zygote_process, "MAX_RUNS", 2)
    first = own_runner.sandbox._current()
    live, folder = own_runner.start(
        "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)"
    )
    assert own_runner("print(1)").text == "1"
    wait_until(lambda: own_runner.sandbox._zygote is not first)
    assert own_runner("print(2)").text == "2"
    (folder / "work" / "go").touch()
    assert own_runner.finish(live, folder).exit.exit_code == 0
    wait_until(lambda: not first.is_alive())


def test_a_zygote_that_does_not_start_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zygote_process, "ENGINE_ROOT", tmp_path)
    sandbox = LocalSandbox(tmp_path / "sandbox")
    with pytest.raises(SandboxUnavailable, match="did not start"):
        sandbox.prepare()


@pytest.mark.parametrize("mode", ["best_effort"], indirect=True)
def test_a_run_that_cannot_be_confined_does_not_start(runner: Runner) -> None:
    ended = runner("print('ran')", readable=("/no/such/folder",))
    assert ended.exit.is_unconfined
    assert "No such file or directory" in str(ended.exit.problem)
    assert ended.lines == []


@pytest.mark.parametrize("mode", ["best_effort"], indirect=True)
def test_a_confined_worker_sees_its_own_folder_only(runner: Runner) -> None:
    script = (
        "import os\nprint(os.getcwd(), os.environ['HOME'])\nopen('mine', 'w').write('x')\n"
        "print(os.path.exists('/etc/shadow'), os.path.exists(os.path.dirname(__file__) + '/../meta'))"
    )
    ended = runner(script)
    assert [line[3] for line in ended.lines] == ["/worker /worker", "False False"]
    assert (ended.folder / "work" / "mine").read_text() == "x"


def test_require_refuses_where_isolation_is_not_whole(tmp_path: Path) -> None:
    sandbox = LocalSandbox(tmp_path / "sandbox", mode="require")
    found = {"properties": {"files": "none", "network": "seccomp"}, "facts": {"Landlock": "ENOSYS"}}
    sandbox.prepare()
    sandbox._current().found = found
    with pytest.raises(SandboxUnavailable, match=r"holds files.*Landlock: ENOSYS"):
        Runner(sandbox, tmp_path)()
    sandbox.close()


def test_off_says_that_nothing_but_limits_is_held(tmp_path: Path) -> None:
    sandbox = LocalSandbox(tmp_path / "sandbox", mode="off")
    assert sandbox.inspect().missing == ("files", "network", "processes", "privileges")
    sandbox.close()


@pytest.mark.parametrize("mode", ["best_effort"], indirect=True)
def test_a_killed_supervisor_leaves_no_group(own_runner: Runner) -> None:
    live, folder = own_runner.start("import time; time.sleep(60)")
    assert live.wait(20) is Signal.STARTED
    supervisor = own_runner.processes(folder)[0]
    groups = Groups.find()
    if groups is None:
        live.close()
        pytest.skip("no control group of ours may be divided here")
    name = f"floom-{supervisor}-*"
    assert list(groups.memory.glob(name))
    os.kill(supervisor, signal.SIGKILL)
    live.close()
    wait_until(lambda: not list(groups.memory.glob(name)) and not list(groups.pids.glob(name)))


@pytest.mark.parametrize("mode", ["best_effort"], indirect=True)
def test_many_empty_files_are_a_full_disk_too(runner: Runner) -> None:
    script = "import time\nfor n in range(20_000): open(f'f{n}', 'w').close()\ntime.sleep(60)"
    assert runner(script, limits=Limits(disk_mb=5)).exit.ended_by == "disk_exceeded"


def test_a_note_stands_after_what_was_printed_before_it(runner: Runner) -> None:
    """The worker prints, asks for a note by a file, and prints on only once it is there."""
    script = (
        "import os, time\n"
        "for n in range(40):\n"
        "    print('before', n)\n"
        "    open(f'ask-{n}', 'w').close()\n"
        "    while not os.path.exists(f'done-{n}'): time.sleep(0.001)\n"
        "    print('after', n)\n"
    )
    live, folder = runner.start(script)

    def answer() -> None:
        for n in range(40):
            wait_until((folder / "work" / f"ask-{n}").exists)
            live.note("info", f"note {n}")
            (folder / "work" / f"done-{n}").touch()

    answering = threading.Thread(target=answer)
    answering.start()
    ended = runner.finish(live, folder)
    answering.join()
    expected = [line for n in range(40) for line in (f"before {n}", f"note {n}", f"after {n}")]
    assert ended.text.splitlines() == expected


def test_runs_that_are_on_their_way_to_a_zygote_that_is_replaced_are_served(
    runner: Runner,
) -> None:
    """More connect than wait, and the zygote is let go in that very moment."""
    started = [runner.start("print(1)") for _ in range(8)]
    zygote = runner.sandbox._zygote
    assert zygote is not None
    runner.sandbox._take_over(ZygoteProcess(runner.sandbox._folder, runner.sandbox._settings))
    assert [runner.finish(*each).text for each in started] == ["1"] * 8
    wait_until(lambda: not zygote.is_alive())


def test_files_without_a_name_are_a_full_disk_too(runner: Runner) -> None:
    script = (
        "import os, time\nkept = []\n"
        "for n in range(20):\n"
        "    kept.append(open('f', 'wb')); kept[-1].write(b'x' * (1 << 20)); kept[-1].flush()\n"
        "    os.unlink('f')\n"
        "time.sleep(60)\n"
    )
    assert runner(script, limits=Limits(disk_mb=5)).exit.ended_by == "disk_exceeded"


def test_who_takes_too_much_gets_no_grace_to_take_more(runner: Runner) -> None:
    script = (
        "import signal\nsignal.signal(15, signal.SIG_IGN)\n"
        "n = 0\nwhile True:\n    n += 1\n    open(f'f{n}', 'wb').write(b'x' * (1 << 20))\n"
    )
    ended = runner(script, limits=Limits(disk_mb=20))
    assert ended.exit.ended_by == "disk_exceeded"
    assert ended.exit.wall_ms < 2_500


def test_cpu_of_processes_that_nobody_waited_for_counts(runner: Runner) -> None:
    script = (
        "import os, time\n"
        "while True:\n"
        "    if os.fork() == 0:\n"
        "        if os.fork() == 0:\n"
        "            for _ in range(3_000_000): pass\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "    time.sleep(0.1)\n"
    )
    ended = runner(script, limits=Limits(cpu_seconds=1, timeout_seconds=30))
    assert ended.exit.ended_by == "cpu_exceeded"


@pytest.mark.parametrize("text", ["", '{"fence": 1, "exit', "[]", "\udcff"])
def test_half_a_file_is_no_exit_but_a_mark(tmp_path: Path, text: str) -> None:
    """An orphan whose mark is damaged may have run: it is never simply queued again."""
    (tmp_path / "meta").mkdir()
    for name in ("exit.json", "started.json"):
        (tmp_path / "meta" / name).write_text(text, errors="surrogateescape")
    sandbox = LocalSandbox(tmp_path / "sandbox")
    assert sandbox.find_exit(tmp_path) is None
    assert sandbox.adopt(tmp_path) is None
    sandbox.end_orphans([tmp_path])
    assert sandbox.has_started(tmp_path)


LIBC_S_OWN_SIGNALS = 0b11 << 31  # 32 and 33: make leaves them ignored, and nobody can change that


def test_a_program_starts_with_no_signal_ignored_or_blocked(tmp_path: Path) -> None:
    """Whatever the server itself was started with, such as by nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with open_runner(tmp_path, "best_effort") as runner:
            command = ("/bin/sh", "-c", "grep -E '^Sig(Ign|Blk)' /proc/self/status")
            masks = [
                int(line.split(":")[1], 16) for line in runner(command=command).text.split("\n")
            ]
    finally:
        signal.signal(signal.SIGHUP, before)
    assert [mask & ~LIBC_S_OWN_SIGNALS for mask in masks] == [0, 0]


def test_a_run_goes_on_while_there_is_no_process_for_its_gate(
    tmp_path: Path, mode: SandboxMode
) -> None:
    groups = Groups.find() if os.geteuid() == 0 else None
    if groups is None:
        pytest.skip("there is no control group to refuse a fork with")
    script = (
        "import os, time, urllib.error, urllib.request\n"
        "print('up')\n"
        "while not os.path.exists('go'): time.sleep(0.01)\n"
        "while True:\n"
        "    try: urllib.request.urlopen(os.environ['FLOOM_API_URL'], timeout=1)\n"
        "    except urllib.error.HTTPError: raise SystemExit(3)  # the gate's own answer\n"
        "    except OSError: open('tried', 'w').write('yes')\n"
    )
    sandbox = LocalSandbox(tmp_path / "sandbox", mode=mode, api_socket=tmp_path / "nobody.sock")
    runner = Runner(sandbox, tmp_path)
    group = groups.create(f"none-{os.getpid()}")
    try:
        live, folder = runner.start(script)
        wait_for(folder / "meta" / "log.ndjson")
        group.limit(memory_bytes=1 << 30, tasks=1)
        Path(group.pids, "cgroup.procs").write_text(str(runner.supervisor(folder)))
        (folder / "work" / "go").touch()
        wait_for(folder / "work" / "tried")
        group.limit(memory_bytes=1 << 30, tasks=100)
        assert runner.finish(live, folder).exit.exit_code == 3
    finally:
        sandbox.close()
        wait_until(lambda: not Path(group.pids, "cgroup.procs").read_text())
        group.remove()


def test_a_run_goes_on_whose_server_dies_as_its_gate_opens(
    tmp_path: Path, mode: SandboxMode
) -> None:
    """Its supervisor hears of both at once, and a gate may get the number of what was closed."""
    script = (
        "import os, socket, time, urllib.error, urllib.parse, urllib.request\n"
        "open('up', 'w').write('yes')\n"
        "while not os.path.exists('go'): time.sleep(0.01)\n"
        "url = urllib.parse.urlsplit(os.environ['FLOOM_API_URL'])\n"
        "visit = socket.create_connection((url.hostname, url.port))\n"
        "open('tried', 'w').write('yes')\n"
        "try: urllib.request.urlopen(os.environ['FLOOM_API_URL'], timeout=20)\n"
        "except urllib.error.HTTPError: raise SystemExit(3)  # the gate's own answer\n"
    )
    sandbox = LocalSandbox(tmp_path / "sandbox", mode=mode, api_socket=tmp_path / "nobody.sock")
    try:
        runner = Runner(sandbox, tmp_path)
        live, folder = runner.start(script)
        wait_for(folder / "work" / "up")
        supervisor = runner.supervisor(folder)
        os.kill(supervisor, signal.SIGSTOP)
        (folder / "work" / "go").touch()
        wait_for(folder / "work" / "tried")
        live.close()
        os.kill(supervisor, signal.SIGCONT)
        wait_for(folder / "meta" / EXIT_FILE)
        exit_record = sandbox.find_exit(folder)
        assert exit_record is not None
        assert exit_record.exit_code == 3
    finally:
        sandbox.close()
