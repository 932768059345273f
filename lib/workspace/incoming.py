"""Workers that come from elsewhere: under a free name, without secrets, in quarantine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lib.ids import is_addressable
from lib.manifest.loader import LoadedManifest
from lib.manifest.rename import renamed
from lib.workspace.deny_list import is_denied
from lib.workspace.registry import MANIFEST, QUARANTINE, ManifestLoader
from lib.workspace.tree_edits import Edit, Put
from lib.workspace.tree_objects import EXECUTABLE, FILE
from lib.workspace.worker_source import SourceFile

MAX_ID_CHARACTERS: Final = 64
_MAX_SUFFIX: Final = len("-50000")  # an import has no more workers


@dataclass(frozen=True, slots=True)
class Incoming:
    """A worker as it will be here.

    Attributes:
        id: One that is free.
        denied: Paths that are left out, and why.
    """

    id: str
    files: tuple[SourceFile, ...]
    denied: tuple[tuple[str, str], ...]
    loaded: LoadedManifest

    def edits(self) -> Iterator[Edit]:
        """Yield what makes it a worker of the tree, quarantined until an admin enables it."""
        for file in self.files:
            mode = EXECUTABLE if file.is_executable else FILE
            yield Put(f"workers/{self.id}/{file.path}", file.data, mode)
        yield Put(f"{QUARANTINE}/{self.id}", b"")


def receive(
    worker_id: str,
    files: Sequence[SourceFile],
    *,
    ids: FreeIds,
    load_manifest: ManifestLoader,
) -> Incoming | str:
    """Return a worker as it will be here, or why it cannot be.

    Args:
        worker_id: What it is called where it comes from.
        files: All of its folder.
        ids: Those that are free here; one is taken.
        load_manifest: How a manifest is read; errors are a reason.
    """
    if not is_addressable(worker_id):
        return "its folder's name cannot be a worker's id"
    reasons = {file.path: is_denied(file.path) for file in files}
    denied = tuple((path, reason) for path, reason in reasons.items() if reason is not None)
    kept = {file.path: file for file in files if reasons[file.path] is None}
    if MANIFEST not in kept:
        return f"it has no {MANIFEST}"
    new_id = ids.take(worker_id)
    if new_id != worker_id:
        manifest = kept[MANIFEST]
        data = renamed(manifest.data, worker_id, new_id)
        kept[MANIFEST] = SourceFile(MANIFEST, data, manifest.is_executable)
    loaded = load_manifest(kept[MANIFEST].data, worker_id=new_id, file_names=tuple(kept))
    if loaded.errors:
        first = loaded.errors[0]
        where = f" in line {first.line}" if first.line else ""
        return f"its {MANIFEST} has an error{where}: {first.message}"
    return Incoming(new_id, tuple(kept.values()), denied, loaded)


class FreeIds:
    """Gives out ids that nobody has.

    Args:
        taken: Those in use.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._next: dict[str, int] = {}

    def take(self, worker_id: str) -> str:
        """Return the id, or with `-2`, `-3`, ... the first that is free, and count it as taken."""
        candidate = worker_id
        # Ids of full length become the same when a suffix takes their ends: count on there.
        stem = worker_id[: MAX_ID_CHARACTERS - _MAX_SUFFIX]
        number = self._next.get(stem, 1) if len(stem) < len(worker_id) else 1
        while candidate in self._taken:
            number += 1
            suffix = f"-{number}"
            candidate = worker_id[: MAX_ID_CHARACTERS - len(suffix)].rstrip("-_") + suffix
        if candidate != worker_id:
            self._next[stem] = number
        self._taken.add(candidate)
        return candidate
