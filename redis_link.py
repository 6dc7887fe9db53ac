"""How Redis is spoken to: its URL, connections, circuit breaker, scripts by name.

One Redis, the master that Sentinels name, a Cluster, or fakeredis: the same `Link`
stands before each of them. redis-py is used by its public names only, and retries
nothing on its own.

    RedisUrl      REDIS_URL, parsed once
    Script        Lua by the name of its file, made into a command by calling it
    Breaker       fails fast while a server is away
    Node          one server: one connection per thread, and the exchange on it
    Master        the node that Sentinels name
    Cluster       a node for each key
    Link          what the store speaks through
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import NoScriptError
from redis.exceptions import RedisClusterException as ClusterException  # no RedisError
from redis.retry import Retry

EXCHANGE = 1.0  # seconds for one exchange: connecting, sending, reading every reply
CONNECT = 0.5  # of them, seconds for connecting
COOLDOWN = 0.5  # seconds in which nobody asks a server that has let somebody wait
QUICK = 0.1  # seconds; a failure that took less needs no cool-down
DISCOVERY = 4.0  # seconds for all named nodes of a Cluster to be asked for its map
LUA = Path(__file__).parent / "lua"

Command = tuple[Any, ...]


class ConfigError(ValueError):
    """A setting is missing or wrong; its text is the one line to show."""


class StoreUnavailable(Exception):
    """Redis is away, hung, loading or failing. Its text names the kind and nothing
    else: Redis's own code ("LOADING", "BUSY", "NOAUTH", …), the driver's class
    ("TimeoutError", "ConnectionError", "MasterNotFoundError"), or one of "ClusterDown",
    "CircuitOpen", "Deadline", "NotReplicated"."""


class StoreRefusesWrites(StoreUnavailable):
    """Redis takes no writes, while reads still work; its text tells why."""


REFUSES_WRITES = {
    "OOM": "out of memory",
    "READONLY": "read-only replica",
    "MISCONF": "cannot write to its disk",
    "NOREPLICAS": "too few replicas",
}
ELSEWHERE = ("READONLY", "NOREPLICAS")  # another server may be the master by now
WORD = re.compile("[A-Z_]+")  # a script's refusal; Redis's own errors are sentences


def _code(error: Exception) -> str:
    """Redis's name for an error that it sent; "" for what the driver noticed."""
    code: str = getattr(error, "status_code", None) or ""
    if not code and isinstance(error, redis.ResponseError):
        code = str(error).partition(" ")[0]
        code = code if WORD.fullmatch(code) else "ERR"
    return code


def _unavailable(error: Exception) -> StoreUnavailable:
    code = _code(error)
    if code in REFUSES_WRITES:
        return StoreRefusesWrites(REFUSES_WRITES[code])
    if code == "CLUSTERDOWN" or isinstance(error, ClusterException):
        return StoreUnavailable("ClusterDown")
    return StoreUnavailable(code or type(error).__name__)


# ------------------------------------------------------------------------------ URL


URL = re.compile(
    r"(?:redis|valkey)(?P<tls>s?)(?:\+(?P<kind>sentinel|cluster))?://"
    r"(?P<login>[^/?#@]*@)?(?P<hosts>[^/?#@]+)(?P<path>[^?#]*)\??(?P<query>[^#]*)"
)
HOST = re.compile(r"([\w-]{1,63}(?:\.[\w-]{1,63})*|\[[0-9a-fA-F:.]+\])(?::([0-9]+))?")
PATHS = {  # by kind: what the Sentinels call the master, and the database
    "": r"()/?([0-9]{0,4})",
    "sentinel": r"/([\w.-]+)/?([0-9]{0,4})",
    "cluster": r"()()/?",
}
OPTIONS = {
    *("db", "username", "password", "client_name", "ssl_ca_certs", "ssl_ca_path"),
    *("ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"),
    *("ssl_password",),
}
MALFORMED = ConfigError("REDIS_URL is malformed")


@dataclass(frozen=True)
class RedisUrl:
    """REDIS_URL, taken apart: redis-py's options for each connection and, where `kind`
    is "sentinel" or "cluster", whom to ask, for which master, with which login."""

    options: Mapping[str, Any] = field(repr=False)
    kind: str = ""
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinel_login: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, text: str) -> RedisUrl:
        """Read one of these, with `rediss` for TLS and `valkey` for `redis`:

            redis://[user:password@]host[:6379][/0]    unix:///run/redis.sock[?db=0]
            redis+sentinel://[user:password@]h1:26379,h2:26379/NAME[/0]
            redis+cluster://[user:password@]h1:7000,h2:7001

        A host without a port has the port of the one before it. The login is Redis's;
        `?sentinel_username=…&sentinel_password=…` is for the Sentinels themselves.
        Raises ConfigError, which repeats nothing of the URL: it may hold a password.
        """
        if text.startswith("unix://"):
            return cls(_options(text))
        match = URL.fullmatch(text)
        if not match:
            raise ConfigError(
                "REDIS_URL must be like redis://host:port/db, unix:///path, "
                "redis+sentinel://… or redis+cluster://… (rediss: TLS; valkey: redis)"
            )
        tls, kind, login, hosts, path, query = match.groups(default="")
        target = re.fullmatch(PATHS[kind], path, re.ASCII)
        if not target:
            raise ConfigError("REDIS_URL must end in /db; with Sentinels in /NAME/db")
        service, db = target.groups()
        addresses = _addresses(hosts, kind)
        query, sentinel_login = _split_query(query, kind)
        first = hosts.partition(",")[0]
        options = _options(f"redis{tls}://{login}{first}/{db or 0}?{query}")
        if not kind:
            return cls(options)
        for name in ("host", "port", "connection_class"):
            options.pop(name, None)
        options |= {"ssl": True} if tls else {}
        return cls(options, kind, addresses, service, sentinel_login)


def _addresses(text: str, kind: str) -> tuple[tuple[str, int], ...]:
    found, port = [], "" if kind else "6379"
    for match in map(HOST.fullmatch, text.split(",")):
        port = match[2] or port if match else ""
        if not match or not port or not 0 < int(port) < 65536:
            raise ConfigError("REDIS_URL is malformed: expected host:port")
        found.append((match[1].strip("[]"), int(port)))
    if not kind and len(found) > 1:
        raise ConfigError("REDIS_URL: several hosts need redis+sentinel or +cluster")
    return tuple(found)


def _split_query(query: str, kind: str) -> tuple[str, dict[str, str]]:
    """What is meant for Redis, and what for the Sentinels."""
    given = {name: values[0] for name, values in parse_qs(query).items()}
    names = ("username", "password") if kind == "sentinel" else ()
    login = {name: given.pop(f"sentinel_{name}", "") for name in names}
    return urlencode(given), {name: text for name, text in login.items() if text}


def _options(url: str) -> dict[str, Any]:
    """redis-py's options for the URL of one server, tried out without connecting."""
    parts = urlsplit(url)
    if not parse_qs(parts.query).keys() <= OPTIONS:
        allowed = ", ".join(sorted(OPTIONS))
        raise ConfigError(
            f"REDIS_URL takes no options but {allowed}, and with "
            "Sentinels sentinel_username, sentinel_password"
        )
    try:
        options: dict[str, Any] = parse_url(url)
        redis.ConnectionPool(**options).make_connection()
    except (ValueError, TypeError, redis.RedisError):
        raise ConfigError("REDIS_URL is malformed") from None
    if (not options.get("host") and not options.get("path")) or parts.fragment:
        raise ConfigError("REDIS_URL is malformed")
    return options


# -------------------------------------------------------------------------- Scripts


class Script:
    """Lua that Redis runs as one step, made into a command by calling it. All its keys
    share a slot; what it will not do is an error of one word in capitals."""

    texts: ClassVar[dict[str, str]] = {}  # by SHA-1, for a Redis that has forgotten

    def __init__(self, text: str) -> None:
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.texts[self.sha] = text

    def __call__(self, keys: Sequence[str], *args: Any) -> Command:
        return ("EVALSHA", self.sha, len(keys), *keys, *args)


@functools.cache
def script(name: str) -> Script:
    """The script in lua/<name>.lua. A line `-- include parts/count` in it stands for
    the text of lua/parts/count.lua. Raises OSError where there is no such file."""

    def included(match: re.Match[str]) -> str:
        return (LUA / f"{match[1]}.lua").read_text().rstrip()

    text = (LUA / f"{name}.lua").read_text()
    return Script(re.sub(r"^-- include (\S+)$", included, text, flags=re.MULTILINE))


# ---------------------------------------------------------------------- Connections


class Breaker:
    """Before each exchange with a server: fails fast while that is away.

    One exchange at a time tries it, and the others wait for what comes of that; once it
    answers, nobody is refused. A failure that took time is followed by a cool-down, or
    every thread would wait out its timeout, and 80 requests take 80 timeouts. It begins
    open: also at the start, one goes ahead.
    """

    def __init__(self, patience: float = EXCHANGE) -> None:
        self._patience = patience  # seconds after which the next one tries
        self._changed = threading.Condition()
        self._closed = False
        self._trying = self._next_try = self._answered = 0.0  # moments

    def admit(self, until: float) -> float:
        """The moment at which the way is free. Raises StoreUnavailable."""
        now = time.monotonic()
        if now >= until:
            raise StoreUnavailable("Deadline")
        if self._closed:
            return now
        with self._changed:
            while not self._closed:
                if now >= self._next_try:
                    self._trying, self._next_try = now, now + self._patience
                    break
                if not self._trying or now >= until:
                    raise StoreUnavailable("CircuitOpen")
                self._changed.wait(min(self._next_try, until) - now)
                now = time.monotonic()
        return now

    def answered(self) -> None:
        """The server has answered, be it with an error."""
        self._answered = time.monotonic()
        if not self._closed:
            self._leave(self._trying, closed=True)

    def failed(self, began: float) -> None:
        """It has not answered an exchange that began at this moment. Where it has
        answered another since, only a connection was broken."""
        slow = time.monotonic() - began > QUICK
        cooldown = COOLDOWN if slow else 0.0
        self._leave(began, closed=self._answered > began, cooldown=cooldown)

    def undecided(self, began: float) -> None:
        """That exchange was given up, and nobody knows: let the next one try."""
        self._leave(began, closed=self._closed)

    def _leave(self, began: float, closed: bool, cooldown: float = 0.0) -> None:
        with self._changed:
            if self._trying not in (0.0, began):
                return  # who tries it now will tell
            self._closed, self._trying = closed, 0.0
            self._next_try = time.monotonic() + cooldown
            self._changed.notify_all()


OWN: dict[str, Any] = {
    "protocol": 2,  # one shape of replies for every engine
    "decode_responses": False,
    "socket_timeout": EXCHANGE,
    "socket_connect_timeout": CONNECT,
    "retry": Retry(NoBackoff(), 0),
    "driver_info": None,  # else each connection introduces itself, in two round trips
}
FAILURES = (
    *(redis.ConnectionError, redis.TimeoutError),
    *(redis.ResponseError, redis.InvalidResponse),  # while it was connected
)
Replies = tuple[list[Any], int]  # and how many replicas have what was written


class _Held(threading.local):
    connection: redis.Connection | None = None


class Node:
    """One server: one connection per thread, which costs half of what borrowing one for
    every command does, and the breaker before it.

    Invariant 6, a reply belongs to the request that asked for it: an exchange takes its
    thread's connection away, and gives it back when the last reply has been read.
    Whatever happens between, that connection is closed and out of everybody's reach.
    What failed after it was sent is never sent again, so nothing is counted twice.
    """

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        pool = client.connection_pool
        self._class, self._options = pool.connection_class, pool.connection_kwargs | OWN
        # fakeredis takes no line "#!lua", and what its flags say means nothing to it.
        self._shebang = not self._class.__module__.startswith("fakeredis")
        self._held = _Held()
        self._breaker = Breaker()

    def nodes(self) -> list[redis.Redis]:
        """A client of each master."""
        return [self.client]

    def run(
        self, commands: Sequence[Command], wait: int, until: Callable[[], float]
    ) -> Replies:
        """Redis's replies in one round trip, an error in its place. What it does not
        know as a script did not run: it is sent again with its text."""
        end = until()
        replies, copies = self.exchange(commands, wait, end)
        lost = [
            n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)
        ]
        if lost:
            anew = [self.by_text(commands[n]) for n in lost]
            healed, copies = self.exchange(anew, wait, end)
            for n, reply in zip(lost, healed, strict=True):
                replies[n] = reply
        return replies, copies

    def by_text(self, command: Command) -> Command:
        """The same command for a server that has not seen the script."""
        text = Script.texts[command[1]]
        if not self._shebang:
            text = re.sub("^#!.*", "", text)
        return ("EVAL", text, *command[2:])

    def exchange(self, commands: Sequence[Command], wait: int, end: float) -> Replies:
        """One round trip that is over at this moment. Raises StoreUnavailable."""
        began = self._breaker.admit(end)
        if wait:  # Redis shall tell it, before our own time is up
            commands = [*commands, ("WAIT", wait, max(1, int(900 * (end - began))))]
        try:
            replies = self._converse(commands, end)
        except FAILURES as error:
            if isinstance(error, redis.TimeoutError) and end - began < CONNECT:
                self._breaker.undecided(began)  # too little time to say that it hangs
                raise StoreUnavailable("Deadline") from error
            self._breaker.failed(began)
            raise _unavailable(error) from error
        except BaseException:
            self._breaker.undecided(began)
            raise
        self._breaker.answered()
        copies = replies.pop() if wait else 0
        return replies, copies if isinstance(copies, int) else 0

    def _converse(self, commands: Sequence[Command], end: float) -> list[Any]:
        connection, self._held.connection = self._held.connection, None
        if connection is None or not self._usable(connection):
            connection = self._connected(end)
        try:
            packed = b"".join(connection.pack_commands(commands))
            connection.send_packed_command([packed])
            replies = [self._reply(connection, end) for _ in commands]
        except BaseException:
            connection.disconnect()
            raise
        if any(isinstance(r, Exception) and _code(r) in ELSEWHERE for r in replies):
            connection.disconnect()  # the next one may lead to the new master
        else:
            self._held.connection = connection
        return replies

    @staticmethod
    def _reply(connection: redis.Connection, end: float) -> Any:
        try:
            return connection.read_response(timeout=max(end - time.monotonic(), 0))
        except redis.ResponseError as error:
            return error

    def _usable(self, connection: redis.Connection) -> bool:
        """Whether it may be used again: nothing came since its last reply, neither the
        server's goodbye nor a reply, and this process is no fork of its owner."""
        try:
            return connection.pid == os.getpid() and not connection.can_read()
        except redis.ConnectionError:
            return False

    def _connected(self, end: float) -> redis.Connection:
        connection = self._made()
        left = max(end - time.monotonic(), 0.001)
        connection.socket_connect_timeout = min(CONNECT, left)
        connection.socket_timeout = left  # for each step of what follows, and sending
        connection.connect()
        return connection

    def _made(self) -> redis.Connection:
        made: redis.Connection = self._class(**self._options)
        return made


# ---------------------------------------------------------------------------- Link


class Link:
    """Redis, as the store speaks to it. Values are bytes.

    Every exchange takes at most a second. What Redis will not or cannot do is raised as
    StoreUnavailable; what a script of ours refuses stands among the replies.
    """

    def __init__(self, client: redis.Redis, wait: int = 0) -> None:
        self._engine = Node(client)
        self._wait = wait
        self._time = _Time()

    @property
    def client(self) -> Any:
        """The driver's client, for what is no part of a request."""
        return self._engine.client

    def nodes(self) -> list[redis.Redis]:
        """The driver's clients of all masters, for CONFIG GET and SCAN."""
        return self._engine.nodes()

    def execute(self, *command: Any) -> Any:
        """One command's reply."""
        return self.execute_many([command])[0]

    def execute_many(
        self, commands: Sequence[Command], durable: bool = False
    ) -> list[Any]:
        """The commands' replies, in one round trip; on Cluster one after another.

        A script that Redis has forgotten is sent again, after the rest of its batch.
        `durable`: as many replicas as were asked for have it, else NotReplicated.
        """
        wait = self._wait if durable else 0
        replies, copies = self._engine.run(commands, wait, self._end)
        for reply in replies:
            if isinstance(reply, redis.ResponseError) and not WORD.fullmatch(
                str(reply)
            ):
                raise _unavailable(reply) from reply
        if copies < wait:
            raise StoreUnavailable("NotReplicated")
        return replies

    @contextlib.contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """All exchanges of this thread inside share this time; when it is over, they
        raise StoreUnavailable("Deadline")."""
        before = self._time.deadline
        self._time.deadline = min(before, time.monotonic() + seconds)
        try:
            yield
        finally:
            self._time.deadline = before

    def _end(self) -> float:
        """The moment at which an exchange that begins now must be over."""
        return min(time.monotonic() + EXCHANGE, self._time.deadline)


class _Time(threading.local):
    deadline = math.inf


def connect(url: RedisUrl, wait: int = 0) -> Link:
    """The way to the Redis that an URL names; connects when it is first used."""
    return Link(redis.Redis(connection_pool=redis.ConnectionPool(**url.options)), wait)
