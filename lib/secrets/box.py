"""Boxes: bytes that only one key opens, and only together with what they are bound to."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Final

from lib.secrets.keys import Key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES: Final = 12  # 96 bits, NIST SP 800-38D; random: 2^32 boxes a key are safe


class Damaged(Exception):
    """The box is not as it was made, or was made with another key or bound to something else."""


class Boxes:
    """Makes and opens them: AES-256-GCM.

    Args:
        key: From which the one for this purpose is derived.
        label: The purpose.
    """

    def __init__(self, key: Key, label: str) -> None:
        self._key = key
        self._label = label

    def make(self, data: bytes, *, bound_to: bytes) -> tuple[bytes, bytes]:
        """Return a nonce, and ciphertext with tag; others each time."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce, self._aead.encrypt(nonce, data, bound_to)

    def open(self, nonce: bytes, box: bytes, *, bound_to: bytes) -> bytes:
        """Return what is in a box. Raises Damaged."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._aead.decrypt(nonce, box, bound_to)
        except (InvalidTag, ValueError):  # ValueError: a nonce of another length
            raise Damaged from None

    @functools.cached_property
    def _aead(self) -> AESGCM:
        # Imported with the first value: 12 to 25 ms that a server without secrets does not pay.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._key.derive(self._label))
