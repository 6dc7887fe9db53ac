"""The owner's numbers: days, referrers, CSV."""

import csv
import io
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import joip_share
from conftest import Visitor

DAY = 86_400
COUNTERS = ["opens", "views", "visitors", "plays", "signups"]


@pytest.fixture
def owner(place):
    """An owner with a new shared session."""
    owner = place.owner
    owner.session = owner.make_session()
    owner.code = owner.share(owner.session)["shareCode"]
    owner.stats = f"/api/sessions/{owner.session}/stats"
    return owner


@pytest.fixture
def visitor(place):
    """A stranger with a browser."""
    return Visitor(place)


def come_from(visitor, owner, referer):
    answer = visitor.get(
        f"/api/shared/{owner.code}/preview", headers={"Referer": referer}
    )
    assert answer.status_code == 200


def referrers(owner):
    return {
        row["host"]: row["opens"] for row in owner.get(owner.stats).json["referrers"]
    }


def test_stats_of_a_session_that_nobody_saw_are_zeros(owner):
    answer = owner.get(owner.stats)
    assert answer.status_code == 200
    told = answer.json
    assert set(told) == {"totals", "excluded", "daily", "referrers"}
    assert told["totals"] == dict.fromkeys(COUNTERS, 0)
    assert told["excluded"] == dict.fromkeys(["head", "bot", "prefetch", "owner"], 0)
    assert told["referrers"] == []
    assert len(told["daily"]) == 30
    for day in told["daily"]:
        assert [day[counter] for counter in COUNTERS] == [0] * 5


@pytest.mark.parametrize("days", [1, 2, 30, 364, 365])
def test_days_are_whole_and_oldest_first(owner, visitor, days):
    visitor.get(f"/shared/{owner.code}")
    daily = owner.get(f"{owner.stats}?days={days}").json["daily"]
    expected = [joip_share.today(ago) for ago in reversed(range(days))]
    assert [day["date"] for day in daily] == expected
    assert [day["opens"] for day in daily] == [0] * (days - 1) + [1]


BAD_DAYS = ["0", "366", "-1", "1.5", "1e2", "", "x", "+5", "%20", "%D9%A3", "9" * 30]


@pytest.mark.parametrize("kind", ["", ".csv"])
@pytest.mark.parametrize("days", BAD_DAYS)
def test_other_days_are_refused(owner, kind, days):
    answer = owner.get(f"{owner.stats}{kind}?days={days}")
    assert answer.status_code == 400
    assert answer.json["details"][0]["field"] == "days"


@pytest.mark.parametrize("kind", ["", ".csv"])
def test_stats_are_the_owners_alone(place, owner, visitor, kind):
    path = owner.stats + kind
    assert visitor.get(path).status_code == 401
    assert place.guest.get(path).status_code == 403
    assert owner.get(f"/api/sessions/0/stats{kind}").status_code == 400
    assert owner.get(f"/api/sessions/999999/stats{kind}").status_code == 404
    owner.delete(f"/api/sessions/{owner.session}")
    assert owner.get(path).status_code == 404


def test_stats_of_a_paused_session_stay(owner, visitor):
    visitor.get(f"/shared/{owner.code}")
    owner.patch(f"/api/sessions/{owner.session}", json={"isPublic": False})
    assert owner.get(owner.stats).json["totals"]["opens"] == 1


def test_csv_is_the_daily_series_by_rfc_4180(owner, visitor):
    visitor.get(f"/shared/{owner.code}")
    answer = owner.get(f"{owner.stats}.csv?days=7")
    assert answer.status_code == 200
    assert answer.mimetype == "text/csv"
    assert "attachment" in answer.headers["Content-Disposition"]
    lines = answer.text.split("\r\n")
    assert lines[0] == "date,opens,views,visitors,plays,signups"
    assert lines.pop() == ""
    assert "\n" not in "".join(lines)
    daily = owner.get(f"{owner.stats}?days=7").json["daily"]
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert rows == [{name: str(value) for name, value in day.items()} for day in daily]


def test_totals_of_visitors_are_the_sum_of_the_days(clock, app):
    clock(-DAY)
    store = app.store
    owner = store.register("owner@example.com", "", "-")
    session = store.create_session(owner, joip_share.NewSession("A walk"))
    code = store.share(session.id, owner.id)
    for day in range(5):
        clock(day * DAY)
        for n in range(day + 1):
            visit = joip_share.Visit(reason="", visitor=b"%d" % n)
            store.open_shared(code, visit)
    told = store.session_stats(session.id, owner.id, 5)
    assert [day["visitors"] for day in told.daily] == [1, 2, 3, 4, 5]
    assert told.totals["visitors"] == 15


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
def test_only_the_host_of_a_referrer_is_kept_in_lower_case(
    owner, visitor, referer, host
):
    come_from(visitor, owner, referer)
    assert referrers(owner) == {host: 1}


NONE = [
    "", "http://127.0.0.1:8000/sessions/1", "http://127.0.0.1/", "HTTP://127.0.0.1:8000",
    "about:blank", "javascript:alert(1)", "file:///etc/passwd", "data:text/html,x",
    "example.org", "//example.org/", "http://", "http:///path", "https://[bad",
    "https://" + "a" * 254 + ".org/", "https://a b.org/", "https://<script>/",
    "ftp://example.org/", "https://exa\xefmple.org/", "x" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("referer", NONE)
def test_what_names_no_other_host_is_no_referrer(owner, visitor, referer):
    come_from(visitor, owner, referer)
    assert referrers(owner) == {}
    assert owner.get(owner.stats).json["totals"]["opens"] == 1


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
def test_no_referer_breaks_a_preview_or_is_kept_whole(owner, visitor, referer):
    come_from(visitor, owner, referer)
    for host in referrers(owner):
        assert re.fullmatch(r"[a-z0-9_.:-]{1,253}", host)


def test_100_hosts_are_kept_the_rest_is_other_and_20_are_told(place, owner, visitor):
    for n in range(105):
        come_from(visitor, owner, f"https://host{n}.example/")
    for n in range(18):
        come_from(visitor, owner, f"https://host{n}.example/")
    come_from(visitor, owner, "https://late.example/")
    key = place.store.keys.session(owner.session, "referrers")
    kept = [int(opens) for opens in place.store.execute("HVALS", key)]
    assert len(kept) == 101
    assert sum(kept) == 124
    told = owner.get(owner.stats).json["referrers"]
    assert len(told) == 20
    assert told[0] == {"host": "other", "opens": 6}
    assert [row["opens"] for row in told[1:19]] == [2] * 18
    assert {row["host"] for row in told[1:19]} == {
        f"host{n}.example" for n in range(18)
    }
    assert told[19]["opens"] == 1


def test_only_opens_count_for_a_referrer(place, owner, visitor):
    path, headers = f"/shared/{owner.code}", {"Referer": "https://example.org/"}
    visitor.get(path, headers=headers, agent="curl/8.5.0")
    visitor.open(path, "HEAD", headers=headers)
    owner.get(path, headers=headers)
    visitor.post(f"/api/shared/{owner.code}/seen", headers=headers)
    place.guest.get(f"/api/shared/{owner.code}", headers=headers)
    assert referrers(owner) == {}
    visitor.get(path, headers=headers)
    assert referrers(owner) == {"example.org": 1}
