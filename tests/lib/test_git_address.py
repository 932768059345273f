from __future__ import annotations

import pytest

from lib.git_address import BadAddress, parse_address


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://example.org/team/ws.git", "https://example.org/team/ws.git"),
        ("https://anna:hunter22@example.org/ws.git", "https://***@example.org/ws.git"),
        ("https://ghp_token@example.org:8443/ws", "https://***@example.org:8443/ws"),
        ("ssh://git@example.org:2222/ws.git", "ssh://git@example.org:2222/ws.git"),
        ("git@example.org:team/ws.git", "git@example.org:team/ws.git"),
        ("git://example.org/ws.git", "git://example.org/ws.git"),
        ("file:///srv/ws.git", "file:///srv/ws.git"),
        ("http://localhost:3000/ws.git", "http://localhost:3000/ws.git"),
    ],
)
def test_each_form_is_taken_and_shown_without_credentials(text: str, shown: str) -> None:
    address = parse_address(text)
    assert (address.url, address.shown) == (text, shown)
    assert "hunter22" not in repr(address)


@pytest.mark.parametrize(
    "text",
    [
        "", "ws", "/srv/ws.git", "./ws", "ext::sh -c id", "ext::https://x/y", "file://host/x",
        "file:srv", "http://example.org/ws.git", "https://", "https://example.org", "ftp://x/y",
        "-oProxyCommand=id@x:y", "ssh://-oProxyCommand=id/x", "git@-oProxyCommand:x", "a@b:-x",
        "https://example.org/ws.git\n", "https://example.org/w s", "https://example.org/ws?x=1",
        "https://example.org:port/ws", "--upload-pack=id",
    ],
)  # fmt: skip
def test_other_forms_are_refused_without_repeating_them(text: str) -> None:
    with pytest.raises(BadAddress) as refused:
        parse_address(text)
    assert len(text) < 9 or text not in str(refused.value)


def test_credentials_are_taken_out_of_any_text() -> None:
    address = parse_address("https://anna:p%40ss@example.org/ws.git")
    said = "fatal: https://anna:p%40ss@example.org/ws.git said no to p%40ss"
    assert "p%40ss" not in address.redact(said)
    assert "example.org" in address.redact(said)
