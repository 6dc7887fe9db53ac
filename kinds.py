"""What the members of answers look like, as openapi.json tells it. Nothing is checked
by these types: what is stored may be older than they are."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from msgspec import Meta

import inputs

SOURCES = ("session_share", "direct")


def _told(**schema: Any) -> Meta:
    return Meta(extra_json_schema=schema)


# What has no end is of 64 bits: clients that are made from the document take 32.
Count = Annotated[int, _told(minimum=0, format="int64")]
MediaCount = Annotated[int, _told(minimum=0, maximum=500)]
Position = Annotated[int, _told(minimum=0, maximum=499)]
Seconds = Annotated[int, _told(minimum=1, maximum=60)]
Number = Annotated[int, _told(minimum=1, format="int64")]
Opaque = Annotated[str, _told(minLength=1)]
Moment = Annotated[str, _told(format="date-time")]
Day = Annotated[str, _told(format="date")]
Email = Annotated[str, _told(format="email", maxLength=254)]
Name = Annotated[str, _told(maxLength=100)]
Title = Annotated[str, _told(minLength=1, maxLength=200)]
Description = Annotated[str, _told(maxLength=2000)]
ReferralCode = Annotated[str, _told(pattern="^[a-z0-9]{8}$")]
ShareCode = Annotated[str, _told(format="uuid")]
WebUrl = Annotated[str, _told(pattern="^https?://")]
Secret = Annotated[str, _told(pattern="^jst_")]
Transition = Annotated[str, _told(enum=[*get_args(inputs.Transition)])]
Source = Annotated[str, _told(enum=[*SOURCES])]
