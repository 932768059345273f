"""What a request presents to say who is calling, before anything is believed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lib.auth.principal import Principal

RUN_TOKEN_PREFIX = "frt_"  # noqa: S105  a prefix, not a token
ACCESS_TOKEN_PREFIX = "fpt_"  # noqa: S105
SESSION_PREFIX = "fse_"
LINK_PREFIX = "fml_"
SESSION_COOKIE = "floom_session"


class Credentials(NamedTuple):
    """The raw values of one request; None where nothing was presented.

    Bytes, because a header may hold any: nothing here may fail on them.

    Attributes:
        authorization: The whole `Authorization` header.
        session: Value of the cookie `floom_session`.
        shared_secret: The header `x-floom-secret`.
    """

    authorization: bytes | None = None
    session: bytes | None = None
    shared_secret: bytes | None = None

    @property
    def are_presented(self) -> bool:
        """Whether there is any, good or bad."""
        return self.are_stored or self.shared_secret is not None

    @property
    def are_stored(self) -> bool:
        """Whether judging them looks into a store, which blocks."""
        return self.authorization is not None or self.session is not None


def bearer_token(authorization: bytes) -> bytes | None:
    """Return the token of an `Authorization` header; None for another scheme (RFC 6750)."""
    scheme, _, token = authorization.strip().partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else None


Checker = Callable[[bytes], Principal]
"""Judges one kind of credential that was presented.

Raises `Unauthenticated` when it is not accepted.
"""
