"""Fixtures: a store and an app in memory, and the same on real servers."""

from __future__ import annotations

import contextlib
import os
import pkgutil
import re

import fakeredis
import jinja2
import pytest
import redis as redis_py

import joip_share
import redis_link
import redis_node
from servers import EASY, LONG_TIMES, PERSON, Client, RedisServer, Service

pytest.register_assert_rewrite("store_contract")

LONG = "test_sentinel.py", "test_stopping.py"
TIMES = {name: pkgutil.resolve_name(name) for name in LONG_TIMES}


def pytest_collection_modifyitems(items):
    """Files of a few long tests come first: no worker ends long after the others."""
    items.sort(key=lambda item: item.path.name not in LONG)


class CompiledOnce(jinja2.BytecodeCache):
    """Templates are compiled once, for the many applications of a process."""

    def __init__(self):
        self.compiled = {}

    def load_bytecode(self, bucket):
        bucket.code = self.compiled.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket):
        self.compiled[bucket.key, bucket.checksum] = bucket.code


@pytest.fixture(scope="session", autouse=True)
def easy():
    """Applications within the tests go easy on a busy machine; what tests start as a
    process is as in production, but for the service that many share."""
    with pytest.MonkeyPatch.context() as patch:
        options = {"bytecode_cache": CompiledOnce()}
        patch.setattr(joip_share.JoipShare, "jinja_options", options)
        for name, value in EASY.items():
            patch.setattr(name, value)
        yield


@pytest.fixture
def in_time(monkeypatch):
    """Redis has as much time as in production."""
    for name, value in TIMES.items():
        monkeypatch.setattr(name, value)


@pytest.fixture
def patient(in_time, monkeypatch):
    """Replicas may take a minute, and Redis ten seconds more than it was given to tell
    that they have nothing. The seconds of a deadline that gives it three tenths."""
    monkeypatch.setattr(redis_link, "EXCHANGE", 60.0)
    monkeypatch.setattr(redis_node, "LATE", 10.0)
    return 10.3


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    """One redis-server for all tests that need a real one."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    """A Redis for the services of a module."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def real_redis(redis_server):
    """A client of the real server, emptied; a new one, for its pool is bounded."""
    redis_server.client.flushall()
    return redis_py.Redis(port=redis_server.port, protocol=2)


@pytest.fixture(params=["fakeredis", "redis"])
def redis(request):
    """An empty Redis: the one in memory, then the real one."""
    if request.param == "fakeredis":
        return fakeredis.FakeStrictRedis()
    return request.getfixturevalue("real_redis")


@pytest.fixture
def settings():
    """The settings of the app under test."""
    return joip_share.Settings(ratelimit_enabled=False)


@pytest.fixture
def app(settings):
    """The app on a store in memory."""
    return joip_share.create_app(settings, fakeredis.FakeStrictRedis())


class Visitor:
    """Flask's test client with a browser's user agent, and the usual steps."""

    def __init__(self, app):
        self.client = app.test_client()

    def __getattr__(self, name):
        return getattr(self.client, name)

    def open(self, path, method="GET", agent=PERSON, headers=(), **options):
        given = {"User-Agent": agent, **dict(headers)}
        return self.client.open(path, method=method, headers=given, **options)

    def get(self, path, **options):
        return self.open(path, "GET", **options)

    def post(self, path, **options):
        return self.open(path, "POST", **options)

    def patch(self, path, **options):
        return self.open(path, "PATCH", **options)

    def delete(self, path, **options):
        return self.open(path, "DELETE", **options)

    def see(self, path, **options):
        """Open the page of a link, and tell that it was shown, as its script does."""
        page = self.get(path, **options)
        message = re.search(r'data-seen="([^"]+)" data-token="([^"]+)"', page.text)
        if message:
            self.post(message[1], json={"token": message[2]})
        return page

    def sign_up(self, email="owner@example.com", **more):
        """Register; the user."""
        given = {"email": email, "password": "long enough"} | more
        answer = self.post("/api/register", json=given)
        assert answer.status_code == 201, answer.text
        return answer.json

    def make_session(self, media=3, **more):
        """Create a session; its id."""
        items = [{"mediaUrl": f"https://example.org/{n}.jpg"} for n in range(media)]
        given = {"title": "A walk", "media": items} | more
        answer = self.post("/api/sessions", json=given)
        assert answer.status_code == 201, answer.text
        return answer.json["id"]

    def share(self, session_id, **body):
        """Share a session; what the API says."""
        answer = self.post(f"/api/sessions/{session_id}/share", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json


class World:
    """Who and what most tests need: an owner with a shared session, a guest with an
    account, and a stranger, in an application or at a service's URL.

    Ids are made by the service: a test takes `session_id` and `code` from here.
    """

    def __init__(self, newcomer, app=None, mark=""):
        """`newcomer` makes people, each with cookies of their own; `mark` keeps their
        emails apart where a service has several worlds."""
        self.newcomer, self.app = newcomer, app
        self.owner, self.guest, self.stranger = (newcomer() for _ in range(3))
        for name in ("owner", "guest"):
            person = getattr(self, name)
            person.user = person.sign_up(f"{name}{mark}@example.com")
        self.referral_code = self.owner.user["referralCode"]
        self.session_id = self.owner.make_session()
        shared = self.owner.share(self.session_id)
        self.code = shared if isinstance(shared, str) else shared["shareCode"]

    @classmethod
    def within(cls, app):
        """A world in an application."""
        return cls(lambda: Visitor(app), app)

    @classmethod
    def at(cls, url):
        """A world at a service's URL, one of many there."""
        return cls(lambda: Client(url), mark=os.urandom(8).hex())

    def anew(self):
        """The same people in the same application, with a session that nobody has seen,
        and a new stranger."""
        self.session_id = self.owner.make_session()
        self.code = self.owner.share(self.session_id)["shareCode"]
        self.stranger = self.newcomer()
        return self

    @property
    def store(self):
        """The application's store."""
        return self.app.store

    @property
    def link(self):
        """The path of the shared link, with its owner's referral code."""
        return f"/shared/{self.code}?r={self.referral_code}"

    def stats(self):
        """The session's totals."""
        answer = self.owner.get(f"/api/sessions/{self.session_id}/stats")
        return (answer.json() if callable(answer.json) else answer.json)["totals"]


@pytest.fixture
def world(app):
    """A world of its own, in memory."""
    return World.within(app)


@pytest.fixture(scope="module")
def town():
    """A world for all tests of a module, in memory; `anew` makes it fit for another."""
    settings = joip_share.Settings(ratelimit_enabled=False)
    return World.within(joip_share.create_app(settings, fakeredis.FakeStrictRedis()))


@pytest.fixture
def live_world(live):
    """A world at the live service."""
    return World.at(live.url)


@pytest.fixture
def visitor(app):
    """A stranger with a browser."""
    return Visitor(app)


@pytest.fixture
def owner(app):
    """Somebody signed in."""
    person = Visitor(app)
    person.user = person.sign_up()
    return person


@pytest.fixture
def new_visitor(app):
    """Makes strangers, each with cookies of their own."""
    return lambda: Visitor(app)


@contextlib.contextmanager
def service_of_its_own(folder, **options):
    """The service as a process, on a Redis of its own, without rate limits."""
    with (
        RedisServer(folder) as server,
        Service(folder, server.url, RATELIMIT_ENABLED="0", **options) as service,
    ):
        service.redis, service.redis_url = server.client, server.url
        yield service


@pytest.fixture(scope="session")
def live(tmp_path_factory):
    """A service that many tests share."""
    folder = tmp_path_factory.mktemp("live")
    with service_of_its_own(folder, changes=EASY) as service:
        yield service


@pytest.fixture
def new_client(live):
    """Makes clients of the live service, each with cookies of their own."""
    return lambda: Client(live.url)


@pytest.fixture
def clock(monkeypatch):
    """Sets the time, in seconds from 2026-11-25T00:00:00Z; at first to -7200."""

    def at(seconds):
        monkeypatch.setattr(joip_share.time, "time", lambda: 1_795_564_800 + seconds)

    at(-7200)
    return at


@pytest.fixture(scope="module")
def place():
    """One app in memory for a module's tests, with an owner and a guest."""
    settings = joip_share.Settings(ratelimit_enabled=False)
    place = joip_share.create_app(settings, fakeredis.FakeStrictRedis())
    place.owner, place.guest = Visitor(place), Visitor(place)
    place.owner.user = place.owner.sign_up()
    place.guest.user = place.guest.sign_up("guest@example.com")
    return place
