"""The workspace as a zip: everything that it is made of, nothing that it must not tell.

The same workspace gives the same bytes: entries are sorted and have no dates.
What is exported can be imported: the limits are those of an import, and what
would break them is refused here, where somebody can do something about it.
"""

from __future__ import annotations

import json
import zipfile
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from io import SEEK_END
from tempfile import SpooledTemporaryFile
from typing import IO, Any, BinaryIO, Final, cast

from lib.clock import rfc3339
from lib.errors import Conflict
from lib.manifest.models import Manifest
from lib.workspace.errors import ObjectNotFound, WorkspaceUnavailable
from lib.workspace.export_files import ExportFile, LeftOut, Selection, select, without_damaged
from lib.workspace.issues import names
from lib.workspace.registry import MANIFEST, ManifestLoader
from lib.workspace.secret_scan import Finding, scan_all
from lib.workspace.tree_view import TreeView
from lib.workspace.workspace import Workspace
from lib.workspace.zip_reader import ZipLimits

SCHEMA_VERSION: Final = 1
SUMMARY: Final = "workspace.json"
MAX_NAMED: Final = 100  # files that are left out; all are counted
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the first date that a zip can hold
_UNIX: Final = 3
_PLAIN: Final = 0o100644
_EXECUTABLE: Final = 0o100755
_LEVEL: Final = 6
_SPOOL_BYTES: Final = 8 * 1024 * 1024  # up to here it never touches the disk
_LIMITS: Final = ZipLimits()


class ExportTooLarge(Conflict):
    """No import would take the zip."""

    code = "export_too_large"


@dataclass(frozen=True, slots=True)
class Export:
    """A zip, and what is to be said of it.

    Attributes:
        file: At its beginning; whoever has the export closes it.
        size: Bytes.
        findings: What in it looks like a live credential.
        left_out: What of the workspace is not in it.
    """

    file: BinaryIO
    size: int
    findings: tuple[Finding, ...]
    left_out: tuple[LeftOut, ...]


def export(
    workspace: Workspace,
    load_manifest: ManifestLoader,
    *,
    exported_at: datetime | None = None,
    limits: ZipLimits = _LIMITS,
    scratch: str | None = None,
) -> Export:
    """Return the workspace of the tip, in a temporary file.

    One file of the workspace is in memory at a time, and a small zip.

    Args:
        workspace: What to export.
        load_manifest: For what the summary says of each worker.
        exported_at: What the summary says; None: when the tip was committed.
        limits: Of the import that it is made for.
        scratch: Folder of the temporary file; None is the system's.

    Raises:
        ExportTooLarge: the zip would break a limit.
        WorkspaceUnavailable: the temporary file cannot be written.
    """
    tip = workspace.refresh()
    at = exported_at or (workspace.commit_info(tip).committed_at if tip else None)
    tree = workspace.view(tip)
    chosen = select(tree)
    _check_count(chosen.files, limits)
    write = partial(
        _export, tree, load_manifest=load_manifest, at=at, limits=limits, scratch=scratch
    )
    try:
        return write(chosen)
    except (ObjectNotFound, WorkspaceUnavailable):
        return write(without_damaged(tree, chosen))


def _export(
    tree: TreeView,
    chosen: Selection,
    *,
    load_manifest: ManifestLoader,
    at: datetime | None,
    limits: ZipLimits,
    scratch: str | None,
) -> Export:
    summary = _Summary(tree, chosen, load_manifest).build(at)
    try:
        contents = _contents(tree, chosen.files, summary)
        out, findings = _written(_spooled(scratch), contents, limits)
        if stored := _to_store(out, limits):
            out.close()
            contents = _contents(tree, chosen.files, summary)
            out, findings = _written(_spooled(scratch), contents, limits, stored)
    except OSError as ex:
        raise WorkspaceUnavailable(f"The export cannot be written now: {ex.strerror}.") from ex
    size = out.seek(0, SEEK_END)
    out.seek(0)
    return Export(out, size, tuple(findings), chosen.left_out)


def _contents(
    tree: TreeView, files: Iterable[ExportFile], summary: bytes
) -> Iterator[tuple[ExportFile, bytes]]:
    """Yield all files in order, each with its content."""
    everything = [*files, ExportFile(SUMMARY, "", is_executable=False)]
    for file in sorted(everything, key=lambda each: each.path):
        yield file, tree.read(file.source) if file.source else summary


def _spooled(scratch: str | None) -> BinaryIO:
    return cast("BinaryIO", SpooledTemporaryFile(_SPOOL_BYTES, dir=scratch))


def _written(
    out: BinaryIO,
    files: Iterable[tuple[ExportFile, bytes]],
    limits: ZipLimits,
    stored: Collection[str] = (),
) -> tuple[BinaryIO, list[Finding]]:
    """Return a file with the zip, and what in it looks like a credential.

    Args:
        out: Where it goes; closed where that fails.
        files: In the order of the zip.
        limits: What it may hold.
        stored: Paths that are not compressed.
    """
    try:
        packed = _packed(out, files, limits, stored)
        findings = scan_all(packed)
        for _ in packed:  # the scan stops when it has seen enough
            pass
    except BaseException:
        out.close()
        raise
    return out, findings


def _packed(
    out: BinaryIO,
    files: Iterable[tuple[ExportFile, bytes]],
    limits: ZipLimits,
    stored: Collection[str],
) -> Iterator[tuple[str, bytes]]:
    """Write a zip, and yield name and content of each file as soon as it is in there."""
    total, sizes = 0, Counter[str]()
    with zipfile.ZipFile(cast("IO[bytes]", out), "w", compresslevel=_LEVEL) as archive:
        for file, data in files:
            total += len(data)
            sizes[_part(file.path)] += len(data)
            _check_size(total, limits.unpacked_bytes, "unpacked", sizes)
            archive.writestr(_info(file, is_stored=file.path in stored), data)
            _check_size(out.tell(), limits.packed_bytes, "packed", sizes)
            yield file.path, data
    _check_size(out.tell(), limits.packed_bytes, "packed", sizes)


def _info(file: ExportFile, *, is_stored: bool) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(file.path, _EPOCH)
    info.compress_type = zipfile.ZIP_STORED if is_stored else zipfile.ZIP_DEFLATED
    info.create_system = _UNIX
    info.external_attr = (_EXECUTABLE if file.is_executable else _PLAIN) << 16
    return info


def _to_store(out: BinaryIO, limits: ZipLimits) -> frozenset[str]:
    """Return files to leave uncompressed, so that no import takes the zip for a bomb.

    Few and small ones: 200 MiB in a 200th of that lack 1 MiB. None for
    ordinary files, which pack to a tenth at best.
    """
    with zipfile.ZipFile(cast("IO[bytes]", out)) as archive:
        entries = archive.infolist()
    size, unpacked = out.seek(0, SEEK_END), sum(entry.file_size for entry in entries)
    if unpacked <= limits.unpacked_of(size):
        return frozenset()
    missing = -(-unpacked // limits.ratio) - size
    by_gain = sorted((entry.file_size - entry.compress_size, entry.filename) for entry in entries)
    chosen = set()
    while missing > 0:
        at = bisect_left(by_gain, (missing, ""))  # the smallest that is enough, else the largest
        gain, path = by_gain.pop(min(at, len(by_gain) - 1))
        missing -= gain
        chosen.add(path)
    return frozenset(chosen)


def _check_count(files: Iterable[ExportFile], limits: ZipLimits) -> None:
    counts = Counter(_part(file.path) for file in files)
    if counts.total() + 1 > limits.entries:  # with the summary
        (largest, count), *_ = counts.most_common(1)
        raise ExportTooLarge(
            f"The export would have {counts.total() + 1:,} files, and what can be imported has "
            f"{limits.entries:,} at most. {largest} has {count:,} of them: keep fewer there, or take "
            "the workspace along with git clone."
        )


def _check_size(size: int, limit: int, kind: str, sizes: Counter[str]) -> None:
    if size > limit:
        (largest, share), *_ = sizes.most_common(1)
        raise ExportTooLarge(
            f"The export would have more than {limit / 2**20:.4g} MiB {kind}, which is the most that "
            f"can be imported. Of what was read until there, {share / 2**20:.4g} MiB are in "
            f"{largest}: keep less there, or take the workspace along with git clone."
        )


def _part(path: str) -> str:
    """Return the worker or context that a file belongs to, or `issues`."""
    top, *below = path.split("/")
    return f"{top}/{below[0]}" if len(below) > 1 else top


class _Summary:
    """What `workspace.json` says."""

    def __init__(self, tree: TreeView, chosen: Selection, load_manifest: ManifestLoader) -> None:
        self._tree = tree
        self._chosen = chosen
        self._load = load_manifest

    def build(self, exported_at: datetime | None) -> bytes:
        units = self._units()
        workers = [self._worker(name, paths) for name, paths in units["workers"].items()]
        contexts = [
            {"name": name, "file_count": len(paths)} for name, paths in units["contexts"].items()
        ]
        summary = {
            "schema_version": SCHEMA_VERSION,
            "exported_at": rfc3339(exported_at) if exported_at else None,
            "workers": workers,
            "contexts": contexts,
            "required_secrets": _union(workers, "required_secrets"),
            "required_connections": _union(workers, "required_connections"),
            "next_issue": names.number_after(self._tree),
            "counts": {
                "workers": len(workers),
                "contexts": len(contexts),
                "issues": sum(names.document_number(name) is not None for name in units["issues"]),
                "left_out": len(self._chosen.left_out),
            },
            "left_out": [asdict(each) for each in self._chosen.left_out[:MAX_NAMED]],
        }
        return json.dumps(summary, indent=2, ensure_ascii=False).encode() + b"\n"

    def _units(self) -> dict[str, dict[str, list[str]]]:
        """Return the paths inside of each worker and context, and the names of issues' files."""
        found: dict[str, dict[str, list[str]]] = {"workers": {}, "contexts": {}, "issues": {}}
        for file in self._chosen.files:
            top, _, below = file.path.partition("/")
            name, _, inside = below.partition("/")
            found.setdefault(top, {}).setdefault(name, []).append(inside)
        return found

    def _worker(self, name: str, paths: list[str]) -> dict[str, Any]:
        source = self._tree.read(f"workers/{name}/{MANIFEST}") if MANIFEST in paths else b""
        loaded = self._load(source, worker_id=name, file_names=tuple(paths))
        manifest = loaded.manifest
        return {
            "id": name,
            "title": loaded.title,
            "trigger_type": manifest.triggers[0].type if manifest else "manual",
            "required_secrets": list(manifest.secrets) if manifest else [],
            "required_connections": list(apps_of(manifest)),
            "file_count": len(paths),
        }


def apps_of(manifest: Manifest | None) -> tuple[str, ...]:
    """Return the slugs of the apps that a manifest declares, each once."""
    if manifest is None:
        return ()
    apps = (getattr(connection, "app", None) for connection in manifest.connections)
    return tuple(dict.fromkeys(app for app in apps if app))


def _union(rows: list[dict[str, Any]], key: str) -> list[str]:
    return sorted({each for row in rows for each in row[key]})
