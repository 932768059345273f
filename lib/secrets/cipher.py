"""Seals values: AES-256-GCM, a record each, bound to its name and workspace."""

from __future__ import annotations

import json
from typing import Final

from lib.errors import Unavailable
from lib.secrets.box import Boxes, Damaged
from lib.secrets.keys import Key
from lib.storage.records import SealedValue

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
        self._boxes = Boxes(key, "secret values")
        self._workspace_id = workspace_id

    @property
    def key_id(self) -> str:
        """Id of the key, as each record names it."""
        return self._key.id

    def seal(self, name: str, value: str) -> SealedValue:
        """Return the record of a value; another one each time."""
        nonce, box = self._boxes.make(value.encode(), bound_to=self._bound_to(name))
        return SealedValue(self.key_id, nonce, box)

    def open(self, name: str, sealed: SealedValue) -> str:
        """Return the value of a record.

        Raises:
            SecretUnreadable: a bit of it, its name, its workspace or its key is another.
        """
        try:
            data = self._boxes.open(sealed.nonce, sealed.box, bound_to=self._bound_to(name))
        except Damaged:
            raise SecretUnreadable(
                f"Secret {name} cannot be decrypted: its record is damaged. Store it again."
            ) from None
        return data.decode()

    def _bound_to(self, name: str) -> bytes:
        """Return the associated data; JSON, so that no two pairs have the same."""
        return json.dumps([_FORM, self._workspace_id, name]).encode()
