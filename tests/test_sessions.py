"""Sessions: what their owner may do with them, and nobody else."""

import re

import pytest

MEMBERS = {
    "id", "title", "description", "userId", "intervalMin", "intervalMax", "transition",
    "thumbnail", "mediaCount", "isPublic", "createdAt", "updatedAt",
}  # fmt: skip
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
URL = "https://example.org/"

ROUTES = [
    ("GET", "/api/sessions/{}"), ("PATCH", "/api/sessions/{}"),
    ("DELETE", "/api/sessions/{}"), ("POST", "/api/sessions/{}/share"),
    ("GET", "/api/sessions/{}/stats"), ("GET", "/api/sessions/{}/stats.csv"),
]  # fmt: skip


def create(owner, **given):
    answer = owner.post("/api/sessions", json={"title": "A walk"} | given)
    assert answer.status_code == 201, answer.text
    return answer.json


def read(owner, session_id):
    answer = owner.get(f"/api/sessions/{session_id}")
    assert answer.status_code == 200, answer.text
    return answer.json


def test_a_title_alone_makes_a_session_with_the_defaults(owner):
    answer = owner.post("/api/sessions", json={"title": "A walk"})
    assert answer.status_code == 201
    session = answer.json
    assert set(session) == MEMBERS
    assert type(session["id"]) is int
    assert session["id"] > 0
    assert answer.headers["Location"].endswith(f"/api/sessions/{session['id']}")
    assert session["userId"] == owner.user["id"]
    assert TIME.fullmatch(session["createdAt"])
    assert session["updatedAt"] == session["createdAt"]
    defaults = {
        "title": "A walk", "description": "", "intervalMin": 3, "intervalMax": 10,
        "transition": "fade", "thumbnail": None, "isPublic": False, "mediaCount": 0,
    }  # fmt: skip
    assert {name: session[name] for name in defaults} == defaults
    assert read(owner, session["id"]) == {"session": session, "media": [], "shares": []}


BOUNDS = [
    ("title", ["x", "x" * 200, "🌊" * 200, "\u202e\x00é", "0", '"<script>&\'']),
    ("description", ["", "x" * 2000, "🌊" * 2000, "two\nlines\ttabs", " "]),
    ("intervalMin", [1, 10]),
    ("intervalMax", [3, 60]),
    ("transition", ["fade", "slide", "zoom", "flip", "none"]),
    ("thumbnail", [None, "http://a", "HTTPS://A/", URL.ljust(2048, "x"),
                   "https://bücher.example/ü?a=[1]&b=é#f", "http://[::1]:8080/x"]),
    ("isPublic", [True, False]),
]  # fmt: skip


@pytest.mark.parametrize(("member", "values"), BOUNDS, ids=lambda given: str(given)[:9])
def test_each_member_is_kept_as_given_up_to_its_bounds(owner, member, values):
    other = create(owner)["id"]
    for value in values:
        made = create(owner, **{member: value})
        assert made[member] == value
        assert read(owner, made["id"])["session"] == made
        changed = owner.patch(f"/api/sessions/{other}", json={member: value})
        assert (changed.status_code, changed.json[member]) == (200, value)
        assert read(owner, other)["session"][member] == value


def test_intervals_may_be_equal(owner):
    made = create(owner, intervalMin=60, intervalMax=60)
    assert (made["intervalMin"], made["intervalMax"]) == (60, 60)


def test_media_get_their_id_and_order_from_their_place(owner):
    media = [
        {"mediaUrl": f"{URL}b.jpg"},
        {"mediaUrl": f"{URL}a.mp4", "type": "video", "caption": "c" * 500,
         "thumbnail": f"{URL}a.jpg"},
        {"mediaUrl": f"{URL}b.jpg", "type": "image", "caption": None,
         "thumbnail": None},
        {"mediaUrl": URL.ljust(2048, "x"), "caption": ""},
    ]  # fmt: skip
    made = create(owner, media=media)
    assert made["mediaCount"] == 4
    items = read(owner, made["id"])["media"]
    assert [item["order"] for item in items] == [0, 1, 2, 3]
    assert len({item["id"] for item in items}) == 4
    members = {"id", "mediaUrl", "type", "caption", "thumbnail", "order"}
    assert [set(item) for item in items] == [members] * 4
    full = {"type": "image", "caption": None, "thumbnail": None}
    for item, given in zip(items, media, strict=True):
        kept = {name: item[name] for name in members - {"id", "order"}}
        assert kept == full | given


def test_a_patch_of_the_media_takes_the_place_of_the_whole_list(owner):
    session_id = owner.make_session(media=3)
    items = [{"mediaUrl": f"{URL}{n}.jpg"} for n in (2, 0)]
    answer = owner.patch(f"/api/sessions/{session_id}", json={"media": items})
    assert answer.json["mediaCount"] == 2
    media = read(owner, session_id)["media"]
    assert [(item["mediaUrl"], item["order"]) for item in media] == [
        (f"{URL}2.jpg", 0), (f"{URL}0.jpg", 1),
    ]  # fmt: skip
    assert owner.patch(f"/api/sessions/{session_id}", json={"media": []}).json[
        "mediaCount"
    ] == 0  # fmt: skip
    assert read(owner, session_id)["media"] == []


def test_a_patch_leaves_the_other_members_alone(owner):
    made = create(
        owner, description="d", intervalMin=4, intervalMax=9, transition="zoom",
        thumbnail=URL, isPublic=True, media=[{"mediaUrl": URL}],
    )  # fmt: skip
    before = read(owner, made["id"])
    answer = owner.patch(f"/api/sessions/{made['id']}", json={"title": "New"})
    assert answer.status_code == 200
    changes = {"title": "New", "updatedAt": answer.json["updatedAt"]}
    assert answer.json == made | changes
    assert read(owner, made["id"]) == before | {"session": made | changes}


def test_an_empty_patch_changes_nothing(owner):
    made = create(owner)
    answer = owner.patch(f"/api/sessions/{made['id']}", json={})
    assert answer.status_code == 200
    assert answer.json | {"updatedAt": ""} == made | {"updatedAt": ""}


def test_a_refused_patch_changes_nothing(owner):
    made = create(owner)
    bad = {"title": "New", "intervalMin": 99}
    assert owner.patch(f"/api/sessions/{made['id']}", json=bad).status_code == 400
    assert read(owner, made["id"])["session"] == made


def test_a_patch_checks_its_intervals_against_what_is_kept(owner):
    made = create(owner, intervalMin=5, intervalMax=20)
    path = f"/api/sessions/{made['id']}"
    for wrong in ({"intervalMin": 21}, {"intervalMax": 4}):
        assert owner.patch(path, json=wrong).status_code == 400
    both = owner.patch(path, json={"intervalMin": 30, "intervalMax": 40}).json
    assert (both["intervalMin"], both["intervalMax"]) == (30, 40)


# Who may


@pytest.mark.parametrize(
    ("method", "path"), [*ROUTES, ("GET", "/api/sessions"), ("POST", "/api/sessions")]
)
@pytest.mark.parametrize("session_id", ["1", "999", "abc"])
def test_without_a_login_everything_is_a_401(visitor, method, path, session_id):
    """Before the id, the body and the content type are looked at."""
    options = {"data": "{", "content_type": "text/plain"} if method != "GET" else {}
    answer = visitor.open(path.format(session_id), method=method, **options)
    assert (answer.status_code, answer.json["message"]) == (401, "Unauthorized")
    assert answer.json["code"] == "UNAUTHORIZED"


@pytest.fixture
def stranger(new_visitor):
    """Somebody else who is signed in."""
    other = new_visitor()
    other.sign_up("other@example.com")
    return other


def test_someone_elses_session_is_a_403(owner, stranger):
    made = create(owner)
    for method, path in ROUTES:
        body = {} if method in ("PATCH", "POST") else None
        answer = stranger.open(path.format(made["id"]), method=method, json=body)
        assert (answer.status_code, answer.json["error"]) == (403, "Forbidden"), path
    assert read(owner, made["id"]) == {"session": made, "media": [], "shares": []}


def test_a_missing_session_is_a_404(owner):
    for method, path in ROUTES:
        body = {} if method in ("PATCH", "POST") else None
        answer = owner.open(path.format(999), method=method, json=body)
        assert (answer.status_code, answer.json["message"]) == (
            404, "Session not found",
        ), path  # fmt: skip


BAD = [
    ("PATCH", "", {"json": {"titel": "x"}}),
    ("PATCH", "", {"json": {"intervalMin": 10, "intervalMax": 3}}),
    ("PATCH", "", {"data": "{", "content_type": "application/json"}),
    ("POST", "/share", {"json": {"userid": "x"}}),
    ("GET", "/stats", {"query_string": {"days": "0"}}),
    ("GET", "/stats.csv", {"query_string": {"days": "x"}}),
]


def test_a_bad_request_is_a_400_before_a_404_and_a_403(owner, stranger):
    theirs = create(owner)["id"]
    for method, path, options in BAD:
        for session_id in (theirs, 999):
            answer = stranger.open(
                f"/api/sessions/{session_id}{path}", method=method, **options
            )
            assert answer.status_code == 400, (method, path, options, session_id)


def test_an_unknown_account_is_a_404_before_a_403(owner, stranger):
    theirs = create(owner)["id"]
    share = f"/api/sessions/{theirs}/share"
    answer = stranger.post(share, json={"userId": "nobody"})
    assert (answer.status_code, answer.json["message"]) == (404, "User not found")


# Lists


def links(answer):
    """The `next` of a Link header, as a path; None without one."""
    link = answer.headers.get("Link")
    return link and re.fullmatch(r'<https?://[^/>]+(/[^>]+)>; rel="next"', link)[1]


def walk(client, path):
    """All pages from `path` on, following their links."""
    pages = []
    while path:
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        pages.append([session["id"] for session in answer.json])
        path = links(answer)
    return pages


def flat(pages):
    """Their ids in a row."""
    return [session_id for page in pages for session_id in page]


def test_a_list_is_newest_first_and_only_ones_own(owner, stranger):
    mine = [create(owner, title=str(n)) for n in range(3)]
    create(stranger)
    assert owner.get("/api/sessions").json == mine[::-1]


def test_an_empty_list_has_no_next_page(owner):
    answer = owner.get("/api/sessions")
    assert (answer.json, "Link" in answer.headers) == ([], False)


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [(3, [3, 3, 1]), (7, [7]), (6, [6, 1]), (200, [7]), (1, [1] * 7)],
)
def test_links_lead_to_the_end_without_gap_or_repeat(owner, limit, sizes):
    made = [create(owner)["id"] for _ in range(7)]
    pages = walk(owner, f"/api/sessions?limit={limit}")
    assert [len(page) for page in pages] == sizes
    assert flat(pages) == made[::-1]


def test_fifty_make_a_page_unless_told_otherwise(owner):
    made = [create(owner)["id"] for _ in range(51)]
    assert walk(owner, "/api/sessions") == [made[:0:-1], made[:1]]


def test_a_page_is_followed_rightly_though_sessions_come_and_go(owner):
    made = [create(owner)["id"] for _ in range(6)]
    first = owner.get("/api/sessions?limit=2")
    create(owner)
    owner.delete(f"/api/sessions/{made[4]}")
    owner.delete(f"/api/sessions/{made[2]}")
    following = walk(owner, links(first))
    assert flat(following) == [made[3], made[1], made[0]]


# Deleting


def test_a_deleted_session_is_gone(owner):
    session_id = owner.make_session()
    code = owner.share(session_id)["shareCode"]
    answer = owner.delete(f"/api/sessions/{session_id}")
    assert (answer.status_code, answer.data) == (204, b"")
    assert "Content-Type" not in answer.headers or not answer.data
    for method, path in ROUTES:
        body = {} if method in ("PATCH", "POST") else None
        gone = owner.open(path.format(session_id), method=method, json=body)
        assert gone.status_code == 404, path
    for path in ("/api/shared/{}/preview", "/api/shared/{}", "/api/shared/media/{}"):
        assert owner.get(path.format(code)).status_code == 404
    assert owner.get("/api/sessions").json == []
