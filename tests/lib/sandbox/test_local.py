"""The local sandbox with real processes: what ends, what is kept, what is left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.manifest.policies import Limits
from lib.sandbox.local import LocalSandbox
from lib.sandbox.port import SandboxUnavailable, Signal
from tests.lib.sandbox.conftest import Runner

MIB = 1024 * 1024


def wait_for(path: Path, seconds: float = 20) -> str:
    """Return a file's text once there is some."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.005)
    raise AssertionError(f"{path} never came")


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_output_becomes_lines_with_stream_and_number(runner: Runner) -> None:
    ended = runner("import sys; print('a'); sys.stdout.flush(); print('b', file=sys.stderr)")
    assert sorted((line[2], line[3]) for line in ended.lines) == [("stderr", "b"), ("stdout", "a")]
    assert [line[0] for line in ended.lines] == [1, 2]
    assert ended.exit.exit_code == 0
    assert ended.exit.last_seq == 2


def test_worker_gets_its_environment_and_no_other(runner: Runner) -> None:
    script = "import os; print(sorted(k for k in os.environ if k != 'LC_CTYPE'))"
    ended = runner(script, environment={"TOKEN": "x"})
    assert ended.lines[0][3] == "['HOME', 'PATH', 'TOKEN']"


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
    child = int(wait_for(folder / "work" / "child"))
    live.cancel()
    ended = runner.finish(live, folder)
    assert ended.exit.ended_by == "cancel"
    assert not is_alive(child)


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
        "while not (os.path.exists('daemon') and open('daemon').read()): time.sleep(0.01)\n"
    )
    ended = runner(script)
    assert ended.exit.exit_code == 0
    assert not is_alive(int((ended.folder / "work" / "daemon").read_text()))


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
    assert ended.exit.exit_code == 128 + signal.SIGXCPU


def test_an_orphan_is_ended_and_leaves_its_record(runner: Runner) -> None:
    live, folder = runner.start("import time; time.sleep(60)")
    assert live.wait(20) is Signal.STARTED
    live.close()  # as if the server had died
    assert runner.sandbox.has_started(folder)
    runner.sandbox.end_orphans([folder])
    record = runner.sandbox.find_exit(folder)
    assert record is not None
    assert record.ended_by == "cancel"


def test_what_a_killed_supervisor_leaves_is_ended_by_the_zygote(
    runner: Runner, is_alive: Callable[[int], bool]
) -> None:
    script = (
        "import os, time\n"
        "pid = os.fork()\n"
        "if pid == 0: os.setsid()\n"
        "else: open('child', 'w').write(str(pid))\n"
        "time.sleep(60)"
    )
    live, folder = runner.start(script)
    child = int(wait_for(folder / "work" / "child"))
    supervisor = int(Path(f"/proc/{child}/stat").read_text().split(") ")[1].split()[1])
    supervisor = int(Path(f"/proc/{supervisor}/stat").read_text().split(") ")[1].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    while live.wait(20) is not Signal.ENDED:
        pass
    live.close()
    assert runner.sandbox.find_exit(folder) is None
    wait_until(lambda: not is_alive(child))


def test_a_killed_zygote_is_replaced(runner: Runner) -> None:
    runner("pass")
    zygote = runner.sandbox._zygote
    assert zygote is not None
    zygote._process.kill()
    zygote._process.wait()
    assert runner("print('again')").text == "again"


def test_require_refuses_while_isolation_is_not_whole(tmp_path: Path) -> None:
    sandbox = LocalSandbox(tmp_path, mode="require")
    with pytest.raises(SandboxUnavailable, match="FLOOM_SANDBOX=require"):
        Runner(sandbox, tmp_path)()
