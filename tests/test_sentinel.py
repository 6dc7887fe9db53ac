"""Behind Sentinels: a master dies, sleeps or steps down, and its replica is followed.

What is durable is never lost, and nobody gets what is another's.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import pytest
import redis as redis_py

import redis_node
from askers import Askers, answers, kind
from faults import hung
from redis_link import Link, connect
from redis_url import RedisUrl
from servers import (
    Client,
    Process,
    RedisServer,
    Sentinels,
    Service,
    free_port,
    need,
    wait_for,
)

pytestmark = pytest.mark.usefixtures("in_time")


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory):
    with Sentinels(tmp_path_factory.mktemp("sentinels")) as made:
        yield made
        for server in (made.master, made.replica):  # or what was started in its place
            server.stop()


def role(server: RedisServer) -> str:
    return server.client.info("replication")["role"]


def leader(sentinels: Sentinels) -> tuple[RedisServer, RedisServer]:
    """Master and replica as things stand, once the Sentinels would fail over to it."""
    both = [sentinels.master, sentinels.replica]
    wait_for(lambda: sorted(map(role, both)) == ["master", "slave"])
    master, replica = sorted(both, key=role)
    wait_for(lambda: master.client.set("a", 1) and master.client.wait(1, 1000))
    wait_for(lambda: all_name(sentinels, master))
    return master, replica


def all_name(sentinels: Sentinels, master: RedisServer) -> bool:
    """Whether all Sentinels agree that this is the master."""
    told = [redis_py.Redis(port=p).sentinel_master("joip") for p in sentinels.ports]
    return [each["port"] for each in told] == [master.port] * 3


def durable_link(sentinels: Sentinels) -> Link:
    return connect(RedisUrl.parse(sentinels.url), wait=1)


def test_it_finds_the_master_and_keeps_its_connection(sentinels):
    link = durable_link(sentinels)
    master, _ = leader(sentinels)
    assert link.execute("CONFIG", "GET", "port")[1] == str(master.port).encode()
    assert len({link.execute("CLIENT", "ID") for _ in range(10)}) == 1
    assert [node.ping() for node in link.nodes()] == [True]


def planned(sentinels: Sentinels, master: RedisServer, replica: RedisServer) -> None:
    """A failover that an admin asked for. Who is busy at it follows before the former
    master is told that it is none, which takes some ten seconds."""
    link = connect(RedisUrl.parse(sentinels.url))
    wait_for(lambda: sentinels.ask("FAILOVER", "joip"))
    while link.execute("CONFIG", "GET", "port")[1] != str(replica.port).encode():
        assert role(master) == "master"
    wait_for(lambda: role(master) == "slave")


def slept(sentinels: Sentinels, master: RedisServer, replica: RedisServer) -> None:
    """A master that sleeps until there is another, and wakes as if it still were it."""
    with hung(master):
        wait_for(lambda: role(replica) == "master")
    wait_for(lambda: role(master) == "slave")


@pytest.mark.parametrize("fail_over", [planned, slept])
def test_a_failover_loses_nothing_durable_and_mixes_up_no_replies(
    sentinels, fail_over, monkeypatch
):
    monkeypatch.setattr(redis_node, "RESTED", 60)  # they are busy all the time
    master, replica = leader(sentinels)
    link = durable_link(sentinels)
    with Askers(link, durable=True) as askers:
        askers.go_on()
        fail_over(sentinels, master, replica)
        leader(sentinels)
        askers.go_on()
    assert askers.wrong == []
    assert askers.lost() == []


def test_nobody_gets_anothers_reply_when_connections_are_cut_off(sentinels):
    master, _ = leader(sentinels)
    with Askers(connect(RedisUrl.parse(sentinels.url))) as askers:
        for _ in range(30):
            askers.wait_for("", times=20)
            master.client.client_kill_filter(_type="normal", skipme=True)
        askers.go_on()
    assert askers.wrong == []


def test_nobody_gets_anothers_reply_from_a_master_that_hangs(sentinels):
    with Askers(connect(RedisUrl.parse(sentinels.url))) as askers:
        for _ in range(3):
            master, _ = leader(sentinels)  # another one, where they took it for dead
            askers.go_on()
            with hung(master):
                askers.wait_for("TimeoutError")
        askers.go_on()
    assert askers.wrong == []


def test_a_sentinel_that_hangs_is_passed_over(sentinels):
    leader(sentinels)
    with hung(*sentinels.sentinels[:2]):
        link = connect(RedisUrl.parse(sentinels.url))
        assert link.execute("ECHO", "it") == b"it"
    assert answers(link)


def test_while_all_sentinels_hang_a_connection_is_still_used(sentinels):
    leader(sentinels)
    link, other = (connect(RedisUrl.parse(sentinels.url)) for _ in range(2))
    mine = link.execute("CLIENT", "ID")
    with hung(*sentinels.sentinels):
        assert kind(other.execute, "PING") == "MasterNotFoundError"
        for _ in range(20):
            assert link.execute("CLIENT", "ID") == mine
    wait_for(lambda: answers(other))


def test_sentinels_may_have_a_password_of_their_own(tmp_path):
    with RedisServer(tmp_path, "--requirepass", "redis/s", wait=False) as server:
        config, port = tmp_path / "sentinel.conf", free_port()
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n"
            "requirepass sentinel/s\n"
            f"sentinel monitor joip 127.0.0.1 {server.port} 1\n"
            "sentinel auth-pass joip redis/s\n"
        )
        command = [need("redis-sentinel"), str(config)]
        url = f"redis+sentinel://:redis%2Fs@127.0.0.1:{port}/joip/0"
        with Process(command, tmp_path / "sentinel.log"):
            right = connect(RedisUrl.parse(f"{url}?sentinel_password=sentinel%2Fs"))
            wait_for(lambda: answers(right))
            assert right.execute("ECHO", "in") == b"in"
            wrong = {url: "NOAUTH", f"{url}?sentinel_password=redis%2Fs": "WRONGPASS"}
            for given, told in wrong.items():  # not an outage, which heals by itself
                assert kind(connect(RedisUrl.parse(given)).execute, "PING") == told


# The service


@pytest.fixture(scope="module")
def service(sentinels, tmp_path_factory):
    """A service that only knows the Sentinels, and waits for a replica."""
    leader(sentinels)
    keep = {"REDIS_WAIT": "1", "RATELIMIT_ENABLED": "0"}
    with Service(tmp_path_factory.mktemp("service"), sentinels.url, **keep) as made:
        yield made


class Owners:
    """Owners who make sessions without pause, each with a title of its own."""

    def __init__(self, url: str, threads: int = 4) -> None:
        self.made: list[tuple[Client, int, str]] = []
        self.refused = 0
        self.wrong: list[str] = []
        self._over = threading.Event()
        self._owners = [Client(url) for _ in range(threads)]
        for owner in self._owners:
            owner.sign_up()

    def make_sessions(self, owner: Client) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            title = f"{id(owner)} {number}"
            answer = owner.post("/api/sessions", json={"title": title})
            if answer.status_code == 503:
                self.refused += 1
            elif (answer.status_code, answer.json().get("title")) == (201, title):
                self.made.append((owner, answer.json()["id"], title))
            else:
                self.wrong.append(answer.text)

    def go_on(self) -> None:
        before = len(self.made)
        wait_for(lambda: len(self.made) >= before + 20, 60)

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(len(self._owners))
        self._asking = [self._pool.submit(self.make_sessions, o) for o in self._owners]
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._pool.shutdown()
        for owner in self._asking:
            owner.result()

    def lost(self) -> list[str]:
        """The sessions whose making was answered, and which are not what they were."""
        found = [
            (owner.get(f"/api/sessions/{number}"), title)
            for owner, number, title in self.made
        ]
        return [
            title
            for answer, title in found
            if answer.status_code != 200 or answer.json()["session"]["title"] != title
        ]


def killed(sentinels: Sentinels, master: RedisServer, replica: RedisServer) -> None:
    """A master that dies, and comes back as a replica of the other one; empty, so not
    before all Sentinels know that it is no master."""
    master.kill()
    wait_for(lambda: role(replica) == "master" and all_name(sentinels, replica))
    again = master.again()
    sentinels.master = again if sentinels.master is master else sentinels.master
    sentinels.replica = again if sentinels.replica is master else sentinels.replica
    wait_for(lambda: role(again) == "slave")


@pytest.mark.parametrize("fail_over", [planned, killed])
def test_a_service_loses_nothing_that_it_answered(sentinels, service, fail_over):
    master, replica = leader(sentinels)
    with Owners(service.url) as owners:
        owners.go_on()
        fail_over(sentinels, master, replica)
        leader(sentinels)
        owners.go_on()
    assert owners.wrong == []
    assert owners.lost() == []
