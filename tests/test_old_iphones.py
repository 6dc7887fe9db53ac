"""iOS 15 and 16 have no browser but their Safari: what that lacks is not used."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from pages import PASSWORD, owner_of, picture, saved
from people import NARROW, OLD
from servers import ROOT

pytest_plugins = ["browsing"]

# What breaks a page there: the Safari that brought it, and how it is written. What is
# only nicer where it is known (text-wrap, loading="lazy") is not listed.
SCRIPTS = {
    "Array.prototype.at": ("15.4", r"\.at\("),
    "structuredClone": ("15.4", r"\bstructuredClone\b"),
    "Object.hasOwn": ("15.4", r"\bhasOwn\b"),
    "Array.prototype.findLast": ("15.4", r"\.findLast(?:Index)?\("),
    "crypto.randomUUID": ("15.4", r"\brandomUUID\b"),
    "inert": ("15.5", r"\binert\b"),
    "form.requestSubmit": ("16", r"\brequestSubmit\b"),
    "AbortSignal.timeout": ("16", r"\bAbortSignal\.(?:timeout|any)\b"),
    "array.toSorted and the like": ("16", r"\.(?:toSorted|toReversed|toSpliced)\("),
    "static blocks of classes": ("16.4", r"\bstatic\s*\{"),
    "look-behind": ("16.4", r"\(\?<[=!]"),
    "import maps": ("16.4", r"importmap"),
    "ARIA reflection (Element.ariaLabel)": ("16.4", r"\.aria[A-Z]\w+"),
    "scrollend": ("26.2", r"\bscrollend\b"),
    "URL.canParse": ("17", r"\bcanParse\b"),
    "popover": ("17", r"\bpopover\b|\b(?:show|hide|toggle)Popover\b"),
    "Object.groupBy": ("17.4", r"\bgroupBy\b"),
    "Promise.withResolvers": ("17.4", r"\bwithResolvers\b"),
    "Element.checkVisibility": ("17.4", r"\bcheckVisibility\b"),
    "Set.prototype.union and the like": (
        "17",
        r"\.(?:union|intersection|difference)\(",
    ),
    "iterators' map and filter": ("18.4", r"\.(?:values|keys|entries)\(\)\.\w+"),
    "a dialog's closedby": ("26.2", r"\bclosedBy\b"),
    "top-level await": ("15", r"^await\b|^(?:const|let|var) .*= await\b"),
    "requestIdleCallback": ("none", r"\brequestIdleCallback\b"),
    "the `v` flag of regular expressions": ("17", r"/[gimsuy]*v[gimsuy]*[;,)]"),
}
STYLES = {
    "a list of selectors with :has": ("15.4", r"^[^{}]*:has\([^{}]*,[^{}]*\{"),
    "dvh, svh, lvh": ("15.4", r"\d[dsl]v[hw]\b"),
    "layers": ("15.4", r"@layer\b"),
    "containers": ("16", r"@container\b|\d(?:cqw|cqh|cqi)\b"),
    "color-mix": ("16.2", r"\bcolor-mix\("),
    "nesting": ("16.5", r"^\s*&|\{[^{}@]*&"),
    "light-dark": ("17.5", r"\blight-dark\("),
    "relative colours": ("16.4", r"\((?:from) "),
    "@scope": ("17.4", r"@scope\b"),
    "@starting-style": ("17.5", r"@starting-style\b"),
    "rounding": ("15.4", r"\bround\("),
}
MARKUP = {
    "inert": ("15.5", r"\sinert\b"),
    "popover": ("17", r"\spopover\b"),
    "closedby": ("26.2", r"\sclosedby\b"),
    "commands": ("26.2", r"\scommandfor\b"),
    "import maps": ("16.4", r"importmap"),
}
KINDS = {"static/*.js": SCRIPTS, "static/*.css": STYLES, "templates/*.html": MARKUP}


def plain(text):
    """A script or style without its comments."""
    return re.sub(r"/\*.*?\*/|(?m:^\s*//.*$)|(?m:\s// .*$)", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("files", KINDS)
def test_nothing_is_used_that_breaks_in_the_safari_of_ios_15(files):
    found = [
        f"{path.name}: {name}, of Safari {version}"
        for path in sorted(ROOT.glob(files))
        for name, (version, pattern) in KINDS[files].items()
        if re.search(pattern, plain(path.read_text()), re.MULTILINE)
    ]
    assert found == []


PHONE = {"has_touch": True, "is_mobile": True, "viewport": NARROW}


@pytest.fixture
def phone(live, person):
    """An owner with such a telephone."""
    owner = owner_of(live)
    phone = person(live, **PHONE).borrow(owner)
    phone.owner = owner
    phone.add_init_script(OLD)
    return phone


def ask(phone, summary, choice):
    """Choose what asks first; the box that asks, which is seen."""
    phone.locator("summary", has_text=summary).tap()
    phone.get_by_role("button", name=choice).tap()
    box = phone.locator("dialog[open]")
    expect(box).to_be_in_viewport(ratio=1)
    return box


def test_an_owner_edits_shares_and_revokes_on_one(live, phone):
    owner = phone.owner
    phone.go(owner.path)
    phone.get_by_label("Title").fill("A day by the lake")
    phone.get_by_label("Add media").fill(picture(live, 5))
    phone.press("Add", exact=True)
    expect(phone.locator("#media > li")).to_have_count(6)
    phone.get_by_label("Remove item 2").tap()
    phone.press("Save")
    expect(phone.locator("#state")).to_have_text("Saved")
    now = saved(owner)
    assert (now["session"]["title"], len(now["media"])) == ("A day by the lake", 5)
    phone.press("Share it")
    expect(phone.get_by_role("button", name="Copy: Link for everyone")).to_be_focused()
    for choice in ("Keep it", "Revoke"):
        box = ask(phone, "More for Link for everyone", "Revoke…")
        box.get_by_role("button", name=choice, exact=True).tap()
        expect(box).to_have_count(0)
    expect(phone.locator(".link")).to_have_count(0)
    assert saved(owner)["shares"] == []


def test_no_field_is_so_small_that_the_page_zooms_in_as_one_types(phone):
    small = """() => [...document.querySelectorAll("input, select, textarea")]
      .filter((field) => field.offsetParent && !field.matches("[type=file], .unseen"))
      .filter((field) => parseFloat(getComputedStyle(field).fontSize) < 16)
      .map(({ name }) => name)"""
    for path in ("/", "/account", "/sessions/new", phone.owner.path):
        phone.go(path)
        expect(phone.locator("button:disabled")).to_have_count(0)
        assert phone.evaluate(small) == [], path


def test_two_quick_taps_on_a_button_do_not_zoom_in(phone):
    zooming = """() => [...document.querySelectorAll("button, .button, summary")]
      .filter((node) => getComputedStyle(node).touchAction !== "manipulation")
      .map((node) => node.outerHTML)"""
    for path in ("/", phone.owner.path, f"{phone.owner.path}/play"):
        phone.go(path)
        expect(phone.locator("button:disabled")).to_have_count(0)
        assert phone.evaluate(zooming) == [], path


def test_two_versions_are_told_apart_on_one(phone):
    owner = phone.owner
    phone.expected.append("/api/sessions")
    phone.go(owner.path)
    phone.get_by_label("Title").fill("Mine")
    path = f"/api/sessions/{owner.session}"
    assert owner.patch(path, json={"title": "Theirs"}).status_code == 200
    phone.press("Save")
    box = phone.locator("dialog[open]")
    expect(box).to_be_in_viewport(ratio=1)
    box.get_by_role("button", name="Save mine").tap()
    expect(phone.locator("#state")).to_have_text("Saved")
    assert saved(owner)["session"]["title"] == "Mine"


def test_a_slideshow_is_found_and_deleted_on_one(phone):
    phone.go("/")
    phone.get_by_role("searchbox").fill("lake")
    expect(phone.locator("#found")).to_have_text("1 of 1")
    box = ask(phone, "More for Five hours by the lake", "Delete…")
    box.get_by_role("button", name="Delete", exact=True).tap()
    phone.heading("Your first slideshow")


def test_one_signs_in_and_changes_ones_account_on_one(live, person, phone):
    phone.go("/account")
    phone.get_by_label("Name").fill("Mira B.")
    phone.press("Save name")
    expect(phone.get_by_text("Your name is changed.")).to_be_visible()
    guest = person(live, **PHONE)
    guest.add_init_script(OLD)
    guest.go("/login")
    guest.get_by_label("Email").fill(phone.owner.user["email"])
    guest.get_by_label("Password").fill(PASSWORD)
    guest.get_by_role("main").get_by_role("button", name="Sign in").tap()
    guest.heading("Your slideshows")
