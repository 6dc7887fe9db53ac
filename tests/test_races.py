"""Races, on the real Redis: whoever calls at once, the contract's invariants hold."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

import maintain
from clock import MAX_ID
from inputs import MediaInput, NewSession, SessionPatch
from records import Visit
from redis_link import Link
from refusals import (
    BadIntervals,
    EmailTaken,
    NotShared,
    Refusal,
    SessionNotFound,
    ShareNotFound,
    TooManyBytes,
    TooManyLinks,
    TooManySessions,
    TooManyTokens,
    UserNotFound,
    WrongPassword,
)
from servers import Client
from store import Quotas, Store
from store_contract import incompressible

THREADS = 32
ROUNDS = 60
PICTURE = [MediaInput("https://example.org/1.jpg")]
PERSON = Visit(reason="", visitor=b"somebody", host="news.example")


@pytest.fixture
def stores(real_redis, redis_server, monkeypatch):
    """Two processes on one Redis, as far as their stores can tell; afterwards nothing
    is broken."""
    clients = [redis.Redis(port=redis_server.port, protocol=2) for _ in range(2)]
    made = [Store(Link(client)) for client in clients]
    yield made
    monkeypatch.setattr(maintain, "PAUSE", 0)
    assert maintain.check(made[0]) == ([], [])
    for client in clients:
        client.connection_pool.disconnect()


def limited(stores, **quotas):
    """The same processes with other quotas."""
    return [Store(store.link, quotas=Quotas(**quotas)) for store in stores]


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


def each_of(stores, number, call):
    """So many calls, by the one store and the other in turn, with their number."""
    return [lambda n=n: call(stores[n % len(stores)], n) for n in range(number)]


def sorted_out(outcomes, *refusals):
    """What succeeded; whatever was refused is one of these."""
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            assert type(outcome) in refusals, repr(outcome)
    return [each for each in outcomes if not isinstance(each, Exception)]


def new_session(store, owner):
    return store.create_session(owner.id, NewSession(title="A walk", media=PICTURE)).id


def names(client, *patterns):
    """The keys that match, as text."""
    return sorted(key.decode() for p in patterns for key in client.keys(p))


def audiences(store, session_id, owner):
    """How many links a session has for each audience, as its owner sees them."""
    _, _, shares = store.read_session(session_id, owner.id)
    found = [(share.user_id, share.email, share.label) for share in shares]
    return {each: found.count(each) for each in found}


# Sharing


AUDIENCES = {
    "everyone": lambda s, i, o, g: s.share(i, o.id),
    "an account": lambda s, i, o, g: s.share(i, o.id, g.id),
    "a label": lambda s, i, o, g: s.share(i, o.id, "label:News"),
    "an email": lambda s, i, o, g: s.share_by_email(i, o.id, "new@example.com"),
    "an account's email": lambda s, i, o, g: s.share_by_email(i, o.id, g.email),
}


@pytest.mark.parametrize("audience", AUDIENCES)
def test_32_sharers_at_once_get_one_code(real_redis, stores, owner, pool, audience):
    guest = stores[0].register("guest@example.com", "", "a hash")
    for _ in range(5):
        session_id = new_session(stores[0], owner)
        before = set(names(real_redis, "share:*"))

        def share(store, n, i=session_id):
            return AUDIENCES[audience](store, i, owner, guest)

        [code] = set(at_once(pool, *each_of(stores, THREADS, share)))
        assert set(names(real_redis, "share:*")) - before == {f"share:{code}"}
        assert [*audiences(stores[1], session_id, owner).values()] == [1]
        assert stores[1].open_shared(code, Visit()).preview.share_code == code


def test_each_audience_gets_one_code_though_all_are_asked_at_once(
    real_redis, stores, owner, pool
):
    session_id = new_session(stores[0], owner)
    guest = stores[0].register("guest@example.com", "", "a hash")
    kinds = [*AUDIENCES.values()]

    def share(store, n):
        return kinds[n % len(kinds)](store, session_id, owner, guest)

    codes = at_once(pool, *each_of(stores, THREADS, share))
    assert len(set(codes)) == len(kinds)
    assert all(codes[n] == codes[n % len(kinds)] for n in range(THREADS))
    assert [*audiences(stores[0], session_id, owner).values()] == [1] * len(kinds)
    assert len(names(real_redis, "share:*")) == len(kinds)


def test_share_against_delete_leaves_no_key_and_no_dead_code_of_a_live_session(
    real_redis, stores, owner, pool
):
    """Every code that was handed out resolves, or its session left no rest."""
    shared = 0
    for turn in range(ROUNDS):
        session_id = new_session(stores[0], owner)
        if turn % 3 == 0:
            stores[1].share(session_id, owner.id)

        def share(store, n, i=session_id):
            if n % 3 == 2:
                return store.share_by_email(i, owner.id, "new@example.com")
            return store.share(i, owner.id)

        calls = each_of(stores, 6, share)
        delete = lambda i=session_id: stores[0].delete_session(i, owner.id)  # noqa: E731
        *codes, deleted = at_once(pool, *calls, delete)
        assert deleted is None
        given = set(sorted_out(codes, SessionNotFound))
        assert len(given) <= 2
        shared += bool(given)
        for code in given:
            with pytest.raises(NotShared):
                stores[1].open_shared(code, PERSON)
        left = names(real_redis, f"session:{{{session_id}}}*", "share:*", "awaited:*")
        assert left == []
    assert shared > 0
    assert names(real_redis, "user:*:sessions") == []


def test_revoke_against_share_ends_with_one_code_that_is_alive_or_none(
    real_redis, stores, owner, pool
):
    for _ in range(ROUNDS):
        session_id = new_session(stores[0], owner)
        old = stores[0].share(session_id, owner.id)
        calls = each_of(stores, 6, lambda s, n, i=session_id: s.share(i, owner.id))
        revoke = lambda i=session_id, c=old: stores[1].revoke(i, owner.id, c)  # noqa: E731
        *codes, revoked = at_once(pool, *calls, revoke)
        assert revoked is None
        new = set(codes) - {old}
        assert len(new) <= 1, codes
        with pytest.raises(NotShared):
            stores[0].open_shared(old, PERSON)
        for code in new:
            assert stores[0].open_shared(code, Visit()).preview.share_code == code
        assert names(real_redis, "share:*") == [f"share:{code}" for code in new]
        assert len(audiences(stores[0], session_id, owner)) == len(new)
        stores[0].delete_session(session_id, owner.id)


def test_a_link_that_is_revoked_while_it_is_used_is_dead_at_once_and_counts_on(
    real_redis, stores, owner, pool
):
    guest = stores[0].register("guest@example.com", "", "a hash")
    for _ in range(ROUNDS // 3):
        session_id = new_session(stores[0], owner)
        code = stores[0].share(session_id, owner.id)

        def use(store, n, c=code):
            if n % 3 == 0:
                return store.open_shared(c, PERSON)
            if n % 3 == 1:
                return store.play_shared(c, guest.id, True)
            return store.seen(c, PERSON, True)

        revoke = lambda i=session_id, c=code: stores[0].revoke(i, owner.id, c)  # noqa: E731
        *used, revoked = at_once(pool, *each_of(stores, 12, use), revoke)
        assert revoked is None
        opened = sum(
            not isinstance(each, Exception) for n, each in enumerate(used) if n % 3 != 1
        )
        sorted_out(used, NotShared)
        for store in stores:
            with pytest.raises(NotShared):
                store.open_shared(code, PERSON)
        stats = stores[1].session_stats(session_id, owner.id, 1)
        assert (stats.totals.opens, stats.links) == (opened, [])
        assert real_redis.hkeys(f"session:{{{session_id}}}:links") == []
        assert stores[0].played(guest.id) == []


def test_many_revoke_one_link_and_one_of_them_does_it(stores, owner, pool):
    for _ in range(ROUNDS // 3):
        session_id = new_session(stores[0], owner)
        code = stores[0].share(session_id, owner.id)

        def revoke(store, n, i=session_id, c=code):
            return store.revoke(i, owner.id, c)

        outcomes = at_once(pool, *each_of(stores, 8, revoke))
        assert sorted_out(outcomes, ShareNotFound) == [None]


def test_a_link_by_email_finds_who_comes_at_the_same_moment(stores, owner, pool):
    """Whoever looks last sees the other: nobody is left waiting."""
    for turn in range(ROUNDS):
        session_id, email = new_session(stores[0], owner), f"guest{turn}@example.com"
        if turn % 2:
            moved = stores[0].register(f"old{turn}@example.com", "", "a hash")
            come = lambda m=moved, e=email: stores[0].change_email(m, e)  # noqa: E731
        else:
            come = lambda e=email: stores[0].register(e, "", "a hash")  # noqa: E731
        share = lambda i=session_id, e=email: stores[1].share_by_email(i, owner.id, e)  # noqa: E731
        _, code = at_once(pool, come, share)
        guest = stores[1].account_by_email(email)
        assert stores[0].play_shared(code, guest.id)[0].title == "A walk"


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
        session, _, shares = stores[0].read_session(session_id, owner.id)
        assert [share.share_code for share in shares] == [code]
        if session.is_public:
            assert stores[1].open_shared(code, Visit()).preview.share_code == code
        else:
            with pytest.raises(NotShared):
                stores[1].open_shared(code, Visit())


# Sessions


def test_what_is_opened_and_counted_while_it_is_deleted_stays_deleted(
    real_redis, stores, owner, pool
):
    guest = stores[0].register("guest@example.com", "", "a hash")
    for _ in range(ROUNDS // 3):
        session_id = new_session(stores[0], owner)
        code = stores[0].share(session_id, owner.id)

        def use(store, n, c=code, i=session_id):
            return (
                lambda: store.open_shared(c, PERSON),
                lambda: store.play_shared(c, guest.id, True),
                lambda: store.seen(c, PERSON, True),
                lambda: store.credit_signup(owner.id, c),
                lambda: store.update_session(i, owner.id, SessionPatch(media=[])),
            )[n % 5]()

        delete = lambda i=session_id: stores[0].delete_session(i, owner.id)  # noqa: E731
        outcomes = at_once(pool, *each_of(stores, 15, use), delete)
        sorted_out(outcomes, NotShared, SessionNotFound)
        assert outcomes[-1] is None
        assert names(real_redis, f"session:{{{session_id}}}*", "share:*") == []


def test_two_deletions_at_once_are_one(stores, owner, pool):
    for _ in range(ROUNDS // 3):
        session_id = new_session(stores[0], owner)
        stores[0].share(session_id, owner.id)

        def delete(store, n, i=session_id):
            return store.delete_session(i, owner.id)

        outcomes = at_once(pool, *each_of(stores, 4, delete))
        assert sorted_out(outcomes, SessionNotFound) == [None]


def test_intervals_never_cross_though_both_ends_move_at_once(stores, owner, pool):
    """Each change is right by what was there before, and wrong together."""
    patches = [SessionPatch(interval_min=9), SessionPatch(interval_max=5)]
    for _ in range(ROUNDS // 3):
        session_id = new_session(stores[0], owner)

        def change(store, n, i=session_id):
            return store.update_session(i, owner.id, patches[n % 2])

        outcomes = at_once(pool, *each_of(stores, 8, change))
        assert len(sorted_out(outcomes, BadIntervals)) == 4
        session, _, _ = stores[0].read_session(session_id, owner.id)
        assert (session.interval_min, session.interval_max) in ((9, 10), (3, 5))


def test_sessions_made_in_one_moment_have_ids_of_their_own(
    real_redis, stores, owner, pool
):
    guest = stores[0].register("guest@example.com", "", "a hash")
    both = [owner, guest]
    for _ in range(5):
        make = each_of(stores, THREADS, lambda s, n: new_session(s, both[n % 2]))
        made = at_once(pool, *make)
        assert len(set(sorted_out(made))) == THREADS
    for person in both:
        rows, _ = stores[1].list_sessions(person.id, 200, MAX_ID)
        assert len(rows) == 5 * THREADS / 2


# Accounts


def test_32_registrations_of_one_email_make_one_account(real_redis, stores, pool):
    for turn in range(5):

        def register(store, n, t=turn):
            email = f"{'Ada' if n % 2 else 'ADA'}{t}@example.com"
            return store.register(email, "", "a hash")

        outcomes = at_once(pool, *each_of(stores, THREADS, register))
        [made] = sorted_out(outcomes, EmailTaken)
        assert stores[1].account_by_email(f"ada{turn}@example.com") == made
    for kind in ("user:*", "email:*", "referral:*"):
        assert len(names(real_redis, kind)) == 5


def test_32_accounts_that_want_one_email_get_it_once(stores, pool):
    accounts = [
        stores[0].register(f"{n}@example.com", "", "a hash") for n in range(THREADS)
    ]

    def change(store, n):
        return store.change_email(accounts[n], "new@example.com")

    outcomes = at_once(pool, *each_of(stores, THREADS, change))
    assert sorted_out(outcomes, EmailTaken) == [None]
    winner = accounts[outcomes.index(None)]
    assert stores[1].account_by_email("new@example.com").id == winner.id
    for account in accounts:
        if account is not winner:
            assert stores[1].account_by_email(account.email) == account


def test_32_changes_of_one_password_are_one(stores, owner, pool):
    stores[0].keep_login("login", owner.id, b"value", "a hash")

    def change(store, n):
        fields = {"password": f"hash {n}"}
        return store.change_account(owner.id, fields, "a hash", keep_login="")

    outcomes = at_once(pool, *each_of(stores, THREADS, change))
    assert sorted_out(outcomes, WrongPassword) == [None]
    winner = outcomes.index(None)
    assert stores[1].account(owner.id).password == f"hash {winner}"
    assert stores[1].read_login("login") is None


def test_a_sign_in_never_outlives_the_change_of_its_password(stores, owner, pool):
    for turn in range(ROUNDS // 2):
        before, after = f"hash {turn}", f"hash {turn + 1}"
        stores[0].change_account(owner.id, {"password": before})
        sign_in = each_of(
            stores,
            8,
            lambda s, n, t=turn, b=before: s.keep_login(
                f"{t}-{n}", owner.id, b'{"userId": "%s"}' % owner.id.encode(), b
            ),
        )
        change = lambda b=before, a=after: stores[0].change_account(  # noqa: E731
            owner.id, {"password": a}, b, keep_login=""
        )
        *signed_in, changed = at_once(pool, *sign_in, change)
        assert changed is None
        sorted_out(signed_in, WrongPassword)
        assert [n for n in range(8) if stores[1].read_login(f"{turn}-{n}")] == []


def test_32_deletions_of_one_account_leave_nothing(real_redis, stores, pool):
    for _ in range(5):
        owner = stores[0].register("owner@example.com", "", "a hash")
        for _ in range(3):
            stores[0].share(new_session(stores[0], owner), owner.id)
        stores[0].create_token(owner.id, "Laptop")
        delete = each_of(stores, THREADS, lambda s, n, o=owner: s.delete_account(o))
        outcomes = at_once(pool, *delete)
        assert None in sorted_out(outcomes, UserNotFound)
        assert names(real_redis, "*") == []


def test_whatever_an_account_does_while_it_is_deleted_leaves_nothing(
    real_redis, stores, pool
):
    for turn in range(ROUNDS // 2):
        owner = stores[0].register("owner@example.com", "", "a hash")
        session_id = new_session(stores[0], owner)
        code = stores[0].share(session_id, owner.id)

        def act(store, n, o=owner, i=session_id, c=code, t=turn):
            value = b'{"userId": "%s"}' % o.id.encode()
            return (
                lambda: new_session(store, o),
                lambda: store.share(i, o.id, "label:News"),
                lambda: store.share_by_email(i, o.id, "new@example.com"),
                lambda: store.create_token(o.id, "Laptop"),
                lambda: store.keep_login(f"{t}-{n}", o.id, value, "a hash"),
                lambda: store.change_email(o, "other@example.com"),
                lambda: store.update_session(i, o.id, SessionPatch(media=PICTURE * 2)),
                lambda: store.open_shared(c, PERSON, o.referral_code),
                lambda: store.credit_signup(o.id, c),
                lambda: store.delete_session(i, o.id),
            )[n % 10]()

        delete = lambda o=owner: stores[0].delete_account(o)  # noqa: E731
        *outcomes, deleted = at_once(pool, *each_of(stores, 20, act), delete)
        assert deleted is None
        failed = [each for each in outcomes if isinstance(each, Exception)]
        assert all(isinstance(each, Refusal) for each in failed), failed
        assert names(real_redis, "*") == []


# What one account may have


def test_quotas_hold_though_32_ask_at_once(stores, owner, pool):
    few = limited(stores, sessions=10, links=5, tokens=3, logins=4)
    make = each_of(few, THREADS, lambda s, n: new_session(s, owner))
    made = sorted_out(at_once(pool, *make), TooManySessions)
    assert len(made) == 10
    assert len(stores[0].list_sessions(owner.id, 200, MAX_ID)[0]) == 10

    share = each_of(few, THREADS, lambda s, n: s.share(made[0], owner.id, f"label:{n}"))
    codes = sorted_out(at_once(pool, *share), TooManyLinks)
    assert len(set(codes)) == 5
    assert len(stores[0].read_session(made[0], owner.id)[2]) == 5

    token = each_of(few, THREADS, lambda s, n: s.create_token(owner.id, str(n)))
    assert len(sorted_out(at_once(pool, *token), TooManyTokens)) == 3
    assert len(stores[0].list_tokens(owner.id)) == 3

    value = b'{"userId": "%s", "renewed": ""}' % owner.id.encode()
    sign_in = each_of(
        few, THREADS, lambda s, n: s.keep_login(f"login {n}", owner.id, value, "a hash")
    )
    sorted_out(at_once(pool, *sign_in), WrongPassword)
    alive = [n for n in range(THREADS) if stores[0].read_login(f"login {n}")]
    assert 1 <= len(alive) <= 4


def test_the_room_of_an_account_holds_and_adds_up_whatever_overtakes_what(
    real_redis, stores, owner, pool
):
    """Sessions are made, changed, changed in vain and deleted, all at once."""
    little = limited(stores, megabytes=1)
    kept = [new_session(stores[0], owner) for _ in range(4)]
    media = [incompressible(size) for size in (10_000, 100_000, 300_000)]

    def act(store, n):
        new = SessionPatch(media=media[n % 3])
        in_vain = SessionPatch(media=media[n % 2], interval_min=60)
        return (
            lambda: store.update_session(kept[n % 3], owner.id, new),
            lambda: store.update_session(kept[n % 3], owner.id, in_vain),
            lambda: store.update_session(kept[3], owner.id, new),
            lambda: store.create_session(
                owner.id, NewSession(title="New", media=media[n % 3])
            ),
        )[n % 4]()

    calls = each_of(little, THREADS - 1, act)
    delete = lambda: stores[0].delete_session(kept[3], owner.id)  # noqa: E731
    outcomes = at_once(pool, *calls, delete)
    sorted_out(outcomes, TooManyBytes, BadIntervals, SessionNotFound)
    rows, _ = stores[0].list_sessions(owner.id, 200, MAX_ID)
    ids = [row.session.id for row in rows]
    stored = {i: real_redis.strlen(f"session:{{{i}}}:media") for i in ids}
    assert sum(stored.values()) <= 1_000_000
    sizes = real_redis.hgetall(f"user:{{{owner.id}}}:sizes")
    counted = {i: int(sizes[b"%d" % i]) for i in ids}
    assert int(sizes[b"total"]) == sum(counted.values())
    assert all(0 < counted[i] - stored[i] < 5_000 for i in ids)  # the other fields


# The same once more as clients see it, through one whole service.


def test_over_http_eight_registrations_of_one_email_answer_201_once(live, pool):
    """503 where too many hash at once; and nobody is signed in without an account."""
    given = {"email": "race@example.com", "password": "long enough"}
    calls = [
        lambda: Client(live.url).post("/api/register", json=given) for _ in range(8)
    ]
    answers = at_once(pool, *calls)
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(201) == 1
    assert {*statuses} <= {201, 409, 503}
    signed_in = [a for a in answers if "connect.sid" in a.headers.get("Set-Cookie", "")]
    assert [answer.status_code for answer in signed_in] == [201]


def test_over_http_32_sharers_at_once_get_one_code(live, live_world, pool):
    session_id = live_world.owner.make_session()
    before = live.redis.keys("share:*")

    def share():
        with Client(live.url) as client:
            client.cookies.update(live_world.owner.cookies)
            return client.post(f"/api/sessions/{session_id}/share")

    answers = at_once(pool, *[share] * THREADS)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    new = set(live.redis.keys("share:*")) - set(before)
    assert new == {f"share:{answers[0].json()['shareCode']}".encode()}
