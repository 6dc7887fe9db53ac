"""What the store will not do."""

from __future__ import annotations

from typing import ClassVar


class Refusal(Exception):
    """What the store will not do; `code` is its name in scripts and the API."""

    code: ClassVar[str]
    kinds: ClassVar[dict[str, type[Refusal]]] = {}

    def __init_subclass__(cls, code: str) -> None:
        cls.code, cls.kinds[code] = code, cls


class SessionNotFound(Refusal, code="SESSION_NOT_FOUND"):
    """There is no such session."""


class ShareNotFound(Refusal, code="SHARE_NOT_FOUND"):
    """The session has no such link."""


class UserNotFound(Refusal, code="USER_NOT_FOUND"):
    """There is no such account."""


class TokenNotFound(Refusal, code="TOKEN_NOT_FOUND"):
    """The account has no such token."""


class NotOwner(Refusal, code="NOT_OWNER"):
    """The session belongs to someone else."""


class NotShared(Refusal, code="SHARED_SESSION_NOT_FOUND"):
    """The code is unknown, paused, revoked or deleted; which of them is nobody's
    business."""


class NotForYou(Refusal, code="NOT_FOR_YOU"):
    """The link is bound to another account."""


class EmailTaken(Refusal, code="EMAIL_TAKEN"):
    """There is an account with this email."""


class WrongPassword(Refusal, code="WRONG_PASSWORD"):
    """The password is not, or no longer, the account's."""


class EditConflict(Refusal, code="EDIT_CONFLICT"):
    """The session was changed since it was read."""


class BadIntervals(Refusal, code="BAD_INTERVALS"):
    """intervalMin would come to lie above intervalMax."""


class TooManySessions(Refusal, code="TOO_MANY_SESSIONS"):
    """The account has as many sessions as it may have."""


class TooManyBytes(Refusal, code="TOO_MANY_BYTES"):
    """The account's sessions take as much room as they may."""


class TooManyLinks(Refusal, code="TOO_MANY_LINKS"):
    """The session has as many links as it may have."""


class TooManyTokens(Refusal, code="TOO_MANY_TOKENS"):
    """The account has as many tokens as it may have."""
