"""Accounts: registration, sign-in, changes, deletion, and how guessing is slowed."""

import hashlib
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import fakeredis
import pytest

import joip_share
import passwords
from servers import Client, Service, wait_for
from store import DEPART

ADA = {"email": "Ada@Example.com", "password": "pass-phrase"}
USER = {"id", "email", "name", "referralCode", "createdAt"}


def refused(answer, status, code):
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    return answer.json


def test_registering_answers_the_user_and_signs_in(visitor):
    answer = visitor.post("/api/register", json=ADA | {"name": "Ada"})
    assert answer.status_code == 201
    user = answer.json
    assert set(user) == USER
    assert (user["email"], user["name"]) == ("Ada@Example.com", "Ada")
    assert re.fullmatch(r"[a-z0-9]{8}", user["referralCode"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", user["createdAt"])
    assert visitor.get("/api/auth/user").json == user


def test_a_user_and_its_referral_code_stay_as_they_are(visitor):
    user = visitor.sign_up(**ADA)
    visitor.post("/api/logout")
    answer = visitor.post("/api/login", json=ADA)
    assert (answer.status_code, answer.json) == (200, user)


def test_each_user_has_an_id_and_a_referral_code_of_their_own(new_visitor):
    users = [new_visitor().sign_up(f"{n}@example.com") for n in range(3)]
    assert len({user["id"] for user in users}) == 3
    assert len({user["referralCode"] for user in users}) == 3


def test_emails_are_compared_without_case(visitor, new_visitor):
    visitor.sign_up(**ADA)
    again = ADA | {"email": "ADA@example.COM"}
    taken = refused(new_visitor().post("/api/register", json=again), 409, "EMAIL_TAKEN")
    assert taken["error"] == "Conflict"
    assert new_visitor().post("/api/login", json=again).status_code == 200


def test_a_refused_registration_signs_nobody_in(visitor, new_visitor):
    visitor.sign_up(**ADA)
    other = new_visitor()
    assert "Set-Cookie" not in other.post("/api/register", json=ADA).headers
    assert other.get("/api/auth/user").status_code == 401


@pytest.mark.parametrize(
    "more",
    [
        {"password": "x" * 8},
        {"password": "x" * 200},
        {"password": "🔑" * 200},
        {"email": "a.b+c_d@sub.example.org"},
        {"email": "x" * 64 + "@example.org"},
        {"name": "Ünï 🌊"},
    ],
)
def test_what_may_be_registered_can_sign_in(visitor, more):
    visitor.sign_up(**(ADA | more))
    visitor.post("/api/logout")
    given = {k: v for k, v in (ADA | more).items() if k != "name"}
    assert visitor.post("/api/login", json=given).status_code == 200


@pytest.mark.parametrize(
    ("more", "field"),
    [
        *[({"email": email}, "email") for email in (
            "", "ada", "@example.com", "ada@", "a b@example.com", "ada@exa mple.com",
            "ada@@example.com", "ada@-example.com", None, 5,
            ["ada@example.com"], "ada@" + "x" * 300 + ".com", "ädä@example.com",
        )],
        *[({"password": password}, "password") for password in (
            "", "x" * 7, "x" * 201, None, 12345678, ["long enough"], True,
        )],
        *[({"name": name}, "name") for name in (5, ["Ada"], "x" * 101)],
        *[({member: "x"}, member) for member in (
            "id", "Email", "is_admin", "createdAt",
        )],
    ],
)  # fmt: skip
def test_a_wrong_registration_is_a_400_that_names_the_member(visitor, more, field):
    problem = refused(
        visitor.post("/api/register", json=ADA | more), 400, "INVALID_REQUEST"
    )
    assert [detail["field"] for detail in problem["details"]] == [field]
    assert visitor.get("/api/auth/user").status_code == 401


@pytest.mark.parametrize("member", ["email", "password"])
@pytest.mark.parametrize("path", ["/api/register", "/api/login"])
def test_email_and_password_are_required(visitor, path, member):
    given = {k: v for k, v in ADA.items() if k != member}
    problem = refused(visitor.post(path, json=given), 400, "INVALID_REQUEST")
    assert problem["details"] == [{"field": member, "message": "is required"}]


def test_an_unknown_email_and_a_wrong_password_answer_alike(visitor, new_visitor):
    visitor.sign_up(**ADA)
    answers = [
        new_visitor().post(
            "/api/login", json=ADA | wrong, headers={"X-Request-ID": "same"}
        )
        for wrong in (
            {"password": "a wrong one"}, {"email": "nobody@example.com"},
            {"email": "not an email"}, {"password": ""}, {"email": "é@\x00"},
        )
    ]  # fmt: skip
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.data for answer in answers}) == 1
    assert answers[0].json["code"] == "INVALID_CREDENTIALS"
    assert len({tuple(answer.headers) for answer in answers}) == 1


@pytest.fixture
def hashes(monkeypatch):
    """Every scrypt from now on, as it is made."""
    made, scrypt = [], hashlib.scrypt
    monkeypatch.setattr(
        hashlib, "scrypt", lambda *args, **more: made.append(1) or scrypt(*args, **more)
    )
    return made


def test_an_unknown_email_costs_as_many_hashes_as_a_wrong_password(visitor, hashes):
    for email in ("nobody@example.com", "nobody@example.com", ADA["email"]):
        if email == ADA["email"]:
            visitor.sign_up(**ADA)
        hashes.clear()
        given = {"email": email, "password": "a wrong one"}
        refused(visitor.post("/api/login", json=given), 401, "INVALID_CREDENTIALS")
        assert len(hashes) == 1, email


def test_a_password_is_nowhere_in_the_store(app, visitor):
    user = visitor.sign_up(**ADA)
    stored = app.store.account(user["id"])
    assert ADA["password"] not in stored.password
    assert stored.password.startswith("scrypt:")


@pytest.mark.parametrize("signed_in", [True, False])
def test_logout_is_204_with_and_without_a_login(visitor, signed_in):
    if signed_in:
        visitor.sign_up()
    answer = visitor.post("/api/logout")
    assert (answer.status_code, answer.data) == (204, b"")
    assert visitor.get("/api/auth/user").status_code == 401


# Who may register


@pytest.fixture
def in_mode(new_visitor):
    """Makes strangers to a service whose registration is in a mode, and says who has
    an account there already."""
    redis = fakeredis.FakeStrictRedis()
    kind = type(new_visitor())

    def stranger(mode):
        settings = joip_share.Settings(registration=mode, ratelimit_enabled=False)
        return kind(joip_share.create_app(settings, redis))

    stranger.owner = stranger("open")
    stranger.owner.user = stranger.owner.sign_up()
    return stranger


def test_a_closed_registration_refuses_whoever_comes(in_mode):
    owner, stranger = in_mode.owner, in_mode("closed")
    link = owner.share(owner.make_session())
    stranger.get(f"/shared/{link['shareCode']}?r={link['referralCode']}")
    given = ADA | {"referralCode": link["referralCode"]}
    refused(stranger.post("/api/register", json=given), 403, "REGISTRATION_CLOSED")
    page = stranger.post("/register", data=given)
    assert page.status_code == 403
    assert stranger.get("/register").status_code == 200
    answer = stranger.post("/api/login", json={"email": ADA["email"], "password": "x"})
    refused(answer, 401, "INVALID_CREDENTIALS")


@pytest.mark.parametrize(("mode", "helps"), [("invite", True), ("closed", False)])
def test_the_page_sends_people_back_to_a_link_only_where_that_helps(
    in_mode, mode, helps
):
    told = in_mode(mode).get("/register").text
    assert "sk whoever runs this service for an account" in told
    assert ("open it once more" in told) is helps


def test_an_admin_makes_accounts_though_registration_is_closed(in_mode):
    stranger = in_mode("closed")
    command = ["create-user", "--email", ADA["email"], "--password", ADA["password"]]
    runner = stranger.client.application.test_cli_runner()
    made = runner.invoke(args=[*command, "--name", "Ada"])
    assert made.exit_code == 0, made.output
    assert stranger.post("/api/login", json=ADA).status_code == 200


def test_a_wrong_registration_is_a_400_also_where_it_is_closed(in_mode):
    answer = in_mode("closed").post("/api/register", json={"email": "x"})
    refused(answer, 400, "INVALID_REQUEST")


INVITED = {
    "by a link": "/shared/{code}",
    "by a link with its code": "/shared/{code}?r={referral}",
    "by the front page": "/?ref={referral}",
    "by the player's address": "/shared/{code}/play",
    "in another browser": "/register?next=/shared/{code}/play",
}


@pytest.mark.parametrize("path", INVITED.values(), ids=INVITED)
def test_who_came_by_somebodys_link_may_register_by_invitation(in_mode, path):
    owner, stranger = in_mode.owner, in_mode("invite")
    link = owner.share(owner.make_session())
    names = {"code": link["shareCode"], "referral": link["referralCode"]}
    assert stranger.get(path.format(**names)).status_code in (200, 303)
    stranger.sign_up(**ADA)
    assert owner.get("/api/referrals").json["totals"]["signups"] == 1


@pytest.mark.parametrize("spell", [str, str.upper, " {} ".format])
def test_a_referral_code_is_an_invitation_and_is_credited(in_mode, spell):
    given = spell(in_mode.owner.user["referralCode"])
    in_mode("invite").sign_up(**ADA, referralCode=given)
    totals = in_mode.owner.get("/api/referrals").json["bySource"]
    assert totals["direct"]["signups"] == 1


@pytest.mark.parametrize("code", [None, "", "x", "00000000", "../login", "*"])
def test_without_an_invitation_nobody_registers(in_mode, code):
    stranger = in_mode("invite")
    stranger.get(f"/?ref={code}")
    stranger.client.set_cookie("joip_ref", f"{in_mode.owner.user['referralCode']}.1..x")
    answer = stranger.post("/api/register", json=ADA | {"referralCode": code})
    refused(answer, 403, "REGISTRATION_CLOSED")
    assert stranger.get("/register").status_code == 200


def test_an_account_that_is_gone_invites_nobody(in_mode):
    owner = in_mode.owner
    given = ADA | {"referralCode": owner.user["referralCode"]}
    confirmed = {"currentPassword": "long enough"}
    assert owner.delete("/api/auth/user", json=confirmed).status_code == 204
    answer = in_mode("invite").post("/api/register", json=given)
    refused(answer, 403, "REGISTRATION_CLOSED")


OFFER = "/register"


@pytest.mark.parametrize(
    ("mode", "invited", "offered"),
    [
        ("open", False, {"/", "/login", "link"}),
        ("closed", False, set()),
        ("closed", True, set()),
        ("invite", False, {"link"}),
        ("invite", True, {"/", "/login", "link"}),
    ],
)
def test_no_page_offers_an_account_that_would_be_refused(
    in_mode, mode, invited, offered
):
    link = in_mode.owner.share(in_mode.owner.make_session())
    stranger = in_mode(mode)
    if invited:
        stranger.get(f"/?ref={link['referralCode']}")
    pages = {name: stranger.get(name).text for name in ("/", "/login")}
    pages["link"] = in_mode(mode).get(f"/shared/{link['shareCode']}").text
    assert {name for name, text in pages.items() if OFFER in text} == offered
    for text in pages.values():
        assert 'href="/login' in text


def test_the_page_that_a_referral_link_opens_offers_an_account(in_mode):
    code = in_mode.owner.user["referralCode"]
    assert OFFER in in_mode("invite").get(f"/?ref={code}").text
    assert OFFER not in in_mode("invite").get("/?ref=00000000").text
    assert OFFER not in in_mode("closed").get(f"/?ref={code}").text


# Forms without JavaScript


@pytest.mark.parametrize("path", ["/register", "/login"])
def test_a_form_signs_in_and_leads_on(visitor, new_visitor, path):
    if path == "/login":
        new_visitor().sign_up(**ADA)
    answer = visitor.post(path, data=ADA | {"next": "/referrals"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/referrals")
    assert visitor.get("/api/auth/user").json["email"] == ADA["email"]


@pytest.mark.parametrize(
    "hostile",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:x",
     "/../x", "/%2e%2e/x", "\r\nX: 1", "", "x"],
)  # fmt: skip
def test_a_form_leads_to_no_other_site(visitor, hostile):
    answer = visitor.post("/register", data=ADA | {"next": hostile})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


def test_a_form_signs_out_here_or_everywhere(owner, new_visitor):
    other = new_visitor()
    assert signs_in(other, "owner@example.com")
    answer = other.post("/logout")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert other.get("/api/auth/user").status_code == 401
    assert owner.get("/api/auth/user").status_code == 200
    assert signs_in(other, "owner@example.com")
    assert other.post("/logout", data={"everywhere": "1"}).status_code == 303
    for person in (owner, other):
        assert person.get("/api/auth/user").status_code == 401
    assert other.post("/logout").status_code == 303


def test_only_our_own_form_signs_out(owner):
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    assert owner.post("/logout", headers=elsewhere).status_code == 403
    assert owner.get("/logout").status_code == 405
    assert owner.get("/api/auth/user").status_code == 200


WRONG_FORMS = [
    ("/register", {"email": "ada"}, 400, "must be an email address"),
    ("/register", {"password": "short"}, 400, "at least 8 characters"),
    ("/register", {"password": "password1"}, 400, "one of the commonest"),
    ("/register", {"name": "x" * 101}, 400, "at most 100 characters"),
    ("/register", {"name": "\u202egnp"}, 400, "a line of text"),
    ("/register", {"email": "owner@example.com"}, 409, "already an account"),
    ("/register", {"admin": "1"}, 400, "admin is not a known member"),
    ("/register", {"referralCode": "x" * 101}, 400, "referralcode must have at most"),
    ("/login", {"remember": "1"}, 400, "remember is not a known member"),
    ("/login", {"password": "a wrong one"}, 401, "invalid email or password"),
    ("/login", {"email": "nobody@example.com"}, 401, "invalid email or password"),
    ("/login", {"email": ""}, 400, None),
]


@pytest.mark.parametrize(("path", "more", "status", "told"), WRONG_FORMS)
def test_a_form_is_checked_as_the_api_is_and_keeps_what_was_typed(
    owner, new_visitor, path, more, status, told
):
    given, stranger = ADA | more, new_visitor()
    answer = stranger.post(path, data=given)
    assert answer.status_code == status
    assert answer.mimetype == "text/html"
    assert told is None or told in answer.text.lower()
    assert not given["email"] or f'value="{given["email"]}"' in answer.text
    assert given["password"] not in answer.text
    assert stranger.get("/api/auth/user").status_code == 401
    by_api = {name: value for name, value in given.items() if value}
    assert stranger.post(f"/api{path}", json=by_api).status_code == status


@pytest.mark.parametrize(
    ("path", "more", "status", "told"),
    [
        ("/login", {"password": "a wrong one"}, 401, "Invalid email or password"),
        ("/register", {}, 409, "already an account"),
        ("/register", {"password": "short"}, 400, "at least 8 characters"),
    ],
)
def test_a_refused_form_is_told_to_who_signed_in_meanwhile(
    owner, new_visitor, path, more, status, told
):
    """In another tab: going on would be as somebody else than was meant."""
    new_visitor().sign_up(**ADA)
    answer = owner.post(path, data=ADA | more | {"next": "/account"})
    assert (answer.status_code, told in answer.text) == (status, True)
    assert owner.get("/api/auth/user").json["email"] == "owner@example.com"


PART = 'Content-Disposition: form-data; name="{}"\r\n\r\n'
IN_PARTS = b"".join(
    b"--X\r\n" + PART.format(name).encode() + value + b"\r\n"
    for name, value in (
        (("email"), b"ada@example.com"),
        ("password", b"long \xe9nough"),
    )
)
LATIN = [
    (
        "application/x-www-form-urlencoded",
        b"email=ada@example.com&password=long+%E9nough",
    ),
    (
        "application/x-www-form-urlencoded",
        b"email=ada@example.com&password=long+\xe9nough",
    ),
    ("multipart/form-data; boundary=X", IN_PARTS + b"--X--\r\n"),
]


@pytest.mark.parametrize(("kind", "body"), LATIN)
def test_a_form_that_is_not_utf_8_is_refused(visitor, kind, body):
    """Else the password would be another one than was typed, and each like the next."""
    for path in ("/register", "/login"):
        answer = visitor.post(path, data=body, content_type=kind)
        assert (answer.status_code, "not UTF-8" in answer.text) == (400, True)
    right = body.replace(b"%E9", b"%C3%A9").replace(b"\xe9", "\u00e9".encode())
    assert visitor.post("/register", data=right, content_type=kind).status_code == 303
    given = ADA | {"password": "long \u00e9nough"}
    assert visitor.post("/api/login", json=given).status_code == 200


@pytest.mark.parametrize("path", ["/register", "/login"])
def test_a_form_of_another_site_is_refused(visitor, path):
    """Also to sign in: else one could be signed in as somebody else unawares."""
    answer = visitor.post(path, data=ADA, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


# Changes

PASSWORD = "long enough"
RIGHT = {"currentPassword": PASSWORD}
WRONG = {"currentPassword": "a wrong one"}


def change(person, **patch):
    return person.patch("/api/auth/user", json=patch)


def signs_in(person, email, password=PASSWORD):
    given = {"email": email, "password": password}
    return person.post("/api/login", json=given).status_code == 200


def test_a_name_is_changed_without_the_password(owner):
    answer = change(owner, name=" Ana ")
    assert answer.status_code == 200
    assert answer.json == owner.user | {"name": "Ana"}
    assert owner.get("/api/auth/user").json == answer.json


@pytest.mark.parametrize("patch", [{}, RIGHT], ids=repr)
def test_a_change_of_nothing_changes_nothing(owner, patch):
    answer = change(owner, **patch)
    assert (answer.status_code, answer.json) == (200, owner.user)


def test_an_email_is_changed_with_the_password_and_the_old_one_is_free(
    owner, new_visitor
):
    answer = change(owner, email=" New@Example.com ", **RIGHT)
    assert answer.json == owner.user | {"email": "New@Example.com"}
    assert owner.get("/api/auth/user").json == answer.json
    assert not signs_in(new_visitor(), "owner@example.com")
    assert signs_in(new_visitor(), "new@example.com")
    newcomer = new_visitor().sign_up("owner@example.com")
    assert newcomer["id"] != owner.user["id"]


def test_an_email_may_change_its_case(owner, new_visitor):
    assert change(owner, email="OWNER@example.com", **RIGHT).status_code == 200
    assert owner.get("/api/auth/user").json["email"] == "OWNER@example.com"
    assert signs_in(new_visitor(), "owner@EXAMPLE.com")


def test_an_email_of_somebody_else_is_refused_and_nothing_changes(owner, new_visitor):
    new_visitor().sign_up(**ADA)
    answer = change(owner, email=ADA["email"], **RIGHT)
    refused(answer, 409, "EMAIL_TAKEN")
    assert owner.get("/api/auth/user").json == owner.user
    assert signs_in(new_visitor(), "owner@example.com")


def test_a_new_password_ends_every_login_but_the_one_that_asked(owner, new_visitor):
    others = [new_visitor() for _ in range(3)]
    assert all(signs_in(other, "owner@example.com") for other in others)
    assert change(owner, password="another one", **RIGHT).status_code == 200
    assert owner.get("/api/auth/user").status_code == 200
    assert {other.get("/api/auth/user").status_code for other in others} == {401}
    assert not signs_in(new_visitor(), "owner@example.com")
    assert signs_in(new_visitor(), "owner@example.com", "another one")


def test_all_may_be_changed_at_once(owner, new_visitor):
    patch = {"name": "Ana", "email": "ana@example.com", "password": "another one"}
    assert change(owner, **patch, **RIGHT).json["name"] == "Ana"
    assert signs_in(new_visitor(), "ana@example.com", "another one")


def test_a_password_that_was_changed_meanwhile_changes_nothing(app, owner, monkeypatch):
    hashing, me = app.passwords.hash, owner.user["id"]

    def act_first(password):
        app.store.change_account(me, {"password": hashing("another one")})
        return hashing(password)

    monkeypatch.setattr(app.passwords, "hash", act_first)
    new = {"name": "Eve", "email": "eve@example.com", "password": "and one more"}
    refused(change(owner, **new, **RIGHT), 403, "WRONG_PASSWORD")
    del new["email"]
    app.store.change_account(me, {"password": hashing(PASSWORD)})
    refused(change(owner, **new, **RIGHT), 403, "WRONG_PASSWORD")
    assert owner.get("/api/auth/user").json == owner.user


def test_a_change_that_finds_the_service_too_busy_changes_nothing(app, owner):
    """The current password is looked at; then others come, and take every place."""
    before = owner.get("/api/auth/user").json

    class LastPlace(passwords.Places):
        def taken(self):
            app.passwords.line = passwords.Places(0)
            return super().taken()

    app.passwords.line = LastPlace(1)
    patch = {"name": "Ana", "email": "ana@example.com", "password": "another one"}
    refused(change(owner, **patch, **RIGHT), 503, "BUSY")
    assert owner.get("/api/auth/user").json == before


@pytest.mark.parametrize("patch", [{"email": "x@y.org"}, {"password": "another one"}])
def test_email_and_password_need_the_current_password(owner, patch):
    problem = refused(change(owner, **patch), 400, "INVALID_REQUEST")
    assert [detail["field"] for detail in problem["details"]] == ["currentPassword"]
    refused(change(owner, **patch, **WRONG), 403, "WRONG_PASSWORD")
    refused(change(owner, name="Ana", **patch, **WRONG), 403, "WRONG_PASSWORD")
    assert owner.get("/api/auth/user").json == owner.user


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        *[({"name": name}, "name") for name in ("", " ", "x" * 101, 5, None, "a\nb")],
        *[({"email": email} | RIGHT, "email") for email in ("", "ada", 5, None)],
        *[({"password": password} | RIGHT, "password") for password in (
            "", "x" * 7, "x" * 201, 12345678, None, "password1",
        )],
        ({"email": "x@y.org", "currentPassword": 5}, "currentPassword"),
        *[({member: "x"}, member) for member in ("id", "referralCode", "Name")],
    ],
)  # fmt: skip
def test_a_wrong_change_is_a_400_that_names_the_member(owner, patch, field):
    problem = refused(change(owner, **patch), 400, "INVALID_REQUEST")
    assert [detail["field"] for detail in problem["details"]] == [field]
    assert owner.get("/api/auth/user").json == owner.user


def test_a_change_with_a_wrong_password_does_not_tell_whose_an_email_is(
    owner, new_visitor, hashes
):
    new_visitor().sign_up(**ADA)
    same, answers = {"X-Request-ID": "same"}, []
    for email in (ADA["email"], "nobody@example.com"):
        hashes.clear()
        patch = {"email": email} | WRONG
        answers.append(owner.patch("/api/auth/user", json=patch, headers=same))
        assert len(hashes) == 1
    assert {answer.status_code for answer in answers} == {403}
    assert answers[0].data == answers[1].data
    assert [*answers[0].headers] == [*answers[1].headers]


# Deletion


def test_an_account_is_deleted_with_all_that_was_its(app, owner, new_visitor):
    other_login, guest = new_visitor(), new_visitor()
    assert signs_in(other_login, "owner@example.com")
    code = owner.share(owner.make_session())["shareCode"]
    guest.sign_up(**ADA)
    guest.get(f"/api/shared/{code}")
    answer = owner.delete("/api/auth/user", json=RIGHT)
    assert (answer.status_code, answer.data) == (204, b"")
    for person in (owner, other_login):
        assert person.get("/api/auth/user").status_code == 401
    assert guest.get(f"/api/shared/{code}/preview").status_code == 404
    assert guest.get(f"/shared/{code}").status_code == 404
    assert not signs_in(new_visitor(), "owner@example.com")
    names = [owner.user["id"], owner.user["referralCode"], code]
    keys = app.store.execute("KEYS", "*")
    assert not [key for key in keys for name in names if name.encode() in key]


def test_its_email_is_free_again_and_begins_anew(owner, new_visitor):
    owner.make_session()
    assert owner.delete("/api/auth/user", json=RIGHT).status_code == 204
    newcomer = new_visitor()
    assert newcomer.sign_up()["id"] != owner.user["id"]
    assert newcomer.get("/api/sessions").json == []


def test_credits_that_it_gave_stay_as_numbers(owner, new_visitor):
    guest = new_visitor()
    guest.sign_up(**ADA, referralCode=owner.user["referralCode"])
    confirmed = {"currentPassword": ADA["password"]}
    assert guest.delete("/api/auth/user", json=confirmed).status_code == 204
    assert owner.get("/api/referrals").json["totals"]["signups"] == 1


def test_its_deletion_needs_the_password(owner):
    for body, status, code in (
        (None, 400, "INVALID_REQUEST"),
        ({}, 400, "INVALID_REQUEST"),
        ({"currentPassword": None}, 400, "INVALID_REQUEST"),
        (RIGHT | {"sure": True}, 400, "INVALID_REQUEST"),
        (WRONG, 403, "WRONG_PASSWORD"),
    ):
        refused(owner.delete("/api/auth/user", json=body), status, code)
    assert owner.get("/api/auth/user").json == owner.user


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_an_account_is_its_owners_alone(visitor, method):
    answer = visitor.open("/api/auth/user", method, json={"nonsense": 1})
    refused(answer, 401, "UNAUTHORIZED")


def test_whoever_is_marked_as_going_is_nobody(app, owner):
    """Whatever cut the deletion short: neither by a cookie nor by a token."""
    path = f"/api/sessions/{owner.make_session()}"
    token = owner.post("/api/tokens", json={"name": "script"}).json["token"]
    script = {"Authorization": f"Bearer {token}"}
    app.store.execute(*DEPART([app.store.keys.user(owner.user["id"])], ""))
    for method, asked, body in (
        ("GET", "/api/auth/user", None),
        ("GET", "/api/sessions", None),
        ("GET", path, None),
        ("GET", f"{path}/media", None),
        ("GET", f"{path}/stats", None),
        ("GET", "/api/tokens", None),
        ("GET", "/api/referrals", None),
        ("PATCH", "/api/auth/user", {"name": "Ana"}),
        ("POST", "/api/sessions", {"title": "x"}),
        ("PATCH", path, {"title": "x"}),
        ("POST", "/api/tokens", {"name": "x"}),
        ("DELETE", "/api/auth/user", RIGHT),
    ):
        for headers in ({}, script):
            answer = owner.open(asked, method, json=body, headers=headers)
            refused(answer, 401, "UNAUTHORIZED")
    for asked in ("/account", "/sessions/new", "/referrals"):
        assert owner.get(asked).status_code == 303


def test_whoever_is_marked_as_going_plays_nobodys_link(world):
    """Neither one for everybody nor one that was made for them."""
    guest, share = world.guest, world.owner.share
    token = guest.post("/api/tokens", json={"name": "script"}).json["token"]
    script = {"Authorization": f"Bearer {token}"}
    own = share(world.session_id, userId=guest.user["id"])["shareCode"]
    paths = [
        f"/api/shared/{part}{c}" for part in ("", "media/") for c in (world.code, own)
    ]
    assert {guest.get(path).status_code for path in paths} == {200}
    mark = DEPART([world.store.keys.user(guest.user["id"])], "")
    world.store.execute(*mark)
    for path in paths:
        for headers in ({}, script):
            refused(guest.get(path, headers=headers), 401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    ("method", "body"),
    [("DELETE", RIGHT), ("PATCH", RIGHT | {"password": "another one"})],
)
def test_who_is_deleted_meanwhile_is_nobody(app, owner, monkeypatch, method, body):
    """As two tabs do that are told to delete at once: there is nobody left to ask."""
    account = app.store.account(owner.user["id"])
    monkeypatch.setattr(
        app.passwords, "match", lambda *_: app.store.delete_account(account) or True
    )
    refused(owner.open("/api/auth/user", method, json=body), 401, "UNAUTHORIZED")


# Rate limits


@pytest.fixture
def limited(new_visitor):
    """Makes strangers to a service with its rate limits on, behind one proxy."""
    settings = joip_share.Settings(trusted_proxies=1)
    app = joip_share.create_app(settings, fakeredis.FakeStrictRedis())
    return lambda: type(new_visitor())(app)


def sign_in(person, email="ada@example.com", password="wrong", address="192.0.2.1"):
    given = {"email": email, "password": password}
    headers = {"X-Forwarded-For": address}
    return person.post("/api/login", json=given, headers=headers)


def assert_limited(answer, limit, window):
    problem = refused(answer, 429, "RATE_LIMITED")
    assert problem["error"] == "Too Many Requests"
    wait = answer.headers["Retry-After"]
    assert re.fullmatch(r"[0-9]+", wait)
    assert 0 < int(wait) <= window + 1
    assert problem["retryAfter"] == int(wait)
    assert answer.headers["X-RateLimit-Limit"] == str(limit)
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    reset = int(answer.headers["X-RateLimit-Reset"])
    assert abs(reset - (time.time() + int(wait))) <= 3


def test_ten_registrations_an_hour_from_one_address(limited):
    for n in range(10):
        limited().sign_up(f"{n}@example.com")
    given = {"email": "11@example.com", "password": "pass-phrase"}
    assert_limited(limited().post("/api/register", json=given), 10, 3600)
    elsewhere = {"X-Forwarded-For": "192.0.2.9"}
    answer = limited().post("/api/register", json=given, headers=elsewhere)
    assert answer.status_code == 201


def test_who_is_told_that_too_many_are_at_it_has_not_tried(limited, monkeypatch):
    """Else a class of thirty that registers at once would wait for an hour."""
    end, hashed = threading.Event(), passwords.generate_password_hash
    monkeypatch.setattr(
        passwords,
        "generate_password_hash",
        lambda *given: end.wait(20) and hashed(*given),
    )

    def register(n):
        given = ADA | {"email": f"{n}@example.com"}
        return limited().post("/api/register", json=given).status_code

    with ThreadPoolExecutor(30) as pool:
        class_of_30 = [pool.submit(register, n) for n in range(30)]
        wait_for(lambda: sum(each.done() for each in class_of_30) == 28)
        end.set()
        assert sorted(each.result() for each in class_of_30) == [201] * 2 + [503] * 28
    assert [register(n) for n in range(30, 39)] == [201] * 8 + [429]


def test_an_email_that_is_taken_counts_as_a_registration(limited):
    """Else anybody could ask for any number of emails whether they are known."""
    limited().sign_up(**ADA)
    for _ in range(9):
        refused(limited().post("/api/register", json=ADA), 409, "EMAIL_TAKEN")
    assert_limited(limited().post("/api/register", json=ADA), 10, 3600)


def test_only_who_has_tried_leaves_a_trace_in_redis(limited):
    """Else whoever is refused at once, and so may ask thousands of times, fills it."""
    person = limited()
    person.sign_up(**ADA)
    person.post("/api/login", json=ADA)
    person.patch("/api/auth/user", json={"currentPassword": ADA["password"]})
    store = person.client.application.store
    assert [*store.scan("limits:*")] == [*store.scan("limits:register:*")]
    refused(sign_in(person), 401, "INVALID_CREDENTIALS")
    assert len({*store.scan("limits:*")}) == 4


def test_a_registration_with_a_typo_is_not_counted(limited):
    for _ in range(11):
        answer = limited().post("/api/register", json=ADA | {"pasword": "x"})
        refused(answer, 400, "INVALID_REQUEST")
    limited().sign_up(**ADA)


def test_five_failed_sign_ins_and_even_the_right_password_waits(limited):
    limited().sign_up("ada@example.com", password="pass-phrase")
    right = {"password": "pass-phrase"}
    assert sign_in(limited(), **right).status_code == 200
    for _ in range(5):
        refused(sign_in(limited()), 401, "INVALID_CREDENTIALS")
    assert_limited(sign_in(limited()), 5, 900)
    assert_limited(sign_in(limited(), **right), 5, 900)
    assert_limited(sign_in(limited(), email="ADA@example.com", **right), 5, 900)


def test_midnight_gives_no_new_attempts(limited, clock):
    clock(-30)
    for _ in range(5):
        refused(sign_in(limited()), 401, "INVALID_CREDENTIALS")
    clock(30)
    refused(sign_in(limited()), 429, "RATE_LIMITED")


def test_failed_sign_ins_count_for_one_address_and_email_only(limited):
    limited().sign_up("ada@example.com", password="pass-phrase")
    limited().sign_up("eve@example.com", password="pass-phrase")
    for _ in range(6):
        blocked = sign_in(limited())
    assert blocked.status_code == 429
    right = {"password": "pass-phrase"}
    assert sign_in(limited(), address="192.0.2.2", **right).status_code == 200
    assert sign_in(limited(), email="eve@example.com", **right).status_code == 200


def test_an_unknown_email_is_limited_like_a_known_one(limited):
    for _ in range(5):
        refused(sign_in(limited(), "nobody@example.com"), 401, "INVALID_CREDENTIALS")
    assert_limited(sign_in(limited(), "nobody@example.com"), 5, 900)


def test_30_failures_of_one_network_whatever_the_emails(limited):
    limited().sign_up("ada@example.com", password="pass-phrase")
    for n in range(30):
        refused(sign_in(limited(), f"{n}@example.com"), 401, "INVALID_CREDENTIALS")
    right = {"password": "pass-phrase"}
    assert_limited(sign_in(limited(), **right), 30, 900)
    assert sign_in(limited(), address="192.0.2.2", **right).status_code == 200


def test_100_failures_of_one_email_whatever_the_networks(limited):
    limited().sign_up("ada@example.com", password="pass-phrase")
    for n in range(100):
        answer = sign_in(limited(), address=f"198.51.100.{n}")
        refused(answer, 401, "INVALID_CREDENTIALS")
    right = {"password": "pass-phrase"}
    assert_limited(sign_in(limited(), **right), 100, 900)
    other = sign_in(limited(), "eve@example.com", address="198.51.100.1")
    refused(other, 401, "INVALID_CREDENTIALS")


def test_only_failures_count(limited):
    limited().sign_up("ada@example.com", password="pass-phrase")
    for _ in range(40):
        assert sign_in(limited(), password="pass-phrase").status_code == 200


SAME_NETWORK = [
    ("192.0.2.1", "192.0.2.1:4711"),
    ("192.0.2.1", "::ffff:192.0.2.1"),
    ("192.0.2.1", "[::ffff:192.0.2.1]:443"),
    ("192.0.2.1", "64:ff9b::192.0.2.1"),
    ("192.0.2.1", '"1, 192.0.2.1'),
    ("192.0.2.1", "203.0.113.9, 192.0.2.1"),
    ("2001:db8::1", "2001:db8:0:0:ffff::7"),
    ("2001:db8::1", "[2001:DB8::1]:443"),
    ("unknown", "nonsense"),
]
OTHER_NETWORK = [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8:0:1::1")]


@pytest.mark.parametrize(("one", "other"), SAME_NETWORK)
def test_another_spelling_or_address_of_a_network_gives_no_more_tries(
    limited, one, other
):
    for _ in range(5):
        refused(sign_in(limited(), address=one), 401, "INVALID_CREDENTIALS")
    refused(sign_in(limited(), address=other), 429, "RATE_LIMITED")


@pytest.mark.parametrize(("one", "other"), OTHER_NETWORK)
def test_another_network_has_tries_of_its_own(limited, one, other):
    for _ in range(6):
        sign_in(limited(), address=one)
    refused(sign_in(limited(), address=other), 401, "INVALID_CREDENTIALS")


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_wrong_current_password_is_a_failed_sign_in(limited, method):
    person, headers = limited(), {"X-Forwarded-For": "192.0.2.1"}
    person.sign_up("ada@example.com", password="pass-phrase")
    body = WRONG | ({"password": "another one"} if method == "PATCH" else {})

    def ask(given):
        return person.open("/api/auth/user", method, json=given, headers=headers)

    for _ in range(5):
        refused(ask(body), 403, "WRONG_PASSWORD")
    assert_limited(ask(body), 5, 900)
    assert_limited(ask(body | {"currentPassword": "pass-phrase"}), 5, 900)
    assert_limited(sign_in(limited(), password="pass-phrase"), 5, 900)
    renamed = person.patch("/api/auth/user", json={"name": "Ada"}, headers=headers)
    assert renamed.status_code == 200


def test_forms_and_api_count_together(limited):
    given = {"email": "ada@example.com", "password": "wrong"}
    headers = {"X-Forwarded-For": "192.0.2.1"}
    for _ in range(5):
        page = limited().post("/login", data=given, headers=headers)
        assert page.status_code == 401
    assert_limited(sign_in(limited()), 5, 900)
    page = limited().post("/login", data=given, headers=headers)
    assert page.status_code == 429
    assert int(page.headers["Retry-After"]) > 0
    assert page.mimetype == "text/html"


def test_registrations_by_the_form_are_limited_too(limited):
    headers = {"X-Forwarded-For": "192.0.2.1"}
    statuses = [
        limited()
        .post(
            "/register",
            data={"email": f"{n}@example.com", "password": "pass-phrase"},
            headers=headers,
        )
        .status_code
        for n in range(11)
    ]
    assert statuses == [303] * 10 + [429]


def test_without_trusted_proxies_a_forged_address_gives_no_more_tries(new_visitor):
    app = joip_share.create_app(joip_share.Settings(), fakeredis.FakeStrictRedis())
    person = type(new_visitor())(app)
    for n in range(6):
        answer = sign_in(person, address=f"192.0.2.{n}")
    assert answer.status_code == 429


def test_rate_limits_can_be_turned_off(visitor):
    for _ in range(6):
        answer = sign_in(visitor)
    assert answer.status_code == 401


def test_limits_hold_across_processes_and_under_concurrency(
    tmp_path, redis_server, real_redis
):
    """Over two processes: of sixteen right passwords at once each is let in, or told
    that too many are at it; of twenty wrong ones at most five are told so."""
    with (
        Service(tmp_path, redis_server.url) as one,
        Service(tmp_path, redis_server.url) as two,
    ):
        guess = {"email": "ada@example.com", "password": "a wrong one"}
        right = guess | {"password": "pass-phrase"}
        Client(one.url).sign_up("ada@example.com", password="pass-phrase")

        def sign_in_at_once(given, times):
            urls = [(one, two)[n % 2].url for n in range(times)]
            with ThreadPoolExecutor(times) as pool:
                return list(pool.map(
                    lambda url: Client(url).post("/api/login", json=given), urls
                ))  # fmt: skip

        let_in = sign_in_at_once(right, 16)
        statuses = [answer.status_code for answer in let_in]
        assert set(statuses) <= {200, 503}
        assert statuses.count(200) >= 2
        answers = [sign_in_at_once(guess, 20) for _ in range(3)]
        told = [answer for burst in answers for answer in burst]
        assert {a.status_code for a in told} == {401, 429, 503}
        assert [a.status_code for a in told].count(401) == 5
        assert all(
            int(a.headers["Retry-After"]) > 0 for a in told if a.status_code != 401
        )
        for service in (one, two):
            assert Client(service.url).post("/api/login", json=right).status_code == 429


def test_a_wrong_password_changes_nothing_not_even_the_name(visitor):
    visitor.sign_up(**ADA)
    wrong = {"name": "Eve", "currentPassword": "a wrong one"}
    refused(visitor.patch("/api/auth/user", json=wrong), 403, "WRONG_PASSWORD")
    assert visitor.get("/api/auth/user").json["name"] == ""
    answer = visitor.patch("/api/auth/user", json={"name": "Eve"})
    assert answer.json["name"] == "Eve"
