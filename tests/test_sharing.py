"""Sharing: one code a session, a preview for anyone, playback for the signed in."""

import fakeredis
import pytest

import joip_share

PERSON = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0"}


@pytest.fixture
def app():
    return joip_share.create_app(joip_share.Settings(), fakeredis.FakeStrictRedis())


def signed_in(app, email):
    client = app.test_client()
    given = {"email": email, "password": "long enough"}
    assert client.post("/api/register", json=given).status_code == 201
    return client


def test_sharing_twice_returns_the_same_code(app):
    owner = signed_in(app, "owner@example.com")
    media = [{"mediaUrl": f"https://example.org/{n}.jpg"} for n in range(3)]
    owner.post("/api/sessions", json={"title": "A walk", "media": media})
    first = owner.post("/api/sessions/1/share")
    assert first.status_code == 200
    assert owner.post("/api/sessions/1/share").json == first.json


def test_a_deleted_session_is_gone_for_everyone(app):
    owner = signed_in(app, "owner@example.com")
    owner.post("/api/sessions", json={"title": "A walk"})
    code = owner.post("/api/sessions/1/share").json["shareCode"]
    stranger = app.test_client()
    assert stranger.get(f"/api/shared/{code}/preview", headers=PERSON).status_code == 200
    assert stranger.get(f"/api/shared/{code}").status_code == 401
    guest = signed_in(app, "guest@example.com")
    assert guest.get(f"/api/shared/{code}").json["session"]["title"] == "A walk"
    assert owner.delete("/api/sessions/1").status_code == 204
    assert guest.get(f"/api/shared/{code}").status_code == 404
    left = app.store.connections.client.keys("*session*") + app.store.connections.client.keys("share:*")
    assert left == [b"session:last-id"]
