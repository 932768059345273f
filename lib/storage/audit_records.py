"""What was done by whom: entries of the audit log, and filters of its list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One call that may have changed something.

    It names things and says nothing of what was sent: no body, no query, no
    path, no text of anybody's.

    Attributes:
        id: `aud_...`, made at `at`, so that the ids' order is that of time.
        at: When the answer was ready.
        user_id: Who called.
        role: Theirs at that time; None where the caller has none, as by a link.
        method: Kind of credential that decided.
        http_method: Such as `POST`.
        route: URI template, such as `/workers/{worker_id}`; None: no route has the path.
        object: Ids in the path, by the parameter's name.
        status: HTTP status of the answer; None: the server stopped before it had one.
        error_code: Of the problem that was answered; None for none.
        address: Of the client, as far as trusted proxies tell; "" where it has none.
        request_id: Of the answer's `x-request-id` and the access log.
    """

    id: str
    at: datetime
    user_id: str
    role: str | None
    method: str
    http_method: str
    route: str | None
    status: int | None
    error_code: str | None
    address: str
    request_id: str
    object: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Filters of the list; what is None does not filter.

    Attributes:
        since: At or after.
        until: Before.
    """

    user_id: str | None = None
    route: str | None = None
    since: datetime | None = None
    until: datetime | None = None
