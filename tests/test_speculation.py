"""A page that chromium prefetches or prerenders by speculation rules, and then opens:
one open, one view, one click, and the cookie; the player: one play, from its start.

Chromium runs by itself here: under DevTools it prefetches where it would prerender.
"""

import json
import threading

import fakeredis
import pytest
from werkzeug.serving import make_server

import joip_share
from conftest import World
from people import ARGS
from servers import Process, free_port, need, wait_for

CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Safari/537.36"
)
DOOR = """<!doctype html><title>Another page</title><a href="{link}">Have a look</a>
<script type="speculationrules">{rules}</script>
<script type="module">
while (!(await (await fetch("/door/opens")).json()));
document.querySelector("a").click();
</script>"""


class Site:
    """The service, and on the same host a door: a page with a link and speculation
    rules, as a proxy in front may put them on any page, that follows the link once it
    is told to."""

    def __init__(self, kind, link="/shared/{0.code}?r={0.referral_code}"):
        port = free_port()
        self.url, self.asked, self.cookies = f"http://127.0.0.1:{port}", [], []
        self.ahead = []  # the paths that were fetched ahead
        self.signed_in = []  # the cookies of who stands at the door
        self.opens = threading.Event()
        settings = joip_share.Settings(public_url=self.url, ratelimit_enabled=False)
        self.app = joip_share.create_app(settings, fakeredis.FakeStrictRedis())
        self.server = make_server("127.0.0.1", port, self, threaded=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.world = World.at(self.url)
        link = link.format(self.world)
        rules = {kind: [{"urls": [link], "eagerness": "immediate"}]}
        self.door = DOOR.format(link=link, rules=json.dumps(rules))

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/door":
            return self.answer(start_response, "text/html", self.door)
        if path == "/door/opens":
            opens = self.opens.wait(1)
            return self.answer(start_response, "application/json", json.dumps(opens))
        self.asked.append((environ["REQUEST_METHOD"], path))
        self.ahead += [path] if "HTTP_SEC_PURPOSE" in environ else []

        def noting(status, headers, *more):
            told = [value for name, value in headers if name == "Set-Cookie"]
            self.cookies += [(path, value) for value in told if "joip_ref" in value]
            return start_response(status, headers, *more)

        return self.app(environ, noting)

    def answer(self, start_response, kind, text):
        headers = [("Content-Type", kind), ("Cache-Control", "no-store")]
        headers += [("Set-Cookie", f"{cookie}; Path=/") for cookie in self.signed_in]
        start_response("200 OK", headers)
        return [text.encode()]

    def times(self, method, path):
        """How often this was asked for."""
        return self.asked.count((method, path.partition("?")[0]))

    def counts(self):
        """What was counted, and what was left out."""
        path = f"/api/sessions/{self.world.session_id}/stats"
        told = self.world.owner.get(path).json()
        return {k: v for k, v in (told["totals"] | told["excluded"]).items() if v}

    def clicks(self):
        return self.world.owner.get("/api/referrals").json()["totals"]["clicks"]


def visitor_of(site, folder):
    """A chromium that stands at the door."""
    own = [f"--user-data-dir={folder / 'profile'}", f"--user-agent={CHROME}"]
    chromium = [need("chromium"), "--headless", *ARGS, *own, f"{site.url}/door"]
    return Process(chromium, folder / "chromium.log")


@pytest.fixture(params=["prefetch", "prerender"])
def site(request, tmp_path):
    """A door that somebody stands at, whose browser has fetched the page ahead."""
    site = Site(request.param)
    with visitor_of(site, tmp_path):
        wait_for(lambda: site.counts() == {"prefetch": 1}, what=request.param)
        if request.param == "prerender":  # it runs, and sees that nobody sees it
            wait_for(lambda: site.times("GET", "/static/shown.js"), what="the script")
        yield site
    site.server.shutdown()


def test_fetched_ahead_and_then_opened_is_one_of_each(site):
    assert (site.cookies, site.clicks()) == ([], 0)
    site.opens.set()
    seen = f"/api/shared/{site.world.code}/seen"
    wait_for(lambda: site.times("POST", seen), what="the page's message")
    opened = {"prefetch": 1, "opens": 1, "views": 1, "visitors": 1}
    wait_for(lambda: site.counts() == opened, what="the open")
    wait_for(lambda: site.clicks() == 1, what="the click")
    wait_for(lambda: site.cookies, what="the cookie")
    ((path, cookie),) = site.cookies
    assert path == seen
    assert cookie.startswith(f"joip_ref={site.world.referral_code}.")
    assert site.world.code in cookie
    assert site.times("GET", site.world.link) == 1, "what was fetched ahead was shown"


def test_fetched_ahead_and_never_opened_is_nothing(site):
    assert site.times("POST", f"/api/shared/{site.world.code}/seen") == 0
    assert site.counts() == {"prefetch": 1}
    assert (site.cookies, site.clicks()) == ([], 0)


@pytest.mark.parametrize("kind", ["prefetch", "prerender"])
def test_a_player_fetched_ahead_begins_and_counts_once_it_is_shown(kind, tmp_path):
    site = Site(kind, "/shared/{0.code}/play")
    guest, code = site.world.guest, site.world.code
    site.signed_in = [f"{cookie.name}={cookie.value}" for cookie in guest.cookies]
    media = f"/api/shared/media/{code}"
    with visitor_of(site, tmp_path):
        wait_for(lambda: site.times("GET", f"/shared/{code}/play"), what=kind)
        if kind == "prerender":
            wait_for(lambda: site.times("GET", "/static/player.js"), what="the script")
        assert site.times("GET", media) == 0
        assert site.counts() == {}
        site.opens.set()
        wait_for(lambda: site.times("GET", media), what="the show")
        wait_for(lambda: site.counts() == {"plays": 1}, what="the play")
        listed = f"/shared/{code}/play"
        wait_for(lambda: listed in guest.get("/").text, what="the list of the played")
    assert site.times("GET", f"/shared/{code}/play") == 1
    site.server.shutdown()


@pytest.mark.parametrize("kind", ["prefetch", "prerender"])
def test_a_front_page_fetched_ahead_is_a_click_once_it_is_shown(kind, tmp_path):
    site = Site(kind, "/?ref={0.referral_code}")
    with visitor_of(site, tmp_path):
        wait_for(lambda: "/" in site.ahead, what=kind)
        if kind == "prerender":
            wait_for(lambda: site.times("GET", "/static/ahead.js"), what="the script")
        assert (site.cookies, site.clicks()) == ([], 0)
        site.opens.set()
        wait_for(lambda: site.cookies, what="the cookie")
        wait_for(lambda: site.clicks() == 1, what="the click")
    ((_, cookie),) = site.cookies
    assert cookie.startswith(f"joip_ref={site.world.referral_code}.")
    site.server.shutdown()
