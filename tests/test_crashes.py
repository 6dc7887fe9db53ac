"""kill -9 at any point: what was acknowledged is kept, nothing is left half done.

First every crash point of every operation, one after another, and every meeting of two
operations that touch the same keys, by stopping the store between two commands. Then 50
rounds of the real thing: processes killed at random moments under load.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import random
import re
import threading
from collections.abc import Iterator
from itertools import product
from types import SimpleNamespace

import msgspec
import pytest
import requests

import checks
import maintain
import store as stores
from clock import MAX_ID
from inputs import MediaInput, NewSession, SessionPatch
from records import Visit
from redis_link import Link
from redis_node import NotReplicated, StoreRefusesWrites
from refusals import EmailTaken, NotShared, Refusal
from rows import GENERAL
from servers import CHEAP_HASHES, Client, RedisServer, Service, contents, wait_for
from store import Store

# Every crash point, every meeting.


class Crash(BaseException):
    """The process was killed: nothing of it runs on."""


def crash() -> None:
    raise Crash


class Stopping(Link):
    """A link that does something else before its nth command: as on a Cluster, where
    the commands of a batch go one after another, each of them may be the last."""

    def __init__(self, client, commands: int, then) -> None:
        super().__init__(client)
        self.left, self.then = commands, then

    def execute_many(self, commands, durable=False):
        replies = []
        for command in commands:
            self.left -= 1
            if self.left == -1:
                self.then()
            replies += super().execute_many([command], durable)
        return replies


NEW, NEWER = "new@example.com", "newer@example.com"
PASSWORD = "a hash"


class Place:
    """A store with an owner, who has a session that is shared with everyone, with a
    guest and with whoever comes with an email, one that is not shared, a token and a
    login; and that guest, with a session that is shared."""

    def __init__(self, server: RedisServer) -> None:
        self.redis = server.client
        self.redis.flushall()
        self.store = Store(Link(self.redis))
        register, create = self.store.register, self.store.create_session
        self.owner = register("owner@example.com", "Owner", PASSWORD)
        self.guest = register("guest@example.com", "Guest", PASSWORD)
        media = [MediaInput("https://example.org/1.jpg")]
        self.shared = create(self.owner.id, NewSession(title="Shared", media=media)).id
        self.private = create(self.owner.id, NewSession(title="Private")).id
        self.theirs = create(self.guest.id, NewSession(title="Theirs")).id
        share, own = self.store.share, (self.shared, self.owner.id)
        self.codes = {
            "everyone": share(*own),
            "guest": share(*own, self.guest.id),
            "email": self.store.share_by_email(*own, NEW),
            "theirs": share(self.theirs, self.guest.id),
        }
        self.token, self.secret = self.store.create_token(self.owner.id, "Laptop")
        self.store.keep_login("login", self.owner.id, self.login_of_owner, PASSWORD)

    @property
    def login_of_owner(self) -> bytes:
        return b'{"userId": "%s", "renewed": "today"}' % self.owner.id.encode()

    def stopping(self, commands: int, then) -> Store:
        """Another process on the same Redis."""
        return Store(Stopping(self.redis, commands, then), self.store.keys)

    def sign_in(self, password: str) -> None:
        """Another login of the owner, if that is the password."""
        self._try(self.store.keep_login, "another", self.owner.id, b"{}", password)

    def broken(self) -> list[str]:
        """What `check` reports."""
        return [f"{each.name} {each.what}" for each in maintain.check(self.store)[0]]

    def repair(self) -> None:
        """`check --repair` mends everything."""
        left, _ = maintain.check(self.store, repair=True)
        assert left == []
        assert self.broken() == []

    def traces(self, *names: str) -> list[bytes]:
        """The keys that name one of these, or hold nothing but it."""
        pointer = re.compile(rb"(share|email|referral|token|login):")
        return [
            key
            for key, value in contents(self.redis).items()
            for name in map(str.encode, names)
            if name in key or (pointer.match(key) and name in value)
        ]

    def seen(self) -> dict[str, object]:
        """What everybody can see, in a form to compare."""
        return {
            NEW: bool(self._found(NEW)),
            NEWER: bool(self._found(NEWER)),
            "owner": self._account(self.owner.id),
            "guest": self._account(self.guest.id),
            "token": self._stands(self.store.token_owner(self.secret)),
            "login": self._stands(self.store.read_login("login") and self.owner.id),
            "new login": bool(self.store.read_login("new login")),
            "links": {name: self._opened(code) for name, code in self.codes.items()},
        }

    def _found(self, email: str) -> object:
        """Who has this email and gets what waits for them, as at every sign-in."""
        account = self._try(self.store.account_by_email, email)
        if account:
            self.store.adopt(account)
        return account

    def _try(self, do, *args) -> object:
        with contextlib.suppress(Refusal):
            return do(*args)
        return None

    def _stands(self, user_id: str | None) -> bool:
        return bool(user_id and self._try(self.store.account, user_id))

    def _account(self, user_id: str) -> object:
        account = self._try(self.store.account, user_id)
        if not account:
            return None
        rows, _ = self.store.list_sessions(user_id, 50, MAX_ID)
        tokens = [token.name for token in self.store.list_tokens(user_id)]
        sessions = [self._session(row.session.id, user_id) for row in rows]
        seen = account.email, account.name, account.password
        return *seen, sorted(tokens), sorted(sessions)

    def _session(self, session_id: int, user_id: str) -> tuple[str, str, list[str]]:
        session, media, shares = self.store.read_session(session_id, user_id)
        audiences = [str((bool(s.user_id), s.email, s.label)) for s in shares]
        return session.title, msgspec.json.decode(media), sorted(audiences)

    def _opened(self, code: str) -> object:
        opened = self._try(self.store.open_shared, code, Visit())
        played = self._try(self.store.play_shared, code, self.guest.id)
        return bool(opened), bool(played)


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Whatever was begun is over by now, and a look need not wait for the next."""
    for module in (stores, checks):
        monkeypatch.setattr(module, "SETTLED", -1)
    monkeypatch.setattr(maintain, "PAUSE", 0)


@functools.cache
def furnish(server: RedisServer) -> tuple[Place, list[tuple[bytes, int, bytes]]]:
    """A place, and what Redis holds of it: each key, its milliseconds, its value."""
    place = Place(server)
    keys = [*place.redis.scan_iter()]
    lasting = [max(place.redis.pttl(key), 0) for key in keys]
    return place, [*zip(keys, lasting, map(place.redis.dump, keys), strict=True)]


def furnished(server: RedisServer) -> Place:
    """A place that is made once, and put back as it was every time after; nothing is
    remembered of what was done in it."""
    first, kept = furnish(server)
    place = copy.copy(first)
    place.store = Store(Link(place.redis))
    place.redis.flushall()
    with place.redis.pipeline(transaction=False) as pipe:
        for each in kept:
            pipe.restore(*each)
        pipe.execute()
    return place


def update(store: Store, place: Place, session_id: int, count: int) -> object:
    media = [MediaInput(f"https://example.org/{n}.jpg") for n in range(count)]
    patch = SessionPatch(title=f"{count} pictures", media=media)
    return store.update_session(session_id, place.owner.id, patch)


OPERATIONS = {
    "register": lambda s, p: s.register(NEW, "New", PASSWORD),
    "change email": lambda s, p: s.change_email(p.owner, NEW),
    "change email again": lambda s, p: s.change_email(p.owner, NEWER),
    "change an email's case": lambda s, p: s.change_email(p.owner, "OWNER@example.com"),
    "change the guest's email": lambda s, p: s.change_email(p.guest, NEW),
    "change password": lambda s, p: s.change_account(
        p.owner.id, {"password": "new"}, PASSWORD, keep_login=""
    ),
    "delete account": lambda s, p: s.delete_account(p.owner),
    "delete the guest": lambda s, p: s.delete_account(p.guest),
    "sign in": lambda s, p: s.keep_login(
        "new login", p.owner.id, p.login_of_owner, PASSWORD
    ),
    "sign out": lambda s, p: s.end_login("login", p.owner.id),
    "create token": lambda s, p: s.create_token(p.owner.id, "Script"),
    "delete token": lambda s, p: s.delete_token(p.owner.id, p.token.id),
    "create": lambda s, p: s.create_session(p.owner.id, NewSession(title="Third")),
    "update": lambda s, p: update(s, p, p.shared, 3),
    "update again": lambda s, p: update(s, p, p.shared, 2),
    "delete": lambda s, p: s.delete_session(p.shared, p.owner.id),
    "delete the other": lambda s, p: s.delete_session(p.private, p.owner.id),
    "share": lambda s, p: s.share(p.private, p.owner.id),
    "share again": lambda s, p: s.share(p.shared, p.owner.id),
    "share with one": lambda s, p: s.share(p.private, p.owner.id, p.guest.id),
    "share by email": lambda s, p: s.share_by_email(p.private, p.owner.id, NEW),
    "revoke": lambda s, p: s.revoke(p.shared, p.owner.id, p.codes["everyone"]),
    "revoke by email": lambda s, p: s.revoke(p.shared, p.owner.id, p.codes["email"]),
    "play": lambda s, p: s.play_shared(p.codes["everyone"], p.guest.id, True),
    "open": lambda s, p: s.open_shared(
        p.codes["everyone"], Visit(reason="", visitor=b"x"), p.owner.referral_code
    ),
}


def attempt(store: Store, name: str, place: Place) -> object:
    """Do it; None when it was refused or cut short, else what was acknowledged."""
    with contextlib.suppress(Crash, Refusal):
        return OPERATIONS[name](store, place) or "done"
    return None


# What is done twice is there twice.
ADDING = ("create", "create token")


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("next_step", ["check", "look"])
def test_an_operation_may_crash_before_each_command(redis_server, name, next_step):
    """It was done or it was not, as everybody can see; what is left of it is mended;
    and it may be repeated."""
    place = furnished(redis_server)
    before = place.seen()
    assert attempt(place.store, name, place)
    after = place.seen()
    assert place.broken() == []
    commands, done = 0, None
    while done is None:
        place = furnished(redis_server)
        done = attempt(place.stopping(commands, crash), name, place)
        if next_step == "check":
            place.repair()
        if name == "change password":  # the logins that it ends go at the next one
            place.sign_in("new")
        now = place.seen()
        assert now in (before, after)
        if name not in ADDING or now == before:
            attempt(place.store, name, place)
        assert place.seen() == after
        place.repair()
        assert place.seen() == after
        commands += 1
    assert commands > 1


@pytest.mark.parametrize("name", ["register", "share by email"])
def test_who_is_signed_in_plays_what_a_crash_did_not_bind_to_them(redis_server, name):
    """They need not sign in again, which nobody does whom the proxy signs in."""
    commands, done = 0, None
    while done is None:
        place = furnished(redis_server)
        if name == "share by email":
            attempt(place.store, "register", place)
        done = attempt(place.stopping(commands, crash), name, place)
        attempt(place.store, "register", place)
        holder = place.store.account_by_email(NEW)
        for session_id in (place.shared, place.private):
            *_, shares = place.store.read_session(session_id, place.owner.id)
            for link in shares:
                if link.email:
                    assert place.store.play_shared(link.share_code, holder.id)
        commands += 1
    assert commands > 1


@pytest.mark.parametrize("name", ["revoke", "revoke by email"])
@pytest.mark.parametrize("end", ["delete", "delete account"])
def test_what_a_revocation_that_was_cut_short_has_left_goes_with_its_session(
    redis_server, name, end
):
    commands, done = 0, None
    while done is None:
        place = furnished(redis_server)
        place.store.play_shared(place.codes["everyone"], place.guest.id, True)
        done = attempt(place.stopping(commands, crash), name, place)
        assert attempt(place.store, end, place)
        codes = [place.codes[each] for each in ("everyone", "guest", "email")]
        assert place.traces(str(place.shared), *codes) == []
        assert place.broken() == []
        commands += 1
    assert commands > 1


class Alone(Link):
    """A link to a Redis whose replicas have nothing in time."""

    def execute_many(self, commands, durable=False):
        replies = super().execute_many(commands)
        if durable:
            raise NotReplicated(replies)
        return replies


@pytest.mark.parametrize(
    "name", ["delete account", "change password", "delete", "revoke", "revoke by email"]
)
def test_what_no_replica_has_is_done_to_the_end(redis_server, name):
    """Else an account that nobody can get at any more would keep all that it had, and a
    new password would leave the old one's logins."""
    place = furnished(redis_server)
    assert attempt(place.store, name, place)
    done = place.seen()
    place = furnished(redis_server)
    with pytest.raises(NotReplicated):
        OPERATIONS[name](Store(Alone(place.redis)), place)
    assert place.seen() == done
    assert place.broken() == []


class Filling(Link):
    """A link to a Redis that is full from its nth exchange on."""

    def __init__(self, client, exchanges: int) -> None:
        super().__init__(client)
        self.left = exchanges

    def execute_many(self, commands, durable=False):
        self.left -= 1
        if self.left == -1:
            self.client.config_set("maxmemory", 1)
        return super().execute_many(commands, durable)


def full_anywhere(server: RedisServer, do) -> Iterator[tuple[Place, object]]:
    """Do something with a store and a place while Redis gets full before its nth
    exchange, for every n: each place afterwards, and what came of it."""
    exchanges, full = 0, True
    while full:
        place = furnished(server)
        link, outcome = Filling(place.redis, exchanges), None
        try:
            outcome = do(Store(link), place)
        except StoreRefusesWrites as error:
            outcome = error
        finally:
            place.redis.config_set("maxmemory", 0)
        yield place, outcome
        full = link.left < 0
        exchanges += 1
    assert exchanges > 1


ANSWERED_WHEN_FULL = {
    "open": OPERATIONS["open"],
    "play": OPERATIONS["play"],
    "click": lambda s, p: s.count_click(p.guest.id, "session_share", b"x"),
}


@pytest.mark.parametrize("name", ANSWERED_WHEN_FULL)
def test_who_looks_and_plays_is_answered_wherever_redis_gets_full(redis_server, name):
    for place, outcome in full_anywhere(redis_server, ANSWERED_WHEN_FULL[name]):
        assert not isinstance(outcome, Exception)
        assert place.broken() == []


@pytest.mark.parametrize("name", ["register", "change email", "update"])
def test_what_a_full_redis_refuses_halfway_is_taken_back(redis_server, name):
    taken = []

    def room(place: Place) -> bytes:
        return place.redis.hget(f"user:{{{place.owner.id}}}:sizes", "total")

    def do(store: Store, place: Place) -> object:
        taken.append(room(place))
        return OPERATIONS[name](store, place)

    for place, outcome in full_anywhere(redis_server, do):
        assert place.broken() == []
        if isinstance(outcome, StoreRefusesWrites):
            assert room(place) == taken[-1]


def test_a_link_by_email_is_lost_to_nobody_wherever_redis_gets_full(redis_server):
    def share(store: Store, place: Place) -> str:
        return store.share_by_email(place.private, place.owner.id, place.guest.email)

    for place, _ in full_anywhere(redis_server, share):
        *_, shares = place.store.read_session(place.private, place.owner.id)
        for link in shares:
            assert place.store.play_shared(link.share_code, place.guest.id)


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_under_way_is_not_called_broken(redis_server, monkeypatch, name):
    """`check` looks twice, and the operation goes on between the looks."""
    commands, reached = 0, True
    while reached:
        place, stopped, goes_on = (
            furnished(redis_server),
            threading.Event(),
            threading.Event(),
        )

        def stop(stopped=stopped, goes_on=goes_on) -> None:
            stopped.set()
            goes_on.wait()

        store = place.stopping(commands, stop)
        worker = threading.Thread(target=attempt, args=(store, name, place))

        def go_on(_=0, goes_on=goes_on, worker=worker) -> None:
            goes_on.set()
            worker.join()

        monkeypatch.setattr(maintain, "time", SimpleNamespace(sleep=go_on))
        worker.start()
        wait_for(lambda s=stopped, w=worker: s.is_set() or not w.is_alive())
        reached = stopped.is_set()
        assert place.broken() == []
        go_on()
        commands += 1


# Those that touch the same keys. The second runs as a whole before each command of the
# first, which then goes on, or crashes.
OF_THE_ACCOUNT = (
    "change email",
    "change password",
    "sign in",
    "create token",
    "delete token",
    "create",
    "update",
    "delete",
    "share",
    "share by email",
    "revoke",
    "open",
    "play",
)
MEETINGS = {
    *product(("register", "change email", "change the guest's email"), repeat=2),
    *product(("share by email",), ("register", "change email", "delete the other")),
    *product(("register", "change email", "delete the other"), ("share by email",)),
    *product(("change email",), ("change email again",)),
    *product(("change email", "change an email's case"), repeat=2),
    *product(("delete account",), ("delete account", *OF_THE_ACCOUNT)),
    *product(OF_THE_ACCOUNT, ("delete account",)),
    *product(
        ("delete the guest",), ("share with one", "play", "change the guest's email")
    ),
    *product(
        ("share with one", "play", "change the guest's email"), ("delete the guest",)
    ),
    *product(("update", "update again", "delete"), repeat=2),
    *product(("share again", "revoke", "delete", "play", "open"), repeat=2),
    *product(("share", "share with one", "delete the other"), repeat=2),
    *product(("change password", "sign in", "sign out"), repeat=2),
}


@pytest.mark.parametrize(("first", "second"), sorted(MEETINGS))
@pytest.mark.parametrize("fate", ["goes on", "crashes"])
def test_two_operations_may_meet_anywhere(redis_server, first, second, fate):
    commands, met = 0, True
    while met:
        place, acknowledged = furnished(redis_server), {}

        def meet(place=place, acknowledged=acknowledged) -> None:
            acknowledged[second] = attempt(place.store, second, place)
            if fate == "crashes":
                raise Crash

        result = attempt(place.stopping(commands, meet), first, place)
        met = second in acknowledged
        acknowledged[first] = result or acknowledged.get(first)
        if fate == "goes on":
            assert place.broken() == []
        else:
            place.repair()
        assert_kept(place, acknowledged)
        commands += 1
    assert commands > 1


def meeting_anywhere(server: RedisServer, one, other) -> Iterator[tuple[Place, bool]]:
    """Do one thing with a store and a place, while the other is done there before its
    nth command, for every n: each place afterwards, and whether the two have met."""
    commands, met = 0, [True]
    while met:
        place, met = furnished(server), []

        def meet(place=place, met=met) -> None:
            met.append(True)
            other(place)

        one(place.stopping(commands, meet), place)
        yield place, bool(met)
        commands += 1
    assert commands > 1


def test_a_change_of_email_that_is_refused_takes_no_other_along(redis_server):
    """The other one was acknowledged, so it is done, wherever the two meet."""

    def change(store: Store, place: Place) -> None:
        store.change_email(place.owner, NEW)

    def be_refused(place: Place) -> None:
        with pytest.raises(EmailTaken):
            place.store.change_email(place.owner, place.guest.email)

    for place, _ in meeting_anywhere(redis_server, change, be_refused):
        assert place.store.account(place.owner.id).email == NEW
        assert place.store.account_by_email(NEW).id == place.owner.id
        assert place.broken() == []


def test_who_signs_in_while_all_logins_end_has_the_right_password(redis_server):
    """They are in before or after it; only those from before are ended."""

    def sign_in(store: Store, place: Place) -> None:
        store.keep_login("new login", place.owner.id, place.login_of_owner, PASSWORD)

    def end_all(place: Place) -> None:
        place.store.change_account(place.owner.id, {}, keep_login="")

    for place, met in meeting_anywhere(redis_server, sign_in, end_all):
        assert not place.store.read_login("login") or not met
        assert place.broken() == []


def assert_kept(place: Place, acknowledged: dict[str, object]) -> None:
    """What was acknowledged is so, and nothing is left of what was deleted."""
    done = {name: result for name, result in acknowledged.items() if result}
    for assert_so in (assert_links_kept, assert_accounts_kept, assert_deleted):
        assert_so(place, done)


def assert_links_kept(place: Place, done: dict[str, object]) -> None:
    owned = {
        place.shared: ("share again",),
        place.private: ("share", "share with one", "share by email"),
    }
    for session_id, names in owned.items():
        for name in names:
            stands = (
                place.redis.exists(place.store.keys.session(session_id))
                and "revoke" not in done
            )
            if name in done and stands:
                assert place.store.open_shared(done[name], Visit()).preview
                assert place.redis.get(f"share:{done[name]}") == b"%d" % session_id
    for name, code in (("revoke", "everyone"), ("revoke by email", "email")):
        if name in done:
            with pytest.raises(NotShared):
                place.store.open_shared(place.codes[code], Visit())


def assert_accounts_kept(place: Place, done: dict[str, object]) -> None:
    claims = {"register", "change email", "change the guest's email"} & done.keys()
    gone = {"delete account", "delete the guest"} & done.keys()
    assert len(claims) <= 1 or gone
    if claims and not gone:
        changed_again = {"change email again", "change an email's case"} & done.keys()
        email = place.store.account(place.owner.id).email if changed_again else NEW
        assert email in (NEW, NEWER, "OWNER@example.com")
        holder = place.store.account_by_email(email)
        if "share by email" in done:
            place.store.adopt(holder)
            assert place.store.play_shared(done["share by email"], holder.id)
    if "sign in" in done:
        ended = {"change password", "delete account"} & done.keys()
        assert bool(place.store.read_login("new login")) == (not ended)
    if {"sign out", "change password"} & done.keys():
        assert not place.store.read_login("login")


def assert_deleted(place: Place, done: dict[str, object]) -> None:
    owner, guest = place.owner, place.guest
    whose = {
        "delete": (place.shared, "everyone", "guest", "email"),
        "delete the other": (place.private,),
        "delete account": (place.shared, place.private, owner.id, owner.referral_code),
        "delete the guest": (place.theirs, guest.id, guest.referral_code, "theirs"),
    }
    for name in whose.keys() & done.keys():
        names = [str(place.codes.get(each, each)) for each in whose[name]]
        assert place.traces(*names) == []


# The real thing.

ROUNDS = 50


class Worker(threading.Thread):
    """One owner, who does everything that can be done as fast as is answered, and keeps
    a ledger of what was acknowledged. What is in doubt is in no list."""

    def __init__(self, url: str, over: threading.Event, seed: int) -> None:
        super().__init__()
        self.client, self.over, self.dice = Client(url), over, random.Random(seed)
        self.owner = self.client.sign_up()["id"]
        self.acknowledged = 0
        self.failed: Exception | None = None
        self.standing: dict[int, str] = {}  # title
        self.codes: dict[tuple[int, str], str] = {}  # by session and label
        self.tokens: dict[str, str] = {}  # secret by id
        self.emails: list[str] = []
        self.deleted: set[int] = set()
        self.dead_codes: set[str] = set()
        self.dead_tokens: set[str] = set()
        self.departed: list[tuple[str, str]] = []  # id and email

    def run(self) -> None:
        while not self.over.is_set():
            try:
                self.step()
                self.acknowledged += 1
            except requests.RequestException:
                self.over.wait(0.05)  # leave the processor to what is starting
            except Exception as error:  # noqa: BLE001 - what the test must not miss
                self.failed = error
                return

    def step(self) -> None:
        """One operation; HTTPError, or another, when it was not acknowledged."""
        steps = {self.register: 1, self.token: 5, self.revoke: 8, self.share: 25}
        steps |= {self.create: 25, self.update: 10, self.delete: 20}
        if len(self.standing) < 10:
            self.create()
        else:
            self.dice.choices([*steps], [*steps.values()])[0]()

    def ask(
        self, method: str, path: str, who: Client | None = None, **options
    ) -> requests.Response:
        answer = (who or self.client).request(method, path, timeout=5, **options)
        answer.raise_for_status()
        return answer

    def one_of(self, choice) -> object:
        return self.dice.choice(sorted(choice))

    def create(self) -> None:
        if len(self.standing) < 60:
            answer = self.ask("POST", "/api/sessions", json={"title": "A walk"})
            self.standing[answer.json()["id"]] = "A walk"

    def update(self) -> None:
        number, title = self.one_of(self.standing), f"{self.dice.random()}"
        media = [{"mediaUrl": "https://example.org/1.jpg"}] * self.dice.randrange(9)
        self.standing[number] = ""
        change = {"title": title, "media": media}
        self.ask("PATCH", f"/api/sessions/{number}", json=change)
        self.standing[number] = title

    def share(self) -> None:
        number, label = self.one_of(self.standing), self.one_of(["", "one", "two"])
        given = {"label": label} if label else {}
        answer = self.ask("POST", f"/api/sessions/{number}/share", json=given)
        code = answer.json()["shareCode"]
        assert self.codes.setdefault((number, label), code) == code

    def revoke(self) -> None:
        if self.codes:
            number, label = self.one_of(self.codes)
            code = self.codes.pop((number, label))
            self.ask("DELETE", f"/api/sessions/{number}/shares/{code}")
            self.dead_codes.add(code)

    def delete(self) -> None:
        number = self.one_of(self.standing)
        del self.standing[number]
        codes = {self.codes.pop(key) for key in [*self.codes] if key[0] == number}
        self.ask("DELETE", f"/api/sessions/{number}")
        self.deleted.add(number)
        self.dead_codes |= codes

    def token(self) -> None:
        if len(self.tokens) < 5:
            token = self.ask("POST", "/api/tokens", json={"name": "Script"}).json()
            self.tokens[token["id"]] = token["token"]
        else:
            number = self.one_of(self.tokens)
            secret = self.tokens.pop(number)
            self.ask("DELETE", f"/api/tokens/{number}")
            self.dead_tokens.add(secret)

    def register(self) -> None:
        """Another account, which goes again as often as not."""
        email = f"{self.dice.randbytes(8).hex()}@example.com"
        given = {"email": email, "password": "long enough"}
        with Client(self.client.url) as newcomer:
            answer = self.ask("POST", "/api/register", newcomer, json=given)
            if self.dice.random() < 0.5:
                self.emails.append(email)
                return
            self.ask("POST", "/api/sessions", newcomer, json={"title": "A walk"})
            known = {"currentPassword": "long enough"}
            self.ask("DELETE", "/api/auth/user", newcomer, json=known)
        self.departed.append((answer.json()["id"], email))

    def verify(self, store: Store, keys: str) -> None:
        """Everything that was acknowledged is so."""
        for number, title in self.standing.items():
            session, _, _ = store.read_session(number, self.owner)
            assert title in ("", session.title)
        for (number, label), code in self.codes.items():
            audience = f"label:{label}" if label else GENERAL
            assert store.share(number, self.owner, audience) == code
            assert store.open_shared(code, Visit()).preview
        for code in self.dead_codes:
            assert code not in keys
        for number in self.deleted:
            assert f"{{{number}}}" not in keys
        assert {store.token_owner(each) for each in self.tokens.values()} <= {
            self.owner
        }
        assert not any(map(store.token_owner, self.dead_tokens))
        for email in self.emails:
            assert store.account_by_email(email).email == email
        for user_id, email in self.departed:
            assert not store.is_email_taken(email)
            assert user_id not in keys


def done(workers: list[Worker]) -> int:
    """How much was acknowledged."""
    assert [worker.failed for worker in workers if worker.failed] == []
    return sum(worker.acknowledged for worker in workers)


def test_fifty_kills_under_load_lose_nothing_that_was_acknowledged(tmp_path):
    """On a Redis that keeps its file as deploy/redis.conf has it; hashes are cheap, so
    that the time goes to what is written."""
    dice, over = random.Random(), threading.Event()
    redis = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    options = {"changes": CHEAP_HASHES, "RATELIMIT_ENABLED": "0"}
    service = Service(tmp_path, redis.url, **options)
    watcher = Client(service.url)
    workers = [Worker(service.url, over, seed) for seed in range(2)]
    try:
        for worker in workers:
            worker.start()
        for _ in range(ROUNDS):
            goal = done(workers) + dice.randint(2, 30)
            wait_for(lambda goal=goal: done(workers) >= goal)
            over.wait(dice.uniform(0, 0.02))
            victim = dice.choices(["service", "redis", "both"], [1, 4, 1])[0]
            if victim != "redis":
                service.kill()
            if victim != "service":
                redis.kill()
                redis = redis.again()
            if victim != "redis":
                service = Service(tmp_path, redis.url, service.port, **options)
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
    """All that a crash has left is mended; what was acknowledged is kept, and no key is
    left of what was deleted."""
    store = Store(Link(redis.client))
    left, _ = maintain.check(store, repair=True)
    assert left == []
    keys = "\n".join(key.decode() for key in redis.client.scan_iter())
    for worker in workers:
        worker.verify(store, keys)
    assert maintain.check(store) == ([], [])
    assert done(workers) > 2 * ROUNDS
    assert all(worker.deleted for worker in workers)
