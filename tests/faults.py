"""How a Redis fails: each fault begins and ends with a `with` block."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import redis as redis_py

from servers import Process, free_port, wait_for


@contextlib.contextmanager
def hung(*servers: Process) -> Iterator[None]:
    """Servers that have stopped, and go on afterwards."""
    for each in servers:
        each.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for each in servers:
            each.signal(signal.SIGCONT)


@contextlib.contextmanager
def configured(redis: redis_py.Redis, **options: object) -> Iterator[None]:
    """With these settings of Redis, then with the ones of before."""
    names = {name.replace("_", "-"): value for name, value in options.items()}
    before = {name: redis.config_get(name)[name] for name in names}
    for name, value in names.items():
        redis.config_set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            redis.config_set(name, value)


@contextlib.contextmanager
def replica_of_nobody(redis: redis_py.Redis, stale: str = "yes") -> Iterator[None]:
    with configured(redis, replica_serve_stale_data=stale):
        redis.replicaof("127.0.0.1", free_port())
        try:
            yield
        finally:
            redis.replicaof("NO", "ONE")


@contextlib.contextmanager
def broken_disk(redis: redis_py.Redis) -> Iterator[None]:
    """A snapshot that cannot be put into its place."""

    def saved(status: str) -> bool:
        found = redis.info("persistence")
        if found["rdb_bgsave_in_progress"]:
            return False
        return found["rdb_last_bgsave_status"] == status or not redis.bgsave()

    folder = redis.config_get("dir")["dir"]
    with configured(redis, save="3600 1000"):
        os.mkdir(f"{folder}/dump.rdb")
        try:
            wait_for(lambda: saved("err"))
            yield
        finally:
            os.rmdir(f"{folder}/dump.rdb")
            wait_for(lambda: saved("ok"))


@contextlib.contextmanager
def busy(redis: redis_py.Redis) -> Iterator[None]:
    """A script of somebody's that does not end."""
    with configured(redis, busy_reply_threshold=1), ThreadPoolExecutor(1) as pool:
        other = redis_py.Redis(port=redis.connection_pool.connection_kwargs["port"])
        endless = pool.submit(other.eval, "while true do end", 0)

        def is_busy() -> bool:
            try:
                return not redis.ping()
            except redis_py.ResponseError as error:
                return str(error).startswith("BUSY")

        wait_for(is_busy)
        try:
            yield
        finally:
            redis.script_kill()
            assert isinstance(endless.exception(), redis_py.ResponseError)
