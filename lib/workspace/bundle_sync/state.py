"""How the workspace and its bundle store stand, for people and their monitors."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from lib.clock import Clock
from lib.errors import FloomError
from lib.workspace.bundle_sync.pointer import Pointer

Part = Literal["reading", "writing"]
READING: Final = "reading"
WRITING: Final = "writing"


@dataclass(frozen=True, slots=True)
class BundleState:
    """One look.

    Attributes:
        store: Its address.
        seq: Of the pointer as it was last read; None before that.
        increments: Bundles on top of the base.
        bytes: Of all that the pointer names.
        published: Groups of commits that this process has published.
        published_bytes: Of their bundles.
        lost: Races that another won; the changes were applied again.
        in_doubt: Commits of which the store did not say whether it took them.
        folds: Increments and bases that were made of others.
        last_published_at: When it last did.
        last_error: Why the store, or what it holds, could not be used the last time.
        last_code: The code of that error, for who may not read the rest.
        failing_since: When that began.
    """

    store: str
    seq: int | None = None
    increments: int = 0
    bytes: int = 0
    published: int = 0
    published_bytes: int = 0
    lost: int = 0
    in_doubt: int = 0
    folds: int = 0
    last_published_at: datetime | None = None
    last_error: str | None = None
    last_code: str | None = None
    failing_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Failure:
    error: str
    code: str
    since: datetime


class StateKeeper:
    """The state as it changes. Any thread may call."""

    def __init__(self, store: str, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._state = BundleState(store)
        self._failing: dict[Part, _Failure] = {}

    def get(self) -> BundleState:
        """Return the present one."""
        with self._lock:
            worst = self._failing.get(WRITING) or self._failing.get(READING)
            if worst is None:
                return self._state
            return replace(
                self._state,
                last_error=worst.error,
                last_code=worst.code,
                failing_since=worst.since,
            )

    def fails_to_write(self) -> bool:
        """Return whether the store did not take what was last put there."""
        with self._lock:
            return WRITING in self._failing

    def saw(self, pointer: Pointer) -> None:
        """The pointer was read, or moved."""
        sizes = [each.size for each in pointer.chain()]
        with self._lock:
            self._state = replace(
                self._state,
                seq=pointer.seq,
                increments=len(sizes),
                bytes=pointer.base.size + pointer.base.idx_size + sum(sizes),
            )

    def published(self, size: int) -> None:
        """A bundle of this many bytes was published."""
        with self._lock:
            self._state = replace(
                self._state,
                published=self._state.published + 1,
                published_bytes=self._state.published_bytes + size,
                last_published_at=self._clock.now(),
            )

    def count(self, *, lost: int = 0, in_doubt: int = 0, folds: int = 0) -> None:
        """Add to what is counted."""
        with self._lock:
            self._state = replace(
                self._state,
                lost=self._state.lost + lost,
                in_doubt=self._state.in_doubt + in_doubt,
                folds=self._state.folds + folds,
            )

    def worked(self, part: Part = READING) -> bool:
        """The store answered; returns whether it had not before. What it takes it can be read."""
        with self._lock:
            ended = [self._failing.pop(each, None) for each in {READING, part}]
            return any(ended)

    def failed(self, error: FloomError, part: Part = READING) -> bool:
        """It did not, or not as it should; returns whether that is news.

        A failure to write stands until something was written: that it can be read says
        nothing of it.
        """
        with self._lock:
            known = self._failing.get(part)
            since = known.since if known else self._clock.now()
            self._failing[part] = _Failure(str(error), error.code, since)
            return known is None or known.error != str(error)
