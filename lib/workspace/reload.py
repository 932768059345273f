"""Takes over what people did to the folder, as one commit.

What they did is the difference between the disk and what was last written to
it, not between the disk and the tip: a commit that is not on disk yet is
nobody's deletion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from lib.workspace.errors import WorkspaceConflict
from lib.workspace.folder import Folder
from lib.workspace.git_paths import shown
from lib.workspace.scan import MAX_UNIT_BYTES, SCOPE, Scan, is_in_scope
from lib.workspace.tree_edits import Delete, Edit, Put
from lib.workspace.tree_objects import TreeEntry
from lib.workspace.tree_view import TreeView
from lib.workspace.write_out import Base, on_disk

_SHOWN_PATHS: Final = 10  # in a message


@dataclass(frozen=True)
class Difference:
    """One path that people changed: its file before and now, None for none."""

    path: str
    before: TreeEntry | None
    now: TreeEntry | None


@dataclass
class Reload:
    """One reload: the scan was made, and this is applied to the tip.

    `change` may be called again on another tip; the other members tell of its
    last call.

    Attributes:
        folder: Where the files' bytes are read.
        scan: What the disk holds.
        base: What it was compared with; taken before the scan began.
        force: Delete more than half of the workers if need be.
        additions_only: Record no deletion, and leave out what conflicts instead
            of refusing: a start must come up.
        conflicts: Paths that changed on disk and in git.
        edits: What its last call led to.
    """

    folder: Folder
    scan: Scan
    base: Base
    force: bool = False
    additions_only: bool = False
    conflicts: list[str] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)

    def change(self, tip: TreeView) -> list[Edit]:
        """Return the edits that bring people's changes onto `tip`.

        Raises:
            WorkspaceConflict: a path changed on both sides, or too many workers
                would go.
        """
        pending = [each for each in self.differences() if self._is_new(tip, each)]
        self.conflicts = [each.path for each in pending if self._is_in_conflict(tip, each)]
        if self.conflicts and not self.additions_only:
            raise WorkspaceConflict(_conflict_message(self.conflicts))
        refused = set(self.conflicts)
        wanted = [each for each in pending if each.path not in refused]
        self.edits = [edit for each in wanted for edit in self._edits(tip, each)]
        if not self.force:
            self._refuse_mass_deletion(tip)
        return self.edits

    def differences(self) -> Iterator[Difference]:
        """Yield what people changed, by path."""
        known = dict(_known(self.base))
        for path in sorted(known.keys() | self.scan.files.keys()):
            before, now = known.get(path), self.scan.files.get(path)
            if before == now or self.scan.is_unknown(path):
                continue
            if now is not None or not self.additions_only:
                yield Difference(path, before, now)

    def subject(self) -> str:
        """Return the commit's subject, which counts the workers."""
        count = len({name for edit in self.edits if (name := worker_of(edit.path))})
        return f"workspace: reload {count} worker{'' if count == 1 else 's'}"

    def _is_new(self, tip: TreeView, each: Difference) -> bool:
        return on_disk(each.path, tip.find(each.path)) != each.now

    def _is_in_conflict(self, tip: TreeView, each: Difference) -> bool:
        if on_disk(each.path, tip.find(each.path)) != each.before:
            return True
        return self.additions_only and any(_obstacles(tip, each.path))

    def _edits(self, tip: TreeView, each: Difference) -> Iterator[Edit]:
        if each.now is None:
            yield Delete(each.path)
            return
        for path in _obstacles(tip, each.path):
            yield Delete(path)
        yield Put(each.path, *self._read(each.path))

    def _read(self, path: str) -> tuple[bytes, int]:
        try:
            return self.folder.read(path, limit_bytes=MAX_UNIT_BYTES)
        except OSError as ex:
            raise WorkspaceConflict(
                f"{shown(path)} changed while the folder was being read; reload again."
            ) from ex

    def _refuse_mass_deletion(self, tip: TreeView) -> None:
        names = [name for name, entry in tip.names("workers") if entry.is_folder]
        deleted: dict[str, set[str]] = {}
        for edit in self.edits:
            if isinstance(edit, Delete) and (name := worker_of(edit.path)):
                deleted.setdefault(name, set()).add(edit.path)
        kept = {
            name for edit in self.edits if isinstance(edit, Put) and (name := worker_of(edit.path))
        }
        gone = [
            name
            for name in names
            if name in deleted
            and name not in kept
            and all(path in deleted[name] for path, _ in tip.walk(f"workers/{name}"))
        ]
        if len(gone) * 2 > len(names):
            raise WorkspaceConflict(
                f"This reload would delete {len(gone)} of {len(names)} workers. If the folder is "
                'as it should be, repeat it with {"force": true}.'
            )


def changed_workers(tree: TreeView, other: TreeView) -> tuple[list[str], list[str]]:
    """Return ids of workers that differ in `other`, and of those that it lacks."""
    before, after = dict(tree.names("workers")), dict(other.names("workers"))
    changed = [name for name in after if after[name].is_folder and after[name] != before.get(name)]
    removed = [name for name in before if before[name].is_folder and name not in after]
    return sorted(changed), sorted(removed)


def worker_of(path: str) -> str | None:
    """Return the id of the worker whose folder holds `path`."""
    parts = path.split("/", 2)
    return parts[1] if len(parts) > 2 and parts[0] == "workers" else None


def _obstacles(tip: TreeView, path: str) -> Iterator[str]:
    """Yield what must go before a file can be at `path`: a folder there, files above it."""
    entry = tip.find(path)
    if entry is not None and entry.is_folder:
        yield path
    parts = path.split("/")
    for count in range(1, len(parts)):
        above = tip.find("/".join(parts[:count]))
        if above is not None and not above.is_folder:
            yield "/".join(parts[:count])


def _known(base: Base) -> Iterator[tuple[str, TreeEntry]]:
    for top in SCOPE:
        for path, found in base.view.walk(top):
            if path not in base.held and (entry := on_disk(path, found)):
                yield path, entry
    for path in base.held:
        if is_in_scope(path) and (entry := base.find(path)):
            yield path, entry


def _conflict_message(paths: list[str]) -> str:
    listed = ", ".join(shown(path) for path in paths[:_SHOWN_PATHS])
    more = f" and {len(paths) - _SHOWN_PATHS} more" if len(paths) > _SHOWN_PATHS else ""
    return (
        f"Changed on disk and in git: {listed}{more}. Move your edit aside, restore the file "
        "with `git show main:<path>`, then make the edit again and reload."
    )
