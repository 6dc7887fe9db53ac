"""`python serve.py`: where it listens, what it bears, what its log does not tell."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest
import requests

import joip_share
from servers import (
    BIN,
    ROOT,
    Client,
    PlainService,
    Process,
    Service,
    free_port,
    hand_over,
    wait_for,
)


@pytest.fixture(scope="module")
def service(tmp_path_factory, redis_url):
    with Service(tmp_path_factory.mktemp("service"), redis_url) as service:
        yield service


# Starting


def start(*before, **environ):
    """Start it where it must not start; what it says."""
    ended = subprocess.run(
        [*before, sys.executable, "serve.py"], cwd=ROOT, timeout=60, check=False,
        env={"PATH": os.environ["PATH"], **environ}, capture_output=True, text=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stdout == ""
    return ended.stderr


NEEDED = {"REDIS_URL": "redis://127.0.0.1:1", "PUBLIC_URL": "http://example.org"}


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, "REDIS_URL and PUBLIC_URL"),
        ({"REDIS_URL": NEEDED["REDIS_URL"]}, "PUBLIC_URL"),
        ({"PUBLIC_URL": NEEDED["PUBLIC_URL"]}, "REDIS_URL"),
        ({**NEEDED, "PORT": "0"}, "PORT"),
        ({**NEEDED, "PUBLIC_URL": "example.org"}, "PUBLIC_URL"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_stops_the_start_with_one_line(
    environ, named
):
    said = start(**environ)
    assert re.fullmatch(rf"joip_share: {named} [^\n]+\n", said)


def test_a_port_that_is_taken_stops_the_start_with_one_line(service, redis_url):
    settings = {"REDIS_URL": redis_url, "PUBLIC_URL": "http://example.org"}
    said = start(**settings, PORT=str(service.port)).splitlines()
    assert re.fullmatch(r"serve: .*PORT.*Address already in use.*", said[-1])
    assert not any("Traceback" in line for line in said)


@pytest.mark.parametrize("host", ["127.0.0.1:80", "[::1]", "http://here", "h" * 70])
def test_a_host_that_is_no_address_stops_the_start_with_one_line(redis_url, host):
    settings = {"REDIS_URL": redis_url, "PUBLIC_URL": "http://example.org"}
    said = start(**settings, HOST=host, PORT=str(free_port())).splitlines()
    assert said[-1].startswith("serve: HOST ")
    assert not any("Traceback" in line for line in said)


def test_several_sockets_stop_the_start_with_one_line(redis_url):
    settings = {"REDIS_URL": redis_url, "PUBLIC_URL": "http://example.org"}
    two = [word.replace("LISTEN_FDS='1'", "LISTEN_FDS='2'") for word in hand_over(0)]
    said = start(*two, **settings).splitlines()
    assert said[-1] == "serve: systemd must hand over one socket, not several"


def test_what_is_handed_over_and_is_no_socket_stops_the_start_with_one_line(redis_url):
    settings = {"REDIS_URL": redis_url, "PUBLIC_URL": "http://example.org"}
    said = start(*hand_over(0), **settings).splitlines()
    assert said[-1].startswith("serve: the socket of LISTEN_FDS: ")
    assert not any("Traceback" in line for line in said)


def test_the_log_tells_the_version_and_the_address(service):
    lines = [json.loads(line) for line in service.said().splitlines()]
    words = f"Joip Share {joip_share.__version__} on 127.0.0.1:{service.port}"
    assert words in [line["message"] for line in lines]


def test_a_new_version_on_the_disk_changes_nothing_before_the_restart(
    tmp_path, redis_url
):
    """As after the README's `git pull`, until `systemctl restart`."""
    folder = tmp_path / "clone"
    for part in ("lua", "static", "templates"):
        shutil.copytree(ROOT / part, folder / part)
    for file in (*ROOT.glob("*.py"), ROOT / "openapi.yaml"):
        shutil.copy(file, folder)
    url = f"http://127.0.0.1:{(port := free_port())}"
    environ = {"REDIS_URL": redis_url, "PUBLIC_URL": url, "PORT": str(port)}
    command = [sys.executable, "serve.py"]
    with Process(command, tmp_path / "log", cwd=folder, env=environ):
        client = Client(url)
        wait_for(lambda: client.get("/healthz").ok)
        for file in (*folder.glob("templates/*"), folder / "openapi.yaml"):
            file.write_text("{{ what.is.this }}: [")
        shutil.rmtree(folder / "static")
        for path in ("/", "/login", "/register", "/api/openapi.json"):
            assert client.get(path).status_code == 200, path
        assert client.get("/nowhere").status_code == 404
        client.sign_up()
        editor = f"/sessions/{client.make_session()}"
        for path in ("/", "/account", "/referrals", editor):
            assert client.get(path).status_code == 200, path


def listens(host, port):
    """Whether somebody listens there."""
    try:
        socket.create_connection((host, port), 2).close()
    except OSError:
        return False
    return True


def test_it_listens_on_this_machine_only_unless_told_otherwise(
    tmp_path, service, redis_url
):
    assert not listens("127.0.0.2", service.port)
    with Service(tmp_path, redis_url, HOST="") as unset:
        assert not listens("127.0.0.2", unset.port)
    with Service(tmp_path, redis_url, HOST="0.0.0.0") as other:
        assert listens("127.0.0.2", other.port)


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="no IPv6 here")
def test_it_listens_on_ipv6_as_well(tmp_path, redis_url):
    port = free_port()
    with Service(tmp_path, redis_url, port, wait=False, HOST="::1") as service:
        service.url = f"http://[::1]:{port}"
        wait_for(service.answers)
        assert not listens("127.0.0.1", port)


def test_a_socket_handed_over_to_another_process_is_not_taken(tmp_path, redis_url):
    """Such as a shell that systemd started, and that started this."""
    theirs = {"LISTEN_FDS": "1", "LISTEN_PID": "1"}
    with Service(tmp_path, redis_url, **theirs) as service:
        assert service.answers()


@pytest.mark.parametrize("kind", ["a path", "an abstract name"])
def test_systemd_is_told_when_it_serves_and_when_it_stops(tmp_path, redis_url, kind):
    name = str(tmp_path / "notify")
    abstract = kind == "an abstract name"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if abstract else name)
        manager.settimeout(60)
        asked = {"NOTIFY_SOCKET": f"@{name}" if abstract else name}
        with Service(tmp_path, redis_url, wait=False, **asked) as service:
            assert manager.recv(100) == b"READY=1"
            assert service.answers()
            service.process.terminate()
            assert manager.recv(100) == b"STOPPING=1"
            assert service.process.wait(60) == 0


# Clients that do not behave


def say(service, data):
    """Bytes as they are, on a connection of their own; the first of the answer, which
    is b"" where the connection is closed instead."""
    with socket.create_connection(("127.0.0.1", service.port), 10) as raw:
        raw.sendall(data)
        return raw.recv(1000)


MALFORMED = [
    (b"GET http://[/secret12 HTTP/1.1\r\n\r\n", 400),
    (b"GET http://\xe2\x84\x80/secret12 HTTP/1.1\r\n\r\n", 400),
    (b"GET http://[secret12]:port/ HTTP/1.1\r\n\r\n", 400),
    (b"get /secret12 HTTP/1.1\r\n\r\n", 400),
    (b"G\xffT /secret12 HTTP/1.1\r\n\r\n", 400),
    (b"GET /secret12\r\nX: 1\rY: 2\r\n\r\n", 400),
    (b"POST /secret12 HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
    (b"POST /secret12 HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST /secret12 HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n", 400),
    (b"POST /secret12 HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", 400),
    (b"POST /secret12 HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n", 413),
    (b"GET /secret12 HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431),
    (b"POST /secret12 HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    (b"POST /secret12 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno\r\n", 400),
]


@pytest.mark.parametrize(
    ("data", "status"), MALFORMED, ids=lambda value: str(value)[:50]
)
def test_what_is_no_http_is_refused_and_not_logged(service, data, status):
    before = service.said()
    head = say(service, data)
    assert re.match(rb"HTTP/1.[01] %d " % status, head)
    assert b"\r\nServer:" not in head
    assert service.answers()
    logged = service.said().removeprefix(before)
    for told in ("secret12", "127.0.0.1", "Traceback"):
        assert told not in logged


@pytest.mark.parametrize(
    ("request_line", "length", "status"),
    [
        ("GET /healthz", "", "200"),
        ("POST /api/login", "Content-Length: 0\r\n", "415"),
        ("POST /api/login", "Content-Length: many\r\n", "400"),
        ("POST /api/login", "Content-Length: 9999999\r\n", "413"),
    ],
)
def test_who_has_no_body_to_send_or_one_too_large_is_not_told_to_go_on_with_it(
    service, request_line, length, status
):
    """RFC 9110, 10.1.1; waitress did, and waited for the rest for half a minute."""
    expecting = "Host: x\r\nConnection: close\r\nExpect: 100-continue\r\n"
    asked = f"{request_line} HTTP/1.1\r\n{expecting}{length}\r\n".encode()
    assert say(service, asked).startswith(f"HTTP/1.1 {status} ".encode())


def test_who_waits_to_be_told_to_go_on_is_told_so(service):
    asked = b"POST /api/login HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
    with socket.create_connection(("127.0.0.1", service.port), 10) as raw:
        raw.sendall(asked + b"Content-Length: 2\r\nConnection: close\r\n\r\n")
        said = raw.makefile("rb")
        assert said.readline() == b"HTTP/1.1 100 Continue\r\n"
        raw.sendall(b"{}")
        assert b"\r\n\r\nHTTP/1.1 415 " in b"\r\n" + said.read()


def test_an_application_that_fails_does_not_get_its_path_logged(tmp_path):
    with PlainService(tmp_path, "raise KeyError('no')") as service:
        head = say(service, b"GET /secret12?x=secret13 HTTP/1.0\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 500 ")
        wait_for(lambda: "Exception while serving" in service.said())
        logged = service.said().replace("/secret12\n", "", 1)  # its own print
    assert "secret1" not in logged


def test_pipelines_that_nobody_reads_hold_no_thread(service):
    """Twenty clients ask for fifty answers of a megabyte; there are eight threads."""
    owner = Client(service.url)
    owner.sign_up()
    media = [{"mediaUrl": f"https://example.org/{'x' * 1900}.jpg"}] * 500
    session = owner.post("/api/sessions", json={"title": "Long", "media": media})
    path = f"/api/sessions/{session.json()['id']}"
    assert len(owner.get(path).content) > 900_000
    cookie = f"Cookie: connect.sid={owner.cookies['connect.sid']}"
    asked = f"GET {path} HTTP/1.1\r\nHost: x\r\n{cookie}\r\n\r\n".encode() * 50
    with contextlib.ExitStack() as clients:
        for _ in range(20):
            client = socket.create_connection(("127.0.0.1", service.port))
            clients.enter_context(client).sendall(asked)
        for _ in range(400):
            assert requests.get(f"{service.url}/healthz", timeout=30).ok


def test_a_pipeline_is_answered_once_and_told_to_ask_again(service):
    """RFC 9112, 9.3.2: who pipelines asks again where the connection is closed."""
    with socket.create_connection(("127.0.0.1", service.port), 10) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        said = raw.makefile("rb").read()
    assert said.count(b"HTTP/1.1 200 OK\r\n") == 1
    assert b"\r\nConnection: close\r\n" in said


def test_a_kept_connection_is_kept(service):
    with socket.create_connection(("127.0.0.1", service.port), 10) as raw:
        for _ in range(3):
            raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"\r\nConnection: close\r\n" not in raw.recv(1000)


# Other servers

OTHERS = {
    "waitress-serve": "--listen=127.0.0.1:{port} --call joip_share:create_app",
    "gunicorn": "--bind=127.0.0.1:{port} --preload --threads=8 joip_share:create_app()",
}


@pytest.mark.parametrize("name", OTHERS)
def test_any_wsgi_server_serves_it_and_stops_in_its_own_way(tmp_path, redis_url, name):
    port = free_port()
    client = Client(f"http://127.0.0.1:{port}")
    settings = {"REDIS_URL": redis_url, "PUBLIC_URL": client.url}
    command = [str(BIN / name), *OTHERS[name].format(port=port).split()]
    with Process(command, tmp_path / "log", cwd=ROOT, env=settings) as server:
        wait_for(lambda: client.get("/readyz").ok, what=name)
        client.sign_up()
        code = client.share(client.make_session())
        assert client.get(f"/api/shared/{code}/preview").ok
        for size, status in ((1 << 20, 201), ((1 << 20) + 1, 413)):
            body = [b'{"title": "x"}', b" " * (size - 14)]  # chunked
            headers = {"Content-Type": "application/json"}
            answer = client.post("/api/sessions", data=iter(body), headers=headers)
            assert answer.status_code == status, answer.text
        server.process.terminate()
        assert server.process.wait(60) in (0, -signal.SIGTERM)
    assert "Traceback" not in server.said()


@pytest.mark.parametrize("name", OTHERS)
def test_under_any_wsgi_server_a_missing_setting_is_one_line(name):
    command = [BIN / name, *OTHERS[name].format(port=free_port()).split()]
    ended = subprocess.run(
        command, cwd=ROOT, env={"PATH": os.environ["PATH"]}, timeout=60, check=False,
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert ended.returncode == 1
    said = ended.stdout + ended.stderr
    assert said == "joip_share: REDIS_URL and PUBLIC_URL must be set\n"
