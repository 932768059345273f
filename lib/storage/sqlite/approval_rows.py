"""Rows of the table of approvals: a record in, a record out."""

from __future__ import annotations

import sqlite3

from lib.clock import to_milliseconds
from lib.storage.approval_records import Approval
from lib.storage.documents import APPROVALS
from lib.storage.ports import ApprovalNotFound

LOAD = "SELECT document FROM approvals WHERE id = ?"
_PUT = """
INSERT INTO approvals (id, run_id, worker_id, status, expires_at, document)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (id) DO UPDATE SET status = ?4, expires_at = ?5, document = ?6
"""


def load(connection: sqlite3.Connection, approval_id: str) -> Approval:
    """Return an approval. Raises ApprovalNotFound."""
    row = connection.execute(LOAD, (approval_id,)).fetchone()
    if row is None:
        raise ApprovalNotFound(f"There is no approval {approval_id}.")
    return APPROVALS.decode(row[0])


def put(connection: sqlite3.Connection, approval: Approval) -> None:
    """Insert or replace an approval; its run and worker never change."""
    values = (
        approval.id,
        approval.run_id,
        approval.worker_id,
        approval.status.value,
        to_milliseconds(approval.expires_at),
        APPROVALS.encode(approval),
    )
    connection.execute(_PUT, values)
