"""Sign-in by the proxy: its header, whom it makes, and what is off meanwhile.

That nginx lets nobody's own header through is in test_nginx.py.
"""

import socket
from concurrent.futures import ThreadPoolExecutor

import fakeredis
import pytest

import joip_share
from conftest import Visitor
from redis_url import ConfigError
from servers import Service

SSO = "https://sso.example.org/"
ADA = "Ada@example.com"


def application(redis=None, **more):
    given = {"trusted_proxies": 1, "auth_header": "Remote-Email", "auth_url": SSO}
    settings = joip_share.Settings(**given | more)
    return joip_share.create_app(settings, redis or fakeredis.FakeStrictRedis())


@pytest.fixture
def app():
    """An app behind one proxy that signs people in."""
    return application()


def refused(answer, status, code):
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text


def through_the_proxy(email=ADA, hops="192.0.2.1"):
    return {"Remote-Email": email, "X-Forwarded-For": hops}


def who(app, headers):
    """Whom these headers sign in; None for nobody."""
    answer = Visitor(app).get("/api/auth/user", headers=headers)
    assert answer.status_code in (200, 401)
    return answer.json.get("email")


# Whom the header signs in


def test_the_account_is_made_on_first_sight_and_is_the_same_ever_after(app):
    first = Visitor(app).get("/api/auth/user", headers=through_the_proxy())
    assert first.json["email"] == ADA
    assert first.json["name"] == ""
    for spelling in (ADA, "ada@EXAMPLE.com", f"  {ADA} "):
        headers = through_the_proxy(spelling)
        again = Visitor(app).get("/api/auth/user", headers=headers)
        assert again.json == first.json
    assert app.store.execute("KEYS", "login:*") == []
    assert "Set-Cookie" not in first.headers


def test_32_first_sights_at_once_are_one_account(app, real_redis):
    app = application(real_redis)
    with ThreadPoolExecutor(32) as pool:
        emails = pool.map(lambda _: who(app, through_the_proxy()), range(32))
        assert set(emails) == {ADA}
    assert len([*app.store.accounts()]) == 1


@pytest.mark.parametrize(
    "email",
    [
        "", " ", "\t", "ada", "@", "ada@example.com, eve@example.com",
        "ada@example.com,", "ada@exa mple.com", "ada@example.com\x00", "(null)", "-",
        "ädä@example.com", "x" * 300 + "@example.com",
    ],
)  # fmt: skip
def test_what_is_no_email_is_nobody_and_makes_nobody(app, email):
    headers = through_the_proxy(email.encode().decode("latin-1"))
    assert who(app, headers) is None
    assert [*app.store.accounts()] == []


@pytest.fixture(scope="module")
def service(tmp_path_factory, redis_server):
    """serve.py behind a proxy that signs people in: the tests are the proxy."""
    given = {"AUTH_HEADER": "Remote-Email", "AUTH_URL": SSO, "TRUSTED_PROXIES": "1"}
    with Service(tmp_path_factory.mktemp("sso"), redis_server.url, **given) as service:
        yield service


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Remote-Email: ada@example.com"], 200),
        (["REMOTE-EMAIL:ada@example.com"], 200),
        (["Remote_Email: ada@example.com"], 401),
        (["REMOTE_EMAIL: ada@example.com"], 401),
        (["Remote-Email: ada@example.com"] * 2, 401),
        (["Remote-Email: eve@example.com", "Remote-Email: ada@example.com"], 401),
        (["Remote-Email:", "Remote_Email: ada@example.com"], 401),
        (["Remote-Email: eve@example.com", "Remote_Email: ada@example.com"], 200),
        (["Remote-Email : ada@example.com"], 400),
        (["X: 1", " Remote-Email: ada@example.com"], 401),
    ],
)
def test_the_server_takes_one_header_of_that_name_and_no_other_spelling(
    service, lines, status
):
    """A proxy that clears `Remote-Email` lets `Remote_Email` through."""
    head = ["GET /api/auth/user HTTP/1.1", "Host: x", "X-Forwarded-For: 192.0.2.1"]
    with socket.create_connection(("127.0.0.1", service.port), 10) as raw:
        raw.sendall("\r\n".join([*head, *lines, "Connection: close", "", ""]).encode())
        said = raw.makefile("rb").read().decode()
    assert int(said.split()[1]) == status
    if status == 200:
        assert lines[0].partition(":")[2].strip() in said.lower()


@pytest.mark.parametrize(
    "name", ["Remote-User", "Remote-Emai", "X-Remote-Email", "Remote--Email", "Email"]
)
def test_no_other_header_signs_in(app, name):
    assert who(app, {name: ADA, "X-Forwarded-For": "192.0.2.1"}) is None


@pytest.mark.parametrize(
    ("proxies", "hops", "let_in"),
    [
        (1, None, False),
        (1, "", False),
        (1, "192.0.2.1", True),
        (2, "192.0.2.1", False),
        (2, "192.0.2.1, 198.51.100.7", True),
        (3, "192.0.2.1, 198.51.100.7", False),
    ],
)
def test_it_counts_only_through_every_trusted_proxy(proxies, hops, let_in):
    headers = through_the_proxy(hops=hops)
    given = {name: value for name, value in headers.items() if value is not None}
    app = application(trusted_proxies=proxies)
    assert (who(app, given) == ADA) is let_in


def test_where_no_header_is_set_up_none_signs_in():
    settings = joip_share.Settings(trusted_proxies=1)
    app = joip_share.create_app(settings, fakeredis.FakeStrictRedis())
    assert who(app, through_the_proxy()) is None


def test_a_login_of_before_is_nobody_without_the_proxys_word():
    redis = fakeredis.FakeStrictRedis()
    settings = joip_share.Settings(ratelimit_enabled=False)
    before = Visitor(joip_share.create_app(settings, redis))
    user = before.sign_up(ADA)
    cookie = before.client.get_cookie("connect.sid").value
    app = application(redis)
    browser = Visitor(app)
    browser.client.set_cookie("connect.sid", cookie)
    assert browser.get("/api/auth/user").status_code == 401
    told = browser.get("/api/auth/user", headers=through_the_proxy()).json
    assert told == user


def test_a_request_of_another_site_is_refused_here_as_well(app):
    """The proxy signs in whatever a browser sends with its own cookie."""
    headers = through_the_proxy() | {"Sec-Fetch-Site": "cross-site"}
    answer = Visitor(app).post("/api/sessions", json={"title": "x"}, headers=headers)
    refused(answer, 403, "CROSS_SITE")


# What it means for newcomers


def test_who_came_by_a_link_is_credited_on_first_sight(app):
    owner = through_the_proxy("owner@example.com")
    script = Visitor(app)
    new = {"title": "A walk"}
    made = script.post("/api/sessions", json=new, headers=owner).json["id"]
    path = f"/api/sessions/{made}"
    shared = script.post(f"{path}/share", headers=owner).json
    guest = Visitor(app)
    page = guest.get(f"/shared/{shared['shareCode']}?r={shared['referralCode']}")
    assert page.status_code == 200
    assert guest.get("/", headers=through_the_proxy()).status_code == 200
    totals = script.get(f"{path}/stats", headers=owner).json["totals"]
    assert totals["signups"] == 1


@pytest.mark.parametrize(
    ("path", "source", "by"),
    [
        ("/shared/{code}?r={owner}", "session_share", "owner"),
        ("/shared/{code}", "session_share", "owner"),
        ("/shared/{code}.?r={other}", "session_share", "other"),
        ("/shared/{code}/play?r={owner}", "session_share", "owner"),
        ("/api/shared/{code}/preview?r={owner}", "session_share", "owner"),
        ("/api/shared/{code}", "session_share", "owner"),
        ("/api/shared/media/{code}", "session_share", "owner"),
        ("/?ref={owner}", "direct", "owner"),
        ("/?ref=zzzzzzzz", "direct", None),
        ("/account?ref={owner}", "direct", None),
        ("/shared/x?r={owner}", "session_share", None),
    ],
)
def test_who_is_signed_in_elsewhere_already_is_credited_by_their_first_request(
    app, path, source, by
):
    """In a team that shares a sign-in the link itself makes the account."""
    people = {name: through_the_proxy(f"{name}@example.com") for name in OWNERS}
    script, new = Visitor(app), {"title": "A walk"}
    made = script.post("/api/sessions", json=new, headers=people["owner"]).json["id"]
    shared = script.post(f"/api/sessions/{made}/share", headers=people["owner"]).json
    codes = {
        name: script.get("/api/auth/user", headers=headers).json["referralCode"]
        for name, headers in people.items()
    }
    link = path.format(code=shared["shareCode"], **codes)
    Visitor(app).get(link, headers=through_the_proxy())
    for name, headers in people.items():
        report = script.get("/api/referrals", headers=headers).json
        wanted = [(source, made if source == "session_share" else None)]
        history = [(row["source"], row["sessionId"]) for row in report["history"]]
        assert history == (wanted if name == by else [])
    stats = script.get(f"/api/sessions/{made}/stats", headers=people["owner"]).json
    assert stats["totals"]["signups"] == int(by is not None and source != "direct")


OWNERS = ("owner", "other")


@pytest.mark.parametrize("path", ["/shared/{code}", "/api/shared/{code}/preview"])
def test_a_full_redis_shows_newcomers_a_preview_and_the_next_look_makes_their_account(
    real_redis, path
):
    app = application(real_redis)
    script, owner = Visitor(app), through_the_proxy("owner@example.com")
    new = {"title": "A walk"}
    made = script.post("/api/sessions", json=new, headers=owner).json["id"]
    shared = script.post(f"/api/sessions/{made}/share", headers=owner).json
    link = path.format(code=shared["shareCode"])
    try:
        real_redis.config_set("maxmemory", 1)
        page = Visitor(app).get(link, headers=through_the_proxy())
        assert (page.status_code, "A walk" in page.text) == (200, True)
        assert Visitor(app).get("/", headers=through_the_proxy()).status_code == 503
    finally:
        real_redis.config_set("maxmemory", 0)
    assert Visitor(app).get(link, headers=through_the_proxy()).status_code == 200
    assert who(app, through_the_proxy()) == ADA


def test_a_link_by_email_is_played_by_who_the_proxy_says_has_it(app):
    owner, guest = through_the_proxy("owner@example.com"), through_the_proxy()
    script, new = Visitor(app), {"title": "A walk"}
    made = script.post("/api/sessions", json=new, headers=owner).json["id"]
    code = script.post(
        f"/api/sessions/{made}/share", json={"email": ADA}, headers=owner
    ).json["shareCode"]
    path = f"/api/shared/{code}"
    assert script.get(path, headers=guest).status_code == 200
    other = through_the_proxy("other@example.com")
    refused(script.get(path, headers=other), 403, "NOT_FOR_YOU")


# What is off meanwhile


@pytest.mark.parametrize("signed_in", [False, True])
@pytest.mark.parametrize("path", ["/api/register", "/api/login"])
def test_own_registration_and_sign_in_are_refused(app, path, signed_in):
    headers = through_the_proxy() if signed_in else {}
    given = {"email": "eve@example.com", "password": "long enough"}
    answer = Visitor(app).post(path, json=given, headers=headers)
    refused(answer, 403, "SIGN_IN_ELSEWHERE")
    answer = Visitor(app).post(path.removeprefix("/api"), data=given, headers=headers)
    assert answer.status_code == 403
    assert "elsewhere" in answer.text


@pytest.mark.parametrize("change", [{"password": "another one"}, {"email": "x@y.org"}])
def test_email_and_password_are_not_changed_here(app, change):
    patch = change | {"currentPassword": ""}
    answer = Visitor(app).patch(
        "/api/auth/user", json=patch, headers=through_the_proxy()
    )
    refused(answer, 403, "SIGN_IN_ELSEWHERE")


def test_the_name_is_changed_and_the_account_deleted_without_a_password(app):
    browser, headers = Visitor(app), through_the_proxy()
    renamed = browser.patch("/api/auth/user", json={"name": "Ada"}, headers=headers)
    assert renamed.json["name"] == "Ada"
    assert browser.delete("/api/auth/user", headers=headers).status_code == 204
    assert [*app.store.accounts()] == []


# Where people are sent


@pytest.mark.parametrize(
    ("auth_url", "mark"), [(SSO, "?"), ("https://sso.example.org/?app=joip", "&")]
)
@pytest.mark.parametrize(
    ("path", "back"),
    [
        ("/account", "/account"),
        ("/sessions/7", "/sessions/7"),
        ("/login?next=/referrals", "/referrals"),
        ("/register", "/"),
        ("/login?next=https://evil.example/", "/"),
        ("/login?next=//evil.example/", "/"),
    ],
)
@pytest.mark.parametrize("base", ["", "/joip"])
def test_pages_send_people_there_with_the_way_back(auth_url, mark, path, back, base):
    public_url = f"https://share.example.org{base}"
    app = application(public_url=public_url, auth_url=auth_url)
    path = path.replace("next=/r", f"next={base}/r")
    answer = Visitor(app).get(base + path)
    way_back = f"https%3A%2F%2Fshare.example.org{(base + back).replace('/', '%2F')}"
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"{auth_url}{mark}rd={way_back}"


def test_a_preview_leads_there_too(app):
    script, owner = Visitor(app), through_the_proxy()
    new = {"title": "x", "media": [{"mediaUrl": "https://example.org/1.jpg"}]}
    made = script.post("/api/sessions", json=new, headers=owner).json["id"]
    code = script.post(f"/api/sessions/{made}/share", headers=owner).json["shareCode"]
    page = Visitor(app).get(f"/shared/{code}").text
    assert f'href="{SSO}?rd=' in page
    assert "/register" not in page
    answer = Visitor(app).get(f"/shared/{code}/play")
    assert answer.headers["Location"].startswith(f"{SSO}?rd=")


def test_an_address_to_sign_in_at_is_for_who_signs_in_there():
    """Without AUTH_HEADER all is as if it were not set."""
    settings = joip_share.Settings(auth_url=SSO, ratelimit_enabled=False)
    app = joip_share.create_app(settings, fakeredis.FakeStrictRedis())
    browser = Visitor(app)
    assert SSO not in browser.get("/").text
    browser.sign_up()
    pages = [browser.get(path).text for path in ("/", "/account")]
    assert all('action="/logout"' in text and SSO not in text for text in pages)


# What has to be set with it


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"TRUSTED_PROXIES": "0"}, "TRUSTED_PROXIES"),
        ({"AUTH_URL": ""}, "AUTH_URL"),
        ({"AUTH_URL": "sso.example.org"}, "AUTH_URL"),
        ({"AUTH_URL": "javascript:alert(1)"}, "AUTH_URL"),
        ({"AUTH_HEADER": "Remote Email"}, "AUTH_HEADER"),
        ({"AUTH_HEADER": "Remote_Email"}, "AUTH_HEADER"),
        ({"AUTH_HEADER": "Remote-Email:"}, "AUTH_HEADER"),
    ],
)
def test_the_start_is_refused_with_the_name_of_the_setting(given, named):
    right = {"AUTH_HEADER": "Remote-Email", "AUTH_URL": SSO, "TRUSTED_PROXIES": "1"}
    with pytest.raises(ConfigError, match=named):
        joip_share.Settings.from_env(right | given)
