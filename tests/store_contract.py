"""What the store promises on every engine of Redis.

A test class inherits from `StoreContract` and gives it a `store` fixture: a `Store` on
an empty Redis (see test_store.py).
"""

import msgspec
import pytest

import store as stores
from clock import MAX_ID, id_age, timestamp, today
from inputs import MediaInput, NewSession, SessionPatch
from records import StoredToken, Visit, to_json
from refusals import (
    BadIntervals,
    EditConflict,
    EmailTaken,
    NotForYou,
    NotOwner,
    NotShared,
    SessionNotFound,
    ShareNotFound,
    TokenNotFound,
    TooManyBytes,
    TooManyLinks,
    TooManySessions,
    TooManyTokens,
    UserNotFound,
    WrongPassword,
)
from store import Quotas, Store

PERSON = Visit(reason="", visitor=b"somebody", host="news.example")
UNCOUNTED = Visit()
MEDIA = [MediaInput(f"https://example.org/{n}.jpg") for n in range(3)]
FORGED = "00000000-0000-4000-8000-000000000000"  # a code that nobody was given


def keys_of(store):
    """Every key there is."""
    return {key.decode() for key in store.link.client.scan_iter()}


def another(store, **quotas):
    """A second process on the same Redis, as far as the store can tell."""
    return Store(store.link, store.keys, Quotas(**quotas) if quotas else store.quotas)


def register(store, name="owner"):
    return store.register(f"{name}@example.com", name, "a hash")


def new_session(store, owner, title="A walk", **more):
    return store.create_session(owner.id, NewSession(title=title, **more)).id


def codes_of(store, owner, session_id):
    """The session's links as its owner sees them: code → audience's names."""
    _, _, shares = store.read_session(session_id, owner.id)
    return {each.share_code: (each.user_id, each.email, each.label) for each in shares}


EVERYONE = (None, None, None)


@pytest.fixture
def owner(store):
    return register(store)


@pytest.fixture
def session_id(store, owner):
    return new_session(store, owner, media=MEDIA)


@pytest.fixture
def code(store, owner, session_id):
    return store.share(session_id, owner.id)


@pytest.fixture
def settled(monkeypatch):
    """Whatever was begun is over by now."""
    monkeypatch.setattr(stores, "SETTLED", -1)


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
        assert store.is_email_taken("Owner@example.com")

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
        assert not store.is_email_taken("nobody@example.com")

    def test_every_account_is_listed_with_the_number_of_its_sessions(
        self, store, owner, session_id
    ):
        guest = register(store, "guest")
        listed = {account.id: sessions for account, sessions in store.accounts()}
        assert listed == {owner.id: 1, guest.id: 0}

    def test_a_new_email_takes_the_place_of_the_old_one(self, store, owner):
        store.change_email(owner, "new@example.com")
        changed = store.account_by_email("NEW@example.com")
        assert (changed.id, changed.email) == (owner.id, "new@example.com")
        assert register(store).id != owner.id  # the old one is free

    def test_an_email_may_change_its_case(self, store, owner):
        store.change_email(owner, "OWNER@example.com")
        assert store.account(owner.id).email == "OWNER@example.com"
        assert store.account_by_email("owner@example.com").id == owner.id

    def test_another_accounts_email_is_refused_and_leaves_no_trace(self, store, owner):
        guest = register(store, "guest")
        before = keys_of(store)
        with pytest.raises(EmailTaken):
            store.change_email(owner, "Guest@example.com")
        assert keys_of(store) == before
        assert store.account(owner.id) == owner
        assert store.account_by_email("guest@example.com") == guest

    def test_a_change_by_a_password_that_is_no_longer_right_is_refused(
        self, store, owner
    ):
        store.change_account(owner.id, {"password": "new"}, "a hash")
        with pytest.raises(WrongPassword):
            store.change_account(owner.id, {"name": "Mallory"}, "a hash")
        with pytest.raises(WrongPassword):
            store.change_email(owner, "new@example.com")
        with pytest.raises(WrongPassword):
            store.delete_account(owner)
        now = store.account(owner.id)
        assert (now.password, now.name, now.email) == ("new", "owner", owner.email)

    # Logins

    def test_a_login_is_read_back_until_it_is_ended(self, store, owner):
        store.keep_login("a", owner.id, b"value", "a hash")
        assert store.read_login("a") == b"value"
        store.end_login("a", owner.id)
        assert store.read_login("a") is None

    def test_ending_all_logins_but_one_ends_all_others(self, store, owner):
        for login in "abc":
            store.keep_login(login, owner.id, b"value", "a hash")
        store.change_account(owner.id, {"password": "new"}, "a hash", keep_login="b")
        kept = [login for login in "abc" if store.read_login(login)]
        assert kept == ["b"]
        store.change_account(owner.id, {}, keep_login="")
        assert store.read_login("b") is None

    def test_a_sign_in_by_a_password_that_is_no_longer_right_is_refused(
        self, store, owner
    ):
        store.change_account(owner.id, {"password": "new"}, "a hash")
        for user, refused in ((owner.id, WrongPassword), ("nobody", UserNotFound)):
            with pytest.raises(refused):
                store.keep_login("a", user, b"value", "a hash")
        assert store.read_login("a") is None

    def test_a_login_in_use_lives_on_and_one_that_was_ended_does_not_come_back(
        self, store, owner
    ):
        store.keep_login("a", owner.id, b"value", "a hash")
        store.renew_login("a", owner.id, b"renewed")
        assert store.read_login("a") == b"renewed"
        store.end_login("a", owner.id)
        before = keys_of(store)
        store.renew_login("a", owner.id, b"renewed")
        assert store.read_login("a") is None
        assert keys_of(store) == before

    def test_the_oldest_login_makes_room_for_a_new_one(self, store, owner, monkeypatch):
        few = another(store, logins=3)
        for number, login in enumerate("abcde"):
            now = 1_800_000_000 + number
            monkeypatch.setattr(stores.time, "time", lambda now=now: now)
            few.keep_login(login, owner.id, b"value", "a hash")
        assert [bool(store.read_login(login)) for login in "abcde"] == [False] * 2 + (
            [True] * 3
        )

    # Tokens

    def test_a_token_tells_whose_it_is_until_it_is_taken_back(self, store, owner):
        token, secret = store.create_token(owner.id, "Laptop")
        assert store.token_owner(secret) == owner.id
        assert store.list_tokens(owner.id) == [token]
        assert store.token_owner("jst_guessed") is None
        store.delete_token(owner.id, token.id)
        assert store.token_owner(secret) is None
        assert store.list_tokens(owner.id) == []

    def test_a_token_belongs_to_its_account(self, store, owner):
        token, secret = store.create_token(owner.id, "Laptop")
        guest = register(store, "guest")
        for user, number in ((guest.id, token.id), (owner.id, "unknown")):
            with pytest.raises(TokenNotFound):
                store.delete_token(user, number)
        assert store.token_owner(secret) == owner.id
        with pytest.raises(UserNotFound):
            store.create_token("nobody", "Laptop")

    @pytest.mark.parametrize("made", ["long ago", "now"])
    def test_a_token_that_a_crash_left_unwritten_takes_nobodys_place(
        self, store, owner, made
    ):
        """Nobody sees it, and so nobody could take it back; one that is being made has
        its place."""
        few = another(store, tokens=1)
        at = "2026-01-01T00:00:00Z" if made == "long ago" else timestamp()
        row = to_json(StoredToken("left", "Laptop", at, "0" * 64))
        keys = store.keys.user_keys(owner.id, "tokens")
        store.execute(*stores.ADD_TOKEN(keys, "left", row, 1))
        assert few.list_tokens(owner.id) == []
        if made == "long ago":
            token, _ = few.create_token(owner.id, "Laptop")
            assert few.list_tokens(owner.id) == [token]
        else:
            with pytest.raises(TooManyTokens):
                few.create_token(owner.id, "Laptop")

    # Sessions

    def test_a_session_is_read_back_as_it_was_made(self, store, owner):
        new = NewSession(
            title="Ünï — 🌊",
            description="x\ny",
            interval_min=1,
            interval_max=60,
            transition="none",
            thumbnail=None,
            media=MEDIA,
        )
        made = store.create_session(owner.id, new)
        session, media, shares = store.read_session(made.id, owner.id)
        assert session == made
        assert (session.title, session.description) == ("Ünï — 🌊", "x\ny")
        assert (session.thumbnail, session.is_public) == (None, False)
        urls = [item["mediaUrl"] for item in msgspec.json.decode(media)]
        assert urls == [item.media_url for item in MEDIA]
        assert shares == []

    def test_the_cover_is_the_first_image_until_one_is_chosen(self, store, owner):
        session_id = new_session(store, owner, media=MEDIA)

        def patched(**patch):
            given = SessionPatch(**patch)
            return store.update_session(session_id, owner.id, given).thumbnail

        assert patched(title="Same") == MEDIA[0].media_url
        assert patched(media=MEDIA[1:]) == MEDIA[1].media_url
        assert patched(thumbnail="https://example.org/c.jpg")[-5:] == "c.jpg"
        assert patched(media=MEDIA[2:])[-5:] == "c.jpg"
        assert patched(thumbnail=None) is None
        assert patched(media=MEDIA) is None

    def test_a_cover_that_comes_with_other_media_is_what_was_sent(self, store, owner):
        swapped, first = [*reversed(MEDIA)], MEDIA[0].media_url
        for media, patch in (
            ([], {"media": MEDIA, "thumbnail": None}),
            (MEDIA, {"media": swapped, "thumbnail": first}),
            (MEDIA, {"media": [], "thumbnail": first}),
        ):
            session_id = new_session(store, owner, media=media)

            def patched(session_id=session_id, **given):
                edit = SessionPatch(**given)
                return store.update_session(session_id, owner.id, edit).thumbnail

            assert patched(**patch) == patch["thumbnail"]
            assert patched(media=MEDIA[1:]) == patch["thumbnail"]

    def test_a_cover_that_is_given_back_goes_on_with_the_first_image(
        self, store, owner
    ):
        session_id = new_session(store, owner, media=MEDIA)

        def patched(**given):
            edit = SessionPatch(**given)
            return store.update_session(session_id, owner.id, edit).thumbnail

        assert patched(thumbnail=MEDIA[0].media_url) == MEDIA[0].media_url
        assert patched(media=MEDIA[1:]) == MEDIA[1].media_url
        assert patched(media=[], thumbnail=None) is None
        assert patched(thumbnail=None) is None
        assert patched(media=MEDIA) == MEDIA[0].media_url

    def test_an_id_grows_with_time_and_is_never_given_twice(
        self, store, owner, session_id, monkeypatch
    ):
        assert 0 <= id_age(session_id) < 60
        assert session_id < MAX_ID
        drawn = iter([session_id, session_id, session_id + 1])
        monkeypatch.setattr(stores, "new_session_id", lambda: next(drawn))
        assert new_session(store, owner) == session_id + 1

    def test_two_owners_who_draw_one_id_see_nothing_of_each_other(
        self, store, owner, session_id, monkeypatch
    ):
        guest = register(store, "guest")
        code = store.share(session_id, owner.id)
        drawn = iter([session_id, session_id + 1])
        monkeypatch.setattr(stores, "new_session_id", lambda: next(drawn))
        assert new_session(store, guest, "Theirs") == session_id + 1
        # as a crash between drawing it and finding it taken leaves it
        listed = store.keys.user(guest.id, "sessions")
        store.execute("ZADD", listed, session_id, session_id)
        rows, _ = store.list_sessions(guest.id, 50, MAX_ID)
        assert [row.session.title for row in rows] == ["Theirs"]
        store.delete_account(guest)
        assert store.read_session(session_id, owner.id)[0].title == "A walk"
        assert store.open_shared(code, UNCOUNTED).preview.title == "A walk"

    def test_a_session_that_is_being_made_keeps_its_place_while_its_owner_looks(
        self, store, owner, session_id
    ):
        making = session_id + (1 << 12)
        keys = store.keys.user_keys(owner.id, "sessions", "sizes")
        store.execute(*stores.RESERVE(keys, making, 100, 1, 10, 1000))
        rows, _ = store.list_sessions(owner.id, 50, MAX_ID)
        assert [row.session.id for row in rows] == [session_id]
        assert store.execute("ZSCORE", keys[1], making) is not None

    def test_pages_are_newest_first_without_gap_or_repeat(self, store, owner):
        made = sorted(new_session(store, owner, str(n)) for n in range(7))
        store.delete_session(made.pop(3), owner.id)
        seen, cursor = [], MAX_ID
        while cursor is not None:
            rows, cursor = store.list_sessions(owner.id, 2, cursor)
            seen += [row.session.id for row in rows]
        assert seen == made[::-1]

    def test_titles_are_told_of_ones_own_sessions_that_stand(
        self, store, owner, session_id
    ):
        guest = register(store, "guest")
        assert store.titles(owner.id, [session_id, 9]) == {session_id: "A walk"}
        assert store.titles(guest.id, [session_id, 9]) == {}

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

    def test_an_update_of_what_was_changed_since_it_was_seen_is_refused(
        self, store, owner, session_id
    ):
        seen = store.read_session(session_id, owner.id)[0].updated_at
        patch = SessionPatch(title="New", media=[])
        with pytest.raises(EditConflict):
            store.update_session(session_id, owner.id, patch, "2020-01-01T00:00:00Z")
        session, media, _ = store.read_session(session_id, owner.id)
        assert (session.title, len(msgspec.json.decode(media))) == ("A walk", 3)
        assert store.update_session(session_id, owner.id, patch, seen).title == "New"

    def test_only_the_owner_gets_at_a_session(self, store, session_id, code):
        other = register(store, "other").id
        before = keys_of(store)
        for refused, session in ((NotOwner, session_id), (SessionNotFound, 999)):
            for do in owners_only(store, session, other, code):
                with pytest.raises(refused):
                    do()
        assert keys_of(store) == before

    # Sharing

    def test_sharing_twice_returns_the_same_code(self, store, owner, session_id, code):
        assert store.share(session_id, owner.id) == code
        assert another(store).share(session_id, owner.id) == code
        assert codes_of(store, owner, session_id) == {code: EVERYONE}

    def test_each_audience_has_its_own_code(self, store, owner, session_id, code):
        guest = register(store, "guest")
        bound = store.share(session_id, owner.id, guest.id)
        labelled = store.share(session_id, owner.id, "label:News")
        mailed = store.share_by_email(session_id, owner.id, "New@example.com")
        assert store.share(session_id, owner.id, guest.id) == bound
        assert store.share(session_id, owner.id, "label:News") == labelled
        assert store.share_by_email(session_id, owner.id, "new@EXAMPLE.com") == mailed
        assert codes_of(store, owner, session_id) == {
            code: EVERYONE,
            bound: (guest.id, None, None),
            labelled: (None, None, "News"),
            mailed: (None, "New@example.com", None),
        }

    def test_an_unknown_audience_is_refused_and_shares_nothing(
        self, store, owner, session_id
    ):
        before = keys_of(store)
        with pytest.raises(UserNotFound):
            store.share(session_id, owner.id, "nobody")
        assert keys_of(store) == before
        assert not store.read_session(session_id, owner.id)[0].is_public

    def test_sharing_again_repairs_a_lost_pointer(self, store, owner, session_id, code):
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
        store.execute("SET", store.keys.share(FORGED), session_id)
        with pytest.raises(NotShared):
            store.open_shared(FORGED, UNCOUNTED)
        with pytest.raises(NotShared):
            store.play_shared(FORGED, "nobody")

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
                store.seen(each, PERSON, False)
        assert not store.open_shared(
            code, Visit(owner.id, owner_sees_paused=True)
        ).public
        store.update_session(session_id, owner.id, SessionPatch(is_public=True))
        assert [store.open_shared(c, UNCOUNTED).preview.share_code for c in codes] == (
            codes
        )
        assert store.session_stats(session_id, owner.id, 1).totals.opens == 0

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
        opened = store.open_shared(bound, UNCOUNTED)
        assert (opened.preview.title, opened.personal) == ("A walk", True)

    @pytest.mark.parametrize("first", ["the link", "the account"])
    def test_a_link_by_email_belongs_to_the_first_account_with_it_for_good(
        self, store, owner, session_id, first
    ):
        if first == "the account":
            guest = register(store, "Guest")
        mailed = store.share_by_email(session_id, owner.id, "guest@example.com")
        if first == "the link":
            with pytest.raises(NotForYou):
                store.play_shared(mailed, register(store, "somebody").id)
            guest = register(store, "Guest")
        assert store.play_shared(mailed, guest.id)[0].title == "A walk"
        store.change_email(guest, "other@example.com")
        later = register(store, "guest")
        with pytest.raises(NotForYou):
            store.play_shared(mailed, later.id)
        assert store.play_shared(mailed, guest.id)
        assert store.share_by_email(session_id, owner.id, "guest@example.com") == mailed
        with pytest.raises(NotForYou):
            store.play_shared(mailed, later.id)

    def test_an_email_that_an_account_moves_to_gets_the_links_that_waited_for_it(
        self, store, owner, session_id
    ):
        mailed = store.share_by_email(session_id, owner.id, "new@example.com")
        guest = register(store, "guest")
        store.change_email(guest, "new@example.com")
        assert store.play_shared(mailed, guest.id)

    def test_a_revoked_link_is_dead_and_its_audience_gets_a_new_one(
        self, store, owner, session_id, code
    ):
        other = another(store)
        labelled = store.share(session_id, owner.id, "label:News")
        other.open_shared(code, PERSON)
        store.revoke(session_id, owner.id, code)
        for each in (store, other):
            with pytest.raises(NotShared):
                each.open_shared(code, PERSON)
            with pytest.raises(NotShared):
                each.play_shared(code, owner.id, True)
            with pytest.raises(ShareNotFound):
                each.revoke(session_id, owner.id, code)
        assert other.open_shared(labelled, UNCOUNTED).preview.title == "A walk"
        assert store.session_stats(session_id, owner.id, 1).totals.opens == 1
        new = other.share(session_id, owner.id)
        assert new != code
        assert store.open_shared(new, UNCOUNTED).preview.share_code == new
        assert set(codes_of(store, owner, session_id)) == {labelled, new}

    def test_a_revoked_link_leaves_nothing_but_the_sessions_counts(
        self, store, owner, session_id, code
    ):
        before, links = keys_of(store), store.keys.session(session_id, "links")
        kept = store.execute("HKEYS", links)
        mailed = store.share_by_email(session_id, owner.id, "new@example.com")
        store.open_shared(mailed, PERSON)
        store.revoke(session_id, owner.id, mailed)
        assert [key for key in keys_of(store) - before if mailed in key] == []
        assert not [key for key in keys_of(store) if key.startswith("awaited:")]
        assert store.execute("HKEYS", links) == kept

    # Counting

    def test_opens_plays_and_views_are_counted_once_each(
        self, store, owner, session_id, code
    ):
        guest = register(store, "guest")
        store.open_shared(code, PERSON)
        store.open_shared(code, PERSON)
        store.open_shared(code, Visit(reason="bot"))
        store.open_shared(code, Visit(reason="", viewer=owner.id))
        for viewer in (guest, guest, owner):
            store.play_shared(code, viewer.id, True)
        assert store.seen(code, PERSON, False)[0]
        store.seen(code, PERSON, False)
        assert not store.seen(code, Visit(reason="bot"), False)[0]
        stats = msgspec.to_builtins(store.session_stats(session_id, owner.id, 1))
        counted = {"opens": 2, "views": 1, "visitors": 1, "plays": 1, "signups": 0}
        assert stats["totals"] == counted
        assert stats["excluded"] == {"head": 0, "bot": 1, "prefetch": 0, "owner": 1}
        assert stats["daily"] == [{"date": today(), **counted}]
        assert stats["referrers"] == [{"host": "news.example", "opens": 2}]

    def test_each_link_has_counts_of_its_own(self, store, owner, session_id, code):
        guest = register(store, "guest")
        labelled = store.share(session_id, owner.id, "label:News")
        store.open_shared(code, PERSON)
        for visitor in (b"one", b"two", b"two"):
            store.open_shared(labelled, Visit(reason="", visitor=visitor))
        store.play_shared(labelled, guest.id, True)
        store.credit_signup(owner.id, labelled)
        links = store.session_stats(session_id, owner.id, 1).links
        assert links == store.read_session(session_id, owner.id)[2]
        counts = {
            each.share_code: (each.opens, each.visitors, each.plays, each.signups)
            for each in links
        }
        assert counts == {code: (1, 1, 0, 0), labelled: (3, 2, 1, 1)}

    def test_a_forgotten_script_is_sent_again_and_counts_once(
        self, store, owner, session_id, code
    ):
        """Redis forgets its scripts at every restart."""
        store.open_shared(code, PERSON)
        for node in store.link.nodes():
            node.script_flush()
        store.open_shared(code, PERSON)
        assert store.session_stats(session_id, owner.id, 1).totals.opens == 2

    def test_a_credited_signup_is_in_the_totals_and_in_the_history(
        self, store, owner, session_id, code
    ):
        store.count_click(owner.id, "direct", b"somebody")
        store.count_click(owner.id, "direct", b"somebody")
        store.credit_signup(owner.id, code)
        store.credit_signup(owner.id, "")
        report = store.referral_report(owner.id, 50, -1)
        names = ("clicks:direct", "signups:session_share", "signups:direct")
        assert {name: report.counts[name] for name in names} == dict.fromkeys(names, 1)
        sources = [(row.source, row.session_id) for row in report.history]
        assert sources == [("direct", None), ("session_share", session_id)]
        assert store.session_stats(session_id, owner.id, 1).totals.signups == 1

    def test_what_somebody_played_is_listed_for_them_until_it_is_gone(
        self, store, owner, session_id, code
    ):
        guest = register(store, "guest")
        second = store.share(session_id, owner.id, "label:Second")
        for each in (code, second):
            store.play_shared(each, guest.id, True)
        store.play_shared(code, owner.id, True)
        assert {row.share_code for row in store.played(guest.id)} == {code, second}
        assert store.played(guest.id)[0].title == "A walk"
        assert store.played(owner.id) == []
        store.revoke(session_id, owner.id, code)
        assert [row.share_code for row in store.played(guest.id)] == [second]
        store.delete_session(session_id, owner.id)
        assert store.played(guest.id) == []

    def test_the_key_of_the_day_is_one_for_all_processes(self, store):
        key = store.visitor_key("2026-11-23")
        assert len(key) == 32
        assert another(store).visitor_key("2026-11-23") == key
        assert another(store).visitor_key("2026-11-24") != key
        assert another(store).signing_key == store.signing_key

    # What one account may have

    def test_sessions_are_limited_and_deleting_one_makes_room(
        self, store, owner, session_id
    ):
        few = another(store, sessions=2)
        new_session(few, owner)
        before = keys_of(store)
        with pytest.raises(TooManySessions):
            new_session(few, owner)
        assert keys_of(store) == before
        few.delete_session(session_id, owner.id)
        assert new_session(few, owner)

    def test_bytes_are_limited_and_less_is_always_taken(self, store, owner):
        little = another(store, megabytes=1)
        large = incompressible(600_000)
        first = new_session(little, owner, media=large)
        with pytest.raises(TooManyBytes):
            new_session(little, owner, media=large)
        second = new_session(little, owner)
        for patch, fits in ((large, False), (MEDIA, True)):
            if fits:
                little.update_session(first, owner.id, SessionPatch(media=patch))
            else:
                with pytest.raises(TooManyBytes):
                    little.update_session(second, owner.id, SessionPatch(media=patch))
        little.update_session(second, owner.id, SessionPatch(media=large))
        little.delete_session(second, owner.id)
        assert new_session(little, owner, media=large)

    def test_an_update_that_is_refused_takes_no_room_and_gives_none_back(
        self, store, owner
    ):
        sizes = store.keys.user(owner.id, "sizes")
        session_id = new_session(store, owner, media=incompressible(100_000))
        before = store.execute("HGETALL", sizes)
        for media in ([], incompressible(200_000)):
            patch = SessionPatch(media=media, interval_min=60)
            with pytest.raises(BadIntervals):
                store.update_session(session_id, owner.id, patch)
            assert store.execute("HGETALL", sizes) == before

    def test_links_and_tokens_are_limited(self, store, owner, session_id, code):
        few = another(store, links=2, tokens=2)
        assert few.share(session_id, owner.id, "label:1")
        with pytest.raises(TooManyLinks):
            few.share(session_id, owner.id, "label:2")
        assert few.share(session_id, owner.id) == code
        few.revoke(session_id, owner.id, code)
        assert few.share(session_id, owner.id, "label:2")
        token, _ = few.create_token(owner.id, "1")
        few.create_token(owner.id, "2")
        with pytest.raises(TooManyTokens):
            few.create_token(owner.id, "3")
        few.delete_token(owner.id, token.id)
        assert few.create_token(owner.id, "3")

    # Deleting

    def test_a_deleted_session_leaves_no_key(self, store, owner, session_id, code):
        guest = register(store, "guest")
        bound = store.share(session_id, owner.id, guest.id)
        mailed = store.share_by_email(session_id, owner.id, "new@example.com")
        for each in (code, bound, mailed):
            store.open_shared(each, PERSON)
            store.seen(each, PERSON, False)
        store.play_shared(code, guest.id, True)
        store.delete_session(session_id, owner.id)
        rest = ("session:", "share:", "awaited:", f"user:{{{owner.id}}}:sess")
        assert [key for key in keys_of(store) if key.startswith(rest)] == []
        assert store.list_sessions(owner.id, 50, MAX_ID) == ([], None)
        sizes = store.execute("HGETALL", store.keys.user(owner.id, "sizes"))
        assert sizes in ([b"total", b"0"], {b"total": b"0"})

    def test_nothing_brings_a_deleted_session_back(
        self, store, owner, session_id, code
    ):
        """Neither in the process that deleted it nor in one that still knows it."""
        other = another(store)
        other.open_shared(code, PERSON)
        other.share(session_id, owner.id)
        store.delete_session(session_id, owner.id)
        before = keys_of(store)
        for each in (store, other):
            for refused, do in (
                *((NotShared, do) for do in recipients_only(each, owner.id, code)),
                *(
                    (SessionNotFound, do)
                    for do in owners_only(each, session_id, owner.id, code)
                ),
            ):
                with pytest.raises(refused):
                    do()
        other.credit_signup(owner.id, code)
        named = {key for key in keys_of(store) - before if not key.startswith("user:")}
        assert named == set()
        sizes = store.execute("HGETALL", store.keys.user(owner.id, "sizes"))
        assert sizes in ([b"total", b"0"], {b"total": b"0"})

    @pytest.mark.parametrize("links", ["standing", "revoked"])
    def test_the_owners_next_look_takes_away_what_a_deletion_has_left(
        self, store, owner, session_id, code, links
    ):
        """Also of a session that was made a moment ago."""
        mailed = store.share_by_email(session_id, owner.id, "new@example.com")
        store.play_shared(code, register(store, "guest").id, True)
        for each in (code, mailed) if links == "revoked" else ():
            store.revoke(session_id, owner.id, each)
        keys = store.keys.session_keys(session_id, today())
        store.execute(*stores.REMOVE(keys, owner.id, today()))
        for each in (code, mailed):
            with pytest.raises(NotShared):
                store.open_shared(each, PERSON)
        assert store.list_sessions(owner.id, 50, MAX_ID) == ([], None)
        rest = ("session:", "share:", "awaited:", f"user:{{{owner.id}}}:sess")
        assert [key for key in keys_of(store) if key.startswith(rest)] == []

    def test_a_deleted_account_leaves_no_key_that_names_it(
        self, store, owner, session_id, code
    ):
        theirs = lived(store, owner, session_id, code)
        store.delete_account(owner)
        assert traces(store, owner, session_id, code) == set()
        fleeting = ("awaited:", "token:", "login:")
        assert [key for key in keys_of(store) if key.startswith(fleeting)] == []
        assert store.open_shared(theirs, UNCOUNTED).preview.title == "A walk"

    def test_a_deleted_account_is_nobodys(self, store, owner, session_id, code):
        other = another(store)
        other.open_shared(code, PERSON)
        _, secret = store.create_token(owner.id, "Laptop")
        store.keep_login("a", owner.id, b"value", "a hash")
        store.delete_account(owner)
        before = keys_of(store)
        for each in (store, other):
            for do in holders_only(each, owner):
                with pytest.raises(UserNotFound):
                    do()
            for do in recipients_only(each, "somebody", code):
                with pytest.raises(NotShared):
                    do()
            each.count_click(owner.id, "direct", b"somebody")
            each.credit_signup(owner.id, code)
            assert each.token_owner(secret) is None
            assert each.read_login("a") is None
            assert each.referrer(owner.referral_code) is None
        assert keys_of(store) == before
        assert register(store).id != owner.id  # the email is free

    def test_an_account_that_is_marked_is_gone_for_everyone(
        self, store, owner, session_id, code
    ):
        """As when its deletion was cut short at the first step."""
        guest = register(store, "guest")
        store.execute(*stores.DEPART([store.keys.user(owner.id)], "a hash"))
        with pytest.raises(UserNotFound):
            store.account(owner.id)
        with pytest.raises(UserNotFound):
            store.account_by_email(owner.email)
        with pytest.raises(NotShared):
            store.open_shared(code, PERSON)
        with pytest.raises(NotShared):
            store.play_shared(code, guest.id)
        assert owner.id not in {account.id for account, _ in store.accounts()}
        assert store.referrer(owner.referral_code) is None  # invites nobody any more
        assert register(store).id != owner.id  # who finishes it
        assert traces(store, owner, session_id, code) == set()


def owners_only(store, session_id, user_id, code):
    """What only a session's owner may do."""
    return [
        lambda: store.read_session(session_id, user_id),
        lambda: store.check_owner(session_id, user_id),
        lambda: store.update_session(session_id, user_id, SessionPatch(title="Mine")),
        lambda: store.update_session(session_id, user_id, SessionPatch(media=[])),
        lambda: store.delete_session(session_id, user_id),
        lambda: store.share(session_id, user_id),
        lambda: store.share(session_id, user_id, user_id),
        lambda: store.share_by_email(session_id, user_id, "guest@example.com"),
        lambda: store.revoke(session_id, user_id, code),
        lambda: store.session_stats(session_id, user_id, 1),
    ]


def recipients_only(store, viewer, code):
    """What needs a link that is alive."""
    return [
        lambda: store.open_shared(code, PERSON),
        lambda: store.open_shared(code, UNCOUNTED),
        lambda: store.play_shared(code, viewer, True),
        lambda: store.play_shared(code, viewer),
        lambda: store.seen(code, PERSON, True),
    ]


def holders_only(store, account):
    """What needs an account that stands."""
    return [
        lambda: store.account(account.id),
        lambda: store.account_by_email(account.email),
        lambda: store.delete_account(account),
        lambda: store.change_account(account.id, {"name": "Back"}),
        lambda: store.change_email(account, "back@example.com"),
        lambda: store.create_token(account.id, "Laptop"),
        lambda: store.keep_login("b", account.id, b"value", ""),
        lambda: store.create_session(account.id, NewSession(title="Back")),
    ]


def incompressible(size):
    """Media that take about so many bytes."""
    address = "https://example.org/"
    digits = stores.secrets.token_hex(size)
    return [
        MediaInput(address + digits[n : n + 2000]) for n in range(0, len(digits), 2000)
    ]


def lived(store, owner, session_id, code):
    """Everything that an account can have and do; the code of somebody else's link."""
    guest = register(store, "guest")
    bound = store.share(session_id, owner.id, guest.id)
    store.share_by_email(session_id, owner.id, "new@example.com")
    for each in (code, bound):
        store.open_shared(each, PERSON, owner.referral_code)
    store.play_shared(code, guest.id, True)
    new_session(store, owner, "Second")
    theirs = store.share(new_session(store, guest), guest.id)
    store.play_shared(theirs, owner.id, True)
    store.create_token(owner.id, "Laptop")
    store.keep_login("a", owner.id, b'{"userId": "%s"}' % owner.id.encode(), "a hash")
    store.credit_signup(owner.id, code)
    store.count_click(owner.id, "direct", b"somebody")
    store.change_email(owner, "owner2@example.com")
    return theirs


def traces(store, account, session_id, code):
    """The keys that name an account, its session or its link, and those that hold
    nothing but its id."""
    names = (account.id, f"{{{session_id}}}", code, account.referral_code)
    return {
        key
        for key in keys_of(store)
        if any(name in key for name in names)
        or account.id in str(store.link.client.get(key) if is_pointer(key) else "")
    }


def is_pointer(key):
    return key.startswith(("share:", "email:", "referral:", "token:", "login:"))
