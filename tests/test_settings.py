"""Settings and the two ways to start: each mistake is one line that names itself."""

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap

import fakeredis
import msgspec
import pytest
import requests

import joip_share
from servers import BIN, ROOT, Client, Process, Service, free_port, wait_for

COMPLETE = {"REDIS_URL": "redis://127.0.0.1/0", "PUBLIC_URL": "https://example.org"}


def parsed(**environ):
    return joip_share.Settings.from_env(environ)


def test_every_setting_but_the_required_ones_has_the_contracts_default():
    settings = parsed()
    assert settings.public_url == "http://127.0.0.1:8000"
    assert settings.port == 8000
    assert settings.key_prefix == ""
    assert settings.ratelimit_enabled is True
    assert settings.trusted_proxies == 0


def test_every_setting_is_read():
    environ = {
        "REDIS_URL": "unix:///run/redis.sock", "REDIS_WAIT": "1",
        "PUBLIC_URL": "https://Example.org/joip/", "PORT": "9000",
        "KEY_PREFIX": "joip:", "REGISTRATION": "invite", "AUTH_HEADER": "Remote-Email",
        "AUTH_URL": "https://sso.example.org/", "COOKIE_NAME": "joip",
        "RATELIMIT_ENABLED": "0", "TRUSTED_PROXIES": "2", "MAX_SESSIONS": "1",
        "MAX_MEGABYTES": "2", "MAX_LINKS": "3", "MAX_TOKENS": "4", "MAX_LOGINS": "5",
    }  # fmt: skip
    settings = parsed(**environ)
    fields = msgspec.structs.fields(joip_share.Settings)
    assert {field.encode_name for field in fields} == environ.keys()
    read = {f.encode_name: getattr(settings, f.name) for f in fields}
    assert read == environ | {
        "PUBLIC_URL": "https://example.org/joip", "PORT": 9000, "REDIS_WAIT": 1,
        "RATELIMIT_ENABLED": False, "TRUSTED_PROXIES": 2, "MAX_SESSIONS": 1,
        "MAX_MEGABYTES": 2, "MAX_LINKS": 3, "MAX_TOKENS": 4, "MAX_LOGINS": 5,
    }  # fmt: skip


def test_the_try_outs_links_name_the_address_it_listens_on():
    assert parsed(PORT="9000").public_url == "http://127.0.0.1:9000"


@pytest.mark.parametrize(
    ("url", "path", "secure"),
    [
        ("https://example.org", "", True),
        ("https://example.org/", "", True),
        ("http://example.org:8080/a/b-c", "/a/b-c", False),
        ("http://[::1]:8000", "", False),
        ("https://share.example.org.", "", True),
    ],
)
def test_public_url_gives_path_and_security(url, path, secure):
    settings = parsed(PUBLIC_URL=url)
    assert (settings.path, settings.secure) == (path, secure)
    assert settings.public_url == url.rstrip("/")


@pytest.mark.parametrize(
    ("given", "browsers"),
    [
        ("HTTPS://Example.ORG:443/Joip/", "https://example.org/Joip"),
        ("http://example.org:0080", "http://example.org"),
        ("http://127.1:8000", "http://127.0.0.1:8000"),
        ("http://[0:0::0:1]:8000/a", "http://[::1]:8000/a"),
    ],
)
def test_public_url_is_kept_as_browsers_write_it(given, browsers):
    """Else they would be taken for another site by their `Origin`."""
    assert parsed(PUBLIC_URL=given).public_url == browsers


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://localhost:6379/3",
        "redis://:secret@localhost:6379/0",
        "rediss://user:secret@redis.example.org:6380/0",
        "unix:///run/redis/redis.sock",
        "redis+sentinel://h1:26379,h2:26379/main/0",
        "redis+sentinel://h1:26379/main",
        "redis+cluster://h1:7000,h2:7001",
    ],
)
def test_every_kind_of_redis_url_is_taken(url):
    assert parsed(REDIS_URL=url).redis_url == url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("REDIS_URL", value) for value in (
            "localhost:6379", "http://localhost", "redis", "redis://",
            "redis://host:port/0", "redis://host:99999", "redis://host:0",
            "redis://host/zero", "redis://host/-1", "redis://host?unheard=of",
            "unix://", "redis+sentinel://h1:26379", "redis+sentinel://h1/main",
            "redis+sentinel://h1:0/main",
            "redis+sentinel://h1:26379/main/zero", "redis+sentinel://,h2:1/main",
            "redis+cluster://h1", "redis+cluster://", "redis+cluster://h1:7000/main",
            "redis+cluster://h1:99999",
        )],
        *[("PUBLIC_URL", value) for value in (
            "example.org", "/joip", "ftp://example.org", "http://", "https:///joip",
            "http://host:99999", "http://host:port", "http://user@host",
            "http://host/?query", "http://host/#part", "http://host/a b", "http://a b",
            'http://a"b', "http://<b>", "http://[::1", "http://host/a/../b",
        )],
        *[("PUBLIC_URL", f"http://host{more}") for more in (
            "/\n", "\t", "/a\nb", "?", "#", "/a//b", "..org", "\x00", "[::1]",
            ".org[::1]:80", ":80[::1]", ":0", "/.", "/a/..", "\\a", ".1.2",
        )],
        *[("PUBLIC_URL", value) for value in (
            "http:host", "http:///host", "http://[v1.a]", "http://[::1]host",
            "http://[::g]", "http://.", "http://1.2.3.4.5", "http://bücher.example",
        )],
        *[("PORT", value) for value in ("0", "65536", "-1", "8e3", "٨٠٠٠", "http")],
        *[("RATELIMIT_ENABLED", value) for value in ("2", "-1", "maybe", "true")],
        *[("AUTH_URL", value) for value in (
            "nowhere", "/login", "ftp://sso", "https://sso/\n", " https://sso/",
            "https://s\tso/", "https://sso/?a b", "https:sso", "https:/sso", "https:///s",
        )],
        *[("REGISTRATION", value) for value in ("Open", "none", "open,closed")],
        *[("REDIS_WAIT", value) for value in ("-1", "17", "one")],
        *[("MAX_LINKS", value) for value in ("0", "1000001", "1e3", "many")],
        *[("TRUSTED_PROXIES", value) for value in ("-1", "1.5", "all", "99999")],
        *[("KEY_PREFIX", value) for value in ("{a}", "a b", "é", "a\n", "*")],
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_line_that_names_its_setting(name, value):
    with pytest.raises(joip_share.ConfigError) as caught:
        parsed(**{name: value})
    line = str(caught.value)
    assert name in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("RATELIMIT_ENABLED", "must be 0 or 1"),
        ("REGISTRATION", "must be open, invite or closed"),
        ("PORT", "must be a whole number"),
    ],
)
def test_a_wrong_value_is_told_what_would_be_right(name, told):
    with pytest.raises(joip_share.ConfigError, match=f"^{name} {told}$"):
        parsed(**{name: "yes"})


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, ["REDIS_URL", "PUBLIC_URL"]),
        ({"REDIS_URL": COMPLETE["REDIS_URL"]}, ["PUBLIC_URL"]),
        ({"PUBLIC_URL": COMPLETE["PUBLIC_URL"]}, ["REDIS_URL"]),
        (COMPLETE | {"REDIS_URL": "mysql://localhost"}, ["REDIS_URL"]),
    ],
)
def test_production_ends_at_once_with_one_line_that_names_what_is_wrong(given, named):
    run = subprocess.run(
        [BIN / "waitress-serve", f"--port={free_port()}", "--call",
         "joip_share:create_app"],
        cwd=ROOT, env={"PATH": os.environ["PATH"], **given}, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    lines = (run.stdout + run.stderr).splitlines()
    assert len(lines) == 1, lines
    mentioned = {name for name in COMPLETE if name in lines[0]}
    assert mentioned == set(named)


def test_importing_the_module_connects_to_nothing_and_reads_no_environment():
    """The dependencies of all modules are imported first: what they read is not ours to
    judge."""
    code = """
        import ast, importlib, os, pathlib, sys
        ours = {path.stem: path for path in pathlib.Path().glob("*.py")}
        trees = [ast.parse(path.read_text()) for path in ours.values()]
        for node in (node for tree in trees for node in tree.body):
            if isinstance(node, ast.Import): names = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom): names = [node.module]
            else: continue
            for name in {*names} - {*ours, "__future__"}: importlib.import_module(name)
        assert not {*ours} & {*sys.modules}
        class Untouchable(dict):
            def _read(self, *args): raise SystemExit("the environment was read")
            get = __getitem__ = __contains__ = __iter__ = items = copy = keys = _read
        os.environ = Untouchable()
        os.getenv = Untouchable()._read
        def watch(event, args):
            if event.startswith("socket."): os._exit(3)
        sys.addaudithook(watch)
        import joip_share
        print("imported")
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stdout) == (0, "imported\n"), run.stderr


def start_by_hand(folder, **environ):
    """`python joip_share.py` on an empty machine."""
    port = environ.setdefault("PORT", str(free_port()))
    process = Process(
        [sys.executable, "joip_share.py"], folder / "log", cwd=ROOT, env=environ
    )
    url = f"http://127.0.0.1:{port}"
    wait_for(lambda: requests.get(f"{url}/healthz", timeout=2).ok)
    return process, url


def test_the_try_out_prints_a_link_that_works_and_says_that_nothing_is_kept(tmp_path):
    process, url = start_by_hand(tmp_path)
    with process:
        said = process.said()
        assert re.search("nothing outlives", said, re.IGNORECASE)
        link = re.search(r"http\S+/shared/[0-9a-f-]{36}\?r=[a-z0-9]{8}", said)[0]
        assert link.startswith(f"{url}/shared/")
        visitor = Client("")
        assert visitor.get(link).status_code == 200
        email, password = re.search(r"(\S+@\S+) / (\S+)", said).groups()
        login = {"email": email, "password": password}
        assert visitor.post(f"{url}/api/login", json=login).status_code == 200
        code = link.partition("/shared/")[2].partition("?")[0]
        media = visitor.get(f"{url}/api/shared/{code}").json()["media"]
        assert media
        assert all(visitor.get(m["mediaUrl"]).status_code == 200 for m in media)
        process.signal(signal.SIGTERM)
        assert process.process.wait(60) == 0


def test_with_a_redis_the_try_out_makes_no_demo(tmp_path, redis_server, real_redis):
    process, url = start_by_hand(tmp_path, REDIS_URL=redis_server.url)
    with process:
        assert "/shared/" not in process.said()
        assert not re.search("nothing outlives", process.said(), re.IGNORECASE)
        assert real_redis.keys("user:*") == []
        Client(url).sign_up()
        assert len(real_redis.keys("user:{*}")) == 1


def test_the_try_out_has_no_replicas_to_wait_for_and_says_so_in_one_line():
    run = subprocess.run(
        [sys.executable, "joip_share.py"], cwd=ROOT, capture_output=True, text=True,
        env={"PORT": str(free_port()), "REDIS_WAIT": "1"}, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert re.fullmatch(r"joip_share: REDIS_WAIT [^\n]+\n", run.stdout + run.stderr)


def test_a_port_that_is_taken_is_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        run = subprocess.run(
            [sys.executable, "joip_share.py"], cwd=ROOT, capture_output=True, text=True,
            env={"PORT": str(taken.getsockname()[1])}, timeout=60, check=False,
        )  # fmt: skip
    assert run.returncode == 1
    assert len((run.stdout + run.stderr).splitlines()) == 1, run.stderr


def test_every_redis_key_begins_with_the_prefix(new_visitor):
    redis = fakeredis.FakeStrictRedis()
    settings = joip_share.Settings(key_prefix="joip:")
    person = type(new_visitor())(joip_share.create_app(settings, redis))
    person.sign_up()
    code = person.share(person.make_session())["shareCode"]
    stranger = type(person)(person.client.application)
    wrong = {"email": "owner@example.com", "password": "a wrong one"}
    assert stranger.post("/api/login", json=wrong).status_code == 401
    assert stranger.get(f"/shared/{code}?r=a1b2c3d4").status_code == 200
    assert stranger.get("/readyz").status_code == 200
    kinds = {"share", "session", "user", "referral", "email", "login", "visitors"}
    names = [key.decode() for key in redis.scan_iter()]
    assert [name for name in names if not name.startswith("joip:")] == []
    assert {name.split(":")[1] for name in names} >= kinds


def test_the_whole_service_lives_under_public_urls_path(tmp_path, redis_server):
    base = f"http://127.0.0.1:{(port := free_port())}/joip"
    inside = {"PUBLIC_URL": base}
    with Service(tmp_path, redis_server.url, port, wait=False, **inside) as service:
        client = Client(base)
        wait_for(lambda: client.get("/healthz").ok)
        client.sign_up()
        assert {c.path for c in client.cookies} == {"/joip"}
        made = client.post("/api/sessions", json={"title": "Deep"})
        assert made.headers["Location"] == f"{base}/api/sessions/{made.json()['id']}"
        shared = client.post(f"/api/sessions/{made.json()['id']}/share").json()
        assert shared["shareUrl"].startswith(f"{base}/shared/")
        assert client.get(f"/shared/{shared['shareCode']}").status_code == 200
        outside = Client(service.url).get("/api/auth/user")
        assert (outside.status_code, outside.json()["code"]) == (404, "NOT_FOUND")
