"""Shared with you: the front page lists what one has played."""

import html
import re

import pytest

from conftest import World


@pytest.fixture
def world(clock, app):
    """A world on a day that the test can change."""
    clock(0)
    return World.within(app)


def listed(person):
    """The share codes of the front page, in its order, without those that repeat."""
    page = person.get("/").text
    codes = re.findall(r'href="[^"]*/shared/([0-9a-f-]{36})', page)
    return list(dict.fromkeys(codes))


def shared(world, **more):
    """The code of one more session's link."""
    return world.owner.share(world.owner.make_session(**more))["shareCode"]


def play(person, code, path="/shared/{}/play"):
    answer = person.get(path.format(code))
    assert answer.status_code == 200


def test_who_has_played_nothing_is_told_of_nothing(world):
    assert listed(world.guest) == []


@pytest.mark.parametrize("path", ["/shared/{}/play", "/api/shared/{}"])
def test_what_one_played_is_listed_with_its_title_and_owner(world, path):
    world.owner.patch("/api/auth/user", json={"name": "Ada <3"})
    code = shared(world, title="By the lake & back")
    world.guest.get(f"/shared/{code}")
    assert listed(world.guest) == []
    play(world.guest, code, path)
    assert listed(world.guest) == [code]
    page = html.unescape(world.guest.get("/").text)
    assert "By the lake & back" in page
    assert "Ada <3" in page
    assert listed(world.stranger) == []
    other = world.newcomer()
    other.sign_up("other@example.com")
    assert listed(other) == []


def test_the_newest_come_first_and_what_is_played_again_is_new_again(clock, world):
    codes = [shared(world) for _ in range(3)]
    for n, code in enumerate(codes):
        clock(n)
        play(world.guest, code)
    assert listed(world.guest) == codes[::-1]
    clock(3600)
    play(world.guest, codes[0])
    assert listed(world.guest) == [codes[0], codes[2], codes[1]]


def test_what_is_played_again_is_new_again_though_it_is_no_new_play(clock, world):
    first, second = shared(world), shared(world)
    for n, code in enumerate((first, second, first, second, second, first)):
        clock(n / 8)  # within a second as well
        play(world.guest, code)
        assert listed(world.guest)[0] == code
    assert len(listed(world.guest)) == 2


def test_ones_own_slideshows_are_not_shared_with_oneself(world):
    play(world.owner, world.code)
    page = world.owner.get("/").text
    assert world.code not in "".join(re.findall(r"/shared/([0-9a-f-]{36})/play", page))


def test_what_only_a_machine_or_a_prefetch_asked_for_is_not_listed(world):
    path = f"/shared/{world.code}/play"
    world.guest.get(path, headers={"Sec-Purpose": "prefetch"})
    world.guest.get(path, agent="curl/8.5.0")
    world.guest.open(path, "HEAD")
    assert listed(world.guest) == []


@pytest.mark.parametrize("kind", ["userId", "email", "label"])
def test_every_kind_of_link_is_listed(world, kind):
    audience = {
        "userId": world.guest.user["id"], "email": "guest@example.com", "label": "x"
    }[kind]  # fmt: skip
    code = world.owner.share(world.session_id, **{kind: audience})["shareCode"]
    play(world.guest, code)
    assert listed(world.guest) == [code]


def test_it_shows_the_title_of_now(world):
    play(world.guest, world.code)
    changed = {"title": "Another name"}
    world.owner.patch(f"/api/sessions/{world.session_id}", json=changed)
    assert "Another name" in world.guest.get("/").text


@pytest.mark.parametrize("end", ["delete", "revoke", "account"])
def test_what_is_gone_is_gone_from_the_list_too(world, end):
    kept = world.newcomer()
    kept.sign_up("kept@example.com")
    other = kept.share(kept.make_session())["shareCode"]
    for code in (world.code, other):
        play(world.guest, code)
    session = f"/api/sessions/{world.session_id}"
    if end == "account":
        given = {"currentPassword": "long enough"}
        answer = world.owner.delete("/api/auth/user", json=given)
    else:
        path = f"{session}/shares/{world.code}" if end == "revoke" else session
        answer = world.owner.delete(path)
    assert answer.status_code == 204
    key = world.store.keys.user(world.guest.user["id"], "played")
    assert world.store.execute("ZRANGE", key, 0, -1) == [other.encode()]
    assert listed(world.guest) == [other]


def test_what_is_played_by_another_link_within_half_an_hour_is_listed_as_well(world):
    """It is no new play, but a link that may outlive the first one."""
    play(world.guest, world.code)
    other = world.owner.share(world.session_id, label="x")["shareCode"]
    play(world.guest, other)
    session = f"/api/sessions/{world.session_id}"
    world.owner.delete(f"{session}/shares/{world.code}")
    assert listed(world.guest) == [other]
    world.owner.delete(f"{session}/shares/{other}")
    assert listed(world.guest) == []
    replaced = world.owner.share(world.session_id)["shareCode"]
    play(world.guest, replaced)
    assert listed(world.guest) == [replaced]
    assert world.stats()["plays"] == 1


def test_what_is_paused_is_not_shown_and_comes_back(world):
    play(world.guest, world.code)
    session = f"/api/sessions/{world.session_id}"
    for public, shown in ((False, []), (True, [world.code])):
        world.owner.patch(session, json={"isPublic": public})
        assert listed(world.guest) == shown


def test_at_most_a_hundred_are_kept(clock, world):
    owner = world.store.account(world.owner.user["id"]).id
    codes = []
    for n in range(103):
        code = world.store.share(world.session_id, owner, f"label:{n}")
        codes.append(code)
        clock(n * 1800)
        world.store.play_shared(code, world.guest.user["id"], counted=True)
    assert listed(world.guest) == codes[:2:-1]
    key = world.store.keys.user(world.guest.user["id"], "played")
    assert world.store.execute("ZCARD", key) == 100


def test_the_list_counts_nothing(world):
    play(world.guest, world.code)
    before = world.owner.get(f"/api/sessions/{world.session_id}/stats").json
    for _ in range(3):
        listed(world.guest)
    assert world.owner.get(f"/api/sessions/{world.session_id}/stats").json == before


def test_an_account_that_goes_is_not_kept_among_the_players(world):
    play(world.guest, world.code)
    given = {"currentPassword": "long enough"}
    assert world.guest.delete("/api/auth/user", json=given).status_code == 204
    players = world.store.keys.session(world.session_id, "players")
    assert world.store.execute("ZRANGE", players, 0, -1) == []
    assert world.stats()["plays"] == 1


def test_a_list_of_a_hundred_takes_few_round_trips(live, live_world):
    codes = [
        live_world.owner.share(live_world.session_id, label=str(n)) for n in range(5)
    ]
    sessions = [live_world.owner.make_session() for _ in range(15)]
    codes += [live_world.owner.share(session_id) for session_id in sessions]
    for code in codes:
        live_world.guest.get(f"/api/shared/{code}")
    before = live.redis.info("stats")["total_reads_processed"]
    page = live_world.guest.get("/").text
    after = live.redis.info("stats")["total_reads_processed"]
    assert all(str(code) in page for code in codes[5:])
    # The login, the account, the shelf, the list, INFO; a new connection, perhaps.
    assert after - before < len(codes)
