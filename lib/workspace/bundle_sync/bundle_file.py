"""Git's bundle file, version 2: a header that names what it needs and leads to, then a pack."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from lib.workspace.bundle_sync.errors import BundleStoreUnavailable
from lib.workspace.ref import BRANCH

_SIGNATURE: Final = b"# v2 git bundle\n"
_HEAD: Final = re.compile(rb"(-?)([0-9a-f]{40})(?: (.*))?\Z")


@dataclass(frozen=True, slots=True)
class Bundle:
    """One bundle.

    Attributes:
        prerequisite: A commit that whoever unpacks it must have; None for a base.
        tip: The commit that it leads to.
        pack: The pack file's bytes.
    """

    prerequisite: str | None
    tip: str
    pack: bytes

    def encode(self) -> bytes:
        """Return the file's bytes; stock git clones from it, or pulls it."""
        return header(self.prerequisite, self.tip) + self.pack


def header(prerequisite: str | None, tip: str) -> bytes:
    """Return what stands before the pack; `HEAD` makes a clone check out main."""
    needed = f"-{prerequisite} \n" if prerequisite else ""
    return _SIGNATURE + f"{needed}{tip} {BRANCH}\n{tip} HEAD\n\n".encode()


def decode(data: bytes) -> Bundle:
    """Read a bundle of ours.

    Raises:
        BundleStoreUnavailable: it is none.
    """
    end = data.find(b"\n\nPACK")
    if not data.startswith(_SIGNATURE) or end < 0:
        raise BundleStoreUnavailable("A bundle of the store is damaged: it has no header.")
    needed: list[str] = []
    tips: dict[str, str] = {}
    for line in data[len(_SIGNATURE) : end].split(b"\n"):
        found = _HEAD.match(line)
        if found is None:
            raise BundleStoreUnavailable("A bundle of the store is damaged: its header is none.")
        if found[1]:
            needed.append(found[2].decode())
        else:
            tips[(found[3] or b"").decode("utf-8", "replace")] = found[2].decode()
    if BRANCH not in tips or len(needed) > 1:
        raise BundleStoreUnavailable("A bundle of the store leads to no commit of main.")
    return Bundle(needed[0] if needed else None, tips[BRANCH], data[end + 2 :])
