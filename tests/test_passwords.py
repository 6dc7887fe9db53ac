"""Passwords: how they are hashed, which are refused, and that nobody waits for it."""

import base64
import hashlib
import subprocess
import sys
import threading
import unicodedata
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import pytest
from werkzeug.security import generate_password_hash

import passwords
from inputs import common_passwords
from servers import ROOT

EMAIL = "owner@example.com"
PASSWORD = "long enough"
COMPOSED = unicodedata.normalize("NFC", "Zürich-Ångström")
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


def sign_in(person, password=PASSWORD):
    """Try to; the status."""
    given = {"email": EMAIL, "password": password}
    return person.post("/api/login", json=given).status_code


def stored(app, owner):
    """The hash that is kept of the owner's password."""
    return app.store.account(owner.user["id"]).password


def store(app, owner, hashed):
    """Keep another hash of the owner's password, as an older version made it."""
    key = app.store.keys.user(owner.user["id"])
    app.store.execute("HSET", key, "password", hashed)


# Unicode


@pytest.mark.parametrize("registered", [COMPOSED, DECOMPOSED])
def test_a_password_is_the_same_however_its_letters_are_composed(
    visitor, new_visitor, registered
):
    visitor.sign_up(EMAIL, password=registered)
    assert [sign_in(new_visitor(), p) for p in (COMPOSED, DECOMPOSED)] == [200, 200]
    change = {"password": PASSWORD, "currentPassword": DECOMPOSED}
    assert visitor.patch("/api/auth/user", json=change).status_code == 200


@pytest.mark.parametrize("short", ["\u00e9" * 7, "e\u0301" * 7])
def test_a_short_password_is_refused_however_its_letters_are_composed(owner, short):
    asked = [
        ("POST", "/api/register", {"email": EMAIL, "password": short}),
        ("PATCH", "/api/auth/user", {"password": short, "currentPassword": PASSWORD}),
    ]
    for method, path, body in asked:
        answer = owner.open(path, method, json=body)
        assert answer.status_code == 400, answer.text
        told = [{"field": "password", "message": "must have at least 8 characters"}]
        assert answer.json["details"] == told


def test_what_looks_alike_and_is_another_letter_is_another_password(
    visitor, new_visitor
):
    visitor.sign_up(EMAIL, password="½ffice-key")
    assert sign_in(new_visitor(), "1⁄2ffice-key") == 401


def test_a_password_that_was_hashed_before_as_it_was_typed_still_signs_in(
    app, owner, new_visitor
):
    store(app, owner, generate_password_hash(DECOMPOSED, "scrypt:1024:8:2"))
    assert sign_in(new_visitor(), DECOMPOSED) == 200
    assert [sign_in(new_visitor(), p) for p in (COMPOSED, DECOMPOSED)] == [200, 200]


# Hashes


OLD = ["scrypt:32768:8:1", "pbkdf2:sha256:600000", "pbkdf2:sha1:1000"]


@pytest.mark.parametrize("method", OLD)
def test_an_old_hash_stays_valid_and_is_renewed_at_the_next_sign_in(
    app, owner, new_visitor, method
):
    old = generate_password_hash(PASSWORD, method)
    store(app, owner, old)
    assert sign_in(new_visitor(), "a wrong one") == 401
    assert stored(app, owner) == old
    assert sign_in(new_visitor()) == 200
    renewed = stored(app, owner)
    assert renewed.startswith(f"{passwords.SCRYPT}$")
    assert sign_in(new_visitor()) == 200
    assert stored(app, owner) == renewed
    assert owner.get("/api/auth/user").status_code == 200


@pytest.mark.parametrize("meanwhile", ["renewed", "changed", "deleted"])
def test_an_old_hash_that_is_no_more_once_it_is_to_be_renewed(
    app, owner, new_visitor, monkeypatch, meanwhile
):
    """Two browsers may sign in at once, for the first time since version 1."""
    store(app, owner, generate_password_hash(PASSWORD, OLD[0]))
    hashing, known = app.passwords.hash, app.store.account(owner.user["id"])

    def act_first(password):
        monkeypatch.setattr(app.passwords, "hash", hashing)
        if meanwhile == "renewed":
            assert sign_in(new_visitor()) == 200
        elif meanwhile == "changed":
            store(app, owner, hashing("another one"))
        else:
            app.store.delete_account(known)
        return hashing(password)

    monkeypatch.setattr(app.passwords, "hash", act_first)
    given = {"email": EMAIL, "password": PASSWORD}
    answer = new_visitor().post("/api/login", json=given)
    wanted = (200, None) if meanwhile == "renewed" else (401, "INVALID_CREDENTIALS")
    assert (answer.status_code, answer.json.get("code")) == wanted


@pytest.mark.parametrize("password", ["a wrong one", DECOMPOSED])
@pytest.mark.parametrize("passes", [1, 2, 3])
def test_a_wrong_password_costs_as_much_as_for_nobody_however_old_the_hash(
    app, owner, new_visitor, monkeypatch, passes, password
):
    monkeypatch.setattr(passwords, "SCRYPT", "scrypt:1024:8:3")
    made, scrypt = [], hashlib.scrypt
    monkeypatch.setattr(
        hashlib,
        "scrypt",
        lambda *given, **more: made.append(more["p"]) or scrypt(*given, **more),
    )
    store(app, owner, generate_password_hash(PASSWORD, f"scrypt:1024:8:{passes}"))
    made.clear()
    assert sign_in(new_visitor(), password) == 401
    tries = 2 if password == DECOMPOSED and passes < 3 else 1
    assert sum(made) == max(3, tries * passes)
    made.clear()
    wrong = {"email": "nobody@example.com", "password": password}
    assert new_visitor().post("/api/login", json=wrong).status_code == 401
    assert sum(made) == 3


def test_new_hashes_have_owasps_parameters():
    """In a process of its own: these tests hash more cheaply."""
    code = "import passwords; print(passwords.Passwords().hash('x'))"
    run = [sys.executable, "-c", code]
    said = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.startswith("scrypt:32768:8:3$")


UNCHECKABLE = [
    "", "x", "$", "$$", "$$$", "plain$$long enough", "md5$salt$x", "scrypt", "scrypt$s",
    "scrypt:1:1:1$salt$x", "scrypt:0:0:0$salt$x", "scrypt:3:8:1$salt$x",
    "scrypt:-1:8:1$salt$x", "scrypt:x:8:1$salt$x", "scrypt:32768:8:1:1$salt$x",
    "scrypt:1073741824:8:1$salt$x", "scrypt:9999999999999999999999:8:1$salt$x",
    "scrypt:32768:9999999999999999999999:1$salt$x", "scrypt:1024:8:1$$x",
    "scrypt:1024:8:1$salt$é", "scrypt:1024:8:1$\x00$\x00",
    "pbkdf2:nonsense$salt$x", "pbkdf2:sha256:0$salt$x", "pbkdf2:sha256:-1$salt$x",
    "pbkdf2:sha256:x$salt$x", "pbkdf2:sha256:99999999999999999999$salt$x",
    "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$x", "$2b$12$abcdefghijklmnopqrstuv",
    "{SSHA}" + base64.b64encode(b"x" * 24).decode(), "long enough",
]  # fmt: skip


@pytest.mark.parametrize("hashed", UNCHECKABLE, ids=repr)
def test_a_hash_that_cannot_be_checked_is_a_wrong_password(
    app, owner, new_visitor, hashed
):
    store(app, owner, hashed)
    for password in (PASSWORD, "", hashed):
        assert sign_in(new_visitor(), password) == 401
    change = {"password": "another one", "currentPassword": PASSWORD}
    assert owner.patch("/api/auth/user", json=change).status_code == 403
    assert stored(app, owner) == hashed


# The commonest


def test_the_3000_commonest_that_are_long_enough_are_known():
    assert len(common_passwords()) == 3000
    assert {"password", "12345678", "iloveyou", "qwertyui"} & common_passwords()
    assert min(map(len, common_passwords())) == 8


@pytest.mark.parametrize("password", ["password", "Password1", "12345678", "ILOVEYOU1"])
def test_a_common_password_is_refused_wherever_one_is_chosen(owner, visitor, password):
    new = {"email": "new@example.com", "password": password}
    chosen = [
        visitor.post("/api/register", json=new),
        owner.patch(
            "/api/auth/user", json={"password": password, "currentPassword": PASSWORD}
        ),
    ]
    for answer in chosen:
        assert answer.status_code == 400
        [detail] = answer.json["details"]
        assert detail["field"] == "password"
        assert "commonest" in detail["message"]
    page = visitor.post("/register", data=new)
    assert (page.status_code, "commonest" in page.text) == (400, True)


def test_who_has_a_common_password_from_before_still_signs_in(app, owner, new_visitor):
    store(app, owner, generate_password_hash("password", "scrypt:1024:8:2"))
    assert sign_in(new_visitor(), "password") == 200


# Nobody waits for hashing


@pytest.fixture
def slow(monkeypatch):
    """Hashing takes until it is told to end; how many are at it at once."""
    at_work, most, end, begun = [], [], threading.Event(), threading.Event()
    hashed = passwords.check_password_hash

    def check(*given):
        at_work.append(1)
        most.append(len(at_work))
        begun.set()
        end.wait(60)
        at_work.pop()
        return hashed(*given)

    monkeypatch.setattr(passwords, "check_password_hash", check)
    yield begun, end, most
    end.set()


def test_one_is_hashed_one_waits_and_the_rest_is_told_at_once(owner, new_visitor, slow):
    """Those who are told so hold no thread; and while it lasts all else is answered."""
    begun, end, most = slow
    with ThreadPoolExecutor(50) as pool:
        first = pool.submit(sign_in, new_visitor())
        assert begun.wait(20)
        given = {"email": EMAIL, "password": PASSWORD}
        rest = [
            pool.submit(new_visitor().post, "/api/login", json=given) for _ in range(49)
        ]
        while sum(each.done() for each in rest) < 48:
            assert owner.get("/api/auth/user").status_code == 200
        assert not first.done()
        end.set()
        assert first.result() == 200
        answers = [each.result() for each in rest]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) == 48
    assert {answer.json["code"] for answer in refused} == {"BUSY"}
    assert {answer.status_code for answer in refused} == {503}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
    assert max(most) == 1


def test_who_finds_no_place_by_a_form_reads_so(new_visitor, slow):
    _, end, _ = slow
    with ThreadPoolExecutor(3) as pool:
        three = [pool.submit(sign_in, new_visitor()) for _ in range(3)]
        wait(three, return_when=FIRST_COMPLETED)  # it found both places taken
        page = new_visitor().post("/login", data={"email": EMAIL, "password": PASSWORD})
        end.set()
        assert [each.result() for each in three].count(503) == 1
    assert page.status_code == 503
    assert page.mimetype == "text/html"
    assert int(page.headers["Retry-After"]) > 0
