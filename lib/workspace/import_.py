"""Takes over an exported workspace, as one commit, over nothing that is here.

What can be taken is decided on the tree that the commit is made on: whatever
others commit meanwhile, nothing of theirs is overwritten.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

from lib.errors import Invalid
from lib.manifest.report import shorten
from lib.workspace.deny_list import is_denied
from lib.workspace.export import SCHEMA_VERSION, SUMMARY, apps_of
from lib.workspace.export_files import INSTRUCTIONS
from lib.workspace.incoming import FreeIds, Incoming, receive
from lib.workspace.issues import comments, names
from lib.workspace.issues.document import BadIssueFile, Document, decode, encode
from lib.workspace.registry import ManifestLoader
from lib.workspace.secret_scan import scan_all
from lib.workspace.tree_edits import Edit, Put
from lib.workspace.tree_objects import EXECUTABLE, FILE
from lib.workspace.tree_view import TreeView
from lib.workspace.worker_source import SourceFile
from lib.workspace.workspace import Author, Workspace
from lib.workspace.zip_reader import ZipFile

SUBJECT: Final = "workspace: import"
NO_PART: Final = "is no part of a workspace"
TOO_HIGH: Final = "its number leaves too few for the issues to come"
_CONTEXT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")


class UnknownSchema(Invalid):
    """A newer program made the export."""

    code = "unknown_schema_version"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was not taken over, and why."""

    type: str
    id: str
    reason: str


@dataclass
class ImportReport:
    """What an import does, or would do."""

    workers: list[str] = field(default_factory=list)
    contexts: list[str] = field(default_factory=list)
    issues: list[str] = field(default_factory=list)
    skipped: list[LeftOut] = field(default_factory=list)
    id_remaps: dict[str, str] = field(default_factory=dict)
    required_secrets: set[str] = field(default_factory=set)
    required_connections: set[str] = field(default_factory=set)
    workspace_md_present: bool = False
    warnings: list[str] = field(default_factory=list)

    def skip(self, kind: str, name: str, reason: str) -> None:
        """Record that something is not taken over."""
        self.skipped.append(LeftOut(kind, name, reason))


class WorkspaceImport:
    """One export on its way in.

    Args:
        files: Of the zip.
        load_manifest: How a manifest is read.

    Raises:
        UnknownSchema: a newer program made it.
    """

    def __init__(self, files: Sequence[ZipFile], *, load_manifest: ManifestLoader) -> None:
        self._files = {file.path: file for file in files}
        self._readers = _Readers(cache(load_manifest), cache(_read_issue), cache(_is_log))
        self._next_issue = _next_issue(_summary(self._files.pop(SUMMARY, None)))

    def commit(
        self, workspace: Workspace, author: Author, trailers: Mapping[str, str]
    ) -> ImportReport:
        """Take over what can be, by one commit, and return what that was."""
        planned = [self._plan(workspace.view(workspace.refresh()))]

        def change(tip: TreeView) -> list[Edit]:
            # others wait now: what takes long was done before, and the scan comes after
            planned[:] = [self._plan(tip)]
            return planned[0].edits

        workspace.commit(change, SUBJECT, author, trailers=trailers)
        return planned[0].full_report()

    def preview(self, tip: TreeView) -> ImportReport:
        """Return what an import into a tree takes over."""
        return self._plan(tip).full_report()

    def _plan(self, tip: TreeView) -> _Plan:
        return _Plan(tip, self._files, self._readers, self._next_issue)


@dataclass(frozen=True)
class _Readers:
    """How files are read, each once, however often the tip moves meanwhile."""

    manifest: ManifestLoader
    issue: Callable[[bytes, int], Document | str]
    is_log: Callable[[bytes], bool]


class _Plan:
    """What is taken over into one tree.

    Attributes:
        edits: That do it.
        report: What they are, without warnings.
    """

    def __init__(
        self, tip: TreeView, files: Mapping[str, ZipFile], readers: _Readers, next_issue: int
    ) -> None:
        self._tip = tip
        self._readers = readers
        self._units = _by_unit(files)
        self._ids = FreeIds(name for name, _ in tip.names("workers"))
        self._contexts = {name.casefold() for name, _ in tip.names("contexts")}
        self.edits: list[Edit] = []
        self.report = ImportReport()
        for name, inside in self._of("workers"):
            self._worker(name, inside)
        for name, inside in self._of("contexts"):
            self._context(name, inside)
        for _, inside in self._of("issues"):  # after the workers, which may have other ids now
            self._issues(inside)
        self._raise_counter(next_issue)
        for _, inside in self._of(""):
            self._others(inside)

    def full_report(self) -> ImportReport:
        """Return the report, with what looks like a credential."""
        puts = ((edit.path, edit.data) for edit in self.edits if isinstance(edit, Put))
        found = [found.warning for found in scan_all(puts)]
        return replace(self.report, warnings=[*self.report.warnings, *found])

    def _of(self, top: str) -> list[tuple[str, list[ZipFile]]]:
        return [(name, files) for (kind, name), files in self._units.items() if kind == top]

    def _worker(self, name: str, files: list[ZipFile]) -> None:
        sources = [
            SourceFile(_below(file.path, 2), file.data, file.is_executable) for file in files
        ]
        worker = receive(name, sources, ids=self._ids, load_manifest=self._readers.manifest)
        if not isinstance(worker, Incoming):
            self.report.skip("worker", name, worker)
            return
        for path, reason in worker.denied:
            self.report.skip("file", f"workers/{name}/{path}", reason)
        if worker.id != name:
            self.report.id_remaps[name] = worker.id
        manifest = worker.loaded.manifest
        self.report.workers.append(worker.id)
        self.report.required_secrets.update(manifest.secrets if manifest else ())
        self.report.required_connections.update(apps_of(manifest))
        self.edits.extend(worker.edits())

    def _context(self, name: str, files: list[ZipFile]) -> None:
        if not _CONTEXT.match(name):
            self.report.skip("context", name, "its folder's name cannot be a context's")
        elif name.casefold() in self._contexts:
            self.report.skip("context", name, "exists")
        elif sum(self._put(file) for file in files):
            self.report.contexts.append(name)

    def _others(self, files: list[ZipFile]) -> None:
        for file in files:
            if file.path == INSTRUCTIONS:
                self._instructions(file)
            else:
                self.report.skip("file", file.path, NO_PART)

    def _instructions(self, file: ZipFile) -> None:
        self.report.workspace_md_present = True
        if self._tip.find(INSTRUCTIONS) is None:
            self._put(file)
        else:
            self.report.skip("workspace_md", INSTRUCTIONS, "exists")

    def _put(self, file: ZipFile) -> bool:
        reason = is_denied(file.path)
        if reason is not None:
            self.report.skip("file", file.path, reason)
            return False
        self.edits.append(Put(file.path, file.data, EXECUTABLE if file.is_executable else FILE))
        return True

    def _issues(self, files: list[ZipFile]) -> None:
        documents, logs = {}, {}
        for file in files:
            name = _below(file.path, 1)
            number, of_log = names.document_number(name), names.comments_number(name)
            if number is not None:
                documents[number] = file
            elif of_log is not None:
                logs[of_log] = file
            else:
                self.report.skip("file", file.path, NO_PART)
        taken = [number for number in sorted(documents) if self._issue(number, documents[number])]
        for number, file in sorted(logs.items()):
            self._log(number, file, is_taken=number in taken)

    def _raise_counter(self, elsewhere: int) -> None:
        """Give no number again that an issue had, here or where the export comes from."""
        taken = [number for each in self.report.issues if (number := names.number_of(each))]
        here = names.number_after(self._tip)
        following = min(max(here, elsewhere, *(number + 1 for number in taken)), names.MAX_NUMBER)
        if following > here:
            self.report.warnings.append(
                f"The next issue is {names.issue_id(following)}: others had lower ids where this "
                "export comes from."
            )
        if taken or following > here:
            self.edits.append(Put(names.COUNTER, b"%d\n" % following))

    def _issue(self, number: int, file: ZipFile) -> bool:
        issue_id = names.issue_id(number)
        if number > names.MAX_IMPORTED:
            self.report.skip("issue", issue_id, TOO_HIGH)
            return False
        if names.find_document(self._tip, number) is not None:
            self.report.skip("issue", issue_id, "exists")
            return False
        document = self._readers.issue(file.data, number)
        if isinstance(document, str):
            self.report.skip("issue", issue_id, document)
            return False
        moved = self._moved(document)
        data = file.data if moved is document else encode(moved)
        self.edits.append(Put(names.document_path(number), data))
        self.report.issues.append(issue_id)
        return True

    def _moved(self, document: Document) -> Document:
        """Return an issue about a worker that has another id here as one about that."""
        new_id = self.report.id_remaps.get(document.asset_id or "")
        if document.asset_type != "worker" or new_id is None:
            return document
        return replace(document, asset_id=new_id)

    def _log(self, number: int, file: ZipFile, *, is_taken: bool) -> None:
        name = _below(file.path, 1)
        path = names.comments_path(names.document_path(number))
        if not is_taken:
            self.report.skip("comments", name, "its issue is not imported")
        elif not self._readers.is_log(file.data):
            self.report.skip("comments", name, "has lines that are no comments")
        elif self._tip.find(path) is not None:
            self.report.skip("comments", name, "exists")
        else:
            self.edits.append(Put(path, file.data))


def _read_issue(data: bytes, number: int) -> Document | str:
    """Return an issue, or why the file is none."""
    try:
        return decode(data, issue_id=names.issue_id(number))
    except BadIssueFile as ex:
        return str(ex)


def _is_log(data: bytes) -> bool:
    """Return whether each line is a comment."""
    return len(comments.decode(data)) == sum(bool(line.strip()) for line in data.split(b"\n"))


def _by_unit(files: Mapping[str, ZipFile]) -> dict[tuple[str, str], list[ZipFile]]:
    """Group the files of each worker and context; what is neither has a group by its top."""
    units: dict[tuple[str, str], list[ZipFile]] = {}
    for path in sorted(files):
        parts = path.split("/")
        is_inside = parts[0] in {"workers", "contexts"} and len(parts) > 2
        is_issue = parts[0] == "issues" and len(parts) == 2
        top = parts[0] if is_inside or is_issue else ""
        units.setdefault((top, parts[1] if is_inside else ""), []).append(files[path])
    return units


def _below(path: str, count: int) -> str:
    return path.split("/", count)[count]


def _summary(file: ZipFile | None) -> Mapping[str, Any]:
    """Return what `workspace.json` says, nothing without one.

    Raises:
        UnknownSchema: it is not of our version.
    """
    if file is None:
        return {}
    try:
        value: Any = json.loads(file.data)
    except (ValueError, RecursionError):
        value = None
    version = value.get("schema_version") if isinstance(value, dict) else None
    if isinstance(version, bool) or not isinstance(version, int) or version != SCHEMA_VERSION:
        raise UnknownSchema(
            f"{SUMMARY} has schema_version {shorten(repr(version), 40)}; this program reads "
            f"{SCHEMA_VERSION}."
        )
    summary: Mapping[str, Any] = value
    return summary


def _next_issue(summary: Mapping[str, Any]) -> int:
    """Return the number that the next issue would have had there; 1 where it says nonsense."""
    number = summary.get("next_issue")
    if type(number) is not int or not 1 <= number <= names.MAX_IMPORTED + 1:
        return 1
    return number
