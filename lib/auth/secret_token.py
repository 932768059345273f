"""Secrets that callers present: a prefix and 32 random bytes; stored as SHA-256.

So much randomness needs no salt and no slow hash: nobody can try it. The hash
is looked up, so what a search's time tells is about hashes only.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

SECRET_BYTES: Final = 32
_SECRET: Final = re.compile(rb"[A-Za-z0-9_-]{43}")  # base64url of them


@dataclass(frozen=True, slots=True)
class SecretToken:
    """A fresh one.

    Attributes:
        value: For whoever may use it, shown once.
        sha256: For its record, hex.
    """

    value: str = field(repr=False)
    sha256: str


def mint(prefix: str) -> SecretToken:
    """Return a new token with this prefix."""
    value = prefix + secrets.token_urlsafe(SECRET_BYTES)
    return SecretToken(value, hashlib.sha256(value.encode()).hexdigest())


def find_digest(prefix: str, presented: bytes) -> str | None:
    """Return what a token of this prefix would be stored as; None if it is none."""
    is_one = presented.startswith(prefix.encode()) and _SECRET.fullmatch(presented[len(prefix) :])
    return hashlib.sha256(presented).hexdigest() if is_one else None
