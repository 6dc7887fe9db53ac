"""Passwords: hashed one at a time, so that nobody else has to wait for them."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator

from werkzeug.security import check_password_hash, generate_password_hash

from inputs import normalized

# OWASP's Password Storage Cheat Sheet: N=2^15, r=8, p=3.
SCRYPT = "scrypt:32768:8:3"


class Busy(Exception):
    """Too many are at work already; waiting would hold a thread that others need."""


class Places:
    """A number of places; whoever finds none free is told so at once."""

    def __init__(self, size: int) -> None:
        self._free = threading.BoundedSemaphore(size)

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """One place, for a `with` block. Raises Busy where all are taken."""
        if not self._free.acquire(blocking=False):
            raise Busy
        try:
            yield
        finally:
            self._free.release()


class Passwords:
    """Hashes passwords one at a time, with one more in line: each takes a core for a
    third of a second and 32 MiB, and six of eight threads must stay free."""

    def __init__(self) -> None:
        self.line, self._work = Places(2), threading.Lock()

    def hash(self, password: str) -> str:
        """A hash of a password. Raises Busy where too many are at work."""
        with self.line.taken(), self._work:
            return generate_password_hash(password, SCRYPT)

    def match(self, stored: str | None, password: str) -> bool:
        """Whether a password is the one of a stored hash; None costs the same. One
        that Werkzeug cannot check matches nothing. Raises Busy as above."""
        with self.line.taken(), self._work:
            if not stored:
                check_password_hash(f"{SCRYPT}$nobody$", normalized(password))
                return False
            spellings = {normalized(password)}
            if is_outdated(stored):
                spellings.add(password)  # hashed before NFC was asked for
            if any(_matches(stored, spelling) for spelling in spellings):
                return True
            _make_up_for(stored, len(spellings))
            return False


def _make_up_for(stored: str, times: int) -> None:
    """What today's hash costs more than an older one that was tried so many times: by
    the time nobody tells who has had an account since version 1 (p=1)."""
    kind, _, passes = SCRYPT.rpartition(":")
    older = re.match(rf"{kind}:([0-9]{{1,2}})\$", stored)
    missing = int(passes) - times * int(older[1]) if older else 0
    if missing > 0:  # scrypt's passes follow each other
        generate_password_hash("", f"{kind}:{missing}")


def _matches(stored: str, password: str) -> bool:
    try:
        return check_password_hash(stored, password)
    except (ValueError, TypeError, OverflowError, MemoryError):  # no hash of ours
        return False


def is_outdated(stored: str) -> bool:
    """Whether a hash was made with other parameters than today's."""
    return not stored.startswith(f"{SCRYPT}$")
