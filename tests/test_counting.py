"""What counts, what does not and why; exact under load, gone after a deletion."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

import joip_share
from conftest import Visitor
from servers import PERSON, Client

BOT = "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"
PREVIEWS = ["/shared/{}", "/api/shared/{}/preview"]
DAY = 86_400


@pytest.fixture
def owner(place):
    """An owner with a new session."""
    place.owner.session = place.owner.make_session()
    return place.owner


@pytest.fixture
def shared(owner):
    """The link of the owner's session."""
    return owner.share(owner.session)["shareCode"]


@pytest.fixture
def guest(place):
    """Somebody else with an account."""
    return place.guest


@pytest.fixture
def visitor(place):
    """A stranger with a browser."""
    return Visitor(place)


def stats(owner, days=30):
    answer = owner.get(f"/api/sessions/{owner.session}/stats?days={days}")
    assert answer.status_code == 200, answer.text
    return answer.json


def counts(owner):
    """The totals and exclusions that are not zero."""
    told = stats(owner)
    return {k: v for k, v in (told["totals"] | told["excluded"]).items() if v}


@pytest.mark.parametrize("preview", PREVIEWS)
def test_an_open_is_counted_once_a_fetch(owner, visitor, shared, preview):
    for _ in range(3):
        assert visitor.get(preview.format(shared)).status_code == 200
    assert counts(owner) == {"opens": 3, "visitors": 1}


EXCLUDED = [
    ("HEAD", PERSON, {}, "head"),
    ("HEAD", BOT, {"Sec-Purpose": "prefetch"}, "head"),
    ("GET", BOT, {}, "bot"),
    ("GET", "", {}, "bot"),
    ("GET", PERSON, {"Sec-Purpose": "prefetch"}, "prefetch"),
    ("GET", PERSON, {"Sec-Purpose": "prefetch;prerender"}, "prefetch"),
    ("GET", PERSON, {"Sec-Purpose": "prefetch;anonymous-client-ip"}, "prefetch"),
    ("GET", PERSON, {"Purpose": "prefetch"}, "prefetch"),
    ("GET", PERSON, {"Purpose": "Prefetch"}, "prefetch"),
]


@pytest.mark.parametrize("preview", PREVIEWS)
@pytest.mark.parametrize(("method", "agent", "headers", "reason"), EXCLUDED)
def test_machines_are_left_out_by_reason(
    owner, visitor, shared, preview, method, agent, headers, reason
):
    headers = headers | {"Referer": "https://example.org/"}
    answer = visitor.open(preview.format(shared), method, agent, headers)
    assert answer.status_code == 200
    assert counts(owner) == {reason: 1}
    assert stats(owner)["referrers"] == []


@pytest.mark.parametrize("preview", PREVIEWS)
def test_the_owners_own_visit_is_left_out(owner, shared, preview):
    assert owner.get(preview.format(shared)).status_code == 200
    assert counts(owner) == {"owner": 1}


def test_the_owners_page_carries_no_beacon_even_if_prerendered(owner, guest, shared):
    prerender = {"Sec-Purpose": "prefetch;prerender"}
    for headers in ({}, prerender):
        page, others = (
            person.get(f"/shared/{shared}", headers=headers).text
            for person in (owner, guest)
        )
        assert "data-seen" in others
        assert "data-seen" not in page


@pytest.mark.parametrize("preview", PREVIEWS)
def test_somebody_else_signed_in_is_counted(owner, guest, shared, preview):
    guest.get(preview.format(shared))
    assert counts(owner) == {"opens": 1, "visitors": 1}


def test_a_beacon_is_a_view_and_answers_nothing(owner, visitor, shared):
    answer = visitor.post(f"/api/shared/{shared}/seen")
    assert (answer.status_code, answer.data) == (204, b"")
    answer = visitor.post(f"/api/shared/{shared.upper()}/seen", data="ignored")
    assert answer.status_code == 204
    assert counts(owner) == {"views": 2}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_a_beacon_is_a_post(owner, visitor, shared, method):
    assert visitor.open(f"/api/shared/{shared}/seen", method=method).status_code == 405
    assert counts(owner) == {}


def test_a_beacon_of_another_site_is_refused(owner, visitor, shared):
    headers = {"Sec-Fetch-Site": "cross-site"}
    answer = visitor.post(f"/api/shared/{shared}/seen", headers=headers)
    assert (answer.status_code, answer.json["code"]) == (403, "CROSS_SITE")
    assert counts(owner) == {}


def test_a_page_sends_its_beacon_when_it_may_come_to_be_shown(owner, visitor, shared):
    beacon = f"/api/shared/{shared}/seen".encode()
    page = f"/shared/{shared}"
    assert beacon in visitor.get(page).data
    assert beacon in visitor.get(page, headers={"Sec-Purpose": "prefetch"}).data
    assert beacon not in visitor.get(page, agent=BOT).data
    assert beacon not in owner.get(page).data


def test_a_play_is_a_recipient_fetching_the_full_session(owner, guest, shared):
    assert guest.get(f"/api/shared/{shared}").status_code == 200
    assert counts(owner) == {"plays": 1}


def test_a_visit_to_the_player_is_one_play(owner, guest, shared):
    assert guest.get(f"/shared/{shared}/play").status_code == 200
    assert guest.get(f"/api/shared/media/{shared}?limit=2").status_code == 200
    assert guest.get(f"/api/shared/media/{shared}?offset=2").status_code == 200
    assert counts(owner) == {"plays": 1}


def test_what_is_no_play(owner, guest, visitor, shared):
    assert owner.get(f"/api/shared/{shared}").status_code == 200
    assert guest.open(f"/api/shared/{shared}", method="HEAD").status_code == 200
    assert guest.get(f"/api/shared/media/{shared}").status_code == 200
    assert visitor.get(f"/api/shared/{shared}").status_code == 401
    for person in (guest, owner, visitor):
        person.get(f"/shared/{shared}/play", agent=BOT)
    assert counts(owner) == {}


def test_only_the_account_a_link_is_for_makes_plays(owner, guest, visitor):
    bound = owner.share(owner.session, userId=guest.user["id"])["shareCode"]
    visitor.sign_up("other@example.com")
    assert visitor.get(f"/api/shared/{bound}").status_code == 403
    assert owner.get(f"/api/shared/{bound}").status_code == 200
    assert counts(owner) == {}
    assert guest.get(f"/api/shared/{bound}").status_code == 200
    assert counts(owner) == {"plays": 1}


def test_every_link_of_a_session_counts_for_the_session(owner, guest, visitor, shared):
    bound = owner.share(owner.session, userId=guest.user["id"])["shareCode"]
    for code in (shared, bound):
        visitor.get(f"/shared/{code}")
        visitor.post(f"/api/shared/{code}/seen")
    assert counts(owner) == {"opens": 2, "views": 2, "visitors": 1}


def test_a_paused_link_counts_nothing(owner, guest, visitor, shared):
    owner.patch(f"/api/sessions/{owner.session}", json={"isPublic": False})
    link = f"/shared/{shared}?r={owner.user['referralCode']}"
    before = owner.get("/api/referrals").json
    answers = [
        visitor.get(link),
        visitor.open(link, method="HEAD"),
        visitor.get(link, agent=BOT),
        owner.get(link),
        visitor.get(f"/api/shared/{shared}/preview"),
        visitor.post(f"/api/shared/{shared}/seen"),
        guest.get(f"/api/shared/{shared}"),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert not any("joip_ref" in str(answer.headers) for answer in answers)
    assert counts(owner) == {}
    assert owner.get("/api/referrals").json == before
    owner.share(owner.session)
    visitor.get(f"/shared/{shared}")
    assert counts(owner) == {"opens": 1, "visitors": 1}


COUNTS = {
    "an open": lambda store, code, _: store.open_shared(code, joip_share.Visit("", "")),
    "a bot": lambda store, code, _: store.open_shared(
        code, joip_share.Visit("", "bot")
    ),
    "a play": lambda store, code, guest: store.play_shared(code, guest, counted=True),
    "a view": lambda store, code, _: store.count_shared(code, "views"),
}


@pytest.mark.parametrize("count", COUNTS.values(), ids=COUNTS)
def test_nothing_counts_for_a_deleted_session(place, owner, guest, shared, count):
    """By a process that knew the code before, so that no look-up stops it."""
    count(place.store, shared, guest.user["id"])
    owner.delete(f"/api/sessions/{owner.session}")
    before = sorted(place.store.execute("KEYS", "*"))
    with pytest.raises(joip_share.NotShared):
        count(place.store, shared, guest.user["id"])
    assert sorted(place.store.execute("KEYS", "*")) == before


# Days, with a clock that the test sets.


@pytest.fixture
def days(clock, settings, redis):
    """An app on an emptied Redis, with accounts made straight in the store."""
    app = joip_share.create_app(settings, redis)
    app.owner = app.store.register("owner@example.com", "", "-")
    app.guest = app.store.register("guest@example.com", "", "-")
    session = app.store.create_session(app.owner, joip_share.NewSession("A walk"))
    app.session = session.id
    app.code = app.store.share(session.id, app.owner.id)
    return app


def count_each(app):
    visit = joip_share.Visit(reason="", visitor=b"somebody", host="example.org")
    app.store.open_shared(app.code, visit, app.owner.referral_code)
    app.store.play_shared(app.code, app.guest.id, counted=True)
    app.store.count_shared(app.code, "views")
    app.store.count_shared(app.code, "signups")


def test_a_day_ends_at_midnight_utc(clock, days):
    for moment in (-0.5, 0):
        clock(moment)
        count_each(days)
    told = days.store.session_stats(days.session, days.owner.id, 2)
    once = dict.fromkeys(told.totals, 1)
    assert told.daily == [
        {"date": "2026-11-24", **once},
        {"date": "2026-11-25", **once},
    ]
    assert told.totals == dict.fromkeys(once, 2)


def test_days_are_kept_for_400_days_and_totals_for_good(clock, days):
    for day in (0, 1, 399, 400, 401):
        clock(day * DAY)
        count_each(days)
    key = days.store.keys.session(days.session, "daily")
    fields = {field.decode() for field in days.store.execute("HKEYS", key)}
    kept = {"2026-11-26", "2027-12-29", "2027-12-30", "2027-12-31"}
    assert {field.partition(":")[0] for field in fields} == kept
    told = days.store.session_stats(days.session, days.owner.id, 365)
    assert set(told.totals.values()) == {5}


def test_a_deletion_takes_the_visitors_of_other_days_too(clock, days):
    for day in (-2, -1, 0):
        clock(day * DAY)
        count_each(days)
    assert len(days.store.execute("KEYS", "session:*:visitors:*")) >= 2
    days.store.delete_session(days.session, days.owner.id)
    assert mentions(days.store.execute, days.code, f"{{{days.session}}}") == []


# On a real service and a real Redis.


@pytest.fixture
def live_owner(new_client):
    """An owner on the real service, with a session and its link."""
    owner = new_client()
    owner.user = owner.sign_up()
    owner.session = owner.make_session()
    owner.code = owner.share(owner.session)
    return owner


def live_stats(owner):
    return owner.get(f"/api/sessions/{owner.session}/stats?days=2").json()


def test_300_opens_and_50_beacons_by_16_clients_at_once_are_exact(live, live_owner):
    page = f"/shared/{live_owner.code}?r={live_owner.user['referralCode']}"
    beacon = f"/api/shared/{live_owner.code}/seen"
    start = threading.Barrier(16)

    def client(number):
        browser = Client(live.url)
        start.wait()
        for i in range(number, 350, 16):
            answer = browser.get(page) if i < 300 else browser.post(beacon)
            yield answer.status_code

    with ThreadPoolExecutor(16) as pool:
        answers = pool.map(lambda number: list(client(number)), range(16))
        answers = sorted(itertools.chain.from_iterable(answers))
    assert answers == [200] * 300 + [204] * 50
    told = live_stats(live_owner)
    exact = {"opens": 300, "views": 50, "visitors": 1, "plays": 0, "signups": 0}
    assert told["totals"] == exact
    for counter, value in exact.items():
        assert sum(day[counter] for day in told["daily"]) == value
    clicks = live_owner.get("/api/referrals").json()["bySource"]["session_share"]
    assert clicks == {"clicks": 300, "signups": 0}


@pytest.mark.parametrize(("signed_in", "trips"), [(False, 1), (True, 2)])
@pytest.mark.parametrize(
    "path", ["/api/shared/{}/preview", "/shared/{}", "/shared/{}?r={}"]
)
def test_one_round_trip_counts_and_fetches(
    live, live_owner, new_client, path, signed_in, trips
):
    """And one more reads the login, to leave the owner out."""
    path = path.format(live_owner.code, live_owner.user["referralCode"])
    visitor = new_client()
    if signed_in:
        visitor.sign_up()
    assert visitor.get(path).status_code == 200
    before = live.redis.info("stats")["total_reads_processed"]
    for _ in range(20):
        visitor.get(path)
    after = live.redis.info("stats")["total_reads_processed"]
    assert after - before <= 20 * trips + 1, "the second INFO is a read too"
    assert live_stats(live_owner)["totals"]["opens"] == 21


def test_scripts_that_redis_forgot_count_once(live, live_owner, new_client):
    visitor = new_client()
    live.redis.script_flush()
    visitor.get(f"/shared/{live_owner.code}?r={live_owner.user['referralCode']}")
    live.redis.script_flush()
    visitor.post(f"/api/shared/{live_owner.code}/seen")
    totals = live_stats(live_owner)["totals"]
    assert (totals["opens"], totals["views"]) == (1, 1)
    assert live_owner.get("/api/referrals").json()["totals"]["clicks"] == 1


READ = {
    b"string": ("GET",),
    b"hash": ("HGETALL",),
    b"list": ("LRANGE", 0, -1),
    b"zset": ("ZRANGE", 0, -1),
}


def mentions(execute, *words):
    """Keys that carry one of the words in their name or value."""
    found = []
    for key in execute("KEYS", "*"):
        read, *more = READ[execute("TYPE", key)]
        text = repr((key, execute(read, key, *more)))
        found += [key for word in words if word in text]
    return found


def test_a_session_deleted_under_fire_stays_deleted(live, new_client, live_owner):
    """With 80 requests under way; then no key carries its id or its code."""
    guest = new_client()
    guest.sign_up()
    referral = live_owner.user["referralCode"]

    def request(method, path, who):
        headers, cookies = {"User-Agent": PERSON}, dict(who.cookies) if who else {}
        url = live.url + path
        answer = requests.request(
            method, url, headers=headers, cookies=cookies, timeout=10
        )
        return answer.status_code

    seen = set()
    with ThreadPoolExecutor(16) as pool:
        for _ in range(5):
            session_id = live_owner.make_session()
            code = live_owner.share(session_id)
            kinds = [
                ("GET", f"/shared/{code}?r={referral}", None),
                ("GET", f"/api/shared/{code}/preview", guest),
                ("POST", f"/api/shared/{code}/seen", None),
                ("GET", f"/api/shared/{code}", guest),
                ("POST", f"/api/sessions/{session_id}/share", live_owner),
            ]
            fired = [pool.submit(request, *kinds[i % 5]) for i in range(80)]
            fired[20].result()
            answer = live_owner.delete(f"/api/sessions/{session_id}")
            assert answer.status_code == 204
            seen |= {answer.result() for answer in fired}
            execute = live.redis.execute_command
            assert mentions(execute, code, f"{{{session_id}}}") == []
            index = f"user:{{{live_owner.user['id']}}}:sessions"
            assert live.redis.zscore(index, session_id) is None
    assert seen == {200, 204, 404}
