"""Servers to measure: the real one, and a bare Falcon application."""

from __future__ import annotations

import multiprocessing
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import falcon.asgi
import uvicorn

from tests.e2e.server import ServerProcess

START_SECONDS = 20.0


@contextmanager
def floom(**environment: str) -> Iterator[ServerProcess]:
    """Run the real server on a fresh data folder."""
    with tempfile.TemporaryDirectory() as folder, floom_on(Path(folder), **environment) as server:
        yield server


@contextmanager
def floom_on(folder: Path, **environment: str) -> Iterator[ServerProcess]:
    """Run the real server on `<folder>/data`, which may hold something already."""
    with ServerProcess(folder / "data", port=0, **environment) as server:
        yield server


@contextmanager
def connected(port: int) -> Iterator[HTTPConnection]:
    """Open one keep-alive connection; answers are not delayed by Nagle's algorithm."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def bare_falcon(body: bytes) -> Iterator[int]:
    """Run Falcon alone, answering `body` at /runs, in a process; yield its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(body, listener), daemon=True
    )
    process.start()
    try:
        await_answer(listener.getsockname()[1], "/runs")
        yield listener.getsockname()[1]
    finally:
        process.terminate()
        process.join()
        listener.close()


class _Rows:
    """Answers the same bytes each time."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def on_get(self, _request: Any, response: falcon.asgi.Response) -> None:
        """Answer."""
        response.data = self._body
        response.content_type = "application/json"


def _serve(body: bytes, listener: socket.socket) -> None:
    app: falcon.asgi.App[Any, Any] = falcon.asgi.App()
    app.add_route("/runs", _Rows(body))
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )
    uvicorn.Server(config).run(sockets=[listener])


def await_answer(port: int, path: str) -> None:
    """Wait until a server answers at all."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with connected(port) as connection:
                connection.request("GET", path)
                connection.getresponse().read()
                return
        except OSError:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.05)
