"""Signing in, registering and the account page in chromium, also without a script."""

from __future__ import annotations

import os
import re

import pytest
from playwright.sync_api import expect

from pages import PASSWORD, owner_of
from people import NARROW
from servers import Client, Service, free_port, wait_for

pytest_plugins = ["browsing"]


@pytest.fixture
def client(live):
    """Somebody with an account."""
    client = Client(live.url)
    client.user = client.sign_up(name="Mira")
    return client


@pytest.fixture
def account(live, person, client):
    """They, at their account page."""
    someone = person(live).borrow(client)
    someone.expected += ["/api/auth/user", "/api/login"]
    someone.go("/")
    someone.get_by_role("link", name="Your account").click()
    someone.heading("Your account")
    return someone


def new_email():
    return f"{os.urandom(8).hex()}@example.com"


# -------------------------------------------------------------- signing in, registering


@pytest.fixture(params=[True, False], ids=["with a script", "without"])
def visitor(request, live, person):
    """Somebody with or without JavaScript."""
    someone = person(live, java_script_enabled=request.param)
    someone.expected += ["/api/login", "/api/register", "/login", "/register"]
    return someone


def test_a_wrong_password_is_told_and_the_email_stays(visitor, client):
    visitor.go("/referrals")
    visitor.heading("Sign in")
    visitor.get_by_label("Email").fill(client.user["email"])
    visitor.get_by_label("Password").fill("wrong password")
    visitor.press("Sign in")
    told = visitor.get_by_role("alert").filter(visible=True)
    expect(told).to_have_text("Invalid email or password.")
    expect(visitor.get_by_label("Email")).to_have_value(client.user["email"])
    visitor.get_by_label("Password").fill(PASSWORD)
    visitor.press("Sign in")
    visitor.heading("Referrals")


def test_an_account_is_made_and_leads_on_to_where_one_wanted_to_be(visitor):
    visitor.go("/account")
    visitor.follow("Create an account")
    visitor.get_by_label("Name").fill("Jonas")
    visitor.get_by_label("Email").fill(new_email())
    visitor.get_by_label("Password").fill(PASSWORD)
    visitor.press("Create account")
    visitor.heading("Your account")
    expect(visitor.get_by_role("link", name="Your account")).to_contain_text("Jonas")


def test_an_email_that_is_taken_is_told_at_the_email(visitor, client):
    visitor.go("/register")
    visitor.get_by_label("Email").fill(client.user["email"])
    visitor.get_by_label("Password").fill(PASSWORD)
    visitor.press("Create account")
    email = visitor.get_by_label("Email")
    expect(email).to_have_accessible_description(
        re.compile("There is already an account with this email")
    )
    expect(email).to_have_value(client.user["email"])
    visitor.locator(".blame").get_by_role("link", name="Sign in").click()
    visitor.heading("Sign in")


def test_what_is_wrong_with_a_field_is_told_there(visitor):
    visitor.go("/register")
    visitor.get_by_label("Email").fill(new_email())
    visitor.get_by_label("Password").fill("password1")
    visitor.press("Create account")
    expect(visitor.get_by_label("Password")).to_have_accessible_description(
        re.compile("Is one of the commonest")
    )


def test_where_no_cookies_are_kept_one_is_told_instead_of_led_in_a_circle(
    live, person, client
):
    strict = person(live)
    strict.add_init_script("""
      Object.defineProperty(document, "cookie", { get: () => "", set() {} });
    """)
    strict.go("/referrals")
    strict.get_by_label("Email").fill(client.user["email"])
    strict.get_by_label("Password").fill(PASSWORD)
    strict.press("Sign in")
    told = strict.get_by_role("alert").filter(visible=True)
    expect(told).to_contain_text("This browser keeps no cookies of this site")


def test_to_press_again_while_the_next_page_is_awaited_makes_no_second_account(
    live, person
):
    hasty = person(live)
    hasty.expected.append("/api/register")
    sent, held, presses = [], [], []
    hasty.page.on("request", lambda request: sent.append(request.url))
    hasty.page.expose_function("pressed", lambda: presses.append(len(held)))
    hasty.page.route(f"{live.url}/referrals", lambda route: held.append(route))
    hasty.go("/register?next=/referrals")
    hasty.get_by_label("Email").fill(new_email())
    hasty.get_by_label("Password").fill(PASSWORD)
    hasty.evaluate("""() => {
      const [button] = document.querySelectorAll("form.panel button");
      setInterval(() => [button.click(), pressed()], 10);
    }""")
    wait_for(lambda: hasty.context.cookies() and sum(presses) > 9, what="ten presses")
    held[0].continue_()
    hasty.heading("Referrals")
    assert [url for url in sent if "/api/" in url] == [f"{live.url}/api/register"]


def test_the_email_goes_along_to_the_sign_in_but_not_into_the_address(
    live, person, client
):
    someone = person(live)
    someone.expected.append("/api/register")
    someone.go("/register")
    someone.get_by_label("Email").fill(client.user["email"])
    someone.get_by_label("Password").fill(PASSWORD)
    someone.press("Create account")
    someone.locator(".blame").get_by_role("link", name="Sign in").click()
    someone.heading("Sign in")
    expect(someone.get_by_label("Email")).to_have_value(client.user["email"])
    expect(someone.get_by_label("Password")).to_be_focused()
    assert "@" not in someone.page.url


def test_who_signs_in_or_registers_by_a_link_reads_what_for(live, person):
    owner = owner_of(live)
    someone = person(live)
    someone.go(f"/shared/{owner.share(owner.session)}")
    someone.follow("Create an account to play")
    someone.heading("Create an account to play Five hours by the lake")
    someone.follow("Sign in")
    someone.heading("Sign in")
    someone.get_by_role("main").get_by_role("link", name="Create an account").click()
    someone.heading("Create an account to play Five hours by the lake")


def test_too_many_attempts_are_explained(live, person, tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with Service(tmp_path, live.redis_url, port, PUBLIC_URL=url) as service:
        wait_for(service.answers, what="the service with limits")
        wrong = {"email": new_email(), "password": "wrong password"}
        for _ in range(5):
            assert Client(url).post("/api/login", json=wrong).status_code == 401
        for script in (True, False):
            someone = person(service, java_script_enabled=script)
            someone.expected.append("/login")
            someone.go("/login")
            someone.get_by_label("Email").fill(wrong["email"])
            someone.get_by_label("Password").fill("wrong password")
            someone.press("Sign in")
            told = someone.get_by_role("alert").filter(visible=True)
            expect(told).to_have_text(re.compile(r"Please wait \d+ (minutes|seconds)"))


def test_where_registration_is_closed_the_page_says_why(live, person, tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    more = {"PUBLIC_URL": url, "REGISTRATION": "closed"}
    with Service(tmp_path, live.redis_url, port, **more) as service:
        wait_for(service.answers, what="the closed service")
        someone = person(service)
        someone.go("/register")
        expect(someone.get_by_text("not open to everyone here")).to_be_visible()
        expect(someone.locator("form")).to_have_count(0)
        someone.page.wait_for_load_state("networkidle")  # then the service may end


# -------------------------------------------------------------------------- the account


def test_every_page_says_who_is_signed_in(live, person, client):
    session = client.make_session(media=0)
    someone = person(live).borrow(client)
    for path in (
        "/",
        "/sessions/new",
        f"/sessions/{session}",
        "/referrals",
        "/account",
    ):
        someone.go(path)
        link = someone.get_by_role("link", name="Your account: Mira")
        expect(link).to_be_visible()
        expect(link).to_have_attribute("href", "/account")


def test_the_name_is_changed_without_a_password(live, person, account, client):
    account.get_by_label("Name").fill("Åsa Lindqvist")
    account.press("Save name")
    done = account.locator("form[data-change=name] .done")
    expect(done).to_contain_text("It shows on all your links")
    expect(account.get_by_role("link", name="Your account")).to_contain_text(
        "Lindqvist"
    )
    assert client.get("/api/auth/user").json()["name"] == "Åsa Lindqvist"
    expect(account.locator(".face")).to_have_text("Å")  # all that a telephone shows


def test_the_email_is_changed_with_the_password(account, client):
    email = new_email()
    form = account.locator("form[data-change=email]")
    form.get_by_label("Email").fill(email)
    form.get_by_label("Current password").fill("wrong password")
    account.press("Change email")
    expect(form.get_by_label("Current password")).to_have_accessible_description(
        re.compile("not right")
    )
    form.get_by_label("Current password").fill(PASSWORD)
    account.press("Change email")
    expect(form.locator(".done")).to_be_visible()
    assert client.get("/api/auth/user").json()["email"] == email
    expect(account.locator(".who")).to_have_attribute("title", re.compile(email))
    account.press("Delete your account…")
    expect(account.get_by_role("dialog")).to_contain_text(email)


def test_an_email_of_somebody_else_is_refused_at_the_email(live, account):
    taken = Client(live.url).sign_up()["email"]
    form = account.locator("form[data-change=email]")
    form.get_by_label("Email").fill(taken)
    form.get_by_label("Current password").fill(PASSWORD)
    account.press("Change email")
    expect(form.get_by_label("Email")).to_have_accessible_description(
        re.compile("There is already an account")
    )


def test_each_field_is_told_its_own_fault_also_after_another_try(live, account):
    taken = Client(live.url).sign_up()["email"]
    given = {
        "email": {"Email": taken, "Current password": PASSWORD},
        "password": {"Current password": "wrong password", "New password": PASSWORD},
    }
    for name in ("email", "password", "email"):
        form = account.locator(f"form[data-change={name}]")
        for label, value in given[name].items():
            form.get_by_label(label).fill(value)
        with account.expect_response("**/api/auth/user"):
            form.get_by_role("button").click()
    wrong = account.locator("form[data-change=password]")
    expect(wrong.get_by_label("Current password")).to_have_accessible_description(
        re.compile("not right")
    )


def test_a_new_password_ends_every_other_sign_in(live, account, client):
    elsewhere = Client(live.url)
    given = {"email": client.user["email"], "password": PASSWORD}
    assert elsewhere.post("/api/login", json=given).status_code == 200
    form = account.locator("form[data-change=password]")
    form.get_by_label("Current password").fill(PASSWORD)
    form.get_by_label("New password").fill("a longer one than before")
    account.press("Change password")
    expect(form.locator(".done")).to_be_visible()
    expect(form.get_by_label("New password")).to_have_value("")
    assert elsewhere.get("/api/auth/user").status_code == 401
    account.reload()
    account.heading("Your account")


def test_a_token_is_shown_once_and_deleted(live, account):
    account.context.grant_permissions(["clipboard-read", "clipboard-write"])
    account.get_by_label("What it is for").fill("Nightly upload")
    account.press("Make a token")
    token = account.copied("Copy: Your new token")
    script = Client(live.url)
    script.headers["Authorization"] = f"Bearer {token}"
    assert script.get("/api/auth/user").status_code == 200
    account.reload()
    assert token not in account.content()
    account.press("Delete the token Nightly upload")
    account.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(account.locator("#tokens > li")).to_have_count(0)
    assert script.get("/api/auth/user").status_code == 401


def test_a_token_that_was_deleted_elsewhere_goes(account, client):
    token = client.post("/api/tokens", json={"name": "One"}).json()
    account.expected.append("/api/tokens")
    account.reload()
    client.delete(f"/api/tokens/{token['id']}")
    account.press("Delete the token One")
    account.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(account.locator("#tokens > li")).to_have_count(0)


def test_after_a_token_is_deleted_the_focus_is_at_the_next_one_and_it_is_told(
    account, client
):
    for name in ("One", "Two"):
        assert client.post("/api/tokens", json={"name": name}).status_code == 201
    account.reload()
    fields = [
        account.get_by_role("button", name="Delete the token Two"),
        account.get_by_label("What it is for"),
    ]
    for name, focused in zip(("One", "Two"), fields, strict=True):
        account.press(f"Delete the token {name}")
        account.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(focused).to_be_focused()
        expect(account.locator("#announce")).to_have_text("The token is deleted.")


@pytest.mark.parametrize("script", [True, False], ids=["with a script", "without"])
@pytest.mark.parametrize("button", ["Sign out here", "Sign out everywhere"])
def test_signing_out_here_or_everywhere(live, person, client, button, script):
    given = {"email": client.user["email"], "password": PASSWORD}
    elsewhere = Client(live.url)
    elsewhere.post("/api/login", json=given)
    someone = person(live, java_script_enabled=script).borrow(client)
    someone.go("/account")
    someone.press(button)
    someone.heading("A slideshow, behind one link")
    assert client.get("/api/auth/user").status_code == 401
    gone = elsewhere.get("/api/auth/user").status_code == 401
    assert gone is (button == "Sign out everywhere")


def test_an_account_is_deleted_after_a_question_with_the_password(
    live, account, client
):
    code = client.share(client.make_session(media=0))
    account.evaluate("localStorage.setItem('joip-draft-of-a-secret', '{}')")
    account.press("Delete your account…")
    dialog = account.get_by_role("dialog", name="Delete your account?")
    dialog.get_by_label("Current password").fill("wrong password")
    dialog.get_by_role("button", name="Delete everything").click()
    expect(dialog.get_by_role("alert")).to_contain_text("not right")
    dialog.get_by_label("Current password").fill(PASSWORD)
    dialog.get_by_role("button", name="Delete everything").click()
    account.heading("A slideshow, behind one link")
    assert account.evaluate("localStorage.length") == 0
    assert Client(live.url).get(f"/shared/{code}").status_code == 404
    assert client.get("/api/auth/user").status_code == 401


def test_password_managers_are_led_to_the_account_page(live, person, client):
    someone = person(live, viewport=NARROW).borrow(client)
    someone.go("/.well-known/change-password")
    someone.heading("Your account")
    form = someone.locator("form[data-change=password]")
    kinds = [
        field.get_attribute("autocomplete") for field in form.locator("input").all()
    ]
    assert kinds == ["username", "current-password", "new-password"]
