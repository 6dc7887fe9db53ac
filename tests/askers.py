"""Who asks a Redis through a link while it is hurt, and knows the answer."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import pytest

from redis_link import Link
from redis_node import StoreUnavailable
from scripts import Script
from servers import wait_for

COUNT = Script(
    "#!lua\n"
    "if ARGV[1] == 'refuse' then return redis.error_reply('NOT_TODAY') end\n"
    "return redis.call('INCR', KEYS[1])"
)
ECHO = Script("#!lua flags=no-writes\nreturn {redis.call('GET', KEYS[1]), ARGV[1]}")


def kind(run: Callable[..., object], *arguments: object) -> str:
    """What kind of StoreUnavailable it raises."""
    with pytest.raises(StoreUnavailable) as caught:
        run(*arguments)
    return str(caught.value)


def answers(link: Link, *keys: str) -> bool:
    """Whether it reads these keys, or any."""
    try:
        return all(link.execute("EXISTS", key) in (0, 1) for key in keys or ("key",))
    except StoreUnavailable:
        return False


class Askers:
    """Threads that write and read without pause, each of them what only it can know.

    `wrong` are answers that were somebody else's. `kinds` counts what was raised, and
    answers as "". `acknowledged` are the keys whose write was answered.
    """

    def __init__(
        self, link: Link, seconds: float = 10, threads: int = 6, durable: bool = False
    ) -> None:
        self.link, self.seconds, self.durable = link, seconds, durable
        self.kinds: Counter[str] = Counter()
        self._known = self.kinds.copy()  # those of before the last wait was over
        self.wrong: list[Any] = []
        self.acknowledged: list[str] = []
        self._name = uuid.uuid4().hex
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(threads)
        self._asking = [self._pool.submit(self._ask, n) for n in range(threads)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._pool.shutdown()
        for asker in self._asking:
            asker.result()

    def _ask(self, number: int) -> None:
        turn = 0
        while not self._over.is_set():
            turn += 1
            self._ask_once(f"{self._name}:{number}:{turn}")

    def _ask_once(self, key: str) -> None:
        mine = key.encode()
        commands = [("GET", f"{key}:none"), ECHO([key], mine), ("SET", key, mine)]
        commands += [("GET", key), ("ECHO", mine)]
        try:
            with self.link.deadline(self.seconds):
                replies = self.link.execute_many(commands, durable=self.durable)
        except StoreUnavailable as error:
            self.kinds[str(error)] += 1
            return
        if replies != [None, [None, mine], b"OK", mine, mine]:
            self.wrong.append((mine, replies))
        self.acknowledged.append(key)
        self.kinds[""] += 1

    def wait_for(self, *kinds: str, times: int = 1) -> None:
        """Wait until something of these kinds has come so many times since the last
        wait: what hurts may have begun a while before, on a machine that is busy."""

        def count() -> int:
            return sum(self.kinds[kind] - self._known[kind] for kind in kinds)

        wait_for(lambda: count() >= times, what=f"{kinds} in {self.kinds}")
        self._known = self.kinds.copy()

    def go_on(self) -> None:
        """Wait until they have been answered again and again."""
        self.wait_for("", times=100)

    def lost(self) -> list[str]:
        """The keys whose write was answered, and which are not there."""
        return [
            key for key in self.acknowledged if not self.link.execute("EXISTS", key)
        ]
