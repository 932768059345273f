"""Which parts of the host a worker may read, found once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

DEVICES: Final = ("null", "zero", "full", "random", "urandom")

# What programs and shared libraries are made of.
_SYSTEM_FOLDERS: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# Where libraries are, which program is meant by a name, whom TLS trusts. All of
# it public; private keys lie beside some of these folders, not in them.
_SYSTEM_SETTINGS: Final = (
    "/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime",
    "/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/tls/openssl.cnf",
    "/etc/pki/ca-trust/extracted", "/etc/ca-certificates/extracted",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HostView:
    """Paths of the host that are shown to every worker, read-only.

    Attributes:
        readable: Absolute paths of files and folders, none below another.
        links: Symbolic links at the top, as (where it points, absolute path).
        devices: Names in `/dev`.
    """

    readable: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    devices: tuple[str, ...]

    @classmethod
    def find(cls, readable: Iterable[str] = ()) -> HostView:
        """Look at the host.

        Args:
            readable: More paths, those of runtimes; they must exist.
        """
        system = [path for path in _SYSTEM_FOLDERS if os.path.isdir(path)]  # noqa: PTH112
        links = [path for path in system if os.path.islink(path)]  # noqa: PTH114
        settings = [path for path in _SYSTEM_SETTINGS if os.path.exists(path)]  # noqa: PTH110
        folders = [path for path in system if path not in links]
        return cls(
            readable=outermost([*folders, *settings, *readable]),
            links=tuple((os.readlink(path), path) for path in links),  # noqa: PTH115
            devices=tuple(name for name in DEVICES if os.path.exists(f"/dev/{name}")),  # noqa: PTH110
        )


def outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the paths that lie below no other of them, sorted."""
    kept: list[str] = []
    for path in sorted({os.path.normpath(path) for path in paths}, key=_parts):
        if not kept or not is_below(path, kept[-1]):
            kept.append(path)
    return tuple(kept)


def around(paths: Iterable[str], hidden: Iterable[str]) -> tuple[str, ...]:
    """Return paths that show the same but for `hidden`, by name alone.

    A folder that holds something hidden is replaced by what is in it now. Links
    are left out: what they lead to is shown by its own name, or not at all.
    """
    kept: list[str] = []
    closed = tuple(hidden)
    for path in paths:
        if any(is_below(path, each) for each in closed):
            continue
        if any(is_below(each, path) for each in closed):
            with os.scandir(path) as entries:
                below = [entry.path for entry in entries if not entry.is_symlink()]
            kept += around(sorted(below), closed)
        else:
            kept.append(path)
    return tuple(kept)


def is_below(path: str, folder: str) -> bool:
    """Whether a path is the folder or lies in it, by name alone."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _parts(path: str) -> list[str]:
    """Order in which all that is below a folder follows it at once."""
    return path.split("/")
