"""Accounts: registration, sign-in, and how guessing is slowed down."""

import hashlib
import re
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import fakeredis
import pytest

import joip_share
from servers import Client, Service

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


def test_an_unknown_email_takes_as_much_time_as_a_wrong_password(visitor):
    """In CPU time, which the machine's other work does not stretch much."""
    visitor.sign_up(**ADA)

    def cost(email):
        started = time.process_time()
        visitor.post("/api/login", json=ADA | {"email": email, "password": "wrong"})
        return time.process_time() - started

    pairs = [(cost(ADA["email"]), cost("nobody@example.com")) for _ in range(5)]
    wrong, unknown = (statistics.median(costs) for costs in zip(*pairs, strict=True))
    assert 0.7 < unknown / wrong < 1.4


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
