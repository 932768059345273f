"""Doors that answer on loopback, from a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from lib.sandbox.gate import server
from lib.sandbox.gate.allow_list import AllowList
from lib.sandbox.gate.egress import Egress
from lib.sandbox.gate.notices import Notices
from lib.sandbox.gate.policy import Policy
from lib.sandbox.gate.proxy import ProxyDoor
from lib.sandbox.gate.server import Door
from lib.sandbox.gate.upstream import UpstreamProxies
from tests.lib.sandbox.gate.internet import Internet

DEADLINE_SECONDS = 20


@contextmanager
def serving(door: Door, *, max_connections: int = 256) -> Iterator[int]:
    """Serve a door; yield its port."""
    # One interpreter's lock is client and server here: a short queue would overflow.
    listener = socket.create_server(("127.0.0.1", 0), backlog=4_096)
    ready = threading.Event()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    async def main() -> None:
        task = asyncio.ensure_future(server.serve(listener, door, max_connections))
        loops.append((asyncio.get_running_loop(), task))
        ready.set()
        with suppress(asyncio.CancelledError):
            await task

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        assert ready.wait(DEADLINE_SECONDS)
        yield listener.getsockname()[1]
    finally:
        loop, task = loops[0]
        loop.call_soon_threadsafe(task.cancel)
        thread.join(DEADLINE_SECONDS)
        listener.close()


@dataclass
class Proxy:
    """A running egress proxy, and what it told."""

    port: int
    internet: Internet
    pipe: int
    _told: list[str] = field(default_factory=list)

    @property
    def notices(self) -> list[str]:
        os.set_blocking(self.pipe, False)
        try:
            while data := os.read(self.pipe, 65_536):
                self._told += data.decode().splitlines()
        except BlockingIOError:
            pass
        return self._told

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_SECONDS)

    def ask(self, request: bytes) -> bytes:
        """Send bytes and return all that comes back."""
        with self.connect() as client:
            client.sendall(request)
            return read_all(client)


@contextmanager
def proxying(
    internet: Internet,
    *allow: str,
    max_connections: int = 256,
    trusted: Sequence[str] = (),
    proxies: Mapping[str, str] | None = None,
) -> Iterator[Proxy]:
    """Run an egress proxy with this allow list, and the operator's."""
    reader, writer = os.pipe()
    try:
        policy = Policy(AllowList(allow, trusted), internet)
        egress = Egress(policy, internet, Notices(writer), UpstreamProxies(proxies))
        with serving(ProxyDoor(egress), max_connections=max_connections) as port:
            yield Proxy(port, internet, reader)
    finally:
        os.close(reader)
        os.close(writer)


@contextmanager
def upstream(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve each connection with a function, on a thread of its own; yield the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(DEADLINE_SECONDS)
            with suppress(OSError):
                serve(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=one, args=(connection,)))
            threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        acceptor.join(DEADLINE_SECONDS)
        listener.close()
        for thread in threads:
            thread.join(DEADLINE_SECONDS)


def read_all(connection: socket.socket) -> bytes:
    """Return all bytes up to the end of the stream."""
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def read_head(connection: socket.socket) -> bytes:
    """Return a head, byte by byte, with its empty line."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, head
        head += byte
    return head


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])
