"""Every route of the service, what it needs of Redis, and a world to call it in."""

from __future__ import annotations

import time
from typing import NamedTuple

import joip_share
from conftest import Visitor

NOTHING, READ, FREE, WRITE = "nothing", "a read", "a deletion", "a write"


class Route(NamedTuple):
    """One route; what it needs when the session's owner calls it, and a stranger."""

    method: str
    rule: str
    owner: str
    stranger: str
    json: dict[str, object] | None = None
    query: str = ""

    def path(self, base: str, session_id: int, code: str, referral_code: str) -> str:
        """The path and query for one shared session."""
        known = {
            "<base>": base,
            "<session_id>": str(session_id),
            "<code>": code,
            "<path:filename>": "favicon.svg",
            "<referral_code>": referral_code,
        }
        path = self.rule + self.query
        for name, value in known.items():
            path = path.replace(name, value)
        return path


NEWCOMER = {"email": "newcomer@example.com", "password": "long enough"}
OWNER = {"email": "owner@example.com", "password": "long enough"}

# In an order in which each may be called once: the owner deletes and signs out last.
ROUTES = [
    Route("GET", "/healthz", NOTHING, NOTHING),
    Route("GET", "/readyz", WRITE, WRITE),
    Route("GET", "/metrics", NOTHING, NOTHING),
    Route("GET", "/static/<path:filename>", NOTHING, NOTHING),
    Route("GET", "/api/openapi.json", NOTHING, NOTHING),
    Route("GET", "/api/auth/user", READ, NOTHING),
    Route("GET", "/api/sessions", READ, NOTHING),
    Route("POST", "/api/sessions", WRITE, NOTHING, {"title": "Another walk"}),
    Route("GET", "/api/sessions/<session_id>", READ, NOTHING),
    Route("PATCH", "/api/sessions/<session_id>", WRITE, NOTHING, {"title": "Ours"}),
    Route("POST", "/api/sessions/<session_id>/share", WRITE, NOTHING, {}),
    Route("GET", "/api/sessions/<session_id>/stats", READ, NOTHING),
    Route("GET", "/api/sessions/<session_id>/stats.csv", READ, NOTHING),
    Route("GET", "/api/shared/<code>/preview", WRITE, WRITE),
    Route("GET", "/api/shared/<code>", READ, NOTHING),
    Route("GET", "/api/shared/media/<code>", READ, NOTHING),
    Route("POST", "/api/shared/<code>/seen", WRITE, WRITE),
    Route("GET", "/api/referrals", READ, NOTHING),
    Route("GET", "/", READ, NOTHING),
    Route("GET", "/", READ, WRITE, query="?ref=<referral_code>"),
    Route("GET", "/sessions/new", READ, NOTHING),
    Route("GET", "/sessions/<session_id>", READ, NOTHING),
    Route("GET", "/referrals", READ, NOTHING),
    Route("GET", "/login", READ, NOTHING),
    Route("GET", "/register", READ, NOTHING),
    Route("GET", "/shared/<code>", WRITE, WRITE, query="?r=<referral_code>"),
    Route("GET", "/shared/<code>/play", READ, NOTHING),
    Route("GET", "/oembed", READ, READ, query="?url=<base>/shared/<code>"),
    Route("POST", "/api/register", WRITE, WRITE, NEWCOMER),
    Route("POST", "/api/login", WRITE, WRITE, OWNER),
    Route("DELETE", "/api/sessions/<session_id>", WRITE, NOTHING),
    Route("POST", "/api/logout", FREE, NOTHING),
]


class World:
    """An app, an owner with a shared session, and a stranger."""

    def __init__(self, settings: joip_share.Settings) -> None:
        self.app, self.base = joip_share.create_app(settings), settings.public_url
        self.owner, self.stranger = Visitor(self.app), Visitor(self.app)
        self.referral_code = self.owner.sign_up(**OWNER)["referralCode"]
        self.session_id = self.owner.make_session()
        self.code = self.owner.share(self.session_id)["shareCode"]

    def call(self, route: Route, who: str):
        """One request, timed, by a browser of its own, so that threads share none."""
        browser = Visitor(self.app)
        if who == "owner":
            cookie = self.owner.client.get_cookie("connect.sid")
            browser.client.set_cookie("connect.sid", cookie.value)
        path = route.path(self.base, self.session_id, self.code, self.referral_code)
        begun = time.monotonic()
        answer = browser.open(path, method=route.method, json=route.json)
        return answer, time.monotonic() - begun

    def stats(self) -> dict[str, int]:
        """The session's totals."""
        return self.owner.get(f"/api/sessions/{self.session_id}/stats").json["totals"]

    def check(self, *options: str):
        """`flask check`, as if the journal's patience had run out."""
        client, journal = self.app.store.connections.client, self.app.store.keys.journal
        for member in client.zrange(journal, 0, -1):
            client.zadd(journal, {member: 0})
        return self.app.test_cli_runner().invoke(args=["check", *options])
