"""Who did what, on record before they are answered.

The effect of a call stands when its answer is ready. So an entry that cannot be
written does not turn the answer into an error, which would have the caller do
it again; the log says `audit_failed`, with the entry.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from lib import log
from lib.auth.principal import Principal, Role
from lib.clock import Clock
from lib.ids import Ids
from lib.storage.audit_records import AuditEntry
from lib.storage.ports import AuditStore
from lib.web import path_ids
from lib.web.client_addresses import canonical

LOGGER: Final = logging.getLogger("floom.audit")


@dataclass(frozen=True, slots=True)
class AuditActor:
    """As whom a call is on record.

    Attributes:
        user_id: The account's, or whatever else names who it was.
        role: None where they have none.
        method: Kind of credential, such as `session` or `review_link`.
    """

    user_id: str
    role: Role | None
    method: str

    @classmethod
    def of(cls, principal: Principal) -> Self:
        """Return the actor that a principal is."""
        return cls(principal.user_id, principal.role, principal.method)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A call and what became of it.

    Attributes:
        params: Path parameters as they came; ids alone are kept.
        status: None: there was no answer.
    """

    http_method: str
    route: str | None
    params: Mapping[str, Any]
    status: int | None
    error_code: str | None
    client: str
    request_id: str


class Auditor:
    """Writes the audit log."""

    def __init__(self, store: AuditStore, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._ids = Ids(clock)

    def record(self, actor: AuditActor, outcome: Outcome) -> None:
        """Write an entry, durable when this returns; blocks.

        Raises nothing: a failure is logged.
        """
        entry = self._entry(actor, outcome)
        try:
            self._store.append(entry)
        except Exception as ex:  # noqa: BLE001 - the effect stands, and the answer says so
            log.event(
                LOGGER,
                logging.ERROR,
                "audit_failed",
                reason=f"{type(ex).__name__}: {ex}",
                **{name: value for name, value in asdict(entry).items() if value is not None},
            )

    def _entry(self, actor: AuditActor, outcome: Outcome) -> AuditEntry:
        at = self._clock.now()
        return AuditEntry(
            id=self._ids.new("aud", at=at),
            at=at,
            user_id=actor.user_id,
            role=actor.role.value if actor.role else None,
            method=actor.method,
            http_method=outcome.http_method,
            route=outcome.route,
            object=path_ids.well_formed(outcome.params),
            status=outcome.status,
            error_code=outcome.error_code,
            address=canonical(outcome.client),
            request_id=outcome.request_id,
        )
