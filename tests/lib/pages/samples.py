"""A review as a worker asks for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lib.pages.review import Actions
from lib.pages.review_view import Choice, ReviewField, ReviewView

ACTIONS = Actions("/approvals/public/t0ken/approve", "/approvals/public/t0ken/reject")
SHA256 = "ab" * 32
FIELDS = (
    ReviewField("to", "email", "ada@example.org", label="To", help="Who gets the mail."),
    ReviewField("body", "textarea", "\nDear Ada,\r\n\nhello.\n"),
    ReviewField("count", "integer", 3),
    ReviewField("amount", "number", 1290.5, label="Amount"),
    ReviewField("urgent", "boolean", False),
    ReviewField("tone", "select", "calm", choices=(Choice("calm", "Calm"), Choice("firm", "Firm"))),
    ReviewField("meta", "json", {"tags": ["a", True], "n": 1}),
    ReviewField("pdf", "string", "out/invoice.pdf", is_file=True),
)


def review_view(**changes: Any) -> ReviewView:
    values: dict[str, Any] = {
        "label": "Send this mail?",
        "requested_at": datetime(2026, 11, 24, 9, 5, tzinfo=UTC),
        "expires_at": datetime(2026, 11, 27, 9, 5, tzinfo=UTC),
        "preview": "Dear Ada, ...",
        "preview_type": "text",
        "fields": FIELDS,
        "proposal_sha256": SHA256,
    }
    return ReviewView(**{**values, **changes})
