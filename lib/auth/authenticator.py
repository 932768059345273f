"""Decides who is calling: the first credential presented decides.

The order is the table in section 1.1 of the API's contract: run token, access
token, session, shared secret, open local mode. A bad credential is never
rescued by a later one.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from lib.auth.credentials import Checker, Credentials, bearer_token
from lib.auth.principal import LOCAL_USER_ID, Principal, Role
from lib.auth.sessions import invalid_session
from lib.errors import Unauthenticated


class Authenticator:
    """Asks the checker of the first credential that is presented.

    Args:
        secret: The operator's shared secret; None opens the server to anybody
            who can reach it, as admin.
        shared_secret_role: Role of callers who know the secret.
        bearers: Who judges a bearer token, by the prefix that its kind has.
        session: Who judges a session cookie; without one, none is accepted.

    Raises:
        ValueError: the secret is blank, which any blank header would match.
    """

    def __init__(
        self,
        *,
        secret: str | None,
        shared_secret_role: Role,
        bearers: Mapping[str, Checker] | None = None,
        session: Checker | None = None,
    ) -> None:
        self._bearers = {prefix.encode(): check for prefix, check in (bearers or {}).items()}
        self._check_session: Checker = session or _refuse_session
        self._check_secret = _shared_secret_checker(secret, shared_secret_role)
        self._anonymous = Principal(LOCAL_USER_ID, Role.ADMIN, "local") if secret is None else None

    def authenticate(self, credentials: Credentials) -> Principal:
        """Return the caller.

        Raises:
            Unauthenticated: no credential where one is due, or a bad one.
        """
        authorization, session, secret = credentials
        if authorization is not None:
            return self._check_bearer(authorization)
        if session is not None:
            return self._check_session(session)
        if secret is not None:
            return self._check_secret(secret)
        if self._anonymous is not None:
            return self._anonymous
        raise Unauthenticated("Sign in, or send the header x-floom-secret or a bearer token.")

    def _check_bearer(self, authorization: bytes) -> Principal:
        token = bearer_token(authorization)
        if token is None:
            raise Unauthenticated("Send the header as `Authorization: Bearer <token>`.")
        for prefix, check in self._bearers.items():
            if token.startswith(prefix):
                return check(token)
        raise Unauthenticated("The bearer token is unknown, expired or revoked; use a valid one.")


def _refuse_session(_presented: bytes) -> Principal:
    raise invalid_session()


def _shared_secret_checker(secret: str | None, role: Role) -> Checker:
    expected = None if secret is None else secret.encode().strip()
    if expected == b"":
        raise ValueError("The shared secret is blank; leave it unset or set 16 characters or more.")
    principal = Principal(LOCAL_USER_ID, role, "shared_secret")

    def check(presented: bytes) -> Principal:
        if expected is None or not hmac.compare_digest(presented.strip(), expected):
            raise Unauthenticated("The header x-floom-secret does not hold this server's secret.")
        return principal

    return check
