"""Which pages may send changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.web.origins import Origins
from lib.web.problems import CrossOrigin

ORIGINS = Origins("https://floom.example")


def check_at(public_url, host, origin, scheme):
    Origins(public_url).check({b"host": host, b"origin": origin}, scheme)


@pytest.mark.parametrize(
    "host", [b"pub.example", b"pub.example:80", b"PUB.example:8000", b"pub.example."]
)
def test_an_http_page_of_a_host_that_is_served_by_https_is_another_site(host):
    """Also where no proxy says how the request came: the page may be anybody's on the way."""
    with pytest.raises(CrossOrigin):
        check_at("https://pub.example", host, b"http://" + host, "http")


@pytest.mark.parametrize(
    ("public_url", "host", "origin", "scheme"),
    [
        ("https://pub.example", b"pub.example", b"https://pub.example", "http"),
        ("https://pub.example", b"pub.example", b"https://pub.example", "https"),
        ("https://pub.example", b"localhost:8000", b"http://localhost:8000", "http"),
        ("https://pub.example", b"[::1]:8000", b"http://[::1]:8000", "http"),
        ("https://pub.example:8443", b"pub.example:8443", b"https://pub.example:8443", "https"),
        ("http://pub.example", b"pub.example", b"http://pub.example", "http"),
    ],
)
def test_the_pages_of_a_public_address_may(public_url, host, origin, scheme):
    check_at(public_url, host, origin, scheme)


def check(scheme="http", host=b"localhost:8000", **headers):
    named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    ORIGINS.check({b"host": host} | named, scheme)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": b"http://localhost:8000"},
        {"origin": b"HTTP://LOCALHOST:8000"},
        {"origin": b"https://floom.example"},
        {"origin": b"https://floom.example:443"},
        {"sec_fetch_site": b"same-origin"},
        {"sec_fetch_site": b"none"},
        {"sec_fetch_site": b"same-origin", "origin": b"http://localhost:8000"},
        # A form of ours: pages without a referrer send the origin as null.
        {"sec_fetch_site": b"same-origin", "origin": b"null"},
        {"origin": b"http://localhost", "host": b"localhost:80"},
        {"origin": b"https://localhost", "host": b"localhost", "scheme": "https"},
    ],
)
def test_own_pages_and_clients_that_are_no_browsers_may(headers):
    check(**headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": b"null"},
        {"origin": b""},
        {"origin": b"http://evil.example"},
        {"origin": b"https://localhost:8000"},
        {"origin": b"http://localhost"},
        {"origin": b"http://localhost:80000"},
        {"origin": b"http://127.0.0.1:8000"},
        {"origin": b"http://floom.example"},
        {"origin": b"https://floom.example.evil.example"},
        {"origin": b"https://floom.example,https://floom.example"},
        {"origin": b"\xff"},
        {"origin": b"localhost:8000"},
        {"sec_fetch_site": b"cross-site"},
        {"sec_fetch_site": b"same-site"},
        {"sec_fetch_site": b""},
        {"sec_fetch_site": b"same-origin,cross-site"},
        {"sec_fetch_site": b"cross-site", "origin": b"http://localhost:8000"},
        {"sec_fetch_site": b"same-origin", "origin": b"http://evil.example"},
        {"sec_fetch_site": b"none", "origin": b"null"},
    ],
)
def test_other_sites_may_not(headers):
    with pytest.raises(CrossOrigin):
        check(**headers)


@given(st.binary(max_size=60))
def test_no_other_bytes_pass_for_our_origin(origin):
    known = {b"http://localhost:8000", b"https://floom.example", b"https://floom.example:443"}
    if origin.decode("latin-1").strip().lower().encode("latin-1") in known:
        return
    with pytest.raises(CrossOrigin):
        check(origin=origin)
