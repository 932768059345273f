"""What a caller may do, as far as all parts of the code tell callers apart."""

from __future__ import annotations

from enum import StrEnum


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


def _rank(role: str) -> int:
    return list(Role).index(Role(role))
