"""Every route of the service, what it needs of Redis, and how it is called."""

from __future__ import annotations

from typing import NamedTuple

from conftest import Visitor, World

# What a call asks of Redis. A preview, a play and a click are only read where nothing
# is written, and a deletion also goes where Redis is full.
NOTHING, READ, FREE, WRITE = "nothing", "a read", "a deletion", "a write"


class Route(NamedTuple):
    """One route; what it needs when the session's owner calls it, and a stranger."""

    method: str
    rule: str
    owner: str
    stranger: str
    json: dict[str, object] | None = None
    form: dict[str, str] | None = None
    query: str = ""


NEWCOMER = {"email": "newcomer@example.com", "password": "long enough"}
ANOTHER = {"email": "another@example.com", "password": "long enough"}
OWNER = {"email": "owner@example.com", "password": "long enough"}
ASSETS = ("favicon.ico", "robots.txt", "manifest.webmanifest", "apple-touch-icon.png")

# In an order in which each may be called once: the owner deletes and signs out last.
ROUTES = [
    Route("GET", "/healthz", NOTHING, NOTHING),
    Route("GET", "/readyz", WRITE, WRITE),
    Route("GET", "/metrics", NOTHING, NOTHING),
    Route("GET", "/static/<path:filename>", NOTHING, NOTHING),
    Route("GET", f"/<any{ASSETS}:name>", NOTHING, NOTHING),
    Route("GET", "/.well-known/change-password", NOTHING, NOTHING),
    Route("GET", "/api/openapi.json", NOTHING, NOTHING),
    Route("GET", "/api/auth/user", READ, NOTHING),
    Route("PATCH", "/api/auth/user", FREE, NOTHING, {"name": "Ana"}),
    Route("GET", "/api/tokens", READ, NOTHING),
    Route("POST", "/api/tokens", WRITE, NOTHING, {"name": "Laptop"}),
    Route("GET", "/api/sessions", READ, NOTHING),
    Route("POST", "/api/sessions", WRITE, NOTHING, {"title": "Another walk"}),
    Route("GET", "/api/sessions/<session_id>", READ, NOTHING),
    Route("GET", "/api/sessions/<session_id>/media", READ, NOTHING),
    Route("PATCH", "/api/sessions/<session_id>", WRITE, NOTHING, {"title": "Ours"}),
    Route("POST", "/api/sessions/<session_id>/share", WRITE, NOTHING, {}),
    Route("GET", "/api/sessions/<session_id>/stats", READ, NOTHING),
    Route("GET", "/api/sessions/<session_id>/stats.csv", READ, NOTHING),
    Route("GET", "/api/shared/<code>/preview", READ, READ),
    Route("GET", "/api/shared/<code>", READ, NOTHING),
    Route("GET", "/api/shared/media/<code>", READ, NOTHING),
    Route("POST", "/api/shared/<code>/seen", READ, READ),
    Route("GET", "/api/referrals", READ, NOTHING),
    Route("GET", "/", READ, NOTHING),
    Route("GET", "/", READ, READ, query="?ref=<referral_code>"),
    Route("GET", "/account", READ, NOTHING),
    Route("GET", "/sessions/new", READ, NOTHING),
    Route("GET", "/sessions/<session_id>", READ, NOTHING),
    Route("GET", "/sessions/<session_id>/play", READ, NOTHING),
    Route("GET", "/sessions/<session_id>/qr/<code>", READ, NOTHING),
    Route("GET", "/referrals", READ, NOTHING),
    Route("GET", "/login", READ, NOTHING),
    Route("GET", "/register", READ, NOTHING),
    Route("GET", "/shared/<path:pasted>", READ, READ, query="?r=<referral_code>"),
    Route("GET", "/shared/<code>/play", READ, READ),
    Route("GET", "/oembed", READ, READ, query="?url=<base>/shared/<code>"),
    Route("POST", "/api/register", WRITE, WRITE, NEWCOMER),
    Route("POST", "/register", WRITE, WRITE, form=ANOTHER),
    Route("POST", "/api/login", FREE, FREE, OWNER),
    Route("POST", "/login", FREE, FREE, form=OWNER),
    Route("DELETE", "/api/tokens/<token_id>", FREE, NOTHING),
    Route("DELETE", "/api/sessions/<session_id>/shares/<code>", FREE, NOTHING),
    Route("DELETE", "/api/sessions/<session_id>", FREE, NOTHING),
    Route(
        "DELETE", "/api/auth/user", FREE, NOTHING, {"currentPassword": "long enough"}
    ),
    Route("POST", "/api/logout", FREE, NOTHING),
    Route("POST", "/logout", FREE, NOTHING),
]
# Whoever calls these gets another login, and loses the one that came along.
SIGN_IN = [
    ("POST", path) for path in ("/api/register", "/register", "/api/login", "/login")
]


class Caller:
    """Calls the routes in a world of its own, as its owner and as a stranger."""

    def __init__(self, app) -> None:
        self.app, self.world = app, World.within(app)
        self.cookie = self.world.owner.client.get_cookie("connect.sid").value
        token = self.world.owner.post("/api/tokens", json={"name": "Script"}).json
        self.names = {
            "<base>": app.settings.public_url,
            "<session_id>": str(self.world.session_id),
            "<code>": self.world.code,
            "<path:pasted>": self.world.code,
            "<token_id>": token["id"],
            "<path:filename>": "favicon.svg",
            f"<any{ASSETS}:name>": ASSETS[0],
            "<referral_code>": self.world.referral_code,
        }

    def call(self, route: Route, who: str):
        """One request by a browser of its own, so that threads share none."""
        browser = Visitor(self.app)
        if who == "owner" and (route.method, route.rule) not in SIGN_IN:
            browser.client.set_cookie("connect.sid", self.cookie)
        path = route.rule + route.query
        for name, value in self.names.items():
            path = path.replace(name, value)
        return browser.open(path, route.method, json=route.json, data=route.form)
