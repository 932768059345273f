"""The workspace's commits in a store of bundles: published, followed, joined.

A commit counts once the pointer has moved to it. The order is: bundle, pointer,
branch, folder; so a repository is never ahead of the store by a commit that
anybody was told of, and one that is behind only has to read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from lib.clock import Clock, rfc3339
from lib.errors import FloomError
from lib.log import event
from lib.storage.ports import BlobNotFound
from lib.workspace.bundle_sync.courtesy import Courtesy
from lib.workspace.bundle_sync.depot import Depot, Known
from lib.workspace.bundle_sync.errors import (
    BundleMissing,
    BundleStoreUnavailable,
    Diverged,
    PointerLost,
)
from lib.workspace.bundle_sync.fetching import fetch
from lib.workspace.bundle_sync.memory import Memory
from lib.workspace.bundle_sync.merging import Relation, merge, relate
from lib.workspace.bundle_sync.moves import PointerMoves
from lib.workspace.bundle_sync.new_objects import is_ancestor
from lib.workspace.bundle_sync.pointer import Increment, Pointer, Signature
from lib.workspace.bundle_sync.refresher import PATIENCE_SECONDS, Refresher
from lib.workspace.bundle_sync.state import BundleState, StateKeeper
from lib.workspace.bundle_sync.writing import put_base, put_increment
from lib.workspace.draft import Group
from lib.workspace.errors import CommitInDoubt, ObjectNotFound
from lib.workspace.object_store import ObjectSource
from lib.workspace.repository import Repository, explained
from lib.workspace.seed import is_seed

REFRESH_SECONDS: Final = 1.0
_ROUNDS: Final = 8  # of settling, while others publish

_log = logging.getLogger(__name__)


class BundleSync:
    """Publishes what is committed here, and brings in what others published.

    Args:
        repository: Whose main it is.
        depot: The workspace's blobs.
        memory: Whether the store was ever seen.
        address: The store's, for people.
        writer: Names this process in the pointer.
        clock: Dates pointers.
        check: Raises where the store cannot be trusted; called before each use.
        wait: Sleeps for so many seconds between two tries.
        refresh_seconds: How old a read may be.
        patience_seconds: How long a reader waits for the store.
    """

    def __init__(
        self,
        repository: Repository,
        depot: Depot,
        memory: Memory,
        *,
        address: str,
        writer: str,
        clock: Clock,
        check: Callable[[], None] = lambda: None,
        wait: Callable[[float], None] = time.sleep,
        refresh_seconds: float = REFRESH_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._repository = repository
        self._depot = depot
        self._memory = memory
        self._writer = writer
        self._clock = clock
        self._check = check
        self._moves = PointerMoves(depot, wait=wait)
        self._courtesy = Courtesy(depot, writer, clock, wait=wait)
        self._state = StateKeeper(address, clock)
        self._refresher = Refresher(
            self._look, every_seconds=refresh_seconds, patience_seconds=patience_seconds
        )
        self._known: Known | None = None
        self._restored: int | None = None
        self._finish: Callable[[], None] = lambda: None
        self._listeners: list[Callable[[Pointer], None]] = []
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="bundle-notes")

    def close(self) -> None:
        """End the threads; idempotent."""
        self._refresher.close()
        self._beside.shutdown()

    def state(self) -> BundleState:
        """Return how things stand."""
        return self._state.get()

    def on_publish(self, listener: Callable[[Pointer], None]) -> None:
        """Call `listener`, which returns at once, with each pointer that was moved or read."""
        self._listeners.append(listener)

    def before_move(self, finish: Callable[[], None]) -> None:
        """Call `finish` before main is brought to what others published.

        A server that was killed while it wrote the folder left it between two tips:
        it is finished for the one before main goes on.
        """
        self._finish = finish

    def publish(self, group: Group) -> bool:
        """Store a group; False when another tip was published first, which main is at then.

        The caller holds the turnstile.

        Raises:
            CommitInDoubt: it may have been published.
            FloomError: it was not; the branch stands.
        """
        with self._told():
            if self._known is None or self._known.pointer.tip != group.parent:
                self._settle_before()
            known = self._known
            if (known.pointer.tip if known else None) != group.parent:
                return False
            self._courtesy.let_pass(lambda: self.read_pointer() is not known)
            if self._known is not known:
                self._settle_before()
                return False
            if self._publish(known, group.source, group.tip):
                self._courtesy.won()
                return True
            self._courtesy.lost()
            self._state.count(lost=1)
            self._settle_before()
            return False

    def confirm(self, tip: str | None) -> bool:
        """Return whether `tip` is what was published last; else main is brought there.

        Raises:
            FloomError: that cannot be known now.
        """
        with self._told():
            known = self.read_pointer()
            if known is None or known.pointer.tip != tip:
                self._settle_before()
        return self._repository.tip() == tip

    def settle(self) -> None:
        """Bring main and the store to one tip. The caller holds the turnstile.

        Behind, main follows; ahead (a person's push), it is published; apart, both
        are joined by a merge. A store without any pointer gets all of main.

        Raises:
            Diverged: they cannot be joined without a person.
            PointerLost: the store had a pointer, and has none.
            FloomError: the store or the repository cannot be used.
        """
        with self._told():
            for _ in range(_ROUNDS):
                try:
                    if self._step():
                        return
                except ObjectNotFound as ex:
                    self._restore_once(ex)
        raise BundleStoreUnavailable("Others keep publishing; try again in a moment.")

    def restore(self) -> None:
        """Bring in all that was published, for a repository that lost a part of it.

        Raises:
            FloomError: the store or the repository cannot be used.
        """
        known = self.read_pointer()
        if known is None:
            raise BundleStoreUnavailable(
                "A part of the repository is missing, and the bundle store does not have it."
            )
        event(_log, logging.WARNING, "repository_restored", seq=known.pointer.seq)
        fetch(self._depot, self._repository, known.pointer, anew=True)

    def _restore_once(self, missing: ObjectNotFound) -> None:
        """Restore, unless that has not helped already."""
        seq = self._known.pointer.seq if self._known else None
        if seq == self._restored:
            raise BundleStoreUnavailable(
                f"{missing} The bundle store does not have it either; see `git fsck`."
            ) from missing
        self._restored = seq
        self.restore()

    def works(self) -> bool:
        """Return whether the store could be used when it last was."""
        return self._known is not None and self._state.get().last_error is None

    def refresh(self) -> None:
        """Follow what others published, at most every so often; never fails, never waits long."""
        self._refresher.refresh()

    def read_pointer(self) -> Known | None:
        """Return the pointer as it is in the store; None where there is none yet.

        Raises:
            PointerLost: there was one.
            FloomError: it cannot be read.
        """
        known = self._known
        try:
            now = self._depot.read_pointer(unless_etag=known.etag if known else None)
        except BlobNotFound as ex:
            if self._memory.has_seen:
                raise PointerLost(_LOST) from ex
            return None
        return self._keep(now) if now is not None else known

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

        moved = self._moves.move(old, new, is_in=is_in)
        if moved is not None:
            self._keep(moved)
            self._state.count(folds=new.increments != old.pointer.increments)
        return moved is not None

    def signature(self) -> Signature:
        """Return who moves a pointer, and when."""
        return Signature(self._writer, rfc3339(self._clock.now()))

    def _look(self) -> None:
        with self._failures_told():
            known = self._known
            now = self.read_pointer()
            if now is not None and now is known and self._repository.tip() == now.pointer.tip:
                self._tell_works()
                return
            with (
                explained("The workspace cannot be written"),
                self._repository.turnstile.held_if_free() as is_free,
            ):
                if is_free:  # else somebody commits, who settles
                    self.settle()

    def _settle_before(self) -> None:
        """Settle; what is in doubt then is not what the caller wants to commit."""
        try:
            self.settle()
        except CommitInDoubt as ex:
            raise BundleStoreUnavailable(
                "The bundle store did not say whether it took what was pushed here; nothing of this "
                "request was tried."
            ) from ex

    def _step(self) -> bool:
        """Come nearer to one tip; returns whether this is it."""
        known, ours = self.read_pointer(), self._repository.tip()
        if known is None:
            return ours is None or self._publish(None, self._repository.store, ours)
        try:
            fetched = fetch(self._depot, self._repository, known.pointer)
        except BundleMissing:
            if self.read_pointer() is known:
                raise
            return False  # folded or swept meanwhile
        if fetched:
            event(_log, logging.INFO, "bundles_fetched", bytes=fetched, seq=known.pointer.seq)
        if ours is None:
            return self._point(None, known.pointer.tip)
        return self._join(known, ours)

    def _join(self, known: Known, ours: str) -> bool:
        """Bring our tip and the published one together, both of which are here."""
        store, theirs = self._repository.store, known.pointer.tip
        relation = relate(store, ours, theirs)
        if relation is Relation.BEHIND:
            return self._point(ours, theirs)
        if relation is Relation.AHEAD:
            return self._publish(known, store, ours)
        if relation is Relation.SAME:
            return True
        if is_seed(store.commit(ours)):
            with explained("The workspace cannot be written"):
                self._repository.keep(ours)  # runs may be frozen at it
            return self._point(ours, theirs)
        if is_seed(store.commit(theirs)):
            return self._begin_with(ours, instead_of=known)
        try:
            merged = merge(self._repository, ours, theirs, self._clock)
        except Diverged:
            with explained("The workspace cannot be written"):
                self._repository.keep(theirs)  # for the person who has to merge
            raise
        return self._publish(known, store, merged) and self._point(ours, merged)

    def _publish(self, known: Known | None, source: ObjectSource, tip: str) -> bool:
        """Publish what `tip` has beyond the pointer; False when another came first."""
        if known is None:
            return self._begin_with(tip, instead_of=None, source=source)
        started, old = time.monotonic(), known.pointer.tip
        looking = self._beside.submit(self._courtesy.look)
        stored: Increment | None = None
        for _ in range(_ROUNDS):
            if stored is None:
                stored = put_increment(self._depot, source, old, tip, seq=known.pointer.seq + 1)
                looking.result()
            new = known.pointer.published(stored, self.signature())
            moved = self._moves.move(known, new, is_in=lambda now: self._leads_to(now, tip))
            if moved is not None:
                self._keep(moved)
                self._tell_published(stored.size, started)
                return True
            now = self.read_pointer()
            if now is None or now.pointer.tip != old:
                return False
            # The same tip: its bundles were folded meanwhile, or swept, and ours with them.
            if now.pointer.swept_at != known.pointer.swept_at:
                stored = None
            known = now
        raise BundleStoreUnavailable("The bundle store keeps refusing; try again in a moment.")

    def _begin_with(
        self, tip: str, *, instead_of: Known | None, source: ObjectSource | None = None
    ) -> bool:
        """Publish all of `tip` in a store without history; False when another came first."""
        started = time.monotonic()
        seq = instead_of.pointer.seq + 1 if instead_of else 1
        base = put_base(self._depot, source or self._repository.store, tip, seq=seq)
        moved = self._moves.move(
            instead_of,
            Pointer.first(base, self.signature()),
            is_in=lambda now: self._leads_to(now, tip),
        )
        if moved is not None:
            self._keep(moved)
            self._tell_published(base.size + base.idx_size, started)
        return moved is not None

    def _leads_to(self, now: Known, tip: str) -> bool:
        """Whether a commit of ours is among what a pointer leads to; it is in the repository."""
        if now.pointer.has_published(tip):
            return True
        fetch(self._depot, self._repository, now.pointer)
        return is_ancestor(self._repository.store, tip, now.pointer.tip)

    def _point(self, old: str | None, new: str) -> bool:
        with explained("The workspace cannot be written"):
            self._finish()
            return self._repository.point(old, new)

    def _keep(self, known: Known) -> Known:
        with explained("The workspace cannot be written"):
            self._memory.keep()
        self._known = known
        self._state.saw(known.pointer)
        for listener in self._listeners:
            listener(known.pointer)
        return known

    def _tell_published(self, size: int, started: float) -> None:
        self._state.published(size)
        took = round((time.monotonic() - started) * 1000, 1)
        event(_log, logging.INFO, "bundle_published", bytes=size, milliseconds=took)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Keep for the state whether the store can be used."""
        with self._failures_told():
            yield
        self._tell_works()

    @contextmanager
    def _failures_told(self) -> Iterator[None]:
        try:
            self._check()
            yield
        except FloomError as ex:
            self._state.count(in_doubt=isinstance(ex, CommitInDoubt))
            if self._state.failed(str(ex)):
                event(_log, logging.ERROR, "bundle_sync_failed", error=str(ex))
            raise

    def _tell_works(self) -> None:
        if self._state.worked():
            event(_log, logging.INFO, "bundle_sync_works_again")


_LOST: Final = (
    "The bundle store has no HEAD.json any more, although it had one: is it the right bucket, and "
    "is it whole? Nothing was changed; docs/git-workspace.md says how to go on."
)
