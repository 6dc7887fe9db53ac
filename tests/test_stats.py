"""The owner's numbers: days, links, referrers, CSV."""

import csv
import io
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clock import today
from conftest import World
from records import Visit
from shown import visit

DAY = 86_400
COUNTERS = ["opens", "views", "visitors", "plays", "signups"]
LINK_COUNTERS = ["opens", "visitors", "plays", "signups"]


@pytest.fixture
def world(town):
    """The same people, with a session that nobody has seen, and its numbers' path."""
    world = town.anew()
    world.path = f"/api/sessions/{world.session_id}/stats"
    return world


def told(world, query=""):
    answer = world.owner.get(world.path + query)
    assert answer.status_code == 200, answer.text
    return answer.json


def come_from(world, referer):
    answer = world.stranger.get(
        f"/api/shared/{world.code}/preview", headers={"Referer": referer}
    )
    assert answer.status_code == 200


def referrers(world):
    return {row["host"]: row["opens"] for row in told(world)["referrers"]}


def test_stats_of_a_session_that_nobody_saw_are_zeros(world):
    stats = told(world)
    assert set(stats) == {"totals", "excluded", "daily", "referrers", "links"}
    assert stats["totals"] == dict.fromkeys(COUNTERS, 0)
    assert stats["excluded"] == dict.fromkeys(["head", "bot", "prefetch", "owner"], 0)
    assert stats["referrers"] == []
    assert len(stats["daily"]) == 30
    for day in stats["daily"]:
        assert set(day) == {"date", *COUNTERS}
        assert [day[counter] for counter in COUNTERS] == [0] * 5
    (link,) = stats["links"]
    assert link["shareCode"] == world.code
    assert [link[counter] for counter in LINK_COUNTERS] == [0] * 4


def test_stats_of_a_session_that_was_never_shared_have_no_links(world):
    world.path = f"/api/sessions/{world.owner.make_session()}/stats"
    assert told(world)["links"] == []


@pytest.mark.parametrize("days", [1, 2, 30, 364, 365])
def test_days_are_whole_and_oldest_first(world, days):
    world.stranger.get(f"/shared/{world.code}")
    daily = told(world, f"?days={days}")["daily"]
    expected = [today(ago) for ago in reversed(range(days))]
    assert [day["date"] for day in daily] == expected
    assert [day["opens"] for day in daily] == [0] * (days - 1) + [1]


BAD_DAYS = ["0", "366", "-1", "1.5", "1e2", "", "x", "+5", "%20", "%D9%A3", "9" * 30]


@pytest.mark.parametrize("kind", ["", ".csv"])
@pytest.mark.parametrize("days", BAD_DAYS)
def test_other_days_are_refused(world, kind, days):
    answer = world.owner.get(f"{world.path}{kind}?days={days}")
    assert answer.status_code == 400
    assert answer.json["details"][0]["field"] == "days"


@pytest.mark.parametrize("kind", ["", ".csv", ".csv?by=link"])
def test_stats_are_the_owners_alone(world, kind):
    path = world.path + kind
    assert world.stranger.get(path).status_code == 401
    assert world.guest.get(path).status_code == 403
    assert world.owner.get(f"/api/sessions/0/stats{kind}").status_code == 400
    assert world.owner.get(f"/api/sessions/999999/stats{kind}").status_code == 404
    world.owner.delete(f"/api/sessions/{world.session_id}")
    assert world.owner.get(path).status_code == 404


def test_stats_of_a_paused_session_stay(world):
    world.stranger.get(f"/shared/{world.code}")
    world.owner.patch(f"/api/sessions/{world.session_id}", json={"isPublic": False})
    assert told(world)["totals"]["opens"] == 1
    assert [link["opens"] for link in told(world)["links"]] == [1]


def test_each_link_is_told_with_its_audience_and_the_general_one_first(world):
    newsletter = world.owner.share(world.session_id, label="news")["shareCode"]
    bob = world.owner.share(world.session_id, email="bob@example.com")["shareCode"]
    for code in (newsletter, newsletter, bob):
        visit(world.stranger, f"/shared/{code}")
    links = told(world)["links"]
    assert links[0]["shareCode"] == world.code
    rows = {(link["label"], link["email"]): link["opens"] for link in links}
    assert rows == {
        (None, None): 0, ("news", None): 2, (None, "bob@example.com"): 1
    }  # fmt: skip
    world.owner.delete(f"/api/sessions/{world.session_id}/shares/{newsletter}")
    assert {link["shareCode"] for link in told(world)["links"]} == {world.code, bob}
    assert told(world)["totals"]["opens"] == 3


# CSV


def table(world, query):
    answer = world.owner.get(f"{world.path}.csv{query}")
    assert answer.status_code == 200
    assert answer.mimetype == "text/csv"
    assert "attachment" in answer.headers["Content-Disposition"]
    *lines, end = answer.text.split("\r\n")
    assert end == ""
    assert "\n" not in "".join(lines)
    return lines[0], list(csv.DictReader(io.StringIO(answer.text, newline="")))


def test_csv_is_the_daily_series_by_rfc_4180(world):
    world.stranger.get(f"/shared/{world.code}")
    head, rows = table(world, "?days=7")
    assert head == "date,opens,views,visitors,plays,signups"
    daily = told(world, "?days=7")["daily"]
    assert rows == [{name: str(value) for name, value in day.items()} for day in daily]


def test_csv_by_link_has_a_row_for_each(world):
    world.owner.share(world.session_id, label='He said "x", twice')
    world.owner.share(world.session_id, userId=world.guest.user["id"])
    world.stranger.get(f"/shared/{world.code}")
    head, rows = table(world, "?by=link")
    names = "shareCode,label,email,userId,createdAt,opens,visitors,plays,signups"
    assert head == names
    links = told(world)["links"]
    for row, link in zip(rows, links, strict=True):
        assert row == {
            name: "" if link[name] is None else str(link[name])
            for name in names.split(",")
        }


@pytest.mark.parametrize("label", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_no_spreadsheet_takes_a_label_for_a_formula(world, label):
    """OWASP, CSV injection."""
    world.owner.share(world.session_id, label=label)
    _, rows = table(world, "?by=link")
    assert [row["label"] for row in rows] == ["", f"'{label}"]


def test_totals_of_visitors_are_the_sum_of_the_days(clock, app):
    clock(-DAY)
    world = World.within(app)
    for day in range(5):
        clock(day * DAY)
        for n in range(day + 1):
            seen = Visit(reason="", visitor=b"%d" % n)
            world.store.open_shared(world.code, seen)
    path = f"/api/sessions/{world.session_id}/stats?days=5"
    world.owner.post(
        "/api/login", json={"email": "owner@example.com", "password": "long enough"}
    )
    stats = world.owner.get(path).json
    assert [day["visitors"] for day in stats["daily"]] == [1, 2, 3, 4, 5]
    assert stats["totals"]["visitors"] == 15
    assert [link["visitors"] for link in stats["links"]] == [15]


# Referrers

HOSTS = [
    ("https://example.org/a/page?secret=1#part", "example.org"),
    ("https://WWW.Example.ORG/", "www.example.org"),
    ("https://example.org:8443/", "example.org"),
    ("https://user:password@example.org/", "example.org"),
    ("https://example.org./", "example.org"),
    ("https://xn--bcher-kva.example/", "xn--bcher-kva.example"),
    ("android-app://com.google.android.gm/", "com.google.android.gm"),
    ("http://[2001:db8::1]:80/", "2001:db8::1"),
]


@pytest.mark.parametrize(("referer", "host"), HOSTS)
def test_only_the_host_of_a_referrer_is_kept_in_lower_case(world, referer, host):
    come_from(world, referer)
    assert referrers(world) == {host: 1}


NONE = [
    "", "http://127.0.0.1:8000/sessions/1", "http://127.0.0.1/", "HTTP://127.0.0.1:8000",
    "about:blank", "javascript:alert(1)", "file:///etc/passwd", "data:text/html,x",
    "example.org", "//example.org/", "http://", "http:///path", "https://[bad",
    "https://" + "a" * 254 + ".org/", "https://a b.org/", "https://<script>/",
    "ftp://example.org/", "https://exa\xefmple.org/", "x" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("referer", NONE)
def test_what_names_no_other_host_is_no_referrer(world, referer):
    come_from(world, referer)
    assert referrers(world) == {}
    assert told(world)["totals"]["opens"] == 1


@settings(
    max_examples=25, derandomize=True, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    referer=st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"))
    | st.from_regex(
        r"\Ahttps?://[^\r\n\0]{0,80}\Z", alphabet=st.characters(codec="latin-1")
    )
)
def test_no_referer_breaks_a_preview_or_is_kept_whole(world, referer):
    come_from(world, referer)
    for host in referrers(world):
        assert re.fullmatch(r"[a-z0-9_.:-]{1,253}", host)


def test_100_hosts_are_kept_the_rest_is_other_and_20_are_told(world):
    for n in range(105):
        come_from(world, f"https://host{n}.example/")
    for n in range(18):
        come_from(world, f"https://host{n}.example/")
    come_from(world, "https://late.example/")
    key = world.store.keys.session(world.session_id, "referrers")
    kept = [int(opens) for opens in world.store.execute("HVALS", key)]
    assert len(kept) == 101
    assert sum(kept) == 124
    rows = told(world)["referrers"]
    assert len(rows) == 20
    assert rows[0] == {"host": "other", "opens": 6}
    assert [row["opens"] for row in rows[1:19]] == [2] * 18
    assert {row["host"] for row in rows[1:19]} == {
        f"host{n}.example" for n in range(18)
    }
    assert rows[19]["opens"] == 1


def test_made_up_hosts_do_not_fill_the_hundred_for_good(clock, app):
    """The fifty largest outlast the day, and there is room for new ones again."""
    world = World.within(app)
    path = f"/api/shared/{world.code}/preview"

    def come(host, times=1):
        for _ in range(times):
            world.stranger.get(path, headers={"Referer": f"https://{host}/"})

    clock(0)
    come("real.example", 3)
    for n in range(120):
        come(f"spam{n}.example")
    clock(DAY)
    come("late.example", 2)
    stats = world.owner.get(f"/api/sessions/{world.session_id}/stats?days=3").json
    rows = {row["host"]: row["opens"] for row in stats["referrers"]}
    assert rows["real.example"] == 3
    assert rows["late.example"] == 2
    key = world.store.keys.session(world.session_id, "referrers")
    kept = [int(opens) for opens in world.store.execute("HVALS", key)]
    assert len(kept) <= 101
    assert sum(kept) == 125


def test_only_opens_count_for_a_referrer(world):
    path, headers = f"/shared/{world.code}", {"Referer": "https://example.org/"}
    world.stranger.get(path, headers=headers, agent="curl/8.5.0")
    world.stranger.open(path, "HEAD", headers=headers)
    world.stranger.get(path, headers=headers | {"Sec-Purpose": "prefetch"})
    world.stranger.get(path, headers=headers | {"Sec-Fetch-Dest": "image"})
    world.owner.get(path, headers=headers)
    world.stranger.post(f"/api/shared/{world.code}/seen", headers=headers)
    world.guest.get(f"/api/shared/{world.code}", headers=headers)
    assert referrers(world) == {}
    world.stranger.get(path, headers=headers)
    assert referrers(world) == {"example.org": 1}


def test_nobody_is_said_to_have_come_only_where_nothing_was_counted(world):
    """By "Shared with you", or by the player's address, one plays and opens nothing."""
    page = f"/sessions/{world.session_id}"
    assert "Nobody has opened" in world.owner.get(page).text
    world.guest.get(f"/shared/{world.code}/play")
    assert told(world)["totals"]["plays"] == 1
    assert "Nobody has opened" not in world.owner.get(page).text
