"""Joip Share: share a slideshow by an unguessable link, and see what came of it.

A *session* is a slideshow, a *login* is a browser's signed-in state, a *share code* is
the UUID v4 in a link, a *referral code* says who handed the link out. Redis is the only
store; `shared/contract.md` is what this module promises. Read it top to bottom:

    Settings      the environment, parsed once
    Keys          the shape of every Redis key
    Records       what requests, rows and answers look like
    Connections   how Redis is spoken to: one connection a thread, one circuit breaker
    Scripts       the Lua that decides races, one script a slot
    Store         what the service does: share, open, count, delete, credit
    Visits        who is a person, a machine, the owner
    Logins        Flask-Session, with its holes closed
    Errors        one table, one shape
    JSON API      /api
    Pages         what browsers see
    Operations    health, metrics, headers, logs, stopping
    Commands      flask check, export, import, create-user
    create_app, main
"""

from __future__ import annotations

import contextlib
import csv
import ctypes
import functools
import gc
import hashlib
import hmac
import io
import ipaddress
import logging
import os
import random
import re
import secrets
import signal
import socket
import string
import struct
import sys
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, BinaryIO, ClassVar, Literal, TypeVar
from urllib.parse import SplitResult, quote, unquote, urlsplit

import click
import crawleruseragents
import fakeredis
import flask
import msgspec
import prometheus_client as prometheus
import redis as redis_py
import segno
import waitress
import yaml
from flask import Blueprint, Flask, Response, current_app, request
from flask.globals import request_ctx
from flask_session.base import ServerSideSession, ServerSideSessionInterface
from hiredis import pack_command
from markupsafe import Markup
from msgspec import UNSET, Meta, Raw, Struct, UnsetType
from msgspec.structs import asdict, astuple
from redis.backoff import NoBackoff
from redis.retry import Retry
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, MultiSocketServer
from waitress.task import ErrorTask
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import MapAdapter
from werkzeug.security import check_password_hash, generate_password_hash

HERE = Path(__file__).parent
DAY = 86_400
LOGIN_LIFETIME = timedelta(days=7)
REFERRAL_LIFETIME = 30 * DAY
DAILY_KEPT = 400  # days of daily counters
MAX_BODY = 1 << 20  # bytes
MAX_ID = 2**53 - 1  # the largest integer that JavaScript reads back exactly
STORE_TIMEOUT = 1.0  # seconds; two in a row stay within the contract's two
BREAKER_COOLDOWN = 0.5  # seconds
RESTED = 0.005  # seconds after which a connection may have been closed meanwhile
ROUTE_LENGTH = 100  # characters of a method and path; what is longer is no link
ROUTES_KNOWN = 8192  # routes remembered in the process: some 8 MB
PREVIEWS_KNOWN = 1024  # previews, and pages of them: some 10 MB, at worst 100
KNOWN_LIMIT = 50_000  # codes and slots remembered in the process: some 50 MB


# ------------------------------------------------------------------------- Settings


class ConfigError(ValueError):
    """A setting is missing or wrong; its text is the one line to show."""


@dataclass(frozen=True)
class Settings:
    """The service's configuration; `contract.md` explains each setting."""

    redis_url: str = ""
    public_url: str = "http://127.0.0.1:8000"
    port: int = 8000
    key_prefix: str = ""
    ratelimit_enabled: bool = True
    trusted_proxies: int = 0

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check every setting. Raises ConfigError naming the wrong one."""
        port = _env_int(environ, "PORT", 8000, 1, 65535)
        public_url = environ.get("PUBLIC_URL") or f"http://127.0.0.1:{port}"
        settings = cls(
            redis_url=environ.get("REDIS_URL", ""),
            public_url=_checked_public_url(public_url),
            port=port,
            key_prefix=environ.get("KEY_PREFIX", ""),
            ratelimit_enabled=bool(_env_int(environ, "RATELIMIT_ENABLED", 1, 0, 1)),
            trusted_proxies=_env_int(environ, "TRUSTED_PROXIES", 0, 0, 16),
        )
        if not re.fullmatch(r"[\w.:/-]{0,64}", settings.key_prefix, re.ASCII):
            raise ConfigError("KEY_PREFIX may hold only letters, digits and _ . : / -")
        if settings.redis_url:
            RedisUrl.parse(settings.redis_url)
        return settings

    @property
    def path(self) -> str:
        """The path under which the whole service lives: "" or "/joip"."""
        return urlsplit(self.public_url).path

    @property
    def origin(self) -> str:
        """Scheme and host of PUBLIC_URL, as browsers send it in `Origin`."""
        return self.public_url.removesuffix(self.path)

    @property
    def host(self) -> str:
        """The host of PUBLIC_URL."""
        return urlsplit(self.public_url).hostname or ""

    @property
    def secure(self) -> bool:
        """Whether cookies are sent over https only."""
        return self.public_url.startswith("https:")


def _env_int(
    environ: Mapping[str, str], name: str, default: int, low: int, high: int
) -> int:
    text = environ.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
        raise ConfigError(f"{name} must be a whole number from {low} to {high}")
    return int(text)


def _checked_public_url(text: str) -> str:
    wrong = ConfigError("PUBLIC_URL must be like https://example.org or …/path")
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises ValueError when it is no port
    except ValueError:
        raise wrong from None
    host = parts.hostname or ""
    if (
        parts.scheme not in ("http", "https")
        or not re.fullmatch(r"[\w.-]+|[0-9a-f:.]+:[0-9a-f:.]*", host, re.ASCII)
        or not re.fullmatch(r"(/(?!\.\.?(/|$))[\w.~-]+)*/?", parts.path, re.ASCII)
        or parts.query or parts.fragment or parts.username or parts.port == 0
    ):
        raise wrong
    default = {"http": 80, "https": 443}[parts.scheme]
    port = "" if parts.port in (None, default) else f":{parts.port}"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"


@dataclass(frozen=True)
class RedisUrl:
    """REDIS_URL, taken apart: its scheme, and hosts where it lists several."""

    text: str
    scheme: str
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = None

    @classmethod
    def parse(cls, text: str) -> RedisUrl:
        """Raises ConfigError when the scheme is unknown or the URL malformed."""
        scheme, _, rest = text.partition("://")
        if scheme in ("redis", "rediss", "unix"):
            try:
                redis_py.ConnectionPool.from_url(text).make_connection()  # no connect
                sound = _names_one_redis(urlsplit(text))
            except (ValueError, TypeError):
                sound = False
            if not sound:
                raise ConfigError("REDIS_URL is malformed")
            return cls(text, scheme)
        if scheme not in ("redis+sentinel", "redis+cluster"):
            raise ConfigError(
                "REDIS_URL must begin with redis://, rediss://, unix://, "
                "redis+sentinel:// or redis+cluster://"
            )
        return cls._parse_hosts(text, scheme, rest)

    @classmethod
    def _parse_hosts(cls, text: str, scheme: str, rest: str) -> RedisUrl:
        match = re.fullmatch(
            r"(?:(?P<user>[^:@/]*):(?P<password>[^@/]*)@)?(?P<hosts>[^/@]+)"
            r"(?:/(?P<service>[\w.-]+)?(?:/(?P<db>[0-9]{1,4}))?)?",
            rest,
        )
        hosts = [re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5})", host)
                 for host in (match["hosts"].split(",") if match else [""])]
        if not match or not all(h and 0 < int(h[2]) < 65536 for h in hosts):
            raise ConfigError("REDIS_URL is malformed: expected host:port,host:port")
        if (scheme == "redis+sentinel") != bool(match["service"]):
            raise ConfigError("REDIS_URL: redis+sentinel, and only it, ends in /NAME")
        return cls(
            text, scheme, tuple((h[1].strip("[]"), int(h[2])) for h in hosts if h),
            match["service"] or "", int(match["db"] or 0),
            unquote(match["user"] or "") or None,
            unquote(match["password"] or "") or None,
        )


def _names_one_redis(url: SplitResult) -> bool:
    if url.scheme == "unix":
        return bool(url.path)
    database = re.fullmatch(r"/?|/[0-9]{1,4}", url.path, re.ASCII)
    return bool(url.hostname and url.port != 0 and database)


# ----------------------------------------------------------------------------- Keys


class Keys:
    """Every Redis key, made in one place; `{…}` is a Redis Cluster hash tag."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.login = f"{prefix}login:"
        self.last_session_id = f"{prefix}session:last-id"
        self.journal = f"{prefix}journal"
        self.importing = f"{prefix}importing"
        self.limits_key = f"{prefix}limits:key"
        self.probe = f"{prefix}probe"
        self.slot = functools.lru_cache(KNOWN_LIMIT)(self._slot)

    def share(self, code: str) -> str:
        return f"{self.prefix}share:{code}"

    def session(self, session_id: int | str, part: str = "") -> str:
        return f"{self.prefix}session:{{{session_id}}}{part and ':' + part}"

    def _slot(self, session_id: int, day: str) -> tuple[str, ...]:
        """A session's keys on a day, in the order in which scripts take them."""
        parts = tuple(self.session(session_id, part) for part in SLOT)
        return (*parts, self.visitors(session_id, day))

    def visitors(self, session_id: int, day: str) -> str:
        return self.session(session_id, f"visitors:{day}")

    def visitors_key(self, day: str) -> str:
        return f"{self.prefix}visitors:key:{day}"

    def user(self, user_id: str, part: str = "") -> str:
        return f"{self.prefix}user:{{{user_id}}}{part and ':' + part}"

    def enrolment(self, user_id: str) -> tuple[str, str]:
        """An account, and what says that it will never be."""
        return self.user(user_id), self.user(user_id, "abandoned")

    def referral(self, code: str) -> str:
        return f"{self.prefix}referral:{code}"

    def email(self, digest: str) -> str:
        return f"{self.prefix}email:{digest}"

    def attempts(self, limit: str, person: str) -> str:
        return f"{self.prefix}limits:{limit}:{person}"


SLOT = ("", "media", "shares", "codes", "stats", "daily", "referrers")


# -------------------------------------------------------------------------- Records

Email = Annotated[
    str,
    Meta(
        max_length=254,
        # https://html.spec.whatwg.org/#valid-e-mail-address
        pattern=r"^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9]"
        r"(?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
        r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\Z",
    ),
]
Password = Annotated[str, Meta(min_length=8, max_length=200)]
Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"\S")]
Title = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\S")]
Description = Annotated[str, Meta(max_length=2000)]
Seconds = Annotated[int, Meta(ge=1, le=60)]
Url = Annotated[
    str,
    Meta(
        max_length=2048,
        # http(s), perhaps a user, a host, perhaps a port, and no blank or backslash
        pattern=r"^[hH][tT][tT][pP][sS]?://(?:[^\s/?#\\@\x00-\x20\x7f]*@)?"
        r"(?:\[[0-9a-fA-F:.]+\]|[^\s/?#\\@:\[\]\x00-\x20\x7f]+)(?::[0-9]{0,5})?"
        r"(?:[/?#][^\s\\\x00-\x20\x7f]*)?\Z",
    ),
]
Caption = Annotated[str, Meta(max_length=500)]
Transition = Literal["fade", "slide", "zoom", "flip", "none"]
MediaType = Literal["image", "video"]


class Input(Struct, rename="camel", forbid_unknown_fields=True):
    """A request's body: unknown members are refused, so that typos surface."""


class Registration(Input):
    """POST /api/register"""

    email: Email
    password: Password
    name: Name | UnsetType = UNSET


class Credentials(Input):
    """POST /api/login; lengths are not checked, a wrong password is just wrong."""

    email: Annotated[str, Meta(max_length=1000)]
    password: Annotated[str, Meta(max_length=1000)]


class MediaInput(Input):
    """One item of a session's `media`."""

    media_url: Url
    type: MediaType = "image"
    caption: Caption | None = None
    thumbnail: Url | None = None


Media = Annotated[list[MediaInput], Meta(max_length=500)]


def check_intervals(low: int | UnsetType, high: int | UnsetType) -> None:
    """Raises BadIntervals where both are given and cross."""
    if low is not UNSET and high is not UNSET and low > high:
        raise BadIntervals


class SessionPatch(Input):
    """PATCH /api/sessions/:id: only what is given changes."""

    title: Title | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    interval_min: Seconds | UnsetType = UNSET
    interval_max: Seconds | UnsetType = UNSET
    transition: Transition | UnsetType = UNSET
    thumbnail: Url | UnsetType | None = UNSET
    is_public: bool | UnsetType = UNSET
    media: Media | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_intervals(self.interval_min, self.interval_max)


class NewSession(Input):
    """POST /api/sessions"""

    title: Title
    description: Description = ""
    interval_min: Seconds = 3
    interval_max: Seconds = 10
    transition: Transition = "fade"
    thumbnail: Url | None = None
    is_public: bool = False
    media: Media = []

    def __post_init__(self) -> None:
        check_intervals(self.interval_min, self.interval_max)


class ShareRequest(Input):
    """POST /api/sessions/:id/share"""

    user_id: str | UnsetType = UNSET


class Row(Struct, rename="camel"):
    """What is stored or answered."""


class User(Row):
    """An account as its owner sees it."""

    id: str
    email: str
    name: str
    referral_code: str
    created_at: str


class Account(User):
    """An account as it is stored."""

    password: str


class Slideshow(Row):
    """What everyone who sees a session sees of it."""

    title: str
    description: str
    thumbnail: str | None
    media_count: int
    interval_min: int
    interval_max: int
    transition: str
    created_at: str


class Preview(Slideshow, kw_only=True, frozen=True):  # type: ignore[misc]
    """What anyone with the link may know: no media URL, no id, no email."""

    owner_name: str
    share_code: str


class Session(Slideshow, kw_only=True):
    """A session without its media, as its owner sees it."""

    id: int
    user_id: str
    is_public: bool
    updated_at: str


class SharedSession(Slideshow, kw_only=True):
    """A session as a recipient plays it: its owner by name, not by id."""

    owner_name: str
    id: int
    is_public: bool
    updated_at: str


class MediaItem(Row):
    """One item of a session; `id` and `order` are its position, from 1 and from 0."""

    id: int
    media_url: str
    type: MediaType
    caption: str | None
    thumbnail: str | None
    order: int


class Share(Row):
    """A link of a session; `user_id` is None for the general one."""

    share_code: str
    share_url: str
    user_id: str | None


class Summary(Row):
    """A session in its owner's list."""

    session: Session
    shared: bool
    opens: int
    signups: int


class Opened(Row):
    """A preview, why its open was left out ("" when it counted, "owner" whenever it
    was the owner's), and whether the referral code brought a click."""

    preview: Preview
    reason: str
    clicked: bool


class Signup(Row):
    """One credited sign-up."""

    created_at: str
    source: str
    session_id: int | None


class Referrals(Row):
    """A user's referral counters by "clicks:direct" and the like, and a page of
    history; `cursor` is where the next page begins."""

    counts: dict[str, int]
    history: list[Signup]
    cursor: int | None


class Stats(Row):
    """A session's counters; `daily` is oldest first and has no gaps."""

    totals: dict[str, int]
    excluded: dict[str, int]
    daily: list[dict[str, str | int]]
    referrers: list[dict[str, str | int]]


class SessionStep(Struct, array_like=True, tag="session"):
    """A journal entry: a session is being made, shared or deleted. The nonce tells
    apart what two requests do at once."""

    session_id: int
    owner: str
    audience: str = ""
    code: str = ""
    nonce: str = msgspec.field(default_factory=lambda: secrets.token_hex(4))


class UserStep(Struct, array_like=True, tag="user"):
    """A journal entry: an account is being made."""

    user_id: str
    digest: str
    referral_code: str


Step = SessionStep | UserStep
_step = msgspec.json.Decoder(Step)
_signup = msgspec.json.Decoder(Signup)

EVENTS = ("opens", "views", "visitors", "plays", "signups")
EXCLUSIONS = ("head", "bot", "prefetch", "owner")
SOURCES = ("session_share", "direct")
DEFAULTS = {"description": "", "thumbnail": None, "isPublic": False}

to_json = msgspec.json.encode


def pack_media(media: Iterable[MediaInput]) -> bytes:
    """Media as stored: the JSON that is answered, deflated to a third."""
    rows = [
        MediaItem(order + 1, m.media_url, m.type, m.caption, m.thumbnail, order)
        for order, m in enumerate(media)
    ]
    return zlib.compress(to_json(rows), 9)


def unpack_media(blob: bytes) -> Raw:
    """The stored media as JSON, ready to be part of an answer."""
    return Raw(zlib.decompress(blob))


def media_items(media: Raw) -> list[Raw]:
    """Each item of some media, still as JSON."""
    return msgspec.json.decode(media, type=list[Raw])


def to_fields(given: Struct, **more: Any) -> dict[str, str]:
    """A record's given members, but its media, as the fields of a Redis hash."""
    members = msgspec.to_builtins(given) | more
    members.pop("media", None)
    return {k: "" if v is None else str(int(v) if isinstance(v, bool) else v)
            for k, v in members.items()}


def flat(fields: Mapping[str, str]) -> list[str]:
    """Field, value, field, value…, as HSET takes them."""
    return [x for pair in fields.items() for x in pair]


# ---------------------------------------------------------------------- Connections


class StoreUnavailable(Exception):
    """Redis is away, hung, loading, read-only or full; its text names the kind."""


Command = tuple[Any, ...]
ClusterError = redis_py.exceptions.RedisClusterException  # which is no RedisError
AWAY = (redis_py.ConnectionError, redis_py.TimeoutError, ClusterError)


# Nothing is retried behind our back: redis-py's ten retries with backoff would hold a
# thread for seconds.
CONNECTION: dict[str, Any] = {
    "protocol": 2,  # one reply shape for every engine
    "socket_timeout": STORE_TIMEOUT,
    "socket_connect_timeout": STORE_TIMEOUT / 2,
    "retry": Retry(NoBackoff(), 0),
}


def connect(url: RedisUrl) -> redis_py.Redis:
    """A client of one Redis, or of the master that Sentinels name."""
    if url.scheme != "redis+sentinel":
        return redis_py.Redis.from_url(url.text, **CONNECTION)
    quick = CONNECTION | {"socket_timeout": 0.3, "socket_connect_timeout": 0.3}
    login = {"username": url.username, "password": url.password, "db": url.db}
    sentinel = redis_py.Sentinel(
        url.hosts, sentinel_kwargs=quick, **CONNECTION | login
    )
    master: redis_py.Redis = sentinel.master_for(url.service)
    return master


def connect_cluster(url: RedisUrl) -> redis_py.RedisCluster:
    """A client of a Redis Cluster; connects at once."""
    nodes = [redis_py.cluster.ClusterNode(*host) for host in url.hosts]
    client = redis_py.RedisCluster(
        startup_nodes=nodes, username=url.username, password=url.password, **CONNECTION
    )
    refresh_aside(client)
    return client


def refresh_aside(client: redis_py.RedisCluster) -> None:
    """After an error redis-py asks node after node for the cluster's map while the
    request waits, up to a timeout each; let a thread do that."""
    manager: Any = client.nodes_manager
    refresh, busy = manager.initialize, threading.Lock()

    def work(*arguments: Any, **options: Any) -> None:
        with busy, contextlib.suppress(Exception):  # the next request meets it again
            refresh(*arguments, **options)

    def begin(*arguments: Any, **options: Any) -> None:
        if not busy.locked():
            thread = threading.Thread(target=work, args=arguments, kwargs=options)
            thread.daemon = True
            thread.start()

    manager.initialize = begin


class Breaker:
    """Around each exchange with Redis: fails fast while Redis is away, lets one request
    at a time find it back, and turns every driver's error into StoreUnavailable.

    Without it every thread waits out its timeout, and 80 requests take 80 timeouts.
    """

    def __init__(self) -> None:
        self._open_until = 0.0

    def __enter__(self) -> None:
        if self._open_until:
            moment = time.monotonic()
            if moment < self._open_until:
                raise StoreUnavailable("CircuitOpen")
            self._open_until = moment + STORE_TIMEOUT  # the others wait for this one

    def __exit__(self, _: Any, error: BaseException | None, trace: Any) -> None:
        away = isinstance(error, AWAY)
        self._open_until = time.monotonic() + BREAKER_COOLDOWN if away else 0.0
        if isinstance(error, redis_py.RedisError | ClusterError):
            late = isinstance(error.__context__, BlockingIOError)  # by the kernel
            kind = redis_py.TimeoutError if late else type(error)
            raise StoreUnavailable(kind.__name__) from error


class Connections:
    """One connection a thread: half the cost of borrowing one for every command.

    A connection that rested is tested for a closed peer before its next use, which
    makes a restarted Redis invisible; what fails after it was sent is never sent again,
    so nothing is counted twice. The kernel keeps the timeout: Python's own would poll
    before every send and every receive, and give up its lock for it.
    """

    def __init__(self, client: redis_py.Redis) -> None:
        self.client = client
        self.breaker = Breaker()
        self._local = threading.local()

    def execute_many(self, commands: Sequence[Command]) -> list[Any]:
        """Redis's replies in one round trip; an error is returned in its place."""
        with self.breaker:
            connection = self._connection()
            connection.send_packed_command([b"".join(map(pack_command, commands))])
            replies = [self._reply_or_error(connection) for _ in commands]
            self._local.used = time.monotonic()
            for reply in replies:
                if isinstance(reply, redis_py.exceptions.ReadOnlyError):
                    connection.disconnect()  # its name may lead to a new master by now
            return replies

    def _connection(self) -> Any:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self.client.connection_pool.get_connection()
            connection.register_connect_callback(self._keep_time)
            self._keep_time(connection)
            self._local.connection, self._local.used = connection, 0.0
        elif time.monotonic() - self._local.used > RESTED and self._stale(connection):
            connection.disconnect()
            connection.connect()
        return connection

    def _keep_time(self, connection: Any) -> None:
        if type(connection._sock) is socket.socket:  # by TLS it would not work
            connection._sock.settimeout(None)
            seconds, fraction = divmod(STORE_TIMEOUT, 1)
            timeval = struct.pack("ll", int(seconds), int(fraction * 1e6))
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                connection._sock.setsockopt(socket.SOL_SOCKET, option, timeval)

    @staticmethod
    def _stale(connection: Any) -> bool:
        try:
            return bool(connection.can_read(0))  # closed, or a reply nobody awaits
        except (redis_py.ConnectionError, OSError):
            return True

    @staticmethod
    def _reply_or_error(connection: Any) -> Any:
        try:
            return connection.read_response()
        except redis_py.ResponseError as error:
            return error


class ClusterConnections:
    """The same on Redis Cluster, where each command finds its own node."""

    def __init__(self, make: Callable[[], redis_py.RedisCluster]) -> None:
        self.breaker = Breaker()
        self._make = make
        self._made: Future[redis_py.RedisCluster] | None = None
        self._lock = threading.Lock()
        self._aside = ThreadPoolExecutor(1)

    @property
    def client(self) -> redis_py.RedisCluster:
        """Made on first use. RedisCluster connects when it is constructed, node after
        node; it does so aside, and nobody waits longer than for an answer."""
        with self._lock:
            made = self._made
            if made is None or (made.done() and made.exception()):
                made = self._made = self._aside.submit(self._make)
        try:
            return made.result(STORE_TIMEOUT)
        except TimeoutError:
            raise redis_py.TimeoutError from None

    def execute_many(self, commands: Sequence[Command]) -> list[Any]:
        """Replies of one command after another; an error is returned in its place."""
        with self.breaker:
            return [self._reply_or_error(command) for command in commands]

    def _reply_or_error(self, command: Command) -> Any:
        try:
            return self.client.execute_command(*command)
        except redis_py.ResponseError as error:
            return error


def connections_to(
    redis: redis_py.Redis | redis_py.RedisCluster | RedisUrl,
) -> Connections | ClusterConnections:
    """The way to talk to a client's or an URL's Redis."""
    if isinstance(redis, redis_py.RedisCluster):
        return ClusterConnections(lambda: redis)
    if isinstance(redis, redis_py.Redis):
        return Connections(redis)
    if redis.scheme == "redis+cluster":
        return ClusterConnections(lambda: connect_cluster(redis))
    return Connections(connect(redis))


# -------------------------------------------------------------------------- Scripts


class Script:
    """Lua that Redis runs as one step, made into a command by calling it. Each touches
    one slot only (invariant 5); what it will not do is an error with a Refusal's code.
    """

    texts: ClassVar[dict[str, str]] = {}  # by SHA-1, for a Redis that has forgotten

    def __init__(self, text: str) -> None:
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.texts[self.sha] = text

    def __call__(self, keys: Sequence[str], *args: Any) -> Command:
        return ("EVALSHA", self.sha, len(keys), *keys, *args)


# What a link shows, in the order of the records' members.
SHARED_FIELDS = """redis.call('HMGET', session, 'title', 'description', 'thumbnail',
  'mediaCount', 'intervalMin', 'intervalMax', 'transition', 'createdAt', 'ownerName')"""


SESSION_KEYS = (
    "local session, media, shares, codes, stats, daily, referrers, visitors"
    " = unpack(KEYS)\n"
)

# Only where the session still stands: HINCRBY on a deleted key would make it anew.
COUNT = """
local function count(counter, by, day, oldest)
  redis.call('HINCRBY', stats, counter, by)
  if redis.call('HINCRBY', daily, day .. ':' .. counter, by) == by then
    for _, field in ipairs(redis.call('HKEYS', daily)) do
      if field < oldest then redis.call('HDEL', daily, field) end
    end
  end
end
"""

# A code is valid while its session stands and holds it (invariant 1), and answers while
# the session is public.
SHARED = """
local function shared(code)
  local owner, public = unpack(redis.call('HMGET', session, 'userId', 'isPublic'))
  return owner, owner and redis.call('HGET', codes, code), public == '1'
end
local not_shared = redis.error_reply('SHARED_SESSION_NOT_FOUND')
"""

# Closes: an open counted for a session deleted between look-up and count.
OPEN = Script(SESSION_KEYS + COUNT + SHARED + f"""
local code, day, oldest, viewer, reason, visitor, host = unpack(ARGV)
local owner, audience, public = shared(code)
if not (audience and public) then return not_shared end
if reason == '' and viewer == owner then reason = 'owner' end
if reason == '' then
  count('opens', 1, day, oldest)
  if redis.call('PFADD', visitors, visitor) == 1 then
    local known = tonumber(redis.call('HGET', daily, day .. ':visitors') or 0)
    local grown = redis.call('PFCOUNT', visitors) - known
    if grown > 0 then count('visitors', grown, day, oldest) end
    if redis.call('TTL', visitors) < 0 then
      redis.call('EXPIRE', visitors, {2 * DAY})
    end
  end
  if host ~= '' then
    if redis.call('HLEN', referrers) >= 100
      and redis.call('HEXISTS', referrers, host) == 0 then host = 'other' end
    redis.call('HINCRBY', referrers, host, 1)
  end
elseif reason ~= 'uncounted' then
  redis.call('HINCRBY', stats, 'excluded:' .. reason, 1)
end
return {{viewer == owner and 'owner' or reason, {SHARED_FIELDS}}}
""")

# Closes: a play by someone whom the link was not meant for.
PLAY = Script(SESSION_KEYS + COUNT + SHARED + f"""
local code, day, oldest, viewer, counted = unpack(ARGV)
local owner, audience, public = shared(code)
if not (audience and public) then return not_shared end
if audience ~= '*' and viewer ~= audience and viewer ~= owner then
  return redis.error_reply('NOT_FOR_YOU')
end
if counted == '1' and viewer ~= owner then count('plays', 1, day, oldest) end
return {{{SHARED_FIELDS}, redis.call('HGET', session, 'updatedAt'),
        redis.call('GET', media)}}
""")

# Closes: a beacon or a sign-up that brings a deleted session's counters back. Who came
# while the link was open may sign up while it is paused.
SEEN = Script(SESSION_KEYS + COUNT + SHARED + """
local code, day, oldest, counter = unpack(ARGV)
local owner, audience, public = shared(code)
if not (audience and (public or counter == 'signups')) then return not_shared end
count(counter, 1, day, oldest)
""")

CREATE = Script(SESSION_KEYS + """
redis.call('HSET', session, unpack(ARGV, 2))
redis.call('SET', media, ARGV[1])
""")

SUMMARY = Script(SESSION_KEYS + """
return {redis.call('HGETALL', session), redis.call('HLEN', codes),
        redis.call('HMGET', stats, 'opens', 'signups')}
""")

# What every owner's script answers first: is it there, and is it yours?
OWNED = """
local owner = redis.call('HGET', session, 'userId')
if not owner then return redis.error_reply('SESSION_NOT_FOUND') end
if owner ~= ARGV[1] then return redis.error_reply('NOT_OWNER') end
"""

READ = Script(SESSION_KEYS + OWNED + """
return {redis.call('HGETALL', session), redis.call('GET', media),
        redis.call('HGETALL', codes)}
""")

STATS = Script(SESSION_KEYS + OWNED + """
return {redis.call('HGETALL', stats), redis.call('HGETALL', daily),
        redis.call('HGETALL', referrers)}
""")

# Closes: two edits whose intervals are right apart and wrong together.
UPDATE = Script(SESSION_KEYS + OWNED + """
local given = {}
for i = 3, #ARGV, 2 do given[ARGV[i]] = ARGV[i + 1] end
local low = given.intervalMin or redis.call('HGET', session, 'intervalMin')
local high = given.intervalMax or redis.call('HGET', session, 'intervalMax')
if tonumber(low) > tonumber(high) then
  return redis.error_reply('INVALID_REQUEST')
end
redis.call('HSET', session, unpack(ARGV, 3))
if ARGV[2] ~= '' then redis.call('SET', media, ARGV[2]) end
return redis.call('HGETALL', session)
""")

# Closes: two sharers at once; HSETNX lets the first code win (invariant 4).
SHARE = Script(SESSION_KEYS + OWNED + """
local audience, new_code = ARGV[2], ARGV[3]
redis.call('HSETNX', shares, audience, new_code)
redis.call('HSET', session, 'isPublic', 1)
local code = redis.call('HGET', shares, audience)
return {code, redis.call('HEXISTS', codes, code)}
""")

# Closes: a share that is published while its session is being deleted.
SEAL = Script(SESSION_KEYS + """
if redis.call('HGET', shares, ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', codes, ARGV[2], ARGV[1])
return 1
""")

# Closes: a session half deleted. Its codes stay listed until they are purged.
REMOVE = Script(SESSION_KEYS + OWNED + """
for _, code in ipairs(redis.call('HVALS', shares)) do
  redis.call('HSETNX', codes, code, '')
end
redis.call('DEL', session, media, shares, stats, daily, referrers, unpack(KEYS, 8))
return redis.call('HKEYS', codes)
""")

# Closes: a pointer taken away after somebody else made it anew.
FORGET = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
""")

# Closes: attempts counted for ever, because INCR came through and EXPIRE did not.
ATTEMPT = Script("""
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return {count, redis.call('PTTL', KEYS[1])}
""")

# Closes: a sign-up in the totals that the history does not know, or the reverse.
CREDIT = Script("""
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HINCRBY', KEYS[2], 'signups:' .. ARGV[1], 1)
return redis.call('RPUSH', KEYS[3], ARGV[2])
""")

# Closes: an account acknowledged after its email was freed, because its process stood
# still for so long that another one settled it.
ENROL = Script("""
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
""")
ABANDON = Script(f"""
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('SET', KEYS[2], '', 'EX', {DAY})
return 1
""")

REPORT = Script("""
local first, last = tonumber(ARGV[1]), tonumber(ARGV[2])
local length = redis.call('LLEN', KEYS[2])
if last < 0 or last >= length then last = length - 1 end
first = last - first
local rows = {}
if last >= 0 then rows = redis.call('LRANGE', KEYS[2], math.max(first, 0), last) end
return {redis.call('HGETALL', KEYS[1]), rows, first}
""")


# ---------------------------------------------------------------------------- Store


class Refusal(Exception):
    """What the store will not do; `code` is its name in scripts and the API."""

    code: ClassVar[str]
    kinds: ClassVar[dict[str, type[Refusal]]] = {}

    def __init_subclass__(cls, code: str) -> None:
        cls.code, cls.kinds[code] = code, cls


class SessionNotFound(Refusal, code="SESSION_NOT_FOUND"):
    """There is no such session."""


class UserNotFound(Refusal, code="USER_NOT_FOUND"):
    """There is no such account."""


class NotOwner(Refusal, code="NOT_OWNER"):
    """The session belongs to someone else."""


class NotShared(Refusal, code="SHARED_SESSION_NOT_FOUND"):
    """The code is unknown, paused or deleted; which of them is nobody's business."""


class NotForYou(Refusal, code="NOT_FOR_YOU"):
    """The link is bound to another account."""


class EmailTaken(Refusal, code="EMAIL_TAKEN"):
    """There is an account with this email."""


class BadIntervals(Refusal, code="INVALID_REQUEST"):
    """intervalMin would come to lie above intervalMax."""


GENERAL = "*"  # the audience of a link that is for everyone
JOURNAL_PATIENCE = 10  # seconds after which a journaled step counts as crashed
STUCK_AFTER = 2 * JOURNAL_PATIENCE  # and what is left then is tried and not settled


class Known(dict[str, Any]):
    """A bounded memory of what never changes while it lives, such as code → place.

    It saves a look-up and decides nothing: the session's slot does (invariant 1).
    """

    def remember(self, key: str, value: Any) -> None:
        """Keep it; when there is too much, all that was kept goes."""
        if len(self) >= KNOWN_LIMIT:
            self.clear()
        self[key] = value


def timestamp() -> str:
    """The time as every answer writes it: 2026-11-23T15:04:05Z."""
    return _timestamp(int(time.time()))


@functools.lru_cache(maxsize=4)
def _timestamp(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


@functools.lru_cache(maxsize=4)
def _date(days: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(days * DAY))


def today(ago: int = 0) -> str:
    """The UTC day, some days ago, as 2026-11-23."""
    return _date(int(time.time() // DAY) - ago)


class Visit(Struct, frozen=True):
    """One look at a shared session: by whom, and whether it is to be counted."""

    viewer: str = ""  # the signed-in user's id
    reason: str = "uncounted"  # "" to count it, else why it is left out
    visitor: bytes = b""  # what HyperLogLog gets to see of the person
    host: str = ""  # the referring host


def email_digest(email: str) -> str:
    """The part of an email's key; emails are compared without case."""
    return hashlib.sha256(email.lower().encode()).hexdigest()


def _pairs(reply: Any) -> dict[str, str]:
    """HGETALL's reply, a flat list from scripts and a dict from RedisCluster."""
    if not isinstance(reply, dict):
        reply = dict(zip(reply[::2], reply[1::2], strict=True))
    return {k.decode(): v.decode() for k, v in reply.items()}


def _session(session_id: int, fields: dict[str, str]) -> Session:
    row = {**DEFAULTS, **fields, "id": session_id}
    row["thumbnail"] = row["thumbnail"] or None
    return msgspec.convert(row, Session, strict=False)


class Store:
    """Accounts, sessions, links and counters in Redis; right after any race or crash.

    1. *The slot is the truth.* `share:<code>` and the in-process map only say where to
       look; OPEN, PLAY and SEEN answer from the session's slot, in the counting step.
    2. *A code handed out resolves.* `share` returns a code only when `share:<code>` is
       written and SEAL then found the session standing and listed the code; `codes`,
       not `shares`, is what owners are shown. Sharing again repairs a lost pointer.
    3. *A deletion leaves nothing.* REMOVE takes the session in one step and leaves its
       code list; one pipeline purges the pointers, then the list goes. A share that
       was under way finds no session to seal and takes its own pointer back.
    4. *One code an audience.* SHARE chooses by HSETNX, whoever calls at once.
    5. *One slot a script.* All keys of a script carry the same `{id}`.

    Work that spans slots is journaled first and settled by whoever comes next when a
    crash cut it short; every step of it may be repeated.

    A counted day of a session takes five fields of `:daily`, 25 bytes each for some
    100 days and 72 beyond, so 145 kB for the 400 days that are kept; and for two days
    a HyperLogLog of 0.1 to 14 kB.
    """

    def __init__(
        self, connections: Connections | ClusterConnections, keys: Keys | None = None
    ) -> None:
        self.connections = connections
        self.keys = keys or Keys()
        self._places = Known()
        self._referrers = Known()
        self._referral_codes = Known()
        self._visitor_keys: dict[str, bytes] = {}

    def execute(self, *command: Any) -> Any:
        """One command or script. Raises StoreUnavailable, and what a script refuses."""
        return self.execute_many([command])[0]

    def execute_many(self, commands: Sequence[Command]) -> list[Any]:
        """The replies of several, in one round trip; one more for a script that Redis
        has forgotten: it did not run, so running it again counts nothing twice."""
        replies = self.connections.execute_many(commands)
        for i, reply in enumerate(replies):
            if isinstance(reply, redis_py.exceptions.NoScriptError):
                _, sha, *rest = commands[i]
                anew = "EVAL", Script.texts[sha], *rest
                [replies[i]] = [reply] = self.connections.execute_many([anew])
            if isinstance(reply, redis_py.RedisError):
                if refusal := Refusal.kinds.get(str(reply)):
                    raise refusal
                raise StoreUnavailable(type(reply).__name__) from reply
        return replies

    def _keys_of(self, session_id: int) -> tuple[str, ...]:
        return self.keys.slot(session_id, today())

    # The journal: what spans slots, until it is done.

    @contextlib.contextmanager
    def _journaled(self, step: Step) -> Iterator[None]:
        """Around steps that span slots. A refusal leaves nothing to settle; a lost
        connection may, so then the entry stays."""
        entry = to_json(step)
        self.execute("ZADD", self.keys.journal, time.time(), entry)
        try:
            yield
        except StoreUnavailable:
            raise
        except Exception:
            self._done(entry)
            raise
        self._done(entry)

    def _done(self, entry: bytes) -> None:
        with contextlib.suppress(StoreUnavailable):  # it is done; the rest can wait
            self.execute("ZREM", self.keys.journal, entry)
            self.settle()

    def unsettled(self, older_than: float = 0) -> list[tuple[bytes, Step]]:
        """Journal entries of at least that age in seconds, oldest first, and what they
        say. What cannot be read is left to `flask check`."""
        oldest, found = time.time() - older_than, []
        for entry in self.execute("ZRANGEBYSCORE", self.keys.journal, "-inf", oldest):
            with contextlib.suppress(msgspec.DecodeError):
                found.append((entry, _step.decode(entry)))
        return found

    def settle(self) -> int:
        """Finish what a crash cut short; returns how many things that was. What cannot
        be finished stays for later, or for `flask check`."""
        settled = 0
        for entry, step in self.unsettled(JOURNAL_PATIENCE):
            with contextlib.suppress(StoreUnavailable):
                if isinstance(step, UserStep):
                    self._settle_user(step)
                else:
                    self._settle_session(step)
                settled += self.execute("ZREM", self.keys.journal, entry)
        return settled

    def _settle_session(self, step: SessionStep) -> None:
        if step.code:
            self._publish(step)
        if self.stands(step.session_id):
            self._index(step.session_id, step.owner)
        else:
            self.purge(step.session_id, step.owner)

    def _settle_user(self, step: UserStep) -> None:
        if self.execute(*ABANDON(self.keys.enrolment(step.user_id))):
            for key in (self.keys.email(step.digest),
                        self.keys.referral(step.referral_code)):
                self.execute(*FORGET([key], step.user_id))

    # Accounts

    def register(self, email: str, name: str, password: str) -> Account:
        """Make an account; `password` is its hash. Raises EmailTaken.

        The account itself is written last: until it stands, its email and referral
        code point at nobody, and settling frees them.
        """
        account = Account(
            id=uuid.uuid4().hex, email=email, name=name, password=password,
            referral_code=new_referral_code(), created_at=timestamp(),
        )
        digest = email_digest(email)
        step = UserStep(account.id, digest, account.referral_code)
        with self._journaled(step):
            if not self._claim(self.keys.email(digest), account.id):
                raise EmailTaken
            if not self._claim(self.keys.referral(account.referral_code), account.id):
                self.execute(*FORGET([self.keys.email(digest)], account.id))
                return self.register(email, name, password)
            fields = flat(to_fields(account))
            if not self.execute(*ENROL(self.keys.enrolment(account.id), *fields)):
                self._settle_user(step)  # frees what was claimed since
                raise StoreUnavailable("Abandoned")
        return account

    def _claim(self, key: str, user_id: str) -> bool:
        return bool(self.execute("SET", key, user_id, "NX"))

    def account(self, user_id: str) -> Account:
        """The account with this id. Raises UserNotFound."""
        fields = _pairs(self.execute("HGETALL", self.keys.user(user_id)))
        if not fields:
            raise UserNotFound
        return msgspec.convert(fields, Account)

    def referral_code(self, user_id: str) -> str:
        """The user's referral code, which never changes. Raises UserNotFound."""
        code: str | None = self._referral_codes.get(user_id)
        if code is None:
            code = self.account(user_id).referral_code
            self._referral_codes.remember(user_id, code)
        return code

    def account_by_email(self, email: str) -> Account:
        """The account with this email, in any case. Raises UserNotFound."""
        user_id = self.execute("GET", self.keys.email(email_digest(email)))
        return self.account(user_id.decode() if user_id else "")

    # Sessions

    def create_session(self, owner: Account, new: NewSession) -> Session:
        """Make a session from a checked request."""
        session_id = int(self.execute("INCR", self.keys.last_session_id))
        made = timestamp()
        fields = to_fields(
            new, userId=owner.id, ownerName=owner.name, mediaCount=len(new.media),
            createdAt=made, updatedAt=made,
        )
        stored = {k: v for k, v in fields.items() if v != "" or k not in DEFAULTS}
        with self._journaled(SessionStep(session_id, owner.id)):
            slot, media = self._keys_of(session_id), pack_media(new.media)
            self.execute(*CREATE(slot, media, *flat(stored)))
            self._index(session_id, owner.id)
        return _session(session_id, stored)

    def read_session(
        self, session_id: int, user_id: str
    ) -> tuple[Session, Raw, dict[str, str]]:
        """The owner's session, its media, and its links as code → audience.
        Raises SessionNotFound, NotOwner."""
        read = READ(self._keys_of(session_id), user_id)
        fields, media, codes = self.execute(*read)
        session = _session(session_id, _pairs(fields))
        return session, unpack_media(media), _pairs(codes)

    def list_sessions(
        self, user_id: str, limit: int, before: int
    ) -> tuple[list[Summary], int | None]:
        """A page of the user's sessions, newest first, and where the next one begins.
        Ids grow with time, so they order the set, and page it without a gap."""
        ids = [int(i) for i in self.execute(
            "ZREVRANGEBYSCORE", self.keys.user(user_id, "sessions"),
            f"({before}", "-inf", "LIMIT", 0, limit + 1,
        )]
        shown, more = ids[:limit], ids[limit:]
        replies = self.execute_many([SUMMARY(self._keys_of(i)) for i in shown])
        rows = [
            Summary(_session(i, _pairs(fields)), bool(links), int(opens or 0),
                    int(signups or 0))
            for i, (fields, links, (opens, signups)) in zip(shown, replies, strict=True)
            if fields
        ]
        return rows, shown[-1] if more else None

    def update_session(
        self, session_id: int, user_id: str, patch: SessionPatch
    ) -> Session:
        """Change the given members. Raises SessionNotFound, NotOwner, BadIntervals."""
        more: dict[str, Any] = {"updatedAt": timestamp()}
        media = b""
        if patch.media is not UNSET:
            media, more["mediaCount"] = pack_media(patch.media), len(patch.media)
        fields = flat(to_fields(patch, **more))
        update = UPDATE(self._keys_of(session_id), user_id, media, *fields)
        return _session(session_id, _pairs(self.execute(*update)))

    def delete_session(self, session_id: int, user_id: str) -> None:
        """Take the session away in one step, then purge what pointed at it.
        Raises SessionNotFound, NotOwner."""
        with self._journaled(SessionStep(session_id, user_id)):
            older = [self.keys.visitors(session_id, today(ago)) for ago in (-1, 1, 2)]
            self.execute(*REMOVE((*self._keys_of(session_id), *older), user_id))
            self.purge(session_id, user_id)

    def purge(self, session_id: int, owner: str = "") -> None:
        """Take away what points at a deleted session, its code list at the very end."""
        codes = self.keys.session(session_id, "codes")
        listed = self.execute("HKEYS", codes)
        self.execute_many([
            *(("DEL", self.keys.share(code.decode())) for code in listed),
            ("ZREM", self.keys.user(owner, "sessions"), session_id),
        ])
        self.execute("DEL", codes)

    def stands(self, session_id: int) -> bool:
        """Whether the session exists."""
        return bool(self.execute("EXISTS", self.keys.session(session_id)))

    def _index(self, session_id: int, owner: str) -> None:
        """List the session for its owner, unless it is deleted meanwhile."""
        index = self.keys.user(owner, "sessions")
        self.execute("ZADD", index, session_id, session_id)
        if not self.stands(session_id):
            self.execute("ZREM", index, session_id)

    # Sharing

    def share(self, session_id: int, user_id: str, audience: str = GENERAL) -> str:
        """The code of the session's link for `audience`, made on first demand.
        Raises SessionNotFound, NotOwner, UserNotFound for an unknown audience."""
        if audience != GENERAL and not self.execute("EXISTS", self.keys.user(audience)):
            raise UserNotFound if self.stands(session_id) else SessionNotFound
        key = f"{session_id}/{audience}"
        new_code = str(uuid.uuid4())
        known: str = self._places.get(key, new_code)
        (chosen, sealed), pointer = self.execute_many([
            SHARE(self._keys_of(session_id), user_id, audience, new_code),
            ("GET", self.keys.share(known)),
        ])
        code: str = chosen.decode()
        if not (sealed and code == known and pointer == b"%d" % session_id):
            step = SessionStep(session_id, user_id, audience, code)
            with self._journaled(step):
                if not self._publish(step):
                    raise SessionNotFound
            self._places.remember(key, code)
        return code

    def _publish(self, step: SessionStep) -> bool:
        """Point the code at its session, then list it there, if the session stands."""
        pointer = self.keys.share(step.code)
        self.execute("SET", pointer, step.session_id)
        slot = self._keys_of(step.session_id)
        if self.execute(*SEAL(slot, step.audience, step.code)):
            return True
        self.execute("DEL", pointer)
        return False

    def _place(self, code: str) -> int:
        """Which session a code may belong to. Raises NotShared."""
        session_id: int | None = self._places.get(code)
        if session_id is None:
            found = self.execute("GET", self.keys.share(code))
            if found is None:
                raise NotShared
            session_id = int(found)
            self._places.remember(code, session_id)
        return session_id

    def _shared(self, script: Script, code: str, *args: Any) -> Command:
        """The command of a script for the code's session."""
        day = today()
        slot = self.keys.slot(self._place(code), day)
        return script(slot, code, day, today(DAILY_KEPT), *args)

    def open_shared(self, code: str, visit: Visit, referral: str = "") -> Opened:
        """A shared session's preview, its open counted, and a click for `referral`'s
        user, in one round trip. Raises NotShared."""
        commands = [self._shared(
            OPEN, code, visit.viewer, visit.reason, visit.visitor, visit.host
        )]
        referrer = None if visit.reason else self.referrer(referral)
        if referrer == visit.viewer:
            referrer = None
        if referrer:
            commands.append(self._click(referrer, "session_share"))
        try:
            reason, row = self.execute_many(commands)[0]
        except NotShared:
            if referrer:  # no link, no click: take it back
                self.execute(*self._click(referrer, "session_share", -1))
            raise
        return Opened(_preview(code, *row), reason.decode(), bool(referrer))

    def play_shared(
        self, code: str, viewer: str, counted: bool = False
    ) -> tuple[SharedSession, Raw]:
        """A shared session in full, for a signed-in viewer; with `counted`, a play.
        Raises NotShared, NotForYou."""
        play = self._shared(PLAY, code, viewer, int(counted))
        row, updated, media = self.execute(*play)
        slideshow, owner_name = _slideshow(row)
        session = SharedSession(
            *slideshow, owner_name=owner_name, id=self._place(code), is_public=True,
            updated_at=updated.decode(),
        )
        return session, unpack_media(media)

    def count_shared(self, code: str, counter: str) -> int:
        """One more of `counter` for the code's session; its id. Raises NotShared."""
        self.execute(*self._shared(SEEN, code, counter))
        return self._place(code)

    def session_stats(self, session_id: int, user_id: str, days: int) -> Stats:
        """The owner's counters. Raises SessionNotFound, NotOwner."""
        hashes = self.execute(*STATS(self._keys_of(session_id), user_id))
        return _stats(days, *map(_counts, hashes))

    def visitor_key(self, day: str) -> bytes:
        """That day's random HMAC key, the same in every process, gone in two days."""
        if day not in self._visitor_keys:
            found = self._shared_random(self.keys.visitors_key(day), "EX", 2 * DAY)
            self._visitor_keys = {day: found}
        return self._visitor_keys[day]

    @property
    def limits_key(self) -> bytes:
        """The random HMAC key of those whose attempts are counted, for an hour."""
        return self._shared_random(self.keys.limits_key)

    def _shared_random(self, key: str, *life: Any) -> bytes:
        """The same random bytes in every process, made on first demand."""
        offered = "SET", key, secrets.token_bytes(32), "NX", *life
        found: bytes | None = self.execute_many([offered, ("GET", key)])[1]
        if found is None:
            raise StoreUnavailable("KeyLost")
        return found

    # Referrals

    def _click(self, user_id: str, source: str, count: int = 1) -> Command:
        key = self.keys.user(user_id, "referrals")  # an account stays for good
        return ("HINCRBY", key, f"clicks:{source}", count)

    def referrer(self, code: str) -> str | None:
        """The id of the user with this referral code, None for anything else."""
        if not REFERRAL_CODE.fullmatch(code):
            return None
        user_id: str | None = self._referrers.get(code)
        if not user_id and (found := self.execute("GET", self.keys.referral(code))):
            user_id = found.decode()
            self._referrers.remember(code, user_id)
        return user_id

    def count_click(self, code: str, viewer: str = "") -> bool:
        """One direct click for the code's user; False for an unknown or own code."""
        referrer = self.referrer(code)
        if referrer is None or referrer == viewer:
            return False
        self.execute(*self._click(referrer, "direct"))
        return True

    def credit_signup(self, referrer: str, share_code: str) -> None:
        """One sign-up for the user who brought a new account, and for the session
        whose link it came by, if that still stands."""
        session_id = None
        with contextlib.suppress(NotShared):
            if share_code:
                session_id = self.count_shared(share_code, "signups")
        source = "session_share" if share_code else "direct"
        keys = [self.keys.user(referrer, p) for p in ("", "referrals", "signups")]
        row = to_json(Signup(timestamp(), source, session_id))
        self.execute(*CREDIT(keys, source, row))

    def referral_report(self, user_id: str, limit: int, cursor: int) -> Referrals:
        """The user's clicks and sign-ups; history newest first, from `cursor` down
        (-1: from the newest)."""
        keys = [self.keys.user(user_id, part) for part in ("referrals", "signups")]
        counts, rows, rest = self.execute(*REPORT(keys, limit - 1, cursor))
        history = [_signup.decode(row) for row in reversed(rows)]
        return Referrals(_counts(counts), history, rest - 1 if rest > 0 else None)


def pseudonym(person: str, key: bytes) -> bytes:
    """HMAC-SHA-256 of a person, who cannot be told from it once the key is gone."""
    mac = _keyed(key).copy()
    mac.update(person.encode())
    return mac.digest()


@functools.lru_cache(maxsize=2)
def _keyed(key: bytes) -> hmac.HMAC:
    """A MAC to copy: the key is worked in once, not for every visitor."""
    return hmac.new(key, digestmod="sha256")


def _stats(
    days: int, totals: dict[str, int], daily: dict[str, int], hosts: dict[str, int]
) -> Stats:
    largest = sorted(hosts.items(), key=lambda item: (-item[1], item[0]))[:20]
    return Stats(
        totals={event: totals.get(event, 0) for event in EVENTS},
        excluded={r: totals.get(f"excluded:{r}", 0) for r in EXCLUSIONS},
        daily=[
            {"date": day} | {event: daily.get(f"{day}:{event}", 0) for event in EVENTS}
            for day in map(today, reversed(range(days)))
        ],
        referrers=[{"host": host, "opens": opens} for host, opens in largest],
    )


def _counts(reply: Any) -> dict[str, int]:
    return {field: int(value) for field, value in _pairs(reply).items()}


def _slideshow(row: Iterable[bytes | None]) -> tuple[tuple[Any, ...], str]:
    """A Slideshow's members and its owner's name from what Redis holds of
    SHARED_FIELDS, where absent means empty."""
    title, text, image, count, low, high, transition, made, owner = [
        value or b"" for value in row
    ]
    members = (
        title.decode(), text.decode(), image.decode() or None, int(count), int(low),
        int(high), transition.decode(), made.decode(),
    )
    return members, owner.decode()


@functools.lru_cache(PREVIEWS_KNOWN)
def _preview(code: str, *row: bytes | None) -> Preview:
    slideshow, owner_name = _slideshow(row)
    return Preview(*slideshow, owner_name=owner_name, share_code=code)


REFERRAL_CODE = re.compile(r"[a-z0-9]{8}")


def new_referral_code() -> str:
    """Eight random characters of [a-z0-9]."""
    return "".join(
        secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8)
    )


# --------------------------------------------------------------------------- Visits

# What `crawler-user-agents` (monperrus, monthly releases) does not know of.
MACHINES = re.compile(
    # How machines speak of themselves; but CUBOT makes telephones.
    r"(?<!cu)bot\b|crawl|spider|scrap[ey]|unfurl|https?://"
    r"|(?:link|url|microsoft).?preview"
    # Unfurlers without such a word.
    r"|^(?:Iframely|Viber|Valve/Steam|Synapse|matrix-media|mattermost|Misskey|Discourse)"
    r"|Cardyb|Google(?:Messages|-Safety|-PageRenderer)|XING-content|^Microsoft Office"
    r"|ms-office"
    # Programs.
    r"|^(?:Java|node|undici|Ruby|PHP|GuzzleHttp|PostmanRuntime|insomnia|Deno|Bun|reqwest"
    r"|Dart|Faraday)\b|WindowsPowerShell|^(?!Mozilla/).*CFNetwork/",
    re.IGNORECASE,
)
# People whom the list takes for machines: Slack's desktop app says "Sonic", and Viber's
# browser bears the name of its unfurler.
IN_APP = re.compile(r"^Mozilla/5\.0 .* (?:Slack_SSB|Viber|ViberPC)/\d")


@functools.lru_cache(maxsize=4096)
def is_bot(user_agent: str) -> bool:
    """Whether a crawler, unfurler or program names itself; nobody at all is one too."""
    if IN_APP.search(user_agent):
        return False
    return (
        not user_agent
        or MACHINES.search(user_agent) is not None
        or crawleruseragents.is_crawler(user_agent)
    )


@functools.lru_cache(maxsize=4096)
def truncated_address(address: str) -> str:
    """The address's network: IPv4 /24, IPv6 /48 (an IPv4-mapped one is IPv4)."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return ""
    ip = getattr(ip, "ipv4_mapped", None) or ip
    bits = 24 if ip.version == 4 else 48
    return str(ipaddress.ip_network(f"{ip}/{bits}", strict=False))


def from_bot(environ: Mapping[str, Any]) -> bool:
    """Whether a request says that it comes from a machine."""
    return is_bot(environ.get("HTTP_USER_AGENT", "")[:512])


def exclusion(environ: Mapping[str, Any]) -> str:
    """Why a request is not a person's: head, bot, prefetch, or "" when it is."""
    if environ["REQUEST_METHOD"] == "HEAD":
        return "head"
    if from_bot(environ):
        return "bot"
    purpose = environ.get("HTTP_SEC_PURPOSE") or environ.get("HTTP_PURPOSE")
    return "prefetch" if purpose and "pre" in purpose.lower() else ""


def referring_host(referer: str, own: str) -> str:
    """The host of `Referer`, lower case; "" for none, for our own, for nonsense."""
    try:
        parts = urlsplit(referer)
        host = parts.hostname or ""
    except ValueError:
        return ""
    host = host.rstrip(".")
    if parts.scheme not in ("http", "https", "android-app") or host == own:
        return ""
    return host if re.fullmatch(r"[\w.:-]{1,253}", host, re.ASCII) else ""


def visit() -> Visit:
    """This request as the counters see it; asks for the login only if a cookie came."""
    environ = request.environ
    reason = exclusion(environ)
    if reason == "bot":
        return Visit(reason=reason)
    if reason:  # the same page may be shown later
        return Visit(current_user_id() or "", reason)
    service = state()
    network = truncated_address(environ.get("REMOTE_ADDR", ""))
    person = f"{network}\n{environ.get('HTTP_USER_AGENT', '')}"
    visitor = pseudonym(person, service.store.visitor_key(today()))
    referer = environ.get("HTTP_REFERER")
    host = referring_host(referer, service.settings.host) if referer else ""
    viewer_id = current_user_id() if "HTTP_COOKIE" in environ else ""
    return Visit(viewer_id or "", "", visitor, host)


# --------------------------------------------------------------------------- Logins


class Login(ServerSideSession):
    """Flask's `session`: read from the store by the first `get`, not before."""

    def __init__(self, read: Callable[[], tuple[str, dict[str, Any]]]) -> None:
        self._read: Callable[[], tuple[str, dict[str, Any]]] | None = read
        super().__init__()

    def loaded(self) -> Login:
        """Itself, read from the store."""
        if self._read:
            read, self._read = self._read, None
            self.sid, data = read()
            dict.update(self, data)
        return self

    def get(self, key: str, default: Any = None) -> Any:
        return dict.get(self.loaded(), key, default)


class LoginInterface(ServerSideSessionInterface):
    """Flask-Session on our store, without what 0.8.0 gets wrong: it unpickles what will
    not decode, answers 500 to it, writes on reads, and keeps its id at sign-in."""

    def __init__(self, app: Flask, store: Store) -> None:
        super().__init__(app, key_prefix=store.keys.login)
        self.store = store

    def open_session(self, app: Flask, request: flask.Request) -> Login:
        return Login(functools.partial(self._read, request.environ))

    def save_session(self, app: Flask, session: Login, response: Response) -> None:
        if session.modified:
            super().save_session(app, session, response)

    def get_expiration_time(self, app: Flask, session: Any) -> datetime:
        return datetime.fromtimestamp(time.time(), UTC) + app.permanent_session_lifetime

    # The store is written within the view, so that its failure is the view's; what
    # Flask-Session does after it sets or deletes the cookie only.

    def start(self, user_id: str) -> None:
        """Sign in: under a new id, and the old one is dead."""
        login: Any = flask.session
        old = login.loaded().sid
        login.clear()
        login.sid = self._generate_sid(self.sid_length)
        login["userId"] = user_id
        seconds = int(self.app.permanent_session_lifetime.total_seconds())
        key = self._get_store_id(login.sid)
        self.store.execute("SET", key, to_json(dict(login)), "EX", seconds)
        if old:
            self.store.execute("DEL", self._get_store_id(old))

    def end(self) -> None:
        """Sign out, for good."""
        login: Any = flask.session
        self.store.execute("DEL", self._get_store_id(login.loaded().sid))
        login.clear()

    def _read(self, environ: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        match = LOGIN_COOKIE.search(environ.get("HTTP_COOKIE", ""))
        if match:
            data = self._retrieve_session_data(self._get_store_id(match[1]))
            if data is not None:
                return match[1], data
        return "", {}

    def _retrieve_session_data(self, store_id: str) -> dict[str, Any] | None:
        """Absent, expired and foreign values are the same: nobody is signed in."""
        try:
            return _login_decoder.decode(self.store.execute("GET", store_id) or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        except StoreUnavailable as error:
            if str(error.__cause__).startswith("WRONGTYPE"):
                return None
            raise

    def _delete_session(self, store_id: str) -> None:
        """Nothing: `end` did."""

    def _upsert_session(
        self, session_lifetime: timedelta, session: ServerSideSession, store_id: str
    ) -> None:
        """Nothing: `start` did."""


LOGIN_COOKIE = re.compile(r"(?:^|[; ])connect\.sid=([A-Za-z0-9_-]{43})(?:;|$)")
_login_decoder = msgspec.json.Decoder(dict[str, Any])


def current_user_id() -> str | None:
    """Who is signed in; no look-up where no login cookie came."""
    user_id = flask.session.get("userId")
    return user_id if isinstance(user_id, str) else None


def current_account() -> Account | None:
    """The account that is signed in."""
    user_id = current_user_id()
    try:
        return store().account(user_id) if user_id else None
    except UserNotFound:
        return None


def viewer() -> Account:
    """The account that is signed in; 401 where there is none."""
    account = current_account()
    if account is None:
        raise Problem("UNAUTHORIZED")
    return account


def logins() -> LoginInterface:
    """Where logins start and end."""
    return current_app.session_interface  # type: ignore[return-value]


# Costs an unknown email what a wrong password costs.
@functools.cache
def nobodys_hash() -> str:
    """A hash that no password has."""
    return generate_password_hash(secrets.token_urlsafe())


# --------------------------------------------------------------------------- Errors


class Problem(Exception):
    """An answer that is not the one asked for; `code` names a row of PROBLEMS."""

    def __init__(
        self,
        code: str,
        message: str = "",
        details: list[dict[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.status, default = PROBLEMS[code]
        self.message = message or default
        self.details = details
        self.headers = dict(headers or {})

    def body(self, request_id: str) -> dict[str, Any]:
        """What is told, in the one shape of every error."""
        told: dict[str, Any] = {
            "error": HTTPStatus(self.status).phrase, "message": self.message,
            "code": self.code, "requestId": request_id,
        }
        if self.details:
            told["details"] = self.details
        if self.status == 429:
            told["retryAfter"] = int(self.headers["Retry-After"])
        return told


PROBLEMS: dict[str, tuple[int, str]] = {
    "INVALID_REQUEST": (400, "The request is not valid"),
    "INVALID_SESSION_ID": (400, "Invalid session ID"),
    "UNAUTHORIZED": (401, "Unauthorized"),
    "INVALID_CREDENTIALS": (401, "Invalid email or password"),
    "CROSS_SITE": (403, "Requests from another site are refused"),
    "NOT_OWNER": (403, "You do not have permission to access this session"),
    "NOT_OWNER_SHARE": (403, "You do not have permission to share this session"),
    "NOT_FOR_YOU": (403, "This link was made for another account"),
    "SESSION_NOT_FOUND": (404, "Session not found"),
    "SHARED_SESSION_NOT_FOUND": (404, "Shared session not found"),
    "USER_NOT_FOUND": (404, "User not found"),
    "NOT_FOUND": (404, "There is nothing here"),
    "METHOD_NOT_ALLOWED": (405, "This method is not allowed here"),
    "EMAIL_TAKEN": (409, "There is already an account with this email"),
    "BODY_TOO_LARGE": (413, "The body is larger than 1 MiB"),
    "UNSUPPORTED_MEDIA_TYPE": (415, "The body must be application/json"),
    "RANGE_NOT_SATISFIABLE": (416, "There is no such part of it"),
    "RATE_LIMITED": (429, "Too many attempts, please wait"),
    "HEADERS_TOO_LARGE": (431, "The headers are too large"),
    "INTERNAL_ERROR": (500, "Something went wrong on our side"),
    "NOT_IMPLEMENTED": (501, "This is not offered"),
    "STORE_UNAVAILABLE": (503, "The service is briefly unavailable"),
}

HTTP_ERRORS = {
    404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "BODY_TOO_LARGE",
    416: "RANGE_NOT_SATISFIABLE", 431: "HEADERS_TOO_LARGE", 500: "INTERNAL_ERROR",
    501: "NOT_IMPLEMENTED",
}
HTTP_ERROR_HEADERS = ("Allow", "Content-Range")


def as_problem(error: Exception) -> Problem:
    """Any exception as what its reader is told; nothing of a driver's text."""
    if isinstance(error, InternalServerError) and error.original_exception:
        error = error.original_exception  # type: ignore[assignment]
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        status = error.code or 500
        if status == 404 and request.path.startswith(("/shared/", "/api/shared/")):
            return Problem(NotShared.code)  # a code with a slash is malformed, too
        fallback = "INVALID_REQUEST" if status < 500 else "INTERNAL_ERROR"
        headers = {k: v for k, v in error.get_headers() if k in HTTP_ERROR_HEADERS}
        return Problem(HTTP_ERRORS.get(status, fallback), headers=headers)
    if isinstance(error, BadIntervals):
        return validation_problem("must not be above intervalMax - at `$.intervalMin`")
    if isinstance(error, Refusal):
        return Problem(error.code)
    if isinstance(error, StoreUnavailable):
        return Problem("STORE_UNAVAILABLE", headers={"Retry-After": "1"})
    log.error("unexpected %s", type(error).__name__, exc_info=error)
    return Problem("INTERNAL_ERROR")


def handle_error(error: Exception) -> Response:
    """The one place where errors become responses: JSON under /api, else a page."""
    problem = as_problem(error)
    if problem.code == "STORE_UNAVAILABLE":
        state().metrics.store_errors.inc()
        flask.session.modified = False  # the login is not written at the end either
    body = problem.body(request.environ["joip_share.id"])
    if re.match(r"/(api|oembed|metrics)(/|$)", request.path):
        return answer(body, problem.status, problem.headers)
    html = page("error.html", None, status=problem.status, **body)
    return Answer.of(html.encode(), HTML, problem.status, problem.headers)


# ------------------------------------------------------------------------- JSON API

JSON = "application/json"
HTML = "text/html; charset=utf-8"
api = Blueprint("api", __name__, url_prefix="/api")
T = TypeVar("T")


def answer(
    body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON response."""
    return Answer.of(to_json(body), JSON, status, headers)


def login_required(view: Callable[..., Response]) -> Callable[..., Response]:
    """Gives the view the signed-in user's id; 401 without one, before all else."""

    @functools.wraps(view)
    def guarded(**arguments: str) -> Response:
        user_id = current_user_id()
        if user_id is None:
            raise Problem("UNAUTHORIZED")
        return view(user_id, **arguments)

    return guarded


def owned_session(view: Callable[..., Response]) -> Callable[..., Response]:
    """For routes of one session: signed in, and `:id` a positive integer."""

    @functools.wraps(view)
    def guarded(user_id: str, session_id: str) -> Response:
        return view(user_id, parse_session_id(session_id))

    return login_required(guarded)


def parse_session_id(text: str) -> int:
    """ASCII digits only: `str.isdigit` takes other scripts', `<int:>` gives a 404."""
    if not re.fullmatch(r"[1-9][0-9]*", text):
        raise Problem("INVALID_SESSION_ID")
    return int(text) if len(text) <= len(str(MAX_ID)) else MAX_ID  # none is that large


def parse_code(text: str) -> str:
    """A share code in its one spelling, the only one that keys are made from."""
    if not SHARE_CODE.fullmatch(text):
        raise NotShared
    return text.lower()


SHARE_CODE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    re.IGNORECASE | re.ASCII,
)


def query_int(name: str, default: int, low: int, high: int) -> int:
    """A whole number from the query string; anything else is 400 naming it."""
    text = request.args.get(name, str(default))
    if re.fullmatch(r"[0-9]{1,16}", text) and low <= int(text) <= high:
        return int(text)
    problem = f"must be a whole number from {low} to {high}"
    raise Problem("INVALID_REQUEST", f"{name} {problem}", [invalid(name, problem)])


def invalid(field: str, message: str) -> dict[str, str]:
    """One entry of an error's `details`."""
    return {"field": field, "message": message}


# What a person is told instead of what msgspec says.
PLAIN_WORDS = {
    r"Expected `str` of length >= 1": "must not be blank",
    r"Expected `str` of length >= (\d+)": r"must have at least \1 characters",
    r"Expected `str` of length <= (\d+)": r"must have at most \1 characters",
    r"Expected `array` of length <= (\d+)": r"must have at most \1 items",
    r"Expected `int` >= (\d+)": r"must be at least \1",
    r"Expected `int` <= (\d+)": r"must be at most \1",
    r"Expected `int`, got .*": "must be a whole number",
    r"Expected `str`, got .*": "must be a text",
    r"Expected `str \| null`, got .*": "must be a text or null",
    r"Expected `bool`, got .*": "must be true or false",
    r"Expected `array`, got .*": "must be a list",
    r"Expected `object`, got .*": "must be an object",
    r"Number out of range": "is out of range",
    r"Expected `str` matching regex .*": "has the wrong form",
    r"Invalid enum value .*": "is none of the values that it may have",
    r"Object missing required field .*": "is required",
    r"Object contains unknown field .*": "is not a known member",
}
PATTERN_MEANS = {
    "email": "must be an email address",
    "mediaUrl": "must be an http or https URL",
    "thumbnail": "must be an http or https URL",
    "title": "must not be blank",
    "name": "must not be blank",
}


def read_body(kind: type[T], optional: bool = False) -> T:
    """The JSON body as a checked record. 413, 415 or 400 with the field to blame."""
    if optional and request.environ.get("CONTENT_LENGTH", "0") in ("", "0"):
        return kind()
    body = request.get_data(cache=False)
    if optional and not body.strip():
        return kind()
    if request.mimetype != JSON:
        raise Problem("UNSUPPORTED_MEDIA_TYPE")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise validation_problem(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem("INVALID_REQUEST", "The body is not valid JSON") from None


def validation_problem(text: str) -> Problem:
    """msgspec's complaint ("… - at `$.title`") as a Problem that names the field."""
    said, marker, path = text.rpartition(" - at `$.")
    if not marker:
        said, path = text, ""
    field, message = path.rstrip("`"), said
    if member := re.match(r"Object .* field `(.*)`", said, re.DOTALL):
        field = f"{field}.{member[1]}".lstrip(".")[:100]
    for pattern, meant in PLAIN_WORDS.items():
        if match := re.fullmatch(pattern, said, re.DOTALL):
            message = match.expand(meant)
            break
    if said.startswith("Expected `str` matching regex"):
        message = PATTERN_MEANS.get(field.rpartition(".")[2], message)
    if not field:
        return Problem("INVALID_REQUEST", f"The body {message}")
    return Problem("INVALID_REQUEST", f"{field} {message}", [invalid(field, message)])


def page_wanted(lowest: int) -> tuple[int, int]:
    """`limit`, and `cursor`: where the page begins, from the newest if not given."""
    given = request.args.get("cursor")  # empty is the same as none
    cursor = query_int("cursor", MAX_ID, lowest, MAX_ID) if given else MAX_ID
    return query_int("limit", 50, 1, 200), cursor


def next_link(path: str, query: str) -> dict[str, str]:
    """RFC 8288's `Link` to the next page, if there is one."""
    url = f"{settings().public_url}{path}?{query}"
    return {"Link": f'<{url}>; rel="next"'} if query else {}


@api.post("/register")
def register() -> Response:
    """Make an account, credit who brought it, sign in."""
    new = read_body(Registration)
    enforce(REGISTRATIONS, request.remote_addr or "")
    before = current_user_id()
    account = create_account(new)
    attribute(account, before)
    logins().start(account.id)
    return answer(public(account), 201)


def create_account(new: Registration) -> Account:
    """Make the account that was asked for. Raises EmailTaken."""
    name = "" if new.name is UNSET else new.name.strip()
    return store().register(new.email, name, generate_password_hash(new.password))


@api.post("/login")
def login() -> Response:
    """Sign in. A wrong password and an unknown email cost the same hash."""
    given = read_body(Credentials)
    who = (request.remote_addr or "", given.email.lower())
    enforce(FAILED_LOGINS, *who, spend=False)
    try:
        account = store().account_by_email(given.email)
    except UserNotFound:
        account = None
    stored = account.password if account else nobodys_hash()
    if not check_password_hash(stored, given.password) or account is None:
        enforce(FAILED_LOGINS, *who)
        raise Problem("INVALID_CREDENTIALS")
    enforce(FAILED_LOGINS, *who, spend=False)  # a burst of guesses gains nothing
    logins().start(account.id)
    return answer(public(account))


@api.post("/logout")
def logout() -> Response:
    """Sign out, for good."""
    if current_user_id() is not None:
        logins().end()
    return Answer(status=204)


@api.get("/auth/user")
@login_required
def auth_user(user_id: str) -> Response:
    """Who is signed in."""
    return answer(public(viewer()))


def public(account: Account) -> User:
    """The account without its password."""
    return msgspec.convert(account, User, from_attributes=True)


@api.get("/sessions")
@login_required
def list_sessions(user_id: str) -> Response:
    """My sessions, newest first."""
    rows, following = session_page(user_id)
    sessions = [row.session for row in rows]
    return answer(sessions, headers=next_link("/api/sessions", following))


def session_page(user_id: str) -> tuple[list[Summary], str]:
    """A page of the user's sessions, and the query of the next one."""
    limit, cursor = page_wanted(1)
    rows, following = store().list_sessions(user_id, limit, cursor)
    return rows, f"limit={limit}&cursor={following}" if following else ""


@api.post("/sessions")
@login_required
def create_session(user_id: str) -> Response:
    """Make a session."""
    new = read_body(NewSession)
    session = store().create_session(viewer(), new)
    where = f"{settings().public_url}/api/sessions/{session.id}"
    return answer(session, 201, {"Location": where})


@api.get("/sessions/<session_id>")
@owned_session
def read_session(user_id: str, session_id: int) -> Response:
    """A session of mine with its media and links."""
    session, media, codes = store().read_session(session_id, user_id)
    shares = share_list(codes, viewer())
    return answer({"session": session, "media": media, "shares": shares})


def share_list(codes: dict[str, str], owner: Account) -> list[Share]:
    """A session's links, the general one first."""
    return [
        Share(code, share_url(code, owner.referral_code),
              None if audience == GENERAL else audience)
        for code, audience in sorted(codes.items(), key=lambda item: item[1] != GENERAL)
    ]


def share_url(code: str, referral_code: str = "") -> str:
    """The link that is handed out."""
    query = f"?r={referral_code}" if referral_code else ""
    return f"{settings().public_url}/shared/{code}{query}"


@api.patch("/sessions/<session_id>")
@owned_session
def update_session(user_id: str, session_id: int) -> Response:
    """Change a session of mine."""
    patch = read_body(SessionPatch)
    return answer(store().update_session(session_id, user_id, patch))


@api.delete("/sessions/<session_id>")
@owned_session
def delete_session(user_id: str, session_id: int) -> Response:
    """Delete a session of mine, with all that belongs to it."""
    store().delete_session(session_id, user_id)
    return Answer(status=204)


@api.post("/sessions/<session_id>/share")
@owned_session
def share_session(user_id: str, session_id: int) -> Response:
    """The session's link, made on first demand."""
    wanted = read_body(ShareRequest, optional=True)
    audience = GENERAL if wanted.user_id is UNSET else wanted.user_id
    if wanted.user_id is not UNSET and not USER_ID.fullmatch(audience):
        audience = "-"  # nobody's id
    try:
        code = store().share(session_id, user_id, audience)
    except NotOwner:
        raise Problem("NOT_OWNER_SHARE") from None
    state().metrics.shares.inc()
    referral_code = store().referral_code(user_id)
    return answer({"shareCode": code, "shareUrl": share_url(code, referral_code),
                   "referralCode": referral_code})


USER_ID = re.compile(r"[0-9a-f]{32}")


@api.get("/sessions/<session_id>/stats")
@owned_session
def session_stats(user_id: str, session_id: int) -> Response:
    """What came of a session's links."""
    days = query_int("days", 30, 1, 365)
    return answer(store().session_stats(session_id, user_id, days))


@api.get("/sessions/<session_id>/stats.csv")
@owned_session
def session_stats_csv(user_id: str, session_id: int) -> Response:
    """The daily series as CSV (RFC 4180)."""
    days = query_int("days", 30, 1, 365)
    table = io.StringIO()
    writer = csv.DictWriter(table, ["date", *EVENTS])
    writer.writeheader()
    writer.writerows(store().session_stats(session_id, user_id, days).daily)
    name = f'attachment; filename="session-{session_id}-stats.csv"'
    return Answer.of(table.getvalue().encode(), "text/csv; charset=utf-8",
                     headers={"Content-Disposition": name})


@api.get("/shared/<code>/preview")
def shared_preview(code: str) -> Response:
    """What anyone with the link may see; counts an open."""
    return answer(store().open_shared(parse_code(code), visit()).preview)


@api.get("/shared/<code>")
@login_required
def shared_session(user_id: str, code: str) -> Response:
    """A shared session in full; counts a play."""
    counted = request.method == "GET"
    session, media = store().play_shared(parse_code(code), user_id, counted)
    return answer({"session": session, "media": media})


@api.get("/shared/media/<code>")
@login_required
def shared_media(user_id: str, code: str) -> Response:
    """A page of a shared session's media."""
    offset = query_int("offset", 0, 0, MAX_ID)
    limit = query_int("limit", 100, 1, 500)
    _, media = store().play_shared(parse_code(code), user_id)
    items = media_items(media)
    return answer({"media": items[offset : offset + limit], "total": len(items)})


@api.post("/shared/<code>/seen")
def shared_seen(code: str) -> Response:
    """The preview page's beacon; counts a view."""
    store().count_shared(parse_code(code), "views")
    return Answer(status=204)


@api.get("/referrals")
@login_required
def referrals(user_id: str) -> Response:
    """Whom my links brought."""
    report, following = referral_page(viewer())
    return answer(report, headers=next_link("/api/referrals", following))


def referral_page(user: Account) -> tuple[dict[str, Any], str]:
    """A page of the user's referrals as answered, and the query of the next one."""
    limit, cursor = page_wanted(0)
    found = store().referral_report(user.id, limit, cursor)
    by_source = {
        source: {what: found.counts.get(f"{what}:{source}", 0)
                 for what in ("clicks", "signups")}
        for source in SOURCES
    }
    totals = {what: sum(by_source[source][what] for source in SOURCES)
              for what in ("clicks", "signups")}
    report = {
        "referralCode": user.referral_code,
        "referralUrl": f"{settings().public_url}/?ref={user.referral_code}",
        "totals": totals, "bySource": by_source, "history": found.history,
    }
    ended = found.cursor is None
    return report, "" if ended else f"limit={limit}&cursor={found.cursor}"


@api.get("/openapi.json")
def openapi() -> Response:
    """The OpenAPI document, with this service as its server."""
    return answer(openapi_document() | {"servers": [{"url": settings().public_url}]})


@functools.cache
def openapi_document() -> dict[str, Any]:
    """openapi.yaml, read once."""
    return dict(yaml.safe_load((HERE / "openapi.yaml").read_text("utf-8")))


# Rate limits: the two of the contract.

@dataclass(frozen=True)
class Limit:
    """So many attempts in a window of so many seconds."""

    name: str
    amount: int
    seconds: int


REGISTRATIONS = Limit("register", 10, 3600)
FAILED_LOGINS = Limit("login", 5, 900)


def enforce(limit: Limit, *who: str, spend: bool = True) -> None:
    """429 after too many attempts; `spend` counts this one. Counted in Redis, for all
    processes; who it was is an HMAC: no address, no email."""
    if not settings().ratelimit_enabled:
        return
    person = pseudonym("\n".join(who), store().limits_key).hex()
    attempts = store().keys.attempts(limit.name, person)
    count, left = store().execute(*ATTEMPT([attempts], int(spend), limit.seconds))
    if count - spend < limit.amount:
        return
    wait = left // 1000 + 1
    raise Problem("RATE_LIMITED", headers={
        "Retry-After": str(wait),
        "X-RateLimit-Limit": str(limit.amount),
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(time.time()) + wait),
    })


# The referral cookie: who sent this visitor first.


def remembered() -> tuple[str, str] | None:
    """The referral and share code of the visitor's first touch, within 30 days."""
    match = REFERRAL_COOKIE.search(request.environ.get("HTTP_COOKIE", ""))
    if not match or not 0 <= time.time() - int(match[2]) <= REFERRAL_LIFETIME:
        return None
    return match[1], match[3]


REFERRAL_COOKIE = re.compile(
    r"(?:^|[; ])joip_ref=([a-z0-9]{8})\.([0-9]{1,12})\.([0-9a-f-]{36}|)(?:;|$)"
)


def remember(response: Response, code: str, share_code: str = "") -> None:
    """Keep who sent this visitor; the first one wins."""
    if remembered() is None:
        response.headers.add("Set-Cookie", "; ".join((
            f"joip_ref={code}.{int(time.time())}.{share_code}",
            *state().referral_cookie,
        )))


def attribute(account: Account, signed_in_as: str | None) -> None:
    """Credit a new account to who sent it; never to oneself. An account is not refused
    because its credit could not be written."""
    code, share_code = remembered() or ("", "")
    with contextlib.suppress(StoreUnavailable):
        referrer = store().referrer(code)
        if referrer and referrer not in (account.id, signed_in_as):
            store().credit_signup(referrer, share_code)


# ---------------------------------------------------------------------------- Pages

pages = Blueprint("pages", __name__)


def page(template: str, me: Account | bool | None, **variables: Any) -> str:
    """A rendered page; `me` is who is signed in."""
    return state().jinja_env.get_template(template).render(me=me, **variables)


def asset_url(base: str, name: str) -> str:
    """A static file's URL; it changes with the file, so it may be kept for good."""
    digest = hashlib.sha256((HERE / "static" / name).read_bytes()).hexdigest()
    return f"{base}/static/{name}?v={digest[:12]}"


def signed_in_page(view: Callable[..., Any]) -> Callable[..., Any]:
    """Gives the view the signed-in account; others sign in first and come back."""

    @functools.wraps(view)
    def guarded(**arguments: str) -> Any:
        account = current_account()
        if account is None:
            here = quote(settings().path + request.path)
            return flask.redirect(f"{settings().path}/login?next={here}", 303)
        return view(account, **arguments)

    return guarded


def safe_next() -> str:
    """Where to go after signing in: a path of this service, never another site."""
    home = f"{settings().path}/"
    path = request.args.get("next", "")
    inside = path.startswith(home) and re.fullmatch(r"/(?!/)[!-\[\]-~]*", path)
    return path if inside and ".." not in unquote(path) else home


@pages.get("/")
def home() -> Response:
    """What this is; signed in: my sessions. Counts a click for `?ref=`."""
    account = current_account()
    if account:
        rows, following = session_page(account.id)
        html = page("sessions.html", account, rows=msgspec.to_builtins(rows),
                    next_url=following and f"{settings().path}/?{following}")
    else:
        html = page("welcome.html", None)
    response = Answer.of(html.encode(), HTML)
    code, viewer_id = request.args.get("ref", ""), account.id if account else ""
    if code and not exclusion(request.environ) and store().count_click(code, viewer_id):
        remember(response, code)
    return response


@pages.get("/sessions/new")
@signed_in_page
def new_session(account: Account) -> str:
    """The editor, empty."""
    return page("editor.html", account, session=None, media=[], shares=[], stats=None)


@pages.get("/sessions/<session_id>")
@signed_in_page
def edit_session(account: Account, session_id: str) -> str:
    """The editor, with the share panel and the numbers."""
    number = parse_session_id(session_id)
    session, media, codes = store().read_session(number, account.id)
    shares = [
        msgspec.to_builtins(share) | {"qr": qr_code(share.share_url)}
        for share in share_list(codes, account)
    ]
    stats = store().session_stats(number, account.id, 30)
    return page("editor.html", account, session=msgspec.to_builtins(session),
                media=msgspec.json.decode(media), shares=shares,
                stats=msgspec.to_builtins(stats))


def qr_code(url: str) -> Markup:
    """The link as an inline SVG."""
    svg = segno.make(url, micro=False).svg_inline(scale=4, border=2, omitsize=True)
    return Markup(svg)  # noqa: S704 - segno's drawing, with none of the link's text


@pages.get("/referrals")
@signed_in_page
def referrals_page(account: Account) -> str:
    """My referral link and what came of it."""
    report, following = referral_page(account)
    return page("referrals.html", account, report=msgspec.to_builtins(report),
                next_url=following and f"{settings().path}/referrals?{following}")


@pages.get("/login", defaults={"template": "login.html"})
@pages.get("/register", defaults={"template": "register.html"})
def sign_in_page(template: str) -> Any:
    """Sign in or create an account, then go on to `next`."""
    if current_account() is not None:
        return flask.redirect(safe_next(), 303)
    return page(template, None, next=safe_next())


@pages.get("/shared/<code>")
def shared_page(code: str) -> Response:
    """The preview. Counts an open, and a click for `?r=`; this page goes round."""
    code = parse_code(code)
    match = REFERRAL_QUERY.search(request.environ.get("QUERY_STRING", ""))
    referral = match[1] if match else ""
    seen_by = visit()
    opened = store().open_shared(code, seen_by, referral)
    beacon = opened.reason != "owner" and not from_bot(request.environ)
    html = state().preview_page(opened.preview, bool(seen_by.viewer), beacon)
    response = Answer.of(html, HTML)
    if opened.clicked:
        remember(response, referral, code)
    return response


def preview_page(preview: Preview, signed_in: bool, beacon: bool) -> bytes:
    """The page of a preview, which depends on nothing else and so is drawn once."""
    app, code = state(), preview.share_code
    return page(
        "shared.html", signed_in, **asdict(preview), share_url=share_url(code),
        oembed_url=app.oembed_url + code, about=about(preview),
        image_url=preview.thumbnail or app.card_url, beacon=beacon,
    ).encode()


REFERRAL_QUERY = re.compile(r"(?:^|&)r=([a-z0-9]{8})(?:&|$)")


def about(preview: Preview | SharedSession) -> str:
    """How much there is to see: "12 items, about 2 minutes"."""
    count = preview.media_count
    seconds = count * (preview.interval_min + preview.interval_max) / 2
    items = "1 item" if count == 1 else f"{count} items"
    if seconds < 90:
        return f"{items}, about {max(1, round(seconds))} seconds"
    return f"{items}, about {round(seconds / 60)} minutes"


@pages.get("/shared/<code>/play")
@signed_in_page
def play_page(account: Account, code: str) -> str:
    """The player, which pages through the media; the play is counted here."""
    code = parse_code(code)
    counted = exclusion(request.environ) == ""
    session, _ = store().play_shared(code, account.id, counted)
    preview = msgspec.to_builtins(session) | {"shareCode": code}
    return page("play.html", account, preview=preview, total=session.media_count)


@pages.get("/oembed")
def oembed() -> Response:
    """oEmbed 1.0 (https://oembed.com) of a share URL; opens nothing, counts nothing."""
    if request.args.get("format", "json") != "json":
        raise Problem("NOT_IMPLEMENTED", "Only format=json is offered")
    code = shared_code(request.args.get("url", ""))
    preview = store().open_shared(code, Visit()).preview
    link: dict[str, Any] = {
        "version": "1.0", "type": "link", "title": preview.title,
        "author_name": preview.owner_name, "provider_name": "Joip Share",
        "provider_url": f"{settings().public_url}/",
    }
    width, height = CARD
    if oembed_limit("maxwidth") >= width and oembed_limit("maxheight") >= height:
        link |= {"thumbnail_url": state().card_url,
                 "thumbnail_width": width, "thumbnail_height": height}
    return answer(link)


def shared_code(url: str) -> str:
    """The code of one of our share URLs. Raises NotShared for any other URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise NotShared from None
    base, _, code = parts.path.rpartition("/")
    if f"{parts.scheme}://{parts.netloc.lower()}{base}" != share_url("")[:-1]:
        raise NotShared
    return parse_code(code)


CARD = 1200, 630  # pixels of static/card.png


def oembed_limit(name: str) -> int:
    """The pixels that a thumbnail may have; what is no number limits nothing."""
    given = request.args.get(name, "")
    return int(given) if re.fullmatch(r"[0-9]{1,9}", given) else MAX_ID


# ----------------------------------------------------------------------- Operations

operations = Blueprint("operations", __name__, cli_group=None)
log = logging.getLogger("joip_share")


@operations.get("/healthz")
def healthz() -> Response:
    """The process answers; Redis is not asked."""
    return Answer.of(b'{"status":"ok"}', JSON)


@operations.get("/readyz")
def readyz() -> Response:
    """Whether to send requests here: Redis takes a write, and nobody said stop."""
    checks = {"redis": "ok", "process": "stopping" if state().drain.stopping else "ok"}
    try:
        store().execute("SET", store().keys.probe, 1, "EX", 60)
    except StoreUnavailable as error:
        checks["redis"] = NOT_READY.get(str(error), "unavailable")
    ready = set(checks.values()) == {"ok"}
    body = {"status": "ok" if ready else "unavailable", "checks": checks}
    return answer(body, 200 if ready else 503, {} if ready else {"Retry-After": "1"})


def start_checks(app: JoipShare) -> None:
    """Finish what a crash cut short, and warn of a Redis that may lose shares."""
    try:
        settled = app.store.settle()
        if settled:
            log.warning("finished %d things that a crash had cut short", settled)
        with app.store.connections.breaker:
            for warning in durability_warnings(app.store.connections.client):
                log.warning(warning)
    except StoreUnavailable as error:
        log.warning("Redis does not answer yet: %s", error)


def durability_warnings(client: Any) -> Iterator[str]:
    """What in Redis's configuration could make a share vanish, by name."""
    servers = [client]
    if isinstance(client, redis_py.RedisCluster):
        servers = [client.get_redis_connection(node) for node in client.get_primaries()]
    for server in servers:
        try:
            config = server.config_get("appendonly", "save", "maxmemory-policy")
        except redis_py.ResponseError:
            return  # a managed Redis that hides its configuration
        if config.get("appendonly") == "no" and not config.get("save"):
            yield "Redis keeps nothing on disk: appendonly is no and save is empty"
        policy = config.get("maxmemory-policy", "noeviction")
        if policy != "noeviction":
            yield f"Redis can evict keys: maxmemory-policy is {policy}, not noeviction"


NOT_READY = {
    "ReadOnlyError": "read-only replica",
    "OutOfMemoryError": "out of memory",
    "TimeoutError": "no answer within a second",
    "BusyLoadingError": "loading its data",
}


@operations.get("/metrics")
def metrics() -> Response:
    """Prometheus's text format."""
    text = prometheus.generate_latest(state().metrics.registry)
    return Answer.of(text, prometheus.CONTENT_TYPE_LATEST)


class Metrics:
    """What /metrics tells; labels are route templates, never paths."""

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry()
        self._requests = prometheus.Counter(
            "joip_share_requests_total", "Requests.", ("route", "method", "status"),
            registry=self.registry,
        )
        self._latency = prometheus.Histogram(
            "joip_share_request_seconds", "Time to answer.", ("route",),
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
        )
        self.shares = prometheus.Counter(
            "joip_share_shares_total", "Share links asked for.", registry=self.registry
        )
        self.store_errors = prometheus.Counter(
            "joip_share_store_errors_total", "Requests refused for want of Redis.",
            registry=self.registry,
        )
        self._children = functools.cache(self._labelled)

    def _labelled(self, route: str, method: str, status: int) -> tuple[Any, Any]:
        return self._requests.labels(route, method, status), self._latency.labels(route)

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """One finished request."""
        requests, latency = self._children(route, method, status)
        requests.inc()
        latency.observe(seconds)


KNOWN_METHODS = frozenset(("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"))
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
HSTS = {"Strict-Transport-Security": "max-age=31536000"}
NO_ROUTE = "(none)"
UNLOGGED = frozenset(("/healthz", "/readyz"))
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
    "style-src 'self'; img-src 'self' http: https: data:; media-src http: https:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def accepted_request_id(given: str) -> str:
    """The proxy's name for a request, else a new one to find it by in the log; it is
    no secret, so it costs no system call."""
    return given if REQUEST_ID.fullmatch(given) else f"{random.getrandbits(64):016x}"


def refuse_cross_site(environ: Mapping[str, Any], own_origin: str) -> None:
    """403 for a browser that acts for another site, by Sec-Fetch-Site (W3C Fetch
    Metadata), else Origin. What sends neither is no browser: no cookies to steal."""
    site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN")
    if site is not None:
        same = site in ("same-origin", "none")
    else:
        same = origin is None or origin.lower() == own_origin
    if not same:
        raise Problem("CROSS_SITE")


class Answer(Response):
    """Flask's response, with the headers of every answer added in one go as it leaves.

    Set one by one, and sent through Werkzeug's general case, they cost 25 µs.
    """

    @classmethod
    def of(
        cls, body: bytes, content_type: str, status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """A response without Werkzeug's questions, which are 3 % of a preview."""
        self = cls.__new__(cls)
        self.headers = Headers()
        self.headers._list += [
            ("Content-Type", content_type), ("Content-Length", str(len(body)))
        ]
        if headers:
            self.headers.extend(headers)
        self._status, self._status_code = STATUS_LINES[status], status
        self.response, self.direct_passthrough, self._on_close = [body], False, []
        return self

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        common = environ.get("joip_share.headers", ())
        if not self.is_sequence or self.direct_passthrough:
            self.headers.extend(common)
            return super().__call__(environ, start_response)
        body: list[bytes] = self.response  # type: ignore[assignment]
        start_response(self.status, [*self.headers, *common, NO_STORE])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else body


NO_STORE = ("Cache-Control", "no-store")
STATUS_LINES = {int(s): f"{int(s)} {s.phrase.upper()}" for s in HTTPStatus}


class Route(MapAdapter):
    """Werkzeug's routing of one path and method, done once: links are opened often.

    Raises Werkzeug's NotFound or MethodNotAllowed when it is made.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._found = super().match(return_rule=True)

    def match(self, path: Any = None, *asked: Any, **more: Any) -> Any:  # type: ignore[override]
        """What was found, for who asks as Flask does; else Werkzeug's answer."""
        if path or asked or more != {"return_rule": True}:
            return super().match(path, *asked, **more)
        rule, arguments = self._found
        return rule, dict(arguments)


class JoipShare(Flask):
    """The application: Flask, and the parts that its views use.

    It is trimmed where Flask offers to be: no view is a coroutine, no URL is made from
    the Host header, no blueprint has hooks, so none of it is looked into every time.
    """

    response_class = Answer

    def __init__(
        self, settings: Settings, connections: Connections | ClusterConnections
    ) -> None:
        super().__init__(__name__)
        self.url_map.merge_slashes = False  # its redirects would name another host
        self.settings = settings
        self.store = Store(connections, Keys(settings.key_prefix))
        self.metrics = Metrics()
        self.drain = Drain()
        self.session_interface = LoginInterface(self, self.store)
        headers = SECURITY_HEADERS | (HSTS if settings.secure else {})
        self._headers = tuple(headers.items())
        self.asset = functools.cache(functools.partial(asset_url, settings.path))
        self.jinja_env.globals.update(base=settings.path, asset=self.asset)
        self.preview_page = functools.lru_cache(PREVIEWS_KNOWN)(preview_page)
        self._known_route = functools.lru_cache(ROUTES_KNOWN)(self._route)
        self.card_url = settings.origin + self.asset("card.png")
        shared = quote(f"{settings.public_url}/shared/", safe="")
        self.oembed_url = f"{settings.public_url}/oembed?url={shared}"
        self.referral_cookie = (
            f"Max-Age={REFERRAL_LIFETIME}", f"Path={settings.path or '/'}", "HttpOnly",
            "SameSite=Lax", *(["Secure"] if settings.secure else []),
        )
        self.register_error_handler(Exception, handle_error)

    def log_exception(self, exc_info: Any) -> None:
        """Nothing: handle_error has logged what was unexpected, without its text."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func

    def do_teardown_request(self, exc: Any = None) -> None:
        """Nothing: no view leaves anything open."""

    def do_teardown_appcontext(self, exc: Any = None) -> None:
        """Nothing, for the same reason."""

    def create_url_adapter(self, request: flask.Request | None) -> Route | None:
        if request is None:
            return None
        path, method = request.environ["PATH_INFO"], request.environ["REQUEST_METHOD"]
        short = len(path) + len(method) <= ROUTE_LENGTH
        return self._known_route(path, method) if short else self._route(path, method)

    def _route(self, raw_path: str, method: str) -> Route:
        path = raw_path.encode("latin-1").decode("utf-8", "replace") or "/"
        base = self.settings.path or "/"
        return Route(self.url_map, "localhost", base, "", "http", path, method)

    def full_dispatch_request(self) -> Response:
        """Flask's own, without its signals: nobody listens."""
        try:
            self.preprocess_request()
            result = self.dispatch_request()
        except Exception as error:  # noqa: BLE001 - handle_error answers them all
            result = self.handle_user_exception(error)
        return self.process_response(self.make_response(result))

    def preprocess_request(self) -> None:
        """Name the request; refuse what is outside, from another site or too large."""
        environ = request.environ
        environ["joip_share.started"] = time.perf_counter()
        request_id = accepted_request_id(environ.get("HTTP_X_REQUEST_ID", ""))
        environ["joip_share.id"] = request_id
        environ["joip_share.headers"] = self.common_headers(request_id)
        if environ.get("joip_share.outside"):
            request.url_rule = None  # what it resembles is not what it asks for
            raise Problem("NOT_FOUND")
        if environ["REQUEST_METHOD"] not in SAFE_METHODS:
            refuse_cross_site(environ, self.settings.origin)
        if int(environ.get("CONTENT_LENGTH") or 0) > MAX_BODY:
            raise Problem("BODY_TOO_LARGE")

    def common_headers(self, request_id: str) -> tuple[tuple[str, str], ...]:
        """The headers of every answer."""
        return (*self._headers, ("X-Request-ID", request_id))

    def process_response(self, response: Response) -> Response:
        """The login's cookie, the metrics and the log line of every request."""
        context: Any = request_ctx._get_current_object()  # type: ignore[attr-defined]
        environ, rule = context.request.environ, context.request.url_rule
        self.session_interface.save_session(self, context.session, response)
        seconds = time.perf_counter() - environ["joip_share.started"]
        route = rule.rule if rule else NO_ROUTE
        method, status = environ["REQUEST_METHOD"], response.status_code
        self.record(environ["joip_share.id"], method, route, status, seconds)
        if self.drain.stopping:
            close_connection(environ)
        return response

    def record(
        self, request_id: str, method: str, route: str, status: int, seconds: float
    ) -> None:
        """Metrics and the log line of an answered request."""
        if method not in KNOWN_METHODS:
            method = "OTHER"
        self.metrics.observe(route, method, status, seconds)
        if route not in UNLOGGED and log.isEnabledFor(logging.INFO):
            # No path, query, cookie or address: a link is a secret.
            write_log({
                "time": timestamp(), "level": "info", "message": "request",
                "requestId": request_id, "method": method, "route": route,
                "status": status, "ms": round(seconds * 1000, 2),
            })

    def take_process(self) -> None:
        """Let signals stop the service, and waitress's own refusals look like ours."""
        self.drain.install()
        refusal = functools.partial(ServerRefusal, self)
        HTTPChannel.error_task_class = staticmethod(refusal)


class ServerRefusal(ErrorTask):
    """waitress's answer to what is no HTTP, or too much of it, before Flask sees it."""

    def __init__(self, app: JoipShare, channel: HTTPChannel, request: Any) -> None:
        super().__init__(channel, request)
        self.app = app

    def execute(self) -> None:
        """Answer in the shape of every error, and close the connection."""
        asked = self.channel.requests[0]
        request_id = accepted_request_id(asked.headers.get("X_REQUEST_ID", ""))
        problem = Problem(HTTP_ERRORS.get(self.request.error.code, "INVALID_REQUEST"))
        body = to_json(problem.body(request_id))
        self.status, self.content_length = STATUS_LINES[problem.status], len(body)
        headers = self.app.common_headers(request_id)
        self.response_headers += [("Content-Type", JSON), *headers, NO_STORE]
        self.set_close_on_finish()
        self.write(body)
        method = getattr(asked, "command", "")  # none where none was understood
        seconds = time.time() - self.start_time
        self.app.record(request_id, method, NO_ROUTE, problem.status, seconds)


def write_log(line: Mapping[str, Any]) -> None:
    """One JSON object a line, in one write; a log that is gone stops no request."""
    if sys.stderr:  # else it was closed, and its descriptor is somebody else's by now
        with contextlib.suppress(OSError):
            os.write(STDERR, to_json(line) + b"\n")


STDERR = 2  # as a file descriptor


# What waitress says of a request that failed; a link is a secret.
ITS_PATH = re.compile(r"(?<=while serving ).*", re.DOTALL)


class JsonFormatter(logging.Formatter):
    """One JSON object a line; an exception by its kind and place, not by its text."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": timestamp(), "level": record.levelname.lower(),
                "message": ITS_PATH.sub("…", record.getMessage())}
        if flask.has_request_context():
            line["requestId"] = request.environ.get("joip_share.id", "")
        if record.exc_info and record.exc_info[2]:
            trace = record.exc_info[2]
            while trace.tb_next:
                trace = trace.tb_next
            line["at"] = f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"
        return to_json(line).decode()


def start_logging() -> None:
    """Our own lines, and waitress's warnings, to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    for logger, level in (
        (log, logging.INFO), (logging.getLogger("waitress"), logging.WARNING)
    ):
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # 11 % under load


# Stopping. waitress drops what it has accepted when it is told to stop; this does not.

LINGER = 1.0  # seconds in which balancers see /readyz turn 503 while we still accept
QUIET = 0.5  # seconds without a request after which a kept-alive connection may go
PATIENCE = 8.0  # seconds after which we stop in any case


class Drain:
    """SIGTERM: /readyz says 503, what was accepted is answered, then exit 0.

    waitress keeps its server to itself, so the handler finds it on the stack that the
    signal interrupted. All work on it is done in its own loop, by its trigger; the
    loop, and with it the process, ends when its map of sockets is empty.
    """

    def __init__(self) -> None:
        self.stopping = False

    def install(self) -> None:
        """Take SIGTERM and SIGINT; only the main thread may."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.stopping:
            return  # told twice; PATIENCE is the bound
        server = self._find_server(frame)
        if server is None:
            raise SystemExit(0)
        self.stopping = True
        sockets = server.map if isinstance(server, MultiSocketServer) else server._map
        threading.Thread(target=self._run, args=(sockets,), daemon=True).start()

    @staticmethod
    def _find_server(frame: FrameType | None) -> Any:
        while frame:
            owner = frame.f_locals.get("self")
            if isinstance(owner, BaseWSGIServer | MultiSocketServer):
                return owner
            frame = frame.f_back
        return None

    def _run(self, sockets: dict[int, Any]) -> None:
        deadline = time.monotonic() + PATIENCE
        time.sleep(LINGER)
        listeners = self._of_kind(sockets.copy(), BaseWSGIServer)
        for listener in listeners:
            ignore_new_clients(listener.socket)
        while sockets:
            time.sleep(0.05)
            listeners[0].trigger.pull_trigger(lambda: self._step(sockets, deadline))

    def _step(self, sockets: dict[int, Any], deadline: float) -> None:
        """One step towards the end, in waitress's loop."""
        for listener in self._of_kind(sockets, BaseWSGIServer):
            self._stop_accepting(listener)
        channels = self._of_kind(sockets, HTTPChannel)
        for channel in channels:
            if self._is_quiet(channel):
                channel.handle_close()
        if not channels or time.monotonic() > deadline:
            sockets.clear()  # which ends the loop

    @staticmethod
    def _of_kind(sockets: dict[int, Any], kind: type) -> list[Any]:
        return [one for one in sockets.values() if isinstance(one, kind)]

    @staticmethod
    def _stop_accepting(listener: BaseWSGIServer) -> None:
        before = -1
        while before != len(listener.active_channels):
            before = len(listener.active_channels)
            listener.handle_accept()
        wasyncore.dispatcher.close(listener)

    @staticmethod
    def _is_quiet(channel: HTTPChannel) -> bool:
        if channel.requests or channel.request or channel.total_outbufs_len:
            return False
        if time.time() - channel.last_activity < QUIET:
            return False
        try:  # a request may wait unread: this runs before the round's other reads
            return not channel.socket.recv(1, socket.MSG_PEEK)
        except OSError:
            return True


def ignore_new_clients(listener: socket.socket) -> None:
    """Have Linux ignore who is not yet connecting: what joins the queue between our
    last accept and the close would be reset. They try again within a second and are
    refused, which a proxy takes for a reason to try the next server."""
    if sys.platform == "linux":
        # Classic BPF (man 7 socket, SO_ATTACH_FILTER = 26): load byte 13 of the TCP
        # header, its flags; drop the packet if SYN (2) is set, else pass it.
        code = struct.pack(
            "HBBI" * 4, 48, 0, 0, 13, 69, 0, 1, 2, 6, 0, 0, 0, 6, 0, 0, 1 << 18
        )
        program = ctypes.create_string_buffer(code)
        where = struct.pack("HP", 4, ctypes.addressof(program))
        listener.setsockopt(socket.SOL_SOCKET, 26, where)


def close_connection(environ: dict[str, Any]) -> None:
    """Have waitress answer this request with `Connection: close`; WSGI has no word
    for it, so the request is made to have asked."""
    disconnected = environ.get("waitress.client_disconnected")
    if disconnected is not None:
        disconnected.__self__.requests[0].headers["CONNECTION"] = "close"


# ------------------------------------------------------------------------- Commands


def command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """A command of `flask --app joip_share`; Redis's failures end it with one line."""

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def run(**arguments: Any) -> None:
            try:
                with store().connections.breaker:
                    function(**arguments)
            except StoreUnavailable as error:
                raise click.ClickException(f"Redis does not serve: {error}") from None

        return operations.cli.command(name)(run)

    return decorate


Finding = tuple[str, Callable[[], Any]]  # what is wrong, and what mends it


class Check:
    """Finds broken invariants key by key, in bounded memory.

    What the journal lists is under way and not broken; so that nothing falls between
    two looks on a live service, a finding counts when it is there after the journal
    was read again.
    """

    # The shape of a key, its Redis type, and the look to take at it.
    KINDS = (
        (r"share:([^:]+)", "string", "_share"),
        (r"(?:email|referral):([^:]+)", "string", "_pointer"),
        (r"visitors:key:(.+)", "string", "_expiring"),
        (r"session:(last-id)", "string", "_last_id"),
        (r"session:\{([0-9]+)\}", "hash", "_session"),
        (r"session:\{([0-9]+)\}:media", "string", "_nothing"),
        (r"session:\{([0-9]+)\}:shares", "hash", "_nothing"),
        (r"session:\{([0-9]+)\}:codes", "hash", "_codes"),
        (r"session:\{([0-9]+)\}:(?:stats|daily|referrers)", "hash", "_counters"),
        (r"session:\{([0-9]+)\}:visitors:.+", "string", "_visitors"),
        (r"user:\{(\w+)\}", "hash", "_user"),
        (r"user:\{(\w+)\}:sessions", "zset", "_user_sessions"),
        (r"user:\{(\w+)\}:referrals", "hash", "_counters"),
        (r"user:\{(\w+)\}:signups", "list", "_user_signups"),
        (r"(journal)", "zset", "_journal"),
        (r"(importing)", "string", "_importing"),
    )

    def __init__(self, store: Store) -> None:
        self.store, self.keys = store, store.keys
        self.redis: Any = store.connections.client
        self._under_way: set[str] = set()

    def findings(self, key: str) -> list[Finding]:
        """What is wrong with one key, given without its prefix."""
        if not any(self._look(key)):
            return []
        if self.redis.type(self.keys.journal) == b"zset":
            self.store.settle()  # what grew old enough since the last time
            stuck = dict(self.store.unsettled(STUCK_AFTER))
            young = [s for entry, s in self.store.unsettled() if entry not in stuck]
            self._under_way = {str(x) for step in young for x in astuple(step) if x}
        return list(self._look(key))

    def _look(self, key: str) -> Iterator[Finding]:
        for pattern, kind, look in self.KINDS:
            match = re.fullmatch(pattern, key)
            if match and match[1] not in self._under_way:
                yield from self._look_at(self.keys.prefix + key, match[1], kind, look)

    def _look_at(self, key: str, name: str, kind: str, look: str) -> Iterator[Finding]:
        found, (whole, brace, part) = self.redis.type(key).decode(), key.partition("}")
        if found == "none":
            return
        if part and not self.redis.exists(whole + brace):
            yield "is left of something deleted", self._do("DEL", key)
        elif found != kind:
            yield f"is a {found}, not a {kind}", self._do("DEL", key)
        else:
            try:
                yield from getattr(self, look)(key, name)
            except UnicodeDecodeError:
                yield "holds or points at what is no text", self._do()

    def _do(self, *command: Any) -> Callable[[], Any]:
        """What mends by one command, or mends nothing."""
        return lambda: command and self.redis.execute_command(*command)

    def _read(self, *command: Any) -> Any:
        """Redis's reply; None for a key of another type, a finding of its own."""
        try:
            return self.redis.execute_command(*command)
        except redis_py.ResponseError:
            return None

    def _text(self, key: str) -> str:
        return (self._read("GET", key) or b"").decode("utf-8", "replace")

    def _hash(self, key: str) -> dict[str, str]:
        return _pairs(self._read("HGETALL", key) or {})

    def _nothing(self, key: str, _: str) -> Iterator[Finding]:
        yield from ()

    def _share(self, key: str, code: str) -> Iterator[Finding]:
        session_id = self._text(key)
        if session_id in self._under_way:
            return
        codes = self.keys.session(session_id, "codes")
        chosen = self._hash(self.keys.session(session_id, "shares"))
        audience = next((who for who, what in chosen.items() if what == code), "")
        if not self._hash(self.keys.session(session_id)):
            yield "points at no session", self._do("DEL", key)
        elif code not in self._hash(codes):
            if audience:
                mend = self._do("HSET", codes, code, audience)
                yield "is not listed by its session", mend
            else:
                yield "points at a session without this code", self._do("DEL", key)

    def _pointer(self, key: str, token: str) -> Iterator[Finding]:
        user_id = self._text(key)
        account = self._hash(self.keys.user(user_id))
        if account and not _readable(msgspec.convert, account, Account):
            return  # a finding of its own; this may be the last trace of its email
        own = email_digest(account.get("email", "")), account.get("referralCode")
        if token not in own and user_id not in self._under_way:
            yield "points at no account that has it", self._do("DEL", key)

    def _expiring(self, key: str, _: str) -> Iterator[Finding]:
        if self.redis.ttl(key) == -1:
            yield "does not expire", self._do("EXPIRE", key, 2 * DAY)

    def _last_id(self, key: str, _: str) -> Iterator[Finding]:
        if not self._text(key).isdecimal():
            yield "is no number", lambda: self.redis.set(key, self._highest_id())

    def _highest_id(self) -> int:
        pattern = re.compile(r"session:\{([0-9]+)\}")
        ids = (int(m[1]) for key in scan(self.store) if (m := pattern.fullmatch(key)))
        return max(ids, default=0)

    def _session(self, key: str, session_id: str) -> Iterator[Finding]:
        fields, last_id = self._hash(key), self.keys.last_session_id
        owner = fields.get("userId", "")
        index = self.keys.user(owner, "sessions")
        if not self.redis.exists(self.keys.user(owner)):
            yield "has no owner", lambda: self._delete_session(key, session_id, owner)
            return
        if self._read("ZSCORE", index, session_id) != int(session_id):
            yield "is not in its place in its owner's list", self._do(
                "ZADD", index, session_id, session_id)
        if self._text(last_id).rjust(20, "0") < session_id.rjust(20, "0"):
            yield "has an id that would be given again", lambda: self.redis.set(
                last_id, self._highest_id())
        count = self._media_count(session_id)
        if str(count) != fields.get("mediaCount"):
            yield "miscounts its media", lambda: self._recount(key, session_id, count)
        if not _readable(_session, int(session_id), {"mediaCount": "0"} | fields):
            yield "cannot be read", self._do("HSET", key, *flat(_fallback(fields)))

    def _delete_session(self, key: str, session_id: str, owner: str) -> None:
        self.redis.hset(key, "userId", owner)
        self.store.delete_session(int(session_id), owner)

    def _media_count(self, session_id: str) -> int | None:
        media = self._read("GET", self.keys.session(session_id, "media")) or b""
        with contextlib.suppress(zlib.error, msgspec.DecodeError):
            return len(media_items(unpack_media(media)))
        return None

    def _recount(self, key: str, session_id: str, count: int | None) -> None:
        if count is None:
            self.redis.set(self.keys.session(session_id, "media"), pack_media([]))
        self.redis.hset(key, "mediaCount", str(count or 0))

    def _codes(self, key: str, session_id: str) -> Iterator[Finding]:
        shares = self.keys.session(session_id, "shares")
        chosen = self._hash(shares)
        for code, audience in self._hash(key).items():
            pointer = self.keys.share(code)
            if chosen.get(audience, code) != code:  # its pointer is found next
                mend = self._do("HDEL", key, code)
                yield "lists a second code for one audience", mend
                continue
            if audience not in chosen:
                chosen[audience] = code
                mend = self._do("HSETNX", shares, audience, code)
                yield "lists a code that was not chosen", mend
            if self._text(pointer) != session_id:
                mend = self._do("SET", pointer, session_id)
                yield "lists a code that does not resolve", mend

    def _visitors(self, key: str, session_id: str) -> Iterator[Finding]:
        yield from self._expiring(key, session_id)
        if self._read("PFCOUNT", key) is None:
            yield "is no HyperLogLog", self._do("DEL", key)

    def _counters(self, key: str, _: str) -> Iterator[Finding]:
        for field, value in self._hash(key).items():
            if not re.fullmatch(r"-?[0-9]{1,18}", value):
                yield f"has no number in {field}", self._do("HDEL", key, field)

    def _user(self, key: str, user_id: str) -> Iterator[Finding]:
        fields = self._hash(key)
        if not _readable(msgspec.convert, fields, Account):
            yield "cannot be read", self._do()
            return
        for pointer in (self.keys.email(email_digest(fields["email"])),
                        self.keys.referral(fields["referralCode"])):
            if self._text(pointer) != user_id:
                mend = self._do("SET", pointer, user_id, "NX")
                yield "is not found by its email or referral code", mend

    def _user_sessions(self, key: str, user_id: str) -> Iterator[Finding]:
        for member, _ in self.redis.zscan_iter(key):
            session_id = member.decode()
            owner = self._hash(self.keys.session(session_id)).get("userId")
            if owner != user_id and session_id not in self._under_way:
                mend = self._do("ZREM", key, session_id)
                yield f"lists {session_id}, which is not there", mend

    def _user_signups(self, key: str, _: str) -> Iterator[Finding]:
        for row in self.redis.lrange(key, 0, -1):
            if not _readable(_signup.decode, row):
                yield "has a row that cannot be read", self._do("LREM", key, 0, row)

    def _journal(self, key: str, _: str) -> Iterator[Finding]:
        readable = dict(self.store.unsettled())
        for member, _ in self.redis.zscan_iter(key):
            if member not in readable:
                yield "has an entry that cannot be read", self._do("ZREM", key, member)
        if self.store.unsettled(STUCK_AFTER):
            yield "has an entry that cannot be settled", self.store.settle

    def _importing(self, key: str, _: str) -> Iterator[Finding]:
        yield "says that an import was cut short: run it again", self._do()


# What a session without it gets.
FALLBACK = {
    "title": "Untitled", "intervalMin": "3", "intervalMax": "10", "transition": "fade",
    "createdAt": "1970-01-01T00:00:00Z", "updatedAt": "1970-01-01T00:00:00Z",
    "ownerName": "", "isPublic": "0",
}


def _fallback(fields: dict[str, str]) -> dict[str, str]:
    """What of FALLBACK a session lacks, or has no number for where it should."""
    return {
        name: value for name, value in FALLBACK.items()
        if name not in fields or (value.isdecimal() and not fields[name].isdecimal())
    }


def _readable(convert: Callable[..., Any], *arguments: Any) -> bool:
    try:
        convert(*arguments)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def scan(store: Store) -> Iterator[str]:
    """Every key of ours, without its prefix, in bounded memory."""
    client: Any = store.connections.client
    prefix = store.keys.prefix
    for key in client.scan_iter(match=f"{prefix}*", count=1000):
        yield key.decode("utf-8", "replace").removeprefix(prefix)


def progress(store: Store, label: str) -> Any:
    """The scan of the whole store behind a progress bar on standard error."""
    client: Any = store.connections.client
    size = client.dbsize()
    return click.progressbar(scan(store), length=size, label=label, file=sys.stderr)


@command("check")
@click.option("--repair", is_flag=True, help="Mend what is found, and say so.")
def check_command(repair: bool) -> None:
    """Walk the whole store and report every broken invariant."""
    check, mended = Check(store()), 0
    with contextlib.suppress(StoreUnavailable):  # a journal that is none is found below
        store().settle()
    while True:  # what is mended may bring to light what depends on it
        found, left = walk(check, repair)
        mended += found - left
        if found == left:
            break
    click.echo(f"{left} broken, {mended} mended")
    if left:
        raise SystemExit(1)


def walk(check: Check, repair: bool) -> tuple[int, int]:
    """One walk over the store; how much was found, and how much of it is left."""
    found, left = 0, 0
    with progress(check.store, "checking") as keys:
        for key in keys:
            findings = still = check.findings(key)
            if findings and repair:
                for _, mend in findings:
                    with contextlib.suppress(redis_py.ResponseError, Refusal):
                        mend()
                still = check.findings(key)
            broken = {what for what, _ in still}
            for what, _ in findings:
                click.echo(f"{key} {what}{'' if what in broken else ': mended'}")
            found += len(findings)
            left += min(len(still), len(findings))
    return found, left


EXPORTED = r"^(share|referral|email|session|user|visitors):.*$"
UNFINISHED = "the file ends too early; import it again when it is whole"


class Binary(Struct):
    """Bytes that are no UTF-8, in JSON as Base64."""

    base64: bytes


Text = str | Binary


class ExportLine(Struct, tag_field="type"):
    """A line of an export; `type` says which."""


class ExportStart(ExportLine, tag="joip-share-export"):
    """The first line."""

    id: str
    at: str


class ExportEnd(ExportLine, tag="end"):
    """The last line: how many keys came before it."""

    keys: int


class ExportedKey(ExportLine, kw_only=True, omit_defaults=True):
    """A line between; `expires` is Unix time in ms."""

    key: Annotated[str, Meta(pattern=EXPORTED)]
    expires: int | None = None


class StringKey(ExportedKey, tag="string"):
    """A pointer, a session's media, the last id, a HyperLogLog, a day's key."""

    value: Text


class HashKey(ExportedKey, tag="hash"):
    """A session, an account, codes, counters."""

    value: Annotated[dict[str, str], Meta(min_length=1)]


class ListKey(ExportedKey, tag="list"):
    """A user's credited sign-ups, oldest first."""

    value: Annotated[list[Text], Meta(min_length=1)]


class SortedSetKey(ExportedKey, tag="zset"):
    """A user's sessions by id."""

    value: Annotated[dict[str, float], Meta(min_length=1)]


_start_line = msgspec.json.Decoder(ExportStart)
_export_line = msgspec.json.Decoder(
    StringKey | HashKey | ListKey | SortedSetKey | ExportEnd
)


@command("export")
@click.argument("file", type=click.File("wb"))
def export_command(file: BinaryIO) -> None:
    """Write everything but logins to FILE, as JSON Lines; "-" is standard output."""
    file.write(to_json(ExportStart(uuid.uuid4().hex, timestamp())) + b"\n")
    count = 0
    with progress(store(), "exporting") as keys:
        for key in keys:
            if re.match(EXPORTED, key) and (row := dump_key(key)):
                file.write(to_json(row) + b"\n")
                count += 1
    file.write(to_json(ExportEnd(count)) + b"\n")
    click.echo(f"{count} keys exported", err=True)


def dump_key(key: str) -> ExportedKey | None:
    """A key as a line; None when it is gone by now."""
    client: Any = store().connections.client
    name = store().keys.prefix + key
    ttl = client.pttl(name)
    expires = int(time.time() * 1000) + ttl if ttl > 0 else None
    life: dict[str, Any] = {"key": key, "expires": expires}
    match client.type(name):
        case b"string" if value := client.get(name):
            return StringKey(value=to_text(value), **life)
        case b"hash" if value := client.hgetall(name):
            return HashKey(value=_pairs(value), **life)
        case b"list" if value := client.lrange(name, 0, -1):
            return ListKey(value=[to_text(item) for item in value], **life)
        case b"zset" if value := client.zrange(name, 0, -1, withscores=True):
            return SortedSetKey(value={m.decode(): score for m, score in value}, **life)
    return None


def to_text(value: bytes) -> Text:
    """Bytes as JSON can hold them."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return Binary(value)


def to_bytes(value: Text) -> bytes:
    """The bytes that `to_text` was given."""
    return value.base64 if isinstance(value, Binary) else value.encode()


@command("import")
@click.argument("file", type=click.File("rb"))
def import_command(file: BinaryIO) -> None:
    """Read what export wrote into an empty store; when cut short, run it again."""
    client: Any = store().connections.client
    begin_import(client, file.readline())
    size = os.fstat(file.fileno()).st_size if file.seekable() else None
    bar: Any = click.progressbar(length=size, label="importing", file=sys.stderr)
    count, row = 0, None
    with bar:
        for line in file:
            bar.update(len(line))
            row = read_line(_export_line, line, UNFINISHED)
            if isinstance(row, ExportEnd):
                break
            load_key(client, row)
            count += 1
    if not (isinstance(row, ExportEnd) and row.keys == count):
        raise click.ClickException(UNFINISHED)
    client.delete(store().keys.importing)
    click.echo(f"{count} keys imported", err=True)


def read_line(decoder: msgspec.json.Decoder[T], line: bytes, wrong: str) -> T:
    """A line of an export; ends the command with `wrong` when it is none."""
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise click.ClickException(wrong) from None


def begin_import(client: Any, line: bytes) -> None:
    """Note in the store which export it is getting; only the same one may go on."""
    start = read_line(_start_line, line, "this is not an export of Joip Share")
    importing = store().keys.importing
    resumed = client.get(importing)
    if resumed != start.id.encode():
        if resumed or any(re.match(EXPORTED, key) for key in scan(store())):
            raise click.ClickException("the store is not empty; nothing was imported")
        client.set(importing, start.id)


def load_key(client: Any, row: ExportedKey) -> None:
    """Write one line's key, whole and in one step, whatever was there."""
    name = store().keys.prefix + row.key
    with client.pipeline(transaction=True) as pipe:
        pipe.delete(name)
        match row:
            case StringKey():
                pipe.set(name, to_bytes(row.value))
            case HashKey():
                pipe.hset(name, mapping=row.value)
            case ListKey():
                pipe.rpush(name, *map(to_bytes, row.value))
            case SortedSetKey():
                pipe.zadd(name, row.value)
        if row.expires:
            pipe.pexpireat(name, row.expires)
        pipe.execute()


@command("create-user")
@click.option("--email", prompt=True)
@click.option("--name", prompt=True, default="")
@click.password_option()
def create_user_command(email: str, name: str, password: str) -> None:
    """Make an account."""
    given = {"email": email, "password": password} | ({"name": name} if name else {})
    try:
        new = msgspec.convert(given, Registration)
        account = create_account(new)
    except msgspec.ValidationError as error:
        raise click.ClickException(validation_problem(str(error)).message) from None
    except EmailTaken as error:
        raise click.ClickException(as_problem(error).message) from None
    click.echo(f"{account.id} {account.email}")


# ----------------------------------------------------------------------- create_app


def state() -> JoipShare:
    """The current application."""
    return current_app._get_current_object()  # type: ignore[attr-defined,no-any-return]


def store() -> Store:
    """The current application's store."""
    return state().store


def settings() -> Settings:
    """The current application's settings."""
    return state().settings


class SubPath:
    """WSGI: the service lives under PUBLIC_URL's path; marks what is outside it."""

    def __init__(self, app: Callable[..., Any], path: str) -> None:
        self.app, self.path = app, path

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ.get("PATH_INFO", "")
        if path == self.path or path.startswith(self.path + "/"):
            environ["SCRIPT_NAME"] = self.path
            environ["PATH_INFO"] = path[len(self.path) :] or "/"
        else:
            environ["joip_share.outside"] = True
        return self.app(environ, start_response)


def create_app(
    settings: Settings | None = None,
    redis: redis_py.Redis | redis_py.RedisCluster | None = None,
) -> JoipShare:
    """The WSGI application.

    Without `settings` it is configured from the environment, as in production, where
    REDIS_URL and PUBLIC_URL are required: without them it exits with one line.
    `redis` is a client to use instead of one for `settings.redis_url`.
    """
    production = settings is None
    if settings is None:
        settings = _production_settings()
    start_logging()
    where = redis or RedisUrl.parse(settings.redis_url)
    app = JoipShare(settings, connections_to(where))
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY,
        PERMANENT_SESSION_LIFETIME=LOGIN_LIFETIME,
        SEND_FILE_MAX_AGE_DEFAULT=365 * DAY,
        SESSION_COOKIE_NAME="connect.sid",
        SESSION_COOKIE_PATH=settings.path or "/",
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.secure,
        SESSION_REFRESH_EACH_REQUEST=False,
    )
    nobodys_hash()  # now, or the first unknown email would take twice as long
    for blueprint in (api, pages, operations):
        app.register_blueprint(blueprint)
    if settings.trusted_proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=settings.trusted_proxies, x_proto=0, x_host=0
        )
    if settings.path:
        app.wsgi_app = SubPath(app.wsgi_app, settings.path)  # type: ignore[method-assign]
    if production and click.get_current_context(silent=True) is None:
        app.take_process()
        start_checks(app)
        gc.freeze()  # what is made by now stays, and need not be looked through again
    return app


def _production_settings() -> Settings:
    missing = [name for name in ("REDIS_URL", "PUBLIC_URL") if not os.environ.get(name)]
    try:
        if missing:
            raise ConfigError(f"{' and '.join(missing)} must be set")
        return Settings.from_env(os.environ)
    except ConfigError as error:
        raise SystemExit(f"joip_share: {error}") from None


# ----------------------------------------------------------------------------- main


# What the Procfile gives waitress, for the service to try.
SERVER = {
    "host": "127.0.0.1", "threads": 8, "send_bytes": 18_000, "connection_limit": 1000,
    "channel_timeout": 30, "asyncore_use_poll": True, "ident": "",
    "max_request_body_size": 10 << 20, "clear_untrusted_proxy_headers": False,
}


def main() -> None:
    """The service to try: in memory, with a demo, unless REDIS_URL is set."""
    try:
        settings = Settings.from_env(os.environ)
        client = None if settings.redis_url else fakeredis.FakeStrictRedis()
        app = create_app(settings, client)
        server = waitress.create_server(app, port=settings.port, **SERVER)
    except (ConfigError, OSError) as error:
        raise SystemExit(f"joip_share: {error}") from None
    app.take_process()
    print(f"Joip Share on {settings.public_url}/", flush=True)
    if client is None:
        start_checks(app)
    else:
        print(demo(app), flush=True)
    server.run()


def demo(app: JoipShare) -> str:
    """A demo account with one shared session; returns what to tell about it."""
    email, password = "demo@example.com", "demo-password"
    owner = app.store.register(email, "Demo", generate_password_hash(password))
    with app.app_context():
        origin = app.settings.origin
        media = [
            MediaInput(origin + app.asset(f"demo-{n}.svg"), caption=caption)
            for n, caption in enumerate(DEMO_CAPTIONS, 1)
        ]
        new = NewSession("Five hours by the lake", "A demo: pictures drawn for it.",
                         media=media, thumbnail=media[0].media_url)
        session = app.store.create_session(owner, new)
        code = app.store.share(session.id, owner.id)
        link = share_url(code, owner.referral_code)
    return (
        "Nothing outlives this process: everything is kept in its memory.\n"
        f"A shared session to look at:  {link}\n"
        f"Its owner signs in with:      {email} / {password}"
    )


DEMO_CAPTIONS = ("Dawn", "Morning", "Noon", "Dusk", "Night")


if __name__ == "__main__":
    main()
