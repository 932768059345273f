from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.git_address import BadAddress, parse_address


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://example.org/team/ws.git", "https://example.org/team/ws.git"),
        ("https://anna:hunter22@example.org/ws.git", "https://example.org/ws.git"),
        ("https://ghp_token@example.org:8443/ws", "https://example.org:8443/ws"),
        ("https://anna:hunter22@[::1]:8443/ws", "https://[::1]:8443/ws"),
        ("ssh://git@example.org:2222/ws.git", "ssh://git@example.org:2222/ws.git"),
        ("git@example.org:team/ws.git", "git@example.org:team/ws.git"),
        ("git://example.org/ws.git", "git://example.org/ws.git"),
        ("file:///srv/ws.git", "file:///srv/ws.git"),
        ("/srv/ws.git", "/srv/ws.git"),
        ("http://localhost:3000/ws.git", "http://localhost:3000/ws.git"),
    ],
)
def test_each_form_is_taken_without_its_credentials(text: str, url: str) -> None:
    address = parse_address(text)
    assert address.url == url
    assert "hunter22" not in repr(address)


@pytest.mark.parametrize(
    "text",
    [
        "", "ws", "./ws", "ext::sh -c id", "ext::https://x/y", "file://host/x",
        "file:srv", "http://example.org/ws.git", "https://", "https://example.org", "ftp://x/y",
        "-oProxyCommand=id@x:y", "ssh://-oProxyCommand=id/x", "git@-oProxyCommand:x", "a@b:-x",
        "https://example.org/ws.git\n", "https://example.org/w s", "https://example.org/ws?x=1",
        "https://example.org:port/ws", "--upload-pack=id", "/srv/w s",
        "ssh://git:hunter22@example.org/ws", "git://anna@example.org/ws", "ssh://-o@example.org/ws",
        "https://:hunter22@example.org/ws", "https://a:b%0Ac@example.org/ws",
    ],
)  # fmt: skip
def test_other_forms_are_refused_without_repeating_them(text: str) -> None:
    with pytest.raises(BadAddress) as refused:
        parse_address(text)
    assert len(text) < 9 or text not in str(refused.value)


def test_credentials_are_taken_out_of_any_text() -> None:
    address = parse_address("https://anna:p%40ss@example.org/ws.git")
    assert (address.user, address.password) == ("anna", "p@ss")
    assert address.authorization == "Basic " + base64.b64encode(b"anna:p@ss").decode()
    said = f"https://anna:p%40ss@example.org/ws.git said no to p@ss, {address.authorization}"
    assert address.redact(said) == "https://anna:***@example.org/ws.git said no to ***, Basic ***"


def test_a_token_in_the_place_of_the_user_is_taken_out_too() -> None:
    address = parse_address("https://ghp_token@example.org/ws")
    assert (address.user, address.authorization) == ("ghp_token", None)
    assert address.redact("no such token: ghp_token") == "no such token: ***"


@given(st.text(max_size=60) | st.from_regex(r"(https|ssh|git|file)://\S{0,40}", fullmatch=True))
def test_what_is_taken_is_no_option_and_no_command(text: str) -> None:
    try:
        address = parse_address(text)
    except BadAddress:
        return
    assert not address.url.startswith("-")
    assert parse_address(address.url).url == address.url
