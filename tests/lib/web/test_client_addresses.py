"""Clients' addresses: one spelling each, and as what they are counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.web.client_addresses import canonical, counted_as


@pytest.mark.parametrize(
    ("address", "written", "counted"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("::FFFF:c000:207", "192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::1", "2001:db8::/64"),
        ("2001:DB8:0:0:ffff::1", "2001:db8::ffff:0:0:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%any text", "fe80::1", "fe80::/64"),
        ("::1", "::1", "::/64"),
        ("", "", ""),
        ("no address", "no address", "no address"),
    ],
)
def test_an_address_has_one_spelling(address, written, counted):
    assert canonical(address) == written
    assert counted_as(address) == counted


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_all_addresses_of_a_network_are_counted_together(address, host):
    other = (int(address) >> 64 << 64) | host
    if address.ipv4_mapped is None and other >> 32 != 0xFFFF:
        assert counted_as(str(address)) == counted_as(str(type(address)(other)))


@given(st.text(max_size=60))
def test_any_text_is_taken(text):
    assert len(counted_as(text)) <= max(60, len("ffff:ffff:ffff:ffff::/64"))
    assert canonical(canonical(text)) == canonical(text)
