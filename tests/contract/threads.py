"""Many callers at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

MANY = 32


def together(call: Callable[[int], Result], count: int = MANY) -> list[Result | Exception]:
    """Call with 0, 1, ... from `count` threads that start as one; errors are results."""
    gate = threading.Barrier(count)

    def attempt(number: int) -> Result | Exception:
        gate.wait(timeout=30)
        try:
            return call(number)
        except Exception as ex:  # noqa: BLE001 - the test looks at it
            return ex

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(attempt, range(count)))
