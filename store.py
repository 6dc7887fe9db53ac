"""What the service keeps in Redis, and how it stays right: accounts, logins, tokens,
sessions, links, counters, credits.

No Flask in here. How Redis is spoken to stands in `redis_link.py`; what Redis itself
decides in `lua/`, one file per script, whose header tells which race it closes; what is
stored and answered in `records.py`, and the shape of every key in `keys.py`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import secrets
import string
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import redis as redis_py
from msgspec import UNSET, Raw

from clock import (
    DAY,
    age,
    days_with_visitors,
    id_age,
    new_session_id,
    next_second,
    timestamp,
    today,
)
from inputs import MediaInput, NewSession, SessionPatch
from keys import PLACES_KNOWN, USER_PARTS, Keys
from records import (
    DEFAULTS,
    UNCOUNTED,
    Account,
    Opened,
    Played,
    Preview,
    Referrals,
    Session,
    Share,
    SharedSession,
    Signup,
    Stats,
    StoredToken,
    Summary,
    Token,
    Visit,
    decode_signup,
    decode_stored_token,
    first_picture,
    flat,
    pack_media,
    pairs,
    to_fields,
    to_json,
    unpack_media,
)
from redis_link import Link
from redis_node import (
    FAILURES,
    READS,
    NotReplicated,
    StoreRefusesWrites,
    StoreUnavailable,
    unavailable,
)
from refusals import (
    EmailTaken,
    NotForYou,
    NotOwner,
    NotShared,
    Refusal,
    SessionNotFound,
    TokenNotFound,
    UserNotFound,
)
from rows import (
    BY_EMAIL,
    BY_LABEL,
    GENERAL,
    as_counts,
    as_session,
    as_shares,
    as_slideshow,
    as_stats,
    as_summary,
)
from scripts import Command, Script, script

LOGIN_SECONDS = 7 * DAY
VISITORS_SECONDS = 2 * DAY
DAILY_KEPT = 400  # days of daily counters
SETTLED = 60  # seconds after which what a request began is over, one way or another


# ------------------------------------------------------------------------------- Store

OPEN, PEEK = script("open"), script("peek")
PLAY, REPLAY = script("play"), script("replay")
SEEN, SIGNUP = script("seen"), script("signup")
CREATE, READ, UPDATE = script("create"), script("read"), script("update")
SUMMARY, STATS, REMOVE = script("summary"), script("stats"), script("remove")
SHARE, SEAL, BIND = script("share"), script("seal"), script("bind")
REVOKE, RESERVE, UNLIST = script("revoke"), script("reserve"), script("unlist")
SIGN_IN, KEEP, RENEW = script("sign_in"), script("keep"), script("renew")
RELEASE, LIST_LOGIN = script("release"), script("list_login")
CHANGE_ACCOUNT, ADD_TOKEN = script("change_account"), script("add_token")
MOVE_EMAIL, GIVE_UP, FORGET = script("move_email"), script("give_up"), script("forget")
TAKE, DEPART, CREDIT = script("take"), script("depart"), script("credit")
CLICK, UNCLICK = script("click"), script("unclick")
REPORT, PLAYED, ATTEMPT = script("report"), script("played"), script("attempt")

LEFT_OVER = ("codes", "players")  # what a deletion takes away last


@dataclass(frozen=True)
class Quotas:
    """What one account may have; how often it may try stands in limits.py."""

    sessions: int = 10_000
    megabytes: int = 200
    links: int = 1_000  # per session
    tokens: int = 20
    logins: int = 50


class Place(NamedTuple):
    """Where a code leads to, and who owns that: neither ever changes."""

    session_id: int
    owner: str


def new_referral_code() -> str:
    """Eight random characters of [a-z0-9]."""
    alphabet = string.ascii_lowercase + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(8))


def email_digest(email: str) -> str:
    """The part of an email's key; emails are compared without case."""
    return hashlib.sha256(email.lower().encode()).hexdigest()


def pseudonym(person: str, key: bytes) -> bytes:
    """HMAC-SHA-256 of a person, who cannot be told from it once the key is gone."""
    mac = _keyed(key).copy()
    mac.update(person.encode())
    return mac.digest()


@functools.lru_cache(maxsize=4)
def _keyed(key: bytes) -> hmac.HMAC:
    """A MAC to copy: the key is worked in once, not for every visitor."""
    return hmac.new(key, digestmod="sha256")


class Store:
    """Accounts, sessions, links and counters in Redis; right after any race or crash.

    1. *The session's keys are the truth.* `share:<code>` and the process's memory only
       say where to look; OPEN, PLAY and SEEN answer from the session's own keys, in the
       step that counts.
    2. *A code handed out resolves.* `share` returns a code only when `share:<code>` is
       written and SEAL then found the session standing and listed the code; `codes`,
       not `shares`, is what owners are shown. Sharing again repairs a lost pointer.
    3. *A deletion leaves nothing.* REMOVE takes the session in one step and leaves its
       list of codes; what points at it is purged next, and that list last but one: the
       owner's own list of sessions still names it until then, so that the owner's next
       look finishes what a crash cut short. A share that was under way finds nothing to
       seal and takes its own pointer back.
    4. *One code per audience.* SHARE chooses by HSETNX, whoever calls at once.
    5. *One slot per script.* All keys of a script carry the same `{id}`.

    What spans slots is *announced* where its owner keeps count (RESERVE, SIGN_IN,
    ADD_TOKEN, or an account without its email), *written*, and *looked at again*: what
    deletes an account or ends its logins goes by those lists, so either it finds what
    was announced or the writer finds itself struck off and takes it back. The last
    write of an operation is its commit point; what comes before it is invisible without
    it. Nothing waits for anybody. An account that stands when it is looked at again is
    marked later, so that who deletes it reads its lists later still.

    An account is gone for everyone as soon as DEPART has marked it: a preview asks for
    its owner's name in the same round trip, and shows nothing without it.
    """

    def __init__(
        self,
        link: Link,
        keys: Keys | None = None,
        quotas: Quotas | None = None,
        uncounted: Callable[[], None] = lambda: None,
    ) -> None:
        """`uncounted` is called for each preview and play that Redis does not count."""
        self.link = link
        self.keys = keys or Keys()
        self.quotas = quotas or Quotas()
        self.uncounted = uncounted
        self._place = functools.lru_cache(PLACES_KNOWN)(self._find_place)
        # What was chosen for an audience, so that its pointer is looked at as it is
        # shared again, in the same round trip.
        self._chosen = functools.lru_cache(PLACES_KNOWN)(_nothing_noted)
        self._referral_code = functools.lru_cache(10_000)(self._find_referral_code)
        self._visitor_keys: dict[str, bytes] = {}
        self._note_played = functools.lru_cache(PLACES_KNOWN)(self._list_played)

    def execute(self, *command: Any, durable: bool = False) -> Any:
        """One command or script. Raises StoreUnavailable, and what a script refuses."""
        return self.execute_many([command], durable)[0]

    def execute_many(
        self, commands: Sequence[Command], durable: bool = False
    ) -> list[Any]:
        """The replies of several, in one round trip. The first refusal is raised."""
        replies = self._attempt_many(commands, durable)
        for reply in replies:
            if isinstance(reply, Refusal):
                raise reply
        return replies

    def _attempt_many(
        self, commands: Sequence[Command], durable: bool = False
    ) -> list[Any]:
        """The replies of several, in one round trip; a refusal stands in its place."""
        replies: list[Any] = self.link.execute_many(commands, durable=durable)
        return [
            _as_refusal(reply) if isinstance(reply, redis_py.ResponseError) else reply
            for reply in replies
        ]

    def _session_keys(self, session_id: int) -> tuple[str, ...]:
        return self.keys.session_keys(session_id, today())

    # Accounts

    def register(self, email: str, name: str, password: str) -> Account:
        """Make an account; `password` is its hash. Raises EmailTaken.

        The email's pointer is written last: until it stands, nobody finds the account.
        """
        account = Account(
            id=uuid.uuid4().hex,
            email=email,
            name=name,
            password=password,
            referral_code=new_referral_code(),
            created_at=timestamp(),
        )
        user, code = self.keys.user(account.id), account.referral_code
        fields = flat(to_fields(account, id=account.id, createdAt=account.created_at))
        claim = ("SET", self.keys.referral(code), account.id, "NX")
        _, claimed = self.execute_many([("HSET", user, *fields), claim], durable=True)
        if not claimed:
            self.execute("DEL", user)
            return self.register(email, name, password)
        try:
            self._claim_email(email_digest(email), account.id)
        except (EmailTaken, StoreRefusesWrites):  # then it was not claimed
            forget = FORGET([self.keys.referral(code)], account.id)
            self.execute_many([("DEL", user), forget])
            raise
        self.adopt(account)
        return account

    def _claim_email(self, digest: str, user_id: str) -> None:
        """Point an email at an account. One that a crash left behind, whose account is
        no more or has another email, frees itself here. Raises EmailTaken."""
        pointer = self.keys.email(digest)
        for _ in range(3):
            if self.execute("SET", pointer, user_id, "NX", durable=True):
                return
            holder = (self.execute("GET", pointer) or b"").decode()
            if holder == user_id:
                return
            if holder and self._holds_email(holder, digest):
                break
            if self.execute(*TAKE([pointer], holder, user_id), durable=True):
                return
        raise EmailTaken

    def _holds_email(self, user_id: str, digest: str) -> bool:
        try:
            account = self._account(user_id)
        except UserNotFound:
            return False
        if account.deleting:  # cut short: finish it, and the email is free
            self._erase(account)
            return False
        return digest in map(email_digest, (account.email, account.pending_email))

    def accounts(self) -> Iterator[tuple[Account, int]]:
        """Every account that stands and can be read, and how many sessions it has."""
        for key in {*self.scan(self.keys.user("*"))}:
            user_id = key.partition("{")[2].rstrip("}")
            with contextlib.suppress(UserNotFound, msgspec.ValidationError, ValueError):
                sessions = self.keys.user(user_id, "sessions")
                yield self.account(user_id), self.execute("ZCARD", sessions)

    def scan(self, pattern: str) -> Iterator[str]:
        """The keys that match, some twice, while others write. Raises
        StoreUnavailable."""
        try:
            for node in self.link.nodes():
                for key in node.scan_iter(match=pattern, count=1000):
                    yield key.decode("utf-8", "replace")
        except FAILURES as error:
            raise unavailable(error) from error

    def is_email_taken(self, email: str) -> bool:
        """Whether an account has this email, without the cost of trying."""
        with contextlib.suppress(UserNotFound):
            return bool(self.account_by_email(email))
        return False

    def _account(self, user_id: str) -> Account:
        fields = pairs(self.execute("HGETALL", self.keys.user(user_id)))
        if not fields:
            raise UserNotFound
        return msgspec.convert(fields, Account, strict=False)

    def account(self, user_id: str) -> Account:
        """The account with this id. Raises UserNotFound."""
        account = self._account(user_id)
        if account.deleting:
            raise UserNotFound
        return account

    def account_by_email(self, email: str) -> Account:
        """The account with this email, in any case. Raises UserNotFound. An email that
        was claimed and not yet written (a crash) is written now."""
        digest = email_digest(email)
        user_id = self.execute("GET", self.keys.email(digest))
        account = self.account(user_id.decode() if user_id else "")
        if digest == email_digest(account.pending_email):
            self._move_email(account, account.pending_email)
            return self.account(account.id)
        if digest != email_digest(account.email):
            raise UserNotFound
        return account

    def _find_referral_code(self, user_id: str) -> str:
        code = self.execute("HGET", self.keys.user(user_id), "referralCode")
        if code is None:
            raise UserNotFound
        return str(code.decode())

    def referral_code(self, user_id: str) -> str:
        """The user's referral code, which never changes. Raises UserNotFound."""
        return self._referral_code(user_id)

    def names(self, user_ids: Sequence[str]) -> dict[str, str]:
        """The names of those of these accounts that stand."""
        told = self.execute_many([*map(self._shown_of, user_ids)])
        rows = zip(user_ids, told, strict=True)
        return {i: (row[0] or b"").decode() for i, row in rows if row[1] and not row[2]}

    def change_account(
        self,
        user_id: str,
        fields: Mapping[str, str],
        checked: str = "",
        keep_login: str | None = None,
    ) -> None:
        """Set an account's fields; with `keep_login`, end every login but that one.
        Raises UserNotFound, and WrongPassword where the hash that was `checked` is not
        the account's any more."""
        keys = self.keys.user_keys(user_id, "logins")
        ending, kept = ("", "") if keep_login is None else ("1", keep_login)
        change = CHANGE_ACCOUNT(keys, checked, ending, kept, *flat(fields))
        ended = self.execute(*change, durable=not ending)
        if ending:  # also where no replica has it yet, which is told afterwards
            self._end_logins(user_id, ended)

    def change_email(self, account: Account, email: str) -> None:
        """Give an account another email. Raises EmailTaken, WrongPassword.

        What it wants is noted first, so that the claim, which commits it, is seen to be
        its own; the rest may be done by whoever looks the email up next.
        """
        self.change_account(account.id, {"pendingEmail": email}, account.password)
        try:
            self._claim_email(email_digest(email), account.id)
        except (EmailTaken, StoreRefusesWrites):  # then it was not claimed
            self.execute(*GIVE_UP([self.keys.user(account.id)], email))
            raise
        if self._move_email(account, email):
            self.adopt(msgspec.structs.replace(account, email=email))
        else:  # another change came between
            self.change_email(account, email)

    def _move_email(self, account: Account, email: str) -> bool:
        old = self.execute(*MOVE_EMAIL([self.keys.user(account.id)], email)) or b""
        for each in (email_digest(old.decode()), email_digest(email)):
            if held := self._holds_email(account.id, each):
                continue
            self.execute(*FORGET([self.keys.email(each)], account.id), durable=True)
            if self._holds_email(account.id, each):  # another change came between
                self._claim_email(each, account.id)
        return held

    def delete_account(self, account: Account, checked: bool = True) -> None:
        """Take an account away with all that belongs to it: at once for everyone, then
        key by key. Cut short, it is finished by repeating it, by whoever wants its
        email, or by `check --repair`. Raises UserNotFound, and, where its password was
        `checked`, WrongPassword."""
        known = account.password if checked else ""
        marked = DEPART([self.keys.user(account.id)], known)
        fields = pairs(self.execute(*marked))
        self._erase(msgspec.convert(fields, Account, strict=False))

    def _erase(self, account: Account) -> None:
        """What is left of an account that is marked: first what lets somebody in; its
        email goes last, and finds who is left of a crash. Then replicas are waited for,
        since what they miss must not end it halfway."""
        keys, user_id = self.keys, account.id
        tokens = pairs(self.execute("HGETALL", keys.user(user_id, "tokens")))
        logins = self.execute("ZRANGE", keys.user(user_id, "logins"), 0, -1)
        ended = [keys.token(decode_stored_token(row).digest) for row in tokens.values()]
        ended += [keys.login(login.decode()) for login in logins]
        self.execute_many([("DEL", key) for key in ended])
        for ids in self._chunks(("ZRANGE", keys.user(user_id, "sessions"), 0, -1), 10):
            self._remove_sessions([int(i) for i in ids], user_id)
        self.execute(*FORGET([keys.referral(account.referral_code)], user_id))
        self._strike_off(user_id)
        clickers = [f"clickers:{day}" for day in days_with_visitors()]
        gone = ("DEL", *keys.user_keys(user_id, *USER_PARTS, *clickers))
        emails = {account.email, account.pending_email} - {""}
        forget = [FORGET([keys.email(email_digest(e))], user_id) for e in emails]
        self.execute_many([gone, *forget], durable=True)

    def _strike_off(self, user_id: str) -> None:
        """Out of the players of what they played."""
        played = self.execute("ZRANGE", self.keys.user(user_id, "played"), 0, -1)
        pointers = [("GET", self.keys.share(code.decode())) for code in played]
        places = [int(i) for i in self.execute_many(pointers) if i is not None]
        players = [self.keys.session(session_id, "players") for session_id in places]
        self.execute_many([("ZREM", key, user_id) for key in players])

    def _chunks(self, command: Command, size: int = 100) -> Iterator[list[Any]]:
        found = self.execute(*command)
        for begin in range(0, len(found), size):
            yield found[begin : begin + size]

    def _for_account(self, user_id: str, command: Command) -> Any:
        """The reply to a command, unless its account is gone. Raises UserNotFound."""
        reply, account = self.execute_many([command, self._look_again(user_id)])
        if not _stands(account):
            raise UserNotFound
        return reply

    def _look_again(self, user_id: str) -> Command:
        """At an account that something was written for: see `_stands`. If it stood
        then, who deletes it finds what was written."""
        return ("HMGET", self.keys.user(user_id), "deleting", "id")

    # Logins

    def keep_login(self, login_id: str, user_id: str, value: bytes, hash_: str) -> None:
        """Write a new login of an account, whose password had this hash when it was
        checked ("" where none was). Raises UserNotFound, WrongPassword."""
        keys, most = self.keys.user_keys(user_id, "logins"), self.quotas.logins
        announce = SIGN_IN(keys, login_id, int(time.time()), hash_, LOGIN_SECONDS, most)
        if old := self.execute(*announce):
            self._end_logins(user_id, old)
        written = KEEP([self.keys.login(login_id)], value, LOGIN_SECONDS)
        listed = ("ZSCORE", keys[1], login_id)
        commands = [written, listed, self._look_again(user_id)]
        _, score, account = self.execute_many(commands, durable=True)
        if not float(score or 0) or not _stands(account):  # perhaps all logins ended
            self.end_login(login_id, user_id)
            self.keep_login(login_id, user_id, value, hash_)  # or tells what is wrong

    def renew_login(self, login_id: str, user_id: str, value: bytes) -> None:
        """Let a login that is in use live on, unless it was ended meanwhile."""
        keys, now = self.keys.user_keys(user_id, "logins"), int(time.time())
        listed = LIST_LOGIN(keys, login_id, now, LOGIN_SECONDS)
        renewed = RENEW([self.keys.login(login_id)], value, LOGIN_SECONDS)
        if not all(self.execute_many([listed, renewed])):
            self.end_login(login_id, user_id)

    def read_login(self, login_id: str) -> bytes | None:
        """What was written of a login. Raises StoreUnavailable."""
        try:
            reply = self.link.execute("GET", self.keys.login(login_id))
        except StoreUnavailable as error:
            if str(error) == "WRONGTYPE":  # whatever that is, it is no login
                return None
            raise
        return bytes(reply) if reply is not None else None

    def keep_anonymous(self, login_id: str, value: bytes) -> None:
        """Write what an extension keeps of a browser in which nobody is signed in."""
        self.execute(*KEEP([self.keys.login(login_id)], value, LOGIN_SECONDS))

    def end_login(self, login_id: str, user_id: str = "") -> None:
        """Sign out, for good."""
        listed = ("ZREM", self.keys.user(user_id, "logins"), login_id)
        commands = [("DEL", self.keys.login(login_id)), *([listed] if user_id else [])]
        self.execute_many(commands, durable=True)

    def _end_logins(self, user_id: str, login_ids: Sequence[bytes]) -> None:
        ended = [("DEL", self.keys.login(i.decode())) for i in login_ids]
        unlist = ("ZREM", self.keys.user(user_id, "logins"), "", *login_ids)
        self.execute_many([*ended, unlist], durable=True)

    # Tokens

    def create_token(self, user_id: str, name: str) -> tuple[Token, str]:
        """A token and its secret, which only its hash is kept of. Raises UserNotFound,
        TooManyTokens."""
        secret = f"jst_{secrets.token_urlsafe(32)}"
        digest = hashlib.sha256(secret.encode()).hexdigest()
        token = StoredToken(secrets.token_hex(8), name, timestamp(), digest)
        keys = self.keys.user_keys(user_id, "tokens")
        self.execute(*ADD_TOKEN(keys, token.id, to_json(token), self.quotas.tokens))
        pointer = self.keys.token(digest)
        commands = [("SET", pointer, user_id), self._look_again(user_id)]
        if not _stands(self.execute_many(commands, durable=True)[1]):
            self.execute("DEL", pointer)
            raise UserNotFound
        return Token(token.id, token.name, token.created_at), secret

    def list_tokens(self, user_id: str) -> list[Token]:
        """The account's tokens without their secrets, oldest first."""
        key = self.keys.user(user_id, "tokens")
        rows = pairs(self._for_account(user_id, ("HGETALL", key)))
        stored = map(decode_stored_token, rows.values())
        listed = sorted(stored, key=lambda token: (token.created_at, token.id))
        exist = [("EXISTS", self.keys.token(token.digest)) for token in listed]
        told = [*zip(listed, self.execute_many(exist), strict=True)]
        lost = [t for t, stands in told if not stands and age(t.created_at) > SETTLED]
        with contextlib.suppress(StoreUnavailable):  # a crash came between
            self.execute_many([("HDEL", key, token.id) for token in lost])
        return [Token(t.id, t.name, t.created_at) for t, stands in told if stands]

    def delete_token(self, user_id: str, token_id: str) -> None:
        """Take a token back, at once. Raises TokenNotFound."""
        tokens = self.keys.user(user_id, "tokens")
        row = self.execute("HGET", tokens, token_id)
        if row is None:
            raise TokenNotFound
        pointer = self.keys.token(decode_stored_token(row).digest)
        self.execute_many([("DEL", pointer), ("HDEL", tokens, token_id)], durable=True)

    def token_owner(self, secret: str) -> str | None:
        """The id of the account that has this token."""
        digest = hashlib.sha256(secret.encode()).hexdigest()
        found = self.execute("GET", self.keys.token(digest))
        return found.decode() if found else None

    # Sessions

    def create_session(self, user_id: str, new: NewSession) -> Session:
        """Make a session. Raises UserNotFound, TooManySessions, TooManyBytes.

        Its place in the owner's list comes first, the session itself last: a place
        without a session shows nothing and goes with a later look at the list.
        """
        made = timestamp()
        more: dict[str, Any] = {
            "userId": user_id,
            "mediaCount": len(new.media),
            "createdAt": made,
            "updatedAt": made,
        }
        if new.thumbnail is UNSET:
            more |= {"thumbnail": first_picture(new.media), "autoCover": 1}
        fields = to_fields(new, **more)
        stored = {k: v for k, v in fields.items() if v != "" or k not in DEFAULTS}
        session_id = self._write_session(user_id, pack_media(new.media), flat(stored))
        return as_session(session_id, stored)

    def _write_session(self, user_id: str, media: bytes, fields: list[str]) -> int:
        size = len(media) + sum(map(len, fields))
        while True:
            session_id = new_session_id()
            if self._reserve(session_id, user_id, size, new=True) < 0:
                continue
            create = CREATE(self._session_keys(session_id), media, *fields)
            listed = ("ZSCORE", self.keys.user(user_id, "sessions"), session_id)
            commands = [create, listed, self._look_again(user_id)]
            written, score, account = self.execute_many(commands, durable=True)
            if score is None or not _stands(account):
                self._remove_sessions([session_id], user_id)
                raise UserNotFound
            if written:
                return session_id
            self.execute(*self.unlist(session_id, user_id))  # it is somebody else's

    def _reserve(self, session_id: int, user_id: str, size: int, new: bool) -> int:
        keys = self.keys.user_keys(user_id, "sessions", "sizes")
        most, room = self.quotas.sessions, self.quotas.megabytes * 1_000_000
        return int(self.execute(*RESERVE(keys, session_id, size, int(new), most, room)))

    def _release(self, session_id: int, user_id: str, size: int) -> None:
        give_back = RELEASE([self.keys.user(user_id, "sizes")], session_id, size)
        with contextlib.suppress(StoreUnavailable):  # too much is counted, for a while
            self.execute_many([give_back] if size > 0 else [])

    def unlist(self, session_id: int, user_id: str) -> Command:
        """The command that takes a session off an account's list and frees its room."""
        keys = self.keys.user_keys(user_id, "sessions", "sizes")[1:]
        return UNLIST(keys, session_id)

    def read_session(
        self, session_id: int, user_id: str
    ) -> tuple[Session, Raw, list[Share]]:
        """The owner's session, its media, and its links, the general one first.
        Raises SessionNotFound, NotOwner."""
        read = READ(self._session_keys(session_id), user_id)
        fields, media, codes, links = self._for_account(user_id, read)
        session = as_session(session_id, pairs(fields))
        shares = as_shares(pairs(codes), pairs(links), session.created_at)
        return session, unpack_media(media), shares

    def check_owner(self, session_id: int, user_id: str) -> None:
        """Whose session it is, before any work for it. Raises SessionNotFound,
        NotOwner."""
        read = ("HGET", self.keys.session(session_id), "userId")
        owner = self._for_account(user_id, read)
        if owner is None:
            raise SessionNotFound
        if owner.decode() != user_id:
            raise NotOwner

    def list_sessions(
        self, user_id: str, limit: int, before: int
    ) -> tuple[list[Summary], int | None]:
        """A page of the user's sessions, newest first, and where the next one begins.
        Ids grow with time, so they order the set, and page it without a gap. What a
        deletion that was cut short has left is finished here."""
        key, page = self.keys.user(user_id, "sessions"), ("LIMIT", 0, limit + 1)
        listed = ("ZREVRANGEBYSCORE", key, f"({before}", "-inf", *page)
        ids = [int(i) for i in self._for_account(user_id, listed)]
        shown, more = ids[:limit], ids[limit:]
        replies = self.execute_many([SUMMARY(self._session_keys(i)) for i in shown])
        for session_id, (fields, left, *_) in zip(shown, replies, strict=True):
            # One that is being made is not there, either, and has left nothing.
            if not fields and (left or id_age(session_id) > SETTLED):
                with contextlib.suppress(StoreUnavailable):
                    self.purge(session_id, user_id)
        rows = map(as_summary, shown, replies)
        own = [row for row in rows if row and row.session.user_id == user_id]
        return own, shown[-1] if more else None

    def titles(self, user_id: str, session_ids: Sequence[int]) -> dict[int, str]:
        """The titles of those of the user's sessions that still stand."""
        read = [("HMGET", self.keys.session(i), "userId", "title") for i in session_ids]
        replies = self.execute_many(read)
        return {
            session_id: title.decode()
            for session_id, (owner, title) in zip(session_ids, replies, strict=True)
            if owner == user_id.encode()
        }

    def update_session(
        self, session_id: int, user_id: str, patch: SessionPatch, seen: str = ""
    ) -> Session:
        """Change the given members, unless the session was changed after `seen`, an
        updatedAt. Raises SessionNotFound, NotOwner, BadIntervals, EditConflict,
        TooManyBytes."""
        more: dict[str, Any] = {}
        media: Sequence[MediaInput] = ()
        packed, before = b"", 0
        if patch.media is not UNSET:
            media = patch.media
            packed, more["mediaCount"] = pack_media(media), len(media)
            before = self._reserve(session_id, user_id, len(packed), new=False)
        fields = flat(to_fields(patch, **more))
        given = "" if patch.media is UNSET else "1"
        keys, picture = self._session_keys(session_id), first_picture(media)
        edit = functools.partial(UPDATE, keys, user_id, seen, given, packed, picture)
        release = functools.partial(self._release, session_id, user_id)
        try:
            replaced, after = self._update(edit, fields)
        except (Refusal, StoreRefusesWrites):
            release(len(packed) * (before >= 0))
            raise
        except NotReplicated as error:  # done nevertheless, unless it was refused
            if isinstance(error.replies[0], list):
                release(error.replies[0][0] * (before > 0))
            raise
        release(replaced * (before > 0))  # version 1 counted no bytes
        return as_session(session_id, pairs(after))

    def _update(
        self, edit: Callable[..., Command], fields: Sequence[str], now: str = ""
    ) -> Any:
        """What an edit replies. Edits are told apart by their second, so that each gets
        one of its own, later than the last edit's, whatever the clocks of hosts say."""
        command = edit(now or timestamp(), *fields)
        before, after = self.execute(*command, durable=True)
        if before < 0:  # nothing is written: the last edit was at `after`
            return self._update(edit, fields, next_second(after.decode()))
        return before, after

    def delete_session(self, session_id: int, user_id: str) -> None:
        """Take the session away in one step, then purge what pointed at it.
        Raises SessionNotFound, NotOwner."""
        keys = self._session_keys(session_id)
        left = self.execute(*REMOVE(keys, user_id, *days_with_visitors()))
        self.execute_many(self._purging(session_id, user_id, *left), durable=True)

    def _remove_sessions(self, session_ids: Sequence[int], user_id: str) -> None:
        """Several of a deleted account's, in as few round trips as one would take."""
        days = days_with_visitors()
        removals = [REMOVE(self._session_keys(i), user_id, *days) for i in session_ids]
        replies = self._attempt_many(removals)
        for session_id, reply in zip(session_ids, replies, strict=True):
            if isinstance(reply, NotOwner):  # two drew one id: see _write_session
                self.execute(*self.unlist(session_id, user_id))
            elif isinstance(reply, Refusal):  # it was removed before, and not purged
                self.purge(session_id, user_id)
            else:
                self.execute_many(self._purging(session_id, user_id, *reply))

    def purge(self, session_id: int, owner: str) -> None:
        """Take away what is left of a session that is gone."""
        codes, players = (self.keys.session(session_id, p) for p in LEFT_OVER)
        read = [("HGETALL", codes), ("ZRANGE", players, 0, -1)]
        self.execute_many(self._purging(session_id, owner, *self.execute_many(read)))

    def _purging(
        self, session_id: int, owner: str, codes: Any, players: Sequence[bytes]
    ) -> list[Command]:
        """Away with what points at a session, then with its lists of codes and players,
        then with its place in its owner's list."""
        published = self._unpublish(pairs(codes), players)
        lists = ("DEL", *(self.keys.session(session_id, part) for part in LEFT_OVER))
        return [*published, lists, self.unlist(session_id, owner)]

    def _unpublish(
        self, codes: Mapping[str, str], players: Iterable[bytes] = ()
    ) -> Iterator[Command]:
        for player in players if codes else ():
            yield ("ZREM", self.keys.user(player.decode(), "played"), *codes)
        for code, audience in codes.items():
            yield ("DEL", self.keys.share(code))
            if audience.startswith(BY_EMAIL):
                digest = audience.removeprefix(BY_EMAIL)
                yield ("SREM", self.keys.awaited(digest), code)

    # Sharing

    def share(self, session_id: int, user_id: str, audience: str = GENERAL) -> str:
        """The code of the session's link for everyone, or for the account with this id,
        made on first demand. Raises SessionNotFound, NotOwner, TooManyLinks, and
        UserNotFound for an unknown account."""
        if audience != GENERAL and not audience.startswith(BY_LABEL):
            self._check_account(audience, session_id, user_id)
        return self._share(session_id, user_id, audience)

    def _check_account(self, audience: str, session_id: int, user_id: str) -> None:
        owner = self.execute("HGET", self.keys.session(session_id), "userId")
        if owner is None:
            raise SessionNotFound
        self.account(audience)
        if owner.decode() != user_id:
            raise NotOwner

    def share_by_email(self, session_id: int, user_id: str, email: str) -> str:
        """The code of the link for whoever signs in with this email, now or later.
        Raises SessionNotFound, NotOwner, TooManyLinks.

        The link is bound to the account that has the email, or waits for the first one
        to come: it is noted as awaited before it is listed, and only then looked
        whether there is one; who comes looks at that note after having the email. As
        much is asked and written for nobody, so that the time it takes tells nothing.
        """
        digest, holder = email_digest(email), ""
        code = self._share(session_id, user_id, BY_EMAIL + digest, email)
        with contextlib.suppress(UserNotFound):
            holder = self.account_by_email(email).id
        bind = BIND(self._session_keys(session_id), code, holder)
        self.execute(*bind, durable=True)  # what a full Redis refuses, unlike SREM
        self.execute("SREM", self.keys.awaited(digest), code if holder else "")
        return code

    def adopt(self, account: Account) -> None:
        """Bind to an account the links that waited for its email, for good: many in a
        round trip, for anybody may make thousands. Where Redis is full they wait on."""
        awaited = self.keys.awaited(email_digest(account.email))
        for waiting in self._chunks(("SMEMBERS", awaited)):
            codes = [code.decode() for code in waiting]
            places = self.execute_many([("GET", self.keys.share(c)) for c in codes])
            at = {c: int(i) for c, i in zip(codes, places, strict=True) if i}
            binds = [BIND(self._session_keys(i), c, account.id) for c, i in at.items()]
            with contextlib.suppress(StoreRefusesWrites):
                bound = zip(at, self.execute_many(binds, durable=True), strict=True)
                strike = [("SREM", awaited, code) for code, here in bound if here]
                self.execute_many(strike)

    def _share(
        self, session_id: int, user_id: str, audience: str, email: str = ""
    ) -> str:
        noted = self._chosen(session_id, audience)
        for _ in range(3):  # again where the link was revoked meanwhile
            new_code = str(uuid.uuid4())
            known = noted.get("code", new_code)
            keys, most = self._session_keys(session_id), self.quotas.links
            share = SHARE(keys, user_id, audience, new_code, timestamp(), email, most)
            look = ("GET", self.keys.share(known))
            (chosen, listed), pointer = self.execute_many([share, look], durable=True)
            code: str = chosen.decode()
            points = code == known and pointer == b"%d" % session_id
            if (listed and points) or self.publish(code, session_id, audience):
                noted["code"] = code
                return code
        raise SessionNotFound

    def publish(self, code: str, session_id: int, audience: str) -> bool:
        """Point the code at its session, and note who is awaited; then list it there,
        if the session stands."""
        noted: list[Command] = [("SET", self.keys.share(code), session_id)]
        if audience.startswith(BY_EMAIL):
            awaited = self.keys.awaited(audience.removeprefix(BY_EMAIL))
            noted.append(("SADD", awaited, code))
        sealed = SEAL(self._session_keys(session_id), audience, code)
        if self.execute_many([*noted, sealed], durable=True)[-1]:
            return True
        self.execute_many([*self._unpublish({code: audience})])
        return False

    def revoke(self, session_id: int, user_id: str, code: str) -> None:
        """Take one link back: dead at once, its counts stay in the session's. Raises
        SessionNotFound, NotOwner, ShareNotFound."""
        keys = self._session_keys(session_id)
        ended = REVOKE(keys, user_id, code, *days_with_visitors())
        audience, players = self.execute(*ended)
        published = self._unpublish({code: audience.decode()}, players)
        # The last one, so that on a Cluster REVOKE's own server is waited for as well.
        over = ("HDEL", self.keys.session(session_id, "links"), f"{code}:revoked")
        self.execute_many([*published, over], durable=True)

    def _find_place(self, code: str) -> Place:
        """Where a code may lead to. Raises NotShared."""
        session_id = self.execute("GET", self.keys.share(code))
        if session_id is None:
            raise NotShared
        owner = self.execute("HGET", self.keys.session(int(session_id)), "userId")
        if owner is None:
            raise NotShared
        return Place(int(session_id), owner.decode())

    def _shared(self, command: Script, code: str, *args: Any) -> Command:
        """The command of a script for the code's session. Raises NotShared."""
        day = today()
        keys = self.keys.session_keys(self._place(code).session_id, day)
        return command(keys, code, day, today(DAILY_KEPT), *args)

    def _ask(
        self, scripts: Sequence[Script], code: str, args: Sequence[Any], *more: Command
    ) -> list[Any]:
        """What a shared session answers, and what it shows of its owner, who may be
        gone, in one round trip: by the first script, which counts, or, where Redis
        takes no writes, by the last one, which only reads. A refusal stands in its
        place. Raises NotShared."""
        rest = [self._shown_of(self._place(code).owner), *more]
        try:
            return self._attempt_many([self._shared(scripts[0], code, *args), *rest])
        except StoreRefusesWrites:
            self.uncounted()
            rest = [command for command in rest if command[0] in READS]
            return self._attempt_many([self._shared(scripts[-1], code, *args), *rest])

    def _shown_of(self, owner: str) -> Command:
        return ("HMGET", self.keys.user(owner), "name", "referralCode", "deleting")

    def open_shared(self, code: str, visit: Visit, referral: str = "") -> Opened:
        """A shared session's preview, its open counted, and, where `referral` is its
        owner's code, a click, in one round trip. Raises NotShared."""
        scripts = (PEEK,) if visit.reason == UNCOUNTED else (OPEN, PEEK)
        sees = int(visit.owner_sees_paused)
        args = (visit.viewer, visit.reason, visit.visitor, visit.host, sees)
        owner, clicks = self._place(code).owner, []
        news = referral and not visit.reason and visit.viewer != owner
        with contextlib.suppress(UserNotFound):  # then the link is not there, either
            if news and referral == self._referral_code(owner):
                clicks = [self._click(owner, "session_share", visit.visitor)]
        row, told, *clicked = self._ask(scripts, code, args, *clicks)
        try:
            return self._opened(self._place(code).session_id, code, row, told)
        except NotShared:
            if any(clicked):  # no link, no click
                key, visitor = self.keys.user(owner, "referrals"), visit.visitor.hex()
                self.execute(*UNCLICK([key], "session_share", today(), visitor))
            raise

    def _opened(self, session_id: int, code: str, row: Any, told: Any) -> Opened:
        name, referral_code = self._owner_told(row, told)
        reason, public, audience, owner, shown = row
        preview = Preview(*as_slideshow(shown), owner_name=name, share_code=code)
        for_all = audience == b"*" or audience.startswith(BY_LABEL.encode())
        return Opened(
            preview,
            reason.decode(),
            public == b"1",
            not for_all,
            owner.decode(),
            referral_code,
            session_id,
        )

    @staticmethod
    def _owner_told(row: Any, told: Any) -> tuple[str, str]:
        """The name and referral code of a link's owner. Raises what the script refused,
        and NotShared where the owner is gone."""
        if isinstance(row, Refusal):
            raise row
        name, referral_code, deleting = told
        if referral_code is None or deleting:
            raise NotShared
        return (name or b"").decode(), referral_code.decode()

    def play_shared(
        self, code: str, viewer: str, counted: bool = False
    ) -> tuple[SharedSession, Raw]:
        """A shared session in full, for a signed-in viewer; with `counted`, a play,
        which also goes to their list. Raises NotShared, NotForYou, UserNotFound."""
        now, scripts = int(time.time()), (PLAY, REPLAY) if counted else (REPLAY,)
        look = self._look_again(viewer)
        first = ("ZADD", self.keys.user(viewer, "played"), "XX", time.time(), code)
        more = [first] if counted else []  # it leads the list that it may be in already
        row, told, account, *_ = self._ask(scripts, code, (viewer, now), look, *more)
        if isinstance(row, NotForYou):  # it may still wait for them, after a crash
            self.adopt(self.account(viewer))
            row, told = self._ask(scripts, code, (viewer, now))
        name, _ = self._owner_told(row, told)
        noted, _, shown, updated, media = row
        if noted:
            with contextlib.suppress(StoreRefusesWrites):
                self._note_played(viewer, code, now // 1800)
        if not _stands(account):
            raise UserNotFound
        session = SharedSession(
            *as_slideshow(shown),
            owner_name=name,
            id=self._place(code).session_id,
            is_public=True,
            updated_at=updated.decode(),
        )
        return session, unpack_media(media)

    def _list_played(self, user_id: str, code: str, half_hour: int) -> None:
        """Keep what somebody played in their list, unless the link or they end: PLAY
        has noted them, so either the end finds this list or we see the end."""
        keys = self.keys.user_keys(user_id, "played")
        session = functools.partial(self.keys.session, self._place(code).session_id)
        look = [("EXISTS", session()), ("HEXISTS", session("codes"), code)]
        noted, *standing = self.execute_many([PLAYED(keys, code, time.time()), *look])
        if not noted:
            self.execute("ZREM", session("players"), user_id)
        elif not all(standing):
            self.execute("ZREM", keys[1], code)

    def played(self, user_id: str) -> list[Played]:
        """What the user has played, newest first, but for what is paused; what is gone
        goes from the list."""
        key = self.keys.user(user_id, "played")
        listed = self.execute("ZREVRANGE", key, 0, 99, "WITHSCORES")
        if listed and isinstance(listed[0], bytes):  # flat, as Redis sends it
            listed = list(zip(listed[::2], listed[1::2], strict=True))
        times = {code.decode(): int(float(at)) for code, at in listed}
        pointers = self.execute_many([("GET", self.keys.share(code)) for code in times])
        found = dict(zip(times, pointers, strict=True))
        with contextlib.suppress(StoreUnavailable):
            self.execute_many([("ZREM", key, c) for c, i in found.items() if i is None])
        standing = {code: int(i) for code, i in found.items() if i is not None}
        return [
            Played(code, p.title, p.thumbnail, p.media_count, p.owner_name, times[code])
            for code, p in self._previews(standing, user_id)
        ]

    def _previews(
        self, places: Mapping[str, int], viewer: str
    ) -> Iterator[tuple[str, Preview]]:
        """What codes that lead to these sessions show, without those that open nothing;
        nothing is counted."""
        peeks = [
            PEEK(self._session_keys(session_id), code, today(), "", viewer)
            for code, session_id in places.items()
        ]
        replies = zip(places, self._attempt_many(peeks), strict=True)
        rows = {code: row for code, row in replies if not isinstance(row, Refusal)}
        owners = [self._shown_of(row[3].decode()) for row in rows.values()]
        told = self.execute_many(owners)
        for (code, row), owner in zip(rows.items(), told, strict=True):
            with contextlib.suppress(NotShared):
                yield code, self._opened(places[code], code, row, owner).preview

    def seen(self, code: str, visit: Visit, fetched_ahead: bool) -> tuple[bool, Place]:
        """The page of a link was shown: a view, once per visitor and day, and an open
        where it was fetched ahead; whether the visit counts. Raises NotShared."""
        visitor = b"" if visit.reason else visit.visitor
        args = (visit.viewer, visitor, int(fetched_ahead))
        row, told = self._ask((SEEN, PEEK), code, args)
        self._owner_told(row, told)
        return row == 1, self._place(code)

    def session_stats(self, session_id: int, user_id: str, days: int) -> Stats:
        """The owner's numbers. Raises SessionNotFound, NotOwner."""
        stats = STATS(self._session_keys(session_id), user_id)
        totals, daily, hosts, codes, links, created = self._for_account(user_id, stats)
        shares = as_shares(pairs(codes), pairs(links), created.decode())
        counts = as_counts(totals), as_counts(daily), as_counts(hosts)
        return as_stats(days, *counts, shares)

    # Secrets that all processes share

    def visitor_key(self, day: str, make: bool = True) -> bytes:
        """That day's random HMAC key, the same in every process, gone in two days.
        Raises LookupError where there is none, and none is to be made."""
        if key := self._visitor_keys.get(day):
            return key
        name = self.keys.visitors_key(day)
        if make:
            key = self._shared_random(name, "EX", VISITORS_SECONDS)
        elif not (key := self.execute("GET", name)):
            raise LookupError(day)
        older = [*self._visitor_keys.items()][-3:]
        self._visitor_keys = dict([*older, (day, key)])  # a thread may lose another's
        return key

    @functools.cached_property
    def signing_key(self) -> bytes:
        """The random key that signs cookies and tells apart who is limited."""
        return self._shared_random(self.keys.signing_key)

    def _shared_random(self, key: str, *life: Any) -> bytes:
        """The same random bytes in every process, made on first demand."""
        found: bytes | None = self.execute("GET", key)
        if found is None:
            offered = "SET", key, secrets.token_bytes(32), "NX", *life
            found = self.execute_many([offered, ("GET", key)])[1]
        if found is None:
            raise StoreUnavailable("KeyLost")
        return found

    # Referrals

    def _click(self, user_id: str, source: str, visitor: bytes) -> Command:
        day = today()
        keys = self.keys.user_keys(user_id, "referrals", f"clickers:{day}")
        return CLICK(keys, source, day, visitor.hex())

    def count_click(self, user_id: str, source: str, visitor: bytes) -> None:
        """One click for the user whose code was followed, once per visitor and day."""
        with contextlib.suppress(StoreRefusesWrites):
            self.execute(*self._click(user_id, source, visitor))

    def referrer(self, code: str) -> str | None:
        """The id of the user who has this referral code, and stands."""
        found = self.execute("GET", self.keys.referral(code)) if code else None
        return next(iter(self.names([found.decode()])), None) if found else None

    def credit_signup(self, referrer: str, share_code: str) -> None:
        """One sign-up for the user who brought a new account, and for the session
        whose link it came by, if that still stands."""
        session_id = None
        with contextlib.suppress(NotShared):
            if share_code:
                self.execute(*self._shared(SIGNUP, share_code))
                session_id = self._place(share_code).session_id
        source = "session_share" if share_code else "direct"
        keys = self.keys.user_keys(referrer, "referrals", "signups")
        row = to_json(Signup(timestamp(), source, session_id))
        self.execute(*CREDIT(keys, source, row))

    def referral_report(self, user_id: str, limit: int, cursor: int) -> Referrals:
        """The user's clicks and sign-ups; history newest first, from `cursor` down
        (-1: from the newest)."""
        keys = self.keys.user_keys(user_id, "referrals", "signups")[1:]
        counts, rows, rest = self.execute(*REPORT(keys, limit - 1, cursor))
        history = [decode_signup(row) for row in reversed(rows)]
        return Referrals(as_counts(counts), history, rest - 1 if rest > 0 else None)


def _nothing_noted(session_id: int, audience: str) -> dict[str, str]:
    return {}


def _as_refusal(error: redis_py.ResponseError) -> Refusal:
    """What a script refused. Raises StoreUnavailable for any other error."""
    if refusal := Refusal.kinds.get(str(error)):
        return refusal()
    raise StoreUnavailable(type(error).__name__)


def _stands(reply: Any) -> bool:
    """Whether an account was there and not marked, when it was looked at again."""
    deleting, user_id = reply
    return user_id is not None and deleting is None
