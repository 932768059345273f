"""What may be dialled, and that nothing else is."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.sandbox.gate.addresses import is_public, parse_address
from lib.sandbox.gate.allow_list import AllowList
from lib.sandbox.gate.policy import BadTarget, Policy, Refused, Unresolved, parse_target
from tests.lib.sandbox.gate.internet import PUBLIC, PUBLIC_6, PUBLIC_TOO, Internet


@pytest.fixture
def internet():
    internet = Internet()
    internet.name("api.example.com", [PUBLIC])
    internet.name("a.b.example.com", [PUBLIC])
    internet.name("example.com", [PUBLIC])
    internet.name("notexample.com", [PUBLIC])
    internet.name("evil.example", ["169.254.169.254"])
    internet.name("both.example", ["10.0.0.1", PUBLIC, "127.0.0.1", PUBLIC_6])
    return internet


def pin(internet, allow, host, port=443, trusted=()):
    policy = Policy(AllowList(allow, trusted), internet)
    return [str(each) for each in asyncio.run(policy.pin(parse_target(host, port)))]


@pytest.mark.parametrize(
    ("allow", "host", "port"),
    [
        (["api.example.com"], "api.example.com", 443),
        (["api.example.com"], "API.Example.COM.", 8443),
        (["API.example.com."], "api.example.com", 80),
        (["api.example.com:443"], "api.example.com", 443),
        (["*.example.com"], "api.example.com", 443),
        (["*.example.com"], "a.b.example.com", 443),
        (["*"], "api.example.com", 22),
        (["*:443"], "api.example.com", 443),
        (["*"], PUBLIC, 443),
        ([PUBLIC], PUBLIC, 443),
        ([f"{PUBLIC}:443"], f"::ffff:{PUBLIC}", 443),
    ],
)
def test_what_is_listed_may_be_reached(internet, allow, host, port):
    assert pin(internet, allow, host, port) == [PUBLIC]


@pytest.mark.parametrize(
    ("allow", "host", "port"),
    [
        ([], "api.example.com", 443),
        (["api.example.com"], "example.com", 443),
        (["example.com"], "api.example.com", 443),
        (["*.example.com"], "example.com", 443),
        (["*.example.com"], "notexample.com", 443),
        (["*.example.com"], ".example.com", 443),
        (["api.example.com:443"], "api.example.com", 80),
        (["*:443"], "api.example.com", 80),
        (["api.example.com"], PUBLIC, 443),
        (["*.14"], PUBLIC, 443),
        (["ex*ple.com", "*ple.com", "api.example.com:99999", "", "[", "a b"], "example.com", 443),
    ],
)
def test_what_is_not_listed_is_not_even_looked_up(internet, allow, host, port):
    with pytest.raises((Refused, BadTarget)):
        pin(internet, allow, host, port)

    assert internet.looked_up == []


@pytest.mark.parametrize("allow", [["*"], ["evil.example"], ["*.example"], ["evil.example:443"]])
def test_a_listed_name_does_not_name_the_private_address_it_leads_to(internet, allow):
    with pytest.raises(Refused, match=r"169\.254\.169\.254: not public"):
        pin(internet, allow, "evil.example")


def test_the_address_itself_must_be_listed(internet):
    internet.name("db.internal", ["10.0.0.5"])

    assert pin(internet, ["db.internal", "10.0.0.5:443"], "db.internal") == ["10.0.0.5"]
    assert pin(internet, ["10.0.0.5"], "10.0.0.5") == ["10.0.0.5"]
    with pytest.raises(Refused):
        pin(internet, ["db.internal", "10.0.0.5:5432"], "db.internal")
    with pytest.raises(Refused):
        pin(internet, ["10.0.0.5"], "db.internal")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "::ffff:127.0.0.1",
                                  "10.1.2.3", "0.0.0.0", "[fd00:ec2::254]", "64:ff9b::7f00:1"])  # fmt: skip
def test_a_wildcard_names_no_private_address(internet, host):
    with pytest.raises(Refused, match="not public"):
        pin(internet, ["*"], host)


def test_localhost_names_loopback_without_a_look_up(internet):
    internet.name("localhost", [PUBLIC])

    assert pin(internet, ["localhost:443"], "LOCALHOST") == ["127.0.0.1", "::1"]
    with pytest.raises(Refused):
        pin(internet, ["localhost:80"], "localhost")
    with pytest.raises(Refused, match="not public"):
        pin(internet, ["*"], "localhost")
    assert internet.looked_up == []


@pytest.mark.parametrize("host", ["index.corp", "INDEX.corp.", "10.0.0.9", "localhost"])
def test_what_the_operator_names_is_reached_wherever_it_leads(internet, host):
    internet.name("index.corp", ["10.0.0.5", "127.0.0.1"])
    internet.own.add("10.0.0.9")
    trusted = ["index.corp:8443", "10.0.0.9:8443", "localhost:8443"]

    for allow in ([], ["*"]):
        assert pin(internet, allow, host, 8443, trusted)
        with pytest.raises(Refused):
            pin(internet, allow, host, 443, trusted)


@pytest.mark.parametrize(
    "host", ["10.0.0.5", "db.index.corp", "localhost", "127.0.0.1", "evil.example"]
)
def test_a_trusted_name_lends_its_trust_to_nothing_else(internet, host):
    internet.name("index.corp", ["10.0.0.5"])
    internet.name("db.index.corp", ["10.0.0.5"])

    with pytest.raises(Refused, match="not public"):
        pin(internet, ["*"], host, 443, ["index.corp:443"])


@pytest.mark.parametrize(
    "entry", ["!index.corp", "trusted:index.corp", "index.corp:443!", "=index.corp"]
)
def test_no_entry_of_a_manifest_is_taken_for_the_operator_s(internet, entry):
    internet.name("index.corp", ["10.0.0.5"])

    with pytest.raises(Refused):
        pin(internet, [entry, "index.corp"], "index.corp")


def test_of_several_addresses_only_the_public_ones_are_pinned(internet):
    assert pin(internet, ["*"], "both.example") == [PUBLIC, PUBLIC_6]


def test_an_address_of_this_host_is_not_public_whatever_it_looks_like(internet):
    internet.own.add(PUBLIC)

    with pytest.raises(Refused, match="not public"):
        pin(internet, ["*"], "api.example.com")
    assert pin(internet, ["*", PUBLIC], "api.example.com") == [PUBLIC]


def test_each_answer_of_a_rebinding_name_is_judged(internet):
    internet.name("rebind.example", [PUBLIC], ["127.0.0.1"], [PUBLIC_TOO])

    assert pin(internet, ["*"], "rebind.example") == [PUBLIC]
    with pytest.raises(Refused):
        pin(internet, ["*"], "rebind.example")
    assert internet.looked_up == ["rebind.example"] * 2


def test_a_name_without_an_address_is_unresolved(internet):
    internet.name("empty.example", [])

    for name in ("nowhere.example", "empty.example"):
        with pytest.raises(Unresolved, match=name):
            pin(internet, ["*"], name)


@pytest.mark.parametrize("host", ["", "a b", "a/b", "user@host", "a:b", "-a", "ä.example", "a\x00",
                                  "fe80::1%eth0", "a" * 300, ".", "..", "[::1", "x\r\ny"])  # fmt: skip
def test_what_cannot_be_a_host_is_refused(host):
    if parse_address(host.strip("[]")):
        return
    with pytest.raises(BadTarget):
        parse_target(host, 443)


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_what_cannot_be_a_port_is_refused(port):
    with pytest.raises(BadTarget):
        parse_target("example.com", port)


ADDRESSES = st.ip_addresses().map(str)
HOSTS = st.one_of(st.sampled_from(["a.example", "b.example", "localhost"]), ADDRESSES)
ENTRIES = st.one_of(
    HOSTS.map(lambda host: f"[{host}]" if ":" in host else host),
    st.sampled_from(["*", "*:443", "*.example", "a.example:80"]),
    st.text(max_size=12),
)


@given(st.lists(ENTRIES, max_size=4), HOSTS, st.lists(ADDRESSES, max_size=4))
def test_nothing_is_pinned_but_public_or_listed_addresses(allow, host, answer):
    internet = Internet()
    internet.name(host, answer)
    try:
        pinned = pin(internet, allow, host)
    except (Refused, Unresolved):
        return
    entries = {entry.strip().lower() for entry in allow}
    listed = {str(parse_address(entry.strip("[]")) or "") for entry in entries}
    if "localhost" in entries:
        listed |= {"127.0.0.1", "::1"}
    assert pinned
    for text in pinned:
        address = parse_address(text)
        assert address is not None
        assert is_public(address) or text in listed
