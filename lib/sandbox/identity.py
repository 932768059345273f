"""A user id for each run, so that the kernel counts and separates runs by it.

Only root can use it. A lock file stands for each id: its holder is the run's
supervisor, and the kernel lets go when that ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Below what systemd hands to containers and above what it and Debian give to
# people and services; an id that has no name in any database.
FIRST_UID: Final = 500_000
# Inside a container that maps 65,536 ids only: the end of the range for people.
FIRST_UID_WHERE_FEW: Final = 50_000
UID_COUNT: Final = 4_096

_TURN_BYTES: Final = 4
_OTHERS_MAY_PASS: Final = stat.S_IXOTH


class NoUidLeft(Exception):
    """As many runs as there are ids are running."""


@dataclass(frozen=True)
class UidLease:
    """An id that nobody else has while the descriptor is open.

    Attributes:
        descriptor: Closed at exec; inherited by a fork.
    """

    uid: int
    descriptor: int

    def release(self) -> None:
        """Let another run have the id. All processes that use it must be gone."""
        os.close(self.descriptor)


@dataclass(frozen=True)
class UidRange:
    """Ids for runs, each also used as the group id.

    Attributes:
        folder: Private folder for the lock files.
    """

    folder: Path
    first: int = FIRST_UID
    count: int = UID_COUNT

    def lease(self) -> UidLease:
        """Take a free id, the next in turn; atomic among all processes that use the folder.

        So an id comes back only when all others have been used since, whoever used them.

        Raises:
            NoUidLeft: all are taken.
            OSError: a lock file could not be made or opened.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        turn = os.open(self.folder / "turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(turn, fcntl.LOCK_EX)
            last = int.from_bytes(os.pread(turn, _TURN_BYTES, 0), "big")
            for step in range(1, self.count + 1):
                index = (last + step) % self.count
                lease = self._try(self.first + index)
                if lease is not None:
                    with contextlib.suppress(OSError):  # no room: the order is all that is lost
                        os.pwrite(turn, index.to_bytes(_TURN_BYTES, "big"), 0)
                    return lease
        finally:
            os.close(turn)
        raise NoUidLeft(f"all {self.count} user ids from {self.first} are in use")

    def _try(self, uid: int) -> UidLease | None:
        descriptor = os.open(self.folder / str(uid), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return UidLease(uid, descriptor)


def default_first_uid() -> int:
    """Return the first id of a range that exists in this user namespace."""
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        inside, _, count = map(int, line.split())
        if inside <= FIRST_UID and inside + count >= FIRST_UID + UID_COUNT:
            return FIRST_UID
    return FIRST_UID_WHERE_FEW


def gate_uid() -> int:
    """Return the user that all gates become, from root: no run's, and nobody else's."""
    return default_first_uid() - 1


def lock_folder(own: Path) -> Path:
    """Return where ids are locked: for all servers of a host, else in a folder of one's own."""
    shared = Path("/run/floom-uids")
    try:
        shared.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return own
    return shared if shared.stat().st_uid == os.geteuid() else own


def give(folder: str, uid: int, gid: int) -> None:
    """Make `uid` the owner of a folder and all below it; links are not followed.

    Only before anything of the run has started: files come from elsewhere.
    """
    os.chown(folder, uid, gid, follow_symlinks=False)
    with os.scandir(folder) as entries:  # a third of what os.fwalk takes
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                give(entry.path, uid, gid)
            else:
                os.chown(entry.path, uid, gid, follow_symlinks=False)


def unreachable(paths: Sequence[str]) -> str | None:
    """Return a folder that keeps a stranger from one of these paths; None if none does.

    An interpreter below a home folder (mode 0700) is the usual case: it would
    not start under another uid, unless a mount shows it elsewhere.
    """
    for path in paths:
        for folder in Path(os.path.realpath(path)).parents:
            if not folder.stat().st_mode & _OTHERS_MAY_PASS:
                return str(folder)
    return None
