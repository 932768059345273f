"""Where supervisors wait side by side until one of them gets a run."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from dataclasses import dataclass
from typing import Final

from lib.sandbox import privileges

TAKEN: Final = struct.Struct("=i")  # what a supervisor writes when its run comes: its pid


@dataclass(frozen=True)
class Intake:
    """Where supervisors wait side by side, each for one connection.

    Attributes:
        listener: Descriptor of the zygote's listening socket, which does not block.
        lifeline: At end of file no more connections will come.
        taken: Write end of the pipe that tells the zygote.
    """

    listener: int
    lifeline: int
    taken: int

    def wait(self) -> socket.socket | None:
        """Return a connection, which is then this process's own, as is its life.

        None when there is none and none will come.
        """
        with socket.socket(fileno=self.listener) as listener:
            connection = self._accept(listener)
        os.close(self.lifeline)
        if connection is not None:
            privileges.outlive_parent()
            os.write(self.taken, TAKEN.pack(os.getpid()))
        os.close(self.taken)
        return connection

    def _accept(self, listener: socket.socket) -> socket.socket | None:
        poll = select.poll()
        for descriptor in (self.listener, self.lifeline):
            poll.register(descriptor, select.POLLIN)
        while True:
            is_over = any(descriptor == self.lifeline for descriptor, _ in poll.poll())
            with contextlib.suppress(BlockingIOError):  # another one was quicker
                connection, _ = listener.accept()
                connection.setblocking(True)
                return connection
            if is_over:
                return None
