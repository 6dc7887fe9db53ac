"""Tokens: how a script signs in, what of it is kept, and when it ends."""

import hashlib
import re

import fakeredis
import pytest

import joip_share
from conftest import Visitor
from servers import contents


def refused(answer, status, code):
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    return answer.json


def make(person, name="Backup"):
    """A new token of a person's, as it is told this once."""
    answer = person.post("/api/tokens", json={"name": name})
    assert answer.status_code == 201, answer.text
    return answer.json


def by(token):
    """What a script sends."""
    return {"Authorization": f"Bearer {token['token']}"}


def test_a_token_is_told_once_and_listed_without_its_secret(owner):
    answer = owner.post("/api/tokens", json={"name": " Backup "})
    token = answer.json
    assert answer.status_code == 201
    assert set(token) == {"id", "name", "createdAt", "token"}
    assert re.fullmatch(r"jst_[A-Za-z0-9_-]{43}", token["token"])
    assert answer.headers["Location"].endswith(f"/api/tokens/{token['id']}")
    listed = owner.get("/api/tokens")
    del token["token"]
    assert listed.json == [token | {"name": "Backup"}]


def test_only_the_hash_of_a_token_is_kept(app, owner):
    secret = make(owner)["token"]
    kept = repr(contents(app.store.link.client))
    assert secret not in kept
    assert hashlib.sha256(secret.encode()).hexdigest() in kept


def test_a_script_acts_for_who_made_its_token_without_a_cookie(owner, new_visitor):
    token, script = make(owner), new_visitor()
    assert script.get("/api/auth/user", headers=by(token)).json == owner.user
    made = script.post("/api/sessions", json={"title": "x"}, headers=by(token))
    assert made.status_code == 201
    assert "Set-Cookie" not in made.headers
    assert [row["title"] for row in owner.get("/api/sessions").json] == ["x"]


def test_the_cross_site_check_is_for_cookies_only(owner):
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    token = make(owner)
    answer = owner.post(
        "/api/sessions", json={"title": "x"}, headers=elsewhere | by(token)
    )
    assert answer.status_code == 201
    answer = owner.post("/api/sessions", json={"title": "x"}, headers=elsewhere)
    refused(answer, 403, "CROSS_SITE")


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer", "Bearer ", "Bearer x", "Bearer jst_", "Bearer {}x", "Bearer {} {}",
        "Bearer * ", "Bearer ../login", "bearer \xff", "Bearer " + "x" * 10_000,
    ],
)  # fmt: skip
def test_a_wrong_token_is_nobody_though_a_cookie_comes_along(owner, authorization):
    """Else a script with a token that has ended would act for somebody else."""
    given = authorization.replace("{}", make(owner)["token"])
    answer = owner.get("/api/auth/user", headers={"Authorization": given})
    refused(answer, 401, "UNAUTHORIZED")


@pytest.mark.parametrize("authorization", ["Basic b3duZXI6eA==", "Digest x", "x"])
def test_another_scheme_is_not_ours_and_the_cookie_counts(owner, authorization):
    answer = owner.get("/api/auth/user", headers={"Authorization": authorization})
    assert answer.status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_without_case(owner, new_visitor, scheme):
    given = {"Authorization": f"{scheme} {make(owner)['token']}"}
    assert new_visitor().get("/api/auth/user", headers=given).status_code == 200


def test_a_token_that_was_taken_back_is_dead_at_once(owner, new_visitor):
    token, other = make(owner), make(owner)
    assert owner.delete(f"/api/tokens/{token['id']}").status_code == 204
    refused(new_visitor().get("/api/auth/user", headers=by(token)), 401, "UNAUTHORIZED")
    assert new_visitor().get("/api/auth/user", headers=by(other)).status_code == 200
    again = owner.delete(f"/api/tokens/{token['id']}")
    refused(again, 404, "TOKEN_NOT_FOUND")


def test_nobody_takes_somebody_elses_token_back(owner, new_visitor):
    token, other = make(owner), new_visitor()
    other.sign_up("other@example.com")
    assert other.get("/api/tokens").json == []
    answer = other.delete(f"/api/tokens/{token['id']}")
    refused(answer, 404, "TOKEN_NOT_FOUND")
    assert new_visitor().get("/api/auth/user", headers=by(token)).status_code == 200


@pytest.mark.parametrize("token_id", ["x", "*", "0" * 16, "é", "x" * 5000])
def test_an_unknown_token_is_a_404(owner, token_id):
    refused(owner.delete(f"/api/tokens/{token_id}"), 404, "TOKEN_NOT_FOUND")


@pytest.mark.parametrize(
    "body", [{}, {"name": ""}, {"name": " "}, {"name": "x" * 101}, {"name": None},
             {"name": "a\nb"}, {"name": "\u202egnp"}, {"name": "x", "scope": "all"}]
)  # fmt: skip
def test_a_wrong_name_is_a_400_that_names_the_member(owner, body):
    problem = refused(owner.post("/api/tokens", json=body), 400, "INVALID_REQUEST")
    assert problem["details"][0]["field"] in ("name", "scope")
    assert owner.get("/api/tokens").json == []


def test_an_account_has_20_tokens_and_no_more_until_one_is_taken_back(owner):
    tokens = [make(owner, str(n)) for n in range(20)]
    problem = refused(
        owner.post("/api/tokens", json={"name": "x"}), 409, "LIMIT_REACHED"
    )
    assert "20" in problem["message"]
    owner.delete(f"/api/tokens/{tokens[3]['id']}")
    make(owner, "3")
    names = [token["name"] for token in owner.get("/api/tokens").json]
    assert sorted(names, key=int) == [str(n) for n in range(20)]


def test_tokens_outlive_signing_out_everywhere_and_a_new_password(owner, new_visitor):
    """A script is not signed in by the password; its token is taken back by name."""
    token = make(owner)
    change = {"password": "another one", "currentPassword": "long enough"}
    assert owner.patch("/api/auth/user", json=change).status_code == 200
    owner.post("/api/logout", json={"everywhere": True})
    assert new_visitor().get("/api/auth/user", headers=by(token)).status_code == 200


def test_tokens_end_with_their_account(app, owner, new_visitor):
    token = make(owner)
    confirmed = {"currentPassword": "long enough"}
    assert owner.delete("/api/auth/user", json=confirmed).status_code == 204
    refused(new_visitor().get("/api/auth/user", headers=by(token)), 401, "UNAUTHORIZED")
    assert app.store.execute("KEYS", "token:*") == []


def test_a_script_changes_the_account_only_with_the_password(owner, new_visitor):
    """And its changes end every login, since none of them asked."""
    token, script = make(owner), new_visitor()
    change = {"password": "another one"}
    answer = script.patch("/api/auth/user", json=change, headers=by(token))
    assert refused(answer, 400, "INVALID_REQUEST")["details"] == [
        {"field": "currentPassword", "message": "is required"}
    ]
    right = change | {"currentPassword": "long enough"}
    answer = script.patch("/api/auth/user", json=right, headers=by(token))
    assert answer.status_code == 200
    assert owner.get("/api/auth/user").status_code == 401


def test_a_script_signs_everybody_out_and_stays(owner, new_visitor):
    token, script = make(owner), new_visitor()
    body = {"everywhere": True}
    answer = script.post("/api/logout", json=body, headers=by(token))
    assert answer.status_code == 204
    assert owner.get("/api/auth/user").status_code == 401
    assert script.get("/api/auth/user", headers=by(token)).status_code == 200


def test_tokens_work_where_the_proxy_signs_people_in():
    redis = fakeredis.FakeStrictRedis()
    given = {"auth_header": "Remote-Email", "auth_url": "https://sso.example.org/"}
    settings = joip_share.Settings(trusted_proxies=1, **given)
    app = joip_share.create_app(settings, redis)
    signed_in = {"Remote-Email": "ada@example.com", "X-Forwarded-For": "192.0.2.1"}
    made = Visitor(app).post("/api/tokens", json={"name": "x"}, headers=signed_in)
    told = Visitor(app).get("/api/auth/user", headers=by(made.json))
    assert told.json["email"] == "ada@example.com"
