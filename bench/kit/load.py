"""HTTP load from a process of its own, so that it does not share an interpreter with anything.

Raw keep-alive connections, each with one request in flight: about 20 us of
client a request, an order less than an HTTP library takes.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import re
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Load:
    """What to send, how much at a time, for how long.

    Attributes:
        requests: Sent in turns.
        expect: Bytes that every good answer holds.
        every: Seconds from one request of a connection to its next; 0: at once.
    """

    port: int
    requests: tuple[bytes, ...]
    connections: int
    seconds: float
    expect: bytes = b"HTTP/1.1 200"
    every: float = 0.0


@dataclass
class Answers:
    """What came back.

    Attributes:
        seconds: Of each answer, in the order of arrival.
        elapsed: From the first request to the end.
        bad: Answers that did not hold what was expected.
    """

    seconds: list[float] = field(default_factory=list)
    elapsed: float = 0.0
    bad: int = 0

    @property
    def per_second(self) -> float:
        """Good answers a second."""
        return (len(self.seconds) - self.bad) / self.elapsed

    @property
    def median(self) -> float:
        """Seconds of the middle answer."""
        return statistics.median(self.seconds)


def get(port: int, target: str) -> bytes:
    """Return a GET request."""
    return f"GET {target} HTTP/1.1\r\nhost: localhost:{port}\r\naccept: */*\r\n\r\n".encode()


def post(port: int, target: str, body: bytes, *, prefer: str = "") -> bytes:
    """Return a POST of JSON."""
    head = (
        f"POST {target} HTTP/1.1\r\nhost: localhost:{port}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n"
    )
    return (head + (f"prefer: {prefer}\r\n" if prefer else "") + "\r\n").encode() + body


class Loader:
    """A process that puts load on servers; made by `loader`."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def start(self, load: Load) -> Future[Answers]:
        """Begin; the result is there when the load's time is over."""
        return self._pool.submit(_run, load)

    def run(self, load: Load) -> Answers:
        """Put on the load and return what came back."""
        answers = self.start(load).result()
        assert not answers.bad, f"{answers.bad} of {len(answers.seconds)} answers were bad"
        return answers


@contextmanager
def loader() -> Iterator[Loader]:
    """Start a load process, ready to go."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(int).result()
        yield Loader(pool)


def _run(load: Load) -> Answers:
    return uvloop.run(_put_on(load))


async def _put_on(load: Load) -> Answers:
    loop, answers = asyncio.get_running_loop(), Answers()
    begun = time.perf_counter()
    made = [
        await loop.create_connection(lambda: _Connection(load, answers), "127.0.0.1", load.port)
        for _ in range(load.connections)
    ]
    await asyncio.sleep(load.seconds)
    answers.elapsed = time.perf_counter() - begun
    for transport, connection in made:
        connection.stopped = True
        transport.close()
    return answers


class _Connection(asyncio.Protocol):
    """Sends the request, waits for the whole answer, and again."""

    def __init__(self, load: Load, answers: Answers) -> None:
        self.stopped = False
        self._load = load
        self._answers = answers
        self._requests = itertools.cycle(load.requests)
        self._received = bytearray()
        self._wanted = 0

    def connection_made(self, transport: Any) -> None:
        """Send the first request."""
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Count an answer once it is whole."""
        self._received += data
        if not self._wanted:
            self._wanted = _size_of(self._received)
        if self._wanted and len(self._received) >= self._wanted:
            self._count()
            self._go_on()

    def _go_on(self) -> None:
        wait = self._sent + self._load.every - time.perf_counter()
        if wait > 0:
            asyncio.get_running_loop().call_later(wait, self._send)
        else:
            self._send()

    def _send(self) -> None:
        if not self.stopped:
            self._sent = time.perf_counter()
            self._transport.write(next(self._requests))

    def _count(self) -> None:
        self._answers.seconds.append(time.perf_counter() - self._sent)
        self._answers.bad += self._load.expect not in self._received
        self._received.clear()
        self._wanted = 0


def _size_of(received: bytearray) -> int:
    """Return how long the whole answer is, 0 while its head is not complete."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return 0
    length = _LENGTH.search(received, 0, end)
    assert length is not None, received[:end]
    return end + 4 + int(length[1])
