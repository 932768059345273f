"""Numbers as people read them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def ms(seconds: Sequence[float]) -> str:
    """Return the median as milliseconds."""
    return f"{statistics.median(seconds) * 1e3:.1f} ms"


def paired(base: str) -> str:
    """Return the head of a column of `ratio`, which no two other columns give."""
    return f"of {base}, median of pairs"


def ratio(these: Sequence[float], those: Sequence[float]) -> str:
    """Return the median of the ratios of pairs, measured next to one another."""
    found = statistics.median(this / that for this, that in zip(these, those, strict=True))
    return f"{found:.2f}x"
