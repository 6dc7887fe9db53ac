"""Sharing: one code for everyone, a preview for anyone, playback for the signed in."""

import html
import io
import re
import uuid

import fakeredis
import pytest

import joip_share
from conftest import Visitor, World
from shown import message

UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
BASE = "https://joip.example"
PREVIEW = {
    "shareCode", "title", "description", "thumbnail", "mediaCount", "intervalMin",
    "intervalMax", "transition", "ownerName", "createdAt",
}  # fmt: skip


@pytest.fixture
def settings():
    return joip_share.Settings(public_url=BASE, ratelimit_enabled=False)


@pytest.fixture
def unshared(world):
    """The path of a session of the owner's that is not shared yet."""
    return f"/api/sessions/{world.owner.make_session()}"


def paths(code):
    """What a code opens by the API, the page last."""
    return [
        f"/api/shared/{code}/preview", f"/api/shared/{code}",
        f"/api/shared/media/{code}", f"/shared/{code}",
    ]  # fmt: skip


def statuses(client, code):
    return [client.get(path).status_code for path in paths(code)]


# Making a link


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": b""},
        {"json": {}},
        {"json": {"userId": None, "email": None, "label": None}},
        {"data": b"", "content_type": "application/json"},
        {"data": b"", "content_type": "text/plain"},
        {"data": b" \r\n", "content_type": "application/json"},
    ],
)
def test_a_share_is_made_without_a_body_or_with_an_empty_one(world, unshared, body):
    answer = world.owner.post(f"{unshared}/share", **body)
    assert answer.status_code == 200, answer.text
    assert set(answer.json) == {"shareCode", "shareUrl", "referralCode"}
    code, referral = answer.json["shareCode"], answer.json["referralCode"]
    assert re.fullmatch(UUID4, code)
    assert uuid.UUID(code).version == 4
    assert referral == world.referral_code
    assert answer.json["shareUrl"] == f"{BASE}/shared/{code}?r={referral}"


def test_a_body_that_a_server_hands_over_in_chunks_is_read(world, unshared):
    """gunicorn tells no Content-Length of it; it must not be taken for no body."""
    chunks = {
        "input_stream": io.BytesIO(b'{"label": "chunks"}'),
        "content_type": "application/json",
        "environ_overrides": {"wsgi.input_terminated": True},
    }
    assert world.owner.post(f"{unshared}/share", **chunks).status_code == 200
    (link,) = world.owner.get(unshared).json["shares"]
    assert link["label"] == "chunks"


def test_the_link_never_follows_the_host_header(world):
    cookie = world.owner.client.get_cookie("connect.sid")
    answer = world.app.test_client(use_cookies=False).post(
        f"/api/sessions/{world.session_id}/share",
        headers={
            "Host": "evil.example", "X-Forwarded-Host": "evil.example",
            "Cookie": f"connect.sid={cookie.value}",
        },
    )  # fmt: skip
    assert answer.json["shareUrl"].startswith(f"{BASE}/shared/")


def test_sharing_twice_returns_the_same_code(world):
    first = world.owner.share(world.session_id)
    assert first["shareCode"] == world.code
    assert [world.owner.share(world.session_id) for _ in range(3)] == [first] * 3


def test_each_session_has_a_code_of_its_own(world):
    other = world.owner.share(world.owner.make_session())
    assert other["shareCode"] != world.code


def test_sharing_makes_the_session_public(world, unshared):
    assert world.owner.get(unshared).json["session"]["isPublic"] is False
    world.owner.post(f"{unshared}/share")
    assert world.owner.get(unshared).json["session"]["isPublic"] is True


MAY_NOT = [
    ("{id}", False, 401, "Unauthorized"),
    ("x", False, 401, "Unauthorized"),
    ("x", True, 400, "Invalid session ID"),
    ("0", True, 400, "Invalid session ID"),
    ("-1", True, 400, "Invalid session ID"),
    ("1.0", True, 400, "Invalid session ID"),
    ("٣", True, 400, "Invalid session ID"),
    ("999", True, 404, "Session not found"),
    ("9" * 40, True, 404, "Session not found"),
    ("{id}", True, 403, "You do not have permission to share this session"),
]


@pytest.mark.parametrize(("path", "signed_in", "status", "message"), MAY_NOT)
def test_who_may_not_share(world, unshared, path, signed_in, status, message):
    person = world.guest if signed_in else world.stranger
    path = path.format(id=unshared.rpartition("/")[2])
    for body in ({}, {"label": "x"}, {"email": "x@example.com"}):
        answer = person.post(f"/api/sessions/{path}/share", json=body)
        assert (answer.status_code, answer.json["message"]) == (status, message)
    assert world.owner.get(unshared).json["shares"] == []


def test_a_session_that_was_never_shared_has_no_link_though_it_is_public(owner):
    session_id = owner.make_session(isPublic=True)
    assert owner.get(f"/api/sessions/{session_id}").json["shares"] == []


# What a link opens


def test_anyone_sees_the_preview_and_nothing_private(world):
    media = [{"mediaUrl": "https://secret.example/1.jpg", "caption": "Whisper"}]
    world.owner.patch("/api/auth/user", json={"name": "Ada"})
    session = {
        "title": "A walk", "description": "By the lake", "intervalMin": 2,
        "intervalMax": 7, "transition": "zoom", "thumbnail": "https://example.org/t.jpg",
        "media": media,
    }  # fmt: skip
    made = world.owner.post("/api/sessions", json=session).json
    code = world.owner.share(made["id"])["shareCode"]
    answers = [
        person.get(f"/api/shared/{code}/preview")
        for person in (world.stranger, world.guest, world.owner)
    ]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.data for answer in answers}) == 1
    preview = answers[0].json
    del session["media"]
    assert preview == session | {
        "shareCode": code, "mediaCount": 1, "ownerName": "Ada",
        "createdAt": made["createdAt"],
    }  # fmt: skip
    user = world.owner.user
    page = world.stranger.get(f"/shared/{code}").text
    for secret in (
        "secret.example", "Whisper", user["email"], user["id"], str(made["id"])
    ):  # fmt: skip
        assert secret not in answers[0].text
        assert secret not in page


def test_a_session_without_thumbnail_or_text_has_a_preview_too(world):
    code = world.owner.share(world.owner.make_session(media=0))["shareCode"]
    preview = world.stranger.get(f"/api/shared/{code}/preview").json
    assert set(preview) == PREVIEW
    assert (preview["thumbnail"], preview["description"]) == (None, "")
    assert preview["mediaCount"] == 0


def test_playback_needs_an_account(world):
    code = world.code
    for path in (f"/api/shared/{code}", f"/api/shared/media/{code}"):
        answer = world.stranger.get(path)
        assert (answer.status_code, answer.json["code"]) == (401, "UNAUTHORIZED")
    away = world.stranger.get(f"/shared/{code}/play")
    assert away.status_code in (302, 303)
    assert away.headers["Location"].startswith("/login?next=")


@pytest.mark.parametrize("code", ["x", "00000000-0000-4000-8000-000000000000"])
def test_playback_asks_for_an_account_before_it_looks_for_the_code(visitor, code):
    for path in (f"/api/shared/{code}", f"/api/shared/media/{code}?limit=x"):
        assert visitor.get(path).status_code == 401
    assert visitor.get(f"/shared/{code}/play").status_code == 303


def test_the_signed_in_get_the_session_without_its_owners_id(world):
    mine = world.owner.get(f"/api/sessions/{world.session_id}").json
    for person in (world.guest, world.owner):
        answer = person.get(f"/api/shared/{world.code}")
        assert answer.status_code == 200
        assert set(answer.json) == {"session", "media"}
        wanted = {k: v for k, v in mine["session"].items() if k != "userId"}
        name = world.owner.user["name"]
        assert answer.json["session"] == wanted | {"ownerName": name}
        assert answer.json["media"] == mine["media"]
        assert world.owner.user["id"] not in answer.text
        assert world.owner.user["email"] not in answer.text


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
def test_media_come_in_pages(world, query, orders):
    code = world.owner.share(world.owner.make_session(media=120))["shareCode"]
    answer = world.guest.get(f"/api/shared/media/{code}{query}")
    assert answer.status_code == 200
    assert set(answer.json) == {"media", "total"}
    assert answer.json["total"] == 120
    assert [item["order"] for item in answer.json["media"]] == list(orders)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "limit=", "offset=-1", "offset=1.5"]
)
def test_a_bad_page_of_media_is_a_400_before_a_404(world, query):
    for code in (world.code, uuid.uuid4()):
        answer = world.guest.get(f"/api/shared/media/{code}?{query}")
        assert answer.status_code == 400
        assert answer.json["details"][0]["field"] == query.partition("=")[0]


def test_codes_are_read_without_case(world):
    for spelling in (world.code.upper(), world.code.title()):
        assert statuses(world.guest, spelling) == [200] * 4
        preview = world.guest.get(f"/api/shared/{spelling}/preview").json
        assert preview["shareCode"] == world.code
        assert world.guest.post(f"/api/shared/{spelling}/seen").status_code == 204
        assert world.guest.get(f"/shared/{spelling}/play").status_code == 200


def test_what_is_shared_is_not_for_search_engines(world):
    for path in (*paths(world.code), f"/shared/{world.code}/play", "/shared/nothing"):
        answer = world.guest.get(path)
        assert answer.headers.getlist("X-Robots-Tag") == ["noindex"], path
    assert "X-Robots-Tag" not in world.guest.get("/").headers


def test_nor_is_what_names_it_to_those_who_are_to_sign_in(world):
    """A crawler follows the links of a page that it does not keep."""
    page = world.stranger.get(f"/shared/{world.code}").text
    links = re.findall(r'href="(/(?:register|login)[^"]+)"', page)
    assert len(links) == 2
    for link in (*links, f"/oembed?url={BASE}/shared/{world.code}"):
        answer = world.stranger.get(html.unescape(link))
        assert answer.status_code == 200
        assert answer.headers.getlist("X-Robots-Tag") == ["noindex"], link


def test_any_site_may_read_a_preview_and_why_there_is_none(world):
    for code, status in ((world.code, 200), ("x", 404), (uuid.uuid4(), 404)):
        answer = world.stranger.get(
            f"/api/shared/{code}/preview",
            headers={"Origin": "https://blog.example", "Sec-Fetch-Site": "cross-site"},
        )
        assert answer.status_code == status
        assert answer.headers.getlist("Access-Control-Allow-Origin") == ["*"]
        assert "Access-Control-Allow-Credentials" not in answer.headers
    for path in (f"/api/shared/{world.code}", f"/api/sessions/{world.session_id}", "/"):
        answer = world.owner.get(path, headers={"Origin": "https://blog.example"})
        assert "Access-Control-Allow-Origin" not in answer.headers, path


def test_an_edit_is_seen_through_the_link_at_once(world):
    world.guest.get(f"/api/shared/{world.code}/preview")
    world.guest.get(f"/shared/{world.code}")
    changes = {"title": "Another walk", "media": []}
    world.owner.patch(f"/api/sessions/{world.session_id}", json=changes)
    preview = world.guest.get(f"/api/shared/{world.code}/preview").json
    assert (preview["title"], preview["mediaCount"]) == ("Another walk", 0)
    assert world.guest.get(f"/api/shared/{world.code}").json["media"] == []
    assert "Another walk" in world.guest.get(f"/shared/{world.code}").text


def test_an_owners_new_name_shows_on_their_links_at_once(world):
    world.guest.get(f"/shared/{world.code}")
    world.owner.patch("/api/auth/user", json={"name": "Grace"})
    preview = world.guest.get(f"/api/shared/{world.code}/preview").json
    assert preview["ownerName"] == "Grace"
    assert "Grace" in world.guest.get(f"/shared/{world.code}").text


# Links that open nothing


def test_a_paused_session_answers_404_on_all_links_until_it_is_resumed(world):
    path = f"/api/sessions/{world.session_id}"
    bodies = [{}, {"userId": world.guest.user["id"]}, {"label": "newsletter"},
              {"email": world.guest.user["email"]}]  # fmt: skip
    codes = [
        world.owner.share(world.session_id, **body)["shareCode"] for body in bodies
    ]
    resume = [
        lambda: world.owner.patch(path, json={"isPublic": True}),
        *(
            lambda body=body: world.owner.post(f"{path}/share", json=body)
            for body in bodies
        ),
    ]
    for again in resume:
        paused = world.owner.patch(path, json={"isPublic": False})
        assert paused.json["isPublic"] is False
        for code in codes:
            assert statuses(world.guest, code) == [404] * 4
            assert statuses(world.stranger, code) == [404, 401, 401, 404]
            assert world.guest.get(f"/shared/{code}/play").status_code == 404
            assert world.guest.post(f"/api/shared/{code}/seen").status_code == 404
        assert again().status_code == 200
        for code in codes:
            assert statuses(world.guest, code) == [200] * 4
    shares = world.owner.get(path).json["shares"]
    assert {share["shareCode"] for share in shares} == set(codes)


def test_only_its_owner_sees_the_page_of_a_paused_session_and_that_it_is_paused(world):
    world.owner.patch(f"/api/sessions/{world.session_id}", json={"isPublic": False})
    assert statuses(world.owner, world.code) == [404, 404, 404, 200]
    page = world.owner.get(f"/shared/{world.code}").text
    assert "paused" in page.lower()
    assert message(page) is None


@pytest.fixture
def dead_codes(world):
    """Codes that open nothing: paused, deleted, revoked, of an account that is gone,
    unknown, and what is no code at all."""
    owner = world.owner
    owner.patch(f"/api/sessions/{world.session_id}", json={"isPublic": False})
    deleted_id, revoked_id = owner.make_session(), owner.make_session()
    deleted = owner.share(deleted_id)["shareCode"]
    owner.delete(f"/api/sessions/{deleted_id}")
    revoked = owner.share(revoked_id)["shareCode"]
    owner.delete(f"/api/sessions/{revoked_id}/shares/{revoked}")
    one = str(uuid.uuid4())
    malformed = [
        one[:-1], one + "0", one.replace("-", ""), f"{{{one}}}", f"urn:uuid:{one}",
        str(uuid.uuid1()), "0" * 36, "-" * 36, "x", "1", "*", "%20", f"{one}%00",
        f"{one}%0A", "%00", "%FF", "٣" * 36, "x" * 5000, "..", "share:*", "a%2Fb",
    ]  # fmt: skip
    gone = gone_with_its_account(world), going_with_its_account(world)
    return [world.code, deleted, revoked, *gone, one, *malformed]


def going_with_its_account(world):
    """The code of a link whose owner's deletion was cut short by a crash."""
    person = world.newcomer()
    user_id = person.sign_up("going@example.com")["id"]
    code = person.share(person.make_session())["shareCode"]
    world.store.execute("HSET", world.store.keys.user(user_id), "deleting", 1)
    return code


def gone_with_its_account(world):
    """The code of a link whose owner has deleted the account."""
    person = world.newcomer()
    person.sign_up("goes@example.com")
    code = person.share(person.make_session())["shareCode"]
    given = {"currentPassword": "long enough"}
    assert person.delete("/api/auth/user", json=given).status_code == 204
    return code


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/shared/{}/preview"), ("GET", "/api/shared/{}"),
        ("GET", "/api/shared/media/{}"), ("POST", "/api/shared/{}/seen"),
        ("GET", "/shared/{}"), ("GET", "/shared/{}/play"),
        ("GET", "/oembed?url=https://joip.example/shared/{}"),
    ],
)  # fmt: skip
def test_all_that_opens_nothing_answers_alike(world, dead_codes, method, path):
    """Byte for byte but for the request id: nobody learns which of them it is."""
    answers = [
        world.guest.open(
            path.format(code), method=method, headers={"X-Request-ID": "same"}
        )
        for code in dead_codes
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.data for answer in answers}) == 1
    assert "Shared session not found" in answers[0].text
    assert len({str(sorted(answer.headers)) for answer in answers}) == 1


def test_a_link_whose_owner_is_gone_answers_alike_in_another_process(settings):
    """Which knows the link, and nobody's referral code."""
    server = fakeredis.FakeServer()
    one, other = (
        joip_share.create_app(settings, fakeredis.FakeStrictRedis(server=server))
        for _ in range(2)
    )
    world, stranger = World.within(one), Visitor(other)
    path = f"/api/shared/{world.code}/preview"
    assert stranger.get(path).status_code == 200
    given = {"currentPassword": "long enough"}
    assert world.owner.delete("/api/auth/user", json=given).status_code == 204
    for query in ("", "?r=k3v9x0qa", f"?r={world.referral_code}"):
        answer = stranger.get(path + query)
        assert answer.status_code == 404
        assert answer.json["code"] == "SHARED_SESSION_NOT_FOUND"


def test_a_page_without_a_code_is_a_plain_404(world):
    for path in ("/shared/", "/api/shared/", "/api/shared//preview", "/shared"):
        assert world.guest.get(path).status_code == 404


class Below(Visitor):
    """A visitor for whom every address begins with /joip."""

    def open(self, path, method="GET", **options):
        return super().open(f"/joip{path}", method, **options)


def test_under_a_path_everything_shared_is_below_it():
    settings = joip_share.Settings(public_url=f"{BASE}/joip", ratelimit_enabled=False)
    app = joip_share.create_app(settings, fakeredis.FakeStrictRedis())
    world = World(lambda: Below(app), app)
    url = world.owner.share(world.session_id)["shareUrl"]
    assert url == f"{BASE}/joip{world.link}"
    page = world.stranger.get(world.link).text
    assert message(page)[0] == f"/joip/api/shared/{world.code}/seen"
