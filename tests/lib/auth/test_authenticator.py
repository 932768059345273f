"""Which credential decides, and what it makes of the caller."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.auth.authenticator import Authenticator
from lib.auth.credentials import Credentials
from lib.auth.principal import Role
from lib.auth.sessions import InvalidSession
from lib.errors import Unauthenticated

SECRET = "käse-und-brot-für-alle"


def guarded(role=Role.MEMBER, secret=SECRET):
    return Authenticator(secret=secret, shared_secret_role=role)


def opened():
    return Authenticator(secret=None, shared_secret_role=Role.MEMBER)


@pytest.mark.parametrize("role", list(Role))
def test_the_shared_secret_gives_the_configured_role(role):
    principal = guarded(role).authenticate(Credentials(shared_secret=SECRET.encode()))

    assert (principal.user_id, principal.role, principal.method) == (
        "local-user",
        role,
        "shared_secret",
    )


@pytest.mark.parametrize("presented", [SECRET, f"  {SECRET}\t", f"{SECRET}\r\n"])
@pytest.mark.parametrize("configured", [SECRET, f" {SECRET}\n"])
def test_both_sides_are_stripped(presented, configured):
    authenticator = guarded(secret=configured)

    assert authenticator.authenticate(Credentials(shared_secret=presented.encode()))


def test_nothing_presented_is_the_local_admin_of_an_open_server():
    principal = opened().authenticate(Credentials())

    assert (principal.user_id, principal.role, principal.method) == (
        "local-user",
        Role.ADMIN,
        "local",
    )


def test_nothing_presented_is_refused_where_a_secret_is_set():
    with pytest.raises(Unauthenticated):
        guarded().authenticate(Credentials())


BAD = {
    "authorization": [b"Bearer frt_x", b"Bearer fpt_x", b"Basic eDp5", b"", b"\xff"],
    "session": [b"x", b""],
    "shared_secret": [b"wrong", b"", b" ", SECRET.encode("latin-1"), SECRET.encode() + b"x"],
}


@pytest.mark.parametrize("authenticator", [guarded(), opened()], ids=["guarded", "open"])
@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in BAD.items() for v in vs])
def test_a_bad_credential_is_refused_everywhere(authenticator, name, value):
    with pytest.raises(Unauthenticated):
        authenticator.authenticate(Credentials(**{name: value}))


@pytest.mark.parametrize(
    ("earlier", "later"),
    list(itertools.combinations(["authorization", "session", "shared_secret"], 2)),
)
def test_a_bad_credential_is_not_rescued_by_a_later_one(earlier, later):
    presented = {later: SECRET.encode(), earlier: b"bad"}

    with pytest.raises(Unauthenticated):
        guarded().authenticate(Credentials(**presented))


def test_a_bad_session_is_told_apart_so_that_its_cookie_is_cleared():
    with pytest.raises(InvalidSession):
        guarded().authenticate(Credentials(session=b"x", shared_secret=SECRET.encode()))


@pytest.mark.parametrize("secret", ["", " ", "\n\t"])
def test_a_blank_secret_is_no_secret_and_refuses_to_start(secret):
    with pytest.raises(ValueError, match="blank"):
        guarded(secret=secret)


@given(st.binary(max_size=80))
def test_no_other_bytes_pass_for_the_secret(presented):
    if presented.strip() == SECRET.encode():
        return
    with pytest.raises(Unauthenticated):
        guarded().authenticate(Credentials(shared_secret=presented))
