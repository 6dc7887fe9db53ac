"""What GET /api/sessions/:id gives can be given back: to edit it, and as a copy."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.utils import format_datetime

import pytest

URL = "https://example.org/"
RICH = {
    "title": "Five hours 🌊", "description": "By the lake\n\tand back",
    "intervalMin": 2, "intervalMax": 7, "transition": "zoom",
    "thumbnail": f"{URL}cover.jpg", "isPublic": True,
    "media": [
        {"mediaUrl": f"{URL}a.jpg", "caption": "Dawn"},
        {"mediaUrl": f"{URL}b.mp4", "type": "video", "thumbnail": f"{URL}b.jpg",
         "captions": f"{URL}b.vtt"},
        {"mediaUrl": f"{URL}two words ü.jpg", "caption": ""},
    ],
}  # fmt: skip
MADE = ("id", "createdAt", "updatedAt")  # what a copy has of its own


def make(owner, **given):
    answer = owner.post("/api/sessions", json={"title": "A walk"} | given)
    assert answer.status_code == 201, answer.text
    return f"/api/sessions/{answer.json['id']}"


def read(owner, path):
    answer = owner.get(path)
    assert answer.status_code == 200
    return answer.json


def without(members, *names):
    return {name: value for name, value in members.items() if name not in names}


@pytest.mark.parametrize("given", [{}, RICH], ids=["bare", "rich"])
def test_what_was_read_is_given_back_by_patch_and_nothing_changes(owner, given):
    path = make(owner, **given)
    before = read(owner, path)
    answer = owner.patch(path, json=before["session"] | {"media": before["media"]})
    assert answer.status_code == 200, answer.text
    after = read(owner, path)
    assert after["media"] == before["media"]
    assert without(after["session"], "updatedAt") == without(
        before["session"], "updatedAt"
    )


def test_one_reads_edits_and_gives_back(world):
    path = f"/api/sessions/{world.session_id}"
    given = read(world.owner, path)
    given["session"]["title"] = "Edited"
    given["media"] = given["media"][::-1]
    given["media"][0]["caption"] = "The last one, now the first"
    whole = given["session"] | {"media": given["media"]}
    assert world.owner.patch(path, json=whole).status_code == 200
    after = read(world.owner, path)
    assert after["session"]["title"] == "Edited"
    assert [item["mediaUrl"][-5:] for item in after["media"]] == [
        "2.jpg", "1.jpg", "0.jpg",
    ]  # fmt: skip
    assert [item["order"] for item in after["media"]] == [0, 1, 2]
    assert after["media"][0]["caption"] == "The last one, now the first"
    assert after["shares"] == given["shares"]


LIES = {
    "id": 5, "userId": "somebody", "mediaCount": 99, "createdAt": "1999", "updatedAt": 0
}  # fmt: skip


@pytest.mark.parametrize("lie", [LIES, dict.fromkeys(LIES), {k: [{}] for k in LIES}])
def test_read_only_members_are_taken_and_have_no_effect(owner, lie):
    item = {"mediaUrl": URL, "id": 77, "order": -3}
    path = make(owner, media=[item], **lie)
    before = read(owner, path)
    assert before["session"]["userId"] == owner.user["id"]
    assert before["session"]["mediaCount"] == 1
    assert before["session"]["createdAt"].startswith("20")
    assert before["media"][0]["order"] == 0
    answer = owner.patch(path, json=lie | {"media": [item, item]})
    assert answer.status_code == 200, answer.text
    after = read(owner, path)
    assert after["session"]["mediaCount"] == 2
    changed = ("mediaCount", "updatedAt")
    assert without(after["session"], *changed) == without(before["session"], *changed)


@pytest.mark.parametrize("given", [{}, RICH], ids=["bare", "rich"])
def test_a_downloaded_copy_restores(world, given):
    """The file as it was saved, links and numbers and all, into any account."""
    path = make(world.owner, **given)
    world.owner.post(f"{path}/share")
    world.owner.post(f"{path}/share", json={"label": "newsletter"})
    copy = world.owner.get(path).data
    assert len(json.loads(copy)["shares"]) == 2
    world.owner.delete(path)
    for person in (world.owner, world.guest):
        answer = person.post(
            "/api/sessions", data=copy, content_type="application/json"
        )
        assert answer.status_code == 201, answer.text
        restored = read(person, f"/api/sessions/{answer.json['id']}")
        was = json.loads(copy)
        assert restored["media"] == was["media"]
        own = (*MADE, "userId")
        assert without(restored["session"], *own) == without(was["session"], *own)
        assert restored["session"]["userId"] == person.user["id"]
        assert restored["session"]["id"] != was["session"]["id"]
        assert restored["shares"] == []
    for share in was["shares"]:
        preview = f"/api/shared/{share['shareCode']}/preview"
        assert world.guest.get(preview).status_code == 404


def test_a_copy_of_a_copy_is_a_copy(owner):
    path = make(owner, **RICH)
    first = read(owner, path)
    again = read(
        owner, f"/api/sessions/{owner.post('/api/sessions', json=first).json['id']}"
    )
    assert again["media"] == first["media"]


def test_a_copy_is_checked_as_any_other_session(owner):
    copy = read(owner, make(owner, **RICH))
    wrong = [
        ("titel", copy | {"session": copy["session"] | {"titel": "x"}}),
        ("title", copy | {"session": without(copy["session"], "title")}),
        ("title", copy | {"session": copy["session"] | {"title": ""}}),
        ("media", copy | {"media": [{"mediaUrl": "javascript:alert(1)"}]}),
        ("media", copy | {"media": {}}),
        ("session", copy | {"session": []}),
        ("stats", copy | {"stats": {}}),
    ]
    for field, given in wrong:
        answer = owner.post("/api/sessions", json=given)
        assert answer.status_code == 400, (field, answer.text)
        assert field in answer.json["details"][0]["field"]
    for given in ({"session": copy["session"]}, without(copy, "shares")):
        assert owner.post("/api/sessions", json=given).status_code == 201
    inside = {"session": copy["session"] | {"media": copy["media"]}}
    made = owner.post("/api/sessions", json=inside).json
    assert made["mediaCount"] == len(copy["media"]), "nothing is lost without a word"


@pytest.mark.parametrize(
    "typo", [{"titel": "x"}, {"ID": 1}, {"media": [{"mediaUrl": URL, "Order": 1}]}]
)
def test_other_unknown_members_are_refused_all_the_same(owner, typo):
    path = make(owner)
    assert owner.post("/api/sessions", json={"title": "x"} | typo).status_code == 400
    assert owner.patch(path, json=typo).status_code == 400


def test_a_copy_keeps_that_no_cover_is_wanted(owner):
    picture = {"mediaUrl": f"{URL}a.jpg"}
    copy = read(owner, make(owner, thumbnail=None, media=[picture]))
    restored = owner.post("/api/sessions", json=copy).json
    assert restored["thumbnail"] is None


def seen(moment):
    """The header by which an edit tells what it has seen."""
    when = datetime.fromisoformat(moment)
    return {"If-Unmodified-Since": format_datetime(when, usegmt=True)}


def test_an_edit_of_what_was_changed_meanwhile_is_refused_with_both_versions(owner):
    path = make(owner, **RICH)
    before = seen(read(owner, path)["session"]["updatedAt"])
    assert owner.patch(path, json={"title": "1"}, headers=before).status_code == 200
    refused = owner.patch(path, json={"title": "2"}, headers=before)
    assert (refused.status_code, refused.json["code"]) == (409, "EDIT_CONFLICT")
    current = without(read(owner, path), "shares")
    assert refused.json["current"] == current
    assert current["session"]["title"] == "1"
    after = seen(current["session"]["updatedAt"])
    for header in (after, {}, {"If-Unmodified-Since": "yesterday"}):
        assert owner.patch(path, json={"title": "3"}, headers=header).status_code == 200


def test_an_edit_that_has_seen_a_year_that_nobody_can_read_has_seen_nothing(owner):
    """RFC 9110, 13.1.4: what is no date is no condition."""
    header = {"If-Unmodified-Since": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}
    answer = owner.patch(make(owner), json={"title": "Seen"}, headers=header)
    assert answer.status_code == 200


@pytest.fixture(params=["EST5", "CET-1"])
def abroad(request, monkeypatch):
    """A server that is in another time zone than UTC."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "form", ["%a, %d %b %Y %H:%M:%S -0000", "%a %b %e %H:%M:%S %Y"]
)
def test_what_an_edit_has_seen_is_read_as_utc_wherever_the_server_is(
    owner, abroad, form
):
    """RFC 9110, 5.6.7: also in the form of C's asctime(), and as Python's formatdate()
    writes it."""
    path = make(owner)
    moment = read(owner, path)["session"]["updatedAt"]
    header = {"If-Unmodified-Since": f"{datetime.fromisoformat(moment):{form}}"}
    for status in (200, 409):
        answer = owner.patch(path, json={"title": str(status)}, headers=header)
        assert answer.status_code == status


@pytest.mark.parametrize("later", [0, -60, 5], ids=["at once", "clock behind", "after"])
def test_each_edit_is_told_by_a_second_of_its_own(owner, clock, later):
    """However quick they are, and though another host with another clock takes one."""
    clock(0)
    path = make(owner)
    times = [read(owner, path)["session"]["updatedAt"]]
    for n in range(3):
        clock(n * later)
        answer = owner.patch(path, json={"title": str(n)}, headers=seen(times[-1]))
        assert answer.status_code == 200
        times.append(answer.json["updatedAt"])
    assert times == sorted(set(times))
    for moment in times[:-1]:
        refused = owner.patch(path, json={"title": "x"}, headers=seen(moment))
        assert refused.status_code == 409
    assert read(owner, path)["session"]["title"] == "2"


def test_of_edits_at_once_of_the_same_version_one_is_made(live, live_world):
    path = f"/api/sessions/{live_world.session_id}"
    owner = live_world.owner
    before = seen(owner.get(path).json()["session"]["updatedAt"])

    def edit(n):
        given = {"title": str(n), "media": []}
        return owner.patch(path, json=given, headers=before).status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = sorted(pool.map(edit, range(16)))
    assert statuses == [200] + [409] * 15
