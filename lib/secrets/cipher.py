"""Seals values: AES-256-GCM, a record each, bound to its name and workspace."""

from __future__ import annotations

import functools
import json
import os
from typing import TYPE_CHECKING, Final

from lib.errors import Unavailable
from lib.secrets.keys import Key
from lib.storage.records import SealedValue

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES: Final = 12  # 96 bits, NIST SP 800-38D; random: 2^32 records a key are safe
_FORM: Final = "floom secret 1"


class SecretUnreadable(Unavailable):
    """A stored value cannot be decrypted: damaged, moved, or sealed with another key."""

    code = "secret_unreadable"


class Cipher:
    """Seals and opens the values of one workspace with one key.

    Args:
        workspace_id: A record of another workspace does not open.
    """

    def __init__(self, key: Key, *, workspace_id: str) -> None:
        self._key = key
        self._workspace_id = workspace_id

    @property
    def key_id(self) -> str:
        """Id of the key, as each record names it."""
        return self._key.id

    def seal(self, name: str, value: str) -> SealedValue:
        """Return the record of a value; another one each time."""
        nonce = os.urandom(NONCE_BYTES)
        box = self._aead.encrypt(nonce, value.encode(), self._bound_to(name))
        return SealedValue(self.key_id, nonce, box)

    def open(self, name: str, sealed: SealedValue) -> str:
        """Return the value of a record.

        Raises:
            SecretUnreadable: a bit of it, its name, its workspace or its key is another.
        """
        from cryptography.exceptions import InvalidTag

        try:
            data = self._aead.decrypt(sealed.nonce, sealed.box, self._bound_to(name))
        except (InvalidTag, ValueError):  # ValueError: a nonce of another length
            raise SecretUnreadable(
                f"Secret {name} cannot be decrypted: its record is damaged. Store it again."
            ) from None
        return data.decode()

    @functools.cached_property
    def _aead(self) -> AESGCM:
        # Imported with the first value: 12 to 25 ms that a server without secrets does not pay.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._key.derive("secret values"))

    def _bound_to(self, name: str) -> bytes:
        """Return the associated data; JSON, so that no two pairs have the same."""
        return json.dumps([_FORM, self._workspace_id, name]).encode()
