"""Idempotency keys: which requests have been answered."""

from __future__ import annotations

from lib.errors import Invalid


class IdempotencyKeyReused(Invalid):
    """The key was used with another body."""

    code = "idempotency_key_reused"
