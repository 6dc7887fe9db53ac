"""The headers of every answer; OWASP's HTTP Headers Cheat Sheet is their source."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

JSON = "application/json"
HTML = "text/html; charset=utf-8"
NOSNIFF = ("X-Content-Type-Options", "nosniff")
NO_STORE = ("Cache-Control", "no-store")
HSTS = ("Strict-Transport-Security", "max-age=31536000")
NO_INDEX = ("X-Robots-Tag", "noindex")
SHARED = ("/shared/", "/api/shared/")
# What is shared is not for search engines, nor are the pages that name it to newcomers.
UNINDEXED = (*SHARED, "/oembed", "/login", "/register")
ANY_SITE = ("Access-Control-Allow-Origin", "*")  # no cookies: no secrets
FOR_ANY_SITE = re.compile(r"/oembed|/api/shared/.*/preview", re.DOTALL)
# What a browser shows needs more than what a program reads.
PAGE_HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' http: https: data:; media-src http: https:; "
        "connect-src 'self'; manifest-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'",
    ),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)


def common_headers(environ: Mapping[str, Any], is_json: bool) -> list[tuple[str, str]]:
    """The headers that every answer has."""
    headers = [("X-Request-ID", environ["joip_share.id"]), NOSNIFF]
    path = f"/{environ['PATH_INFO'].lstrip('/')}"  # as Werkzeug routes it
    if path.startswith(UNINDEXED):
        headers.append(NO_INDEX)
    if FOR_ANY_SITE.fullmatch(path):
        headers.append(ANY_SITE)
    if not is_json:
        headers += PAGE_HEADERS
    if environ["joip_share.secure"]:
        headers.append(HSTS)
    return headers
