"""Times, days, and the ids that are made of them."""

from __future__ import annotations

import functools
import secrets
import time
from datetime import datetime

DAY = 86_400
EPOCH = 1_577_836_800  # 2020-01-01T00:00:00Z, from which session ids count
MAX_ID = 2**53 - 1  # the largest integer that JavaScript reads back exactly


def timestamp() -> str:
    """The time as every answer writes it: 2026-11-23T15:04:05Z."""
    return _timestamp(int(time.time()))


@functools.lru_cache(maxsize=4)
def _timestamp(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def next_second(moment: str) -> str:
    """The second after a timestamp."""
    return _timestamp(int(_seconds(moment)) + 1)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


@functools.lru_cache(maxsize=1024)
def _date(days: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(days * DAY))


def today(ago: int = 0) -> str:
    """The UTC day, some days ago, as 2026-11-23."""
    return _date(int(time.time() // DAY) - ago)


def days_with_visitors() -> list[str]:
    """The days of which a HyperLogLog may still live, a day of clock skew included."""
    return [today(ago) for ago in (-1, 0, 1, 2, 3)]


def new_session_id() -> int:
    """An id that grows with time, and is positive and below 2^53 whatever the clock
    says: the milliseconds since 2020 in 41 bits, and 12 random ones."""
    moment = int((time.time() - EPOCH) * 1000)
    return min(max(moment, 1), MAX_ID >> 12) << 12 | secrets.randbits(12)


def id_age(session_id: int) -> float:
    """How many seconds ago an id was made (version 1's small ones: very long ago)."""
    return time.time() - EPOCH - (session_id >> 12) / 1000


def age(moment: str) -> float:
    """How many seconds ago a timestamp was."""
    return time.time() - _seconds(moment)
