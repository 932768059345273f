"""The branch `main`: read at each request, moved by compare-and-set.

Git's own protocol (`main.lock`, created exclusively, renamed over `main`), so
that a person's `git push` and our writers never undo one another. The new value
is complete and on disk before the lock's name appears: it is held for
microseconds, and a lock with two names is known for ours.
"""

from __future__ import annotations

import re
import secrets
import time
from pathlib import Path
from typing import Final

from lib.workspace.durable import write_file

BRANCH: Final = "refs/heads/main"
FOREIGN_LOCK_SECONDS: Final = 5.0  # git holds a ref's lock for milliseconds

_SCRATCH_PREFIX: Final = "ref-"
_ID: Final = re.compile(r"[0-9a-f]{40}\Z")
_POLL_SECONDS: Final = 0.002


class RefUnreadable(OSError):
    """The branch's file holds something else than a commit id."""


class Ref:
    """Main's tip.

    Args:
        git_dir: The folder `.git`.
        scratch: A folder on the same file system.
        foreign_lock_seconds: How long a lock that is not ours is waited for.
    """

    def __init__(
        self, git_dir: Path, scratch: Path, *, foreign_lock_seconds: float = FOREIGN_LOCK_SECONDS
    ) -> None:
        self._git_dir = git_dir
        self._path = git_dir / BRANCH
        self._lock = self._path.with_name(self._path.name + ".lock")
        self._scratch = scratch
        self._foreign_lock_seconds = foreign_lock_seconds

    def read(self) -> str | None:
        """Return the tip's commit id, or None before the first commit.

        Raises:
            RefUnreadable: the file is damaged.
            OSError: it cannot be read.
        """
        try:
            text = self._path.read_text("ascii", "replace").strip()
        except FileNotFoundError:
            # packed by `git gc` meanwhile? it writes packed-refs before it deletes this
            return self._read_packed()
        if not _ID.match(text):
            raise RefUnreadable(f"{self._path} holds {text[:60]!r}, which is no commit id")
        return text

    def stage(self, new: str) -> Path:
        """Write a new value into scratch and return its path; not synced.

        Raises:
            OSError: it cannot be written.
        """
        value = self._scratch / f"{_SCRATCH_PREFIX}{secrets.token_hex(8)}"
        write_file(value, new.encode() + b"\n", durable=False)
        return value

    def move(self, old: str | None, value: Path) -> bool:
        """Move from `old` to a staged value; False when it is elsewhere by now.

        Atomic; on disk once `folder` is synced. The caller holds the turnstile.

        Raises:
            OSError: it cannot be moved; the old value stands.
        """
        if not self._take(value):
            return False
        if self.read() != old:
            self._lock.unlink()
            return False
        self._lock.replace(self._path)
        return True

    @property
    def folder(self) -> Path:
        """The folder that holds the branch's file."""
        return self._path.parent

    def remove_leftovers(self) -> None:
        """Free what a killed writer of ours held. The caller holds the turnstile."""
        if self._is_ours():
            self._lock.unlink(missing_ok=True)
        for value in self._scratch.glob(_SCRATCH_PREFIX + "*"):
            value.unlink(missing_ok=True)

    def _is_ours(self) -> bool:
        try:
            return self._lock.stat().st_nlink > 1
        except FileNotFoundError:
            return False

    def _take(self, value: Path) -> bool:
        """Give `value` the lock's name; wait for a push, and outlast a dead one."""
        deadline = time.monotonic() + self._foreign_lock_seconds
        while True:
            try:
                self._lock.hardlink_to(value)
            except FileExistsError:
                if self._is_ours():  # of a writer that was killed: we hold the turnstile
                    self._lock.unlink(missing_ok=True)
                    continue
                if time.monotonic() > deadline:
                    self._lock.unlink(missing_ok=True)
                    return False
                time.sleep(_POLL_SECONDS)
            else:
                return True

    def _read_packed(self) -> str | None:
        try:
            lines = (self._git_dir / "packed-refs").read_text("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return None
        found = (line.split(" ", 1)[0] for line in lines if line.endswith(f" {BRANCH}"))
        return next((text for text in found if _ID.match(text)), None)
