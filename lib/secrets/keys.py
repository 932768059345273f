"""Keys: 32 random bytes each, in a file that only this user may read."""

from __future__ import annotations

import functools
import logging
import os
import stat
from pathlib import Path
from typing import Final

from lib.log import event

KEY_BYTES: Final = 32
ID_CHARACTERS: Final = 16

log: Final = logging.getLogger(__name__)


class KeyUnusable(Exception):
    """A key is missing, damaged or another; the message is one line for the operator."""


class Key:
    """A root from which keys for single purposes are derived.

    Args:
        material: KEY_BYTES random bytes.
    """

    def __init__(self, material: bytes) -> None:
        if len(material) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(material)}")
        self._material = material

    @classmethod
    def from_hex(cls, text: str) -> Key:
        """Return the key of 64 hexadecimal digits. Raises ValueError."""
        return cls(bytes.fromhex(text))

    @functools.cached_property
    def id(self) -> str:
        """What may be shown of the key: it names it, and does not help to find it."""
        return self.derive("key id").hex()[:ID_CHARACTERS]

    def derive(self, label: str) -> bytes:
        """Return the 32 bytes for one purpose, always the same (HKDF, RFC 5869).

        Whoever knows those of one label learns nothing of another's.
        """
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        kdf = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=f"floom {label}".encode())
        return kdf.derive(self._material)


class KeyFolder:
    """Key files by name: `secrets` for stored values, `server` for signatures.

    Args:
        path: Created with mode 0700 with the first key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def file(self, name: str) -> Path:
        """Return where a key is or would be."""
        return self._path / f"{name}.key"

    def find(self, name: str) -> Key | None:
        """Return a key, None where there is none.

        Raises:
            KeyUnusable: the file cannot be read or holds something else.
        """
        path = self.file(name)
        try:
            text = path.read_text(encoding="ascii").strip()
            key = Key.from_hex(text)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise KeyUnusable(f"{path}: {error.strerror}") from error
        except ValueError:
            raise KeyUnusable(
                f"{path} does not hold {2 * KEY_BYTES} hexadecimal digits; restore it from a backup"
            ) from None
        _warn_if_others_may_read(path)
        return key

    def get_or_create(self, name: str) -> Key:
        """Return a key, made now if there is none; all that ask at once get the same.

        Raises:
            KeyUnusable: as `find`, or the file cannot be written.
        """
        return self.find(name) or self._create(name)

    def _create(self, name: str) -> Key:
        try:
            _create_whole(self.file(name), os.urandom(KEY_BYTES).hex() + "\n")
        except OSError as error:
            raise KeyUnusable(f"{self.file(name)}: {error.strerror}") from error
        key = self.find(name)
        if key is None:
            raise KeyUnusable(f"{self.file(name)} was deleted while the server started")
        return key


def _create_whole(path: Path, text: str) -> None:
    """Write a new file durably; one that is there, whoever was first, is left as it is."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # unlike a rename it never replaces
        except FileExistsError:
            return
        _sync_folder(path.parent)
    finally:
        temporary.unlink()


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _warn_if_others_may_read(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        event(
            log, logging.WARNING, "key_file_readable_by_others",
            path=str(path), mode=f"{mode:04o}", detail=f"chmod 600 {path}",
        )  # fmt: skip
