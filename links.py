"""What the text of a link says, as people paste it and programs bend it; its QR code;
the links of static files."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from urllib.parse import unquote

import segno

from refusals import NotShared

SHARE_CODE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    re.IGNORECASE | re.ASCII,
)
# What sticks to a pasted link, or to the player's: a slash, punctuation, quotes, and
# then anything that began as a query.
STUCK = re.compile(r"(?:/play)?[\W_]*(?:[?&].*)?", re.DOTALL | re.IGNORECASE)


def parse_code(text: str) -> str:
    """A share code in its one spelling, the only one that keys are made from."""
    if not SHARE_CODE.fullmatch(text):
        raise NotShared
    return text.lower()


def pasted_code(text: str) -> str:
    """The share code at the beginning of what follows /shared/ in a link, as people
    paste it, and as programs encode it, also twice."""
    text = unquote(text)
    match = SHARE_CODE.match(text)
    if not match or not STUCK.fullmatch(text, match.end()):
        raise NotShared
    return match[0].lower()


def referral_in(text: str, name: str) -> str:
    """The referral code in a link's text, wherever people and mail programs have left
    it: `r=CODE.`, `r=CODE?fbclid=x`, `r="CODE"`, `&amp;r=CODE`, `r=3DCODE` (RFC 2045,
    6.7), encoded also twice, upper case; "" for none."""
    if "=" not in text and "%" not in text:
        return ""
    pattern = rf"[?&;]{name}=(?:3d)?[^a-z0-9=&;]*([a-z0-9]{{8}})(?![a-z0-9])"
    match = re.search(pattern, unquote(unquote(text)).lower())
    return match[1] if match else ""


def qr_code(url: str) -> bytes:
    """A link as a QR code, an SVG file: dark on white, as scanners want it."""
    file = io.BytesIO()
    segno.make(url, micro=False).save(file, "svg", scale=8, border=4, light="#fff")
    return file.getvalue()


def asset_url(base: str, name: str) -> str:
    """A static file's URL; it changes with the file, so it may be kept for good."""
    file = Path(__file__).parent / "static" / name
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return f"{base}/static/{name}?v={digest[:12]}"
