"""The stage of a benchmark: servers pinned to cores, their CPU clocks, and the load.

Whatever a Stage started it ends, by its process id, however the run ends.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Self

import redis

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TOOLS = ROOT / ".bench"  # node_modules and SnapPass's environment; not in git
SERVER_CORE = 0
LOAD_CORE = 1  # wrk, Redis, and this driver
CONNECTIONS = 16
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 20.0  # seconds a server may take to answer, or to stop


class BenchError(Exception):
    """The run is worth nothing; its text says why."""


@dataclass(frozen=True)
class Request:
    """One request of the load."""

    path: str
    agent: str
    cookie: str = ""
    method: str = "GET"


@dataclass(frozen=True)
class Sample:
    """What one round of load measured."""

    rate: float  # requests/s
    cpu: float  # µs of the server's CPU time a request
    p50: float  # ms
    p99: float  # ms


@dataclass(frozen=True)
class Server:
    """A process that answers HTTP on 127.0.0.1."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def cpu_seconds(self) -> float:
        """The process's CPU time so far, user and system, all threads: see proc(5)."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def children(self) -> list[str]:
        """Process ids it started; their CPU time would not be counted."""
        pid = self.process.pid
        threads = Path(f"/proc/{pid}/task").iterdir()
        return [c for t in threads for c in (t / "children").read_text("ascii").split()]


@dataclass(frozen=True)
class Load:
    """Requests, drawn at random, for one server."""

    server: Server
    requests: Path  # the file that wrk.lua reads


class Api:
    """A client of one server: keeps its connection and its cookie."""

    def __init__(self, port: int, agent: str = "curl/8") -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._agent = agent
        self.cookie = ""

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON, or its text. Raises BenchError for anything but a 2xx."""
        headers = {"User-Agent": self._agent, "Accept": "application/json"}
        if self.cookie:
            headers["Cookie"] = self.cookie
        payload = None
        if isinstance(body, str):
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            payload = body
        elif body is not None:
            headers["Content-Type"] = "application/json"
            payload = json.dumps(body)
        self._http.request(method, path, payload, headers)
        return self._answer(method, path)

    def _answer(self, method: str, path: str) -> Any:
        response = self._http.getresponse()
        text = response.read().decode()
        for line in response.headers.get_all("Set-Cookie") or []:
            if line.startswith("connect.sid="):
                self.cookie = line.partition(";")[0]
        if not 200 <= response.status < 300:
            raise BenchError(f"{method} {path}: {response.status} {text[:300]}")
        is_json = response.headers.get_content_type() == "application/json"
        return json.loads(text) if is_json else text


class Stage:
    """Everything a run starts; leaving it ends it all."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self.folder = Path()

    def __enter__(self) -> Self:
        signal.signal(signal.SIGTERM, _stop)
        signal.signal(signal.SIGHUP, _stop)
        folder = tempfile.TemporaryDirectory(prefix="joip-bench-")
        self.folder = Path(self._stack.enter_context(folder))
        os.sched_setaffinity(0, {LOAD_CORE})
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def redis(self) -> redis.Redis:
        """A new empty Redis that keeps nothing on disk, on the load's core."""
        port = free_port()
        folder = self.folder / f"redis-{port}"
        folder.mkdir()
        options = (
            f"--port {port} --bind 127.0.0.1 --appendonly no --dir {folder}".split()
        )
        command = [tool("redis-server", "redis-server"), *options, "--save", ""]
        self._spawn(command, {}, folder, folder / "log", LOAD_CORE)
        client = redis.Redis(port=port)
        _wait(client.ping, f"redis-server on port {port}")
        return client

    def server(
        self,
        name: str,
        command: str,
        path: str,
        env: Mapping[str, str],
        cwd: Path = ROOT,
        core: int = SERVER_CORE,
    ) -> Server:
        """Start a shell command that serves on $PORT; wait until `path` answers."""
        port = free_port()
        log = self.folder / f"{name}-{port}.log"
        # By exec the shell becomes the server: its process id is the server's.
        shell = ["/bin/sh", "-c", f"exec {command}"]
        process = self._spawn(shell, {**env, "PORT": str(port)}, cwd, log, core)
        server = Server(name, process, port, log)
        try:
            _wait(lambda: Api(port).call("GET", path), name, process)
        except BenchError as error:
            raise BenchError(f"{error}\n{log.read_text()[-2000:]}") from None
        if server.children():
            raise BenchError(f"{name} has child processes, whose CPU is not counted")
        return server

    def load(self, server: Server, requests: Iterable[Request]) -> Load:
        """Write the requests down for wrk."""
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=f"{server.name}-")
        os.close(handle)
        lines = (f"{r.method}\t{r.path}\t{r.agent}\t{r.cookie}\n" for r in requests)
        Path(name).write_text("".join(lines), encoding="utf-8")
        return Load(server, Path(name))

    def _spawn(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        core: int,
    ) -> subprocess.Popen[bytes]:
        clean = {k: os.environ[k] for k in ("PATH", "HOME", "LANG") if k in os.environ}
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*_pinned(core), *command],
                env=clean | dict(env), cwd=cwd, stdin=subprocess.DEVNULL,
                stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._stack.callback(_end, process)
        return process


def measure(loads: Sequence[Load], seconds: int, seed: int) -> list[Sample]:
    """Put load on servers, all at the same time, and read what it cost each of them."""
    before = [load.server.cpu_seconds() for load in loads]
    runs = [_wrk(load, seconds, seed + n) for n, load in enumerate(loads)]
    try:
        texts = [run.communicate(timeout=seconds + PATIENCE)[0] for run in runs]
    finally:
        for run in runs:
            _end(run)
    after = [load.server.cpu_seconds() for load in loads]
    return [
        _sample(load, text.decode(), end - start)
        for load, text, start, end in zip(loads, texts, before, after, strict=True)
    ]


def _wrk(load: Load, seconds: int, seed: int) -> subprocess.Popen[bytes]:
    options = f"-t1 -c{CONNECTIONS} -d{seconds}s -s {HERE / 'wrk.lua'}".split()
    address = f"http://127.0.0.1:{load.server.port}"
    wrk = [tool("wrk", "wrk"), *options, address, "--", str(load.requests), str(seed)]
    return subprocess.Popen([*_pinned(LOAD_CORE), *wrk], stdout=subprocess.PIPE)


def _pinned(core: int) -> list[str]:
    return [tool("taskset", "util-linux"), "-c", str(core)]


def _sample(load: Load, text: str, cpu: float) -> Sample:
    _, mark, line = text.rpartition("RESULT ")
    name = load.server.name
    if not mark:
        raise BenchError(f"{name}: wrk said\n{text}")
    result = json.loads(line)
    if result["not_2xx"] or result["socket_errors"] or not result["requests"]:
        raise BenchError(f"{name}: {line}{load.server.log.read_text()[-2000:]}")
    return Sample(
        rate=result["requests"] / result["microseconds"] * 1e6,
        cpu=cpu / result["requests"] * 1e6,
        p50=result["p50"] / 1000,
        p99=result["p99"] / 1000,
    )


def tool(name: str, package: str) -> str:
    """Find a program; install it by apt where it is missing."""
    path = shutil.which(name)
    if path is None:
        print(f"installing {package}", file=sys.stderr)
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        subprocess.run([*sudo, "apt-get", "install", "-qqy", package], check=True)
        path = shutil.which(name)
    if path is None:
        raise BenchError(f"{name} is not installed, and apt's {package} brings none")
    return path


def free_port() -> int:
    """Find a port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait(
    attempt: Callable[[], object],
    name: str,
    process: subprocess.Popen[bytes] | None = None,
) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            attempt()
        except (OSError, redis.ConnectionError, http.client.HTTPException) as error:
            ended = process is not None and process.poll() is not None
            if ended or time.monotonic() > end:
                raise BenchError(f"{name} does not answer: {error}") from None
            time.sleep(0.05)
        else:
            return


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _stop(signum: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signum)
