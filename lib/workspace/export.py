"""The workspace as a zip: everything that it is made of, nothing that it must not tell.

The same workspace gives the same bytes: entries are sorted and have no dates.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from lib.clock import rfc3339
from lib.manifest.models import Manifest
from lib.workspace.deny_list import is_denied
from lib.workspace.git_paths import refusal
from lib.workspace.issues import names
from lib.workspace.registry import MANIFEST, ManifestLoader
from lib.workspace.secret_scan import Finding, scan_all
from lib.workspace.tree_objects import TreeEntry
from lib.workspace.tree_view import TreeView
from lib.workspace.workspace import Workspace

SCHEMA_VERSION: Final = 1
SUMMARY: Final = "workspace.json"
INSTRUCTIONS: Final = "workspace.md"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the first date that a zip can hold
_UNIX: Final = 3
_PLAIN: Final = 0o100644
_EXECUTABLE: Final = 0o100755
_LEVEL: Final = 6


@dataclass(frozen=True, slots=True)
class Export:
    """A zip, and what in it looks like a live credential."""

    data: bytes
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _File:
    data: bytes
    is_executable: bool = False


def export(
    workspace: Workspace, load_manifest: ManifestLoader, *, exported_at: datetime | None = None
) -> Export:
    """Return the workspace of the tip.

    Args:
        workspace: What to export.
        load_manifest: For what the summary says of each worker.
        exported_at: What the summary says; None: when the tip was committed.
    """
    tip = workspace.refresh()
    at = exported_at or (workspace.commit_info(tip).committed_at if tip else None)
    tree = workspace.view(tip)
    files = dict(_files(tree))
    summary = _Summary(files, load_manifest).build(at)
    files[SUMMARY] = _File(json.dumps(summary, indent=2, ensure_ascii=False).encode() + b"\n")
    findings = scan_all((path, files[path].data) for path in sorted(files))
    return Export(_packed(files), tuple(findings))


def _files(tree: TreeView) -> Iterator[tuple[str, _File]]:
    for top in ("workers", "contexts", INSTRUCTIONS):
        for path, entry in tree.walk(top):
            if _may_leave(path, entry):
                yield path, _File(tree.read(path), entry.is_executable)
    for path in _issue_paths(tree):
        yield f"issues/{path.rpartition('/')[2]}", _File(tree.read(path))


def _may_leave(path: str, entry: TreeEntry) -> bool:
    """Regular files of a worker or context, whose names hold no secret."""
    is_in_folder = path == INSTRUCTIONS or path.count("/") > 1
    return entry.is_file and is_in_folder and refusal(path) is None and is_denied(path) is None


def _issue_paths(tree: TreeView) -> Iterator[str]:
    """Yield the files of all issues, flat names once, with their comments."""
    found: dict[int, str] = {}
    for path, entry in tree.walk(names.FOLDER):
        number = names.document_number(path.rpartition("/")[2])
        if number is not None and entry.is_file and names.find_document(tree, number) == path:
            found[number] = path
    for path in found.values():
        yield path
        if tree.find_bytes(names.comments_path(path)) is not None:
            yield names.comments_path(path)


class _Summary:
    """What `workspace.json` says."""

    def __init__(self, files: Mapping[str, _File], load_manifest: ManifestLoader) -> None:
        self._files = files
        self._load = load_manifest

    def build(self, exported_at: datetime | None) -> dict[str, Any]:
        workers = [self._worker(name) for name in self._names("workers")]
        contexts = [
            {"name": name, "file_count": len(self._below(f"contexts/{name}"))}
            for name in self._names("contexts")
        ]
        issues = sum(names.document_number(path[7:]) is not None for path in self._below("issues"))
        return {
            "schema_version": SCHEMA_VERSION,
            "exported_at": rfc3339(exported_at) if exported_at else None,
            "workers": workers,
            "contexts": contexts,
            "required_secrets": _union(workers, "required_secrets"),
            "required_connections": _union(workers, "required_connections"),
            "counts": {"workers": len(workers), "contexts": len(contexts), "issues": issues},
        }

    def _worker(self, name: str) -> dict[str, Any]:
        folder = f"workers/{name}"
        paths = self._below(folder)
        source = self._files.get(f"{folder}/{MANIFEST}")
        relative = tuple(path.removeprefix(f"{folder}/") for path in paths)
        loaded = self._load(source.data if source else b"", worker_id=name, file_names=relative)
        manifest = loaded.manifest
        return {
            "id": name,
            "title": loaded.title,
            "trigger_type": manifest.triggers[0].type if manifest else "manual",
            "required_secrets": list(manifest.secrets) if manifest else [],
            "required_connections": list(apps_of(manifest)),
            "file_count": len(paths),
        }

    def _names(self, top: str) -> list[str]:
        return sorted({path.split("/")[1] for path in self._below(top)})

    def _below(self, folder: str) -> list[str]:
        return [path for path in self._files if path.startswith(folder + "/")]


def apps_of(manifest: Manifest | None) -> tuple[str, ...]:
    """Return the slugs of the apps that a manifest declares, each once."""
    if manifest is None:
        return ()
    apps = (getattr(connection, "app", None) for connection in manifest.connections)
    return tuple(dict.fromkeys(app for app in apps if app))


def _union(rows: list[dict[str, Any]], key: str) -> list[str]:
    return sorted({each for row in rows for each in row[key]})


def _packed(files: Mapping[str, _File]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for path in sorted(files):
            info = zipfile.ZipInfo(path, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = _UNIX
            mode = _EXECUTABLE if files[path].is_executable else _PLAIN
            info.external_attr = mode << 16
            archive.writestr(info, files[path].data)
    return out.getvalue()
