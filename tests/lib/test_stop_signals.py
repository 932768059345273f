"""What becomes of SIGINT and SIGTERM, in a process of the test's own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lib.stop_signals import StopSignals

ROOT = Path(__file__).resolve().parents[2]
HEAD = """
import os, signal, time
from lib.stop_signals import StopSignals
def send(number=signal.SIGINT):
    os.kill(os.getpid(), number)
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HEAD + program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("number", ["signal.SIGINT", "signal.SIGTERM"])
def test_while_nothing_is_held_a_signal_is_the_end(number: str) -> None:
    ended = run(f"with StopSignals():\n  send({number})\n  print('went on')")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_what_is_held_is_taken_down_by_the_program_itself() -> None:
    ended = run(
        "with StopSignals() as stop:\n"
        "  stop.hold()\n"
        "  print(stop.have_come); send(); send(signal.SIGTERM); print(stop.have_come)\n"
        "send(); send(signal.SIGTERM); print('the end')"
    )
    assert (ended.returncode, ended.stdout.split("\n")) == (0, ["False", "True", "the end", ""])
    assert ended.stderr == ""


def test_who_waits_for_it_is_called_once() -> None:
    ended = run(
        "with StopSignals() as stop:\n"
        "  stop.hold()\n"
        "  with stop.calling(lambda: print('stop')):\n"
        "    send(); send()\n"
    )
    assert ended.stdout == "stop\n"


def test_who_comes_after_the_signal_is_called_at_once() -> None:
    ended = run(
        "with StopSignals() as stop:\n"
        "  stop.hold(); send()\n"
        "  with stop.calling(lambda: print('stop')):\n"
        "    print('inside')\n"
    )
    assert ended.stdout == "stop\ninside\n"


def test_an_end_that_takes_too_long_is_cut_short() -> None:
    ended = run(
        "with StopSignals(stop_seconds=0.01) as stop:\n  stop.hold(); send(); time.sleep(60)\n"
    )
    assert (ended.returncode, ended.stderr) == (0, "stop_cut_short\n")


def test_it_is_idle_until_it_is_entered() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    StopSignals()
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
