"""Maintenance: `flask --app maintain check [--repair]`, and what `report` tells.

Both walk the whole store in bounded memory, a hundred keys per round trip or two, so
that a million sessions take minutes.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from checks import Checks
from clock import today
from joip_share import command, create_app, store
from looks import UNREADABLE, Finding, Look, findings
from records import pairs
from redis_node import FAILURES, StoreUnavailable, unavailable
from refusals import Refusal
from store import Store

__all__ = ["create_app"]  # for `flask --app maintain`

CHUNK = 100  # keys that are looked at together
PAUSE = 3.0  # seconds between two looks, in which a live service ends what it began
REPAIRS = 5  # walks that mend, at most
LARGEST = 5  # sessions and accounts that a report names
RECENT = (7, 30)  # days whose opens a report tells


def chunks(names: Iterator[str]) -> Iterator[list[str]]:
    """The names of keys, as many at a time as are looked at together."""
    while chunk := [*itertools.islice(names, CHUNK)]:
        yield chunk


def sum_of_servers(store: Store, ask: Callable[[Any], int]) -> int:
    """What each server says, added up. Raises StoreUnavailable."""
    try:
        return sum(ask(server) for server in store.link.nodes())
    except FAILURES as error:
        raise unavailable(error) from error


@contextlib.contextmanager
def progress(store: Store, label: str) -> Iterator[Iterator[list[str]]]:
    """The names of all keys, without the prefix, in chunks, behind a progress bar on
    standard error. Raises StoreUnavailable."""
    size, prefix = sum_of_servers(store, lambda s: s.dbsize()), store.keys.prefix
    names = (key.removeprefix(prefix) for key in store.scan(f"{prefix}*"))
    with click.progressbar(length=size, label=label, file=sys.stderr) as bar:

        def told() -> Iterator[list[str]]:
            for chunk in chunks(names):
                yield chunk
                bar.update(len(chunk))

        yield told()


# ---------------------------------------------------------------------------- check


def walk(checks: Checks) -> list[Finding]:
    """What two looks, seconds apart, both find; what only one finds was under way."""
    link, found = checks.store.link, []
    with progress(checks.store, "checking") as all_chunks:
        for chunk in all_chunks:
            found += findings(link, map(checks.look, chunk))
    if found:
        time.sleep(PAUSE)
    return still_there(checks, found)


def still_there(checks: Checks, found: Sequence[Finding]) -> list[Finding]:
    """What another look at the same keys finds as well."""
    known, again = {*found}, []
    for chunk in chunks(iter(sorted({each.name for each in found}))):
        again += findings(checks.store.link, map(checks.look, chunk))
    return [each for each in again if each in known]


def mend(checks: Checks, broken: list[Finding]) -> list[Finding]:
    """Mend what can be, and return what is left of it."""
    for finding in broken:
        if finding.mend:
            with contextlib.suppress(Refusal, StoreUnavailable):
                finding.mend()
    return still_there(checks, broken)


def check(store: Store, repair: bool = False) -> tuple[list[Finding], list[Finding]]:
    """What is broken and stays so, and what was mended; as often as it takes, since
    what is mended may bring to light what depends on it. Raises StoreUnavailable."""
    checks, mended = Checks(store), []
    left = walk(checks)
    for _ in range(REPAIRS if repair else 0):
        broken, left = left, mend(checks, left)
        mended += [each for each in broken if each not in left]
        if len(left) == len(broken):
            break
        left = walk(checks)
    return left, mended


@command("check", writes=False)
@click.option("--repair", is_flag=True, help="Mend what a crash has left, and say so.")
def check_command(repair: bool) -> None:
    """Walk the whole store and report every broken invariant."""
    left, mended = check(store(), repair)
    for finding in mended:
        click.echo(f"{finding.name} {finding.what}: mended")
    for finding in left:
        click.echo(f"{finding.name} {finding.what}")
    click.echo(f"{len(left)} broken, {len(mended)} mended")
    if left:
        raise SystemExit(1)


# --------------------------------------------------------------------------- report

OURS = re.compile(
    r"(?:(session|user):\{([^}]+)\}(?::([a-z]+))?|share|email|referral|token|login"
    r"|awaited|visitors|limits|schema|probe|signing-key)(?::.+)?"
)


class Report:
    """What a walk over the store adds up."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.sums: Counter[str] = Counter()
        self.accounts: list[tuple[int, str]] = []  # bytes and id, the largest
        self.sessions: list[tuple[int, str]] = []

    def look(self, name: str) -> Look:
        """Take in the key of this name, given without the prefix, if it is ours."""
        ours, key = OURS.fullmatch(name), self.store.keys.prefix + name
        if ours:
            size = yield ("MEMORY", "USAGE", key)
            self.sums["keys"] += 1
            self.sums["bytes"] += size or 0
            kind, whose, part = ours.groups()
            if read := getattr(self, f"_{kind}_{part or 'itself'}", None):
                with contextlib.suppress(*UNREADABLE):  # `check` names it
                    yield from read(key, whose)

    def _session_itself(self, key: str, session_id: str) -> Look:
        self.sums["sessions"] += 1
        yield from ()

    def _session_codes(self, key: str, session_id: str) -> Look:
        number = yield ("HLEN", key)
        self.sums["links"] += number or 0

    def _session_daily(self, key: str, session_id: str) -> Look:
        for name, value in pairs((yield ("HGETALL", key)) or {}).items():
            day, _, counter = name.partition(":")
            for days in RECENT:
                recent = counter == "opens" and day > today(days)
                self.sums[f"opens of {days} days"] += int(value) * recent

    def _user_itself(self, key: str, user_id: str) -> Look:
        self.sums["accounts"] += 1
        yield from ()

    def _user_sizes(self, key: str, user_id: str) -> Look:
        for whose, size in pairs((yield ("HGETALL", key)) or {}).items():
            if whose == "total":
                _keep(self.accounts, int(size), user_id)
            else:
                _keep(self.sessions, int(size), whose)

    def lines(self) -> Iterator[str]:
        """What is told, a line each."""
        opens = (f"opens of {days} days" for days in RECENT)
        for what in ("accounts", "sessions", "links", *opens):
            yield f"{what}: {self.sums[what]:,}"
        used = sum_of_servers(self.store, lambda s: s.info("memory")["used_memory"])
        ours = f"{megabytes(self.sums['bytes'])} of it in {self.sums['keys']:,} keys"
        yield f"Redis's memory: {megabytes(used)}, {ours} of ours"
        for size, session_id in sorted(self.sessions, reverse=True):
            title = self._told(self.store.keys.session(session_id), "title")
            yield f"large session: {megabytes(size)} {session_id} {title}"
        for size, user_id in sorted(self.accounts, reverse=True):
            email = self._told(self.store.keys.user(user_id), "email")
            yield f"large account: {megabytes(size)} {user_id} {email}"

    def _told(self, key: str, field: str) -> str:
        found: bytes = self.store.execute("HGET", key, field) or b""
        return found.decode("utf-8", "replace")


def _keep(largest: list[tuple[int, str]], size: int, whose: str) -> None:
    heapq.heappush(largest, (size, whose))
    if len(largest) > LARGEST:
        heapq.heappop(largest)


def megabytes(size: int) -> str:
    """Bytes as people read them."""
    return f"{size / 1_000_000:,.1f} MB"


def report(store: Store) -> Iterator[str]:
    """What is in a store, a line each: how many of what, the largest, the memory."""
    report = Report(store)
    with progress(store, "counting") as all_chunks:
        for chunk in all_chunks:
            findings(store.link, map(report.look, chunk))
    yield from report.lines()
