"""openapi.yaml says what the service does: its routes, and what it answers."""

import contextlib
import csv
import json
import os
import re
import string
import subprocess
from pathlib import Path

import fakeredis
import pytest
import schemathesis
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

import joip_share
import openapi
from clock import MAX_ID
from servers import BIN, Client

DOCUMENT = openapi.document("http://127.0.0.1:8000")
OPERATIONS = [
    (path, method, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
]

BY_ID = {operation["operationId"]: operation for _, _, operation in OPERATIONS}
ACCOUNT = {
    "register",
    "login",
    "logout",
    "updateUser",
    "deleteUser",
}  # would end the login they are tried with
FOR_ANYONE = {
    name for name, operation in BY_ID.items()
    if operation.get("security", DOCUMENT["security"]) == []
    or {} in operation.get("security", ())
}  # fmt: skip

# One run: some 3 requests an operation and phase, always the same ones; now and then
# more, and others each time.
FEW = ["--max-examples=3", "--generation-deterministic"]
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "")
SCHEMATHESIS = [
    str(BIN / "schemathesis"),
    "--config-file=schemathesis.toml",
    "run",
    "--checks=all",
    "--mode=all",
    *([f"--max-examples={EXAMPLES}"] if EXAMPLES else FEW),
    "--workers=1",
    "--request-timeout=30",
    "--continue-on-failure",
    "--no-color",
]


def service(public_url="http://localhost", redis=None):
    """The app on a store in memory, or on none at all."""
    settings = joip_share.Settings(
        redis_url="redis://127.0.0.1:1", public_url=public_url
    )
    return joip_share.create_app(settings, redis=redis)


@pytest.fixture
def client():
    return service(redis=fakeredis.FakeRedis()).test_client()


def test_paths_are_exactly_the_apps_routes_under_api():
    routes = {
        (re.sub(r"<(?:\w+:)?(?:session_)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in service().url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/api/")
    }
    assert {(path, method) for path, method, _ in OPERATIONS} == routes


def test_the_document_is_valid_openapi_3_1():
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert [e.message for e in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_nothing_in_the_document_is_unused():
    text = json.dumps(DOCUMENT)
    unused = [
        pointer
        for kind, things in DOCUMENT["components"].items()
        if kind != "securitySchemes"
        for pointer in (f"#/components/{kind}/{name}" for name in things)
        if f'"{pointer}"' not in text
    ]
    assert unused == []


def test_who_reads_the_csv_by_a_program_is_told_what_is_put_before_a_text(client):
    client.post("/api/register", json=BODIES["register"])
    session = client.post("/api/sessions", json=BODIES["createSession"]).json["id"]
    path = f"/api/sessions/{session}"
    for begin in string.punctuation:
        client.post(f"{path}/share", json={"label": f"{begin}x"})
    rows = client.get(f"{path}/stats.csv?by=link").text.splitlines()
    changed = {row[1][1] for row in csv.reader(rows) if re.match("'.x", row[1])}
    told = re.findall("`(.)`", BY_ID["getStatsCsv"]["description"])
    assert changed == {*told}


@pytest.mark.parametrize(
    ("public_url", "base"),
    [("https://example.org", ""), ("https://example.org/joip", "/joip")],
)
def test_the_service_hands_the_document_out_with_its_own_address(public_url, base):
    client = service(public_url, fakeredis.FakeRedis()).test_client()
    answer = client.get(f"{base}/api/openapi.json")
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    assert answer.json == openapi.document(public_url)


def test_the_document_names_the_login_cookie_as_it_is_called_here():
    settings = joip_share.Settings(cookie_name="joip")
    client = joip_share.create_app(settings, fakeredis.FakeRedis()).test_client()
    told = client.get("/api/openapi.json")
    schemes = told.json["components"]["securitySchemes"]
    assert schemes["login"]["name"] == "joip"
    assert "connect.sid" not in told.text


FORMS = {
    "integer": {"minimum"},
    "At": {"format"},
    "date": {"format"},
    "Code": {"format", "pattern", "maxLength"},
    "Url": {"pattern"},
    "thumbnail": {"pattern"},
}


def test_every_number_has_bounds_and_every_time_code_and_address_its_form():
    bare = [
        f"{name}.{member}"
        for name, schema in DOCUMENT["components"]["schemas"].items()
        for member, kinds in schema.get("properties", {}).items()
        for kind in kinds.get("anyOf", [kinds])
        for ending, told in FORMS.items()
        if (member.endswith(ending) or kind.get("type") == ending)
        and kind not in ({}, {"type": "null"})
        and not told & kind.keys()
    ]
    assert bare == []


def schemas_within(part):
    """Each schema, and all else that is an object, in a part of the document."""
    inner = part.values() if isinstance(part, dict) else part
    if isinstance(part, dict):
        yield part
    for each in inner if isinstance(part, dict | list) else ():
        yield from schemas_within(each)


def test_whole_numbers_that_may_need_64_bits_say_so():
    """Clients that are made from the document take 32 bits for all others, in which no
    session's id has room."""
    narrow = [
        schema
        for schema in schemas_within(DOCUMENT)
        if schema.get("type") == "integer"
        and schema.get("maximum", 2**31) >= 2**31
        and schema.get("format") != "int64"
    ]
    assert narrow == []


@pytest.mark.parametrize(
    ("body", "taken"),
    [
        ({}, True),
        ({"label": "news"}, True),
        ({"userId": None, "email": None, "label": "news"}, True),
        ({"userId": None, "email": "ada@example.com", "label": None}, True),
        ({"userId": None, "email": None, "label": None}, True),
        ({"userId": None, "email": "ada@example.com", "label": "news"}, False),
        ({"userId": "x", "label": "news"}, False),
    ],
)
def test_an_audience_fits_the_document_as_it_does_the_service(client, body, taken):
    """Many a client that is made from the document sends each member, null or not."""
    asked = BY_ID["shareSession"]["requestBody"]["content"]["application/json"]
    schema = {"components": DOCUMENT["components"], **asked["schema"]}
    assert Draft202012Validator(schema).is_valid(body) == taken
    client.post("/api/register", json=BODIES["register"])
    made = client.post("/api/sessions", json=BODIES["createSession"]).json["id"]
    answer = client.post(f"/api/sessions/{made}/share", json=body)
    assert answer.status_code == (200 if taken else 400)


@pytest.mark.parametrize("path", ["/api/sessions", "/api/referrals"])
def test_a_page_may_begin_at_any_id_also_at_those_of_the_years_to_come(client, path):
    """An id has fifteen digits until September 2027, and then sixteen."""
    given = DOCUMENT["paths"][path]["get"]["parameters"]
    [name] = re.findall(r"/(\w+Cursor)'", str(given))
    schema = DOCUMENT["components"]["parameters"][name]["schema"]
    client.post("/api/register", json=BODIES["register"])
    for cursor in (10**15, MAX_ID):
        assert Draft202012Validator(schema).is_valid(str(cursor))
        assert client.get(f"{path}?cursor={cursor}").status_code == 200


# What Schemathesis cannot provoke: limits, other sites, an absent store.

PLACE = {"id": 1, "token_id": "0f", "code": "0b8f6a52-3c1d-4e7a-9f25-6d1c8e0a4b37"}
BODIES = {
    "register": {"email": "ada@example.com", "password": "pass-phrase"},
    "login": {"email": "ada@example.com", "password": "pass-phrase"},
    "createSession": {"title": "Lisbon"},
    "updateSession": {"title": "Lisbon"},
    "shareSession": {},
    "updateUser": {"name": "Ada"},
    "deleteUser": {"currentPassword": "pass-phrase"},
    "createToken": {"name": "a script"},
}


def unsafe(status):
    """The operations that change something and may answer this."""
    return [
        pytest.param(path, method, id=operation["operationId"])
        for path, method, operation in OPERATIONS
        if method != "get" and status in operation["responses"]
    ]


def assert_documented(path, method, answer, status):
    """Status, headers and body are what the document says of the operation."""
    assert answer.status_code == status, answer.text
    operation = schemathesis.openapi.from_dict(DOCUMENT)[path][method.upper()]
    operation.Case(path_parameters=PLACE).validate_response(
        answer, excluded_checks=[schemathesis.checks.not_a_server_error]
    )


@pytest.mark.parametrize(("path", "method"), unsafe("413"))
def test_a_body_over_1_mib_is_answered_as_documented(client, path, method):
    answer = client.open(path.format(**PLACE), method=method, data=bytes(2**20 + 1))
    assert_documented(path, method, answer, 413)


@pytest.mark.parametrize(("path", "method"), unsafe("403"))
def test_another_site_is_answered_as_documented(client, path, method):
    headers = {"Sec-Fetch-Site": "cross-site"}
    answer = client.open(path.format(**PLACE), method=method, headers=headers)
    assert_documented(path, method, answer, 403)


@pytest.mark.parametrize(("name", "allowed"), [("register", 10), ("login", 5)])
def test_rate_limits_are_answered_as_documented(client, name, allowed):
    path, email = f"/api/{name}", f"{name}@example.com"
    for _ in range(allowed + 1):
        answer = client.post(path, json={"email": email, "password": "pass-phrase"})
    assert_documented(path, "post", answer, 429)


def test_what_is_too_busy_is_answered_as_documented(client):
    app = client.application
    client.post("/api/register", json=BODIES["register"])
    large = {"title": "x" * joip_share.LARGE_BODY}
    busy = {
        "register": BODIES["register"] | {"email": "eve@example.com"},
        "login": BODIES["login"],
        "updateUser": BODIES["deleteUser"],
        "deleteUser": BODIES["deleteUser"],
        "createSession": large,
        "updateSession": large,
    }
    told = [name for name, o in BY_ID.items() if "/BusyOr" in str(o["responses"])]
    assert sorted(told) == sorted(busy)
    with contextlib.ExitStack() as taken:
        for places in (app.passwords.line, app.media_places):
            for _ in range(2):
                taken.enter_context(places.taken())
        for path, method, operation in OPERATIONS:
            if body := busy.get(operation["operationId"]):
                answer = client.open(path.format(**PLACE), method=method, json=body)
                assert answer.json["code"] == "BUSY"
                assert_documented(path, method, answer, 503)


def test_an_absent_store_is_answered_as_documented():
    client = service().test_client()
    client.set_cookie("connect.sid", "x" * 43)
    for path, method, operation in OPERATIONS:
        if "503" in operation["responses"]:
            body = BODIES.get(operation["operationId"])
            answer = client.open(path.format(**PLACE), method=method, json=body)
            assert_documented(path, method, answer, 503)


@pytest.mark.parametrize("name", sorted(BY_ID.keys() - FOR_ANYONE))
def test_a_missing_login_is_answered_as_documented(client, name):
    [(path, method)] = [(p, m) for p, m, o in OPERATIONS if o["operationId"] == name]
    answer = client.open(path.format(**PLACE), method=method, json=BODIES.get(name))
    assert_documented(path, method, answer, 401)


def test_a_sign_out_is_answered_as_documented(client):
    client.post("/api/register", json=BODIES["register"])
    answer = client.post("/api/logout")
    assert_documented("/api/logout", "post", answer, 204)


def furnish(live, recipient_id):
    """Somebody else's shared session; returns what Schemathesis is to know of it, for
    it would hardly guess a share code: half of its path parameters are these."""
    owner = Client(live.url)
    owner_id = owner.sign_up()["id"]
    session_id = owner.make_session()
    codes = [
        owner.share(session_id, **whom)
        for whom in ({}, {"userId": recipient_id}, {"userId": owner_id})
    ]
    return f"""
dictionaries.ids.values = [{session_id}]
dictionaries.codes.values = {codes}
dictionaries.users.values = ["{recipient_id}", "{owner_id}"]

[parameters]
"path.id" = {{ dictionary = "ids", probability = 0.25 }}
"path.code" = {{ dictionary = "codes", probability = 0.5 }}
"body.userId" = {{ dictionary = "users", probability = 0.5 }}
"""


def run_schemathesis(live, folder, config, operations, phases):
    """All checks of these operations, over HTTP, on a service with a real Redis."""
    hooks = Path(__file__).with_name("schemathesis_hooks.py")
    (folder / "schemathesis.toml").write_text(f'hooks = "{hooks}"\n{config}')
    document = folder / "openapi.json"
    document.write_text(json.dumps(DOCUMENT))
    run = subprocess.run(
        [*SCHEMATHESIS, f"--phases={phases}", f"--url={live.url}",
         str(document),
         *(f"--include-operation-id={name}" for name in sorted(operations))],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=1200, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    assert f"Tested: {len(operations)}" in run.stdout, run.stdout


def test_schemathesis_finds_nothing_signed_out(live, tmp_path):
    """All that anyone may call; a missing login's 401 is checked above."""
    recipient_id = Client(live.url).sign_up()["id"]
    phases = "examples,coverage,fuzzing"  # no link leads from one of them to another
    run_schemathesis(live, tmp_path, furnish(live, recipient_id), FOR_ANYONE, phases)


SIGNED_IN_PHASES = "examples,coverage,fuzzing,stateful"


def test_schemathesis_finds_nothing_signed_in(live, tmp_path):
    """It signs in for its connect.sid, by an account of its own."""
    user = Client(live.url).sign_up()
    login = f"""
[auth.dynamic.openapi.login]
path = "/api/login"
payload = {{ email = "{user["email"]}", password = "long enough" }}
extract_from = "cookie"
extract_selector = "connect.sid"
"""
    config = furnish(live, user["id"]) + login
    operations = BY_ID.keys() - ACCOUNT
    run_schemathesis(live, tmp_path, config, operations, SIGNED_IN_PHASES)


def test_schemathesis_finds_nothing_with_a_token(live, tmp_path):
    """A script's token may do what a login may, but take tokens back: its own, too."""
    phases = SIGNED_IN_PHASES if EXAMPLES else "examples,coverage"
    client = Client(live.url)
    user = client.sign_up()
    token = client.post("/api/tokens", json={"name": "a script"}).json()["token"]
    bearer = f"""
[auth.openapi.token]
bearer = "{token}"
"""
    config = furnish(live, user["id"]) + bearer
    operations = BY_ID.keys() - ACCOUNT - {"deleteToken"}
    run_schemathesis(live, tmp_path, config, operations, phases)
