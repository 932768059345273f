"""The caller of a request, as far as the rest of the code may know them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Method = Literal["shared_secret", "local", "token", "session", "run_token"]

# The one account of a server that knows no users: local development, shared secret.
LOCAL_USER_ID = "local-user"


class Role(StrEnum):
    """What a caller may do; ordered, `ADMIN` includes all that `MEMBER` may."""

    MEMBER = "member"
    ADMIN = "admin"

    # A StrEnum would compare by spelling, where "admin" < "member".
    def __lt__(self, other: str) -> bool:
        return _rank(self) < _rank(other)

    def __le__(self, other: str) -> bool:
        return _rank(self) <= _rank(other)

    def __gt__(self, other: str) -> bool:
        return _rank(self) > _rank(other)

    def __ge__(self, other: str) -> bool:
        return _rank(self) >= _rank(other)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls.

    Attributes:
        user_id: `usr_...`, `local-user`, or the run's id for a run token.
        role: At most the account's role.
        method: The kind of credential that decided.
        email: The account's address, where there is one.
    """

    user_id: str
    role: Role
    method: Method
    email: str | None = None


def _rank(role: str) -> int:
    return list(Role).index(Role(role))
