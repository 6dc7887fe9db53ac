"""The commands: create-user, list-users, set-password, delete-user, check, report."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import subprocess
from typing import NamedTuple

import pytest
import redis as redis_py

import checks
import joip_share
import maintain
import store as stores
from clock import today
from conftest import Visitor
from inputs import MediaInput, NewSession
from keys import SESSION_PARTS, USER_PARTS
from observing import refuse_unknown_data
from records import Visit
from servers import BIN, ROOT, Cluster, Sentinels, contents, free_port

DAY = today()
OTHER = "0e5f1c7a-3b1d-4c55-9a57-2f6b1f0c9d11"  # a code that nobody was given
NOBODY = "f" * 32  # the id of no account
NEW = "new@example.com"
CLEAN = (0, "0 broken, 0 mended\n")


class Engine(NamedTuple):
    """A Redis of some kind: its REDIS_URL, and a client for the tests."""

    url: str
    client: redis_py.Redis | redis_py.RedisCluster


class Town:
    """A store with everything in it that a store can hold."""

    def __init__(self, engine: Engine, prefix: str = "") -> None:
        self.redis = engine.client
        settings = joip_share.Settings(redis_url=engine.url, key_prefix=prefix)
        self.app = joip_share.create_app(settings)
        self.store = self.app.store

    def settle_in(self) -> None:
        """Two accounts, two sessions, five links, and every counter there is."""
        store = self.store
        password = joip_share.Passwords().hash("long enough")
        self.owner = store.register("owner@example.com", "Owner", password)
        self.guest = store.register("guest@example.com", "", password)
        media = [MediaInput(f"https://example.org/{n}.jpg", caption="ö") for n in "abc"]
        self.walk, self.second = (
            store.create_session(self.owner.id, NewSession(title=title, media=media)).id
            for title in ("A walk", "Ein Spaziergang")
        )
        own = self.walk, self.owner.id
        self.code = store.share(*own)
        self.bound = store.share(*own, self.guest.id)
        self.mailed = store.share_by_email(*own, NEW)
        store.share(*own, "label:News")
        store.share(self.second, self.owner.id)
        self.token, self.secret = store.create_token(self.owner.id, "Laptop")
        value = login_of(self.owner.id)
        store.keep_login("login", self.owner.id, value.encode(), password)
        store.visitor_key(DAY)
        visit = Visit(reason="", visitor=b"somebody", host="news.example")
        store.open_shared(self.code, visit, self.owner.referral_code)
        store.seen(self.code, visit, False)
        store.play_shared(self.code, self.guest.id, True)
        store.credit_signup(self.owner.id, self.code)
        store.credit_signup(self.owner.id, "")
        refuse_unknown_data(store)  # as a service does at its start

    def run(self, *command: str, **options):
        """One of the commands, in this process."""
        return self.app.test_cli_runner().invoke(args=command, **options)

    def check(self, *options: str) -> tuple[int, str]:
        """What `check` says, and its exit status."""
        result = self.run("check", *options)
        return result.exit_code, result.stdout

    def session(self, part: str = "") -> str:
        """A key of the shared session."""
        return f"session:{{{self.walk}}}{part and ':' + part}"

    def user(self, part: str = "") -> str:
        """A key of the owner."""
        return f"user:{{{self.owner.id}}}{part and ':' + part}"


def login_of(user_id: str) -> str:
    return f'{{"userId": "{user_id}", "renewed": "{DAY}"}}'


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def email_key(email: str) -> str:
    return f"email:{sha256(email)}"


@pytest.fixture
def engine(redis_server, real_redis):
    """One Redis."""
    return Engine(redis_server.url, real_redis)


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Whatever was begun is over by now, and a look need not wait for the next."""
    for module in (stores, checks):
        monkeypatch.setattr(module, "SETTLED", -1)
    monkeypatch.setattr(maintain, "PAUSE", 0)


@pytest.fixture
def town(engine):
    made = Town(engine)
    made.settle_in()
    return made


# check: what a crash can leave, by hand; it is found, told, and mended.

MENDED = {
    "a link to no session": lambda r, t: r.set(f"share:{OTHER}", 99),
    "a link to a session without it": lambda r, t: r.set(f"share:{OTHER}", t.walk),
    "a link that leads elsewhere": lambda r, t: r.set(f"share:{t.code}", t.second),
    "a link of another type": lambda r, t: (
        r.delete(f"share:{t.code}"),
        r.rpush(f"share:{t.code}", "x"),
    ),
    "a lost link": lambda r, t: r.delete(f"share:{t.code}"),
    "a link not listed": lambda r, t: r.hdel(t.session("codes"), t.code),
    "no list of links": lambda r, t: r.delete(t.session("codes")),
    "a session whose owner is gone": lambda r, t: r.hset(t.session(), "userId", NOBODY),
    "a session deleted in part": lambda r, t: r.delete(t.session()),
    "a session not in the list": lambda r, t: r.zrem(t.user("sessions"), t.walk),
    "a session out of place": lambda r, t: r.zadd(t.user("sessions"), {str(t.walk): 7}),
    "a list with a gone session": lambda r, t: r.zadd(t.user("sessions"), {"99": 99}),
    "a list with another's session": lambda r, t: r.zadd(
        f"user:{{{t.guest.id}}}:sessions", {str(t.walk): t.walk}
    ),
    "bytes counted wrong": lambda r, t: r.hset(t.user("sizes"), str(t.walk), 1),
    "bytes not counted": lambda r, t: r.hdel(t.user("sizes"), str(t.walk)),
    "bytes of no session": lambda r, t: r.hset(t.user("sizes"), "99", 5),
    "bytes that do not add up": lambda r, t: r.hset(t.user("sizes"), "total", 5),
    "an account deleted in part": lambda r, t: r.hset(t.user(), "deleting", 1),
    "an account registered in part": lambda r, t: r.delete(
        email_key(t.store.register(NEW, "", "a hash").email)
    ),
    "an account that was lost": lambda r, t: r.delete(t.user()),
    "an email lost": lambda r, t: r.delete(email_key(t.owner.email)),
    "an email of no account": lambda r, t: r.set(email_key("x@x"), NOBODY),
    "an email of another": lambda r, t: r.set(email_key("x@x"), t.guest.id),
    "an email taken over": lambda r, t: r.set(email_key(t.owner.email), t.guest.id),
    "an email wanted": lambda r, t: r.hset(t.user(), "pendingEmail", "x@x"),
    "an email claimed": lambda r, t: (
        r.hset(t.user(), "pendingEmail", "x@x"),
        r.set(email_key("x@x"), t.owner.id),
    ),
    "a referral code of no account": lambda r, t: r.set("referral:abcd1234", NOBODY),
    "a referral code of another": lambda r, t: r.set("referral:abcd1234", t.owner.id),
    "a referral code lost": lambda r, t: r.delete(f"referral:{t.owner.referral_code}"),
    "a referral code taken over": lambda r, t: r.set(
        f"referral:{t.owner.referral_code}", t.guest.id
    ),
    "a token of nobody": lambda r, t: r.set("token:ab12", NOBODY),
    "a token not listed": lambda r, t: r.set("token:ab12", t.owner.id),
    "a token lost": lambda r, t: r.delete(f"token:{sha256(t.secret)}"),
    "a login of nobody": lambda r, t: r.set("login:x", login_of(NOBODY), ex=60),
    "a login not listed": lambda r, t: r.set("login:x", login_of(t.owner.id), ex=60),
    "a login struck off": lambda r, t: r.zadd(t.user("logins"), {"login": 0}),
    "a login of version 1": lambda r, t: r.set(
        "login:x", f'{{"userId": "{t.owner.id}"}}', ex=60
    ),
    "a dead code awaited": lambda r, t: r.sadd(f"awaited:{sha256(NEW)}", OTHER),
    "a code not awaited": lambda r, t: r.delete(f"awaited:{sha256(NEW)}"),
    "a code awaited that has arrived": lambda r, t: r.hset(
        t.session("links"), f"{t.mailed}:for", t.guest.id
    ),
    "a dead code played": lambda r, t: r.zadd(
        f"user:{{{t.guest.id}}}:played", {OTHER: 1}
    ),
    "version 1's last id": lambda r, t: r.set("session:last-id", 7),
    "version 1's journal": lambda r, t: r.zadd("journal", {"junk": 1}),
    "version 1's key of limits": lambda r, t: r.set("limits:key", "x"),
    "version 1's import": lambda r, t: r.set("importing", "x"),
}
LEFT_OVER = {
    "session:{9}:media": "string",
    "session:{9}:shares": "hash",
    "session:{9}:codes": "hash",
    "session:{9}:links": "hash",
    "session:{9}:stats": "hash",
    "session:{9}:daily": "hash",
    "session:{9}:referrers": "hash",
    "session:{9}:players": "zset",
    f"session:{{9}}:visitors:{DAY}": "hyperloglog",
    f"session:{{9}}:visitors:{DAY}:{OTHER}": "hyperloglog",
    f"session:{{9}}:viewers:{DAY}": "hyperloglog",
    f"user:{{{NOBODY}}}:sessions": "zset",
    f"user:{{{NOBODY}}}:sizes": "hash",
    f"user:{{{NOBODY}}}:logins": "zset",
    f"user:{{{NOBODY}}}:tokens": "hash",
    f"user:{{{NOBODY}}}:referrals": "hash",
    f"user:{{{NOBODY}}}:signups": "list",
    f"user:{{{NOBODY}}}:played": "zset",
    f"user:{{{NOBODY}}}:clickers:{DAY}": "hyperloglog",
}

# Damage that takes a hand in Redis; it is named.

NAMED = {
    "a link not chosen": lambda r, t: r.hdel(t.session("shares"), "*"),
    "no choice of links": lambda r, t: r.delete(t.session("shares")),
    "a second link for all": lambda r, t: (
        r.hset(t.session("codes"), OTHER, "*"),
        r.set(f"share:{OTHER}", t.walk),
    ),
    "numbers of no link": lambda r, t: r.hset(t.session("links"), f"{OTHER}:opens", 1),
    "a session without a title": lambda r, t: r.hdel(t.session(), "title"),
    "a session without an owner": lambda r, t: r.hdel(t.session(), "userId"),
    "a session unreadable": lambda r, t: r.hset(t.session(), "intervalMin", "soon"),
    "a session that is no text": lambda r, t: r.hset(t.session(), "title", b"\xff"),
    "media miscounted": lambda r, t: r.hset(t.session(), "mediaCount", 7),
    "media lost": lambda r, t: r.delete(t.session("media")),
    "media unreadable": lambda r, t: r.set(t.session("media"), "junk"),
    "a counter that is no number": lambda r, t: r.hset(
        t.session("stats"), "opens", "x"
    ),
    "a day's counter that is none": lambda r, t: r.hset(
        t.session("daily"), f"{DAY}:opens", "x"
    ),
    "a referrer's counter that is none": lambda r, t: r.hset(
        t.session("referrers"), "news.example", "x"
    ),
    "a referral counter that is none": lambda r, t: r.hset(
        t.user("referrals"), "clicks:direct", "x"
    ),
    "a link's counter that is none": lambda r, t: r.hset(
        t.session("links"), f"{t.code}:opens", "x"
    ),
    "visitors kept for good": lambda r, t: r.persist(t.session(f"visitors:{DAY}")),
    "visitors unreadable": lambda r, t: r.set(
        t.session(f"visitors:{DAY}"), "junk", ex=60
    ),
    "visitors emptied": lambda r, t: r.set(t.session(f"visitors:{DAY}"), "", ex=60),
    "a day's key kept for good": lambda r, t: r.persist(f"visitors:key:{DAY}"),
    "attempts kept for good": lambda r, t: r.set("limits:login:x", 1),
    "a login kept for good": lambda r, t: r.persist("login:login"),
    "a login unreadable": lambda r, t: r.set("login:login", "junk", ex=60),
    "a sign-up unreadable": lambda r, t: r.rpush(t.user("signups"), "junk"),
    "a token unreadable": lambda r, t: r.hset(t.user("tokens"), "x", "junk"),
    "an account without an email": lambda r, t: r.hdel(t.user(), "email"),
    "a list that names nonsense": lambda r, t: r.zadd(t.user("sessions"), {"x": 1}),
    "sizes that are none": lambda r, t: r.hset(t.user("sizes"), "99", "x"),
}
KEYS = [
    "session:{<walk>}",
    *(f"session:{{<walk>}}:{part}" for part in SESSION_PARTS if part),
    f"session:{{<walk>}}:visitors:{DAY}",
    f"session:{{<walk>}}:viewers:{DAY}",
    f"visitors:key:{DAY}",
    "signing-key",
    "probe",
    "user:{<owner>}",
    *(f"user:{{<owner>}}:{part}" for part in USER_PARTS if part != "played"),
    f"user:{{<owner>}}:clickers:{DAY}",
    "<email>",
    "referral:<referral>",
    "token:<token>",
    "login:login",
    "awaited:<awaited>",
]


def put(redis, key: str, kind: str) -> None:
    """A key of this type, with something in it."""
    {
        "string": lambda: redis.set(key, "1"),
        "hash": lambda: redis.hset(key, OTHER, "*"),
        "list": lambda: redis.rpush(key, "1"),
        "zset": lambda: redis.zadd(key, {"1": 1}),
        "hyperloglog": lambda: redis.pfadd(key, "somebody"),
    }[kind]()


def assert_found(town: Town, hurt) -> str:
    """Clean before; then found, told by its key, and left alone; what was told."""
    assert town.check() == CLEAN
    hurt()
    before = contents(town.redis)
    status, said = town.check()
    assert status == 1
    assert re.search(
        r"^\S+:\S+|importing|journal .+\n(?s:.*)^[1-9]\d* broken, 0 mended\n\Z",
        said,
        re.M,
    )
    assert contents(town.redis) == before
    return said


def assert_mended(town: Town, hurt) -> None:
    """Found; then mended, told, and clean."""
    assert_found(town, hurt)
    status, said = town.check("--repair")
    *told, last = said.splitlines()
    assert status == 0, said
    assert all(re.fullmatch(r"\S+ .+: mended", line) for line in told)
    assert re.fullmatch(r"0 broken, [1-9]\d* mended", last)
    assert town.check() == CLEAN


@pytest.mark.parametrize("broken", MENDED)
def test_check_mends_what_a_crash_can_leave(town, broken):
    assert_mended(town, lambda: MENDED[broken](town.redis, town))


@pytest.mark.parametrize("key", LEFT_OVER)
def test_check_mends_what_is_left_of_something_deleted(town, key):
    assert_mended(town, lambda: put(town.redis, key, LEFT_OVER[key]))
    assert not town.redis.exists(key)


def test_what_is_mended_works_again(town):
    """An account, an email and a link that were lost are there again."""
    for key in (email_key(town.owner.email), f"share:{town.code}"):
        town.redis.delete(key)
    town.redis.hdel(town.session("codes"), town.bound)
    assert town.check("--repair")[0] == 0
    assert town.store.account_by_email(town.owner.email).id == town.owner.id
    assert town.store.open_shared(town.code, Visit()).preview.title == "A walk"
    assert town.store.play_shared(town.bound, town.guest.id)
    assert town.store.read_login("login")
    assert town.store.token_owner(town.secret) == town.owner.id


@pytest.mark.parametrize("broken", NAMED)
def test_check_names_damage_that_takes_a_hand_in_redis(town, broken):
    assert_found(town, lambda: NAMED[broken](town.redis, town))
    before = contents(town.redis)
    status, said = town.check("--repair")
    assert status == 1, said
    assert contents(town.redis) == before


@pytest.mark.parametrize("name", KEYS)
def test_check_names_a_key_of_another_type(town, name):
    known = {
        "<walk>": str(town.walk),
        "<owner>": town.owner.id,
        "<email>": email_key(town.owner.email),
        "<referral>": town.owner.referral_code,
        "<token>": sha256(town.secret),
        "<awaited>": sha256(NEW),
    }
    key = re.sub("<.*?>", lambda match: known[match[0]], name)
    town.redis.delete(key)
    another = "list" if town.redis.type(key) != b"list" else "hash"
    put(town.redis, key, "hash" if name.endswith("signups") else another)
    for options in ((), ("--repair",), ()):
        status, said = town.check(*options)
        assert status == 1
        assert f"{key} is of another type than it should be\n" in said


@pytest.mark.parametrize("command", ["exists", "hvals", "hgetall", "zscore", "get"])
def test_check_mends_nothing_by_what_redis_would_not_tell(town, engine, command):
    """As by a user that may not ask, or by a Cluster's node that does not serve."""
    rights = ["~*", "&*", "+@all", f"-{command}", ">secret", "on"]
    town.redis.execute_command("ACL SETUSER", "limited", "reset", *rights)
    url = engine.url.replace("redis://", "redis://limited:secret@")
    before = contents(town.redis)
    try:
        result = Town(Engine(url, town.redis)).run("check", "--repair")
    finally:
        town.redis.acl_deluser("limited")
    assert result.exit_code == 1
    # A script that asks is not told by name that it is the user who may not.
    told = "its user may not do what is needed|refuses a command: .* rights[?]"
    assert re.search(f"Error: Redis does not serve: ({told})\n$", result.stderr)
    assert contents(town.redis) == before


@pytest.mark.parametrize(
    ("command", "denied"),
    [("check", "dbsize"), ("check", "scan"), ("report", "dbsize"), ("report", "info")],
)
def test_a_command_that_redis_does_not_answer_says_so_in_a_line(
    town, engine, command, denied
):
    rights = ["~*", "&*", "+@all", f"-{denied}", ">secret", "on"]
    town.redis.execute_command("ACL SETUSER", "limited", "reset", *rights)
    url = engine.url.replace("redis://", "redis://limited:secret@")
    try:
        result = Town(Engine(url, town.redis)).run(command)
    finally:
        town.redis.acl_deluser("limited")
    assert result.exit_code == 1
    # A script that asks is not told by name that it is the user who may not.
    told = "its user may not do what is needed|refuses a command: .* rights[?]"
    assert re.search(f"Error: Redis does not serve: ({told})\n$", result.stderr)


def test_check_leaves_alone_what_belongs_to_others(engine):
    """Another application on the same Redis, and another prefix."""
    theirs = {f"share:{OTHER}": "9", "session:{9}:media": "x", "theirs:share:1": "9"}
    engine.client.mset(theirs)
    town = Town(engine, "ours:")
    town.settle_in()
    assert town.check("--repair") == CLEAN
    assert engine.client.mget(theirs) == [value.encode() for value in theirs.values()]
    engine.client.set(f"ours:share:{OTHER}", 9)
    status, said = town.check()
    assert (status, said.splitlines()[0]) == (
        1,
        f"share:{OTHER} leads to a session that is gone",
    )


EVERY_COMMAND = [
    ("check", "--repair"),
    ("report",),
    ("list-users",),
    ("create-user", "--email", NEW, "--name", "", "--password", "long enough"),
    ("set-password", "owner@example.com", "--password", "long enough"),
    ("delete-user", "owner@example.com", "--yes"),
]


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda command: command[0])
@pytest.mark.parametrize("schema", ["3", "x", b"\xff"])
def test_every_command_refuses_data_that_it_does_not_know(town, command, schema):
    town.redis.set("schema", schema)
    before = contents(town.redis)
    result = town.run(*command)
    assert result.exit_code == 1
    assert result.stdout == ""
    wanted = "Error: Redis does not serve: data of schema ., which is not known\n"
    assert re.fullmatch(wanted, result.stderr)
    assert contents(town.redis) == before


@pytest.mark.parametrize("command", EVERY_COMMAND[:3], ids=lambda command: command[0])
def test_commands_that_only_look_write_nothing_into_an_empty_store(engine, command):
    assert Town(engine).run(*command).exit_code == 0
    assert engine.client.keys() == []


def test_an_account_that_a_command_makes_is_data_of_this_version(engine):
    assert create(Town(engine)).exit_code == 0
    assert engine.client.get("schema") == b"2"


def test_check_goes_on_where_all_keys_of_a_session_are_of_another_type(town):
    parts = [town.session(part) for part in SESSION_PARTS]
    for key in parts:
        town.redis.delete(key)
        town.redis.sadd(key, "x")
    for options in ((), ("--repair",), ()):
        status, said = town.check(*options)
        assert status == 1
        for key in parts:
            assert f"{key} is of another type than it should be\n" in said


def test_what_is_left_is_told_beside_what_was_mended(town):
    town.redis.set(f"share:{OTHER}", 99)
    town.redis.hdel(town.session(), "title")
    status, said = town.check("--repair")
    assert status == 1
    assert said.splitlines() == [
        f"share:{OTHER} leads to a session that is gone: mended",
        f"{town.session()} cannot be read",
        "1 broken, 1 mended",
    ]


# On each engine.


@pytest.fixture(scope="module")
def engines(redis_server, tmp_path_factory):
    """Makes the engine of a name, once."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = kinds[name](tmp_path_factory.mktemp(name))
        server = made[name]
        master = getattr(server, "master", server)
        if name == "cluster":
            server.flush()
        else:
            master.client.flushall()
        return Engine(server.url, master.client)

    kinds = {"redis": lambda _: redis_server, "sentinel": Sentinels, "cluster": Cluster}
    yield get
    for name in made.keys() - {"redis"}:
        made[name].__exit__()


@pytest.fixture(params=["redis", "sentinel", "cluster"])
def any_town(engines, request):
    """The same on every engine."""
    made = Town(engines(request.param))
    made.settle_in()
    return made


def create(town: Town, email=NEW, name="New", password="long enough"):
    given = ("--email", email, "--name", name, "--password", password)
    return town.run("create-user", *given)


def sign_in(town: Town, email: str, password: str) -> Visitor:
    """A browser in which somebody has tried to sign in."""
    person = Visitor(town.app)
    given = {"email": email, "password": password}
    person.status = person.post("/api/login", json=given).status_code
    return person


def test_create_user_makes_an_account_that_can_sign_in(any_town):
    result = create(any_town, name=" New ")
    assert result.exit_code == 0, result.output
    user = (
        sign_in(any_town, "NEW@example.com", "long enough").get("/api/auth/user").json
    )
    assert result.stdout == f"{user['id']} {NEW}\n"
    assert user["name"] == "New"
    # the link by email waited for this account
    assert any_town.store.play_shared(any_town.mailed, user["id"])
    assert any_town.check() == CLEAN


def test_list_users_tells_of_every_account(any_town):
    any_town.store.change_account(any_town.guest.id, {"name": "Gäst"})
    result = any_town.run("list-users")
    assert result.exit_code == 0, result.output
    rows = {tuple(line.split("\t")) for line in result.stdout.splitlines()}
    owner, guest = any_town.owner, any_town.guest
    assert rows == {
        (owner.id, owner.email, "Owner", "2", DAY, DAY),
        (guest.id, guest.email, "Gäst", "0", DAY, "never"),
    }


def test_set_password_ends_every_login(any_town):
    person = sign_in(any_town, "owner@example.com", "long enough")
    assert person.get("/api/auth/user").status_code == 200
    new = ("--password", "another one")
    result = any_town.run("set-password", " OWNER@example.com ", *new)
    assert result.exit_code == 0, result.output
    assert person.get("/api/auth/user").status_code == 401
    assert sign_in(any_town, "owner@example.com", "long enough").status == 401
    assert sign_in(any_town, "owner@example.com", "another one").status == 200
    assert any_town.check() == CLEAN


def test_delete_user_takes_all_that_belongs_to_the_account(any_town):
    result = any_town.run("delete-user", "Owner@example.com", "--yes")
    assert result.exit_code == 0, result.output
    names = (any_town.owner.id, str(any_town.walk), any_town.code, "login:", "token:")
    keys = [key.decode() for key in contents(any_town.redis)]
    assert [key for key in keys if any(name in key for name in names)] == []
    assert sign_in(any_town, "owner@example.com", "long enough").status == 401
    assert sign_in(any_town, "guest@example.com", "long enough").status == 200
    assert any_town.check() == CLEAN


def test_check_finds_and_mends_on_every_engine(any_town):
    town, redis = any_town, any_town.redis

    def hurt():
        redis.delete(town.session())
        redis.set(email_key("x@x"), NOBODY)
        redis.sadd(f"awaited:{sha256('x@x')}", OTHER)

    assert_mended(town, hurt)
    keys = [key.decode() for key in contents(redis)]
    assert [key for key in keys if str(town.walk) in key or town.code in key] == []


def test_report_tells_what_there_is_and_what_it_takes(any_town):
    result = any_town.run("report")
    assert result.exit_code == 0, result.output
    told = result.stdout.splitlines()
    assert told[:5] == [
        "accounts: 2",
        "sessions: 2",
        "links: 5",
        "opens of 7 days: 1",
        "opens of 30 days: 1",
    ]
    keys, size = len(contents(any_town.redis)), r"\d+\.\d MB"
    ours = rf"Redis's memory: {size}, {size} of it in {keys} keys of ours"
    assert re.fullmatch(ours, told[5])
    assert {line.split()[4] for line in told[6:8]} == {
        str(any_town.walk),
        str(any_town.second),
    }
    owner = any_town.owner
    assert re.fullmatch(rf"large account: {size} {owner.id} {owner.email}", told[8])


UNREADABLE = {
    "sizes": lambda r, t: r.hset(t.user("sizes"), str(t.walk), "x"),
    "days": lambda r, t: r.hset(t.session("daily"), f"{DAY}:opens", "x"),
    "an account's record": lambda r, t: r.hset(t.user(), "email", b"\xff"),
    "an account's fields": lambda r, t: r.hset(t.user(), b"\xff", ""),
    "another type": lambda r, t: (
        r.delete(t.user("sizes")),
        r.set(t.user("sizes"), "x"),
    ),
}


@pytest.mark.parametrize("damage", UNREADABLE)
@pytest.mark.parametrize("command", ["report", "list-users"])
def test_what_cannot_be_read_is_passed_over(town, command, damage):
    """`check` names it."""
    UNREADABLE[damage](town.redis, town)
    result = town.run(command)
    assert result.exit_code == 0, result.output
    assert result.stdout
    assert town.check()[0] == 1


# What they refuse.


def test_create_user_asks_for_what_it_was_not_given(town):
    answers = f"{NEW}\nNew\nlong enough\nlong enough\n"
    result = town.run("create-user", input=answers)
    assert result.exit_code == 0
    assert "long enough" not in result.output


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"email": "nobody"}, "email must be an email address"),
        ({"email": ""}, "email must be an email address"),
        ({"password": "short"}, "password must have at least 8 "),
        ({"password": "password123"}, "password is one of the commonest"),
        ({"password": "x" * 201}, "password must have at most 200 "),
        ({"name": "x" * 101}, "name must have at most 100 "),
        ({"name": " "}, "name must be a line of text"),
        ({"email": "OWNER@example.com"}, "There is already an account"),
    ],
)
def test_create_user_refuses_what_the_api_refuses(town, given, told):
    before = contents(town.redis)
    result = create(town, **given)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {told}")
    assert len(result.stderr.splitlines()) == 1
    assert contents(town.redis) == before


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            ("set-password", "nobody@example.com", "--password", "long enough"),
            "User not",
        ),
        (("set-password", "owner@example.com", "--password", "short"), "password must"),
        (("delete-user", "nobody@example.com", "--yes"), "User not found"),
    ],
)
def test_a_command_that_cannot_be_done_says_so_in_one_line(town, command, told):
    before = contents(town.redis)
    result = town.run(*command)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {told}")
    assert len(result.stderr.splitlines()) == 1
    assert contents(town.redis) == before


def test_delete_user_asks_first(town):
    result = town.run("delete-user", "owner@example.com", input="n\n")
    assert result.exit_code == 1
    assert town.store.account(town.owner.id)
    assert town.run("delete-user", "owner@example.com", input="y\n").exit_code == 0
    assert not town.store.is_email_taken("owner@example.com")


# As processes: terminals, memory, and an environment that lacks something.


def flask(*command: str, app: str = "maintain", **env: str) -> subprocess.Popen:
    """One of the commands as its users run it."""
    return subprocess.Popen(
        [BIN / "flask", "--app", app, *command],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **env},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def at(redis_server):
    """The environment of a command on the real Redis."""
    return {"REDIS_URL": redis_server.url, "PUBLIC_URL": "http://127.0.0.1:8000"}


def errors(said: str) -> list[str]:
    """What a command wrote to standard error, but for the service's own log."""
    return [line for line in said.splitlines() if not line.startswith("{")]


COMMANDS = [
    ("maintain", "check"),
    ("joip_share", "report"),
    ("joip_share", "list-users"),
]


@pytest.mark.parametrize(("app", "command"), COMMANDS)
def test_each_command_is_there_where_the_readme_says(town, at, app, command):
    process = flask(command, app=app, **at)
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, bool(said)) == (0, True)


def test_a_command_without_redis_url_says_so_in_one_line():
    process = flask("check")
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert len(errors(said)) == 1
    assert "REDIS_URL" in said


@pytest.mark.parametrize(("app", "command"), COMMANDS)
def test_a_command_without_redis_says_so_in_one_line(at, app, command):
    url = f"redis://127.0.0.1:{free_port()}"
    process = flask(command, app=app, **at | {"REDIS_URL": url})
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert [line for line in errors(said) if "Redis does not serve" in line]
    assert "Traceback" not in said


def test_a_check_shows_its_progress_on_a_terminal(town, at):
    mine, its = pty.openpty()
    environ = {"PATH": os.environ["PATH"], "TERM": "xterm", **at}
    process = subprocess.run(
        [BIN / "flask", "--app", "maintain", "check"],
        cwd=ROOT,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=its,
        text=True,
        timeout=60,
        check=True,
    )
    shown = os.read(mine, 100_000).decode()
    os.close(its)
    os.close(mine)
    assert process.stdout == "0 broken, 0 mended\n"
    assert "checking" in shown
    assert "100%" in shown


def fill(town: Town, sessions: int, media_bytes: int) -> None:
    """Many sessions; their media do not compress."""
    fields = town.redis.hgetall(town.session())
    with town.redis.pipeline(transaction=False) as pipe:
        for number in range(1, 1 + sessions):
            pipe.hset(f"session:{{{number}}}", mapping=fields)
            pipe.set(f"session:{{{number}}}:media", os.urandom(media_bytes))
            pipe.zadd(town.user("sessions"), {str(number): number})
            if not number % 100:
                pipe.execute()
        pipe.execute()


@pytest.mark.parametrize("command", ["check", "report"])
def test_a_walk_asks_after_a_hundred_keys_at_once(town, command):
    """A read of Redis's is what one send has brought, 16 kB at most."""

    def reads() -> int:
        return town.redis.info("stats")["total_reads_processed"]

    fill(town, 600, media_bytes=10)
    before = reads()
    town.run(command)
    assert reads() - before < town.redis.dbsize() / 10


def peak_memory(*command: str, app: str, **env: str) -> int:
    """The most memory that a command took, in bytes."""
    process = flask(*command, app=app, **env)
    for stream in (process.stdout, process.stderr):
        stream.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss * 1024


@pytest.mark.parametrize(
    ("app", "command"), [("maintain", "check"), ("joip_share", "report")]
)
def test_a_walk_takes_bounded_memory(town, at, app, command):
    """With 60 MB in the store, not 20 MB more than with next to nothing."""
    allowed = peak_memory(command, app=app, **at) + (20 << 20)
    fill(town, 600, media_bytes=100_000)
    assert peak_memory(command, app=app, **at) < allowed
