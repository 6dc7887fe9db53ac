"""The stage of a benchmark: servers on one core, load on the other, a CPU clock.

Whatever a Stage started it ends, however the run ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import requests

from servers import ROOT, Client, Process, RedisServer, free_port, wait_for

HERE = Path(__file__).resolve().parent
SERVER_CORE, LOAD_CORE = 0, 1  # on the second: wrk, Redis, and this driver
CONNECTIONS = 16
TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The run is worth nothing; its text says why."""


@dataclass(frozen=True)
class Request:
    """One request of the load; `$n` in its body is another number each time."""

    path: str
    agent: str
    cookie: str = ""
    method: str = "GET"
    body: str = ""

    def line(self) -> str:
        """As wrk.lua reads it."""
        parts = self.method, self.path, self.agent, self.cookie, self.body
        return "\t".join(parts) + "\n"


@dataclass(frozen=True)
class Sample:
    """What one round of load measured."""

    rate: float  # requests per second
    cpu: float  # µs of the server's CPU time per request
    p50: float  # ms
    p99: float  # ms


@dataclass(frozen=True)
class Server:
    """A process that answers HTTP on 127.0.0.1."""

    process: Process
    url: str

    def cpu_seconds(self) -> float:
        """The process's CPU time so far, user and system, all threads: see proc(5)."""
        stat = Path(f"/proc/{self.process.process.pid}/stat").read_text("ascii")
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


@dataclass(frozen=True)
class Load:
    """Requests for one server, to be drawn at random."""

    server: Server
    file: Path  # which wrk.lua reads


class Api(Client):
    """A client of one server, with its cookies; anything but a 2xx ends the run."""

    def __init__(self, server: Server, agent: str = "curl/8") -> None:
        super().__init__(server.url, agent)

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request; `options` are those of `requests`."""
        answer: requests.Response = self.request(method, path, **options)
        if not answer.ok:
            raise BenchError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer

    def cookie(self) -> str:
        """The login, as a Cookie header has it."""
        return f"connect.sid={self.cookies['connect.sid']}"


class Stage:
    """Everything a run starts; leaving it ends it all."""

    def __enter__(self) -> Self:
        self._stack = contextlib.ExitStack()
        folder = tempfile.TemporaryDirectory(prefix="joip-bench-")
        self.folder = Path(self._stack.enter_context(folder))
        os.sched_setaffinity(0, {LOAD_CORE})
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def redis(self) -> RedisServer:
        """A new empty Redis that keeps nothing on disk, on the load's core."""
        return self._stack.enter_context(RedisServer(self.folder))

    def server(
        self,
        command: Sequence[str],
        path: str,
        env: Mapping[str, str],
        cwd: Path = ROOT,
    ) -> Server:
        """Start what serves on $PORT ("$PORT" in `command` too); wait until `path`
        answers."""
        port = str(free_port())
        words = [word.replace("$PORT", port) for word in command]
        clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG")}
        clean |= {**env, "PORT": port}
        log = self.folder / f"server-{port}.log"
        with on_core(SERVER_CORE):
            process = Process(words, log, env=clean, cwd=cwd)
        server = Server(self._stack.enter_context(process), f"http://127.0.0.1:{port}")
        wait_for(lambda: Api(server).call("GET", path), what=f"{words}, see {log}")
        return server

    def load(self, server: Server, load: Iterable[Request]) -> Load:
        """Write the requests down for wrk."""
        handle, name = tempfile.mkstemp(dir=self.folder, prefix="load-")
        with open(handle, "w", encoding="utf-8") as file:
            file.writelines(request.line() for request in load)
        return Load(server, Path(name))


@contextlib.contextmanager
def on_core(number: int) -> Iterator[None]:
    """What is started meanwhile runs on this core, with all its threads."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {number})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(load: Load, seconds: int, seed: int) -> Sample:
    """Put load on a server, and read what it cost."""
    wrk = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", load.server.url]
    command = [*wrk, "-s", str(HERE / "wrk.lua"), "--", str(load.file), str(seed)]
    before = load.server.cpu_seconds()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    cpu = load.server.cpu_seconds() - before
    result = json.loads(done.stdout.rpartition("RESULT ")[2])
    if not result["requests"] or result["not_2xx"] or result["socket_errors"]:
        raise BenchError(f"{result}\n{load.server.process.said()[-2000:]}")
    return Sample(
        rate=result["requests"] / result["microseconds"] * 1e6,
        cpu=cpu / result["requests"] * 1e6,
        p50=result["p50"] / 1000,
        p99=result["p99"] / 1000,
    )
