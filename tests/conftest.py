"""What tests of several parts of the tree stand on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def thread_loop() -> Iterator[None]:
    """Give the thread an event loop, as Lambda's process has one, and close it.

    Mangum takes the thread's loop, or makes one and leaves it there: right for a
    function, which keeps it until it ends. Here the next `asyncio.run` would drop
    it unclosed, and the collector complain in the middle of some other test.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
