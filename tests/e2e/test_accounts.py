"""Accounts over a real server: from the operator's link to a member who has left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from lib.auth.sign_in_links import make_admin_link
from lib.clock import SystemClock
from lib.data_folder import database_of
from lib.storage.sqlite import SqliteAccountStore, SqliteDatabase
from tests.contract.threads import together
from tests.e2e.server import ServerProcess

SECRET = "a secret of 16 characters"
CALLERS = 100


def admin_link(server: ServerProcess) -> str:
    """Return the path of an operator's link, made beside the server."""
    with SqliteDatabase(database_of(server.data), migrates=False) as database:
        made = make_admin_link(SqliteAccountStore(database), None, clock=SystemClock())
    return f"/auth/magic/{made.value}"


@contextmanager
def program(server: ServerProcess, **headers: str) -> Iterator[httpx.Client]:
    """Lend a client that keeps cookies and is plainly no browser."""
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
        yield client


def path_of(answer: httpx.Response) -> str:
    """Return the path of a link that was just made."""
    assert answer.status_code == 200, answer.text
    return httpx.URL(answer.json()["url"]).path


def test_from_the_operators_link_to_a_member_who_has_left(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path / "var", FLOOM_SECRET=SECRET, FLOOM_RATE_LIMITS="0") as server,
        program(server) as admin,
        program(server) as member,
    ):
        assert admin.get("/auth/me").status_code == 401
        signed_in = admin.get(admin_link(server))
        assert signed_in.json() == {"ok": True, "redirect_to": "/"}
        me = admin.get("/auth/me").json()
        assert (me["role"], me["method"], me["email"]) == ("admin", "session", None)

        invitation = admin.post("/auth/magic-link", json={"email": "Ben@Example.com"})
        assert invitation.json()["mailed"] is False
        assert member.get(path_of(invitation)).status_code == 200
        ben = member.get("/auth/me").json()
        assert (ben["role"], ben["email"]) == ("member", "ben@example.com")
        assert member.get("/auth/users").status_code == 403

        made = member.post("/auth/tokens", json={"name": "ci"})
        assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
        with program(server, authorization=f"Bearer {made.json()['token']}") as ci:
            assert ci.get("/auth/me").json() == ben | {"method": "token"}
            assert ci.post("/auth/tokens", json={"name": "next"}).status_code == 403
            run = ci.post("/workers/hello-worker/runs", json={"inputs": {"who": "Ben"}})
            assert run.json()["trigger"]["by"] == ben["user_id"]

            left = admin.patch(f"/auth/users/{ben['user_id']}", json={"disabled": True})
            assert left.json()["disabled"] is True
            assert ci.get("/auth/me").status_code == 401
            assert member.get("/auth/me").status_code == 401
            assert "floom_session" not in member.cookies

        last = admin.patch(f"/auth/users/{me['user_id']}", json={"role": "member"})
        assert (last.status_code, last.json()["error_code"]) == (409, "last_admin")
        assert admin.post("/auth/logout").status_code == 204
        assert admin.get("/auth/me").status_code == 401
        log = server.errors.read_text()
    assert made.json()["token"] not in log
    assert path_of(invitation).rpartition("/")[2] not in log


def test_of_many_uses_of_one_link_at_once_one_gets_a_session(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "var", FLOOM_SECRET=SECRET, FLOOM_RATE_LIMITS="0") as server:
        path = admin_link(server)

        def use(_: int) -> httpx.Response:
            return httpx.post(server.url + path, timeout=60)

        answers = [each for each in together(use, CALLERS) if isinstance(each, httpx.Response)]

        assert len(answers) == CALLERS
        won = [each for each in answers if each.status_code == 200]
        refused = {each.json()["error_code"] for each in answers if each.status_code != 200}
        assert (len(won), refused) == (1, {"magic_link_invalid"})
        assert sum("set-cookie" in each.headers for each in answers) == 1


def test_who_knew_a_secret_that_was_changed_is_out(tmp_path: Path) -> None:
    data = tmp_path / "var"
    with (
        ServerProcess(data, FLOOM_SECRET=SECRET, FLOOM_RATE_LIMITS="0") as server,
        program(server) as browser,
    ):
        token = server.client.post("/auth/tokens", json={"name": "ci"}).json()["token"]
        browser.get(path_of(server.client.post("/auth/magic-link")))
        cookie = browser.cookies["floom_session"]
        assert browser.get("/auth/me").json()["user_id"] == "local-user"
    for variables in ({"FLOOM_SECRET": "another secret, of 16+"}, {}, {"FLOOM_SECRET": SECRET}):
        expected = 200 if SECRET in variables.values() else 401
        with ServerProcess(data, 0, (), **variables) as server:
            by_token = httpx.get(
                f"{server.url}/auth/me", headers={"authorization": f"Bearer {token}"}
            )
            by_cookie = httpx.get(
                f"{server.url}/auth/me", headers={"cookie": f"floom_session={cookie}"}
            )
            assert (by_token.status_code, by_cookie.status_code) == (expected, expected)
