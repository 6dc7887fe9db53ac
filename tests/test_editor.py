"""The editor in chromium: media, saving, what must not get lost, links, numbers."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

from media_server import FILM
from pages import HOURS, owner_of, picture, pictures, saved, slideshow
from people import FORBIDDEN, NARROW, UNCOPIED
from servers import Client, wait_for

pytest_plugins = ["browsing"]


@pytest.fixture
def owner(live):
    """Somebody with a slideshow that is not shared yet."""
    return owner_of(live)


@pytest.fixture
def editor(live, person, owner):
    """The owner at the editor."""
    return open_editor(live, person, owner)


def open_editor(live, person, owner, **options):
    someone = person(live, **options).borrow(owner)
    someone.go(owner.path)
    expect(someone.get_by_role("button", name="Save")).to_be_enabled()
    return someone


@pytest.fixture
def new(live, person, owner):
    """The owner at a new slideshow."""
    someone = person(live).borrow(owner)
    someone.go("/sessions/new")
    expect(someone.get_by_role("button", name="Create slideshow")).to_be_enabled()
    return someone


def cards(someone, name, *wanted):
    """Wait until the cards have these values in their fields of that name, in order."""
    fields = someone.locator(f"#media [name={name}]")
    expect(fields).to_have_count(len(wanted))
    for number, value in enumerate(wanted):
        expect(fields.nth(number)).to_have_value(value)


def captions(someone, *wanted):
    cards(someone, "caption", *wanted)


def addresses(someone, *wanted):
    cards(someone, "mediaUrl", *wanted)


def save(someone):
    someone.press("Save")
    expect(someone.locator("#state")).to_have_text("Saved")


# ------------------------------------------------------------------ journeys, in clicks


def test_a_newcomer_has_a_copied_link_after_nine_clicks(live, person):
    newcomer = person(live)
    newcomer.context.grant_permissions(["clipboard-read", "clipboard-write"])
    newcomer.go("/")
    newcomer.follow("Create an account")
    newcomer.sign_up(f"newcomer-{id(newcomer)}@example.com")
    newcomer.follow("New slideshow")
    expect(newcomer.get_by_label("Title")).to_be_focused()
    newcomer.keyboard.type("A day out")
    newcomer.get_by_label("Add media").click()
    newcomer.keyboard.insert_text(f"{picture(live, 1)}\n{picture(live, 2)}")
    newcomer.press("Create slideshow")
    newcomer.heading("A day out")
    expect(newcomer.locator("#state")).to_have_text("Created.")
    newcomer.press("Share it")
    copied = newcomer.copied("Copy: Link for everyone")
    assert re.search(r"/shared/[0-9a-f-]{36}\?r=[a-z0-9]{8}$", copied)
    assert newcomer.clicks <= 9
    stranger = person(live)
    stranger.go(copied)
    stranger.heading("A day out")


def test_a_stranger_on_a_phone_plays_after_three_taps(live, person, owner):
    code = owner.share(owner.session)
    phone = {"has_touch": True, "is_mobile": True, "viewport": NARROW}
    stranger = person(live, **phone)
    stranger.go(f"/shared/{code}")
    stranger.get_by_role("link", name="Create an account to play").tap()
    stranger.heading("Create an account to play Five hours by the lake")
    stranger.get_by_label("Email").type(f"phone-{code}@example.com")
    stranger.keyboard.press("Tab")
    stranger.keyboard.type("long enough")
    stranger.get_by_role("button", name="Create account and play").tap()
    expect(stranger.locator("#place")).to_contain_text("1 / 5")
    assert stranger.clicks <= 3
    stranger.go_back()  # leads out: to the preview, not to the form
    stranger.heading("Five hours by the lake")


def test_a_link_by_email_takes_its_owner_three_clicks(live, person, owner):
    owner.share(owner.session)
    editor = open_editor(live, person, owner)
    editor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    editor.get_by_label("Their email").click()
    editor.keyboard.type("grandmother@example.com")
    editor.locator("form[data-audience=email] button").click()
    copied = editor.copied("Copy: grandmother@example.com")
    (link,) = [
        s for s in saved(owner)["shares"] if s["email"] == "grandmother@example.com"
    ]
    assert (copied, editor.clicks) == (link["shareUrl"], 3)


# ------------------------------------------------------------------------- adding media

HOST = "https://media.example"
LAKE, SEA, FILM_URL = f"{HOST}/lake.jpg", f"{HOST}/sea.png", f"{HOST}/waves.mp4"
PASTED = {
    "lines": (f"{LAKE}\n\n  {SEA}  \r\n{FILM_URL}", [LAKE, SEA, FILM_URL], ""),
    "commas": (f"{LAKE},{SEA}, {FILM_URL};", [LAKE, SEA, FILM_URL], ""),
    "blanks": (f"{LAKE} {SEA}\t{FILM_URL}", [LAKE, SEA, FILM_URL], ""),
    "no scheme": ("media.example/lake.jpg //media.example/sea.png", [LAKE, SEA], ""),
    "www": ("www.media.example/a.jpg", ["https://www.media.example/a.jpg"], ""),
    "HTML": (f'<p>See <a href="/x"><img src="{LAKE}" alt="Dawn"></a>', [LAKE], ""),
    "a video in HTML": (f'<video><source src="{FILM_URL}"></video>', [FILM_URL], ""),
    "Markdown": (f"![Dawn]({LAKE} 'title') and [sea]({SEA})", [LAKE, SEA], ""),
    "a linked image": (f"[![Dawn](https://t.example/t.jpg)]({LAKE})", [LAKE], ""),
    "BBCode": (f"[img]{LAKE}[/img]", [LAKE], ""),
    "angles and quotes": (f'<{LAKE}> "{SEA}",', [LAKE, SEA], ""),
    "a comma inside": (f"{HOST}/a,b.jpg", [f"{HOST}/a,b.jpg"], ""),
    "brackets inside": (f"{HOST}/a_(1).jpg", [f"{HOST}/a_(1).jpg"], ""),
    "a blank inside": (f"{HOST}/my lake.jpg", [f"{HOST}/my%20lake.jpg"], ""),
    "words": (f"{LAKE}\nno address\nlake.jpg", [LAKE], "no address\nlake.jpg"),
    "no web address": (f"data:image/png,x\njavascript:1\nC:\\a.jpg\n{SEA}", [SEA],
                       "data:image/png,x\njavascript:1\nC:\\a.jpg"),
}  # fmt: skip


def answer_media(someone):
    """Every address of the media's host has the same picture; the video's is none."""
    svg = "<svg xmlns='http://www.w3.org/2000/svg' width='4' height='3'/>"
    someone.context.route(
        re.compile(r"https://(\w+\.)*example/"),
        lambda route: route.fulfill(body=svg, content_type="image/svg+xml"),
    )
    someone.expected.append("waves.mp4")


def paste(someone, text, kind="text/plain"):
    field = someone.get_by_label("Add media")
    field.evaluate(
        """(node, [kind, text]) => {
          const data = new DataTransfer();
          data.setData(kind, text);
          const given = { clipboardData: data, bubbles: true, cancelable: true };
          node.dispatchEvent(new ClipboardEvent("paste", given));
        }""",
        [kind, text],
    )


@pytest.mark.parametrize("how", PASTED)
def test_whatever_is_pasted_becomes_media(new, how):
    text, expected, left = PASTED[how]
    answer_media(new)
    paste(new, text)
    expect(new.locator("#media > li")).to_have_count(len(expected))
    addresses(new, *expected)
    expect(new.get_by_label("Add media")).to_have_value(left)
    if left:
        expect(new.get_by_label("Add media")).to_have_accessible_description(
            re.compile("What is left here is no http or https address")
        )


def test_words_beside_an_address_and_alternative_texts_become_captions(new):
    answer_media(new)
    paste(new, f"1. {LAKE} - Dawn over the lake\nNight: {SEA}")
    paste(new, f'<img src="{LAKE}" alt="The sea">', "text/html")
    captions(new, "Dawn over the lake", "Night", "The sea")


def test_a_long_caption_is_cut_but_no_emoji_of_it(new):
    answer_media(new)
    emoji = "\N{SUNRISE OVER MOUNTAINS}"
    paste(new, f"{LAKE} A{emoji * 600}")
    paste(new, f'<img src="{SEA}" alt="A{emoji * 600}">', "text/html")
    captions(new, *["A" + emoji * 499] * 2)


def test_addresses_and_pictures_are_dropped_in_but_no_files(new):
    answer_media(new)
    drop = """(node, [kind, text]) => {
      const data = new DataTransfer();
      if (kind === "file") data.items.add(new File(["x"], text));
      else data.setData(kind, text);
      const given = { dataTransfer: data, bubbles: true, cancelable: true };
      node.dispatchEvent(new DragEvent("drop", given));
    }"""
    place = new.locator("#items")
    place.evaluate(drop, ["text/uri-list", f"# a comment\r\n{LAKE}"])
    place.evaluate(drop, ["text/html", f'<img src="{SEA}">'])
    place.evaluate(drop, ["text/plain", "nothing of the kind"])
    expect(new.locator("#media > li")).to_have_count(2)
    expect(new.get_by_label("Add media")).to_have_value("nothing of the kind")
    place.evaluate(drop, ["file", "lake.jpg"])
    expect(new.get_by_label("Add media")).to_have_accessible_description(
        re.compile("Files are not uploaded here")
    )


def test_what_fails_as_a_picture_is_tried_as_a_video(new):
    new.context.route(
        "https://media.example/moving",
        lambda route: route.fulfill(body=FILM, content_type="video/webm"),
    )
    paste(new, "https://media.example/moving")
    expect(new.get_by_label("Kind of item 1")).to_have_value("video")
    expect(new.get_by_label("Captions file of item 1")).to_be_visible()
    expect(new.locator("#broken")).to_be_hidden()


def test_a_kind_is_another_one_only_once_that_is_seen_to_work(editor):
    held = []

    def answer(route):
        if route.request.resource_type == "media":
            held.append(route)
        else:
            route.fulfill(status=404)

    editor.expected.append("media.example")
    editor.context.route("https://media.example/moving", answer)
    editor.get_by_label("Address of item 1").fill("https://media.example/moving")
    save(editor)
    wait_for(lambda: editor.evaluate("1") and held, what="the video's request")
    expect(editor.locator("#state")).to_have_text("Saved")
    expect(editor.get_by_label("Kind of item 1")).to_have_value("image")
    held[0].fulfill(body=FILM, content_type="video/webm")
    expect(editor.get_by_label("Kind of item 1")).to_have_value("video")
    expect(editor.locator("#state")).to_have_text("Unsaved changes")


def test_what_cannot_be_shown_is_told_and_counted_beside_save(new):
    new.expected += ["media.example"]
    new.context.route(
        "https://media.example/*", lambda route: route.fulfill(status=404)
    )
    paste(new, "https://media.example/watch?v=1\nhttps://media.example/gone.jpg")
    expect(new.locator("#broken")).to_have_text("2 items cannot be shown")
    told = [frame.get_attribute("data-why") for frame in new.locator(".broken").all()]
    assert told == ["A web page, not a picture", "Cannot be shown"]
    expect(new.get_by_label("Kind of item 1")).to_have_value("image")
    new.press("2 items cannot be shown")
    expect(new.get_by_label("Address of item 1")).to_be_focused()


def test_what_cannot_be_shown_is_counted_no_more_once_it_is_removed(new):
    new.expected.append("media.example")
    new.context.route(
        "https://media.example/*", lambda route: route.fulfill(status=404)
    )
    paste(new, f"{LAKE}\n{SEA}")
    expect(new.locator("#broken")).to_have_text("2 items cannot be shown")
    new.press("Remove item 1")
    expect(new.locator("#broken")).to_have_text("1 item cannot be shown")
    new.press("Remove item 1")
    expect(new.locator("#broken")).to_be_hidden()
    new.press("Undo")
    expect(new.locator("#broken")).to_have_text("1 item cannot be shown")


@pytest.mark.parametrize("address", ["", "lake", "http://"])
def test_what_is_no_address_is_told_and_counted_as_well(editor, address):
    editor.expected.append("/sessions/")
    editor.get_by_label("Address of item 2").fill(address)
    editor.keyboard.press("Tab")
    expect(editor.locator("#broken")).to_have_text("1 item cannot be shown")


def test_a_slideshow_holds_500_items_and_the_rest_stays(new):
    answer_media(new)
    paste(new, "\n".join(f"{LAKE}?{n}" for n in range(502)))
    expect(new.locator("#media > li")).to_have_count(500)
    expect(new.get_by_label("Add media")).to_have_value(f"{LAKE}?500\n{LAKE}?501")
    expect(new.get_by_label("Add media")).to_have_accessible_description(
        re.compile("A slideshow holds 500 items")
    )


# ------------------------------------------------------------------- order and removing


def test_an_item_is_moved_far_by_its_number(editor):
    editor.get_by_label("Place of item 5").fill("1")
    editor.keyboard.press("Tab")
    captions(editor, "Night", "Dawn", "Morning", "Noon", "Dusk")
    expect(editor.locator("#announce")).to_have_text("Moved to place 1 of 5.")
    editor.get_by_label("Place of item 1").fill("99")
    editor.keyboard.press("Tab")
    captions(editor, *HOURS)
    editor.get_by_label("Move item 2 up").press("Enter")
    expect(editor.get_by_label("Move item 1 up")).to_be_focused()
    captions(editor, "Morning", "Dawn", "Noon", "Dusk", "Night")


def grip(someone, number):
    """The middle of an item's grip on the screen."""
    node = someone.locator(".grip").nth(number - 1)
    node.scroll_into_view_if_needed()
    box = node.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_escape_puts_a_dragged_item_back(editor):
    x, y = grip(editor, 2)
    editor.mouse.move(x, y)
    editor.mouse.down()
    editor.mouse.move(x, y - 180, steps=5)
    captions(editor, "Morning", "Dawn", "Noon", "Dusk", "Night")
    editor.keyboard.press("Escape")
    captions(editor, "Dawn", "Morning", "Noon", "Dusk", "Night")
    editor.mouse.up()
    expect(editor.locator("#state")).to_have_text("All changes saved")


def test_an_item_held_at_the_edge_scrolls_the_page(live, person):
    editor = open_editor(live, person, owner_of(live, count=60))
    x, y = grip(editor, 1)
    editor.mouse.move(x, y)
    editor.mouse.down()
    editor.mouse.move(x, editor.viewport_size["height"] - 90, steps=5)
    editor.wait_for_function("() => scrollY > 1000")  # the pointer stays where it is
    editor.mouse.up()
    expect(editor.locator("#announce")).to_have_text(
        re.compile(r"Moved to place ([3-9]|\d\d) of 60")
    )


def test_items_are_dragged_by_finger(live, person, owner):
    editor = open_editor(live, person, owner, has_touch=True, viewport=NARROW)
    editor.locator(".grip").nth(0).evaluate(
        "node => node.scrollIntoView({ block: 'center' })"
    )
    start = editor.locator(".grip").nth(0).bounding_box()
    target = editor.locator("#media > li").nth(1).bounding_box()
    x = start["x"] + 8
    editor.finger((x, start["y"] + 30), (x, target["y"] + target["height"] * 0.7))
    expect(editor.locator("#announce")).to_have_text("Moved to place 2 of 5.")


def test_removing_is_undone_one_by_one(editor):
    editor.get_by_label("Remove item 2").click()
    editor.get_by_label("Remove item 2").click()
    expect(editor.locator("#removed")).to_contain_text("“Noon” is removed.")
    editor.press("Undo")
    expect(editor.locator("#removed")).to_contain_text("“Morning” is removed.")
    editor.keyboard.press("Control+z")
    captions(editor, *HOURS)
    expect(editor.locator("#removed")).to_be_hidden()
    expect(editor.locator("#state")).to_have_text("All changes saved")


def test_what_has_no_file_name_can_be_brought_back_too(new):
    answer_media(new)
    paste(new, f"{HOST}/?id=3")
    new.press("Remove item 1")
    expect(new.locator("#removed")).to_contain_text(f"“{HOST}/?id=3” is removed.")
    new.press("Undo")
    addresses(new, f"{HOST}/?id=3")


# ---------------------------------------------------------------------------- the cover


def test_the_cover_is_the_first_picture_unless_one_is_chosen(live, editor, owner):
    cover = editor.get_by_label("Cover (optional)")
    editor.get_by_label("Move item 2 up").click()
    expect(cover).to_have_value(f"{picture(live, 2)}?1")
    save(editor)
    assert saved(owner)["session"]["thumbnail"] == f"{picture(live, 2)}?1"
    editor.press("Use as cover: item 3")
    expect(
        editor.get_by_role("button", name="Cover: item 3", exact=True)
    ).to_have_attribute("aria-pressed", "true")
    save(editor)
    editor.get_by_label("Move item 2 up").click()
    save(editor)
    assert saved(owner)["session"]["thumbnail"] == f"{picture(live, 3)}?2"
    cover.fill("")
    save(editor)
    assert saved(owner)["session"]["thumbnail"] is None


def test_a_first_picture_that_is_chosen_as_cover_stays_it_in_another_place(
    live, editor, owner
):
    editor.get_by_role("button", name="Cover: item 1", exact=True).click()
    editor.get_by_label("Move item 2 up").click()
    save(editor)
    assert saved(owner)["session"]["thumbnail"] == f"{picture(live, 1)}?0"
    expect(editor.get_by_label("Cover (optional)")).to_have_value(
        f"{picture(live, 1)}?0"
    )


def test_the_cover_that_is_seen_is_the_one_that_is_saved_in_a_copy_too(
    live, person, owner
):
    """A copy's cover was given, and is the first picture all the same."""
    copy = saved(owner)
    owner.session = owner.post("/api/sessions", json=copy).json()["id"]
    owner.path = f"/sessions/{owner.session}"
    editor = open_editor(live, person, owner)
    cover = editor.get_by_label("Cover (optional)")
    for number in (2, 1):
        editor.get_by_label("Move item 2 up").click()
        expect(cover).to_have_value(f"{picture(live, number)}?{number - 1}")
        save(editor)
        seen = cover.input_value()
        assert saved(owner)["session"]["thumbnail"] == seen
    editor.get_by_label("Remove item 1").click()
    expect(editor.locator("#state")).to_have_text("Unsaved changes")
    editor.press("Undo")
    expect(editor.locator("#state")).to_have_text("Saved")


def test_a_video_gives_its_thumbnail_as_cover(live, person, owner):
    film = {"mediaUrl": f"{live.url}/static/gone.mp4", "type": "video"}
    media = [*pictures(live, 1), film | {"thumbnail": picture(live, 2)}]
    owner.patch(f"/api/sessions/{owner.session}", json={"media": media})
    editor = open_editor(live, person, owner)
    editor.press("Use as cover: item 2")
    expect(editor.get_by_label("Cover (optional)")).to_have_value(picture(live, 2))
    chosen = editor.get_by_role("button", name="Cover: item 2", exact=True)
    expect(chosen).to_have_attribute("aria-pressed", "true")


def test_a_broken_cover_shows_the_drawing(live, person, editor, owner):
    editor.expected.append("gone.jpg")
    editor.get_by_label("Cover (optional)").fill(f"{live.url}/static/gone.jpg")
    expect(editor.locator("#cover")).to_be_empty()
    save(editor)
    stranger = person(live)
    stranger.expected.append("gone.jpg")
    stranger.go(f"/shared/{owner.share(owner.session)}")
    expect(stranger.locator(".preview .picture")).to_be_empty()
    editor.go("/")
    expect(editor.locator(".tile .picture").first).to_be_empty()


# --------------------------------------------------------------- saving, losing nothing


def sent(someone, act):
    """The body of the PATCH that `act` makes."""
    with someone.expect_request(lambda request: request.method == "PATCH") as request:
        act()
    return request.value.post_data_json


def test_what_is_typed_before_the_script_is_there_is_an_unsaved_change(
    live, person, owner
):
    early, held = person(live).borrow(owner), []
    early.context.route("**/editor-cards.js*", lambda route: held.append(route))
    early.page.goto(early.url + owner.path, wait_until="commit")
    early.get_by_label("Title").fill("Six hours")
    expect(early.get_by_role("button", name="Save")).to_be_disabled()
    wait_for(lambda: early.evaluate("1") and held, what="the module")
    held[0].continue_()
    expect(early.locator("#state")).to_have_text("Unsaved changes")
    save(early)
    assert saved(owner)["session"]["title"] == "Six hours"


def test_control_s_saves_and_sends_only_what_changed(editor, owner):
    editor.get_by_label("Title").fill("Six hours")
    assert sent(editor, lambda: editor.keyboard.press("Control+s")) == {
        "title": "Six hours"
    }
    expect(editor.locator("#state")).to_have_text("Saved")
    editor.heading("Six hours")
    editor.get_by_label("Caption of item 1").fill("First light")
    assert list(sent(editor, lambda: editor.press("Save"))) == ["media"]
    expect(editor.locator("#state")).to_have_text("Saved")
    assert saved(owner)["media"][0]["caption"] == "First light"


@pytest.mark.parametrize("key", ["S", "ы", "σ"])
def test_control_s_saves_with_caps_lock_and_on_keyboards_of_other_scripts(
    editor, owner, key
):
    editor.get_by_label("Title").fill("Six hours")
    press = """(key) => document.body.dispatchEvent(new KeyboardEvent("keydown",
      { key, code: "KeyS", ctrlKey: true, bubbles: true, cancelable: true }))"""
    sent(editor, lambda: editor.evaluate(press, key))
    expect(editor.locator("#state")).to_have_text("Saved")
    assert saved(owner)["session"]["title"] == "Six hours"


def hold(someone, method, act):
    """The first request of this method, made by `act`: it waits until it is let go."""
    held = []

    def take(route):
        first = route.request.method == method and not held
        held.append(route) if first else route.fallback()

    someone.context.route("**/api/sessions/*", take)
    act()
    return wait_for(lambda: someone.evaluate("1") and held, what=method)[0]


def test_a_cover_chosen_while_it_is_saved_stays_chosen(live, editor, owner):
    editor.get_by_label("Title").fill("Six hours")
    slow = hold(editor, "PATCH", lambda: editor.press("Save"))
    editor.press("Use as cover: item 3")
    slow.continue_()
    editor.heading("Six hours")
    expect(editor.locator("#state")).to_have_text("Unsaved changes")
    cover = editor.get_by_label("Cover (optional)")
    expect(cover).to_have_value(f"{picture(live, 3)}?2")
    save(editor)
    assert saved(owner)["session"]["thumbnail"] == f"{picture(live, 3)}?2"


def test_a_captions_file_is_kept_with_a_video(live, person):
    media = [{"mediaUrl": f"{live.url}/static/gone.mp4", "type": "video"}]
    owner = owner_of(live)
    owner.session = slideshow(owner, media)
    owner.path = f"/sessions/{owner.session}"
    editor = person(live).borrow(owner)
    editor.expected.append("gone.mp4")
    editor.go(owner.path)
    editor.get_by_label("Captions file of item 1").fill(f"{live.url}/static/waves.vtt")
    save(editor)
    assert saved(owner)["media"][0]["captions"] == f"{live.url}/static/waves.vtt"


def test_a_refusal_is_told_at_the_field_to_blame(editor):
    editor.expected.append("/api/sessions")
    editor.get_by_label("at least").fill("20")
    editor.press("Save")
    expect(editor.get_by_label("at least")).to_have_accessible_description(
        re.compile("Must not be above “at most”")
    )
    expect(editor.get_by_label("at least")).to_be_focused()


def test_leaving_asks_and_the_draft_comes_back(editor, owner):
    asked = []
    editor.page.on("dialog", lambda box: (asked.append(box.type), box.accept()))
    editor.get_by_label("Title").fill("A day by the lake")
    editor.get_by_label("Remove item 1").click()
    editor.wait_for_function("() => localStorage.length === 1")
    editor.reload()
    assert asked == ["beforeunload"]
    expect(editor.get_by_label("Title")).to_have_value("Five hours by the lake")
    editor.press("Bring them back")
    expect(editor.get_by_label("Title")).to_have_value("A day by the lake")
    save(editor)
    assert [item["caption"] for item in saved(owner)["media"]] == [
        "Morning", "Noon", "Dusk", "Night",
    ]  # fmt: skip
    editor.reload()
    expect(editor.locator("#state")).to_have_text("All changes saved")
    expect(editor.locator("#draft")).to_be_hidden()


def test_a_new_slideshow_comes_back_with_what_was_not_added_yet(new):
    new.page.on("dialog", lambda box: box.accept())
    answer_media(new)
    new.get_by_label("Title").fill("A day out")
    paste(new, LAKE)
    new.get_by_label("Add media").fill(SEA)
    new.reload()  # at once: a phone ends a tab when it wants
    new.press("Bring them back")
    expect(new.get_by_label("Title")).to_have_value("A day out")
    expect(new.get_by_label("Add media")).to_have_value(SEA)
    addresses(new, LAKE)


def test_a_draft_is_thrown_away_on_demand(new):
    new.page.on("dialog", lambda box: box.accept())
    new.get_by_label("Title").fill("A day out")
    new.reload()
    new.press("Throw away")
    new.reload()
    expect(new.get_by_role("button", name="Create slideshow")).to_be_enabled()
    expect(new.locator("#draft")).to_be_hidden()


def test_an_address_is_written_as_the_service_writes_it(editor, owner):
    editor.expected.append("xn--")
    editor.get_by_label("Address of item 1").fill("münchen.example/ü.jpg")
    save(editor)
    address = "https://xn--mnchen-3ya.example/%C3%BC.jpg"
    expect(editor.get_by_label("Address of item 1")).to_have_value(address)
    assert saved(owner)["media"][0]["mediaUrl"] == address


def test_signing_out_asks_first_and_leaves_no_draft_behind(live, person, owner):
    editor = person(live).borrow(owner)
    answers = ["dismiss", "accept"]
    editor.page.on("dialog", lambda box: getattr(box, answers.pop(0))())
    editor.go("/sessions/new")
    editor.get_by_label("Title").fill("A secret")
    editor.wait_for_function("() => localStorage.length === 1")
    editor.press("Sign out")
    expect(editor.get_by_label("Title")).to_have_value("A secret")
    editor.press("Sign out")
    editor.heading("A slideshow, behind one link")
    assert editor.evaluate("localStorage.length") == 0


def test_what_is_unsaved_is_not_given_up_where_signing_out_or_a_copy_fails(new):
    new.page.on("dialog", lambda box: box.accept())
    new.expected += ["/api/logout", "/api/sessions"]
    new.get_by_label("Title").fill("A secret")
    new.wait_for_function("() => localStorage.length === 1")
    new.context.route("**/api/logout", lambda route: route.abort())
    new.press("Sign out")
    expect(new.get_by_role("alert").filter(visible=True)).to_contain_text(
        "There is no connection"
    )
    copy = {"name": "copy.json", "mimeType": "application/json", "buffer": b"{}"}
    new.get_by_label("From a copy").set_input_files(copy)
    expect(new.locator("#copy-problem")).to_be_visible()
    assert new.evaluate("localStorage.length") == 1
    guarded = """() => {
      const leaving = new Event("beforeunload", { cancelable: true });
      return !window.dispatchEvent(leaving);
    }"""
    assert new.evaluate(guarded)


def test_where_storage_is_forbidden_one_makes_edits_and_signs_out_all_the_same(
    live, person
):
    strict = person(live)
    strict.add_init_script(FORBIDDEN)
    strict.go("/login")
    strict.follow("Create an account")
    strict.sign_up(f"strict-{id(strict)}@example.com")
    strict.follow("New slideshow")
    strict.get_by_label("Title").fill("A day out")
    strict.press("Create slideshow")
    strict.heading("A day out")
    expect(strict.locator("#state")).to_have_text("Created.")
    strict.reload()
    expect(strict.locator("#state")).to_have_text("All changes saved")
    strict.get_by_label("Title").fill("A day off")
    save(strict)
    strict.press("Sign out")
    strict.heading("A slideshow, behind one link")


def change(owner, **members):
    """What another tab saves, however soon."""
    path = f"/api/sessions/{owner.session}"
    assert owner.patch(path, json=members).status_code == 200


def test_two_tabs_do_not_overwrite_each_other(live, editor, owner):
    editor.expected.append("/api/sessions")
    editor.get_by_label("Title").fill("Mine")
    change(owner, title="Theirs", description="Written there")
    editor.press("Save")
    dialog = editor.get_by_role("dialog", name="It was changed elsewhere meanwhile")
    expect(dialog.get_by_role("row", name="Title Mine Theirs")).to_be_visible()
    dialog.get_by_role("button", name="Go back").click()
    assert saved(owner)["session"]["title"] == "Theirs"
    expect(editor.get_by_label("Title")).to_have_value("Mine")
    editor.press("Save")
    dialog.get_by_role("button", name="Save mine").click()
    expect(editor.locator("#state")).to_have_text("Saved")
    now = saved(owner)["session"]
    assert (now["title"], now["description"]) == ("Mine", "Written there")
    expect(editor.get_by_label("Description")).to_have_value("Written there")


def test_the_other_version_can_be_taken(live, editor, owner):
    editor.expected.append("/api/sessions")
    editor.get_by_label("Remove item 1").click()
    change(owner, media=pictures(live, 2), title="Theirs")
    editor.press("Save")
    editor.press("Take that one")
    editor.heading("Theirs")
    expect(editor.locator("#media > li")).to_have_count(2)
    expect(editor.locator("#state")).to_have_text("Saved")
    assert len(saved(owner)["media"]) == 2


@pytest.mark.parametrize("more", ["", " and on"])
def test_a_save_whose_answer_got_lost_is_no_conflict_with_oneself(editor, owner, more):
    editor.expected.append("/api/sessions")
    editor.lose_answer("**/api/sessions/*")
    editor.get_by_label("Title").fill("A day out")
    editor.press("Save")
    expect(editor.get_by_text("There is no connection to the service.")).to_be_visible()
    assert saved(owner)["session"]["title"] == "A day out"
    editor.get_by_label("Title").fill(f"A day out{more}")
    save(editor)
    editor.heading(f"A day out{more}")
    assert saved(owner)["session"]["title"] == f"A day out{more}"


# ------------------------------------------------------------------------------ playing


def test_the_owner_plays_before_sharing_and_sees_what_is_on_the_screen(editor, owner):
    editor.get_by_label("Remove item 1").click()
    editor.follow("Play")
    editor.wait_for_url("**/play")
    expect(editor.locator("#place")).to_contain_text("/ 4")
    assert saved(owner)["shares"] == []


# -------------------------------------------------------------------------------- links


def test_sharing_saves_what_is_on_the_screen_first(editor, owner):
    editor.get_by_label("Title").fill("A day by the lake")
    editor.press("Share it")
    expect(editor.get_by_role("button", name="Copy: Link for everyone")).to_be_focused()
    expect(editor.locator("#state")).to_have_text("Saved")
    assert saved(owner)["session"]["title"] == "A day by the lake"
    editor.get_by_label("Title").fill("Once more")
    save(editor)  # to share was one's own change, not somebody else's


def test_sharing_during_a_slow_save_meets_no_conflict_with_oneself(editor, owner):
    editor.get_by_label("Title").fill("A day by the lake")
    slow = hold(editor, "PATCH", lambda: editor.press("Save"))
    editor.press("Share it")
    slow.continue_()
    expect(editor.get_by_role("button", name="Copy: Link for everyone")).to_be_focused()
    assert saved(owner)["session"]["title"] == "A day by the lake"


def test_links_are_paused_and_the_owners_preview_says_so(live, person, owner):
    link = f"/shared/{owner.share(owner.session)}"
    editor = open_editor(live, person, owner)
    editor.press("Pause all links")
    expect(editor.locator("#share .mark")).to_have_text("Paused")
    stranger = person(live)
    stranger.expected.append("/shared/")
    stranger.go(link)
    stranger.heading("There is nothing here")
    editor.go(link)
    expect(editor.locator(".mark")).to_have_text("Paused")
    editor.go(owner.path)
    editor.press("Resume")
    expect(editor.locator("#share .mark")).to_have_text("Shared")
    stranger.go(link)
    stranger.heading("Five hours by the lake")


def test_a_link_by_name_counts_on_its_own(live, person, owner):
    editor = open_editor(live, person, owner)
    editor.get_by_label("What to call it").fill("Newsletter")
    editor.locator("form[data-audience=label] button").click()
    expect(editor.get_by_role("button", name="Copy: Newsletter")).to_be_focused()
    (share,) = saved(owner)["shares"]
    Client(live.url).get(f"/shared/{share['shareCode']}")
    editor.reload()
    expect(editor.locator(".link")).to_contain_text("1 open")
    row = editor.get_by_role("row", name=re.compile("^Newsletter"))
    expect(row.get_by_role("cell").first).to_have_text("1")


def test_what_is_typed_for_one_link_stays_while_another_one_is_made(editor):
    editor.get_by_label("What to call it").fill("Newsletter")
    editor.get_by_label("Their email").fill("grandmother@example.com")
    editor.locator("form[data-audience=email] button").click()
    expect(
        editor.get_by_role("button", name="Copy: grandmother@example.com")
    ).to_be_focused()
    expect(editor.get_by_label("What to call it")).to_have_value("Newsletter")
    expect(editor.get_by_label("Their email")).to_have_value("")


def test_what_could_not_be_copied_is_not_said_to_be(live, person, owner):
    owner.share(owner.session)
    poor = person(live).borrow(owner)
    poor.add_init_script(UNCOPIED)
    poor.go(owner.path)
    button = poor.get_by_role("button", name="Copy: Link for everyone")
    button.click()
    expect(button).to_have_text("Not copied")
    expect(poor.locator("#announce")).to_contain_text("It could not be copied")
    expect(button).to_have_text("Copy")


def test_a_link_by_account_id_says_when_there_is_none(live, person, owner):
    friend = Client(live.url).sign_up(name="Jonas")
    editor = open_editor(live, person, owner)
    editor.expected.append("/share")
    editor.get_by_text("By account ID instead").click()
    editor.get_by_label("Account ID").fill("nobody")
    editor.locator("form[data-audience=userId] button").click()
    expect(editor.get_by_label("Account ID")).to_have_accessible_description(
        re.compile("Nobody has this account ID")
    )
    editor.get_by_label("Account ID").fill(friend["id"])
    editor.locator("form[data-audience=userId] button").click()
    expect(editor.get_by_role("button", name="Copy: Jonas")).to_be_focused()


def test_a_link_for_one_person_says_so_before_anybody_signs_up(live, person, owner):
    code = owner.share(owner.session, email="grandmother@example.com")
    stranger = person(live)
    stranger.go(f"/shared/{code}")
    expect(stranger.get_by_text("This link is for one person")).to_be_visible()


def menu(someone, name, choice):
    someone.locator("summary", has_text=f"More for {name}").click()
    someone.press(choice)


def test_one_link_is_replaced_and_revoked_the_others_live_on(live, person, owner):
    first = owner.share(owner.session)
    kept = owner.share(owner.session, label="Poster")
    editor = open_editor(live, person, owner)
    menu(editor, "Link for everyone", "Replace this link…")
    editor.get_by_role("dialog").get_by_role(
        "button", name="Replace", exact=True
    ).click()
    field = editor.get_by_label("Link for everyone", exact=True)
    expect(field).not_to_have_value(re.compile(first))
    codes = {share["shareCode"] for share in saved(owner)["shares"]}
    assert len(codes) == 2
    assert kept in codes
    menu(editor, "Poster", "Revoke…")
    editor.press("Keep it")
    menu(editor, "Poster", "Revoke…")
    editor.get_by_role("dialog").get_by_role(
        "button", name="Revoke", exact=True
    ).click()
    expect(editor.locator(".link")).to_have_count(1)
    assert [s["shareCode"] for s in saved(owner)["shares"]] == list(codes - {kept})


def test_a_link_that_is_replaced_while_all_are_paused_resumes_none(live, person, owner):
    first = owner.share(owner.session)
    kept = owner.share(owner.session, label="Poster")
    editor = open_editor(live, person, owner)
    editor.press("Pause all links")
    expect(editor.locator("#share .mark")).to_have_text("Paused")
    menu(editor, "Link for everyone", "Replace this link…")
    dialog = editor.get_by_role("dialog")
    dialog.get_by_role("button", name="Replace", exact=True).click()
    field = editor.get_by_label("Link for everyone", exact=True)
    expect(field).not_to_have_value(re.compile(first))
    expect(editor.locator("#share .mark")).to_have_text("Paused")
    assert owner.get(f"/api/shared/{kept}/preview").status_code == 404


def test_a_link_whose_replacing_broke_off_is_replaced_by_trying_again(
    live, person, owner
):
    first = owner.share(owner.session)
    editor = open_editor(live, person, owner)
    editor.expected.append("/share")
    editor.context.route("**/share", lambda route: route.abort())
    menu(editor, "Link for everyone", "Replace this link…")
    dialog = editor.get_by_role("dialog")
    dialog.get_by_role("button", name="Replace", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("no connection")
    editor.context.unroute("**/share")
    dialog.get_by_role("button", name="Replace", exact=True).click()
    expect(dialog).to_be_hidden()
    (link,) = saved(owner)["shares"]
    assert link["shareCode"] != first
    expect(editor.get_by_label("Link for everyone", exact=True)).to_have_value(
        link["shareUrl"]
    )


def test_a_qr_code_is_shown_and_the_share_sheet_is_offered_where_there_is_one(
    live, person, owner
):
    code = owner.share(owner.session)
    editor = person(live).borrow(owner)
    editor.context.add_init_script("navigator.share = async (data) => { got = data }")
    editor.go(owner.path)
    menu(editor, "Link for everyone", "QR code")
    drawing = editor.get_by_role("img", name="QR code: Link for everyone")
    expect(drawing).to_be_visible()
    drawn = "figure => figure.firstChild.decode().then(() => true)"
    assert drawing.evaluate(drawn)
    menu(editor, "Link for everyone", "QR code")
    expect(drawing).to_be_hidden()
    menu(editor, "Link for everyone", "Share…")
    assert code in editor.evaluate("got.url")


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (lambda context: context.clear_cookies(), "You are no longer signed in."),
        (lambda context: context.set_offline(True), "There is no connection"),
    ],
    ids=["signed out", "offline"],
)
def test_why_there_is_no_qr_code_is_said(live, person, owner, act, why):
    owner.share(owner.session)
    editor = open_editor(live, person, owner)
    editor.expected += ["ERR_", "/qr/"]
    act(editor.context)
    menu(editor, "Link for everyone", "QR code")
    expect(editor.locator("#share .problem:visible")).to_contain_text(why)


def test_what_was_revoked_or_deleted_elsewhere_is_said_to_be_no_more(
    live, person, owner
):
    code = owner.share(owner.session)
    editor = open_editor(live, person, owner)
    editor.expected += ["/qr/", "days=7"]
    path = f"/api/sessions/{owner.session}"
    assert owner.delete(f"{path}/shares/{code}").status_code == 204
    menu(editor, "Link for everyone", "QR code")
    expect(editor.locator("#share .problem:visible")).to_contain_text("not there")
    assert owner.delete(path).status_code == 204
    editor.get_by_role("link", name="7 days", exact=True).click()
    expect(editor.locator("#numbers .problem")).to_contain_text("not there")


# ------------------------------------------------------------------------------ numbers


@pytest.fixture
def counted(live, owner):
    """The owner of a slideshow whose link twelve sites have."""
    code = owner.share(owner.session)
    for n in range(12):
        site = {"Referer": f"https://site-{n}.example.org/"}
        Client(live.url, f"{n} Mozilla/5.0 Firefox/140.0").get(
            f"/shared/{code}", headers=site
        )
    return owner


def test_other_days_are_shown_without_losing_an_edit(live, person, counted):
    editor = open_editor(live, person, counted)
    editor.get_by_label("Title").fill("Not saved yet")
    for days, bars in ((7, 7), (90, 90), (365, 53), (30, 30)):
        editor.get_by_role("link", name=f"{days} days", exact=True).click()
        editor.get_by_role("heading", name=f"The last {days} days").wait_for()
        expect(editor.locator(".bars.opens rect")).to_have_count(bars)
    expect(editor.get_by_label("Title")).to_have_value("Not saved yet")
    editor.page.on("dialog", lambda box: box.accept())


@pytest.mark.parametrize("order", [(7, 365), (365, 7)])
def test_of_two_choices_of_days_the_last_one_is_shown(live, person, counted, order):
    owner = open_editor(live, person, counted)
    held, drawn = {}, []
    owner.page.route(
        re.compile(r"\?days="),
        lambda route: held.update({int(route.request.url.split("=")[1]): route}),
    )
    owner.page.on("requestfinished", lambda request: drawn.append(request.url))
    for days in (7, 365):
        owner.get_by_role("link", name=f"{days} days", exact=True).click()
    for days in order:
        wait_for(lambda days=days: owner.context.cookies() and days in held)
        held[days].continue_()
        wait_for(lambda days=days: owner.context.cookies() and drawn[-1:] and
                 drawn[-1].endswith(f"={days}"))  # fmt: skip
    expect(owner.locator("#days-heading")).to_have_text("The last 365 days")


def test_a_bars_figure_is_told_on_hover_touch_and_by_keyboard(live, person, counted):
    editor = open_editor(live, person, counted, has_touch=True)
    chart = editor.locator(".bars.opens svg")
    output = editor.locator(".bars.opens output")
    usual = output.inner_text()
    box = chart.bounding_box()
    last = {"x": box["width"] - 2, "y": box["height"] / 2}
    today = re.compile(r"\b\d{4}: 12$")
    chart.hover(position=last)
    expect(output).to_have_text(today)
    editor.mouse.move(5, 5)
    expect(output).to_have_text(usual)
    chart.tap(position=last)
    expect(output).to_have_text(today)
    chart.focus()
    editor.keyboard.press("Home")
    expect(output).to_have_text(re.compile(r": 0$"))
    editor.keyboard.press("End")
    expect(output).to_have_text(today)


def test_a_links_long_name_does_not_push_its_figures_out_of_sight(live, person, owner):
    owner.share(owner.session, email=f"{'grandmother.' * 4}maria@example.org")
    owner.share(owner.session, label="W" * 60)
    phone = open_editor(live, person, owner, viewport=NARROW)
    region = phone.get_by_role("region", name="Figures by link")
    edges = """(region) => [...region.querySelectorAll("tr > :nth-child(2)")]
      .map((cell) => cell.getBoundingClientRect().right)"""
    seen = region.evaluate("(node) => node.getBoundingClientRect().right")
    assert max(region.evaluate(edges)) <= seen


def test_the_largest_eight_sites_are_shown_and_the_others_on_demand(
    live, person, counted
):
    editor = open_editor(live, person, counted)
    shown = editor.locator("#numbers th", has_text="example.org")
    expect(shown).to_have_count(12)
    expect(shown.filter(visible=True)).to_have_count(8)
    editor.get_by_text("4 more").click()
    expect(shown.filter(visible=True)).to_have_count(12)


# ------------------------------------------------------------------ copies, and the end


def test_a_downloaded_copy_comes_back_as_a_new_slideshow(editor, owner):
    editor.press("Delete this slideshow…")
    with editor.expect_download() as download:
        editor.get_by_role("link", name="Download a copy first").click()
    copy = download.value.path().read_text()
    editor.get_by_role("dialog").get_by_role("button", name="Delete").click()
    editor.heading("Your first slideshow")
    editor.follow("New slideshow")
    expect(editor.get_by_role("button", name="Create slideshow")).to_be_enabled()
    chosen = {
        "name": "copy.json",
        "mimeType": "application/json",
        "buffer": copy.encode(),
    }
    editor.locator("#copy").set_input_files(chosen)
    editor.heading("Five hours by the lake")
    captions(editor, *HOURS)
    assert json.loads(copy)["session"]["id"] != int(editor.page.url.rpartition("/")[2])


@pytest.mark.parametrize(
    ("text", "why"),
    [("no JSON", "This file is no copy"), ('{"a": 1}', "is not a known member")],
)
def test_a_file_that_is_no_copy_is_refused_in_words(new, text, why):
    new.expected.append("/api/sessions")
    chosen = {"name": "x.json", "mimeType": "application/json", "buffer": text.encode()}
    new.locator("#copy").set_input_files(chosen)
    expect(new.locator("#copy-problem")).to_contain_text(why)
