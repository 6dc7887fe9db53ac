"""What the API answers, as openapi.json describes it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

import kinds
from problems import PROBLEMS
from records import (
    LINK_EVENTS,
    MediaItem,
    Preview,
    Row,
    Session,
    Share,
    SharedSession,
    Signup,
    Stats,
    Token,
    User,
)

REQUEST_ID = r"^[A-Za-z0-9._-]{1,64}$"


class LinkAnswer(Share, kw_only=True):
    """A link of a session, with its URL."""

    share_url: kinds.WebUrl


class ShareAnswer(Row):
    """A session's link for an audience."""

    share_code: kinds.ShareCode
    share_url: kinds.WebUrl
    referral_code: kinds.ReferralCode


class CurrentSession(Row):
    """A session with its media, as somebody else has changed it meanwhile."""

    session: Session
    media: list[MediaItem]


class OwnedSession(Row):
    """A session with its media and links, as its owner reads it."""

    session: Session
    media: list[MediaItem]
    shares: list[LinkAnswer]


class Playback(Row):
    """A shared session in full."""

    session: SharedSession
    media: list[MediaItem]


class MediaPage(Row):
    """Some of a session's media, and how many there are."""

    media: list[MediaItem]
    total: kinds.Count


class NewTokenAnswer(Token):
    """A token with its secret, which is told this once."""

    token: kinds.Secret


class ReferralCounts(Row):
    """Clicks, and sign-ups that came of them."""

    clicks: kinds.Count
    signups: kinds.Count


class BySource(Struct):
    """Counts by where a visitor came in."""

    session_share: ReferralCounts
    direct: ReferralCounts


class ReferralReport(Row):
    """Whom a user's links brought; `history` is newest first."""

    referral_code: kinds.ReferralCode
    referral_url: kinds.WebUrl
    totals: ReferralCounts
    by_source: BySource
    history: list[Signup]


class ErrorDetail(Row):
    """A member that is to blame, and why."""

    field: str
    message: str


class Error(Row):
    """Every error; `retryAfter` is in whole seconds."""

    error: str
    message: str
    code: Annotated[str, Meta(extra_json_schema={"enum": sorted(PROBLEMS)})]
    request_id: Annotated[str, Meta(pattern=REQUEST_ID)]
    details: list[ErrorDetail] | UnsetType = UNSET
    retry_after: kinds.Count | UnsetType = UNSET
    current: CurrentSession | UnsetType = UNSET


ANSWERS: list[Any] = [
    LinkAnswer, ShareAnswer, OwnedSession, Playback, MediaPage, NewTokenAnswer, Token,
    ReferralReport, Error, Stats, Preview, User,
]  # fmt: skip


def plain(record: Struct) -> dict[str, Any]:
    """A record's members by their names in JSON."""
    members: dict[str, Any] = msgspec.to_builtins(record)
    return members


LINK_COLUMNS = ("shareCode", "label", "email", "userId", "createdAt", *LINK_EVENTS)


def csv_row(record: Struct) -> dict[str, Any]:
    """A record for a spreadsheet, which must not take a text for a formula (OWASP, CSV
    injection)."""
    return {
        name: f"'{value}" if isinstance(value, str) and value[:1] in "=+-@" else value
        for name, value in plain(record).items()
    }
