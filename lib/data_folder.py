"""The data folder: one server at a time, and what that server remembers of itself."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Final

from lib.clock import Clock, rfc3339
from lib.unrelated_folders import spread_folders_below

_LOCK: Final = "server.lock"
_IDENTITY: Final = "server.json"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class DataFolderError(Exception):
    """The folder cannot be used; the message is one line for the operator."""


class DataFolder:
    """Holds the folder until closed, against every other server.

    The lock is the kernel's (flock(2)), so a killed server leaves none behind.

    Args:
        path: Created with mode 0700 where it is missing.

    Attributes:
        owner: Id of this server; the same after each restart on this folder.
        same_boot: Whether the host has run on since the last start here.

    Raises:
        DataFolderError: another server has it, or it cannot be written.
    """

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self.path = path.absolute()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = self._take_lock(clock)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            self._lay_out()
            self.owner, self.same_boot = self._identify()
        except OSError as error:
            self.close()
            raise _unusable(path, error) from error

    def close(self) -> None:
        """Let another server have it."""
        os.close(self._lock)

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return database_of(self.path)

    @property
    def blobs(self) -> Path:
        """Artifacts, uploads, large values."""
        return self.path / "blobs"

    @property
    def runs(self) -> Path:
        """Folders of attempts in progress."""
        return self.path / "runs"

    @property
    def unfinished(self) -> Path:
        """What is on its way to the blobs: uploads that are being sent, large copies."""
        return self.path / "unfinished"

    @property
    def keys(self) -> Path:
        """Keys of this server."""
        return self.path / "keys"

    @property
    def environments(self) -> Path:
        """Installed packages, shared by runs."""
        return self.path / "environments"

    @property
    def api_socket(self) -> Path:
        """Where the server takes what runs call, by way of their gates.

        Those are another user where the server is root.
        """
        return self.path / "api" / "floom.sock"

    @property
    def sandbox(self) -> Path:
        """The zygote's socket."""
        return self.path / "sandbox"

    def _lay_out(self) -> None:
        """Make what is private before anybody can look in.

        Nobody else passes through it, unless the sandbox finds that runs must.
        """
        for folder in (self.blobs, self.unfinished, self.keys, self.sandbox, self.runs):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
        for left in self.unfinished.iterdir():  # by a server that was killed
            left.unlink()
        spread_folders_below(self.runs)
        # A gate has entered it before it leaves root, and then connects to what is in it.
        self.api_socket.parent.mkdir(mode=0o711, exist_ok=True)
        for file in (self.database, self.path / _IDENTITY):
            os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            file.chmod(0o600)
        self.path.chmod(0o700)

    def _take_lock(self, clock: Clock) -> int:
        file = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 200).decode(errors="replace").strip()
            os.close(file)
            raise DataFolderError(
                f"{self.path} is in use by another server ({holder or 'starting'}); "
                "stop it, or set FLOOM_DATA_DIR to another folder"
            ) from None
        os.ftruncate(file, 0)
        os.write(file, f"process {os.getpid()}, since {rfc3339(clock.now())}\n".encode())
        return file

    def _identify(self) -> tuple[str, bool]:
        path = self.path / _IDENTITY
        boot_id = _BOOT_ID.read_text().strip() if sys.platform == "linux" else ""
        try:
            known = json.loads(path.read_text())
            owner, same_boot = str(known["owner"]), known["boot_id"] == boot_id
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            owner, same_boot = f"srv_{secrets.token_hex(8)}", False
        if not same_boot:
            _write_durably(path, json.dumps({"owner": owner, "boot_id": boot_id}))
        return owner, same_boot


def _unusable(path: Path, error: OSError) -> DataFolderError:
    return DataFolderError(f"FLOOM_DATA_DIR={path}: {error.strerror}")


def database_of(data_dir: Path) -> Path:
    """Return where the SQLite file of a data folder is, or would be."""
    return data_dir.absolute() / "floom.sqlite3"


def _write_durably(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.touch(mode=0o600)
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
