"""Secrets that callers present: a prefix and 32 random bytes; stored as SHA-256.

So much randomness needs no salt and no slow hash: nobody can try it. The hash
is looked up, so what a search's time tells is about hashes only.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from lib.ids import ULID_PATTERN

SECRET_BYTES: Final = 32
_RANDOM: Final = "[A-Za-z0-9_-]{43}"  # base64url of them
_SECRET: Final = re.compile(_RANDOM.encode())
_NAMED: Final = re.compile(f"(?P<ulid>{ULID_PATTERN})_{_RANDOM}".encode())


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


class NamedDigest(NamedTuple):
    """A token that says what it is of: `<prefix><ulid>_<secret>`.

    Attributes:
        ulid: Of the thing's id. Its record holds the hash, so no index is needed.
        sha256: What the token would be stored as, hex.
    """

    ulid: str
    sha256: str


def mint_for(prefix: str, thing_id: str) -> SecretToken:
    """Return a new token that names the thing it is of, by the ULID of its id."""
    return mint(f"{prefix}{thing_id.rpartition('_')[2]}_")


def find_named(prefix: str, presented: bytes) -> NamedDigest | None:
    """Return what a token says and would be stored as; None if it is none of this prefix."""
    if not presented.startswith(prefix.encode()):
        return None
    match = _NAMED.fullmatch(presented[len(prefix) :])
    if match is None:
        return None
    return NamedDigest(match["ulid"].decode(), hashlib.sha256(presented).hexdigest())
