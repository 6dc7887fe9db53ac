"""Every shape of a Redis key, in one place; `docs/design.md` lists them with what they
hold."""

from __future__ import annotations

import functools

PLACES_KNOWN = 50_000  # sessions whose keys the process remembers: some 30 MB

SESSION_PARTS = (
    "",
    "media",
    "shares",
    "codes",
    "links",
    "stats",
    "daily",
    "referrers",
    "players",
)
USER_PARTS = ("sessions", "sizes", "logins", "tokens", "referrals", "signups", "played")


class Keys:
    """Every Redis key, made in one place; `{…}` is a Redis Cluster hash tag."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.schema = f"{prefix}schema"
        self.probe = f"{prefix}probe"
        self.signing_key = f"{prefix}signing-key"
        self.session_keys = functools.lru_cache(PLACES_KNOWN)(self._session_keys)

    def share(self, code: str) -> str:
        return f"{self.prefix}share:{code}"

    def session(self, session_id: int | str, part: str = "") -> str:
        return f"{self.prefix}session:{{{session_id}}}{part and ':' + part}"

    def _session_keys(self, session_id: int, day: str) -> tuple[str, ...]:
        """A session's keys on a day, in the order in which scripts take them."""
        parts = (*SESSION_PARTS, f"visitors:{day}", f"viewers:{day}")
        return tuple(self.session(session_id, part) for part in parts)

    def visitors_key(self, day: str) -> str:
        return f"{self.prefix}visitors:key:{day}"

    def user(self, user_id: str, part: str = "") -> str:
        return f"{self.prefix}user:{{{user_id}}}{part and ':' + part}"

    def user_keys(self, user_id: str, *parts: str) -> list[str]:
        """The account, and parts of it, for a script."""
        return [self.user(user_id), *(self.user(user_id, part) for part in parts)]

    def referral(self, code: str) -> str:
        return f"{self.prefix}referral:{code}"

    def email(self, digest: str) -> str:
        return f"{self.prefix}email:{digest}"

    def awaited(self, digest: str) -> str:
        """The codes of links that wait for somebody with this email."""
        return f"{self.prefix}awaited:{digest}"

    def login(self, login_id: str) -> str:
        return f"{self.prefix}login:{login_id}"

    def token(self, digest: str) -> str:
        return f"{self.prefix}token:{digest}"

    def attempts(self, limit: str, person: str) -> str:
        return f"{self.prefix}limits:{limit}:{person}"
