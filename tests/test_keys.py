"""The keys as they are spelled: another program, or a person with redis-cli, may rely
on these names."""

import hashlib
import re

import pytest
from redis.crc import key_slot

import joip_share
from clock import today
from conftest import World
from keys import Keys
from servers import ROOT

CODE = "0b8f6a52-3c1d-4e7a-9f25-6d1c8e0a4b37"
USER = "7c9e1f4b0a2d4c5e8f3b6a1d2e9c0f47"
DAY = "2026-11-23"
SPELLED = {
    "schema": lambda keys: keys.schema,
    "probe": lambda keys: keys.probe,
    "signing-key": lambda keys: keys.signing_key,
    f"share:{CODE}": lambda keys: keys.share(CODE),
    "session:{42}": lambda keys: keys.session(42),
    "session:{42}:codes": lambda keys: keys.session(42, "codes"),
    f"visitors:key:{DAY}": lambda keys: keys.visitors_key(DAY),
    f"user:{{{USER}}}": lambda keys: keys.user(USER),
    f"user:{{{USER}}}:logins": lambda keys: keys.user(USER, "logins"),
    "referral:k3v9x0qa": lambda keys: keys.referral("k3v9x0qa"),
    "email:ab12": lambda keys: keys.email("ab12"),
    "awaited:ab12": lambda keys: keys.awaited("ab12"),
    "login:xyz": lambda keys: keys.login("xyz"),
    "token:ab12": lambda keys: keys.token("ab12"),
    "limits:login:ab12": lambda keys: keys.attempts("login", "ab12"),
}
SESSION_KEYS = (
    "session:{42}",
    "session:{42}:media",
    "session:{42}:shares",
    "session:{42}:codes",
    "session:{42}:links",
    "session:{42}:stats",
    "session:{42}:daily",
    "session:{42}:referrers",
    "session:{42}:players",
    f"session:{{42}}:visitors:{DAY}",
    f"session:{{42}}:viewers:{DAY}",
)


@pytest.mark.parametrize("key", SPELLED)
def test_each_key_is_spelled_as_the_contract_has_it(key):
    assert SPELLED[key](Keys()) == key
    assert SPELLED[key](Keys("joip:")) == f"joip:{key}"


def test_a_sessions_keys_are_spelled_in_the_order_of_the_scripts_and_share_a_slot():
    assert Keys().session_keys(42, DAY) == SESSION_KEYS
    prefixed = Keys("joip:").session_keys(42, DAY)
    assert prefixed == tuple(f"joip:{key}" for key in SESSION_KEYS)
    assert len({key_slot(key.encode()) for key in prefixed}) == 1


def test_an_accounts_keys_share_a_slot():
    keys = Keys().user_keys(USER, "sessions", f"clickers:{DAY}")
    user = f"user:{{{USER}}}"
    assert keys == [user, f"{user}:sessions", f"{user}:clickers:{DAY}"]
    assert len({key_slot(key.encode()) for key in keys}) == 1


@pytest.fixture
def redis(real_redis):
    """The real one: what is in memory has a type of its own for a HyperLogLog."""
    return real_redis


@pytest.fixture
def used(redis):
    """A service that did a little of everything."""
    world = World.within(joip_share.create_app(joip_share.Settings(), redis))
    owner, guest, stranger = world.owner, world.guest, world.stranger
    news = {"Referer": "https://news.example/"}
    assert stranger.see(world.link, headers=news).status_code == 200
    world.credited = stranger.sign_up("third@example.com")
    assert guest.get(f"/api/shared/{world.code}").status_code == 200
    world.mailed = owner.share(world.session_id, email="new@example.com")["shareCode"]
    assert owner.post("/api/tokens", json={"name": "Laptop"}).status_code == 201
    wrong = {"email": "owner@example.com", "password": "wrong"}
    assert stranger.post("/api/login", json=wrong).status_code == 401
    assert stranger.get("/readyz").status_code == 200
    return world


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def documented():
    """The shape of each key and its type, as docs/design.md has them."""
    text = (ROOT / "docs" / "design.md").read_text()
    rows = re.findall(
        r"^\| `([^`|]+)` \| (string|hash|zset|set|list|Hyper\w+) \|", text, re.M
    )
    return {
        re.sub("<.*?>", "[^:{}]+", re.sub(r"([{}])", r"\\\1", shape)): kind
        for shape, kind in rows
    }


def test_what_is_stored_has_the_documented_names_and_types(redis, used):
    shapes = documented()
    found = set()
    for key in redis.scan_iter():
        [shape] = [s for s in shapes if re.fullmatch(s, key.decode())]
        kind = shapes[shape].replace("HyperLogLog", "string")
        assert redis.type(key).decode() == kind, key
        found.add(shape)
    assert found == shapes.keys()


def test_what_the_keys_hold_is_what_the_contract_says(redis, used):
    slot, code, mailed = f"session:{{{used.session_id}}}", used.code, used.mailed
    user_id = used.owner.user["id"].encode()
    mail = sha256("new@example.com")
    audiences = {b"*": code.encode(), b"mail:%s" % mail.encode(): mailed.encode()}
    assert redis.get(f"share:{code}") == b"%d" % used.session_id
    assert redis.hgetall(f"{slot}:shares") == audiences
    assert redis.hgetall(f"{slot}:codes") == {v: k for k, v in audiences.items()}
    assert redis.hget(f"{slot}:links", f"{code}:opens") == b"1"
    assert redis.hget(f"{slot}:links", f"{mailed}:email") == b"new@example.com"
    assert redis.smembers(f"awaited:{mail}") == {mailed.encode()}
    assert redis.get(f"email:{sha256('owner@example.com')}") == user_id
    assert redis.get(f"referral:{used.referral_code}") == user_id
    mine = redis.zrange(f"user:{{{used.owner.user['id']}}}:sessions", 0, -1)
    assert mine == [b"%d" % used.session_id]
    login = used.owner.client.get_cookie("connect.sid").value.encode()
    assert login in redis.zrange(f"user:{{{used.owner.user['id']}}}:logins", 0, -1)
    assert redis.get("schema") == b"2"


def test_only_what_is_of_a_day_or_a_login_expires(redis, used):
    for key in redis.scan_iter():
        name, ttl = key.decode(), redis.ttl(key)
        lives = [seconds for part, seconds in LIVES.items() if part in name]
        assert 0 < ttl <= lives[0] if lives else ttl == -1, name


LIVES = {  # part of a key's name → seconds
    "login:": 7 * 86_400,
    ":logins": 7 * 86_400,
    "limits:": 3600,
    "probe": 60,
    today(): 2 * 86_400,
}


def test_nothing_stored_leads_back_to_a_person(redis, used):
    """No email and no address is in a key, no address and no browser in a counter."""
    names = b"\n".join(redis.scan_iter())
    assert b"@" not in names
    assert b"127.0.0.1" not in names
    for key in redis.scan_iter("session:*", _type="hash"):
        held = repr(redis.hgetall(key))
        assert "127.0.0.1" not in held
        assert "Mozilla" not in held


def test_no_secret_is_stored(redis, used):
    """Passwords and tokens are kept by their hash."""
    secret = used.owner.post("/api/tokens", json={"name": "Script"}).json["token"]
    for key in redis.scan_iter():
        held = redis.dump(key)
        assert secret.encode() not in held
        assert b"long enough" not in held


def test_after_a_deletion_no_key_names_the_session_or_its_codes(redis, used):
    bound = used.owner.share(used.session_id, userId=used.guest.user["id"])["shareCode"]
    path = f"/api/sessions/{used.session_id}"
    assert used.owner.delete(path).status_code == 204
    left = [key.decode() for key in redis.scan_iter()]
    named = (f"{{{used.session_id}}}", used.code, used.mailed, bound, "awaited:")
    assert [key for key in left if any(name in key for name in named)] == []


def test_after_its_deletion_no_key_names_the_account_or_what_was_its(redis, used):
    owner, cookie = used.owner, used.owner.client.get_cookie("connect.sid").value
    secret = owner.post("/api/tokens", json={"name": "Script"}).json["token"]
    answer = owner.delete("/api/auth/user", json={"currentPassword": "long enough"})
    assert answer.status_code == 204, answer.text
    keys = [key.decode() for key in redis.scan_iter()]
    named = (
        owner.user["id"],
        used.referral_code,
        sha256("owner@example.com"),
        f"{{{used.session_id}}}",
        used.code,
        used.mailed,
        cookie,
        sha256(secret),
        "awaited:",
    )
    assert [key for key in keys if any(name in key for name in named)] == []
    pointers = ("share:", "email:", "referral:", "token:", "login:")
    held = [redis.get(key) for key in keys if key.startswith(pointers)]
    assert not any(owner.user["id"].encode() in each for each in held)
    assert b"%d" % used.session_id not in held
