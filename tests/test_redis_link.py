"""How Redis is spoken to: whose reply it is, what goes wrong by name, how it heals."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import fakeredis
import pytest
import redis as redis_py

import redis_node
import scripts
from askers import COUNT, ECHO, Askers, answers, kind
from faults import broken_disk, busy, configured, hung, replica_of_nobody
from redis_link import Link, connect
from redis_node import StoreRefusesWrites, StoreUnavailable
from redis_url import RedisUrl
from scripts import Command, Script, script
from servers import Process, RedisServer, free_port, need, wait_for

pytestmark = pytest.mark.usefixtures("in_time")


def link_to(server: RedisServer, wait: int = 0) -> Link:
    return connect(RedisUrl.parse(server.url), wait)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A redis-server for these tests, which hurt it; each gives it back unharmed."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as made:
        yield made


@pytest.fixture
def redis(server):
    """A client of it, to look behind the link; everything is empty."""
    server.client.flushall()
    return server.client


@pytest.fixture(params=["fakeredis", "redis"])
def link(request):
    """A link to an empty Redis: to the one in memory, then to a real one."""
    if request.param == "fakeredis":
        return Link(fakeredis.FakeStrictRedis())
    request.getfixturevalue("redis")
    return link_to(request.getfixturevalue("server"))


# ---------------------------------------------------------------- What is said to it


def test_replies_are_bytes_in_the_order_of_the_commands(link):
    assert link.execute("SET", "name", "Ana") == b"OK"
    assert link.execute_many([("GET", "name"), ("GET", "none"), ("ECHO", "é")]) == [
        b"Ana",
        None,
        "é".encode(),
    ]
    link.execute("HSET", "hash", "a", 1, "b", 2)
    assert link.execute("HGETALL", "hash") == [b"a", b"1", b"b", b"2"]
    assert link.execute_many([]) == []


def test_what_a_script_refuses_stands_in_its_place(link):
    first, refused, third = link.execute_many(
        [COUNT(["n"]), COUNT(["n"], "refuse"), COUNT(["n"])]
    )
    assert isinstance(refused, redis_py.ResponseError)
    assert (first, str(refused), third) == (1, "NOT_TODAY", 2)
    assert str(link.execute(*COUNT(["n"], "refuse"))) == "NOT_TODAY"


def test_a_script_that_redis_forgot_runs_once_wherever_it_stands(link):
    link.execute(*COUNT(["n"]))
    link.execute("SCRIPT", "FLUSH")
    replies = link.execute_many(
        [("SET", "a", 1), COUNT(["n"]), ("GET", "a"), ECHO(["a"], "it")]
    )
    assert replies == [b"OK", 2, b"1", [b"1", b"it"]]
    assert link.execute("GET", "n") == b"2"


def test_who_writes_by_a_forgotten_script_and_looks_again_looks_afterwards(link):
    """Else a sign-in by an old password outlives its change."""
    link.execute(*COUNT(["n"]))
    link.execute("SCRIPT", "FLUSH")
    assert link.execute_many([COUNT(["n"]), ("GET", "n"), COUNT(["n"])]) == [2, b"2", 3]


def test_a_script_that_a_restarted_redis_does_not_know_runs_in_its_turn(tmp_path):
    with RedisServer(tmp_path) as before:
        link = link_to(before)
        assert link.execute_many([COUNT(["n"]), ("GET", "n")]) == [1, b"1"]
        before.kill()
        with before.again():
            assert link.execute_many([COUNT(["n"]), ("GET", "n")]) == [1, b"1"]


def test_an_error_is_raised_after_all_replies_are_read(link):
    wrong = [("SET", "a", 1), ("LPUSH", "a", 1), ("SET", "b", 2)]
    assert kind(link.execute_many, wrong) == "WRONGTYPE"
    assert link.execute_many([("GET", "b"), ("ECHO", "next")]) == [b"2", b"next"]
    assert kind(link.execute, "NOSUCH", "command") == "ERR"


def test_a_script_is_found_by_name_and_holds_what_it_includes(tmp_path, monkeypatch):
    monkeypatch.setattr(scripts, "LUA", tmp_path)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "one.lua").write_text("local one = 1\n")
    (tmp_path / "two.lua").write_text(
        "#!lua flags=no-writes\n-- include parts/one\nreturn one + one\n"
    )
    two = script.__wrapped__("two")
    text = Script.texts[two.sha]
    assert text == "#!lua flags=no-writes\nlocal one = 1\nreturn one + one\n"
    assert Link(fakeredis.FakeStrictRedis()).execute(*two(["key"])) == 2
    with pytest.raises(OSError, match=r"three\.lua"):
        script.__wrapped__("three")


def test_a_client_with_other_habits_gives_bytes_and_retries_nothing(server, redis):
    client = redis_py.Redis(port=server.port, decode_responses=True, protocol=3)
    link = Link(client)
    link.execute("HSET", "hash", "a", 1)
    assert link.execute("HGETALL", "hash") == [b"a", b"1"]
    assert link.client is client
    assert link.nodes() == [client]


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:{}/0",
        "unix:///nowhere/redis.sock",
        "redis+sentinel://127.0.0.1:{}/joip/0",
        "redis+cluster://127.0.0.1:{}",
    ],
)
def test_a_link_to_nowhere_is_made_without_connecting_and_says_so_when_used(url):
    link = connect(RedisUrl.parse(url.format(free_port())), wait=1)
    expected = {"sentinel": "MasterNotFoundError", "cluster": "ClusterDown"}
    told = expected.get(url.partition("+")[2].partition(":")[0], "ConnectionError")
    assert kind(link.execute, "GET", "a") == told


# ----------------------------------------------------------------- What goes wrong


WRITES = [("SET", "a", 1), COUNT(["n"]), ("EVAL", "redis.call('SET', 'a', 1)", 0)]
READS = [("GET", "a"), ECHO(["a"])]
REFUSALS = {
    "out of memory": lambda redis: configured(redis, maxmemory=1),
    "read-only replica": replica_of_nobody,
    "cannot write to its disk": broken_disk,
    "too few replicas": lambda redis: configured(redis, min_replicas_to_write=1),
}
OUTAGES = {"MASTERDOWN": lambda redis: replica_of_nobody(redis, "no"), "BUSY": busy}


@pytest.mark.parametrize("why", REFUSALS)
def test_where_redis_takes_no_writes_it_says_why_and_reads_go_on(server, redis, why):
    link = link_to(server)
    link.execute_many(READS)
    with REFUSALS[why](redis):
        for command in WRITES:
            with pytest.raises(StoreRefusesWrites, match=f"^{why}$"):
                link.execute(*command)
        assert link.execute_many(READS) == [None, [None]]
        assert kind(link.execute_many, [*READS, *WRITES]) == why
    assert link.execute(*COUNT(["n"])) == 1


@pytest.mark.parametrize("name", OUTAGES)
def test_where_redis_does_nothing_its_own_name_for_that_is_told(server, redis, name):
    link = link_to(server)
    link.execute_many(READS)
    with OUTAGES[name](redis):
        for command in READS:
            assert kind(link.execute, *command) == name
    wait_for(lambda: answers(link))
    assert link.execute_many(READS) == [None, [None]]


def test_a_server_that_is_loading_says_so(tmp_path):
    keep = "--appendonly", "yes", "--appendfsync", "no"
    with RedisServer(tmp_path, *keep) as before:
        before.client.mset({f"filler:{n}": "x" * 1024 for n in range(3000)})
        before.client.bgrewriteaof()
        wait_for(
            lambda: not before.client.info("persistence")["aof_rewrite_in_progress"]
        )
        link = link_to(before)
        link.execute("PING")
        before.kill()
        slow = (
            "--key-load-delay",
            "3000",
            "--loading-process-events-interval-bytes",
            "1024",
        )
        with before.again(*slow, wait=False) as after:
            wait_for(lambda: after.client.info("persistence")["loading"])
            assert kind(link.execute, "GET", "filler:1") == "LOADING"
            after.client.config_set("key-load-delay", 0)
            wait_for(lambda: answers(link))
            assert link.execute("STRLEN", "filler:1") == 1024


def test_a_wrong_password_is_told_without_it(server, redis):
    with configured(redis, requirepass="s3cret"):
        url = server.url.replace("//", "//:wr0ng@")
        assert kind(connect(RedisUrl.parse(url)).execute, "GET", "a") == "WRONGPASS"
        assert kind(link_to(server).execute, "GET", "a") == "NOAUTH"
        right = connect(RedisUrl.parse(server.url.replace("//", "//:s3cret@")))
        assert right.execute("ECHO", "in") == b"in"
        redis.execute_command("AUTH", "s3cret")


# -------------------------------------------------- Whose reply it is (invariant 6)


def test_nobody_gets_anothers_reply_from_a_server_that_hangs(server, redis):
    with Askers(link_to(server)) as askers:
        for _ in range(3):
            askers.go_on()
            with hung(server):
                askers.wait_for("TimeoutError")
        askers.go_on()
    assert askers.wrong == []


def test_nobody_gets_anothers_reply_after_a_deadline_cut_an_exchange(server, redis):
    with Askers(link_to(server), seconds=0.05) as askers:
        for _ in range(10):
            askers.go_on()
            with hung(server):
                askers.wait_for("Deadline")
        askers.go_on()
    assert askers.wrong == []


def test_nobody_gets_anothers_reply_when_connections_are_cut_off(server, redis):
    with Askers(link_to(server)) as askers:
        for _ in range(30):
            askers.wait_for("", times=20)
            redis.client_kill_filter(_type="normal", skipme=True)
        askers.go_on()
    assert askers.wrong == []


def test_nobody_gets_anothers_reply_over_restarts(tmp_path):
    server = RedisServer(tmp_path)
    with Askers(link_to(server)) as askers:
        for _ in range(3):
            askers.go_on()
            server.kill()
            askers.wait_for("ConnectionError")
            server = server.again()
        askers.go_on()
        server.stop()
    assert askers.wrong == []


def test_an_interrupt_at_any_point_leaves_no_reply_behind(server, redis):
    def interrupt(*_: object) -> None:
        if armed:  # else it comes when the exchange is over already
            raise KeyboardInterrupt

    link, interrupted, armed = link_to(server), 0, False
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for turn in range(2000):
            mine = str(turn).encode()
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + turn % 100))
                assert link.execute("ECHO", mine) == mine
                armed = False
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted, armed = interrupted + 1, False
            assert link.execute("ECHO", b"!" + mine) == b"!" + mine
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 100


def test_a_fork_shares_no_connection_with_its_parent(server, redis, monkeypatch):
    monkeypatch.setattr(redis_node, "RESTED", 60)  # however soon after an exchange
    link = link_to(server)
    mine = link.execute("CLIENT", "ID")
    child = os.fork()
    if not child:
        theirs = link.execute("CLIENT", "ID")
        again = link.execute("CLIENT", "ID")
        os._exit(0 if mine != theirs == again else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert link.execute("CLIENT", "ID") == mine


# ----------------------------------------------------------------------- Connections


def clients(redis: redis_py.Redis) -> int:
    return int(redis.info("clients")["connected_clients"])


def test_each_thread_has_one_connection_which_ends_with_it(server, redis):
    link, before = link_to(server), clients(redis)

    def ids() -> list[int]:
        together.wait()
        return [link.execute("CLIENT", "ID") for _ in range(10)]

    for _ in range(3):
        together = threading.Barrier(8)
        with ThreadPoolExecutor(8) as pool:
            found = [set(f.result()) for f in [pool.submit(ids) for _ in range(8)]]
            assert [len(each) for each in found] == [1] * 8
            assert len(set.union(*found)) == 8
            assert clients(redis) == before + 8
        wait_for(lambda: clients(redis) == before)


def test_a_connection_that_was_closed_while_it_rested_is_not_noticed(
    server, redis, monkeypatch
):
    monkeypatch.setattr(redis_node, "RESTED", 0)
    link = link_to(server)
    for n in range(1, 6):
        assert link.execute("INCR", "n") == n
        redis.client_kill_filter(_type="normal", skipme=True)


def test_a_restart_is_not_noticed_by_who_asks_after_it(tmp_path):
    with RedisServer(tmp_path, "--appendonly", "yes") as before:
        link = link_to(before)
        assert link.execute("INCR", "n") == 1
        before.kill()
        with before.again():
            assert link.execute("INCR", "n") == 2


def test_what_failed_after_it_was_sent_is_not_sent_again(server, redis):
    link = link_to(server)
    link.execute("SET", "n", 0)
    with hung(server):
        assert kind(link.execute, "INCR", "n") == "TimeoutError"
    wait_for(lambda: redis.get("n") == b"1")
    wait_for(lambda: answers(link))
    assert link.execute("GET", "n") == b"1"


def test_a_read_only_server_is_left_for_what_its_name_leads_to_now(server, redis):
    link = link_to(server)
    before = link.execute("CLIENT", "ID")
    with replica_of_nobody(redis):
        assert kind(link.execute, "SET", "a", 1) == "read-only replica"
    assert link.execute("CLIENT", "ID") != before


def test_a_unix_socket_is_spoken_to_as_well(tmp_path):
    with RedisServer(tmp_path, "--unixsocket", str(tmp_path / "s")):
        link = connect(RedisUrl.parse(f"unix://{tmp_path}/s?db=2"))
        assert link.execute_many([("SET", "a", 1), ("GET", "a")]) == [b"OK", b"1"]


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """redis-server's options for TLS, by a certificate that nobody else trusts."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key", folder / "certificate"
    subprocess.run(
        [need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate,
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return {
        "tls-port": str(free_port()),
        "tls-key-file": str(key),
        "tls-cert-file": str(certificate),
        "tls-ca-cert-file": str(certificate),
        "tls-auth-clients": "no",
        "tls-replication": "yes",  # of Sentinels, too
        "tls-cluster": "yes",
    }


def as_arguments(options: dict[str, str]) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def is_spoken_to_by_tls(url: str, certificate: str) -> bool:
    """Whether it answers to who trusts the certificate, and to nobody else."""
    link = connect(RedisUrl.parse(f"{url}?ssl_ca_certs={certificate}"))
    wait_for(lambda: answers(link))
    assert link.execute_many([("SET", "a", 1), ("GET", "a")]) == [b"OK", b"1"]
    return not answers(connect(RedisUrl.parse(url)))


def test_tls_is_spoken_on_one_connection(tmp_path, tls, monkeypatch):
    with RedisServer(tmp_path, *as_arguments(tls)) as server:
        url = f"rediss://127.0.0.1:{tls['tls-port']}/0"
        assert is_spoken_to_by_tls(url, tls["tls-cert-file"])
        url += f"?ssl_ca_certs={tls['tls-cert-file']}"
        monkeypatch.setattr(redis_node, "RESTED", 0)
        link = connect(RedisUrl.parse(url))
        assert len({link.execute("CLIENT", "ID") for _ in range(5)}) == 1
        server.client.client_kill_filter(_type="normal", skipme=True)
        assert link.execute("ECHO", "again") == b"again"


def test_sentinels_and_the_master_that_they_name_speak_tls(tmp_path, tls):
    with RedisServer(tmp_path, *as_arguments(tls)):
        own = tls | {"port": "0", "tls-port": str(free_port()), "dir": str(tmp_path)}
        own["sentinel"] = f"monitor joip 127.0.0.1 {tls['tls-port']} 1"
        config = tmp_path / "sentinel.conf"
        config.write_text("".join(f"{name} {own[name]}\n" for name in own))
        command = [need("redis-sentinel"), str(config)]
        with Process(command, tmp_path / "sentinel.log"):
            url = f"rediss+sentinel://127.0.0.1:{own['tls-port']}/joip/0"
            assert is_spoken_to_by_tls(url, tls["tls-cert-file"])


def test_a_cluster_speaks_tls(tmp_path, tls):
    options = [*as_arguments(tls), "--cluster-enabled", "yes"]
    options += ["--cluster-port", str(free_port())]
    with RedisServer(tmp_path, *options) as server:
        server.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        url = f"rediss+cluster://127.0.0.1:{tls['tls-port']}"
        assert is_spoken_to_by_tls(url, tls["tls-cert-file"])


# -------------------------------------------------------------- Deadline and breaker


def test_after_the_deadline_nothing_is_sent(server, redis):
    link = link_to(server)
    with link.deadline(0):
        assert kind(link.execute, "INCR", "n") == "Deadline"
        assert kind(link.execute_many, [("INCR", "n")], True) == "Deadline"
    assert redis.get("n") is None
    assert link.execute("INCR", "n") == 1


def test_the_innermost_deadline_holds_and_the_outer_one_after_it(server, redis):
    link = link_to(server)
    with link.deadline(0):
        with link.deadline(10):
            assert link.execute("INCR", "n") == 1
        assert kind(link.execute, "INCR", "n") == "Deadline"


def test_a_deadline_is_its_threads_own(server, redis):
    link = link_to(server)
    with link.deadline(0), ThreadPoolExecutor(1) as pool:
        assert pool.submit(link.execute, "INCR", "n").result() == 1


def test_a_deadline_cuts_short_what_hangs_and_harms_nobody_else(server, redis):
    link = link_to(server)
    link.execute("PING")
    with hung(server), link.deadline(0.05):
        assert kind(link.execute, "INCR", "n") == "Deadline"
    assert link.execute("ECHO", "at once") == b"at once"


def test_while_it_hangs_one_waits_and_the_others_are_refused(server, redis):
    link = link_to(server)
    link.execute("PING")
    with hung(server), ThreadPoolExecutor(8) as pool:
        assert kind(link.execute, "PING") == "TimeoutError"
        kinds = Counter(pool.map(lambda _: kind(link.execute, "PING"), range(80)))
        assert kinds["TimeoutError"] <= 2
        assert set(kinds) <= {"TimeoutError", "CircuitOpen"}
    wait_for(lambda: answers(link))


def test_once_it_answers_nobody_is_refused_any_more(tmp_path):
    server = RedisServer(tmp_path)
    link, over = link_to(server), threading.Event()
    moments = [0]  # the number of the last restart, and a half while it is away
    answered: Counter[float] = Counter()
    refused: list[str] = []

    def ask() -> None:
        while not over.is_set():
            began = moments[-1]
            try:
                link.execute("ECHO", "x")
                answered[began] += 1
            except StoreUnavailable as error:
                if began == moments[-1] and began % 1 == 0:
                    refused.append(str(error))

    with ThreadPoolExecutor(8) as pool:
        askers = [pool.submit(ask) for _ in range(8)]
        for turn in range(1, 6):
            wait_for(lambda turn=turn: answered[turn - 1] >= 400)
            moments.append(turn - 0.5)
            server.kill()
            server = server.again()
            moments.append(turn)
        wait_for(lambda: answered[5] >= 400)
        over.set()
    server.stop()
    assert [asker.result() for asker in askers] == [None] * 8
    assert refused == []


# ---------------------------------------------------------------------- Durability


def test_what_is_durable_is_on_a_replica_or_raises(tmp_path, patient):
    def refused(link: Link, *commands: Command) -> str:
        with link.deadline(patient):
            return kind(link.execute_many, commands, True)

    with (
        RedisServer(tmp_path, "--repl-diskless-sync-delay", "0") as master,
        RedisServer(tmp_path, "--replicaof", f"127.0.0.1 {master.port}") as replica,
    ):
        link = link_to(master, wait=1)
        counted = link.execute_many([COUNT(["n"]), ("GET", "n")], durable=True)
        assert counted == [1, b"1"]
        assert replica.client.get("n") == b"1"
        with hung(replica):
            twice = COUNT(["n"]), COUNT(["n"], "refuse")
            assert refused(link, *twice) == "NotReplicated"
            assert master.client.get("n") == b"2"  # it may be repeated
            # Nothing is written now; what was read is not on a replica, though.
            assert refused(link, ("GET", "n")) == "NotReplicated"
            assert link.execute("GET", "n") == b"2"
        assert link.execute_many([("GET", "n")], durable=True) == [b"2"]
        more = link_to(master, wait=2)
        assert refused(more, ("GET", "n")) == "NotReplicated"
        master.client.script_flush()
        assert link.execute_many([COUNT(["n"])], durable=True) == [3]
