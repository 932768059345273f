"""Where supervisors wait side by side until one of them gets a run."""

from __future__ import annotations

import os
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
        listener: Descriptor of the zygote's listening socket.
        taken: Write end of the pipe that tells the zygote.
    """

    listener: int
    taken: int

    def wait(self) -> socket.socket:
        """Return the next connection, which is then this process's own, as is its life."""
        with socket.socket(fileno=self.listener) as listener:
            connection, _ = listener.accept()
        privileges.outlive_parent()
        os.write(self.taken, TAKEN.pack(os.getpid()))
        os.close(self.taken)
        return connection
