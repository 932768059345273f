"""The one write path: change functions become commits, in groups, by one thread.

All changes that wait are applied on the present tip, each as its own commit, on
top of one another; they are written as one pack and one move of the branch.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lib.clock import Clock
from lib.errors import FloomError
from lib.log import event
from lib.workspace.ancestry import RequestTrailers, find_request_since
from lib.workspace.commit_objects import compose_message, encode_commit
from lib.workspace.draft import CommitResult, Draft, Group, Publisher, Request
from lib.workspace.errors import CommitInDoubt, RequestDone, WorkspaceConflict, WorkspaceUnavailable
from lib.workspace.git_paths import shown
from lib.workspace.pack_merge import merge_if_due
from lib.workspace.repository import Repository, explained
from lib.workspace.tree_view import changes
from lib.workspace.write_out import Base, WorkTree

LINGER_SECONDS: Final = 0.002  # for as many callers as last time: nearly doubles throughput
DEADLINE_SECONDS: Final = 10.0
MAX_GROUP: Final = 256
MERGE_CHECK_GROUPS: Final = 8  # counting packs costs a look into their folder

_SHOWN_PATHS: Final = 10  # in a message

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Applied:
    """Answers that hold once the draft's tip is published."""

    answers: Sequence[tuple[Request, CommitResult]]
    settled: frozenset[str]


class Committer:
    """Takes changes from any thread; one thread of its own applies them.

    Args:
        repository: Where the commits go.
        work_tree: The folder that follows the branch; None where there is none.
        publisher: Called before the branch moves; None for a repository that is
            the only copy.
        follow: Told the tip now and then, by a thread that nobody waits for.
        deadline_seconds: How long a change may wait, and be applied again.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        work_tree: WorkTree | None,
        clock: Clock,
        publisher: Publisher | None = None,
        follow: Callable[[str | None], None] = lambda _: None,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._deadline_seconds = deadline_seconds
        self._repository = repository
        self._work_tree = work_tree
        self._clock = clock
        self._publisher = publisher
        self._follow = follow
        self._waiting: deque[Request] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._last_group = 1
        self._groups = 0
        self._thread = threading.Thread(target=self._run, name="workspace-committer", daemon=True)
        self._merger: threading.Thread | None = None
        self._thread.start()

    def commit(self, request: Request) -> CommitResult:
        """Apply a change and wait until its commit, and its files, are on disk.

        Raises:
            WorkspaceConflict: the turn did not come within the deadline.
            WorkspaceUnavailable: it is closed, or the disk cannot be written.
            Exception: whatever the change raised.
        """
        with self._changed:
            if self._closed:
                raise WorkspaceUnavailable("The workspace is closed; the server is stopping.")
            self._waiting.append(request)
            self._changed.notify_all()
        try:
            return request.answer.result(self._deadline_seconds)
        except TimeoutError as ex:
            if request.answer.done() and not request.answer.cancelled():
                return request.answer.result()  # the change's own TimeoutError, or just in time
            if not request.answer.cancel():
                return request.answer.result()  # being written: not to be given up half way
            raise WorkspaceConflict(
                "Other writers keep the workspace busy; try again in a moment."
            ) from ex

    def close(self) -> None:
        """Finish what waits, then end the threads; idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        if self._merger is not None:
            self._merger.join()

    def _run(self) -> None:
        while requests := self._next_group():
            try:
                self._process(requests)
            except Exception as ex:  # noqa: BLE001  # the thread must live, the callers must know
                _fail(requests, ex)
            self._last_group = len(requests)
            self._merge_later()

    def _next_group(self) -> list[Request]:
        """Wait for requests and return them; none once it is closed and all are done."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._last_group > 1:
                enough = min(self._last_group, MAX_GROUP)
                self._changed.wait_for(lambda: len(self._waiting) >= enough, LINGER_SECONDS)
            count = min(len(self._waiting), MAX_GROUP)
            return [self._waiting.popleft() for _ in range(count)]

    def _process(self, requests: list[Request]) -> None:
        """Publish a group, again and again while others move the branch."""
        deadline = time.monotonic() + self._deadline_seconds
        with explained("The workspace cannot be written"), self._repository.turnstile.held():
            # from here on a caller can no longer give up
            live = [each for each in requests if each.answer.set_running_or_notify_cancel()]
            while live and time.monotonic() < deadline:
                if self._try(live):
                    return
        _fail(live, WorkspaceConflict("Others kept moving main; try again in a moment."))

    def _try(self, live: list[Request]) -> bool:
        """Apply and publish; False when another tip came first."""
        draft = Draft(self._repository, self._repository.tip())
        self._write_out(draft.tree, frozenset())
        applied = self._apply(draft, [each for each in live if not each.answer.done()])
        if draft.tip != draft.parent and draft.tip is not None:
            synced = self._publish(Group(draft.parent, draft.tip, draft.pack.build(), draft.source))
            if synced is None:
                return False
            self._repository.store.keep(draft.pack.contents())
            draft.source.hand_over()
            self._write_out_published(draft, applied.settled)
            if self._publisher is None:  # else it is published, and nothing may fail it any more
                synced.result()
        elif self._publisher is not None and not self._publisher.confirm(draft.parent):
            return False  # nothing to do was true of an old tree
        for request, result in applied.answers:
            request.answer.set_result(result)
        return True

    def _write_out_published(self, draft: Draft, settled: frozenset[str]) -> None:
        """Bring the folder along, unless the branch is elsewhere and is to be settled first."""
        try:
            is_there = self._repository.tip() == draft.tip
        except WorkspaceUnavailable:  # told when it is read the next time; this is published
            return
        if is_there:
            self._write_out(draft.tree, settled)

    def _apply(self, draft: Draft, requests: list[Request]) -> _Applied:
        answers = []
        settled: set[str] = set()
        base = self._work_tree.base() if self._work_tree else None
        for request in requests:
            before, savepoint = draft.tree, draft.pack.savepoint()
            try:
                self._refuse_done(draft, request)
                result = self._apply_one(draft, request, base)
            except Exception as ex:  # noqa: BLE001  # fails its own caller only
                draft.pack.roll_back(savepoint)
                request.answer.set_exception(ex)
                continue
            if not result.created:
                draft.pack.roll_back(savepoint)
            elif request.from_disk:
                settled.update(path for path, _, _ in changes(draft.source, before, draft.tree))
            answers.append((request, result))
        return _Applied(answers, frozenset(settled))

    def _apply_one(self, draft: Draft, request: Request, base: Base | None) -> CommitResult:
        tree = draft.try_change(request.change)
        if tree == draft.tree:
            return CommitResult(draft.tip, tree, created=False)
        if base is not None and not request.from_disk:
            self._refuse_edited(draft, tree, base)
        subject = request.message if isinstance(request.message, str) else request.message()
        commit = encode_commit(
            tree=tree,
            parent=draft.tip,
            author=request.author,
            at=self._clock.now(),
            message=compose_message(subject, request.trailers),
        )
        return CommitResult(draft.advance(tree, commit), tree, created=True)

    def _refuse_done(self, draft: Draft, request: Request) -> None:
        """Refuse what a commit that was in doubt, and came in meanwhile, has done already."""
        trailers, tip = request.trailers, draft.parent
        if self._publisher is None or not isinstance(trailers, RequestTrailers) or tip is None:
            return  # only what is published elsewhere can be in doubt
        done = find_request_since(self._repository.store, trailers, tip)
        if done is not None:
            raise RequestDone(done)

    def _refuse_edited(self, draft: Draft, tree: str, base: Base) -> None:
        assert self._work_tree is not None  # noqa: S101  # base comes from it
        differing = changes(draft.source, draft.tree, tree)
        edited = self._work_tree.edited(base, differing)
        if edited:
            raise WorkspaceConflict(_edited_message(edited))

    def _publish(self, group: Group) -> Future[None] | None:
        """Write the pack and move the branch; nothing stays of it when that fails.

        Returns:
            When the branch will be on disk; None where another tip came first.
        """
        is_kept = False
        try:
            value = self._repository.install(group.pack, group.tip)
            if self._publisher is None:
                is_kept = self._repository.ref.move(group.parent, value)
            elif self._publisher.publish(group):
                is_kept = True
                self._follow_published(group, value)
            with suppress(OSError):  # the next start removes it
                value.unlink(missing_ok=True)
        except CommitInDoubt:
            is_kept = True  # it may be in the store, and come back
            raise
        finally:
            if not is_kept:
                self._repository.discard(group.pack, group.tip)
        return self._repository.syncer.begin(self._repository.ref.folder) if is_kept else None

    def _follow_published(self, group: Group, value: Path) -> None:
        """Bring the branch to what is published: from here on nothing can undo it.

        Where that fails, or somebody pushed just then, the branch is brought along
        the next time that it is settled.
        """
        assert self._publisher is not None  # noqa: S101  # it has published
        try:
            if not self._repository.ref.move(group.parent, value):
                self._publisher.settle()
        except (OSError, FloomError) as ex:
            event(_log, logging.ERROR, "workspace_branch_behind", error=str(ex))

    def _write_out(self, tree: str, settled: frozenset[str]) -> None:
        """Bring the folder to the tip. What fails is tried again before the next group."""
        if self._work_tree is None:
            return
        try:
            self._work_tree.bring_to(tree, settled=settled)
        except (OSError, FloomError) as ex:
            event(_log, logging.ERROR, "workspace_write_out_failed", error=str(ex))

    def _merge_later(self) -> None:
        self._groups += 1
        if self._groups % MERGE_CHECK_GROUPS != 1:
            return
        if self._merger is None or not self._merger.is_alive():
            merger = threading.Thread(target=self._merge, name="workspace-merge", daemon=True)
            try:
                merger.start()
            except RuntimeError as ex:  # no more threads now: some groups later
                event(_log, logging.WARNING, "workspace_merge_failed", error=str(ex))
                return
            self._merger = merger

    def _merge(self) -> None:
        try:
            merge_if_due(self._repository)
            self._follow(self._repository.tip())
        except (OSError, FloomError) as ex:
            event(_log, logging.WARNING, "workspace_merge_failed", error=str(ex))


def _edited_message(paths: list[str]) -> str:
    listed = ", ".join(shown(path) for path in paths[:_SHOWN_PATHS])
    more = f" and {len(paths) - _SHOWN_PATHS} more" if len(paths) > _SHOWN_PATHS else ""
    return (
        f"Edited on disk and not reloaded: {listed}{more}. Reload the workspace, or restore "
        "what is there, first."
    )


def _fail(requests: Iterable[Request], ex: Exception) -> None:
    for request in requests:
        if not request.answer.done():
            request.answer.set_exception(ex)
