"""Descriptors that a fresh process must not hold."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

_ALL: Final = 1 << 20  # more than any limit in use


def close_all_but(keep: Iterable[int], *, first: int = 3) -> None:
    """Close every descriptor from `first` on, but for those to keep."""
    low = first
    for kept in sorted(keep):
        os.closerange(low, kept)
        low = max(low, kept + 1)
    os.closerange(low, _ALL)
