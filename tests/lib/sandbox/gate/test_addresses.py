"""Which addresses count as public, in whatever form they are written."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.sandbox.gate.addresses import canonical, is_public, parse_address

DOCUMENTATION = [
    ip_network(each)
    for each in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]
PUBLIC = ["1.1.1.1", "93.184.215.14", "172.32.0.1", "100.128.0.1", "168.63.129.17",
          "192.0.2.1", "198.51.100.1", "203.0.113.9", "2001:db8::1",  # nobody's: documentation
          "2606:4700::1", "2a00::1", "::ffff:1.1.1.1", "64:ff9b::101:101"]  # fmt: skip
NOT_PUBLIC = [
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1",
    "172.31.255.255", "192.168.1.1", "169.254.169.254", "169.254.170.2", "100.64.0.1",
    "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1",
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.88.99.1",
    "::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::7f00:1",
    "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1",
    "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:7f00:1::", "2001::1", "2001:10::1", "3fff::1",
    "100::1", "5f00::1",
]  # fmt: skip


@pytest.mark.parametrize("text", PUBLIC)
def test_public(text):
    assert is_public(ip_address(text))


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_not_public(text):
    assert not is_public(ip_address(text))


@given(st.ip_addresses(v=4))
def test_ipv4_inside_ipv6_is_no_more_public_than_by_itself(address: IPv4Address):
    number = int(address)
    forms = [
        IPv6Address(0xFFFF << 32 | number),  # mapped
        IPv6Address(number),  # compatible
        IPv6Address(int(IPv6Address("64:ff9b::")) | number),  # NAT64
        IPv6Address(int(IPv6Address("64:ff9b:1::")) | number),
        IPv6Address(0x2002 << 112 | number << 80),  # 6to4
        IPv6Address(0x20010000 << 96 | number ^ 0xFFFFFFFF),  # Teredo
        IPv6Address(0xFFFF << 48 | number),  # translated, RFC 2765
    ]
    for form in forms:
        assert is_public(address) or not is_public(form), form


@given(st.ip_addresses())
def test_the_standard_library_agrees_that_private_is_not_public(address):
    if any(address in network for network in DOCUMENTATION if network.version == address.version):
        return
    if address.is_loopback or address.is_private or address.is_link_local or address.is_multicast:
        assert not is_public(address) or canonical(address) != address


@pytest.mark.parametrize(
    "text", ["example.com", "127.1", "0x7f000001", "2130706433", "010.0.0.1", "fe80::1%1x%", ""]
)
def test_what_is_not_an_address_in_full_is_a_name(text):
    assert parse_address(text) is None


def test_mapped_ipv4_is_ipv4():
    assert parse_address("::ffff:10.0.0.1") == IPv4Address("10.0.0.1")
