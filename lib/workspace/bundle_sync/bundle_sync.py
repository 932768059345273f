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
from contextlib import contextmanager, suppress
from typing import Final

from lib.clock import Clock
from lib.errors import FloomError
from lib.log import event
from lib.workspace.ancestry import is_ancestor
from lib.workspace.bundle_sync.courtesy import Courtesy
from lib.workspace.bundle_sync.depot import Depot, Known
from lib.workspace.bundle_sync.errors import (
    BundleMissing,
    BundleStoreUnavailable,
    Diverged,
)
from lib.workspace.bundle_sync.fetching import fetch
from lib.workspace.bundle_sync.head import Head
from lib.workspace.bundle_sync.merging import Relation, merge, relate
from lib.workspace.bundle_sync.pointer import Increment, Pointer
from lib.workspace.bundle_sync.refresher import Refresher
from lib.workspace.bundle_sync.state import READING, WRITING, Part, StateKeeper
from lib.workspace.bundle_sync.writing import put_base, put_increment
from lib.workspace.draft import Group
from lib.workspace.errors import CommitInDoubt, ObjectNotFound
from lib.workspace.object_store import ObjectSource
from lib.workspace.repository import Repository, explained
from lib.workspace.seed import is_seed

_ROUNDS: Final = 8  # of settling, while others publish

_log = logging.getLogger(__name__)


class BundleSync:
    """Publishes what is committed here, and brings in what others published.

    Args:
        repository: Whose main it is.
        depot: The workspace's blobs.
        head: Their pointer.
        courtesy: To other machines.
        state: Told how things go.
        clock: Dates merges.
        check: Raises where the store cannot be trusted; called before each use.
        refresh_seconds: How old a read may be.
        patience_seconds: How long a reader waits for the store.
    """

    def __init__(
        self,
        repository: Repository,
        depot: Depot,
        head: Head,
        *,
        courtesy: Courtesy,
        state: StateKeeper,
        clock: Clock,
        check: Callable[[], None],
        refresh_seconds: float,
        patience_seconds: float,
    ) -> None:
        self._repository = repository
        self._depot = depot
        self._head = head
        self._courtesy = courtesy
        self._state = state
        self._clock = clock
        self._check = check
        self._refresher = Refresher(
            self._look, every_seconds=refresh_seconds, patience_seconds=patience_seconds
        )
        self._restored: int | None = None  # the pointer at which that was tried
        self._finish: Callable[[], None] = lambda: None
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="bundle-notes")

    def close(self) -> None:
        """End the threads; idempotent."""
        self._refresher.close()
        self._beside.shutdown()

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
            if self._head.known is None or self._head.tip() != group.parent:
                self._settle_before()
            known = self._head.known
            if self._head.tip() != group.parent:
                return False
            self._courtesy.let_pass(lambda: self._head.read() is not known)
            if self._head.known is not known:
                self._settle_before()
                return False
            try:
                is_published = self._publish(known, group.source, group.tip)
            except CommitInDoubt:
                self._state.count(in_doubt=1)
                raise
            if is_published:
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
            known = self._head.read()
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
        known = self._head.read()
        if known is None:
            raise BundleStoreUnavailable(
                "A part of the repository is missing, and the bundle store does not have it."
            )
        event(_log, logging.WARNING, "repository_restored", seq=known.pointer.seq)
        fetch(self._depot, self._repository, known.pointer, anew=True)

    def _restore_once(self, missing: ObjectNotFound) -> None:
        """Restore, unless that has not helped already."""
        seq = self._head.known.pointer.seq if self._head.known else None
        if seq == self._restored:
            raise BundleStoreUnavailable(
                f"{missing} The bundle store does not have it either; see `git fsck`."
            ) from missing
        self._restored = seq
        self.restore()

    def works(self) -> bool:
        """Return whether the store could be used when it last was."""
        return self._head.known is not None and self._state.get().last_error is None

    def refresh(self) -> None:
        """Follow what others published, at most every so often; never fails, never waits long."""
        self._refresher.refresh()

    def tend(self) -> None:
        """Refresh, and where the store took nothing, try whether it does again."""
        self.refresh()
        if self._state.fails_to_write():
            with suppress(FloomError), self._told(WRITING):
                self._depot.probe()

    def _look(self) -> None:
        with self._failures_told():
            known = self._head.known
            now = self._head.read()
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
        known, ours = self._head.read(), self._repository.tip()
        if known is None:
            return ours is None or self._publish(None, self._repository.store, ours)
        try:
            fetched = fetch(self._depot, self._repository, known.pointer)
        except BundleMissing:
            if self._head.read() is known:
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
            with self._told(WRITING):
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
            with self._told(WRITING):
                return self._begin_with(tip, instead_of=None, source=source)
        with self._told(WRITING):
            return self._publish_increment(known, source, tip)

    def _publish_increment(self, known: Known, source: ObjectSource, tip: str) -> bool:
        started, old = time.monotonic(), known.pointer.tip
        looking = self._beside.submit(self._courtesy.look)
        stored: Increment | None = None
        for _ in range(_ROUNDS):
            if stored is None:
                stored = put_increment(self._depot, source, old, tip, seq=known.pointer.seq + 1)
                looking.result()
            new = known.pointer.published(stored, self._head.signature())
            if self._head.move(known, new, is_in=lambda now: self._leads_to(now, tip)):
                self._tell_published(stored.size, started)
                return True
            now = self._head.read()
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
        first = Pointer.first(base, self._head.signature())
        moved = self._head.move(instead_of, first, is_in=lambda now: self._leads_to(now, tip))
        if moved:
            self._tell_published(base.size + base.idx_size, started)
        return moved

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

    def _tell_published(self, size: int, started: float) -> None:
        self._state.published(size)
        took = round((time.monotonic() - started) * 1000, 1)
        event(_log, logging.INFO, "bundle_published", bytes=size, milliseconds=took)

    @contextmanager
    def _told(self, part: Part = READING) -> Iterator[None]:
        """Keep for the state whether the store can be used."""
        with self._failures_told(part):
            yield
        self._tell_works(part)

    @contextmanager
    def _failures_told(self, part: Part = READING) -> Iterator[None]:
        try:
            self._check()
            yield
        except FloomError as ex:
            if self._state.failed(ex, part):
                event(_log, logging.ERROR, "bundle_sync_failed", error=str(ex))
            raise

    def _tell_works(self, part: Part = READING) -> None:
        if self._state.worked(part):
            event(_log, logging.INFO, "bundle_sync_works_again")
