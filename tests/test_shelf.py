"""The shelf in chromium: finding a slideshow, its menu, and what others have shared."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from pages import pictures, saved, slideshow
from people import NARROW
from servers import Client, wait_for

pytest_plugins = ["browsing"]


@pytest.fixture
def owner(live):
    """Somebody whose newest slideshow is the one of the lake."""
    client = Client(live.url)
    client.user = client.sign_up(name="Mira")
    for title in ("A walk", "Beyond the sea", "Älvsjö"):
        client.make_session(title=title, media=1)
    client.session = slideshow(client, pictures(live, 1))
    client.code = client.share(client.session)
    return client


@pytest.fixture
def shelf(live, person, owner):
    """The owner at their shelf."""
    someone = person(live).borrow(owner)
    someone.context.grant_permissions(["clipboard-read", "clipboard-write"])
    someone.expected.append("example.org")
    someone.go("/")
    expect(someone.get_by_role("searchbox")).to_be_visible()
    return someone


def titles(someone):
    """The titles on the shelf, as they are seen."""
    return someone.locator("#shelf > li:visible h2").all_inner_texts()


def choose(someone, title, name):
    """Choose from a tile's menu."""
    someone.locator("summary", has_text=f"More for {title}").click()
    someone.locator(".menu[open]").get_by_role("button", name=name).click()


def test_a_slideshow_is_found_whatever_its_case_and_accents(shelf):
    search = shelf.get_by_role("searchbox")
    search.fill("ALVSJO")
    expect(shelf.locator("#found")).to_have_text("1 of 4")
    assert titles(shelf) == ["Älvsjö"]
    search.fill("lake five")
    expect(shelf.locator("#found")).to_have_text("1 of 4")
    assert titles(shelf) == ["Five hours by the lake"]
    search.fill("")
    expect(shelf.locator("#found")).to_be_empty()
    assert len(titles(shelf)) == 4


@pytest.fixture
def full_shelf(live, person):
    """Somebody at a shelf of more slideshows than a page has."""
    owner = Client(live.url)
    owner.sign_up(name="Mira")
    for n in range(51):
        owner.make_session(title=f"Show {n:02}", media=0)
    someone = person(live).borrow(owner)
    someone.owner = owner
    someone.go("/")
    expect(someone.get_by_role("searchbox")).to_be_visible()
    return someone


def test_who_is_signed_out_meanwhile_is_not_told_that_nothing_is_found(full_shelf):
    full_shelf.owner.post("/api/logout")
    full_shelf.get_by_role("searchbox").fill("Show 00")
    told = full_shelf.locator("#trouble")
    expect(told).to_contain_text("You are no longer signed in.")
    expect(full_shelf.locator("#found")).to_have_text("0 of 50 so far")


def test_who_comes_back_finds_all_slideshows_in_the_order_that_was_chosen(full_shelf):
    first = full_shelf.locator("#shelf h2").first
    full_shelf.get_by_label("Order").select_option("By title")
    expect(first).to_have_text("Show 00")
    full_shelf.follow("Show 01")
    full_shelf.heading("Show 01")
    full_shelf.page.go_back()
    expect(full_shelf.get_by_label("Order")).to_have_value("title")
    expect(first).to_have_text("Show 00")


def test_slideshows_are_put_in_order(shelf, live, owner):
    Client(live.url).get(f"/shared/{owner.code}")
    shelf.reload()
    order = shelf.get_by_label("Order")
    newest = ["Five hours by the lake", "Älvsjö", "Beyond the sea", "A walk"]
    assert titles(shelf) == newest
    order.select_option("By title")
    assert titles(shelf) == [
        "A walk",
        "Älvsjö",
        "Beyond the sea",
        "Five hours by the lake",
    ]
    order.select_option("Most opened first")
    assert titles(shelf)[0] == "Five hours by the lake"
    order.select_option("Newest first")
    assert titles(shelf) == newest


def test_what_is_on_later_pages_is_found(shelf):
    shelf.go("/?limit=1")
    assert titles(shelf) == ["Five hours by the lake"]
    shelf.get_by_role("searchbox").fill("walk")
    expect(shelf.locator("#found")).to_have_text("1 of 4")
    assert titles(shelf) == ["A walk"]
    expect(shelf.get_by_role("link", name="Older slideshows")).to_have_count(0)


def test_what_is_on_the_first_page_is_found_from_a_later_one(shelf):
    shelf.go("/?limit=2")
    shelf.follow("Older slideshows")
    expect(shelf.locator("#shelf > li")).to_have_count(2)
    shelf.get_by_role("searchbox").fill("lake")
    expect(shelf.locator("#found")).to_have_text("1 of 4")
    assert titles(shelf) == ["Five hours by the lake"]


def test_without_a_script_there_are_pages(live, person, owner):
    someone = person(live, java_script_enabled=False).borrow(owner)
    someone.expected.append("example.org")
    someone.go("/?limit=3")
    someone.follow("Older slideshows")
    assert titles(someone) == ["A walk"]


def test_a_link_is_copied_from_the_menu_and_made_where_there_is_none(shelf, owner):
    choose(shelf, "Five hours by the lake", "Copy link")
    expect(shelf.locator("#found")).to_have_text("Link copied.")
    assert owner.code in shelf.evaluate("navigator.clipboard.readText()")
    choose(shelf, "A walk", "Share and copy link")
    expect(shelf.locator("#found")).to_have_text("Link copied.")
    expect(shelf.locator(".tile.on", has_text="A walk")).to_be_visible()


def test_links_are_paused_and_resumed_from_the_menu(shelf, owner):
    choose(shelf, "Five hours by the lake", "Pause")
    expect(shelf.locator(".tile.held")).to_contain_text("Five hours")
    assert saved(owner)["session"]["isPublic"] is False
    choose(shelf, "Five hours by the lake", "Resume")
    expect(shelf.locator(".tile.on")).to_contain_text("Five hours")
    assert saved(owner)["session"]["isPublic"] is True


def test_a_duplicate_has_the_media_but_not_the_links(shelf, owner):
    choose(shelf, "Five hours by the lake", "Duplicate")
    expect(shelf.locator("#shelf > li")).to_have_count(5)
    assert titles(shelf)[0] == "Five hours by the lake (copy)"
    newest = owner.get("/api/sessions").json()[0]
    copy = owner.get(f"/api/sessions/{newest['id']}").json()
    assert copy["media"] == saved(owner)["media"]
    assert copy["shares"] == []
    assert copy["session"]["isPublic"] is False


def test_a_duplicates_title_cuts_no_emoji_in_two(shelf, owner):
    long = "A" + "\N{SUNRISE OVER MOUNTAINS}" * 199
    owner.make_session(title=long, media=0)
    shelf.reload()
    choose(shelf, long, "Duplicate")
    expect(shelf.locator("#shelf > li")).to_have_count(6)
    (newest,) = owner.get("/api/sessions?limit=1").json()
    assert newest["title"] == f"{long[:190]} (copy)"


def test_a_slideshow_is_deleted_after_a_question(shelf, owner):
    choose(shelf, "Five hours by the lake", "Delete…")
    dialog = shelf.get_by_role("dialog", name="Delete “Five hours by the lake”?")
    with shelf.expect_download() as download:
        dialog.get_by_role("link", name="Download a copy first").click()
    assert download.value.suggested_filename == f"slideshow-{owner.session}.json"
    dialog.get_by_role("button", name="Keep it").click()
    expect(shelf.locator("#shelf > li")).to_have_count(4)
    choose(shelf, "Five hours by the lake", "Delete…")
    dialog.get_by_role("button", name="Delete").click()
    expect(shelf.locator("#shelf > li")).to_have_count(3)
    assert owner.get(f"/api/sessions/{owner.session}").status_code == 404


def test_the_focus_goes_to_the_next_slideshow_that_is_seen(shelf):
    shelf.get_by_role("searchbox").fill("a")
    for gone, beside in (
        ("Beyond the sea", "A walk"),
        ("A walk", "Älvsjö"),
        ("Älvsjö", "Five hours by the lake"),
    ):
        choose(shelf, gone, "Delete…")
        shelf.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(shelf.get_by_role("link", name=beside, exact=True)).to_be_focused()
    shelf.get_by_role("searchbox").fill("lake")
    choose(shelf, "Five hours by the lake", "Delete…")
    shelf.get_by_role("dialog").get_by_role("button", name="Delete").click()
    shelf.heading("Your first slideshow")


def test_what_is_being_deleted_is_not_kept_by_a_late_change_of_mind(shelf, owner):
    held = []

    def slow(route):
        held.append(route) if route.request.method == "DELETE" else route.fallback()

    shelf.context.route("**/api/sessions/*", slow)
    choose(shelf, "Five hours by the lake", "Delete…")
    dialog = shelf.get_by_role("dialog", name="Delete “Five hours by the lake”?")
    dialog.get_by_role("button", name="Delete").click()
    wait_for(lambda: shelf.evaluate("1") and held, what="the deletion")
    dialog.get_by_role("button", name="Keep it").click()
    shelf.keyboard.press("Escape")
    shelf.keyboard.press("Escape")
    held[0].continue_()
    expect(shelf.locator("#found")).to_have_text("“Five hours by the lake” is deleted.")
    expect(shelf.locator("#shelf > li")).to_have_count(3)
    expect(dialog).to_be_hidden()


def test_a_slideshow_whose_deletion_was_not_answered_is_deleted_by_trying_again(shelf):
    shelf.expected.append("/api/sessions")
    shelf.lose_answer("**/api/sessions/*")
    choose(shelf, "Five hours by the lake", "Delete…")
    dialog = shelf.get_by_role("dialog")
    dialog.get_by_role("button", name="Delete").click()
    expect(dialog).to_contain_text("There is no connection to the service.")
    dialog.get_by_role("button", name="Delete").click()
    expect(shelf.locator("#found")).to_have_text("“Five hours by the lake” is deleted.")
    expect(shelf.locator("#shelf > li")).to_have_count(3)


def test_a_refusal_of_a_menu_is_told(shelf, owner):
    shelf.expected.append("/api/sessions")
    owner.delete(f"/api/sessions/{owner.session}")
    choose(shelf, "Five hours by the lake", "Duplicate")
    expect(shelf.get_by_role("alert")).to_have_text("Slideshow not found.")


def test_a_menu_closes_by_escape_by_a_click_elsewhere_and_by_tab(shelf):
    summary = shelf.locator("summary", has_text="More for A walk")
    opened = shelf.locator(".menu[open]")
    for leave in ("Escape", "click", "Tab"):
        summary.focus()
        shelf.keyboard.press("Enter")
        expect(opened).to_have_count(1)
        if leave == "click":
            shelf.get_by_role("heading", level=1).click()
        else:
            for _ in range(1 if leave == "Escape" else 6):
                shelf.keyboard.press(leave)
        expect(opened).to_have_count(0)
        if leave == "Escape":
            expect(summary).to_be_focused()


def test_the_numbers_are_one_click_away(shelf):
    shelf.get_by_role("link", name=re.compile("0 opens")).click()
    expect(shelf.get_by_role("heading", name="Numbers")).to_be_in_viewport()
    assert shelf.clicks == 1


def test_what_others_shared_is_listed_once_it_was_played(live, person, owner):
    guest = Client(live.url)
    guest.sign_up()
    someone = person(live, viewport=NARROW).borrow(guest)
    someone.go(f"/shared/{owner.code}")
    someone.follow("Play")
    expect(someone.locator("#place")).to_contain_text("1 / 1")
    someone.go("/")
    someone.heading("Your first slideshow")
    section = someone.get_by_role("region", name="Shared with you")
    expect(section).to_contain_text("by Mira · 1 item")
    section.get_by_role("link", name="Five hours by the lake").click()
    someone.wait_for_url(f"**/shared/{owner.code}/play")
    someone.go("/")  # the player asks for nothing any more
    owner.delete(f"/api/sessions/{owner.session}")
    someone.reload()
    someone.heading("Your first slideshow")
    expect(section).to_have_count(0)
