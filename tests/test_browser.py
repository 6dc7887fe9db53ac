"""The pages in chromium: one whole journey under a path, the preview, and every page in
every light, size and setting."""

from __future__ import annotations

import re

import fakeredis
import pytest
from playwright.sync_api import expect

import joip_share
from pages import owner_of, picture, pictures, slideshow
from people import LOOKS, NARROW, WIDE
from servers import Client, Service, free_port, wait_for

pytest_plugins = ["browsing"]


@pytest.fixture(scope="module")
def sub_path(live, tmp_path_factory):
    """A second service on the same Redis, all of it under /joip, with rate limits."""
    folder, port = tmp_path_factory.mktemp("sub-path"), free_port()
    url, redis_url = f"http://127.0.0.1:{port}/joip", live.redis_url
    with Service(folder, redis_url, port, wait=False, PUBLIC_URL=url) as service:
        service.url = url
        wait_for(service.answers, what="the service under /joip")
        yield service


# ------------------------------------------------------------------ the whole journey


def test_the_whole_journey_under_a_path(sub_path, person):
    owner, stranger = person(sub_path), person(sub_path)
    start_with_an_account(owner, "owner@example.com")
    make_a_slideshow(owner, sub_path)
    link = share_and_copy(owner)
    come_by_the_link(stranger, link, "stranger@example.com")
    see_the_numbers(owner)
    find_it_on_the_shelf(owner)
    change_the_account(owner)
    delete(owner)


def start_with_an_account(owner, email):
    owner.go("/")
    owner.heading("A slideshow, behind one link")
    owner.follow("Create an account")
    owner.sign_up(email)
    owner.heading("Your first slideshow")


def make_a_slideshow(owner, site):
    owner.follow("New slideshow")
    owner.get_by_label("Title").fill("A day by the lake")
    lines = [picture(site, n) for n in (1, 2, 3)]
    owner.get_by_label("Add media").fill("\n".join(lines))
    owner.press("Add", exact=True)
    expect(owner.locator("#media > li")).to_have_count(3)
    owner.press("Create slideshow")
    owner.wait_for_url(re.compile(r"/joip/sessions/\d+$"))
    owner.heading("A day by the lake")


def share_and_copy(owner):
    owner.context.grant_permissions(["clipboard-read", "clipboard-write"])
    owner.press("Share it")
    field = owner.get_by_label("Link for everyone", exact=True)
    expect(field).to_have_value(re.compile(r"/shared/[0-9a-f-]{36}\?r=[a-z0-9]{8}$"))
    copied = owner.copied("Copy: Link for everyone")
    assert copied == field.input_value()
    return copied


def come_by_the_link(stranger, link, email):
    with stranger.expect_response("**/seen") as told:
        stranger.go(link)
    assert told.value.status == 204
    stranger.heading("A day by the lake")
    stranger.follow("Create an account to play")
    stranger.sign_up(email)
    expect(stranger.locator("#place")).to_contain_text("1 / 3")


def see_the_numbers(owner):
    owner.reload()
    figures = owner.locator(".funnel .sum").all_inner_texts()
    assert [text.split()[0] for text in figures] == ["1", "1", "1", "1"]
    owner.get_by_text("The same figures as a table").click()
    expect(owner.get_by_role("region", name="Daily figures")).to_be_visible()


def find_it_on_the_shelf(owner):
    owner.follow("Slideshows")
    owner.get_by_role("searchbox").fill("lake")
    expect(owner.locator("#found")).to_have_text("1 of 1")
    owner.locator("summary").click()
    owner.press("Duplicate")
    owner.follow("A day by the lake (copy)")
    owner.heading("A day by the lake (copy)")


def change_the_account(owner):
    owner.follow("Your account")
    owner.get_by_label("Name").fill("Mira")
    owner.press("Save name")
    expect(owner.get_by_role("link", name="Your account")).to_contain_text("Mira")
    owner.follow("Slideshows")
    owner.follow("A day by the lake (copy)")


def delete(owner):
    owner.press("Delete this slideshow…")
    with owner.expect_download() as download:
        owner.get_by_role("link", name="Download a copy first").click()
    assert "A day by the lake (copy)" in download.value.path().read_text()
    owner.get_by_role("dialog").get_by_role("button", name="Delete").click()
    owner.heading("Your slideshows")
    expect(owner.locator("#shelf > li")).to_have_count(1)


# ------------------------------------------------------------------------ the preview


@pytest.fixture(scope="module")
def owner(live):
    """Somebody with a shared slideshow."""
    owner = owner_of(live, description="One day, one place.")
    owner.code = owner.share(owner.session)
    return owner


def test_the_preview_is_light_and_does_not_move(live, person, owner):
    """Four requests draw it, pictures and all; its message loads nothing."""
    stranger, seen = person(live), []
    stranger.on("requestfinished", lambda request: seen.append(request))
    stranger.context.add_init_script(SHIFTS)
    with stranger.expect_response("**/seen"):
        stranger.go(f"/shared/{owner.code}")
    stranger.wait_for_load_state("networkidle")
    wait_for(lambda: stranger.evaluate("1") and len(seen) >= 5, what="every answer")
    drawn = [request for request in seen if request.method == "GET"]
    sizes = [request.sizes() for request in drawn]
    weight = sum(s["responseBodySize"] + s["responseHeadersSize"] for s in sizes)
    assert len(drawn) <= 4
    assert weight < 50_000, weight
    assert [r.url.rpartition("/")[2] for r in seen if r.method == "POST"] == ["seen"]
    assert stranger.evaluate("moved") == 0


SHIFTS = """
  window.moved = 0;
  new PerformanceObserver((list) => {
    for (const { value } of list.getEntries()) moved += value;
  }).observe({ type: "layout-shift", buffered: true });
"""


def test_the_preview_works_without_javascript(live, person, owner):
    stranger = person(live, java_script_enabled=False)
    stranger.go(f"/shared/{owner.code}")
    stranger.heading("Five hours by the lake")
    expect(stranger.get_by_text("5 items, about 33 seconds")).to_be_visible()
    main = stranger.get_by_role("main")
    expect(main.get_by_role("link", name="Sign in")).to_be_visible()
    expect(main.get_by_role("link", name="Create an account to play")).to_be_visible()


def test_the_page_tells_once_when_it_is_visible(live, person, owner):
    stranger, told = person(live), []
    stranger.on("request", lambda r: r.url.endswith("/seen") and told.append(r))
    stranger.context.add_init_script("""
        const set = (name, value) =>
          Object.defineProperty(document, name, { value, configurable: true });
        set("prerendering", true);
        set("visibilityState", "hidden");
    """)
    stranger.go(f"/shared/{owner.code}")
    become = """([name, event]) => {
      delete document[name];
      document.dispatchEvent(new Event(event));
    }"""
    stranger.evaluate(become, ["prerendering", "prerenderingchange"])
    assert told == []
    with stranger.expect_response("**/seen"):
        stranger.evaluate(become, ["visibilityState", "visibilitychange"])
    stranger.evaluate(become, ["visibilityState", "visibilitychange"])
    stranger.get_by_role("main").get_by_role("link", name="Sign in").click()
    stranger.heading("Sign in to play Five hours by the lake")
    assert len(told) == 1


# What browsers do to a page that they translate: tags of their own around every text.
TRANSLATE = """() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) texts.push(walker.currentNode);
  const shown = ({ data, parentElement }) =>
    data.trim() && !parentElement.closest("option, script, textarea");
  for (const text of texts.filter(shown)) {
    const [outer, inner] = ["font", "font"].map((name) => document.createElement(name));
    inner.append(text.data);
    outer.append(inner);
    text.replaceWith(outer);
  }
}"""


def test_a_page_that_the_browser_translates_works_all_the_same(live, person):
    owner = owner_of(live)
    owner.share(owner.session)
    owner.post("/api/tokens", json={"name": "One"})
    reader = person(live).borrow(owner)
    reader.context.grant_permissions(["clipboard-read", "clipboard-write"])
    reader.page.on("dialog", lambda dialog: dialog.accept())

    def see(path, ready):
        reader.go(path)
        expect(reader.get_by_role("button", name=ready, exact=True)).to_be_enabled()
        reader.evaluate(TRANSLATE)

    see(owner.path, "Save")
    assert "/shared/" in reader.copied("Copy: Link for everyone")
    reader.press("Use as cover: item 2")
    expect(reader.locator("#state")).to_have_text("Unsaved changes")
    wait_for(lambda: reader.evaluate("localStorage.length"), what="the draft")
    see(owner.path, "Save")
    reader.press("Bring them back")
    expect(reader.locator("#state")).to_have_text("Unsaved changes")
    reader.locator("#play font font").click()
    reader.wait_for_url(f"**{owner.path}/play")
    see("/account", "Save name")
    reader.press("Delete the token One")
    expect(reader.locator("#delete-token")).to_be_visible()


def test_no_browser_translates_who_somebody_is(live, person):
    owner = Client(live.url)
    owner.user = owner.sign_up(name="Rose Field")
    session = slideshow(owner, pictures(live, 1))
    code = owner.share(session)
    owner.share(session, email="rose@field.example")
    reader = person(live).borrow(owner)
    told = """(name) => {
      const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      const found = [];
      while (texts.nextNode()) {
        const { data, parentElement } = texts.currentNode;
        if (data.trim() === name) found.push(!!parentElement.closest("[translate=no]"));
      }
      return found;
    }"""
    pages = "/", "/account", f"/sessions/{session}", f"/shared/{code}"
    for path in (*pages, f"/shared/{code}/play"):
        reader.go(path)
        found = reader.evaluate(told, "Rose Field")
        assert found, path
        assert all(found), path
    reader.go(f"/sessions/{session}")
    assert reader.evaluate(told, "rose@field.example") == [True] * 3


# ---------------------------------------- every page: axe, telephones, lights, settings


@pytest.fixture(scope="module")
def gallery(live):
    """Accounts and slideshows in every state that a page can show."""
    owner = owner_of(live, description="One day, one place. " * 20)
    owner.code = owner.share(owner.session)
    guest = Client(live.url)
    guest.get(f"/shared/{owner.code}?r={owner.user['referralCode']}")
    owner.guest = guest.sign_up(name="Jonas with a name that is rather long for a name")
    guest.get(f"/shared/{owner.code}/play")
    for n in range(12):
        headers = {"Referer": f"https://site-{n}.example.org/"}
        Client(live.url).get(f"/shared/{owner.code}", headers=headers)
    owner.personal = owner.share(owner.session, email="grandmother@example.com")
    owner.share(owner.session, userId=owner.guest["id"])
    owner.share(owner.session, label="Newsletter " * 5)
    film = {"mediaUrl": f"{live.url}/static/gone.mp4", "type": "video"}
    plain = slideshow(owner, [film], title="Without a cover", thumbnail=None)
    owner.plain = owner.share(plain)
    owner.paused = slideshow(owner, [], title="Words" * 30)
    owner.held = owner.share(owner.paused)
    owner.patch(f"/api/sessions/{owner.paused}", json={"isPublic": False})
    slideshow(owner, pictures(live, 2), title="حديقة الجدة")
    owner.post("/api/tokens", json={"name": "Nightly upload"})
    owner.theirs = guest.make_session()
    theirs = slideshow(guest, pictures(live, 3), title="Jonas's slides")
    owner.get(f"/shared/{guest.share(theirs)}/play")
    owner.newcomer = Client(live.url)
    owner.newcomer.sign_up()
    return owner


@pytest.fixture(scope="module")
def refusals():
    """Error pages as the service makes them; those of a broken view, by hand."""
    app = joip_share.create_app(joip_share.Settings(), fakeredis.FakeStrictRedis())
    waits = {"Retry-After": "42"}
    problems = {
        429: joip_share.Problem("RATE_LIMITED", headers=waits),
        500: RuntimeError(),
        503: joip_share.StoreUnavailable("TimeoutError"),
    }

    def fail(status):
        raise problems[status]

    app.add_url_rule("/fail/<int:status>", view_func=fail)
    client = app.test_client()
    return {status: client.get(f"/fail/{status}").text for status in problems}


def visited(gallery):
    """Every page but the player: its name, its path and who sees it."""
    link, session = f"/shared/{gallery.code}", f"/sessions/{gallery.session}"
    return [
        ("welcome", "/", "stranger"), ("login", "/login", "stranger"),
        ("register", f"/register?next={link}/play", "stranger"),
        ("preview", link, "stranger"),
        ("preview-drawn", f"/shared/{gallery.plain}", "stranger"),
        ("preview-personal", f"/shared/{gallery.personal}", "stranger"),
        ("preview-signed-in", link, "newcomer"),
        ("preview-paused", f"/shared/{gallery.held}", "owner"),
        ("first", "/", "newcomer"), ("shelf", "/", "owner"),
        ("new", "/sessions/new", "owner"), ("editor", session, "owner"),
        ("editor-year", f"{session}?days=365", "owner"),
        ("editor-paused", f"/sessions/{gallery.paused}", "owner"),
        ("account", "/account", "owner"), ("referrals", "/referrals", "owner"),
        ("403", f"/sessions/{gallery.theirs}", "owner"), ("404", "/no", "stranger"),
        ("429", "/429", "stranger"), ("500", "/500", "stranger"),
        ("503", "/503", "stranger"),
    ]  # fmt: skip


def test_no_button_pretends_to_work_where_its_script_is_not(live, person, gallery):
    """Not yet, or without JavaScript never; forms that are posted to a page work."""
    people = {who: person(live, java_script_enabled=False)
              for who in ("stranger", "newcomer", "owner")}  # fmt: skip
    people["owner"].borrow(gallery)
    people["newcomer"].borrow(gallery.newcomer)
    player = ("player", f"/shared/{gallery.code}/play", "owner")
    for name, path, who in [*visited(gallery), player]:
        someone = people[who]
        someone.expected += EXPECTED
        someone.go(path)
        for box in someone.locator("details > summary").all():
            box.press("Enter")
        buttons = someone.locator("button:visible:enabled")
        posting = someone.locator("form[action] button:visible:enabled")
        assert buttons.count() == posting.count(), name


SCREENS = {look: {"narrow": NARROW} for look in LOOKS}
SCREENS["light"] = {"wide": WIDE, "narrow": NARROW}
EXPECTED = ["403 (", "404 (", "429 (", "500 (", "503 (", "example.org"]


def test_every_page_is_accessible_and_fits(live, person, gallery, refusals):
    people = {who: person(live, reduced_motion="reduce")
              for who in ("stranger", "newcomer", "owner")}  # fmt: skip
    people["owner"].borrow(gallery)
    people["newcomer"].borrow(gallery.newcomer)
    for someone in people.values():
        someone.expected += EXPECTED
        answer_with(someone, refusals)
    faults = []
    for name, path, who in visited(gallery):
        someone = people[who]
        someone.go(path)
        open_all(someone)
        for look, media in LOOKS.items():
            someone.emulate_media(**media)
            found = someone.faults(look)
            faults += [f"{name}, {look}: {fault}" for fault in found]
            take_pictures(someone, name, look)
        faults += [f"{name}: {fault}" for fault in widths_that_do_not_fit(someone)]
    assert not faults, "\n".join(faults)


def open_all(someone):
    """Open what is folded away, but for menus: one menu may hide another's summary; and
    for a year's table: axe-core takes ten seconds for what a month's has as well."""
    folded = "details:not(.menu):not(:has(tr:nth-child(100)))"
    for box in someone.locator(folded).all():
        box.evaluate("box => { box.open = true }")


def answer_with(someone, refusals):
    """Serve these pages at /429, /500 and /503."""

    def serve(route):
        status = int(route.request.url.rpartition("/")[2])
        html = refusals[status]
        route.fulfill(status=status, body=html, content_type="text/html")

    someone.context.route(re.compile(r"/(429|500|503)$"), serve)


def take_pictures(someone, name, look):
    """On a telephone, and in the light also on a wide screen."""
    for screen, size in SCREENS[look].items():
        someone.set_viewport_size(size)
        someone.photograph(f"{name}-{look}-{screen}", full_page=True)


def widths_that_do_not_fit(someone):
    """At which widths and size of text the page scrolls sideways."""
    faults = []
    for width in (430, 390, 360, 320):
        someone.set_viewport_size(NARROW | {"width": width})
        faults += too_wide(someone, width)
    someone.evaluate("document.documentElement.style.fontSize = '200%'")
    faults += too_wide(someone, 320, " with text of 200 %")
    someone.set_viewport_size(WIDE)
    return faults


# What sticks out at the left cannot be scrolled to.
CUT = """() => [...document.querySelectorAll("button, .button, input, select, h1, h2")]
  .filter((node) => node.checkVisibility() && !node.closest(".unseen"))
  .filter((node) => node.getBoundingClientRect().left < 0)
  .map((node) => node.id || node.textContent)"""


def too_wide(someone, width, how=""):
    needed = someone.evaluate("document.documentElement.scrollWidth")
    wide = [f"{needed} px wide on {width}{how}"] if needed > width else []
    return wide + [f"{cut} is cut on {width}{how}" for cut in someone.evaluate(CUT)]


# Dialogs and menus, opened by hand.
OPENED = {
    "menu": ("/", lambda p: p.locator("summary.icon").first.click()),
    "delete": ("editor", lambda p: p.press("Delete this slideshow…")),
    "delete account": ("/account", lambda p: p.press("Delete your account…")),
    "revoke": ("editor", lambda p: (p.locator("#share summary.icon").first.click(),
                                    p.press("Revoke…"))),
    "removed": ("editor", lambda p: p.get_by_label("Remove item 1").click()),
}  # fmt: skip


@pytest.mark.parametrize("what", OPENED)
def test_what_opens_is_accessible_and_fits(live, person, gallery, what):
    someone = person(live, viewport=NARROW, reduced_motion="reduce").borrow(gallery)
    someone.expected += EXPECTED
    path, act = OPENED[what]
    someone.go(f"/sessions/{gallery.session}" if path == "editor" else path)
    someone.wait_for_load_state("networkidle")
    act(someone)
    assert someone.faults() == []
    assert too_wide(someone, NARROW["width"]) == []
    someone.photograph(f"opened-{what.replace(' ', '-')}")
    someone.page.on("dialog", lambda box: box.accept())
