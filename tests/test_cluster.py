"""On a Redis Cluster of three masters: the same store, the same service.

Every script and transaction touches one slot, also by the keys it makes up itself.
"""

from __future__ import annotations

import contextlib
import re
import signal
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis as redis_py
import requests
from redis.crc import key_slot

import joip_share
from conftest import Visitor
from routes import OWNER, ROUTES, World
from servers import Client, Cluster, Service, contents, wait_for
from store_contract import StoreContract, code, owner, session_id  # noqa: F401


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def empty_cluster(cluster):
    cluster.flush()
    return cluster


@pytest.fixture
def store(empty_cluster):
    settings = joip_share.Settings(redis_url=empty_cluster.url)
    return joip_share.create_app(settings).store


class TestStoreOnCluster(StoreContract):
    """On a Cluster."""


@pytest.fixture
def world(empty_cluster):
    return World(joip_share.Settings(redis_url=empty_cluster.url))


def test_every_route_answers(world):
    answers = [
        (route.method, route.rule, world.call(route, who)[0].status_code)
        for who in ("stranger", "owner")
        for route in ROUTES
    ]
    wrong = [answer for answer in answers if answer[2] not in (200, 201, 204, 303, 401)]
    assert wrong == [("POST", "/api/register", 409)]  # the second time


def test_counting_referrals_and_deletion(world, empty_cluster):
    guest = Visitor(world.app)
    guest.get(f"/shared/{world.code}?r={world.referral_code}")
    guest.post(f"/api/shared/{world.code}/seen")
    guest_id = guest.sign_up("guest@example.com")["id"]
    assert guest.get(f"/api/shared/{world.code}").json["media"]
    events = ("opens", "views", "visitors", "plays", "signups")
    assert world.stats() == dict.fromkeys(events, 1)
    report = world.owner.get("/api/referrals").json
    assert report["bySource"]["session_share"] == {"clicks": 1, "signups": 1}
    assert [row["sessionId"] for row in report["history"]] == [world.session_id]

    bound = world.owner.share(world.session_id, userId=guest_id)["shareCode"]
    assert guest.get(f"/api/shared/{bound}").status_code == 200
    assert guest.delete(f"/api/sessions/{world.session_id}").status_code == 403
    path = f"/api/sessions/{world.session_id}"
    assert len(world.owner.get(path).json["shares"]) == 2
    assert world.owner.delete(path).status_code == 204
    assert guest.get(f"/api/shared/{bound}").status_code == 404
    names = (b"share:", b"session:{")
    assert [k for k in contents(empty_cluster.client) if k.startswith(names)] == []
    assert world.check().exit_code == 0


def test_rate_limits_hold_across_processes(world):
    other = Visitor(joip_share.create_app(world.app.settings))
    wrong = {**OWNER, "password": "wrong"}
    for browser in (world.stranger, other, world.stranger, other, world.stranger):
        assert browser.post("/api/login", json=wrong).status_code == 401
    answer = other.post("/api/login", json=wrong)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 900


def test_a_login_is_known_to_every_process_and_ends_at_sign_out(world):
    other = Visitor(joip_share.create_app(world.app.settings))
    cookie = world.owner.client.get_cookie("connect.sid").value
    other.client.set_cookie("connect.sid", cookie)
    assert other.get("/api/auth/user").json["email"] == OWNER["email"]
    assert world.owner.post("/api/logout").status_code == 204
    assert other.get("/api/auth/user").status_code == 401


def test_a_node_that_knows_no_script_is_taught_it(world, empty_cluster):
    world.stranger.get(f"/shared/{world.code}")
    for node in empty_cluster.nodes:
        node.client.script_flush()
    world.stranger.get(f"/shared/{world.code}")
    assert world.stats()["opens"] == 2


def test_export_and_import_lead_into_a_cluster_and_out_again(
    world, empty_cluster, real_redis, redis_server, tmp_path
):
    def run(url: str, *command: str) -> None:
        app = joip_share.create_app(joip_share.Settings(redis_url=url))
        result = app.test_cli_runner().invoke(args=command)
        assert result.exit_code == 0, result.output

    def kept(client) -> dict[bytes, object]:
        fleeting = (b"login:", b"limits", b"probe", b"journal")
        found = contents(client).items()
        return {key: value for key, value in found if not key.startswith(fleeting)}

    world.stranger.get(f"/shared/{world.code}?r={world.referral_code}")
    before, file = kept(empty_cluster.client), str(tmp_path / "export.jsonl")
    run(empty_cluster.url, "export", file)
    run(redis_server.url, "import", file)
    assert kept(real_redis) == before
    run(redis_server.url, "export", file)
    empty_cluster.flush()
    run(empty_cluster.url, "import", file)
    assert kept(empty_cluster.client) == before
    run(empty_cluster.url, "check")
    assert world.owner.post("/api/login", json=OWNER).status_code == 200
    assert world.owner.share(world.session_id)["shareCode"] == world.code


@contextlib.contextmanager
def hung(cluster: Cluster) -> Iterator[None]:
    """All nodes stopped, and going on afterwards."""
    for node in cluster.nodes:
        node.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for node in cluster.nodes:
            node.signal(signal.SIGCONT)
        wait_for(cluster.serves)


def sign_in(url: str) -> int:
    """Try to sign in as nobody; the status, which comes within two seconds."""
    with Client(url) as stranger:
        begun = time.monotonic()
        status = stranger.post("/api/login", json=OWNER, timeout=30).status_code
        assert time.monotonic() - begun < 2
        return status


def test_a_cluster_that_hangs_is_answered_with_503_and_heals(empty_cluster, tmp_path):
    with Service(tmp_path, empty_cluster.url) as service:
        url = service.url
        assert sign_in(url) == 401
        with hung(empty_cluster):
            assert sign_in(url) == 503
            begun = time.monotonic()
            with ThreadPoolExecutor(80) as pool:
                path = f"{url}/api/shared/{uuid.uuid4()}/preview"
                asked = [pool.submit(requests.get, path, timeout=30) for _ in range(80)]
                assert {answer.result().status_code for answer in asked} == {503}
            assert time.monotonic() - begun < 12
            assert Client(url).get("/readyz").status_code == 503
        wait_for(lambda: sign_in(url) == 401, 2)


def test_a_service_started_while_its_cluster_hangs_heals(empty_cluster, tmp_path):
    with contextlib.ExitStack() as meanwhile:
        meanwhile.enter_context(hung(empty_cluster))
        with Service(tmp_path, empty_cluster.url) as service:
            assert [sign_in(service.url) for _ in range(3)] == [503] * 3
            meanwhile.close()
            wait_for(lambda: sign_in(service.url) == 401, 2)


# One slot a step. MONITOR shows every command, also those that scripts send.

ARGUMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"')


def steps(lines: list[bytes]) -> Iterator[list[list[bytes]]]:
    """The commands that Redis did as one: a script with its own, a transaction, one."""
    step: list[list[bytes]] = []
    in_transaction = False
    for line in lines:
        command = ARGUMENT.findall(line)
        joins = in_transaction or b" lua] " in line
        if step and not joins:
            yield step
            step = []
        step.append(command)
        if command[0].upper() in (b"MULTI", b"EXEC"):
            in_transaction = command[0].upper() == b"MULTI"
    yield step


def slots(client, step: list[list[bytes]]) -> set[int]:
    """The slots of all keys that a step touched; Redis itself knows which are keys."""
    found = set()
    for command in step:
        try:
            keys = client.execute_command("COMMAND GETKEYS", *command)
        except redis_py.ResponseError:  # a command without keys
            continue
        found |= {key_slot(key.encode()) for key in keys}
    return found


def watched(client, run) -> list[set[int]]:
    """The slots that each step touched while `run` ran."""
    with client.monitor() as monitor:
        run()
        client.echo("the end")
        lines = [monitor.connection.read_response()]
        while b'"the end"' not in lines[-1]:
            lines.append(monitor.connection.read_response())
    return [slots(client, step) for step in steps(lines)]


def test_the_watch_sees_a_script_and_a_transaction_that_touch_two_slots(real_redis):
    def script():
        real_redis.eval("return redis.call('GET', 'b')", 1, "a")

    def transaction():
        with real_redis.pipeline(transaction=True) as pipe:
            pipe.get("a").get("b").execute()

    two = {key_slot(b"a"), key_slot(b"b")}
    assert two in watched(real_redis, script)
    assert two in watched(real_redis, transaction)


def test_no_step_touches_two_slots(redis_server, real_redis, tmp_path):
    settings = joip_share.Settings(redis_url=redis_server.url)
    file = str(tmp_path / "export.jsonl")

    def live():
        world = World(settings)
        guest = Visitor(world.app)
        guest.get(f"/shared/{world.code}?r={world.referral_code}")
        user_id = guest.sign_up("guest@example.com")["id"]
        bound = world.owner.share(world.session_id, userId=user_id)["shareCode"]
        guest.get(f"/api/shared/{bound}")
        world.check()
        world.app.test_cli_runner().invoke(args=["export", file])
        for route in ROUTES:
            world.call(route, "stranger")
            world.call(route, "owner")
        world.owner.post("/api/login", json=OWNER)
        real_redis.flushall()
        world.app.test_cli_runner().invoke(args=["import", file])

    touched = watched(real_redis, live)
    assert len(touched) > 150
    assert [step for step in touched if len(step) > 1] == []
