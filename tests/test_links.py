"""Every link on its own: for whom it is, what it counted, how it ends."""

import functools
import itertools
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import fakeredis
import pytest

import joip_share
from conftest import Visitor, World
from servers import Client, mentions
from shown import visit
from store import email_digest

IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
)
MEMBERS = {
    "shareCode", "shareUrl", "userId", "email", "label", "createdAt", "opens",
    "visitors", "plays", "signups",
}  # fmt: skip
COUNTS = ("opens", "visitors", "plays", "signups")


@pytest.fixture
def session(world):
    """The path of the world's session."""
    return f"/api/sessions/{world.session_id}"


def share(world, **body):
    """The code of the link for an audience."""
    return world.owner.share(world.session_id, **body)["shareCode"]


def links(world):
    """What the owner is shown of each link, by its code."""
    session = world.owner.get(f"/api/sessions/{world.session_id}").json
    return {link["shareCode"]: link for link in session["shares"]}


def counts(world, code):
    """A link's own counts that are not zero."""
    link = links(world)[code]
    return {name: link[name] for name in COUNTS if link[name]}


def totals(world):
    """The session's counts, of those that a link has too, that are not zero."""
    return {name: value for name, value in world.stats().items()
            if name in COUNTS and value}  # fmt: skip


def newcomer(world, email):
    """Somebody with a new account of this email."""
    person = world.newcomer()
    person.user = person.sign_up(email)
    return person


def revoke(world, code):
    answer = world.owner.delete(f"/api/sessions/{world.session_id}/shares/{code}")
    assert (answer.status_code, answer.data) == (204, b""), answer.text


def played_by(person, code):
    """What the full session, its media and the player answer to somebody."""
    paths = (f"/api/shared/{code}", f"/api/shared/media/{code}", f"/shared/{code}/play")
    return [person.get(path).status_code for path in paths]


# For whom


def audiences(world):
    """One of each kind."""
    return [
        {}, {"userId": world.guest.user["id"]}, {"email": "later@example.com"},
        {"email": world.guest.user["email"]}, {"label": "newsletter"},
    ]  # fmt: skip


def test_the_owner_is_shown_every_link_the_general_one_first(world):
    bodies = audiences(world)
    codes = [share(world, **body) for body in bodies]
    shown = world.owner.get(f"/api/sessions/{world.session_id}").json["shares"]
    assert [set(link) for link in shown] == [MEMBERS] * 5
    assert shown[0]["shareCode"] == world.code == codes[0]
    assert {link["shareCode"] for link in shown} == set(codes)
    for code, body in zip(codes, bodies, strict=True):
        link = links(world)[code]
        url = f"{world.app.settings.public_url}/shared/{code}?r={world.referral_code}"
        assert link["shareUrl"] == url
        told = {name: link[name] for name in ("userId", "email", "label")}
        assert told == {"userId": None, "email": None, "label": None} | body
        assert link["createdAt"].endswith("Z")
        assert [link[name] for name in COUNTS] == [0] * 4


def test_each_audience_has_one_code_of_its_own(world):
    bodies = [*audiences(world), {"label": "Newsletter"}, {"label": "*"},
              {"userId": world.owner.user["id"]}, {"label": "mail:x"}]  # fmt: skip
    codes = [share(world, **body) for body in bodies]
    assert len(set(codes)) == len(bodies)
    assert [share(world, **body) for body in bodies] == codes


@pytest.mark.parametrize(
    ("given", "same"),
    [
        ({"email": "Bob@Example.COM"}, {"email": "bob@example.com"}),
        ({"email": "  bob@example.com "}, {"email": "bob@example.com"}),
        ({"label": " news "}, {"label": "news"}),
        ({"label": "news", "email": None}, {"label": "news"}),
        ({"label": "cafe\u0301"}, {"label": "caf\u00e9"}),
    ],
)
def test_one_audience_has_one_code_however_it_is_written(world, given, same):
    assert share(world, **given) == share(world, **same)


@pytest.mark.parametrize(
    "label", ["x", "x" * 60, "🌊" * 60, "*", "label:x", "0", "שלום"]
)
def test_a_label_is_kept_as_given(world, label):
    code = share(world, label=label)
    assert links(world)[code]["label"] == label


BAD = [
    ("label", {"label": ""}), ("label", {"label": " "}), ("label", {"label": "x" * 61}),
    ("label", {"label": "two\nlines"}), ("label", {"label": "\u202e"}),
    ("label", {"label": "\u095e" * 31}),  # it would be told as 62 characters
    ("label", {"label": 1}), ("email", {"email": ""}), ("email", {"email": "x"}),
    ("email", {"email": "x@"}), ("email", {"email": "a@b, c@d"}),
    ("email", {"email": 1}), ("email", {"email": "x" * 250 + "@b.cd"}),
    ("userId", {"userId": 1}), ("userId", {"userId": []}),
    ("userId", {"userId": "x", "label": "y"}),
    ("userId", {"email": "a@b.cd", "label": "y"}),
    ("labels", {"labels": "x"}), ("userid", {"userid": None}),
]  # fmt: skip


@pytest.mark.parametrize(("field", "body"), BAD)
def test_a_bad_audience_is_a_400_that_names_the_member(world, session, field, body):
    answer = world.owner.post(f"{session}/share", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json["details"][0]["field"] == field
    assert set(links(world)) == {world.code}


@pytest.mark.parametrize("given", ["[]", "1", '"x"', "{", "null", "[{}]", "\xff"])
def test_what_is_no_json_object_is_a_400(world, session, given):
    answer = world.owner.post(
        f"{session}/share", data=given, content_type="application/json"
    )
    assert (answer.status_code, answer.json["code"]) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "nobody", ["", "x", "*", "0" * 32, "mail:x", "label:x", "OWNER", "x" * 9000, "\x00"]
)
def test_an_unknown_account_is_a_404(world, session, nobody):
    if nobody == "OWNER":
        nobody = world.owner.user["id"].upper() + "0"
    answer = world.owner.post(f"{session}/share", json={"userId": nobody})
    assert (answer.status_code, answer.json["message"]) == (404, "User not found")
    assert set(links(world)) == {world.code}


def test_an_account_that_was_deleted_is_unknown(world, session):
    person = newcomer(world, "goes@example.com")
    person.delete("/api/auth/user", json={"currentPassword": "long enough"})
    answer = world.owner.post(f"{session}/share", json={"userId": person.user["id"]})
    assert answer.status_code == 404


@pytest.mark.parametrize("body", [{"userId": "x", "x": 1}, {"label": "y"}])
def test_what_is_not_json_is_a_415(world, session, body):
    answer = world.owner.post(f"{session}/share", data=body)
    assert (answer.status_code, answer.json["error"]) == (415, "Unsupported Media Type")


# Who may play


def test_a_link_for_an_account_plays_for_it_and_the_owner_only(world):
    other = newcomer(world, "other@example.com")
    code = share(world, userId=world.guest.user["id"])
    assert played_by(world.guest, code) == [200, 200, 200]
    assert played_by(world.owner, code) == [200, 200, 200]
    assert played_by(other, code) == [403, 403, 403]
    assert played_by(world.stranger, code) == [401, 401, 303]
    assert other.get(f"/api/shared/{code}").json["error"] == "Forbidden"


def test_a_link_with_a_label_is_for_everyone(world):
    code = share(world, label="newsletter")
    assert played_by(world.guest, code) == [200, 200, 200]
    assert world.stranger.get(f"/api/shared/{code}/preview").status_code == 200


@pytest.mark.parametrize("kind", ["userId", "email", "label"])
def test_the_preview_of_every_link_is_public(world, kind):
    given = {
        "userId": world.guest.user["id"], "email": "bob@x.example", "label": "Whisper"
    }  # fmt: skip
    code = share(world, **{kind: given[kind]})
    other = newcomer(world, "other@example.com")
    for person in (world.stranger, other, world.guest, world.owner):
        preview = person.get(f"/api/shared/{code}/preview")
        assert preview.status_code == 200
        assert given[kind] not in preview.text
        assert person.get(f"/shared/{code}").status_code == 200


def test_the_page_of_a_personal_link_says_so_before_somebody_signs_up_in_vain(world):
    said = "for one person"
    for body, personal in (
        ({}, False), ({"label": "x"}, False), ({"email": "x@example.com"}, True),
        ({"userId": world.guest.user["id"]}, True),
    ):  # fmt: skip
        page = world.stranger.get(f"/shared/{share(world, **body)}").text
        assert (said in page) is personal
        assert "x@example.com" not in page


# Links by email: whoever signs in with it, now or later, and then for good


def test_an_email_of_an_account_that_exists(world):
    code = share(world, email=world.guest.user["email"].upper())
    other = newcomer(world, "other@example.com")
    assert played_by(world.guest, code) == [200, 200, 200]
    assert played_by(world.owner, code) == [200, 200, 200]
    assert played_by(other, code) == [403, 403, 403]


def test_an_email_of_somebody_who_comes_later(world):
    code = share(world, email="Later@Example.com")
    assert played_by(world.guest, code) == [403, 403, 403]
    later = newcomer(world, "later@example.COM")
    assert played_by(later, code) == [200, 200, 200]


def test_an_email_that_somebody_changes_theirs_to(world):
    code = share(world, email="new@example.com")
    given = {"email": "new@example.com", "currentPassword": "long enough"}
    assert world.guest.patch("/api/auth/user", json=given).status_code == 200
    assert played_by(world.guest, code) == [200, 200, 200]


def test_it_belongs_to_the_first_account_with_this_email_for_good(world):
    code = share(world, email="first@example.com")
    first = newcomer(world, "first@example.com")
    given = {"email": "moved@example.com", "currentPassword": "long enough"}
    assert first.patch("/api/auth/user", json=given).status_code == 200
    second = newcomer(world, "first@example.com")
    assert share(world, email="first@example.com") == code
    assert share(world, email="moved@example.com") != code
    given = {"email": "first@example.com", "password": "long enough"}
    assert second.post("/api/login", json=given).status_code == 200
    assert played_by(first, code) == [200, 200, 200]
    assert played_by(second, code) == [403, 403, 403]


def test_it_was_bound_at_once_also_where_nobody_has_opened_it(world):
    """By sharing, not by the first play."""
    code = share(world, email=world.guest.user["email"])
    given = {"email": "moved@example.com", "currentPassword": "long enough"}
    world.guest.patch("/api/auth/user", json=given)
    second = newcomer(world, "guest@example.com")
    assert played_by(second, code) == [403, 403, 403]
    assert played_by(world.guest, code) == [200, 200, 200]


def test_nobody_inherits_the_link_of_an_account_that_is_gone(world):
    code = share(world, email="first@example.com")
    first = newcomer(world, "first@example.com")
    first.delete("/api/auth/user", json={"currentPassword": "long enough"})
    second = newcomer(world, "first@example.com")
    assert played_by(second, code) == [403, 403, 403]


def test_a_new_link_for_the_same_email_is_for_who_has_it_now(world):
    old = share(world, email="first@example.com")
    first = newcomer(world, "first@example.com")
    given = {"email": "moved@example.com", "currentPassword": "long enough"}
    first.patch("/api/auth/user", json=given)
    second = newcomer(world, "first@example.com")
    revoke(world, old)
    new = share(world, email="first@example.com")
    assert played_by(second, new) == [200, 200, 200]
    assert played_by(first, new) == [403, 403, 403]


def test_several_links_wait_for_one_email(world):
    codes = []
    for _ in range(3):
        session_id = world.owner.make_session()
        given = {"email": "later@example.com"}
        codes.append(world.owner.share(session_id, **given)["shareCode"])
    revoked_id = world.owner.make_session()
    revoked = world.owner.share(revoked_id, email="later@example.com")["shareCode"]
    world.owner.delete(f"/api/sessions/{revoked_id}/shares/{revoked}")
    later = newcomer(world, "later@example.com")
    for code in codes:
        assert played_by(later, code) == [200, 200, 200]
    assert played_by(later, revoked) == [404, 404, 404]


def test_it_is_not_told_whether_there_is_an_account(world, session):
    answers = [
        world.owner.post(f"{session}/share", json={"email": email})
        for email in (world.guest.user["email"], "nobody@example.com")
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert len({str(sorted(answer.json)) for answer in answers}) == 1
    personal = [link for link in links(world).values() if link["email"]]
    assert [link["userId"] for link in personal] == [None, None]
    assert world.guest.user["id"] not in world.owner.get(session).text


# What another thread of the service says first, and this test.
OF_CONNECTIONS = ("select", "hello", "client|setinfo", "config|resetstat", "info")


def test_nor_by_the_time_that_it_takes(live, live_world):
    """As much is asked of Redis, and written there, the first time and later."""
    emails = live_world.guest.user["email"], "nobody@example.com"

    def asked(email):
        live.redis.config_resetstat()
        live_world.owner.share(live_world.session_id, email=email)
        calls = {
            name.removeprefix("cmdstat_"): told["calls"]
            for name, told in live.redis.info("commandstats").items()
        }
        calls["scripts"] = calls.pop("eval", 0) + calls.pop("evalsha", 0)
        return {name: n for name, n in calls.items() if name not in OF_CONNECTIONS}

    for _ in range(3):
        known, unknown = map(asked, emails)
        assert known == unknown


def test_thousands_of_links_may_wait_for_who_comes(world, monkeypatch):
    """Anybody may make them; else a sign-up would take seconds, and be refused."""
    code = share(world, email="later@example.com")
    nowhere = [str(uuid.uuid4()) for _ in range(2000)]
    waiting = world.store.keys.awaited(email_digest("later@example.com"))
    world.store.execute("SADD", waiting, *nowhere)
    link, exchanges = world.store.link, []
    execute_many = link.execute_many
    monkeypatch.setattr(
        link,
        "execute_many",
        lambda *given, **more: exchanges.append(1) or execute_many(*given, **more),
    )
    later = newcomer(world, "later@example.com")
    assert len(exchanges) < 100
    assert played_by(later, code) == [200, 200, 200]


# What each link counted


def test_a_link_counts_what_came_by_it_and_the_session_counts_all(world):
    codes = [world.code, share(world, label="a"), share(world, label="b")]
    for opens, code in enumerate(codes, 1):
        for _ in range(opens):
            world.stranger.get(f"/shared/{code}")
    world.guest.get(f"/api/shared/{codes[1]}")
    assert [counts(world, code) for code in codes] == [
        {"opens": 1, "visitors": 1}, {"opens": 2, "visitors": 1, "plays": 1},
        {"opens": 3, "visitors": 1},
    ]  # fmt: skip
    assert totals(world) == {"opens": 6, "visitors": 1, "plays": 1}


def test_a_links_visitors_are_told_apart(world):
    code = share(world, label="a")
    for agent in (None, IPHONE, None):
        options = {"agent": agent} if agent else {}
        world.stranger.get(f"/shared/{code}", **options)
    world.stranger.get(f"/shared/{world.code}")
    assert counts(world, code) == {"opens": 3, "visitors": 2}
    assert counts(world, world.code) == {"opens": 1, "visitors": 1}
    assert totals(world) == {"opens": 4, "visitors": 2}


def test_a_links_visitors_are_the_sum_of_the_days(clock, app):
    world = World.within(app)
    code = share(world, label="a")
    for day, agents in enumerate(([None], [None, IPHONE], [IPHONE])):
        clock(day * 86_400)
        for agent in agents:
            options = {"agent": agent} if agent else {}
            world.stranger.get(f"/shared/{code}", **options)
    assert counts(world, code) == {"opens": 4, "visitors": 4}


def test_a_sign_up_counts_for_the_link_that_was_opened_first(world):
    first, second = share(world, label="a"), share(world, label="b")
    for code in (first, second):
        world.stranger.get(f"/shared/{code}?r={world.referral_code}")
    world.stranger.sign_up("comes@example.com")
    assert counts(world, first) == {"opens": 1, "visitors": 1, "signups": 1}
    assert counts(world, second) == {"opens": 1, "visitors": 1}
    assert totals(world)["signups"] == 1


def test_what_is_left_out_is_left_out_of_a_links_counts_too(world):
    code = share(world, label="a")
    world.owner.get(f"/shared/{code}")
    world.owner.get(f"/api/shared/{code}")
    world.stranger.open(f"/shared/{code}", "HEAD")
    world.stranger.get(f"/shared/{code}", agent="curl/8.5.0")
    world.stranger.get(f"/shared/{code}", headers={"Sec-Purpose": "prefetch"})
    assert counts(world, code) == {}


def test_a_page_that_was_fetched_ahead_counts_for_its_link_when_it_is_shown(world):
    code = share(world, label="a")
    visit(world.stranger, f"/shared/{code}", headers={"Sec-Purpose": "prefetch"})
    assert counts(world, code) == {"opens": 1, "visitors": 1}


def test_the_stats_tell_the_links(world):
    labelled = share(world, label="a")
    world.stranger.get(f"/shared/{labelled}")
    stats = world.owner.get(f"/api/sessions/{world.session_id}/stats").json
    told = {link["shareCode"]: link for link in stats["links"]}
    assert told[labelled]["label"] == "a"
    assert {name: told[labelled][name] for name in COUNTS} == {
        "opens": 1, "visitors": 1, "plays": 0, "signups": 0
    }  # fmt: skip
    assert {name: told[world.code][name] for name in COUNTS} == dict.fromkeys(COUNTS, 0)


# How a link ends


def test_a_revoked_link_is_dead_at_once_and_the_others_live_on(world, session):
    codes = [share(world, **body) for body in audiences(world)]
    for n, code in enumerate(codes):
        world.guest.get(f"/shared/{code}")
        revoke(world, code)
        assert played_by(world.guest, code) == [404, 404, 404]
        assert played_by(world.owner, code) == [404, 404, 404]
        for path in (f"/api/shared/{code}/preview", f"/shared/{code}"):
            assert world.stranger.get(path).status_code == 404
            assert world.owner.get(path).status_code == 404
        seen = world.stranger.post(f"/api/shared/{code}/seen")
        assert seen.status_code == 404
        assert set(links(world)) == set(codes[n + 1 :])
        for other in codes[n + 1 :]:
            preview = world.stranger.get(f"/api/shared/{other}/preview")
            assert preview.status_code == 200
    assert world.owner.get(session).json["session"]["isPublic"] is True


def test_its_counts_stay_in_the_sessions(world):
    code = share(world, label="a")
    visit(world.stranger, f"/shared/{code}?r={world.referral_code}")
    world.guest.get(f"/api/shared/{code}")
    world.stranger.sign_up("comes@example.com")
    before = world.stats()
    assert before == dict.fromkeys(
        ("opens", "views", "visitors", "plays", "signups"), 1
    )
    revoke(world, code)
    assert world.stats() == before
    world.guest.get(f"/shared/{code}")
    assert world.stats() == before


def test_sharing_again_makes_a_new_code_that_counts_from_zero(world):
    for body in audiences(world):
        old = share(world, **body)
        world.stranger.get(f"/shared/{old}")
        revoke(world, old)
        new = share(world, **body)
        assert new != old
        assert share(world, **body) == new
        assert counts(world, new) == {}
        assert world.stranger.get(f"/shared/{new}").status_code == 200
        assert world.stranger.get(f"/shared/{old}").status_code == 404
        assert counts(world, new) == {"opens": 1, "visitors": 1}


def test_a_revoked_link_stays_dead_when_the_session_is_paused_and_resumed(
    world, session
):
    code = share(world, label="a")
    revoke(world, code)
    for public in (False, True):
        world.owner.patch(session, json={"isPublic": public})
        assert world.stranger.get(f"/shared/{code}").status_code == 404
    assert world.stranger.get(f"/shared/{world.code}").status_code == 200


def test_a_link_can_be_revoked_while_the_session_is_paused(world, session):
    code = share(world, label="a")
    world.owner.patch(session, json={"isPublic": False})
    revoke(world, code)
    world.owner.patch(session, json={"isPublic": True})
    assert set(links(world)) == {world.code}


def test_a_code_is_revoked_in_whatever_case(world):
    revoke(world, world.code.upper())
    assert links(world) == {}


def test_who_may_revoke(world, session):
    path = f"{session}/shares/{world.code}"
    assert world.stranger.delete(path).status_code == 401
    assert world.guest.delete(path).status_code == 403
    nowhere = f"/api/sessions/999/shares/{world.code}"
    assert world.owner.delete(nowhere).status_code == 404
    assert world.owner.delete(f"/api/sessions/x/shares/{world.code}").status_code == 400
    assert world.owner.get(path).status_code == 405
    assert set(links(world)) == {world.code}


def test_a_code_that_the_session_does_not_have_is_a_404(world, session):
    other = world.owner.make_session()
    elsewhere = world.owner.share(other)["shareCode"]
    revoke(world, world.code)
    for code in (
        elsewhere,
        world.code,
        "x",
        "*",
        "00000000-0000-4000-8000-000000000000",
    ):
        answer = world.owner.delete(f"{session}/shares/{code}")
        assert (answer.status_code, answer.json["error"]) == (404, "Not Found")
    assert world.stranger.get(f"/shared/{elsewhere}").status_code == 200


def test_no_key_names_a_revoked_link(world):
    code = share(world, email="later@example.com")
    visit(world.stranger, f"/shared/{code}")
    revoke(world, code)
    assert mentions(world.store.execute, code) == []


def test_a_link_that_is_revoked_is_dead_in_every_process(app):
    """Also in one that has shown it a moment before: no memory of its own decides."""
    world = World.within(app)
    again = joip_share.create_app(app.settings, app.store.link.client)
    elsewhere = Visitor(again)
    for path in (f"/shared/{world.code}", f"/api/shared/{world.code}/preview"):
        assert elsewhere.get(path).status_code == 200
    revoke(world, world.code)
    for path in (f"/shared/{world.code}", f"/api/shared/{world.code}/preview"):
        assert elsewhere.get(path).status_code == 404
    new = share(world)
    assert elsewhere.get(f"/shared/{new}").status_code == 200


# How many


def test_a_session_has_so_many_links_and_no_more():
    settings = joip_share.Settings(max_links=3, ratelimit_enabled=False)
    world = World.within(joip_share.create_app(settings, fakeredis.FakeStrictRedis()))
    session = f"/api/sessions/{world.session_id}"
    labels = [share(world, label=label) for label in ("a", "b")]
    refused = world.owner.post(f"{session}/share", json={"label": "c"})
    assert (refused.status_code, refused.json["code"]) == (409, "LIMIT_REACHED")
    assert "3" in refused.json["message"]
    assert share(world, label="a") == labels[0]
    assert share(world) == world.code
    revoke(world, labels[0])
    share(world, label="c")
    assert len(links(world)) == 3
    assert world.owner.share(world.owner.make_session(), label="c")


# At once, on a real service


def at_once(*calls):
    """Call each in a thread of its own, at the same moment; what they returned."""
    start = threading.Barrier(len(calls))

    def run(call):
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def anew(client):
    """The same person by a connection of their own, as threads need it."""
    copy = Client(client.url)
    copy.cookies.update(client.cookies)
    return copy


@pytest.mark.parametrize("kind", ["*", "userId", "email", "label"])
def test_32_who_share_at_once_get_one_code(live_world, kind):
    world = live_world
    session_id = world.owner.make_session()
    given = {"userId": world.guest.user["id"], "email": "x@example.com", "label": "x"}
    body = {} if kind == "*" else {kind: given[kind]}
    owners = [anew(world.owner) for _ in range(32)]
    codes = at_once(
        *(lambda owner=owner: owner.share(session_id, **body) for owner in owners)
    )
    assert len(set(codes)) == 1
    shares = world.owner.get(f"/api/sessions/{session_id}").json()["shares"]
    assert [link["shareCode"] for link in shares] == codes[:1]


def test_sharing_and_revoking_at_once_leave_a_link_that_opens_or_none(live, live_world):
    """Whoever got a code may have lost it again; what is listed opens, what is not
    listed does not."""
    owner = live_world.owner
    session_id = owner.make_session()
    session = f"/api/sessions/{session_id}"
    handed_out = set()
    for turn in range(12):
        code = owner.share(session_id, label="x")
        people = [anew(owner) for _ in range(6)]
        share_it = [lambda p=p: p.share(session_id, label="x") for p in people[::2]]
        path = f"{session}/shares/{code}"
        end_it = [lambda p=p, path=path: p.delete(path) for p in people[1::2]]
        *codes, _, _, _ = answers = at_once(*share_it, *end_it)
        assert {answer.status_code for answer in answers[3:]} <= {204, 404}
        handed_out |= {code, *codes}
        shares = owner.get(session).json()["shares"]
        listed = {link["shareCode"] for link in shares}
        assert len(listed) <= 1, turn
        for each in handed_out:
            answer = live_world.stranger.get(f"/api/shared/{each}/preview")
            assert answer.status_code == (200 if each in listed else 404)
    pointers = {key.decode().partition(":")[2] for key in live.redis.keys("share:*")}
    assert handed_out & pointers == listed


def test_a_link_that_is_revoked_under_fire_counts_nothing_more(live, live_world):
    world = live_world
    people = [anew(world.guest) for _ in range(12)]
    for turn in range(4):
        code = world.owner.share(world.session_id, label=f"fire {turn}")
        paths = [
            f"/shared/{code}",
            f"/api/shared/{code}/preview",
            f"/api/shared/{code}",
        ]
        opening = [
            lambda p=p, path=path: p.get(path).status_code
            for p, path in zip(people, itertools.cycle(paths), strict=False)
        ]
        link = f"/api/sessions/{world.session_id}/shares/{code}"
        ending = functools.partial(anew(world.owner).delete, link)
        *opened, ended = at_once(*opening, ending)
        assert ended.status_code == 204
        assert set(opened) <= {200, 404}
        before = world.stats()
        assert {people[0].get(path).status_code for path in paths} == {404}
        assert world.stats() == before
        assert mentions(live.redis.execute_command, code) == []


def test_a_link_by_email_finds_an_account_that_is_made_at_the_same_moment(live_world):
    for turn in range(8):
        email = f"both{turn}-{live_world.session_id}@example.com"
        session_id = live_world.owner.make_session()
        person = live_world.newcomer()
        code, _ = at_once(
            functools.partial(live_world.owner.share, session_id, email=email),
            functools.partial(person.sign_up, email),
        )
        assert person.get(f"/api/shared/{code}").status_code == 200
