"""Looks at many keys of Redis that share their round trips.

A look is a generator: it yields a command, or a list of them, gets the replies, and
yields a Finding for whatever is wrong. A key of another type than was expected gives
OTHER_TYPE instead of its value.
"""

from __future__ import annotations

import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import msgspec

from redis_link import Link
from redis_node import FAILURES, unavailable
from scripts import Command
from store import Store

Look = Generator[Any, Any, None]
Mend = Callable[[], Any]
Asked = list[Command]
OTHER_TYPE = ()  # all other replies that are empty compare to it as unequal
UNREADABLE = (msgspec.DecodeError, zlib.error, ValueError)


@dataclass(frozen=True)
class Finding:
    """What is wrong with a key, and what mends it; without `mend`, that takes a hand in
    Redis."""

    name: str
    what: str
    mend: Mend | None = field(default=None, compare=False)


class Looks(ABC):
    """The looks at keys by their kind, each the name of a method that gets a key's
    name, whose it is (the first group of its shape), and what it holds."""

    KINDS: ClassVar[tuple[tuple[str, Command, str], ...]]  # shape, what reads it, look

    def __init__(self, store: Store) -> None:
        self.store, self.keys = store, store.keys
        shapes = (f"(?P<kind{n}>{shape})" for n, (shape, *_) in enumerate(self.KINDS))
        self._shapes = re.compile("|".join(shapes))
        groups = self._shapes.groupindex.values()
        self._kinds = dict(zip(groups, self.KINDS, strict=True))

    def _do(self, *command: Any) -> Mend:
        return partial(self.store.execute, *command)

    def _delete(self, name: str) -> Mend:
        return self._do("DEL", self.keys.prefix + name)

    @abstractmethod
    def left_over(self, name: str, whose: str) -> Mend:
        """What takes away a part of something that is gone."""

    def look(self, name: str) -> Look:
        """The look at the key of this name, given without the prefix; at a key that is
        none of ours it sees nothing."""
        match, key = self._shapes.fullmatch(name), self.keys.prefix + name
        if match is None:
            return
        group = match.lastindex or 0
        (_, (read, *args), look), whose = self._kinds[group], match[group + 1]
        whole, brace, part = key.partition("}")
        held, stands = yield [(read, key, *args), ("EXISTS", whole + brace)]
        if held == OTHER_TYPE:
            yield Finding(name, "is of another type than it should be")
        elif held == b"":
            yield Finding(name, "cannot be read")
        elif held and part and not stands:
            gone = self.left_over(name, whose)
            yield Finding(name, "is left of something that was deleted", gone)
        elif held and look:
            yield from self._read(name, getattr(self, look), whose, held)

    @staticmethod
    def _read(name: str, look: Callable[..., Look], whose: str, held: Any) -> Look:
        try:
            yield from look(name, whose, held)
        except UNREADABLE:
            yield Finding(name, "cannot be read")


def for_each(
    items: Iterable[str], commands: Callable[[str], Asked]
) -> Generator[Asked, list[Any], list[tuple[str, list[Any]]]]:
    """Part of a look: each item with the replies to its commands, all asked at once."""
    wanted = [(item, commands(item)) for item in items]
    replies = iter((yield [command for _, asked in wanted for command in asked]))
    return [(item, [next(replies) for _ in asked]) for item, asked in wanted]


def findings(link: Link, looks: Iterable[Look]) -> list[Finding]:
    """What all the looks find, in as many round trips as the longest of them takes.
    Raises StoreUnavailable."""
    found: list[Finding] = []
    going: list[tuple[Look, Any]] = [(look, None) for look in looks]
    while going:
        asked = [(look, _advance(look, reply, found)) for look, reply in going]
        asking = [(look, wanted) for look, wanted in asked if wanted is not None]
        replies = ask(link, [wanted for _, wanted in asking])
        going = [
            (look, reply) for (look, _), reply in zip(asking, replies, strict=True)
        ]
    return found


def _advance(look: Look, reply: Any, found: list[Finding]) -> Any:
    """Let a look go on until it asks for something; None when it has ended."""
    while True:
        try:
            wanted = look.send(reply)
        except StopIteration:
            return None
        if not isinstance(wanted, Finding):
            return wanted
        found.append(wanted)
        reply = None


def ask(link: Link, wanted: Sequence[Any]) -> list[Any]:
    """The replies to commands and lists of commands, by redis-py's pipeline, which asks
    all masters of a Cluster at once. Raises StoreUnavailable."""
    pipe: Any = link.client.pipeline(transaction=False)
    for commands in wanted:
        for command in commands if isinstance(commands, list) else [commands]:
            pipe.execute_command(*command)
    try:
        replies = iter(pipe.execute(raise_on_error=False))
    except FAILURES as error:
        raise unavailable(error) from error
    return [
        [_plain(next(replies)) for _ in commands]
        if isinstance(commands, list)
        else _plain(next(replies))
        for commands in wanted
    ]


def _plain(reply: Any) -> Any:
    if not isinstance(reply, FAILURES):
        return reply
    error = unavailable(reply)
    if str(error) == "WRONGTYPE":
        return OTHER_TYPE
    raise error  # what was not told is not empty, and nothing is to be mended by it
