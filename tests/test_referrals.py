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
from conftest import World
from records import to_json
from servers import PERSON, Client
from shown import show, visit

BOT = "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0"
DAY = 86_400
NOBODY = "zzzzzzzz"  # well formed, and nobody's code
EMAILS = itertools.count()


@pytest.fixture
def front(world):
    """The path of the owner's link to the front page."""
    return f"/?ref={world.referral_code}"


def report(person, query=""):
    answer = person.get(f"/api/referrals{query}")
    assert answer.status_code == 200, answer.text
    return answer.json


def gained(person):
    """What came of somebody's links, as "clicks:direct" and the like → how many."""
    told = report(person)["bySource"]
    return {
        f"{what}:{source}": number
        for source, numbers in told.items()
        for what, number in numbers.items()
        if number
    }


def join(visitor, **more):
    """Register; the user."""
    return visitor.sign_up(f"joins{next(EMAILS)}@example.com", **more)


def signups(world):
    return world.stats()["signups"]


def cookies(answer):
    return [c for c in answer.headers.getlist("Set-Cookie") if "joip_ref" in c]


def link_of(world, referral):
    """The shared link as somebody with this referral code hands it on."""
    return f"/shared/{world.code}?r={referral}"


# Clicks


def test_a_click_is_counted_by_source(world, front):
    for n, path in enumerate((world.link, world.link, front)):
        answer = world.newcomer().get(path, agent=BROWSER.format(n))
        assert answer.status_code == 200
    assert gained(world.owner) == {"clicks:session_share": 2, "clicks:direct": 1}


def test_a_visitor_is_one_click_a_day(clock, app):
    world = World.within(app)
    other = world.owner.share(world.owner.make_session())["shareCode"]
    paths = [world.link, world.link, f"/shared/{other}?r={world.referral_code}"]
    for day in range(3):
        clock(day * DAY)
        for path in paths:
            for person in (world.stranger, world.newcomer()):
                assert person.get(path).status_code == 200
        assert report(world.guest)["totals"]["clicks"] == 0
        told = world.store.referral_report(world.owner.user["id"], 50, -1)
        assert told.counts["clicks:session_share"] == day + 1


@pytest.mark.parametrize(
    ("method", "agent", "headers"),
    [
        ("HEAD", PERSON, {}),
        ("GET", BOT, {}),
        ("GET", "", {}),
        ("GET", PERSON, {"Sec-Purpose": "prefetch"}),
        ("GET", PERSON, {"Sec-Purpose": "prefetch;prerender"}),
        ("GET", PERSON, {"Purpose": "prefetch"}),
        ("GET", PERSON, {"X-Purpose": "preview"}),
        ("GET", PERSON, {"X-Moz": "prefetch"}),
        ("GET", PERSON, {"Sec-Fetch-Dest": "image"}),
        ("GET", PERSON, {"Sec-Fetch-Dest": "iframe"}),
    ],
)
def test_machines_make_no_clicks_and_are_not_remembered(
    world, front, method, agent, headers
):
    api = f"/api/shared/{world.code}/preview?r={world.referral_code}"
    for path in (world.link, front, api):
        answer = world.stranger.open(path, method, agent, headers)
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
    assert gained(world.owner) == {}


def test_a_page_fetched_ahead_is_a_click_when_it_is_shown(world):
    ahead = world.stranger.get(world.link, headers={"Sec-Purpose": "prefetch"}).text
    assert gained(world.owner) == {}
    assert cookies(show(world.stranger, ahead))
    assert gained(world.owner) == {"clicks:session_share": 1}
    join(world.stranger)
    assert signups(world) == 1


def test_so_it_is_for_whoever_handed_the_link_on(world):
    path = link_of(world, world.guest.user["referralCode"].upper())
    shown = visit(world.stranger, path, headers={"Sec-Purpose": "prefetch"})
    assert world.guest.user["referralCode"] in cookies(shown)[0]
    assert gained(world.guest) == {"clicks:session_share": 1}
    assert gained(world.owner) == {}


def test_a_page_that_was_shown_is_no_second_click(world):
    for _ in range(2):
        visit(world.stranger, world.link)
    assert gained(world.owner) == {"clicks:session_share": 1}


def test_the_preview_api_takes_the_code_too(world):
    path = f"/api/shared/{world.code}/preview"
    answer = world.stranger.get(f"{path}?r={world.referral_code}")
    assert world.referral_code in cookies(answer)[0]
    join(world.stranger)
    assert gained(world.owner) == {
        "clicks:session_share": 1, "signups:session_share": 1
    }  # fmt: skip
    assert signups(world) == 1


UNKNOWN = ["", NOBODY, "short", "x" * 5000, "ABCDEFGH", "%00", "*", "a" * 9, "%FF"]


@pytest.mark.parametrize("code", UNKNOWN)
def test_an_unknown_code_is_ignored_silently(world, code):
    """As if it were not there: the link's own session is remembered."""
    for path in (link_of(world, code), f"/?ref={code}"):
        answer = world.newcomer().get(path)
        assert answer.status_code == 200
        assert code not in str(cookies(answer)) or not code
        assert bool(cookies(answer)) is path.startswith("/shared")
    assert gained(world.owner) == {}


@pytest.mark.parametrize("code", [NOBODY, "00000000-0000-4000-8000-000000000000"])
def test_a_link_that_leads_nowhere_is_no_click(world, code):
    answer = world.stranger.get(f"/shared/{code}?r={world.referral_code}")
    assert answer.status_code == 404
    assert "Set-Cookie" not in answer.headers
    assert gained(world.owner) == {}


@pytest.mark.parametrize("end", ["pause", "revoke", "delete"])
def test_a_link_that_opens_nothing_any_more_takes_no_click_back(world, end):
    """Neither the one that was made while it opened, nor one at each reload."""
    world.stranger.get(world.link)
    session = f"/api/sessions/{world.session_id}"
    if end == "pause":
        world.owner.patch(session, json={"isPublic": False})
    else:
        link = f"{session}/shares/{world.code}" if end == "revoke" else session
        world.owner.delete(link)
    for agent in (PERSON, PERSON, BROWSER.format(1), BROWSER.format(1)):
        answer = world.newcomer().get(world.link, agent=agent)
        assert (answer.status_code, cookies(answer)) == (404, [])
    assert gained(world.owner) == {"clicks:session_share": 1}


def test_whose_click_found_nothing_may_click_once_there_is_something(world):
    session = f"/api/sessions/{world.session_id}"
    world.owner.patch(session, json={"isPublic": False})
    assert world.stranger.get(world.link).status_code == 404
    world.owner.patch(session, json={"isPublic": True})
    assert world.stranger.get(world.link).status_code == 200
    assert gained(world.owner) == {"clicks:session_share": 1}


def test_whose_click_found_nothing_leaves_it_to_nobody_else(world):
    """Who came while the link was paused is no click of whoever comes next."""
    session = f"/api/sessions/{world.session_id}"
    world.owner.patch(session, json={"isPublic": False})
    for build in range(3):
        answer = world.newcomer().get(world.link, agent=BROWSER.format(build))
        assert answer.status_code == 404
    world.owner.patch(session, json={"isPublic": True})
    for build, clicks in ((7, 1), (7, 1), (0, 2), (0, 2), (8, 3)):
        world.newcomer().get(world.link, agent=BROWSER.format(build))
        assert gained(world.owner) == {"clicks:session_share": clicks}


def test_one_may_hand_on_somebody_elses_link_with_ones_own_code(world):
    world.stranger.get(link_of(world, world.guest.user["referralCode"]))
    join(world.stranger)
    assert gained(world.owner) == {}
    assert gained(world.guest) == {
        "clicks:session_share": 1, "signups:session_share": 1
    }  # fmt: skip
    assert signups(world) == 1


def test_ones_own_link_is_no_click(world, front):
    for path in (world.link, front):
        answer = world.owner.get(path)
        assert answer.status_code == 200
        assert cookies(answer) == []
    assert gained(world.owner) == {}
    world.guest.get(link_of(world, world.guest.user["referralCode"]))
    assert gained(world.guest) == {}


def test_somebody_elses_front_page_link_is_a_click_signed_in_too(world, front):
    answer = world.guest.get(front)
    assert answer.status_code == 200
    assert world.referral_code in cookies(answer)[0]
    assert gained(world.owner) == {"clicks:direct": 1}


# The cookie


@pytest.mark.parametrize(
    "public_url", ["http://127.0.0.1:8000", "https://a.example/joip"]
)
def test_the_cookie_is_for_30_days_for_the_server_only(public_url):
    given = joip_share.Settings(public_url=public_url, ratelimit_enabled=False)
    app = joip_share.create_app(given, fakeredis.FakeStrictRedis())
    with app.app_context():
        owner = app.store.register("owner@example.com", "", "-")
        session = app.store.create_session(owner.id, joip_share.NewSession("A walk"))
        code = app.store.share(session.id, owner.id)
    for path in (
        f"/shared/{code}?r={owner.referral_code}",
        f"/?ref={owner.referral_code}",
    ):
        browser = app.test_client()
        answer = browser.get(given.path + path, headers={"User-Agent": PERSON})
        [header] = answer.headers.getlist("Set-Cookie")
        morsel = SimpleCookie(header)["joip_ref"]
        assert morsel["max-age"] == str(30 * DAY)
        assert morsel["httponly"]
        assert morsel["samesite"] == "Lax"
        assert bool(morsel["secure"]) is public_url.startswith("https")
        assert morsel["path"] == (given.path or "/")
        assert owner.id not in header


def test_the_first_one_wins_though_later_clicks_count(world):
    guests = f"/?ref={world.guest.user['referralCode']}"
    assert cookies(world.stranger.get(guests))
    assert cookies(world.stranger.get(world.link)) == []
    join(world.stranger)
    assert gained(world.guest) == {"clicks:direct": 1, "signups:direct": 1}
    assert gained(world.owner) == {"clicks:session_share": 1}
    assert signups(world) == 0


@pytest.mark.parametrize(
    ("seconds", "credited"),
    [(30 * DAY - 1, 1), (30 * DAY + 1, 0), (400 * DAY, 0), (-60, 1), (-61, 0)],
)
def test_a_code_is_remembered_for_30_days(clock, app, seconds, credited):
    """Even by a browser that keeps its cookies for longer; and the clocks of two hosts
    may differ by a minute."""
    clock(0)
    world = World.within(app)
    world.stranger.get(f"/?ref={world.referral_code}")
    clock(seconds)
    join(world.stranger)
    told = world.store.referral_report(world.owner.user["id"], 50, -1)
    assert told.counts.get("signups:direct", 0) == credited


def test_after_30_days_another_may_be_the_first(clock, app):
    clock(0)
    world = World.within(app)
    world.stranger.get(f"/?ref={world.referral_code}")
    clock(30 * DAY + 1)
    answer = world.stranger.get(f"/?ref={world.guest.user['referralCode']}")
    assert world.guest.user["referralCode"] in cookies(answer)[0]


# Attribution


def test_a_new_account_is_credited_to_the_session_it_came_by(world):
    world.stranger.get(world.link)
    join(world.stranger)
    assert gained(world.owner) == {
        "clicks:session_share": 1, "signups:session_share": 1
    }  # fmt: skip
    assert signups(world) == 1
    newest = report(world.owner)["history"][0]
    assert newest["source"] == "session_share"
    assert newest["sessionId"] == world.session_id
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", newest["createdAt"])


def test_a_new_account_that_came_by_the_front_page_came_directly(world, front):
    world.stranger.get(front)
    join(world.stranger)
    assert gained(world.owner) == {"clicks:direct": 1, "signups:direct": 1}
    newest = report(world.owner)["history"][0]
    assert (newest["source"], newest["sessionId"]) == ("direct", None)
    assert signups(world) == 0


def test_a_link_without_a_code_remembers_its_session_and_its_owner(world):
    answer = world.stranger.get(f"/shared/{world.code}")
    assert world.referral_code in cookies(answer)[0]
    join(world.stranger)
    assert gained(world.owner) == {"signups:session_share": 1}
    assert signups(world) == 1
    assert report(world.owner)["history"][0]["sessionId"] == world.session_id


def test_who_was_given_the_players_address_is_remembered_too(world):
    """It is what the address bar shows while one plays."""
    page = world.owner.get(f"/shared/{world.code}").text
    (play,) = re.findall(r'href="(/shared/[^"]*/play[^"]*)"', page)
    assert play == f"/shared/{world.code}/play?r={world.referral_code}"
    for person in (world.stranger, world.newcomer()):
        answer = person.get(play)
        assert answer.status_code == 303
        assert world.referral_code in cookies(answer)[0]
        join(person)
    assert signups(world) == 2
    assert world.stats()["opens"] == 0
    both = {"clicks:session_share": 1, "signups:session_share": 2}
    assert gained(world.owner) == both, "from one network with one browser"
    for agent, headers in ((BOT, {}), (PERSON, {"Sec-Purpose": "prefetch"})):
        answer = world.newcomer().get(play, agent=agent, headers=headers)
        assert (answer.status_code, cookies(answer)) == (303, [])
    unknown = play.replace(world.code, "00000000-0000-4000-8000-000000000000")
    answer = world.newcomer().get(unknown)
    assert (answer.status_code, cookies(answer)) == (303, [])


@pytest.mark.parametrize("page", ["/register", "/login"])
def test_who_opens_the_link_in_one_browser_and_signs_up_in_another_is_credited(
    world, page
):
    """As by "Open in Safari" in an app: the address goes along, the cookie does not."""
    preview = world.stranger.get(world.link).text
    (onward,) = re.findall(rf'href="({page}[?]next=[^"]*)"', preview)
    other = world.newcomer()
    for headers in ({"Sec-Purpose": "prefetch"}, {"Sec-Fetch-Dest": "image"}):
        assert cookies(other.get(onward, headers=headers)) == []
    (cookie,) = cookies(other.get(onward))
    assert f"{world.referral_code}." in cookie
    join(other)
    assert signups(world) == 1
    credited = {"clicks:session_share": 1, "signups:session_share": 1}
    assert gained(world.owner) == credited
    handed_on = onward.replace(world.referral_code, world.guest.user["referralCode"])
    other = world.newcomer()
    other.get(handed_on)
    join(other)
    assert gained(world.guest) == {"signups:session_share": 1}
    for path in ("/register", "/register?next=/sessions/1", "/register?ref=x"):
        assert cookies(world.newcomer().get(path)) == []


def test_an_account_is_credited_once_and_only_when_it_is_made(world):
    world.stranger.get(world.link)
    email = join(world.stranger)["email"]
    given = {"email": email, "password": "long enough"}
    assert world.stranger.post("/api/register", json=given).status_code == 409
    assert (
        world.stranger.post("/api/register", json=given | {"x": 1}).status_code == 400
    )
    assert world.stranger.post("/api/login", json=given).status_code == 200
    world.stranger.get(world.link)
    assert gained(world.owner)["signups:session_share"] == 1
    assert signups(world) == 1


def test_nobody_is_credited_for_oneself(world):
    """The owner follows the link signed out, signs in, and makes a second account."""
    world.stranger.get(world.link)
    given = {"email": world.owner.user["email"], "password": "long enough"}
    assert world.stranger.post("/api/login", json=given).status_code == 200
    join(world.stranger)
    assert gained(world.owner) == {"clicks:session_share": 1}
    assert signups(world) == 0


def test_the_history_goes_on_when_a_session_is_deleted(world):
    late = world.newcomer()
    for person in (world.stranger, late):
        person.get(world.link)
    join(world.stranger)
    path = f"/api/sessions/{world.session_id}"
    assert world.owner.delete(path).status_code == 204
    join(late)
    assert gained(world.owner)["signups:session_share"] == 2
    newest, older = report(world.owner)["history"]
    assert (newest["source"], newest["sessionId"]) == ("session_share", None)
    assert (older["source"], older["sessionId"]) == ("session_share", world.session_id)


def test_who_came_before_a_link_was_paused_still_counts(world):
    world.stranger.get(world.link)
    world.owner.patch(f"/api/sessions/{world.session_id}", json={"isPublic": False})
    join(world.stranger)
    assert signups(world) == 1
    assert report(world.owner)["history"][0]["sessionId"] == world.session_id


def test_who_came_before_a_link_was_revoked_is_still_its_owners(world):
    world.stranger.get(world.link)
    link = f"/api/sessions/{world.session_id}/shares/{world.code}"
    assert world.owner.delete(link).status_code == 204
    join(world.stranger)
    assert gained(world.owner)["signups:session_share"] == 1


def test_the_history_tells_a_link_that_is_gone_or_another_owners_from_ones_own(
    world, front
):
    """What has no title is no referral link by that, nor gone."""
    path = f"/api/sessions/{world.session_id}/shares/{world.code}"
    early, late = world.newcomer(), world.newcomer()
    early.get(link_of(world, world.guest.user["referralCode"]))
    join(early)
    page = world.guest.get("/referrals").text
    assert "or somebody else's</td>" in page
    late.get(world.link)
    assert world.owner.delete(path).status_code == 204
    join(late)
    page = world.owner.get("/referrals").text
    assert "link that is gone" in page
    assert "Your referral link</td>" not in page
    world.stranger.get(front)
    join(world.stranger)
    assert "Your referral link</td>" in world.owner.get("/referrals").text


def test_an_account_that_is_gone_is_credited_with_nothing(world, front):
    for person in (world.stranger, world.newcomer()):
        person.get(front)
    given = {"currentPassword": "long enough"}
    assert world.owner.delete("/api/auth/user", json=given).status_code == 204
    user = join(world.stranger)
    assert user["referralCode"] != world.referral_code
    assert cookies(world.newcomer().get(front)) == []


def test_the_history_does_not_tell_who_came(world):
    world.stranger.get(world.link)
    user = join(world.stranger)
    text = world.owner.get("/api/referrals").text
    assert user["id"] not in text
    assert user["email"] not in text
    for row in report(world.owner)["history"]:
        assert set(row) == {"createdAt", "source", "sessionId"}


# A code that is given when registering


@pytest.mark.parametrize("spell", [str, str.upper, " {} ".format])
def test_a_code_given_when_registering_counts_like_a_remembered_one(world, spell):
    join(world.stranger, referralCode=spell(world.referral_code))
    assert gained(world.owner) == {"signups:direct": 1}
    newest = report(world.owner)["history"][0]
    assert (newest["source"], newest["sessionId"]) == ("direct", None)


def test_it_does_not_replace_a_remembered_one(world):
    world.stranger.get(world.link)
    join(world.stranger, referralCode=world.guest.user["referralCode"])
    assert gained(world.owner)["signups:session_share"] == 1
    assert gained(world.guest) == {}


def test_it_counts_where_the_remembered_one_is_nobodys_any_more(world, front):
    world.stranger.get(front)
    given = {"currentPassword": "long enough"}
    world.owner.delete("/api/auth/user", json=given)
    join(world.stranger, referralCode=world.guest.user["referralCode"])
    assert gained(world.guest) == {"signups:direct": 1}


def test_another_is_the_first_where_the_remembered_one_is_nobodys_any_more(
    world, front
):
    world.stranger.get(front)
    given = {"currentPassword": "long enough"}
    world.owner.delete("/api/auth/user", json=given)
    code = world.guest.share(world.guest.make_session())["shareCode"]
    world.stranger.get(f"/shared/{code}")
    join(world.stranger)
    assert gained(world.guest) == {"signups:session_share": 1}


@pytest.mark.parametrize("code", ["", NOBODY, "x", "*", "x" * 100, "\x00", "ÄÖÜäöü12"])
def test_an_unknown_one_is_ignored(world, code):
    join(world.stranger, referralCode=code)
    assert gained(world.owner) == {}


@pytest.mark.parametrize("code", [1, [], {}, True, "x" * 5000])
def test_what_is_no_code_at_all_is_a_400(world, code):
    given = {"email": "x@example.com", "password": "long enough", "referralCode": code}
    answer = world.stranger.post("/api/register", json=given)
    assert answer.status_code == 400
    assert answer.json["details"][0]["field"] == "referralCode"


def test_it_may_be_null(world):
    join(world.stranger, referralCode=None)


def test_the_code_is_eight_of_a_to_z_and_digits_unique_and_never_changes(world):
    codes = {join(world.newcomer())["referralCode"] for _ in range(20)}
    assert len(codes) == 20
    assert all(re.fullmatch("[a-z0-9]{8}", code) for code in codes)
    changes = {"email": "new@example.com", "name": "New", "password": "another one",
               "currentPassword": "long enough"}  # fmt: skip
    changed = world.owner.patch("/api/auth/user", json=changes).json
    assert changed["referralCode"] == world.referral_code


# The report


@pytest.fixture
def veteran(world):
    """Somebody with 7 sign-ups, one a day, told apart by their session ids."""
    person = world.newcomer()
    person.user = join(person)
    keys = world.store.keys
    for n in range(7):
        row = {"createdAt": f"2026-11-0{n + 1}T00:00:00Z", "source": "direct"}
        world.store.execute(
            "RPUSH", keys.user(person.user["id"], "signups"),
            to_json(row | {"sessionId": n}),
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


def test_a_signup_between_two_pages_moves_nothing(world, veteran):
    first = veteran.get("/api/referrals?limit=3")
    world.stranger.get(f"/?ref={veteran.user['referralCode']}")
    join(world.stranger)
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


def test_a_report_without_referrals_is_complete(world):
    person = world.newcomer()
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


def test_totals_are_the_sum_of_the_sources(world, front):
    world.stranger.get(front)
    world.newcomer().get(world.link, agent=BROWSER.format(1))
    join(world.stranger)
    told = report(world.owner)
    assert told["totals"] == {"clicks": 2, "signups": 1}
    for what, total in told["totals"].items():
        assert total == sum(source[what] for source in told["bySource"].values())


def test_signups_at_once_are_all_credited(live, live_world):
    def come(_):
        visitor = Client(live.url)
        visitor.get(live_world.link)
        visitor.sign_up()

    with ThreadPoolExecutor(2) as pool:  # more at once would be too many hashes
        list(pool.map(come, range(8)))
    told = live_world.owner.get("/api/referrals").json()
    assert told["bySource"]["session_share"] == {"clicks": 1, "signups": 8}
    ids = [row["sessionId"] for row in told["history"]]
    assert ids == [live_world.session_id] * 8
    assert live_world.stats()["signups"] == 8


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


def unharmed(world, answer):
    """The page was shown, and nothing was made of the hostile value."""
    assert answer.status_code == 200
    for cookie in cookies(answer):
        assert cookie.startswith(f"joip_ref={world.referral_code}.")
        assert f".{world.code}." in cookie
    assert gained(world.owner) == {}


@hostile(12)
@given(text=st.text(max_size=300) | st.binary(max_size=300))
def test_no_query_breaks_a_page_or_counts(world, text):
    path = f"/shared/{world.code}"
    unharmed(world, world.newcomer().get(path, query_string={"r": text}))
    unharmed(world, world.newcomer().get("/", query_string={"ref": text}))


@hostile(15)
@given(query=st.text(st.characters(max_codepoint=127)))
def test_no_raw_query_breaks_a_page_or_counts(world, query):
    """In ASCII: waitress refuses any other."""
    for path in (f"/shared/{world.code}", "/"):
        raw = {"QUERY_STRING": query}
        unharmed(world, world.newcomer().get(path, environ_overrides=raw))


@hostile(15)
@given(cookie=anything | almost)
def test_no_cookie_breaks_a_page(world, cookie):
    browser = world.app.test_client(use_cookies=False)
    headers = {"Cookie": cookie, "User-Agent": PERSON}
    for path in (f"/shared/{world.code}", "/"):
        unharmed(world, browser.get(path, headers=headers))


@hostile(6)
@given(cookie=anything | almost)
def test_no_cookie_breaks_a_registration(world, cookie):
    register_with(world, cookie)
    assert gained(world.owner) == {}


def register_with(world, cookie):
    """A new account made by a client that sends this cookie."""
    given = {"email": f"joins{next(EMAILS)}@example.com", "password": "long enough"}
    answer = world.app.test_client(use_cookies=False).post(
        "/api/register", headers={"Cookie": cookie}, json=given
    )
    assert answer.status_code == 201


FORGED = [
    "{code}",
    "{code}.{now}",
    "{code}.{now}.{share}",
    "{code}.{now}.{share}.",
    "{code}.{now}.{share}.{none}",
    "{code}.{now}..{none}",
    "{code}.{now}.{share}.{signature}",
    "{guest}.{time}.{share}.{signature}",
    "{owner}.{now}.{share}.{signature}",
    "{owner}.{time}.00000000-0000-4000-8000-000000000000.{signature}",
    "{owner}.{time}..{signature}",
    "{owner}.{time}.{share}.{SIGNATURE}",
    "{owner}.{time}.{share}.{signature}0",
    "{owner}.{time}.{share}.é",
    '"{code}.{now}.{share}"',
]


@pytest.mark.parametrize("cookie", FORGED)
def test_a_forged_cookie_credits_nobody(world, cookie):
    """Made up, or changed from what the service has signed for a visit."""
    signed = cookies(world.stranger.get(f"/shared/{world.code}"))[0]
    own, time, share, signature = signed.partition("=")[2].partition(";")[0].split(".")
    assert (own, share) == (world.referral_code, world.code)
    value = cookie.format(
        code=own, owner=own, guest=world.guest.user["referralCode"], share=share,
        time=time, now=int(time) - 1, signature=signature, none="0" * 32,
        SIGNATURE=signature.upper(),
    )  # fmt: skip
    register_with(world, f"joip_ref={value}")
    assert gained(world.owner) == {}
    assert gained(world.guest) == {}
    assert signups(world) == 0


def test_what_the_service_has_signed_is_taken_from_whoever_brings_it(world):
    signed = cookies(world.stranger.get(f"/shared/{world.code}"))[0]
    register_with(world, signed.partition(";")[0])
    assert gained(world.owner) == {"signups:session_share": 1}
