"""What counts, what does not and why; exact under load, gone after a deletion."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

import joip_share
from clock import today
from conftest import World
from inputs import NewSession
from records import Visit
from refusals import NotShared
from servers import PERSON, Client, mentions
from shown import message, show, visit

BOT = "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
)
AHEAD = {"Sec-Purpose": "prefetch;prerender"}
PREVIEWS = ["/shared/{}", "/api/shared/{}/preview"]
DAY = 86_400


@pytest.fixture
def world(town):
    """The same people, with a session that nobody has seen, and a new stranger."""
    return town.anew()


def stats(world, days=30):
    answer = world.owner.get(f"/api/sessions/{world.session_id}/stats?days={days}")
    assert answer.status_code == 200, answer.text
    return answer.json


def counts(world):
    """The totals and exclusions that are not zero."""
    told = stats(world)
    return {k: v for k, v in (told["totals"] | told["excluded"]).items() if v}


# Opens


@pytest.mark.parametrize("preview", PREVIEWS)
def test_an_open_is_counted_once_a_fetch(world, preview):
    for _ in range(3):
        assert world.stranger.get(preview.format(world.code)).status_code == 200
    assert counts(world) == {"opens": 3, "visitors": 1}


EXCLUDED = [
    ("HEAD", PERSON, {}, "head"),
    ("HEAD", BOT, {"Sec-Purpose": "prefetch"}, "head"),
    ("GET", BOT, {}, "bot"),
    ("GET", "", {}, "bot"),
    ("GET", BOT, {"Sec-Purpose": "prefetch"}, "bot"),
    ("GET", PERSON, {"Sec-Purpose": "prefetch"}, "prefetch"),
    ("GET", PERSON, {"Sec-Purpose": "prefetch;prerender"}, "prefetch"),
    ("GET", PERSON, {"Sec-Purpose": "prefetch;anonymous-client-ip"}, "prefetch"),
    ("GET", PERSON, {"Purpose": "prefetch"}, "prefetch"),
    ("GET", PERSON, {"Purpose": "Prefetch"}, "prefetch"),
    ("GET", PERSON, {"X-Purpose": "preview"}, "prefetch"),
    ("GET", PERSON, {"X-Purpose": "prefetch"}, "prefetch"),
    ("GET", PERSON, {"X-Moz": "prefetch"}, "prefetch"),
    ("GET", PERSON, {"Purpose": "preview"}, "prefetch"),
]


@pytest.mark.parametrize("preview", PREVIEWS)
@pytest.mark.parametrize(("method", "agent", "headers", "reason"), EXCLUDED)
def test_what_is_no_open_is_left_out_by_reason(
    world, preview, method, agent, headers, reason
):
    headers = headers | {"Referer": "https://example.org/"}
    answer = world.stranger.open(preview.format(world.code), method, agent, headers)
    assert answer.status_code == 200
    assert counts(world) == {reason: 1}
    assert stats(world)["referrers"] == []


@pytest.mark.parametrize("preview", PREVIEWS)
@pytest.mark.parametrize("headers", [{}, AHEAD])
def test_the_owners_own_visit_is_left_out(world, preview, headers):
    answer = world.owner.get(preview.format(world.code), headers=headers)
    assert answer.status_code == 200
    assert counts(world) == {"owner": 1}


@pytest.mark.parametrize("preview", PREVIEWS)
@pytest.mark.parametrize("by_token", [False, True])
def test_the_owners_own_visit_by_a_script_is_the_owners(world, preview, by_token):
    script = world.owner
    headers = {}
    if by_token:
        told = world.owner.post("/api/tokens", json={"name": "a script"}).json
        script, headers = world.stranger, {"Authorization": f"Bearer {told['token']}"}
    path = preview.format(world.code)
    assert script.get(path, agent=BOT, headers=headers).status_code == 200
    assert counts(world) == {"owner": 1}


def test_an_owner_whose_browser_is_taken_for_a_machine_sees_what_is_paused(world):
    world.owner.patch(f"/api/sessions/{world.session_id}", json={"isPublic": False})
    page = f"/shared/{world.code}"
    assert world.owner.get(page, agent=BOT).status_code == 200
    assert world.guest.get(page, agent=BOT).status_code == 404


@pytest.mark.parametrize("preview", PREVIEWS)
def test_somebody_else_signed_in_is_counted(world, preview):
    world.guest.get(preview.format(world.code))
    assert counts(world) == {"opens": 1, "visitors": 1}


NAVIGATIONS = ["document", "empty", None]
NO_NAVIGATIONS = ["image", "script", "style", "iframe", "video", "object", "embed", "x"]


@pytest.mark.parametrize("preview", PREVIEWS)
@pytest.mark.parametrize("destination", NAVIGATIONS)
def test_a_page_and_an_api_that_are_asked_for_count(world, preview, destination):
    headers = {"Sec-Fetch-Dest": destination} if destination else {}
    world.stranger.get(preview.format(world.code), headers=headers)
    assert counts(world) == {"opens": 1, "visitors": 1}


@pytest.mark.parametrize("destination", NO_NAVIGATIONS)
def test_an_image_or_a_frame_that_points_here_counts_and_remembers_nothing(
    world, destination
):
    """It is somebody else's page that asks, and nobody who looks."""
    headers = {"Sec-Fetch-Dest": destination, "Sec-Fetch-Site": "cross-site"}
    before = world.owner.get("/api/referrals").json
    for path in (world.link, f"/api{world.link.replace('?', '/preview?')}"):
        answer = world.stranger.get(path, headers=headers)
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
    for path in (f"/api/shared/{world.code}", f"/shared/{world.code}/play"):
        assert world.guest.get(path, headers=headers).status_code == 200
    front = world.stranger.get(f"/?ref={world.referral_code}", headers=headers)
    assert "Set-Cookie" not in front.headers
    assert counts(world) == {}
    assert world.owner.get("/api/referrals").json == before


# Views: a message from a page that was shown


def test_a_page_that_was_shown_is_a_view_once_per_visitor_and_day(world):
    for _ in range(3):
        answer = visit(world.stranger, f"/shared/{world.code}")
        assert (answer.status_code, answer.data) == (204, b"")
    assert counts(world) == {"opens": 3, "views": 1, "visitors": 1}
    visit(world.stranger, f"/shared/{world.code}", agent=IPHONE)
    assert counts(world) == {"opens": 4, "views": 1, "visitors": 2}


def test_each_visitor_is_a_view_of_its_own(world):
    for agent in (PERSON, IPHONE):
        page = world.stranger.get(f"/shared/{world.code}", agent=agent).text
        show(world.stranger, page, agent=agent)
    assert counts(world) == {"opens": 2, "views": 2, "visitors": 2}


TOKENS = [None, "", "x", "0" * 32, 1, [], {}, "\ud800", "é", "x" * 9000]


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: repr(token)[:9])
def test_without_a_valid_token_nothing_is_counted(world, token):
    path = f"/api/shared/{world.code}/seen"
    answer = world.stranger.post(path, json={"token": token})
    assert (answer.status_code, answer.data) == (204, b"")
    assert counts(world) == {}


BODIES = [b"", b"{", b"[]", b"null", b"\xff", b'{"token"}', b"[" * 5000, b"1", b'"x"']


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body)[:9])
def test_whatever_the_message_holds_it_is_answered_and_nothing_counted(world, body):
    for kind in ("application/json", "text/plain", "", "application/octet-stream"):
        answer = world.stranger.post(
            f"/api/shared/{world.code}/seen", data=body, content_type=kind
        )
        assert (answer.status_code, answer.data) == (204, b"")
    assert counts(world) == {}


@pytest.mark.parametrize("kind", ["application/json", "text/plain;charset=UTF-8"])
def test_a_message_counts_as_fetch_and_as_sendbeacon_send_it(world, kind):
    path, token = message(world.stranger.get(f"/shared/{world.code}").text)
    body = f'{{"token": "{token}"}}'
    assert world.stranger.post(path, data=body, content_type=kind).status_code == 204
    assert counts(world)["views"] == 1


def test_a_token_is_for_its_link_alone(world):
    other = world.owner.share(world.session_id, label="x")["shareCode"]
    _, token = message(world.stranger.get(f"/shared/{other}").text)
    world.stranger.post(f"/api/shared/{world.code}/seen", json={"token": token})
    assert "views" not in counts(world)


def test_a_token_is_good_until_the_next_day_is_over(clock, app):
    world = World.within(app)
    seen = f"/api/shared/{world.code}/seen"
    for seconds, views in ((0, 1), (DAY, 1), (2 * DAY, 0)):
        clock(0)
        _, token = message(world.stranger.get(f"/shared/{world.code}").text)
        clock(seconds)
        before = world.stats()["views"]
        assert world.newcomer().post(seen, json={"token": token}).status_code == 204
        assert world.stats()["views"] - before == views


def test_a_token_is_good_where_clocks_differ_by_a_minute_around_midnight(clock, app):
    """The page was served by a host that is ahead, its message comes to one behind."""
    world = World.within(app)
    clock(30)
    page = world.stranger.get(f"/shared/{world.code}").text
    clock(-30)
    assert show(world.stranger, page).status_code == 204
    assert world.stats()["views"] == 1


def test_a_token_is_good_where_redis_lost_the_key_of_the_day(app):
    """As where another Redis took over before it had the key."""
    world = World.within(app)
    page = world.stranger.get(f"/shared/{world.code}").text
    world.store.execute("DEL", f"visitors:key:{today()}")
    assert show(world.stranger, page).status_code == 204
    assert world.stats()["views"] == 1


@pytest.mark.parametrize("token", ["", "0" * 32])
def test_a_message_makes_no_key_for_a_day_that_had_none(app, token):
    """It would live for two more days, and nobody's page bears it."""
    world = World.within(app)
    path = f"/api/shared/{world.code}/seen"
    assert world.stranger.post(path, json={"token": token}).status_code == 204
    assert world.store.execute("KEYS", "visitors:key:*") == []


@pytest.mark.parametrize("agent", [BOT, "", "curl/8.5.0"])
def test_a_machine_that_sends_the_message_is_no_view(world, agent):
    page = world.stranger.get(f"/shared/{world.code}").text
    assert show(world.stranger, page, agent=agent).status_code == 204
    assert "views" not in counts(world)


def test_an_owner_who_sends_a_message_is_no_view(world):
    page = world.stranger.get(f"/shared/{world.code}").text
    assert show(world.owner, page).status_code == 204
    assert "views" not in counts(world)


def test_a_page_carries_a_token_when_it_may_come_to_be_shown(world):
    page = f"/shared/{world.code}"
    seen = f"/api/shared/{world.code}/seen"
    for headers in ({}, AHEAD, {"X-Moz": "prefetch"}):
        sent = message(world.stranger.get(page, headers=headers).text)
        assert sent[0].partition("?")[0] == seen
        assert sent[1]
    for answer in (
        world.stranger.get(page, agent=BOT),
        world.stranger.get(page, headers={"Sec-Fetch-Dest": "image"}),
        world.owner.get(page),
        world.owner.get(page, headers=AHEAD),
    ):
        assert message(answer.text) is None


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_a_message_is_a_post(world, method):
    answer = world.stranger.open(f"/api/shared/{world.code}/seen", method=method)
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert counts(world) == {}


def test_a_message_of_another_site_is_refused(world):
    page = world.stranger.get(f"/shared/{world.code}").text
    for headers in (
        {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}
    ):  # fmt: skip
        answer = show(world.stranger, page, headers=headers)
        assert (answer.status_code, answer.json["code"]) == (403, "CROSS_SITE")
    assert "views" not in counts(world)


# Pages that are fetched ahead, and shown later


def test_a_page_fetched_ahead_and_then_shown_counts_there_and_then(world):
    ahead = world.stranger.get(world.link, headers=AHEAD)
    assert "Set-Cookie" not in ahead.headers
    assert counts(world) == {"prefetch": 1}
    shown = show(world.stranger, ahead.text)
    assert counts(world) == {"prefetch": 1, "opens": 1, "views": 1, "visitors": 1}
    assert world.referral_code in shown.headers["Set-Cookie"]


def test_it_is_an_open_each_time_for_who_has_been_here_before_as_well(world):
    """Also for a second person in the same network with the same telephone."""
    visit(world.stranger, world.link)
    for _ in range(2):
        person = world.newcomer()
        shown = visit(person, world.link, headers=AHEAD)
        assert world.referral_code in shown.headers["Set-Cookie"]
    assert counts(world) == {"prefetch": 2, "opens": 3, "views": 1, "visitors": 1}


def test_what_was_fetched_ahead_and_never_shown_is_no_open(world):
    for _ in range(3):
        world.stranger.get(world.link, headers=AHEAD)
    assert counts(world) == {"prefetch": 3}


def test_a_page_fetched_ahead_by_the_owner_or_a_machine_never_counts(world):
    page = world.stranger.get(world.link, headers=AHEAD).text
    for answer in (show(world.owner, page), show(world.stranger, page, agent=BOT)):
        assert answer.status_code == 204
        assert "Set-Cookie" not in answer.headers
    assert counts(world) == {"prefetch": 1}


# Plays


def test_a_play_is_a_recipient_fetching_the_full_session(world):
    assert world.guest.get(f"/api/shared/{world.code}").status_code == 200
    assert counts(world) == {"plays": 1}


def test_a_visit_to_the_player_is_one_play(world):
    assert world.guest.get(f"/shared/{world.code}/play").status_code == 200
    for query in ("limit=2", "offset=2"):
        path = f"/api/shared/media/{world.code}?{query}"
        assert world.guest.get(path).status_code == 200
    assert counts(world) == {"plays": 1}


def test_reload_back_and_try_again_are_no_new_play_within_30_minutes(clock, app):
    world = World.within(app)
    labelled = world.owner.share(world.session_id, label="x")["shareCode"]
    other = world.newcomer()
    other.sign_up("other@example.com")
    for seconds, person, code, plays in (
        (0, world.guest, world.code, 1), (1, world.guest, world.code, 1),
        (2, world.guest, labelled, 1), (3, other, world.code, 2),
        (1799, world.guest, world.code, 2), (1800, world.guest, world.code, 3),
        (3599, world.guest, world.code, 3), (3600, world.guest, labelled, 4),
    ):  # fmt: skip
        clock(seconds)
        for path in (f"/shared/{code}/play", f"/api/shared/{code}"):
            assert person.get(path).status_code == 200
        assert world.stats()["plays"] == plays, seconds


def test_what_is_no_play(world):
    code = world.code
    for person in (world.guest, world.owner, world.stranger):
        assert person.get(f"/shared/{code}/play", agent=BOT).status_code in (200, 303)
    assert world.owner.get(f"/api/shared/{code}").status_code == 200
    assert world.guest.open(f"/api/shared/{code}", method="HEAD").status_code == 200
    assert world.guest.open(f"/shared/{code}/play", method="HEAD").status_code == 200
    assert world.guest.get(f"/api/shared/media/{code}").status_code == 200
    assert world.guest.get(f"/api/shared/{code}", headers=AHEAD).status_code == 200
    assert world.guest.get(f"/shared/{code}/play", headers=AHEAD).status_code == 200
    assert world.stranger.get(f"/api/shared/{code}").status_code == 401
    assert counts(world) == {}


@pytest.mark.parametrize("agent", ["python-requests/2.34.2", "curl/8.5.0", ""])
def test_a_recipients_script_plays_as_well(world, agent):
    """Only opens leave machines out; who plays is signed in."""
    answer = world.guest.get(f"/api/shared/{world.code}", agent=agent)
    assert answer.status_code == 200
    assert counts(world) == {"plays": 1}


def test_only_the_account_a_link_is_for_makes_plays(world):
    given = {"userId": world.guest.user["id"]}
    bound = world.owner.share(world.session_id, **given)["shareCode"]
    world.stranger.sign_up(f"other{world.session_id}@example.com")
    assert world.stranger.get(f"/api/shared/{bound}").status_code == 403
    assert world.owner.get(f"/api/shared/{bound}").status_code == 200
    assert counts(world) == {}
    assert world.guest.get(f"/api/shared/{bound}").status_code == 200
    assert counts(world) == {"plays": 1}


# Together


def test_every_link_of_a_session_counts_for_the_session(world):
    bodies = ({}, {"userId": world.guest.user["id"]}, {"label": "x"},
              {"email": "x@example.com"})  # fmt: skip
    for body in bodies:
        code = world.owner.share(world.session_id, **body)["shareCode"]
        visit(world.stranger, f"/shared/{code}")
    assert counts(world) == {"opens": 4, "views": 1, "visitors": 1}


def test_a_paused_link_counts_nothing_and_takes_nothing_away(world):
    visit(world.stranger, world.link)
    before, clicks = counts(world), world.owner.get("/api/referrals").json
    world.owner.patch(f"/api/sessions/{world.session_id}", json={"isPublic": False})
    path, token = f"/api/shared/{world.code}/seen", "x"
    for _ in range(2):
        answers = [
            world.stranger.get(world.link),
            world.newcomer().get(world.link, agent=IPHONE),
            world.stranger.open(world.link, method="HEAD"),
            world.stranger.get(world.link, agent=BOT),
            world.stranger.get(world.link, headers=AHEAD),
            world.stranger.get(f"/api/shared/{world.code}/preview"),
            world.stranger.post(path, json={"token": token}),
            world.guest.get(f"/api/shared/{world.code}"),
        ]
        assert {answer.status_code for answer in answers} == {404}
        assert not any("joip_ref" in str(answer.headers) for answer in answers)
    assert counts(world) == before
    assert world.owner.get("/api/referrals").json == clicks
    world.owner.share(world.session_id)
    world.newcomer().get(world.link, agent=IPHONE)
    assert counts(world) == {"opens": 2, "views": 1, "visitors": 2}
    now = world.owner.get("/api/referrals").json["totals"]
    assert now["clicks"] == clicks["totals"]["clicks"] + 1


COUNTS = {
    "an open": lambda store, code, _: store.open_shared(code, Visit("", "")),
    "a bot": lambda store, code, _: store.open_shared(code, Visit("", "bot")),
    "a play": lambda store, code, guest: store.play_shared(code, guest, counted=True),
    "a view": lambda store, code, _: store.seen(code, Visit("", "", b"x"), True),
}


@pytest.mark.parametrize("count", COUNTS.values(), ids=COUNTS)
@pytest.mark.parametrize("end", ["delete", "revoke"])
def test_nothing_counts_for_a_link_that_is_gone(world, count, end):
    """By a process that knew the code before, so that no look-up stops it."""
    store, guest = world.store, world.guest.user["id"]
    count(store, world.code, guest)
    path = f"/api/sessions/{world.session_id}"
    world.owner.delete(path if end == "delete" else f"{path}/shares/{world.code}")
    before = sorted(store.execute("KEYS", "*"))
    with pytest.raises(NotShared):
        count(store, world.code, guest)
    assert sorted(store.execute("KEYS", "*")) == before


# Days, with a clock that the test sets.


@pytest.fixture
def days(clock, settings, redis):
    """An app on an emptied Redis, with accounts made straight in the store."""
    app = joip_share.create_app(settings, redis)
    app.owner = app.store.register("owner@example.com", "", "-")
    app.guest = app.store.register("guest@example.com", "", "-")
    app.session = app.store.create_session(app.owner.id, NewSession(title="A walk")).id
    app.code = app.store.share(app.session, app.owner.id)
    return app


def count_each(app):
    visit = Visit(reason="", visitor=b"somebody", host="example.org")
    app.store.open_shared(app.code, visit, app.owner.referral_code)
    app.store.play_shared(app.code, app.guest.id, counted=True)
    app.store.seen(app.code, visit, fetched_ahead=False)
    app.store.credit_signup(app.owner.id, app.code)


def as_dict(record):
    return {name: getattr(record, name) for name in record.__struct_fields__}


def test_a_day_ends_at_midnight_utc(clock, days):
    for moment in (-1801, 0):
        clock(moment)
        count_each(days)
    told = days.store.session_stats(days.session, days.owner.id, 2)
    once = dict.fromkeys(("opens", "views", "visitors", "plays", "signups"), 1)
    assert [as_dict(day) for day in told.daily] == [
        once | {"date": "2026-11-24"}, once | {"date": "2026-11-25"}
    ]  # fmt: skip
    assert as_dict(told.totals) == dict.fromkeys(once, 2)


def test_two_clocks_that_differ_at_midnight_count_nobody_twice(clock, days):
    """Every count keeps who was counted on its own day, whichever day came last."""
    people = [Visit(reason="", visitor=b"%d" % n) for n in range(9)]
    for moment, person in zip((-9, -8, -7, 0, -6, 1, -5, 2, -4), people, strict=True):
        clock(moment)
        days.store.open_shared(days.code, person, days.owner.referral_code)
    told = days.store.session_stats(days.session, days.owner.id, 2)
    assert (told.totals.visitors, told.links[0].visitors) == (9, 9)
    clicks = days.store.referral_report(days.owner.id, 1, -1).counts
    assert clicks["clicks:session_share"] == 9


def test_a_play_counts_again_after_a_clock_that_was_ahead(clock, days):
    for seconds, plays in ((30 * DAY, 1), (0, 2), (1799, 2), (1800, 3)):
        clock(seconds)
        days.store.play_shared(days.code, days.guest.id, counted=True)
        told = days.store.session_stats(days.session, days.owner.id, 1)
        assert told.totals.plays == plays, seconds


def test_days_are_kept_for_400_days_and_totals_for_good(clock, days):
    for day in (0, 1, 399, 400, 401):
        clock(day * DAY)
        count_each(days)
    key = days.store.keys.session(days.session, "daily")
    fields = {field.decode() for field in days.store.execute("HKEYS", key)}
    kept = {"2026-11-26", "2027-12-29", "2027-12-30", "2027-12-31"}
    assert {field.partition(":")[0] for field in fields} == kept
    told = days.store.session_stats(days.session, days.owner.id, 365)
    assert set(as_dict(told.totals).values()) == {5}
    (link,) = told.links
    assert (link.opens, link.visitors, link.plays, link.signups) == (5, 5, 5, 5)


def test_a_deletion_takes_the_visitors_of_other_days_too(clock, days):
    for day in (-2, -1, 0):
        clock(day * DAY)
        count_each(days)
    assert len(days.store.execute("KEYS", "session:*:visitors:*")) >= 2
    days.store.delete_session(days.session, days.owner.id)
    assert mentions(days.store.execute, days.code, f"{{{days.session}}}") == []


# On a real service and a real Redis.


def live_stats(world):
    path = f"/api/sessions/{world.session_id}/stats?days=2"
    return world.owner.get(path).json()


def test_300_opens_and_50_messages_by_16_clients_at_once_are_exact(live, live_world):
    world = live_world
    _, token = message(world.stranger.get(f"/shared/{world.code}").text)
    seen = f"/api/shared/{world.code}/seen"
    start = threading.Barrier(16)

    def client(number):
        browser = Client(live.url)
        start.wait()
        for i in range(number, 350, 16):
            answer = (
                browser.get(world.link)
                if i < 300
                else browser.post(seen, json={"token": token})
            )
            yield answer.status_code

    with ThreadPoolExecutor(16) as pool:
        answers = pool.map(lambda number: list(client(number)), range(16))
        answers = sorted(itertools.chain.from_iterable(answers))
    assert answers == [200] * 300 + [204] * 50
    told = live_stats(world)
    exact = {"opens": 301, "views": 1, "visitors": 1, "plays": 0, "signups": 0}
    assert told["totals"] == exact
    for counter, value in exact.items():
        assert sum(day[counter] for day in told["daily"]) == value
    (link,) = told["links"]
    assert (link["opens"], link["visitors"]) == (301, 1)
    clicks = world.owner.get("/api/referrals").json()["bySource"]["session_share"]
    assert clicks == {"clicks": 1, "signups": 0}


def test_plays_at_once_by_one_person_are_one_and_by_eight_are_eight(live, live_world):
    people = [live_world.guest, *(live_world.newcomer() for _ in range(3))]
    for person in people[1:]:
        person.sign_up()
    clients = []
    for person in people * 4:
        clients.append(Client(live.url))
        clients[-1].cookies.update(person.cookies)
    with ThreadPoolExecutor(16) as pool:
        path = f"/api/shared/{live_world.code}"
        answers = pool.map(lambda client: client.get(path).status_code, clients)
        assert set(answers) == {200}
    assert live_stats(live_world)["totals"]["plays"] == 4


@pytest.mark.parametrize("signed_in", [False, True])
@pytest.mark.parametrize(
    ("path", "more"),
    [("/api/shared/{}/preview", 1), ("/shared/{}", 2), ("/shared/{}?r={}", 2)],
)
def test_one_round_trip_counts_and_fetches(live, live_world, path, signed_in, more):
    """And one more reads the login, to leave the owner out; a page names who it is."""
    trips = 1 + signed_in * more
    path = path.format(live_world.code, live_world.referral_code)
    visitor = live_world.newcomer()
    if signed_in:
        visitor.sign_up()
    assert visitor.get(path).status_code == 200
    before = live.redis.info("stats")["total_reads_processed"]
    for _ in range(60):
        visitor.get(path)
    after = live.redis.info("stats")["total_reads_processed"]
    # So is the second INFO, and what the connections of eight threads say first.
    assert after - before <= 60 * trips + 1 + 8 * 4
    assert live_stats(live_world)["totals"]["opens"] == 61


def test_scripts_that_redis_forgot_count_once(live, live_world):
    visitor = live_world.newcomer()
    live.redis.script_flush()
    page = visitor.get(live_world.link).text
    live.redis.script_flush()
    show(visitor, page)
    totals = live_stats(live_world)["totals"]
    assert (totals["opens"], totals["views"]) == (1, 1)
    assert live_world.owner.get("/api/referrals").json()["totals"]["clicks"] == 1


def test_a_session_deleted_under_fire_stays_deleted(live, live_world):
    """With 80 requests under way; then no key carries its id or its code."""
    owner, guest, referral = (
        live_world.owner,
        live_world.guest,
        live_world.referral_code,
    )

    def request(method, path, who, body=None):
        headers, cookies = {"User-Agent": PERSON}, dict(who.cookies) if who else {}
        url = live.url + path
        answer = requests.request(
            method, url, headers=headers, cookies=cookies, json=body, timeout=30
        )
        return answer.status_code

    seen = set()
    with ThreadPoolExecutor(16) as pool:
        for _ in range(5):
            session_id = owner.make_session()
            code = owner.share(session_id)
            page = live_world.newcomer().get(f"/shared/{code}", headers=AHEAD).text
            told, token = message(page)
            kinds = [
                ("GET", f"/shared/{code}?r={referral}", None),
                ("GET", f"/api/shared/{code}/preview", guest),
                ("POST", told, None, {"token": token}),
                ("GET", f"/api/shared/{code}", guest),
                ("POST", f"/api/sessions/{session_id}/share", owner),
                ("POST", f"/api/sessions/{session_id}/share", owner, {"label": "x"}),
            ]
            fired = [pool.submit(request, *kinds[i % 6]) for i in range(80)]
            fired[20].result()
            answer = owner.delete(f"/api/sessions/{session_id}")
            assert answer.status_code == 204
            seen |= {answer.result() for answer in fired}
            execute = live.redis.execute_command
            assert mentions(execute, code, f"{{{session_id}}}") == []
            index = f"user:{{{owner.user['id']}}}:sessions"
            assert live.redis.zscore(index, session_id) is None
    assert seen <= {200, 204, 404}
    assert 404 in seen
