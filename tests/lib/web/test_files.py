"""An open file as an answer."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from lib.web.files import CHUNK_BYTES, OpenFile


def test_what_is_left_is_sent_in_pieces_and_the_file_closed(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(2 * CHUNK_BYTES + 7)
    (tmp_path / "x").write_bytes(data)
    file = (tmp_path / "x").open("rb")

    async def sent() -> list[bytes]:
        stream = OpenFile(file)
        chunks = [chunk async for chunk in stream]
        await stream.close()
        return chunks

    chunks = asyncio.run(sent())
    assert b"".join(chunks) == data
    assert max(map(len, chunks)) == CHUNK_BYTES
    assert file.closed


def test_it_is_closed_though_nobody_read_it(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    file = (tmp_path / "x").open("rb")
    asyncio.run(OpenFile(file).close())
    assert file.closed
