"""Encryption of content, by whoever has a key."""

from __future__ import annotations

from typing import Protocol


class Sealer(Protocol):
    """Seals and opens bytes with one key, from any thread.

    `lib/secrets/content_sealer.py` has the one that encrypts.
    """

    @property
    def key_id(self) -> str:
        """Id of the key, as each sealed value names it."""
        ...

    def seal(self, data: bytes) -> bytes:
        """Return a box of `data`: another one each time, up to 64 bytes larger.

        Raises:
            StoreUnavailable: what must be kept before anything is sealed cannot be kept now.
        """
        ...

    def open(self, box: bytes, *, key_id: str) -> bytes:
        """Return what was sealed with the key of this id.

        Raises:
            Unavailable: the key is another one, or the box is damaged; it says what to do.
        """
        ...
