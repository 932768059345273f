"""The session cookie: what browsers may do with it."""

from lib.web.session_cookie import SessionCookie


def test_it_is_for_this_site_alone_and_for_no_script():
    assert SessionCookie(is_secure=False).keep("fse_x", 604_800) == (
        b"floom_session=fse_x; HttpOnly; SameSite=Lax; Path=/; Max-Age=604800"
    )


def test_over_tls_it_stays_on_tls_also_when_it_is_taken_away():
    cookie = SessionCookie(is_secure=True)
    assert cookie.keep("fse_x", 1).endswith(b"; Max-Age=1; Secure")
    assert cookie.clear() == (b"floom_session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0; Secure")
