"""Idempotency keys in SQLite: answered ones, and those that are being tried."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from lib.clock import from_milliseconds, to_milliseconds
from lib.storage.blob_names import claim_owner, hashes_of
from lib.storage.documents import ANSWERS
from lib.storage.ports import IdempotencyKeyInUse, IdempotencyKeyReused
from lib.storage.records import IdempotencyClaim, KeyTaking, PendingClaim, StoredAnswer
from lib.storage.sqlite import blob_refs
from lib.storage.sqlite.database import SqliteDatabase

FIND = "SELECT body_digest, answer FROM claims WHERE key = ? AND expires_at > ?"
FIND_PENDING = """
SELECT body_digest, owner, taken_at FROM pending_claims WHERE key = ? AND expires_at > ?
"""
LIST_EXPIRED = """
SELECT key FROM claims INDEXED BY claims_by_end WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
"""
LIST_EXPIRED_PENDING = """
SELECT key FROM pending_claims INDEXED BY pending_claims_by_end
WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
"""
_PUT = """
INSERT OR REPLACE INTO claims (key, body_digest, expires_at, answer) VALUES (?, ?, ?, ?)
"""
_PUT_PENDING = """
INSERT OR REPLACE INTO pending_claims (key, body_digest, owner, taken_at, expires_at)
VALUES (?, ?, ?, ?, ?)
"""
_GIVE_UP = "UPDATE pending_claims SET owner = '' WHERE key = ? AND owner = ?"
_DELETE = "DELETE FROM claims WHERE key = ?"
_DELETE_PENDING = "DELETE FROM pending_claims WHERE key = ?"


class SqliteClaimStore:
    """A ClaimStore; its answers are those that RunStore.create settles, too."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def take(self, claim: PendingClaim, *, now: datetime) -> KeyTaking:
        """Take a key before its effect is tried; atomic."""

        def operation(connection: sqlite3.Connection) -> KeyTaking:
            answer = find_answer(connection, claim.key, claim.body_digest, now=now)
            if answer is not None:
                return KeyTaking(answer=answer)
            since = _tried_since(connection, claim, now)
            taken_at = to_milliseconds(since or claim.taken_at)
            expires_at = to_milliseconds(claim.expires_at)
            values = (claim.key, claim.body_digest, claim.owner, taken_at, expires_at)
            connection.execute(_PUT_PENDING, values)
            return KeyTaking(tried_since=since)

        return self._database.write(operation)

    def settle(self, claim: PendingClaim, answer: StoredAnswer) -> None:
        """Record the answer of a key that `claim` took; idempotent."""

        def operation(connection: sqlite3.Connection) -> None:
            connection.execute(_DELETE_PENDING, (claim.key,))
            settled = IdempotencyClaim(claim.key, claim.body_digest, claim.expires_at, answer)
            put(connection, settled)

        self._database.write(operation)

    def give_up(self, claim: PendingClaim) -> None:
        """Let the next request with this key try again."""
        values = (claim.key, claim.owner)
        self._database.write(lambda connection: connection.execute(_GIVE_UP, values))

    def delete_expired(self, *, now: datetime, limit: int) -> int:
        """Delete up to `limit` keys whose time is over; return how many."""
        return self._database.write(lambda connection: _delete_expired(connection, now, limit))


def find_answer(
    connection: sqlite3.Connection, key: str, body_digest: str, *, now: datetime
) -> StoredAnswer | None:
    """Return the answer that the same request got. Raises IdempotencyKeyReused."""
    row = connection.execute(FIND, (key, to_milliseconds(now))).fetchone()
    if row is None:
        return None
    digest, answer = row
    _check_same(digest, body_digest)
    return ANSWERS.decode(answer)


def put(connection: sqlite3.Connection, claim: IdempotencyClaim) -> None:
    """Record that a request has been answered."""
    expires_at = to_milliseconds(claim.expires_at)
    values = (claim.key, claim.body_digest, expires_at, ANSWERS.encode(claim.answer))
    connection.execute(_PUT, values)
    blob_refs.replace(connection, claim_owner(claim.key), "", hashes_of(claim.answer.body))


def _tried_since(
    connection: sqlite3.Connection, claim: PendingClaim, now: datetime
) -> datetime | None:
    row = connection.execute(FIND_PENDING, (claim.key, to_milliseconds(now))).fetchone()
    if row is None:
        return None
    digest, owner, taken_at = row
    _check_same(digest, claim.body_digest)
    if owner == claim.owner:
        raise IdempotencyKeyInUse("A request with this key is being worked on; repeat it later.")
    return from_milliseconds(taken_at)


def _check_same(digest: str, body_digest: str) -> None:
    if digest != body_digest:
        raise IdempotencyKeyReused("This idempotency key was used with another body.")


def _delete_expired(connection: sqlite3.Connection, now: datetime, limit: int) -> int:
    values = (to_milliseconds(now), limit)
    keys = [row[0] for row in connection.execute(LIST_EXPIRED, values)]
    pending = [row[0] for row in connection.execute(LIST_EXPIRED_PENDING, values)]
    for key in keys:
        connection.execute(_DELETE, (key,))
        blob_refs.remove(connection, claim_owner(key))
    for key in pending:
        connection.execute(_DELETE_PENDING, (key,))
    return len(keys) + len(pending)
