"""Seeded slideshows for the benchmark: realistic, and no two alike."""

from __future__ import annotations

import json
import random
import string
from typing import Any

ALPHABET = string.ascii_letters + string.digits
HOSTS = (
    "images.fotohaus.example", "cdn.wanderlust.example", "media.alpenblick.example",
    "static.kite-and-sail.example", "pics.harbourlight.example",
    "i.bilderbogen.example",
    "photos.northshore.example", "assets.meadowlark.example", "img.cobblestone.example",
    "storage.lanternfest.example", "files.saltandpine.example", "eu.galerie.example",
)  # fmt: skip
SUBJECTS = (
    "the old harbour", "a stone bridge", "our first camp", "two fishing boats",
    "the night market", "a baker's window", "the lighthouse", "grandmother's garden",
    "a field of barley", "the cable car", "children on the pier", "an empty platform",
    "the cathedral steps", "a heron", "the ridge path", "wet cobbles", "the ferry",
    "a red umbrella", "the vineyard", "three cyclists", "an open-air cinema", "a fox",
    "the glass roof", "morning fog", "the last snow", "a street musician", "the canal",
    "a broken fence", "the orchard", "salt pans", "the tunnel mouth", "a paper kite",
)  # fmt: skip
SCENES = (
    "at first light", "after the rain", "from the tower", "in late autumn",
    "by moonlight",
    "seen from the train", "on the way home", "just before the storm", "at low tide",
    "with everyone asleep", "in the noon heat", "under a violet sky",
    "from the north side",
    "while we waited", "an hour later", "through the window", "on the longest day",
)  # fmt: skip
REMARKS = (
    "nobody else was there", "Anna took this one", "we came back twice", "my favourite",
    "the light lasted a minute", "too cold to stay", "worth the climb", "shot on film",
    "you can hear the bells", "look at the left corner", "the dog found it first",
    "still no idea who she is", "before they rebuilt it", "lunch was excellent",
)  # fmt: skip
SYLLABLES = ("val", "mor", "ber", "stad", "lin", "gar", "no", "ster", "ka", "rin",
             "ost",
             "hei", "dal", "mar", "tor", "bru", "vel", "sund", "ach", "wy")  # fmt: skip


def slideshow(rng: random.Random, items: int = 20) -> dict[str, Any]:
    """One session as its owner posts it to /api/sessions."""
    hosts = rng.sample(HOSTS, 2)
    low = rng.randint(2, 6)
    return {
        "title": f"{_place(rng)}, {rng.choice(SCENES)}",
        "description": " ".join(_sentence(rng) for _ in range(rng.randint(1, 4))),
        "intervalMin": low,
        "intervalMax": low + rng.randint(1, 9),
        "transition": rng.choice(("fade", "slide", "zoom", "flip", "none")),
        "thumbnail": _url(rng, hosts[0], "cover", "jpg"),
        "media": [_medium(rng, rng.choice(hosts)) for _ in range(items)],
    }


def compact(value: object) -> bytes:
    """Compact JSON, UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def user_agents(rng: random.Random, count: int = 40) -> list[str]:
    """User agents of real browsers, in several versions and on several systems."""
    return [_user_agent(rng) for _ in range(count)]


def _medium(rng: random.Random, host: str) -> dict[str, str]:
    video = rng.random() < 0.1
    return {
        "mediaUrl": _url(rng, host, "large", "mp4" if video else "jpg"),
        "type": "video" if video else "image",
        "caption": _sentence(rng),
        "thumbnail": _url(rng, host, "thumb", "webp"),
    }


def _url(rng: random.Random, host: str, size: str, extension: str) -> str:
    name = "".join(rng.choices(ALPHABET, k=22))
    day = f"{rng.randint(2019, 2026)}/{rng.randint(1, 12):02}"
    return f"https://{host}/{day}/{name}/{size}-{rng.randint(1000, 9999)}.{extension}"


def _sentence(rng: random.Random) -> str:
    subject = rng.choice(SUBJECTS)
    text = f"{subject[0].upper()}{subject[1:]} near {_place(rng)}, {rng.choice(SCENES)}"
    return f"{text}: {rng.choice(REMARKS)}." if rng.random() < 0.5 else f"{text}."


def _place(rng: random.Random) -> str:
    return "".join(rng.choices(SYLLABLES, k=rng.randint(2, 3))).capitalize()


def _user_agent(rng: random.Random) -> str:
    system, engine = rng.choice((
        ("Windows NT 10.0; Win64; x64", "chrome"),
        ("Macintosh; Intel Mac OS X 10_15_7", "chrome"),
        ("Linux; Android 10; K", "mobile"),
        ("iPhone; CPU iPhone OS 18_5 like Mac OS X", "safari"),
        ("Windows NT 10.0; Win64; x64; rv:{v}.0", "firefox"),
    ))  # fmt: skip
    version = rng.randint(128, 148)
    rest = {
        "chrome": "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 "
        "Safari/537.36",
        "mobile": "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 Mobile "
        "Safari/537.36",
        "safari": "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 "
        "Safari/604.1",
        "firefox": "Gecko/20100101 Firefox/{v}.0",
    }[engine]
    return f"Mozilla/5.0 ({system}) {rest}".format(v=version)
