"""Who is asking: a person or a machine, from which network, sent by which host."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import machines

Environ = Mapping[str, Any]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

AGENT_LENGTH = 512  # characters of a user agent that are looked at
ADDRESS_LENGTH = 64  # characters of an address, and what is kept of one that is none
REFERER_LENGTH = 2048  # characters of `Referer` that are looked at

# IPv6 in brackets or bare, with a zone; IPv4 with a port.
ADDRESS = re.compile(
    r"\[(?P<bracketed>[\dA-Fa-f:.]+)(?:%[^\]]*)?\](?::\d{1,5})?"
    r"|(?P<bare>[\d.]+(?=:\d{1,5}\Z)|[\dA-Fa-f:.]+)(?:%.*|:\d{1,5})?",
    re.ASCII,
)
# RFC 6052: IPv4 clients of a service that is reached over IPv6 only.
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

# What browsers send with a page that nobody may ever see: Chromium and Firefox
# `Sec-Purpose: prefetch` and `prefetch;prerender`, older ones `Purpose: prefetch` and
# `X-Moz: prefetch`, Safari `X-Purpose: preview` and `Purpose: preview`.
PURPOSE_HEADERS = (
    "HTTP_SEC_PURPOSE", "HTTP_PURPOSE", "HTTP_X_PURPOSE", "HTTP_X_MOZ"
)  # fmt: skip
AHEAD_OF_TIME = re.compile(r"\b(?:prefetch|prerender|preview|instant)\b", re.IGNORECASE)


# ------------------------------------------------------------------ People, machines


def is_machine(user_agent: str) -> bool:
    """Whether a crawler, unfurler or program asks; nobody at all is one too."""
    return _is_machine(user_agent[:AGENT_LENGTH].strip())


@functools.lru_cache(maxsize=4096)
def _is_machine(user_agent: str) -> bool:
    return not user_agent or machines.names_a_machine(user_agent)


def exclusion(environ: Environ) -> str:
    """Why a request is not a person's: head, bot, prefetch, or "" when it is."""
    if environ["REQUEST_METHOD"] == "HEAD":
        return "head"
    if is_machine(environ.get("HTTP_USER_AGENT", "")):
        return "bot"
    purposes = [environ[header] for header in PURPOSE_HEADERS if header in environ]
    return "prefetch" if any(map(AHEAD_OF_TIME.search, purposes)) else ""


def is_navigation(environ: Environ) -> bool:
    """Whether a page or an API is asked for, not an image, a frame or a script."""
    return environ.get("HTTP_SEC_FETCH_DEST", "") in ("", "document", "empty")


# -------------------------------------------------------------------------- Networks

# As WSGI has them, and as they are called.
FORWARDED = {
    f"HTTP_X_FORWARDED_{name.upper()}": f"X-Forwarded-{name}"
    for name in ("For", "Proto", "Host", "Port", "Prefix")
}


def proxy_warning(environ: Environ, trusted_proxies: int) -> str:
    """What is wrong where the number of trusted proxies and what arrives do not go
    together, else ""."""
    came = [name for key, name in FORWARDED.items() if key in environ]
    if came and not trusted_proxies:
        return (
            f"{' and '.join(came)} came and TRUSTED_PROXIES is 0: that is ignored, and "
            "all who come through the proxy share one limit"
        )
    if trusted_proxies and "X-Forwarded-For" not in came:
        return (
            f"TRUSTED_PROXIES is {trusted_proxies} and no X-Forwarded-For came: the "
            "proxy does not send it, or the server strips it (waitress-serve does, "
            "serve.py does not)"
        )
    return ""


def client_address(environ: Environ, trusted_proxies: int) -> str:
    """The client's address as the outermost trusted proxy gives it, else the peer's.

    Every proxy appends the address that it saw, after a comma. So the n-th entry from
    the right is the word of the n-th proxy, and what stands further left, whatever its
    quotes, is the client's own. Too few entries, or one that is no address, are not
    what trusted proxies write: then the peer counts, whom nobody can choose. A peer
    that has no address (a unix socket) is known by what the server calls it.
    """
    entries = environ.get("HTTP_X_FORWARDED_FOR", "").rsplit(",", trusted_proxies)
    if 0 < trusted_proxies <= len(entries):
        address = _parsed(entries[-trusted_proxies])
        if address:
            return str(address)
    return _canonical(environ.get("REMOTE_ADDR", ""))


def network(address: str) -> str:
    """What limits go by: an IPv4 address, or the /64 of an IPv6 one."""
    return _network(address, 32, 64)


def visitor_network(address: str) -> str:
    """What visitors are told apart by: IPv4 /24, IPv6 /48."""
    return _network(address, 24, 48)


@functools.lru_cache(maxsize=4096)
def _network(address: str, ipv4_bits: int, ipv6_bits: int) -> str:
    parsed = _parsed(address)
    if not parsed:
        return _canonical(address)
    bits = ipv4_bits if parsed.version == 4 else ipv6_bits
    if bits == parsed.max_prefixlen:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, bits), strict=False))


@functools.lru_cache(maxsize=4096)
def _canonical(address: str) -> str:
    """One spelling of an address. What is none stays as it is, apart from others."""
    return str(_parsed(address) or address[:ADDRESS_LENGTH])


@functools.lru_cache(maxsize=4096)
def _parsed(text: str) -> Address | None:
    """The address in "192.0.2.1:567", "[2001:db8::1]:443", "fe80::1%eth0"; or None."""
    match = ADDRESS.fullmatch(text[:ADDRESS_LENGTH].strip())
    if not match:
        return None
    try:
        return _as_ipv4(ipaddress.ip_address(match["bracketed"] or match["bare"]))
    except ValueError:
        return None


def _as_ipv4(address: Address) -> Address:
    """The IPv4 address within an IPv4-mapped or NAT64 one; every other as it is.

    6to4 stays IPv6: its relays are gone (RFC 7526), and who still has such an address
    holds no more networks than the owner of any other /48.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address in NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        return address.ipv4_mapped or address
    return address


# ------------------------------------------------------------------------- Referrers


def referring_host(referer: str, own: str) -> str:
    """The host of `Referer`, lower case; "" for none, for our own, for nonsense."""
    try:
        parts = urlsplit(referer[:REFERER_LENGTH])
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https", "android-app") or host == own:
        return ""
    return host if re.fullmatch(r"[\w.:-]{1,253}", host, re.ASCII) else ""
