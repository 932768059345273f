"""Signing in and out, tokens and users over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from falcon import testing

from handlers import auth
from lib.auth.principal import Principal, Role
from lib.bootstrap import build_app
from lib.mail import Outbox
from lib.settings import Settings
from lib.storage.audit_records import AuditQuery
from lib.web.shutdown import Shutdown
from tests.lib.auth.accounts_world import SECRET, AccountsWorld, built_in, session_of
from tests.lib.runs.world import World, open_world

HTML = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"
INVALID = ("magic_link_invalid", 400)


class Site:
    """The group of routes on accounts in memory."""

    def __init__(self, world: World, public_url: str = "http://localhost:8000") -> None:
        self.accounts = AccountsWorld()
        self.accounts.clock = world.clock
        self.outbox = Outbox()
        self._world = world
        self.limited = False
        self._settings = {"FLOOM_SECRET": SECRET, "FLOOM_PUBLIC_URL": public_url}

    def call(
        self, method: str, path: str, body: Any = None, *, host: str = "localhost", **headers: str
    ) -> testing.Result:
        """Send one request, with an underscore for each hyphen of a header's name."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        path, _, query = path.partition("?")
        return testing.simulate_request(
            self._app(), method, path, query_string=query, json=body, headers=given, host=host
        )

    def as_(self, caller: Principal) -> dict[str, str]:
        """Return the cookie of a caller who signs in."""
        return {"cookie": f"floom_session={self.accounts.cookie(caller).decode()}"}

    def link(self, caller: Principal | None = None) -> str:
        """Return the path of a link for a caller, by default a new member."""
        caller = caller or session_of(self.accounts.user())
        made = self.accounts.under().links.make(caller, email=None, role=None)
        return f"/auth/magic/{made.token}"

    def entries(self) -> list[tuple[str, str | None, int | None]]:
        """Return who signed in by the audit log, with what came of it, oldest first."""
        rows = self._world.audit.list(AuditQuery(), limit=10_000).rows
        return [
            (each.user_id, each.role, each.status) for each in reversed(rows)
            if each.method == "sign_in_link"
        ]  # fmt: skip

    def _app(self) -> Any:
        services = replace(
            self._world.services(), accounts=self.accounts.under(), mailer=self.outbox
        )
        settings = Settings.model_validate(
            self._settings | {"FLOOM_RATE_LIMITS": "1" if self.limited else "0"}
        )
        return build_app(settings, services, auth.routes(services), Shutdown())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """What is not about accounts, once for all tests here, and the time."""
    with open_world(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def site(world: World) -> Site:
    return Site(world)


@pytest.fixture
def admin(site: Site) -> dict[str, str]:
    return site.as_(session_of(site.accounts.user("boss@example.com", Role.ADMIN)))


def problem(answer: testing.Result) -> tuple[str, int]:
    """Return an answer's code and status."""
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json["error_code"], answer.status_code


def cookie_of(answer: testing.Result) -> str | None:
    """Return the session that an answer sets; "" where it takes it away."""
    header = answer.headers.get("set-cookie")
    return None if header is None else header.partition(";")[0].partition("=")[2]


class TestUsingALink:
    def test_a_program_gets_the_session(self, site: Site) -> None:
        path = site.link()
        answer = site.call("GET", path, accept="*/*", user_agent="curl/8.5.0")
        assert answer.json == {"ok": True, "redirect_to": "/"}
        value = cookie_of(answer)
        assert answer.headers["set-cookie"] == (
            f"floom_session={value}; HttpOnly; SameSite=Lax; Path=/; Max-Age=604800"
        )
        me = site.call("GET", "/auth/me", cookie=f"floom_session={value}")
        assert (me.json["method"], me.json["email"]) == ("session", "ada@example.com")
        assert problem(site.call("GET", path)) == INVALID

    @pytest.mark.parametrize(
        "headers",
        [
            {"accept": HTML},
            {"accept": "TEXT/HTML"},
            {"sec_fetch_site": "none"},
            {"sec_fetch_mode": "cors"},
            {"sec_fetch_dest": "image", "accept": "image/webp"},
            {"origin": "http://localhost:8000"},
            {"purpose": "prefetch"},
            {"sec_purpose": "prefetch;prerender"},
            {"accept": "image/*", "referer": "http://evil.example/"},
            {"accept": "*/*", "user_agent": "Mozilla/5.0 (compatible; preview)"},
            {"accept_language": "de"},
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_what_may_be_a_browser_is_asked_first(
        self, site: Site, headers: dict[str, str], method: str
    ) -> None:
        path = site.link()
        for _ in range(2):
            answer = site.call(method, path, **headers)
            assert (answer.status_code, cookie_of(answer)) == (200, None)
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert "form-action 'self'" in answer.headers["content-security-policy"]
            assert answer.headers["cache-control"] == "no-store"
        assert cookie_of(site.call("POST", path))

    def test_a_mailed_link_asks_whoever_opens_it_and_head_never_uses_it_up(
        self, site: Site
    ) -> None:
        path = site.link()
        for method, query in (("GET", "?confirm=1"), ("HEAD", ""), ("HEAD", "?confirm=1")):
            answer = site.call(method, path + query, user_agent="curl")
            assert (answer.status_code, cookie_of(answer)) == (200, None)
        assert cookie_of(site.call("GET", path, user_agent="curl"))
        assert site.call("HEAD", path).status_code == 400

    def test_the_page_says_whose_account_it_is_and_its_button_signs_in(self, site: Site) -> None:
        path = site.link(session_of(site.accounts.user("o'x&y=<@example.com".replace("<", ""))))
        page = site.call("GET", f"{path}?confirm=1", accept=HTML).text
        assert "o&#x27;x&amp;y=@example.com" in page or "o&#39;x&amp;y=@example.com" in page
        assert f'action="{path.rpartition("/")[2]}"' in page
        answer = site.call(
            "POST", path, accept=HTML, content_type="application/x-www-form-urlencoded",
            origin="http://localhost:8000", sec_fetch_site="same-origin",
        )  # fmt: skip
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert cookie_of(answer)

    def test_no_other_site_signs_anybody_in(self, site: Site) -> None:
        path = site.link()
        for headers in ({"origin": "https://evil.example"}, {"sec_fetch_site": "cross-site"}):
            answer = site.call("POST", path, accept=HTML, **headers)
            assert problem(answer) == ("cross_origin", 403)
        assert cookie_of(site.call("POST", path))

    def test_it_takes_no_address_to_go_on_to(self, site: Site) -> None:
        for name in ("next", "redirect", "redirect_to", "return_to"):
            answer = site.call("GET", f"{site.link()}?{name}=https://evil.example")
            assert problem(answer) == ("validation_failed", 422)

    def test_each_sign_in_is_on_record_and_so_is_each_try(self, site: Site) -> None:
        before = len(site.entries())
        user = site.accounts.user()
        path = site.link(session_of(user))
        site.call("GET", path, accept=HTML)
        site.call("POST", path)
        site.call("POST", path)
        assert site.entries()[before:] == [(user.id, "member", 200), ("unknown", None, 400)]

    def test_ten_tries_a_minute(self, site: Site) -> None:
        site.limited = True
        answers = [site.call("POST", "/auth/magic/x") for _ in range(11)]
        assert [each.status_code for each in answers] == [400] * 10 + [429]
        assert int(answers[-1].headers["retry-after"]) <= 60

    @pytest.mark.parametrize("token", ["x", "fml_" + "a" * 43, "fml_%ff", "%F0%9F%98%80"])
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_what_is_not_valid_is_a_page_for_browsers_and_a_problem_for_programs(
        self, site: Site, token: str, method: str
    ) -> None:
        path = f"/auth/magic/{token}"
        assert problem(site.call(method, path)) == INVALID
        page = site.call(method, path, accept=HTML)
        assert (page.status_code, page.headers["content-type"]) == (400, "text/html; charset=utf-8")
        assert "Ask for a new one" in page.text

    def test_a_body_has_nothing_to_say_and_a_large_one_is_refused(self, site: Site) -> None:
        path = site.link()
        for body, kind, code in (
            ("x" * 2000, "application/x-www-form-urlencoded", "payload_too_large"),
            ("x", "text/plain", "unsupported_media_type"),
        ):
            answer = testing.simulate_request(
                site._app(), "POST", path, body=body, headers={"content-type": kind},
                host="localhost",
            )  # fmt: skip
            assert problem(answer)[0] == code
        assert problem(site.call("POST", path, {"next": "/"})) == ("validation_failed", 422)
        assert cookie_of(site.call("POST", path, {}))

    def test_over_tls_the_cookie_is_for_tls_only(self, world: World) -> None:
        site = Site(world, "https://floom.example")
        answer = site.call("POST", site.link(), host="floom.example")
        assert answer.headers["set-cookie"].endswith("; Max-Age=604800; Secure")

    def test_credentials_that_come_along_are_not_looked_at(self, site: Site) -> None:
        answer = site.call("POST", site.link(), cookie="floom_session=old", x_floom_secret="bad")
        assert cookie_of(answer) not in {None, "", "old"}


class TestMakingALink:
    def test_for_oneself_it_is_not_mailed(self, site: Site) -> None:
        caller = site.as_(session_of(site.accounts.user()))
        for body in (None, {}, {"email": "Ada@example.com"}):
            made = site.call("POST", "/auth/magic-link", body, **caller)
            assert made.json.keys() == {"url", "expires_in", "mailed"}
            assert (made.json["expires_in"], made.json["mailed"]) == (900, False)
            assert made.headers["cache-control"] == "no-store"
            assert made.json["url"].startswith("http://localhost:8000/auth/magic/fml_")

    def test_an_invitation_is_mailed_with_a_link_that_asks_first(
        self, site: Site, admin: dict[str, str]
    ) -> None:
        body = {"email": "Ben@Example.com", "role": "admin"}
        made = site.call("POST", "/auth/magic-link", body, **admin)
        assert made.json["mailed"] is True
        (mail,) = site.outbox.sent
        assert mail.to == "ben@example.com"
        assert f"{made.json['url']}?confirm=1\n" in mail.text
        assert "boss@example.com has invited you" in mail.text

    def test_a_mail_server_that_fails_loses_no_link(
        self, site: Site, admin: dict[str, str]
    ) -> None:
        site.outbox.is_up = False
        made = site.call("POST", "/auth/magic-link", {"email": "ben@example.com"}, **admin)
        assert made.json["mailed"] is False
        path = made.json["url"].removeprefix("http://localhost:8000")
        assert cookie_of(site.call("POST", path))

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"role": "admin"}, "/role"),
            ({"email": "no"}, "/email"),
            ({"email": "a@b.cd", "role": "owner"}, "/role"),
            ({"email": "a@b.cd", "next": "/"}, "/next"),
        ],
    )
    def test_what_is_wrong_is_pointed_at(
        self, site: Site, admin: dict[str, str], body: dict[str, str], pointer: str
    ) -> None:
        answer = site.call("POST", "/auth/magic-link", body, **admin)
        assert problem(answer) == ("validation_failed", 422)
        assert [each["pointer"] for each in answer.json["errors"]] == [pointer]

    def test_an_invitation_of_a_user_with_another_role_names_what_changes_it(
        self, site: Site, admin: dict[str, str]
    ) -> None:
        user = site.accounts.user()
        body = {"email": user.email, "role": "admin"}
        answer = site.call("POST", "/auth/magic-link", body, **admin)
        assert problem(answer) == ("user_conflict", 409)
        assert f"PATCH /auth/users/{user.id}" in answer.json["detail"]

    def test_a_member_invites_nobody(self, site: Site) -> None:
        caller = site.as_(session_of(site.accounts.user()))
        answer = site.call("POST", "/auth/magic-link", {"email": "ben@example.com"}, **caller)
        assert problem(answer) == ("forbidden", 403)


class TestTheSession:
    def test_its_cookie_is_sent_again_when_it_is_renewed_whatever_is_answered(
        self, site: Site
    ) -> None:
        for path, status in (("/auth/me", 200), ("/auth/users", 403), ("/nowhere", 404)):
            caller = site.as_(session_of(site.accounts.user("ada@example.com")))
            assert cookie_of(site.call("GET", path, **caller)) is None
            site.accounts.clock.advance(days=1, milliseconds=1)
            answer = site.call("GET", path, **caller)
            assert answer.status_code == status
            assert cookie_of(answer) == caller["cookie"].partition("=")[2]
            assert "; Max-Age=604800" in answer.headers["set-cookie"]
            assert cookie_of(site.call("GET", path, **caller)) is None

    def test_near_its_end_the_cookie_lives_no_longer_than_it(self, site: Site) -> None:
        caller = site.as_(session_of(site.accounts.user()))
        for _ in range(4):
            site.accounts.clock.advance(days=6)
            answer = site.call("GET", "/auth/me", **caller)
        assert "; Max-Age=518400" in answer.headers["set-cookie"]  # six days

    def test_signing_out_ends_it_also_as_it_is_renewed(self, site: Site) -> None:
        caller = site.as_(session_of(site.accounts.user()))
        site.accounts.clock.advance(days=2)
        answer = site.call("POST", "/auth/logout", **caller)
        assert (answer.status_code, cookie_of(answer)) == (204, "")
        again = site.call("GET", "/auth/me", **caller)
        assert (again.status_code, cookie_of(again)) == (401, "")

    def test_signing_out_with_another_credential_is_fine_and_ends_nothing(self, site: Site) -> None:
        caller = site.as_(built_in())
        assert site.call("POST", "/auth/logout", x_floom_secret=SECRET).status_code == 204
        assert site.call("GET", "/auth/me", **caller).json == {
            "user_id": "local-user",
            "email": None,
            "role": "member",
            "method": "session",
        }


class TestTokens:
    def test_a_token_is_shown_once_listed_and_revoked(self, site: Site) -> None:
        caller = site.as_(session_of(site.accounts.user()))
        made = site.call("POST", "/auth/tokens", {"name": "ci"}, **caller)
        assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
        bearer = {"authorization": f"Bearer {made.json['token']}"}
        assert site.call("GET", "/auth/me", **bearer).json["method"] == "token"
        (listed,) = site.call("GET", "/auth/tokens", **bearer).json
        assert listed == {
            **{key: value for key, value in made.json.items() if key != "token"},
            "last_used_at": listed["last_used_at"],
        }
        assert listed["last_used_at"]
        path = f"/auth/tokens/{listed['id']}"
        stranger = site.as_(session_of(site.accounts.user("eve@example.com")))
        assert problem(site.call("DELETE", path, **stranger)) == ("token_not_found", 404)
        assert site.call("DELETE", path, **bearer).status_code == 204
        assert site.call("GET", "/auth/me", **bearer).status_code == 401

    def test_the_same_idempotency_key_makes_two(self, site: Site) -> None:
        caller = site.as_(session_of(site.accounts.user()))
        made = [
            site.call("POST", "/auth/tokens", {"name": "ci"}, idempotency_key="k", **caller)
            for _ in range(2)
        ]
        assert made[0].json["token"] != made[1].json["token"]

    @pytest.mark.parametrize(
        ("field", "value"),
        [("name", ""), ("name", "x" * 101), ("expires_in_days", 0), ("expires_in_days", 366)],
    )
    def test_what_is_wrong_is_pointed_at(self, site: Site, field: str, value: Any) -> None:
        caller = site.as_(session_of(site.accounts.user()))
        answer = site.call("POST", "/auth/tokens", {"name": "ci", field: value}, **caller)
        assert problem(answer) == ("validation_failed", 422)
        assert answer.json["errors"][0]["pointer"] == f"/{field}"

    @pytest.mark.parametrize(("days", "expected"), [(..., 90), (1, 1), (365, 365), (None, None)])
    def test_it_lives_as_long_as_it_was_asked_for(
        self, site: Site, days: Any, expected: int | None
    ) -> None:
        caller = site.as_(session_of(site.accounts.user()))
        body = {"name": "ci"} | ({} if days is ... else {"expires_in_days": days})
        made = site.call("POST", "/auth/tokens", body, **caller).json
        bearer = {"authorization": f"Bearer {made['token']}"}
        site.accounts.clock.advance(days=expected or 9_999)
        assert (made["expires_at"] is None) is (expected is None)
        assert site.call("GET", "/auth/me", **bearer).status_code == (401 if expected else 200)

    def test_a_token_makes_neither_a_token_nor_a_link_of_its_own(
        self, site: Site, admin: dict[str, str]
    ) -> None:
        made = site.call("POST", "/auth/tokens", {"name": "ci"}, **admin)
        bearer = {"authorization": f"Bearer {made.json['token']}"}
        for path, body in (
            ("/auth/tokens", {"name": "next"}),
            ("/auth/magic-link", {}),
            ("/auth/magic-link", {"email": "boss@example.com"}),
        ):
            answer = site.call("POST", path, body, **bearer)
            assert problem(answer) == ("forbidden", 403)
            assert "outlive" in answer.json["detail"]
        invited = site.call("POST", "/auth/magic-link", {"email": "ben@example.com"}, **bearer)
        assert invited.status_code == 200


class TestUsers:
    def test_they_are_listed_in_pages(self, site: Site, admin: dict[str, str]) -> None:
        for number in range(2):
            site.accounts.clock.advance(milliseconds=1)
            site.accounts.user(f"{number}@example.com")
        seen: list[str] = []
        path = "/auth/users?limit=2"
        while path:
            page = site.call("GET", path, **admin)
            seen += [each["email"] for each in page.json]
            cursor = page.headers.get("x-next-cursor")
            path = f"/auth/users?limit=2&cursor={cursor}" if cursor else ""
        assert seen == ["1@example.com", "0@example.com", "boss@example.com"]
        assert problem(site.call("GET", "/auth/users?cursor=x", **admin))[1] == 422

    def test_a_change_holds_from_the_next_request(self, site: Site, admin: dict[str, str]) -> None:
        user = site.accounts.user()
        caller, path = site.as_(session_of(user)), f"/auth/users/{user.id}"
        assert site.call("GET", "/auth/users", **caller).status_code == 403
        changed = site.call("PATCH", path, {"role": "admin"}, **admin)
        assert (changed.json["role"], changed.json["disabled"]) == ("admin", False)
        assert site.call("GET", "/auth/users", **caller).status_code == 200
        assert site.call("PATCH", path, {}, **admin).json["role"] == "admin"
        assert site.call("PATCH", path, {"disabled": True}, **admin).json["disabled"] is True
        assert site.call("GET", "/auth/users", **caller).status_code == 401
        site.call("PATCH", path, {"disabled": False}, **admin)
        assert site.call("GET", "/auth/users", **caller).status_code == 401

    def test_the_last_admin_stays(self, site: Site, admin: dict[str, str]) -> None:
        me = site.call("GET", "/auth/me", **admin).json["user_id"]
        for body in ({"role": "member"}, {"disabled": True}):
            answer = site.call("PATCH", f"/auth/users/{me}", body, **admin)
            assert problem(answer) == ("last_admin", 409)

    def test_their_sessions_end_and_their_tokens_stay(
        self, site: Site, admin: dict[str, str]
    ) -> None:
        user = site.accounts.user()
        caller = site.as_(session_of(user))
        token = site.call("POST", "/auth/tokens", {"name": "ci"}, **caller).json["token"]
        path = f"/auth/users/{user.id}/sessions"
        assert site.call("DELETE", path, **admin).status_code == 204
        assert site.call("GET", "/auth/me", **caller).status_code == 401
        assert site.call("GET", "/auth/me", authorization=f"Bearer {token}").status_code == 200

    def test_the_built_in_account_is_no_user_but_has_sessions(
        self, site: Site, admin: dict[str, str]
    ) -> None:
        caller = site.as_(built_in())
        body = {"disabled": True}
        answer = site.call("PATCH", "/auth/users/local-user", body, **admin)
        assert problem(answer) == ("user_not_found", 404)
        answer = site.call("DELETE", "/auth/users/local-user/sessions", **admin)
        assert answer.status_code == 204
        assert site.call("GET", "/auth/me", **caller).status_code == 401
