"""Running a coroutine in a loop that leaves no trace."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Return what a coroutine does.

    `asyncio.run` also takes the thread's loop away from whoever set one: the
    Lambda adapter does, and that loop would be collected unclosed.
    """
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
