"""The keys as they are spelled: another program, or a person with redis-cli, may rely
on these names."""

import hashlib
import re

import pytest

import joip_share
from conftest import Visitor

CODE = "0b8f6a52-3c1d-4e7a-9f25-6d1c8e0a4b37"


def test_each_key_is_spelled_as_the_contract_has_it():
    keys = joip_share.Keys()
    user = "7c9e1f4b0a2d4c5e8f3b6a1d2e9c0f47"
    assert keys.share(CODE) == f"share:{CODE}"
    assert keys.session(42) == "session:{42}"
    for part in ("media", "shares", "codes", "stats", "daily", "referrers"):
        assert keys.session(42, part) == f"session:{{42}}:{part}"
    assert keys.visitors(42, "2026-11-23") == "session:{42}:visitors:2026-11-23"
    assert keys.visitors_key("2026-11-23") == "visitors:key:2026-11-23"
    assert keys.user(user) == f"user:{{{user}}}"
    for part in ("sessions", "referrals", "signups"):
        assert keys.user(user, part) == f"user:{{{user}}}:{part}"
    assert keys.referral("k3v9x0qa") == "referral:k3v9x0qa"
    assert keys.email("ab12") == "email:ab12"
    assert keys.login == "login:"


def test_the_prefix_stands_before_every_key():
    bare, prefixed = joip_share.Keys(), joip_share.Keys("joip:")
    for name, *arguments in (
        ("share", CODE), ("session", 42), ("session", 42, "media"), ("user", "u"),
        ("user", "u", "sessions"), ("visitors", 42, "day"), ("visitors_key", "day"),
        ("referral", "k3v9x0qa"), ("email", "ab12"),
    ):  # fmt: skip
        key = getattr(bare, name)(*arguments)
        assert getattr(prefixed, name)(*arguments) == f"joip:{key}"
    assert prefixed.login == "joip:login:"


def test_all_of_a_sessions_keys_share_one_slot():
    keys = joip_share.Keys().slot(42, "2026-11-25")
    slots = {re.search(r"\{(.+?)\}", key)[1] for key in keys}
    assert slots == {"42"}


@pytest.fixture
def redis(real_redis):
    """The real one: what is in memory has a type of its own for a HyperLogLog."""
    return real_redis


@pytest.fixture
def used(redis):
    """A service that did a little of everything: the owner, the code, the session."""
    app = joip_share.create_app(joip_share.Settings(), redis)
    owner, guest = Visitor(app), Visitor(app)
    owner.user = owner.sign_up()
    session_id = owner.make_session()
    shared = owner.share(session_id)
    path = f"/shared/{shared['shareCode']}?r={shared['referralCode']}"
    news = {"Referer": "https://news.example/"}
    assert guest.get(path, headers=news).status_code == 200
    guest.post(f"/api/shared/{shared['shareCode']}/seen")
    guest.user = guest.sign_up("guest@example.com")
    assert guest.get(f"/api/shared/{shared['shareCode']}").status_code == 200
    return owner, guest, shared["shareCode"], session_id


def test_what_is_stored_has_the_contracts_names_and_types(redis, used):
    owner, _, code, session_id = used
    day = joip_share.today()
    mail = hashlib.sha256(b"owner@example.com").hexdigest()
    slot, user = f"session:{{{session_id}}}", f"user:{{{owner.user['id']}}}"
    sid = owner.client.get_cookie("connect.sid").value
    types = {
        f"share:{code}": b"string", slot: b"hash", f"{slot}:media": b"string",
        f"{slot}:shares": b"hash", f"{slot}:codes": b"hash", f"{slot}:stats": b"hash",
        f"{slot}:daily": b"hash", f"{slot}:referrers": b"hash",
        f"{slot}:visitors:{day}": b"string", f"visitors:key:{day}": b"string",
        user: b"hash", f"{user}:sessions": b"zset", f"{user}:referrals": b"hash",
        f"{user}:signups": b"list", f"referral:{owner.user['referralCode']}": b"string",
        f"email:{mail}": b"string", f"login:{sid}": b"string",
    }  # fmt: skip
    assert {key: redis.type(key) for key in types} == types


def test_what_the_keys_hold_is_what_the_contract_says(redis, used):
    owner, _, code, session_id = used
    slot = f"session:{{{session_id}}}"
    mail = hashlib.sha256(b"owner@example.com").hexdigest()
    user_id = owner.user["id"].encode()
    assert redis.get(f"share:{code}") == b"%d" % session_id
    assert redis.hgetall(f"{slot}:shares") == {b"*": code.encode()}
    assert redis.hgetall(f"{slot}:codes") == {code.encode(): b"*"}
    assert redis.get(f"email:{mail}") == user_id
    assert redis.get(f"referral:{owner.user['referralCode']}") == user_id
    mine = redis.zrange(f"user:{{{owner.user['id']}}}:sessions", 0, -1)
    assert mine == [b"%d" % session_id]


def test_only_what_is_of_a_day_or_a_login_expires(redis, used):
    day, two_days, week = joip_share.today(), 2 * 86_400, 7 * 86_400
    for key in redis.scan_iter():
        name, ttl = key.decode(), redis.ttl(key)
        if name.startswith("login:"):
            assert 0 < ttl <= week, name
        elif name.endswith(day):
            assert 0 < ttl <= two_days, name
        elif not name.startswith("limits"):
            assert ttl == -1, name


def test_nothing_stored_leads_back_to_a_person(redis, used):
    """No email and no address is in a key, no address and no browser in a counter."""
    names = b"\n".join(redis.scan_iter())
    assert b"@" not in names
    assert b"127.0.0.1" not in names
    for key in redis.scan_iter("session:*", _type="hash"):
        held = repr(redis.hgetall(key))
        assert "127.0.0.1" not in held
        assert "Mozilla" not in held


def test_after_a_deletion_no_key_names_the_session_or_its_codes(redis, used):
    owner, guest, code, session_id = used
    bound = owner.share(session_id, userId=guest.user["id"])["shareCode"]
    assert owner.delete(f"/api/sessions/{session_id}").status_code == 204
    left = [key.decode() for key in redis.scan_iter()]
    assert [key for key in left if f"{{{session_id}}}" in key] == []
    assert [key for key in left if code in key or bound in key] == []
