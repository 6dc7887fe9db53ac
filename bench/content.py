"""Seeded slideshows for the benchmark: realistic, and no two alike."""

from __future__ import annotations

import json
import random
import re
import string
from typing import Any

from bench.stage import ROOT

ALPHABET = string.ascii_letters + string.digits
WORDS = re.findall("[a-z]+", (ROOT / "LICENSE").read_text("ascii").lower())
CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 "
BROWSERS = (
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME}Safari/537.36",
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {CHROME}Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 10; K) {CHROME}Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.{v} Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{v}.0) Gecko/20100101 Firefox/{v}.0",
)


def slideshow(rng: random.Random, items: int = 20) -> dict[str, Any]:
    """One session as its owner posts it to /api/sessions."""
    low = rng.randint(2, 6)
    return {
        "title": _words(rng, 4),
        "description": _words(rng, rng.randint(8, 40)),
        "intervalMin": low,
        "intervalMax": low + rng.randint(1, 9),
        "transition": rng.choice(("fade", "slide", "zoom", "flip", "none")),
        "thumbnail": _url(rng, "cover", "jpg"),
        "media": [_medium(rng) for _ in range(items)],
    }


def compact(value: object) -> bytes:
    """Compact JSON, UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def user_agents(rng: random.Random, count: int = 40) -> list[str]:
    """User agents of real browsers, in several versions and on several systems."""
    return [rng.choice(BROWSERS).format(v=rng.randint(128, 148)) for _ in range(count)]


def _medium(rng: random.Random) -> dict[str, str]:
    video = rng.random() < 0.1
    return {
        "mediaUrl": _url(rng, "large", "mp4" if video else "jpg"),
        "type": "video" if video else "image",
        "caption": _words(rng, 8),
        "thumbnail": _url(rng, "thumb", "webp"),
    }


def _url(rng: random.Random, size: str, extension: str) -> str:
    name, host = "".join(rng.choices(ALPHABET, k=22)), rng.choice(WORDS)
    day = f"{rng.randint(2019, 2026)}/{rng.randint(1, 12):02}"
    return f"https://cdn.{host}.example/{day}/{name}/{size}.{extension}"


def _words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choices(WORDS, k=count)).capitalize()
