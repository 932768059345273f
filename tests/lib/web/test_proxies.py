"""Forwarding headers count only from our own proxies."""

import pytest

from lib.web.proxies import TrustedProxies

PROXIES = TrustedProxies(["10.0.0.0/8", "fd00::/8"])


def scope(peer, scheme="http"):
    return {"client": (peer, 1) if peer else None, "scheme": scheme}


@pytest.mark.parametrize(
    ("peer", "forwarded", "scheme"),
    [
        ("10.1.2.3", b"https", "https"),
        ("10.1.2.3", b" HTTPS ", "https"),
        ("::ffff:10.1.2.3", b"https", "https"),
        ("fd00::1", b"https", "https"),
        ("10.1.2.3", b"http, https", "https"),
        ("10.1.2.3", b"https, http", "http"),
        ("10.1.2.3", b"gopher", "http"),
        ("10.1.2.3", b"", "http"),
        ("192.0.2.1", b"https", "http"),
        ("testclient", b"https", "http"),
        (None, b"https", "http"),
    ],
)
def test_the_scheme_is_that_of_the_nearest_trusted_proxy(peer, forwarded, scheme):
    assert PROXIES.scheme(scope(peer), {b"x-forwarded-proto": forwarded}) == scheme


def test_without_proxies_nobody_is_believed():
    headers = {b"x-forwarded-proto": b"https", b"x-forwarded-for": b"192.0.2.9"}

    assert TrustedProxies().scheme(scope("10.1.2.3"), headers) == "http"
    assert TrustedProxies().client(scope("10.1.2.3"), headers) == "10.1.2.3"


@pytest.mark.parametrize(
    ("peer", "chain", "client"),
    [
        ("192.0.2.1", b"198.51.100.7", "192.0.2.1"),
        ("10.0.0.1", b"198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", b"203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", b"198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", b"junk", "10.0.0.1"),
        ("10.0.0.1", b"\xff, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", b"", "10.0.0.1"),
    ],
)
def test_the_client_is_the_nearest_address_that_is_no_proxy_of_ours(peer, chain, client):
    assert PROXIES.client(scope(peer), {b"x-forwarded-for": chain}) == client


def test_a_network_that_is_none_is_refused():
    with pytest.raises(ValueError, match="nonsense"):
        TrustedProxies(["nonsense"])
