"""What people are told, in plain words."""

from __future__ import annotations

import re
from collections.abc import Mapping

from records import Preview, Share

# What a person is told instead of what msgspec says.
PLAIN_WORDS = {
    r"Expected `str` of length >= 1": "must not be blank",
    r"Expected `str` of length >= (\d+)": r"must have at least \1 characters",
    r"Expected `str` of length <= (\d+)": r"must have at most \1 characters",
    r"Expected `array` of length <= (\d+)": r"must have at most \1 items",
    r"Expected `int` >= (\d+)": r"must be at least \1",
    r"Expected `int` <= (\d+)": r"must be at most \1",
    r"Expected `int`, got .*": "must be a whole number",
    r"Expected `str`, got .*": "must be a text",
    r"Expected `str \| null`, got .*": "must be a text or null",
    r"Expected `bool`, got .*": "must be true or false",
    r"Expected `array`, got .*": "must be a list",
    r"Expected `object`, got .*": "must be an object",
    r"(?:Number|Integer value) out of range": "is out of range",
    r"Invalid enum value .*": "is none of the values that it may have",
    r"Object missing required field .*": "is required",
    r"Object contains unknown field .*": "is not a known member",
}
PATTERN_MEANS = {
    "email": "must be an email address",
    "title": "must be a line of text, and not blank",
    "name": "must be a line of text, and not blank",
    "label": "must be a line of text, and not blank",
    "description": "must hold no control characters",
    "caption": "must hold no control characters",
    "KEY_PREFIX": "may hold only letters, digits and _ . : / -",
    "AUTH_HEADER": "must be the name of a header",
    "COOKIE_NAME": "must be the name of a cookie",
}


def explain_invalid(text: str) -> tuple[str, str]:
    """msgspec's complaint ("… - at `$.title`") as the field to blame, "" for the whole,
    and what is wrong with it in plain words."""
    said, *rest = re.split(r" - at `\$\.?([^`]*)`", text)
    field = ".".join(part for part in reversed(rest[::2]) if part)
    if member := re.match(r"Object .* field `(.*)`", said, re.DOTALL):
        field = f"{field}.{member[1]}".lstrip(".")
    field = field[:100]  # a name may be anything, and is told back
    if said.startswith("Expected `str` matching regex"):
        means = PATTERN_MEANS.get(field.rpartition(".")[2], "has the wrong form")
        return field, means
    for pattern, meant in PLAIN_WORDS.items():
        if match := re.fullmatch(pattern, said, re.DOTALL):
            return field, match.expand(meant)
    return field, said


def summary(preview: Preview) -> str:
    """What is told of a session elsewhere, in at most 200 characters."""
    text = " ".join((preview.description or about(preview)).split())
    return text if len(text) <= 200 else f"{text[:199].rstrip()}…"


def about(preview: Preview) -> str:
    """How much there is to see: "12 items, about 2 minutes"."""
    count = preview.media_count
    if count == 0:
        return "nothing in it yet"
    seconds = count * (preview.interval_min + preview.interval_max) / 2
    items = "1 item" if count == 1 else f"{count} items"
    if seconds < 90:
        whole = max(1, int(seconds + 0.5))  # as the editor's script rounds
        return f"{items}, about {whole} {'second' if whole == 1 else 'seconds'}"
    return f"{items}, about {int(seconds / 60 + 0.5)} minutes"


def audience_name(link: Share, names: Mapping[str, str]) -> str:
    """What to call those whom a link is for, "" where it is for everyone; `names` are
    those of the accounts that stand."""
    if link.user_id is None:
        return link.label or link.email or ""
    if link.user_id not in names:
        return "A deleted account"
    return names[link.user_id] or f"Account {link.user_id[:8]}…"
