"""The service to try: a Redis in memory, and in it a demo account with one shared
slideshow and a month of numbers."""

from __future__ import annotations

import random
from typing import Any

from werkzeug.security import generate_password_hash

import passwords
from clock import today
from inputs import MediaInput, NewSession
from records import EVENTS, flat
from redis_url import ConfigError
from store import Store

EMAIL, PASSWORD = "demo@example.com", "demo-password"
CAPTIONS = ("Dawn", "Morning", "Noon", "Dusk", "Night")
SITES = {"chat.example": 5, "news.example": 3, "forum.example": 2, "blog.example": 1}


def memory(wait: int) -> Any:
    """A Redis in this process's memory, which production does not need. Raises
    ConfigError where replicas are to be waited for."""
    if wait:
        raise ConfigError("REDIS_WAIT needs a REDIS_URL: memory has no replicas")
    import fakeredis

    return fakeredis.FakeStrictRedis()


def populate(store: Store, pictures: list[str]) -> tuple[str, str]:
    """Make the demo account and its slideshow of these pictures; its share code, and
    the referral code of its owner."""
    hashed = generate_password_hash(PASSWORD, passwords.SCRYPT)
    owner = store.register(EMAIL, "Demo", hashed)
    media = [
        MediaInput(url, caption=caption)
        for url, caption in zip(pictures, CAPTIONS, strict=True)
    ]
    text = "A demo: pictures drawn for it, and a month of made-up numbers."
    new = NewSession(title="Five hours by the lake", description=text, media=media)
    session = store.create_session(owner.id, new)
    code = store.share(session.id, owner.id)
    count_a_month(store, session.id, code)
    return code, owner.referral_code


def count_a_month(store: Store, session_id: int, code: str) -> None:
    """Numbers as a link that goes round would have brought them, the same each time."""
    dice = random.Random(7)  # noqa: S311 - nothing is secret about it
    daily: dict[str, int] = {}
    totals = dict.fromkeys(EVENTS, 0)
    for ago in range(30):
        opens = dice.randint(2, 12) + (30 if ago in (11, 12) else 0)
        views = round(opens * dice.uniform(0.7, 0.95))
        plays = round(views * dice.uniform(0.2, 0.5))
        counted = (opens, views, max(1, views - dice.randint(0, 3)), plays, plays // 4)
        for event, count in zip(totals, counted, strict=True):
            totals[event] += count
            daily[f"{today(ago)}:{event}"] = count
    shares = sum(SITES.values()) + 4  # who came by mail or messenger names no site
    hosts = {site: totals["opens"] * part // shares for site, part in SITES.items()}
    links = {f"{code}:{event}": count for event, count in totals.items()}
    excluded = {"excluded:bot": totals["opens"] // 3, "excluded:owner": 4}
    for part, counts in {
        "daily": daily,
        "stats": totals | excluded,
        "links": links,
        "referrers": hosts,
    }.items():
        fields = flat({name: str(count) for name, count in counts.items()})
        store.execute("HSET", store.keys.session(session_id, part), *fields)


def told(public_url: str, code: str, referral_code: str) -> str:
    """What whoever starts it is told."""
    link = f"{public_url}/shared/{code}?r={referral_code}"
    return (
        "Nothing outlives this process: everything is kept in its memory.\n"
        f"A shared slideshow to look at:  {link}\n"
        f"Its owner signs in with:        {EMAIL} / {PASSWORD}"
    )
