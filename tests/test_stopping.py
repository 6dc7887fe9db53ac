"""Told to stop: what was accepted is answered, then the process ends with status 0."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from servers import (
    ROOT,
    Client,
    Load,
    PlainService,
    Process,
    Service,
    free_port,
    wait_for,
)

WITHIN = 60  # seconds, for a machine that is busy; the unit's arithmetic has a test


@pytest.fixture
def service(tmp_path, redis_url):
    """A service to be stopped, on a socket of its own."""
    with Service(tmp_path, redis_url, RATELIMIT_ENABLED="0") as running:
        yield running


@pytest.fixture
def listener():
    """A socket as systemd keeps it: it lives on when a service ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield listener


@contextlib.contextmanager
def with_constants(folder, redis_url, **constants):
    """A service with other constants of serve.py; its process has a URL and a port."""
    port = free_port()
    set_them = "".join(f"serve.{name} = {value}; " for name, value in constants.items())
    command = [sys.executable, "-c", f"import serve; {set_them}serve.main()"]
    env = {"REDIS_URL": redis_url, "PUBLIC_URL": "http://x.org", "PORT": str(port)}
    with Process(command, folder / "log", cwd=ROOT, env=env) as service:
        service.port, service.url = port, f"http://127.0.0.1:{port}"
        service.wait_until(
            lambda: requests.get(f"{service.url}/readyz", timeout=30).ok, "the service"
        )
        yield service
        service.kill()


@pytest.fixture
def lingering(tmp_path, redis_url):
    """A service that lingers long enough for what is asked on a busy machine."""
    with with_constants(tmp_path, redis_url, LINGER=30) as running:
        yield running


def ended(service):
    """The exit status, within the time that is allowed."""
    try:
        return service.process.wait(WITHIN)
    except subprocess.TimeoutExpired:
        pytest.fail(f"still runs after {WITHIN} s")


def is_refused(service):
    """Whether nobody listens any more."""
    try:
        socket.create_connection(("127.0.0.1", service.port), 2).close()
    except ConnectionRefusedError:
        return True
    return False


def half_a_request(service):
    """A connection whose request has begun, and what is missing of it."""
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=WITHIN)
    body = json.dumps({"email": "nobody@example.com", "password": "wrong"}).encode()
    head = f"Host: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    connection.sendall(f"POST /api/login HTTP/1.1\r\n{head}\r\n\r\n".encode())
    connection.sendall(body[:9])
    return connection, body[9:]


def requests_of_an_owner(service):
    """A write and a read that succeed always, for Load."""
    owner = Client(service.url)
    owner.sign_up()
    session = owner.make_session()
    cookie = {"Cookie": f"connect.sid={owner.cookies['connect.sid']}"}
    share = ("POST", f"/api/sessions/{session}/share", cookie)
    return share, ("GET", f"/api/shared/{owner.share(session)}/preview", {})


def test_stopping_under_load_drops_no_request(service):
    asked = requests_of_an_owner(service)
    with Load(service.port, *asked, clients=16) as load:
        wait_for(lambda: load.answered.total() > 300)
        service.signal(signal.SIGTERM)
        assert ended(service) == 0
    assert load.lost == []
    assert set(load.answered) == {200}


def test_restarts_on_a_handed_over_socket_lose_and_refuse_nobody(
    tmp_path, redis_url, listener
):
    def start(wait=False):
        settings = {"RATELIMIT_ENABLED": "0", "PUBLIC_URL": "http://example.org"}
        return Service(tmp_path, redis_url, wait=wait, listener=listener, **settings)

    service = start(wait=True)
    with Load(service.port, *requests_of_an_owner(service), clients=16) as load:
        for _ in range(3):
            goal = load.answered.total() + 300
            wait_for(lambda goal=goal: load.answered.total() > goal)
            with service:
                service.signal(signal.SIGTERM)
                assert ended(service) == 0
            service = start()
        goal = load.answered.total() + 300
        wait_for(lambda: load.answered.total() > goal)
    with service:
        assert load.lost == []
        assert set(load.answered) == {200}


def test_who_connects_in_between_waits_for_the_next_process(
    tmp_path, redis_url, listener
):
    with Service(tmp_path, redis_url, listener=listener) as service:
        service.signal(signal.SIGTERM)
        assert ended(service) == 0
    with socket.create_connection(listener.getsockname(), WITHIN) as early:
        early.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        with Service(tmp_path, redis_url, listener=listener, wait=False):
            assert early.recv(100).startswith(b"HTTP/1.0 200 OK\r\n")


def test_readiness_ends_at_once_while_requests_are_still_answered(lingering):
    ready = f"{lingering.url}/readyz"
    assert requests.get(ready, timeout=30).json()["status"] == "ok"
    lingering.signal(signal.SIGTERM)
    wait_for(lambda: not requests.get(ready, timeout=30).ok, 20, "/readyz to turn 503")
    answer = requests.get(ready, timeout=30)
    assert answer.json()["checks"] == {"redis": "ok", "process": "stopping"}
    assert answer.headers["Retry-After"] == "1"
    other = requests.get(f"{lingering.url}/login", timeout=30)
    assert (other.status_code, other.headers["Connection"]) == (200, "close")


def test_kept_connections_of_either_http_are_given_up(lingering):
    """HTTP/1.0 keeps a connection only where both sides say so."""
    asked = b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    address = "127.0.0.1", lingering.port
    with socket.create_connection(address, timeout=30) as old:
        old.sendall(asked)
        assert b"\r\nConnection: Keep-Alive\r\n" in old.recv(1000)
        lingering.signal(signal.SIGTERM)
        ready = f"{lingering.url}/readyz"
        wait_for(lambda: not requests.get(ready, timeout=30).ok)
        old.sendall(asked)
        said = old.makefile("rb").read()
    assert re.findall(rb"(?m)^Connection: (.*)\r$", said) == [b"close"]


def test_requests_that_wait_for_a_thread_are_answered(tmp_path):
    """Twelve slow requests meet eight threads."""
    with PlainService(tmp_path, "time.sleep(0.5)") as service:

        def ask(number):
            return requests.get(f"{service.url}/{number}", timeout=WITHIN).status_code

        with ThreadPoolExecutor(12) as pool:
            answers = [pool.submit(ask, number) for number in range(12)]
            wait_for(lambda: any(answer.done() for answer in answers))
            service.signal(signal.SIGTERM)
            assert [answer.result() for answer in answers] == [200] * 12
        assert ended(service) == 0


def test_a_request_that_comes_slowly_is_answered_though_told_twice(tmp_path, redis_url):
    with with_constants(tmp_path, redis_url, PATIENCE=300) as service:
        connection, rest = half_a_request(service)
        service.signal(signal.SIGINT)
        wait_for(lambda: is_refused(service))
        service.signal(signal.SIGTERM)
        connection.sendall(rest)
        assert connection.recv(100).startswith(b"HTTP/1.1 401 ")
        assert ended(service) == 0


def test_what_never_comes_or_ends_holds_nothing_up(tmp_path):
    """A request that takes ten minutes, half a one, and fifty silent clients."""
    with (
        PlainService(
            tmp_path, "'slow' in environ['PATH_INFO'] and time.sleep(600)"
        ) as service,
        contextlib.ExitStack() as clients,
    ):
        for _ in range(50):
            client = clients.enter_context(requests.Session())
            client.get(f"{service.url}/quick", timeout=30)
        half, _ = half_a_request(service)
        clients.enter_context(half)
        slow = socket.create_connection(("127.0.0.1", service.port))
        clients.enter_context(slow).sendall(b"GET /slow HTTP/1.0\r\n\r\n")
        wait_for(lambda: "/slow" in service.said())
        service.signal(signal.SIGTERM)
        assert ended(service) == 0


def test_silent_connections_alone_are_not_waited_for(tmp_path, redis_url):
    with (
        with_constants(tmp_path, redis_url, PATIENCE=300) as service,
        requests.Session() as client,
    ):
        client.get(f"{service.url}/healthz", timeout=30)
        service.signal(signal.SIGTERM)
        assert ended(service) == 0


def test_the_try_out_ends_with_ctrl_c(tmp_path):
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, ROOT / "joip_share.py"], stdout=log, stderr=log,
            env={"PATH": os.environ["PATH"], "PORT": str(port)},
        )  # fmt: skip
    try:
        wait_for(lambda: requests.get(f"http://127.0.0.1:{port}/readyz", timeout=30).ok)
        process.send_signal(signal.SIGINT)
        assert process.wait(WITHIN) == 0
    finally:
        process.kill()
    assert b"Traceback" not in (tmp_path / "log").read_bytes()
