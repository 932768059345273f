"""Idempotency keys of requests whose effect is in the run store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from lib.storage.records import IdempotencyClaim, StoredAnswer

IDEMPOTENCY_LIFETIME: Final = timedelta(hours=24)

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class KeyUse(Generic[Made]):
    """One use of an idempotency key.

    Attributes:
        scope: SHA-256 of principal, route template, path ids and the key.
        body_digest: SHA-256 of the canonical body.
        answer: Makes the stored answer of what the request made.
    """

    scope: str
    body_digest: str
    answer: Callable[[Made], StoredAnswer]

    def claim(self, made: Made, *, now: datetime) -> IdempotencyClaim:
        """Return the claim that the effect's transaction settles."""
        expires_at = now + IDEMPOTENCY_LIFETIME
        return IdempotencyClaim(self.scope, self.body_digest, expires_at, self.answer(made))
