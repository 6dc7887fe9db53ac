"""Networks instead of spellings: which address counts, and what it is told apart by."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import visits
from visits import client_address, network, visitor_network

PEER = "10.0.0.1"
MANY = settings(max_examples=300, derandomize=True, deadline=None)

IPV4 = st.ip_addresses(v=4)
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
IPV6 = st.ip_addresses(v=6).filter(
    lambda address: address.ipv4_mapped is None and address not in NAT64
)
PORTS = st.integers(0, 65535)


def ipv4_spellings(address, port=443):
    """One IPv4 address as proxies, servers and translators write it."""
    mapped, translated = f"::ffff:{address}", f"64:ff9b::{address}"
    as_hex = str(ipaddress.IPv6Address(int(NAT64.network_address) + int(address)))
    return [
        f"{address}", f" {address}\t", f"{address}:{port}", f"[{address}]:{port}",
        mapped, mapped.upper(), f"[{mapped}]", f"[{mapped}]:{port}", f"{mapped}%eth0",
        translated, as_hex, f"[{translated}]:{port}",
    ]  # fmt: skip


def ipv6_spellings(address, port=443):
    """One IPv6 address as proxies and servers write it."""
    return [
        f"{address}", address.exploded, address.exploded.upper(), f" {address} ",
        f"[{address}]", f"[{address}]:{port}", f"{address}%eth0",
        f"[{address}%25eth0]:{port}", f"[{address.exploded}]",
    ]  # fmt: skip


@MANY
@given(IPV4, PORTS)
def test_an_ipv4_address_is_one_network_however_it_is_written(address, port):
    spellings = ipv4_spellings(address, port)
    assert {network(text) for text in spellings} == {str(address)}
    wide = str(ipaddress.ip_network((address, 24), strict=False))
    assert {visitor_network(text) for text in spellings} == {wide}


@MANY
@given(IPV6, PORTS)
def test_an_ipv6_address_is_its_64_and_for_visitors_its_48(address, port):
    spellings = ipv6_spellings(address, port)
    narrow, wide = (
        str(ipaddress.ip_network((address, bits), strict=False)) for bits in (64, 48)
    )
    assert {network(text) for text in spellings} == {narrow}
    assert {visitor_network(text) for text in spellings} == {wide}


@pytest.mark.parametrize(
    ("first", "second", "limits", "visitors"),
    [
        ("203.0.113.7", "203.0.113.8", False, True),
        ("203.0.113.255", "203.0.114.0", False, False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::", True, True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False, True),
        ("2001:db8:1::1", "2001:db8:2::1", False, False),
        ("64:ff9b::203.0.113.7", "64:ff9b::198.51.100.7", False, False),
        ("64:ff9b::203.0.113.7", "203.0.113.7:4711", True, True),
        ("203.0.113.7", "2001:db8::1", False, False),
        ("fe80::1%eth0", "fe80::2%eth1", True, True),
    ],
)
def test_two_addresses_share_a_network_or_not(first, second, limits, visitors):
    assert (network(first) == network(second)) is limits
    assert (visitor_network(first) == visitor_network(second)) is visitors


UNREADABLE = [
    "", "unknown", "_hidden", "localhost", "unix:/run/joip.sock", "203.0.113.7:",
    "203.0.113.7:x", "203.0.113", "203.0.113.256", "0203.0.113.7", "[2001:db8::1",
    "2001:db8::1]", "[2001:db8::1]443", "[]", "2001:db8:::1", "12", "1:2", "::g",
    '"203.0.113.7"', "203.0.113.7 203.0.113.8", "٣.٣.٣.٣", "<script>",
]  # fmt: skip


@pytest.mark.parametrize("cut", [network, visitor_network])
def test_what_is_no_address_is_itself_and_nobody_else(cut):
    assert [cut(text) for text in UNREADABLE] == UNREADABLE


@MANY
@given(st.text(max_size=100))
def test_any_text_has_a_network_of_bounded_length(text):
    for cut in (network, visitor_network):
        assert len(cut(text)) <= visits.ADDRESS_LENGTH
        assert cut(cut(text)) == cut(text)


# The n-th from the right.


def asks(forwarded, proxies, peer=PEER):
    """The client's address, by the header and the peer."""
    environ = {"REMOTE_ADDR": peer}
    if forwarded is not None:
        environ["HTTP_X_FORWARDED_FOR"] = forwarded
    return client_address(environ, proxies)


CLIENT, NEAR, FAR = "203.0.113.9", "10.0.0.2", "10.0.0.3"


@pytest.mark.parametrize(
    ("forwarded", "proxies", "address"),
    [
        (None, 0, PEER),
        (CLIENT, 0, PEER),
        (None, 1, PEER),
        ("", 1, PEER),
        (CLIENT, 1, CLIENT),
        (f"{CLIENT}:4711", 1, CLIENT),
        ("[2001:db8::9]:443", 1, "2001:db8::9"),
        ("2001:0DB8::0009", 1, "2001:db8::9"),
        (f"::ffff:{CLIENT}", 1, CLIENT),
        (f"64:ff9b::{CLIENT}", 1, CLIENT),
        (f"9.9.9.9,{CLIENT}", 1, CLIENT),
        (f"9.9.9.9, {CLIENT} ,\t{NEAR}", 2, CLIENT),
        (f"9.9.9.9, 8.8.8.8, {CLIENT}, {NEAR}, {FAR}", 3, CLIENT),
        (f'"1, {CLIENT}', 1, CLIENT),
        (f'"1, {CLIENT}, {NEAR}', 2, CLIENT),
        # Fewer entries than proxies: one of them was passed by.
        (CLIENT, 2, PEER),
        (f"{CLIENT}, {NEAR}", 3, PEER),
        # Not what a trusted proxy writes.
        (f"{CLIENT}, unknown", 1, PEER),
        (f"{CLIENT}, ", 1, PEER),
        ("nonsense", 1, PEER),
        ("' OR 1=1", 1, PEER),
        (f"{CLIENT} {CLIENT}", 1, PEER),
    ],
)
def test_the_entry_of_the_outermost_trusted_proxy_counts_else_the_peer(
    forwarded, proxies, address
):
    assert asks(forwarded, proxies) == address


@MANY
@given(st.text(max_size=200) | st.text('",; []=\\1.', max_size=200))
def test_nothing_that_a_client_sends_changes_who_it_is(made_up):
    for proxies, entries in ((1, [CLIENT]), (2, [CLIENT, NEAR]), (0, [CLIENT])):
        forwarded = ", ".join([made_up, *entries])
        assert asks(forwarded, proxies) == (CLIENT if proxies else PEER)


@MANY
@given(st.text(max_size=200), st.integers(0, 3))
def test_whatever_arrives_somebody_asks(forwarded, proxies):
    told = asks(forwarded, proxies)
    assert told == PEER or str(ipaddress.ip_address(told)) == told


def test_peers_without_an_address_are_told_apart_and_a_unix_socket_is_one():
    names = ["", "unix:", "localhost", "x" * 100]
    told = [asks(None, 0, name) for name in names]
    assert told == ["", "unix:", "localhost", "x" * visits.ADDRESS_LENGTH]
    assert client_address({}, 0) == client_address({}, 1) == ""
    assert asks(CLIENT, 1, "") == CLIENT


@pytest.mark.parametrize("peer", ["[2001:DB8::1]:50123", "2001:db8::1"])
def test_the_peers_own_address_has_one_spelling_as_well(peer):
    assert asks(None, 0, peer) == "2001:db8::1"
