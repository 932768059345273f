"""What is to be installed: a worker's own files, checked and in one normal form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

MAX_FILE_BYTES: Final = 4 * 1024 * 1024  # a large lock file has 2 MB
LAYOUT: Final = "1"  # of an environment's folder; another number, and all are built anew

Kind = Literal["python", "node"]


class InstallError(Exception):
    """Packages cannot be had; the message is for the worker's author, without a full stop."""


class InstallCancelled(Exception):
    """Whoever waited for the packages does not want them any more."""


@dataclass(frozen=True)
class Recipe:
    """One installation, the same for every worker that asks for the same.

    Attributes:
        source: Name of the file that asks for it.
        files: What the installer reads, by name; normalised, so that comments
            and order make no other environment.
        source_builds: Whether packages may be built, which runs their code.
        is_pinned: Every package is named with its hash.
        prereleases: Whether versions such as `2.0rc1` count.
    """

    kind: Kind
    source: str
    files: Mapping[str, str]
    source_builds: bool = False
    is_pinned: bool = False
    prereleases: bool = False

    def key(self, tools: Mapping[str, str]) -> str:
        """Return the environment's name: 40 hexadecimal digits.

        Args:
            tools: Versions of the installer and of the interpreter, and the platform.
        """
        facts = {
            "layout": LAYOUT,
            "kind": self.kind,
            "files": dict(self.files),
            "source_builds": self.source_builds,
            "prereleases": self.prereleases,
            "tools": dict(tools),
        }
        text = json.dumps(facts, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:40]


def decode(name: str, data: bytes) -> str:
    """Return a file's text. Raises InstallError where it is too large or not UTF-8."""
    if len(data) > MAX_FILE_BYTES:
        raise InstallError(f"{name} is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InstallError(f"{name} is not UTF-8 text") from None
