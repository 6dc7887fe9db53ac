"""oEmbed 1.0 (https://oembed.com) of a share's URL, and that it says what OpenGraph
says."""

import re
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import fakeredis
import pytest

import joip_share
from conftest import Visitor

HOST = "http://127.0.0.1:8000"  # PUBLIC_URL of the app under test


def shared(world, **given):
    """The code of a new session's link."""
    answer = world.owner.post("/api/sessions", json={"title": "A walk"} | given)
    assert answer.status_code == 201, answer.text
    world.session_id = answer.json["id"]
    world.code = world.owner.share(world.session_id)["shareCode"]
    return world.code


@pytest.fixture
def world(town):
    """The same people, with a session without a picture of its own."""
    shared(town, title="A <b>walk</b> & more", media=[
        {"mediaUrl": "https://example.org/0.mp4", "type": "video"}
    ])  # fmt: skip
    return town


def embed(world, url, **more):
    return world.stranger.get("/oembed", query_string={"url": url} | more)


def test_a_share_url_is_described(world):
    answer = embed(world, f"{HOST}/shared/{world.code}", format="json")
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    told = answer.json
    assert (told["version"], told["type"]) == ("1.0", "link")
    assert told["title"] == "A <b>walk</b> & more"
    assert told["provider_url"] == f"{HOST}/"
    assert told["url"] == f"{HOST}{world.link}"
    assert told["thumbnail_url"].startswith(f"{HOST}/static/")
    assert (told["thumbnail_width"], told["thumbnail_height"]) == (1200, 630)
    for secret in (world.owner.user["id"], "owner@example.com", "example.org/0"):
        assert secret not in answer.text
    assert str(world.session_id) not in answer.text


OURS = [
    "{host}/shared/{code}",
    "{host}/shared/{code}?r=abcdefgh&utm_source=x",
    "{host}/shared/{code}#top",
    "HTTP://127.0.0.1:8000/shared/{code}",
    "{host}/shared/{CODE}",
    "  {host}/shared/{code}  ",
    "{host}/shared/{code}/",
    "{host}/shared/{code}.",
    "{host}/shared/{code}%3Fr=abcdefgh",
]


@pytest.mark.parametrize("url", OURS)
def test_every_spelling_of_the_share_url_will_do(world, url):
    url = url.format(host=HOST, code=world.code, CODE=world.code.upper())
    answer = embed(world, url)
    assert answer.status_code == 200, answer.text
    assert answer.json["url"] == f"{HOST}{world.link}"


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
    "http://x@127.0.0.1:8000/shared/{code}",
    "http://evil.example/shared/{code}",
    "http://evil.example/?{host}/shared/{code}",
    "http://evil.example/{host}/shared/{code}",
    "http://[evil/shared/{code}",
    "{host}/shared/{code}/play",
    "{host}/shared/{code}x",
    "{host}/shared/",
    "{host}/shared/00000000-0000-4000-8000-000000000000",
    "{host}/sessions/1",
    "{host}/api/shared/{code}/preview",
    "{host}//shared/{code}",
    "{host}/x/../shared/{code}",
    "file:///etc/passwd",
    "http://127.0.0.1:8000/shared/\udcff",
]


@pytest.mark.parametrize("url", FOREIGN)
def test_other_urls_are_not_found(world, url):
    given = url.format(host=HOST, code=world.code).encode("utf-8", "surrogatepass")
    answer = embed(world, given)
    assert answer.status_code == 404
    assert answer.json["message"] == "Shared session not found"


def test_without_a_url_nothing_is_found(world):
    assert world.stranger.get("/oembed").status_code == 404


@pytest.mark.parametrize("wanted", ["xml", "XML", "text"])
def test_only_json_is_offered(world, wanted):
    for url in (f"{HOST}/shared/{world.code}", "http://evil.example/"):
        answer = embed(world, url, format=wanted)
        assert (answer.status_code, answer.json["code"]) == (501, "NOT_IMPLEMENTED")


def test_any_site_may_ask_without_cookies(world):
    for url, status in ((f"{HOST}/shared/{world.code}", 200), ("http://x/", 404)):
        answer = embed(world, url)
        assert answer.status_code == status
        assert answer.headers.getlist("Access-Control-Allow-Origin") == ["*"]
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert "Set-Cookie" not in answer.headers


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
def test_a_thumbnail_respects_the_consumers_limits(world, limits, fits):
    url = f"/oembed?url={HOST}/shared/{world.code}&{limits}"
    answer = world.stranger.get(url)
    assert answer.status_code == 200
    members = {name for name in answer.json if name.startswith("thumbnail")}
    sizes = {"thumbnail_url", "thumbnail_width", "thumbnail_height"}
    assert members == (sizes if fits else set())


def test_what_opens_nothing_is_not_found(world):
    url = f"{HOST}/shared/{world.code}"
    session = f"/api/sessions/{world.session_id}"
    world.owner.patch(session, json={"isPublic": False})
    for person in (world.stranger, world.owner):
        asked = person.get("/oembed", query_string={"url": url})
        assert asked.status_code == 404
    world.owner.share(world.session_id)
    assert embed(world, url).status_code == 200
    world.owner.delete(f"{session}/shares/{world.code}")
    assert embed(world, url).status_code == 404
    again = world.owner.share(world.session_id)["shareCode"]
    assert embed(world, f"{HOST}/shared/{again}").status_code == 200
    world.owner.delete(session)
    assert embed(world, f"{HOST}/shared/{again}").status_code == 404


def test_it_counts_nothing_and_remembers_nobody(world):
    referral = world.referral_code
    for method in ("GET", "HEAD"):
        answer = world.stranger.open(
            f"/oembed?url={HOST}/shared/{world.code}%3Fr={referral}&r={referral}",
            method,
        )
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
    told = world.owner.get(f"/api/sessions/{world.session_id}/stats").json
    assert not any((told["totals"] | told["excluded"]).values())
    assert world.owner.get("/api/referrals").json["totals"]["clicks"] == 0


# Two descriptions of one page


class Head(HTMLParser):
    """What a preview page's head says: metas by name or property, links by rel."""

    def __init__(self, page):
        super().__init__()
        self.said = {}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        have = dict(attributes)
        name = have.get("property") or have.get("name") or have.get("rel")
        if tag in ("meta", "link") and name:
            assert name in ("icon", "theme-color") or name not in self.said, name
            self.said[name] = have.get("content") or have.get("href")


LONG = "word " * 100
PICTURE = "https://bücher.example/two words/ü.jpg?a=[1]&b='x'"
SERIALIZED = "https://xn--bcher-kva.example/two%20words/%C3%BC.jpg?a=[1]&b=%27x%27"
ODD = {
    "plain": {},
    "described": {"description": "By the lake"},
    "long": {"description": LONG},
    "one long word": {"description": "x" * 2000},
    "lines and blanks": {"description": "  One\n\n two\t three  "},
    "emoji": {"title": "🌊" * 200, "description": "🌊" * 300},
    "markup": {"title": "<script>x</script> & \"co\" 'x'", "description": "</head>"},
    "right to left": {"title": "שלום עולם", "description": "مرحبا"},
    "a cover": {"thumbnail": PICTURE},
    "first image": {"media": [{"mediaUrl": PICTURE}]},
    "no cover": {"thumbnail": None, "media": [{"mediaUrl": PICTURE}]},
    "a film": {"media": [{"mediaUrl": "https://a.example/1.mp4", "type": "video"}]},
}


@pytest.mark.parametrize("given", ODD.values(), ids=ODD)
def test_oembed_says_what_opengraph_says(world, given):
    code = shared(world, **given)
    said = Head(world.stranger.get(f"/shared/{code}").text).said
    told = embed(world, f"{HOST}/shared/{code}").json
    assert told["title"] == said["og:title"] == said["twitter:title"]
    assert told["title"] == given.get("title", "A walk")
    described = said["og:description"]
    assert told["description"] == described == said["twitter:description"]
    assert described == said["description"]
    assert 0 < len(described) <= 200
    assert told["url"] == said["og:url"] == said["canonical"]
    assert told["url"] == f"{HOST}{world.link}"
    assert said["og:image"] == said["twitter:image"]
    sized = "og:image:width" in said
    assert sized == ("og:image:height" in said) == ("thumbnail_url" in told)
    if sized:
        assert told["thumbnail_url"] == said["og:image"]
        width, height = said["og:image:width"], said["og:image:height"]
        assert (told["thumbnail_width"], told["thumbnail_height"]) == (
            int(width), int(height)
        )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "image"),
    [("a cover", SERIALIZED), ("first image", SERIALIZED), ("no cover", "card"),
     ("a film", "card"), ("plain", "card")],
)  # fmt: skip
def test_the_picture_is_the_cover_or_else_the_card_and_a_uri(world, kind, image):
    code = shared(world, **ODD[kind])
    said = Head(world.stranger.get(f"/shared/{code}").text).said
    told = embed(world, f"{HOST}/shared/{code}").json
    if image == "card":
        assert re.fullmatch(rf"{HOST}/static/card\.png\?v=\w+", said["og:image"])
        assert told["thumbnail_url"] == said["og:image"]
        path = said["og:image"].removeprefix(HOST)
        assert world.stranger.get(path).mimetype == "image/png"
    else:
        assert said["og:image"] == image
        assert "thumbnail_url" not in told, "no stock picture where there is a cover"
    assert re.fullmatch(r"[!-~]+", said["og:image"])


def test_a_description_is_cut_at_200_characters_and_says_so(world):
    for text, told in ((LONG, 200), ("x" * 201, 200), ("x" * 200, 200), ("x", 1)):
        code = shared(world, description=text)
        described = embed(world, f"{HOST}/shared/{code}").json["description"]
        assert len(described) <= told
        assert described.endswith("…") is (len(text) > 200)
        assert text.startswith(described.rstrip("…"))


def test_a_page_names_its_oembed_which_answers(world):
    page = world.stranger.get(f"/shared/{world.code}").text
    tag = page.partition('type="application/json+oembed"')[2].partition(">")[0]
    address = tag.partition('href="')[2].partition('"')[0].replace("&amp;", "&")
    parts = urlsplit(address)
    assert address.startswith(f"{HOST}/oembed?")
    assert parse_qs(parts.query)["url"] == [f"{HOST}{world.link}"]
    answer = world.stranger.get(f"{parts.path}?{parts.query}")
    assert answer.json["url"] == f"{HOST}{world.link}"


@pytest.mark.parametrize("path", ["/joip", "/J", "/a/b"])
def test_under_a_path_only_urls_below_it_are_ours(path):
    settings = joip_share.Settings(
        public_url=f"https://j.example{path}", ratelimit_enabled=False
    )
    app = joip_share.create_app(settings, fakeredis.FakeStrictRedis())
    with app.app_context():
        owner = app.store.register("owner@example.com", "Owner", "-")
        new = joip_share.NewSession(title="A walk")
        session = app.store.create_session(owner.id, new)
        code = app.store.share(session.id, owner.id)
    visitor = Visitor(app)
    for base, status in (
        (f"https://j.example{path}", 200),
        (f"HTTPS://J.example{path}", 200),
        ("https://j.example", 404),
        (f"https://j.example{path.swapcase()}", 404),
        ("https://j.example/other", 404),
    ):
        answer = visitor.get(f"{path}/oembed?url={base}/shared/{code}")
        assert answer.status_code == status, base
