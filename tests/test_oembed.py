"""oEmbed 1.0 (https://oembed.com) of a share's URL."""

from urllib.parse import parse_qs, urlsplit

import pytest

import joip_share
from conftest import Visitor

HOST = "http://127.0.0.1:8000"  # PUBLIC_URL of the app under test


@pytest.fixture
def owner(place):
    """An owner with a shared session."""
    place.owner.session = place.owner.make_session(title="A <b>walk</b> & more")
    place.owner.code = place.owner.share(place.owner.session)["shareCode"]
    return place.owner


@pytest.fixture
def visitor(place):
    """A consumer of oEmbed."""
    return Visitor(place)


def test_a_share_url_is_described(owner, visitor):
    answer = visitor.get(
        "/oembed", query_string={"url": f"{HOST}/shared/{owner.code}", "format": "json"}
    )
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    told = answer.json
    assert (told["version"], told["type"]) == ("1.0", "link")
    assert told["title"] == "A <b>walk</b> & more"
    assert told["provider_url"] == f"{HOST}/"
    assert told["thumbnail_url"].startswith(f"{HOST}/static/")
    assert (told["thumbnail_width"], told["thumbnail_height"]) == (1200, 630)
    assert owner.user["id"] not in answer.text
    assert "owner@example.com" not in answer.text
    assert "example.org/0.jpg" not in answer.text


OURS = [
    "{host}/shared/{code}",
    "{host}/shared/{code}?r=abcdefgh&utm_source=x",
    "{host}/shared/{code}#top",
    "HTTP://127.0.0.1:8000/shared/{code}",
    "{host}/shared/{CODE}",
]


@pytest.mark.parametrize("url", OURS)
def test_every_spelling_of_the_share_url_will_do(owner, visitor, url):
    url = url.format(host=HOST, code=owner.code, CODE=owner.code.upper())
    answer = visitor.get("/oembed", query_string={"url": url})
    assert answer.status_code == 200, answer.text


FOREIGN = [
    "",
    "{code}",
    "/shared/{code}",
    "//127.0.0.1:8000/shared/{code}",
    "https://127.0.0.1:8000/shared/{code}",
    "http://127.0.0.1/shared/{code}",
    "http://127.0.0.1:80000/shared/{code}",
    "http://127.0.0.1:8000.evil.example/shared/{code}",
    "http://127.0.0.1:8000@evil.example/shared/{code}",
    "http://evil.example/shared/{code}",
    "http://evil.example/?{host}/shared/{code}",
    "http://[evil/shared/{code}",
    "{host}/shared/{code}/play",
    "{host}/shared/{code}/",
    "{host}/shared/",
    "{host}/shared/00000000-0000-4000-8000-000000000000",
    "{host}/sessions/1",
    "{host}//shared/{code}",
    "{host}/x/../shared/{code}",
    "file:///etc/passwd",
    "http://127.0.0.1:8000/shared/\udcff",
]


@pytest.mark.parametrize("url", FOREIGN)
def test_other_urls_are_not_found(owner, visitor, url):
    given = url.format(host=HOST, code=owner.code).encode("utf-8", "surrogatepass")
    answer = visitor.get("/oembed", query_string={"url": given})
    assert answer.status_code == 404
    assert answer.json["message"] == "Shared session not found"


def test_without_a_url_nothing_is_found(visitor):
    assert visitor.get("/oembed").status_code == 404


@pytest.mark.parametrize("wanted", ["xml", "XML", "text"])
def test_only_json_is_offered(owner, visitor, wanted):
    for url in (f"{HOST}/shared/{owner.code}", "http://evil.example/"):
        answer = visitor.get("/oembed", query_string={"url": url, "format": wanted})
        assert (answer.status_code, answer.json["code"]) == (501, "NOT_IMPLEMENTED")


@pytest.mark.parametrize(
    ("limits", "fits"),
    [
        ("maxwidth=1200&maxheight=630", True),
        ("maxwidth=1199", False),
        ("maxheight=629", False),
        ("maxwidth=0", False),
        ("maxwidth=wide&maxheight=", True),
    ],
)
def test_a_thumbnail_respects_the_consumers_limits(owner, visitor, limits, fits):
    answer = visitor.get(f"/oembed?url={HOST}/shared/{owner.code}&{limits}")
    assert answer.status_code == 200
    members = {name for name in answer.json if name.startswith("thumbnail")}
    sizes = {"thumbnail_url", "thumbnail_width", "thumbnail_height"}
    assert members == (sizes if fits else set())


def test_a_paused_and_a_deleted_session_are_not_found(owner, visitor):
    url = f"/oembed?url={HOST}/shared/{owner.code}"
    owner.patch(f"/api/sessions/{owner.session}", json={"isPublic": False})
    assert visitor.get(url).status_code == 404
    owner.share(owner.session)
    assert visitor.get(url).status_code == 200
    owner.delete(f"/api/sessions/{owner.session}")
    assert visitor.get(url).status_code == 404


def test_it_counts_nothing_and_remembers_nobody(owner, visitor):
    referral = owner.user["referralCode"]
    for method in ("GET", "HEAD"):
        answer = visitor.open(
            f"/oembed?url={HOST}/shared/{owner.code}%3Fr={referral}&r={referral}",
            method,
        )
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
    told = owner.get(f"/api/sessions/{owner.session}/stats").json
    assert not any((told["totals"] | told["excluded"]).values())
    assert owner.get("/api/referrals").json["totals"]["clicks"] == 0


def test_the_preview_page_names_it(owner, visitor):
    page = visitor.get(f"/shared/{owner.code}").text
    tag = page.partition('type="application/json+oembed"')[2].partition(">")[0]
    address = tag.partition('href="')[2].partition('"')[0].replace("&amp;", "&")
    parts = urlsplit(address)
    assert address.startswith(f"{HOST}/oembed?")
    assert parse_qs(parts.query)["url"] == [f"{HOST}/shared/{owner.code}"]
    assert visitor.get(f"{parts.path}?{parts.query}").status_code == 200


def test_under_a_path_only_urls_below_it_are_ours(redis):
    settings = joip_share.Settings(
        public_url="https://example.org/joip", ratelimit_enabled=False
    )
    app = joip_share.create_app(settings, redis)
    owner = app.store.register("owner@example.com", "Owner", "-")
    session = app.store.create_session(owner, joip_share.NewSession("A walk"))
    code = app.store.share(session.id, owner.id)
    visitor = Visitor(app)
    for base, status in (
        ("https://example.org/joip", 200),
        ("https://EXAMPLE.org/joip", 200),
        ("https://example.org", 404),
        ("https://example.org/other", 404),
    ):
        answer = visitor.get(f"/joip/oembed?url={base}/shared/{code}")
        assert answer.status_code == status
