"""Sharing: one code a session, a preview for anyone, playback for the signed in."""

import re
import uuid

import pytest

UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
PREVIEW = {
    "shareCode", "title", "description", "thumbnail", "mediaCount", "intervalMin",
    "intervalMax", "transition", "ownerName", "createdAt",
}  # fmt: skip


@pytest.fixture
def settings(settings):
    return type(settings)(
        public_url="https://example.org", ratelimit_enabled=False
    )  # fmt: skip


@pytest.fixture
def session_id(owner):
    return owner.make_session()


@pytest.fixture
def code(owner, session_id):
    return owner.share(session_id)["shareCode"]


@pytest.fixture
def guest(new_visitor):
    """Somebody signed in who is not the owner."""
    person = new_visitor()
    person.user = person.sign_up("guest@example.com", name="Guest")
    return person


def paths(code):
    """What a code opens by the API, the page last."""
    return [
        f"/api/shared/{code}/preview", f"/api/shared/{code}",
        f"/api/shared/media/{code}", f"/shared/{code}",
    ]  # fmt: skip


def statuses(client, code):
    return [client.get(path).status_code for path in paths(code)]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": b""},
        {"json": {}},
        {"data": b"", "content_type": "application/json"},
        {"data": b"", "content_type": "text/plain"},
        {"data": b" \r\n", "content_type": "application/json"},
    ],
)
def test_a_share_is_made_without_a_body_or_with_an_empty_one(owner, session_id, body):
    answer = owner.post(f"/api/sessions/{session_id}/share", **body)
    assert answer.status_code == 200, answer.text
    assert set(answer.json) == {"shareCode", "shareUrl", "referralCode"}
    code, referral = answer.json["shareCode"], answer.json["referralCode"]
    assert re.fullmatch(UUID4, code)
    assert uuid.UUID(code).version == 4
    assert referral == owner.user["referralCode"]
    assert answer.json["shareUrl"] == f"https://example.org/shared/{code}?r={referral}"


def test_the_link_never_follows_the_host_header(app, owner, session_id):
    cookie = owner.client.get_cookie("connect.sid")
    answer = app.test_client(use_cookies=False).post(
        f"/api/sessions/{session_id}/share",
        headers={
            "Host": "evil.example", "X-Forwarded-Host": "evil.example",
            "Cookie": f"connect.sid={cookie.value}",
        },
    )  # fmt: skip
    assert answer.json["shareUrl"].startswith("https://example.org/shared/")


def test_sharing_twice_returns_the_same_code(owner, session_id):
    first = owner.share(session_id)
    assert [owner.share(session_id) for _ in range(3)] == [first] * 3


def test_each_session_has_a_code_of_its_own(owner, code):
    assert owner.share(owner.make_session())["shareCode"] != code


def test_sharing_makes_the_session_public(owner, session_id):
    owner.share(session_id)
    session = owner.get(f"/api/sessions/{session_id}").json["session"]
    assert session["isPublic"] is True


@pytest.mark.parametrize(
    ("path", "signed_in", "status", "message"),
    [
        ("1", False, 401, "Unauthorized"),
        ("x", False, 401, "Unauthorized"),
        ("x", True, 400, "Invalid session ID"),
        ("999", True, 404, "Session not found"),
        ("1", True, 403, "You do not have permission to share this session"),
    ],
)
def test_who_may_not_share(
    owner, guest, new_visitor, session_id, path, signed_in, status, message
):
    person = guest if signed_in else new_visitor()
    answer = person.post(f"/api/sessions/{path}/share")
    assert (answer.status_code, answer.json["message"]) == (status, message)
    assert owner.get("/api/sessions/1").json["shares"] == []


def test_the_owner_is_shown_every_link(owner, guest, session_id):
    assert owner.get(f"/api/sessions/{session_id}").json["shares"] == []
    bound = owner.share(session_id, userId=guest.user["id"])
    general = owner.share(session_id)
    shares = owner.get(f"/api/sessions/{session_id}").json["shares"]
    wanted = [
        {"shareCode": each["shareCode"], "shareUrl": each["shareUrl"], "userId": whom}
        for each, whom in ((general, None), (bound, guest.user["id"]))
    ]
    assert sorted(shares, key=str) == sorted(wanted, key=str)


# What a link opens


def test_anyone_sees_the_preview_and_nothing_private(owner, new_visitor, guest):
    media = [{"mediaUrl": "https://secret.example/1.jpg", "caption": "Whisper"}]
    owner.post("/api/logout")
    owner.user = owner.sign_up("ada@example.com", name="Ada")
    session = {
        "title": "A walk", "description": "By the lake", "intervalMin": 2,
        "intervalMax": 7, "transition": "zoom", "thumbnail": "https://example.org/t.jpg",
        "media": media,
    }  # fmt: skip
    made = owner.post("/api/sessions", json=session).json
    code = owner.share(made["id"])["shareCode"]
    answers = [
        person.get(f"/api/shared/{code}/preview")
        for person in (new_visitor(), guest, owner)
    ]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.data for answer in answers}) == 1
    preview = answers[0].json
    del session["media"]
    assert preview == session | {
        "shareCode": code, "mediaCount": 1, "ownerName": "Ada",
        "createdAt": made["createdAt"],
    }  # fmt: skip
    private = ["secret.example", "Whisper", "ada@example.com", owner.user["id"]]
    page = new_visitor().get(f"/shared/{code}").text
    for secret in private:
        assert secret not in answers[0].text
        assert secret not in page


def test_a_session_without_thumbnail_or_text_has_a_preview_too(owner, new_visitor):
    code = owner.share(owner.make_session(media=0))["shareCode"]
    preview = new_visitor().get(f"/api/shared/{code}/preview").json
    assert set(preview) == PREVIEW
    assert (preview["thumbnail"], preview["description"]) == (None, "")
    assert preview["mediaCount"] == 0


def test_playback_needs_an_account(code, visitor):
    for path in (f"/api/shared/{code}", f"/api/shared/media/{code}"):
        answer = visitor.get(path)
        assert (answer.status_code, answer.json["code"]) == (401, "UNAUTHORIZED")
    away = visitor.get(f"/shared/{code}/play")
    assert away.status_code in (302, 303)
    assert away.headers["Location"].startswith("/login?next=")


@pytest.mark.parametrize("code", ["x", "00000000-0000-4000-8000-000000000000"])
def test_playback_asks_for_an_account_before_it_looks_for_the_code(visitor, code):
    for path in (f"/api/shared/{code}", f"/api/shared/media/{code}?limit=x"):
        assert visitor.get(path).status_code == 401


def test_the_signed_in_get_the_session_without_its_owners_id(
    owner, guest, session_id, code
):
    mine = owner.get(f"/api/sessions/{session_id}").json
    for person in (guest, owner):
        answer = person.get(f"/api/shared/{code}")
        assert answer.status_code == 200
        assert set(answer.json) == {"session", "media"}
        wanted = {k: v for k, v in mine["session"].items() if k != "userId"}
        assert answer.json["session"] == wanted | {"ownerName": owner.user["name"]}
        assert answer.json["media"] == mine["media"]
        assert owner.user["id"] not in answer.text


@pytest.mark.parametrize(
    ("query", "orders"),
    [
        ("", range(100)),
        ("?limit=500", range(120)),
        ("?offset=100", range(100, 120)),
        ("?offset=5&limit=3", range(5, 8)),
        ("?offset=119&limit=1", range(119, 120)),
        ("?offset=120", []),
        ("?offset=9007199254740991&limit=500", []),
    ],
)
def test_media_come_in_pages(owner, query, orders):
    code = owner.share(owner.make_session(media=120))["shareCode"]
    answer = owner.get(f"/api/shared/media/{code}{query}")
    assert answer.status_code == 200
    assert set(answer.json) == {"media", "total"}
    assert answer.json["total"] == 120
    assert [item["order"] for item in answer.json["media"]] == list(orders)


def test_a_bad_page_of_media_is_a_400_before_a_404(guest):
    code = uuid.uuid4()
    assert guest.get(f"/api/shared/media/{code}?limit=0").status_code == 400
    assert guest.get(f"/api/shared/media/{code}").status_code == 404


def test_codes_are_read_without_case(owner, guest, code):
    for spelling in (code.upper(), code.title()):
        assert statuses(guest, spelling) == [200] * 4
        preview = guest.get(f"/api/shared/{spelling}/preview").json
        assert preview["shareCode"] == code
        assert guest.post(f"/api/shared/{spelling}/seen").status_code == 204


# Links for one account


def test_a_bound_link_plays_for_its_account_and_the_owner_only(
    owner, guest, new_visitor, session_id
):
    other = new_visitor()
    other.sign_up("other@example.com")
    first = owner.share(session_id, userId=guest.user["id"])
    assert owner.share(session_id, userId=guest.user["id"]) == first
    bound = first["shareCode"]
    assert bound != owner.share(session_id)["shareCode"]
    assert statuses(guest, bound) == [200, 200, 200, 200]
    assert statuses(owner, bound) == [200, 200, 200, 200]
    assert statuses(other, bound) == [200, 403, 403, 200]
    assert statuses(new_visitor(), bound) == [200, 401, 401, 200]
    assert other.get(f"/shared/{bound}/play").status_code == 403
    assert other.get(f"/api/shared/{bound}").json["error"] == "Forbidden"


def test_two_accounts_have_two_links(owner, guest, session_id):
    codes = {
        owner.share(session_id, userId=user["id"])["shareCode"]
        for user in (guest.user, owner.user)
    }
    assert len(codes) == 2


# Links that open nothing


def test_a_paused_session_answers_404_on_all_links_until_it_is_resumed(
    owner, guest, new_visitor, session_id, code
):
    path = f"/api/sessions/{session_id}"
    codes = [code, owner.share(session_id, userId=guest.user["id"])["shareCode"]]
    resume = (
        lambda: owner.patch(path, json={"isPublic": True}).status_code,
        lambda: owner.post(f"{path}/share").status_code,
        lambda: owner.post(
            f"{path}/share", json={"userId": guest.user["id"]}
        ).status_code,
    )  # fmt: skip
    for again in resume:
        paused = owner.patch(path, json={"isPublic": False})
        assert paused.json["isPublic"] is False
        for each in codes:
            assert statuses(guest, each) == [404] * 4
            assert statuses(owner, each) == [404] * 4
            assert statuses(new_visitor(), each) == [404, 401, 401, 404]
            assert owner.post(f"/api/shared/{each}/seen").status_code == 404
        assert again() == 200
        for each in codes:
            assert statuses(guest, each) == [200] * 4
    shares = owner.get(path).json["shares"]
    assert {share["shareCode"] for share in shares} == set(codes)


def test_a_session_that_was_never_shared_has_no_link_though_it_is_public(owner):
    session_id = owner.make_session(isPublic=True)
    assert owner.get(f"/api/sessions/{session_id}").json["shares"] == []


def test_an_edit_is_seen_through_the_link_at_once(owner, guest, session_id, code):
    guest.get(f"/api/shared/{code}/preview")
    changes = {"title": "Another walk", "media": []}
    owner.patch(f"/api/sessions/{session_id}", json=changes)
    preview = guest.get(f"/api/shared/{code}/preview").json
    assert (preview["title"], preview["mediaCount"]) == ("Another walk", 0)
    assert guest.get(f"/api/shared/{code}").json["media"] == []


@pytest.fixture
def dead_codes(owner, session_id):
    """Codes that open nothing: paused, deleted, unknown, and what is no code at all."""
    paused = owner.share(session_id)["shareCode"]
    owner.patch(f"/api/sessions/{session_id}", json={"isPublic": False})
    deleted_id = owner.make_session()
    deleted = owner.share(deleted_id)["shareCode"]
    owner.delete(f"/api/sessions/{deleted_id}")
    one = str(uuid.uuid4())
    malformed = [
        one[:-1], one + "0", one.replace("-", ""), f"{{{one}}}", f"urn:uuid:{one}",
        str(uuid.uuid1()), "0" * 36, "-" * 36, "x", "1", "*", "%20", f"{one}%00",
        f"{one}%0A", "%00", "%FF", "٣" * 36, "x" * 5000, "..", "share:*", "a%2Fb",
    ]  # fmt: skip
    return [paused, deleted, one, *malformed]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/shared/{}/preview"), ("GET", "/api/shared/{}"),
        ("GET", "/api/shared/media/{}"), ("POST", "/api/shared/{}/seen"),
        ("GET", "/shared/{}"), ("GET", "/shared/{}/play"),
    ],
)  # fmt: skip
def test_all_that_opens_nothing_answers_alike(guest, dead_codes, method, path):
    """Byte for byte but for the request id: nobody learns which of them it is."""
    answers = [
        guest.open(path.format(code), method=method, headers={"X-Request-ID": "same"})
        for code in dead_codes
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.data for answer in answers}) == 1
    assert "Shared session not found" in answers[0].text
    assert len({str(sorted(answer.headers)) for answer in answers}) == 1


def test_a_page_without_a_code_is_a_plain_404(guest):
    assert guest.get("/shared/").status_code == 404
    assert guest.get("/api/shared/").status_code == 404
    assert guest.get("/api/shared//preview").status_code == 404
