"""The player in Debian's chromium, with media from a slow, stalling or broken host."""

from __future__ import annotations

import itertools
import re

import pytest
from playwright.sync_api import expect

from media_server import MediaServer
from pages import PASSWORD
from people import FORBIDDEN, LOOKS, NARROW, OLD, UNCOPIED, WIDE, contrast
from servers import ROOT, Client, wait_for

SMALL = {"width": 320, "height": 568}

pytest_plugins = ["browsing"]


@pytest.fixture
def host():
    """Somebody's host of media, which allows no CORS."""
    with MediaServer() as host:
        yield host


@pytest.fixture(scope="module")
def owner(live):
    """Somebody signed in, whose all the slideshows are."""
    client = Client(live.url)
    client.user = client.sign_up(name="Mira")
    return client


@pytest.fixture(scope="module")
def guest(live):
    """Somebody else with an account."""
    client = Client(live.url)
    client.user = client.sign_up()
    return client


@pytest.fixture
def viewer(live, host, person, owner):
    """Gives a browser, signed in, a shared slideshow of these media to play; it ends
    before the host of the media, whose end it would complain of."""

    def play(media, session=None, **options):
        more = {"intervalMin": 60, "intervalMax": 60} | (session or {})
        given = {"title": "By the lake", "media": media} | more
        answer = owner.post("/api/sessions", json=given)
        assert answer.status_code == 201, answer.text
        viewer = person(live, **options).borrow(owner)
        viewer.code = owner.share(answer.json()["id"])
        viewer.path = f"/shared/{viewer.code}/play"
        return viewer

    return play


PHONE = {"has_touch": True, "is_mobile": True, "viewport": NARROW}


def pictures(host, *colours, **more):
    """Items that are pictures of one colour each."""
    return [
        {"mediaUrl": f"{host.url}/{n}/picture/{colour}", "caption": colour.title()}
        | more
        for n, colour in enumerate(colours)
    ]


def film(host, path="", **more):
    """An item that is a video."""
    return {"mediaUrl": f"{host.url}{path}/film.webm", "type": "video"} | more


def start(viewer, place):
    """Open the player and wait until something is on the stage, at that place."""
    viewer.go(viewer.path)
    at(viewer, place)
    expect(viewer.locator(".slide")).to_have_count(1)


def start_untouched(viewer):
    """Open the player until its video plays; to look at it would count as a touch."""
    viewer.add_init_script("""document.addEventListener(
        "playing", () => console.info("It plays."), true)""")
    with viewer.expect_console_message(lambda message: message.text == "It plays."):
        viewer.go(viewer.path)


def at(viewer, place):
    """Wait until the player is at a place, such as "2 / 5"."""
    expect(viewer.locator("#place")).to_have_text(place)


def push(viewer, name, exact=False):
    """Press a button by keyboard, which reaches the controls while they hide, too."""
    button = viewer.get_by_role("button", name=name, exact=exact)
    expect(button).to_be_enabled()
    button.press("Enter")


def stop_the_clock(viewer):
    """From now on a page's timers wait for the test to move its clock, so that nothing
    passes by while nobody looks; media and animations go on."""
    viewer.clock.install(time=0)
    viewer.clock.pause_at(1000)


def seek(viewer, part):
    """Click on the bar of a video's time; the bar."""
    bar = viewer.get_by_label("Time in the video")
    box = bar.bounding_box()
    viewer.mouse.click(box["x"] + box["width"] * part, box["y"] + box["height"] / 2)
    return bar


def idle(viewer):
    """Wait until the controls have hidden."""
    expect(viewer.locator("#player")).to_have_class(re.compile("idle"))


def awake(viewer):
    """Wait until the controls are there."""
    expect(viewer.locator("#player")).not_to_have_class(re.compile("idle"))


# ------------------------------------------------------------------------------ it fits

OUTSIDE = """() => [...document.querySelectorAll("button, input, a")]
  .filter((control) => control.checkVisibility())
  .map((control) => [control.id, control.getBoundingClientRect()])
  .filter(([, { left, right, bottom }]) =>
    left < 0 || right > innerWidth || bottom > innerHeight)
  .map(([id]) => id)"""


@pytest.mark.parametrize("text", ["100%", "200%"])
def test_all_controls_fit_320_px_also_when_a_video_starts_muted(viewer, host, text):
    captions = f"{host.url}/captions.vtt"
    media = [film(host, captions=captions), *pictures(host, "teal")]
    small = viewer(media, **PHONE | {"viewport": SMALL})
    small.expected += ["CORS", "film.webm"]
    small.add_init_script(f"""addEventListener("DOMContentLoaded", () => {{
      document.documentElement.style.fontSize = "{text}";
    }})""")
    start_untouched(small)
    expect(small.get_by_role("button", name="Unmute")).to_be_visible()
    expect(small.locator("#sound .ask")).to_be_visible()
    assert small.evaluate(OUTSIDE) == []
    assert small.evaluate("document.documentElement.scrollWidth") <= 320


def test_a_caption_is_readable_on_white_when_the_controls_are_hidden(viewer, host):
    media = pictures(host, "white", caption="Fog over the lake")
    white = viewer(media, reduced_motion="reduce", **PHONE)  # the words stand at once
    start(white, "1 / 1")
    idle(white)
    white.locator("#stage").evaluate("stage => { stage.style.background = 'white' }")
    white.locator("canvas").evaluate("canvas => canvas.remove()")
    white.locator(".slide").evaluate("slide => { slide.style.background = 'white' }")
    box = white.locator("#caption").bounding_box()
    colours = white.colours(box)
    background, text = colours.most_common(1)[0][0], max(colours, key=sum)
    assert contrast(background, text) >= 7


def test_what_does_not_fill_the_screen_is_surrounded_by_itself_blurred(viewer, host):
    wide = viewer(pictures(host, "red"))
    start(wide, "1 / 1")
    idle(wide)
    [(red, green, blue)] = wide.colours({"x": 20, "y": 400, "width": 1, "height": 1})
    assert red > 60 > max(green, blue)


# -------------------------------------------------------------------------------- touch


def test_the_first_tap_only_shows_the_controls_and_the_next_one_hides_them(
    viewer, host
):
    phone = viewer(pictures(host, "teal", "navy", "gold"), **PHONE)
    stop_the_clock(phone)
    start(phone, "1 / 3")
    spot = phone.locator("#next").bounding_box()
    over_next = spot["x"] + spot["width"] / 2, spot["y"] + spot["height"] / 2
    phone.clock.fast_forward(4_000)
    idle(phone)
    phone.touchscreen.tap(*over_next)
    awake(phone)
    at(phone, "1 / 3")
    phone.clock.fast_forward(1_000)
    phone.touchscreen.tap(*over_next)
    at(phone, "2 / 3")
    phone.touchscreen.tap(180, 300)
    idle(phone)


def test_a_tapped_button_does_not_keep_the_controls(viewer, host):
    phone = viewer(pictures(host, "teal", "navy"), **PHONE)
    stop_the_clock(phone)
    start(phone, "1 / 2")
    phone.get_by_role("button", name="Next").tap()
    at(phone, "2 / 2")
    awake(phone)
    phone.clock.fast_forward(4_000)
    idle(phone)


def test_a_focus_by_keyboard_and_a_pause_keep_the_controls(viewer, host):
    desk = viewer(pictures(host, "teal", "navy"))
    stop_the_clock(desk)
    start(desk, "1 / 2")
    desk.keyboard.press("Tab")
    desk.clock.fast_forward(10_000)
    awake(desk)
    desk.mouse.click(600, 300)
    desk.keyboard.press("Space")
    desk.clock.fast_forward(10_000)
    awake(desk)


def test_next_pressed_five_times_moves_five_however_slow_the_media(viewer, host):
    slow = [{"mediaUrl": f"{host.url}/{n}/slow/picture/teal"} for n in range(4)]
    media = [*pictures(host, "navy"), *slow, *pictures(host, "gold"), *slow]
    hurried = viewer(media)
    hurried.expected.append("/slow/")  # what is passed over may be broken off
    start(hurried, "1 / 10")
    for _ in range(5):
        push(hurried, "Next")
    at(hurried, "6 / 10")
    expect(hurried.locator("#caption")).to_have_text("Gold")
    for _ in range(5):
        hurried.keyboard.press("ArrowLeft")
    at(hurried, "1 / 10")
    expect(hurried.locator("#caption")).to_have_text("Navy")


def test_a_title_from_right_to_left_leaves_who_made_it_in_its_order(viewer, host):
    viewer = viewer(pictures(host, "red"), {"title": "ליד האגם"})
    viewer.go(viewer.path)
    maker = viewer.locator(".top-bar small")
    begins = "(node) => node.getBoundingClientRect().left"
    expect(maker).to_have_text("by Mira")
    assert maker.evaluate(begins) < maker.locator("bdi").evaluate(begins)


def test_a_swipe_goes_on_and_back(viewer, host):
    phone = viewer(pictures(host, "teal", "navy"), **PHONE)
    start(phone, "1 / 2")
    phone.finger((300, 300), (100, 310))
    at(phone, "2 / 2")
    phone.finger((100, 300), (300, 310))
    at(phone, "1 / 2")


def test_who_has_zoomed_in_moves_about_in_the_picture_by_a_finger(viewer, host):
    viewer = viewer(pictures(host, "red", "blue", "green"), **PHONE)
    viewer.go(viewer.path)
    expect(viewer.locator("#place")).to_have_text("1 / 3")
    fingers = viewer.context.new_cdp_session(viewer.page)
    fingers.send("Emulation.setPageScaleFactor", {"pageScaleFactor": 2.5})
    expect(viewer.locator("#stage")).to_have_class("stage zoomed")
    viewer.finger((300, 300), (60, 300))
    viewer.wait_for_function("() => visualViewport.offsetLeft > 0")
    fingers.send("Emulation.setPageScaleFactor", {"pageScaleFactor": 1})
    expect(viewer.locator("#stage")).to_have_class("stage")
    viewer.finger((300, 300), (60, 300))
    expect(viewer.locator("#place")).to_have_text("2 / 3")


def test_a_double_tap_and_f_switch_fullscreen_and_the_button_says_so(viewer, host):
    phone = viewer(pictures(host, "teal"), **PHONE)
    start(phone, "1 / 1")
    phone.double_tap(180, 300)
    leave = phone.get_by_role("button", name="Leave fullscreen")
    expect(leave).to_be_attached()
    phone.keyboard.press("f")
    expect(leave).not_to_be_attached()
    push(phone, "Fullscreen")
    expect(leave).to_be_attached()
    assert phone.evaluate("document.fullscreenElement.id") == "player"


@pytest.mark.parametrize(
    ("key", "code"), [("M", "KeyM"), ("ь", "KeyM"), ("m", "Semicolon")]
)
def test_a_letter_is_read_with_caps_lock_and_on_keyboards_of_other_scripts(
    viewer, host, key, code
):
    desk = viewer(pictures(host, "teal"))
    start(desk, "1 / 1")
    desk.evaluate(PRESS, {"key": key, "code": code})
    expect(desk.locator("#sound")).to_have_attribute("aria-label", "Unmute")


# ----------------------------------------------------------------------------- patience


PRESS = """(key) => document.body.dispatchEvent(
  new KeyboardEvent("keydown", { ...key, bubbles: true, cancelable: true }))"""
CONTROLS = "#player .bar :is(button, input)"


def test_what_plays_waits_for_its_modules_and_so_do_the_controls_as_one_sees(
    viewer, host
):
    early, held = viewer(pictures(host, "teal", "navy"), **PHONE), []
    early.context.route("**/player-show.js*", lambda route: held.append(route))
    early.page.goto(early.url + early.path, wait_until="commit")
    expect(early.locator("#wheel")).to_be_visible()
    wait_for(lambda: early.evaluate("1") and held, what="the module")
    for control in early.locator(CONTROLS).all():
        expect(control).to_be_disabled()
    expect(early.get_by_role("link", name="Leave the player")).to_be_visible()
    for route in held:
        route.continue_()
    at(early, "1 / 2")
    for control in early.locator(CONTROLS).all():
        expect(control).to_be_enabled()
    push(early, "Next")
    at(early, "2 / 2")


def test_the_player_is_light_and_names_its_modules_so_that_none_waits_for_another(
    viewer, host
):
    """On a slow line the first picture stands 2.5 s after the tap, or sooner."""
    light, seen = viewer(pictures(host, "teal")), []
    light.on("requestfinished", lambda request: seen.append(request))
    start(light, "1 / 1")
    own = [request for request in seen if request.url.startswith(light.url)]
    weight = sum(request.sizes()["responseBodySize"] for request in own)
    assert weight < 120_000, weight
    modules = {r.url for r in own if r.resource_type == "script"}
    named = light.locator("link[rel=modulepreload]").evaluate_all(
        "links => links.map(({ href }) => href)"
    )
    assert {url for url in modules if "/player.js" not in url} == set(named)
    asked = [r.url for r in own if "/api/" in r.url]
    assert len(asked) == 1


def test_where_a_module_does_not_come_the_page_can_be_loaded_again(viewer, host):
    lost = viewer(pictures(host, "teal"))
    lost.expected.append("player-show.js")
    lost.context.route("**/player-show.js*", lambda route: route.abort())
    lost.go(lost.path)
    expect(lost.get_by_role("alert")).to_have_text(
        "The player could not be loaded. Please load this page again."
    )
    lost.context.unroute("**/player-show.js*")
    lost.get_by_role("link", name="Try again").click()
    at(lost, "1 / 1")


def test_a_slow_picture_is_waited_for_and_can_be_skipped(viewer, host):
    media = [
        {"mediaUrl": f"{host.url}/slow/picture/teal", "caption": "Slow"},
        *pictures(host, "navy"),
    ]
    patient = viewer(media)
    stop_the_clock(patient)
    patient.go(patient.path)
    expect(patient.locator("#stage")).to_have_attribute("aria-busy", "true")
    expect(patient.locator("#wheel")).to_be_hidden()
    patient.clock.fast_forward(1_000)
    expect(patient.locator("#wheel")).to_be_visible()
    patient.clock.fast_forward(5_000)
    expect(patient.get_by_role("status").first).to_contain_text("Still loading…")
    push(patient, "Skip")
    at(patient, "2 / 2")
    expect(patient.locator("#wheel")).to_be_hidden()
    host.release()
    push(patient, "Previous")
    at(patient, "1 / 2")
    expect(patient.locator("#caption")).to_have_text("Slow")


def test_a_picture_that_takes_a_minute_is_skipped_and_tried_again(viewer, host):
    media = [
        {"mediaUrl": f"{host.url}/slow/picture/teal", "caption": "Slow"},
        *pictures(host, "navy"),
    ]
    patient = viewer(media)
    stop_the_clock(patient)
    patient.go(patient.path)
    wait_for(lambda: patient.evaluate("1") and host.asked, what="the slow picture")
    patient.clock.fast_forward(59_000)
    at(patient, "1 / 2")
    patient.clock.fast_forward(1_000)
    expect(patient.locator("#notice")).to_have_text(
        "“Slow” takes too long and is skipped for now."
    )
    at(patient, "2 / 2")
    host.release()
    push(patient, "Previous")
    expect(patient.locator("#caption")).to_have_text("Slow")
    assert host.asked["/slow/picture/teal"] >= 2


def test_a_video_is_shown_once_its_metadata_are_there_and_skipped_when_it_stalls(
    viewer, host
):
    media = [film(host, "/stall", caption="Waves"), *pictures(host, "navy")]
    patient = viewer(media)
    stop_the_clock(patient)
    start(patient, "1 / 2")
    video = patient.locator(".slide > video")
    expect(video).to_be_visible()
    video.evaluate("""video => {
      window.waiting = new Promise((done) => {
        video.addEventListener("waiting", () => done(true));
      });
    }""")
    seek(patient, 0.95)
    assert patient.evaluate("waiting")
    patient.clock.fast_forward(1_000)
    expect(patient.locator("#wheel")).to_be_visible()
    patient.clock.fast_forward(15_000)
    expect(patient.locator("#notice")).to_contain_text("“Waves” takes too long")
    at(patient, "2 / 2")
    expect(patient.locator("#wheel")).to_be_hidden()


def test_what_no_parser_takes_and_what_is_gone_are_skipped_by_name(viewer, host):
    broken = viewer(pictures(host, "teal", "navy", "gold"))
    broken.expected.append("gone%20by.jpg")

    def spoil(route):
        answer = route.fetch().json()
        addresses = ["http://[lake/d%C3%A9but.jpg?1", f"{host.url}/gone%20by.jpg"]
        for item, address in zip(answer["media"], addresses, strict=False):
            item |= {"mediaUrl": address, "caption": None}
        route.fulfill(json=answer)

    broken.context.route("**/api/shared/media/**", spoil)
    broken.add_init_script("""addEventListener("DOMContentLoaded", () => {
      window.said = [];
      new MutationObserver(([{ target }]) => said.push(target.textContent))
        .observe(document.getElementById("notice"), { childList: true });
    })""")
    broken.go(broken.path)
    at(broken, "3 / 3")
    told = broken.evaluate("said")
    for name in ("début.jpg", "gone by.jpg"):
        assert f"“{name}” could not be loaded and is skipped." in told


def test_nothing_but_broken_media_says_so_and_try_again_goes_on(viewer, host):
    gone = viewer([{"mediaUrl": f"{host.url}/gone.jpg"}])
    gone.expected.append("gone.jpg")
    gone.go(gone.path)
    expect(gone.get_by_role("alert")).to_contain_text("None of the media")
    served = {"body": (ROOT / "static" / "card.png").read_bytes()}
    gone.context.route("**/gone.jpg", lambda route: route.fulfill(**served))
    push(gone, "Try again")
    expect(gone.locator(".slide:not(.leave) > img")).to_be_visible()
    expect(gone.get_by_role("alert")).to_be_hidden()


def test_try_again_goes_on_where_one_was(viewer, host):
    """The 51st item's page of the API does not come, at first."""
    lost = viewer(pictures(host, *["teal"] * 60))
    start(lost, "1 / 60")
    lost.expected.append("offset=50")
    lost.context.route("**offset=50**", lambda route: route.abort())
    lost.locator("#overall").fill("51")
    expect(lost.get_by_role("alert")).to_contain_text("no connection")
    lost.context.unroute("**offset=50**")
    push(lost, "Try again")
    expect(lost.locator('.slide > [src*="/50/"]')).to_be_visible()
    at(lost, "51 / 60")


def test_without_a_network_it_waits_where_one_was_and_goes_on_once_it_is_back(
    viewer, host
):
    """Nothing is said to be broken, and the end is not reached in a moment."""
    lost = viewer(pictures(host, "teal", "navy", "gold", "red", "black"))
    start(lost, "1 / 5")
    lost.expected.append("ERR_INTERNET_DISCONNECTED")
    wait_for(lambda: host.asked["/1/picture/navy"], what="what comes next")
    lost.context.set_offline(True)
    lost.locator("#overall").fill("3")
    expect(lost.get_by_role("alert")).to_contain_text("no connection")
    expect(lost.locator("#end")).to_be_hidden()
    expect(lost.locator("#notice")).to_be_empty()
    lost.context.set_offline(False)
    expect(lost.locator('.slide > [src*="/2/"]')).to_be_visible()
    at(lost, "3 / 5")
    expect(lost.get_by_role("alert")).to_be_hidden()


def test_what_could_not_be_fetched_ahead_is_fetched_again_when_its_turn_comes(
    viewer, host
):
    """So a moment without a network costs no item."""
    lost = viewer(pictures(host, "teal", "navy", "gold"))
    lost.expected.append("/1/picture/navy")
    lost.context.route("**/1/picture/navy", lambda route: route.abort())
    with lost.expect_event("requestfailed"):
        start(lost, "1 / 3")
    lost.context.unroute("**/1/picture/navy")
    push(lost, "Next")
    expect(lost.locator('.slide > [src*="/1/"]')).to_be_visible()
    at(lost, "2 / 3")


def test_an_empty_slideshow_says_so(viewer):
    empty = viewer([])
    empty.go(empty.path)
    expect(empty.get_by_role("alert")).to_have_text(
        "There is nothing in this slideshow yet."
    )
    expect(empty.get_by_role("button", name="Play")).to_have_count(0)
    empty.get_by_role("main").get_by_role("link", name="Back").click()
    empty.heading("By the lake")


# ------------------------------------------------------------------ the device, privacy


@pytest.mark.parametrize("browser", ["chromium"], indirect=True)
def test_the_screen_stays_on_while_something_plays(viewer, host):
    awake = viewer(pictures(host, "teal"))
    awake.add_init_script("""
      window.locks = [];
      const { request } = WakeLock.prototype;
      WakeLock.prototype.request = async function (...given) {
        const lock = await request.apply(this, given);
        locks.push(lock);
        return lock;
      };
    """)
    start(awake, "1 / 1")
    held = "locks.map(({ released }) => !released)"
    wait_for(lambda: awake.evaluate(held) == [True], what="the lock")
    push(awake, "Pause")
    wait_for(lambda: awake.evaluate(held) == [False], what="its release")
    push(awake, "Play", exact=True)
    wait_for(lambda: awake.evaluate(held) == [False, True], what="the second lock")
    become = """state => {
      const value = { value: state, configurable: true };
      Object.defineProperty(document, "visibilityState", value);
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    awake.evaluate(become, "hidden")
    wait_for(lambda: not any(awake.evaluate(held)), what="the release out of sight")
    awake.evaluate(become, "visible")
    wait_for(lambda: awake.evaluate(held)[-1], what="the lock, back again")


@pytest.mark.parametrize("browser", ["chromium"], indirect=True)
def test_the_screen_stays_on_from_the_first_touch_also_where_a_device_took_it_back(
    viewer, host
):
    """WebKit refuses a lock until somebody has touched the page (its WakeLock.cpp)."""
    safari = viewer(pictures(host, "teal", "navy"))
    safari.add_init_script("""
      window.locks = [];
      let touched = false, refused = false;
      addEventListener("click", () => (touched = refused), true);
      const { request } = WakeLock.prototype;
      WakeLock.prototype.request = async function (...given) {
        refused = true;
        if (!touched) throw new DOMException("", "NotAllowedError");
        const lock = await request.apply(this, given);
        locks.push(lock);
        return lock;
      };
    """)
    start(safari, "1 / 2")
    held = "locks.map(({ released }) => !released)"
    assert safari.evaluate(held) == []
    safari.locator("#stage").click()
    wait_for(lambda: safari.evaluate(held) == [True], what="the lock")
    safari.evaluate("locks[0].release()")  # a device does no more than that
    push(safari, "Next")
    at(safari, "2 / 2")
    wait_for(lambda: safari.evaluate(held) == [False, True], what="the second lock")


def test_it_plays_on_an_old_iphone_that_forbids_storage(viewer, host):
    old = viewer([*pictures(host, "teal", "navy"), film(host)], **PHONE)
    old.add_init_script(OLD + FORBIDDEN)
    start(old, "1 / 3")
    expect(old.locator("#fullscreen")).to_be_hidden()
    push(old, "Overview")
    push(old, "2: Navy")
    at(old, "2 / 3")
    push(old, "Next")
    expect(old.locator(".slide:not(.leave) > video")).to_be_visible()
    push(old, "Next")
    push(old, "Play again")
    at(old, "1 / 3")


def test_hosts_of_media_are_not_told_where_they_are_shown(viewer, host):
    captions = f"{host.url}/captions.vtt"
    private = viewer([film(host, captions=captions), *pictures(host, "teal")])
    private.expected += ["CORS", "film.webm"]
    start(private, "1 / 2")
    wait_for(lambda: len(host.asked) >= 2 and private.evaluate("1"), what="both")
    push(private, "Overview")
    expect(private.locator("#tiles img")).to_have_count(1)
    assert host.referrers == {None}


def test_the_system_is_told_what_plays(viewer, host):
    media = pictures(host, "teal", "navy")
    told = viewer(media)
    start(told, "1 / 2")
    shown = """() => {
      const { metadata, playbackState } = navigator.mediaSession;
      const { title, artist, album, artwork } = metadata;
      return [title, artist, album, artwork[0].src, playbackState];
    }"""
    first = media[0]["mediaUrl"]
    assert told.evaluate(shown) == ["Teal", "Mira", "By the lake", first, "playing"]
    push(told, "Pause")
    push(told, "Next")
    at(told, "2 / 2")
    expect(told.locator("#caption")).to_have_text("Navy")
    assert told.evaluate(shown)[::4] == ["Navy", "paused"]


# ----------------------------------------------------------------------- sound and time


def test_a_video_starts_muted_where_it_must_and_sound_is_kept(viewer, host):
    listener = viewer([film(host), film(host, "/2")], **PHONE)
    start_untouched(listener)
    video = listener.locator(".slide:not(.leave) > video")
    expect(listener.get_by_role("button", name="Unmute")).to_be_visible()
    expect(video).to_have_js_property("muted", True)
    push(listener, "Unmute")
    expect(video).to_have_js_property("muted", False)
    push(listener, "Next")
    at(listener, "2 / 2")
    expect(video).to_have_js_property("muted", False)
    push(listener, "Mute", exact=True)
    listener.reload()
    expect(video).to_have_js_property("muted", True)


def test_the_volume_is_kept(viewer, host):
    listener = viewer([film(host)])
    listener.go(listener.path)
    video = listener.locator(".slide:not(.leave) > video")
    listener.get_by_label("Volume").fill("30")
    expect(video).to_have_js_property("volume", 0.3)
    expect(video).to_have_js_property("muted", False)
    listener.keyboard.press("m")
    expect(video).to_have_js_property("muted", True)
    listener.reload()
    push(listener, "Unmute")
    expect(video).to_have_js_property("volume", 0.3)


def test_one_seeks_in_a_video_and_in_the_slideshow_by_their_bars(viewer, host):
    seeker = viewer([film(host), *pictures(host, "teal", "navy")])
    start(seeker, "1 / 3")
    push(seeker, "Pause")
    bar = seek(seeker, 0.75)
    expect(bar).to_have_attribute("aria-valuetext", re.compile("0:1[45] of 0:20"))
    moment = seeker.locator(".slide > video").evaluate("video => video.currentTime")
    assert 14 < moment < 16
    seeker.get_by_label("Place in the slideshow").press("End")
    at(seeker, "3 / 3")
    expect(seeker.locator("#caption")).to_have_text("Navy")
    expect(bar).to_be_hidden()


def test_a_video_plays_to_its_end_and_leads_to_the_next(viewer, host):
    watcher = viewer([film(host), *pictures(host, "teal")])
    watcher.add_init_script("""
        document.addEventListener("ended", () => { window.toTheEnd = true }, true)
    """)
    start(watcher, "1 / 2")
    seek(watcher, 0.95)
    at(watcher, "2 / 2")
    assert watcher.evaluate("window.toTheEnd")


@pytest.mark.parametrize("cors", [True, False], ids=["with CORS", "without"])
def test_a_videos_captions_are_shown_where_their_host_allows_it(viewer, cors):
    with MediaServer(cors=cors) as host:
        captions = f"{host.url}/captions.vtt"
        deaf = viewer([film(host, captions=captions, caption="Waves")])
        deaf.expected += [] if cors else ["CORS", "film.webm"]
        start(deaf, "1 / 1")
        push(deaf, "Pause")  # or its twenty seconds would pass
        button = deaf.get_by_role("button", name="Captions")
        if cors:
            expect(deaf.locator("#subtitles")).to_have_text("A wave comes in.")
            expect(deaf.locator("#subtitles b")).to_have_text("wave")
            push(deaf, "Captions")
            expect(deaf.locator("#subtitles")).to_be_hidden()
        else:
            expect(button).to_be_hidden()
            expect(deaf.locator("#caption")).to_have_text("Waves")


# --------------------------------------------------------------- order, place, overview


def test_the_overview_of_500_items_loads_what_is_in_sight_and_jumps(viewer, host):
    many = viewer(pictures(host, *["teal", "navy"] * 250))
    start(many, "1 / 500")
    push(many, "Overview")
    tiles = many.locator("#tiles button")
    expect(tiles).to_have_count(500)
    expect(tiles.nth(20).locator("img")).to_be_visible()
    assert len(host.asked) < 100
    many.get_by_role("button", name="Item 400").scroll_into_view_if_needed()
    many.get_by_role("button", name="400: Navy").click()
    at(many, "400 / 500")
    expect(many.locator("#overview")).to_be_hidden()
    assert len(host.asked) < 200


@pytest.mark.parametrize("lost", ["offset=50", "/74/picture/gold"])
def test_what_the_overview_could_not_load_it_loads_once_it_is_opened_again(
    viewer, host, lost
):
    many = viewer(pictures(host, *["teal", "navy", "gold"] * 25))
    start(many, "1 / 75")
    many.expected.append(lost)
    many.context.route(f"**{lost}**", lambda route: route.abort())
    push(many, "Overview")
    last = many.locator("#tiles button").last
    with many.page.expect_event("requestfailed"):
        last.scroll_into_view_if_needed()
    expect(last.locator("img")).to_have_count(0)
    many.keyboard.press("Escape")
    expect(many.locator("#overview")).to_be_hidden()
    many.context.unroute(f"**{lost}**")
    push(many, "Overview")
    last.scroll_into_view_if_needed()
    expect(last.locator("img")).to_be_visible()
    expect(last).to_have_accessible_name("75: Gold")
    expect(many.locator("#tiles button").first.locator("img")).to_have_count(1)


def test_the_overview_is_walked_by_arrow_keys_and_left_by_escape(viewer, host):
    keys = viewer(pictures(host, *["teal"] * 9))
    start(keys, "1 / 9")
    keys.get_by_role("button", name="Overview").press("Enter")
    expect(keys.get_by_role("button", name="1: Teal")).to_be_focused()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        keys.keyboard.press(key)
    expect(keys.get_by_role("button", name="2: Teal")).to_be_focused()
    keys.keyboard.press("Enter")
    at(keys, "2 / 9")
    keys.get_by_role("button", name="Overview").press("Enter")
    keys.keyboard.press("Escape")
    expect(keys.get_by_role("button", name="Overview")).to_be_focused()
    at(keys, "2 / 9")


def test_shuffle_shows_every_item_once(viewer, host):
    colours = ["teal", "navy", "gold", "plum", "pink", "gray", "snow"]
    mixed = viewer(pictures(host, *colours))
    start(mixed, "1 / 7")
    push(mixed, "Shuffle")
    caption, seen = mixed.locator("#caption"), []
    for place in range(1, 8):
        at(mixed, f"{place} / 7")
        expect(caption).not_to_have_text(seen[-1] if seen else "")
        seen.append(caption.inner_text())
        push(mixed, "Next")
    assert sorted(seen) == sorted(colour.title() for colour in colours)
    expect(mixed.get_by_role("button", name="Play again")).to_be_visible()


def test_from_the_start_begins_the_whole_slideshow_also_where_it_is_shuffled(
    viewer, host
):
    mixed = viewer(pictures(host, "teal", "navy", "gold"))
    start(mixed, "1 / 3")
    push(mixed, "Next")
    expect(mixed.locator("#caption")).to_have_text("Navy")
    push(mixed, "Shuffle")
    stop_the_clock(mixed)
    mixed.reload()
    expect(mixed.locator("#notice")).to_contain_text("Going on at 2 of 3.")
    push(mixed, "From the start")
    expect(mixed.locator("#caption")).to_have_text("Teal")
    at(mixed, "1 / 3")


def test_repeat_begins_again_and_is_kept(viewer, host):
    again = viewer(pictures(host, "teal", "navy"))
    start(again, "1 / 2")
    push(again, "Repeat")
    push(again, "Next")
    at(again, "2 / 2")
    push(again, "Next")
    at(again, "1 / 2")
    again.reload()
    expect(again.get_by_role("button", name="Repeat", pressed=True)).to_be_visible()


def test_the_place_in_each_slideshow_is_kept(viewer, host):
    one = viewer(pictures(host, "teal", "navy", "gold"))
    start(one, "1 / 3")
    push(one, "Next")
    expect(one.locator("#caption")).to_have_text("Navy")
    stop_the_clock(one)
    one.reload()
    at(one, "2 / 3")
    expect(one.locator("#notice")).to_contain_text("Going on at 2 of 3.")
    push(one, "From the start")
    at(one, "1 / 3")


# ----------------------------------------------------------------------------- the end


def test_each_picture_has_its_time_and_then_it_goes_on_by_itself(viewer, host):
    brief = viewer(pictures(host, "teal", "navy"), {"intervalMin": 1, "intervalMax": 1})
    brief.go(brief.path)
    expect(brief.get_by_role("button", name="Play again")).to_be_visible()
    assert len(host.asked) == 2


def test_at_the_end_there_is_a_card_to_play_again_make_ones_own_and_pass_it_on(
    viewer, host, owner
):
    brief = viewer(pictures(host, "teal", "navy"))
    brief.context.grant_permissions(["clipboard-read", "clipboard-write"])
    code = owner.user["referralCode"]
    start(brief, "1 / 2")
    push(brief, "Next")
    push(brief, "Next")
    again = brief.get_by_role("button", name="Play again")
    expect(again).to_be_focused()
    own = brief.get_by_role("link", name="Make your own")
    expect(own).to_have_attribute("href", f"/?ref={code}")
    push(brief, "Copy")
    expect(brief.locator("#copied")).to_have_text("The link is copied.")
    link = f"{brief.url}/shared/{brief.code}?r={code}"
    assert brief.evaluate("navigator.clipboard.readText()") == link
    again.click()
    at(brief, "1 / 2")
    expect(brief.locator("#end")).to_be_hidden()


def test_at_the_end_a_link_that_could_not_be_copied_is_not_said_to_be(viewer, host):
    brief = viewer(pictures(host, "teal"))
    brief.add_init_script(UNCOPIED)
    start(brief, "1 / 1")
    push(brief, "Next")
    push(brief, "Copy")
    expect(brief.get_by_role("button", name="Not copied")).to_be_visible()
    expect(brief.locator("#copied")).to_contain_text("could not be copied")


def test_leaving_leads_to_the_preview_with_its_owners_referral_code(
    viewer, host, owner
):
    leaver = viewer(pictures(host, "teal"))
    code = owner.user["referralCode"]
    start(leaver, "1 / 1")
    expect(leaver.get_by_role("link", name="Leave the player")).to_have_attribute(
        "href", f"/shared/{leaver.code}?r={code}"
    )
    leaver.keyboard.press("Escape")
    leaver.wait_for_url(f"**/shared/{leaver.code}?r={code}")
    leaver.heading("By the lake")


def test_back_leads_out_after_signing_in_to_play(viewer, person, guest, host):
    shared = viewer(pictures(host, "teal"))
    stranger = person(guest)
    stranger.go("/")
    stranger.go(f"/shared/{shared.code}")
    stranger.get_by_role("main").get_by_role("link", name="Sign in").click()
    sign_in(stranger, guest.user)
    at(stranger, "1 / 1")
    stranger.keyboard.press("Escape")
    stranger.heading("By the lake")
    visited = []
    for _ in range(4):
        stranger.go_back()
        visited.append(stranger.page.url.removeprefix(guest.url))
        if visited[-1] == "/":
            break
    assert visited[-1] == "/"
    assert not [path for path in visited if "/play" in path or "/login" in path]


def test_a_login_that_ended_is_renewed_and_the_show_goes_on_where_it_was(
    viewer, person, guest, host
):
    shared = viewer(pictures(host, *["teal"] * 60))
    late = person(guest).borrow(guest)
    late.expected.append("offset=50")
    late.go(f"/shared/{shared.code}")
    late.follow("Play")
    at(late, "1 / 60")
    late.locator("#overall").fill("40")
    expect(late.locator('.slide > [src*="/39/"]')).to_be_visible()
    late.context.clear_cookies()
    late.locator("#overall").fill("51")
    expect(late.get_by_role("alert")).to_have_text("You are no longer signed in.")
    late.get_by_role("main").get_by_role("link", name="Sign in").click()
    sign_in(late, guest.user)
    at(late, "40 / 60")
    late.go_back()
    late.heading("By the lake")


def sign_in(someone, account):
    """Fill in the form that is shown."""
    someone.get_by_label("Email").fill(account["email"])
    someone.get_by_label("Password").fill(PASSWORD)
    someone.get_by_role("main").get_by_role("button", name="Sign in").click()


def test_media_are_fetched_page_by_page_and_one_ahead(viewer, host):
    asked = []
    reader = viewer(pictures(host, *["teal"] * 120))
    reader.on("request", lambda r: "offset=" in r.url and asked.append(r.url))
    start(reader, "1 / 120")
    wait_for(lambda: reader.evaluate("1") and len(host.asked) == 2, what="one ahead")
    reader.keyboard.press("ArrowLeft")
    at(reader, "120 / 120")
    expect(reader.locator(".slide")).to_have_count(1)
    assert [re.search(r"offset=(\d+)", url)[1] for url in asked] == ["0", "100"]


def test_an_edit_while_it_plays_leaves_no_page_of_before(viewer, owner, host):
    """Else the number of items went to and fro, and with it a shuffled order: the show
    began again at each change of page, and never came to its end."""
    edited = viewer(pictures(host, *["teal"] * 60))
    start(edited, "1 / 60")
    session = owner.get(f"/api/shared/{edited.code}").json()["session"]
    media = pictures(host, *["navy"] * 55)
    path = f"/api/sessions/{session['id']}"
    assert owner.patch(path, json={"media": media}).status_code == 200
    edited.locator("#overall").fill("51")
    at(edited, "51 / 55")
    expect(edited.locator('.slide > [src$="/50/picture/navy"]')).to_be_visible()
    push(edited, "Previous")
    at(edited, "50 / 55")
    expect(edited.locator('.slide > [src$="/49/picture/navy"]')).to_be_visible()


def test_an_owner_plays_what_is_not_shared_yet(live, host, person, owner):
    media, brief = pictures(host, "navy"), {"intervalMin": 1, "intervalMax": 1}
    session = owner.make_session(title="Not shared", media=0)
    owner.patch(f"/api/sessions/{session}", json={"media": media} | brief)
    author = person(live).borrow(owner)
    author.go(f"/sessions/{session}/play")
    at(author, "1 / 1")
    expect(author.get_by_role("link", name="Back to the editor")).to_be_visible()
    expect(author.get_by_label("Pass it on")).to_have_count(0)
    author.keyboard.press("Escape")
    author.wait_for_url(f"**/sessions/{session}")


# ------------------------------------------------------------------------- transitions


HALFWAY = """() => new Promise((done) => {
  new MutationObserver(() => {
    const moving = [...document.querySelectorAll(".slide")]
      .flatMap((slide) => slide.getAnimations());
    for (const animation of moving) {
      animation.pause();
      animation.currentTime = 400;
    }
    done(moving.map(({ animationName }) => animationName));
  }).observe(document.getElementById("stage"), { childList: true });
  document.getElementById("next").click();
})"""


def test_a_fade_goes_through_no_darkness(viewer, host):
    white = viewer(pictures(host, "white", "white"))
    start(white, "1 / 2")
    idle(white)
    assert set(white.evaluate(HALFWAY)) == {"fade-in", "fade-out"}
    spot = {"x": 640, "y": 300, "width": 1, "height": 1}
    assert set(white.colours(spot)) == {(255, 255, 255)}


@pytest.mark.parametrize("transition", ["fade", "slide", "zoom", "flip", "none"])
def test_the_chosen_transition_is_used(viewer, host, transition):
    mover = viewer(pictures(host, "teal", "navy"), {"transition": transition})
    start(mover, "1 / 2")
    names = set(mover.evaluate(HALFWAY))
    wanted = {f"{transition}-in", f"{transition}-out"} - {"none-in", "none-out"}
    assert names >= wanted
    assert bool(names) == bool(wanted)


def test_reduced_motion_is_respected(viewer, host):
    """Only the bar that tells the time moves, and it moves in steps."""
    media = pictures(host, "teal", "navy", "gold")
    still = viewer(media, {"transition": "slide"}, reduced_motion="reduce")
    start(still, "1 / 3")
    push(still, "Next")
    at(still, "2 / 3")
    moving = "document.getAnimations().map(({ effect }) => effect.target.id)"
    assert still.evaluate(moving) in ([], ["time"])


# ------------------------------------------------------------------------ axe and sizes


def states(viewer):
    """The player's states, one after another, each by its name."""
    start(viewer, "1 / 3")
    push(viewer, "Pause")
    yield "picture"
    push(viewer, "Overview")
    expect(viewer.locator("#tiles img")).to_have_count(2)
    yield "overview"
    push(viewer, "Close the overview")
    viewer.locator("#overall").fill("3")
    expect(viewer.locator(".slide:not(.leave) > video")).to_be_visible()
    expect(viewer.locator("#sounds")).to_be_visible()
    yield "video"
    push(viewer, "Next")
    expect(viewer.get_by_role("button", name="Play again")).to_be_visible()
    yield "end"
    viewer.context.route("**/api/**", lambda route: route.abort())
    viewer.evaluate("location.reload()")
    expect(viewer.get_by_role("alert")).to_be_visible()
    viewer.context.unroute("**/api/**")
    yield "message"


def test_every_state_is_accessible_and_fits_a_phone(viewer, host):
    media = [*pictures(host, "teal", "white"), film(host, caption="Waves")]
    seer = viewer(media, reduced_motion="reduce")
    seer.expected += ["ERR_FAILED"]
    faults = []
    for state in states(seer):
        for size, look in itertools.product((SMALL, WIDE), LOOKS):
            seer.set_viewport_size(size)
            seer.emulate_media(**LOOKS[look])
            found = seer.faults(look)
            faults += [f"{state} {look} {size}: {fault}" for fault in found]
            width = seer.evaluate("document.documentElement.scrollWidth")
            faults += [f"{state} is {width} px wide"] * (width > size["width"])
            seer.photograph(f"player-{state}-{look}-{size['width']}")
    assert faults == []
