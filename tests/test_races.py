"""Races, on the real Redis: whoever calls at once, the contract's invariants hold."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

import joip_share
from joip_share import (
    BadIntervals,
    EmailTaken,
    MediaInput,
    NewSession,
    NotShared,
    SessionNotFound,
    SessionPatch,
    Visit,
)
from servers import Client

THREADS = 32
ROUNDS = 60


@pytest.fixture
def stores(real_redis, redis_server):
    """Two processes on one Redis, as far as their stores can tell."""
    clients = [redis.Redis.from_url(redis_server.url, protocol=2) for _ in range(2)]
    yield [joip_share.create_app(joip_share.Settings(), c).store for c in clients]
    for client in clients:
        client.connection_pool.disconnect()


@pytest.fixture
def owner(stores):
    return stores[0].register("owner@example.com", "Owner", "a hash")


@pytest.fixture
def pool():
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool


def at_once(pool, *calls):
    """What each call returns or raises, all let go at one moment."""
    gate = threading.Barrier(len(calls))

    def run(call):
        gate.wait()
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - an outcome like any other
            return error

    return list(pool.map(run, calls))


def new_session(store, owner):
    media = [MediaInput("https://example.org/1.jpg")]
    return store.create_session(owner, NewSession("A walk", media=media)).id


def names(client, *patterns):
    """The keys that match, as text."""
    return sorted(key.decode() for p in patterns for key in client.keys(p))


def test_32_sharers_at_once_get_one_code(real_redis, stores, owner, pool):
    for _ in range(10):
        session_id = new_session(stores[0], owner)
        before = set(names(real_redis, "share:*"))
        calls = [
            lambda n=n, i=session_id: stores[n % 2].share(i, owner.id)
            for n in range(THREADS)
        ]
        codes = set(at_once(pool, *calls))
        assert len(codes) == 1, codes
        [code] = codes
        assert set(names(real_redis, "share:*")) - before == {f"share:{code}"}
        assert stores[0].read_session(session_id, owner.id)[2] == {code: "*"}
        assert stores[1].open_shared(code, Visit()).preview.share_code == code


def test_each_audience_gets_one_code_though_all_are_asked_at_once(
    real_redis, stores, owner, pool
):
    session_id = new_session(stores[0], owner)
    guests = [stores[0].register(f"{n}@x.example", "", "").id for n in range(4)]
    calls = [
        lambda n=n: stores[n % 2].share(session_id, owner.id, guests[n % 4])
        for n in range(THREADS)
    ]
    codes = at_once(pool, *calls)
    assert len(set(codes)) == 4
    assert all(codes[n] == codes[n % 4] for n in range(THREADS))
    listed = stores[0].read_session(session_id, owner.id)[2]
    assert listed == {codes[n]: guests[n] for n in range(4)}
    assert len(names(real_redis, "share:*")) == 4


def test_share_against_delete_leaves_no_key_and_no_dead_code_of_a_live_session(
    real_redis, stores, owner, pool
):
    """Every code that was handed out resolves, or its session left no rest."""
    shared = 0
    for turn in range(ROUNDS):
        session_id = new_session(stores[0], owner)
        if turn % 3 == 0:
            stores[1].share(session_id, owner.id)
        share = [
            lambda n=n, i=session_id: stores[n % 2].share(i, owner.id) for n in range(6)
        ]
        delete = lambda i=session_id: stores[0].delete_session(i, owner.id)  # noqa: E731
        *codes, deleted = at_once(pool, *share, delete)
        assert deleted is None
        given = {code for code in codes if isinstance(code, str)}
        assert all(isinstance(c, str | SessionNotFound) for c in codes), codes
        assert len(given) <= 1
        shared += bool(given)
        for code in given:
            with pytest.raises(NotShared):
                stores[1].open_shared(code, Visit(reason="", visitor=b"x"))
        assert names(real_redis, f"session:{{{session_id}}}*", "share:*") == []
    assert shared > 0
    assert names(real_redis, "journal", "user:*:sessions") == []


def test_what_is_opened_and_counted_while_it_is_deleted_stays_deleted(
    real_redis, stores, owner, pool
):
    visit = Visit(reason="", visitor=b"somebody", host="news.example")
    for _ in range(ROUNDS // 3):
        session_id = new_session(stores[0], owner)
        code = stores[0].share(session_id, owner.id)
        calls = [
            lambda n=n, c=code: (
                stores[n % 2].open_shared(c, visit) if n % 3 == 0
                else stores[n % 2].play_shared(c, "guest", True) if n % 3 == 1
                else stores[n % 2].count_shared(c, "views")
            )
            for n in range(12)
        ]  # fmt: skip
        delete = lambda i=session_id: stores[0].delete_session(i, owner.id)  # noqa: E731
        edit = lambda i=session_id: stores[1].update_session(  # noqa: E731
            i, owner.id, SessionPatch(title="New", media=[])
        )
        outcomes = at_once(pool, *calls, edit, delete)
        failures = [each for each in outcomes if isinstance(each, Exception)]
        assert all(isinstance(e, NotShared | SessionNotFound) for e in failures)
        assert names(real_redis, f"session:{{{session_id}}}*", "share:*") == []


def test_two_deletions_at_once_are_one(stores, owner, pool):
    for _ in range(ROUNDS // 3):
        session_id = new_session(stores[0], owner)
        stores[0].share(session_id, owner.id)
        calls = [
            lambda n=n, i=session_id: stores[n % 2].delete_session(i, owner.id)
            for n in range(4)
        ]
        outcomes = at_once(pool, *calls)
        assert outcomes.count(None) == 1
        assert sum(isinstance(each, SessionNotFound) for each in outcomes) == 3


def test_intervals_never_cross_though_both_ends_move_at_once(stores, owner, pool):
    """Each change is right by what was there before, and wrong together."""
    for _ in range(ROUNDS // 3):
        session_id = new_session(stores[0], owner)
        patches = [SessionPatch(interval_min=9), SessionPatch(interval_max=5)] * 4
        calls = [
            lambda n=n, p=p, i=session_id: stores[n % 2].update_session(i, owner.id, p)
            for n, p in enumerate(patches)
        ]
        outcomes = at_once(pool, *calls)
        refused = [each for each in outcomes if isinstance(each, Exception)]
        assert {type(each) for each in refused} == {BadIntervals}
        session, _, _ = stores[0].read_session(session_id, owner.id)
        assert (session.interval_min, session.interval_max) in ((9, 10), (3, 5))


def test_pausing_against_sharing_ends_in_one_of_the_two(stores, owner, pool):
    for _ in range(ROUNDS // 3):
        session_id = new_session(stores[0], owner)
        code = stores[0].share(session_id, owner.id)
        pause = lambda i=session_id: stores[1].update_session(  # noqa: E731
            i, owner.id, SessionPatch(is_public=False)
        )
        again = lambda i=session_id: stores[0].share(i, owner.id)  # noqa: E731
        _, same, _ = at_once(pool, pause, again, again)
        assert same == code
        session, _, codes = stores[0].read_session(session_id, owner.id)
        assert codes == {code: "*"}
        if session.is_public:
            assert stores[1].open_shared(code, Visit()).preview.share_code == code
        else:
            with pytest.raises(NotShared):
                stores[1].open_shared(code, Visit())


def test_eight_registrations_of_one_email_make_one_account(
    real_redis, stores, pool
):
    for turn in range(10):
        calls = [
            lambda n=n, t=turn: stores[n % 2].register(
                f"{'Ada' if n % 2 else 'ADA'}{t}@example.com", "", "a hash"
            )
            for n in range(8)
        ]
        outcomes = at_once(pool, *calls)
        made = [each for each in outcomes if not isinstance(each, Exception)]
        assert len(made) == 1
        assert sum(isinstance(each, EmailTaken) for each in outcomes) == 7
        assert stores[1].account_by_email(f"ada{turn}@example.com") == made[0]
    for kind in ("user:*", "email:*", "referral:*"):
        assert len(names(real_redis, kind)) == 10
    assert names(real_redis, "journal") == []


# The same once more as clients see it, through one whole service.


def test_over_http_eight_registrations_of_one_email_answer_201_once(live, pool):
    given = {"email": "race@example.com", "password": "long enough"}
    calls = [
        lambda: Client(live.url).post("/api/register", json=given) for _ in range(8)
    ]
    answers = at_once(pool, *calls)
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    signed_in = [a for a in answers if "connect.sid" in a.headers.get("Set-Cookie", "")]
    assert [answer.status_code for answer in signed_in] == [201]


def test_over_http_32_sharers_at_once_get_one_code(live, pool):
    owner = Client(live.url)
    owner.sign_up()
    session_id = owner.make_session()
    before = live.redis.keys("share:*")

    def share():
        with Client(live.url) as client:
            client.cookies.update(owner.cookies)
            return client.post(f"/api/sessions/{session_id}/share")

    answers = at_once(pool, *[share] * THREADS)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    new = set(live.redis.keys("share:*")) - set(before)
    assert new == {f"share:{answers[0].json()['shareCode']}".encode()}
