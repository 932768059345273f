"""Ids: a prefix that says what a thing is, and a time-ordered ULID.

The ULID comes in lower case (`run_01jd...`): 48 bits of milliseconds and 80 of
randomness, so ids sort by creation and a time bounds a range of them.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from ulid import ULID

from lib.clock import Clock, to_milliseconds

PREFIXES: Final = (
    "run",
    "apr",
    "fb",
    "art",
    "con",
    "upl",
    "cmt",
    "usr",
    "tok",
    "aud",
    "trg",
    "lnk",
)
# Crockford's base 32 has no i, l, o, u; the first character holds two bits only.
ULID_PATTERN: Final = "[0-7][0-9a-hjkmnp-tv-z]{25}"
WORKER_ID_PATTERN: Final = "^[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?$"
FEEDBACK_ID_PATTERN: Final = "^[A-Za-z0-9._:-]{1,55}$"  # a caller's own; a label of 64 holds it
# What stands below /workers in the API where an id would: nobody could ask for such a worker.
RESERVED_WORKER_IDS: Final = frozenset({"import-from-share", "reload"})
_WORKER_ID: Final = re.compile(WORKER_ID_PATTERN.removesuffix("$") + r"\Z")


class Ids:
    """Makes ids of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def new(self, prefix: str, *, at: datetime | None = None) -> str:
        """Return a fresh id such as `run_01jd...`.

        Args:
            prefix: One of PREFIXES.
            at: The time that it tells; now, if none is given.
        """
        milliseconds = to_milliseconds(at or self._clock.now())
        return f"{prefix}_{str(ULID.from_timestamp(milliseconds)).lower()}"


def pattern(prefix: str) -> str:
    """Return the regular expression of ids with this prefix."""
    return f"^{prefix}_{ULID_PATTERN}$"


def lowest_id_at(prefix: str, at: datetime) -> str:
    """Return the smallest id that could have been made at or after `at`."""
    milliseconds = max(0, to_milliseconds(at))
    return f"{prefix}_{str(ULID.from_bytes(milliseconds.to_bytes(6, 'big') + bytes(10))).lower()}"


def is_worker_id(text: str) -> bool:
    """Return whether `text` is a slug that may name a worker's folder."""
    return _WORKER_ID.match(text) is not None


def is_addressable(worker_id: str) -> bool:
    """Return whether the API has a path for a worker of this id."""
    return is_worker_id(worker_id) and worker_id not in RESERVED_WORKER_IDS
