"""Values of records that may be large: few bytes are in the record, many in a blob."""

from __future__ import annotations

from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """Bytes and what they are named by; a value of a record, like `Stored`.

    Attributes:
        sha256: Of the bytes, in hex.
        size: How many there are.
        data: The bytes; None where the blob `sha256` holds them.
    """

    sha256: str
    size: int
    data: bytes | None = field(default=None, repr=False)
