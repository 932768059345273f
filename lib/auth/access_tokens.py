"""Personal access tokens, for programs: `fpt_...`."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from lib.auth.built_in import BuiltInAccount
from lib.auth.credentials import ACCESS_TOKEN_PREFIX
from lib.auth.owner import present_role
from lib.auth.principal import LOCAL_USER_ID, Principal, Role
from lib.auth.secret_token import SecretToken, find_digest, mint
from lib.clock import Clock
from lib.errors import FloomError, Forbidden, Unauthenticated
from lib.ids import Ids
from lib.log import event
from lib.storage.account_records import AccessToken
from lib.storage.ports import AccountStore, Page

DEFAULT_DAYS: Final = 90
MAX_DAYS: Final = 365
USE_NOTED_AFTER: Final = timedelta(minutes=1)

_log = logging.getLogger(__name__)


class NewToken(NamedTuple):
    """A token that was just made, and its record."""

    secret: SecretToken
    record: AccessToken


class AccessTokens:
    """Makes, judges and revokes access tokens."""

    def __init__(
        self, store: AccountStore, *, built_in: BuiltInAccount, clock: Clock, ids: Ids
    ) -> None:
        self._store = store
        self._built_in = built_in
        self._clock = clock
        self._ids = ids

    def create(
        self, owner: Principal, name: str, *, role: Role | None, days: int | None
    ) -> NewToken:
        """Make a token of the caller.

        Args:
            owner: Who calls.
            name: For the owner.
            role: By default the caller's.
            days: How long it lives; None: until it is revoked.

        Raises:
            Forbidden: the role is above the caller's, or the caller is a token: it
                would make itself a successor, and outlive its own end.
            UserConflict: the caller was disabled meanwhile.
            TokenConflict: the caller has as many as anybody may have.
        """
        if owner.method == "token":
            raise Forbidden(
                "An access token cannot make access tokens, which would outlive it; sign in for that."
            )
        if role is not None and role > owner.role:
            raise Forbidden(f"A token's role is at most your own, {owner.role.value}.")
        now = self._clock.now()
        secret = mint(ACCESS_TOKEN_PREFIX)
        record = AccessToken(
            id=self._ids.new("tok"),
            sha256=secret.sha256,
            user_id=owner.user_id,
            name=name,
            role=role or owner.role,
            created_at=now,
            expires_at=None if days is None else now + timedelta(days=days),
            binding=self._built_in.binding if owner.user_id == LOCAL_USER_ID else None,
        )
        self._store.create_token(record)
        return NewToken(secret, record)

    def list(self, user_id: str, *, limit: int, after: str | None) -> Page[AccessToken]:
        """Return a page of somebody's tokens, newest first."""
        return self._store.list_tokens(user_id, limit=limit, after=after)

    def revoke(self, user_id: str, token_id: str) -> None:
        """End one of somebody's tokens. Raises TokenNotFound."""
        self._store.delete_token(user_id, token_id)

    def check(self, presented: bytes) -> Principal:
        """Return whose token this is, with at most the role that they have now.

        Raises:
            Unauthenticated: it is none, expired or revoked, or its owner may not
                come in.
        """
        sha256 = find_digest(ACCESS_TOKEN_PREFIX, presented)
        found = self._store.find_token(sha256) if sha256 is not None else None
        now = self._clock.now()
        if found is None or _is_over(found.token, now):
            raise _refusal()
        token, user = found
        role = present_role(token, user, self._built_in)
        if role is None:
            raise _refusal()
        self._note_use(token, now)
        email = user.email if user else None
        return Principal(token.user_id, min(role, token.role), "token", email)

    def _note_use(self, token: AccessToken, now: datetime) -> None:
        if token.last_used_at is not None and now - token.last_used_at < USE_NOTED_AFTER:
            return
        try:
            self._store.note_token_use(token.id, now=now)
        except FloomError as ex:  # no reason to refuse the request
            event(_log, logging.WARNING, "token_use_not_noted", token=token.id, error=ex.detail)


def _is_over(token: AccessToken, now: datetime) -> bool:
    return token.expires_at is not None and token.expires_at <= now


def _refusal() -> Unauthenticated:
    return Unauthenticated("The access token is unknown, expired or revoked; make another one.")
