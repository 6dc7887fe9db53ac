"""openapi.yaml says what the service does: its routes, and what it answers."""

import re
import subprocess
import sys
import uuid
from pathlib import Path

import fakeredis
import pytest
import requests
import schemathesis
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

import joip_share

ROOT = Path(__file__).parent.parent
DOCUMENT = yaml.safe_load((ROOT / "openapi.yaml").read_text())
OPERATIONS = [
    (path, method, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
]

# One run: some 25 requests an operation and phase, always the same ones.
SCHEMATHESIS = [
    str(Path(sys.executable).with_name("schemathesis")),
    "--config-file=schemathesis.toml",
    "run",
    "--checks=all",
    "--phases=examples,coverage,fuzzing,stateful",
    "--mode=all",
    "--max-examples=25",
    "--workers=1",
    "--generation-deterministic",
    "--request-timeout=10",
    "--continue-on-failure",
    "--no-color",
]


def service(public_url="http://localhost", redis=None):
    """The app on a store in memory, or on none at all."""
    settings = joip_share.Settings("redis://127.0.0.1:1", public_url)
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
    text = (ROOT / "openapi.yaml").read_text()
    unused = [
        pointer
        for kind, things in DOCUMENT["components"].items()
        if kind != "securitySchemes"
        for pointer in (f"#/components/{kind}/{name}" for name in things)
        if f"'{pointer}'" not in text
    ]
    assert unused == []


@pytest.mark.parametrize(
    ("public_url", "base"),
    [("https://example.org", ""), ("https://example.org/joip", "/joip")],
)
def test_the_service_hands_the_document_out_with_its_own_address(public_url, base):
    client = service(public_url, fakeredis.FakeRedis()).test_client()
    answer = client.get(f"{base}/api/openapi.json")
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    assert answer.json == DOCUMENT | {"servers": [{"url": public_url}]}


# What Schemathesis cannot provoke: limits, other sites, an absent store.

PLACE = {"id": 1, "code": "0b8f6a52-3c1d-4e7a-9f25-6d1c8e0a4b37"}
BODIES = {
    "register": {"email": "ada@example.com", "password": "pass-phrase"},
    "login": {"email": "ada@example.com", "password": "pass-phrase"},
    "createSession": {"title": "Lisbon"},
    "updateSession": {"title": "Lisbon"},
    "shareSession": {},
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


def test_an_absent_store_is_answered_as_documented():
    client = service().test_client()
    client.set_cookie("connect.sid", "x" * 43)
    for path, method, operation in OPERATIONS:
        if "503" in operation["responses"]:
            body = BODIES.get(operation["operationId"])
            answer = client.open(path.format(**PLACE), method=method, json=body)
            assert_documented(path, method, answer, 503)


def sign_up(live):
    """A client with a login of its own, and the credentials for another."""
    client = requests.Session()
    credentials = {"email": f"{uuid.uuid4().hex}@example.com", "password": "secret-12"}
    answer = client.post(f"{live.url}/api/register", json=credentials, timeout=10)
    assert answer.status_code == 201, answer.text
    return client, credentials, answer.json()["id"]


def furnish(live, recipient_id):
    """Somebody else's shared session; returns what Schemathesis is to know of it, for
    it would hardly guess a share code: half of its path parameters are these."""
    owner, _, owner_id = sign_up(live)
    media = [{"mediaUrl": f"https://example.com/{n}.jpg"} for n in range(3)]
    new = {"title": "Three pictures", "media": media}
    session = owner.post(f"{live.url}/api/sessions", json=new, timeout=10).json()
    share = f"{live.url}/api/sessions/{session['id']}/share"
    codes = [
        owner.post(share, json=whom, timeout=10).json()["shareCode"]
        for whom in ({}, {"userId": recipient_id}, {"userId": owner_id})
    ]
    return f"""
dictionaries.ids.values = [{session["id"]}]
dictionaries.codes.values = {codes}
dictionaries.users.values = ["{recipient_id}", "{owner_id}"]

[parameters]
"path.id" = {{ dictionary = "ids", probability = 0.25 }}
"path.code" = {{ dictionary = "codes", probability = 0.5 }}
"body.userId" = {{ dictionary = "users", probability = 0.5 }}
"""


def run_schemathesis(live, tmp_path, config):
    """All checks, over HTTP, against a running service on a real Redis."""
    hooks = Path(__file__).with_name("schemathesis_hooks.py")
    (tmp_path / "schemathesis.toml").write_text(f'hooks = "{hooks}"\n{config}')
    run = subprocess.run(
        [*SCHEMATHESIS, f"--url={live.url}", str(ROOT / "openapi.yaml")],
        cwd=tmp_path,  # where it leaves its caches
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert f"Tested: {len(OPERATIONS)}" in run.stdout, run.stdout


def test_schemathesis_finds_nothing_signed_out(live, tmp_path):
    _, _, recipient_id = sign_up(live)
    run_schemathesis(live, tmp_path, furnish(live, recipient_id))


def test_schemathesis_finds_nothing_signed_in(live, tmp_path):
    """It signs in for its connect.sid, and again each time it has tried the logout."""
    _, credentials, user_id = sign_up(live)
    login = f"""
[auth.dynamic.openapi.login]
path = "/api/login"
payload = {{ email = "{credentials["email"]}", password = "{credentials["password"]}" }}
extract_from = "cookie"
extract_selector = "connect.sid"
retry_on = [401]
"""
    run_schemathesis(live, tmp_path, furnish(live, user_id) + login)
