"""Which Redis is meant: REDIS_URL, taken apart once, and redis-py's client for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.connection import parse_url
from redis.retry import Retry

EXCHANGE = 1.0  # seconds for one exchange with Redis, connecting included
CONNECT = 0.5  # seconds for connecting
SENTINEL = 0.3  # seconds for a Sentinel's answer
ALL_SENTINELS = 0.6  # seconds for the answers of all; the rest is for Redis
ALL_NODES = 4.0  # seconds for those of all named nodes, while a Cluster is looked for

CONNECTION: dict[str, Any] = {
    "protocol": 2,  # one shape of replies for every engine
    "decode_responses": False,
    "socket_timeout": EXCHANGE,
    "socket_connect_timeout": CONNECT,
    "retry": Retry(NoBackoff(), 0),  # nothing is retried behind our back
    "driver_info": None,  # else a connection introduces itself, in two round trips
}


class ConfigError(ValueError):
    """A setting is missing or wrong; its text is the one line to show."""


FORMS = {  # by kind
    "": "redis://host:port/0",
    "sentinel": "redis+sentinel://h1:port,h2:port/NAME/0",
    "cluster": "redis+cluster://h1:port,h2:port",
}
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
# All options of the driver that leave our way of speaking to Redis as it is.
OPTIONS = (
    *("client_name", "username", "password", "ssl_ca_certs", "ssl_ca_path"),
    *("ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"),
    *("ssl_password", "ssl_exclude_verify_flags"),
)
SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True)
class RedisUrl:
    """REDIS_URL. `options` are redis-py's for each connection. Where `kind` is
    "sentinel" or "cluster", the hosts are whom to ask."""

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
        if text.startswith("unix:///"):
            return cls(_options(text, (*OPTIONS, "db")))
        match = URL.fullmatch(text)
        if not match:
            forms = ", ".join(("unix:///path", *FORMS.values()))
            raise ConfigError(
                f"REDIS_URL must be like {forms} (rediss: with TLS; valkey: the same)"
            )
        tls, kind, login, hosts, path, query = match.groups(default="")
        target = re.fullmatch(PATHS[kind], path, re.ASCII)
        addresses = _addresses(hosts, 0 if kind else 6379)
        if not target or not addresses or (not kind and len(addresses) > 1):
            raise ConfigError(f"REDIS_URL is malformed: expected {FORMS[kind]}")
        query, sentinel_login = _split_query(query, kind)
        address, db = hosts.partition(",")[0], target[2] or 0
        options = _options(f"redis{tls}://{login}{address}/{db}?{query}")
        if not kind:
            return cls(options)
        own = ("host", "port", "connection_class", *(["db"] * (kind == "cluster")))
        kept = {n: v for n, v in options.items() if n not in own} | {"ssl": bool(tls)}
        return cls(kept, kind, addresses, target[1], sentinel_login)

    def client(self) -> redis.Redis | Callable[[], redis.RedisCluster]:
        """redis-py's client, not yet connected; for a Cluster what makes it, since it
        connects when it is made."""
        if self.kind == "cluster":
            return self._cluster
        options = CONNECTION | dict(self.options)
        if self.kind == "":
            return redis.Redis(connection_pool=redis.ConnectionPool(**options))
        seconds = min(SENTINEL, ALL_SENTINELS / len(self.hosts))
        asking = {n: v for n, v in options.items() if n.startswith("ssl")}
        asking |= {"socket_timeout": seconds, "socket_connect_timeout": seconds}
        asking = CONNECTION | asking | dict(self.sentinel_login)
        sentinel = redis.Sentinel(self.hosts, sentinel_kwargs=asking, **options)
        master: redis.Redis = sentinel.master_for(self.service)
        return master

    def _cluster(self) -> redis.RedisCluster:
        options = CONNECTION | dict(self.options)
        options["socket_timeout"] = min(EXCHANGE, ALL_NODES / len(self.hosts))
        nodes = [ClusterNode(*host) for host in self.hosts]
        # Without full coverage, links on healthy nodes go on while another is away.
        # With dynamic nodes these, whose names lead to new addresses, are forgotten.
        return redis.RedisCluster(
            startup_nodes=nodes,
            require_full_coverage=False,
            dynamic_startup_nodes=False,
            **options,
        )


def _addresses(text: str, port: int) -> tuple[tuple[str, int], ...]:
    """Each host with its port, or with the one before it; () where one is wrong."""
    found = []
    for match in map(HOST.fullmatch, text.split(",")):
        port = int(match[2] or port) if match else 0
        if not match or not 0 < port < 65536:
            return ()
        found.append((match[1].strip("[]"), port))
    return tuple(found)


def _split_query(query: str, kind: str) -> tuple[str, dict[str, str]]:
    """What is meant for Redis, and the login that is meant for the Sentinels."""
    given = dict(parse_qs(query, keep_blank_values=True))
    names = [n for n in SENTINEL_OPTIONS if kind == "sentinel" and n in given]
    login = {n.removeprefix("sentinel_"): given.pop(n)[0] for n in names}
    return urlencode(given, doseq=True), login


def _options(url: str, allowed: Sequence[str] = OPTIONS) -> dict[str, Any]:
    """redis-py's options for the URL of one server, tried out without connecting."""
    if not parse_qs(url.partition("?")[2], keep_blank_values=True).keys() <= {*allowed}:
        raise ConfigError(
            f"REDIS_URL takes no options but {', '.join(allowed)}; "
            f"with redis+sentinel also {', '.join(SENTINEL_OPTIONS)}"
        )
    try:
        options: dict[str, Any] = parse_url(url)
        redis.ConnectionPool(**options).make_connection()
    except (ValueError, TypeError, redis.RedisError):
        raise ConfigError("REDIS_URL is malformed") from None
    if options.get("db", 0) < 0:
        raise ConfigError("REDIS_URL is malformed: a database is 0 or more")
    return options
