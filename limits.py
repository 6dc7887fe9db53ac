"""How often somebody may try."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """So many attempts in a window of so many seconds."""

    name: str
    amount: int
    seconds: int


REGISTRATIONS = Limit("register", 10, 3600)
FAILURES_OF_BOTH = Limit("login", 5, 900)  # of a network with an email
FAILURES_OF_NETWORK = Limit("login-network", 30, 900)
FAILURES_OF_EMAIL = Limit("login-email", 100, 900)
WRITES = Limit("writes", 60, 60)
LINKS = Limit("links", 2000, 3600)  # all that one may have would fill Redis
# What an attempt counts against: each limit, and whom it is counted for.
Attempts = list[tuple[Limit, str]]
