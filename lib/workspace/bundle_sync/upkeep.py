"""Keeps the chain short and the store clean, behind the commits and never inside one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Final

from lib.clock import Clock
from lib.log import event
from lib.workspace.bundle_sync.depot import Depot, Known
from lib.workspace.bundle_sync.head import Head
from lib.workspace.bundle_sync.pointer import Increment, Pointer
from lib.workspace.bundle_sync.writing import put_base, put_increment
from lib.workspace.object_store import ObjectStore

FOLD_AT: Final = 16  # increments of one level
MIN_REBASE_BYTES: Final = 256 * 1024  # below, a restore is one round trip anyway
MAX_MOVES: Final = 1_500  # since the base: about 5,000 objects of one-line commits
SWEEP_EVERY: Final = timedelta(hours=24)
KEEP: Final = timedelta(hours=24)  # what nobody names: a slow writer may be about to
REBASE_REST: Final = timedelta(minutes=5)  # after one that failed
IDLE_SECONDS: Final = 30.0
_TRIES: Final = 50  # while others publish

_log = logging.getLogger(__name__)


class Upkeep:
    """One thread; whoever moved the pointer last sees to it.

    Args:
        head: The pointer.
        depot: Where the bundles are.
        store: Has what they hold.
        clock: Says when to sweep.
        tend: Called now and then: nobody else looks for a push while nothing is asked.
    """

    def __init__(
        self,
        head: Head,
        depot: Depot,
        store: ObjectStore,
        *,
        clock: Clock,
        tend: Callable[[], None],
    ) -> None:
        self._head = head
        self._depot = depot
        self._store = store
        self._tend = tend
        self._clock = clock
        self._no_rebase_before = datetime.min.replace(tzinfo=UTC)
        self._changed = threading.Condition()
        self._is_due = False
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="bundle-upkeep", daemon=True)

    def start(self) -> None:
        """Begin; looks at each pointer of ours, and now and then for a person's push."""
        self._head.on_pointer(self._notify)
        self._thread.start()

    def close(self) -> None:
        """End what runs, and the thread; idempotent."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def step(self) -> bool:
        """Do what is due; returns whether there was anything.

        Raises:
            FloomError: the store cannot be used, or did not answer.
        """
        known = self._head.read()
        if known is None or not self._store.has(known.pointer.tip):
            return False
        if folded := due_to_fold(known.pointer):  # first: a base that fails must not let it grow
            return self._fold(known, folded)
        if self._is_rebase_due(known.pointer):
            # not again at once where that fails: a base is the largest of all uploads
            self._no_rebase_before = self._clock.now() + REBASE_REST
            return self._rebase(known)
        return self._is_sweep_due(known.pointer) and self._sweep(known)

    def _is_due_for(self, pointer: Pointer) -> bool:
        """Whether a look at the pointer alone says that there is something to do."""
        is_long = bool(due_to_fold(pointer)) or self._is_rebase_due(pointer)
        return is_long or self._is_sweep_due(pointer)

    def _is_rebase_due(self, pointer: Pointer) -> bool:
        return is_rebase_due(pointer) and self._clock.now() >= self._no_rebase_before

    def _rebase(self, known: Known) -> bool:
        started, pointer = time.monotonic(), known.pointer
        base = put_base(self._depot, self._store, pointer.tip, seq=pointer.seq)
        done = self._replace(known, lambda now: now.rebased(base, self._head.signature()))
        self._tell("bundles_rebased", base.size, started, done=done)
        self._no_rebase_before = self._clock.now()
        return done

    def _fold(self, known: Known, folded: Sequence[Increment]) -> bool:
        started, chain = time.monotonic(), known.pointer.chain()
        at = chain.index(folded[0])
        old = chain[at - 1].tip if at else known.pointer.base.tip
        last = folded[-1]
        into = put_increment(
            self._depot, self._store, old, last.tip, seq=last.seq, level=last.level + 1
        )
        done = self._replace(known, lambda now: now.folded(folded, into, self._head.signature()))
        self._tell("bundles_folded", into.size, started, done=done)
        return done

    def _replace(self, known: Known, change: Callable[[Pointer], Pointer | None]) -> bool:
        """Move the pointer by a change that keeps the tip; others may publish meanwhile."""
        now: Known | None = known
        for _ in range(_TRIES):
            if now is None or now.pointer.swept_at != known.pointer.swept_at:
                return False  # what was stored for it may be swept
            new = change(now.pointer)
            if new is None:
                return False  # somebody else did it, or more
            if self._head.replace(now, new):
                return True
            now = self._head.read()
        return False

    def _is_sweep_due(self, pointer: Pointer) -> bool:
        if pointer.swept_at is None:
            return True
        return self._clock.now() - datetime.fromisoformat(pointer.swept_at) > SWEEP_EVERY

    def _sweep(self, known: Known) -> bool:
        """Delete what was unnamed before every older pointer became void.

        A writer that has stored a bundle and not named it yet finds its pointer moved
        and swept, and stores it again: no clock decides whether that is safe.
        """
        unnamed = self._depot.list_unnamed(known.pointer.keys())
        if not self._head.replace(known, known.pointer.swept(self._head.signature())):
            return True  # look again
        count = self._depot.delete(unnamed, put_before=self._clock.now() - KEEP)
        event(_log, logging.INFO, "bundles_swept", deleted=count)
        return True

    def _tell(self, what: str, size: int, started: float, *, done: bool) -> None:
        took = round((time.monotonic() - started) * 1000, 1)
        event(_log, logging.INFO, what, bytes=size, milliseconds=took, used=done)

    def _notify(self, pointer: Pointer) -> None:
        if pointer.writer == self._head.writer and self._is_due_for(pointer):
            with self._changed:
                self._is_due = True
                self._changed.notify_all()

    def _work(self) -> None:
        while self._begin():
            try:
                while not self._is_closed and self.step():
                    pass
                self._tend()
            except Exception as ex:  # noqa: BLE001 # the thread must live
                event(_log, logging.WARNING, "bundle_upkeep_failed", error=str(ex))

    def _begin(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._is_due or self._is_closed, IDLE_SECONDS)
            self._is_due = False
            return not self._is_closed


def due_to_fold(pointer: Pointer) -> tuple[Increment, ...]:
    """Return the oldest increments of one level that are to become one of the next."""
    for _, level in groupby(pointer.chain(), key=lambda each: each.level):
        same = tuple(level)
        if len(same) >= FOLD_AT:
            return same[:FOLD_AT]
    return ()


def is_rebase_due(pointer: Pointer) -> bool:
    """Return whether a restore reads so much beside the base that a new one pays."""
    beside = sum(each.size for each in pointer.chain())
    is_many = pointer.seq - pointer.base.seq > MAX_MOVES
    return is_many or beside > max(pointer.base.size // 2, MIN_REBASE_BYTES)
