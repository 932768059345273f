"""Signing in and out, access tokens, and the people of this server."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from handlers.account_views import LinkView, Me, NewTokenView, SignedInView, TokenView, UserView
from lib.auth.access_tokens import DEFAULT_DAYS, MAX_DAYS
from lib.auth.principal import Principal, Role
from lib.auth.sign_in_links import LIFE, NewLink
from lib.bootstrap import Services, lambda_handler
from lib.errors import FieldError, Invalid
from lib.mail_texts import invitation
from lib.pages.page import MEDIA_TYPE, Page
from lib.pages.refused import refused
from lib.pages.sign_in import sign_in
from lib.storage.ports import LinkInvalid
from lib.web import body as json_body
from lib.web.access import Access
from lib.web.audit import AuditActor
from lib.web.browsers import accepts_html, may_be_browser
from lib.web.call import Call, PageReply, Reply
from lib.web.gate import credentials_of
from lib.web.media import JSON, Media, essence
from lib.web.models import RequestModel
from lib.web.operation import operation
from lib.web.paging import PageQuery, cursor_of
from lib.web.rate_limits import RateLimit
from lib.web.route import Route
from lib.web.threads import blocking

TAG: Final = "Accounts"
HOME: Final = "/"
METHOD: Final = "sign_in_link"  # in the audit log
LIMIT: Final = RateLimit(10, per_seconds=60)
FORM: Final = "application/x-www-form-urlencoded"
_MAX_EMPTY_BYTES: Final = 1024  # of a body in which nothing is looked for
_NOT_STORED: Final = {"cache-control": "no-store"}


class AskForLink(RequestModel):
    """Whom a link is for."""

    email: str | None = Field(
        None, max_length=1_000, description="Somebody else's address; by default it is for you."
    )
    role: Role | None = Field(
        None, description="Of somebody who is new; by default `member`. It changes nobody."
    )


class LinkQuery(RequestModel):
    """How a link is opened."""

    confirm: bool = Field(False, description="`1`: ask first, as mailed links do.")


class Nothing(RequestModel):
    """The address says it all."""


class NewTokenRequest(RequestModel):
    """A token to make."""

    name: str = Field(min_length=1, max_length=100, description="For you.", examples=["ci"])
    role: Role | None = Field(None, description="At most your own, which is the default.")
    expires_in_days: int | None = Field(
        DEFAULT_DAYS, ge=1, le=MAX_DAYS, description="`null`: it does not expire."
    )


class ChangeUser(RequestModel):
    """What to change of a user."""

    role: Role | None = None
    disabled: bool | None = None


class SignInLink:
    """Making links."""

    def __init__(self, services: Services) -> None:
        self._links = services.accounts.links
        self._mailer = services.mailer
        self._base_url = services.base_url

    @operation(
        "createSignInLink",
        access=Access.MEMBER,
        summary="Make a sign-in link",
        body=AskForLink,
        body_required=False,
        limit=LIMIT,
        responses={200: LinkView},
        errors=["user_conflict", "validation_failed"],
    )
    async def on_post(self, call: Call[None, AskForLink]) -> LinkView:
        """For yourself; for somebody else, whom it also makes, where you are an administrator.

        It works once, for 15 minutes. An access token makes none for its own user.
        """
        wanted = call.body
        if wanted.role is not None and wanted.email is None:
            detail = "Give a role together with an email: a link does not change your own."
            raise Invalid(detail, [FieldError("/role", detail)])
        made = await blocking(
            self._links.make, call.principal, email=wanted.email, role=wanted.role
        )
        mailed = await blocking(self._mail, made, call.principal)
        return LinkView(url=self._url(made), expires_in=int(LIFE.total_seconds()), mailed=mailed)

    def _url(self, link: NewLink) -> str:
        return f"{self._base_url}/auth/magic/{link.token}"

    def _mail(self, link: NewLink, caller: Principal) -> bool:
        if link.invited is None:
            return False
        by = caller.email or "The operator"
        mail = invitation(self._url(link), invited_by=by, expires_at=link.expires_at)
        return self._mailer.send(link.invited, mail.subject, mail.text)


class SignIn:
    """Using a link."""

    def __init__(self, services: Services) -> None:
        self._links = services.accounts.links

    @operation(
        "openSignInLink",
        access=Access.PUBLIC,
        summary="Open a sign-in link",
        query=LinkQuery,
        pages=True,
        limit=LIMIT,
        responses={200: SignedInView},
        errors=["magic_link_invalid"],
    )
    async def on_get(self, call: Call[LinkQuery, None], token: str) -> SignedInView | Reply:
        """Programs get the session; browsers a page whose button signs in.

        What may come from a browser uses nothing up: a mail scanner or a preview
        would burn the link, and another site's page could sign its reader in to
        an account that is not theirs. HEAD uses nothing up either.
        """
        headers = call.request.raw_headers
        if call.is_head or call.query.confirm or may_be_browser(headers):
            return await self._ask(call, token)
        return await self._sign_in(call, token)

    @operation(
        "useSignInLink",
        access=Access.PUBLIC,
        summary="Sign in by a link",
        body=Media(FORM, model=Nothing),
        body_required=False,
        body_cap_bytes=_MAX_EMPTY_BYTES,
        pages=True,
        limit=LIMIT,
        responses={200: SignedInView, 303: None},
        errors=["magic_link_invalid"],
    )
    async def on_post(self, call: Call[None, None], token: str) -> SignedInView | Reply:
        """Uses the link up. The cookie is new with each sign-in."""
        await _read_nothing(call)
        is_page = accepts_html(call.request.raw_headers)
        try:
            signed_in = await self._sign_in(call, token)
        except LinkInvalid as ex:
            if not is_page:
                raise
            return _refused(ex)
        return Reply(status=303, headers={"location": HOME} | _NOT_STORED) if is_page else signed_in

    async def _ask(self, call: Call[LinkQuery, None], token: str) -> Reply:
        try:
            account = await blocking(self._links.account_of, token)
        except LinkInvalid as ex:
            if not accepts_html(call.request.raw_headers):
                raise
            return _refused(ex)
        # Relative, so that it is this address wherever a proxy has put us.
        return _page(sign_in(account, token))

    async def _sign_in(
        self, call: Call[LinkQuery, None] | Call[None, None], token: str
    ) -> SignedInView:
        call.audit_as(AuditActor("unknown", None, METHOD))  # until the link says who it is
        signed_in = await blocking(self._links.sign_in, token)
        call.audit_as(AuditActor(signed_in.user_id, signed_in.role, METHOD))
        call.request.exchange.keep_session(signed_in.cookie, signed_in.seconds)
        return SignedInView(ok=True, redirect_to=HOME)


class SignOut:
    """Ending one's session."""

    def __init__(self, services: Services) -> None:
        self._sessions = services.accounts.sessions

    @operation("signOut", access=Access.MEMBER, summary="Sign out", responses={204: None})
    async def on_post(self, call: Call[None, None]) -> Reply:
        """Ends the session that calls; another credential stays as it is."""
        cookie = credentials_of(call.request.raw_headers).session
        if call.principal.method == "session" and cookie is not None:
            await blocking(self._sessions.end, cookie)
        call.request.exchange.clear_session()
        return Reply(status=204)


class Caller:
    """Who calls."""

    @operation("getMe", access=Access.MEMBER, summary="Who you are", responses={200: Me})
    async def on_get(self, call: Call[None, None]) -> Me:
        """As the server sees this request's credential."""
        return Me.model_validate(call.principal)


class Tokens:
    """The caller's access tokens."""

    def __init__(self, services: Services) -> None:
        self._tokens = services.accounts.tokens

    @operation(
        "listAccessTokens",
        access=Access.MEMBER,
        summary="List your access tokens",
        query=PageQuery,
        responses={200: list[TokenView]},
        errors=["validation_failed"],
    )
    async def on_get(self, call: Call[PageQuery, None]) -> PageReply:
        """Those that have not expired, newest first; what they are is not shown again."""
        page = await blocking(
            self._tokens.list,
            call.principal.user_id,
            limit=call.query.limit,
            after=call.query.key(str),
        )
        return PageReply(
            [TokenView.model_validate(row) for row in page.rows], cursor_of(page.next_key)
        )

    @operation(
        "createAccessToken",
        access=Access.MEMBER,
        summary="Make an access token",
        body=NewTokenRequest,
        responses={201: NewTokenView},
        errors=["token_conflict", "user_conflict", "validation_failed"],
    )
    async def on_post(self, call: Call[None, NewTokenRequest]) -> Reply:
        """Shown once. It never gives more than you may do when it is used."""
        wanted = call.body
        secret, record = await blocking(
            self._tokens.create,
            call.principal,
            wanted.name,
            role=wanted.role,
            days=wanted.expires_in_days,
        )
        shown = TokenView.model_validate(record).model_dump()
        return Reply(NewTokenView(**shown, token=secret.value), 201, _NOT_STORED)

    @operation(
        "revokeAccessToken",
        access=Access.MEMBER,
        summary="Revoke an access token",
        responses={204: None},
        errors=["token_not_found"],
    )
    async def on_delete_one(self, call: Call[None, None], token_id: str) -> Reply:
        """One of yours, at once."""
        await blocking(self._tokens.revoke, call.principal.user_id, token_id)
        return Reply(status=204)


class People:
    """Users, for administrators."""

    def __init__(self, services: Services) -> None:
        self._users = services.accounts.users

    @operation(
        "listUsers",
        access=Access.ADMIN,
        summary="List users",
        query=PageQuery,
        responses={200: list[UserView]},
        errors=["validation_failed"],
    )
    async def on_get(self, call: Call[PageQuery, None]) -> PageReply:
        """Who has signed in at least once, newest first."""
        page = await blocking(self._users.list, limit=call.query.limit, after=call.query.key(str))
        return PageReply(
            [UserView.model_validate(row) for row in page.rows], cursor_of(page.next_key)
        )

    @operation(
        "changeUser",
        access=Access.ADMIN,
        summary="Change a user",
        body=ChangeUser,
        responses={200: UserView},
        errors=["user_not_found", "last_admin", "validation_failed"],
    )
    async def on_patch_one(self, call: Call[None, ChangeUser], user_id: str) -> UserView:
        """Holds from their next request on. Another role ends their open links.

        Disabling ends their sessions and access tokens, too. The last enabled
        administrator stays one.
        """
        wanted = call.body
        user = await blocking(
            self._users.change, user_id, role=wanted.role, disabled=wanted.disabled
        )
        return UserView.model_validate(user)

    @operation(
        "endSessions",
        access=Access.ADMIN,
        summary="Sign a user out everywhere",
        responses={204: None},
        errors=["user_not_found"],
    )
    async def on_delete_sessions(self, _call: Call[None, None], user_id: str) -> Reply:
        """Ends all their sessions, their open sign-in links and those that they made.

        Their access tokens stay.
        """
        await blocking(self._users.end_sessions, user_id)
        return Reply(status=204)


async def _read_nothing(call: Call[None, None]) -> None:
    """Read a body that has nothing to say; too much of it, or other JSON, is refused."""
    raw = await call.read()
    if raw and essence(call.request.content_type) == JSON:
        json_body.validate(Nothing, raw, json_body.parse(raw))


def _page(page: Page) -> Reply:
    return Reply(page.body, page.status, page.headers, MEDIA_TYPE)


def _refused(error: LinkInvalid) -> Reply:
    return _page(refused("This sign-in link is not valid", error.detail, 400))


def routes(services: Services) -> list[Route]:
    """Return the routes of this group."""
    tokens, people = Tokens(services), People(services)
    return [
        Route("/auth/magic-link", SignInLink(services), tag=TAG),
        Route("/auth/magic/{token}", SignIn(services), tag=TAG),
        Route("/auth/logout", SignOut(services), tag=TAG),
        Route("/auth/me", Caller(), tag=TAG),
        Route("/auth/tokens", tokens, tag=TAG),
        Route("/auth/tokens/{token_id}", tokens, "one", tag=TAG),
        Route("/auth/users", people, tag=TAG),
        Route("/auth/users/{user_id}", people, "one", tag=TAG),
        Route("/auth/users/{user_id}/sessions", people, "sessions", tag=TAG),
    ]


handler = lambda_handler(routes)
