"""Real servers for the tests, each on a free port, each ended by who started it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
import redis
import requests

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
PERSON = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def need(program: str) -> str:
    """The program's path. Where it is missing, CI fails; a laptop skips, saying why."""
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        why = f"{program} is not installed: run `make test` as root, or use apt"
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)
    return path


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(condition: Callable[[], Any], seconds: float = 20, what: str = "") -> Any:
    """Wait until `condition` gives something true, and return it; OSErrors are a no."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if result := condition():
                return result
        except (OSError, redis.RedisError, requests.RequestException):
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain for {what or condition}")
        time.sleep(0.02)


def contents(client: Any, match: str = "*") -> dict[bytes, Any]:
    """All that a Redis or a Cluster holds: key → its value, in a form to compare."""
    read = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    return {key: read[client.type(key)](key) for key in client.scan_iter(match)}


class Process:
    """A process that ends with its `with` block."""

    def __init__(self, command: list[str], log: Path, **options: Any) -> None:
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, **options
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM, after 20 seconds SIGKILL; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def kill(self) -> None:
        """SIGKILL, waited for."""
        self.process.kill()
        self.process.wait()

    def said(self) -> str:
        """Everything it printed."""
        return self.log.read_text()


class RedisServer(Process):
    """A redis-server; `options` are its command line's, such as `--appendonly yes`."""

    def __init__(
        self, folder: Path, *options: str, port: int = 0, wait: bool = True
    ) -> None:
        self.port, self.folder, self.options = port or free_port(), folder, options
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port, protocol=2)
        super().__init__(
            [need("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1",
             "--dir", str(folder), "--save", "", *options],
            folder / f"redis-{self.port}.log",
        )  # fmt: skip
        if wait:
            wait_for(self.client.ping, what="redis-server")

    def again(self, *more: str, wait: bool = True) -> RedisServer:
        """The same server, started anew after it was killed; `more` options, once."""
        options = (*self.options, *more)
        server = RedisServer(self.folder, *options, port=self.port, wait=wait)
        server.options = self.options
        return server


class Service(Process):
    """Joip Share as the Procfile runs it, on 127.0.0.1."""

    def __init__(
        self, folder: Path, redis_url: str, port: int = 0, wait: bool = True, **env: str
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        web = (ROOT / "Procfile").read_text().partition("web: ")[2].strip()
        command = web.replace("--port=${PORT:-8000}", f"--listen=127.0.0.1:{self.port}")
        environ = {
            "PATH": f"{BIN}:{os.environ['PATH']}", "REDIS_URL": redis_url,
            "PUBLIC_URL": self.url, "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        super().__init__(
            ["/bin/sh", "-c", f"exec {command}"], folder / f"service-{self.port}.log",
            cwd=ROOT, env=environ | env,
        )  # fmt: skip
        if wait:
            wait_for(self.answers, what="the service")

    def answers(self) -> bool:
        """Whether the process serves; raises AssertionError when it has ended."""
        if self.process.poll() is not None:
            raise AssertionError(f"the service ended:\n{self.said()[-2000:]}")
        return requests.get(f"{self.url}/healthz", timeout=2).ok


class Client(requests.Session):
    """A browser's worth of cookies for one service; paths instead of URLs."""

    def __init__(self, url: str, agent: str = PERSON) -> None:
        super().__init__()
        self.url = url
        self.headers["User-Agent"] = agent

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> Any:
        options.setdefault("timeout", 10)
        options.setdefault("allow_redirects", False)
        return super().request(method, self.url + url, *args, **options)

    def sign_up(self, email: str = "", **more: str) -> dict[str, Any]:
        """Register; the user."""
        given = {"email": email or f"{os.urandom(8).hex()}@example.com"}
        answer = self.post(
            "/api/register", json=given | {"password": "long enough"} | more
        )
        assert answer.status_code == 201, answer.text
        return answer.json()

    def make_session(self, media: int = 3, **more: Any) -> int:
        """Create a session; its id."""
        items = [{"mediaUrl": f"https://example.org/{n}.jpg"} for n in range(media)]
        answer = self.post(
            "/api/sessions", json={"title": "A walk", "media": items} | more
        )
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def share(self, session_id: int, **body: str) -> str:
        """Share a session; the code."""
        answer = self.post(f"/api/sessions/{session_id}/share", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["shareCode"]
