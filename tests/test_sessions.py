"""Sessions: what their owner may do with them, and nobody else."""

import re

import pytest

from conftest import Visitor

MEMBERS = {
    "id", "title", "description", "userId", "intervalMin", "intervalMax", "transition",
    "thumbnail", "mediaCount", "isPublic", "createdAt", "updatedAt",
}  # fmt: skip
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
URL = "https://example.org/"

ROUTES = [
    ("GET", "/api/sessions/{}"), ("PATCH", "/api/sessions/{}"),
    ("DELETE", "/api/sessions/{}"), ("POST", "/api/sessions/{}/share"),
    ("DELETE", "/api/sessions/{}/shares/00000000-0000-4000-8000-000000000000"),
    ("GET", "/api/sessions/{}/stats"), ("GET", "/api/sessions/{}/stats.csv"),
    ("GET", "/api/sessions/{}/media"),
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
    ("title", ["x", "x" * 200, "🌊" * 200, "é", "0", '"<script>&\'', "שלום", " x "]),
    ("description", ["", "x" * 2000, "🌊" * 2000, "two\nlines\ttabs", " "]),
    ("intervalMin", [1, 10]),
    ("intervalMax", [3, 60]),
    ("transition", ["fade", "slide", "zoom", "flip", "none"]),
    ("thumbnail", [None, URL, URL.ljust(2048, "x"), "http://[::1]:8080/x"]),
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


OUT_OF_BOUNDS = [
    ("title", ["", " ", "x" * 201, None, 1, "\u202eevil", "two\nlines", "\x00"]),
    ("description", ["x" * 2001, None, 1, "\x00", "\u202e"]),
    ("intervalMin", [0, 61, 1.5, "3", None, True, 11]),
    ("intervalMax", [0, 61, 2, 1.5, "3", None]),
    ("transition", ["", "Fade", "spin", None]),
    ("thumbnail", ["", "x", "/x.jpg", "//a/x.jpg", "ftp://a/", "javascript:alert(1)",
                   "data:image/png;base64,AA", "http://", "http://a b/", "https://[::1",
                   "http://a:99999/", URL.ljust(2049, "x"), 1, [URL]]),
    ("isPublic", [None, 1, "true"]),
    ("media", [None, {}, [None], ["x"], [{}], [{"mediaUrl": "x"}], 1,
               [{"mediaUrl": URL, "type": "audio"}], [{"mediaUrl": URL, "url": URL}],
               [{"mediaUrl": URL, "caption": "x" * 501}],
               [{"mediaUrl": URL, "thumbnail": "x"}], [{"mediaUrl": URL}] * 501]),
]  # fmt: skip


@pytest.mark.parametrize(("member", "values"), OUT_OF_BOUNDS, ids=lambda v: str(v)[:9])
def test_what_is_out_of_bounds_is_a_400_that_names_the_member(owner, member, values):
    kept = create(owner)
    for value in values:
        given = {"title": "A walk", member: value}
        answers = [
            owner.post("/api/sessions", json=given),
            owner.patch(f"/api/sessions/{kept['id']}", json=given),
        ]
        for answer in answers:
            assert answer.status_code == 400, (value, answer.text)
            assert answer.json["code"] == "INVALID_REQUEST"
            blamed = answer.json["details"][0]["field"]
            assert blamed.startswith(member) or blamed == "intervalMin"
    assert owner.get("/api/sessions").json == [kept]


SERIALIZED = [
    ("http://a", "http://a/"),
    ("HTTPS://A.Example/X", "https://a.example/X"),
    ("  https://a.example/x  ", "https://a.example/x"),
    ("https://a.example/two words.jpg", "https://a.example/two%20words.jpg"),
    ("https://a.example/x?q=two words", "https://a.example/x?q=two%20words"),
    ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
    ("https://a.example:443/x", "https://a.example/x"),
    ("https://a.example/b/../c", "https://a.example/c"),
    ("https:a.example/x", "https://a.example/x"),
    ("https:\\\\a.example\\x", "https://a.example/x"),
    ("https://a.example/%zz", "https://a.example/%zz"),
    ("http://0x7f.1/x", "http://127.0.0.1/x"),
]


@pytest.mark.parametrize(("given", "kept"), SERIALIZED)
def test_a_url_is_kept_as_browsers_write_it(owner, given, kept):
    """https://url.spec.whatwg.org/#concept-url-serializer"""
    item = {"mediaUrl": given, "thumbnail": given}
    made = create(owner, thumbnail=given, media=[item])
    assert made["thumbnail"] == kept
    (item,) = read(owner, made["id"])["media"]
    assert (item["mediaUrl"], item["thumbnail"]) == (kept, kept)


# The cover

PICTURES = [{"mediaUrl": f"{URL}{n}.jpg"} for n in range(3)]
FILM = {"mediaUrl": f"{URL}film.mp4", "type": "video"}


@pytest.mark.parametrize(
    ("given", "cover"),
    [
        ({"media": PICTURES}, f"{URL}0.jpg"),
        ({"media": [FILM, *PICTURES]}, f"{URL}0.jpg"),
        ({"media": [FILM]}, None),
        ({"media": []}, None),
        ({}, None),
        ({"media": PICTURES, "thumbnail": None}, None),
        ({"media": PICTURES, "thumbnail": f"{URL}2.jpg"}, f"{URL}2.jpg"),
    ],
)
def test_the_cover_is_the_first_image_unless_one_is_chosen_or_none_is_wanted(
    owner, given, cover
):
    made = create(owner, **given)
    assert made["thumbnail"] == cover
    assert read(owner, made["id"])["session"]["thumbnail"] == cover


def test_a_cover_that_nobody_chose_follows_the_first_image(owner):
    path = f"/api/sessions/{create(owner, media=PICTURES)['id']}"
    changed = owner.patch(path, json={"media": PICTURES[1:]}).json
    assert changed["thumbnail"] == f"{URL}1.jpg"
    chosen = owner.patch(path, json={"thumbnail": f"{URL}2.jpg"}).json
    assert chosen["thumbnail"] == f"{URL}2.jpg"
    kept = owner.patch(path, json={"media": PICTURES}).json
    assert kept["thumbnail"] == f"{URL}2.jpg"
    none = owner.patch(path, json={"thumbnail": None}).json
    assert none["thumbnail"] is None
    assert owner.patch(path, json={"media": PICTURES[1:]}).json["thumbnail"] is None


def test_it_goes_on_following_where_an_edit_says_what_it_is_anyway(owner):
    """As the editor does, which saves what is on the screen."""
    path = f"/api/sessions/{create(owner, media=PICTURES)['id']}"
    told = {"media": PICTURES[1:], "thumbnail": f"{URL}1.jpg"}
    assert owner.patch(path, json=told).json["thumbnail"] == f"{URL}1.jpg"
    changed = owner.patch(path, json={"media": PICTURES}).json
    assert changed["thumbnail"] == f"{URL}0.jpg"


def test_intervals_may_be_equal(owner):
    made = create(owner, intervalMin=60, intervalMax=60)
    assert (made["intervalMin"], made["intervalMax"]) == (60, 60)


def test_media_get_their_id_and_order_from_their_place(owner):
    film = {"type": "video", "captions": f"{URL}a.vtt"}
    media = [
        {"mediaUrl": f"{URL}b.jpg"},
        {"mediaUrl": f"{URL}a.mp4", "caption": "c" * 500, "thumbnail": f"{URL}a.jpg",
         **film},
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
    assert [set(item) - {"captions"} for item in items] == [members] * 4
    full = {"type": "image", "caption": None, "thumbnail": None}
    for item, given in zip(items, media, strict=True):
        kept = {name: item[name] for name in item if name not in ("id", "order")}
        assert kept == full | given


def test_the_media_of_a_session_of_mine_come_in_pages_too(owner):
    path = f"/api/sessions/{owner.make_session(media=5)}/media"
    answer = owner.get(f"{path}?offset=1&limit=2")
    assert answer.json["total"] == 5
    assert [item["order"] for item in answer.json["media"]] == [1, 2]
    assert owner.get(f"{path}?limit=x").status_code == 400


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


NO_IDS = ["0", "01", "-1", "+1", "1.0", "1e3", "abc", "%20", "1%20", "٣", "0x1", "null"]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_what_is_no_positive_integer_is_no_session_id(owner, method, path):
    for session_id in NO_IDS:
        body = {} if method in ("PATCH", "POST") else None
        answer = owner.open(path.format(session_id), method=method, json=body)
        assert answer.status_code == 400, (path, session_id)
        assert answer.json["message"] == "Invalid session ID"
        assert answer.json["code"] == "INVALID_SESSION_ID"


def test_an_id_is_made_by_the_service_grows_and_is_exact_in_javascript(owner):
    made = [create(owner)["id"] for _ in range(20)]
    assert made == sorted(set(made))
    assert 0 < made[0] < made[-1] < 2**53


@pytest.fixture
def stranger(new_visitor):
    """Somebody else who is signed in."""
    other = new_visitor()
    other.sign_up("other@example.com")
    return other


@pytest.mark.parametrize("seconds", [-1_795_564_000, 3_000_000_000])
def test_an_id_is_in_bounds_whatever_the_clock_says(clock, app, seconds):
    """In 1970, as where no clock has been set, and in 2121."""
    clock(seconds)
    owner = Visitor(app)
    owner.sign_up()
    session_id = owner.make_session()
    assert 0 < session_id < 2**53
    assert [row["id"] for row in owner.get("/api/sessions").json] == [session_id]
    assert owner.delete(f"/api/sessions/{session_id}").status_code == 204


def test_someone_elses_session_is_a_403(owner, stranger):
    made = create(owner)
    for method, path in ROUTES:
        body = {} if method in ("PATCH", "POST") else None
        answer = stranger.open(path.format(made["id"]), method=method, json=body)
        assert (answer.status_code, answer.json["error"]) == (403, "Forbidden"), path
    assert read(owner, made["id"]) == {"session": made, "media": [], "shares": []}


@pytest.mark.parametrize("missing", [999, 2**53 - 1, 2**64, 10**40])
def test_a_missing_session_is_a_404(owner, missing):
    for method, path in ROUTES:
        body = {} if method in ("PATCH", "POST") else None
        answer = owner.open(path.format(missing), method=method, json=body)
        assert (answer.status_code, answer.json["message"]) == (
            404, "Session not found",
        ), path  # fmt: skip


BAD = [
    ("PATCH", "", {"json": {"titel": "x"}}),
    ("PATCH", "", {"json": {"intervalMin": 10, "intervalMax": 3}}),
    ("PATCH", "", {"data": "{", "content_type": "application/json"}),
    ("POST", "/share", {"json": {"userid": "x"}}),
    ("POST", "/share", {"json": {"userId": "x", "label": "x"}}),
    ("POST", "/share", {"json": {"email": "no email"}}),
    ("GET", "/media", {"query_string": {"limit": "0"}}),
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


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "limit=", "limit=1.0", "cursor=x",
              "cursor=-1", "cursor=%D9%A3", "cursor=99999999999999999999"],
)  # fmt: skip
def test_a_bad_page_is_refused_and_named(owner, query):
    answer = owner.get(f"/api/sessions?{query}")
    assert answer.status_code == 400
    assert answer.json["details"][0]["field"] == query.partition("=")[0]


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
