"""The workspace of one server: its tree, its history, and the folder on disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

from lib.clock import Clock
from lib.errors import FloomError, Unavailable
from lib.log import event
from lib.workspace import ancestry
from lib.workspace.ancestry import Search
from lib.workspace.beginning import Beginning, Origin
from lib.workspace.bundles import BundleCache, BundleFile
from lib.workspace.commit_objects import FLOOM, Author, CommitInfo
from lib.workspace.committer import Committer
from lib.workspace.draft import Change, CommitResult, Publisher, Request
from lib.workspace.errors import ObjectNotFound
from lib.workspace.folder import Folder
from lib.workspace.git_paths import shown
from lib.workspace.history import History
from lib.workspace.reload import Reload, changed_workers
from lib.workspace.repository import Repository, explained
from lib.workspace.scan import Scanner, Skipped
from lib.workspace.stat_cache import StatCache
from lib.workspace.tree_edits import Delete, Edit, Put, PutTree
from lib.workspace.tree_objects import EMPTY_TREE
from lib.workspace.tree_view import FileEntry, TreeView, changes
from lib.workspace.write_out import WorkTree

__all__ = [
    "Author",
    "BundleFile",
    "Change",
    "CommitInfo",
    "CommitResult",
    "Delete",
    "Edit",
    "FileEntry",
    "Put",
    "PutTree",
    "ReloadResult",
    "Skipped",
    "TreeView",
    "WorkerVersion",
    "Workspace",
]

HELD_REASON: Final = "was edited on disk while it changed in git"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReloadResult:
    """What a reload led to.

    Attributes:
        commit: The new commit, None when the disk held nothing new.
        changed: Ids of workers that were added or changed.
        removed: Ids of workers that are gone.
        skipped: Paths that were left out, and why.
    """

    commit: str | None
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class WorkerVersion:
    """One commit that changed a worker.

    Attributes:
        sha: Tree id of the worker's folder there; None where the commit deleted it.
    """

    commit: str
    sha: str | None
    info: CommitInfo


class Workspace:
    """Any thread may call any method. Made by `open`."""

    def __init__(
        self,
        repository: Repository,
        *,
        folder: Folder,
        state_dir: Path,
        clock: Clock,
        publisher: Publisher | None = None,
    ) -> None:
        self._repository = repository
        self._folder = folder
        self._work_tree = WorkTree(repository.store, folder, state_dir / "materialised")
        self._cache = StatCache(state_dir / "stat_cache.json")
        self._scanner = Scanner(folder, self._cache)
        self._scanning = threading.Lock()
        self._bundles = BundleCache(repository.store)
        self._history = History(repository.store, repository.git_dir / "floom")
        self._publisher = publisher
        if publisher is not None:
            publisher.before_move(self._finish_write_out)
        self._owes_additions = False
        self._written_tip: str | None = None
        self._listeners: list[Callable[[], None]] = []
        self._committer = Committer(
            repository,
            work_tree=self._work_tree,
            clock=clock,
            publisher=publisher,
            follow=self._history.follow,
        )

    @classmethod
    def open(
        cls,
        root: Path,
        *,
        state_dir: Path,
        engine_root: Path,
        seed: Path | None,
        clock: Clock,
        publish: Callable[[Repository], Publisher] | None = None,
        origin: Origin | None = None,
    ) -> Workspace:
        """Open the workspace of a folder, making it on first use.

        Finishes a write-out that was interrupted, then records what people added
        or changed meanwhile as one commit. Never records a deletion: an
        unmounted or half restored folder must not become one.

        Args:
            root: The folder; its repository is `<root>/.git`.
            state_dir: The data folder, for what is known of `root` on this host.
            engine_root: Our own checkout, which is refused as a root.
            seed: Folder of shipped workers for a new workspace without any.
            clock: Dates the commits.
            publish: Makes what publishes the repository's commits before they count.
            origin: Where a workspace that is new here may come from.

        Raises:
            WorkspaceUnavailable: the folder is refused, or cannot be used; the
                message says what to do.
        """
        with explained(f"The workspace folder {root} cannot be used"):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            state_dir.mkdir(parents=True, exist_ok=True)
            shipped = None if (root / "workers").exists() else seed
        repository = Repository.open(root, engine_root=engine_root)
        folder = Folder(root, repository.scratch)
        publisher = publish(repository) if publish is not None else None
        workspace = cls(
            repository, folder=folder, state_dir=state_dir, clock=clock, publisher=publisher
        )
        try:
            beginning = Beginning(repository, publisher, origin=origin, seed=shipped)
            workspace._start_or_restore(beginning)
        except BaseException:
            workspace.close()
            raise
        return workspace

    def close(self) -> None:
        """Finish commits that wait, and release the repository; idempotent."""
        self._committer.close()
        with suppress(OSError), self._scanning:
            self._cache.save()
        self._repository.close()

    def tip(self) -> str | None:
        """Return main's commit; None before the first one.

        Raises:
            WorkspaceUnavailable: the repository cannot be read.
        """
        return self._repository.tip()

    def refresh(self) -> str | None:
        """Return main's commit, after writing out a tip that a push or another server brought.

        Costs one small read while main stands, and one of the bundle store now and then.
        Does not wait for a writer: that writes out what it finds.

        Raises:
            WorkspaceUnavailable: the repository cannot be read.
        """
        if self._publisher is not None:
            self._publisher.refresh()
            if self._owes_additions and self._publisher.works():
                with suppress(FloomError):  # tried again, and a reload takes them over, too
                    self._add_what_people_made()
        tip = self.tip()
        if tip is not None and tip != self._written_tip:
            self._write_out_moved()
        return tip

    def commit(
        self,
        change: Change,
        message: str | Callable[[], str],
        author: Author,
        *,
        trailers: Mapping[str, str] | None = None,
    ) -> CommitResult:
        """Apply a change to the tip; durable, and its files written, on return.

        All of it or nothing. No change, no commit.

        Args:
            change: From the tip's tree to edits. Called in the committer's
                thread, and again on a moved tip: it computes there whatever
                depends on the tree, and it must not call the workspace.
            message: First line at most 72 characters; or a function, called
                after `change`.
            author: Who is behind the change.
            trailers: Lines `Key: value` at the message's end.

        Raises:
            WorkspaceConflict: a path was edited on disk and not reloaded, or
                other writers kept main busy for 10 s.
            WorkspaceUnavailable: the repository cannot be written.
            InvalidPath: an edit that no tree may hold.
            Exception: whatever `change` raises, which fails nobody else.
        """
        request = Request(change, message, author, trailers, from_disk=False)
        return self._committed(self._committer.commit(request))

    def on_tip(self, listener: Callable[[], None]) -> None:
        """Call `listener`, which returns soon and raises nothing, with each new tip.

        After a commit of this process, and when another's was written out.
        """
        self._listeners.append(listener)

    def fast_forward(self, tip: str, commit: str) -> bool:
        """Move main from `tip` to a commit that comes of it; False where main is elsewhere.

        Raises:
            WorkspaceUnavailable: the repository cannot be written.
        """
        with explained("The workspace cannot be written"), self._repository.turnstile.held():
            if not self._repository.point(tip, commit):
                return False
            self._bring_to(commit)
            return True

    def reload(self, author: Author, force: bool = False) -> ReloadResult:
        """Commit what people changed in the folder since it was last written.

        Idempotent: with nothing new on disk there is no commit.

        Args:
            author: Who asked for it.
            force: Also where more than half of the workers would be deleted.

        Raises:
            WorkspaceConflict: a path changed on disk and in git, or too many
                workers would go; nothing is written.
            WorkspaceUnavailable: the folder cannot be read, or the repository
                not be written.
        """
        self.refresh()
        return self._reload(author, force=force, additions_only=False)

    def view(self, commit: str | None = None) -> TreeView:
        """Return a commit's tree, by default the tip's; empty before the first commit.

        Raises:
            ObjectNotFound: there is no such commit.
        """
        if commit is None:
            return self.tree(self._repository.tree_of(self.tip()))
        return self.tree(self.commit_info(commit).tree)

    def tree(self, tree_id: str) -> TreeView:
        """Return any tree of the repository by its id; reading it may raise ObjectNotFound."""
        return TreeView(self._repository.store, tree_id)

    def list_files(self, tree_id: str, *, limit: int | None = None) -> tuple[FileEntry, ...]:
        """Return all that a tree holds by path, symlinks and gitlinks with their modes.

        Args:
            tree_id: Of any tree.
            limit: Most entries; nothing beyond them is read.

        Raises:
            ObjectNotFound: there is no such tree.
        """
        store = self._repository.store
        return tuple(
            FileEntry(
                path, entry.mode, entry.id, store.blob_size(entry.id) if entry.has_blob else 0
            )
            for path, entry in islice(self.tree(tree_id).walk(), limit)
        )

    def bundle(self, worker_sha: str) -> tuple[BundleFile, ...]:
        """Return every file of a worker's tree with its bytes, by path.

        Symlinks (their target as data) and gitlinks (no data) are there with
        their modes: refuse them.

        Raises:
            ObjectNotFound: there is no such tree.
        """
        return self._bundles.get(worker_sha)

    def commit_info(self, commit: str) -> CommitInfo:
        """Return a commit's header.

        Raises:
            ObjectNotFound: there is no such commit.
        """
        return self._repository.store.commit(commit)

    def history(self, commit: str | None = None) -> Iterator[tuple[str, CommitInfo]]:
        """Yield a commit, by default the tip, and its first parents, newest first."""
        at = commit or self.tip()
        while at is not None:
            info = self.commit_info(at)
            yield at, info
            at = info.parents[0] if info.parents else None

    def changed_files(self, commit: str) -> Iterator[tuple[str, bytes]]:
        """Yield path and bytes of every regular file that a commit added or changed.

        Raises:
            ObjectNotFound: there is no such commit.
        """
        info = self.commit_info(commit)
        before = self.view(info.parents[0]).id if info.parents else EMPTY_TREE
        for path, _, new in changes(self._repository.store, before, info.tree):
            if new is not None and new.is_file:
                yield path, self._repository.store.read(new.id, "blob")

    def versions(
        self, worker_id: str, *, below: int | None = None, limit: int
    ) -> tuple[tuple[WorkerVersion, ...], int | None]:
        """Return a page of commits that changed a worker, newest first, and where the next begins.

        Also of a worker that was deleted: the deletion is one of them.

        Args:
            worker_id: Its folder's name.
            below: Where the page begins, as the page before said; None: at the newest.
            limit: Most versions.
        """
        page = self._history.page(worker_id, self.tip(), below=below, limit=limit)
        return tuple(self._version(worker_id, each) for each in page.commits), page.next_index

    def find_request(self, request: str, *, since: datetime) -> Search:
        """Look for the commit with the trailer `Floom-Request: <request>`.

        Args:
            request: What `once.py` gives a commit as its trailer.
            since: What is clearly older is not looked at: the time at which the
                request was first tried.

        Raises:
            FloomError: what others, or a server that was killed, published last
                cannot be known now.
        """
        if self._publisher is not None:
            with explained("The workspace cannot be written"), self._repository.turnstile.held():
                self._publisher.settle()
        tip = self.tip()
        found = ancestry.find_request(self._repository.store, tip, request, since=since)
        return Search(found, tip)

    def held(self) -> tuple[str, ...]:
        """Return paths that were edited on disk while they changed in git.

        They are left alone until the disk is as in git again, or as it was.
        """
        return tuple(sorted(shown(path) for path in self._work_tree.base().held))

    def _committed(self, result: CommitResult) -> CommitResult:
        if result.created:
            self._tell_of_tip()
        return result

    def _tell_of_tip(self) -> None:
        for listener in self._listeners:
            try:
                listener()
            except Exception as ex:  # noqa: BLE001  # the commit is made
                event(_log, logging.ERROR, "tip_listener_failed", error=str(ex))

    def _version(self, worker_id: str, commit: str) -> WorkerVersion:
        info = self.commit_info(commit)
        return WorkerVersion(commit, self.tree(info.tree).tree_id(f"workers/{worker_id}"), info)

    def _start_or_restore(self, beginning: Beginning) -> None:
        """Start; where a part of the repository is missing, from what was published."""
        try:
            self._start(beginning)
        except ObjectNotFound:
            if self._publisher is None:
                raise
            with explained("The workspace cannot be written"), self._repository.turnstile.held():
                self._publisher.restore()
            self._start(beginning)

    def _start(self, beginning: Beginning) -> None:
        outcome = explained("The workspace folder cannot be brought up to date")
        with outcome, self._repository.turnstile.held():
            self._work_tree.begin()  # first: what is known of another repository is forgotten
            is_settled = beginning.begin()
            self._bring_to(self.tip())
        self._owes_additions = True
        try:
            if is_settled:
                self._add_what_people_made()
        except Unavailable:
            if self._publisher is None:  # else its store failed just then: later, then
                raise

    def _add_what_people_made(self) -> None:
        """Record what was added while no server ran."""
        for each in self._reload(FLOOM, force=True, additions_only=True).skipped:
            event(
                _log, logging.WARNING, "workspace_path_skipped", path=each.path, reason=each.reason
            )
        self._owes_additions = False

    def _write_out_moved(self) -> None:
        try:
            with self._repository.turnstile.held_if_free() as free:
                if free:
                    self._bring_to(self.tip())
            if free:
                self._tell_of_tip()
        except OSError as ex:  # the tip can be read all the same
            event(_log, logging.ERROR, "workspace_write_out_failed", error=str(ex))

    def _finish_write_out(self) -> None:
        self._bring_to(self.tip())

    def _bring_to(self, tip: str | None) -> None:
        if tip is not None:
            self._work_tree.bring_to(self._repository.tree_of(tip))
            self._written_tip = tip

    def _reload(self, author: Author, *, force: bool, additions_only: bool) -> ReloadResult:
        with self._scanning, explained("The workspace folder cannot be read"):
            base = self._work_tree.base()  # before the scan: what is committed meanwhile is no edit
            scan = self._scanner.scan()
        reload = Reload(self._folder, scan, base, force=force, additions_only=additions_only)
        request = Request(reload.change, reload.subject, author, None, from_disk=True)
        result = self._committed(self._committer.commit(request))
        skipped = (*scan.skipped, *self._held(reload))
        if not result.created or result.commit is None:
            return ReloadResult(None, (), (), skipped)
        parent = self.commit_info(result.commit).parents
        changed, removed = changed_workers(
            self.view(parent[0]) if parent else self.tree(EMPTY_TREE), self.tree(result.tree)
        )
        return ReloadResult(result.commit, tuple(changed), tuple(removed), skipped)

    def _held(self, reload: Reload) -> list[Skipped]:
        return [Skipped(shown(path), HELD_REASON) for path in sorted(reload.conflicts)]
