"""The audit log: who did what."""

from __future__ import annotations

from functools import partial
from typing import Final

from pydantic import AwareDatetime, Field

from lib.bootstrap import Services, lambda_handler
from lib.storage.audit_records import AuditEntry, AuditQuery
from lib.storage.ports import Page
from lib.web.access import Access
from lib.web.call import Call, PageReply
from lib.web.models import ResponseModel, Timestamp
from lib.web.operation import operation
from lib.web.paging import PageQuery, cursor_of
from lib.web.route import Route
from lib.web.threads import blocking

TAG: Final = "System"
MAX_USER_ID_CHARACTERS: Final = 320  # a reviewer with no account is an address, RFC 5321


class AuditFilters(PageQuery):
    """Filters of the audit log."""

    user_id: str | None = Field(
        None, min_length=1, max_length=MAX_USER_ID_CHARACTERS, description="Who called."
    )
    since: AwareDatetime | None = Field(None, description="At or after.")
    until: AwareDatetime | None = Field(None, description="Before.")


class AuditEntryView(ResponseModel):
    """One call that may have changed something."""

    id: str
    at: Timestamp
    user_id: str
    role: str | None = Field(description="At that time; null for a caller without an account.")
    method: str = Field(description="Kind of credential.")
    http_method: str
    route: str | None = Field(description="Template of the path; null: no route has it.")
    object: dict[str, str] = Field(description="Ids in the path.")
    status: int | None = Field(
        description=(
            "Of the answer, or of the one without `Prefer: wait`; "
            "null: the server stopped before it."
        )
    )
    error_code: str | None
    address: str = Field(description="Of the client.")
    request_id: str


class AuditLog:
    """The log, to read."""

    def __init__(self, services: Services) -> None:
        self._audit = services.audit

    @operation(
        "listAudit",
        access=Access.ADMIN,
        summary="List who did what",
        query=AuditFilters,
        responses={200: list[AuditEntryView]},
        errors=["validation_failed"],
    )
    async def on_get(self, call: Call[AuditFilters, None]) -> PageReply:
        """Newest first: every change that a signed-in caller asked for, whatever came of it."""
        page = await blocking(partial(self._page, call.query))
        rows = [AuditEntryView.model_validate(entry) for entry in page.rows]
        return PageReply(rows, cursor_of(page.next_key))

    def _page(self, query: AuditFilters) -> Page[AuditEntry]:
        wanted = AuditQuery(user_id=query.user_id, since=query.since, until=query.until)
        return self._audit.list(wanted, limit=query.limit, after=query.key(str))


def routes(services: Services) -> list[Route]:
    """Return the routes of this group."""
    return [Route("/audit", AuditLog(services), tag=TAG)]


handler = lambda_handler(routes)
