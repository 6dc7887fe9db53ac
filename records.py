"""What is stored and what is answered, and how one becomes the other."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

import kinds
from inputs import READ_ONLY, MediaInput, MediaType

MAX_MEDIA_BYTES = 4 << 20  # what stored media may inflate to
UNCOUNTED = "uncounted"  # why a visit is not even looked at by the counters
to_json = msgspec.json.encode


class Row(Struct, rename="camel"):
    """What is stored or answered."""


class User(Row):
    """An account as its owner sees it."""

    id: kinds.Opaque
    email: kinds.Email
    name: kinds.Name
    referral_code: kinds.ReferralCode
    created_at: kinds.Moment


class Account(User, omit_defaults=True):
    """An account as it is stored; `last_login` is Unix time."""

    password: str
    last_login: int | None = None
    pending_email: str = ""
    deleting: bool = False


class Slideshow(Row):
    """What everyone who sees a session sees of it."""

    title: kinds.Title
    description: kinds.Description
    thumbnail: kinds.WebUrl | None
    media_count: kinds.MediaCount
    interval_min: kinds.Seconds
    interval_max: kinds.Seconds
    transition: kinds.Transition
    created_at: kinds.Moment


class Preview(Slideshow, kw_only=True, frozen=True):  # type: ignore[misc]
    """What anyone with the link may know: no media URL, no id, no email."""

    owner_name: kinds.Name
    share_code: kinds.ShareCode


class Session(Slideshow, kw_only=True):
    """A session without its media, as its owner sees it."""

    id: kinds.Number
    user_id: kinds.Opaque
    is_public: bool
    updated_at: kinds.Moment


class SharedSession(Slideshow, kw_only=True):
    """A session as a recipient plays it: its owner by name, not by id."""

    owner_name: kinds.Name
    id: kinds.Number
    is_public: bool
    updated_at: kinds.Moment


class MediaItem(Row):
    """One item of a session; `id` and `order` are its position, from 1 and from 0."""

    id: kinds.Number
    media_url: kinds.WebUrl
    type: MediaType
    caption: str | None
    thumbnail: kinds.WebUrl | None
    order: kinds.Position
    captions: kinds.WebUrl | UnsetType = UNSET


class LinkCounts(Row):
    """What came by one link; `visitors` is the sum of the days."""

    opens: kinds.Count
    visitors: kinds.Count
    plays: kinds.Count
    signups: kinds.Count


class Share(LinkCounts, kw_only=True):
    """A link of a session; all of `user_id`, `email`, `label` are None for the general
    one."""

    share_code: kinds.ShareCode
    user_id: kinds.Opaque | None
    email: kinds.Email | None
    label: str | None
    created_at: kinds.Moment


class Summary(Row):
    """A session in its owner's list; `code` is that of the general link."""

    session: Session
    shared: bool
    opens: int
    signups: int
    code: str | None


class Played(Row):
    """A slideshow that somebody played; `played_at` is Unix time."""

    share_code: str
    title: str
    thumbnail: str | None
    media_count: int
    owner_name: str
    played_at: int


class Visit(Struct, frozen=True):
    """One look at a shared session: by whom, and whether it is to be counted."""

    viewer: str = ""  # the signed-in user's id
    reason: str = UNCOUNTED  # "" to count it, else why it is left out
    visitor: bytes = b""  # what HyperLogLog gets to see of the person
    host: str = ""  # the referring host
    owner_sees_paused: bool = False


class Opened(Row):
    """A preview and how it was seen: `reason` is "" where an open was counted and
    "owner" whenever it was the owner; `personal` that the link is for one person."""

    preview: Preview
    reason: str
    public: bool
    personal: bool
    owner: str
    owner_code: str
    session_id: int


class Signup(Row):
    """One credited sign-up."""

    created_at: kinds.Moment
    source: kinds.Source
    session_id: kinds.Number | None


class Referrals(Row):
    """A user's referral counters by "clicks:direct" and the like, and a page of
    history; `cursor` is where the next page begins."""

    counts: dict[str, int]
    history: list[Signup]
    cursor: int | None


class Totals(Row):
    """A session's counters."""

    opens: kinds.Count
    views: kinds.Count
    visitors: kinds.Count
    plays: kinds.Count
    signups: kinds.Count


class Excluded(Row):
    """Fetches that are no opens, by reason."""

    head: kinds.Count
    bot: kinds.Count
    prefetch: kinds.Count
    owner: kinds.Count


class Daily(Totals, kw_only=True):
    """The counters of one UTC day."""

    date: kinds.Day


class Referrer(Row):
    """A site that sent visitors."""

    host: kinds.Opaque
    opens: kinds.Count


class Stats(Row):
    """A session's numbers; `daily` is oldest first and has no gaps."""

    totals: Totals
    excluded: Excluded
    daily: list[Daily]
    referrers: list[Referrer]
    links: list[Share]


class Token(Row):
    """A token without its secret."""

    id: kinds.Opaque
    name: kinds.Name
    created_at: kinds.Moment


class StoredToken(Token):
    """A token as its account keeps it: by the hash of its secret."""

    digest: str


EVENTS = Totals.__struct_encode_fields__
EXCLUSIONS = Excluded.__struct_encode_fields__
LINK_EVENTS = LinkCounts.__struct_encode_fields__
DEFAULTS = {"description": "", "thumbnail": None, "isPublic": False}

decode_signup = msgspec.json.Decoder(Signup).decode
decode_stored_token = msgspec.json.Decoder(StoredToken).decode


def pack_media(media: Sequence[MediaInput]) -> bytes:
    """Media as stored: the JSON that is answered, deflated. Level 1: higher ones save a
    tenth of the bytes and cost up to 270 times the CPU on hostile text."""
    rows = [
        MediaItem(
            order + 1,
            m.media_url,
            m.type,
            m.caption,
            m.thumbnail,
            order,
            m.captions or UNSET,
        )
        for order, m in enumerate(media)
    ]
    return zlib.compress(to_json(rows), 1)


def unpack_media(blob: bytes) -> Raw:
    """The stored media as JSON, ready to be part of an answer. Raises zlib.error for
    what is no media or inflates to more than MAX_MEDIA_BYTES."""
    inflater = zlib.decompressobj()
    media = inflater.decompress(blob, MAX_MEDIA_BYTES)
    if not inflater.eof:
        raise zlib.error("too large, or cut short")
    return Raw(media)


def media_items(media: Raw) -> list[Raw]:
    """Each item of some media, still as JSON."""
    return msgspec.json.decode(media, type=list[Raw])


def first_picture(media: Iterable[MediaInput]) -> str:
    """The cover where none is chosen: the first image, "" where there is none."""
    return next((item.media_url for item in media if item.type == "image"), "")


def to_fields(given: Struct, **more: Any) -> dict[str, str]:
    """A record's given members as the fields of a Redis hash, but what is only read,
    and its media."""
    members = msgspec.to_builtins(given)
    for name in (*READ_ONLY, "media"):
        members.pop(name, None)
    return {
        k: "" if v is None else str(int(v) if isinstance(v, bool) else v)
        for k, v in (members | more).items()
    }


def flat(fields: Mapping[str, str]) -> list[str]:
    """Field, value, field, value…, as HSET takes them."""
    return [x for pair in fields.items() for x in pair]


def pairs(reply: Any) -> dict[str, str]:
    """HGETALL's reply, a flat list from scripts and a dict from RedisCluster."""
    if not isinstance(reply, dict):
        reply = dict(zip(reply[::2], reply[1::2], strict=True))
    return {k.decode(): v.decode() for k, v in reply.items()}
