"""Logins: the cookie, its id, its end; and what a login costs where nobody asks."""

import pickle
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.utils import parsedate_to_datetime

import fakeredis
import pytest

import joip_share
import redis_url
from servers import PERSON, Client, wait_for

PASSWORD = {"email": "owner@example.com", "password": "long enough"}
DAY = 86_400
WEEK = 7 * DAY


def login_cookie(answer):
    """The one Set-Cookie of the login, as name=value and its attributes."""
    lines = [
        line for line in answer.headers.getlist("Set-Cookie")
        if line.startswith("connect.sid=")
    ]  # fmt: skip
    assert len(lines) == 1, lines
    pair, *attributes = lines[0].split("; ")
    return pair.partition("=")[2], {
        name.lower(): value for name, _, value in (a.partition("=") for a in attributes)
    }


@pytest.mark.parametrize(
    ("public_url", "path", "secure"),
    [
        ("http://localhost", "/", False),
        ("https://example.org", "/", True),
        ("https://example.org/joip", "/joip", True),
    ],
)
@pytest.mark.parametrize("route", ["register", "login"])
def test_the_cookies_attributes(new_visitor, public_url, path, secure, route):
    settings = joip_share.Settings(public_url=public_url, ratelimit_enabled=False)
    app = joip_share.create_app(settings, fakeredis.FakeStrictRedis())
    client = type(new_visitor())(app)
    base = settings.path
    answer = client.post(f"{base}/api/register", json=PASSWORD)
    if route == "login":
        answer = client.post(f"{base}/api/login", json=PASSWORD)
    sid, attributes = login_cookie(answer)
    assert len(sid) >= 32
    assert "httponly" in attributes
    assert attributes["samesite"] == "Lax"
    assert attributes["path"] == path
    assert ("secure" in attributes) is secure
    assert "domain" not in attributes
    lasts = parsedate_to_datetime(attributes["expires"]) - datetime.now().astimezone()
    assert abs(lasts.total_seconds() - WEEK) < 60


def sid_of(client):
    """The id of the client's login, as its cookie has it."""
    return client.client.get_cookie("connect.sid").value


def with_cookie(new_visitor, sid):
    """Somebody else who presents this cookie."""
    thief = new_visitor()
    thief.set_cookie("connect.sid", sid)
    return thief


def with_cookies(app, cookies, path="/api/auth/user"):
    """The answer to somebody who sends this `Cookie`, as it is."""
    browser = app.test_client(use_cookies=False)
    return browser.get(path, headers={"Cookie": cookies})


def test_the_login_is_kept_in_redis_for_seven_days(app, owner):
    key = f"login:{sid_of(owner)}"
    assert WEEK - 60 < app.store.execute("TTL", key) <= WEEK


def test_every_sign_in_has_a_new_id_and_ends_the_old_one(app, owner, new_visitor):
    ids = [sid_of(owner)]
    for _ in range(2):
        assert owner.post("/api/login", json=PASSWORD).status_code == 200
        ids.append(sid_of(owner))
    assert len(set(ids)) == 3
    for old in ids[:-1]:
        thief = with_cookie(new_visitor, old)
        assert thief.get("/api/auth/user").status_code == 401
    assert owner.get("/api/auth/user").status_code == 200
    assert app.store.execute("KEYS", "login:*") == [f"login:{ids[-1]}".encode()]


def test_registering_while_signed_in_ends_the_old_login(owner, new_visitor):
    old = sid_of(owner)
    owner.sign_up("second@example.com")
    assert owner.get("/api/auth/user").json["email"] == "second@example.com"
    assert with_cookie(new_visitor, old).get("/api/auth/user").status_code == 401


def test_an_id_that_the_visitor_brings_is_never_taken_over(visitor):
    """Session fixation: whoever planted the cookie must not be signed in by it."""
    planted = "A" * 43
    visitor.set_cookie("connect.sid", planted)
    visitor.sign_up()
    assert sid_of(visitor) != planted


def test_a_failed_sign_in_leaves_the_login_as_it_is(owner):
    before = sid_of(owner)
    wrong = PASSWORD | {"password": "a wrong one"}
    assert owner.post("/api/login", json=wrong).status_code == 401
    assert sid_of(owner) == before
    assert owner.get("/api/auth/user").status_code == 200


def test_sign_out_ends_the_login_and_takes_the_cookie(app, owner, new_visitor):
    old = sid_of(owner)
    _, attributes = login_cookie(owner.post("/api/logout"))
    gone = parsedate_to_datetime(attributes["expires"])
    assert gone < datetime.now().astimezone()
    assert app.store.execute("KEYS", "login:*") == []
    assert with_cookie(new_visitor, old).get("/api/auth/user").status_code == 401


def test_two_browsers_have_two_logins(owner, new_visitor):
    other = new_visitor()
    assert other.post("/api/login", json=PASSWORD).status_code == 200
    owner.post("/api/logout")
    assert other.get("/api/auth/user").status_code == 200


def test_signing_out_everywhere_ends_every_login_at_once(app, owner, new_visitor):
    others = [new_visitor() for _ in range(3)]
    for other in others:
        assert other.post("/api/login", json=PASSWORD).status_code == 200
    stranger = new_visitor()
    stranger.sign_up("stranger@example.com")
    answer = others[0].post("/api/logout", json={"everywhere": True})
    assert (answer.status_code, answer.data) == (204, b"")
    for person in (owner, *others):
        assert person.get("/api/auth/user").status_code == 401
    assert stranger.get("/api/auth/user").status_code == 200
    kept = app.store.execute("KEYS", "login:*")
    assert kept == [f"login:{sid_of(stranger)}".encode()]


@pytest.mark.parametrize("body", [None, {}, {"everywhere": False}])
def test_signing_out_here_leaves_other_browsers_signed_in(owner, new_visitor, body):
    other = new_visitor()
    assert other.post("/api/login", json=PASSWORD).status_code == 200
    assert owner.post("/api/logout", json=body).status_code == 204
    assert owner.get("/api/auth/user").status_code == 401
    assert other.get("/api/auth/user").status_code == 200


@pytest.mark.parametrize(
    "body", [{"everywhere": "yes"}, {"everywhere": 1}, {"everywhere": None}, {"all": 1}]
)
def test_a_wrong_sign_out_is_a_400_and_ends_nothing(owner, body):
    assert owner.post("/api/logout", json=body).status_code == 400
    assert owner.get("/api/auth/user").status_code == 200


def test_an_account_has_50_logins_and_the_oldest_goes(clock, owner, new_visitor):
    others = [new_visitor() for _ in range(50)]
    for n, other in enumerate(others):
        clock(n)
        assert other.post("/api/login", json=PASSWORD).status_code == 200
    assert owner.get("/api/auth/user").status_code == 401
    assert {other.get("/api/auth/user").status_code for other in others} == {200}


# Seven days from the last use


def test_a_login_that_is_used_every_day_goes_on(clock, app, owner):
    key = f"login:{sid_of(owner)}"
    for day in range(1, 20):
        clock(day * DAY)
        answer = owner.get("/api/auth/user")
        assert answer.status_code == 200
        _, attributes = login_cookie(answer)
        assert attributes["expires"]
        assert app.store.execute("TTL", key) == WEEK
    clock((19 + 7) * DAY + 1)
    assert owner.get("/api/auth/user").status_code == 401


def test_it_is_written_anew_at_most_once_a_day(clock, app, owner):
    key = f"login:{sid_of(owner)}"
    clock(DAY + 10)
    assert "Set-Cookie" in owner.get("/api/auth/user").headers
    for seconds in (11, 3600, DAY - 1):
        clock(DAY + seconds)
        answer = owner.get("/api/auth/user")
        assert (answer.status_code, "Set-Cookie" in answer.headers) == (200, False)
        assert app.store.execute("TTL", key) == WEEK + 10 - seconds
    clock(2 * DAY + 1)
    assert "Set-Cookie" in owner.get("/api/sessions").headers
    assert app.store.execute("TTL", key) == WEEK


def test_a_login_that_was_renewed_is_ended_by_everywhere_all_the_same(
    clock, owner, new_visitor
):
    other = new_visitor()
    other.post("/api/login", json=PASSWORD)
    for day in range(1, 10):
        clock(day * DAY)
        assert other.get("/api/auth/user").status_code == 200
        assert owner.get("/api/auth/user").status_code == 200
    owner.post("/api/logout", json={"everywhere": True})
    assert other.get("/api/auth/user").status_code == 401


def test_a_login_that_ends_while_it_is_renewed_stays_ended(clock, app, owner):
    """What a page that was opened yesterday sends as somebody signs out elsewhere."""
    sid = sid_of(owner)
    clock(2 * DAY)
    value = app.store.read_login(sid)
    app.store.end_login(sid, owner.user["id"])
    app.store.renew_login(sid, owner.user["id"], value)
    assert app.store.read_login(sid) is None
    assert owner.get("/api/auth/user").status_code == 401


# The cookie's name, and more than one


@pytest.mark.parametrize("end", ["api/logout", "logout", "api/auth/user"])
@pytest.mark.parametrize(
    ("name", "public_url"),
    [
        ("joip", "http://localhost"),
        ("__Secure-joip", "https://example.org/joip"),
        ("__Host-joip", "https://example.org"),
    ],
)
def test_the_cookie_is_taken_back_as_it_was_set(new_visitor, name, public_url, end):
    """Browsers refuse a `__Host-` cookie without `Secure`, also one that is to end it
    (RFC 6265bis, 4.1.3)."""
    given = {"public_url": public_url, "cookie_name": name, "ratelimit_enabled": False}
    settings = joip_share.Settings(**given)
    client = type(new_visitor())(
        joip_share.create_app(settings, fakeredis.FakeStrictRedis())
    )
    register = f"{settings.path}/api/register"
    [line] = client.post(register, json=PASSWORD).headers.getlist("Set-Cookie")
    body = {"json": {"currentPassword": PASSWORD["password"]}} if "auth" in end else {}
    body["headers"] = {"Cookie": line.partition(";")[0]}
    method = "DELETE" if "auth" in end else "POST"
    ended = client.open(f"{settings.path}/{end}", method, **body)
    [last] = ended.headers.getlist("Set-Cookie")
    set_as, ended_as = (
        [part for part in said.split("; ")[1:] if not part.startswith(("Exp", "Max"))]
        for said in (line, last)
    )
    assert ended_as == set_as


@pytest.mark.parametrize(
    ("name", "public_url"),
    [
        ("joip", "http://localhost"),
        ("__Secure-joip", "https://example.org/joip"),
        ("__Host-joip", "https://example.org"),
    ],
)
def test_the_cookies_name_may_be_chosen(new_visitor, name, public_url):
    given = {"public_url": public_url, "cookie_name": name, "ratelimit_enabled": False}
    settings = joip_share.Settings(**given)
    app = joip_share.create_app(settings, fakeredis.FakeStrictRedis())
    client, api = type(new_visitor())(app), f"{settings.path}/api"
    [line] = client.post(f"{api}/register", json=PASSWORD).headers.getlist("Set-Cookie")
    value = line.partition("=")[2].partition(";")[0]
    assert line.startswith(f"{name}=")
    assert f"; Path={settings.path or '/'}" in line
    assert "Domain" not in line
    assert ("; Secure" in line) is public_url.startswith("https")
    for cookie, status in ((name, 200), ("connect.sid", 401), (name.upper(), 401)):
        answer = with_cookies(app, f"{cookie}={value}", f"{api}/auth/user")
        assert answer.status_code == status, cookie


@pytest.mark.parametrize(
    ("name", "public_url"),
    [
        ("__Host-joip", "http://localhost"),
        ("__Secure-joip", "http://localhost"),
        ("__Host-joip", "https://example.org/joip"),
        ("__HOST-joip", "https://example.org/joip"),
        ("__host-joip", "http://localhost"),
        ("__SECURE-joip", "http://localhost"),
        ("__Http-joip", "http://localhost"),
        ("joip_ref", "http://localhost"),
        ("a b", "http://localhost"),
        ("a;b", "http://localhost"),
        ("a=b", "http://localhost"),
        ("ä", "http://localhost"),
    ],
)
def test_a_name_that_browsers_would_not_keep_stops_the_start(name, public_url):
    given = {"COOKIE_NAME": name, "PUBLIC_URL": public_url}
    with pytest.raises(redis_url.ConfigError, match="COOKIE_NAME"):
        joip_share.Settings.from_env(given)


@pytest.mark.parametrize(
    ("cookies", "status"),
    [
        ("connect.sid={own}", 200),
        ("other=x; connect.sid={own}; more=y", 200),
        ("connect.sid={own}; connect.sid={other}", 401),
        ("connect.sid={other}; connect.sid={own}", 401),
        ("connect.sid={own}; connect.sid={own}", 401),
        ("connect.sid={own}; connect.sid=x", 401),
        ("connect.sid=; connect.sid={own}", 401),
        ("other=connect.sid={own}", 401),
        ('other="; connect.sid={own}"', 401),
        ("Connect.sid={own}", 401),
        ("xconnect.sid={own}", 401),
        ("connect.sid={own}x", 401),
        ("connect.sid={own},connect.sid={other}", 401),
    ],
)
def test_a_login_is_the_one_cookie_of_its_name_and_no_part_of_another(
    app, owner, new_visitor, cookies, status
):
    """Whoever can plant a cookie (a neighbour's subdomain) decides nothing."""
    other = new_visitor()
    other.sign_up("other@example.com")
    given = cookies.format(own=sid_of(owner), other=sid_of(other))
    assert with_cookies(app, given).status_code == status


# What may stand in Redis under a login's key, by accident or by an intruder.


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


FOREIGN = {
    "nothing": b"",
    "bytes": b"\xff\xfe\x00",
    "text": b"hello",
    "list": b"[]",
    "null": b"null",
    "number": b"7",
    "nested": b'{"a":' * 50_000,
    "wrong user": b'{"userId": 5}',
    "wrong shape": b'{"userId": ["x"]}',
    "surrogate": b'{"userId": "\\ud800"}',
    "msgpack": b"\x81\xa6userId\xa1x",
}


@pytest.mark.parametrize("value", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_login_is_an_expired_one(app, owner, value):
    session_id = owner.make_session()
    app.store.execute("SET", f"login:{sid_of(owner)}", value)
    for method, path in (
        ("GET", "/api/auth/user"), ("GET", "/api/sessions"), ("POST", "/api/sessions"),
        ("GET", "/api/referrals"), ("POST", f"/api/sessions/{session_id}/share"),
    ):  # fmt: skip
        answer = owner.open(path, method=method, json={})
        assert answer.status_code == 401, (path, answer.text)


def test_a_login_of_an_account_that_is_not_there_is_nobodys(app, owner):
    app.store.execute("SET", f"login:{sid_of(owner)}", b'{"userId": "nobody"}')
    new = {"title": "A walk"}
    assert owner.get("/api/auth/user").status_code == 401
    assert owner.get("/api/referrals").status_code == 401
    assert owner.post("/api/sessions", json=new).status_code == 401
    assert owner.post("/api/login", json=PASSWORD).status_code == 200
    assert owner.post("/api/sessions", json=new).status_code == 201


def test_a_login_of_another_redis_type_is_an_expired_one(app, owner):
    key = f"login:{sid_of(owner)}"
    app.store.execute("DEL", key)
    app.store.execute("RPUSH", key, "x")
    assert owner.get("/api/auth/user").status_code == 401
    assert owner.post("/api/login", json=PASSWORD).status_code == 200
    assert owner.get("/api/auth/user").status_code == 200


def test_a_pickle_is_never_executed(app, owner, tmp_path):
    crater = tmp_path / "crater"
    app.store.execute("SET", f"login:{sid_of(owner)}", pickle.dumps(Bomb(crater)))
    assert owner.get("/api/auth/user").status_code == 401
    assert owner.post("/api/logout").status_code == 204
    assert not crater.exists()


@pytest.mark.parametrize(
    "cookie", ["", "x", "../share", "*", "a b", "A" * 43, "A" * 5000, '"', "é", "a;b"]
)
def test_a_cookie_that_is_none_of_ours_is_nobody(app, cookie):
    given = f"connect.sid={cookie}".encode().decode("latin-1")
    assert with_cookies(app, given).status_code == 401


# What is asked of Redis, counted by the real one.


@pytest.fixture
def commands(live):
    """What Redis is asked while `call` runs, as command → how often."""

    def count(call):
        live.redis.config_resetstat()
        call()
        stats = live.redis.info("commandstats")
        counts = {k.removeprefix("cmdstat_"): v["calls"] for k, v in stats.items()}
        return {
            name: calls for name, calls in counts.items()
            if not name.startswith(("config", "info"))
        }  # fmt: skip

    return count


@pytest.fixture
def signed_in(new_client):
    client = new_client()
    client.sign_up()
    client.id = client.make_session()
    client.code = client.share(client.id)
    return client


READS = ["/api/auth/user", "/api/sessions", "/api/sessions/{id}", "/api/referrals",
         "/api/sessions/{id}/stats", "/api/shared/{code}"]  # fmt: skip


@pytest.mark.parametrize("path", READS)
def test_a_read_writes_no_login_and_sets_no_cookie(live, commands, signed_in, path):
    """A stale copy written back would undo a sign-out."""
    key = f"login:{signed_in.cookies['connect.sid']}"
    live.redis.expire(key, 1000)
    answers = []
    path = path.format(**vars(signed_in))
    counts = commands(lambda: answers.append(signed_in.get(path)))
    assert answers[0].status_code == 200
    assert "Set-Cookie" not in answers[0].headers
    assert not counts.keys() & {"set", "setex", "del", "expire", "getex"}
    assert live.redis.ttl(key) <= 1000


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/api/openapi.json", 200),
        ("GET", "/metrics", 200),
        ("GET", "/static/api.js", 200),
        ("GET", "/api/nowhere", 404),
        ("GET", "/static/nowhere.js", 404),
        ("PUT", "/api/sessions", 405),
        ("POST", "/api/sessions", 403),
        ("OPTIONS", "/api/sessions", 200),
        ("GET", "/api/shared/not-a-code/preview", 404),
    ],
)
def test_where_nobody_asks_who_is_there_redis_is_asked_nothing(
    commands, signed_in, method, path, status
):
    headers = {"Sec-Fetch-Site": "cross-site"} if status == 403 else {}
    answers = []
    counts = commands(
        lambda: answers.append(signed_in.request(method, path, headers=headers))
    )
    assert answers[0].status_code == status
    assert counts == {}


def test_a_message_without_a_token_and_oembed_look_no_login_up(
    live, commands, signed_in
):
    share_url = f"{live.url}/shared/{signed_in.code}"
    signed_in.get(f"/api/shared/{signed_in.code}/preview")
    signed_in.post(f"/api/shared/{signed_in.code}/seen")  # fetches the days' keys
    seen = commands(lambda: signed_in.post(f"/api/shared/{signed_in.code}/seen"))
    asked = commands(lambda: signed_in.get("/oembed", params={"url": share_url}))
    assert "get" not in seen
    assert "get" not in asked


def test_the_preview_looks_for_a_login_only_where_its_cookie_came(
    commands, signed_in, new_client
):
    path = f"/api/shared/{signed_in.code}/preview"
    stranger = new_client()
    for client in (stranger, signed_in):
        client.get(path)
    assert "get" not in commands(lambda: stranger.get(path))
    assert commands(lambda: signed_in.get(path))["get"] == 1


def test_sign_out_is_final_while_other_requests_of_the_login_are_under_way(live):
    """Eight threads keep using the login as it ends, reading, writing and sharing; none
    of them brings it back."""
    owner = Client(live.url)
    owner.sign_up()
    session_id = owner.make_session()
    sid = owner.cookies["connect.sid"]
    done, answers = threading.Event(), []

    def use(n):
        path = f"/api/sessions/{session_id}"
        with Client(live.url) as other:
            other.cookies.set("connect.sid", sid)
            while not done.is_set():
                answers.extend((
                    other.get("/api/auth/user"),
                    other.patch(path, json={"title": f"By {n}"}),
                    other.post(f"{path}/share"),
                    other.get("/login"),
                ))  # fmt: skip

    with ThreadPoolExecutor(8) as pool:
        under_way = [pool.submit(use, n) for n in range(8)]
        try:
            wait_for(lambda: len(answers) > 32)
            assert owner.post("/api/logout").status_code == 204
            signed_out = len(answers)
            wait_for(lambda: len(answers) > signed_out + 32)
        finally:
            done.set()
        for each in under_way:
            each.result()
    assert {answer.status_code for answer in answers} == {200, 401}
    assert not any("connect.sid" in a.headers.get("Set-Cookie", "") for a in answers)
    assert live.redis.exists(f"login:{sid}") == 0
    late = Client(live.url)
    late.cookies.set("connect.sid", sid)
    assert late.get("/api/auth/user").status_code == 401


def test_every_line_of_the_log_names_its_request_and_no_login(live, signed_in):
    given = f"log-{signed_in.id}"
    signed_in.get("/api/auth/user", headers={"X-Request-ID": given})
    lines = [line for line in live.said().splitlines() if given in line]
    assert len(lines) == 1
    assert re.search(r'"requestId":"log-\d+"', lines[0])
    secret = signed_in.cookies["connect.sid"]
    assert secret not in live.said()
    assert signed_in.code not in live.said()
    assert PERSON not in live.said()
