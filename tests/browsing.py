"""A chromium and the people who use it: fixtures for the tests of the pages."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect, sync_playwright

from pages import PASSWORD
from people import ARGS, PATIENCE, Person
from servers import need

COUNT_CLICKS = """addEventListener("click", ({ isTrusted, detail }) => {
  if (isTrusted && detail) clicked();
}, true)"""


SHELL = "chromium-headless-shell"


@pytest.fixture(scope="module")
def browser(request):
    """One browser, with a fresh profile, for a module: chromium without its windows, in
    half the time. A test that asks for "chromium" as its parameter gets all of it."""
    with sync_playwright() as playwright:
        expect.set_options(timeout=PATIENCE)
        program = need(getattr(request, "param", SHELL))
        browser = playwright.chromium.launch(executable_path=program, args=ARGS)
        yield browser
        browser.close()


class Guest(Person):
    """A person whose clicks (or taps) are counted, those of the keyboard not."""

    def __init__(self, browser, site, **options):
        super().__init__(browser, site, **options)
        self.clicks = 0
        self.context.expose_function("clicked", self._clicked)
        self.context.add_init_script(COUNT_CLICKS)

    def _clicked(self):
        self.clicks += 1

    def sign_up(self, email):
        """Fill in the form that is shown, by keyboard from its first field."""
        expect(self.page.get_by_label("Email")).to_be_focused()
        self.page.keyboard.type(email)
        self.page.keyboard.press("Tab")
        self.page.keyboard.type(PASSWORD)
        self.press("Create account")


@pytest.fixture
def person(browser):
    """Makes people; afterwards none of them has seen a complaint of the browser, such
    as one about the Content-Security-Policy."""
    people = []

    def make(site, **options):
        people.append(Guest(browser, site, **options))
        return people[-1]

    yield make
    for someone in people:
        someone.context.close()
        assert someone.complaints == []
