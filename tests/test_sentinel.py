"""Behind Sentinels: a master dies or steps down, and the service follows the next."""

from __future__ import annotations

import pytest

from servers import Client, RedisServer, Sentinels, Service, wait_for

OVER = 20  # seconds in which a lost master must be over


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory):
    with Sentinels(tmp_path_factory.mktemp("sentinels")) as made:
        yield made


@pytest.fixture(scope="module")
def owner(sentinels, tmp_path_factory):
    """Somebody signed in at a service that only knows the Sentinels."""
    folder = tmp_path_factory.mktemp("service")
    with Service(folder, sentinels.url) as service:
        owner = Client(service.url)
        owner.sign_up("owner@example.com")
        owner.session_id = owner.make_session()
        owner.code = owner.share(owner.session_id)
        yield owner
        service.kill()


def works(owner: Client) -> bool:
    """Whether all is there as before and can be written; HTTPError while it is not."""
    stranger = Client(owner.url)
    given = {"email": "owner@example.com", "password": "long enough"}
    for answer in (
        shared := owner.post(f"/api/sessions/{owner.session_id}/share"),
        owner.post("/api/sessions", json={"title": "Another walk"}),
        stranger.get(f"/api/shared/{owner.code}/preview"),
        stranger.post("/api/login", json=given),
    ):
        answer.raise_for_status()
    return shared.json()["shareCode"] == owner.code


def role(server: RedisServer) -> str:
    return server.client.info("replication")["role"]


def leader(sentinels: Sentinels) -> tuple[RedisServer, RedisServer]:
    """Master and replica as things stand, once the replica has everything."""
    pair = [sentinels.master, sentinels.replica]
    pair.sort(key=lambda server: role(server) != "master")
    wait_for(lambda: role(pair[1]) == "slave" and pair[0].client.wait(1, 1000) == 1)
    return pair[0], pair[1]


def test_a_master_that_steps_down_is_followed_by_its_replica(sentinels, owner):
    assert works(owner)
    master, replica = leader(sentinels)
    sentinels.ask("FAILOVER", "joip")
    wait_for(lambda: role(replica) == "master")
    # What Sentinel itself does 10 seconds later.
    master.client.replicaof("127.0.0.1", replica.port)
    master.client.client_kill_filter(_type="normal", skipme=True)
    wait_for(lambda: works(owner), OVER)


def test_a_killed_master_is_over_within_20_seconds(sentinels, owner):
    assert works(owner)
    master, _ = leader(sentinels)
    master.kill()
    assert owner.get("/readyz").status_code == 503
    wait_for(lambda: works(owner), OVER)
