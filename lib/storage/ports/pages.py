"""Pages of lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Rows in order, and the key after which the next page starts (None: the end)."""

    rows: tuple[Row, ...]
    next_key: str | None = None
