"""kill -9 at any point: what was acknowledged is kept, nothing is left half done.

First every crash point of every operation, one after another, and every race of two
operations, by stopping the store between two exchanges with Redis. Then 50 rounds of
the real thing: processes killed at random moments under load.
"""

from __future__ import annotations

import contextlib
from itertools import product

import pytest

import joip_share
from joip_share import NewSession
from servers import RedisServer, contents

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
        self.code = self.store.share(1, self.owner.id)

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
