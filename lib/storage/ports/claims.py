"""Idempotency keys: which requests have been answered, and which are being tried."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from lib.errors import Conflict, Invalid
from lib.storage.records import KeyTaking, PendingClaim, StoredAnswer


class IdempotencyKeyReused(Invalid):
    """The key was used with another body."""

    code = "idempotency_key_reused"


class IdempotencyKeyInUse(Conflict):
    """A request with the same key is being worked on."""

    code = "idempotency_key_in_use"


class ClaimStore(Protocol):
    """Idempotency keys of requests whose effect is not in a store, but in git.

    Such an effect and its record cannot be one transaction. So a key is taken
    before the effect is tried, and settled after it; who finds one that was
    taken and never settled looks for the effect first. Effects in the run
    store are settled by RunStore.create, under keys of the same kind.
    """

    def take(self, claim: PendingClaim, *, now: datetime) -> KeyTaking:
        """Take a key before its effect is tried; atomic.

        A key that is settled is not taken: its answer comes back. One that was
        taken by an owner that is not this claim's, which has therefore died, or
        that was given up, is taken over. What had expired by `now` counts as
        absent.

        Raises:
            IdempotencyKeyReused: the key lives with another digest.
            IdempotencyKeyInUse: the same owner has taken it and is at it.
        """
        ...

    def settle(self, claim: PendingClaim, answer: StoredAnswer) -> None:
        """Record the answer of a key that `claim` took; idempotent."""
        ...

    def give_up(self, claim: PendingClaim) -> None:
        """Let the next request with this key try again, after it looked for the effect.

        Nothing happens to a key that is settled.
        """
        ...

    def delete_expired(self, *, now: datetime, limit: int) -> int:
        """Delete up to `limit` keys whose time is over; return how many."""
        ...
