"""uvicorn, stopped the way a server with open streams must be."""

from __future__ import annotations

import os
import socket
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import uvicorn

from lib.stop_signals import StopSignals
from lib.web.app import App
from lib.web.bounded_protocol import BoundedProtocol
from lib.web.shutdown import Shutdown

GRACE_SECONDS: Final = 1  # for requests in flight; streams and polls end at once
BACKLOG: Final = 2048


class Server(uvicorn.Server):
    """Serves one application on its sockets until it is told to stop.

    Event streams and long polls hear of the end before uvicorn waits for them,
    and the process then goes on to its own orderly end instead of dying by the
    signal.

    Args:
        app: The application.
        shutdown: Begun when a signal comes.
        stop: The signals.
    """

    def __init__(self, app: App, *, shutdown: Shutdown, stop: StopSignals) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                ws="none",  # else an upgrade is taken wherever a library for it is installed
                access_log=False,
                log_config=None,
                lifespan="on",
                proxy_headers=False,  # the gate decides which peers may say who they forward for
                server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._begin_shutdown = shutdown.begin
        self._stop = stop

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Hear of the signals instead of taking them: uvicorn gives them back too early."""
        return self._stop.calling(self._begin_to_stop)

    def _begin_to_stop(self) -> None:
        self._begin_shutdown()
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises:
        OSError: the address is in use, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server(
        (host.strip("[]"), port), family=family, backlog=BACKLOG, reuse_port=False
    )
    listener.setblocking(False)
    return listener


def listen_below(path: Path) -> socket.socket:
    """Return a Unix socket that listens at a path, in place of what a killed server left there.

    Whoever may enter its folder may connect: who is calling is found out as on
    every other socket.

    Raises:
        OSError: the folder is not there, or cannot be written.
    """
    listener = socket.socket(socket.AF_UNIX)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        path.unlink(missing_ok=True)
        # By way of the descriptor: a socket's path holds 107 bytes only, unix(7).
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        path.chmod(0o666)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(folder)
    return listener
