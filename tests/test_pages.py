"""The pages as the server sends them: what they say, and to whom."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from urllib.parse import quote, unquote, urljoin

import fakeredis
import pytest

import joip_share
import store
from conftest import Visitor
from redis_link import Link
from shown import show

BASES = ["https://joip.example", "https://joip.example/joip"]
LAKE = "https://pictures.example.net/lake.jpg"
OTHER = "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0"


class Page(HTMLParser):
    """Every tag of a page, as (name, attributes)."""

    def __init__(self, text):
        super().__init__()
        self.text, self.tags = text, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def all(self, tag, **wanted):
        wanted = {name.strip("_"): value for name, value in wanted.items()}
        return [
            have for name, have in self.tags
            if name == tag and wanted.items() <= have.items()
        ]  # fmt: skip

    def one(self, tag, **wanted):
        (found,) = self.all(tag, **wanted)
        return found

    def meta(self, name):
        kind = "property" if name.startswith("og:") else "name"
        return self.one("meta", **{kind: name})["content"]

    def links(self):
        return [have["href"] for have in self.all("a") if "href" in have]


class Inside(Visitor):
    """A visitor for whom every address begins with the service's path."""

    def __init__(self, app):
        super().__init__(app)
        self.path = app.settings.path

    def open(self, path, method="GET", **options):
        return super().open(self.path + path, method, **options)


class Site:
    """The service under a base, with an owner and a session shared by link."""

    def __init__(self, base, **more):
        settings = joip_share.Settings(public_url=base, ratelimit_enabled=False)
        self.app = joip_share.create_app(settings, fakeredis.FakeStrictRedis())
        self.base, self.path = base, settings.path
        self.owner = Inside(self.app)
        self.user = self.owner.sign_up(name="Mira <b>")
        given = {"title": 'Lake & "light"', "description": "One day\nby the lake"}
        self.session = self.owner.make_session(**given | more)
        self.link = self.owner.share(self.session)["shareUrl"]
        self.shared = self.link.partition("?")[0].removeprefix(base)

    def stranger(self):
        return Inside(self.app)

    def page(self, path, visitor=None):
        return Page((visitor or self.stranger()).get(path).text)


@pytest.fixture(scope="module", params=BASES)
def site(request):
    """One at the root of its host, one under a path."""
    return Site(request.param)


def every_page(site):
    """Each page, by whoever sees it."""
    mine = ["/", "/sessions/new", f"/sessions/{site.session}",
            f"/sessions/{site.session}/play", "/referrals", "/account",
            f"{site.shared}", f"{site.shared}/play"]  # fmt: skip
    others = ["/", "/login", "/register", site.shared, "/nothing", "/shared/nothing"]
    for path in mine:
        yield path, site.page(path, site.owner)
    for path in others:
        yield path, site.page(path)


# ------------------------------------------------------------------- true of every page


def test_no_page_has_inline_script_or_style(site):
    for path, page in every_page(site):
        assert all("src" in have for have in page.all("script")), path
        assert not page.all("style"), path
        for tag, have in page.tags:
            assert not [name for name in have if name == "style" or name[:2] == "on"], (
                path, tag)  # fmt: skip


ADDRESSES = {"href", "src", "action", "data-seen"}


def test_every_address_on_a_page_is_under_the_base(site):
    inside = (
        f"{site.path}/",
        f"{site.base}/",
        "#",
        "?",
        "data:",
        "https://example.org/",
    )
    for path, page in every_page(site):
        for tag, have in page.tags:
            for name in ADDRESSES & have.keys():
                address = have[name] or f"{site.path}/"
                assert address.startswith(inside), (path, tag, name, address)
        assert page.one("html").get("data-base", site.path) == site.path


def test_every_page_has_a_language_one_heading_and_fits_the_screen(site):
    for path, page in every_page(site):
        assert page.one("html")["lang"] == "en", path
        assert len(page.all("h1")) == 1, path
        assert "width=device-width" in page.meta("viewport"), path
        assert page.meta("color-scheme"), path
        assert page.all("meta", name="theme-color"), path


def test_every_field_has_a_label(site):
    for path, page in every_page(site):
        labels = {have["for"] for have in page.all("label")}
        fields = page.all("input") + page.all("select") + page.all("textarea")
        named = [have for have in fields if "id" in have and "aria-label" not in have]
        assert {have["id"] for have in named} <= labels, path


def test_no_form_puts_what_was_typed_into_the_address(site):
    """Not even one that is sent before its script is there."""
    for path, page in every_page(site):
        assert all(have.get("method") == "post" for have in page.all("form")), path


def test_no_page_speaks_of_sessions(site):
    """The API's word, which an error page has in its small print only."""
    for path, page in every_page(site):
        words = re.sub(r'<p class="hint">\d.*|<[^>]*>', " ", page.text)
        assert not re.search(r"\bsessions?\b", words, re.IGNORECASE), path


def test_what_browsers_look_for_at_the_root_is_there(site):
    for name in ("favicon.ico", "apple-touch-icon.png", "robots.txt"):
        assert site.stranger().get(f"/{name}").status_code == 200
    answer = site.stranger().get("/manifest.webmanifest")
    icons = [icon["src"] for icon in json.loads(answer.text)["icons"]]
    assert all(site.stranger().get(f"/{src}").status_code == 200 for src in icons)


# ------------------------------------------------------------------------- the preview


def test_the_preview_says_what_it_is(site):
    page = site.page(site.shared)
    text = html.unescape(page.text)
    for part in (
        'Lake & "light"',
        'by <bdi translate="no">Mira <b></bdi>',
        "3 items, about 20 sec",
    ):
        assert part in text
    assert "<b>" not in page.text


def test_what_goes_round_stands_under_the_public_url(site):
    page = site.page(site.shared)
    assert page.one("link", rel="canonical")["href"] == site.link
    assert page.meta("og:url") == site.link
    assert page.meta("robots") == "noindex"
    for kind in ("og", "twitter"):
        assert page.meta(f"{kind}:title") == 'Lake & "light"'
        assert page.meta(f"{kind}:description") == "One day by the lake"
        assert page.meta(f"{kind}:image") == "https://example.org/0.jpg"
        assert page.meta(f"{kind}:image:alt")
    assert page.meta("og:type") == "website"
    assert page.meta("og:site_name") == "Joip Share"
    assert page.meta("twitter:card") == "summary_large_image"


def test_oembed_is_discovered_and_answers(site):
    link = site.page(site.shared).one("link", type="application/json+oembed")
    assert link["href"].startswith(f"{site.base}/oembed?url=")
    answer = site.stranger().get(link["href"].removeprefix(site.base))
    assert answer.json["title"] == 'Lake & "light"'


def test_the_picture_is_the_thumbnail_else_a_drawing():
    site = Site(BASES[0], thumbnail=LAKE)
    page = site.page(site.shared)
    assert page.one("img")["src"] == LAKE
    assert page.meta("og:image") == page.meta("twitter:image") == LAKE
    plain = Site(BASES[0], thumbnail=None)
    drawn = plain.page(plain.shared)
    assert drawn.all("img") == []
    assert len(drawn.all("div", class_="picture")) == 1
    assert drawn.meta("og:image:width") == "1200"
    assert drawn.meta("og:image:height") == "630"


def test_a_description_is_cut_for_cards_but_not_on_the_page():
    long = "Night after night. " * 20
    site = Site(BASES[0], description=long)
    page = site.page(site.shared)
    assert len(page.meta("og:description")) <= 200
    assert page.meta("og:description") == page.meta("twitter:description")
    assert long.strip() in page.text


def test_strangers_create_an_account_or_sign_in_to_play_and_come_back(site):
    page = site.page(site.shared)
    play = f"{site.path}{site.shared}/play?r={site.user['referralCode']}"
    onward = quote(play)
    main, other = page.all("a", class_="button play") + page.all(
        "a", class_="button quiet"
    )
    assert main["href"] == f"{site.path}/register?next={onward}"
    assert other["href"] == f"{site.path}/login?next={onward}"
    for path in ("login", "register"):
        there = site.page(f"/{path}?next={onward}")
        assert there.one("input", name="next")["value"] == play
        assert there.one("form", method="post")["action"] == f"{site.path}/{path}"
        assert "to play <bdi>Lake" in there.text


def test_who_is_signed_in_plays_at_once(site):
    guest = site.stranger()
    guest.sign_up("preview@example.com")
    links = site.page(site.shared, guest).links()
    assert f"{site.path}{site.shared}/play?r={site.user['referralCode']}" in links
    assert not [link for link in links if "login" in link]


def test_a_preview_names_who_is_signed_in_also_by_a_new_name(site):
    def named():
        page = site.page(site.shared, guest)
        assert f"{site.path}/account" in page.links()
        return re.search(r'class="who".*?<bdi[^>]*>(.*?)</bdi>', page.text)[1]

    guest = site.stranger()
    guest.sign_up("nameless@example.com")
    assert named() == "nameless@example.com"
    for name, told in (("Ann <b>", "Ann &lt;b&gt;"), ("Bea", "Bea")):
        guest.patch("/api/auth/user", json={"name": name})
        assert named() == told
    nobody = site.page(site.shared)
    assert f"{site.path}/account" not in nobody.links()
    assert "Bea" not in nobody.text


def test_the_pages_message_is_for_people_only(site):
    body = site.page(site.shared).one("body")
    assert body["data-seen"] == f"{site.path}/api{site.shared}/seen"
    assert body["data-token"]
    for other in (site.owner.get(site.shared),
                  site.stranger().get(site.shared, agent="Slackbot 1.0")):  # fmt: skip
        assert "data-seen" not in other.text


def test_a_link_for_one_person_says_so(site):
    personal = site.owner.share(site.session, email="grandmother@example.com")
    page = site.page(f"/shared/{personal['shareCode']}")
    assert "This link is for one person" in page.text
    assert "This link is for one person" not in site.page(site.shared).text
    assert "grandmother" not in page.text


def test_an_empty_slideshow_has_nothing_to_play_and_is_not_shared_without_a_word():
    site = Site(BASES[0], media=0)
    for visitor in (site.owner, site.stranger()):
        page = site.page(site.shared, visitor)
        assert not page.all("a", class_="button play")
        assert "nothing in it yet" in page.text
        assert "Come back later by the same link" in page.text
    editor = site.page(f"/sessions/{site.session}", site.owner)
    assert "There is nothing in this slideshow yet" in editor.text
    full = Site(BASES[0])
    editor = full.page(f"/sessions/{full.session}", full.owner)
    assert "There is nothing in this slideshow yet" not in editor.text


def test_a_paused_preview_is_its_owners_alone():
    site = Site(BASES[0])
    site.owner.patch(f"/api/sessions/{site.session}", json={"isPublic": False})
    page = site.page(site.shared, site.owner)
    assert "Paused" in page.text
    assert site.stranger().get(site.shared).status_code == 404
    play = page.one("a", class_="button play")["href"].removeprefix(site.path)
    assert 'Lake & "light"' in html.unescape(site.page(play, site.owner).text)
    editor = f"{site.path}/sessions/{site.session}#share"
    assert editor in page.links()


def test_the_player_sends_others_to_sign_in_and_back(site):
    answer = site.stranger().get(f"{site.shared}/play")
    assert answer.status_code == 303
    there = f"{site.path}/login?next={site.path}{site.shared}/play"
    assert answer.headers["Location"] == there


# --------------------------------------------------------------------- signing in


HOSTILE = [
    "https://evil.example/", "//evil.example", "///evil.example", "/\\evil.example",
    "\\\\evil.example", "http:evil.example", "javascript:alert(1)", "data:text/html,x",
    "/\t/evil.example", "/\n/evil.example", " /", "", "../..", "/joip/../evil",
    "/joip/%2e%2e/evil", "/joip/.%2E/evil", "/./evil.example",
]  # fmt: skip


@pytest.mark.parametrize("hostile", HOSTILE)
def test_the_next_page_is_never_another_site(site, hostile):
    def inside(path):
        there = urljoin(f"{site.base}/login", path)
        return there.startswith(f"{site.base}/") and ".." not in unquote(there)

    for path in ("/login", "/register"):
        answer = site.stranger().get(path, query_string={"next": hostile})
        assert inside(Page(answer.text).one("input", name="next")["value"])
    answer = site.owner.get("/login", query_string={"next": hostile})
    assert inside(answer.headers["Location"])


def test_password_managers_know_the_fields(site):
    def asked(path):
        page = site.page(path)
        fields = [have for have in page.all("input") if have.get("type") != "hidden"]
        return {have["name"]: have["autocomplete"] for have in fields}

    assert asked("/login") == {"email": "username", "password": "current-password"}
    assert asked("/register") == {
        "name": "name", "email": "username", "password": "new-password",
    }  # fmt: skip


def test_who_is_signed_in_needs_no_sign_in_page(site):
    answer = site.owner.get("/login", query_string={"next": f"{site.path}/referrals"})
    assert (answer.status_code, answer.headers["Location"]) == (
        303, f"{site.path}/referrals")  # fmt: skip


# -------------------------------------------------------------------- the owner's pages


def test_my_sessions_with_their_numbers_and_pages(owner):
    for n in range(3):
        last = owner.make_session(title=f"Walk {n}", thumbnail=LAKE if n else None)
    owner.open(owner.share(last)["shareUrl"].removeprefix("http://127.0.0.1:8000"))
    first = owner.get("/?limit=2")
    assert "Walk 2" in first.text
    assert "Walk 0" not in first.text
    assert len(Page(first.text).all("img", src=LAKE)) == 2
    assert "0 opens · 0 sign-ups" in first.text
    classes = [have["class"] for have in Page(first.text).all("li")]
    assert classes == ["tile on", "tile off"]
    older = Page(first.text).one("a", rel="next")["href"]
    assert "Walk 0" in owner.get(older).text


def test_an_empty_shelf_is_friendly(owner):
    page = Page(owner.get("/").text)
    assert "Your first slideshow" in page.text
    assert "/sessions/new" in page.links()


def test_the_editor_holds_everything_that_can_be_edited(site):
    page = site.page(f"/sessions/{site.session}", site.owner)
    values = {
        have["name"]: have["value"] for have in page.all("input")
        if {"name", "value"} <= have.keys()
    }  # fmt: skip
    assert values == {
        "title": 'Lake & "light"', "intervalMin": "3", "intervalMax": "10",
        "thumbnail": "https://example.org/0.jpg",
    }  # fmt: skip
    assert len(json.loads(page.one("form", id="editor")["data-media"])) == 3
    offered = {have["value"] for have in page.all("option")}
    assert offered == {"fade", "slide", "zoom", "flip", "none", "image", "video"}


def test_the_share_panel_shows_link_and_code(site):
    page = site.page(f"/sessions/{site.session}", site.owner)
    assert page.one("input", id="link")["value"] == site.link
    drawing = page.all("figure", class_="qr")[0]["data-src"].removeprefix(site.path)
    answer = site.owner.get(drawing)
    assert (answer.status_code, answer.mimetype) == (200, "image/svg+xml")
    assert answer.text.startswith("<?xml")
    unknown = drawing[:-4] + "0000"
    assert site.owner.get(unknown).status_code == 404
    assert page.all("button", **{"data-act": "pause"})
    for act in ("replace", "revoke"):
        assert page.all("button", **{"data-ask": act})


def test_a_link_is_called_by_name_and_says_where_its_account_is_gone():
    site = Site(BASES[0])
    names = {"named": "Jonas", "unnamed": "", "gone": "Nobody"}
    ids = {}
    for who, name in names.items():
        visitor = site.stranger()
        ids[who] = visitor.sign_up(
            f"{who}@example.com", **({"name": name} if name else {})
        )["id"]
        site.owner.share(site.session, userId=ids[who])
    site.owner.share(site.session, email="grandmother@example.com")
    site.owner.share(site.session, label="Poster")
    visitor.delete("/api/auth/user", json={"currentPassword": "long enough"})
    page = site.page(f"/sessions/{site.session}", site.owner)
    called = [row["data-name"] for row in page.all("li", class_="link")]
    short = f"Account {ids['unnamed'][:8]}…"
    assert sorted(called) == sorted(
        ["Link for everyone", "Jonas", short, "A deleted account",
         "grandmother@example.com", "Poster"]
    )  # fmt: skip
    assert len(page.all("button", **{"data-ask": "revoke"})) == 6
    assert len(page.all("button", **{"data-ask": "replace"})) == 5
    assert page.text.count("nobody can play it any more") == 1


def test_an_editor_with_many_links_asks_redis_no_oftener_than_one_with_few(
    live, live_world
):
    owner, accounts, asked = live_world.owner, store.Store(Link(live.redis)), []
    for many in (1, 30):
        session = owner.make_session()
        for n in range(many):  # not at the price of as many hashes
            guest = accounts.register(f"guest-{many}-{n}@example.com", "", "a hash")
            owner.share(session, userId=guest.id)
        before = live.redis.info("stats")["total_reads_processed"]
        assert owner.get(f"/sessions/{session}").status_code == 200
        asked.append(live.redis.info("stats")["total_reads_processed"] - before)
    assert asked[1] - asked[0] < 10  # a thread's new connection asks something, too


def test_the_numbers_are_drawn_and_written_by_the_server(clock):
    site = Site(BASES[0])
    for _ in range(3):
        site.stranger().get(site.shared, headers={"Referer": "https://news.example/x"})
    site.stranger().get(site.shared, agent="Slackbot 1.0")
    show(
        site.stranger(), site.stranger().get(site.shared, agent=OTHER).text, agent=OTHER
    )
    page = site.page(f"/sessions/{site.session}", site.owner)
    today = store.today()
    bars = page.all("rect", **{"data-from": today})
    assert [bar["data-value"] for bar in bars] == ["4", "1", "2", "0"]
    assert len(page.all("rect", width="8")) == 4 * 30
    figures = "".join(f"<td>{n}</td>" for n in (4, 1, 2, 0, 0))
    assert f'<time datetime="{today}">{today}</time></th>{figures}' in page.text
    assert '<th scope="row">news.example</th><td>3</td>' in page.text
    assert re.search(r"programs, not people</th><td>1</td>", page.text)
    csv = f"/api/sessions/{site.session}/stats.csv"
    assert {f"{csv}?days=30", f"{csv}?by=link"} <= set(page.links())


@pytest.mark.parametrize(("days", "bars"), [(7, 7), (30, 30), (90, 90), (365, 53)])
def test_the_numbers_of_a_week_to_a_year(owner, days, bars):
    session = owner.make_session()
    page = Page(owner.get(f"/sessions/{session}?days={days}").text)
    assert len(page.all("rect", width="8")) == 4 * bars
    current = page.one("a", **{"aria-current": "true"})
    assert current["href"] == f"?days={days}#numbers"


def test_referrals_show_link_totals_and_history(site):
    guest = site.stranger()
    guest.get(f"{site.shared}?r={site.user['referralCode']}")
    guest.sign_up("history@example.com")
    page = site.page("/referrals", site.owner)
    link = f"{site.base}/?ref={site.user['referralCode']}"
    assert page.one("input", id="referral-link")["value"] == link
    assert f"{site.path}/sessions/{site.session}" in page.links()
    assert re.search(r"Links to your slideshows</th><td>1</td><td>1</td>", page.text)


# ----------------------------------------------------------------------------- refusals

REFUSALS = {
    403: joip_share.Problem("NOT_FOR_YOU"),
    404: joip_share.NotShared(),
    429: joip_share.Problem("RATE_LIMITED", headers={"Retry-After": "42"}),
    500: RuntimeError("secret"),
    503: joip_share.StoreUnavailable(),
}


@pytest.fixture(scope="module")
def failing(site):
    """The service with a page that fails in each way."""
    app = joip_share.create_app(
        joip_share.Settings(public_url=site.base), fakeredis.FakeStrictRedis()
    )

    def fail(status):
        raise REFUSALS[status]

    app.add_url_rule("/fail/<int:status>", view_func=fail)
    return Inside(app)


@pytest.mark.parametrize("status", REFUSALS)
def test_each_refusal_is_a_page_with_a_way_on(site, failing, status):
    answer = failing.get(f"/fail/{status}")
    page = Page(answer.text)
    assert answer.status_code == status
    assert f"{site.path}/" in page.links()
    assert answer.headers["X-Request-ID"] in page.text
    assert page.meta("robots") == "noindex"
    assert "secret" not in page.text
    assert ("" in page.links()) == (status in (429, 500, 503))


def test_a_refusal_for_haste_says_how_long_to_wait(failing):
    assert "wait 42 seconds" in failing.get("/fail/429").text
