"""JSON values of records, which may be large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_INLINE_BYTES: Final = 16 * 1024  # larger values are blobs: DynamoDB items hold 400 KB


@dataclass(frozen=True, slots=True)
class Stored:
    """A JSON value: its text, or the SHA-256 of the blob that holds the text.

    Exactly one of `text` and `sha256` is set. Only ContentStore looks into them.

    Attributes:
        size: The JSON text's UTF-8 bytes, sealed or not.
        key_id: Names the key that opens it: `text` is the base64 of a sealed box
            then, and the blob such a box. None: it is not sealed.
    """

    size: int
    text: str | None = None
    sha256: str | None = None
    key_id: str | None = None
