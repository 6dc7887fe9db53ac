"""With PUBLIC_URL=https://share.example/joip everything lives under /joip."""

import html
import re
from urllib.parse import urljoin

import fakeredis
import pytest
import requests

import joip_share
from conftest import Visitor
from servers import Client, Nginx, RedisServer, Service, free_port, wait_for

PUBLIC_URL = "https://share.example/joip"
LOGIN = "/joip/login?next=/joip"
ADDRESSES = re.compile(
    r"\s(?:href|src|action|content|data-(?:base|api|seen|next))="
    r'"((?:https?:/)?/[^"]*)"'
)


class Below(Visitor):
    """A visitor whose paths are those below /joip."""

    def open(self, path, method="GET", **options):
        return super().open(f"/joip{path}", method=method, **options)


@pytest.fixture(scope="module")
def app():
    settings = joip_share.Settings(public_url=PUBLIC_URL, ratelimit_enabled=False)
    return joip_share.create_app(settings, fakeredis.FakeStrictRedis())


@pytest.fixture(scope="module")
def owner(app):
    """Somebody with three sessions, the first of them shared."""
    person = Below(app)
    person.user = person.sign_up()
    ids = [
        person.make_session(thumbnail="https://pictures.example/1.jpg")
        for _ in range(3)
    ]
    person.session_id = ids[0]
    person.code = person.share(ids[0])["shareCode"]
    return person


@pytest.fixture
def stranger(app):
    return Below(app)


def addresses(page):
    """Every address that the page names, but for foreign pictures."""
    found = {html.unescape(address) for address in ADDRESSES.findall(page)}
    return {address for address in found if "pictures.example" not in address}


PAGES = [
    ("stranger", "/"),
    ("stranger", "/login"),
    ("stranger", "/register?next=/joip/sessions/1"),
    ("stranger", "/shared/{code}"),
    ("stranger", "/nowhere"),
    ("owner", "/?limit=2"),
    ("owner", "/sessions/new"),
    ("owner", "/sessions/{id}"),
    ("owner", "/referrals?limit=1"),
    ("owner", "/shared/{code}"),
    ("owner", "/shared/{code}/play"),
]


@pytest.mark.parametrize(("who", "path"), PAGES)
def test_all_that_a_page_names_is_below_the_path(request, owner, who, path):
    person = request.getfixturevalue(who)
    page = person.get(path.format(code=owner.code, id=owner.session_id)).text
    found = addresses(page)
    assert len(found) >= 3
    for address in found:
        full = urljoin("https://share.example/joip/", address)
        assert f"{full}/".startswith(f"{PUBLIC_URL}/"), address
        if "/static/" in full:
            assert person.get(full.removeprefix(PUBLIC_URL)).status_code == 200


def test_scripts_learn_the_path_from_the_page(owner):
    for path in ("/", f"/sessions/{owner.session_id}", f"/shared/{owner.code}/play"):
        assert 'data-base="/joip"' in owner.get(path).text


def test_a_pages_message_goes_below_the_path(owner, stranger):
    page = stranger.get(f"/shared/{owner.code}").text
    seen = f"/joip/api/shared/{owner.code}/seen"
    assert f'data-seen="{seen}"' in page
    assert stranger.client.post(seen).status_code == 204


@pytest.mark.parametrize(
    ("who", "path", "where"),
    [
        ("stranger", "/sessions/new", f"{LOGIN}/sessions/new"),
        ("stranger", "/referrals", f"{LOGIN}/referrals"),
        ("stranger", "/shared/{code}/play", f"{LOGIN}/shared/{{code}}/play"),
        ("owner", "/login", "/joip/"),
        ("owner", "/register?next=/joip/referrals", "/joip/referrals"),
        ("owner", "/login?next=/referrals", "/joip/"),
        ("owner", "/login?next=/joipster", "/joip/"),
        ("owner", "/login?next=//joip/x", "/joip/"),
        ("owner", "/login?next=https://example.com/joip/", "/joip/"),
    ],
)
def test_redirects_stay_below_the_path(request, owner, who, path, where):
    person = request.getfixturevalue(who)
    answer = person.get(path.format(code=owner.code, id=owner.session_id))
    assert answer.status_code == 303
    assert answer.headers["Location"] == where.format(code=owner.code)


def test_every_link_of_the_api_is_below_the_path(owner):
    another = owner.share(owner.make_session())
    assert another["shareUrl"].startswith(f"{PUBLIC_URL}/shared/")
    made = owner.post("/api/sessions", json={"title": "One more"})
    assert made.headers["Location"] == f"{PUBLIC_URL}/api/sessions/{made.json['id']}"
    following = owner.get("/api/sessions?limit=1").headers["Link"]
    assert following.startswith(f"<{PUBLIC_URL}/api/sessions?")
    shares = owner.get(f"/api/sessions/{owner.session_id}").json["shares"]
    assert all(share["shareUrl"].startswith(f"{PUBLIC_URL}/") for share in shares)
    assert owner.get("/api/referrals").json["referralUrl"].startswith(f"{PUBLIC_URL}/?")
    (server,) = owner.get("/api/openapi.json").json["servers"]
    assert server["url"] == PUBLIC_URL
    embedded = owner.get(f"/oembed?url={PUBLIC_URL}/shared/{owner.code}").json
    assert embedded["provider_url"].startswith(f"{PUBLIC_URL}/")
    assert embedded["url"].startswith(f"{PUBLIC_URL}/")
    outside = f"https://share.example/shared/{owner.code}"
    assert owner.get(f"/oembed?url={outside}").status_code == 404


def test_cookies_are_for_the_path_only(app, owner, stranger):
    stranger.get(f"/shared/{owner.code}?r={owner.user['referralCode']}")
    stranger.sign_up("cookies@example.com")
    assert stranger.client.get_cookie("connect.sid", path="/joip").secure
    assert stranger.client.get_cookie("joip_ref", path="/joip").secure
    assert stranger.client.get_cookie("connect.sid") is None
    left = stranger.post("/api/logout").headers["Set-Cookie"]
    assert "Path=/joip" in left
    assert stranger.client.get_cookie("connect.sid", path="/joip") is None
    assert stranger.get("/api/auth/user").status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/", "/login", "/api/auth/user", "/api/openapi.json", "/healthz", "/metrics",
        "/shared/{code}", "/static/api.js", "/joipster", "/joipster/login", "/JOIP/",
        "/x/joip/", "/joip../login",
    ],
)  # fmt: skip
def test_what_is_outside_is_not_found(app, owner, path):
    outsider = Visitor(app)
    answer = outsider.get(path.format(code=owner.code, id=owner.session_id))
    assert answer.status_code == 404
    assert answer.headers["X-Request-ID"]


@pytest.mark.parametrize("path", ["/joip", "/joip/"])
def test_the_front_page_has_the_path_itself(app, path):
    assert Visitor(app).get(path).status_code == 200


def test_behind_the_same_nginx(tmp_path):
    port = free_port()
    with RedisServer(tmp_path) as redis, Nginx(tmp_path, port, port) as nginx:
        public_url = f"{nginx.url}/joip"
        with Service(
            tmp_path, redis.url, port, wait=False,
            PUBLIC_URL=public_url, TRUSTED_PROXIES="1",
        ) as service:  # fmt: skip
            wait_for(lambda: requests.get(f"{public_url}/healthz", timeout=30).ok)
            owner = Client(public_url)
            owner.sign_up()
            code = owner.share(owner.make_session())
            page = requests.get(f"{public_url}/shared/{code}", timeout=30)
            assert page.status_code == 200
            for address in addresses(page.text):
                if "/static/" in address:
                    full = urljoin(public_url, address)
                    kept = requests.get(full, timeout=30).headers["Cache-Control"]
                    assert kept == "public, max-age=31536000"
            log = (nginx.folder / "joip-share.log").read_text()
            assert '"route":"/joip/shared/:code"' in log
            assert code not in log
            outside = requests.get(f"{nginx.url}/shared/{code}", timeout=30)
            assert outside.status_code == 404
            service.kill()


def test_what_is_outside_counts_as_no_route(app):
    outside = Visitor(app)
    for path in ("/healthz", "/api/sessions/7", "/shared/x"):
        assert outside.get(path).status_code == 404
        assert "Shared session not found" not in outside.get(path).text
    metrics = Below(app).get("/metrics").text
    assert 'route="(none)",status="404"' in metrics.replace('method="GET",', "")
    assert 'route="/healthz"' not in metrics
