"""What is written in one go arrives in one piece, and in order."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from lib.web.gathered_writes import AT_ONCE_BYTES, GatheredTransport
from lib.web.shutdown import Shutdown
from tests.lib.web.serving import Served


class Pieces:
    """A transport that remembers what it was told."""

    peer = "somebody"

    def __init__(self) -> None:
        self.told: list[bytes | str] = []
        self.is_lost = False

    def is_closing(self) -> bool:
        return self.is_lost

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def close(self) -> None:
        self.told.append("closed")


async def told(*steps: bytes | str) -> list[bytes | str]:
    """Write bytes, close or let the loop turn; return what became of it."""
    pieces = Pieces()
    gathered = GatheredTransport(cast("Any", pieces), asyncio.get_running_loop())
    for step in steps:
        if isinstance(step, bytes):
            gathered.write(step)
        elif step == "turn":
            await asyncio.sleep(0)
        else:
            gathered.close()
    await asyncio.sleep(0)
    return pieces.told


def test_what_is_written_in_one_turn_is_one_piece() -> None:
    assert asyncio.run(told(b"head ", b"body", "turn", b"next")) == [b"head body", b"next"]


def test_what_is_much_goes_at_once_after_what_came_before() -> None:
    much = bytes(AT_ONCE_BYTES)
    assert asyncio.run(told(b"head ", much, b"rest", "turn")) == [b"head " + much, b"rest"]


def test_a_close_comes_last() -> None:
    assert asyncio.run(told(b"a", b"b", "close")) == [b"ab", "closed"]


def test_who_has_gone_is_written_nothing() -> None:
    async def main() -> list[bytes | str]:
        pieces = Pieces()
        gathered = GatheredTransport(cast("Any", pieces), asyncio.get_running_loop())
        gathered.write(b"head")
        pieces.is_lost = True
        await asyncio.sleep(0)
        return pieces.told

    assert asyncio.run(main()) == []


def test_all_else_is_the_transport_s() -> None:
    async def main() -> str:
        gathered = GatheredTransport(cast("Any", Pieces()), asyncio.get_running_loop())
        return str(gathered.peer)

    assert asyncio.run(main()) == "somebody"


async def answer(_scope: Any, _receive: Any, send: Any) -> None:
    """Answer as an application does: the head, then the body."""
    if _scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the body"})


def test_an_answer_is_one_segment() -> None:
    served = Served(answer, Shutdown())
    try:
        with served.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            received = connection.recv(65536)
    finally:
        served.stop()
    assert received.endswith(b"the body\r\n0\r\n\r\n")  # or the chunks that it is
