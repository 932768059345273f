"""Seals what runs keep: AES-256-GCM, bound to the workspace."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from lib.secrets.box import NONCE_BYTES, Boxes, Damaged
from lib.secrets.cipher import SecretUnreadable
from lib.secrets.keys import Key

_FORM: Final = "floom content 1"


class ContentSealer:
    """A Sealer. A box is the nonce, the ciphertext and the tag: 28 bytes more than the data.

    A box is bound to its workspace and to this form, and not to what it belongs
    to: values move from record to record (docs/decisions/0030-sealed-proposals.md).

    Args:
        workspace_id: A box of another workspace does not open.
        before_first: Called before the first box of this object's life is made: keeps
            what proves the key at the next start. Idempotent; where it raises, nothing
            is sealed.
    """

    def __init__(
        self, key: Key, *, workspace_id: str, before_first: Callable[[], None] = lambda: None
    ) -> None:
        self._key = key
        self._boxes = Boxes(key, "sealed content")
        self._bound_to = json.dumps([_FORM, workspace_id]).encode()
        self._before_first = before_first
        self._is_in_use = False

    @property
    def key_id(self) -> str:
        """Id of the key, as each sealed value names it."""
        return self._key.id

    def seal(self, data: bytes) -> bytes:
        """Return a box of `data`; another one each time."""
        if not self._is_in_use:  # two threads at once may both do it
            self._before_first()
            self._is_in_use = True
        return b"".join(self._boxes.make(data, bound_to=self._bound_to))

    def open(self, box: bytes, *, key_id: str) -> bytes:
        """Return what is in a box.

        Raises:
            SecretUnreadable: it is damaged, or of another key or workspace.
        """
        if key_id != self.key_id:
            raise SecretUnreadable(
                f"A value of this run was sealed with the key {key_id}, and the server has the key "
                f"{self.key_id}: start it with the other one, or start the work anew."
            )
        nonce, sealed = box[:NONCE_BYTES], box[NONCE_BYTES:]
        try:
            return self._boxes.open(nonce, sealed, bound_to=self._bound_to)
        except Damaged:
            raise SecretUnreadable(
                "A value of this run cannot be decrypted: its record is damaged. Restore the data "
                "folder from a backup, or start the work anew."
            ) from None
