"""Data that version 1 has written are read: its small ids, its owner's name in each
session, links without times and counts of their own, logins that no account lists."""

import hashlib
import json
import time
import zlib

import pytest

import joip_share
import maintain
import passwords
from clock import today
from conftest import Visitor

OWNER, GUEST = "7c9e1f4b0a2d4c5e8f3b6a1d2e9c0f47", "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
CODE = "0b8f6a52-3c1d-4e7a-9f25-6d1c8e0a4b37"
BOUND = "1c9a7b63-4d2e-4f8b-8a36-7e2d9f1b5c48"
LOGIN = "A" * 43
SINCE = "2026-11-01T08:30:00Z"


def email_key(email):
    return f"email:{hashlib.sha256(email.encode()).hexdigest()}"


def write(redis):
    """Two accounts, two sessions, two links, a day of numbers, a login, and what only
    version 1 needed; spelled out as it spelled them."""
    password = passwords.generate_password_hash("long enough", "scrypt:1024:8:1")
    for user_id, email, name, code in (
        (OWNER, "owner@example.com", "Olga", "k3v9x0qa"),
        (GUEST, "guest@example.com", "", "z0z0z0z0"),
    ):
        account = {"id": user_id, "email": email, "name": name, "password": password}
        more = {"referralCode": code, "createdAt": SINCE}
        redis.hset(f"user:{{{user_id}}}", mapping=account | more)
        redis.set(email_key(email), user_id)
        redis.set(f"referral:{code}", user_id)
    media = [
        {"id": n + 1, "mediaUrl": f"https://example.org/{n}.jpg", "type": "image",
         "caption": None, "thumbnail": None, "order": n}
        for n in range(3)
    ]  # fmt: skip
    for number in (1, 2):
        session = {
            "title": f"Walk {number}", "intervalMin": 3, "intervalMax": 10,
            "transition": "fade", "userId": OWNER, "ownerName": "Olga as she was",
            "mediaCount": 3, "createdAt": SINCE, "updatedAt": SINCE,
        }  # fmt: skip
        redis.hset(f"session:{{{number}}}", mapping=session)
        packed = zlib.compress(json.dumps(media).encode(), 9)
        redis.set(f"session:{{{number}}}:media", packed)
        redis.zadd(f"user:{{{OWNER}}}:sessions", {str(number): number})
    redis.hset("session:{1}", "isPublic", 1)
    for code, audience in ((CODE, "*"), (BOUND, GUEST)):
        redis.set(f"share:{code}", 1)
        redis.hset("session:{1}:shares", audience, code)
        redis.hset("session:{1}:codes", code, audience)
    redis.hset(
        "session:{1}:stats", mapping={"opens": 5, "visitors": 3, "excluded:bot": 2}
    )
    daily = {f"{today()}:opens": 5, f"{today()}:visitors": 3}
    redis.hset("session:{1}:daily", mapping=daily)
    redis.hset("session:{1}:referrers", "news.example", 4)
    redis.pfadd(f"session:{{1}}:visitors:{today()}", "a", "b", "c")
    redis.expire(f"session:{{1}}:visitors:{today()}", 172_800)
    referrals = {"clicks:session_share": 7, "signups:session_share": 1}
    redis.hset(f"user:{{{OWNER}}}:referrals", mapping=referrals)
    row = {"createdAt": SINCE, "source": "session_share", "sessionId": 1}
    redis.rpush(f"user:{{{OWNER}}}:signups", json.dumps(row))
    redis.set(f"login:{LOGIN}", json.dumps({"userId": OWNER}), ex=600_000)
    redis.set("session:last-id", 2)
    redis.set("limits:key", b"x" * 32)
    step = json.dumps(["session", 2, OWNER])
    redis.zadd("journal", {step: int(time.time() * 1000)})


@pytest.fixture
def app(real_redis):
    write(real_redis)
    settings = joip_share.Settings(ratelimit_enabled=False)
    return joip_share.create_app(settings, real_redis)


@pytest.fixture
def owner(app):
    """Who was signed in at version 1."""
    person = Visitor(app)
    person.client.set_cookie("connect.sid", LOGIN)
    return person


@pytest.fixture
def guest(app):
    person = Visitor(app)
    given = {"email": "guest@example.com", "password": "long enough"}
    assert person.post("/api/login", json=given).status_code == 200
    return person


def test_sessions_keep_their_ids_and_links(owner):
    listed = owner.get("/api/sessions").json
    assert [row["id"] for row in listed] == [2, 1]
    answer = owner.get("/api/sessions/1").json
    assert answer["session"]["title"] == "Walk 1"
    assert len(answer["media"]) == 3
    shares = {each["shareCode"]: each for each in answer["shares"]}
    assert shares.keys() == {CODE, BOUND}
    assert shares[BOUND]["userId"] == GUEST
    assert {(each["createdAt"], each["opens"]) for each in shares.values()} == {
        (SINCE, 0)
    }
    again = owner.post("/api/sessions/1/share").json
    assert again["shareCode"] == CODE


def test_links_open_and_show_their_owner_by_the_name_of_today(owner, guest, app):
    path = f"/api/shared/{CODE}/preview"
    assert Visitor(app).get(path).json["ownerName"] == "Olga"
    assert owner.patch("/api/auth/user", json={"name": "Olga S."}).status_code == 200
    assert Visitor(app).get(path).json["ownerName"] == "Olga S."
    assert guest.get(f"/api/shared/{BOUND}").json["session"]["title"] == "Walk 1"
    stranger = Visitor(app)
    stranger.sign_up("third@example.com")
    assert stranger.get(f"/api/shared/{BOUND}").status_code == 403


def test_numbers_go_on_from_where_they_were(owner, app):
    Visitor(app).get(f"/api/shared/{CODE}/preview?r=k3v9x0qa")
    stats = owner.get("/api/sessions/1/stats?days=1").json
    assert stats["totals"]["opens"] == 6
    assert stats["excluded"]["bot"] == 2
    assert stats["daily"][0]["opens"] == 6
    assert stats["referrers"] == [{"host": "news.example", "opens": 4}]
    [link] = [each for each in stats["links"] if each["shareCode"] == CODE]
    assert link["opens"] == 1
    report = owner.get("/api/referrals").json
    assert report["totals"] == {"clicks": 8, "signups": 1}
    assert report["history"][0]["sessionId"] == 1


def test_sessions_can_be_changed_and_new_ones_come_before_them(owner):
    change = {"media": [{"mediaUrl": "https://example.org/new.jpg"}]}
    assert owner.patch("/api/sessions/1", json=change).json["mediaCount"] == 1
    new = owner.make_session()
    assert new > 2
    assert [row["id"] for row in owner.get("/api/sessions").json] == [new, 2, 1]


def test_deleting_leaves_nothing(owner, real_redis):
    assert owner.delete("/api/sessions/1").status_code == 204
    names = [key.decode() for key in real_redis.scan_iter()]
    gone = ("session:{1}", "share:")
    assert [name for name in names if name.startswith(gone)] == []


def test_a_session_whose_change_was_refused_can_be_deleted(owner, real_redis):
    """Version 1 counted no bytes, so none are to be given back."""
    change = {"media": [{"mediaUrl": "https://example.org/new.jpg"}]}
    seen = {"If-Unmodified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"}
    answer = owner.patch("/api/sessions/1", json=change, headers=seen)
    assert answer.status_code == 409, answer.text
    assert owner.delete("/api/sessions/1").status_code == 204
    assert real_redis.hgetall(f"user:{{{OWNER}}}:sizes") == {b"total": b"0"}


def test_signing_out_everywhere_ends_a_login_of_version_1(owner, app):
    other = Visitor(app)
    given = {"email": "owner@example.com", "password": "long enough"}
    assert other.post("/api/login", json=given).status_code == 200
    assert owner.get("/api/auth/user").status_code == 200
    assert other.post("/api/logout", json={"everywhere": True}).status_code == 204
    assert owner.get("/api/auth/user").status_code == 401


def test_check_takes_away_what_only_version_1_needed_and_counts_the_rest(
    app, owner, real_redis, monkeypatch
):
    monkeypatch.setattr(maintain, "PAUSE", 0)
    left, mended = maintain.check(app.store, repair=True)
    assert left == []
    old = {each.name for each in mended if "version 1's" in each.what}
    assert old == {"session:last-id", "limits:key", "journal", f"login:{LOGIN}"}
    assert maintain.check(app.store) == ([], [])
    sizes = real_redis.hgetall(f"user:{{{OWNER}}}:sizes")
    packed = real_redis.strlen("session:{1}:media")
    assert sizes == {
        b"1": b"%d" % packed,
        b"2": b"%d" % packed,
        b"total": b"%d" % (2 * packed),
    }
    assert owner.get("/api/auth/user").status_code == 200
    assert owner.get("/api/sessions/1").json["session"]["title"] == "Walk 1"
