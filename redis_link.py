"""How Redis is spoken to, whatever it is: one server, the master that Sentinels name, a
Cluster, or fakeredis.

    Link       what the store speaks through
    Master     the server that Sentinels name
    Cluster    a server for each key

Beside it: `redis_url.py` (which Redis), `redis_node.py` (one server: connections,
circuit breaker, errors), `scripts.py` (Lua by the name of its file).
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import redis
from redis.cluster import ClusterNode
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    TryAgainError,
)
from redis.sentinel import MasterNotFoundError, SentinelConnectionPool

from redis_node import (
    FAILURES,
    Breaker,
    Node,
    NotReplicated,
    Replies,
    StoreUnavailable,
    denial,
    is_refusal,
    unavailable,
)
from redis_url import EXCHANGE, RedisUrl
from scripts import Command, by_text

NEWS = 1.0  # seconds after which Sentinels, or a Cluster in motion, are asked again
PAUSE = 0.02  # seconds, while the keys of a script are in two places

Address = tuple[str, int]
AnyClient = redis.Redis | redis.RedisCluster | Callable[[], redis.RedisCluster]


class Master(Node):
    """The server that Sentinels name. They are asked every second, and before every
    connection: what a former master takes is lost, so connections to it are closed."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        pool: Any = client.connection_pool
        tls = issubclass(pool.connection_class, redis.SSLConnection)
        self._make = redis.SSLConnection if tls else redis.Connection
        del self._options["connection_pool"]
        self._service: str = pool.service_name
        self._sentinels: list[redis.Redis] = [*pool.sentinel_manager.sentinels]
        self._address: Address | None = None
        self._next_news = 0.0
        self._asking = threading.Lock()

    def usable(self, connection: redis.Connection) -> bool:
        """Whether it leads to the master, as far as that is known, and is sound."""
        due = time.monotonic() >= self._next_news
        if due and self._asking.acquire(blocking=False):  # the others go on meanwhile
            try:
                self._ask()
            finally:
                self._asking.release()
        here = (connection.host, connection.port)
        return self._address in (None, here) and super().usable(connection)

    def _new(self) -> redis.Connection:
        with self._asking:
            failure = self._ask()
            if self._address is None:
                raise MasterNotFoundError from failure
            host, port = self._address
        return self._make(host=host, port=port, **self._options)

    def _ask(self) -> Exception | None:
        """Learn the address of the first Sentinel that answers, and ask that one first
        from now on; None where nobody does, and why the last one failed to."""
        self._next_news, self._address = time.monotonic() + NEWS, None
        failure: Exception | None = None
        for sentinel in [*self._sentinels]:
            try:
                found: Any = sentinel.sentinel_get_master_addr_by_name(self._service)
                if found:
                    self._address = (found[0].decode(), found[1])
                    self._sentinels.sort(key=lambda each: each is not sentinel)
                    break
            except FAILURES as error:
                failure = error
        return failure


class Cluster:
    """A server for each key, each with its breaker, so that one that is away takes only
    its own keys along; redis-py keeps the map. Commands go one after another."""

    def __init__(self, make: Callable[[], redis.RedisCluster]) -> None:
        self._make = make  # asks one named server after another, and may take seconds
        self._made: redis.RedisCluster | None = None
        self._breaker = Breaker(patience=5)
        self._nodes: dict[Address, Node] = {}
        self._next_news = 0.0
        self._asking = threading.Lock()

    @property
    def client(self) -> redis.RedisCluster:
        """redis-py's client, made on first use. Raises StoreUnavailable."""
        if self._made is None:
            began = self._breaker.admit(time.monotonic() + EXCHANGE)
            try:
                self._made = self._made or self._make()
            except BaseException as error:
                self._breaker.failed(began)
                if isinstance(error, FAILURES):
                    raise StoreUnavailable(denial(error) or "ClusterDown") from error
                raise
            self._breaker.answered()
        return self._made

    def nodes(self) -> list[redis.Redis]:
        """redis-py's client of each master."""
        client = self.client
        return [client.get_redis_connection(node) for node in client.get_primaries()]

    def run(
        self, commands: Sequence[Command], wait: int, ends: Callable[[], float]
    ) -> Replies:
        """The replies, and in how few replicas something of it is."""
        done = [self._run_one(command, wait, ends) for command in commands]
        return [reply for reply, _ in done], min((n for _, n in done), default=wait)

    def _run_one(
        self, command: Command, wait: int, ends: Callable[[], float]
    ) -> tuple[Any, int]:
        place, asking = self._place(command), False
        end = ends()  # not before the map is known, which takes its time at first
        while True:
            batch = [("ASKING",), command] if asking else [command]
            replies, copies = self._exchange(place, batch, wait, end)
            reply = replies[-1]
            # None of these was executed, so it may be sent again.
            if isinstance(reply, NoScriptError):
                command = by_text(command)
            elif isinstance(reply, AskError):
                place, asking = reply.node_addr, not isinstance(reply, MovedError)
            elif isinstance(reply, TryAgainError) and time.monotonic() < end - PAUSE:
                time.sleep(PAUSE)
                place, asking = self._place(command), False
            else:
                return reply, copies

    def _exchange(
        self, place: Address, commands: Sequence[Command], wait: int, end: float
    ) -> Replies:
        try:
            replies, copies = self._node(place).exchange(commands, wait, end)
        except StoreUnavailable:
            self._learn()
            raise
        if isinstance(replies[-1], MovedError | ClusterDownError):
            self._learn()
        return replies, copies

    def _place(self, command: Command) -> Address:
        """Where a command's first key is; one without keys goes anywhere."""
        arguments = command[3 if command[0] in ("EVALSHA", "EVAL") else 1 :] or ("",)
        try:
            node = self.client.get_node_from_key(arguments[0])
        except FAILURES as error:
            self._learn()
            raise StoreUnavailable("ClusterDown") from error
        return node.host, node.port

    def _node(self, place: Address) -> Node:
        if node := self._nodes.get(place):
            return node
        known = self.client.get_node(*place) or ClusterNode(*place)
        client = self.client.get_redis_connection(known)
        return self._nodes.setdefault(place, Node(client))

    def _learn(self) -> None:
        """Ask where the slots are now, aside, so that no request waits for it."""
        if time.monotonic() >= self._next_news and self._asking.acquire(blocking=False):
            threading.Thread(target=self._ask, daemon=True).start()

    def _ask(self) -> None:
        try:
            with contextlib.suppress(*FAILURES):
                known = [(node.host, node.port) for node in self.client.get_nodes()]
                self.client.nodes_manager.initialize(known)  # beside the named ones
                places = {(node.host, node.port) for node in self.client.get_nodes()}
                self._nodes = {p: n for p, n in [*self._nodes.items()] if p in places}
        finally:
            self._next_news = time.monotonic() + NEWS
            self._asking.release()


class _Time(threading.local):
    left = math.inf  # seconds that exchanges may still take
    until = math.inf  # when those under way have taken them


class Link:
    """Redis, as the store speaks to it: values are bytes, and no exchange takes longer
    than a second. `wait` is how many replicas must have what is durable."""

    def __init__(self, client: AnyClient, wait: int = 0) -> None:
        self._wait = wait
        self._time = _Time()
        self._engine: Node | Cluster
        if not isinstance(client, redis.Redis):
            self._engine = Cluster(client if callable(client) else lambda: client)
        elif isinstance(client.connection_pool, SentinelConnectionPool):
            self._engine = Master(client)
        else:
            self._engine = Node(client)

    @property
    def client(self) -> redis.Redis | redis.RedisCluster:
        """redis-py's client, for what belongs to no request."""
        return self._engine.client

    def nodes(self) -> list[redis.Redis]:
        """redis-py's client of each master, for CONFIG GET and SCAN."""
        return self._engine.nodes()

    def execute(self, *command: Any) -> Any:
        """The reply to one command, as of `execute_many`."""
        return self.execute_many([command])[0]

    def execute_many(
        self, commands: Sequence[Command], durable: bool = False
    ) -> list[Any]:
        """The replies; what a script of ours refused is a redis.ResponseError in its
        place. Raises StoreUnavailable when all have been read.

        It is one round trip, none for no commands, and on Cluster one after another. A
        script that was flushed meanwhile runs after the other writes of its batch and
        before the reads that follow it. What is `durable` and has not come to enough
        replicas is done nevertheless: NotReplicated.
        """
        if not commands:
            return []
        wait = self._wait if durable else 0
        self._time.until = time.monotonic() + self._time.left
        try:
            replies, copies = self._engine.run(commands, wait, self._end)
        finally:
            self._time.left = self._time.until - time.monotonic()
        for reply in replies:
            if isinstance(reply, redis.ResponseError) and not is_refusal(reply):
                raise unavailable(reply) from reply
        if copies < wait:
            raise NotReplicated(replies)
        return replies

    @contextlib.contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """This thread's exchanges inside share this time, after which they raise
        StoreUnavailable("Deadline"); what is done between them does not count, such as
        hashing a password. Of several deadlines the innermost holds."""
        before, self._time.left = self._time.left, seconds
        try:
            yield
        finally:
            self._time.left = before

    def _end(self) -> float:
        """When an exchange that begins now must be over."""
        return min(time.monotonic() + EXCHANGE, self._time.until)


def connect(url: RedisUrl, wait: int = 0) -> Link:
    """The link to the Redis that an URL names, not yet connected."""
    return Link(url.client(), wait)
