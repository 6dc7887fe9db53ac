"""What Redis replies, as records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from clock import today
from records import (
    DEFAULTS,
    EVENTS,
    EXCLUSIONS,
    LINK_EVENTS,
    Daily,
    Excluded,
    Referrer,
    Session,
    Share,
    Stats,
    Summary,
    Totals,
    pairs,
)

GENERAL = "*"  # the audience of a link that is for everyone
BY_EMAIL, BY_LABEL = "mail:", "label:"  # what other audiences begin with


def as_session(session_id: int, fields: dict[str, str]) -> Session:
    """A session's fields as a record."""
    row = {**DEFAULTS, **fields, "id": session_id}
    row["thumbnail"] = row["thumbnail"] or None
    return msgspec.convert(row, Session, strict=False)


def as_summary(session_id: int, reply: Any) -> Summary | None:
    """What summary.lua replies; None where the session is gone."""
    fields, links, (opens, signups), general = reply
    if not fields:
        return None
    session = as_session(session_id, pairs(fields))
    code = general.decode() if general else None
    return Summary(session, bool(links), int(opens or 0), int(signups or 0), code)


def as_slideshow(row: Iterable[bytes | None]) -> tuple[Any, ...]:
    """A Slideshow's members from what Redis holds, where absent means empty."""
    title, text, image, media, low, high, transition, made = [v or b"" for v in row]
    return (
        title.decode(),
        text.decode(),
        image.decode() or None,
        int(media),
        int(low),
        int(high),
        transition.decode(),
        made.decode(),
    )


def as_shares(
    codes: dict[str, str], links: dict[str, str], created: str
) -> list[Share]:
    """A session's links, the general one first, then by age. What version 1 made knows
    no time and no counts of its own: then it is as old as its session."""
    shares = [
        Share(
            *(int(links.get(f"{code}:{event}", 0)) for event in LINK_EVENTS),
            share_code=code,
            user_id=audience if _is_account(audience) else None,
            email=links.get(f"{code}:email"),
            label=audience.removeprefix(BY_LABEL)
            if audience.startswith(BY_LABEL)
            else None,
            created_at=links.get(f"{code}:since", created),
        )
        for code, audience in codes.items()
    ]
    return sorted(shares, key=lambda s: (codes[s.share_code] != GENERAL, s.created_at))


def _is_account(audience: str) -> bool:
    return audience != GENERAL and not audience.startswith((BY_EMAIL, BY_LABEL))


def as_stats(
    days: int,
    totals: dict[str, int],
    daily: dict[str, int],
    hosts: dict[str, int],
    links: list[Share],
) -> Stats:
    """A session's numbers, from its counters."""
    largest = sorted(hosts.items(), key=lambda item: (-item[1], item[0]))[:20]
    return Stats(
        totals=Totals(*(totals.get(event, 0) for event in EVENTS)),
        excluded=Excluded(*(totals.get(f"excluded:{r}", 0) for r in EXCLUSIONS)),
        daily=[
            Daily(*(daily.get(f"{day}:{event}", 0) for event in EVENTS), date=day)
            for day in map(today, reversed(range(days)))
        ],
        referrers=[Referrer(host, opens) for host, opens in largest],
        links=links,
    )


def as_counts(reply: Any) -> dict[str, int]:
    """A hash of counters."""
    return {field: int(value) for field, value in pairs(reply).items()}
