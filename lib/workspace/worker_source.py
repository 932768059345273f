"""A worker's files as one thing: read, replaced, rolled back and deleted by commits.

Every rule is judged inside the change, on the tree that the commit is made on:
between two callers, or a caller and a push, nothing slips through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from lib.errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from lib.manifest.capabilities import declared_capabilities
from lib.manifest.loader import LoadedManifest
from lib.manifest.models import Manifest
from lib.manifest.report import Problem
from lib.workspace.deny_list import is_denied
from lib.workspace.errors import ObjectNotFound
from lib.workspace.git_paths import refusal, shown
from lib.workspace.registry import MANIFEST, QUARANTINE, ManifestLoader
from lib.workspace.tree_objects import EXECUTABLE, FILE
from lib.workspace.tree_view import TreeView
from lib.workspace.workspace import Author, CommitResult, Delete, Edit, Put, PutTree, Workspace

MAX_FILES: Final = 1_000
MAX_BYTES: Final = 28 * 1024 * 1024  # of all files; what reload takes over of one worker
_MAX_FINDINGS: Final = 100


class WorkerNotFound(NotFound):
    """No worker has this id."""

    code = "worker_not_found"


class WorkerConflict(Conflict):
    """The worker is not at the version that the change was made for, or not of a size for it."""

    code = "worker_conflict"


class VersionNotFound(NotFound):
    """The commit is not there, or does not hold the worker."""

    code = "version_not_found"


class SecretPath(Invalid):
    """A file whose name is on the deny list."""

    code = "secret_path"


class CapabilityRequiresAdmin(Forbidden):
    """The worker reaches for what only an administrator may hand out."""

    code = "capability_requires_admin"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a worker, by its path in the worker's folder."""

    path: str
    data: bytes
    is_executable: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """All of a worker's folder.

    Attributes:
        sha: Its tree id.
        files: Regular files by path.
        others: Paths of symlinks and submodules, which are not followed.
    """

    sha: str
    files: tuple[SourceFile, ...]
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """The version that a change was made for; `sha` None: no such worker yet."""

    sha: str | None


@dataclass(frozen=True, slots=True)
class Writer:
    """Who changes a worker, and whether they may hand out what it reaches for."""

    author: Author
    is_admin: bool


class WorkerSource:
    """Changes of workers' folders. Any thread may call.

    Args:
        load_manifest: How a manifest is read.
    """

    def __init__(self, workspace: Workspace, *, load_manifest: ManifestLoader) -> None:
        self._workspace = workspace
        self._load = load_manifest

    def read(self, worker_id: str) -> Source:
        """Return a worker's files.

        Raises:
            WorkerNotFound: there is no such worker.
            WorkerConflict: its files, which were pushed, have more than MAX_BYTES.
        """
        sha = self._require(self._workspace.view(), worker_id)
        files, others = [], []
        bundle = {each.path: each for each in self._workspace.bundle(sha)}
        if sum(len(each.data) for each in bundle.values()) > MAX_BYTES:
            raise WorkerConflict(
                f"The files of {worker_id} have more than {MAX_BYTES // 2**20} MiB together; "
                "read and change them with git."
            )
        for entry in self._workspace.list_files(sha):
            if entry.mode in {FILE, EXECUTABLE}:
                data = bundle[entry.path].data
                files.append(SourceFile(entry.path, data, entry.mode == EXECUTABLE))
            else:
                others.append(shown(entry.path))
        return Source(sha, tuple(files), tuple(others))

    def replace(
        self,
        worker_id: str,
        files: Sequence[SourceFile],
        *,
        writer: Writer,
        expected: Expected | None = None,
    ) -> bool:
        """Make these all the files of a worker, as one commit; returns whether it is new.

        No commit where they are that already.

        Raises:
            Invalid: a path that cannot be, too many files or bytes, or a manifest
                that strict validation refuses; pointers lead into `files`.
            SecretPath: a name that may hold a secret.
            WorkerConflict: the worker is not as `expected`.
            CapabilityRequiresAdmin: the worker declares, before or after, what
                only an administrator may give.
        """
        _check_files(files)
        manifest = self._load_strictly(worker_id, files)
        folder = _folder(worker_id)
        is_new = False

        def change(tip: TreeView) -> list[Edit]:
            nonlocal is_new
            sha = tip.tree_id(folder)
            is_new = sha is None
            _check_expected(worker_id, sha, expected)
            self._check_may(writer, self._manifest(tip, worker_id), manifest)
            puts = [
                Put(f"{folder}/{file.path}", file.data, EXECUTABLE if file.is_executable else FILE)
                for file in files
            ]
            return [Delete(folder), *puts]

        self._commit(change, f"worker: update {worker_id}", writer)
        return is_new

    def roll_back(self, worker_id: str, commit: str, *, writer: Writer) -> None:
        """Make a worker's folder exactly what it was in a commit, by a new commit.

        Also of a worker that was deleted, which is in quarantine again if it was then.
        Nothing of it is judged but names that may hold secrets: the version was there before.

        Raises:
            VersionNotFound: the commit does not hold the worker.
            SecretPath, CapabilityRequiresAdmin: as `replace`.
        """
        folder = _folder(worker_id)
        sha = self._tree_in(commit, worker_id)
        for path, _ in self._workspace.tree(sha).walk():
            _refuse_denied(path, "/commit")
        then = self._workspace.view(commit)
        wanted = self._manifest(then, worker_id)
        mark = f"{QUARANTINE}/{worker_id}"

        def change(tip: TreeView) -> list[Edit]:
            self._check_may(writer, self._manifest(tip, worker_id), wanted)
            if tip.tree_id(folder) == sha:
                return []
            was_deleted = tip.tree_id(folder) is None
            marks = [Put(mark, b"")] if was_deleted and then.find(mark) is not None else []
            return [PutTree(folder, sha), *marks]

        self._commit(change, f"worker: roll back {worker_id} to {commit[:7]}", writer)

    def require(self, worker_id: str) -> None:
        """Check that there is a worker. Raises WorkerNotFound."""
        self._require(self._workspace.view(), worker_id)

    def delete(self, worker_id: str, *, writer: Writer) -> None:
        """Remove a worker's folder, and its quarantine, by a commit.

        Raises:
            WorkerNotFound: there is no such worker.
            CapabilityRequiresAdmin: as `replace`.
        """

        def change(tip: TreeView) -> list[Edit]:
            self._require(tip, worker_id)
            self._check_may(writer, self._manifest(tip, worker_id), None)
            return [Delete(_folder(worker_id)), Delete(f"{QUARANTINE}/{worker_id}")]

        self._commit(change, f"worker: delete {worker_id}", writer)

    def _commit(
        self, change: Callable[[TreeView], list[Edit]], subject: str, writer: Writer
    ) -> CommitResult:
        return self._workspace.commit(change, subject, writer.author)

    def _require(self, tip: TreeView, worker_id: str) -> str:
        sha = tip.tree_id(_folder(worker_id))
        if sha is None:
            raise WorkerNotFound(f"There is no worker {worker_id}; GET /workers lists them.")
        return sha

    def _tree_in(self, commit: str, worker_id: str) -> str:
        try:
            sha = self._workspace.view(commit).tree_id(_folder(worker_id))
        except ObjectNotFound:
            sha = None
        if sha is None:
            raise VersionNotFound(
                f"No commit {commit} holds {worker_id}; GET /workers/{worker_id}/versions lists "
                "those that do."
            )
        return sha

    def _manifest(self, tip: TreeView, worker_id: str) -> Manifest | None:
        source = tip.find_bytes(f"{_folder(worker_id)}/{MANIFEST}")
        return None if source is None else self._loaded(worker_id, source, ()).manifest

    def _loaded(self, worker_id: str, source: bytes, paths: Iterable[str]) -> LoadedManifest:
        return self._load(source, worker_id=worker_id, file_names=tuple(paths))

    def _load_strictly(self, worker_id: str, files: Sequence[SourceFile]) -> Manifest | None:
        index = next((at for at, file in enumerate(files) if file.path == MANIFEST), None)
        if index is None:
            detail = f"A worker needs a file {MANIFEST}."
            raise Invalid(detail, [FieldError("/files", detail)])
        loaded = self._loaded(worker_id, files[index].data, (file.path for file in files))
        if loaded.strict_errors:
            pointer = f"/files/{index}/content"
            raise Invalid(
                f"Correct {MANIFEST}; nothing was saved.",
                [
                    FieldError(pointer, _sentence(each))
                    for each in loaded.strict_errors[:_MAX_FINDINGS]
                ],
            )
        return loaded.manifest

    def _check_may(self, writer: Writer, before: Manifest | None, after: Manifest | None) -> None:
        if writer.is_admin:
            return
        keys = dict.fromkeys((*declared_capabilities(before), *declared_capabilities(after)))
        if keys:
            raise CapabilityRequiresAdmin(
                f"Ask an administrator: the worker declares {', '.join(keys)}, before or after "
                "this change."
            )


def _folder(worker_id: str) -> str:
    return f"workers/{worker_id}"


def _check_files(files: Sequence[SourceFile]) -> None:
    """Refuse what no worker's folder may hold; all bad paths are named at once."""
    if len(files) > MAX_FILES:
        detail = f"A worker has at most {MAX_FILES:,} files."
        raise Invalid(detail, [FieldError("/files", detail)])
    if sum(len(file.data) for file in files) > MAX_BYTES:
        detail = f"A worker's files have at most {MAX_BYTES // 2**20} MiB together."
        raise Invalid(detail, [FieldError("/files", detail)])
    seen: set[str] = set()
    errors = []
    for index, file in enumerate(files):
        pointer = f"/files/{index}/path"
        reason = refusal(file.path) or ("is there twice" if file.path in seen else None)
        if reason is not None:
            errors.append(FieldError(pointer, f"{shown(file.path)[:200]!r} {reason}."))
        else:
            _refuse_denied(file.path, pointer)
        seen.add(file.path)
    if errors:
        raise Invalid("Correct the paths; nothing was saved.", errors[:_MAX_FINDINGS])


def _refuse_denied(path: str, pointer: str) -> None:
    reason = is_denied(path)
    if reason is not None:
        detail = f"{shown(path)!r} {reason}, so it does not belong into git."
        raise SecretPath(detail, [FieldError(pointer, detail)])


def _check_expected(worker_id: str, sha: str | None, expected: Expected | None) -> None:
    if expected is None or expected.sha == sha:
        return
    if expected.sha is None:
        raise WorkerConflict(f"There is a worker {worker_id} already; choose another id.")
    raise WorkerConflict(
        f"{worker_id} is at {sha or 'no version: it was deleted'}, not at {expected.sha}: "
        "somebody changed it since. Read it again, then decide."
    )


def _sentence(problem: Problem) -> str:
    where = f"line {problem.line}" if problem.line else "the whole"
    return f"{where}, {problem.pointer or '/'}: {problem.message}"
