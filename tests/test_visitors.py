"""Visitors of a day: told apart by network and browser, with nothing kept of either."""

import fakeredis
import pytest

import joip_share
from clock import today
from conftest import World
from keys import Keys
from records import Visit
from redis_link import Link
from servers import PERSON, Client, Service
from shown import show
from store import Store

DAY = 86_400
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
)


@pytest.fixture
def new_world():
    """Makes worlds, by the settings that are not the usual ones."""

    def make(redis=None, **given):
        settings = joip_share.Settings(ratelimit_enabled=False, **given)
        redis = redis or fakeredis.FakeStrictRedis()
        return World.within(joip_share.create_app(settings, redis))

    return make


def come(world, address, agent=PERSON, **headers):
    """Somebody with this address looks at the page, and it is shown."""
    options = {
        "agent": agent, "environ_overrides": {"REMOTE_ADDR": address},
        "headers": {name.replace("_", "-"): value for name, value in headers.items()},
    }  # fmt: skip
    answer = world.stranger.get(world.link, **options)
    assert answer.status_code == 200
    assert show(world.stranger, answer.text, **options).status_code == 204


def told_apart(world):
    """How many there were: as visitors, views and clicks, which go by the same."""
    totals = world.stats()
    clicks = world.owner.get("/api/referrals").json["totals"]["clicks"]
    assert totals["views"] == totals["visitors"] == clicks
    return totals["visitors"]


SAME = [
    ("203.0.113.7", "203.0.113.7"),
    ("203.0.113.0", "203.0.113.255"),
    ("203.0.113.7", "::ffff:203.0.113.9"),
    ("203.0.113.7", "64:ff9b::cb00:7109"),
    ("2001:db8:1:2::3", "2001:db8:1:ffff:1:2:3:4"),
]
OTHER = [
    ("203.0.113.7", "203.0.112.7"),
    ("203.0.113.255", "203.0.114.0"),
    ("2001:db8:1::1", "2001:db8:2::1"),
    ("::ffff:203.0.113.7", "::ffff:203.0.114.7"),
    ("64:ff9b::cb00:7107", "64:ff9b::cb00:7207"),
    ("203.0.113.7", "2001:db8:1::1"),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_a_network_with_one_browser_is_one_visitor(world, first, second):
    for address in (first, second, first):
        come(world, address)
    assert told_apart(world) == 1
    assert world.stats()["opens"] == 3


@pytest.mark.parametrize(("first", "second"), OTHER)
def test_another_network_is_another_visitor(world, first, second):
    for address in (first, second, first):
        come(world, address)
    assert told_apart(world) == 2


def test_another_browser_is_another_visitor(world):
    for agent in (PERSON, IPHONE, PERSON):
        come(world, "203.0.113.7", agent)
    assert told_apart(world) == 2


def test_the_same_visitor_counts_anew_the_next_day(clock, new_world):
    world = new_world()
    for moment in (-1, 0, 1):
        clock(moment)
        come(world, "203.0.113.7")
    path = f"/api/sessions/{world.session_id}/stats?days=2"
    daily = world.owner.get(path).json["daily"]
    assert [day["visitors"] for day in daily] == [1, 1]
    assert told_apart(world) == 2


def test_visitors_are_not_told_apart_by_a_cookie(world):
    for _ in range(3):
        come(world, "203.0.113.7")
        world.stranger = world.newcomer()
    assert told_apart(world) == 1


def test_many_visitors_are_counted_within_three_percent(new_world, real_redis):
    """HyperLogLog's own error is 0.81 %; small counts are exact."""
    world = new_world(real_redis)
    for n in range(10):
        come(world, f"10.0.{n}.1")
    assert told_apart(world) == 10
    for n in range(3000):
        visit = Visit(reason="", visitor=b"%d" % n)
        world.store.open_shared(world.code, visit)
    assert 2900 <= world.stats()["visitors"] - 10 <= 3100
    path = f"/api/sessions/{world.session_id}/stats?days=2"
    told = world.owner.get(path).json
    assert told["totals"]["visitors"] == sum(day["visitors"] for day in told["daily"])
    (link,) = told["links"]
    assert link["visitors"] == told["totals"]["visitors"]


def content(redis):
    """Every key and its value, as bytes in a row."""
    read = {
        b"string": redis.get,
        b"hash": lambda key: b"".join(b"".join(p) for p in redis.hgetall(key).items()),
        b"list": lambda key: b"".join(redis.lrange(key, 0, -1)),
        b"zset": lambda key: b"".join(redis.zrange(key, 0, -1)),
        b"set": lambda key: b"".join(redis.smembers(key)),
    }
    return b"\n".join(key + read[redis.type(key)](key) for key in redis.keys("*"))


def test_nothing_kept_leads_back_to_a_person(new_world, real_redis):
    world = new_world(real_redis)
    for address in ("203.0.113.7", "2001:db8:77::5"):
        come(world, address, "Mozilla/5.0 (Peculiar; rv:1.0) Gecko Firefox/140.0")
    assert told_apart(world) == 2
    kept = content(real_redis).lower()
    for trace in (
        b"203.0.113", b"2001:db8", b"peculiar", b"firefox", bytes([203, 0, 113]),
        bytes.fromhex("20010db80077"),
    ):  # fmt: skip
        assert trace not in kept


def test_not_even_the_rate_limits_keep_an_address(real_redis):
    app = joip_share.create_app(joip_share.Settings(), real_redis)
    given = {"email": "owner@example.com", "password": "long enough"}
    wrong = given | {"password": "wrong"}
    for path, body in (("register", given), ("login", wrong)):
        app.test_client().post(
            f"/api/{path}", json=body, environ_overrides={"REMOTE_ADDR": "203.0.113.7"}
        )
    assert b"limits:" in content(real_redis)
    assert b"203.0.113" not in content(real_redis)


def test_the_days_key_and_visitors_are_gone_after_two_days(new_world, real_redis):
    world = new_world(real_redis)
    come(world, "203.0.113.7")
    day = today()
    session = f"session:{{{world.session_id}}}"
    for key in (
        f"visitors:key:{day}", f"{session}:visitors:{day}", f"{session}:viewers:{day}",
        f"{session}:visitors:{day}:{world.code}",
        f"user:{{{world.owner.user['id']}}}:clickers:{day}",
    ):  # fmt: skip
        assert 0 < real_redis.ttl(key) <= 2 * DAY, key
    secret = real_redis.get(f"visitors:key:{day}")
    come(world, "203.0.114.7")
    assert real_redis.get(f"visitors:key:{day}") == secret
    assert len(secret) == 32
    assert told_apart(world) == 2


def test_the_key_of_the_day_is_the_same_in_every_process_and_new_the_next_day(
    clock, real_redis
):
    stores = [Store(Link(real_redis), Keys()) for _ in range(3)]
    first = {store.visitor_key(today()) for store in stores}
    clock(0)
    second = {store.visitor_key(today()) for store in stores}
    assert len(first) == len(second) == 1
    assert first != second


def test_a_later_open_does_not_prolong_a_days_visitors(new_world, real_redis):
    world = new_world(real_redis)
    come(world, "203.0.113.7")
    key = f"session:{{{world.session_id}}}:visitors:{today()}"
    real_redis.expire(key, 100)
    come(world, "203.0.114.7")
    assert real_redis.ttl(key) <= 100


# Which address counts: proxies, number by number.

FORWARDED = [
    (0, "198.51.100.1", "198.51.101.1", 1),
    (1, "198.51.100.1", "198.51.101.1", 2),
    (1, "198.51.100.1", "198.51.100.2", 1),
    (1, "198.51.100.1:4711", "198.51.100.2:815", 1),
    (1, "[2001:db8:1::1]:443", "2001:db8:1::2", 1),
    (1, "::ffff:198.51.100.1", "198.51.100.2", 1),
    (1, "9.9.9.9, 198.51.100.1", "8.8.8.8, 198.51.100.1", 1),
    (1, "9.9.9.9, 198.51.100.1", "9.9.9.9, 198.51.101.1", 2),
    (1, '"1, 198.51.100.1', '"2, 198.51.100.1', 1),
    (2, "9.9.9.9, 198.51.100.1, 10.0.0.1", "8.8.8.8, 198.51.100.1, 10.9.0.1", 1),
    (2, "198.51.100.1, 10.0.0.1", "198.51.101.1, 10.0.0.1", 2),
    (1, "nonsense", "' OR 1=1", 1),
    (1, "fe80::1%eth0", "fe80::2%eth0", 1),
]


@pytest.mark.parametrize(("proxies", "first", "second", "visitors"), FORWARDED)
def test_only_trusted_proxies_say_where_a_visitor_is(
    new_world, proxies, first, second, visitors
):
    world = new_world(trusted_proxies=proxies)
    for value in (first, second):
        come(world, "192.0.2.1", X_Forwarded_For=value, X_Real_IP=value)
    assert told_apart(world) == visitors


@pytest.mark.parametrize("proxies", [0, 1])
def test_no_other_header_says_where_a_visitor_is(new_world, proxies):
    world = new_world(trusted_proxies=proxies)
    for n in range(3):
        address = f"198.51.{n}.1"
        come(world, "192.0.2.1", Forwarded=f"for={address}", X_Real_IP=address)
        come(world, "192.0.2.1", CF_Connecting_IP=address, True_Client_IP=address)
        come(world, "192.0.2.1", X_Client_IP=address, Client_IP=address)
    assert told_apart(world) == 1


def test_a_forged_address_counts_for_nothing_through_the_real_server(
    live, live_world, tmp_path
):
    preview = f"/api/shared/{live_world.code}/preview"

    def opened(visitor, *forwarded):
        for value in forwarded:
            visitor.get(preview, headers={"X-Forwarded-For": value})
        return live_world.stats()["visitors"]

    assert opened(live_world.stranger, "198.51.100.1", "198.51.101.1") == 1
    with Service(tmp_path, live.redis_url, TRUSTED_PROXIES="1") as behind:
        visitor = Client(behind.url)
        assert opened(visitor, "9.9.9.9, 198.51.100.1", "8.8.8.8,198.51.100.77") == 2
        assert opened(visitor, "198.51.100.1, 198.51.101.1") == 3
