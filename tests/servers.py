"""Real servers for the tests, each on a free port, each ended by who started it."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return path


PORTS = range(10_000, 30_000)  # below those that the system takes for connections


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on, and that no connection gets before
    somebody does."""
    while True:
        with socket.socket() as listener, contextlib.suppress(OSError):
            port = secrets.choice(PORTS)
            listener.bind(("127.0.0.1", port))
            return port


def wait_for(condition: Callable[[], Any], seconds: float = 60, what: str = "") -> Any:
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


READ: dict[bytes, tuple[Any, ...]] = {
    b"string": ("GET",),
    b"hash": ("HGETALL",),
    b"list": ("LRANGE", 0, -1),
    b"zset": ("ZRANGE", 0, -1, "WITHSCORES"),
    b"set": ("SMEMBERS",),
}


def contents(client: Any, match: str = "*") -> dict[bytes, Any]:
    """All that a Redis or a Cluster holds: key → its value, in a form to compare."""
    keys = [*client.scan_iter(match)]
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.type(key)
        for key, kind in zip(keys, pipe.execute(), strict=True):
            read, *more = READ[kind]
            pipe.execute_command(read, key, *more)
        return dict(zip(keys, pipe.execute(), strict=True))


def mentions(execute: Callable[..., Any], *words: str) -> list[Any]:
    """Keys that carry one of the words in their name or value."""
    found: list[Any] = []
    for key in execute("KEYS", "*"):
        read, *more = READ[execute("TYPE", key)]
        text = repr((key, execute(read, key, *more)))
        found += [key for word in words if word in text]
    return found


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

    def wait_until(self, serves: Callable[[], Any], what: str) -> None:
        """Wait until it serves. What ends instead, or takes too long, is no more."""

        def is_there() -> Any:
            if self.process.poll() is not None:
                raise AssertionError(f"{what} has ended:\n{self.said()[-2000:]}")
            return serves()

        try:
            wait_for(is_there, what=what)
        except BaseException:
            self.kill()
            raise

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


def hand_over(descriptor: int) -> list[str]:
    """What to put before a command so that it gets this listening socket as systemd
    gives it: as descriptor 3, in a process whose id LISTEN_PID tells."""
    steps = (
        f"import os, sys; os.dup2({descriptor}, 3)",
        "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))",
        "os.execv(sys.argv[1], sys.argv[1:])",
    )
    return [sys.executable, "-c", "; ".join(steps)]


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
            self.wait_until(self.client.ping, "redis-server")

    def again(self, *more: str, wait: bool = True) -> RedisServer:
        """The same server, started anew after it was killed; `more` options, once."""
        options = (*self.options, *more)
        server = RedisServer(self.folder, *options, port=self.port, wait=wait)
        server.options = self.options
        return server


class Group(ABC):
    """Several servers that end with one `with` block, or where one does not start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with contextlib.ExitStack() as stack:
            self.start(stack.enter_context)
            self._stack = stack.pop_all()

    @abstractmethod
    def start(self, add: Callable[[Any], Any]) -> None:
        """Start the servers; `add` takes each into the group and returns it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


class Cluster(Group):
    """A Redis Cluster of three masters."""

    def start(self, add: Callable[[Any], Any]) -> None:
        """Three nodes, who share the slots and know each other."""
        buses = [free_port() for _ in range(3)]
        self.nodes = [add(self._node(bus)) for bus in buses]
        self.urls = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        self.url = f"redis+cluster://{self.urls}"
        ends = [0, 5461, 10923, 16384]
        for n, node in enumerate(self.nodes):
            slots = str(ends[n]), str(ends[n + 1] - 1)
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
            meet = "127.0.0.1", node.port, buses[n]
            self.nodes[0].client.execute_command("CLUSTER", "MEET", *meet)
        wait_for(self.serves, what="the cluster")
        self.client = redis.RedisCluster(
            port=self.nodes[0].port, host="127.0.0.1", protocol=2
        )

    def _node(self, bus: int) -> RedisServer:
        return RedisServer(
            self.folder, "--cluster-enabled", "yes", "--cluster-port", str(bus),
            "--cluster-config-file", f"nodes-{bus}.conf",
            "--cluster-node-timeout", "2000",
        )  # fmt: skip

    def serves(self) -> bool:
        """Whether every node knows whose each slot is, and all nodes."""
        wanted = (b"state:ok", b"slots_ok:16384", b"known_nodes:3")
        infos = [node.client.execute_command("CLUSTER", "INFO") for node in self.nodes]
        return all(line in info for info in infos for line in wanted)

    def flush(self) -> None:
        """Empty every node."""
        for node in self.nodes:
            node.client.flushall()


class Sentinels(Group):
    """A master and its replica, watched by three Sentinels."""

    def start(self, add: Callable[[Any], Any]) -> None:
        """All five, until each Sentinel knows the other four."""
        self.master = add(RedisServer(self.folder))
        leader = f"127.0.0.1 {self.master.port}"
        self.replica = add(RedisServer(self.folder, "--replicaof", leader))
        self.ports = [free_port() for _ in range(3)]
        self.sentinels = [add(self._sentinel(port)) for port in self.ports]
        wait_for(lambda: all(map(self._knows_all, self.ports)), what="the Sentinels")
        addresses = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        self.url = f"redis+sentinel://{addresses}/joip/0"

    def _sentinel(self, port: int) -> Process:
        config = self.folder / f"sentinel-{port}.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {self.folder}\n"
            f"sentinel monitor joip 127.0.0.1 {self.master.port} 2\n"
            "sentinel down-after-milliseconds joip 1000\n"
            "sentinel failover-timeout joip 5000\n"
        )
        command = [need("redis-sentinel"), str(config)]
        return Process(command, self.folder / f"sentinel-{port}.log")

    @staticmethod
    def _knows_all(port: int) -> bool:
        state: Any = redis.Redis(port=port).sentinel_master("joip")
        return (state["num-other-sentinels"], state["num-slaves"]) == (2, 1)

    def ask(self, *command: str) -> Any:
        """Tell the first Sentinel something."""
        return redis.Redis(port=self.ports[0]).execute_command("SENTINEL", *command)


# What is easy for a busy machine, where a test asks for something else: hashes that are
# safe take a core for a third of a second each, and Redis has one second to answer.
CHEAP_HASHES: dict[str, object] = {"passwords.SCRYPT": "scrypt:128:8:1"}
LONG_TIMES: dict[str, object] = {
    "joip_share.REQUEST_SECONDS": 60.0,
    "redis_link.EXCHANGE": 60.0,
    "redis_node.CONNECT": 60.0,
}
EASY = CHEAP_HASHES | LONG_TIMES


def serve_with(changes: Mapping[str, object]) -> list[str]:
    """The arguments that make Python serve.py, with other values of these names."""
    imports = "import joip_share, passwords, redis_link, redis_node, serve"
    lines = [f"{name} = {value!r}" for name, value in changes.items()]
    return ["-c", "\n".join([imports, *lines, "serve.main()"])]


class Service(Process):
    """Joip Share as the Procfile runs it, on 127.0.0.1, or on a socket handed over as
    systemd does it; `within` is the command that starts it, if one does, and `changes`
    are other values of the product's names, such as EASY."""

    def __init__(
        self,
        folder: Path,
        redis_url: str,
        port: int = 0,
        wait: bool = True,
        listener: socket.socket | None = None,
        changes: Mapping[str, object] | None = None,
        within: Sequence[str] = (),
        **env: str,
    ) -> None:
        self.port = listener.getsockname()[1] if listener else port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = (ROOT / "Procfile").read_text().partition("web: ")[2].split()
        assert command == ["python", "serve.py"]
        environ = {
            "PATH": f"{BIN}:{os.environ['PATH']}", "REDIS_URL": redis_url,
            "PUBLIC_URL": self.url, "PORT": str(self.port), "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        what = serve_with(changes) if changes else command[1:]
        fds = (listener.fileno(),) if listener else ()
        super().__init__(
            [*within, *(hand_over(fds[0]) if fds else ()), sys.executable, *what],
            folder / f"service-{self.port}.log",
            cwd=ROOT, env=environ | env, pass_fds=fds,
        )  # fmt: skip
        if wait:
            self.wait_until(self.answers, "the service")

    def __exit__(self, *_: object) -> None:
        """Killed, so that no test waits for a graceful stop that is not its subject."""
        self.process.send_signal(signal.SIGCONT)
        self.kill()

    def answers(self) -> bool:
        """Whether the process serves."""
        return requests.get(f"{self.url}/healthz", timeout=2).ok


PLAIN_APP = """
import sys, time
import serve

class App:
    stopping = False

    def __call__(self, environ, start_response):
        print(environ["PATH_INFO"], flush=True)
        {step}
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]

serve.run(App(), serve.new_socket("127.0.0.1", int(sys.argv[1])))
"""


class PlainService(Process):
    """An application of a few lines under serve.py; `step` is what a request does."""

    def __init__(self, folder: Path, step: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        code = PLAIN_APP.format(step=step)
        command = [sys.executable, "-c", code, str(self.port)]
        super().__init__(command, folder / "plain.log", cwd=ROOT)
        self.wait_until(self._listens, "the application")

    def _listens(self) -> bool:
        socket.create_connection(("127.0.0.1", self.port)).close()
        return True


class Nginx(Process):
    """nginx with deploy/nginx.conf as it stands, in front of services on these ports.

    Around it stands what Debian's nginx.conf says, and of workers what ours says. Only
    what an admin edits is written anew: ports and paths in deploy/joip-share/, and
    `edits`, by file: what stands there, and what is to stand there instead.
    """

    def __init__(self, folder: Path, *upstreams: int, **edits: dict[str, str]) -> None:
        self.folder = folder / f"nginx-{free_port()}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        shutil.copytree(ROOT / "deploy" / "joip-share", self.folder / "joip-share")
        usual = {
            "listen 80;": f"listen 127.0.0.1:{self.port};", "listen [::]:80;": "",
            "/srv/joip-share": str(ROOT), "/var/log/nginx": str(self.folder),
        }  # fmt: skip
        ports = {f":{8000 + n} ": f":{port} " for n, port in enumerate(upstreams)}
        self._edit("site", usual | edits.pop("site", {}))
        self._edit("upstream", ports)
        for name, changes in edits.items():
            self._edit(name, changes)
        (self.folder / "nginx.conf").write_text(self._main())
        self.command = [need("nginx"), "-p", str(self.folder), "-c", "nginx.conf"]
        super().__init__(
            [*self.command, "-g", "daemon off;"], self.folder / "nginx.log"
        )
        self.wait_until(self._listens, "nginx")

    def _listens(self) -> bool:
        socket.create_connection(("127.0.0.1", self.port)).close()
        return True

    def _edit(self, name: str, edits: dict[str, str]) -> None:
        file = self.folder / "joip-share" / f"{name}.conf"
        text = file.read_text()
        for old, new in edits.items():
            assert old in text, f"{file.name} has no {old}"
            text = text.replace(old, new)
        file.write_text(text)

    def _main(self) -> str:
        temporary = "".join(
            f"{kind}_temp_path {kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.geteuid() == 0 else ""
        return f"""{user} worker_processes 2; pid nginx.pid; error_log error.log;
            worker_rlimit_nofile 20000; events {{ worker_connections 8192; }}
            http {{ sendfile on; gzip on; access_log access.log;
            include /etc/nginx/mime.types; default_type application/octet-stream;
            {temporary} include {ROOT}/deploy/nginx.conf; }}"""


class Load:
    """Clients on 127.0.0.1 that ask without pause, half of them by kept connections.

    `requests` are (method, path, headers), taken in turn. A client ends when it is
    refused or told to stop. `lost` tells what failed on a connection that was accepted.
    """

    def __init__(
        self, port: int, *requests: tuple[str, str, dict[str, str]], clients: int
    ) -> None:
        self.port, self.requests = port, requests
        self.answered: Counter[int] = Counter()
        self.lost: list[str] = []
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._client, args=(n,)) for n in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _client(self, number: int) -> None:
        with contextlib.suppress(ConnectionRefusedError):
            for turn in itertools.count():
                # nginx limits each address: 50 requests, then another one
                source = f"127.{1 + number}.{turn // 256}.{turn % 256}"
                self._ask(50, source, kept=number % 2 == 0)
                if self._stopping.is_set():
                    return

    def _ask(self, times: int, source: str, kept: bool) -> None:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=60, source_address=(source, 0)
        )
        for turn in range(times):
            if self._stopping.is_set():
                break
            if connection.sock is None:
                try:
                    connection.connect()
                except TimeoutError as error:  # nobody took it
                    raise ConnectionRefusedError from error
            method, path, more = self.requests[turn % len(self.requests)]
            try:
                connection.request(method, path, headers={"User-Agent": PERSON} | more)
                answer = connection.getresponse()
                answer.read()
                self.answered[answer.status] += 1
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(f"{method} {error!r}")
                connection.close()
            if not kept:
                connection.close()
        connection.close()


class Client(requests.Session):
    """A browser's worth of cookies for one service; paths instead of URLs."""

    def __init__(self, url: str, agent: str = PERSON) -> None:
        super().__init__()
        self.url = url
        self.headers["User-Agent"] = agent

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> Any:
        options.setdefault("timeout", 30)
        options.setdefault("allow_redirects", False)
        return super().request(method, self.url + url, *args, **options)

    def sign_up(self, email: str = "", **more: str) -> dict[str, Any]:
        """Register; the user."""
        given = {"email": email or f"{os.urandom(8).hex()}@example.com"}
        answer = self.post(
            "/api/register", json=given | {"password": "long enough"} | more
        )
        assert answer.status_code == 201, answer.text
        user: dict[str, Any] = answer.json()
        return user

    def make_session(self, media: int = 3, **more: Any) -> int:
        """Create a session; its id."""
        items = [{"mediaUrl": f"https://example.org/{n}.jpg"} for n in range(media)]
        answer = self.post(
            "/api/sessions", json={"title": "A walk", "media": items} | more
        )
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def share(self, session_id: int, **body: str) -> str:
        """Share a session; the code."""
        answer = self.post(f"/api/sessions/{session_id}/share", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["shareCode"])
