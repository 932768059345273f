"""Idempotency claims: which requests have been answered."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from lib.clock import to_milliseconds
from lib.storage.blob_names import claim_owner, hashes_of
from lib.storage.documents import ANSWERS
from lib.storage.ports import IdempotencyKeyReused
from lib.storage.records import IdempotencyClaim, StoredAnswer
from lib.storage.sqlite import blob_refs

FIND = "SELECT body_digest, answer FROM claims WHERE key = ? AND expires_at > ?"
LIST_EXPIRED = """
SELECT key FROM claims INDEXED BY claims_by_end WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
"""
_PUT = """
INSERT OR REPLACE INTO claims (key, body_digest, expires_at, answer) VALUES (?, ?, ?, ?)
"""
_DELETE = "DELETE FROM claims WHERE key = ?"


def find_answer(
    connection: sqlite3.Connection, key: str, body_digest: str, *, now: datetime
) -> StoredAnswer | None:
    """Return the answer that the same request got. Raises IdempotencyKeyReused."""
    row = connection.execute(FIND, (key, to_milliseconds(now))).fetchone()
    if row is None:
        return None
    digest, answer = row
    if digest != body_digest:
        raise IdempotencyKeyReused("This idempotency key was used with another body.")
    return ANSWERS.decode(answer)


def put(connection: sqlite3.Connection, claim: IdempotencyClaim) -> None:
    """Record that a request has been answered."""
    expires_at = to_milliseconds(claim.expires_at)
    values = (claim.key, claim.body_digest, expires_at, ANSWERS.encode(claim.answer))
    connection.execute(_PUT, values)
    blob_refs.replace(connection, claim_owner(claim.key), "", hashes_of(claim.answer.body))


def delete_expired(connection: sqlite3.Connection, now: datetime, limit: int) -> int:
    """Delete claims whose time is over; return how many."""
    rows = connection.execute(LIST_EXPIRED, (to_milliseconds(now), limit)).fetchall()
    keys = [row[0] for row in rows]
    for key in keys:
        connection.execute(_DELETE, (key,))
        blob_refs.remove(connection, claim_owner(key))
    return len(keys)
