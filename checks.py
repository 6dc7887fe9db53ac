"""What must be true of every key, and what mends it where a crash has broken it.

Mended is what a crash of the service can leave, by steps that are right also while the
service goes on. Damage that takes a hand in Redis (another type, an unreadable record)
is named. What a live service changes meanwhile may look broken once: see maintain.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, ClassVar

import msgspec

from clock import age, id_age
from keys import USER_PARTS
from looks import Asked, Finding, Look, Looks, Mend, for_each
from records import (
    DEFAULTS,
    LINK_EVENTS,
    Account,
    Session,
    decode_signup,
    decode_stored_token,
    media_items,
    pairs,
    unpack_media,
)
from rows import BY_EMAIL
from store import FORGET, GIVE_UP, LEFT_OVER, SETTLED, email_digest

Hash = Mapping[bytes, bytes]
SLACK = 10_000  # bytes: of a session's fields is counted what they took at first
ROWS = ("ZRANGE", 0, -1)


class Checks(Looks):
    """The look to take at each kind of key."""

    KINDS: ClassVar = (
        (r"share:([^:]+)", ("GET",), "_share"),
        (r"(?:email|referral):([^:]+)", ("GET",), "_pointer"),
        (r"token:([^:]+)", ("GET",), "_token"),
        (r"login:([^:]+)", ("GET",), "_login"),
        (r"awaited:([^:]+)", ("SMEMBERS",), "_awaited"),
        (r"(visitors:key:.+|probe|limits:[^:]+:.+)", ("GET",), "_fleeting"),
        (r"(signing-key)", ("GET",), ""),
        (r"(session:last-id|limits:key|importing)", ("GET",), "_old"),
        (r"(journal)", ROWS, "_old"),
        (r"session:\{([0-9]+)\}", ("HGETALL",), "_session"),
        (r"session:\{([0-9]+)\}:media", ("GET",), "_media"),
        (r"session:\{([0-9]+)\}:shares", ("HGETALL",), "_shares"),
        (r"session:\{([0-9]+)\}:codes", ("HGETALL",), "_codes"),
        (r"session:\{([0-9]+)\}:links", ("HGETALL",), "_links"),
        (r"session:\{([0-9]+)\}:(?:stats|daily|referrers)", ("HGETALL",), "_counters"),
        (r"session:\{([0-9]+)\}:players", ROWS, ""),
        (r"session:\{([0-9]+)\}:(?:visitors|viewers):.+", ("GET",), "_people"),
        (r"user:\{(\w+)\}", ("HGETALL",), "_user"),
        (r"user:\{(\w+)\}:sessions", ROWS, "_sessions"),
        (r"user:\{(\w+)\}:sizes", ("HGETALL",), "_sizes"),
        (r"user:\{(\w+)\}:tokens", ("HGETALL",), "_tokens"),
        (r"user:\{(\w+)\}:logins", ROWS, "_fleeting"),
        (r"user:\{(\w+)\}:referrals", ("HGETALL",), "_counters"),
        (r"user:\{(\w+)\}:signups", ("LRANGE", 0, -1), "_signups"),
        (r"user:\{(\w+)\}:played", ROWS, "_played"),
        (r"user:\{(\w+)\}:clickers:.+", ("GET",), "_people"),
        (r"user:\{(\w+)\}:abandoned", ("GET",), "_old"),
    )

    def _forget(self, name: str, target: bytes) -> Mend:
        return self._do(*FORGET([self.keys.prefix + name], target))

    def left_over(self, name: str, whose: str) -> Mend:
        if name.rpartition(":")[2] in LEFT_OVER:
            return partial(self.store.purge, int(whose), "")
        return self._delete(name)

    def _publish(self, code: str, session_id: str, audience: str) -> Mend:
        return partial(self.store.publish, code, int(session_id), audience)

    def _size(self, user_id: str, session_id: str, more: int) -> Mend:
        sizes = self.keys.user(user_id, "sizes")
        added = [("HINCRBY", sizes, each, more) for each in (session_id, "total")]
        return partial(self.store.execute_many, added)

    # The looks: each gets the key's name, whose it is, and what it holds.

    def _old(self, name: str, _: str, held: Any) -> Look:
        yield Finding(name, "is version 1's, and of no use", self._delete(name))

    def _fleeting(self, name: str, _: str, held: Any) -> Look:
        if (yield ("TTL", self.keys.prefix + name)) == -1:
            yield Finding(name, "does not expire")

    def _people(self, name: str, whose: str, held: bytes) -> Look:
        if not held.startswith(b"HYLL"):  # as each HyperLogLog does
            raise ValueError
        yield from self._fleeting(name, whose, held)

    def _counters(self, name: str, _: str, held: Hash) -> Look:
        for counter, value in pairs(held).items():
            if not re.fullmatch(r"-?[0-9]{1,18}", value):
                yield Finding(name, f"has no number in {counter}")

    def _signups(self, name: str, _: str, held: Iterable[bytes]) -> Look:
        for row in held:
            decode_signup(row)
        yield from ()

    def _share(self, name: str, code: str, session_id: bytes) -> Look:
        key = partial(self.keys.session, session_id.decode())
        stands, listed = yield [("EXISTS", key()), ("HGET", key("codes"), code)]
        gone = self._forget(name, session_id)
        if not stands:
            yield Finding(name, "leads to a session that is gone", gone)
        elif not listed and code.encode() not in (yield ("HVALS", key("shares"))):
            yield Finding(name, "leads to a session without this link", gone)

    def _shares(self, name: str, session_id: str, held: Hash) -> Look:
        codes = (yield ("HGETALL", self.keys.session(session_id, "codes"))) or {}
        for audience, code in pairs(held).items():
            if code.encode() not in codes:
                publish = self._publish(code, session_id, audience)
                yield Finding(name, f"has chosen {code} and not listed it", publish)

    def _codes(self, name: str, session_id: str, held: Hash) -> Look:
        codes, shares = pairs(held), self.keys.session(session_id, "shares")
        chosen = (yield ("HGETALL", shares)) or {}
        asked = partial(self._about_link, session_id, codes)
        for code, (pointer, *waiting) in (yield from for_each(codes, asked)):
            audience = codes[code]
            publish = self._publish(code, session_id, audience)
            if chosen.get(audience.encode()) != code.encode():
                yield Finding(name, f"lists {code}, which is not chosen for anybody")
            elif pointer != session_id.encode():
                yield Finding(name, f"lists {code}, which leads elsewhere", publish)
            elif audience.startswith(BY_EMAIL) and not any(waiting):
                yield Finding(name, f"lists {code}, which nobody can get", publish)

    def _about_link(self, session_id: str, codes: dict[str, str], code: str) -> Asked:
        """Where a link leads; whom one by email belongs to, and whether it waits."""
        awaited = self.keys.awaited(codes[code].removeprefix(BY_EMAIL))
        belongs = ("HGET", self.keys.session(session_id, "links"), f"{code}:for")
        return [("GET", self.keys.share(code)), belongs, ("SISMEMBER", awaited, code)]

    def _awaited(self, name: str, digest: str, held: Iterable[bytes]) -> Look:
        codes = [code.decode() for code in held]
        sessions = yield [("GET", self.keys.share(code)) for code in codes]
        leads = {c: (s or b"").decode() for c, s in zip(codes, sessions, strict=True)}
        asked = partial(self._about_awaited, leads)
        for code, (audience, belongs) in (yield from for_each(codes, asked)):
            if audience != f"{BY_EMAIL}{digest}".encode() or belongs:
                strike = self._do("SREM", self.keys.awaited(digest), code)
                yield Finding(name, f"has {code}, which waits for nobody", strike)

    def _about_awaited(self, leads: dict[str, str], code: str) -> Asked:
        session = partial(self.keys.session, leads[code])
        belongs = ("HGET", session("links"), f"{code}:for")
        return [("HGET", session("codes"), code), belongs]

    def _links(self, name: str, session_id: str, held: Hash) -> Look:
        chosen = yield ("HVALS", self.keys.session(session_id, "shares"))
        parts = {each: each.rpartition(":") for each in pairs(held)}
        for code in {c for c, *_ in parts.values()} - {*map(bytes.decode, chosen)}:
            strike = self._do("HDEL", self.keys.prefix + name, f"{code}:revoked")
            yield Finding(name, f"keeps numbers of {code}, which is gone", strike)
        counts = {k: v for k, v in held.items() if parts[k.decode()][2] in LINK_EVENTS}
        yield from self._counters(name, session_id, counts)

    def _session(self, name: str, session_id: str, held: Hash) -> Look:
        fields = {**DEFAULTS, **pairs(held), "id": session_id}
        owner = msgspec.convert(fields, Session, strict=False).user_id
        listed = self.keys.user(owner, "sessions")
        account, score, media = yield [
            ("EXISTS", self.keys.user(owner)),
            ("ZSCORE", listed, session_id),
            ("STRLEN", self.keys.session(session_id, "media")),
        ]
        delete = partial(self.store.delete_session, int(session_id), owner)
        place = self._do("ZADD", listed, session_id, session_id)
        if not account:
            yield Finding(name, "belongs to an account that is gone", delete)
        elif score != float(session_id):
            yield Finding(name, "is not in its place in its owner's list", place)
        if not media:
            yield Finding(name, "has lost its media")

    def _media(self, name: str, session_id: str, held: bytes) -> Look:
        number = len(media_items(unpack_media(held)))
        told = yield ("HGET", self.keys.session(session_id), "mediaCount")
        if told != b"%d" % number:
            yield Finding(name, f"has {number} items, which its session does not say")

    def _user(self, name: str, user_id: str, held: Hash) -> Look:
        account = msgspec.convert(pairs(held), Account, strict=False)
        delete = partial(self.store.delete_account, account, checked=False)
        if account.deleting:
            yield Finding(name, "was not deleted to the end", delete)
            return
        email, wanted = map(email_digest, (account.email, account.pending_email))
        pointers = self.keys.email(email), self.keys.referral(account.referral_code)
        *targets, claimed, belongings = yield [
            *(("GET", pointer) for pointer in pointers),
            ("GET", self.keys.email(wanted)),
            ("EXISTS", *self.keys.user_keys(user_id, *USER_PARTS)[1:]),
        ]
        if age(account.created_at) < SETTLED:
            return
        lost = [
            p for p, t in zip(pointers, targets, strict=True) if t != user_id.encode()
        ]
        if lost and not belongings and account.last_login is None:
            yield Finding(name, "was not registered to the end", delete)
            return
        for pointer in lost:
            point = self._do("SET", pointer, user_id, "NX")
            yield Finding(name, f"is not found by {pointer}", point)
        if account.pending_email:
            user, email = self.keys.user(user_id), account.pending_email
            finish = partial(self.store.account_by_email, email)
            give_up = self._do(*GIVE_UP([user], email))
            mend = finish if claimed == user_id.encode() else give_up
            yield Finding(name, "has not changed its email to the end", mend)

    def _pointer(self, name: str, token: str, user_id: bytes) -> Look:
        user = self.keys.user(user_id.decode())
        names = ("email", "pendingEmail", "referralCode")
        asked = [*(("HGET", user, each) for each in names), ("EXISTS", user)]
        *emails, code, stands = yield asked
        own = [email_digest(email.decode()) for email in emails if email]
        readable = (emails[0] and code) or not stands  # else it may be the last trace
        if readable and token not in own and token.encode() != code:
            yield Finding(name, "leads to nobody", self._forget(name, user_id))

    def _token(self, name: str, digest: str, user_id: bytes) -> Look:
        rows = yield ("HVALS", self.keys.user(user_id.decode(), "tokens"))
        if not any(digest.encode() in row for row in rows):
            yield Finding(name, "belongs to nobody", self._forget(name, user_id))

    def _tokens(self, name: str, user_id: str, held: Hash) -> Look:
        listed = {i: decode_stored_token(row).digest for i, row in pairs(held).items()}
        targets = yield [("GET", self.keys.token(each)) for each in listed.values()]
        for token, target in zip(listed, targets, strict=True):
            if target != user_id.encode():
                strike = self._do("HDEL", self.keys.user(user_id, "tokens"), token)
                yield Finding(name, f"lists {token}, which nobody can use", strike)

    def _login(self, name: str, login_id: str, held: bytes) -> Look:
        yield from self._fleeting(name, login_id, held)
        login = msgspec.json.decode(held, type=dict[str, Any])
        if "userId" not in login:
            return
        user_id = str(login["userId"])
        listed = ("ZSCORE", self.keys.user(user_id, "logins"), login_id)
        account, score = yield [("EXISTS", self.keys.user(user_id)), listed]
        if account and not score and "renewed" not in login:
            list_it = partial(self.store.renew_login, login_id, user_id, held)
            yield Finding(name, "is version 1's, and nobody lists it", list_it)
        elif not score:
            yield Finding(name, "belongs to nobody who lists it", self._delete(name))

    def _sessions(self, name: str, user_id: str, held: Iterable[bytes]) -> Look:
        ids = [str(int(member)) for member in held]
        sizes = pairs((yield ("HGETALL", self.keys.user(user_id, "sizes"))) or {})
        states = yield from for_each(ids, self._about_session)
        for i, (owner, stands, length) in states:
            if owner and owner != user_id.encode():
                strike = self._do(*self.store.unlist(int(i), user_id))
                yield Finding(name, f"lists {i}, which is somebody else's", strike)
            elif not stands and id_age(int(i)) > SETTLED:
                purge = partial(self.store.purge, int(i), user_id)
                yield Finding(name, f"lists {i}, which is gone", purge)
            elif stands and not 0 <= int(sizes.get(i, -1)) - (length or 0) <= SLACK:
                add = self._size(user_id, i, (length or 0) - int(sizes.get(i, 0)))
                yield Finding(name, f"has {i}, whose bytes are not counted", add)

    def _about_session(self, session_id: str) -> Asked:
        key = partial(self.keys.session, session_id)
        return [("HGET", key(), "userId"), ("EXISTS", key()), ("STRLEN", key("media"))]

    def _played(self, name: str, user_id: str, held: Iterable[bytes]) -> Look:
        codes = [code.decode() for code in held]
        pointers = yield [("GET", self.keys.share(code)) for code in codes]
        for code, pointer in zip(codes, pointers, strict=True):
            if not pointer:
                strike = self._do("ZREM", self.keys.user(user_id, "played"), code)
                yield Finding(name, f"lists {code}, which is gone", strike)

    def _sizes(self, name: str, user_id: str, held: Hash) -> Look:
        sizes = {i: int(size) for i, size in pairs(held).items()}
        total, added = sizes.pop("total", 0), sum(sizes.values())
        listed = yield (ROWS[0], self.keys.user(user_id, "sessions"), *ROWS[1:])
        for i in sizes.keys() - {each.decode() for each in listed}:
            strike = self._do(*self.store.unlist(int(i), user_id))
            yield Finding(name, f"counts {i}, which is not listed", strike)
        if total != added:
            more = ("HINCRBY", self.keys.user(user_id, "sizes"), "total", added - total)
            yield Finding(name, "does not add up", self._do(*more))
