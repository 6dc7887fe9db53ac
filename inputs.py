"""What requests may hold: each body as a type that checks itself, and what is wrong
with one in plain words. No Flask and no store."""

from __future__ import annotations

import functools
import unicodedata
from typing import Annotated, Any, Literal

import ada_url
from msgspec import UNSET, Meta, Struct, UnsetType
from zxcvbn.frequency_lists import FREQUENCY_LISTS

BAD_INTERVALS = "must not be above intervalMax"

# Control characters, and those that turn the direction of text around (UAX #9), would
# make a name look like another one.
_LINE = r"[^\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
_TEXT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*\Z"
# A line that says something; no look-ahead, for tools make examples of these patterns.
# What is drawn as nothing (UAX #44, Default_Ignorable_Code_Point) is blank as well.
_NOTHING = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u2060-\u2065\u206a-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0"
)
_BLANK = rf"(?:[^\S\x00-\x1f\x7f-\x9f]|[{_NOTHING}])"
_VISIBLE = rf"[^\s\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069{_NOTHING}]"
_SAID = rf"^{_BLANK}*{_VISIBLE}{_LINE}*\Z"

Email = Annotated[
    str,
    Meta(
        max_length=254,
        # https://html.spec.whatwg.org/#valid-e-mail-address, with blanks around it
        pattern=r"^\s*[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9]"
        r"(?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
        r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\s*\Z",
    ),
]
Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=_SAID)]
Title = Annotated[str, Meta(min_length=1, max_length=200, pattern=_SAID)]
Label = Annotated[str, Meta(min_length=1, max_length=60, pattern=_SAID)]
Description = Annotated[str, Meta(max_length=2000, pattern=_TEXT)]
Caption = Annotated[str, Meta(max_length=500, pattern=_TEXT)]
Seconds = Annotated[int, Meta(ge=1, le=60)]
Url = Annotated[
    str,
    Meta(
        max_length=2048,  # the pattern tells what surely is one; the parser decides
        extra_json_schema={
            "pattern": r"^https?://([a-z][a-z0-9]*\.)+[a-z]+(/[!-~]*)?$"
        },
    ),
]
Transition = Literal["fade", "slide", "zoom", "flip", "none"]
MediaType = Literal["image", "video"]
Ignored = Any  # a member that is only read: accepted, so that a copy can be given back


class FieldError(ValueError):
    """A member of a request is wrong; msgspec puts the way to it around the text."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{message} - at `$.{field}`")


def web_url(field: str, text: str) -> str:
    """An http(s) URL as the WHATWG parser (https://url.spec.whatwg.org), which browsers
    have, writes it. Raises FieldError for what it refuses."""
    try:
        url: str = ada_url.URL(text).href
    except ValueError:
        url = ""
    if not url.startswith(("http://", "https://")) or len(url) > 2048:
        raise FieldError(field, "must be an http or https URL")
    return url


class Input(Struct, rename="camel", forbid_unknown_fields=True):
    """A request's body: unknown members are refused, so that typos surface."""


class MediaInput(Input):
    """One item of a session's `media`; `captions` is the URL of a WebVTT file."""

    media_url: Url
    type: MediaType = "image"
    caption: Caption | None = None
    thumbnail: Url | None = None
    captions: Url | None = None
    id: Ignored = UNSET
    order: Ignored = UNSET

    def __post_init__(self) -> None:
        self.media_url = web_url("mediaUrl", self.media_url)
        if self.thumbnail is not None:
            self.thumbnail = web_url("thumbnail", self.thumbnail)
        if self.captions is not None:
            self.captions = web_url("captions", self.captions)


Media = Annotated[list[MediaInput], Meta(max_length=500)]
READ_ONLY = ("id", "userId", "mediaCount", "createdAt", "updatedAt")


class SessionInput(Input, kw_only=True):
    """What POST and PATCH of a session have in common."""

    thumbnail: Url | UnsetType | None = UNSET
    id: Ignored = UNSET
    user_id: Ignored = UNSET
    media_count: Ignored = UNSET
    created_at: Ignored = UNSET
    updated_at: Ignored = UNSET

    def __post_init__(self) -> None:
        if isinstance(self.thumbnail, str):
            self.thumbnail = web_url("thumbnail", self.thumbnail)


class SessionPatch(SessionInput):
    """PATCH /api/sessions/:id: only what is given changes."""

    title: Title | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    interval_min: Seconds | UnsetType = UNSET
    interval_max: Seconds | UnsetType = UNSET
    transition: Transition | UnsetType = UNSET
    is_public: bool | UnsetType = UNSET
    media: Media | UnsetType = UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.interval_min, self.interval_max
        if low is not UNSET and high is not UNSET and low > high:
            raise FieldError("intervalMin", BAD_INTERVALS)


class NewSession(SessionInput):
    """POST /api/sessions"""

    title: Title
    description: Description = ""
    interval_min: Seconds = 3
    interval_max: Seconds = 10
    transition: Transition = "fade"
    is_public: bool = False
    media: Media = []

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.interval_min > self.interval_max:
            raise FieldError("intervalMin", BAD_INTERVALS)


Password = Annotated[str, Meta(min_length=8, max_length=200)]
GivenPassword = Annotated[str, Meta(max_length=1000)]  # a wrong one is just wrong


def normalized(text: str) -> str:
    """A text in Unicode NFC, since keyboards differ in how they compose."""
    return unicodedata.normalize("NFC", text)


class Registration(Input):
    """POST /api/register"""

    email: Email
    password: Password
    name: Name | UnsetType = UNSET
    referral_code: Annotated[str, Meta(max_length=100)] | None = None

    def __post_init__(self) -> None:
        self.email, self.password = self.email.strip(), normalized(self.password)
        check_password(self.password)


class Credentials(Input):
    """POST /api/login"""

    email: Annotated[str, Meta(max_length=1000)]
    password: GivenPassword

    def __post_init__(self) -> None:
        self.email = self.email.strip()


class AccountPatch(Input):
    """PATCH /api/auth/user: only `name` may come without `currentPassword`."""

    name: Name | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    password: Password | UnsetType = UNSET
    current_password: GivenPassword | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.email is not UNSET:
            self.email = self.email.strip()
        if self.password is not UNSET:
            self.password = normalized(self.password)
            check_password(self.password)


class AccountDeletion(Input):
    """DELETE /api/auth/user"""

    current_password: GivenPassword | UnsetType = UNSET


class Logout(Input):
    """POST /api/logout"""

    everywhere: bool = False


class NewToken(Input):
    """POST /api/tokens"""

    name: Name


class ShareRequest(Input):
    """POST /api/sessions/:id/share: at most one of its members."""

    user_id: str | None = None
    email: Email | None = None
    label: Label | None = None

    def __post_init__(self) -> None:
        given = [self.user_id, self.email, self.label]
        if len(given) - given.count(None) > 1:
            raise FieldError("userId", "must come alone: a link has one audience")
        if self.email is not None:
            self.email = self.email.strip()
        if self.label is not None:
            self.label = normalized(self.label.strip())
            if len(self.label) > 60:  # some letters become two: U+095E
                raise FieldError("label", "must have at most 60 characters")


class SessionCopy(Input):
    """What GET /api/sessions/:id gives, to be given back to POST /api/sessions."""

    session: NewSession
    media: Media | UnsetType = UNSET
    shares: Ignored = UNSET

    def __post_init__(self) -> None:
        if self.media is not UNSET:
            self.session.media = self.media


class Seen(Struct):
    """POST /api/shared/:code/seen"""

    token: str = ""


def check_password(password: str) -> None:
    """Raises FieldError for a password that is too short once it is normalized, and for
    one of the commonest."""
    if len(password) < 8:
        raise FieldError("password", "must have at least 8 characters")
    if password.lower() in common_passwords():
        raise FieldError("password", "is one of the commonest: choose another one")


@functools.cache
def common_passwords() -> frozenset[str]:
    """The 3,000 commonest passwords that are long enough to be taken at all."""
    long_enough = [word for word in FREQUENCY_LISTS["passwords"] if len(word) >= 8]
    return frozenset(long_enough[:3000])


BODIES: list[Any] = [
    Registration, Credentials, AccountPatch, AccountDeletion, Logout, NewToken,
    NewSession, SessionPatch, SessionCopy, ShareRequest,
]  # fmt: skip
