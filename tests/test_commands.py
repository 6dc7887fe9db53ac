"""flask check, export, import and create-user."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from pathlib import Path

import pytest

import joip_share
from conftest import Visitor
from joip_share import MediaInput, NewSession, Visit
from servers import BIN, ROOT, contents, free_port, wait_for

DAY = joip_share.today()
OTHER = "0e5f1c7a-3b1d-4c55-9a57-2f6b1f0c9d11"  # a code that nobody was given
NOBODY = "f" * 32  # the id of no account


class Town:
    """A store with everything in it that a store can hold."""

    def __init__(self, redis, prefix: str = "") -> None:
        self.redis, self.prefix = redis, prefix
        port = redis.get_connection_kwargs()["port"]
        url = f"redis://127.0.0.1:{port}"  # a client of its own
        settings = joip_share.Settings(redis_url=url, key_prefix=prefix)
        self.app = joip_share.create_app(settings)
        self.store = self.app.store

    def settle_in(self) -> None:
        """Two accounts, two sessions, three links, and every counter there is."""
        self.owner = self.store.register("owner@example.com", "Owner", "a hash")
        self.guest = self.store.register("guest@example.com", "", "a hash")
        media = [MediaInput(f"https://example.org/{n}.jpg", caption="ö") for n in "abc"]
        for title in ("A walk", "Ein Spaziergang"):
            self.store.create_session(self.owner, NewSession(title, media=media))
        self.code = self.store.share(1, self.owner.id)
        self.bound = self.store.share(1, self.owner.id, self.guest.id)
        self.store.share(2, self.owner.id)
        self.store.visitor_key(DAY)
        visit = Visit(reason="", visitor=b"somebody", host="news.example")
        self.store.open_shared(self.code, visit, self.owner.referral_code)
        self.store.credit_signup(self.owner.id, self.code)
        self.store.credit_signup(self.owner.id, "")

    def run(self, *command: str, **options):
        """One of the commands, in this process."""
        return self.app.test_cli_runner().invoke(args=command, **options)

    def kept(self) -> dict[bytes, object]:
        """Everything that an export takes along, without the prefix."""
        kept = rb"(share|session|user|email|referral|visitors):"
        return {
            key.removeprefix(self.prefix.encode()): value
            for key, value in contents(self.redis, f"{self.prefix}*").items()
            if re.match(self.prefix.encode() + kept, key)
        }


@pytest.fixture
def town(real_redis):
    made = Town(real_redis)
    made.settle_in()
    return made


# flask check. Each way in which a store can be broken, by hand.

BREAKS = {
    "a link to no session": lambda r, t: r.set(f"share:{OTHER}", 99),
    "a link to nonsense": lambda r, t: r.set(f"share:{OTHER}", "x"),
    "a link to a session without it": lambda r, t: r.set(f"share:{OTHER}", 1),
    "a link to another session": lambda r, t: r.set(f"share:{t.code}", 2),
    "a lost link": lambda r, t: r.delete(f"share:{t.code}"),
    "a link not listed": lambda r, t: r.hdel("session:{1}:codes", t.code),
    "a link not chosen": lambda r, t: r.hdel("session:{1}:shares", "*"),
    "no list of links": lambda r, t: r.delete("session:{1}:codes"),
    "no choice of links": lambda r, t: r.delete("session:{1}:shares"),
    "a second link for all": lambda r, t: (
        r.hset("session:{1}:codes", OTHER, "*"), r.set(f"share:{OTHER}", 1)),
    "a session that lost its owner": lambda r, t: r.hset(
        "session:{1}", "userId", NOBODY),
    "a session that names no owner": lambda r, t: r.hdel("session:{1}", "userId"),
    "a session without a title": lambda r, t: r.hdel("session:{1}", "title"),
    "a session that is unreadable": lambda r, t: r.hset(
        "session:{1}", "intervalMin", "soon"),
    "a session deleted in part": lambda r, t: r.delete("session:{1}"),
    "a session not in its owner's list": lambda r, t: r.zrem(
        f"user:{{{t.owner.id}}}:sessions", 1),
    "a session out of place in the list": lambda r, t: r.zadd(
        f"user:{{{t.owner.id}}}:sessions", {"1": 7}),
    "a list that names no session": lambda r, t: r.zadd(
        f"user:{{{t.owner.id}}}:sessions", {"99": 99}),
    "a list that names another's session": lambda r, t: r.zadd(
        f"user:{{{t.guest.id}}}:sessions", {"1": 1}),
    "a list that names nonsense": lambda r, t: r.zadd(
        f"user:{{{t.owner.id}}}:sessions", {"x": 1}),
    "media miscounted": lambda r, t: r.hset("session:{1}", "mediaCount", 7),
    "media lost": lambda r, t: r.delete("session:{1}:media"),
    "media unreadable": lambda r, t: r.set("session:{1}:media", "junk"),
    "a counter that is no number": lambda r, t: r.hset(
        "session:{1}:stats", "opens", "many"),
    "a day's counter that is no number": lambda r, t: r.hset(
        "session:{1}:daily", f"{DAY}:opens", "many"),
    "a referrer's counter that is no number": lambda r, t: r.hset(
        "session:{1}:referrers", "news.example", "many"),
    "the last id too low": lambda r, t: r.set("session:last-id", 1),
    "the last id lost": lambda r, t: r.delete("session:last-id"),
    "the last id no number": lambda r, t: r.set("session:last-id", "many"),
    "visitors kept for good": lambda r, t: r.persist(f"session:{{1}}:visitors:{DAY}"),
    "visitors unreadable": lambda r, t: r.set(
        f"session:{{1}}:visitors:{DAY}", "junk", ex=60),
    "a day's key kept for good": lambda r, t: r.persist(f"visitors:key:{DAY}"),
    "a sign-up that is unreadable": lambda r, t: r.rpush(
        f"user:{{{t.owner.id}}}:signups", "junk"),
    "a referral counter that is no number": lambda r, t: r.hset(
        f"user:{{{t.owner.id}}}:referrals", "clicks:direct", "many"),
    "an account that was lost": lambda r, t: r.delete(f"user:{{{t.owner.id}}}"),
    "an email of no account": lambda r, t: r.set("email:" + "0" * 64, NOBODY),
    "an email of another's": lambda r, t: r.set("email:" + "0" * 64, t.guest.id),
    "an email lost": lambda r, t: r.delete(email_key("owner@example.com")),
    "an email taken over": lambda r, t: r.set(
        email_key("owner@example.com"), t.guest.id),
    "a referral code of no account": lambda r, t: r.set("referral:abcd1234", NOBODY),
    "a referral code of another": lambda r, t: r.set("referral:abcd1234", t.owner.id),
    "a referral code lost": lambda r, t: r.delete(f"referral:{t.owner.referral_code}"),
    "a referral code taken over": lambda r, t: r.set(
        f"referral:{t.owner.referral_code}", t.guest.id),
    "a journal that is unreadable": lambda r, t: r.zadd("journal", {"junk": 1}),
    "a journal with an unknown step": lambda r, t: r.zadd("journal", {'["x", 1]': 1}),
}  # fmt: skip

LEFT_OVER = {
    "session:{9}:media": "string",
    "session:{9}:shares": "hash",
    "session:{9}:codes": "hash",
    "session:{9}:stats": "hash",
    "session:{9}:daily": "hash",
    "session:{9}:referrers": "hash",
    f"session:{{9}}:visitors:{DAY}": "string",
    f"user:{{{NOBODY}}}:sessions": "zset",
    f"user:{{{NOBODY}}}:referrals": "hash",
    f"user:{{{NOBODY}}}:signups": "list",
}

OF_ANOTHER_TYPE = [
    "share:<code>", "session:{1}", "session:{1}:media", "session:{1}:shares",
    "session:{1}:codes", "session:{1}:stats", "session:{1}:daily",
    "session:{1}:referrers", f"session:{{1}}:visitors:{DAY}", "session:last-id",
    "visitors:key:" + DAY, "user:{<owner>}", "user:{<owner>}:sessions",
    "user:{<owner>}:referrals", "user:{<owner>}:signups", "<email>", "referral:<r>",
    "journal",
]  # fmt: skip


def email_key(email: str) -> str:
    return f"email:{joip_share.email_digest(email)}"


def put(redis, key: str, kind: str) -> None:
    """A key of this type, with something in it."""
    {
        "string": lambda: redis.set(key, "1"),
        "hash": lambda: redis.hset(key, OTHER, "*"),
        "list": lambda: redis.rpush(key, "1"),
        "zset": lambda: redis.zadd(key, {"1": 1}),
        "set": lambda: redis.sadd(key, "1"),
    }[kind]()


def assert_found_and_mended(town: Town, hurt) -> None:
    """Clean before; then found, told and left alone; then mended, told, and clean."""
    clean = (0, "0 broken, 0 mended\n")
    result = town.run("check")
    assert (result.exit_code, result.stdout) == clean
    hurt()
    hurt_store = contents(town.redis)

    found = town.run("check")
    assert found.exit_code == 1, found.output
    assert re.search(r"^[1-9]\d* broken, 0 mended\n\Z", found.stdout, re.MULTILINE)
    assert contents(town.redis) == hurt_store

    mended = town.run("check", "--repair")
    assert mended.exit_code == 0, mended.output
    *told, last = mended.stdout.splitlines()
    assert any(re.fullmatch(r"\S+ .+: mended", line) for line in told)
    assert re.fullmatch(r"0 broken, [1-9]\d* mended", last)

    again = town.run("check")
    assert (again.exit_code, again.stdout) == clean


@pytest.mark.parametrize("broken", BREAKS)
def test_check_finds_and_mends(town, broken):
    assert_found_and_mended(town, lambda: BREAKS[broken](town.redis, town))


@pytest.mark.parametrize("key", LEFT_OVER)
def test_check_finds_and_mends_what_is_left_of_something_deleted(town, key):
    assert_found_and_mended(town, lambda: put(town.redis, key, LEFT_OVER[key]))
    assert not town.redis.exists(key)


@pytest.mark.parametrize("name", OF_ANOTHER_TYPE)
def test_check_finds_and_mends_a_key_of_another_type(town, name):
    known = {
        "<code>": town.code, "<owner>": town.owner.id, "<r>": town.owner.referral_code,
        "<email>": email_key("owner@example.com"),
    }  # fmt: skip
    key = re.sub("<.*?>", lambda match: known[match[0]], name)

    def hurt():
        town.redis.delete(key)
        put(town.redis, key, "set")

    # `contents` cannot read a set, which is the point; so it is only counted.
    assert town.run("check").exit_code == 0
    hurt()
    assert town.run("check").exit_code == 1
    mended = town.run("check", "--repair")
    assert (mended.exit_code, mended.exception) == (0, None), mended.output
    assert town.run("check").exit_code == 0


@pytest.mark.parametrize(
    ("hurt", "told"),
    [
        (lambda r, t: r.hdel(f"user:{{{t.owner.id}}}", "email"), "cannot be read"),
        (lambda r, t: r.set("importing", "x"), "an import was cut short"),
    ],
)
def test_check_tells_what_it_cannot_mend_and_fails(town, hurt, told):
    hurt(town.redis, town)
    for _ in range(2):
        result = town.run("check", "--repair")
        assert result.exit_code == 1
        assert told in result.stdout


def test_check_leaves_alone_what_belongs_to_others(real_redis):
    """Another application on the same Redis, and another prefix."""
    theirs = {f"share:{OTHER}": "9", "session:{9}:media": "x", "theirs:share:1": "9"}
    real_redis.mset(theirs)
    town = Town(real_redis, "ours:")
    town.settle_in()
    result = town.run("check", "--repair")
    assert (result.exit_code, result.stdout) == (0, "0 broken, 0 mended\n")
    assert real_redis.mget(theirs) == [value.encode() for value in theirs.values()]
    real_redis.set(f"ours:share:{OTHER}", 9)
    assert town.run("check").exit_code == 1


# flask export and import.


def test_an_export_is_a_true_copy_under_another_prefix(real_redis, tmp_path):
    town, file = Town(real_redis, "from:"), str(tmp_path / "export.jsonl")
    town.settle_in()
    account = {"email": "third@example.com", "password": "long enough"}
    browser = Visitor(town.app)
    third = browser.sign_up(**account)
    assert browser.get("/readyz").status_code == 200
    assert town.run("export", file).exit_code == 0
    login = browser.client.get_cookie("connect.sid").value
    assert login not in Path(file).read_text()

    copy = Town(real_redis, "to:")
    assert copy.run("import", file).exit_code == 0
    assert copy.kept() == town.kept()
    fleeting = ("login:", "limits", "probe", "journal", "importing")
    names = [k.decode().removeprefix("to:") for k in real_redis.scan_iter("to:*")]
    assert [name for name in names if name.startswith(fleeting)] == []
    for name in names:
        ages = [real_redis.ttl(prefix + name) for prefix in ("from:", "to:")]
        assert abs(ages[0] - ages[1]) <= 5, name

    assert copy.run("check").exit_code == 0
    assert Visitor(copy.app).post("/api/login", json=account).json == third
    assert copy.store.share(1, town.owner.id) == town.code
    assert copy.store.create_session(town.owner, NewSession("Next")).id == 3


def test_an_export_goes_to_standard_output(town):
    result = town.run("export", "-")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(rows) == len(town.kept()) + 2
    assert "exported" in result.stderr


@pytest.fixture
def exported(real_redis, tmp_path):
    """The lines of an export; the store is empty again."""
    town, file = Town(real_redis), tmp_path / "whole.jsonl"
    town.settle_in()
    assert town.run("export", str(file)).exit_code == 0
    real_redis.flushall()
    return file.read_bytes().splitlines(keepends=True)


# What is done to the lines of a good export: nothing of it may be taken for whole.
SPOILED = {
    "empty": lambda lines: [],
    "another file": lambda lines: [b"hello\n"],
    "another JSON": lambda lines: [b'{"a": 1}\n'],
    "binary": lambda lines: [b"\x00\xff\xfe\n"],
    "without its first line": lambda lines: lines[1:],
    "without its last line": lambda lines: lines[:-1],
    "only its first line": lambda lines: lines[:1],
    "without a line between": lambda lines: [*lines[:2], *lines[3:]],
    "cut within a line": lambda lines: [*lines[:3], lines[3][:-9]],
    "with a key of another type": lambda lines: [
        lines[0], b'{"record":"key","key":"session:{1}","type":"hash","value":5}\n',
        *lines[2:]],
    "with a type that is none": lambda lines: [
        lines[0], b'{"record":"key","key":"session:{1}","type":"set","value":{}}\n',
        *lines[2:]],
    "with what is no base64": lambda lines: [
        lines[0],
        b'{"record":"key","key":"share:x","type":"string","value":{"base64":"%"}}\n',
        *lines[2:]],
    "with a login": lambda lines: [
        lines[0], b'{"record":"key","key":"login:x","type":"string","value":"{}"}\n',
        *lines[2:]],
}  # fmt: skip


@pytest.mark.parametrize("how", SPOILED)
def test_a_spoiled_export_is_refused_with_one_line(real_redis, exported, tmp_path, how):
    file = tmp_path / "spoiled.jsonl"
    file.write_bytes(b"".join(SPOILED[how](exported)))
    town = Town(real_redis)
    result = town.run("import", str(file))
    assert result.exit_code == 1
    *progress, told = result.stderr.splitlines()
    assert re.fullmatch("Error: .{10,100}", told)
    assert set(progress) <= {"importing"}
    assert not any(real_redis.scan_iter("login:*"))
    # It is not taken for a whole store, and the whole file may follow.
    begun = bool(real_redis.dbsize())
    assert town.run("check").exit_code == begun
    (tmp_path / "whole.jsonl").write_bytes(b"".join(exported))
    assert town.run("import", str(tmp_path / "whole.jsonl")).exit_code == 0
    assert town.run("check").exit_code == 0


def test_import_refuses_a_store_that_is_not_empty(town, tmp_path):
    file = str(tmp_path / "export.jsonl")
    town.run("export", file)
    town.store.update_session(1, town.owner.id, joip_share.SessionPatch(title="Newer"))
    before = contents(town.redis)
    result = town.run("import", file)
    assert result.exit_code == 1
    assert "Error: the store is not empty" in result.stderr
    assert contents(town.redis) == before


def test_import_refuses_a_file_that_is_not_there(town):
    result = town.run("import", "/nowhere/export.jsonl")
    assert result.exit_code != 0
    assert "No such file" in result.stderr


# As processes: signals, terminals, memory, and an environment that lacks something.


def flask(*command: str, **env: str) -> subprocess.Popen:
    """One of the commands as its users run it."""
    return subprocess.Popen(
        [BIN / "flask", "--app", "joip_share", *command],
        cwd=ROOT, env={"PATH": os.environ["PATH"], **env}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.fixture
def at(redis_server):
    """The environment of a command on the real Redis."""
    return {"REDIS_URL": redis_server.url, "PUBLIC_URL": "http://127.0.0.1:8000"}


def errors(said: str) -> list[str]:
    """What a command wrote to standard error, but for the service's own log."""
    return [line for line in said.splitlines() if not line.startswith("{")]


def test_a_command_without_redis_url_says_so_in_one_line():
    process = flask("check")
    _, said = process.communicate(timeout=20)
    assert process.returncode != 0
    assert len(errors(said)) == 1
    assert "REDIS_URL" in said


def test_a_command_without_redis_says_so_in_one_line(at):
    url = f"redis://127.0.0.1:{free_port()}"
    process = flask("check", **at | {"REDIS_URL": url})
    _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert [line for line in errors(said) if "Redis does not serve" in line]
    assert "Traceback" not in said


def fill(redis, sessions: int, media_bytes: int = 100) -> None:
    """A store of many sessions; its media do not compress."""
    town = Town(redis)
    town.settle_in()
    fields = redis.hgetall("session:{2}")
    with redis.pipeline(transaction=False) as pipe:
        for number in range(3, 3 + sessions):
            pipe.hset(f"session:{{{number}}}", mapping=fields)
            pipe.set(f"session:{{{number}}}:media", os.urandom(media_bytes))
            pipe.zadd(f"user:{{{town.owner.id}}}:sessions", {str(number): number})
            if not number % 100:
                pipe.execute()
        pipe.set("session:last-id", sessions + 2)
        pipe.execute()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_import_cut_short_can_be_run_again(real_redis, at, tmp_path, number):
    fill(real_redis, 500)
    town, file = Town(real_redis), str(tmp_path / "export.jsonl")
    assert town.run("export", file).exit_code == 0
    whole = town.kept()
    real_redis.flushall()
    process = flask("import", file, **at)
    wait_for(lambda: real_redis.dbsize() > 100)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode != 0
    assert len(town.kept()) < len(whole)
    assert town.run("check").exit_code == 1
    assert town.run("import", file).exit_code == 0
    assert town.kept() == whole


def test_a_check_shows_its_progress_on_a_terminal(town, at):
    mine, its = pty.openpty()
    environ = {"PATH": os.environ["PATH"], "TERM": "xterm", **at}
    process = subprocess.run(
        [BIN / "flask", "--app", "joip_share", "check"], cwd=ROOT, env=environ,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=its, text=True,
        timeout=20, check=True,
    )  # fmt: skip
    shown = os.read(mine, 100_000).decode()
    os.close(its)
    os.close(mine)
    assert process.stdout == "0 broken, 0 mended\n"
    assert "checking" in shown
    assert "100%" in shown


def peak_memory(*command: str, **env: str) -> int:
    """The most memory that a command took, in bytes."""
    process = flask(*command, **env)
    for stream in (process.stdout, process.stderr):
        stream.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss * 1024


def test_commands_take_bounded_memory(real_redis, at, tmp_path):
    """With 40 MB in the store, none takes 12 MB more than with nothing."""
    file = str(tmp_path / "export.jsonl")
    allowed = peak_memory("check", **at) + (12 << 20)
    fill(real_redis, 400, media_bytes=100_000)
    assert peak_memory("export", file, **at) < allowed
    assert peak_memory("check", **at) < allowed
    real_redis.flushall()
    assert peak_memory("import", file, **at) < allowed
    assert real_redis.dbsize() > 800


# flask create-user.


def create(town: Town, email="new@example.com", name="New", password="long enough"):
    return town.run(
        "create-user", "--email", email, "--name", name, "--password", password
    )


def test_create_user_makes_an_account_that_can_sign_in(town):
    result = create(town, name=" New ")
    assert result.exit_code == 0
    given = {"email": "NEW@example.com", "password": "long enough"}
    user = Visitor(town.app).post("/api/login", json=given).json
    assert result.stdout == f"{user['id']} new@example.com\n"
    assert user["name"] == "New"
    assert town.run("check").exit_code == 0


def test_create_user_asks_for_what_it_was_not_given(town):
    answers = "new@example.com\nNew\nlong enough\nlong enough\n"
    result = town.run("create-user", input=answers)
    assert result.exit_code == 0
    assert "long enough" not in result.output


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"email": "nobody"}, "email must be an email address"),
        ({"email": ""}, "email must be an email address"),
        ({"email": "a@example.com\n"}, "email must be an email address"),
        ({"password": "short"}, "password must have at least 8 "),
        ({"password": "x" * 201}, "password must have at most 200 "),
        ({"name": "x" * 101}, "name must have at most 100 "),
        ({"name": " "}, "name must not be blank"),
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
