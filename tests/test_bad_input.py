"""Bad input of any kind gets the contract's 4xx, and changes nothing."""

import gzip
import json

import fakeredis
import pytest

import joip_share
from servers import Client

NEVER = "99999999999999999999"


@pytest.fixture(scope="module")
def app():
    settings = joip_share.Settings(ratelimit_enabled=False)
    return joip_share.create_app(settings, fakeredis.FakeStrictRedis())


@pytest.fixture(scope="module")
def someone(app):
    """Somebody with a session that is shared; one for all tests, nothing changes it."""
    client = app.test_client()
    given = {"email": "owner@example.com", "password": "long enough"}
    client.post("/api/register", json=given)
    client.session_id = client.post("/api/sessions", json={"title": "A walk"}).json[
        "id"
    ]
    client.post(f"/api/sessions/{client.session_id}/share")
    return client


def contents(app):
    """Everything that Redis holds."""
    redis = app.store.link.client
    return {key: redis.dump(key) for key in redis.scan_iter()}


@pytest.fixture
def send(app, someone):
    """Send a body as JSON, and see that nothing changed."""

    def sending(body, method="POST", path="/api/sessions", status=400):
        before = contents(app)
        data = body if isinstance(body, bytes) else body.encode()
        path = path.format(id=someone.session_id)
        answer = someone.open(
            path, method=method, data=data, content_type="application/json"
        )
        assert answer.status_code == status, answer.text
        assert contents(app) == before
        return answer.json

    return sending


WRITES = [
    ("POST", "/api/sessions"),
    ("PATCH", "/api/sessions/{id}"),
    ("POST", "/api/sessions/{id}/share"),
    ("POST", "/api/register"),
    ("POST", "/api/login"),
]


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"{}}", b"nonsense", b'{"title": NaN}', b'{"title": Infinity}',
        b'{"title": -Infinity}', b"{'title': 'x'}", b'{"title": "x",}', b'{"title"}',
        b'{"title": "\xff"}', b'{"title": "\\ud800"}', b'{"title": "\\udc00\\ud800"}',
        b'{"title": "x\ny"}', b'{"title": 01}', b'{"title": .5}', b"\x00",
        b'\xef\xbb\xbf{"title": "x"}', '{"title": "x"}'.encode("utf-16"),
        b'{"title": "x"} {"title": "y"}', b'{"title": /* x */ "x"}',
        b"[" * 200_000, b'{"title":' * 100_000, b'{"a":' + b"[" * 500_000,
        b"null", b"true", b"7", b'"text"', b"[]", b'[{"title": "x"}]',
        b"1e400", b"9" * 100_000,
    ],
    ids=lambda body: repr(body[:24]),
)  # fmt: skip
def test_a_body_that_is_no_json_object_is_a_400(send, body):
    for method, path in WRITES:
        assert send(body, method, path)["code"] == "INVALID_REQUEST"


@pytest.mark.parametrize("body", [b"", b" \n"])
def test_a_body_that_is_missing_is_a_400_but_for_a_share(send, body):
    for method, path in WRITES:
        if "share" not in path:
            send(body, method, path)


@pytest.mark.parametrize(
    "name",
    [
        "extra", "Title", "titel", "", " ", "$", "__proto__", "userId ", "\x00",
        "`", "x` - at `$.title", "matching regex - at `$.nowhere", "é" * 5000,
        "unknown field `x`", "- at `$", "a.b[0]", "\u202e", " - at `$." * 5000,
    ],
    ids=repr,
)  # fmt: skip
def test_an_unknown_member_is_a_400_whatever_its_name(send, name):
    for method, path in WRITES:
        problem = send(json.dumps({name: 1}), method, path)
        assert problem["code"] == "INVALID_REQUEST"
        assert len(problem["message"]) < 500


def values(member, *wrong):
    return [(member, value) for value in wrong]


# What the WHATWG's parser refuses, or takes as something else than http(s).
NO_URLS = (
    "", " ", "x", "/x.jpg", "//example.org/x.jpg", "javascript:alert(1)",
    "JavaScript:alert(1)", "\tjavascript:alert(1)", "data:image/png;base64,AA",
    "ftp://example.org/x", "file:///etc/passwd", "http:", "http:/", "http://",
    "http://?x", "http://#x", "http://:80/", "http://@/", "http://[",
    "http://exa mple.org/", "http://example.org:99999/", "http://1.2.3.999/",
    "http://example.org/" + "x" * 2048, "http://example.org/" + " " * 1000 + "x",
    5, True, [], {},
)  # fmt: skip
NO_SECONDS = (0, -1, 61, 5.0, 5.5, 1e300, 10**400, True, False, "5", None, [], {})


@pytest.mark.parametrize(
    ("member", "value"),
    [
        *values("title", "", "x" * 201, "🌊" * 201, None, 5, True, [], {}),
        *values("title", " ", "\u200b", "\ufeff \u200d", "\u3164", "\u00ad\u2060"),
        *values("description", "x" * 2001, None, 5, []),
        *values("intervalMin", *NO_SECONDS),
        *values("intervalMax", *NO_SECONDS),
        *values("transition", "", "Fade", "spin", None, 1, ["fade"]),
        *values("thumbnail", *NO_URLS),
        *values("isPublic", 0, 1, "true", "", None, []),
        *values("media", None, {}, "x", 5, True, [None], [5], ["http://x"], [[]], [{}]),
        *values("media", [{"mediaUrl": "http://x"}] * 501),
        *values("ownerName", "Ada"),
        *values("shareCode", "x"),
    ],
    ids=lambda value: repr(value)[:32],
)
def test_a_wrong_member_of_a_session_is_named(send, member, value):
    given = {member: value}
    for problem in (
        send(json.dumps({"title": "x"} | given)),
        send(json.dumps(given), "PATCH", "/api/sessions/{id}"),
    ):
        [detail] = problem["details"]
        assert detail["field"].partition("[")[0] == member
        assert detail["message"]


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000, "1e400"])
@pytest.mark.parametrize("member", ["intervalMin", "id"])
def test_a_number_that_no_machine_holds_is_told_in_plain_words(send, member, number):
    problem = send(f'{{"title": "x", "{member}": {number}}}')
    assert problem["message"] == f"{member} is out of range"


@pytest.mark.parametrize(
    ("item", "field"),
    [
        *[({"mediaUrl": url}, "mediaUrl") for url in (*NO_URLS, None)],
        *[({"thumbnail": url}, "thumbnail") for url in ("", "javascript:x", 5)],
        *[({"type": kind}, "type") for kind in ("", "audio", "IMAGE", None, 1)],
        *[({"caption": text}, "caption") for text in ("x" * 501, 5, [])],
        *[({name: 1}, name) for name in ("Id", "place", "mediaurl", "url")],
    ],
    ids=lambda value: repr(value)[:32],
)
def test_a_wrong_medium_is_named_with_its_place(send, item, field):
    good = {"mediaUrl": "https://example.org/1.jpg"}
    problem = send(json.dumps({"title": "x", "media": [good, good | item]}))
    assert [d["field"] for d in problem["details"]] == [f"media[1].{field}"]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/sessions"), ("PATCH", "/api/sessions/{id}")]
)
@pytest.mark.parametrize(
    "pair",
    [
        {"intervalMin": 11},
        {"intervalMax": 2},
        {"intervalMin": 60, "intervalMax": 1},
        {"intervalMin": 5, "intervalMax": 4},
    ],
)
def test_intervals_in_the_wrong_order_are_a_400(send, method, path, pair):
    """Those that are left out count as they are: 3 and 10."""
    given = pair if method == "PATCH" else {"title": "x"} | pair
    problem = send(json.dumps(given), method, path)
    assert problem["details"][0]["field"] in ("intervalMin", "intervalMax")


@pytest.mark.parametrize(
    "value", [5, True, [], {}, ["x"]], ids=repr
)  # fmt: skip
def test_a_user_id_that_is_no_text_is_a_400(send, value):
    body = json.dumps({"userId": value})
    assert (
        send(body, path="/api/sessions/{id}/share")["details"][0]["field"] == "userId"
    )


@pytest.mark.parametrize(
    "user_id", ["", "nobody", "*", "-", "x" * 10_000, "}:{", "0" * 32, "é", "\x00"]
)
def test_a_user_id_that_is_nobodys_is_a_404(send, user_id):
    body = json.dumps({"userId": user_id})
    problem = send(body, path="/api/sessions/{id}/share", status=404)
    assert (problem["code"], problem["message"]) == ("USER_NOT_FOUND", "User not found")


OF_ONE_SESSION = [
    ("GET", "/api/sessions/{}"), ("PATCH", "/api/sessions/{}"),
    ("DELETE", "/api/sessions/{}"), ("POST", "/api/sessions/{}/share"),
    ("GET", "/api/sessions/{}/stats"), ("GET", "/api/sessions/{}/stats.csv"),
]  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        "0", "-1", "+1", "00", "01", "1.0", "1e0", "0x1", "1_0", " 1", "1 ", "%201",
        "1%20", "1%0A", "%00", "1%00", "abc", "null", "undefined", "NaN", "١", "１",
        "²", "৪", "Ⅳ", "1,2", "1;", "*", "{1}", "%7B1%7D", "1:media", "last-id",
        "-0", "true", "%FF", "..%2e", "1'--",
    ],
)  # fmt: skip
def test_an_id_that_is_no_positive_integer_is_a_400(app, someone, given):
    before = contents(app)
    for method, path in OF_ONE_SESSION:
        body = {"title": "x"} if method == "PATCH" else {}
        answer = someone.open(path.format(given), method=method, json=body)
        assert answer.status_code == 400, (method, path, answer.text)
        assert answer.json["message"] == "Invalid session ID"
        assert answer.json["code"] == "INVALID_SESSION_ID"
    assert contents(app) == before


@pytest.mark.parametrize("given", ["2", "9007199254740993", NEVER, "9" * 5000])
def test_an_id_of_no_session_is_a_404_however_large(someone, given):
    for method, path in OF_ONE_SESSION:
        body = {"title": "x"} if method == "PATCH" else {}
        answer = someone.open(path.format(given), method=method, json=body)
        assert answer.status_code == 404, (method, path, answer.text)
        assert answer.json["message"] == "Session not found"
        assert answer.json["code"] == "SESSION_NOT_FOUND"


@pytest.mark.parametrize(
    ("path", "name", "low", "high"),
    [
        ("/api/sessions", "limit", 1, 200),
        ("/api/sessions/{id}/stats", "days", 1, 365),
        ("/api/sessions/{id}/stats.csv", "days", 1, 365),
        ("/api/shared/media/{code}", "limit", 1, 500),
        ("/api/shared/media/{code}", "offset", 0, 2**53 - 1),
        ("/api/referrals", "limit", 1, 200),
    ],
)
def test_numbers_in_the_query_have_bounds(someone, path, name, low, high):
    shared = someone.post(f"/api/sessions/{someone.session_id}/share").json
    path = path.format(code=shared["shareCode"], id=someone.session_id)

    def status(value):
        return someone.get(path, query_string={name: value}).status_code

    assert [status(value) for value in (low, high)] == [200, 200]
    wrong = (low - 1, high + 1, "x", "1.5", "1e1", " 1", "+1", "٣", "9" * 5000, "\x00")
    assert {status(value) for value in wrong} == {400}
    problem = someone.get(path, query_string={name: "x"}).json
    assert [detail["field"] for detail in problem["details"]] == [name]


@pytest.mark.parametrize("path", ["/api/sessions", "/api/referrals"])
@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "٣", "9" * 5000, "\x00", "("])
def test_a_cursor_that_is_none_of_ours_is_a_400(someone, path, cursor):
    answer = someone.get(path, query_string={"cursor": cursor})
    assert (answer.status_code, answer.json["code"]) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
     "text/json", "application/xml", "application/vnd.api+json", "*/*", "nonsense"],
)  # fmt: skip
def test_another_content_type_is_a_415(app, someone, kind):
    before = contents(app)
    for method, path in WRITES:
        path = path.format(id=someone.session_id)
        answer = someone.open(path, method=method, data=b"{}", content_type=kind)
        assert answer.status_code == 415, (method, path, answer.text)
        assert answer.json["code"] == "UNSUPPORTED_MEDIA_TYPE"
    assert contents(app) == before


def test_a_compressed_body_is_a_415_that_says_so(app, someone):
    before = contents(app)
    body = gzip.compress(b'{"title": "A walk"}')
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = someone.post("/api/sessions", data=body, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert "compressed" in answer.json["message"]
    assert contents(app) == before


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", "application/json;"]
)
def test_json_may_be_announced_with_parameters_and_in_any_case(someone, kind):
    path = f"/api/sessions/{someone.session_id}"
    answer = someone.patch(path, data=b'{"title": "x"}', content_type=kind)
    assert answer.status_code == 200


# Sizes, where they are decided: on the wire.

MIB = 1 << 20
SMALL = b'{"title": "x"}'


def chunks(size):
    """A body of this size, sent without saying how much is to come."""
    yield SMALL
    rest = size - len(SMALL)
    while rest > 0:
        yield b" " * min(rest, 65_000)
        rest -= 65_000


@pytest.fixture(scope="module")
def client(live):
    client = Client(live.url)
    client.sign_up()
    return client


@pytest.mark.parametrize("body", [lambda size: SMALL.ljust(size), chunks])
@pytest.mark.parametrize(("size", "status"), [(MIB, 201), (MIB + 1, 413)])
def test_a_body_may_have_1_mib_and_no_more(client, body, size, status):
    headers = {"Content-Type": "application/json"}
    answer = client.post("/api/sessions", data=body(size), headers=headers)
    assert answer.status_code == status, answer.text
    if status == 413:
        assert answer.json()["code"] == "BODY_TOO_LARGE"
        assert answer.json()["requestId"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("method", "path"),
    [*WRITES, ("DELETE", "/api/sessions/{id}"), ("POST", "/api/logout")],
)
def test_every_route_that_takes_a_body_refuses_a_large_one(client, method, path):
    answer = client.request(method, path.format(id=1), data=b" " * (2 * MIB))
    assert (answer.status_code, answer.json()["code"]) == (413, "BODY_TOO_LARGE")


def test_a_full_session_fits(client):
    """500 media with long URLs and captions."""
    media = [
        {"mediaUrl": f"https://example.org/{n}/".ljust(1200, "x"), "caption": "c" * 500}
        for n in range(500)
    ]
    made = client.post("/api/sessions", json={"title": "Full", "media": media})
    assert made.status_code == 201, made.text
    assert made.json()["mediaCount"] == 500
    read = client.get(f"/api/sessions/{made.json()['id']}").json()["media"]
    assert [item["mediaUrl"] for item in read] == [item["mediaUrl"] for item in media]
