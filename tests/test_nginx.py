"""The real nginx with deploy/nginx.conf, in front of two processes on one Redis."""

import contextlib
import json
import re
import signal
import socket
import ssl
import subprocess
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from requests.adapters import HTTPAdapter

import headers
from problems import PROBLEMS
from servers import ROOT, Client, Load, Nginx, Service, free_port, need, wait_for

PUBLIC_URL = "http://share.example.org"
OUTSIDE = "127.9.9.9"  # as a client's address: all of 127.0.0.0/8 is this machine
UNKNOWN = "00000000-0000-4000-8000-000000000000"
SECURITY_HEADERS = {**dict(headers.PAGE_HEADERS), "X-Content-Type-Options": "nosniff"}


class Site(contextlib.ExitStack):
    """Two services on sockets that outlive them, behind one nginx."""

    def __init__(self, folder, redis_url, **settings):
        super().__init__()
        self.folder, self.redis_url = folder, redis_url
        self.settings = {"PUBLIC_URL": PUBLIC_URL, "TRUSTED_PROXIES": "1", **settings}
        self.listeners = [
            self.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
            for _ in range(2)
        ]
        self.services = [self.start(n, wait=False) for n in range(2)]
        self.callback(lambda: [service.kill() for service in self.services])
        for service in self.services:
            service.wait_until(service.answers, "the service")
        self.ports = [service.port for service in self.services]
        self.nginx = self.enter_context(Nginx(folder, *self.ports))

    def start(self, n, wait=True):
        """The service on the n-th socket."""
        return Service(
            self.folder,
            self.redis_url,
            listener=self.listeners[n],
            wait=wait,
            **self.settings,
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory, redis_url):
    """The sample as it stands; the services' rate limits are on."""
    with Site(tmp_path_factory.mktemp("site"), redis_url) as site:
        yield site


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


def ask(nginx, path, method="GET", address=OUTSIDE, body=None, **headers):
    """A request whose path and headers go out as they are; status, headers, body."""
    connection = HTTPConnection(
        "127.0.0.1", nginx.port, timeout=30, source_address=(address, 0)
    )
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, answer.headers, text


def send(nginx, data, address=OUTSIDE):
    """Bytes as they are, on a connection of their own; all that is answered."""
    with socket.create_connection(
        ("127.0.0.1", nginx.port), timeout=30, source_address=(address, 0)
    ) as raw:
        raw.sendall(data)
        return raw.makefile(encoding="latin-1", newline="").read()


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
    _, _, text = ask(site.nginx, where, "POST", Cookie=cookie, **told)
    link = f"{PUBLIC_URL}/shared/{owner.code}?r="
    assert json.loads(text)["shareUrl"].startswith(link)
    shared = f"/shared/{owner.code}"
    for path in (shared, f"{shared}/play", "/", "//login", "/sessions/new"):
        _, headers, text = ask(site.nginx, path, **told)
        assert b"evil" not in text
        assert b":666" not in text
        assert re.match(rf"{PUBLIC_URL}/|/(?!/)|$", headers["Location"] or "")


def test_the_request_id_is_the_proxys_own(site):
    _, headers, _ = ask(site.nginx, "/healthz", **{"X-Request-ID": "forged"})
    assert re.fullmatch(r"[0-9a-f]{32}", headers["X-Request-ID"])
    assert len(headers.get_all("X-Request-ID")) == 1


# Sign-in by the proxy


class SignIn:
    """What Authelia is for nginx: it tells whose cookie a request carries."""

    def __enter__(self):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                person = re.search(r"person=(\S+)", self.headers.get("Cookie", ""))
                self.send_response(200 if person else 401)
                if person:
                    self.send_header("Remote-Email", person[1])
                self.end_headers()

            def log_message(self, *_):
                """Silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def behind_sign_in(tmp_path_factory, redis_url):
    """A service whose people are signed in by the proxy: its port."""
    folder = tmp_path_factory.mktemp("sign-in")
    settings = {
        "PUBLIC_URL": PUBLIC_URL, "TRUSTED_PROXIES": "1",
        "AUTH_HEADER": "Remote-Email", "AUTH_URL": "https://auth.example.org/",
    }  # fmt: skip
    with Service(folder, redis_url, **settings) as service:
        yield service.port


def with_sign_in(folder, service, sign_in_port):
    """nginx as the sample shows it for Authelia."""
    include = "include joip-share/sso.conf;"
    return Nginx(
        folder,
        service,
        site={f"# {include}": include},
        sso={"127.0.0.1:9091": f"127.0.0.1:{sign_in_port}"},
    )


@pytest.fixture(scope="module")
def sign_in(tmp_path_factory, behind_sign_in):
    folder = tmp_path_factory.mktemp("nginx")
    with SignIn() as auth, with_sign_in(folder, behind_sign_in, auth.port) as nginx:
        yield nginx


def who(nginx, *headers):
    """The email that the API takes this request's sender for; the refusal's status."""
    lines = "".join(f"{header}\r\n" for header in headers)
    said = send(
        nginx,
        f"GET /api/auth/user HTTP/1.0\r\nHost: x\r\n{lines}\r\n".encode("latin-1"),
    )
    head, _, body = said.partition("\r\n\r\n")
    status = int(head.split()[1])
    return json.loads(body)["email"] if status == 200 else status


def test_who_is_signed_in_at_the_proxy_is_signed_in_here(sign_in):
    assert who(sign_in, "Cookie: person=ann@example.org") == "ann@example.org"
    assert who(sign_in, "Cookie: person=bob@example.org") == "bob@example.org"
    assert who(sign_in) == 401


FORGED = [
    ("Remote-Email: eve@example.org",),
    ("remote-email: eve@example.org",),
    ("REMOTE-EMAIL:eve@example.org",),
    ("Remote_Email: eve@example.org",),
    ("remote_email: eve@example.org",),
    ("Remote-Email: eve@example.org", "Remote-Email: eve@example.org"),
    ("Remote-Email: eve@example.org", "Remote_Email: eve@example.org"),
    ("Remote-Email:", "Remote_Email: eve@example.org"),
    ("Remote-Email: ", "Remote-Email: eve@example.org"),
    ("Remote-Email:    eve@example.org   ",),
    ("Remote-Email:\teve@example.org",),
    ("Remote-Email : eve@example.org",),
    (" Remote-Email: eve@example.org",),
    ("X-Folded: 1", " Remote-Email: eve@example.org"),
    ("Remote-Email;: eve@example.org",),
    ("HTTP_REMOTE_EMAIL: eve@example.org",),
    ("Connection: Remote-Email", "Remote-Email: eve@example.org"),
    ("X-Forwarded-For: 127.0.0.1", "Remote-Email: eve@example.org"),
]  # fmt: skip


@pytest.mark.parametrize("headers", FORGED, ids=repr)
def test_a_forged_header_gets_nobody_in(sign_in, tmp_path, behind_sign_in, headers):
    """Neither with the proxy's sign-in, nor where the sample was left as it is."""
    assert who(sign_in, *headers) in (400, 401)
    ann = who(sign_in, *headers, "Cookie: person=ann@example.org")
    assert ann in (400, "ann@example.org")
    with Nginx(tmp_path, behind_sign_in) as plain:
        assert who(plain, *headers) in (400, 401)


def test_where_sign_in_is_away_everybody_is_nobody(tmp_path, behind_sign_in):
    with with_sign_in(tmp_path, behind_sign_in, free_port()) as nginx:
        assert who(nginx, "Cookie: person=ann@example.org") == 401
        path = f"/api/shared/{UNKNOWN}/preview"
        assert ask(nginx, path)[0] == 404
        assert ask(nginx, "/static/app.css")[0] == 200


# What stays inside


@pytest.mark.parametrize("name", ["metrics", "readyz"])
def test_what_is_for_the_inside_is_answered_there_only(site, name):
    assert ask(site.nginx, f"/{name}", address="127.0.0.1")[0] == 200
    encoded = f"%{ord(name[0]):x}{name[1:]}"
    for path in (
        f"/{name}", f"//{name}", f"/./{name}", f"/x/../{name}", f"/{name}?x=1",
        f"/{name}/", f"/{name}/.", f"/{encoded}",
    ):  # fmt: skip
        claim = {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"}
        status, _, text = ask(site.nginx, path, **claim)
        assert status in (403, 404), path
        assert b"joip_share_" not in text
        assert b"checks" not in text


ROUTES = [
    ("/shared/{code}?r=secret12", "/shared/:code"),
    ("/shared/{code}/play", "/shared/:code/play"),
    ("/shared/{CODE}", "/shared/:code"),
    ("/shared/{code}.,%22", "/shared/:code"),
    ("/shared/secret12", "/shared/:code"),
    ("/joip/shared/secret12/secret13", "/joip/shared/:code"),
    ("/api/shared/{code}", "/api/shared/:code"),
    ("/api/shared/media/{code}?offset=1", "/api/shared/media/:code"),
    ("/api/sessions/12/shares/{code}", "/api/sessions/12/shares/:code"),
    ("/api/sessions/12/shares/{code}/{code}", "/api/sessions/12/shares/:code"),
    ("/{code}/{code}", "/:code"),
    ("/oembed?url=http://share.example.org/shared/{code}", "/oembed"),
    ("/sh%61red/{code}/play", "other"),
    ("/shared%2f{code}", "other"),
    ("/person@example.org", "other"),
    ("/caf\xe9\xff", "other"),
    ('/"\\', "other"),
]


@pytest.mark.parametrize(("path", "route"), ROUTES)
def test_the_log_tells_what_was_asked_for_without_its_secrets(site, path, route):
    path = path.format(code=UNKNOWN.replace("0", "a"), CODE=UNKNOWN.replace("0", "A"))
    log = site.nginx.folder / "joip-share.log"
    last = ask(site.nginx, "/healthz")[1]["X-Request-ID"]
    wait_for(lambda: last in log.read_text())
    before = log.read_bytes()
    answer = send(site.nginx, f"GET {path} HTTP/1.0\r\n\r\n".encode("latin-1"))
    line = wait_for(lambda: log.read_bytes().removeprefix(before))
    told = json.loads(line.decode("ascii"))
    assert (told["method"], told["route"]) == ("GET", route)
    assert told["status"] == int(answer.split()[1])


def told_by(log):
    """What the log tells of each request. nginx writes it as a request ends: that of a
    body which is still read to be thrown away comes after the next one's."""
    lines = [json.loads(line) for line in re.findall(".*}\n", log.read_text())]
    return [(line["method"], line["route"], line["status"]) for line in lines]


def test_the_log_holds_no_link_and_no_address(owner, client_from, site):
    client = client_from("127.77.7.7")
    for path in ("/shared/{}", "/shared/{}/play", "/api/shared/{}", "/oembed?url={}"):
        client.get(path.format(owner.code) + "?r=secret12", headers={"Referer": "x.y"})
    client.post("/shared/secret12", data=b"x" * 3_000_000)
    client.request("SECRET12", "/")
    log = site.nginx.folder / "joip-share.log"
    asked = {
        ("GET", "/shared/:code/play", 303),
        ("POST", "/shared/:code", 413),
        ("other", "other", 400),
    }
    wait_for(lambda: asked <= set(told_by(log)))
    logs = log.read_text() + (site.nginx.folder / "joip-share-error.log").read_text()
    for secret in (owner.code, "secret12", "SECRET12", "127.77.7.7", "x.y"):
        assert secret not in logs


# What nginx answers itself


def has_the_services_headers(headers):
    """Each once; `headers` are http.client's or urllib3's."""
    for name, value in SECURITY_HEADERS.items():
        assert headers.get_all(name) == [value], name
    return True


def test_static_files_are_served_by_nginx_to_be_kept(site):
    page = requests.get(f"{site.nginx.url}/login", timeout=30).text
    paths = re.findall(r'"(/static/[^"]+)"', page)
    assert len(paths) > 2
    for path in paths:
        status, headers, _ = ask(site.nginx, path)
        assert status == 200
        assert headers["Cache-Control"] == "public, max-age=31536000"
        assert has_the_services_headers(headers)
        again = ask(site.nginx, path, **{"If-None-Match": headers["ETag"]})
        assert again[0] == 304
    metrics = [requests.get(f"{s.url}/metrics", timeout=30).text for s in site.services]
    assert "/static" not in "".join(metrics)


KINDS = {
    ".css": "text/css; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}


def test_static_files_have_the_types_that_nosniff_demands(site):
    for file in (ROOT / "static").iterdir():
        headers = ask(site.nginx, f"/static/{file.name}")[1]
        assert headers["Content-Type"] == KINDS[file.suffix], file.name


@pytest.mark.parametrize(
    "path",
    [
        "/static/../joip_share.py", "/static/%2e%2e/joip_share.py", "/joip_share.py",
        "/static/..%2fProcfile", "/static/no.js", "/static/", "/joip-problem.json",
    ],
)  # fmt: skip
def test_nothing_but_static_files_is_served(site, path):
    status, headers, text = ask(site.nginx, path)
    assert status in (400, 404)
    assert b"def " not in text
    assert has_the_services_headers(headers)


def test_a_static_file_is_there_to_be_read_only(site):
    status, headers, _ = ask(site.nginx, "/static/app.css", "POST")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("size", [1_100_000, 3_000_000])  # the service's, nginx's own
def test_a_large_body_is_refused_in_the_services_shape(site, size):
    status, headers, text = ask(site.nginx, "/api/login", "POST", body=b"x" * size)
    assert status == 413
    assert json.loads(text) == {
        "error": "Request Entity Too Large", "message": "The body is larger than 1 MiB",
        "code": "BODY_TOO_LARGE", "requestId": headers["X-Request-ID"],
    }  # fmt: skip


MALFORMED = [
    (b"GET /\0 HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
    (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 400),  # 494
    (b"GET /joip-problem.html HTTP/1.0\r\n\r\n", 404),
    (b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505),
]


@pytest.mark.parametrize(
    ("request_bytes", "status"), MALFORMED, ids=lambda x: str(x)[:50]
)
def test_every_refusal_has_the_services_headers(site, request_bytes, status):
    said = send(site.nginx, request_bytes)
    head = said.partition("\r\n\r\n")[0]
    assert head.startswith(f"HTTP/1.1 {status} ")
    for name, value in SECURITY_HEADERS.items():
        assert head.count(f"\r\n{name}: {value}\r\n") == 1
    assert "Cache-Control: no-store" in head
    assert re.search(r"\r\nServer: nginx\r\n", head)  # and no version
    assert ("\r\nAllow: GET" in head) == (status == 405)
    assert "To the front page" in said


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/api/sessions/%", 400),
        ("/api/shared/%00/preview", 400),
        ("/api/../../sessions", 400),
        ("/api/sessions?cursor=" + "x" * 9_000, 414),
        ("/oembed?url=" + "x" * 9_000, 414),
        ("/joip/api/sessions/%zz", 400),
    ],
    ids=lambda x: str(x)[:50],
)
def test_what_is_wrong_with_an_address_of_the_api_is_told_in_its_shape(
    site, target, status
):
    said = send(site.nginx, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = said.partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ")
    told = json.loads(body)
    assert told["code"] == "INVALID_REQUEST"
    assert f"X-Request-ID: {told['requestId']}" in head.split("\r\n")


def test_what_nginx_refuses_has_a_code_that_the_api_has():
    """Clients that are made from openapi.json take no other one."""
    text = (ROOT / "deploy" / "joip-share" / "problems.conf").read_text()
    codes = dict(re.findall(r'^ *(\w+) +.*"code":"(\w+)"', text, re.M))
    assert codes.pop("403") == "FORBIDDEN"  # /metrics and /readyz: none of the API
    assert {*codes.values()} <= PROBLEMS.keys()
    assert {"429", "503", "default"} < codes.keys()


def test_an_error_page_links_below_the_path_and_tells_nothing_back(site, tmp_path):
    edits = {"# set $joip_base /joip;": "set $joip_base /joip;"}
    with Nginx(tmp_path, *site.ports, site=edits) as nginx:
        for path in ('/joip/"><b>/shared/x', "//evil.example/shared/x", "/a/login"):
            _, _, body = ask(nginx, path, "POST", body=b"x" * 3_000_000)
            said = body.decode()
            links = re.findall(r'(?:href|src)="([^"]*)"', said)
            assert links == ["/joip/static/app.css", "", "/joip/"]
            assert "<b>" not in said
            assert "evil" not in said
        assert 'href="/joip/"' in send(nginx, b"GET /joip/\0 HTTP/1.1\r\n\r\n")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for share.example.org, and its key: two files."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=share.example.org",
         "-addext", "subjectAltName=DNS:share.example.org",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@contextlib.contextmanager
def https(folder, site, certificate, **edits):
    """nginx with the sample's https; its port."""
    kept = "/etc/letsencrypt/live/share.example.org"
    port = free_port()
    edits |= {
        "# listen 443 ssl http2;": f"listen 127.0.0.1:{port} ssl http2;",
        "# ssl_": "ssl_",
        f"{kept}/fullchain.pem": str(certificate[0]),
        f"{kept}/privkey.pem": str(certificate[1]),
    }
    with Nginx(folder, *site.ports, site=edits) as nginx:
        nginx.tls_port = port
        yield nginx


def over_tls(nginx, context):
    """A static file over TLS: the version spoken, and what was said."""
    with socket.create_connection(("127.0.0.1", nginx.tls_port), 5) as raw:
        tls = context.wrap_socket(raw, server_hostname="share.example.org")
        tls.sendall(b"GET /static/app.css HTTP/1.0\r\n\r\n")
        return tls.version(), tls.makefile("rb").read()


def test_https_as_the_sample_shows_it(site, tmp_path, certificate):
    context = ssl.create_default_context(cafile=certificate[0])
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with https(tmp_path, site, certificate, **{"# if (": "if ("}) as nginx:
        status, headers, _ = ask(nginx, "/shared/x?r=1", Host="evil.example")
        assert status == 301
        assert headers["Location"] == "https://share.example.org/shared/x?r=1"
        version, said = over_tls(nginx, context)
        assert version == "TLSv1.3"
        assert b"\r\nStrict-Transport-Security: max-age=31536000\r\n" in said
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        assert over_tls(nginx, context)[0] == "TLSv1.2"
        with pytest.raises(ssl.SSLError):
            over_tls(nginx, old)


def test_http_where_https_is_spoken_is_refused_with_the_services_headers(
    site, tmp_path, certificate
):
    with https(tmp_path, site, certificate) as nginx:
        nginx.port = nginx.tls_port
        status, headers, _ = ask(nginx, "/login")  # nginx's 497
    assert status == 400
    assert has_the_services_headers(headers)


@pytest.mark.parametrize("path", ["/api/openapi.json", "/static/api.js", "/register"])
def test_a_large_answer_is_compressed(outsider, path):
    answer = outsider.get(path, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Vary"] == "Accept-Encoding"


# Limits


def refused(asking):
    """Ask until nginx has enough of it; what it says then, and after how many."""
    for turn in range(2000):
        answer = asking()
        if answer.status_code == 429:
            return answer, turn
    raise AssertionError("never refused")


def test_too_many_requests_are_refused_in_the_services_shape(outsider, client_from):
    path = f"/api/shared/{UNKNOWN}/preview"
    answer, turn = refused(lambda: outsider.get(path))
    assert turn > 60
    assert has_the_services_headers(answer.raw.headers)
    assert answer.json() == {
        "error": "Too Many Requests", "code": "RATE_LIMITED", "retryAfter": 1,
        "message": "Too many requests, please wait a moment",
        "requestId": answer.headers["X-Request-ID"],
    }  # fmt: skip
    assert answer.headers["Retry-After"] == "1"
    page, _ = refused(lambda: outsider.get("/shared/x"))
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert client_from("127.61.1.1").get(path).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/login"),
        ("POST", "/login"),
        ("POST", "/api/register"),
        ("POST", "/register"),
        ("POST", "/logout"),
        ("POST", "//%61pi/login"),
        ("PATCH", "/api/auth/user"),
        ("DELETE", "/api/auth/user"),
    ],
)
def test_what_costs_a_hash_or_a_form_is_limited_more(outsider, method, path):
    """Each is refused by the service at once, before it has hashed anything."""
    _, turn = refused(lambda: outsider.request(method, path, data=b"{"))
    assert 11 <= turn <= 20
    assert outsider.get("/login").status_code == 200


@pytest.mark.parametrize(
    ("path", "least", "most"),
    [
        (b"/metrics", 200, 400),
        (b"/shared/metrics", 60, 200),
        (b"/shared/x%0A%0A/metrics", 60, 200),
    ],
)
def test_all_but_links_has_a_wider_limit(site, path, least, most):
    """By a path that nginx answers itself, however busy the services are; a link may
    end in line breaks, as people paste it."""
    address = f"127.201.{next(_networks)}.1"
    asked = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path
    last = asked.replace(b"Host", b"Connection: close\r\nHost")
    statuses = re.findall(
        r"HTTP/1.1 (\d+) ", send(site.nginx, asked * 499 + last, address)
    )
    assert len(statuses) == 500
    assert least < statuses.index("429") < most


def test_an_offices_first_visit_is_not_too_much(outsider):
    """Fifty people open one link: each its page, and forty files that it is made of."""
    for _ in range(50):
        assert outsider.get("/shared/x").status_code == 404
        for _ in range(40):
            assert outsider.get("/static/app.css").status_code == 200


@pytest.fixture
def ask_from(site, tmp_path):
    """Ask as from any address at all, as a load balancer would tell it."""
    edits = {
        "# set_real_ip_from 10.0.0.0/8;": "set_real_ip_from 127.0.0.0/8;",
        "# real_ip_header X-Forwarded-For;": "real_ip_header X-Forwarded-For;",
    }
    with Nginx(tmp_path, *site.ports, site=edits) as nginx, requests.Session() as told:

        def ask(address):
            headers = {"X-Forwarded-For": address}
            url = f"{nginx.url}/api/login"
            return told.post(url, data=b"{", headers=headers, timeout=30)

        yield ask


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:1", "2001:db8:0:1::1"),
        ("2001:db8:a0a:a0a::1", "2001:db8:a0a:a0a::2", "2001:db8:a0a:a0b::1"),
        ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
        ("::ffff:192.0.2.3", "64:ff9b::c000:203", "::ffff:192.0.2.4"),
        ("64:ff9b::c000:205", "192.0.2.5", "64:ff9b::c000:206"),
    ],
)
def test_limits_go_by_the_network_as_the_services_do(ask_from, one, same, other):
    refused(lambda: ask_from(one))
    _, turn = refused(lambda: ask_from(same))
    assert turn < 10  # one more each second, however long it takes to ask
    assert ask_from(other).status_code == 415  # the service's, for JSON is wanted


# Slow clients, restarts, crashes


def test_fourteen_hundred_slow_clients_do_not_stop_others(site, outsider):
    """One network's: half of them stop within their headers, half in their bodies."""
    begun = b"POST /api/oembed HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n"
    address = "127.0.0.1", site.nginx.port
    source = "127.88.8.8", 0
    with contextlib.ExitStack() as stack:
        slow = []
        for n in range(1400):
            raw = socket.create_connection(address, 5, source_address=source)
            slow.append(stack.enter_context(raw))
            raw.sendall(begun + (b"\r\n{" if n % 2 else b"X-Slow: "))
        for _ in range(20):
            # nginx gives up on the slow ones after five seconds.
            assert outsider.get("/login", timeout=4).status_code == 200
        # It holds a hundred of them, and refuses the others.
        wait_for(lambda: sum(map(is_refused, slow[1::2])) >= 600)


def is_refused(raw):
    raw.setblocking(False)
    try:
        return raw.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 429"
    except OSError:
        return False


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
            assert service.process.wait(60) == 0
            site.services[n] = site.start(n)
        wait_for(lambda: load.answered.total() >= 10_000, 300)
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
    with Crasher() as crasher, Nginx(tmp_path, crasher.port, site.ports[0]) as nginx:
        client = Client(nginx.url)
        client.mount("http://", HTTPAdapter(max_retries=0))
        gets = [client.get("/login").status_code for _ in range(4)]
        assert gets == [200] * 4
        assert crasher.heard.count(b"GET") >= 1
        posts = [client.post("/api/logout") for _ in range(4)]
        assert sorted(answer.status_code for answer in posts) == [204, 204, 503, 503]
        assert crasher.heard.count(b"POST") == 2
        unavailable = next(answer for answer in posts if answer.status_code == 503)
        assert unavailable.json()["code"] == "STORE_UNAVAILABLE"
        assert unavailable.headers["Retry-After"] == "1"


def test_a_process_that_is_down_costs_no_request(site, tmp_path):
    with Nginx(tmp_path, free_port(), site.ports[0]) as nginx:
        client = Client(nginx.url)
        asked = [client.request(m, "/api/logout") for m in ("POST", "GET") * 4]
    assert [answer.status_code for answer in asked] == [204, 405] * 4
