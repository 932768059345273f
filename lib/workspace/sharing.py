"""Workers handed on by a link: shown in outline to anybody, copied by whoever may."""

from __future__ import annotations

import logging
import re
import secrets
import string
from dataclasses import dataclass
from typing import Final

from lib.clock import Clock
from lib.errors import Conflict, FloomError, Invalid, NotFound
from lib.log import event
from lib.storage.ports import ShareStore
from lib.storage.records import Share
from lib.workspace.deny_list import is_denied
from lib.workspace.errors import ObjectNotFound
from lib.workspace.git_paths import refusal, shown
from lib.workspace.incoming import FreeIds, Incoming, receive
from lib.workspace.registry import MANIFEST, ManifestLoader
from lib.workspace.scan import Skipped
from lib.workspace.secret_scan import Finding, scan_all
from lib.workspace.tree_edits import Edit
from lib.workspace.tree_objects import EXECUTABLE, FILE
from lib.workspace.tree_view import TreeView
from lib.workspace.worker_source import SourceFile, WorkerNotFound
from lib.workspace.workspace import Author, FileEntry, Workspace

PREFIX: Final = "fls_"
TOKEN_CHARACTERS: Final = 24
MAX_FILES: Final = 500
MAX_LISTED: Final = 2_000  # with those that are not handed on
MAX_BYTES: Final = 20 * 1024 * 1024

_log = logging.getLogger(__name__)
_ALPHABET: Final = string.ascii_letters + string.digits
_TOKEN: Final = re.compile(rf"{PREFIX}[A-Za-z0-9]{{{TOKEN_CHARACTERS}}}\Z")
LINK: Final = "is a link or a submodule"


class ShareNotFound(NotFound):
    """No worker is shared by this token."""

    code = "share_not_found"


class ShareTooLarge(Invalid):
    """The shared worker has more than a copy may have."""

    code = "share_too_large"


class SharedWorkerBroken(Conflict):
    """What is shared is no worker that could run."""

    code = "worker_broken"


@dataclass(frozen=True, slots=True)
class Outline:
    """What anybody may know of a shared worker: no contents, no paths of secrets.

    Attributes:
        files: The first MAX_FILES.
        has_more: There are others, so that no copy can be made.
    """

    title: str
    description: str
    files: tuple[FileEntry, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Copy:
    """A worker that was copied.

    Attributes:
        remapped_from: The id that was taken; None where the copy has its own.
    """

    worker_id: str
    remapped_from: str | None
    skipped: tuple[Skipped, ...]
    findings: tuple[Finding, ...]


class Sharing:
    """Links to workers, each to the version that was current when it was made."""

    def __init__(
        self,
        *,
        shares: ShareStore,
        workspace: Workspace,
        load_manifest: ManifestLoader,
        clock: Clock,
    ) -> None:
        self._shares = shares
        self._workspace = workspace
        self._load = load_manifest
        self._clock = clock
        self._seen: str | None = ""  # tree id of all workers, which no tree has
        self.end_gone()
        workspace.on_tip(self.end_gone)

    def share(self, worker_id: str, *, by: str) -> Share:
        """Return the worker's link, made where there is none, to its present version.

        Raises:
            WorkerNotFound: there is no such worker.
        """
        commit = self._workspace.refresh()
        sha = self._workspace.view(commit).tree_id(f"workers/{worker_id}")
        if sha is None or commit is None:
            raise _no_worker(worker_id)
        token = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(TOKEN_CHARACTERS))
        now = self._clock.now()
        return self._shares.put(Share(token, worker_id, sha, commit, by, now))

    def revoke(self, worker_id: str) -> None:
        """End a worker's link, also that of a worker which is gone; nothing happens without one.

        Raises:
            WorkerNotFound: there is no such worker, and no link.
        """
        if self._shares.delete(worker_id):
            return
        if self._workspace.view(self._workspace.refresh()).find(f"workers/{worker_id}") is None:
            raise _no_worker(worker_id)

    def end_gone(self) -> None:
        """End the links of workers that main has not any more, whoever deleted them.

        With each new tip: another worker of the same id has no link then.
        """
        try:
            workers = self._workspace.view().tree_id("workers")
            if workers == self._seen:
                return  # issues and contexts are most of what is committed
            shares = self._shares.list()
            tip = self._workspace.view()  # after the list: a worker made since is in it
            for share in shares:
                if tip.tree_id(f"workers/{share.worker_id}") is None:
                    self._shares.delete(share.worker_id, token=share.token)
            self._seen = workers
        except FloomError as ex:  # no reason for a commit to fail; looked at with the next tip
            event(_log, logging.WARNING, "shares_not_ended", error=str(ex))

    def outline(self, token: str) -> Outline:
        """Return what anybody may know. Raises ShareNotFound."""
        share = self._find(token)
        listed = self._list(share)
        files = tuple(each for each in listed if _reason(each) is None)
        loaded = self._load(
            self._workspace.tree(share.sha).find_bytes(MANIFEST) or b"",
            worker_id=share.worker_id,
            file_names=tuple(each.path for each in files),
        )
        description = loaded.manifest.description if loaded.manifest else ""
        has_more = len(files) > MAX_FILES or len(listed) > MAX_LISTED
        return Outline(loaded.title, description, files[:MAX_FILES], has_more)

    def copy(self, token: str, author: Author) -> Copy:
        """Make a worker of this workspace out of a shared one, in quarantine, by one commit.

        Raises:
            ShareNotFound: unknown, revoked or malformed.
            ShareTooLarge: it has more than MAX_FILES files or MAX_BYTES bytes.
            SharedWorkerBroken: its manifest has errors.
        """
        share = self._find(token)
        files, skipped = self._files(share)
        received: list[Incoming] = []

        def change(tip: TreeView) -> list[Edit]:
            ids = FreeIds(name for name, _ in tip.names("workers"))
            worker = receive(share.worker_id, files, ids=ids, load_manifest=self._load)
            if not isinstance(worker, Incoming):
                raise SharedWorkerBroken(f"The shared worker cannot be used: {worker}.")
            received[:] = [worker]
            return [*worker.edits()]

        self._workspace.commit(
            change, lambda: f"worker: import {received[0].id} from share", author
        )
        worker = received[0]
        return Copy(
            worker.id,
            share.worker_id if worker.id != share.worker_id else None,
            skipped,
            tuple(scan_all((file.path, file.data) for file in worker.files)),
        )

    def _find(self, token: str) -> Share:
        share = self._shares.find(token) if _TOKEN.match(token) else None
        tip = self._workspace.view(self._workspace.refresh())
        if share is None or tip.tree_id(f"workers/{share.worker_id}") is None:
            raise ShareNotFound("There is no such share: the link is wrong, or was revoked.")
        return share

    def _list(self, share: Share) -> tuple[FileEntry, ...]:
        try:
            return self._workspace.list_files(share.sha, limit=MAX_LISTED + 1)
        except ObjectNotFound:
            raise ShareNotFound("The shared version is not in the repository any more.") from None

    def _files(self, share: Share) -> tuple[list[SourceFile], tuple[Skipped, ...]]:
        entries = self._list(share)
        listed = {each.path: _reason(each) for each in entries}
        kept = [each for each in entries if listed[each.path] is None]
        is_long = len(entries) > MAX_LISTED or len(kept) > MAX_FILES
        if is_long or sum(each.size for each in kept) > MAX_BYTES:
            raise ShareTooLarge(
                f"The shared worker has more than {MAX_FILES} files or {MAX_BYTES // 2**20} MiB."
            )
        tree = self._workspace.tree(share.sha)
        files = [
            SourceFile(each.path, tree.read(each.path), each.mode == EXECUTABLE) for each in kept
        ]
        skipped = [Skipped(shown(path), why) for path, why in listed.items() if why is not None]
        return files, tuple(skipped)


def _reason(entry: FileEntry) -> str | None:
    """Return why a file is not handed on, or None."""
    if entry.mode not in {FILE, EXECUTABLE}:
        return LINK
    return refusal(entry.path) or is_denied(entry.path)


def _no_worker(worker_id: str) -> WorkerNotFound:
    return WorkerNotFound(f"There is no worker {worker_id}; GET /workers lists them.")
