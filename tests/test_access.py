"""Every route, by everybody whom it may be asked by: the matrix of who may what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import fakeredis
import pytest

import joip_share
from conftest import Visitor
from joip_share import ROOT_FILES

PASSWORD, BEFORE = "long enough", "long before"
OWNER = "owner@example.com"
BY_PROXY = joip_share.Settings(
    auth_header="Remote-Email",
    auth_url="https://sso.example.org/",
    trusted_proxies=1,
    ratelimit_enabled=False,
)
FLEETING = (b"login:", b"visitors:key:", b"probe", b"signing-key")


# Who asks. The last five are nobody any more.

OWNERS = ("owner", "token", "proxy's header")
OTHERS = ("other", "bound by id", "bound by email")
NOBODIES = (
    "anonymous",
    "after sign-out everywhere",
    "after a changed password",
    "after deletion",
    "token after deletion",
    "token after it was taken back",
)
CALLERS = (*OWNERS, *OTHERS, *NOBODIES)


@dataclass
class Caller:
    """A browser or a script, and what it brings along."""

    app: joip_share.JoipShare
    cookie: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method, path, **body):
        browser = Visitor(self.app)
        if self.cookie:
            browser.client.set_cookie("connect.sid", self.cookie)
        return browser.open(path, method, headers=self.headers, **body)


class Town:
    """A slideshow with three links, and everybody who may ask for it.

    What one of them does is undone before the next one comes.
    """

    def __init__(self):
        self.redis = fakeredis.FakeStrictRedis()
        settings = joip_share.Settings(ratelimit_enabled=False)
        self.app = joip_share.create_app(settings, self.redis)
        self.callers = {"anonymous": Caller(self.app)}
        self._sign_everybody_up()
        self._share()
        self._end_some()
        self.kept = {key: self.redis.dump(key) for key in self.redis.scan_iter()}

    def _sign_everybody_up(self):
        self.owner = Visitor(self.app)
        self.owner.sign_up(OWNER, password=BEFORE)
        self._keep("after sign-out everywhere", self.owner)
        self.owner.post("/api/logout", json={"everywhere": True})
        for name in ("after a changed password", "owner"):
            self.owner = Visitor(self.app)
            self.owner.post("/api/login", json={"email": OWNER, "password": BEFORE})
            self._keep(name, self.owner)
        self.ids = {}
        for name in (*OTHERS, "after deletion"):
            person = Visitor(self.app)
            email = f"{name.replace(' ', '-')}@example.com"
            self.ids[name] = person.sign_up(email)["id"]
            self._keep(name, person)

    def _keep(self, name, person):
        cookie = person.client.get_cookie("connect.sid").value
        self.callers[name] = Caller(self.app, cookie)

    def _share(self):
        session_id = self.owner.make_session()
        audiences = {
            "general": {},
            "by id": {"userId": self.ids["bound by id"]},
            "by email": {"email": "bound-by-email@example.com"},
        }
        self.codes = {
            link: self.owner.share(session_id, **audience)["shareCode"]
            for link, audience in audiences.items()
        }
        self.names = {
            "<session_id>": str(session_id),
            "<path:filename>": "favicon.svg",
            f"<any{ROOT_FILES}:name>": ROOT_FILES[0],
        }

    def _end_some(self):
        self._token("token", "owner")
        taken_back = self._token("token after it was taken back", "owner")
        self.owner.delete(f"/api/tokens/{taken_back}")
        self.names["<token_id>"] = self._token("", "owner")
        self._token("token after deletion", "after deletion")
        deletion = {"currentPassword": PASSWORD}
        gone = self.callers["after deletion"].ask(
            "DELETE", "/api/auth/user", json=deletion
        )
        assert gone.status_code == 204
        change = {"password": PASSWORD, "currentPassword": BEFORE}
        assert self.owner.patch("/api/auth/user", json=change).status_code == 200
        proxied = {"Remote-Email": OWNER, "X-Forwarded-For": "192.0.2.1"}
        proxy = joip_share.create_app(BY_PROXY, self.redis)
        self.callers["proxy's header"] = Caller(proxy, headers=proxied)

    def _token(self, name, owner):
        made = self.callers[owner].ask("POST", "/api/tokens", json={"name": "x"}).json
        authorization = {"Authorization": f"Bearer {made['token']}"}
        self.callers[name] = Caller(self.app, headers=authorization)
        return made["id"]

    def ask(self, name, route, link):
        """What one of them is answered, in the town as it was."""
        self.redis.flushall()
        for key, value in self.kept.items():
            self.redis.restore(key, 0, value)
        path = route.rule + route.query
        codes = {"<code>": self.codes[link], "<path:pasted>": self.codes[link]}
        for part, value in (self.names | codes).items():
            path = path.replace(part, value)
        caller = self.callers[name]
        return caller.ask(route.method, path, json=route.json, data=route.form)

    def changed(self):
        """The keys that are not what they were."""
        now = {key: self.redis.dump(key) for key in self.redis.scan_iter()}
        keys = {key for key, _ in now.items() ^ self.kept.items()}
        return {key for key in keys if not key.startswith(FLEETING)}


@pytest.fixture(scope="module")
def town():
    return Town()


# What they ask for, and what they are answered.


class Answers(NamedTuple):
    """The status for each kind of caller. `meant` is that of a link for one account,
    for other accounts than that one and the owner's."""

    nobody: int
    owner: int
    other: int
    meant: int = 0

    def of(self, name, link):
        """The status for one caller and link."""
        if name in NOBODIES:
            return self.nobody
        if name in OWNERS:
            return self.owner
        for_somebody_else = link not in ("general", name.removeprefix("bound "))
        return self.meant if self.meant and for_somebody_else else self.other


class Route(NamedTuple):
    """One route, and what is sent to it."""

    method: str
    rule: str
    answers: Answers
    json: dict[str, object] | None = None
    form: dict[str, str] | None = None
    query: str = ""


FOR_ALL = Answers(200, 200, 200)
MINE = Answers(401, 200, 200)
OWNED = Answers(401, 200, 403)
MADE, ENDED = Answers(401, 201, 201), Answers(401, 204, 403)
PLAYED = Answers(401, 200, 200, meant=403)
PAGE_OF_MINE, OWNED_PAGE = Answers(303, 200, 200), Answers(303, 200, 403)
PLAYED_PAGE = Answers(303, 200, 200, meant=403)
ENTRANCE = Answers(200, 303, 303)
NEW = {"email": "new@example.com", "password": PASSWORD}
KNOWN = {"email": OWNER, "password": PASSWORD}
CONFIRMED = {"currentPassword": PASSWORD}

ROUTES = [
    Route("GET", "/healthz", FOR_ALL),
    Route("GET", "/readyz", FOR_ALL),
    Route("GET", "/metrics", FOR_ALL),
    Route("GET", "/static/<path:filename>", FOR_ALL),
    Route("GET", f"/<any{ROOT_FILES}:name>", FOR_ALL),
    Route("GET", "/.well-known/change-password", Answers(302, 302, 302)),
    Route("GET", "/api/openapi.json", FOR_ALL),
    Route("POST", "/api/register", Answers(201, 201, 201), NEW),
    Route("POST", "/register", Answers(303, 303, 303), form=NEW),
    Route("POST", "/api/login", FOR_ALL, KNOWN),
    Route("POST", "/login", Answers(303, 303, 303), form=KNOWN),
    Route("POST", "/api/logout", Answers(204, 204, 204)),
    Route("POST", "/logout", Answers(303, 303, 303)),
    Route("GET", "/api/auth/user", MINE),
    Route("PATCH", "/api/auth/user", MINE, {"name": "Ana"}),
    Route("DELETE", "/api/auth/user", Answers(401, 204, 204), CONFIRMED),
    Route("GET", "/api/tokens", MINE),
    Route("POST", "/api/tokens", MADE, {"name": "x"}),
    Route("DELETE", "/api/tokens/<token_id>", Answers(401, 204, 404)),
    Route("GET", "/api/sessions", MINE),
    Route("POST", "/api/sessions", MADE, {"title": "x"}),
    Route("GET", "/api/sessions/<session_id>", OWNED),
    Route("PATCH", "/api/sessions/<session_id>", OWNED, {"title": "x"}),
    Route("DELETE", "/api/sessions/<session_id>", ENDED),
    Route("GET", "/api/sessions/<session_id>/media", OWNED),
    Route("POST", "/api/sessions/<session_id>/share", OWNED),
    Route("DELETE", "/api/sessions/<session_id>/shares/<code>", ENDED),
    Route("GET", "/api/sessions/<session_id>/stats", OWNED),
    Route("GET", "/api/sessions/<session_id>/stats.csv", OWNED),
    Route("GET", "/api/shared/<code>/preview", FOR_ALL),
    Route("POST", "/api/shared/<code>/seen", Answers(204, 204, 204), {"token": "x"}),
    Route("GET", "/api/shared/<code>", PLAYED),
    Route("GET", "/api/shared/media/<code>", PLAYED),
    Route("GET", "/api/referrals", MINE),
    Route("GET", "/", FOR_ALL),
    Route("GET", "/login", ENTRANCE),
    Route("GET", "/register", ENTRANCE),
    Route("GET", "/account", PAGE_OF_MINE),
    Route("GET", "/referrals", PAGE_OF_MINE),
    Route("GET", "/sessions/new", PAGE_OF_MINE),
    Route("GET", "/sessions/<session_id>", OWNED_PAGE),
    Route("GET", "/sessions/<session_id>/play", OWNED_PAGE),
    Route("GET", "/sessions/<session_id>/qr/<code>", OWNED_PAGE),
    Route("GET", "/shared/<path:pasted>", FOR_ALL),
    Route("GET", "/shared/<code>/play", PLAYED_PAGE),
    Route("GET", "/oembed", FOR_ALL, query="?url=http://127.0.0.1:8000/shared/<code>"),
]
# Where the proxy signs people in, nobody does so here.
OWN_SIGN_IN = [
    ("POST", path)
    for path in ("/api/register", "/register", "/api/login", "/login", "/logout")
]


def rows():
    """Each route, and those of a link once for each kind of link."""
    for route in ROUTES:
        by_code = "<code>" in route.rule + route.query or "<path:pasted>" in route.rule
        for link in ("general", "by id", "by email") if by_code else ("general",):
            yield pytest.param(route, link, id=f"{route.method} {route.rule} {link}")


@pytest.mark.parametrize(("route", "link"), [*rows()])
def test_who_may_what(town, route, link):
    expected = {name: route.answers.of(name, link) for name in CALLERS}
    if (route.method, route.rule) in OWN_SIGN_IN:
        expected["proxy's header"] = 403
    answered, changed = {}, {}
    for name in CALLERS:
        answered[name] = town.ask(name, route, link).status_code
        changed[name] = town.changed() if answered[name] in (401, 403, 404) else set()
    assert answered == expected
    assert not any(changed.values()), changed


def test_every_route_has_its_place_in_the_matrix(town):
    rules = {
        (method, rule.rule)
        for rule in town.app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert {(route.method, route.rule) for route in ROUTES} == rules


def test_who_is_nobody_is_answered_as_a_stranger_is(town):
    """Also the pages that all may see: they greet nobody by name."""
    for route in ROUTES:
        if route.answers != FOR_ALL or route.rule in ("/metrics", "/api/login"):
            continue
        pages = set()
        for name in NOBODIES:
            answer = town.ask(name, route, "general")
            pages.add(answer.data.replace(answer.headers["X-Request-ID"].encode(), b""))
        assert len(pages) == 1, route.rule
