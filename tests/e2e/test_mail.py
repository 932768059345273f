"""Links leave by mail: a real server, a real mail server."""

from __future__ import annotations

from email import message_from_bytes, policy
from pathlib import Path

from tests.e2e.server import ServerProcess
from tests.e2e.test_accounts import admin_link, path_of, program
from tests.kit.smtp_servers import Letters, mail_server

MANIFEST = "approvals: {required: true, required_approvals: 2, label: Send it?}\n"


def texts(letters: Letters) -> list[tuple[str, str, str]]:
    """Return recipient, subject and text of each mail."""
    found = []
    for envelope in letters.taken:
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        body = mail.get_body()
        assert body is not None
        found.append((envelope.rcpt_tos[0], str(mail["subject"]), body.get_content()))
    return found


def test_invitations_and_review_links_are_mailed(tmp_path: Path) -> None:
    letters = Letters()
    with (
        mail_server(letters) as port,
        ServerProcess(
            tmp_path / "var",
            FLOOM_SECRET="a secret of 16 characters",
            FLOOM_SMTP_URL=f"smtp://127.0.0.1:{port}",
        ) as server,
        program(server) as admin,
        program(server) as bob,
        program(server) as eve,
    ):
        admin.get(admin_link(server))
        for name, client in (("bob", bob), ("eve", eve)):
            invited = admin.post("/auth/magic-link", json={"email": f"{name}@example.org"})
            assert invited.json()["mailed"] is True
            to, _, text = texts(letters)[-1]
            assert to == f"{name}@example.org"
            assert f"{invited.json()['url']}?confirm=1" in text
            client.get(path_of(invited))

        server.add_worker("gated", MANIFEST, run_py="")
        server.reload()
        server.run("gated")
        (approval,) = bob.get("/approvals").json()
        # Of a quorum's other vote Bob must not see the link: it goes to Eve alone.
        made = bob.post(f"/approvals/{approval['id']}/links", json={"email": "eve@example.org"})
        assert (made.json()["url"], made.json()["mailed"]) == (None, True)
        to, subject, text = texts(letters)[-1]
        assert (to, subject) == ("eve@example.org", "Review: Send it?")
        (address,) = [line for line in text.split() if "/approvals/public/" in line]
        page = eve.get(address)
        assert page.json()["label"] == "Send it?"
