"""One shape for every error, one id for every request, and who is turned away."""

import contextlib
import json
import re
import socket

import fakeredis
import flask
import pytest

import joip_share
from conftest import Visitor
from servers import Client

MADE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SHAPE = {"error", "message", "code", "requestId"}


def assert_shape(answer, status, code):
    """The contract's one shape, with the id of the header."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json
    assert SHAPE <= set(body) <= SHAPE | {"details", "retryAfter"}
    assert body["code"] == code
    assert body["requestId"] == answer.headers["X-Request-ID"]
    assert all(isinstance(body[name], str) for name in SHAPE)


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("GET", "/api", {}, 404, "NOT_FOUND"),
        ("GET", "/api/", {}, 404, "NOT_FOUND"),
        ("GET", "/api/nowhere", {}, 404, "NOT_FOUND"),
        ("POST", "/api/nowhere", {"json": {}}, 404, "NOT_FOUND"),
        ("GET", "/api/sessions/", {}, 404, "NOT_FOUND"),
        ("GET", "/api//sessions", {}, 404, "NOT_FOUND"),
        ("GET", "/api/Sessions", {}, 404, "NOT_FOUND"),
        ("POST", "/api/sessions//share", {}, 404, "NOT_FOUND"),
        ("GET", "/api/sessions/1/nowhere", {}, 404, "NOT_FOUND"),
        ("GET", "/api/%FF%00", {}, 404, "NOT_FOUND"),
        ("PUT", "/api/sessions", {}, 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/api/login", {}, 405, "METHOD_NOT_ALLOWED"),
        ("NONSENSE", "/api/sessions", {}, 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/api/auth/user", {}, 401, "UNAUTHORIZED"),
        ("POST", "/api/login", {"json": {}}, 400, "INVALID_REQUEST"),
        ("POST", "/api/login", {"data": "{}"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("POST", "/api/login", {"data": bytes(2**20 + 1)}, 413, "BODY_TOO_LARGE"),
        ("GET", "/api/sessions", {"data": bytes(2**20 + 1)}, 413, "BODY_TOO_LARGE"),
        ("POST", "/api/logout", {"headers": {"Sec-Fetch-Site": "cross-site"}},
         403, "CROSS_SITE"),
        ("GET", "/api/shared/x/preview", {}, 404, "SHARED_SESSION_NOT_FOUND"),
        ("GET", "/oembed?url=https://elsewhere.example/shared/x", {}, 404,
         "SHARED_SESSION_NOT_FOUND"),
        ("GET", "/oembed?url=x&format=xml", {}, 501, "NOT_IMPLEMENTED"),
    ],
)  # fmt: skip
def test_every_error_of_the_api_has_one_shape(
    visitor, method, path, options, status, code
):
    assert_shape(visitor.open(path, method=method, **options), status, code)


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", "/api/auth/user", {}),
        ("GET", "/api/sessions", {"headers": {"Authorization": "Bearer jst_x"}}),
        ("POST", "/api/login", {"json": {"email": "a@b.cd", "password": "x"}}),
        ("POST", "/login", {"data": {"email": "a@b.cd", "password": "x"}}),
    ],
)
def test_a_401_says_how_one_signs_in(visitor, method, path, options):
    """Without it (RFC 9110) some HTTP libraries make an exception of the answer."""
    answer = visitor.open(path, method=method, **options)
    told = answer.headers.getlist("WWW-Authenticate")
    assert (answer.status_code, told) == (401, ["Bearer"])


@pytest.mark.parametrize(
    ("path", "status"),
    [("/nowhere", 404), ("/shared/x", 404), ("/static/nowhere.js", 404),
     ("/sessions/new/nowhere", 404)],
)  # fmt: skip
def test_pages_show_the_same_as_html(visitor, path, status):
    answer = visitor.get(path, headers={"X-Request-ID": "find-me"})
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["X-Request-ID"] == "find-me"
    assert "find-me" in answer.text


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/register", {"POST"}),
        ("/api/login", {"POST"}),
        ("/api/logout", {"POST"}),
        ("/api/auth/user", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("/api/tokens", {"GET", "HEAD", "POST"}),
        ("/api/tokens/x", {"DELETE"}),
        ("/api/sessions/1/shares/x", {"DELETE"}),
        ("/api/sessions", {"GET", "HEAD", "POST"}),
        ("/api/sessions/1", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("/api/sessions/1/share", {"POST"}),
        ("/api/sessions/1/stats", {"GET", "HEAD"}),
        ("/api/sessions/1/stats.csv", {"GET", "HEAD"}),
        ("/api/shared/x", {"GET", "HEAD"}),
        ("/api/shared/x/preview", {"GET", "HEAD"}),
        ("/api/shared/media/x", {"GET", "HEAD"}),
        ("/api/shared/x/seen", {"POST"}),
        ("/api/referrals", {"GET", "HEAD"}),
        ("/api/openapi.json", {"GET", "HEAD"}),
        ("/healthz", {"GET", "HEAD"}),
        ("/shared/x", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_is_told_which_are_right(visitor, path, allowed):
    for method in ("PUT", "TRACE", "PROPFIND"):
        answer = visitor.open(path, method=method)
        assert answer.status_code == 405, method
        allow = set(re.split(r",\s*", answer.headers["Allow"]))
        assert allow - {"OPTIONS"} == allowed
    options = visitor.open(path, method="OPTIONS")
    assert options.status_code in (200, 204)
    assert allowed <= set(re.split(r",\s*", options.headers["Allow"]))


def test_a_page_tells_of_an_error_what_the_api_tells(visitor):
    unknown = "/shared/00000000-0000-4000-8000-000000000000"
    answer = visitor.get(unknown)
    told = visitor.get(f"/api{unknown}/preview").json
    told["requestId"] = answer.headers["X-Request-ID"]
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert [value for value in told.values() if value not in answer.text] == []


def test_a_path_seen_before_is_routed_as_the_first_time(owner, visitor):
    code = owner.share(owner.make_session())["shareCode"]
    path = f"/api/shared/{code}/preview"
    for method, status in [("GET", 200), ("PUT", 405), ("OPTIONS", 200)] * 2:
        answer = visitor.open(path, method=method)
        assert answer.status_code == status
        if method != "GET":
            allow = set(re.split(r",\s*", answer.headers["Allow"]))
            assert allow == {"GET", "HEAD", "OPTIONS"}


def test_what_a_view_does_to_its_arguments_is_not_remembered(app, visitor):
    def view(name):
        flask.request.view_args["name"] = flask.request.view_args["more"] = "changed"
        return name

    app.add_url_rule("/echo/<name>", view_func=view)
    assert [visitor.get("/echo/me").text for _ in range(3)] == ["me"] * 3


def test_only_routes_that_may_be_links_are_remembered(app, visitor):
    """So that nobody can fill the memory with paths or methods of any length."""
    before = app.known_route.cache_info().currsize
    assert visitor.get("/nowhere").status_code == 404
    assert visitor.open("/healthz", method="PUT").status_code == 405
    assert visitor.get("/shared/" + "x" * 200).status_code == 404
    assert visitor.open("/login", method="X" * 200).status_code == 405
    assert app.known_route.cache_info().currsize == before


def test_head_answers_as_get_does_without_the_body(owner):
    owner.make_session()
    for path in (
        "/api/auth/user", "/api/sessions", "/api/sessions/1", "/api/openapi.json",
        "/api/nowhere", "/api/sessions/999", "/healthz", "/login", "/static/api.js",
    ):  # fmt: skip
        get, head = (
            owner.open(path, method=method, headers={"X-Request-ID": "same"})
            for method in ("GET", "HEAD")
        )
        assert head.status_code == get.status_code
        assert head.data == b""
        varying = "Date", "Expires", "Content-Length"
        kept = {k: v for k, v in get.headers if k not in varying}
        assert {k: v for k, v in head.headers if k in kept} == kept


def test_head_is_as_long_as_get_whoever_asks(owner, visitor, new_visitor):
    guest = new_visitor()
    guest.sign_up("guest@example.com")
    code = owner.share(owner.make_session())["shareCode"]
    machine = {"User-Agent": "Googlebot/2.1"}
    askers = [(visitor, {}), (guest, {}), (owner, {}), (visitor, machine)]
    for person, headers in askers:
        for path in (f"/shared/{code}", f"/api/shared/{code}/preview"):
            head, get = (
                person.open(path, method=method, headers=headers)
                for method in ("HEAD", "GET")
            )
            assert head.data == b""
            assert head.headers["Content-Length"] == str(len(get.data))


def test_a_part_that_is_not_there_is_416(visitor):
    ranges = {"Range": "bytes=1000000-"}
    answer = visitor.get("/static/favicon.svg", headers=ranges)
    assert answer.status_code == 416
    assert answer.headers["Content-Range"].startswith("bytes */")


FAR = "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"


@pytest.mark.parametrize(
    "asked",
    [
        {"If-Modified-Since": FAR},
        {"If-Range": FAR, "Range": "bytes=0-9"},
        {"If-Unmodified-Since": FAR},
    ],
    ids=lambda asked: min(asked),
)
def test_a_date_in_a_year_that_nobody_can_read_is_none(visitor, asked):
    answer = visitor.get("/static/favicon.svg", headers=asked)
    assert answer.status_code == 200
    assert answer.data == visitor.get("/static/favicon.svg").data


# X-Request-ID

EVERYWHERE = [
    ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/"), ("GET", "/static/api.js"),
    ("GET", "/api/openapi.json"), ("GET", "/api/nowhere"), ("GET", "/nowhere"),
    ("PUT", "/api/sessions"), ("GET", "/api/auth/user"), ("POST", "/api/logout"),
    ("POST", "/api/login"), ("OPTIONS", "/api/login"), ("GET", "/sessions/new"),
    ("GET", "/metrics"), ("HEAD", "/shared/x"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), EVERYWHERE)
def test_a_good_request_id_is_taken_over_on_every_response(visitor, method, path):
    answer = visitor.open(path, method=method, headers={"X-Request-ID": "a.B_c-9"})
    assert answer.headers.getlist("X-Request-ID") == ["a.B_c-9"]


@pytest.mark.parametrize("given", ["a", "x" * 64, "0", "-", "...", "A_B-c.9"])
def test_a_request_id_of_up_to_64_plain_characters_is_good(visitor, given):
    answer = visitor.get("/api/auth/user", headers={"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] == given
    assert answer.json["requestId"] == given


@pytest.mark.parametrize(
    "given", ["", "x" * 65, "a b", "a,b", "é", "١", '"', "<b>", "a\x7f", "a/b", "a\tb"]
)
def test_any_other_request_id_is_replaced(visitor, given):
    headers = {"X-Request-ID": given.encode().decode("latin-1")}
    ids = {
        visitor.get("/api/auth/user", headers=headers).headers["X-Request-ID"]
        for _ in range(2)
    }
    assert len(ids) == 2
    assert given not in ids
    assert all(MADE_ID.fullmatch(made) for made in ids)


# From another site


@pytest.fixture(scope="module")
def person():
    """Signed in at https://example.org."""
    settings = joip_share.Settings(
        public_url="https://example.org", ratelimit_enabled=False
    )
    client = Visitor(joip_share.create_app(settings, fakeredis.FakeStrictRedis()))
    client.sign_up()
    return client


OTHER_SITES = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "nonsense"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://example.org"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://example.org"},
    {"Origin": "https://example.org:8443"},
    {"Origin": "https://example.org.evil.example"},
    {"Origin": "https://evil.example/https://example.org"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "https://evil.example", "Host": "evil.example"},
]
OUR_SITE = [
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
    {"Origin": "https://example.org"},
    {"Referer": "https://evil.example/"},
]
UNSAFE = [
    ("POST", "/api/register"), ("POST", "/api/login"), ("POST", "/api/logout"),
    ("POST", "/api/sessions"), ("PATCH", "/api/sessions/1"),
    ("DELETE", "/api/sessions/1"), ("POST", "/api/sessions/1/share"),
    ("POST", "/api/shared/x/seen"),
]  # fmt: skip


@pytest.mark.parametrize("headers", OTHER_SITES, ids=str)
def test_an_unsafe_request_from_another_site_is_refused(person, headers):
    for method, path in UNSAFE:
        answer = person.open(path, method=method, headers=headers, json={})
        assert_shape(answer, 403, "CROSS_SITE")


@pytest.mark.parametrize("headers", OUR_SITE, ids=str)
def test_an_unsafe_request_from_our_site_or_from_no_browser_is_fine(person, headers):
    answer = person.post("/api/sessions", json={"title": "x"}, headers=headers)
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("headers", OTHER_SITES, ids=str)
def test_a_safe_request_may_come_from_anywhere(person, headers):
    for method in ("GET", "HEAD", "OPTIONS"):
        answer = person.open("/api/openapi.json", method=method, headers=headers)
        assert answer.status_code == 200, method


# On the wire


@pytest.fixture(scope="module")
def code(live):
    """A code that is shared."""
    owner = Client(live.url)
    owner.sign_up()
    return owner.share(owner.make_session()).encode()


def raw(live, request):
    """What the service sends for these bytes until it closes, which is a reset where it
    has not read them all."""
    answer = b""
    with (
        socket.create_connection(("127.0.0.1", live.port), timeout=10) as connection,
        contextlib.suppress(ConnectionResetError),
    ):
        connection.sendall(request)
        while part := connection.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize(
    "line",
    [
        b"GET /api/sessions/%s HTTP/1.1" % ("١".encode()),
        b"GET /api/\xff\xfe HTTP/1.1",
        b"GET /api/sessions?limit=%ZZ&\xff HTTP/1.1",
        b"GET //api/sessions HTTP/1.1",
        b"GET /api/../api/sessions HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET http://evil.example/api/sessions HTTP/1.1",
        b"GET /shared/\x80 HTTP/1.1",
    ],
)
def test_no_request_line_makes_a_500(live, line):
    answer = raw(live, line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert re.match(rb"HTTP/1.1 (2\d\d|4\d\d) ", answer), answer[:200]
    assert b"Traceback" not in answer


REFUSED = [
    (
        b"POST /api/login HTTP/1.1\r\nX-Request-ID: the-proxys\r\n"
        b"Content-Length: 11534336\r\n\r\n",
        413,
    ),
    (b"GET /api/auth/user HTTP/1.1\r\nX: ".ljust((32 << 10) + 9, b"x"), 431),
    (b"POST /api/login HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST /api/login HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    (b"GET /api/shared/\xff\xfe/preview HTTP/1.1\r\n\r\n", 400),
    (b"GET /api/auth/user HTTP/1.1\r\nBad Header: x\r\n\r\n", 400),
    (b"nonsense\r\n\r\n", 400),
]


@pytest.mark.parametrize(("sent", "status"), REFUSED, ids=range(len(REFUSED)))
def test_what_never_reaches_the_application_gets_the_same_shape(live, sent, status):
    answer = raw(live, sent)
    assert re.match(rb"HTTP/1.[01] %d " % status, answer)
    head, _, body = answer.partition(b"\r\n\r\n")
    named = re.search(rb"\r\nX-Request-Id: (\S+)", head)[1].decode()
    told = json.loads(body)
    assert set(told) == {"error", "message", "code", "requestId"}
    assert told["requestId"] == named
    assert (named == "the-proxys") == (b"the-proxys" in sent)
    assert "/api/auth/user HTTP" not in live.said()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Cookie", b"connect.sid=\xff\xfe; joip_ref=\xff"),
        ("Cookie", b"connect.sid=" + b"A" * 20_000),
        ("Cookie", b"=;;;="),
        ("User-Agent", b"\xff\xfe" * 500),
        ("Referer", b"http://[::1"),
        ("Origin", b"\xff"),
        ("Content-Type", b"\xff/\xff;=;"),
        ("X-Forwarded-For", b"not an address, \xff"),
        ("Sec-Purpose", b"\xff"),
        ("Accept-Language", b"\xff"),
    ],
    ids=repr,
)
def test_no_header_makes_a_500(live, code, name, value):
    for path in (b"/api/auth/user", b"/shared/" + code, b"/", b"/api/shared/" + code):
        head = b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        answer = raw(live, head + name.encode() + b": " + value + b"\r\n\r\n")
        assert re.match(rb"HTTP/1.1 (200|303|400|401) ", answer), answer[:300]
