"""Sign-in links: each is good for one session, once, for 15 minutes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from lib.auth import sessions
from lib.auth.built_in import BuiltInAccount
from lib.auth.credentials import LINK_PREFIX, SESSION_PREFIX
from lib.auth.email_address import normal_address
from lib.auth.principal import LOCAL_USER_ID, Principal, Role
from lib.auth.secret_token import SecretToken, find_digest, mint
from lib.clock import Clock
from lib.errors import Forbidden
from lib.ids import Ids
from lib.storage import account_rules
from lib.storage.account_records import LinkPurpose, LinkUse, SignInLink
from lib.storage.ports import AccountStore

LIFE: Final = timedelta(minutes=15)
PURPOSES: Final[frozenset[LinkPurpose]] = frozenset({"sign_in", "invitation", "admin"})
BY_OPERATOR: Final = "operator"  # whoever can start programs where the server runs


@dataclass(frozen=True, slots=True)
class NewLink:
    """A link that was just made.

    Attributes:
        token: The last part of its address.
        expires_at: Its end.
        invited: The address that it is for, where it is not the caller's own.
    """

    token: str = field(repr=False)
    expires_at: datetime
    invited: str | None = None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session that was just made.

    Attributes:
        cookie: Its cookie's value.
        seconds: How long it lives.
        user_id: Whose it is.
        role: What it gives.
    """

    cookie: str = field(repr=False)
    seconds: int
    user_id: str
    role: Role


class SignInLinks:
    """Makes links, and turns them into sessions."""

    def __init__(
        self, store: AccountStore, *, built_in: BuiltInAccount, clock: Clock, ids: Ids
    ) -> None:
        self._store = store
        self._built_in = built_in
        self._clock = clock
        self._ids = ids

    def make(self, caller: Principal, *, email: str | None, role: Role | None) -> NewLink:
        """Make a link for the caller, or for somebody whom an administrator invites.

        Args:
            caller: Who asks.
            email: Whom it is for; None: the caller.
            role: Of somebody who is new; by default member. It changes nobody.

        Raises:
            BadAddress: the address is none.
            Forbidden: the caller is no administrator, or would by an access token
                get a session of their own: it would outlive the token and its role.
            UserConflict: there is such a user, with another role or disabled.
        """
        invited = None if email is None else normal_address(email)
        is_own = invited is None or invited == caller.email
        if is_own and caller.method == "token":
            raise Forbidden(
                "An access token cannot make a sign-in link for its own user, whose session would "
                "outlive it; sign in for that."
            )
        if invited is None or (is_own and role is None):
            return self._put("sign_in", caller, user_id=caller.user_id)
        if caller.role is not Role.ADMIN:
            raise Forbidden("Ask an administrator: only they may invite somebody.")
        known = self._store.find_user(invited)
        role = role or (known.role if known else Role.MEMBER)
        return self._put("invitation", caller, email=invited, role=role)

    def account_of(self, token: str) -> str:
        """Return how a page calls the account that a link leads to; uses nothing up.

        Raises:
            LinkInvalid: it could not be used.
        """
        link = self._find_open(token)
        if link.user_id is None:
            return link.email or sessions.OPERATOR_NAME
        is_built_in = link.user_id == LOCAL_USER_ID
        return sessions.name_of(None if is_built_in else self._store.get_user(link.user_id))

    def sign_in(self, token: str) -> SignedIn:
        """Use a link up for a session, whose cookie nobody has had before.

        Raises:
            LinkInvalid: unknown, expired, used, revoked, or its user may not come in.
        """
        link = self._find_open(token)  # most that are none cost no transaction
        cookie, now = mint(SESSION_PREFIX), self._clock.now()
        use = LinkUse(
            sha256=link.sha256,
            purposes=PURPOSES,
            session_sha256=cookie.sha256,
            session_expires_at=now + sessions.LIFE,
            new_user_id=self._ids.new("usr"),
            binding=self._built_in.binding,
        )
        session, user = self._store.use_link(use, now=now)
        return SignedIn(
            cookie.value,
            int(sessions.LIFE.total_seconds()),
            session.user_id,
            user.role if user is not None else session.role,
        )

    def _find_open(self, token: str) -> SignInLink:
        """Return a link that may be used, as far as can be told before its transaction."""
        sha256 = find_digest(LINK_PREFIX, token.encode(errors="replace"))
        link = self._store.find_link(sha256) if sha256 is not None else None
        binding, now = self._built_in.binding, self._clock.now()
        if link is None or not account_rules.is_open(link, PURPOSES, binding, now):
            raise account_rules.link_invalid()
        if self._has_lost_its_maker(link):
            raise account_rules.link_invalid()
        return link

    def _has_lost_its_maker(self, link: SignInLink) -> bool:
        """Whether the built-in account invites nobody any more.

        Its role is a setting: where that changes, no transaction withdraws the links.
        """
        is_its_own = link.purpose == "invitation" and link.created_by == LOCAL_USER_ID
        return is_its_own and self._built_in.role is not Role.ADMIN

    def _put(
        self,
        purpose: LinkPurpose,
        caller: Principal,
        *,
        user_id: str | None = None,
        email: str | None = None,
        role: Role | None = None,
    ) -> NewLink:
        token, now = mint(LINK_PREFIX), self._clock.now()
        link = SignInLink(
            sha256=token.sha256,
            purpose=purpose,
            user_id=user_id,
            email=email,
            role=role or caller.role,
            created_by=caller.user_id,
            created_at=now,
            expires_at=now + LIFE,
            binding=self._built_in.binding if caller.user_id == LOCAL_USER_ID else None,
        )
        self._store.create_link(link)
        return NewLink(token.value, link.expires_at, email)


def make_admin_link(store: AccountStore, email: str | None, *, clock: Clock) -> SecretToken:
    """Make a link whose user is an administrator once it is used.

    Args:
        store: Where it is kept.
        email: Whom it is for; None: the oldest enabled administrator without an
            address, or a new one.
        clock: The time.

    Raises:
        BadAddress: the address is none.
        UserConflict: that user is disabled.
    """
    token, now = mint(LINK_PREFIX), clock.now()
    link = SignInLink(
        sha256=token.sha256,
        purpose="admin",
        user_id=None,
        email=None if email is None else normal_address(email),
        role=Role.ADMIN,
        created_by=BY_OPERATOR,
        created_at=now,
        expires_at=now + LIFE,
    )
    store.create_link(link)
    return token
