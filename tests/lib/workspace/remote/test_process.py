"""Processes: bounded, and ended with all that they started."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from lib.workspace.remote import process
from tests.lib.workspace.place import wait_for

ENVIRONMENT = {"PATH": os.defpath}


def run(
    script: str, *, seconds: float = 20, closing: threading.Event | None = None
) -> process.Output:
    return process.run(
        ["sh", "-c", script],
        environment=ENVIRONMENT,
        seconds=seconds,
        closing=closing or threading.Event(),
    )


def test_status_and_both_outputs_are_returned() -> None:
    assert run("echo out; echo errors >&2; exit 3") == process.Output(3, "out\n", "errors\n")


def test_output_that_was_closed_early_is_no_end() -> None:
    assert run("exec >&- 2>&-; sleep 0.2; exit 4").status == 4


def test_what_is_over_the_limit_is_dropped() -> None:
    out = run(f"head -c {3 * process.MAX_OUTPUT_BYTES} /dev/zero").out
    assert len(out) == process.MAX_OUTPUT_BYTES


def test_who_lives_on_with_the_outputs_is_not_waited_for(tmp_path: Path) -> None:
    """As the process of a shared ssh connection does."""
    begun = time.monotonic()
    daemon = "import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(60)"
    out = run(f"{sys.executable} -c '{daemon}' & read -r _ < /dev/null; sleep 0.5; echo done").out
    assert time.monotonic() - begun < 15
    assert out.endswith("done\n")
    with suppress(ProcessLookupError):
        os.kill(int(out.split()[0]), 9)


@pytest.mark.parametrize("stubborn", ["", "trap '' TERM; "])
def test_a_limit_ends_the_whole_group(tmp_path: Path, stubborn: str) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(TimeoutError):
        run(
            f"{stubborn}(echo $$ >/dev/null; sleep 60) & echo $! > {pid}; wait; sleep 60",
            seconds=0.5,
        )
    wait_for(lambda: has_ended(int(pid.read_text())))


def test_closing_ends_what_runs_and_lets_nothing_start() -> None:
    closing = threading.Event()
    timer = threading.Timer(0.2, closing.set)
    timer.start()
    with pytest.raises(process.Closed):
        run("sleep 60", closing=closing)
    with pytest.raises(process.Closed):
        run("echo never", closing=closing)
    timer.join()


def has_ended(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True
