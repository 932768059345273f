"""Brings the folder on disk to the tip's tree, around what people are editing."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from lib.log import event
from lib.workspace import materialised
from lib.workspace.errors import ObjectNotFound, WorkspaceUnavailable
from lib.workspace.folder import Folder, IsFolder, NotRegular
from lib.workspace.git_paths import refusal, shown
from lib.workspace.materialised import Materialised
from lib.workspace.object_store import ObjectStore
from lib.workspace.tree_objects import EXECUTABLE, FILE, TreeEntry, object_id
from lib.workspace.tree_view import TreeView, changes

_log = logging.getLogger(__name__)

_EMPTY_BLOB: Final = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


class WorkTree:
    """The folder as a copy of a tree. Callers hold the turnstile, but for `state`.

    Args:
        store: Where blobs and trees are read.
        folder: The folder on disk.
        state_path: The file `materialised`.
    """

    def __init__(self, store: ObjectStore, folder: Folder, state_path: Path) -> None:
        self._store = store
        self._folder = folder
        self._state_path = state_path

    @property
    def state(self) -> Materialised:
        """What the folder was last brought to; no file counts as the empty tree."""
        return materialised.load(self._state_path) or Materialised(boot=materialised.boot_id())

    def bring_to(self, tree: str, *, settled: Collection[str] = ()) -> tuple[str, ...]:
        """Write every path in which the folder's tree differs from `tree`.

        A path that holds neither its old nor its new content is somebody's edit
        and stays; it is held back until the disk or a reload resolves it. The
        state is replaced once, at the end: killed before, it is done again.

        Args:
            tree: Id of the tree.
            settled: Paths that were committed from the disk itself.

        Returns:
            The paths that are held back.

        Raises:
            OSError: the folder cannot be written. Running it again finishes it.
        """
        before = self.state
        steps = self._steps(before, tree, settled)
        held = {path: base for path, base, new in steps if not self._bring(path, base, new)}
        after = replace(before, tree=tree, held=held)
        if after != before:
            materialised.save(self._state_path, after)
        for path in sorted(held.keys() - before.held.keys()):
            event(_log, logging.WARNING, "workspace_path_held", path=shown(path))
        return tuple(sorted(held))

    def begin(self) -> None:
        """Check what is known of the folder; for the start of a server.

        A state of another repository counts as none. After a restart of the
        host, files are written again that a power cut may have undone: they are
        renamed into place without being forced to disk, and what is old, empty
        or absent now and should not be was lost with the page cache.

        Raises:
            OSError: the folder cannot be read or written.
        """
        before = self.state
        if not (self._store.has(before.tree) and self._store.has(before.checked)):
            self._state_path.unlink(missing_ok=True)
            return
        boot = materialised.boot_id()
        if before.boot and before.boot == boot:
            return
        for path, old, new in changes(self._store, before.checked, before.tree):
            if path not in before.held:
                self._bring(path, on_disk(path, old), on_disk(path, new), torn=True)
        materialised.save(self._state_path, replace(before, checked=before.tree, boot=boot))

    def edited(
        self, base: Base, paths: Iterable[tuple[str, TreeEntry | None, TreeEntry | None]]
    ) -> list[str]:
        """Return paths whose file is neither as in `base`, nor as in the tip, nor what is to come.

        The tip's is there where a disk that is full now stopped a write-out half way.

        Args:
            base: As `base()` returned it, the turnstile held since.
            paths: Each with the tip's entry and the one that is about to be committed.
        """
        return [path for path, at_tip, new in paths if not self._may_write(base, path, at_tip, new)]

    def base(self) -> Base:
        """Return what the disk is to be compared with."""
        state = self.state
        return Base(TreeView(self._store, state.tree), state.held)

    def _steps(
        self, before: Materialised, tree: str, settled: Collection[str]
    ) -> list[tuple[str, TreeEntry | None, TreeEntry | None]]:
        """Return path, old and new entry of what is to be done; deletions come first."""
        view = TreeView(self._store, tree)
        steps = {path: (base, view.find(path)) for path, base in before.held.items()}
        for path, old, new in changes(self._store, before.tree, tree):
            steps[path] = before.held.get(path, old), new
        planned = [
            (path, on_disk(path, old), on_disk(path, new))
            for path, (old, new) in steps.items()
            if path not in settled
        ]
        return sorted(planned, key=lambda step: step[2] is not None)

    def _may_write(
        self, base: Base, path: str, at_tip: TreeEntry | None, new: TreeEntry | None
    ) -> bool:
        old, new = base.find(path), on_disk(path, new)
        is_held = path in base.held
        try:
            known = (old, new) if is_held else (old, new, on_disk(path, at_tip))
            return self._present(path) in known
        except IsFolder:  # its files are differences of their own, if it is ours
            return base.has_folder(path)
        except OSError:
            return new is None and old is None

    def _bring(
        self, path: str, old: TreeEntry | None, new: TreeEntry | None, *, torn: bool = False
    ) -> bool:
        """Make one path as it should be; False where somebody's edit is in the way."""
        if old is None and new is None:
            return True
        try:
            present = self._present(path)
            if present == new:
                return True
            if not (present == old or (torn and _is_lost(present))):
                return False
            self._put(path, new)
        except NotRegular:
            return False
        except (ObjectNotFound, WorkspaceUnavailable) as ex:  # one damaged file stops no other
            event(_log, logging.ERROR, "workspace_object_damaged", path=shown(path), error=str(ex))
            return False
        return True

    def _put(self, path: str, new: TreeEntry | None) -> None:
        if new is None:
            self._folder.delete(path)
        else:
            data = self._store.read(new.id, "blob")
            self._folder.write(path, data, executable=new.is_executable)

    def _present(self, path: str) -> TreeEntry | None:
        try:
            data, mode = self._folder.read(path)
        except FileNotFoundError:
            return None
        except NotRegular:
            if self._folder.remove_if_empty(path):
                return None
            raise
        return TreeEntry(mode, object_id("blob", data))


@dataclass(frozen=True)
class Base:
    """What people's edits are made on: the tree that was written out, but for held paths."""

    view: TreeView
    held: Mapping[str, TreeEntry | None]

    def find(self, path: str) -> TreeEntry | None:
        """Return the file that the folder had at `path` when it was last written."""
        return on_disk(path, self.held[path] if path in self.held else self.view.find(path))

    def has_folder(self, path: str) -> bool:
        """Return whether `path` was a folder when the folder was last written."""
        return self.view.tree_id(path) is not None


def on_disk(path: str, entry: TreeEntry | None) -> TreeEntry | None:
    """Return the entry as the folder can hold it: regular files at sound paths only."""
    if entry is None or not entry.is_file or refusal(path) is not None:
        return None
    return TreeEntry(EXECUTABLE if entry.is_executable else FILE, entry.id)


def _is_lost(present: TreeEntry | None) -> bool:
    return present is None or present.id == _EMPTY_BLOB
