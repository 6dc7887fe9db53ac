"""kill -9 at any point: what was acknowledged is kept, nothing is left half done.

First every crash point of every operation, one after another, and every race of two
operations, by stopping the store between two exchanges with Redis. Then 50 rounds of
the real thing: processes killed at random moments under load.
"""

from __future__ import annotations

import contextlib
import random
import re
import threading
from itertools import product

import pytest
import requests

import joip_share
from joip_share import NewSession
from servers import Client, RedisServer, Service, contents, wait_for

# Every crash point, every race.


class Crash(BaseException):
    """The process was killed: nothing of it runs on."""


class Stopping(joip_share.Connections):
    """Connections that do something else before their nth exchange with Redis."""

    def __init__(self, client, exchanges: int, then) -> None:
        super().__init__(client)
        self.left, self.then = exchanges, then

    def _count(self) -> None:
        self.left -= 1
        if self.left == -1:
            self.then()

    def execute(self, *command):
        self._count()
        return super().execute(*command)

    def execute_many(self, commands):
        self._count()
        return super().execute_many(commands)


class Place:
    """A store with an owner, a guest, a shared session 1 and an unshared session 2."""

    def __init__(self, server: RedisServer) -> None:
        server.client.flushall()
        self.redis = server.client
        self.app = joip_share.create_app(joip_share.Settings(redis_url=server.url))
        self.store = self.app.store
        self.owner = self.store.register("owner@example.com", "Owner", "a hash")
        self.guest = self.store.register("guest@example.com", "Guest", "a hash")
        for title in ("Shared", "Not shared"):
            self.store.create_session(self.owner, NewSession(title))
        self.store.share(1, self.owner.id)

    def stopping(self, exchanges: int, then) -> joip_share.Store:
        """Another process on the same Redis."""
        client = self.app.store.connections.client
        return joip_share.Store(Stopping(client, exchanges, then), self.store.keys)

    def broken(self, aged: bool) -> str:
        """What `flask check` says, now or when the journal's patience has run out."""
        if aged:
            for member in self.redis.zrange("journal", 0, -1):
                self.redis.zadd("journal", {member: 0})
        result = self.app.test_cli_runner().invoke(args=["check"])
        return result.stdout if result.exit_code else ""

    def traces(self, session_id: int) -> list[bytes]:
        """The keys that are left of a session."""
        named = b"session:{%d}" % session_id
        number = b"%d" % session_id
        return [
            key
            for key, value in contents(self.redis).items()
            if key.startswith(named)
            or (key.startswith(b"share:") and value == number)
            or (key.endswith(b":sessions") and number in dict(value))
        ]


OPERATIONS = {
    "register": lambda s, p: s.register("new@example.com", "New", "a hash"),
    "create": lambda s, p: s.create_session(p.owner, NewSession("Third")),
    "share": lambda s, p: s.share(2, p.owner.id),
    "share again": lambda s, p: s.share(1, p.owner.id),
    "share with one": lambda s, p: s.share(1, p.owner.id, p.guest.id),
    "delete": lambda s, p: s.delete_session(1, p.owner.id),
    "delete the other": lambda s, p: s.delete_session(2, p.owner.id),
}
REFUSALS = (
    joip_share.EmailTaken,
    joip_share.SessionNotFound,
    joip_share.UserNotFound,
)


def attempt(store: joip_share.Store, name: str, place: Place) -> object:
    """Do it; None when it was refused or cut short, else what was acknowledged."""
    with contextlib.suppress(Crash, *REFUSALS):
        return OPERATIONS[name](store, place) or "done"
    return None


def crash() -> None:
    raise Crash


def assert_sound(place: Place, acknowledged: dict[str, object]) -> None:
    """No half state once the journal is settled; what was acknowledged holds."""
    assert place.broken(aged=True) == ""
    assert place.redis.zcard("journal") == 0
    for name, number in (("delete", 1), ("delete the other", 2)):
        stands = place.redis.exists(f"session:{{{number}}}")
        assert not (stands and acknowledged.get(name))
        if not stands:
            assert place.traces(number) == []
    for name, number in SHARED.items():
        code = acknowledged.get(name)
        if code and place.redis.exists(f"session:{{{number}}}"):
            assert place.store.open_shared(code, joip_share.Visit()).preview
            assert place.redis.get(f"share:{code}") == b"%d" % number
    try:  # a new account is there as a whole, or not at all
        place.store.account_by_email("new@example.com")
    except joip_share.UserNotFound:
        assert place.store.register("new@example.com", "New", "a hash")


SHARED = {"share": 2, "share again": 1, "share with one": 1}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_may_crash_before_each_exchange(redis_server, name):
    exchanges, done = 0, None
    while done is None:
        place = Place(redis_server)
        done = attempt(place.stopping(exchanges, crash), name, place)
        assert place.broken(aged=False) == ""  # what is under way is not broken
        again = attempt(place.store, name, place)
        assert_sound(place, {name: done or again})
        exchanges += 1
    assert exchanges > 2


def test_an_account_that_was_settled_away_meanwhile_is_not_acknowledged(redis_server):
    """As when the process, or its machine, stood still for longer than the patience."""
    refused = 0
    for exchanges in range(12):
        place = Place(redis_server)

        def settle(place=place) -> None:
            place.broken(aged=True)

        try:
            account = OPERATIONS["register"](place.stopping(exchanges, settle), place)
        except joip_share.StoreUnavailable:
            refused += 1
            account = OPERATIONS["register"](place.store, place)
        assert place.store.account_by_email("new@example.com").id == account.id
        assert place.store.referrer(account.referral_code) == account.id
        assert_sound(place, {})
    assert refused >= 2


def test_what_cannot_be_settled_holds_nobody_up(redis_server):
    place = Place(redis_server)
    stuck = joip_share.to_json(joip_share.SessionStep(9, "nobody", "*", "a code"))
    place.redis.set("session:{9}:shares", "no hash")
    settled = joip_share.to_json(joip_share.SessionStep(8, "nobody"))
    place.redis.zadd("journal", {stuck: 0, settled: 1})
    for name in ("create", "share", "delete", "register"):
        assert attempt(place.store, name, place)
    assert place.redis.zrange("journal", 0, -1) == [stuck]
    assert "journal has an entry that cannot be settled" in place.broken(aged=False)
    mending = place.app.test_cli_runner().invoke(args=["check", "--repair"])
    assert mending.exit_code == 0
    assert_sound(place, {})


# Those that touch the same keys.
PAIRS = [
    ("register", "register"),
    *product(("share", "delete the other"), repeat=2),
    *product(("share again", "share with one", "delete"), repeat=2),
]


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("fate", ["goes on", "crashes"])
def test_two_operations_may_meet_anywhere(redis_server, first, second, fate):
    """The second runs as a whole before each exchange of the first."""
    exchanges, met = 0, True
    while met:
        place, acknowledged = Place(redis_server), {}

        def meet(place=place, acknowledged=acknowledged) -> None:
            acknowledged[second] = attempt(place.store, second, place)
            if fate == "crashes":
                raise Crash

        result = attempt(place.stopping(exchanges, meet), first, place)
        met = second in acknowledged
        acknowledged[first] = result or acknowledged.get(first)
        assert_sound(place, acknowledged)
        exchanges += 1
    assert exchanges > 2


# The real thing.

ROUNDS = 50


class Worker(threading.Thread):
    """One owner, who creates, shares and deletes as fast as is answered, and keeps a
    ledger of what was acknowledged."""

    def __init__(self, url: str, over: threading.Event, seed: int) -> None:
        super().__init__()
        self.client, self.over, self.dice = Client(url), over, random.Random(seed)
        self.owner = self.client.sign_up()["id"]
        self.standing: set[int] = set()
        self.codes: dict[int, set[str]] = {}
        self.deleted: set[int] = set()
        self.emails: list[str] = []

    def run(self) -> None:
        while not self.over.is_set():
            try:
                self.step()
            except requests.RequestException:
                self.over.wait(0.05)  # leave the processor to what is starting

    def step(self) -> None:
        """One operation; HTTPError, or another, when it was not acknowledged."""
        chance = self.dice.random()
        if chance < 0.02:
            self.register()
        elif len(self.standing) < 10 or (chance < 0.5 and len(self.standing) < 60):
            answer = self.ask("POST", "/api/sessions", json={"title": "A walk"})
            self.standing.add(answer.json()["id"])
        elif chance < 0.75:
            number = self.dice.choice(sorted(self.standing))
            code = self.ask("POST", f"/api/sessions/{number}/share").json()["shareCode"]
            self.codes.setdefault(number, set()).add(code)
        else:
            number = self.dice.choice(sorted(self.standing))
            self.standing.discard(number)  # in doubt until it is answered
            self.ask("DELETE", f"/api/sessions/{number}")
            self.deleted.add(number)

    def ask(self, method: str, path: str, **options) -> requests.Response:
        answer = self.client.request(method, path, timeout=5, **options)
        answer.raise_for_status()
        return answer

    def register(self) -> None:
        email = f"{self.dice.randbytes(8).hex()}@example.com"
        given = {"email": email, "password": "long enough"}
        with Client(self.client.url) as newcomer:
            newcomer.post("/api/register", json=given, timeout=5).raise_for_status()
        self.emails.append(email)

    def verify(self, store: joip_share.Store) -> None:
        """Everything that was acknowledged is so."""
        for number in self.standing:
            code = store.share(number, self.owner)
            assert self.codes.get(number, {code}) == {code}
            assert store.open_shared(code, joip_share.Visit()).preview
        for number in self.deleted & self.codes.keys():
            for code in self.codes[number]:
                with pytest.raises(joip_share.NotShared):
                    store.open_shared(code, joip_share.Visit())
        for email in self.emails:
            assert store.account_by_email(email).email == email


def test_fifty_kills_under_load_lose_nothing_that_was_acknowledged(tmp_path):
    """On a Redis that keeps its file as deploy/redis.conf has it."""
    dice, over = random.Random(), threading.Event()
    redis = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    settings = {"RATELIMIT_ENABLED": "0"}
    service = Service(tmp_path, redis.url, **settings)
    watcher = Client(service.url)
    workers = [Worker(service.url, over, seed) for seed in range(2)]
    try:
        for worker in workers:
            worker.start()
        for _ in range(ROUNDS):
            over.wait(dice.uniform(0.02, 0.25))
            victim = dice.choices(["service", "redis", "both"], [1, 4, 1])[0]
            if victim != "redis":
                service.kill()
            if victim != "service":
                redis.kill()
                redis = redis.again()
            if victim != "redis":
                service = Service(tmp_path, redis.url, service.port, **settings)
            wait_for(lambda: watcher.get("/readyz").ok)
        over.set()
        for worker in workers:
            worker.join()
        assert_survived(redis, workers)
    finally:
        over.set()
        service.kill()
        redis.stop()


def assert_survived(redis: RedisServer, workers: list[Worker]) -> None:
    """`flask check` finds nothing, at once and once the journal is settled; what was
    acknowledged is kept, and no key is left of what was deleted."""
    app = joip_share.create_app(joip_share.Settings(redis_url=redis.url))
    for _ in ("at once", "aged"):
        result = app.test_cli_runner().invoke(args=["check"])
        assert (result.exit_code, result.stdout) == (0, "0 broken, 0 mended\n")
        for member in redis.client.zrange("journal", 0, -1):
            redis.client.zadd("journal", {member: 0})
    for worker in workers:
        worker.verify(app.store)
    deleted = {number for worker in workers for number in worker.deleted}
    for key, value in contents(redis.client).items():
        named = re.match(rb"session:\{(\d+)\}", key)
        number = named[1] if named else value if key.startswith(b"share:") else b"0"
        assert int(number) not in deleted
    assert len(deleted) > ROUNDS
