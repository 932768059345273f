"""A live run, as the server sees it."""

from __future__ import annotations

import socket
import threading

import pytest

from lib.sandbox import wire
from lib.sandbox.live_process import NOTE_SECONDS, LiveProcess
from lib.sandbox.port import Signal


@pytest.mark.parametrize("ends_with", ["a word", "a hang-up", "our own"])
def test_no_note_is_taken_to_a_run_that_is_over(ends_with: str) -> None:
    ours, theirs = socket.socketpair()
    live = LiveProcess(ours)
    with theirs:
        if ends_with == "our own":
            live.close()
        else:
            theirs.sendall(wire.EXIT)
            if ends_with == "a hang-up":
                theirs.shutdown(socket.SHUT_WR)
                assert live.wait(1) is Signal.ENDED
            assert live.wait(1) is Signal.ENDED
        note = threading.Thread(target=live.note, args=("info", "too late"), daemon=True)
        note.start()
        note.join(NOTE_SECONDS / 2)
        assert not note.is_alive()  # it waits for nobody to say that it stands
        live.close()
        assert theirs.recv(100) == b""
