"""Redis fails in every way it can: answers stay quick and honest, then all heals.

While only writes are refused, previews and plays go on, uncounted. While only memory is
short, deleting goes on too, and signing in, or nobody could delete.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

import joip_share
from conftest import Visitor, World
from faults import broken_disk, busy, configured, hung, replica_of_nobody
from routes import FREE, READ, ROUTES, WRITE, Caller, Route
from servers import Client, RedisServer, Service, contents, need, wait_for

FLEETING = (b"probe", b"login:", b"limits", b"attempts", b"visitors:key:", b"filler")


class Bed:
    """A Redis that keeps everything on disk, and may be made to fail."""

    def __init__(self, folder) -> None:
        keep = "--appendonly", "yes", "--appendfsync", "always", "--save", "3600 1000"
        self.server = RedisServer(folder, *keep)
        self.client = self.server.client

    def restart(self, *more: str, wait: bool = True) -> None:
        self.server.kill()
        self.server = self.server.again(*more, wait=wait)

    def kept(self) -> dict[bytes, object]:
        """Every key that an outage must leave as it was."""
        found = contents(self.client).items()
        return {key: value for key, value in found if not key.startswith(FLEETING)}


pytestmark = pytest.mark.usefixtures("in_time")


@pytest.fixture
def bed(tmp_path):
    made = Bed(tmp_path)
    yield made
    made.server.stop()


@contextlib.contextmanager
def away(bed: Bed) -> Iterator[None]:
    bed.server.kill()
    try:
        yield
    finally:
        bed.server = bed.server.again()


@contextlib.contextmanager
def loading(bed: Bed) -> Iterator[None]:
    """Reading its file back, a minute long, unless it is told to hurry; between
    keys it answers LOADING."""
    bed.client.mset({f"filler:{n}": os.urandom(1024) for n in range(6000)})
    bed.client.bgrewriteaof()
    wait_for(lambda: not bed.client.info("persistence")["aof_rewrite_in_progress"])
    bed.restart(
        "--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024",
        wait=False,
    )  # fmt: skip
    wait_for(lambda: bed.client.info("persistence")["loading"])
    try:
        yield
    finally:
        bed.client.config_set("key-load-delay", 0)
        wait_for(bed.client.ping)
        bed.client.unlink(*bed.client.scan_iter("filler:*", 1000))


class Fault(NamedTuple):
    """How Redis fails, what it refuses meanwhile, and what /readyz says of it."""

    begin: Callable[[Bed], contextlib.AbstractContextManager[None]]
    refuses: frozenset[str]
    told: str


ALL = frozenset((READ, FREE, WRITE))
WRITES = frozenset((FREE, WRITE))
FAULTS = {
    "away": Fault(away, ALL, "unavailable"),
    "hung": Fault(lambda bed: hung(bed.server), ALL, "unavailable"),
    "loading": Fault(loading, ALL, "loading its data"),
    "busy": Fault(lambda bed: busy(bed.client), ALL, "busy with a script"),
    "cut off": Fault(
        lambda bed: replica_of_nobody(bed.client, "no"), ALL, "read-only replica"
    ),
    "read-only": Fault(
        lambda bed: replica_of_nobody(bed.client), WRITES, "read-only replica"
    ),
    "disk broken": Fault(
        lambda bed: broken_disk(bed.client), WRITES, "cannot write to its disk"
    ),
    "no replica": Fault(
        lambda bed: configured(bed.client, min_replicas_to_write=1),
        WRITES,
        "too few replicas",
    ),
    "out of memory": Fault(
        lambda bed: configured(bed.client, maxmemory=1),
        frozenset((WRITE,)),
        "out of memory",
    ),
}
EACH_FAULT = pytest.mark.parametrize("name", FAULTS)


def application(bed: Bed) -> joip_share.JoipShare:
    return joip_share.create_app(joip_share.Settings(redis_url=bed.server.url))


def refused(answer, route: Route) -> bool:
    """Whether it is the contract's 503, in the shape that the route owes."""
    if answer.status_code != 503:
        return False
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["X-Request-ID"]
    if route.rule == "/readyz":
        assert answer.json["status"] == "unavailable"
    elif route.rule.startswith(("/api", "/oembed")):
        told = answer.json
        assert told.pop("requestId") == answer.headers["X-Request-ID"]
        assert told == {
            "error": "Service Unavailable",
            "message": "The service is briefly unavailable",
            "code": "STORE_UNAVAILABLE",
        }
    else:
        assert answer.mimetype == "text/html"
        assert "Service Unavailable" in answer.text
    return True


def test_the_table_has_every_route(app):
    rules = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert {(route.method, route.rule) for route in ROUTES} == rules


def wrong_answers(fault: Fault, asked) -> Iterator[str]:
    """Who was refused without need, or served by a Redis that fails."""
    for (route, who), answer in asked:
        expected = getattr(route, who) in fault.refuses
        if refused(answer, route) != expected or answer.status_code == 500:
            yield f"{route.method} {route.rule} ({who}): {answer.status_code}"


@EACH_FAULT
def test_every_route_that_needs_redis_says_so_and_heals(bed, name):
    fault = FAULTS[name]
    caller = Caller(application(bed))
    assert Visitor(caller.app).get("/readyz").status_code == 200
    before = bed.kept()
    calls = [(route, who) for who in ("stranger", "owner") for route in ROUTES]
    # Hung: all at once, so that each waits itself.
    with fault.begin(bed), ThreadPoolExecutor(100 if name == "hung" else 1) as pool:
        answers = list(pool.map(lambda call: caller.call(*call), calls))
        assert list(wrong_answers(fault, zip(calls, answers, strict=True))) == []
        wait_for(lambda: told_by_readyz(caller.app) == fault.told)
    wait_for(lambda: Visitor(caller.app).get("/readyz").status_code == 200)
    if fault.refuses >= WRITES and name != "hung":  # what was sent to it is still done
        assert bed.kept() == before


def told_by_readyz(app):
    """On a busy machine at first that nobody asks Redis for a while."""
    return Visitor(app).get("/readyz").json["checks"]["redis"]


@pytest.mark.parametrize("name", [n for n in FAULTS if READ not in FAULTS[n].refuses])
def test_what_is_looked_at_meanwhile_is_not_counted_and_a_metric_tells(bed, name):
    app = application(bed)
    world = World.within(app)

    def uncounted() -> float:
        text = world.stranger.get("/metrics").text
        return float(re.search(r"^joip_share_uncounted_total (.*)", text, re.M)[1])

    world.stranger.get(world.link)
    before, told = world.stats(), uncounted()
    assert before["opens"] == 1
    with FAULTS[name].begin(bed):
        assert world.stranger.get(world.link).status_code == 200
        assert world.guest.get(f"/api/shared/{world.code}").json["media"]
    assert (world.stats(), uncounted()) == (before, told + 2)
    world.stranger.get(world.link)
    assert world.stats()["opens"] == 2


def test_what_too_few_replicas_have_is_not_acknowledged_and_may_be_repeated(
    bed, tmp_path
):
    world = World.within(application(bed))
    app = joip_share.create_app(
        joip_share.Settings(
            redis_url=bed.server.url, redis_wait=1, ratelimit_enabled=False
        )
    )
    owner = Visitor(app)
    owner.client.set_cookie("connect.sid", world.owner.get_cookie("connect.sid").value)
    path = f"/api/sessions/{world.session_id}"

    def writes():
        """What is answered to one write of each kind, and by /readyz."""
        poster = owner.post(f"{path}/share", json={"label": "Poster"})
        renamed = owner.patch(path, json={"title": "A run"})
        return [a.status_code for a in (poster, renamed, owner.get("/readyz"))]

    def register():
        given = {"email": "new@example.com", "password": "long enough"}
        return Visitor(app).post("/api/register", json=given).status_code

    def take_pictures():
        """Change the media; the bytes that are counted afterwards."""
        media = [{"mediaUrl": "https://example.org/new.jpg"}]
        assert owner.patch(path, json={"media": media}).status_code == 503
        return bed.client.hgetall(
            world.store.keys.user(world.owner.user["id"], "sizes")
        )

    wait_for(lambda: take_pictures() == take_pictures())
    for _ in range(2):  # what is asked again is not on the replicas either
        assert writes() == [503] * 3
        assert register() == 503
    wait_for(lambda: told_by_readyz(app) == "too few replicas")
    assert Visitor(app).get(f"/api/shared/{world.code}/preview").status_code == 200
    folder = tmp_path / "replica"
    folder.mkdir()
    leader = f"127.0.0.1 {bed.server.port}"
    with RedisServer(folder, "--replicaof", leader) as replica:
        wait_for(lambda: replica.client.info()["master_link_status"] == "up")
        wait_for(lambda: writes() == [200] * 3)
        assert len(owner.get(path).json["shares"]) == 2
        wait_for(lambda: register() == 201)
    assert owner.delete(path).status_code == 503
    wait_for(lambda: owner.delete(path).status_code == 404)


# The service as a process of its own.


@pytest.fixture(scope="module")
def live_bed(tmp_path_factory):
    """A bed with a service that outlives every fault, and a shared session in it."""
    folder = tmp_path_factory.mktemp("bed")
    bed = Bed(folder)
    with Service(folder, bed.server.url, RATELIMIT_ENABLED="0") as service:
        bed.service, bed.world = service, World.at(service.url)
        yield bed
    bed.server.stop()


def opens_of(bed: Bed) -> int:
    return bed.world.stats()["opens"]


def preview(bed: Bed) -> int:
    """Open the link as a stranger does; the status."""
    with Client(bed.service.url) as stranger:
        path = f"/api/shared/{bed.world.code}/preview"
        return stranger.get(path, timeout=30).status_code


def is_ready(bed: Bed) -> bool:
    return Client(bed.service.url).get("/readyz").status_code == 200


@pytest.mark.parametrize("name", ["away", "hung", "loading"])
def test_eighty_requests_at_once_are_refused_while_the_process_lives(live_bed, name):
    counted = opens_of(live_bed)
    with FAULTS[name].begin(live_bed), ThreadPoolExecutor(80) as pool:
        asked = [pool.submit(preview, live_bed) for _ in range(80)]
        assert Client(live_bed.service.url).get("/healthz").status_code == 200
        assert [answer.result() for answer in asked] == [503] * 80
        assert not is_ready(live_bed)
    wait_for(lambda: is_ready(live_bed))
    # What had been sent to a hung Redis, once by each thread, is done when it wakes.
    assert counted <= opens_of(live_bed) <= counted + (8 if name == "hung" else 0)


def test_scripts_that_redis_forgot_are_loaded_anew_and_count_once(live_bed):
    counted = opens_of(live_bed)
    for n in range(1, 4):
        live_bed.client.script_flush()
        assert preview(live_bed) == 200
        assert opens_of(live_bed) == counted + n
    live_bed.client.script_flush()
    assert live_bed.world.owner.share(live_bed.world.session_id) == live_bed.world.code


def test_nothing_is_counted_twice_over_restarts_of_redis(live_bed):
    """What was answered is counted; beyond it only what was under way in a thread."""
    counted, over = opens_of(live_bed), threading.Event()

    def open_many() -> int:
        return sum(preview(live_bed) == 200 for _ in iter(over.is_set, True))

    with ThreadPoolExecutor(4) as pool, contextlib.ExitStack() as ending:
        ending.callback(over.set)
        openers = [pool.submit(open_many) for _ in range(4)]
        for n in range(1, 4):
            wait_for(lambda n=n: opens_of(live_bed) >= counted + 20 * n)
            live_bed.restart()
        over.set()
        answered = sum(opener.result() for opener in openers)
    wait_for(lambda: is_ready(live_bed))
    assert answered <= opens_of(live_bed) - counted <= answered + 3 * 4


def test_a_service_started_without_redis_heals_when_it_comes(bed, tmp_path):
    bed.server.kill()
    given = {"email": "owner@example.com", "password": "long enough"}
    with Service(tmp_path, bed.server.url) as service:
        visitor = Client(service.url)
        assert visitor.get("/readyz").status_code == 503
        assert visitor.post("/api/login", json=given).status_code == 503
        bed.server = bed.server.again()
        wait_for(lambda: visitor.get("/readyz").status_code == 200)
        assert visitor.post("/api/login", json=given).status_code == 401


WITH_RESOLVER = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'


def test_a_silent_resolver_is_asked_once_for_each_try(tmp_path):
    """By default it is asked twice, and five seconds long each time."""
    if subprocess.run([need("unshare"), "-m", "true"]).returncode:
        pytest.skip("a resolver of one's own takes root")
    config, asked = tmp_path / "resolv.conf", []
    within = "unshare", "-m", "sh", "-c", WITH_RESOLVER, str(config)
    with socket.socket(type=socket.SOCK_DGRAM) as resolver:
        resolver.bind(("127.53.0.1", 53))
        resolver.settimeout(0)
        config.write_text("nameserver 127.53.0.1\n")
        with Service(tmp_path, "redis://redis.example", within=within) as service:
            while len({*asked}) < 3:  # a query for IPv4 and one for IPv6, and another
                assert Client(service.url).get("/readyz").status_code == 503
                with contextlib.suppress(BlockingIOError):
                    while True:
                        asked.append(resolver.recv(512))
    assert len({*asked}) == len(asked)
