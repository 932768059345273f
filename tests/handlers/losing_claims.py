"""A store of claims that loses answers, as a server that is killed before it gives one."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from lib.storage.ports import ClaimStore
from lib.storage.records import KeyTaking, PendingClaim, StoredAnswer


class LosingClaims:
    """A ClaimStore in front of another.

    Attributes:
        loses: Whether the next answer is lost.
        lost: Bodies of those that were.
    """

    def __init__(self, claims: ClaimStore) -> None:
        self._claims = claims
        self.loses = False
        self.lost: list[Any] = []

    def take(self, claim: PendingClaim, *, now: datetime) -> KeyTaking:
        return self._claims.take(claim, now=now)

    def settle(self, claim: PendingClaim, answer: StoredAnswer) -> None:
        if self.loses:
            self.loses = False
            self.lost.append(json.loads(answer.body.text or ""))
            raise OSError("killed")
        self._claims.settle(claim, answer)

    def give_up(self, claim: PendingClaim) -> None:
        self._claims.give_up(claim)

    def delete_expired(self, *, now: datetime, limit: int) -> int:
        return self._claims.delete_expired(now=now, limit=limit)
