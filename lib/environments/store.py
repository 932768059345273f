"""The folder of environments: finished ones by key, with their locks.

<key>/packages            what was installed, read-only
<key>/environment.json    written last, before the folder got its name
<key>.lock                held shared by whoever uses it, alone by whoever
                          builds or removes it; flock(2), so a dead holder
                          holds nothing
.build-<key>-<random>     an installation; a leftover once nobody holds the lock
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from lib.environments import tree
from lib.environments.environment import PACKAGES
from lib.environments.recipe import InstallCancelled

MAX_TOTAL_BYTES: Final = 5 * 1024**3
POLL_SECONDS: Final = 0.1  # another process holds a lock: flock cannot wait and be cancelled

_MARKER: Final = "environment.json"
_BUILD: Final = ".build-"
_LOCK_SUFFIX: Final = ".lock"

# Waits some seconds; True: give up.
Wait = Callable[[float], bool]


@dataclass(frozen=True)
class Lease:
    """A finished environment that stays while this is held; a context manager."""

    folder: Path
    descriptor: int

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let it be removed again; once only."""
        os.close(self.descriptor)


class EnvironmentStore:
    """Environments below one folder; any thread and any process may use it.

    Args:
        path: Made at the first use.
        max_total_bytes: Above it, those that nobody used for longest go.
    """

    def __init__(self, path: Path, *, max_total_bytes: int = MAX_TOTAL_BYTES) -> None:
        self.path = path
        self._max_total_bytes = max_total_bytes

    def has(self, key: str) -> bool:
        """Whether an environment is finished; it may go at any time."""
        return (self.path / key / _MARKER).is_file()

    def find(self, key: str) -> Lease | None:
        """Return a finished environment, leased; None where there is none now."""
        if not self.has(key):
            return None
        descriptor = self._lock(key, fcntl.LOCK_SH)
        if descriptor is None:
            return None
        marker = self.path / key / _MARKER
        try:
            os.utime(marker)  # the last use
        except OSError:
            os.close(descriptor)
            return None
        return Lease(self.path / key, descriptor)

    @contextmanager
    def held_alone(self, key: str, wait: Wait) -> Iterator[int]:
        """Hold an environment's lock against everybody; yields its descriptor.

        Raises:
            InstallCancelled: `wait` said so while somebody else held it.
        """
        self._lay_out()
        while (descriptor := self._lock(key, fcntl.LOCK_EX)) is None:
            if wait(POLL_SECONDS):
                raise InstallCancelled
        try:
            yield descriptor
        finally:
            if not self.has(key):
                self._lock_path(key).unlink(missing_ok=True)
            os.close(descriptor)

    def begin(self, key: str) -> Path:
        """Return a fresh folder to build in; leftovers are gone. Hold the lock alone."""
        self._sweep(held=key)
        folder = self.path / f"{_BUILD}{key}-{secrets.token_hex(4)}"
        try:
            for name in (PACKAGES, "tmp", "home", "cache"):
                (folder / name).mkdir(mode=0o755, parents=True)
        except OSError:
            tree.remove(folder)
            raise
        return folder

    def publish(self, key: str, folder: Path, facts: dict[str, object]) -> None:
        """Make what was built the environment, durable and whole, or raise. Hold the lock alone.

        Raises:
            OSError: it could not be stored.
            InstallError: it holds what no environment may.
        """
        for name in os.listdir(folder):  # noqa: PTH208
            if name != PACKAGES:
                tree.remove(folder / name)
        os.chown(folder, os.geteuid(), os.getegid())
        size = tree.seal(folder / PACKAGES)
        tree.sync_filesystem(folder)
        _write_durably(folder / _MARKER, json.dumps({**facts, "bytes": size}, indent=1))
        folder.chmod(0o755)
        folder.rename(self.path / key)
        _sync_folder(self.path)

    def evict(self, *, held: str) -> None:
        """Remove what was not used for longest until the rest fits; none that is in use."""
        sizes = {key: self._bytes(key) for key in self._keys()}
        total = sum(sizes.values())
        for key in sorted(sizes, key=self._used_at):
            if total <= self._max_total_bytes:
                return
            if key != held and self._remove(key):
                total -= sizes[key]

    def _lay_out(self) -> None:
        """Make the folder; where root has no mounts to give, runs must get through it."""
        self.path.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)

    def _keys(self) -> list[str]:
        return [path.parent.name for path in self.path.glob(f"[!.]*/{_MARKER}")]

    def _bytes(self, key: str) -> int:
        try:
            return int(json.loads((self.path / key / _MARKER).read_text())["bytes"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _used_at(self, key: str) -> float:
        try:
            return (self.path / key / _MARKER).stat().st_mtime
        except OSError:
            return 0.0

    def _remove(self, key: str) -> bool:
        """Remove an environment unless somebody has it; return whether it is gone."""
        descriptor = self._lock(key, fcntl.LOCK_EX)
        if descriptor is None:
            return False
        try:
            doomed = self.path / f"{_BUILD}{key}-{secrets.token_hex(4)}"
            (self.path / key).rename(doomed)  # gone at once, also if we are killed now
            tree.remove(doomed)
            self._lock_path(key).unlink(missing_ok=True)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _sweep(self, *, held: str) -> None:
        """Remove what builds that were killed left; not those that live."""
        for leftover in self.path.glob(f"{_BUILD}*"):
            key = leftover.name[len(_BUILD) :].rpartition("-")[0]
            if key == held:
                tree.remove(leftover)
                continue
            descriptor = self._lock(key, fcntl.LOCK_EX)
            if descriptor is not None:
                tree.remove(leftover)
                if not self.has(key):
                    self._lock_path(key).unlink(missing_ok=True)
                os.close(descriptor)

    def _lock_path(self, key: str) -> Path:
        return self.path / f"{key}{_LOCK_SUFFIX}"

    def _lock(self, key: str, how: int) -> int | None:
        """Take a lock without waiting; None when somebody else has it."""
        path = self._lock_path(key)
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, how | fcntl.LOCK_NB)
                if _is_named(descriptor, path):
                    return descriptor
            except BlockingIOError:
                os.close(descriptor)
                return None
            os.close(descriptor)  # it was removed since it was opened


def _is_named(descriptor: int, path: Path) -> bool:
    """Whether a path still leads to an open file."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _write_durably(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
