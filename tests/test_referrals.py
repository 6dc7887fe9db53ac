"""Referrals: who sent a visitor, remembered for 30 days, credited once."""

import itertools
import re
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie

import fakeredis
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import joip_share
from conftest import Visitor
from servers import PERSON, Client

BOT = "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"
DAY = 86_400
NOBODY = "zzzzzzzz"  # well formed, and nobody's code
ACCOUNTS = itertools.count()


@pytest.fixture
def owner(place):
    """An owner with a new shared session; `before` are the totals so far."""
    owner = place.owner
    owner.session = owner.make_session()
    owner.code = owner.share(owner.session)["shareCode"]
    owner.link = f"/shared/{owner.code}?r={owner.user['referralCode']}"
    owner.front = f"/?ref={owner.user['referralCode']}"
    owner.before = report(owner)["bySource"]
    return owner


@pytest.fixture
def guest(place):
    """Somebody else with an account and a referral code."""
    guest = place.guest
    guest.front = f"/?ref={guest.user['referralCode']}"
    guest.before = report(guest)["bySource"]
    return guest


@pytest.fixture
def visitor(place):
    """A stranger with a browser."""
    return Visitor(place)


def report(person, query=""):
    answer = person.get(f"/api/referrals{query}")
    assert answer.status_code == 200, answer.text
    return answer.json


def gained(person):
    """What came since the test began, as "clicks:direct" and the like → how many."""
    now = report(person)["bySource"]
    return {
        f"{what}:{source}": now[source][what] - person.before[source][what]
        for source in now
        for what in now[source]
        if now[source][what] != person.before[source][what]
    }


def join(visitor):
    """Register; the user."""
    return visitor.sign_up(f"joins{next(ACCOUNTS)}@example.com")


def signups(owner):
    told = owner.get(f"/api/sessions/{owner.session}/stats").json
    return told["totals"]["signups"]


# Clicks


def test_a_click_is_counted_by_source(owner, visitor):
    for path in (owner.link, owner.link, owner.front):
        assert visitor.get(path).status_code == 200
    assert gained(owner) == {"clicks:session_share": 2, "clicks:direct": 1}


@pytest.mark.parametrize(
    ("method", "agent", "headers"),
    [
        ("HEAD", PERSON, {}),
        ("GET", BOT, {}),
        ("GET", "", {}),
        ("GET", PERSON, {"Sec-Purpose": "prefetch"}),
        ("GET", PERSON, {"Sec-Purpose": "prefetch;prerender"}),
        ("GET", PERSON, {"Purpose": "prefetch"}),
    ],
)
def test_machines_make_no_clicks_and_are_not_remembered(
    owner, visitor, method, agent, headers
):
    for path in (owner.link, owner.front):
        answer = visitor.open(path, method, agent, headers)
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
    assert gained(owner) == {}


UNKNOWN = ["", NOBODY, "short", "x" * 5000, "ABCDEFGH", "%00", "*", "a" * 9]


def test_an_unknown_code_is_ignored_silently(owner, visitor):
    for code in UNKNOWN:
        for path in (f"/shared/{owner.code}?r={code}", f"/?ref={code}"):
            answer = visitor.get(path)
            assert answer.status_code == 200, code
            assert "Set-Cookie" not in answer.headers
    join(visitor)
    assert gained(owner) == {}
    assert signups(owner) == 0


@pytest.mark.parametrize("code", [NOBODY, "00000000-0000-4000-8000-000000000000"])
def test_a_link_that_leads_nowhere_is_no_click(owner, visitor, code):
    answer = visitor.get(f"/shared/{code}?r={owner.user['referralCode']}")
    assert answer.status_code == 404
    assert "Set-Cookie" not in answer.headers
    assert gained(owner) == {}


def test_one_may_hand_on_somebody_elses_link_with_ones_own_code(owner, guest, visitor):
    visitor.get(f"/shared/{owner.code}?r={guest.user['referralCode']}")
    join(visitor)
    assert gained(owner) == {}
    assert gained(guest) == {"clicks:session_share": 1, "signups:session_share": 1}
    assert signups(owner) == 1


def test_ones_own_link_is_no_click(owner):
    answer = owner.get(owner.link)
    assert answer.status_code == 200
    assert "joip_ref" not in str(answer.headers)
    owner.get(owner.front)
    assert gained(owner) == {}


def test_somebody_elses_front_page_link_is_a_click_signed_in_too(owner, guest):
    answer = guest.get(owner.front)
    assert answer.status_code == 200
    assert owner.user["referralCode"] in answer.headers["Set-Cookie"]
    guest.delete_cookie("joip_ref")
    assert gained(owner) == {"clicks:direct": 1}


# The cookie


@pytest.mark.parametrize(
    "public_url", ["http://127.0.0.1:8000", "https://a.example/joip"]
)
def test_the_cookie_is_for_30_days_for_the_server_only(public_url):
    given = joip_share.Settings(public_url=public_url, ratelimit_enabled=False)
    app = joip_share.create_app(given, fakeredis.FakeStrictRedis())
    owner = app.store.register("owner@example.com", "", "-")
    session = app.store.create_session(owner, joip_share.NewSession("A walk"))
    code = app.store.share(session.id, owner.id)
    for path in (
        f"/shared/{code}?r={owner.referral_code}",
        f"/?ref={owner.referral_code}",
    ):
        answer = Visitor(app).get(given.path + path)
        [header] = answer.headers.getlist("Set-Cookie")
        morsel = SimpleCookie(header)["joip_ref"]
        assert morsel["max-age"] == str(30 * DAY)
        assert morsel["httponly"]
        assert morsel["samesite"] == "Lax"
        assert bool(morsel["secure"]) is public_url.startswith("https")
        assert morsel["path"] == (given.path or "/")
        assert owner.id not in header


def test_the_first_one_wins_though_later_clicks_count(owner, guest, visitor):
    assert "joip_ref" in visitor.get(guest.front).headers["Set-Cookie"]
    assert "Set-Cookie" not in visitor.get(owner.link).headers
    assert "Set-Cookie" not in visitor.get(owner.front).headers
    join(visitor)
    assert gained(guest) == {"clicks:direct": 1, "signups:direct": 1}
    assert gained(owner) == {"clicks:session_share": 1, "clicks:direct": 1}
    assert signups(owner) == 0


@pytest.mark.parametrize(
    ("seconds", "credited"), [(30 * DAY - 1, 1), (30 * DAY + 1, 0), (400 * DAY, 0)]
)
def test_a_code_is_remembered_for_30_days(clock, app, seconds, credited):
    """Even by a browser that keeps its cookies for longer."""
    clock(0)
    sender = app.store.register("sender@example.com", "", "-")
    visitor = Visitor(app)
    visitor.get(f"/?ref={sender.referral_code}")
    clock(seconds)
    visitor.sign_up()
    told = app.store.referral_report(sender.id, 50, -1)
    assert told.counts.get("signups:direct", 0) == credited


def test_after_30_days_another_may_be_the_first(clock, app):
    clock(0)
    first, second = (app.store.register(f"{n}@example.com", "", "-") for n in "ab")
    visitor = Visitor(app)
    visitor.get(f"/?ref={first.referral_code}")
    clock(30 * DAY + 1)
    answer = visitor.get(f"/?ref={second.referral_code}")
    assert second.referral_code in answer.headers["Set-Cookie"]


# Attribution


def test_a_new_account_is_credited_to_the_session_it_came_by(owner, visitor):
    visitor.get(owner.link)
    join(visitor)
    assert gained(owner) == {"clicks:session_share": 1, "signups:session_share": 1}
    assert signups(owner) == 1
    newest = report(owner)["history"][0]
    assert newest["source"] == "session_share"
    assert newest["sessionId"] == owner.session
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", newest["createdAt"])


def test_a_new_account_that_came_by_the_front_page_came_directly(owner, visitor):
    visitor.get(owner.front)
    join(visitor)
    assert gained(owner) == {"clicks:direct": 1, "signups:direct": 1}
    newest = report(owner)["history"][0]
    assert (newest["source"], newest["sessionId"]) == ("direct", None)
    assert signups(owner) == 0


def test_who_comes_by_a_link_without_a_code_is_nobodys(owner, visitor):
    answer = visitor.get(f"/shared/{owner.code}")
    assert "Set-Cookie" not in answer.headers
    join(visitor)
    assert gained(owner) == {}


def test_an_account_is_credited_once_and_only_when_it_is_made(owner, visitor):
    visitor.get(owner.link)
    email = join(visitor)["email"]
    given = {"email": email, "password": "long enough"}
    assert visitor.post("/api/register", json=given).status_code == 409
    assert visitor.post("/api/register", json=given | {"x": 1}).status_code == 400
    assert visitor.post("/api/login", json=given).status_code == 200
    visitor.get(owner.link)
    assert gained(owner)["signups:session_share"] == 1
    assert signups(owner) == 1


def test_nobody_is_credited_for_oneself(place, owner):
    """The owner follows the link signed out, signs in, and makes a second account."""
    person = Visitor(place)
    person.get(owner.link)
    given = {"email": owner.user["email"], "password": "long enough"}
    assert person.post("/api/login", json=given).status_code == 200
    join(person)
    assert gained(owner) == {"clicks:session_share": 1}
    assert signups(owner) == 0


def test_the_history_goes_on_when_a_session_is_deleted(place, owner, visitor):
    late = Visitor(place)
    for person in (visitor, late):
        person.get(owner.link)
    join(visitor)
    assert owner.delete(f"/api/sessions/{owner.session}").status_code == 204
    join(late)
    assert gained(owner)["signups:session_share"] == 2
    newest, older = report(owner)["history"][:2]
    assert (newest["source"], newest["sessionId"]) == ("session_share", None)
    assert (older["source"], older["sessionId"]) == ("session_share", owner.session)


def test_who_came_before_a_link_was_paused_still_counts(owner, visitor):
    visitor.get(owner.link)
    owner.patch(f"/api/sessions/{owner.session}", json={"isPublic": False})
    join(visitor)
    assert signups(owner) == 1
    assert report(owner)["history"][0]["sessionId"] == owner.session


def test_the_history_does_not_tell_who_came(owner, visitor):
    visitor.get(owner.link)
    user = join(visitor)
    text = owner.get("/api/referrals").text
    assert user["id"] not in text
    assert user["email"] not in text
    for row in report(owner)["history"]:
        assert set(row) == {"createdAt", "source", "sessionId"}


# The report


@pytest.fixture
def veteran(place):
    """Somebody with 7 sign-ups, one a day, told apart by their session ids."""
    person = Visitor(place)
    person.user = join(person)
    keys = place.store.keys
    for n in range(7):
        row = {"createdAt": f"2026-11-0{n + 1}T00:00:00Z", "source": "direct"}
        place.store.execute(
            "RPUSH", keys.user(person.user["id"], "signups"),
            joip_share.to_json(row | {"sessionId": n}),
        )  # fmt: skip
    return person


def path_of(link):
    """The path and query of a `Link` header's next page, or None."""
    if link is None:
        return None
    url, rel = re.fullmatch(r'<([^>]+)>; rel="(\w+)"', link).groups()
    assert rel == "next"
    assert url.startswith("http://127.0.0.1:8000/api/")
    return url.removeprefix("http://127.0.0.1:8000")


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8, 200])
def test_the_history_is_paged_newest_first(veteran, limit):
    path, pages = f"/api/referrals?limit={limit}", []
    while path:
        answer = veteran.get(path)
        pages.append([row["sessionId"] for row in answer.json["history"]])
        path = path_of(answer.headers.get("Link"))
    assert list(itertools.chain(*pages)) == [6, 5, 4, 3, 2, 1, 0]
    assert len(pages) == -(-7 // limit)


def test_a_signup_between_two_pages_moves_nothing(place, veteran):
    first = veteran.get("/api/referrals?limit=3")
    visitor = Visitor(place)
    visitor.get(f"/?ref={veteran.user['referralCode']}")
    join(visitor)
    second = veteran.get(path_of(first.headers["Link"]))
    ids = [row["sessionId"] for row in first.json["history"] + second.json["history"]]
    assert ids == [6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "limit=", "limit=-1", "limit=1.0", "cursor=x",
     "cursor=-1", "cursor=%D9%A3", "cursor=99999999999999999999"],
)  # fmt: skip
def test_a_bad_page_is_refused_and_named(veteran, query):
    answer = veteran.get(f"/api/referrals?{query}")
    assert answer.status_code == 400
    assert answer.json["details"][0]["field"] == query.partition("=")[0]


def test_a_report_without_referrals_is_complete(place):
    person = Visitor(place)
    code = join(person)["referralCode"]
    nothing = {"clicks": 0, "signups": 0}
    assert report(person) == {
        "referralCode": code,
        "referralUrl": f"http://127.0.0.1:8000/?ref={code}",
        "totals": nothing,
        "bySource": {"session_share": nothing, "direct": nothing},
        "history": [],
    }


def test_a_report_is_for_the_signed_in(visitor):
    assert visitor.get("/api/referrals").status_code == 401


def test_totals_are_the_sum_of_the_sources(owner, visitor):
    visitor.get(owner.front)
    visitor.get(owner.link)
    join(visitor)
    told = report(owner)
    for what, total in told["totals"].items():
        assert total == sum(source[what] for source in told["bySource"].values())


def test_signups_at_once_are_all_credited(live, new_client):
    owner = new_client()
    code = owner.sign_up()["referralCode"]
    session_id = owner.make_session()
    link = f"/shared/{owner.share(session_id)}?r={code}"

    def come(_):
        visitor = Client(live.url)
        visitor.get(link)
        visitor.sign_up()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(come, range(8)))
    told = owner.get("/api/referrals").json()
    assert told["bySource"]["session_share"] == {"clicks": 8, "signups": 8}
    assert [row["sessionId"] for row in told["history"]] == [session_id] * 8
    stats = owner.get(f"/api/sessions/{session_id}/stats").json()
    assert stats["totals"]["signups"] == 8


# Hostile values: any bytes that a header or a URL may carry.


def hostile(examples):
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


anything = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"))
almost = st.from_regex(
    r"joip_ref=[a-z0-9]{7,9}\.[0-9]{0,14}\.[0-9a-f-]{0,38};?", fullmatch=True
)


def unharmed(owner, answer):
    """The page was shown, nobody was credited, nothing was remembered."""
    assert answer.status_code == 200
    assert "joip_ref" not in str(answer.headers)
    assert gained(owner) == {}


@hostile(12)
@given(text=st.text(max_size=300) | st.binary(max_size=300))
def test_no_query_breaks_a_page_or_counts(owner, visitor, text):
    unharmed(owner, visitor.get(f"/shared/{owner.code}", query_string={"r": text}))
    unharmed(owner, visitor.get("/", query_string={"ref": text}))


@hostile(15)
@given(query=st.text(st.characters(max_codepoint=127)))
def test_no_raw_query_breaks_a_page_or_counts(owner, visitor, query):
    """In ASCII: waitress refuses any other."""
    for path in (f"/shared/{owner.code}", "/"):
        raw = {"QUERY_STRING": query}
        unharmed(owner, visitor.get(path, environ_overrides=raw))


@hostile(15)
@given(cookie=anything | almost)
def test_no_cookie_breaks_a_page(place, owner, cookie):
    browser = place.test_client(use_cookies=False)
    headers = {"Cookie": cookie, "User-Agent": PERSON}
    for path in (f"/shared/{owner.code}", "/"):
        unharmed(owner, browser.get(path, headers=headers))


@hostile(6)
@given(cookie=anything | almost)
def test_no_cookie_breaks_a_registration(place, owner, cookie):
    register_with(place, cookie)
    assert gained(owner) == {}


def register_with(place, cookie):
    """A new account made by a client that sends this cookie."""
    given = {"email": f"joins{next(ACCOUNTS)}@example.com", "password": "long enough"}
    answer = place.test_client(use_cookies=False).post(
        "/api/register", headers={"Cookie": cookie}, json=given
    )
    assert answer.status_code == 201


FORGED = [
    "{code}",
    "{code}.{now}",
    "{code}.{now}.not-a-share-code",
    "{code}.{now}.{share}0",
    "{code}.{later}.{share}",
    "{code}.99999999999999999999.{share}",
    "{CODE}.{now}.{share}",
    "{nobody}.{now}.{share}",
    '"{code}.{now}.{share}"',
]


@pytest.mark.parametrize("cookie", FORGED)
def test_a_forged_cookie_changes_nothing(place, owner, cookie):
    now = int(joip_share.time.time())
    code = owner.user["referralCode"]
    value = cookie.format(
        code=code, CODE=code.upper() + "A", nobody=NOBODY, share=owner.code, now=now,
        later=now + 3600,
    )  # fmt: skip
    register_with(place, f"joip_ref={value}")
    assert gained(owner) == {}
    assert signups(owner) == 0
