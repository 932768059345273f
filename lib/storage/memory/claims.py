"""Idempotency keys in memory: answered ones, and those that are being tried."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from lib.storage.blob_names import claim_owner, hashes_of
from lib.storage.memory.blob_refs import MemoryBlobReferences
from lib.storage.ports import IdempotencyKeyInUse, IdempotencyKeyReused
from lib.storage.records import IdempotencyClaim, KeyTaking, PendingClaim, StoredAnswer

_NOBODY = ""


class MemoryClaimStore:
    """A ClaimStore; its answers are those that RunStore.create settles, too.

    Args:
        refs: Shared with the other stores whose records name blobs.
    """

    def __init__(self, refs: MemoryBlobReferences | None = None) -> None:
        self._lock = threading.RLock()
        self._refs = refs or MemoryBlobReferences()
        self._settled: dict[str, IdempotencyClaim] = {}
        self._pending: dict[str, PendingClaim] = {}

    def take(self, claim: PendingClaim, *, now: datetime) -> KeyTaking:
        """Take a key before its effect is tried; atomic."""
        with self._lock:
            answer = self.find_answer(claim.key, claim.body_digest, now=now)
            if answer is not None:
                return KeyTaking(answer=answer)
            before = self._find_pending(claim, now)
            since = before.taken_at if before else None
            self._pending[claim.key] = replace(claim, taken_at=since or claim.taken_at)
            return KeyTaking(tried_since=since)

    def settle(self, claim: PendingClaim, answer: StoredAnswer) -> None:
        """Record the answer of a key that `claim` took; idempotent."""
        with self._lock:
            self._pending.pop(claim.key, None)
            self.put(IdempotencyClaim(claim.key, claim.body_digest, claim.expires_at, answer))

    def give_up(self, claim: PendingClaim) -> None:
        """Let the next request with this key try again."""
        with self._lock:
            known = self._pending.get(claim.key)
            if known is not None and known.owner == claim.owner:
                self._pending[claim.key] = replace(known, owner=_NOBODY)

    def delete_expired(self, *, now: datetime, limit: int) -> int:
        """Delete up to `limit` keys whose time is over; return how many."""
        with self._lock:
            over = _expired(self._settled, now, limit)
            for key in over:
                del self._settled[key]
                self._refs.remove(claim_owner(key))
            pending = _expired(self._pending, now, limit)
            for key in pending:
                del self._pending[key]
            return len(over) + len(pending)

    def find_answer(self, key: str, body_digest: str, *, now: datetime) -> StoredAnswer | None:
        """Return the answer that the same request got. Raises IdempotencyKeyReused."""
        with self._lock:
            known = self._settled.get(key)
            if known is None or known.expires_at <= now:
                return None
            _check_same(known, body_digest)
            return known.answer

    def put(self, claim: IdempotencyClaim) -> None:
        """Record that a request has been answered."""
        with self._lock:
            self._settled[claim.key] = claim
            self._refs.replace(claim_owner(claim.key), "", hashes_of(claim.answer.body))

    def _find_pending(self, claim: PendingClaim, now: datetime) -> PendingClaim | None:
        known = self._pending.get(claim.key)
        if known is None or known.expires_at <= now:
            return None
        _check_same(known, claim.body_digest)
        if known.owner == claim.owner:
            detail = "A request with this key is being worked on; repeat it later."
            raise IdempotencyKeyInUse(detail)
        return known


def _check_same(known: IdempotencyClaim | PendingClaim, body_digest: str) -> None:
    if known.body_digest != body_digest:
        raise IdempotencyKeyReused("This idempotency key was used with another body.")


def _expired(
    claims: Mapping[str, IdempotencyClaim] | Mapping[str, PendingClaim], now: datetime, limit: int
) -> list[str]:
    over = sorted((claim.expires_at, key) for key, claim in claims.items())
    return [key for expires_at, key in over if expires_at <= now][:limit]
