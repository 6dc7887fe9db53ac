"""Redis fails in every way it can: answers stay quick and honest, then all heals.

While only writes are refused, what merely reads goes on; a preview counts its open, so
it is a write. While only memory is short, signing out goes on too: it frees some.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

import joip_share
from routes import FREE, OWNER, READ, ROUTES, WRITE, Route, World
from servers import Client, RedisServer, Service, contents, free_port, wait_for

QUICK = 2  # seconds in which each request is answered, and all heals
FLEETING = (b"probe", b"login:", b"limits", b"journal", b"visitors:key:", b"filler")


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


@pytest.fixture
def bed(tmp_path):
    made = Bed(tmp_path)
    yield made
    made.server.stop()


# The faults. Each is begun by a signal or by Redis's own commands, and ended.


@contextlib.contextmanager
def away(bed: Bed) -> Iterator[None]:
    bed.server.kill()
    try:
        yield
    finally:
        bed.server = bed.server.again()


@contextlib.contextmanager
def hung(bed: Bed) -> Iterator[None]:
    bed.server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        bed.server.signal(signal.SIGCONT)


@contextlib.contextmanager
def loading(bed: Bed) -> Iterator[None]:
    """Reading its file back, 3 ms a key; between keys it answers LOADING."""
    bed.client.mset({f"filler:{n}": os.urandom(1024) for n in range(3000)})
    bed.client.bgrewriteaof()
    wait_for(lambda: not bed.client.info("persistence")["aof_rewrite_in_progress"])
    bed.restart(
        "--key-load-delay", "3000", "--loading-process-events-interval-bytes", "1024",
        wait=False,
    )  # fmt: skip
    wait_for(lambda: bed.client.info("persistence")["loading"])
    try:
        yield
    finally:
        bed.client.config_set("key-load-delay", 0)
        wait_for(bed.client.ping)
        bed.client.unlink(*bed.client.scan_iter("filler:*", 1000))


@contextlib.contextmanager
def read_only(bed: Bed) -> Iterator[None]:
    bed.client.replicaof("127.0.0.1", free_port())
    yield
    bed.client.replicaof("NO", "ONE")


@contextlib.contextmanager
def cut_off(bed: Bed) -> Iterator[None]:
    """A replica that lost its master and will not serve what may be stale."""
    bed.client.config_set("replica-serve-stale-data", "no")
    with read_only(bed):
        yield


@contextlib.contextmanager
def out_of_memory(bed: Bed) -> Iterator[None]:
    bed.client.config_set("maxmemory", 1)
    yield
    bed.client.config_set("maxmemory", 0)


@contextlib.contextmanager
def disk_broken(bed: Bed) -> Iterator[None]:
    """A snapshot cannot be put in its place, so Redis refuses writes (MISCONF)."""
    in_its_place = bed.server.folder / "dump.rdb"
    in_its_place.mkdir()
    saved(bed, "err")
    yield
    in_its_place.rmdir()
    saved(bed, "ok")


def saved(bed: Bed, status: str) -> None:
    """Save in the background until that ends with the status."""

    def done() -> bool:
        found = bed.client.info("persistence")
        if found["rdb_bgsave_in_progress"]:
            return False
        return found["rdb_last_bgsave_status"] == status or not bed.client.bgsave()

    wait_for(done)


class Fault(NamedTuple):
    """How Redis fails, and what it refuses meanwhile."""

    begin: Callable[[Bed], contextlib.AbstractContextManager[None]]
    refuses: frozenset[str]


ALL, WRITES = frozenset((READ, FREE, WRITE)), frozenset((FREE, WRITE))
FAULTS = {
    "away": Fault(away, ALL),
    "hung": Fault(hung, ALL),
    "loading": Fault(loading, ALL),
    "cut off": Fault(cut_off, ALL),
    "read-only": Fault(read_only, WRITES),
    "disk broken": Fault(disk_broken, WRITES),
    "out of memory": Fault(out_of_memory, frozenset((WRITE,))),
}
EACH_FAULT = pytest.mark.parametrize("name", FAULTS)


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
    """Who was answered late, refused without need, or served by a Redis that fails."""
    for (route, who), (answer, seconds) in asked:
        expected = getattr(route, who) in fault.refuses
        status = answer.status_code
        if refused(answer, route) != expected or status == 500 or seconds > QUICK:
            yield f"{route.method} {route.rule} ({who}): {status} in {seconds:.1f} s"


@EACH_FAULT
def test_every_route_that_needs_redis_says_so_and_heals(bed, name, monkeypatch):
    fault = FAULTS[name]
    world = World(joip_share.Settings(redis_url=bed.server.url))
    # Hung: all at once, so that each waits itself. Else: each with the breaker closed.
    at_once = 100 if name == "hung" else 1
    if name != "hung":
        monkeypatch.setattr(joip_share, "BREAKER_COOLDOWN", 0)
    before = bed.kept()
    calls = [(route, who) for who in ("stranger", "owner") for route in ROUTES]
    with fault.begin(bed), ThreadPoolExecutor(at_once) as pool:
        answers = list(pool.map(lambda call: world.call(*call), calls))
    assert list(wrong_answers(fault, zip(calls, answers, strict=True))) == []
    wait_for(lambda: world.stranger.get("/readyz").status_code == 200, QUICK)
    if name != "hung":  # there, what was sent is still done when it wakes
        assert bed.kept() == before
    found = world.check()
    assert (found.exit_code, found.stdout) == (0, "0 broken, 0 mended\n")
    assert world.owner.post("/api/login", json=OWNER).status_code == 200
    counted = world.stats()["opens"]
    assert world.stranger.get(f"/shared/{world.code}").status_code == 200
    assert world.stats()["opens"] == counted + 1


@pytest.fixture(scope="module")
def live_bed(tmp_path_factory):
    """A bed with the service as a process of its own, which outlives every fault."""
    folder = tmp_path_factory.mktemp("bed")
    bed = Bed(folder)
    with Service(folder, bed.server.url, RATELIMIT_ENABLED="0") as service:
        bed.service = service
        bed.owner = Client(service.url)
        bed.owner.sign_up(**OWNER)
        bed.session_id = bed.owner.make_session()
        bed.code = bed.owner.share(bed.session_id)
        yield bed
        service.kill()
    bed.server.stop()


def opens_of(bed: Bed) -> int:
    answer = bed.owner.get(f"/api/sessions/{bed.session_id}/stats")
    answer.raise_for_status()
    return answer.json()["totals"]["opens"]


def preview(bed: Bed) -> int:
    """Open the link as a stranger does; the status."""
    with Client(bed.service.url) as stranger:
        return stranger.get(f"/api/shared/{bed.code}/preview", timeout=30).status_code


@pytest.mark.parametrize("name", ["away", "hung", "loading"])
def test_eighty_requests_at_once_are_refused_together(live_bed, name):
    url = live_bed.service.url
    counted = opens_of(live_bed)
    with FAULTS[name].begin(live_bed), ThreadPoolExecutor(80) as pool:
        begun = time.monotonic()
        asked = [pool.submit(preview, live_bed) for _ in range(80)]
        assert Client(url).get("/healthz").status_code == 200
        assert [answer.result() for answer in asked] == [503] * 80
        assert time.monotonic() - begun < 12
        assert Client(url).get("/readyz").status_code == 503
    wait_for(lambda: Client(url).get("/readyz").status_code == 200, QUICK)
    # What had been sent to a hung Redis, once by each thread, is done when it wakes.
    assert counted <= opens_of(live_bed) <= counted + (8 if name == "hung" else 0)


def test_a_connection_that_redis_closed_is_not_noticed(live_bed):
    counted = opens_of(live_bed)
    for n in range(1, 6):
        live_bed.client.client_kill_filter(_type="normal", skipme=True)
        assert preview(live_bed) == 200
        assert opens_of(live_bed) == counted + n


def test_a_master_that_was_demoted_is_asked_no_more(bed):
    """Its name, or a balancer, may lead to the new one by now."""
    settings = joip_share.Settings(redis_url=bed.server.url)
    store = joip_share.create_app(settings).store
    connection = store.execute("CLIENT", "ID")
    bed.client.replicaof("127.0.0.1", free_port())
    with pytest.raises(joip_share.StoreUnavailable, match="ReadOnlyError"):
        store.create_session(joip_share.Account("1", "", "", "", "", ""),
                             joip_share.NewSession("A walk"))
    bed.client.replicaof("NO", "ONE")
    assert store.execute("CLIENT", "ID") != connection


def test_scripts_that_redis_forgot_are_loaded_anew_and_count_once(live_bed):
    counted = opens_of(live_bed)
    for n in range(1, 4):
        live_bed.client.script_flush()
        assert preview(live_bed) == 200
        assert opens_of(live_bed) == counted + n
    live_bed.client.script_flush()
    assert live_bed.owner.share(live_bed.session_id) == live_bed.code


def test_nothing_is_counted_twice_over_restarts_of_redis(live_bed):
    """What was answered is counted; beyond it only what was under way in a thread."""
    counted, over = opens_of(live_bed), threading.Event()

    def open_many() -> int:
        return sum(preview(live_bed) == 200 for _ in iter(over.is_set, True))

    with ThreadPoolExecutor(4) as pool:
        openers = [pool.submit(open_many) for _ in range(4)]
        for n in range(1, 4):
            wait_for(lambda n=n: opens_of(live_bed) >= counted + 20 * n)
            live_bed.restart()
        over.set()
        answered = sum(opener.result() for opener in openers)
    wait_for(lambda: preview(live_bed) == 200, QUICK)
    assert answered <= opens_of(live_bed) - counted - 1 <= answered + 3 * 4


def test_a_service_started_without_redis_heals_when_it_comes(bed, tmp_path):
    bed.server.kill()
    with Service(tmp_path, bed.server.url) as service:
        visitor = Client(service.url)
        assert visitor.get("/readyz").status_code == 503
        assert visitor.post("/api/login", json=OWNER).status_code == 503
        bed.server = bed.server.again()
        wait_for(lambda: visitor.get("/readyz").status_code == 200, QUICK)
        assert visitor.post("/api/login", json=OWNER).status_code == 401
        service.kill()
