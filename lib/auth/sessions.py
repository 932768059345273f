"""Sessions: what the cookie of a browser stands for."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

from lib.auth.built_in import BuiltInAccount
from lib.auth.credentials import SESSION_PREFIX
from lib.auth.owner import present_role
from lib.auth.principal import Principal
from lib.auth.secret_token import find_digest
from lib.clock import Clock
from lib.errors import FloomError, Unauthenticated
from lib.log import event
from lib.storage.account_records import Session, User
from lib.storage.ports import AccountStore, SessionAndUser

LIFE: Final = timedelta(days=7)
MAX_LIFE: Final = timedelta(days=30)  # whatever it is used
RENEWED_AFTER: Final = timedelta(days=1)
OPERATOR_NAME: Final = "the operator of this server"

_log = logging.getLogger(__name__)


class InvalidSession(Unauthenticated):
    """The session cookie is unknown or expired; the answer clears it."""


class Sessions:
    """Judges session cookies, and ends sessions.

    Role and whether somebody is disabled are read at each request.
    """

    def __init__(self, store: AccountStore, *, built_in: BuiltInAccount, clock: Clock) -> None:
        self._store = store
        self._built_in = built_in
        self._clock = clock

    def check(self, presented: bytes) -> Principal:
        """Return whose session a cookie is; used after a day, it is renewed.

        Raises:
            InvalidSession: it is none, has expired, or its owner may not come in.
        """
        found = self._find(presented)
        now = self._clock.now()
        if found is None or found.session.expires_at <= now:
            raise invalid_session()
        session, user = found
        role = present_role(session, user, self._built_in)
        if role is None:
            raise invalid_session()
        if user is None:  # a member's session is no admin's because the secret is one now
            role = min(role, session.role)
        email = user.email if user else None
        return Principal(session.user_id, role, "session", email, self._renew(session, now))

    def end(self, presented: bytes) -> None:
        """End the session of a cookie; idempotent, whatever it is."""
        sha256 = find_digest(SESSION_PREFIX, presented)
        if sha256 is not None:
            self._store.delete_session(sha256)

    def _find(self, presented: bytes) -> SessionAndUser | None:
        sha256 = find_digest(SESSION_PREFIX, presented)
        return self._store.find_session(sha256) if sha256 is not None else None

    def _renew(self, session: Session, now: datetime) -> datetime | None:
        """Return the new end, if it was moved; a store that is down moves nothing."""
        end = min(now + LIFE, session.created_at + MAX_LIFE)
        if now - session.renewed_at <= RENEWED_AFTER or end <= session.expires_at:
            return None
        try:
            is_kept = self._store.renew_session(session.sha256, now=now, expires_at=end)
        except FloomError as ex:  # no reason to refuse the request
            event(_log, logging.WARNING, "session_not_renewed", error=ex.detail)
            return None
        return end if is_kept else None


def invalid_session() -> InvalidSession:
    """Return the one error of all sessions that are not accepted."""
    return InvalidSession("The session is unknown or has expired; sign in again.")


def name_of(user: User | None) -> str:
    """Return how a page calls an account."""
    if user is None:
        return "the shared account of this server"
    return user.email or OPERATOR_NAME
