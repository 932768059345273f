"""Ctrl-C and SIGTERM, at whatever moment, and more than once.

The moments are seen from outside: what the process has mapped, what it has
written. Each was one at which a signal ended the server with a traceback or by
the signal itself.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.server import ServerProcess

STOP_SECONDS = 5
MOMENT_SECONDS = 30

Moment = Callable[[subprocess.Popen[str], ServerProcess], bool]
NUMBERS = {"INT": signal.SIGINT, "TERM": signal.SIGTERM}
Both = pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """One that is not started yet, and is not left behind."""
    server = ServerProcess(tmp_path / "var")
    yield server
    if server.process is not None and server.process.poll() is None:
        server.process.kill()
        server.process.wait()
    if server.process is not None and server.process.stdout:
        server.process.stdout.close()


def takes_signals(process: subprocess.Popen[str], _server: ServerProcess) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = int(re.search(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)[1], 16)  # type: ignore[index]
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def has_imported(library: str) -> Moment:
    return lambda process, _: library in Path(f"/proc/{process.pid}/maps").read_text()


def has_made(path: str) -> Moment:
    return lambda _, server: any(server.data.glob(path))


def has_said(text: str) -> Moment:
    return lambda _, server: text in server.errors.read_text()


STARTING: dict[str, Moment] = {
    "first line": takes_signals,
    "importing pydantic": has_imported("_pydantic_core"),
    "importing uvicorn": has_imported("httptools"),
    "opening the store": has_made("floom.sqlite3"),
    "seeding the workspace": has_made("workspace/.git"),
    "probing the host": has_made("sandbox/zygote-*.sock"),
    "composed": has_made("api/*"),
    "uvicorn starts": has_said("Started server process"),
}
STOPPING: dict[str, Moment] = {
    "at once": lambda *_: True,
    "connections close": has_said("Shutting down"),
    "the application has ended": has_said("Application shutdown complete"),
    "uvicorn has ended": has_said("Finished server process"),
}


def at_each(moments: dict[str, Moment]) -> pytest.MarkDecorator:
    """Each moment with one signal, by turns; with the other one, too, in the long form.

    One handler takes both of them: what differs is the moment.
    """
    return pytest.mark.parametrize(
        ("moment", "number"),
        [
            pytest.param(
                moment,
                number,
                id=f"{moment}-{name}",
                marks=[pytest.mark.soak] if (at + turn) % 2 else [],
            )
            for at, moment in enumerate(moments)
            for turn, (name, number) in enumerate(NUMBERS.items())
        ],
    )


def wait_for(moment: Moment, process: subprocess.Popen[str], server: ServerProcess) -> None:
    deadline = time.monotonic() + MOMENT_SECONDS
    while process.poll() is None and not moment(process, server):
        assert time.monotonic() < deadline
        time.sleep(0.001)


def assert_orderly(process: subprocess.Popen[str], server: ServerProcess) -> None:
    assert process.wait(STOP_SECONDS) == 0
    said = server.errors.read_text()
    assert "Traceback" not in said
    assert '"level":"error"' not in said
    assert "stop_cut_short" not in said


@at_each(STARTING)
def test_a_signal_while_it_starts_ends_it_in_order(
    server: ServerProcess, moment: str, number: signal.Signals
) -> None:
    server.process = process = server.spawn()
    wait_for(STARTING[moment], process, server)
    assert process.poll() is None, "the moment never came"
    process.send_signal(number)
    assert_orderly(process, server)


@at_each(STOPPING)
def test_a_second_signal_changes_nothing(
    server: ServerProcess, moment: str, number: signal.Signals
) -> None:
    process = server.start().process
    assert process is not None
    process.send_signal(number)
    wait_for(STOPPING[moment], process, server)
    process.send_signal(number)
    assert_orderly(process, server)


@Both
def test_signals_without_end_change_nothing(server: ServerProcess, number: signal.Signals) -> None:
    process = server.start().process
    assert process is not None
    deadline = time.monotonic() + STOP_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(number)
        time.sleep(0.002)
    assert_orderly(process, server)


def test_it_starts_again_after_a_start_that_was_broken_off(server: ServerProcess) -> None:
    server.process = process = server.spawn()
    wait_for(STARTING["seeding the workspace"], process, server)
    process.send_signal(signal.SIGINT)
    assert_orderly(process, server)
    assert process.stdout
    process.stdout.close()
    server.start()
    assert server.run("hello-worker", who="Ada")["status"] == "completed"
    assert server.stop() == 0
