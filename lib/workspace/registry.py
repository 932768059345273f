"""The workers of a commit, parsed: a snapshot that follows the tip."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, Protocol

from lib.ids import is_worker_id
from lib.log import event
from lib.manifest.loader import LoadedManifest, load_manifest
from lib.manifest.report import Problem
from lib.workspace.errors import ObjectNotFound, WorkspaceUnavailable
from lib.workspace.git_paths import shown
from lib.workspace.tree_objects import FILE
from lib.workspace.tree_view import FileEntry, TreeView
from lib.workspace.workspace import Workspace

MANIFEST: Final = "worker.yml"
QUARANTINE: Final = ".floom/quarantine"
MAX_PARSED: Final = 256  # workers of old trees
MAX_WALKED_COMMITS: Final = 1_000  # at a cold start, for the times of the last changes

_log = logging.getLogger(__name__)


class ManifestLoader(Protocol):
    """Reads a manifest; `lib.manifest.loader.load_manifest` with its runtimes bound."""

    def __call__(
        self, source: bytes, *, worker_id: str, file_names: tuple[str, ...]
    ) -> LoadedManifest:
        """Return what can be understood of any bytes."""
        ...


@dataclass(frozen=True)
class Worker:
    """One worker at one tree.

    Attributes:
        id: Its folder's name. One that is no slug has an error in `loaded`.
        sha: Id of its folder's tree.
        loaded: The manifest and what is wrong with it.
        files: All files, by path relative to the folder.
        updated_at: Time of the last commit that changed it; where history is
            longer than was walked, that of the oldest commit seen.
        quarantined: Imported, and not enabled by an admin yet.
    """

    id: str
    sha: str
    loaded: LoadedManifest
    files: tuple[FileEntry, ...]
    updated_at: datetime
    quarantined: bool


@dataclass(frozen=True)
class Snapshot:
    """All workers of one commit, by id, in order. Never changes.

    Attributes:
        commit: None for a repository without any.
        workers: Broken ones too.
    """

    commit: str | None
    workers: Mapping[str, Worker]


class Registry:
    """Workers of the workspace's tip. Any thread may call.

    Args:
        workspace: Where they are.
        load_manifest: How a manifest is read.
    """

    def __init__(
        self, workspace: Workspace, *, load_manifest: ManifestLoader = load_manifest
    ) -> None:
        self._workspace = workspace
        self._load = load_manifest
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._parsed: OrderedDict[tuple[str, str], _Parsed] = OrderedDict()

    def current(self) -> Snapshot:
        """Return the tip's workers; only those whose tree changed are parsed again.

        Raises:
            WorkspaceUnavailable: the repository cannot be read.
        """
        tip = self._workspace.refresh()
        snapshot = self._snapshot
        if snapshot is not None and snapshot.commit == tip:
            return snapshot
        with self._lock:
            if self._snapshot is None or self._snapshot.commit != tip:
                self._snapshot = self._build(tip, self._snapshot)
            return self._snapshot

    def loaded_at(self, worker_id: str, sha: str) -> LoadedManifest:
        """Return a worker's manifest as it is in any tree, whatever the tip is by now.

        Raises:
            ObjectNotFound: the repository has no such tree.
        """
        snapshot = self._snapshot
        known = None if snapshot is None else snapshot.workers.get(worker_id)
        if known is not None and known.sha == sha:
            return known.loaded
        with self._lock:
            return self._parse(worker_id, sha).loaded

    def worker_at(self, worker_id: str, sha: str) -> Worker:
        """Return a worker as it is in any tree, for a run that is frozen at it.

        Whether it is quarantined, and when it was updated, are the tip's answers.

        Raises:
            ObjectNotFound: the repository has no such tree.
        """
        current = self.current().workers.get(worker_id)
        if current is not None and current.sha == sha:
            return current
        with self._lock:
            parsed = self._parse(worker_id, sha)
        return Worker(
            worker_id,
            sha,
            parsed.loaded,
            parsed.files,
            updated_at=current.updated_at if current else _EPOCH,
            quarantined=current is not None and current.quarantined,
        )

    def _build(self, tip: str | None, previous: Snapshot | None) -> Snapshot:
        view = self._workspace.view(tip)
        known = previous.workers if previous else {}
        trees = worker_trees(view)
        quarantined = {name for name, _ in view.names(QUARANTINE)}
        fresh = {name for name, sha in trees.items() if name not in known or known[name].sha != sha}
        times = self._times(tip, fresh, previous.commit if previous else None)
        workers = {}
        for name, sha in sorted(trees.items()):
            parsed = self._parse_any(name, sha) if name in fresh else _Parsed.of(known[name])
            updated_at = times[name] if name in fresh else known[name].updated_at
            workers[shown(name)] = Worker(
                shown(name), sha, parsed.loaded, parsed.files, updated_at, name in quarantined
            )
        return Snapshot(tip, MappingProxyType(workers))

    def _parse_any(self, name: str, sha: str) -> _Parsed:
        """Parse a worker of the tip; one whose objects are damaged is broken, and hides no other."""
        try:
            return self._parse(name, sha)
        except (ObjectNotFound, WorkspaceUnavailable) as ex:
            return _Parsed(_broken(shown(name), None, "unreadable", str(ex)), ())

    def _parse(self, name: str, sha: str) -> _Parsed:
        found = self._parsed.get((name, sha))
        if found is None:
            files = self._workspace.list_files(sha)
            found = _Parsed(self._load_worker(name, sha, files), files)
            self._parsed[name, sha] = found
            if len(self._parsed) > MAX_PARSED:
                self._parsed.popitem(last=False)
        self._parsed.move_to_end((name, sha))
        return found

    def _load_worker(self, name: str, sha: str, files: tuple[FileEntry, ...]) -> LoadedManifest:
        source = self._workspace.tree(sha).find_bytes(MANIFEST)
        if not is_worker_id(name):
            return _broken(
                shown(name),
                source,
                "bad_worker_id",
                "The folder's name must be a slug: a-z, 0-9, - and _, at most 64 characters.",
            )
        if source is None:
            return _broken(name, None, "no_manifest", f"The folder has no file {MANIFEST}.")
        paths = tuple(file.path for file in files if file.mode & 0o170000 == FILE & 0o170000)
        try:
            return self._load(source, worker_id=name, file_names=paths)
        except Exception:  # noqa: BLE001  # one worker must not hide the others
            event(_log, logging.ERROR, "manifest_loader_failed", worker_id=name, sha=sha)
            return _broken(name, source, "unreadable", "The manifest cannot be read.")

    def _times(self, tip: str | None, names: set[str], until: str | None) -> dict[str, datetime]:
        """Return when each worker last changed, from the history back to `until`.

        Walks first parents: a worker changed where it differs from the parent.
        """
        found: dict[str, datetime] = {}
        pending = set(names)
        at, oldest = tip, _EPOCH
        for _ in range(MAX_WALKED_COMMITS):
            if at is None or not pending or at == until:
                break
            info = self._workspace.commit_info(at)
            parent = info.parents[0] if info.parents else None
            oldest = info.committed_at
            changed = pending & self._changed(info.tree, parent)
            found.update(dict.fromkeys(changed, oldest))
            pending -= changed
            at = parent
        return {**dict.fromkeys(pending, oldest), **found}

    def _changed(self, tree: str, parent: str | None) -> set[str]:
        after = self._workspace.tree(tree)
        try:
            before = self._workspace.view(parent) if parent else None
        except ObjectNotFound:  # a shallow repository ends here
            before = None
        if before is not None and after.tree_id("workers") == before.tree_id("workers"):
            return set()
        old = worker_trees(before) if before else {}
        return {name for name, sha in worker_trees(after).items() if old.get(name) != sha}


@dataclass(frozen=True)
class _Parsed:
    loaded: LoadedManifest
    files: tuple[FileEntry, ...]

    @classmethod
    def of(cls, worker: Worker) -> _Parsed:
        return cls(worker.loaded, worker.files)


def worker_trees(view: TreeView) -> dict[str, str]:
    """Return tree ids of all folders in `workers/`, by name."""
    return {name: entry.id for name, entry in view.names("workers") if entry.is_folder}


def _broken(name: str, source: bytes | None, code: str, message: str) -> LoadedManifest:
    problem = Problem("error", "shape", code, message, pointer="", line=None)
    digest = hashlib.sha256(source or b"").hexdigest()
    return LoadedManifest(None, (problem,), digest, name)


_EPOCH: Final = datetime.fromtimestamp(0, UTC)
