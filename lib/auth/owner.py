"""Whose a session or an access token is, as of now."""

from __future__ import annotations

from lib.auth.built_in import BuiltInAccount
from lib.auth.principal import LOCAL_USER_ID, Role
from lib.storage.account_records import AccessToken, Session, User


def present_role(
    credential: Session | AccessToken, user: User | None, built_in: BuiltInAccount
) -> Role | None:
    """Return what the owner may do now; None where they may not come in."""
    if user is not None:
        return None if user.disabled else user.role
    is_built_in = credential.user_id == LOCAL_USER_ID and built_in.honours(credential.binding)
    return built_in.role if is_built_in else None
