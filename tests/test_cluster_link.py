"""A link to a Redis Cluster: each key has its server, and each server its breaker."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis as redis_py
from redis.crc import key_slot

from askers import COUNT, ECHO, Askers, answers, kind
from faults import hung
from inputs import NewSession
from redis_link import Link, connect
from redis_node import StoreUnavailable
from redis_url import RedisUrl
from scripts import Script
from servers import Cluster, RedisServer, free_port, wait_for
from store import Store

BOTH = Script(
    "#!lua\nlocal n = redis.call('INCR', KEYS[1])\n"
    "if redis.call('INCR', KEYS[2]) == n then return n end\n"
    "return redis.error_reply('APART')"
)


pytestmark = pytest.mark.usefixtures("in_time")


def link_to(cluster: Cluster, wait: int = 0) -> Link:
    return connect(RedisUrl.parse(cluster.url), wait)


def serve_what_is_there(cluster: Cluster) -> None:
    """As the README says: a slot without a server does not stop the others."""
    for node in cluster.nodes:
        node.client.config_set("cluster-require-full-coverage", "no")
        node.client.config_set("repl-diskless-sync-delay", 0)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster")) as made:
        serve_what_is_there(made)
        yield made


@pytest.fixture
def link(cluster):
    wait_for(cluster.serves)
    cluster.flush()
    return link_to(cluster)


def keys_of(cluster: Cluster) -> list[str]:
    """A key of each node, in their order."""
    ends = 5461, 10923, 16384
    names = [f"key:{n}" for n in range(100)]
    slots = [key_slot(name.encode()) for name in names]
    owners = [sum(slot >= end for end in ends) for slot in slots]
    return [names[owners.index(node)] for node in range(3)]


def test_commands_go_to_their_keys_servers_one_after_another(cluster, link):
    keys = keys_of(cluster)
    writes = [("SET", key, key) for key in keys]
    reads = [("GET", key) for key in keys]
    found = [key.encode() for key in keys]
    assert link.execute_many(writes + reads) == [b"OK"] * 3 + found
    assert [node.client.get(keys[n]) for n, node in enumerate(cluster.nodes)] == found
    assert link.execute("HSET", "h", "a", 1) == 1
    assert link.execute("HGETALL", "h") == [b"a", b"1"]
    assert link.execute("PING") == b"PONG"
    assert link.execute_many([]) == []


def test_scripts_run_in_their_turn_also_where_a_server_forgot_them(cluster, link):
    keys = keys_of(cluster)
    for turn in (1, 2):
        count = [command for key in keys for command in (COUNT([key]), ("GET", key))]
        replies = link.execute_many(count)
        assert replies == [turn, str(turn).encode()] * 3
        for node in cluster.nodes:
            node.client.script_flush()
    assert str(link.execute(*COUNT([keys[0]], "refuse"))) == "NOT_TODAY"
    wrong = COUNT([keys[0], keys[1]])
    assert kind(link.execute, *wrong) in ("CROSSSLOT", "ERR")


def test_all_masters_are_named(cluster, link):
    ports = {node.config_get("port")["port"] for node in link.nodes()}
    assert ports == {str(node.port) for node in cluster.nodes}


def test_each_thread_has_one_connection_per_server_which_ends_with_it(cluster, link):
    def clients() -> int:
        return sum(n.client.info("clients")["connected_clients"] for n in cluster.nodes)

    def ids() -> list[list[int]]:
        return [[link.execute("EVAL", "return redis.call('CLIENT', 'ID')", 1, key)
                 for key in keys] for _ in range(5)]  # fmt: skip

    keys = keys_of(cluster)
    link.execute_many([("GET", key) for key in keys])
    before = clients()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(link.execute_many, [("GET", key) for key in keys] * 5).result()
        assert clients() == before + 3
    wait_for(lambda: clients() == before)


def test_nobody_gets_anothers_reply_from_a_server_that_hangs(cluster, link):
    with Askers(link) as askers:
        for node in cluster.nodes:
            askers.go_on()
            with hung(node):
                askers.wait_for("TimeoutError")
        askers.go_on()
    assert askers.wrong == []


def test_nobody_gets_anothers_reply_after_a_deadline_cut_an_exchange(cluster, link):
    with Askers(link, seconds=0.05) as askers:
        for node in cluster.nodes:
            askers.go_on()
            with hung(node):
                askers.wait_for("Deadline", times=10)
        askers.go_on()
    assert askers.wrong == []


def test_nobody_gets_anothers_reply_when_connections_are_cut_off(cluster, link):
    with Askers(link) as askers:
        for turn in range(30):
            askers.wait_for("", times=10)
            node = cluster.nodes[turn % 3]
            node.client.client_kill_filter(_type="normal", skipme=True)
        askers.go_on()
    assert askers.wrong == []


def test_a_server_that_is_away_takes_only_its_own_keys_along(cluster, link):
    away, *others = keys_of(cluster)
    link.execute_many([("SET", key, 1) for key in (away, *others)])
    with hung(cluster.nodes[0]), ThreadPoolExecutor(8) as pool:
        assert kind(link.execute, "GET", away) == "TimeoutError"
        asked = [*pool.map(lambda n: link.execute("GET", others[n % 2]), range(400))]
        assert asked == [b"1"] * 400
        kinds = Counter(pool.map(lambda _: kind(link.execute, "GET", away), range(80)))
        assert kinds["CircuitOpen"] > 40  # one waits, and tells the others
    wait_for(lambda: answers(link, away, *others))


def test_while_all_servers_hang_it_says_so_and_heals(cluster, link):
    keys = keys_of(cluster)
    link.execute_many([("SET", key, 1) for key in keys])
    new = link_to(cluster)
    with hung(*cluster.nodes):
        assert [kind(link.execute, "GET", key) for key in keys] == ["TimeoutError"] * 3
        assert kind(new.execute, "GET", keys[0]) == "ClusterDown"
        assert kind(new.execute, "GET", keys[0]) == "CircuitOpen"
    wait_for(lambda: answers(link, *keys))
    wait_for(lambda: answers(new, *keys))


def test_without_a_replica_nothing_is_durable(cluster, patient):
    link = link_to(cluster, wait=1)
    with link.deadline(patient):
        assert kind(link.execute_many, [("SET", "a", 1)], True) == "NotReplicated"
    assert link.execute_many([("GET", "a")]) == [b"1"]


# A slot on its way from one server to another.


class Slot:
    """The slot of a hash tag, which can be moved while it is used."""

    def __init__(self, cluster: Cluster, tag: str) -> None:
        self.number = key_slot(tag.encode())
        owner = sum(self.number >= end for end in (5461, 10923))
        order = [(owner + n) % 3 for n in range(3)]
        self.source, self.target, _ = [cluster.nodes[n] for n in order]
        self.nodes = cluster.nodes

    @staticmethod
    def _id(node: RedisServer) -> str:
        return str(node.client.execute_command("CLUSTER", "MYID").decode())

    def _set(self, node: RedisServer, *state: str) -> None:
        node.client.execute_command("CLUSTER", "SETSLOT", self.number, *state)

    def move(self, halfway: contextlib.AbstractContextManager[None]) -> None:
        """Move it, and do something when half of its keys are moved."""
        self._set(self.target, "IMPORTING", self._id(self.source))
        self._set(self.source, "MIGRATING", self._id(self.target))
        first = True
        while keys := self.source.client.execute_command(
            "CLUSTER", "GETKEYSINSLOT", self.number, 1
        ):
            self.source.client.execute_command(
                "MIGRATE", "127.0.0.1", self.target.port, keys[0], 0, 1000
            )
            if first:
                with halfway:
                    first = False
        for node in (self.target, self.source, *self.nodes):
            self._set(node, "NODE", self._id(self.target))
        self.source, self.target = self.target, self.source


def test_a_slot_that_moves_is_followed_and_nothing_counts_twice(cluster, link):
    slot, keys = Slot(cluster, "moving"), ["{moving}a", "{moving}b"]
    link.execute(*BOTH(keys))
    kinds: Counter[str] = Counter()
    over = threading.Event()

    def count() -> int:
        done = 0
        while not over.is_set():
            try:
                done += isinstance(link.execute(*BOTH(keys)), int)
            except StoreUnavailable as error:
                kinds[str(error)] += 1
        return done

    @contextlib.contextmanager
    def while_they_try():
        """Time for each to find its two keys in two places."""
        yield
        link.execute("GET", keys[0])

    def counted(more: int) -> None:
        """Wait until it was counted some times more."""
        before = int(link.execute("GET", keys[0]))
        wait_for(lambda: int(link.execute("GET", keys[0])) > before + more)

    with ThreadPoolExecutor(4) as pool, contextlib.ExitStack() as ending:
        ending.callback(over.set)
        counting = [pool.submit(count) for _ in range(4)]
        for _ in range(10):
            slot.move(while_they_try())
            counted(10)
        over.set()
        done = sum(each.result() for each in counting)
    assert set(kinds) <= {"TimeoutError", "CircuitOpen"}  # of a machine that is busy
    first, second = (int(link.execute("GET", key)) for key in keys)
    assert first == second
    assert done + 1 <= first <= done + 1 + kinds["TimeoutError"]


def test_a_slot_that_stays_halfway_is_told_and_serves_what_it_can(cluster, link):
    slot, keys = Slot(cluster, "half"), ["{half}a", "{half}b"]
    link.execute(*BOTH(keys))

    @contextlib.contextmanager
    def halfway():
        wait_for(lambda: kind(link.execute, *BOTH(keys)) == "TRYAGAIN")
        assert link.execute_many([("GET", key) for key in keys]) == [b"1"] * 2
        for node in cluster.nodes:
            node.client.script_flush()
        assert (
            link.execute_many([ECHO([key], "x") for key in keys]) == [[b"1", b"x"]] * 2
        )
        assert (
            link.execute(*COUNT(["{half}new"])) == 1
        )  # ASK, and the script is unknown
        yield

    slot.move(halfway())
    assert link.execute(*BOTH(keys)) == 2


def test_a_cluster_whose_addresses_have_all_changed_is_found_where_it_was_named(
    tmp_path,
):
    """As that of containers which were started anew, whose names are the same."""
    cluster = "--cluster-enabled", "yes", "--cluster-port", str(free_port())
    loopback = "--bind", "127.0.0.1", "127.0.0.2", "127.0.0.3"
    with RedisServer(tmp_path, *cluster, *loopback) as node:
        node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        node.client.config_set("cluster-announce-ip", "127.0.0.2")
        link = connect(RedisUrl.parse(f"redis+cluster://127.0.0.1:{node.port}"))
        wait_for(lambda: answers(link), what="the cluster")
        node.client.config_set("cluster-announce-ip", "127.0.0.3")
        node.client.config_set("bind", "127.0.0.1 127.0.0.3")
        node.client.client_kill_filter(_type="normal", skipme=True)
        wait_for(lambda: answers(link), what="the new address")


# Replicas


class Replicated(Cluster):
    """The same, each master with a replica."""

    def start(self, add):
        super().start(add)
        serve_what_is_there(self)
        self.replicas = [self._replica(add, master) for master in self.nodes]
        wait_for(lambda: all(map(self._is_ready, self.nodes + self.replicas)))

    @staticmethod
    def _is_ready(node):
        state = node.client.execute_command("CLUSTER INFO")
        return (state["cluster_state"], state["cluster_known_nodes"]) == ("ok", "6")

    def _replica(self, add, master):
        replica = add(self._node(bus := free_port()))
        meet = "127.0.0.1", replica.port, bus
        master.client.execute_command("CLUSTER", "MEET", *meet)
        name = master.client.execute_command("CLUSTER", "MYID")
        wait_for(lambda: replica.client.execute_command("CLUSTER", "REPLICATE", name))
        wait_for(lambda: replica.client.info()["master_link_status"] == "up")
        return replica


@pytest.fixture(scope="module")
def replicated(tmp_path_factory):
    with Replicated(tmp_path_factory.mktemp("replicated")) as made:
        yield made


def test_what_is_durable_is_on_the_replica_of_its_server(replicated, patient):
    link, keys = link_to(replicated, wait=1), keys_of(replicated)
    assert link.execute_many([COUNT([key]) for key in keys], durable=True) == [1] * 3
    for replica, key in zip(replicated.replicas, keys, strict=True):
        with redis_py.Redis(port=replica.port).client() as reader:
            reader.execute_command("READONLY")
            assert reader.get(key) == b"1"
    with hung(replicated.replicas[0]):
        with link.deadline(patient):
            count = [COUNT([keys[0]])]
            assert kind(link.execute_many, count, True) == "NotReplicated"
        assert link.execute("GET", keys[0]) == b"2"
        assert link.execute_many([COUNT([keys[1]])], durable=True) == [2]


def test_a_link_that_is_taken_back_is_so_on_the_replica_of_its_session(
    replicated, patient
):
    """Of its code's own server the replica answers."""
    store = Store(link_to(replicated, wait=1))
    owner = store.register("owner@example.com", "", "-")
    at = pointer = 0
    while at == pointer:
        session_id = store.create_session(owner.id, NewSession(title="A walk")).id
        code = store.share(session_id, owner.id)
        names = store.keys.session(session_id), store.keys.share(code)
        slots = [key_slot(name.encode()) for name in names]
        at, pointer = [sum(slot >= end for end in (5461, 10923)) for slot in slots]
    with hung(replicated.replicas[at]), store.link.deadline(patient):
        assert kind(store.revoke, session_id, owner.id, code) == "NotReplicated"


def test_a_server_that_died_is_followed_by_its_replica(replicated):
    link, keys = link_to(replicated), keys_of(replicated)
    link.execute_many([("SET", key, 1) for key in keys])
    with Askers(link) as askers:
        askers.go_on()
        replicated.nodes[0].kill()
        wait_for(lambda: answers(link, keys[0]))
        askers.go_on()
    assert askers.wrong == []
    assert len(link.nodes()) == 3
