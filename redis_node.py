"""One Redis server: a connection per thread, a circuit breaker, what goes wrong.

Of redis-py only public names are used, and nothing is replaced in it.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis
from redis.exceptions import NoScriptError, RedisClusterException

from redis_url import CONNECT, CONNECTION, EXCHANGE
from scripts import Command, by_text

RESTED = 0.005  # seconds of rest after which a server may have closed a connection
COOLDOWN = 0.5  # seconds in which nobody asks a server that let somebody wait in vain
LATE = 0.3  # seconds by which Redis may end a WAIT late: it looks ten times a second

READS = {"GET", "HMGET", "ZSCORE", "EXISTS", "HEXISTS"}  # what looks again
Replies = tuple[list[Any], int]  # and how many replicas have what was written


class StoreUnavailable(Exception):
    """Redis is away, hung, loading or failing. Its text is the kind and nothing else:
    Redis's own code ("LOADING", "BUSY", …), the driver's class ("TimeoutError",
    "ConnectionError", …), "ClusterDown", "CircuitOpen", "Deadline", "NotReplicated"."""


class NotReplicated(StoreUnavailable):
    """What was written has not come to enough replicas; `replies` are to what is done
    nevertheless."""

    def __init__(self, replies: list[Any]) -> None:
        super().__init__("NotReplicated")
        self.replies = replies


class StoreRefusesWrites(StoreUnavailable):
    """Redis takes no writes, while reads still work; its text says why."""


REFUSES_WRITES = {
    "OOM": "out of memory",
    "READONLY": "read-only replica",
    "MISCONF": "cannot write to its disk",
    "NOREPLICAS": "too few replicas",
}
DENIALS = {"NOAUTH", "NOPERM", "WRONGPASS"}  # as it is set up: no outage
FAILURES = (
    *(redis.ConnectionError, redis.TimeoutError, redis.InvalidResponse),
    redis.ResponseError,  # to what a connection says at first
    RedisClusterException,
)


def is_refusal(reply: Any) -> bool:
    """Whether a script of ours refused: by one word, where Redis writes a sentence."""
    error = isinstance(reply, redis.ResponseError) and _code(reply) == "ERR"
    return error and " " not in str(reply)


def unavailable(error: Exception) -> StoreUnavailable:
    """What to raise for an error of the driver, which may tell addresses."""
    code = _code(error)
    if code in REFUSES_WRITES:
        return StoreRefusesWrites(REFUSES_WRITES[code])
    if code == "CLUSTERDOWN" or isinstance(error, RedisClusterException):
        return StoreUnavailable("ClusterDown")
    return StoreUnavailable(denial(error) or code or type(error).__name__)


def denial(error: BaseException | None) -> str:
    """The code by which a server has sent us away, where an error of the driver came of
    that, as of a Cluster or of Sentinels who name nobody; else ""."""
    while error:
        if (code := _code(error)) in DENIALS:
            return code
        error = error.__cause__ or error.__context__
    return ""


def _code(error: Any) -> str:
    """What Redis calls its error; "" for one that the driver noticed."""
    if isinstance(error, redis.ResponseError) and not error.status_code:
        code = re.match("[A-Z]+(?= )", str(error))
        return code[0] if code else "ERR"
    return getattr(error, "status_code", None) or ""


class Breaker:
    """Before each exchange with a server: fails fast while that is away.

    One exchange at a time tries it, and the others wait for what comes of that, so that
    nobody is refused once it answers. After a failure that took its time nobody tries
    for a while: else every thread waits it out, and 80 requests take 80 timeouts.
    """

    def __init__(self, patience: float = EXCHANGE) -> None:
        self._patience = patience  # seconds after which another one tries
        self._changed = threading.Condition()
        self._closed = False  # until the first has come through
        self._trying = self._next_try = self._answered = 0.0  # moments

    def admit(self, end: float) -> float:
        """The moment at which the way is free. Raises StoreUnavailable."""
        now = time.monotonic()
        if now >= end:
            raise StoreUnavailable("Deadline")
        if self._closed:
            return now
        with self._changed:
            while not self._closed:
                if now >= self._next_try:
                    self._trying, self._next_try = now, now + self._patience
                    break
                if not self._trying or now >= end:
                    raise StoreUnavailable("CircuitOpen")
                self._changed.wait(min(self._next_try, end) - now)
                now = time.monotonic()
        return now

    def answered(self) -> None:
        """The server has answered, be it with an error."""
        self._answered = time.monotonic()
        if not self._closed:
            self._decide(closed=True)

    def failed(self, began: float) -> None:
        """An exchange that began then did not come through. Where another one has
        since, the fault was its connection's."""
        with self._changed:
            if self._trying in (0.0, began):  # else who tries now will tell
                slow = time.monotonic() - began >= CONNECT
                self._decide(self._answered > began, COOLDOWN if slow else 0)

    def _decide(self, closed: bool, cooldown: float = 0) -> None:
        with self._changed:
            self._closed, self._trying = closed, 0.0
            self._next_try = time.monotonic() + cooldown
            self._changed.notify_all()


class _Held(threading.local):
    connection: redis.Connection | None = None
    used = 0.0  # when its last exchange began
    scripts: set[str]  # by SHA-1, which its server has seen


class Node:
    """One server: a connection per thread, which costs half of what borrowing one for
    every command does, behind a breaker.

    Invariant 6, a reply belongs to the request that asked for it: an exchange takes its
    thread's connection away, and gives it back when the last reply has been read.
    Whatever happens between, that connection is closed, and out of everybody's reach.
    What failed after it was sent is never sent again: nothing counts twice.
    """

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        pool = client.connection_pool
        self._make: Callable[..., redis.Connection] = pool.connection_class
        self._options = pool.connection_kwargs | CONNECTION
        # fakeredis cannot read a shebang, and has no use for its flags.
        self._shebang = not pool.connection_class.__module__.startswith("fakeredis")
        self._held = _Held()
        self._breaker = Breaker()

    def nodes(self) -> list[redis.Redis]:
        """redis-py's client of each master."""
        return [self.client]

    def run(
        self, commands: Sequence[Command], wait: int, ends: Callable[[], float]
    ) -> Replies:
        """The replies, in one round trip; those of flushed scripts in a second one,
        with those of reads that come after them: who writes and looks again must not
        have looked before."""
        end = ends()
        replies, copies = self.exchange(commands, wait, end)
        again: dict[int, Command] = {}
        for n, (command, reply) in enumerate(zip(commands, replies, strict=True)):
            if isinstance(reply, NoScriptError):
                again[n] = by_text(command)
            elif again and command[0] in READS:
                again[n] = command
        if again:
            healed, copies = self.exchange([*again.values()], wait, end)
            for n, reply in zip(again, healed, strict=True):
                replies[n] = reply
        return replies, copies

    def exchange(self, commands: Sequence[Command], wait: int, end: float) -> Replies:
        """The replies, in one round trip that is over at this moment; an error that
        Redis sent stands in its place. Raises StoreUnavailable."""
        began = self._breaker.admit(end)
        if wait:  # it is over before our own timeout, so that it is Redis who tells
            milliseconds = max(1, int(1000 * (end - began - LATE)))
            commands = [*commands, ("WAIT", wait, milliseconds)]
        try:
            replies = self._converse(commands, end)
        except BaseException as error:
            self._breaker.failed(began)
            if isinstance(error, redis.TimeoutError) and end - began < CONNECT:
                raise StoreUnavailable("Deadline") from error
            if isinstance(error, FAILURES):
                raise unavailable(error) from error
            raise
        self._breaker.answered()
        copies = replies.pop() if wait else 0
        return replies, copies if isinstance(copies, int) else 0

    def _converse(self, commands: Sequence[Command], end: float) -> list[Any]:
        connection, self._held.connection = self._held.connection, None
        if connection is None or not self.usable(connection):
            connection = self._connect(end)
        try:
            packed = b"".join(connection.pack_commands(map(self._spelled, commands)))
            sent = time.monotonic()
            connection.send_packed_command([packed])
            replies = [self._reply(connection, end) for _ in commands]
        except BaseException:
            connection.disconnect()
            raise
        if any(_code(reply) in ("READONLY", "NOREPLICAS") for reply in replies):
            connection.disconnect()  # the next may lead to another master
        else:
            self._held.connection, self._held.used = connection, sent
        return replies

    def _spelled(self, command: Command) -> Command:
        """With its text where this connection's server may not have seen the script, so
        that it runs in its turn also after a restart."""
        if command[0] != "EVALSHA" or command[1] in self._held.scripts:
            return command
        if self._shebang:
            self._held.scripts.add(command[1])
        return by_text(command, self._shebang)

    @staticmethod
    def _reply(connection: redis.Connection, end: float) -> Any:
        left = end - time.monotonic()
        # The socket's own timeout, where that is about as long, costs no system call.
        plenty = min(left, connection.socket_timeout or 0) > EXCHANGE * 0.9
        soon = {} if plenty else {"timeout": max(left, 0)}
        try:
            return connection.read_response(**soon)
        except redis.ResponseError as error:
            return error

    def usable(self, connection: redis.Connection) -> bool:
        """Whether it may be used again. This process may be a fork of the one that it
        belongs to, and while it rested the server may have closed it."""
        if connection.pid != os.getpid():
            return False
        if time.monotonic() - self._held.used < RESTED:
            return True
        try:
            return not connection.can_read()
        except redis.ConnectionError:
            return False

    def _connect(self, end: float) -> redis.Connection:
        connection = self._new()
        left = max(end - time.monotonic(), 0.001)
        connection.socket_connect_timeout = min(CONNECT, left)
        connection.socket_timeout = left  # for each reply to what it says at first
        connection.connect()
        self._held.scripts = set()
        return connection

    def _new(self) -> redis.Connection:
        return self._make(**self._options)
