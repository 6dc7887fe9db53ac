"""On a Redis Cluster of three masters: the same store, the same service.

Every script and transaction touches one slot, also by the keys it makes up itself.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis as redis_py
import requests
from redis.crc import key_slot

import joip_share
import maintain
from conftest import Visitor
from faults import hung
from routes import OWNER, ROUTES, Caller
from servers import Client, Cluster, Service, contents, wait_for
from store_contract import StoreContract, code, owner, session_id, settled  # noqa: F401

pytestmark = pytest.mark.usefixtures("in_time")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster")) as made:
        for node in made.nodes:  # as the README says it
            node.client.config_set("cluster-require-full-coverage", "no")
        yield made


@pytest.fixture
def empty_cluster(cluster):
    wait_for(cluster.serves)
    cluster.flush()
    return cluster


@pytest.fixture
def app(empty_cluster):
    return joip_share.create_app(joip_share.Settings(redis_url=empty_cluster.url))


@pytest.fixture
def store(app):
    return app.store


class TestStoreOnCluster(StoreContract):
    """On a Cluster."""


def test_every_route_answers(app):
    caller = Caller(app)
    calls = [(route, who) for who in ("stranger", "owner") for route in ROUTES]
    answers = [(call, caller.call(*call).status_code) for call in calls]
    good = (200, 201, 204, 302, 303, 401)
    wrong = [(call[0].rule, status) for call, status in answers if status not in good]
    assert wrong == [("/api/register", 409), ("/register", 409)]  # the second time


def test_counting_referrals_and_deletion(world, empty_cluster):
    guest = Visitor(world.app)
    guest.get(world.link)
    guest_id = guest.sign_up("newcomer@example.com")["id"]
    assert guest.get(f"/api/shared/{world.code}").json["media"]
    totals = world.stats()
    assert [totals[name] for name in ("opens", "plays", "signups")] == [1, 1, 1]
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
    assert maintain.check(world.app.store) == ([], [])


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
    world.stranger.get(world.link)
    for node in empty_cluster.nodes:
        node.client.script_flush()
    world.stranger.get(world.link)
    assert world.stats()["opens"] == 2


def test_links_of_healthy_nodes_go_on_while_another_is_away(world, empty_cluster):
    client, keys = empty_cluster.client, world.app.store.keys
    ids = [world.session_id] + [world.owner.make_session() for _ in range(20)]
    codes = {each: world.owner.share(each)["shareCode"] for each in ids}

    def nodes_of(number: int) -> set[int]:
        """The ports of the nodes that a preview needs."""
        needed = (
            keys.share(codes[number]),
            keys.session(number),
            keys.user(world.owner.user["id"]),
        )
        return {client.get_node_from_key(key).port for key in needed}

    def preview(number: int) -> int:
        path = f"/api/shared/{codes[number]}/preview"
        return world.stranger.get(path).status_code

    assert {preview(each) for each in ids} == {200}
    home = client.get_node_from_key(keys.user(world.owner.user["id"])).port
    away = next(node for node in empty_cluster.nodes if node.port != home)
    healthy = [each for each in ids if away.port not in nodes_of(each)]
    others = [
        each
        for each in ids
        if client.get_node_from_key(keys.session(each)).port == away.port
    ]
    assert healthy
    assert others
    with hung(away):
        assert preview(others[0]) == 503
        assert [preview(each) for each in healthy * 10] == [200] * 10 * len(healthy)
        assert preview(others[0]) == 503
    wait_for(lambda: preview(others[0]) == 200)


@contextlib.contextmanager
def without_a_slot(cluster: Cluster) -> Iterator[None]:
    """A Cluster that has lost a slot, and serves nothing without it."""

    def covering(wanted: str) -> None:
        for node in cluster.nodes:
            node.client.config_set("cluster-require-full-coverage", wanted)

    def is_down(node) -> bool:
        state = node.client.execute_command("CLUSTER", "INFO")
        return b"cluster_state:fail" in state

    covering("yes")
    for node in cluster.nodes:
        node.client.execute_command("CLUSTER", "DELSLOTS", 0)
    wait_for(lambda: all(map(is_down, cluster.nodes)))
    try:
        yield
    finally:
        cluster.nodes[0].client.execute_command("CLUSTER", "ADDSLOTS", 0)
        covering("no")
        wait_for(cluster.serves)


def test_readiness_names_a_cluster_that_is_down(app, empty_cluster):
    visitor = Visitor(app)
    assert visitor.get("/readyz").status_code == 200
    with without_a_slot(empty_cluster):
        answer = visitor.get("/readyz")
        assert answer.status_code == 503
        assert answer.json["checks"]["redis"] == "cluster is down"
    wait_for(lambda: visitor.get("/readyz").status_code == 200)


@pytest.mark.parametrize(
    ("login", "rights", "told"),
    [
        ("wrong:password", None, "wrong user or password"),
        ("stranger:secret", ["+get"], "its user may not do what is needed"),
        ("stranger:secret", ["+cluster|slots"], "its user may not do what is needed"),
        ("", None, "wants a password"),
    ],
)
def test_readiness_tells_what_a_clusters_servers_refuse(
    empty_cluster, login, rights, told
):
    """It is not taken for an outage, which heals by itself."""
    for node in empty_cluster.nodes:
        admin = node.client.execute_command
        if rights:
            admin("ACL", "SETUSER", "stranger", "on", ">secret", "~*", "-@all", *rights)
        if not login:
            admin("ACL", "SETUSER", "default", "resetpass", ">secret")
    url = empty_cluster.url.replace("://", f"://{login}@" if login else "://")
    try:
        app = joip_share.create_app(joip_share.Settings(redis_url=url))
        answer = Visitor(app).get("/readyz")
    finally:
        for node in empty_cluster.nodes:
            node.client.execute_command("ACL", "SETUSER", "default", "nopass")
            node.client.execute_command("ACL", "DELUSER", "stranger")
    assert answer.status_code == 503
    assert answer.json["checks"]["redis"] == told


def sign_in(url: str) -> int:
    """Try to sign in as nobody; the status."""
    with Client(url) as stranger:
        return stranger.post("/api/login", json=OWNER, timeout=30).status_code


def test_a_cluster_that_hangs_is_answered_with_503_and_heals(empty_cluster, tmp_path):
    with Service(tmp_path, empty_cluster.url) as service:
        assert sign_in(service.url) == 401
        with hung(*empty_cluster.nodes):
            assert sign_in(service.url) == 503
            with ThreadPoolExecutor(80) as pool:
                path = f"{service.url}/api/shared/{uuid.uuid4()}/preview"
                asked = [pool.submit(requests.get, path, timeout=30) for _ in range(80)]
                assert {answer.result().status_code for answer in asked} == {503}
            assert Client(service.url).get("/readyz").status_code == 503
        wait_for(lambda: sign_in(service.url) == 401)


def test_a_service_started_while_its_cluster_hangs_heals(empty_cluster, tmp_path):
    with contextlib.ExitStack() as meanwhile:
        meanwhile.enter_context(hung(*empty_cluster.nodes))
        with Service(tmp_path, empty_cluster.url) as service:
            assert [sign_in(service.url) for _ in range(3)] == [503] * 3
            meanwhile.close()
            wait_for(lambda: sign_in(service.url) == 401)


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


def test_no_step_touches_two_slots(redis_server, real_redis):
    def live():
        app = joip_share.create_app(joip_share.Settings(redis_url=redis_server.url))
        caller = Caller(app)
        world = caller.world
        newcomer = Visitor(app)
        newcomer.get(world.link)
        user_id = newcomer.sign_up("friend@example.com")["id"]
        bound = world.owner.share(world.session_id, userId=user_id)["shareCode"]
        newcomer.get(f"/api/shared/{bound}")
        world.owner.share(world.session_id, email="later@example.com")
        newcomer.sign_up("later@example.com")
        maintain.check(app.store)
        for route in ROUTES:
            caller.call(route, "stranger")
            caller.call(route, "owner")

    touched = watched(real_redis, live)
    assert len(touched) > 150
    assert [step for step in touched if len(step) > 1] == []
