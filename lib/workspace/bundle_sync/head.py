"""The pointer as this process knows it: read, kept, and moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lib.clock import Clock, rfc3339
from lib.storage.ports import BlobNotFound
from lib.workspace.bundle_sync.depot import Depot, Known
from lib.workspace.bundle_sync.errors import PointerLost
from lib.workspace.bundle_sync.memory import Memory
from lib.workspace.bundle_sync.moves import IsIn, PointerMoves
from lib.workspace.bundle_sync.pointer import Pointer, Signature
from lib.workspace.bundle_sync.state import StateKeeper
from lib.workspace.repository import explained


class Head:
    """What the store's pointer was when it was last seen. Any thread may call.

    Threads may keep what they read in any order: who moves a pointer that is another
    by now is refused by the store.

    Args:
        depot: Where the pointer is.
        memory: Whether the store was ever seen.
        state: Told of each pointer.
        moves: How it is moved.
        writer: Names this process in the pointer.
        clock: Dates it.

    Attributes:
        known: The pointer, None before the first look and in a new store.
        writer: As given.
    """

    def __init__(
        self,
        depot: Depot,
        memory: Memory,
        state: StateKeeper,
        *,
        moves: PointerMoves,
        writer: str,
        clock: Clock,
    ) -> None:
        self._depot = depot
        self._memory = memory
        self._state = state
        self._moves = moves
        self._clock = clock
        self._listeners: list[Callable[[Pointer], None]] = []
        self.writer = writer
        self.known: Known | None = None

    def on_pointer(self, listener: Callable[[Pointer], None]) -> None:
        """Call `listener`, which returns at once, with each pointer that was moved or read."""
        self._listeners.append(listener)

    def tip(self) -> str | None:
        """Return the commit that was published last, as far as is known."""
        return self.known.pointer.tip if self.known is not None else None

    def read(self) -> Known | None:
        """Return the pointer as it is in the store; None where there is none yet.

        Raises:
            PointerLost: there was one.
            FloomError: it cannot be read.
        """
        known = self.known
        try:
            now = self._depot.read_pointer(unless_etag=known.etag if known else None)
        except BlobNotFound as ex:
            if self._memory.has_seen:
                raise PointerLost(_LOST) from ex
            return None
        return self._keep(now) if now is not None else known

    def move(self, old: Known | None, new: Pointer, *, is_in: IsIn) -> bool:
        """Move the pointer from `old`; False when another came first. As `PointerMoves.move`."""
        moved = self._moves.move(old, new, is_in=is_in)
        if moved is not None:
            self._keep(moved)
        return moved is not None

    def replace(self, old: Known, new: Pointer) -> bool:
        """Move the pointer to one with the same tip; False when another came first.

        Raises:
            CommitInDoubt: it is not known.
            StoreUnavailable: it did not move.
        """
        rows = {*new.increments} - {*old.pointer.increments}

        def is_in(now: Known) -> bool:
            same = (now.pointer.base, now.pointer.swept_at) == (new.base, new.swept_at)
            return same and rows <= {*now.pointer.increments}

        moved = self.move(old, new, is_in=is_in)
        self._state.count(folds=moved and new.increments != old.pointer.increments)
        return moved

    def signature(self) -> Signature:
        """Return who moves a pointer, and when."""
        return Signature(self.writer, rfc3339(self._clock.now()))

    def _keep(self, known: Known) -> Known:
        with explained("The workspace cannot be written"):
            self._memory.keep()
        self.known = known
        self._state.saw(known.pointer)
        for listener in self._listeners:
            listener(known.pointer)
        return known


_LOST: Final = (
    "The bundle store has no HEAD.json any more, although it had one: is it the right bucket, and "
    "is it whole? Nothing was changed; docs/git-workspace.md says how to go on."
)
