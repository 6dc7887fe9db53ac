"""Visitors of a day: told apart by network and browser, with nothing kept of either."""

import fakeredis
import pytest

import joip_share
from conftest import Visitor
from servers import PERSON, Client, Service

DAY = 86_400
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Safari/604"
)


class Link:
    """A shared session of its own app, opened by anyone from anywhere."""

    def __init__(self, app):
        self.app, self.store, self.stranger = app, app.store, Visitor(app)
        self.owner = self.store.register("owner@example.com", "", "-")
        new = joip_share.NewSession("A walk")
        self.session = self.store.create_session(self.owner, new).id
        self.code = self.store.share(self.session, self.owner.id)

    def open(self, address, agent=PERSON, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.stranger.get(
            f"/api/shared/{self.code}/preview", agent=agent, headers=headers,
            environ_overrides={"REMOTE_ADDR": address},
        )  # fmt: skip
        assert answer.status_code == 200

    def stats(self):
        return self.store.session_stats(self.session, self.owner.id, 2)

    @property
    def visitors(self):
        return self.stats().totals["visitors"]


@pytest.fixture
def new_link():
    """Makes apps with a shared session, by the settings that are not the usual ones."""

    def make(redis=None, **given):
        given = joip_share.Settings(ratelimit_enabled=False, **given)
        return Link(joip_share.create_app(given, redis or fakeredis.FakeStrictRedis()))

    return make


@pytest.fixture
def link(new_link):
    """A shared session of an app in memory."""
    return new_link()


SAME = [
    ("203.0.113.7", "203.0.113.7"),
    ("203.0.113.0", "203.0.113.255"),
    ("203.0.113.7", "::ffff:203.0.113.9"),
    ("2001:db8:1:2::3", "2001:db8:1:ffff:1:2:3:4"),
]
OTHER = [
    ("203.0.113.7", "203.0.112.7"),
    ("203.0.113.255", "203.0.114.0"),
    ("2001:db8:1::1", "2001:db8:2::1"),
    ("::ffff:203.0.113.7", "::ffff:203.0.114.7"),
    ("203.0.113.7", "2001:db8:1::1"),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_a_network_with_one_browser_is_one_visitor(link, first, second):
    for address in (first, second, first):
        link.open(address)
    assert link.visitors == 1


@pytest.mark.parametrize(("first", "second"), OTHER)
def test_another_network_is_another_visitor(link, first, second):
    for address in (first, second, first):
        link.open(address)
    assert link.visitors == 2


def test_another_browser_is_another_visitor(link):
    for agent in (PERSON, IPHONE, PERSON):
        link.open("203.0.113.7", agent)
    assert link.visitors == 2


def test_the_same_visitor_counts_anew_the_next_day(clock, link):
    for moment in (-1, 0, 1):
        clock(moment)
        link.open("203.0.113.7")
    told = link.stats()
    assert [day["visitors"] for day in told.daily] == [1, 1]
    assert told.totals["visitors"] == 2


def test_no_visitor_is_told_from_another_by_a_cookie(link):
    answer = link.stranger.get(f"/shared/{link.code}")
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers


def test_many_visitors_are_counted_within_three_percent(new_link, real_redis):
    """HyperLogLog's own error is 0.81 %; small counts are exact."""
    link = new_link(real_redis)
    for n in range(10):
        link.open(f"10.0.{n}.1")
    assert link.visitors == 10
    for n in range(3000):
        visit = joip_share.Visit(reason="", visitor=b"%d" % n)
        link.store.open_shared(link.code, visit)
    told = link.stats()
    assert 2900 <= told.totals["visitors"] - 10 <= 3100
    assert told.totals["visitors"] == sum(day["visitors"] for day in told.daily)


def content(redis):
    """Every key and its value, as bytes in a row."""
    read = {
        b"string": redis.get,
        b"hash": lambda key: b"".join(b"".join(p) for p in redis.hgetall(key).items()),
        b"list": lambda key: b"".join(redis.lrange(key, 0, -1)),
        b"zset": lambda key: b"".join(redis.zrange(key, 0, -1)),
    }
    return b"\n".join(key + read[redis.type(key)](key) for key in redis.keys("*"))


def test_nothing_kept_leads_back_to_a_person(new_link, real_redis):
    link = new_link(real_redis)
    for address in ("203.0.113.7", "2001:db8:77::5"):
        link.open(address, "Mozilla/5.0 (Peculiar; rv:1.0) Gecko Firefox/140.0")
    assert link.visitors == 2
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
    assert b"203.0.113" not in content(real_redis)


def test_the_days_key_and_visitors_are_gone_after_two_days(new_link, real_redis):
    link = new_link(real_redis)
    link.open("203.0.113.7")
    day = joip_share.today()
    for key in (
        f"visitors:key:{day}", f"session:{{{link.session}}}:visitors:{day}"
    ):  # fmt: skip
        assert 0 < real_redis.ttl(key) <= 2 * DAY
    secret = real_redis.get(f"visitors:key:{day}")
    link.open("203.0.114.7")
    assert real_redis.get(f"visitors:key:{day}") == secret
    assert len(secret) == 32
    assert link.visitors == 2


def test_the_key_of_the_day_is_the_same_in_every_process_and_new_the_next_day(
    clock, new_link, real_redis
):
    stores = [new_link(real_redis).store]
    stores += [joip_share.Store(joip_share.Connections(real_redis)) for _ in range(2)]
    first = {store.visitor_key(joip_share.today()) for store in stores}
    clock(0)
    second = {store.visitor_key(joip_share.today()) for store in stores}
    assert len(first) == len(second) == 1
    assert first != second


def test_a_later_open_does_not_prolong_a_days_visitors(new_link, real_redis):
    link = new_link(real_redis)
    link.open("203.0.113.7")
    key = f"session:{{{link.session}}}:visitors:{joip_share.today()}"
    real_redis.expire(key, 100)
    link.open("203.0.114.7")
    assert real_redis.ttl(key) <= 100


# Which address counts: proxies, number by number.

FORWARDED = [
    (0, "198.51.100.1", "198.51.101.1", 1),
    (1, "198.51.100.1", "198.51.101.1", 2),
    (1, "198.51.100.1", "198.51.100.2", 1),
    (1, "9.9.9.9, 198.51.100.1", "8.8.8.8, 198.51.100.1", 1),
    (1, "9.9.9.9, 198.51.100.1", "9.9.9.9, 198.51.101.1", 2),
    (2, "9.9.9.9, 198.51.100.1, 10.0.0.1", "8.8.8.8, 198.51.100.1, 10.9.0.1", 1),
    (2, "198.51.100.1, 10.0.0.1", "198.51.101.1, 10.0.0.1", 2),
    (1, "nonsense", "' OR 1=1", 1),
    (1, "fe80::1%eth0", "fe80::2%eth0", 1),
]


@pytest.mark.parametrize(("proxies", "first", "second", "visitors"), FORWARDED)
def test_only_trusted_proxies_say_where_a_visitor_is(
    new_link, proxies, first, second, visitors
):
    link = new_link(trusted_proxies=proxies)
    for value in (first, second):
        link.open("192.0.2.1", X_Forwarded_For=value, X_Real_IP=value)
    assert link.visitors == visitors


@pytest.mark.parametrize("proxies", [0, 1])
def test_no_other_header_says_where_a_visitor_is(new_link, proxies):
    link = new_link(trusted_proxies=proxies)
    for n in range(3):
        address = f"198.51.{n}.1"
        link.open("192.0.2.1", Forwarded=f"for={address}", X_Real_IP=address)
        link.open("192.0.2.1", CF_Connecting_IP=address, True_Client_IP=address)
        link.open("192.0.2.1", X_Client_IP=address, Client_IP=address)
    assert link.visitors == 1


def test_a_forged_address_counts_for_nothing_through_the_real_server(
    live, new_client, tmp_path
):
    owner = new_client()
    owner.sign_up()
    session_id = owner.make_session()
    preview = f"/api/shared/{owner.share(session_id)}/preview"

    def opened(visitor, *forwarded):
        for value in forwarded:
            visitor.get(preview, headers={"X-Forwarded-For": value})
        return owner.get(f"/api/sessions/{session_id}/stats").json()["totals"][
            "visitors"
        ]

    assert opened(new_client(), "198.51.100.1", "198.51.101.1") == 1
    redis_url = (
        f"redis://127.0.0.1:{live.redis.connection_pool.connection_kwargs['port']}"
    )
    with Service(tmp_path, redis_url, TRUSTED_PROXIES="1") as behind:
        visitor = Client(behind.url)
        assert opened(visitor, "9.9.9.9, 198.51.100.1", "8.8.8.8,198.51.100.77") == 2
        assert opened(visitor, "198.51.100.1, 198.51.101.1") == 3
