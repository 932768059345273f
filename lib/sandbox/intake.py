"""A supervisor's line to its zygote: it says that it is ready, and gets a connection."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass
from typing import Final

from lib.sandbox import descriptors, privileges

READY: Final = b"ready"
RUN: Final = b"run"  # comes with a connection


@dataclass(frozen=True)
class Intake:
    """Where runs come from, one after the other.

    Attributes:
        line: To the zygote, which closes it when there will be no more.
        zygote: Its pid.
    """

    line: socket.socket
    zygote: int

    def wait(self) -> socket.socket | None:
        """Return the connection of the next run; None: none will come.

        While it waits this process ends with the zygote; with a run it lives on.
        """
        privileges.die_with_parent(signal.SIGKILL)
        if os.getppid() != self.zygote:
            return None
        try:
            self.line.send(READY)
            _, passed = descriptors.receive(self.line, len(RUN), 1)
        except OSError:
            return None
        if not passed:
            return None
        privileges.outlive_parent()
        connection = socket.socket(fileno=passed[0])
        connection.setblocking(True)
        return connection

    def forget(self) -> None:
        """In a process where the descriptor is closed, or another's: let go of the name."""
        self.line.detach()
