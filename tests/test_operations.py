"""Health, readiness, warnings at the start, metrics, log lines, deploy/'s files."""

import json
import logging
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack

import fakeredis
import pytest
import redis
import requests
from prometheus_client.parser import text_string_to_metric_families

import joip_share
import observing
from conftest import Visitor
from servers import (
    ROOT,
    Client,
    Process,
    RedisServer,
    Service,
    contents,
    free_port,
    need,
    wait_for,
)

UNKNOWN = "/api/shared/00000000-0000-4000-8000-000000000000/preview"


# Health and readiness


@pytest.fixture
def own_redis(tmp_path):
    """A Redis that a test may break."""
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def on_own_redis(own_redis):
    """A visitor of an app on that Redis."""
    return Visitor(joip_share.create_app(joip_share.Settings(redis_url=own_redis.url)))


def full(server):
    server.client.config_set("maxmemory", 1)


def replica(server):
    server.client.replicaof("127.0.0.1", free_port())


def hung(server):
    server.signal(signal.SIGSTOP)


def away(server):
    server.kill()


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (full, "out of memory"),
        (replica, "read-only replica"),
        (hung, "no answer within a second"),
        (away, "unavailable"),
    ],
)
def test_readiness_names_what_is_wrong_with_redis(
    own_redis, on_own_redis, break_it, said
):
    ready = on_own_redis.get("/readyz")
    assert (ready.status_code, ready.json["status"]) == (200, "ok")
    assert set(ready.json["checks"].values()) == {"ok"}
    break_it(own_redis)
    answer = on_own_redis.get("/readyz")
    assert answer.status_code == 503
    assert answer.json == {
        "status": "unavailable", "checks": {"redis": said, "process": "ok"},
    }  # fmt: skip
    assert int(answer.headers["Retry-After"]) >= 1
    assert on_own_redis.get("/healthz").json == {"status": "ok"}


@pytest.mark.parametrize(
    ("login", "said"),
    [
        ("", "wants a password"),
        (":wr0ng@", "wrong user or password"),
        ("little:s3cret@", "its user may not do what is needed"),
    ],
)
def test_readiness_names_a_login_that_redis_does_not_take(tmp_path, login, said):
    server = RedisServer(tmp_path, "--user little on >s3cret ~* +get", wait=False)
    with server:
        wait_for(server.client.ping, what="redis-server")
        server.client.config_set("requirepass", "s3cret")
        url = f"redis://{login}127.0.0.1:{server.port}/0"
        with Service(tmp_path, url) as service:
            ready = requests.get(f"{service.url}/readyz", timeout=30)
            assert ready.json()["checks"]["redis"] == said
            assert f"Redis does not serve yet: {said}" in messages(service)
            assert not re.search("wr0ng|s3cret", service.said())


@pytest.mark.parametrize(
    ("login", "database", "said"),
    [
        ("scriptless:s3cret@", 0, "its user may not do what is needed"),
        (
            "",
            99,
            "refuses a command: is it 7.0 or newer, with this database and rights?",
        ),
    ],
)
def test_readiness_names_a_redis_that_takes_writes_and_not_what_is_needed(
    own_redis, tmp_path, login, database, said
):
    """As one before 7.0 does, which cannot read our scripts."""
    user = "ACL SETUSER scriptless on >s3cret ~* +@all -@scripting"
    own_redis.client.execute_command(*user.split())
    url = f"redis://{login}127.0.0.1:{own_redis.port}/{database}"
    with Service(tmp_path, url) as service:
        ready = requests.get(f"{service.url}/readyz", timeout=30)
        assert (ready.status_code, ready.json()["checks"]["redis"]) == (503, said)
        assert f"Redis does not serve yet: {said}" in messages(service)


def test_the_version_is_told_by_health_and_by_the_logs_first_line(own_redis, tmp_path):
    with Service(tmp_path, own_redis.url) as service:
        health = requests.get(f"{service.url}/healthz", timeout=30)
        first = json.loads(service.said().splitlines()[0])
    assert health.json() == {"status": "ok"}
    assert health.headers["X-Version"] == joip_share.__version__
    assert first["message"] == f"Joip Share {joip_share.__version__}"


def test_health_asks_redis_nothing(real_redis):
    visitor = Visitor(joip_share.create_app(joip_share.Settings(), real_redis))
    visitor.sign_up()  # so that there is a cookie to be ignored
    before = real_redis.info("commandstats")
    assert visitor.get("/healthz").status_code == 200
    asked = real_redis.info("commandstats")
    assert set(asked) - set(before) <= {"cmdstat_info"}
    assert all(asked[name] == before[name] for name in before if "info" not in name)


# Data of a version that is not known


@pytest.mark.parametrize("schema", ["3", "x", b"\xff"])
def test_data_that_are_not_known_stop_the_start_with_one_line(own_redis, schema):
    own_redis.client.set("schema", schema)
    before = contents(own_redis.client)
    ended = subprocess.run(
        [sys.executable, "serve.py"], cwd=ROOT, timeout=60, check=False, text=True,
        env={"REDIS_URL": own_redis.url, "PUBLIC_URL": "http://example.org"},
        capture_output=True,
    )  # fmt: skip
    assert ended.returncode == 1
    *log, last = ended.stderr.splitlines()
    assert re.fullmatch(
        "joip_share: Redis has data of schema ., which is not known", last
    )
    assert [json.loads(line)["level"] for line in log] == ["info"]
    assert contents(own_redis.client) == before


def test_data_that_come_after_the_start_are_looked_at_as_well(own_redis, tmp_path):
    """Redis comes back with data of another version, then with its own."""
    own_redis.kill()
    with Service(tmp_path, own_redis.url) as service:
        client = Client(service.url)
        with own_redis.again() as redis_of_others:
            redis_of_others.client.set("schema", 3)
            wait_for(lambda: "schema 3" in client.get("/readyz").text)
            for path in ("/", "/api/auth/user", "/shared/x", "/static/app.css"):
                assert client.get(path).status_code == 503, path
            assert client.get("/healthz").ok
            keys = {b"schema", b"probe"}
            assert {*redis_of_others.client.keys()} <= keys
            redis_of_others.client.set("schema", 2)
            wait_for(lambda: client.get("/readyz").ok)
            client.sign_up()
            assert client.get("/").ok
        told = [text for text in messages(service) if "nothing on disk" in text]
        assert len(told) == 1


# Start-up warnings


def messages(service, level="warning"):
    """What a service has logged at this level."""
    lines = map(json.loads, service.said().splitlines())
    return [line["message"] for line in lines if line["level"] == level]


def warnings(folder, redis_url):
    """What a service says at its start, in production."""
    with Service(folder, redis_url) as service:
        service.kill()
        return messages(service)


def test_the_start_warns_of_a_redis_that_may_lose_shares(own_redis, tmp_path):
    own_redis.client.config_set("maxmemory-policy", "allkeys-lru")
    said = warnings(tmp_path, own_redis.url)
    assert len(said) == 2
    assert "nothing on disk" in said[0]
    assert "appendonly" in said[0]
    assert "evict" in said[1]
    assert "maxmemory-policy is allkeys-lru" in said[1]


def test_the_redis_of_deploy_is_not_warned_of_and_keeps_what_it_acknowledged(tmp_path):
    port = free_port()
    command = [
        need("redis-server"), str(ROOT / "deploy" / "redis.conf"),
        "--port", str(port), "--dir", str(tmp_path),
    ]  # fmt: skip
    client = redis.Redis(port=port)
    with Process(command, tmp_path / "redis.log") as server:
        wait_for(client.ping)
        assert warnings(tmp_path, f"redis://127.0.0.1:{port}") == []
        for number in range(500):
            client.set(f"share:{number}", number)
        server.kill()
    with Process(command, tmp_path / "redis.log"):
        wait_for(client.ping)
        assert client.mget(f"share:{n}" for n in range(500)) == [
            b"%d" % n for n in range(500)
        ]
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert int(client.config_get("maxmemory")["maxmemory"]) > 0
        assert "0.0.0.0" not in client.config_get("bind")["bind"]


# Metrics


def measured(visitor, name, **labels):
    """The value of one sample of /metrics."""
    families = text_string_to_metric_families(visitor.get("/metrics").text)
    samples = (sample for family in families for sample in family.samples)
    return next(s.value for s in samples if (s.name, s.labels) == (name, labels))


def requests_seen(visitor, route, method, status):
    """How many requests /metrics tells of."""
    labels = {"route": route, "method": method, "status": status}
    return measured(visitor, "joip_share_requests_total", **labels)


def test_requests_are_counted_by_route_template_method_and_status(owner, visitor):
    session = owner.make_session()
    code = owner.share(session)["shareCode"]
    owner.share(session)
    for _ in range(3):
        visitor.get(f"/api/shared/{code}/preview")
    visitor.get(UNKNOWN)
    route = "/api/shared/<code>/preview"
    assert requests_seen(visitor, route, "GET", "200") == 3
    assert requests_seen(visitor, route, "GET", "404") == 1
    seconds = "joip_share_request_seconds"
    assert measured(visitor, f"{seconds}_count", route=route) == 4
    assert measured(visitor, f"{seconds}_bucket", route=route, le="+Inf") == 4
    assert 0 < measured(visitor, f"{seconds}_sum", route=route) < 4
    assert measured(visitor, "joip_share_shares_total") == 2
    assert code not in visitor.get("/metrics").text


def test_unknown_routes_and_methods_share_one_label(visitor):
    for number in range(20):
        visitor.get(f"/nowhere/{number}")
        visitor.open(f"/nowhere/{number}", f"BREW{number}")
    assert requests_seen(visitor, "(none)", "GET", "404") == 20
    assert requests_seen(visitor, "(none)", "OTHER", "404") == 20
    text = visitor.get("/metrics").text
    assert "nowhere" not in text
    assert "BREW" not in text


def test_no_metric_tells_when_another_was_made(owner, visitor):
    owner.share(owner.make_session())
    assert "_created" not in visitor.get("/metrics").text


def test_a_request_refused_for_want_of_redis_counts_as_store_error(
    own_redis, on_own_redis
):
    own_redis.kill()
    for _ in range(3):
        assert on_own_redis.get(UNKNOWN).status_code == 503
    assert measured(on_own_redis, "joip_share_store_errors_total") == 3


# Log lines


@pytest.fixture
def logged(app, capfd, monkeypatch):
    """What was logged since it was asked for last, as text and as lines."""

    def read():
        for handler in joip_share.log.handlers:
            if isinstance(handler.formatter, observing.JsonFormatter):
                # made once for all apps, with the standard error of that moment
                monkeypatch.setattr(handler, "stream", sys.stderr)
        text = capfd.readouterr().err
        return text, [json.loads(line) for line in text.splitlines()]

    return read


def test_a_request_is_one_json_line_without_secrets(owner, new_visitor, logged):
    code = owner.share(owner.make_session())["shareCode"]
    logged()
    guest = new_visitor()
    guest.sign_up("guest@example.com")
    login = guest.client.get_cookie("connect.sid").value
    logged()
    answer = guest.get(
        f"/api/shared/{code}?r=querysecret&token=querysecret",
        headers={
            "X-Request-ID": "from-the-proxy.1", "Referer": "https://refer.example/x",
            "X-Forwarded-For": "198.51.100.9",
        },
        environ_base={"REMOTE_ADDR": "203.0.113.77"},
    )  # fmt: skip
    assert answer.status_code == 200
    text, lines = logged()
    warning, line = lines
    assert "TRUSTED_PROXIES is 0" in warning["message"]
    assert set(line) == {
        "time", "level", "message", "requestId", "method", "route", "status", "ms",
    }  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line["time"])
    assert line["requestId"] == "from-the-proxy.1" == answer.headers["X-Request-ID"]
    assert (line["method"], line["status"]) == ("GET", 200)
    assert line["route"] == "/api/shared/<code>"
    for secret in (code, "querysecret", login, "refer.example", "198.51", "203.0.113"):
        assert secret not in text
    assert "Firefox" not in text


@pytest.mark.parametrize(
    "names", [["For"], ["Proto"], ["Host", "Port"], ["Prefix"], ["For", "Proto"]]
)
@pytest.mark.parametrize("path", ["/healthz", UNKNOWN, "/nowhere?é"])
def test_forwarded_headers_that_do_not_count_are_warned_of_once_by_name(
    visitor, logged, names, path
):
    logged()
    headers = {f"X-Forwarded-{name}": "a-secret" for name in names}
    for _ in range(2):
        visitor.get(path, headers=headers)
    text, lines = logged()
    [warning] = [line["message"] for line in lines if line["level"] == "warning"]
    assert re.findall(r"X-Forwarded-\w+", warning) == [*headers]
    assert "TRUSTED_PROXIES is 0" in warning
    assert "a-secret" not in text


def test_a_proxy_that_is_trusted_and_sends_nothing_is_warned_of_once(logged):
    settings = joip_share.Settings(trusted_proxies=1)
    visitor = Visitor(joip_share.create_app(settings, fakeredis.FakeStrictRedis()))
    logged()
    for path in ("/healthz", "/metrics"):  # which are asked past the proxy
        visitor.get(path)
    visitor.get(UNKNOWN, headers={"X-Forwarded-For": "203.0.113.9"})
    assert {line["level"] for line in logged()[1]} == {"info"}
    for _ in range(2):
        visitor.get(UNKNOWN, headers={"X-Forwarded-Proto": "https"})
    _, lines = logged()
    assert [line["level"] for line in lines] == ["warning", "info", "info"]
    assert "TRUSTED_PROXIES is 1 and no X-Forwarded-For" in lines[0]["message"]


def test_health_checks_are_not_logged(visitor, logged):
    logged()
    for path in ("/healthz", "/readyz"):
        visitor.get(path)
        visitor.open(path, "HEAD")
    assert logged() == ("", [])


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "<script>", "a\nb", "é"])
def test_a_request_id_that_is_none_is_replaced(visitor, logged, given):
    logged()
    headers = {"X-Request-ID": given.replace("\n", " ")}
    answer = visitor.get("/api/nowhere", headers=headers)
    made = answer.headers["X-Request-ID"]
    assert re.fullmatch(r"[0-9a-f]{16}", made)
    assert answer.json["requestId"] == made == logged()[1][0]["requestId"]


def test_an_unexpected_error_tells_its_place_and_not_its_text(app, visitor, logged):
    def broken():
        raise RuntimeError("a secret")

    app.add_url_rule("/api/broken", view_func=broken)
    logged()
    answer = visitor.get("/api/broken", headers={"X-Request-ID": "the-one"})
    assert answer.status_code == 500
    assert answer.json["code"] == "INTERNAL_ERROR"
    text, lines = logged()
    assert [line["level"] for line in lines] == ["error", "info"]
    assert [line["requestId"] for line in lines] == ["the-one", "the-one"]
    assert "RuntimeError" in lines[0]["message"]
    assert "broken" in lines[0]["at"]
    assert "secret" not in text + answer.text


def test_nothing_of_the_drivers_text_is_told(own_redis, on_own_redis, logged):
    own_redis.kill()
    answer = on_own_redis.get(UNKNOWN)
    text, _ = logged()
    assert answer.status_code == 503
    for word in (str(own_redis.port), "127.0.0.1", "Connection", "Errno", "refused"):
        assert word not in answer.text
        assert word not in text


def test_a_log_that_nobody_reads_any_more_stops_no_request(visitor, capfd):
    """As when it was piped into a program that has ended."""
    reader, writer = os.pipe()
    os.close(reader)
    standard_error = os.dup(2)
    os.dup2(writer, 2)
    try:
        answer = visitor.get("/login")
    finally:
        os.dup2(standard_error, 2)
        os.close(writer)
        os.close(standard_error)
    assert answer.status_code == 200


def test_a_closed_standard_error_is_not_written_to(visitor, capfd, monkeypatch):
    """Its descriptor may be a client's connection by then."""
    monkeypatch.setattr(sys, "stderr", None)
    assert visitor.get("/login").status_code == 200
    assert capfd.readouterr().err == ""


def test_a_link_is_no_word_of_a_log_line(logged):
    logged()
    logging.getLogger("waitress").error("Exception while serving shared/my secret?")
    text, (line,) = logged()
    assert line["message"] == "waitress complains"
    assert "secret" not in text


def test_all_that_a_running_service_writes_is_json(live):
    client = Client(live.url)
    for path in ("/", "/login?next=/x", "/nowhere", "/api/nowhere", UNKNOWN):
        client.get(path)
    with socket.create_connection(("127.0.0.1", live.port)) as raw:
        raw.sendall(b"GET /shared/secret HTTP/9\r\nBroken\r\n\r\n")
        raw.recv(1000)
    lines = [json.loads(line) for line in live.said().splitlines()]
    assert {line["level"] for line in lines} <= {"info", "warning"}


# The process and its place in the system


def test_the_journal_is_read_as_the_documents_say():
    """With what systemd says of the service, and what a refused start says."""
    page = (ROOT / "docs" / "operations.md").read_text()
    [line] = re.findall(r"^    journalctl .*\| jq (.*)$", page, re.M)
    log = 'Started joip-share@0.service.\njoip_share: PORT must be …\n{"status":200}\n'
    read = subprocess.run(
        [need("jq"), "-c", *shlex.split(line)], input=log, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    said = [json.loads(each) for each in read.stdout.splitlines()]
    assert said == [*log.splitlines()[:2], {"status": 200}]


def test_an_answer_does_not_name_the_server(live):
    assert "Server" not in Client(live.url).get("/healthz").headers


def test_hundreds_of_idle_connections_do_not_stop_the_next_client(live):
    """waitress by itself takes 100, and lets them idle for two minutes."""
    with ExitStack() as stack:
        for _ in range(300):
            raw = socket.create_connection(("127.0.0.1", live.port))
            stack.enter_context(raw)
            raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert raw.recv(12) == b"HTTP/1.1 200"
        assert Client(live.url).get("/healthz").status_code == 200
