"""What the admin sees: Redis's state, metrics for Prometheus, a log of JSON lines."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import prometheus_client as prometheus

from clock import timestamp
from records import to_json
from redis_link import Link
from redis_node import FAILURES, StoreRefusesWrites, StoreUnavailable
from scripts import script
from store import Store

SCHEMA = b"2"  # of the data; what version 1 wrote is read as well
SCHEMA_FOUND = script("schema")
STDERR = 2  # as a file descriptor
REASONS = {  # by the text of a StoreUnavailable
    "BUSY": "busy with a script",
    "ClusterDown": "cluster is down",
    "Deadline": "no answer within a second",
    "ERR": "refuses a command: is it 7.0 or newer, with this database and rights?",
    "LOADING": "loading its data",
    "MasterNotFoundError": "no Sentinel names its master",
    "NOAUTH": "wants a password",
    "NOPERM": "its user may not do what is needed",
    "NotReplicated": "too few replicas",
    "TimeoutError": "no answer within a second",
    "WRONGPASS": "wrong user or password",
}


class Metrics:
    """What /metrics tells; labels are route templates, never paths."""

    def __init__(self) -> None:
        prometheus.disable_created_metrics()  # a time beside each sample, of no use
        self.registry = prometheus.CollectorRegistry()
        counter = functools.partial(prometheus.Counter, registry=self.registry)
        self._requests = counter(
            "joip_share_requests_total", "Requests.", ("route", "method", "status")
        )
        self._latency = prometheus.Histogram(
            "joip_share_request_seconds",
            "Time to answer.",
            ("route",),
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
        )
        self.shares = counter("joip_share_shares_total", "Share links asked for.")
        self.store_errors = counter(
            "joip_share_store_errors_total", "Requests refused for want of Redis."
        )
        self.uncounted = counter(
            "joip_share_uncounted_total",
            "Previews and plays answered while Redis took no writes.",
        )
        self._children = functools.cache(self._labelled)

    def _labelled(self, route: str, method: str, status: int) -> tuple[Any, Any]:
        return self._requests.labels(route, method, status), self._latency.labels(route)

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """One finished request."""
        requests, latency = self._children(route, method, status)
        requests.inc()
        latency.observe(seconds)


def write_log(level: str, message: str, more: Mapping[str, Any]) -> None:
    """One JSON object per line, in one write; a log that is gone stops no request."""
    line = {"time": timestamp(), "level": level, "message": message, **more}
    if sys.stderr:  # else it was closed, and its descriptor is somebody else's by now
        with contextlib.suppress(OSError):
            os.write(STDERR, to_json(line) + b"\n")


class JsonFormatter(logging.Formatter):
    """One JSON object per line; an exception by its place, not by its text. Of what
    other loggers write only their name is told: their words may hold addresses, and
    paths, which are secrets."""

    def __init__(self, request_id: Callable[[], str]) -> None:
        super().__init__()
        self.request_id = request_id

    def format(self, record: logging.LogRecord) -> str:
        own = Path(record.pathname).parent == Path(__file__).parent
        line = {
            "time": timestamp(),
            "level": record.levelname.lower(),
            "message": record.getMessage() if own else f"{record.name} complains",
            "requestId": self.request_id(),
        }
        if record.exc_info and record.exc_info[2]:
            trace = record.exc_info[2]
            while trace.tb_next:
                trace = trace.tb_next
            line["at"] = f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"
        return to_json({k: v for k, v in line.items() if v}).decode()


def start_logging(log: logging.Logger, request_id: Callable[[], str]) -> None:
    """Our own lines, and waitress's warnings, to standard error; `request_id` names the
    request under way."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(request_id))
    waitress = logging.getLogger("waitress")
    for logger, level in ((log, logging.INFO), (waitress, logging.WARNING)):
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # 11 % under load


class UnknownData(StoreUnavailable):
    """The data are of a version that this one does not know; its text says which."""


def refuse_unknown_data(store: Store, claim: bool = True) -> None:
    """Raise UnknownData where another version wrote them; to `claim` an empty store and
    version 1's data makes them ours."""
    offered = [("SET", store.keys.schema, SCHEMA, "NX")] if claim else []
    found = store.execute_many([*offered, SCHEMA_FOUND([store.keys.schema])])[-1]
    if found not in (None, SCHEMA):
        schema = found[:20].decode("utf-8", "replace")
        raise UnknownData(f"data of schema {schema}, which is not known")


def redis_state(store: Store) -> str:
    """ "ok", or why Redis is of no use."""
    try:
        with store.link.deadline(1):
            probe = ("SET", store.keys.probe, 1, "EX", 60)
            store.execute_many([probe], durable=True)
            refuse_unknown_data(store)
    except StoreUnavailable as error:
        return reason(error)
    return "ok"


def reason(error: StoreUnavailable) -> str:
    """Why Redis does not serve, in words for its admin, and in none of the driver's."""
    if isinstance(error, StoreRefusesWrites | UnknownData):
        return str(error)
    return REASONS.get(str(error), "unavailable")


def look_at_data(store: Store, log: logging.Logger) -> str:
    """Warn of a Redis that may lose shares; "" once it answers, else why it does not.
    Raises UnknownData."""
    try:
        refuse_unknown_data(store)
    except UnknownData:
        raise
    except StoreUnavailable as error:
        return reason(error)
    for warning in durability_warnings(store.link):
        log.warning(warning)
    return ""


def durability_warnings(link: Link) -> Iterator[str]:
    """What in Redis's configuration could make a share vanish, by name."""
    for server in link.nodes():
        try:
            config: Any = server.config_get("appendonly", "save", "maxmemory-policy")
        except FAILURES:
            continue  # a managed Redis that hides its configuration
        if config.get("appendonly") == "no" and not config.get("save"):
            yield "Redis keeps nothing on disk: appendonly is no and save is empty"
        policy = config.get("maxmemory-policy", "noeviction")
        if policy != "noeviction":
            yield f"Redis can evict keys: maxmemory-policy is {policy}, not noeviction"
