"""Security headers on every kind of response, and what may be kept by whom."""

import re

import fakeredis
import pytest

import headers
import joip_share
from conftest import Visitor

KINDS = [
    ("GET", "/", 200),
    ("GET", "/login", 200),
    ("HEAD", "/login", 200),
    ("GET", "/shared/{code}", 200),
    ("GET", "/api/shared/{code}/preview", 200),
    ("GET", "/api/shared/{code}", 401),
    ("POST", "/api/shared/{code}/seen", 204),
    ("GET", "/shared/{code}/play", 303),
    ("GET", "/shared/nothing", 404),
    ("GET", "/oembed?url=x", 404),
    ("GET", "/oembed?url=x&format=xml", 501),
    ("GET", "/nowhere", 404),
    ("GET", "/shared//x", 404),
    ("GET", "", 200),
    ("GET", "/api/nowhere", 404),
    ("GET", "/static/nothing.js", 404),
    ("GET", "/static/", 404),
    ("OPTIONS", "/api/login", 200),
    ("PUT", "/api/login", 405),
    ("PUT", "/login", 405),
    ("POST", "/api/login", 415),
    ("POST", "/api/logout", 204),
    ("GET", "/api/openapi.json", 200),
    ("GET", "/healthz", 200),
    ("GET", "/readyz", 200),
    ("GET", "/metrics", 200),
    ("GET", "/broken", 500),
    ("GET", "/api/broken", 500),
]
OF_OWNER = [
    ("GET", "/", 200),
    ("GET", "/sessions/{id}", 200),
    ("GET", "/referrals", 200),
    ("GET", "/shared/{code}/play", 200),
    ("GET", "/login", 303),
    ("GET", "/api/auth/user", 200),
    ("GET", "/api/sessions", 200),
    ("GET", "/api/sessions/{id}/stats.csv", 200),
    ("GET", "/api/shared/{code}", 200),
    ("GET", "/api/sessions/one", 400),
    ("GET", "/sessions/2", 404),
]
CACHED = [
    ("GET", "/static/api.js", 200),
    ("HEAD", "/static/api.js", 200),
    ("GET", "/static/api.js", 304),
    ("GET", "/static/favicon.svg", 206),
]
MORE = {304: {"If-None-Match": "*"}, 206: {"Range": "bytes=0-9"}}


class Site:
    """An app with one shared session, its owner, and a stranger."""

    def __init__(self, public_url):
        settings = joip_share.Settings(public_url=public_url, ratelimit_enabled=False)
        app = joip_share.create_app(settings, fakeredis.FakeStrictRedis())
        for path in ("/broken", "/api/broken"):
            app.add_url_rule(path, path, lambda: 1 / 0)
        self.https = public_url.startswith("https:")
        self.stranger, self.owner = Visitor(app), Visitor(app)
        self.owner.sign_up()
        self.session_id = self.owner.make_session()
        self.code = self.owner.share(self.session_id)["shareCode"]

    def path(self, shape):
        """A path of the table, with the session's id and code."""
        return shape.format(code=self.code, id=self.session_id)

    def answer(self, person, method, path, status):
        """The answer, once its status is what was wanted."""
        given = MORE.get(status, {})
        answer = person.open(self.path(path), method=method, headers=given)
        assert answer.status_code == status
        return answer


@pytest.fixture(
    scope="module", params=["https://share.example", "http://127.0.0.1:8000"]
)
def site(request):
    return Site(request.param)


def is_guarded(site, answer):
    """Every header of the list, once; of those for what a browser shows, none on JSON,
    which no browser shows; HSTS under https only."""
    assert answer.headers.getlist("X-Content-Type-Options") == ["nosniff"]
    for name, value in headers.PAGE_HEADERS:
        wanted = [] if answer.mimetype == "application/json" else [value]
        assert answer.headers.getlist(name) == wanted, name
    transport = answer.headers.getlist("Strict-Transport-Security")
    assert transport == (["max-age=31536000"] if site.https else [])
    return True


@pytest.mark.parametrize(("method", "path", "status"), KINDS)
def test_every_kind_of_response_is_guarded_and_kept_by_nobody(
    site, method, path, status
):
    answer = site.answer(site.stranger, method, path, status)
    assert is_guarded(site, answer)
    assert answer.headers.getlist("Cache-Control") == ["no-store"]


@pytest.mark.parametrize(("method", "path", "status"), OF_OWNER)
def test_what_is_private_is_guarded_and_kept_by_nobody(site, method, path, status):
    answer = site.answer(site.owner, method, path, status)
    assert is_guarded(site, answer)
    assert answer.headers.getlist("Cache-Control") == ["no-store"]


@pytest.mark.parametrize(("method", "path", "status"), CACHED)
def test_static_files_are_guarded_and_kept_by_anyone(site, method, path, status):
    answer = site.answer(site.owner, method, path, status)
    assert is_guarded(site, answer)
    assert answer.headers.getlist("Cache-Control") == ["public, max-age=31536000"]
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "path",
    ["/shared/{code}", "/shared/nothing", "/api/shared/{code}/preview", "/login"],
)
def test_a_slash_too_many_leads_to_the_same_headers(site, path):
    """Links are put together of parts, and //shared/… opens what /shared/… does."""

    def told(slashes):
        asked = {"PATH_INFO": f"{slashes}{site.path(path)}"}
        answer = site.stranger.get("/", environ_overrides=asked)
        named = dict(answer.headers)
        del named["X-Request-ID"]
        return answer.status_code, {name: named[name] for name in sorted(named)}

    assert told("")[1]["X-Robots-Tag"] == "noindex"
    assert told("/") == told("//") == told("")


def test_the_address_of_a_static_file_changes_with_the_file(site):
    page = site.stranger.get("/login").text
    paths = re.findall(r"/static/[^\"]+", page)
    assert len(paths) > 2
    assert all(re.fullmatch(r"/static/[\w.-]+\?v=[0-9a-f]{12}", path) for path in paths)


def test_the_content_security_policy_is_strict():
    policy = {
        name: set(sources)
        for name, *sources in (
            directive.split()
            for directive in dict(headers.PAGE_HEADERS)[
                "Content-Security-Policy"
            ].split(";")
        )
    }
    assert policy["default-src"] == policy["base-uri"] == {"'none'"}
    assert policy["frame-ancestors"] == {"'none'"}
    for name in ("script-src", "style-src", "connect-src", "form-action"):
        assert policy[name] == {"'self'"}
    assert {"http:", "https:"} <= policy["img-src"]
    assert {"http:", "https:"} <= policy["media-src"]
    everything = set().union(*policy.values())
    assert not any("unsafe" in source or "*" in source for source in everything)


@pytest.mark.parametrize(
    ("person", "path"),
    [
        ("stranger", "/"),
        ("stranger", "/login"),
        ("stranger", "/shared/{code}"),
        ("stranger", "/nowhere"),
        ("owner", "/"),
        ("owner", "/sessions/{id}"),
        ("owner", "/referrals"),
        ("owner", "/shared/{code}/play"),
    ],
)
def test_no_page_has_what_the_policy_forbids(site, person, path):
    page = getattr(site, person).get(site.path(path)).text
    assert not re.search(r"<script(?![^>]* src=)|<style|<base\b|<iframe", page)
    assert not re.search(r"<[^>]*\s(style|on[a-z]+)\s*=", page)
    assert "javascript:" not in page
