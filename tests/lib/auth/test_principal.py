"""The order of roles."""

from lib.auth.principal import Role


def test_an_admin_may_all_that_a_member_may():
    assert Role.ADMIN >= Role.MEMBER
    assert Role.ADMIN > Role.MEMBER
    assert Role.MEMBER <= Role.ADMIN
    assert Role.MEMBER < Role.ADMIN
    assert Role.MEMBER >= Role.MEMBER
    assert max(Role.MEMBER, Role.ADMIN) is Role.ADMIN


def test_roles_compare_with_their_stored_text():
    assert Role("admin") is Role.ADMIN
    assert Role.MEMBER < "admin"
