"""The first process of a namespace, as far as it can be had without one."""

from __future__ import annotations

import subprocess

from lib.sandbox.runtimes import base_python
from lib.sandbox.zygote_process import ENGINE_ROOT

DEADLINE_SECONDS = 20

PREAMBLE = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from lib.sandbox import init_process
signal.pthread_sigmask(signal.SIG_BLOCK, init_process.SIGNALS)
"""


def output_of(script: str) -> str:
    done = subprocess.run(
        [str(base_python()), "-I", "-c", PREAMBLE + script, str(ENGINE_ROOT)],
        check=False,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        env={},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_worker_that_ended_before_anybody_waited_is_not_waited_for() -> None:
    script = """
pid = os.fork()
if pid == 0:
    os._exit(7)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
signal.sigtimedwait({signal.SIGCHLD}, 5)  # and its signal is spent
print(init_process._wait_for(pid))
"""
    assert output_of(script) == "7"


def test_orphans_that_end_first_do_not_end_the_wait() -> None:
    script = """
other = os.fork()
if other == 0:
    os._exit(1)
pid = os.fork()
if pid == 0:
    os.kill(os.getpid(), signal.SIGKILL)
print(init_process._wait_for(pid))
"""
    assert output_of(script) == "137"


def test_the_report_holds_code_and_time_and_is_missing_when_it_was_killed() -> None:
    script = """
read_end, write_end = os.pipe()
for ends_early in (False, True):
    server = os.fork()
    if server == 0:
        worker = os.fork()
        if worker == 0:
            sum(range(10_000_000))
            os._exit(3)
        if ends_early:
            os.kill(worker, signal.SIGKILL)
            os._exit(0)
        init_process._end_others = lambda: None  # there is no namespace: these are not ours
        init_process.serve(worker, write_end)
    os.waitpid(server, 0)
    if not ends_early:
        ended = init_process.read_report(read_end)
        print(ended.exit_code, ended.cpu_ms > 0)
os.close(write_end)
print(init_process.read_report(read_end))
"""
    assert output_of(script) == "3 True\nNone"
