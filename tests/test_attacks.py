"""Attacks that stopped, filled or deceived version 1, and are now in vain.

Those on the server are in test_serve.py, on nginx in test_nginx.py, on numbers in
test_counting.py, test_referrals.py and test_stats.py, on passwords and limits in
test_passwords.py and test_accounts.py. docs/security.md has the whole table.
"""

import contextlib
import dataclasses
import io
import json
import os
import random
import re
import socket
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor

import fakeredis
import msgspec
import pytest
import redis as redis_py
import segno

import joip_share
import store
from conftest import Visitor, World, service_of_its_own
from faults import replica_of_nobody
from headers import JSON
from records import MAX_MEDIA_BYTES, unpack_media
from servers import PERSON, Client, RedisServer

MANY = int(os.environ.get("MUTATED_REQUESTS", "5000"))  # 20,000 now and then
LARGE = [
    {"mediaUrl": f"https://example.org/{n}.jpg", "caption": "ab" * 250}
    for n in range(200)
]


def refused(answer, status, code):
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    return answer.json


# Media that are slow to deflate


def test_media_are_deflated_at_the_cheapest_level(app, owner):
    session_id = owner.make_session(media=500)
    kept = app.store.execute("GET", app.store.keys.session(session_id, "media"))
    assert kept[:2] == zlib.compress(b"", 1)[:2] == b"\x78\x01"


def test_media_for_somebody_elses_session_are_not_even_deflated(world, monkeypatch):
    packed = []
    monkeypatch.setattr(store, "pack_media", packed.append)
    path, given = f"/api/sessions/{world.session_id}", {"media": LARGE}
    refused(world.guest.patch(path, json=given), 403, "NOT_OWNER")
    refused(world.guest.patch("/api/sessions/7", json=given), 404, "SESSION_NOT_FOUND")
    refused(world.stranger.patch(path, json=given), 401, "UNAUTHORIZED")
    assert packed == []


def test_two_large_bodies_are_worked_on_at_a_time_while_all_else_goes_on(world):
    owner, path = world.owner, f"/api/sessions/{world.session_id}"
    new = {"title": "Large", "media": LARGE}
    with world.app.media_places.taken(), world.app.media_places.taken():
        for answer in (owner.post("/api/sessions", json=new), owner.patch(
            path, json={"media": LARGE}
        )):  # fmt: skip
            refused(answer, 503, "BUSY")
            assert int(answer.headers["Retry-After"]) > 0
        assert owner.patch(path, json={"title": "Small"}).status_code == 200
        assert world.stranger.get(world.link).status_code == 200
    assert owner.post("/api/sessions", json=new).status_code == 201


def test_two_large_pages_are_drawn_at_a_time_while_all_else_goes_on(world):
    """One owner with twelve connections held all threads, for a fifth of a second each:
    who opened a link then waited for two seconds and a half."""
    owner, linked = world.owner, world.owner.make_session()
    for number in range(joip_share.MANY_LINKS + 1):
        owner.share(linked, label=str(number))
    for _ in range(joip_share.MANY_TILES):
        owner.make_session()
    pages = [f"/sessions/{linked}", "/?limit=200"]
    with world.app.page_places.taken():
        assert {owner.get(path).status_code for path in pages} == {200}
        with world.app.page_places.taken():
            for path in pages:
                answer = owner.get(path)
                assert answer.status_code == 503
                assert int(answer.headers["Retry-After"]) > 0
            for path in (f"/sessions/{world.session_id}", "/", world.link):
                assert owner.get(path).status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_takes_a_place_by_what_came_whoever_told_its_size(world, chunked):
    """gunicorn gives a chunked body as it comes, and tells no size."""
    body = json.dumps({"title": "Large", "media": LARGE}).encode()
    told = {"wsgi.input_terminated": True}
    size = told if chunked else {"CONTENT_LENGTH": str(len(body))}

    def send():
        stream, kind = io.BytesIO(body), joip_share.JSON
        return world.owner.post(
            "/api/sessions",
            input_stream=stream,
            content_type=kind,
            environ_overrides=size,
        )

    with world.app.media_places.taken(), world.app.media_places.taken():
        refused(send(), 503, "BUSY")
    assert send().status_code == 201


@pytest.mark.parametrize("path", ["/login", "/register", "/logout"])
def test_a_form_is_small(visitor, path):
    """Of one of a megabyte, Python reads for a quarter of a second."""
    given = {"email": "a@example.com", "password": "p" * 200, "name": "💩" * 100}
    fits = visitor.post(path, data=given | {"next": "/x" * 20_000})
    assert fits.status_code == (400 if path == "/login" else 303)
    large = visitor.post(path, data={f"{n}": "x" for n in range(20_000)})
    assert large.status_code == 413
    assert "The form is larger than 64 KiB" in large.text


def test_a_place_is_free_again_after_every_refusal(world):
    wrong = {"title": "x", "media": [*LARGE, {"mediaUrl": "x"}]}
    for _ in range(5):
        answer = world.owner.post("/api/sessions", json=wrong)
        refused(answer, 400, "INVALID_REQUEST")
    with world.app.media_places.taken(), world.app.media_places.taken():
        pass


def test_an_account_writes_60_times_a_minute(new_visitor):
    app = joip_share.create_app(joip_share.Settings(), fakeredis.FakeStrictRedis())
    world = World.within(app)  # made one session
    path = f"/api/sessions/{world.session_id}"
    for n in range(59):
        assert world.owner.patch(path, json={"title": str(n)}).status_code == 200
    for answer in (
        world.owner.patch(path, json={"title": "x"}),
        world.owner.post("/api/sessions", json={"title": "x"}),
    ):
        refused(answer, 429, "RATE_LIMITED")
        assert answer.headers["X-RateLimit-Limit"] == "60"
    assert world.guest.post("/api/sessions", json={"title": "x"}).status_code == 201
    assert world.owner.get(path).json["session"]["title"] == "58"
    assert world.owner.delete(path).status_code == 204


def test_an_account_makes_2000_links_an_hour(new_visitor, monkeypatch):
    """Each takes more than a kilobyte, and a session may have a thousand."""
    assert (joip_share.LINKS.amount, joip_share.LINKS.seconds) == (2000, 3600)
    few = dataclasses.replace(joip_share.LINKS, amount=3)
    monkeypatch.setattr(joip_share, "LINKS", few)
    app = joip_share.create_app(joip_share.Settings(), fakeredis.FakeStrictRedis())
    world = World.within(app)
    path = f"/api/sessions/{world.session_id}/share"
    for label in "abc":
        assert world.owner.post(path, json={"label": label}).status_code == 200
    for body in ({"label": "d"}, {"email": "x@example.com"}, {"userId": "x"}):
        answer = world.owner.post(path, json=body)
        refused(answer, 429, "RATE_LIMITED")
        assert answer.headers["X-RateLimit-Limit"] == "3"
    for _ in range(5):
        assert world.owner.post(path).status_code == 200


def quota(**more):
    """A world with little room."""
    settings = joip_share.Settings(ratelimit_enabled=False, **more)
    return World.within(joip_share.create_app(settings, fakeredis.FakeStrictRedis()))


def test_an_account_has_so_many_sessions_and_no_more():
    world = quota(max_sessions=2)
    world.owner.make_session()
    answer = world.owner.post("/api/sessions", json={"title": "x"})
    assert "2" in refused(answer, 409, "LIMIT_REACHED")["message"]
    assert world.guest.post("/api/sessions", json={"title": "x"}).status_code == 201
    path = f"/api/sessions/{world.session_id}"
    assert world.owner.patch(path, json={"title": "y"}).status_code == 200
    assert world.owner.delete(path).status_code == 204
    assert world.owner.post("/api/sessions", json={"title": "x"}).status_code == 201


def test_an_account_takes_so_much_room_and_no_more():
    world = quota(max_megabytes=1)
    path = f"/api/sessions/{world.session_id}"
    large = [
        {"mediaUrl": f"https://example.org/{noise(1800)}", "caption": noise(400)}
        for _ in range(250)
    ]
    new = {"title": "x", "media": large}
    made = [world.owner.post("/api/sessions", json=new) for _ in range(4)]
    statuses = [answer.status_code for answer in made]
    assert statuses == [201] * 2 + [409] * 2
    assert "1 MB" in refused(made[-1], 409, "LIMIT_REACHED")["message"]
    refused(world.owner.patch(path, json=new), 409, "LIMIT_REACHED")
    assert world.owner.get(path).json["session"]["title"] == "A walk"
    first = f"/api/sessions/{made[0].json['id']}"
    assert world.owner.patch(first, json={"media": large[:1]}).status_code == 200
    assert world.owner.patch(path, json=new).status_code == 200
    assert world.owner.delete(path).status_code == 204
    assert world.owner.post("/api/sessions", json=new).status_code == 201


def test_an_exchange_takes_few_sessions_of_an_account_away(owner, app, monkeypatch):
    """One of a thousand links takes Redis a while, in which it answers nobody: of a
    hundred at once the end came too late for everybody, and the account stayed."""
    for _ in range(25):
        owner.make_session()
    link, execute_many, taken = app.store.link, app.store.link.execute_many, []

    def watched(commands, **more):
        taken.append([store.REMOVE.sha in command for command in commands].count(True))
        return execute_many(commands, **more)

    monkeypatch.setattr(link, "execute_many", watched)
    given = {"currentPassword": "long enough"}
    assert owner.delete("/api/auth/user", json=given).status_code == 204
    assert sum(taken) == 25
    assert max(taken) <= 10


def test_the_editor_of_a_thousand_links_draws_none_of_their_codes(world, monkeypatch):
    """Each takes milliseconds of CPU, and a name of its own would take a round trip."""
    monkeypatch.setattr(segno, "make", None)
    link, execute_many, exchanges = world.store.link, world.store.link.execute_many, []
    monkeypatch.setattr(
        link,
        "execute_many",
        lambda *given, **more: exchanges.append(1) or execute_many(*given, **more),
    )

    def asked():
        exchanges.clear()
        answer = world.owner.get(f"/sessions/{world.session_id}")
        assert answer.status_code == 200
        return len(exchanges)

    few = asked()
    for n in range(20):
        someone = world.newcomer().sign_up(f"{n}@example.com")
        world.owner.share(world.session_id, userId=someone["id"])
    assert asked() - few in (0, 1)


# What is stored


def test_stored_media_inflate_to_4_mib_at_most():
    right = zlib.compress(b" " * (MAX_MEDIA_BYTES - 2) + b"[]", 9)
    assert len(unpack_media(right)) == MAX_MEDIA_BYTES
    for wrong in (b" " * MAX_MEDIA_BYTES + b"[]", b" " * 400_000_000):
        with pytest.raises(zlib.error):
            unpack_media(zlib.compress(wrong, 9))


def test_whatever_fits_into_a_body_can_be_read_again(owner):
    """Addresses grow as they are written in ASCII: three times, for these."""
    url = "http://x/" + "é" * 338
    item = {"mediaUrl": url, "thumbnail": url, "captions": url}
    body = json.dumps({"title": "x", "media": [item] * 490}, ensure_ascii=False)
    assert 1_000_000 < len(body.encode()) <= 1 << 20
    made = owner.post("/api/sessions", data=body.encode(), content_type=JSON)
    assert made.status_code == 201, made.text
    read = owner.get(f"/api/sessions/{made.json['id']}")
    assert len(read.json["media"]) == 490
    assert len(read.data) > 2_900_000


# Pages that the process remembers


def test_a_page_is_remembered_in_no_more_room_than_it_is_sent_in(world):
    """Anybody has a thousand drawn, by made-up codes of who sent them; with an emoji in
    it, each took four bytes for every letter."""
    long = {"title": "🏞" + "'" * 199, "description": "'" * 2000}
    long["thumbnail"] = f"https://example.org/?{'&' * 2000}"
    session = world.owner.post("/api/sessions", json=long).json
    link = f"/shared/{world.owner.share(session['id'])['shareCode']}"

    def fetched_ahead(number):
        headers = {"Sec-Purpose": "prefetch"}
        return world.stranger.get(f"{link}?r={number:08d}", headers=headers).data

    size = len(fetched_ahead(0))
    assert size > 50_000
    tracemalloc.start()
    try:
        for number in range(1, 51):
            fetched_ahead(number)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 50 < held / size < 100


# A full Redis


def noise(size):
    """Text that no deflation makes smaller than three quarters."""
    return "".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789_-", k=size))


def fill(person):
    """Make sessions until Redis takes no more; their ids."""
    made = []
    while True:
        media = [
            {"mediaUrl": f"https://example.org/{noise(400)}", "caption": noise(400)}
            for _ in range(100)
        ]
        answer = person.post("/api/sessions", json={"title": "x", "media": media})
        if answer.status_code != 201:
            refused(answer, 503, "STORE_UNAVAILABLE")
            return made
        made.append(answer.json["id"])


@pytest.fixture
def small_redis(tmp_path):
    """A Redis with few megabytes, which throws nothing away."""
    options = "--maxmemory", "4mb", "--maxmemory-policy", "noeviction"
    with RedisServer(tmp_path, *options) as server:
        yield redis_py.Redis(port=server.port, protocol=2)


def test_who_has_filled_redis_and_everybody_else_can_still_delete(small_redis):
    settings = joip_share.Settings(ratelimit_enabled=False)
    world = World.within(joip_share.create_app(settings, small_redis))
    hers = world.owner.make_session()
    code = world.owner.share(hers, label="friends")["shareCode"]
    made = fill(world.guest)
    assert len(made) > 5
    before = world.stats()

    small_redis.config_set("maxmemory", "3900kb")  # what the last one left free
    assert world.stranger.get(world.link).status_code == 200
    assert world.stranger.open(world.link, "HEAD").status_code == 200
    ahead = {"Sec-Purpose": "prefetch"}
    assert world.stranger.get(world.link, headers=ahead).status_code == 200
    assert world.guest.get(f"/api/shared/{world.code}").status_code == 200
    assert world.stats() == before
    told = re.search(
        r"\njoip_share_uncounted_total (.*)", world.guest.get("/metrics").text
    )
    assert float(told[1]) == 4
    browser = Visitor(world.app)
    known = {"email": "owner@example.com", "password": "long enough"}
    assert browser.post("/api/login", json=known).status_code == 200
    assert browser.delete(f"/api/sessions/{hers}/shares/{code}").status_code == 204
    assert browser.delete(f"/api/sessions/{hers}").status_code == 204
    assert browser.post("/api/logout").status_code == 204
    small_redis.config_set("maxmemory", "4mb")

    for each in made[: len(made) // 2]:
        assert world.guest.delete(f"/api/sessions/{each}").status_code == 204
    world.stranger.get(world.link)
    assert world.stats()["opens"] == before["opens"] + 1
    assert fill(world.guest)
    confirmed = {"currentPassword": "long enough"}
    gone = world.guest.delete("/api/auth/user", json=confirmed)
    assert gone.status_code == 204
    assert world.owner.make_session()


def test_on_a_full_redis_a_strangers_logins_can_be_ended(small_redis):
    settings = joip_share.Settings(ratelimit_enabled=False)
    world = World.within(joip_share.create_app(settings, small_redis))
    known = {"email": "owner@example.com", "password": "long enough"}
    fill(world.guest)
    small_redis.config_set("maxmemory", "3900kb")
    assert world.stranger.post("/api/login", json=known).status_code == 200
    new = {"password": "another one", "currentPassword": "long enough"}
    assert world.owner.patch("/api/auth/user", json=new).status_code == 200
    assert world.stranger.get("/api/auth/user").status_code == 401
    everywhere = {"everywhere": True}
    assert world.owner.post("/api/logout", json=everywhere).status_code == 204
    assert world.owner.get("/api/auth/user").status_code == 401


def test_on_a_full_redis_an_email_that_is_refused_is_no_longer_wanted(small_redis):
    """Nothing is left of it that `check` would have to mend."""
    settings = joip_share.Settings(ratelimit_enabled=False)
    world = World.within(joip_share.create_app(settings, small_redis))
    fill(world.guest)
    small_redis.config_set("maxmemory", "3900kb")
    new = {"email": "later@example.com", "currentPassword": "long enough"}
    refused(world.owner.patch("/api/auth/user", json=new), 503, "STORE_UNAVAILABLE")
    account = world.store.account(world.owner.user["id"])
    assert (account.email, account.pending_email) == ("owner@example.com", "")


def test_on_a_full_redis_one_signs_in_though_links_wait_for_one(small_redis):
    settings = joip_share.Settings(ratelimit_enabled=False)
    world = World.within(joip_share.create_app(settings, small_redis))
    code = world.owner.share(world.session_id, email="later@example.com")["shareCode"]
    new = {"email": "later@example.com", "currentPassword": "long enough"}
    digest = store.email_digest(new["email"])
    assert world.guest.patch("/api/auth/user", json=new).status_code == 200
    world.store.execute("SADD", world.store.keys.awaited(digest), code)  # a crash
    fill(world.owner)
    small_redis.config_set("maxmemory", "3900kb")
    known = {"email": new["email"], "password": "long enough"}
    assert world.stranger.post("/api/login", json=known).status_code == 200
    assert world.stranger.get(f"/api/shared/{code}").status_code == 200


def test_a_read_only_replica_shows_links_uncounted(real_redis):
    settings = joip_share.Settings(ratelimit_enabled=False)
    world = World.within(joip_share.create_app(settings, real_redis))
    before = world.stats()
    with replica_of_nobody(real_redis):
        assert world.stranger.get(world.link).status_code == 200
        assert world.stranger.get(f"/?ref={world.referral_code}").status_code == 200
        assert world.guest.get(f"/shared/{world.code}/play").status_code == 200
        assert world.guest.get(f"/api/shared/{world.code}").status_code == 200
        refused(
            world.owner.post("/api/sessions", json={"title": "x"}),
            503,
            "STORE_UNAVAILABLE",
        )
    assert world.stats() == before


# Lies


def every_route(app):
    """(method, path) of each route, with something in each place."""
    for rule in app.url_map.iter_rules():
        for method in rule.methods - {"OPTIONS"}:
            yield method, re.sub("<[^>]*>", "1", rule.rule)


@pytest.mark.parametrize("query", ["next=\xff", "\xff", "x=%41&\xc3", "r=\xed\xa0\x80"])
def test_raw_bytes_in_the_query_are_a_400_on_every_route(app, owner, query):
    asked = [*every_route(app), ("GET", "//login"), ("GET", "/nowhere")]
    raw = {"QUERY_STRING": query}
    statuses = {
        (method, path): owner.open(path, method, environ_overrides=raw).status_code
        for method, path in asked
    }
    assert set(statuses.values()) == {400}, statuses


def test_raw_bytes_in_the_query_are_a_400_on_the_wire(live):
    with socket.create_connection(("127.0.0.1", live.port), 10) as raw:
        raw.sendall(b"GET //login?next=\xff HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert raw.makefile("rb").read().startswith(b"HTTP/1.1 400 ")


OWN = [
    "{own}", "{own}/", "{own}/shared/x", "{own}/?ref=abcdefgh",
    "{own}/api/logout", "{own}/staticx", "{own}/static/../shared/x",
    "{own}/static/%2e%2e/shared/x", "{own}/./shared/x", "{ORIGIN}{path}/shared/x",
    "{scheme}eve@{host}{path}/shared/x", "{scheme}eve:x@{host}{path}/shared/x",
    "{own}\\shared\\x", "{own}#/static/", "{own}?/static/", "\t{own}/shared/x",
    "{origin}/{path}/shared/x", "{origin}{encoded}/shared/x",
]  # fmt: skip


@pytest.mark.parametrize(
    "public_url",
    ["https://share.example.org", "http://share.example.org:8080",
     "https://share.example.org/Joip"],
)  # fmt: skip
@pytest.mark.parametrize("url", OWN)
def test_media_at_the_service_itself_are_refused(public_url, url):
    """Whoever looked at them would open links and click without knowing."""
    settings = joip_share.Settings(public_url=public_url, ratelimit_enabled=False)
    app = joip_share.create_app(settings, fakeredis.FakeStrictRedis())
    owner, base, origin = Visitor(app), f"{settings.path}/api", settings.origin
    given = {"email": "owner@example.com", "password": "long enough"}
    assert owner.post(f"{base}/register", json=given).status_code == 201
    scheme, _, host = origin.partition("//")
    url = url.format(
        own=public_url, origin=origin, ORIGIN=origin.upper(), scheme=f"{scheme}//",
        host=host, path=settings.path, encoded=settings.path.replace("J", "%4a"),
    )  # fmt: skip
    good = {"mediaUrl": "https://example.org/1.jpg"}
    for field, body in {
        "thumbnail": {"thumbnail": url},
        "media[1].mediaUrl": {"media": [good, {"mediaUrl": url}]},
        "media[1].thumbnail": {"media": [good, good | {"thumbnail": url}]},
        "media[1].captions": {"media": [good, good | {"captions": url}]},
    }.items():
        answer = owner.post(f"{base}/sessions", json={"title": "x"} | body)
        problem = refused(answer, 400, "INVALID_REQUEST")
        assert [detail["field"] for detail in problem["details"]] == [field]


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8000/static/demo-1.svg", "http://127.0.0.1:8001/shared/x",
     "https://127.0.0.1.example.org/x", "http://127.0.0.1/x"],
)  # fmt: skip
def test_media_elsewhere_and_our_own_pictures_are_taken(owner, url):
    owner.make_session(thumbnail=url)


@pytest.mark.parametrize(
    "path", ["/photos/1.jpg", "/joip/1.jpg", "/Joip2/1.jpg", "/Joip/static/demo-1.svg"]
)
def test_media_beside_a_service_that_lives_under_a_path_are_taken(path):
    public_url = "https://share.example.org/Joip"
    settings = joip_share.Settings(public_url=public_url, ratelimit_enabled=False)
    owner = Visitor(joip_share.create_app(settings, fakeredis.FakeStrictRedis()))
    given = {"email": "owner@example.com", "password": "long enough"}
    assert owner.post("/Joip/api/register", json=given).status_code == 201
    new = {"title": "x", "media": [{"mediaUrl": f"https://share.example.org{path}"}]}
    answer = owner.post("/Joip/api/sessions", json=new)
    assert answer.status_code == 201, answer.text


CONTROLS = [
    "\x00", "\x01", "\x08", "\x0b", "\x1b[2J", "\x7f", "\x80", "\x9f", "\u202a",
    "\u202b", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069",
]  # fmt: skip
TEXTS = {
    "title": lambda text: ("POST", "/api/sessions", {"title": text}),
    "description": lambda text: (
        "POST", "/api/sessions", {"title": "x", "description": text}
    ),
    "media[0].caption": lambda text: (
        "POST", "/api/sessions",
        {"title": "x", "media": [{"mediaUrl": "http://x", "caption": text}]},
    ),
    "name": lambda text: ("PATCH", "/api/auth/user", {"name": text}),
    "label": lambda text: ("POST", "/api/sessions/{}/share", {"label": text}),
}  # fmt: skip


@pytest.mark.parametrize("field", TEXTS)
def test_control_characters_and_those_that_turn_text_around_are_refused(place, field):
    owner = place.owner
    session_id = owner.make_session()

    def told(text):
        method, path, body = TEXTS[field](text)
        answer = owner.open(path.format(session_id), method, json=body)
        return answer.status_code, [
            detail["field"] for detail in answer.json.get("details", [])
        ]

    for control in CONTROLS:
        for text in (f"a{control}b", f"{control}a", f"\u200b{control}a"):
            assert told(text) == (400, [field]), repr(text)
    for fine in ("שלום עולם", "سلام", "🏳️‍🌈", "e\u0301"):
        assert told(fine)[0] in (200, 201), fine
    lines = field in ("description", "media[0].caption")
    assert told("one\nand\ttwo")[0] == (201 if lines else 400)


# What the log tells


def logged(capfd):
    """The lines that name a network, and all of the text."""
    text = capfd.readouterr().err
    lines = [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if "network" in line], text


def test_failed_sign_ins_and_refusals_name_a_network_and_no_address(new_visitor, capfd):
    settings = joip_share.Settings(trusted_proxies=1)
    app = joip_share.create_app(settings, fakeredis.FakeStrictRedis())
    Visitor(app).sign_up("ada@example.com")
    capfd.readouterr()

    def sign_in(address):
        given = {"email": "ada@example.com", "password": "wrong guess"}
        headers = {"X-Forwarded-For": address}
        return Visitor(app).post("/api/login", json=given, headers=headers)

    for _ in range(6):
        last = sign_in("192.0.2.77")
    sign_in("2001:db8:7:7::1")
    sign_in("2001:db8:7:7::2")
    lines, text = logged(capfd)
    assert [line["message"] for line in lines] == [
        *["sign-in failed"] * 5, "refused by a limit", *["sign-in failed"] * 2
    ]  # fmt: skip
    assert lines[5]["limit"] == "login"
    assert lines[5]["requestId"] == last.headers["X-Request-ID"]
    networks = [line["network"] for line in lines]
    assert len({*networks[:6]}) == 1
    assert networks[6] == networks[7] != networks[0]
    assert all(re.fullmatch("[0-9a-f]{16}", network) for network in networks)
    for secret in ("192.0.2", "2001:db8", "ada@", "wrong guess"):
        assert secret not in text


def test_a_wrong_current_password_is_logged_as_well(owner, capfd):
    capfd.readouterr()
    body = {"password": "another one", "currentPassword": "wrong guess"}
    assert owner.patch("/api/auth/user", json=body).status_code == 403
    lines, text = logged(capfd)
    assert [line["message"] for line in lines] == ["wrong password"]
    assert "127.0.0.1" not in text


# Against the server


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """serve.py with real hashes, for these tests alone."""
    with service_of_its_own(tmp_path_factory.mktemp("attacked")) as service:
        service.world = World.at(service.url)
        yield service


def test_fifty_sign_ins_at_once_leave_links_answered(service):
    """Hashing takes a core for a third of a second each; there are eight threads."""
    world = service.world
    known = {"email": world.owner.user["email"], "password": "long enough"}

    def sign_in(n):
        given = known if n % 2 else known | {"password": f"wrong {n}"}
        return Client(service.url).post("/api/login", json=given, timeout=30)

    with ThreadPoolExecutor(50) as pool:
        under_way = [pool.submit(sign_in, n) for n in range(50)]
        previews = []
        while not all(each.done() for each in under_way) or len(previews) < 10:
            previews.append(world.stranger.get(world.link).status_code)
        answers = [each.result() for each in under_way]
    assert set(previews) == {200}
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {200, 401, 503}
    assert statuses.count(503) >= 1
    for answer in answers:
        if answer.status_code == 503:
            assert answer.json()["code"] == "BUSY"
            assert int(answer.headers["Retry-After"]) > 0


def requests_of(world):
    """What is sent when all is well: the material of the mutations. Nothing that is
    sent here as it stands signs in, since a hash takes long."""
    cookie = f"connect.sid={world.owner.cookies['connect.sid']}"
    session, code = f"/api/sessions/{world.session_id}", world.code
    media = [{"mediaUrl": "https://example.org/1.jpg", "type": "image", "caption": "é"}]
    new = {"title": "x", "intervalMin": 3, "isPublic": True, "media": media}
    asked = [
        ("GET", "/", None), ("GET", "/?ref=abcdefgh", None), ("GET", session, None),
        ("GET", "/login?next=/account", None), ("GET", f"/shared/{code}?r=x", None),
        ("GET", f"/shared/{code}/play", None), ("GET", f"/api/shared/{code}", None),
        ("GET", f"/api/shared/{code}/preview", None), ("GET", "/api/referrals", None),
        ("GET", f"/api/shared/media/{code}?offset=0&limit=10", None),
        ("GET", f"{session}/stats?days=30", None), ("GET", "/static/app.css", None),
        ("GET", f"{session}/stats.csv?by=link", None), ("GET", "/api/tokens", None),
        ("GET", f"/oembed?url={world.owner.url}/shared/{code}&maxwidth=9", None),
        ("GET", "/api/sessions?limit=50&cursor=9", None), ("GET", "/account", None),
        ("POST", "/api/login", {"email": "a@b.c", "password": 5}),
        ("POST", "/api/register", {"email": "a@b.c", "password": "x", "name": "y"}),
        ("POST", "/api/sessions", new), ("PATCH", session, new),
        ("POST", f"{session}/share", {"label": "x"}),
        ("POST", f"{session}/share", {"email": "a@b.c"}),
        ("POST", f"/api/shared/{code}/seen", {"token": "0" * 32}),
        ("PATCH", "/api/auth/user", {"name": "Ana", "email": 5}),
        ("DELETE", "/api/auth/user", {"currentPassword": None}),
        ("DELETE", f"{session}/shares/{code[:-1]}", None),
    ]  # fmt: skip
    for method, path, body in asked:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Cookie: {cookie}"]
        lines += [f"User-Agent: {PERSON}", "X-Forwarded-For: 192.0.2.1"]
        lines += ["Referer: https://example.org/", "Connection: close"]
        data = b"" if body is None else msgspec.json.encode(body)
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
        yield "\r\n".join([*lines, "", ""]).encode() + data


SPICES = [
    b"\xff", b"\x00", b"\r\n", b"\n", b"%", b"%00", b"%ff", b"%2e%2e%2f", b"//", b"..",
    b'"', b"'", b"{", b"}", b"[", b"\\", b";", b",", b":", b"-1", b"0", b"1e999",
    b"NaN", b"9" * 30, b"\xf0\x9f\x92\xa9", b"\xed\xa0\x80", b"\xe2\x80\xae", b"null",
    b"true", b"A" * 3000, b"[" * 3000, b"{{7*7}}", b"<script>", b"*", b"?", b"&",
    b"=", b" ", b"\t", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n",
    b"chunked",
    b"Expect: 100-continue\r\n", b"Range: bytes=0-,-1\r\n", b"HTTP/1.0", b"HTTP/9.9",
    b"Authorization: Bearer jst_x\r\n", b"If-Unmodified-Since: x\r\n", b"@", b"#",
]  # fmt: skip


def mutated(rng, request):
    """A request with one to three things wrong with it."""
    data = bytearray(request)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at, kind = rng.randrange(len(data)), rng.random()
        end = min(len(data), at + rng.randint(1, 40))
        if kind < 0.2:
            data[at] = rng.randrange(256)
        elif kind < 0.3:
            del data[at:end]
        elif kind < 0.4:
            data[at:at] = data[at:end]
        elif kind < 0.9:
            data[at:at] = rng.choice(SPICES)
        else:
            data[at:end] = rng.randbytes(end - at)
        data = data or bytearray(b"\r\n")
    return bytes(data)


def answered(port, request):
    """All that is sent back, till the end; who says no more gets no more."""
    with socket.create_connection(("127.0.0.1", port), 20) as raw:
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            raw.sendall(request)
            raw.shutdown(socket.SHUT_WR)
        said = b""
        with contextlib.suppress(ConnectionError):
            while part := raw.recv(65536):
                said += part
        return said


def threads_of(service):
    return len(os.listdir(f"/proc/{service.process.pid}/task"))


def test_thousands_of_mutated_requests_break_nothing(service):
    """No 5xx but for what HTTP has and this server has not (501), no hang, no lost
    thread, no line in the log of something unexpected."""
    world, rng = service.world, random.Random(14)
    material = [*requests_of(world)]
    for request in material:
        assert re.match(rb"HTTP/1.1 [234]\d\d ", answered(service.port, request))
    wrong, threads = [], threads_of(service)
    requests = [mutated(rng, rng.choice(material)) for _ in range(MANY)]
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda request: answered(service.port, request), requests)
        for request, said in zip(requests, answers, strict=True):
            if said and not re.match(rb"HTTP/1.[01] (100|[234]\d\d|501) ", said):
                wrong.append((request, said[:300]))
    assert wrong == []
    assert threads_of(service) == threads
    assert service.answers()
    assert world.owner.get("/api/auth/user").status_code == 200
    assert "unexpected" not in service.said()
    assert "Traceback" not in service.said()
