"""A link to the master that Sentinels name: it follows, and mixes up no replies."""

from __future__ import annotations

import pytest
import redis as redis_py

import redis_node
from askers import Askers, answers, kind
from faults import hung
from redis_link import Link, RedisUrl, connect
from servers import Process, RedisServer, Sentinels, free_port, need, wait_for


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory):
    with Sentinels(tmp_path_factory.mktemp("sentinels")) as made:
        yield made


def role(server: RedisServer) -> str:
    return server.client.info("replication")["role"]


def leader(sentinels: Sentinels) -> tuple[RedisServer, RedisServer]:
    """Master and replica as things stand, once the Sentinels would fail over to it."""
    both = [sentinels.master, sentinels.replica]
    wait_for(lambda: sorted(map(role, both)) == ["master", "slave"])
    master, replica = sorted(both, key=role)
    wait_for(lambda: master.client.set("a", 1) and master.client.wait(1, 1000))
    for port in sentinels.ports:
        sentinel = redis_py.Redis(port=port)
        wait_for(lambda s=sentinel: s.sentinel_master("joip")["port"] == master.port)
    return master, replica


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
    master, _ = leader(sentinels)
    with Askers(connect(RedisUrl.parse(sentinels.url))) as askers:
        for _ in range(3):
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
            for wrong in (url, f"{url}?sentinel_password=redis%2Fs"):
                link = connect(RedisUrl.parse(wrong))
                assert kind(link.execute, "PING") == "MasterNotFoundError"
