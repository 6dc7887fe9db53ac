"""What the store promises on every engine of Redis.

A test class inherits from `StoreContract` and gives it a `store` fixture: a
`joip_share.Store` on an empty Redis (see test_store.py).
"""

import msgspec
import pytest

import joip_share
from joip_share import (
    BadIntervals,
    EmailTaken,
    MediaInput,
    NewSession,
    NotForYou,
    NotOwner,
    NotShared,
    SessionNotFound,
    SessionPatch,
    UserNotFound,
    Visit,
)

PERSON = Visit(reason="", visitor=b"somebody", host="news.example")
UNCOUNTED = Visit()
MEDIA = [MediaInput(f"https://example.org/{n}.jpg") for n in range(3)]


def keys_of(store):
    """Every key there is."""
    return {key.decode() for key in store.connections.client.scan_iter()}


def another(store):
    """A second process on the same Redis, as far as the store can tell."""
    return joip_share.Store(store.connections, store.keys)


def register(store, name="owner"):
    return store.register(f"{name}@example.com", name, "a hash")


@pytest.fixture
def owner(store):
    return register(store)


@pytest.fixture
def session_id(store, owner):
    return store.create_session(owner, NewSession("A walk", media=MEDIA)).id


@pytest.fixture
def code(store, owner, session_id):
    return store.share(session_id, owner.id)


class StoreContract:
    """The tests; each is one promise."""

    # Accounts

    def test_an_account_is_found_by_its_id_and_by_its_email_in_any_case(
        self, store, owner
    ):
        assert store.account(owner.id) == owner
        assert store.account_by_email("OWNER@Example.COM") == owner
        assert store.referral_code(owner.id) == owner.referral_code
        assert store.referrer(owner.referral_code) == owner.id

    def test_an_email_is_taken_in_any_case_and_a_refusal_leaves_no_trace(
        self, store, owner
    ):
        before = keys_of(store)
        with pytest.raises(EmailTaken):
            store.register("Owner@EXAMPLE.com", "", "another hash")
        assert keys_of(store) == before
        assert store.account(owner.id) == owner

    def test_unknown_accounts_are_not_found(self, store):
        for find in (store.account, store.account_by_email, store.referral_code):
            with pytest.raises(UserNotFound):
                find("nobody")
        assert store.referrer("a1b2c3d4") is None
        assert store.referrer("*") is None

    # Sessions

    def test_a_session_is_read_back_as_it_was_made(self, store, owner):
        made = store.create_session(
            owner, NewSession("Ünï — 🌊", "x\ny", 1, 60, "none", media=MEDIA)
        )
        session, media, codes = store.read_session(made.id, owner.id)
        assert session == made
        assert (session.title, session.description) == ("Ünï — 🌊", "x\ny")
        assert (session.thumbnail, session.is_public) == (None, False)
        urls = [item["mediaUrl"] for item in msgspec.json.decode(media)]
        assert urls == [item.media_url for item in MEDIA]
        assert codes == {}

    def test_an_id_is_never_given_twice(self, store, owner, session_id):
        store.delete_session(session_id, owner.id)
        assert store.create_session(owner, NewSession("Next")).id > session_id

    def test_pages_are_newest_first_without_gap_or_repeat(self, store, owner):
        made = [store.create_session(owner, NewSession(str(n))).id for n in range(7)]
        store.delete_session(made.pop(3), owner.id)
        seen, cursor = [], joip_share.MAX_ID
        while cursor is not None:
            rows, cursor = store.list_sessions(owner.id, 2, cursor)
            seen += [row.session.id for row in rows]
        assert seen == made[::-1]

    def test_an_update_changes_what_is_given_and_nothing_else(
        self, store, owner, session_id
    ):
        before, media, _ = store.read_session(session_id, owner.id)
        store.update_session(session_id, owner.id, SessionPatch(title="Another"))
        after, same_media, _ = store.read_session(session_id, owner.id)
        changes = {"title": "Another", "updated_at": after.updated_at}
        assert after == msgspec.structs.replace(before, **changes)
        assert same_media == media

    def test_intervals_stay_in_order_whatever_is_updated(
        self, store, owner, session_id
    ):
        for patch in (SessionPatch(interval_min=11), SessionPatch(interval_max=2)):
            with pytest.raises(BadIntervals):
                store.update_session(session_id, owner.id, patch)
        session, _, _ = store.read_session(session_id, owner.id)
        assert (session.interval_min, session.interval_max) == (3, 10)

    def test_only_the_owner_gets_at_a_session(self, store, session_id):
        other = register(store, "other").id
        for refused, session in ((NotOwner, session_id), (SessionNotFound, 999)):
            with pytest.raises(refused):
                store.read_session(session, other)
            with pytest.raises(refused):
                store.update_session(session, other, SessionPatch(title="Mine"))
            with pytest.raises(refused):
                store.delete_session(session, other)
            with pytest.raises(refused):
                store.share(session, other)
            with pytest.raises(refused):
                store.session_stats(session, other, 1)

    # Sharing

    def test_sharing_twice_returns_the_same_code(self, store, owner, session_id, code):
        assert store.share(session_id, owner.id) == code
        assert another(store).share(session_id, owner.id) == code
        assert store.read_session(session_id, owner.id)[2] == {code: "*"}

    def test_each_audience_has_its_own_code(self, store, owner, session_id, code):
        guest = register(store, "guest")
        bound = store.share(session_id, owner.id, guest.id)
        assert bound != code
        assert store.share(session_id, owner.id, guest.id) == bound
        _, _, codes = store.read_session(session_id, owner.id)
        assert codes == {code: "*", bound: guest.id}

    def test_an_unknown_audience_is_refused_and_shares_nothing(
        self, store, owner, session_id
    ):
        before = keys_of(store)
        with pytest.raises(UserNotFound):
            store.share(session_id, owner.id, "nobody")
        assert keys_of(store) == before
        assert not store.read_session(session_id, owner.id)[0].is_public

    def test_sharing_again_repairs_a_lost_pointer(
        self, store, owner, session_id, code
    ):
        store.execute("DEL", store.keys.share(code))
        for repairer in (store, another(store)):
            assert repairer.share(session_id, owner.id) == code
            opened = another(store).open_shared(code, UNCOUNTED)
            assert opened.preview.share_code == code
            store.execute("DEL", store.keys.share(code))

    def test_sharing_again_repairs_a_code_that_is_not_listed(
        self, store, owner, session_id, code
    ):
        store.execute("DEL", store.keys.session(session_id, "codes"))
        with pytest.raises(NotShared):
            store.open_shared(code, UNCOUNTED)
        assert store.share(session_id, owner.id) == code
        assert store.open_shared(code, UNCOUNTED).preview.title == "A walk"

    def test_a_pointer_alone_opens_nothing(self, store, session_id, code):
        """Whoever could write `share:` keys would not get at a session by them."""
        forged = "00000000-0000-4000-8000-000000000000"
        store.execute("SET", store.keys.share(forged), session_id)
        with pytest.raises(NotShared):
            store.open_shared(forged, UNCOUNTED)
        with pytest.raises(NotShared):
            store.play_shared(forged, "nobody")

    def test_a_paused_session_keeps_its_codes(self, store, owner, session_id, code):
        guest = register(store, "guest")
        codes = [code, store.share(session_id, owner.id, guest.id)]
        store.update_session(session_id, owner.id, SessionPatch(is_public=False))
        for each in codes:
            with pytest.raises(NotShared):
                store.open_shared(each, PERSON)
            with pytest.raises(NotShared):
                store.play_shared(each, guest.id, True)
            with pytest.raises(NotShared):
                store.count_shared(each, "views")
        store.update_session(session_id, owner.id, SessionPatch(is_public=True))
        assert [store.open_shared(c, UNCOUNTED).preview.share_code for c in codes] == (
            codes
        )
        assert store.session_stats(session_id, owner.id, 1).totals["opens"] == 0

    def test_a_bound_link_plays_for_its_account_and_the_owner_only(
        self, store, owner, session_id
    ):
        guest, other = register(store, "guest"), register(store, "other")
        bound = store.share(session_id, owner.id, guest.id)
        for viewer in (guest, owner):
            session, media = store.play_shared(bound, viewer.id)
            assert session.title == "A walk"
            assert len(msgspec.json.decode(media)) == 3
        with pytest.raises(NotForYou):
            store.play_shared(bound, other.id)
        assert store.open_shared(bound, UNCOUNTED).preview.title == "A walk"

    # Counting

    def test_opens_plays_and_views_are_counted_once_each(
        self, store, owner, session_id, code
    ):
        guest = register(store, "guest")
        store.open_shared(code, PERSON)
        store.open_shared(code, PERSON)
        store.open_shared(code, Visit(reason="bot"))
        store.open_shared(code, Visit(reason="", viewer=owner.id))
        store.play_shared(code, guest.id, True)
        store.play_shared(code, owner.id, True)
        store.count_shared(code, "views")
        stats = store.session_stats(session_id, owner.id, 1)
        counted = {"opens": 2, "views": 1, "visitors": 1, "plays": 1, "signups": 0}
        assert stats.totals == counted
        assert stats.excluded == {"head": 0, "bot": 1, "prefetch": 0, "owner": 1}
        assert stats.daily == [{"date": joip_share.today(), **counted}]
        assert stats.referrers == [{"host": "news.example", "opens": 2}]

    def test_a_forgotten_script_is_sent_again_and_counts_once(
        self, store, owner, session_id, code
    ):
        """Redis forgets its scripts at every restart."""
        store.open_shared(code, PERSON)
        store.connections.client.script_flush()
        store.open_shared(code, PERSON)
        assert store.session_stats(session_id, owner.id, 1).totals["opens"] == 2

    def test_a_credited_signup_is_in_the_totals_and_in_the_history(
        self, store, owner, session_id, code
    ):
        assert store.count_click(owner.referral_code, "")
        assert not store.count_click(owner.referral_code, owner.id)
        store.credit_signup(owner.id, code)
        store.credit_signup(owner.id, "")
        report = store.referral_report(owner.id, 50, -1)
        assert report.counts == {
            "clicks:direct": 1, "signups:session_share": 1, "signups:direct": 1,
        }  # fmt: skip
        sources = [(row.source, row.session_id) for row in report.history]
        assert sources == [("direct", None), ("session_share", session_id)]
        assert store.session_stats(session_id, owner.id, 1).totals["signups"] == 1

    def test_the_key_of_the_day_is_one_for_all_processes(self, store):
        key = store.visitor_key("2026-11-23")
        assert len(key) == 32
        assert another(store).visitor_key("2026-11-23") == key
        assert another(store).visitor_key("2026-11-24") != key

    # Deleting

    def test_a_deleted_session_leaves_no_key(self, store, owner, session_id, code):
        guest = register(store, "guest")
        store.share(session_id, owner.id, guest.id)
        store.open_shared(code, PERSON)
        store.delete_session(session_id, owner.id)
        left = keys_of(store) - {store.keys.last_session_id}
        rest = ("session:", "share:", "journal")
        assert [key for key in left if key.startswith(rest)] == []
        assert store.list_sessions(owner.id, 50, joip_share.MAX_ID) == ([], None)

    def test_nothing_brings_a_deleted_session_back(
        self, store, owner, session_id, code
    ):
        """Neither in the process that deleted it nor in one that still knows it."""
        other = another(store)
        other.open_shared(code, PERSON)
        store.delete_session(session_id, owner.id)
        before = keys_of(store)
        for each in (store, other):
            with pytest.raises(NotShared):
                each.open_shared(code, PERSON)
            with pytest.raises(NotShared):
                each.play_shared(code, owner.id, True)
            with pytest.raises(NotShared):
                each.count_shared(code, "views")
            with pytest.raises(SessionNotFound):
                each.share(session_id, owner.id)
            with pytest.raises(SessionNotFound):
                each.update_session(session_id, owner.id, SessionPatch(title="Back"))
            with pytest.raises(SessionNotFound):
                each.delete_session(session_id, owner.id)
        other.credit_signup(owner.id, code)
        named = {key for key in keys_of(store) - before if not key.startswith("user:")}
        assert named == set()

    def test_what_is_done_leaves_the_journal_empty(
        self, store, owner, session_id, code
    ):
        store.share(session_id, owner.id, owner.id)
        with pytest.raises(EmailTaken):
            register(store)
        with pytest.raises(SessionNotFound):
            store.delete_session(999, owner.id)
        store.delete_session(session_id, owner.id)
        assert store.unsettled() == []
