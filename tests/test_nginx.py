"""The real nginx with deploy/nginx.conf, in front of two processes on one Redis."""

import contextlib
import json
import re
import signal
import socket
import subprocess
import threading
from http.client import HTTPConnection

import pytest
import requests
from requests.adapters import HTTPAdapter

import joip_share
from servers import Client, Load, Nginx, RedisServer, Service, free_port, wait_for

PUBLIC_URL = "http://share.example.org"
OUTSIDE = "127.9.9.9"  # as a client's address: all of 127.0.0.0/8 is this machine


class Site:
    """Redis, two services and nginx; the services' rate limits are on."""

    def __init__(self, folder, redis_url, nginx):
        self.folder, self.redis_url, self.nginx = folder, redis_url, nginx
        self.services = [self.start(free_port()) for _ in range(2)]

    def start(self, port):
        """A service on that port, once it answers."""
        settings = {"PUBLIC_URL": PUBLIC_URL, "TRUSTED_PROXIES": "1"}
        return Service(self.folder, self.redis_url, port, **settings)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with RedisServer(folder) as redis:
        site = Site(folder, redis.url, None)
        try:
            with Nginx(folder, *(service.port for service in site.services)) as nginx:
                site.nginx = nginx
                yield site
        finally:
            for service in site.services:
                service.kill()


class From(HTTPAdapter):
    """Requests that come from a certain address."""

    def __init__(self, address):
        self.address = address
        super().__init__()

    def init_poolmanager(self, *args, **options):
        super().init_poolmanager(*args, source_address=(self.address, 0), **options)


@pytest.fixture
def client_from(site):
    """Makes clients with an address of their choice."""

    def make(address):
        client = Client(site.nginx.url)
        client.mount("http://", From(address))
        return client

    return make


_networks = iter(range(1, 250))


@pytest.fixture
def outsider(client_from):
    """A client from a network that no other test comes from."""
    return client_from(f"127.200.{next(_networks)}.1")


@pytest.fixture
def owner(outsider):
    """Somebody signed in, with one shared session."""
    outsider.sign_up()
    outsider.session = outsider.make_session()
    outsider.code = outsider.share(outsider.session)
    return outsider


def ask(site, path, method="GET", address=OUTSIDE, body=None, **headers):
    """A request whose path and headers go out as they are; status, headers, body."""
    connection = HTTPConnection(
        "127.0.0.1", site.nginx.port, timeout=10, source_address=(address, 0)
    )
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, answer.headers, text


def test_nginx_finds_nothing_wrong_with_the_configuration(site):
    command = [*site.nginx.command, "-t"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert re.fullmatch(r"(nginx: .* (syntax is ok|test is successful)\n){2}", said)


# Who is asking


def test_counters_see_the_client_and_not_what_it_claims_to_be(owner, client_from):
    addresses = ["127.50.1.1", "127.50.1.2", "127.50.2.1"]  # two networks
    for n, address in enumerate(addresses * 3):
        forged = {
            "X-Forwarded-For": f"198.51.{n}.1, 203.0.113.{n}",
            "Forwarded": f"for=198.51.{n}.1", "X-Real-IP": f"198.51.{n}.1",
        }  # fmt: skip
        path = f"/api/shared/{owner.code}/preview"
        assert client_from(address).get(path, headers=forged).status_code == 200
    totals = owner.get(f"/api/sessions/{owner.session}/stats").json()["totals"]
    assert (totals["opens"], totals["visitors"]) == (9, 2)


def test_a_rate_limit_holds_across_processes_and_forged_addresses(client_from):
    crowd = client_from("127.60.1.1")
    for _ in range(10):
        crowd.sign_up()
    given = {"email": "eleventh@example.com", "password": "long enough"}
    forged = {"X-Forwarded-For": "198.51.100.7"}
    answer = crowd.post("/api/register", json=given, headers=forged)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 3600
    assert answer.json()["retryAfter"] == int(answer.headers["Retry-After"])
    assert answer.headers["X-RateLimit-Limit"] == "10"
    client_from("127.60.1.2").sign_up()


def test_links_are_under_public_url_whatever_the_host(owner, site):
    cookie = f"connect.sid={owner.cookies['connect.sid']}"
    told = {
        "Host": "evil.example", "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "gopher", "X-Forwarded-Prefix": "/evil",
        "X-Forwarded-Port": "666",
    }  # fmt: skip
    where = f"/api/sessions/{owner.session}/share"
    _, _, text = ask(site, where, "POST", Cookie=cookie, **told)
    link = f"{PUBLIC_URL}/shared/{owner.code}?r="
    assert json.loads(text)["shareUrl"].startswith(link)
    shared = f"/shared/{owner.code}"
    for path in (shared, f"{shared}/play", "/", "//login", "/sessions/new"):
        _, headers, text = ask(site, path, **told)
        assert b"evil" not in text
        assert b"666" not in text
        assert re.match(rf"{PUBLIC_URL}/|/(?!/)|$", headers["Location"] or "")


def test_the_request_id_is_the_proxys_own(site):
    _, headers, _ = ask(site, "/healthz", **{"X-Request-ID": "forged"})
    assert re.fullmatch(r"[0-9a-f]{32}", headers["X-Request-ID"])
    assert len(headers.get_all("X-Request-ID")) == 1


# What stays inside


@pytest.mark.parametrize("name", ["metrics", "readyz"])
def test_what_is_for_the_inside_is_answered_there_only(site, name):
    assert ask(site, f"/{name}", address="127.0.0.1")[0] == 200
    for spelling in (
        "/{}", "//{}", "/./{}", "/x/../{}", "/{}?x=1", "/{}/", "/{}/.", "/%{:x}{}",
    ):  # fmt: skip
        if "{:x}" in spelling:
            path = spelling.format(ord(name[0]), name[1:])
        else:
            path = spelling.format(name)
        claim = {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"}
        status, _, text = ask(site, path, **claim)
        assert status in (403, 404), path
        assert b"joip_share_" not in text
        assert b"checks" not in text


def test_the_log_holds_no_link_and_no_address(owner, client_from, site):
    client = client_from("127.77.7.7")
    for path in ("/shared/{}", "/sh%61red/{}/play", "/api/shared/{}", "/oembed?url={}"):
        client.get(path.format(owner.code) + "?r=secret12", headers={"Referer": "x.y"})
    client.post("/shared/secret12", data=b"x" * 3_000_000)
    log = site.nginx.folder / "joip-share.log"
    wait_for(lambda: '"route":"/shared/:code","status":413' in log.read_text())
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    logged = [(line["method"], line["route"], line["status"]) for line in lines[-5:]]
    assert ("GET", "/shared/:code/play", 303) in logged
    assert ("POST", "/shared/:code", 413) in logged
    logs = log.read_text() + (site.nginx.folder / "joip-share-error.log").read_text()
    for secret in (owner.code, "secret12", "127.77.7.7", "x.y"):
        assert secret not in logs


# What nginx answers itself


def has_the_services_headers(headers):
    """Each once; `headers` are http.client's or urllib3's."""
    for name, value in joip_share.SECURITY_HEADERS.items():
        assert headers.get_all(name) == [value], name
    return True


def test_static_files_are_served_by_nginx_to_be_kept(site):
    page = requests.get(f"{site.nginx.url}/login", timeout=5).text
    paths = re.findall(r'"(/static/[^"]+)"', page)
    assert len(paths) > 2
    for path in paths:
        status, headers, _ = ask(site, path)
        assert status == 200
        assert headers["Cache-Control"] == "public, max-age=31536000"
        assert has_the_services_headers(headers)
        assert ask(site, path, **{"If-None-Match": headers["ETag"]})[0] == 304
    metrics = [requests.get(f"{s.url}/metrics", timeout=5).text for s in site.services]
    assert "/static" not in "".join(metrics)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("app.css", "text/css; charset=utf-8"),
        ("api.js", "text/javascript; charset=utf-8"),
        ("favicon.svg", "image/svg+xml; charset=utf-8"),
        ("card.png", "image/png"),
    ],
)
def test_static_files_have_the_types_that_nosniff_demands(site, path, kind):
    assert ask(site, f"/static/{path}")[1]["Content-Type"] == kind


@pytest.mark.parametrize(
    "path",
    [
        "/static/../joip_share.py", "/static/%2e%2e/joip_share.py", "/joip_share.py",
        "/static/..%2fProcfile", "/static/no.js", "/static/", "/joip-error.json",
    ],
)  # fmt: skip
def test_nothing_but_static_files_is_served(site, path):
    status, headers, text = ask(site, path)
    assert status in (400, 404)
    assert b"def " not in text
    assert has_the_services_headers(headers)


@pytest.mark.parametrize("size", [1_100_000, 3_000_000])  # the service's, nginx's own
def test_a_large_body_is_refused_in_the_services_shape(site, size):
    status, headers, text = ask(site, "/api/login", "POST", body=b"x" * size)
    assert status == 413
    assert has_the_services_headers(headers)
    assert json.loads(text) == {
        "error": "Request Entity Too Large", "message": "The body is larger than 1 MiB",
        "code": "BODY_TOO_LARGE", "requestId": headers["X-Request-ID"],
    }  # fmt: skip


def refused(client, path):
    """Ask until nginx has enough of it; what it says then."""
    for _ in range(200):
        answer = client.get(path)
        if answer.status_code != 404:
            break
    assert answer.status_code == 429
    return answer


def test_too_many_requests_are_refused_in_the_services_shape(outsider, client_from):
    path = "/api/shared/00000000-0000-4000-8000-000000000000/preview"
    answer = refused(outsider, path)
    assert has_the_services_headers(answer.raw.headers)
    assert answer.json() == {
        "error": "Too Many Requests", "message": "Too many requests, please wait",
        "code": "RATE_LIMITED", "requestId": answer.headers["X-Request-ID"],
        "retryAfter": 1,
    }  # fmt: skip
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["X-RateLimit-Limit"] == "30"
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert int(answer.headers["X-RateLimit-Reset"]) > 1_700_000_000
    page = refused(outsider, "/shared/x")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert client_from("127.61.1.1").get(path).status_code == 404


def test_a_malformed_request_is_refused_with_the_services_headers(site):
    with socket.create_connection(("127.0.0.1", site.nginx.port), timeout=5) as raw:
        raw.sendall(b"GET /\0 HTTP/1.1\r\n\r\n")
        said = raw.makefile().read()
    assert said.startswith("HTTP/1.1 400 Bad Request\n")
    for name, value in joip_share.SECURITY_HEADERS.items():
        assert said.count(f"{name}: {value}\n") == 1
    assert "Server: nginx\n" in said  # and no version


@pytest.mark.parametrize("path", ["/api/openapi.json", "/static/api.js", "/register"])
def test_a_large_answer_is_compressed(outsider, path):
    answer = outsider.get(path, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Vary"] == "Accept-Encoding"


# Slow clients, restarts, crashes


def test_two_hundred_slow_clients_do_not_stop_others(site, outsider):
    """Half of them stop within their headers, half within their bodies."""
    begun = b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n"
    with contextlib.ExitStack() as stack:
        for n in range(200):
            raw = socket.create_connection(("127.0.0.1", site.nginx.port))
            stack.enter_context(raw)
            raw.sendall(begun + (b"\r\n{" if n % 2 else b"X-Slow: "))
        for _ in range(20):
            assert outsider.get("/login", timeout=2).status_code == 200


def test_restarting_both_loses_none_of_ten_thousand_requests(owner, site):
    cookie = {"Cookie": f"connect.sid={owner.cookies['connect.sid']}"}
    preview = ("GET", f"/api/shared/{owner.code}/preview", {})
    page = ("GET", f"/shared/{owner.code}", {})
    share = ("POST", f"/api/sessions/{owner.session}/share", cookie)
    with Load(site.nginx.port, preview, page, preview, share, clients=16) as load:
        for n, service in enumerate(site.services):
            goal = load.answered.total() + 500
            wait_for(lambda goal=goal: load.answered.total() > goal)
            service.signal(signal.SIGTERM)
            assert service.process.wait(10) == 0
            site.services[n] = site.start(service.port)
        wait_for(lambda: load.answered.total() >= 10_000, 60)
    assert load.lost == []
    assert set(load.answered) == {200}


class Crasher:
    """A server that reads what is sent to it, and closes."""

    def __enter__(self):
        self.heard = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self.heard.append(connection.recv(1000).partition(b" ")[0])


def test_only_what_is_safe_to_repeat_goes_to_the_next_process(site, tmp_path):
    port = site.services[0].port
    with Crasher() as crasher, Nginx(tmp_path, crasher.port, port) as nginx:
        client = Client(nginx.url)
        client.mount("http://", HTTPAdapter(max_retries=0))
        gets = [client.get("/login").status_code for _ in range(4)]
        assert gets == [200] * 4
        assert crasher.heard.count(b"GET") >= 1
        posts = [client.post("/api/logout") for _ in range(4)]
        assert sorted(answer.status_code for answer in posts) == [204, 204, 503, 503]
        assert crasher.heard.count(b"POST") == 2
        unavailable = next(answer for answer in posts if answer.status_code == 503)
        assert unavailable.json()["code"] == "UNAVAILABLE"
        assert unavailable.headers["Retry-After"] == "1"


def test_a_process_that_is_down_costs_no_request(site, tmp_path):
    with Nginx(tmp_path, free_port(), site.services[0].port) as nginx:
        client = Client(nginx.url)
        asked = [client.request(m, "/api/logout") for m in ("POST", "GET") * 4]
    assert [answer.status_code for answer in asked] == [204, 405] * 4
