"""The pages in Debian's chromium, against the service and a Redis as real processes.

Pictures of every page go to screenshots/, which git ignores.
"""

from __future__ import annotations

import base64
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

import joip_share
from servers import PERSON, ROOT, Client, Service, free_port, need, wait_for

SHOTS = ROOT / "screenshots"
ARGS = [
    "--no-sandbox", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip
PASSWORD = "long enough"
PATIENCE = 15_000  # ms
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser():
    """One chromium, with a fresh profile, for this module."""
    with sync_playwright() as playwright:
        expect.set_options(timeout=PATIENCE)
        path = need("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def sub_path(live, tmp_path_factory):
    """A second service on the same Redis, all of it under /joip, with rate limits."""
    folder, port = tmp_path_factory.mktemp("sub-path"), free_port()
    url, redis_url = f"http://127.0.0.1:{port}/joip", live.redis_url
    with Service(folder, redis_url, port, wait=False, PUBLIC_URL=url) as service:
        service.url = url
        wait_for(service.answers, what="the service under /joip")
        yield service


class Person:
    """Somebody with cookies of their own; whatever the console complains of is kept."""

    def __init__(self, browser, site, **options):
        self.url = site.url
        usual = {"viewport": WIDE, "user_agent": PERSON}
        self.context = browser.new_context(**usual | options)
        self.context.set_default_timeout(PATIENCE)
        self.page = self.context.new_page()
        self.expected = []  # parts of addresses that are meant to fail
        self.complaints = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, message):
        text = f"{message.text} {message.location['url']}"
        if message.type in ("error", "warning") and not any(
            part in text for part in self.expected
        ):
            self.complaints.append(text)

    def __getattr__(self, name):
        return getattr(self.page, name)

    def go(self, path):
        self.page.goto(path if path.startswith("http") else self.url + path)

    def press(self, name, exact=False):
        self.page.get_by_role("button", name=name, exact=exact).click()

    def follow(self, name):
        self.page.get_by_role("link", name=name).first.click()

    def heading(self, name):
        expect(self.page.get_by_role("heading", name=name, level=1)).to_be_visible()

    def sign_up(self, email):
        """Fill in the form that is shown."""
        self.page.get_by_label("Email").fill(email)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.press("Create account")

    def borrow(self, client):
        """Take over an API client's cookies."""
        for cookie in client.cookies:
            given = {"name": cookie.name, "value": cookie.value, "url": self.url}
            self.context.add_cookies([given])
        return self


@pytest.fixture
def person(browser):
    """Makes people; afterwards none of them has seen a complaint of the browser."""
    people = []

    def make(site, **options):
        people.append(Person(browser, site, **options))
        return people[-1]

    yield make
    for someone in people:
        someone.context.close()
        assert someone.complaints == []


def picture(site, number):
    """The address of one of the pictures that the service ships."""
    return f"{site.url}/static/demo-{number}.svg"


def filled(site, count=5, **more):
    """Somebody signed in, with a shared session of demo pictures; their API client."""
    client = Client(site.url)
    client.user = client.sign_up(name="Mira")
    hours = ["Dawn", "Morning", "Noon", "Dusk", "Night"]
    media = [
        {"mediaUrl": f"{picture(site, n % 5 + 1)}?{n}", "caption": hours[n % 5]}
        for n in range(count)
    ]
    session = {
        "title": "Five hours by the lake", "description": "One day, one place.",
        "media": media, "thumbnail": picture(site, 1), "intervalMin": 1,
        "intervalMax": 1,
    }  # fmt: skip
    answer = client.post("/api/sessions", json=session | more)
    assert answer.status_code == 201, answer.text
    client.session = answer.json()["id"]
    client.code = client.share(client.session)
    return client


# ------------------------------------------------------------------- the whole journey


def test_the_whole_journey(sub_path, person):
    owner, stranger = person(sub_path), person(sub_path)
    start_with_an_account(owner, "owner@example.com")
    make_a_session(owner, sub_path)
    reorder_the_media(owner)
    keep_what_is_unsaved(owner)
    link = share_and_copy(owner)
    come_by_the_link(stranger, link, "stranger@example.com")
    play(stranger)
    see_the_numbers(owner)
    pause_and_resume(owner, stranger, link)
    delete(owner)


def start_with_an_account(owner, email):
    owner.go("/")
    owner.heading("A slideshow, behind one link")
    owner.follow("Create an account")
    owner.sign_up(email)
    owner.heading("Your first session")


def make_a_session(owner, site):
    owner.follow("New session")
    owner.get_by_label("Title").fill("A day out")
    owner.get_by_label("at least").fill("2")
    owner.get_by_label("at most").fill("1")
    lines = [picture(site, n) for n in (1, 2, 3, 4)]
    lines += [f"{site.url}/static/gone.jpg", "no address"]
    owner.expected += ["gone.jpg", "/api/sessions"]
    owner.get_by_label("Add media").fill("\n".join(lines))
    owner.press("Add", exact=True)
    expect(owner.locator("#media > li")).to_have_count(5)
    expect(owner.get_by_label("Add media")).to_have_value("no address")
    expect(owner.get_by_label("Add media")).to_have_accessible_description(
        re.compile("not http or https addresses")
    )
    expect(owner.locator("#media .broken")).to_have_count(1)
    owner.get_by_label("Add media").fill("")
    owner.press("Create session")
    expect(owner.get_by_label("at least")).to_have_accessible_description(
        re.compile("Must not be above “at most”")
    )
    owner.get_by_label("at least").fill("1")
    owner.press("Create session")
    owner.wait_for_url(re.compile(r"/sessions/\d+$"))
    owner.heading("A day out")


def order(owner):
    return [
        re.search(r"demo-\d|gone", field.input_value())[0]
        for field in owner.locator("#media [name=mediaUrl]").all()
    ]


def reorder_the_media(owner):
    """By keyboard, then by dragging the first below the third; remove; caption."""
    owner.get_by_label("Move item 2 up").press("Enter")
    assert order(owner) == ["demo-2", "demo-1", "demo-3", "demo-4", "gone"]
    expect(owner.locator("#announce")).to_have_text("Moved to place 1 of 5.")
    drag(owner, owner.locator(".grip").nth(0), owner.locator("#media > li").nth(2))
    assert order(owner) == ["demo-1", "demo-3", "demo-2", "demo-4", "gone"]
    owner.get_by_label("Remove item 4").click()
    owner.get_by_label("Caption of item 1").fill("Dawn")
    save(owner)
    owner.reload()
    assert order(owner) == ["demo-1", "demo-3", "demo-2", "gone"]
    expect(owner.get_by_label("Caption of item 1")).to_have_value("Dawn")


def drag(owner, grip, target):
    grip.scroll_into_view_if_needed()
    start, end = grip.bounding_box(), target.bounding_box()
    x = start["x"] + start["width"] / 2
    owner.mouse.move(x, start["y"] + start["height"] / 2)
    owner.mouse.down()
    owner.mouse.move(x, end["y"] + end["height"] * 0.75, steps=8)
    owner.mouse.up()


def save(owner):
    owner.press("Save")
    expect(owner.locator("#state")).to_have_text("Saved")


def keep_what_is_unsaved(owner):
    """Leaving with unsaved changes asks first; staying keeps them."""
    asked = []
    owner.page.once("dialog", lambda box: (asked.append(box.type), box.dismiss()))
    owner.get_by_label("Title").fill("A day by the lake")
    expect(owner.locator("#state")).to_have_text("Unsaved changes")
    owner.get_by_role("link", name="Referrals").click(no_wait_after=True)
    wait_for(lambda: owner.evaluate("1") and asked, what="the question")
    assert asked == ["beforeunload"]
    expect(owner.get_by_label("Title")).to_have_value("A day by the lake")
    save(owner)


def share_and_copy(owner):
    owner.context.grant_permissions(["clipboard-read", "clipboard-write"])
    owner.press("Make the link")
    field = owner.get_by_label("Link for everyone", exact=True)
    expect(field).to_have_value(re.compile(r"/shared/[0-9a-f-]{36}\?r=[a-z0-9]{8}$"))
    expect(owner.get_by_role("img", name="QR code of the link")).to_be_visible()
    owner.press("Copy: Link for everyone")
    expect(owner.get_by_role("button", name="Copy: Link")).to_have_text("Copied")
    copied = owner.evaluate("navigator.clipboard.readText()")
    assert copied == field.input_value()
    return copied


def come_by_the_link(stranger, link, email):
    with stranger.expect_response("**/seen") as beacon:
        stranger.go(link)
    assert beacon.value.status == 204
    stranger.heading("A day by the lake")
    stranger.follow("Create an account")
    stranger.sign_up(email)
    stranger.wait_for_url("**/play")


def showing(stranger):
    return stranger.locator(".slide:not(.leave) > *").last.get_attribute("src")


def play(stranger):
    """The media change, a pause holds, a broken one is named and skipped."""
    stranger.expected.append("gone.jpg")
    expect(stranger.locator("#caption")).to_have_text("Dawn")
    expect(stranger.locator("#place")).to_have_text("2 / 4")
    stranger.keyboard.press("Space")
    held, at = showing(stranger), stranger.locator("#place").inner_text()
    stranger.wait_for_function(  # longer than any medium stays
        "since => performance.now() > since + 1300",
        arg=stranger.evaluate("performance.now()"),
    )
    assert (showing(stranger), stranger.locator("#place").inner_text()) == (held, at)
    stranger.keyboard.press("Space")
    expect(stranger.locator("#notice")).to_contain_text("gone.jpg")
    expect(stranger.locator("#place")).to_have_text("1 / 4")
    stranger.keyboard.press("ArrowRight")
    expect(stranger.locator("#place")).to_have_text("2 / 4")
    stranger.keyboard.press("Escape")
    stranger.heading("A day by the lake")


def see_the_numbers(owner):
    """The stranger came twice to the preview, and was not alone in the numbers."""
    owner.reload()
    figures = owner.locator(".funnel .sum").all_inner_texts()
    counts = [int(text.split()[0]) for text in figures]
    opens, views, plays, signups = counts
    assert (opens, plays, signups) == (2, 1, 1)
    assert views in (1, 2)  # the second beacon may still be under way
    owner.get_by_text("The same figures as a table").click()
    expect(owner.get_by_role("region", name="Daily figures")).to_be_visible()


def pause_and_resume(owner, stranger, link):
    owner.press("Pause")
    expect(owner.locator("#share .mark")).to_have_text("Paused")
    stranger.expected.append("/shared/")
    stranger.go(link)
    stranger.heading("There is nothing here")
    owner.press("Resume")
    expect(owner.locator("#share .mark")).to_have_text("Shared")
    stranger.go(link)
    stranger.heading("A day by the lake")


def delete(owner):
    """Asked first, with the export at hand."""
    owner.press("Delete this session…")
    with owner.expect_download() as download:
        owner.get_by_role("link", name="Download a copy first").click()
    assert "A day by the lake" in download.value.path().read_text()
    owner.get_by_role("dialog").get_by_role("button", name="Delete").click()
    owner.heading("Your first session")


def test_media_are_dragged_by_finger_in_a_scrolled_page(live, person):
    client = filled(live)
    owner = person(live, has_touch=True, viewport=NARROW).borrow(client)
    owner.go(f"/sessions/{client.session}")
    owner.locator(".grip").nth(0).evaluate("grip => grip.scrollIntoView()")
    start = owner.locator(".grip").nth(0).bounding_box()
    target = owner.locator("#media > li").nth(2).bounding_box()
    x, end = start["x"] + 5, target["y"] + target["height"] * 0.7
    finger(owner, (x, start["y"] + 70), (x, end))
    expect(owner.locator("#announce")).to_have_text("Moved to place 3 of 5.")


# ------------------------------------------------------------------ the forms' refusals


def test_a_refused_sign_in_says_why_and_a_good_one_goes_on(live, person):
    account = Client(live.url).sign_up()
    someone = person(live)
    someone.expected.append("/api/login")
    someone.go("/referrals")
    someone.get_by_label("Email").fill(account["email"])
    someone.get_by_label("Password").fill("wrong password")
    someone.press("Sign in")
    expect(someone.get_by_role("alert").last).to_have_text("Invalid email or password.")
    someone.get_by_label("Password").fill(PASSWORD)
    someone.press("Sign in")
    someone.heading("Referrals")
    someone.press("Sign out")
    someone.heading("A slideshow, behind one link")


def test_throttling_is_explained_on_the_form(sub_path, person):
    wrong = {"email": "guessed@example.com", "password": "wrong password"}
    for _ in range(5):
        assert Client(sub_path.url).post("/api/login", json=wrong).status_code == 401
    someone = person(sub_path)
    someone.expected.append("/api/login")
    someone.go("/login")
    someone.get_by_label("Email").fill(wrong["email"])
    someone.get_by_label("Password").fill(wrong["password"])
    someone.press("Sign in")
    expect(someone.get_by_role("alert").last).to_have_text(
        re.compile(r"After five wrong passwords .* Please wait \d+ (minutes|seconds)")
    )


def test_a_link_for_one_person(live, person):
    client = filled(live)
    friend = Client(live.url).sign_up()
    owner = person(live).borrow(client)
    owner.expected.append("/share")
    owner.go(f"/sessions/{client.session}")
    owner.get_by_text("Links for one person").click()
    owner.get_by_label("Account ID").fill("nobody")
    owner.press("Make a link for this account")
    expect(owner.get_by_label("Account ID")).to_have_accessible_description(
        "Nobody has this account ID"
    )
    owner.get_by_label("Account ID").fill(friend["id"])
    owner.press("Make a link for this account")
    name = f"Link for account {friend['id']}"
    expect(owner.get_by_label(name, exact=True)).to_have_value(re.compile("/shared/"))


def test_the_phones_own_share_sheet_is_offered_where_it_exists(live, person):
    client = filled(live)
    owner = person(live).borrow(client)
    owner.context.add_init_script("navigator.share = async (data) => { got = data }")
    owner.go(f"/sessions/{client.session}")
    owner.press("Share…")
    assert client.code in owner.evaluate("got.url")


# ------------------------------------------------------------------------- the preview


def test_the_preview_is_light(live, person):
    """Four requests draw it, pictures and all; the beacon loads nothing."""
    stranger, seen = person(live), []
    stranger.on("requestfinished", lambda request: seen.append(request))
    with stranger.expect_response("**/seen"):
        stranger.go(f"/shared/{filled(live).code}")
    drawn = [request for request in seen if request.method == "GET"]
    sizes = [request.sizes() for request in drawn]
    weight = sum(s["responseBodySize"] + s["responseHeadersSize"] for s in sizes)
    assert len(drawn) <= 4
    assert weight < 50_000, weight
    assert [r.url.rpartition("/")[2] for r in seen if r.method == "POST"] == ["seen"]


def test_the_preview_works_without_javascript(live, person):
    stranger = person(live, java_script_enabled=False)
    stranger.go(f"/shared/{filled(live).code}")
    stranger.heading("Five hours by the lake")
    expect(stranger.get_by_text("5 items, about 5 seconds")).to_be_visible()
    expect(stranger.get_by_role("link", name="Sign in to play")).to_be_visible()
    expect(stranger.get_by_role("link", name="Create an account")).to_be_visible()


def test_the_beacon_waits_until_the_page_is_visible_and_fires_once(live, person):
    stranger, beacons = person(live), []
    stranger.on("request", lambda r: r.url.endswith("/seen") and beacons.append(r))
    stranger.context.add_init_script("""
        const set = (name, value) =>
          Object.defineProperty(document, name, { value, configurable: true });
        set("prerendering", true);
        set("visibilityState", "hidden");
    """)
    stranger.go(f"/shared/{filled(live).code}")
    become = """([name, event]) => {
      delete document[name];
      document.dispatchEvent(new Event(event));
    }"""
    stranger.evaluate(become, ["prerendering", "prerenderingchange"])
    assert beacons == []
    with stranger.expect_response("**/seen"):
        stranger.evaluate(become, ["visibilityState", "visibilitychange"])
    stranger.evaluate(become, ["visibilityState", "visibilitychange"])
    stranger.follow("Sign in to play")
    assert len(beacons) == 1


# -------------------------------------------------------------------------- the player

RECORD = """async () => {
  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d");
  const recorder = new MediaRecorder(canvas.captureStream(20));
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recorder.start();
  for (let n = 0; n < 12; n += 1) {
    pen.fillStyle = `hsl(${n * 30} 60% 50%)`;
    pen.fillRect(0, 0, 300, 150);
    await new Promise((done) => setTimeout(done, 50));
  }
  await new Promise((done) => { recorder.onstop = done; recorder.stop(); });
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  return btoa(String.fromCharCode(...bytes));
}"""


def player(person, site, client, **options):
    """Somebody signed in, at the player."""
    viewer = person(site, **options).borrow(client)
    viewer.go(f"/shared/{client.code}/play")
    return viewer


def test_a_video_plays_to_its_end(live, person):
    viewer = person(live)
    viewer.go("/login")
    clip = base64.b64decode(viewer.evaluate(RECORD))
    media = [{"mediaUrl": f"{live.url}/clip.webm", "type": "video"},
             {"mediaUrl": picture(live, 1)}]  # fmt: skip
    client = filled(live, media=media)
    served = {"body": clip, "content_type": "video/webm"}
    viewer.borrow(client).context.route(
        "**/clip.webm", lambda route: route.fulfill(**served)
    )
    viewer.add_init_script("""
        document.addEventListener("ended", () => { window.toTheEnd = true }, true)
    """)
    viewer.go(f"/shared/{client.code}/play")
    expect(viewer.locator("#place")).to_have_text("1 / 2")
    expect(viewer.locator("#place")).to_have_text("2 / 2")
    assert viewer.evaluate("window.toTheEnd")


def test_media_are_fetched_page_by_page_and_one_ahead(live, person):
    client = filled(live, count=120, intervalMin=60, intervalMax=60)
    asked, loaded = [], []
    viewer = person(live).borrow(client)
    viewer.on("request", lambda r: "/media/" in r.url and asked.append(r.url))
    viewer.on("request", lambda r: "demo-" in r.url and loaded.append(r.url))
    viewer.go(f"/shared/{client.code}/play")
    expect(viewer.locator("#place")).to_have_text("1 / 120")
    wait_for(lambda: viewer.evaluate("1") and len(loaded) == 2, what="the one ahead")
    viewer.keyboard.press("ArrowLeft")
    expect(viewer.locator("#place")).to_have_text("120 / 120")
    assert [re.search(r"offset=(\d+)", url)[1] for url in asked] == ["0", "100"]


def test_touch_fullscreen_and_the_buttons(live, person):
    client = filled(live, intervalMin=60, intervalMax=60)
    viewer = player(person, live, client, has_touch=True, viewport=NARROW)
    place = viewer.locator("#place")
    expect(place).to_have_text("1 / 5")
    finger(viewer, (300, 300), (100, 300))
    expect(place).to_have_text("2 / 5")
    finger(viewer, (100, 300), (300, 300))
    expect(place).to_have_text("1 / 5")
    viewer.press("Next")
    expect(place).to_have_text("2 / 5")
    viewer.press("Previous")
    expect(place).to_have_text("1 / 5")
    viewer.press("Pause")
    expect(viewer.get_by_role("button", name="Play")).to_be_visible()
    viewer.keyboard.press("f")
    viewer.wait_for_function("document.fullscreenElement?.id === 'player'")


def finger(someone, start, end):
    """A finger drawn over the screen, by the browser's own input."""
    touch = someone.context.new_cdp_session(someone.page)
    for step in range(11):
        x, y = (a + (b - a) * step / 10 for a, b in zip(start, end, strict=True))
        kind = "touchMove" if step else "touchStart"
        event = {"type": kind, "touchPoints": [{"x": x, "y": y}]}
        touch.send("Input.dispatchTouchEvent", event)
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_reduced_motion_is_respected(live, person):
    """Only the bar that tells the time moves, and it moves in steps."""
    client = filled(live, transition="slide")
    viewer = player(person, live, client, reduced_motion="reduce")
    expect(viewer.locator("#place")).to_have_text("2 / 5")
    moving = "document.getAnimations().map(({ effect }) => effect.target.id)"
    assert viewer.evaluate(moving) in ([], ["time"])


@pytest.mark.parametrize("transition", ["fade", "slide", "zoom", "flip", "none"])
def test_the_chosen_transition_is_used(live, person, transition):
    client = filled(live, transition=transition, intervalMin=60, intervalMax=60)
    viewer = player(person, live, client)
    expect(viewer.locator("#place")).to_have_text("1 / 5")
    moves = """() => {
      document.getElementById("next").click();
      return new Promise((done) => new MutationObserver(() => done(
        [...document.querySelectorAll(".enter, .leave")].flatMap((slide) =>
          slide.getAnimations().map((animation) => animation.animationName))
      )).observe(document.getElementById("stage"), { childList: true }));
    }"""
    names = set(viewer.evaluate(moves))
    wanted = {f"{transition}-in", f"{transition}-out"} - {"none-in", "none-out"}
    assert names >= wanted
    assert bool(names) == bool(wanted)


def test_nothing_but_broken_media_says_so(live, person):
    client = filled(live, media=[{"mediaUrl": f"{live.url}/static/gone.jpg"}])
    viewer = person(live).borrow(client)
    viewer.expected.append("gone.jpg")
    viewer.go(f"/shared/{client.code}/play")
    expect(viewer.get_by_role("alert")).to_contain_text("None of the media")
    expect(viewer.get_by_role("link", name="Try again")).to_be_visible()


# ------------------------------------------------- every page: axe, 360 px, screenshots


@pytest.fixture(scope="module")
def gallery(live):
    """Accounts and sessions in every state that a page can show."""
    owner = filled(live)
    guest = Client(live.url)
    guest.get(f"/shared/{owner.code}?r={owner.user['referralCode']}")
    owner.guest = guest.sign_up()
    guest.get(f"/api/shared/{owner.code}")
    for n in range(12):
        headers = {"Referer": f"https://site-{n % 3}.example.org/"}
        Client(live.url).get(f"/shared/{owner.code}", headers=headers)
    guest.post(f"/api/shared/{owner.code}/seen")
    owner.share(owner.session, userId=owner.guest["id"])
    owner.plain = owner.share(owner.make_session(title="Without a thumbnail", media=1))
    paused = owner.make_session(title="Words" * 30)
    owner.share(paused)
    owner.patch(f"/api/sessions/{paused}", json={"isPublic": False})
    owner.make_session(title="Not shared yet")
    owner.theirs = guest.make_session()
    owner.newcomer = Client(live.url)
    owner.newcomer.sign_up()
    return owner


@pytest.fixture(scope="module")
def refusals(live, tmp_path_factory):
    """Error pages as the service makes them; those of a broken view, by hand."""
    app = joip_share.create_app(joip_share.Settings(), joip_share.fakeredis.FakeRedis())
    waits = {"Retry-After": "42"}
    problems = {429: joip_share.Problem("RATE_LIMITED", headers=waits),
                500: RuntimeError(), 503: joip_share.StoreUnavailable()}  # fmt: skip

    def fail(status):
        raise problems[status]

    app.add_url_rule("/fail/<int:status>", view_func=fail)
    client = app.test_client()
    return {status: client.get(f"/fail/{status}").text for status in problems}


def visited(gallery):
    """Every page: its name, its path and who sees it."""
    link, session = f"/shared/{gallery.code}", f"/sessions/{gallery.session}"
    return [
        ("welcome", "/", "stranger"), ("login", "/login", "stranger"),
        ("register", "/register", "stranger"), ("preview", link, "stranger"),
        ("preview-drawn", f"/shared/{gallery.plain}", "stranger"),
        ("preview-signed-in", link, "newcomer"), ("first-session", "/", "newcomer"),
        ("sessions", "/", "owner"), ("new", "/sessions/new", "owner"),
        ("editor", session, "owner"), ("referrals", "/referrals", "owner"),
        ("play", f"{link}/play", "newcomer"),
        ("403", f"/sessions/{gallery.theirs}", "owner"), ("404", "/no", "stranger"),
        ("429", "/429", "stranger"), ("500", "/500", "stranger"),
        ("503", "/503", "stranger"),
    ]  # fmt: skip


def test_every_page_is_accessible_and_fits_a_phone(live, person, gallery, refusals):
    SHOTS.mkdir(exist_ok=True)
    roles = "stranger", "newcomer", "owner"
    people = {who: person(live, reduced_motion="reduce") for who in roles}
    people["owner"].borrow(gallery)
    people["newcomer"].borrow(gallery.newcomer)
    for someone in people.values():
        someone.expected += ["403 (", "404 (", "429 (", "500 (", "503 (", "example.org"]
        answer_with(someone, refusals)
    faults = []
    for name, path, who in visited(gallery):
        people[who].go(path)
        for box in people[who].locator("details").all():
            box.evaluate("box => { box.open = true }")
        for scheme in ("light", "dark"):
            people[who].emulate_media(color_scheme=scheme)
            found = look_at(people[who], f"{name}-{scheme}")
            faults += [f"{name}-{scheme}: {fault}" for fault in found]
    assert not faults, "\n".join(faults)


def answer_with(someone, refusals):
    """Serve these pages at /429, /500 and /503."""

    def serve(route):
        status = int(route.request.url.rpartition("/")[2])
        html = refusals[status]
        route.fulfill(status=status, body=html, content_type="text/html")

    someone.context.route(re.compile(r"/(429|500|503)$"), serve)


def look_at(someone, name):
    """What axe-core finds, and whether 360 px scroll sideways; leaves two pictures."""
    found = Axe().run(someone.page).response["violations"]
    someone.screenshot(path=SHOTS / f"{name}-wide.jpg", full_page=True)
    someone.set_viewport_size(NARROW)
    width = someone.evaluate("document.documentElement.scrollWidth")
    someone.screenshot(path=SHOTS / f"{name}-narrow.jpg", full_page=True)
    someone.set_viewport_size(WIDE)
    broken = [f"{v['id']} at {node['target']}" for v in found for node in v["nodes"]]
    return broken + ([f"is {width} px wide"] if width > NARROW["width"] else [])
