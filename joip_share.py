"""Joip Share: share a slideshow by an unguessable link, and see what came of it.

A *session* is a slideshow, a *login* is a browser's signed-in state, a *share code* is
the UUID v4 in a link, a *referral code* says who handed the link out. Redis is the only
store. Read it from top to bottom:

    Application   the Flask application and the parts that its views use
    Errors        how exceptions become answers
    Requests      bodies, forms and queries, checked
    Identity      who is asking: login, token or the proxy's header
    Limits        how often somebody may try
    Accounts      signing in and up: passwords, and who may register
    Visits        who is a person, a machine, the owner
    Referrals     who sent a visitor, and what that is credited with
    JSON API      /api
    Pages         what browsers see
    Operations    health, metrics, hooks around every request
    Commands      flask --app joip_share …; create_app, main

Beside it stands what is not Flask; CONTRIBUTING.md has the map. `store.py` argues why
no race and no crash breaks a link, with `lua/` for what Redis decides.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import hmac
import io
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast
from urllib.parse import quote, unquote, urlsplit

import click
import flask
import msgspec
import prometheus_client as prometheus
import redis as redis_py
from flask import Blueprint, Flask, Response, current_app, request
from flask.sessions import SessionMixin
from flask_session.base import Serializer, ServerSideSessionInterface
from msgspec import UNSET, UnsetType
from msgspec.structs import asdict
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.routing import MapAdapter
from werkzeug.sansio.http import parse_cookie
from werkzeug.utils import cached_property
from werkzeug.wsgi import ClosingIterator

import openapi
import visits
import wsgi
from answers import (
    LINK_COLUMNS,
    BySource,
    LinkAnswer,
    MediaPage,
    NewTokenAnswer,
    OwnedSession,
    Playback,
    ReferralCounts,
    ReferralReport,
    ShareAnswer,
    csv_row,
    plain,
)
from clock import DAY, MAX_ID, today
from headers import HTML, JSON, NO_STORE, SHARED, common_headers
from inputs import (
    BAD_INTERVALS,
    AccountDeletion,
    AccountPatch,
    Credentials,
    Email,
    FieldError,
    Logout,
    NewSession,
    NewToken,
    Registration,
    Seen,
    SessionCopy,
    SessionPatch,
    ShareRequest,
    normalized,
    web_url,
)
from keys import Keys
from kinds import SOURCES
from limits import (
    FAILURES_OF_BOTH,
    FAILURES_OF_EMAIL,
    FAILURES_OF_NETWORK,
    LINKS,
    REGISTRATIONS,
    WRITES,
    Attempts,
    Limit,
)
from links import SHARE_CODE, asset_url, parse_code, pasted_code, qr_code, referral_in
from observing import (
    Metrics,
    UnknownData,
    look_at_data,
    reason,
    redis_state,
    refuse_unknown_data,
    start_logging,
    write_log,
)
from passwords import Busy, Passwords, Places, is_outdated
from problems import HTTP_ERROR_HEADERS, QUOTA_MESSAGES, Problem, code_of
from records import (
    EVENTS,
    Account,
    Opened,
    Preview,
    Share,
    Summary,
    User,
    Visit,
    media_items,
    to_json,
)
from redis_link import Link, connect
from redis_node import StoreRefusesWrites, StoreUnavailable
from redis_url import ConfigError, RedisUrl
from refusals import (
    BadIntervals,
    EditConflict,
    EmailTaken,
    NotOwner,
    NotShared,
    Refusal,
    ShareNotFound,
    UserNotFound,
    WrongPassword,
)
from rows import BY_LABEL, GENERAL
from settings import REFERRAL_COOKIE, Settings
from store import ATTEMPT, LOGIN_SECONDS, Store, pseudonym
from wording import about, audience_name, explain_invalid, summary

__version__ = "2.0.0"

LOGIN_LIFETIME = timedelta(seconds=LOGIN_SECONDS)
REFERRAL_LIFETIME = 30 * DAY
CLOCK_SKEW = 60  # seconds that the clocks of two hosts may differ
MAX_BODY = 1 << 20  # bytes
LARGE_BODY = 64 << 10  # bytes above which few bodies are worked on at a time
MANY_LINKS, MANY_TILES = 100, 50  # of a page's, above which few are drawn at a time
REQUEST_SECONDS = 2.0  # for all exchanges of a request with Redis
ROUTE_LENGTH = 100  # characters of a method and path; what is longer is no link
ROUTES_KNOWN = 8192  # routes that the process remembers: some 8 MB
PREVIEWS_KNOWN = 1024  # drawn pages that the process remembers: 10 MB, 70 at most

log = logging.getLogger("joip_share")


# ---------------------------------------------------------------------- Application


class Answer(Response):
    """Flask's response, which adds the headers of every answer in one go as it leaves:
    set one by one they cost 20 µs."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """The WSGI response: Werkzeug's for static files and redirects. Any other body
        is at hand, and nothing more has to be found out about it."""
        common = common_headers(environ, self.mimetype == JSON)
        given = {name for name, _ in self.headers}
        if "Cache-Control" not in given:
            common.append(NO_STORE)
        if not self.is_sequence or "Location" in given:
            self.headers.extend(common)
            return super().__call__(environ, start_response)
        start_response(self.status, [*self.headers, *common])
        head = environ["REQUEST_METHOD"] == "HEAD" or self.status_code == 204
        return ClosingIterator([] if head else self.iter_encoded(), self.close)

    def make_conditional(self, *asked: Any, **more: Any) -> Any:
        """Werkzeug's; a date whose year Python cannot represent is ignored."""
        with contextlib.suppress(OverflowError):
            return super().make_conditional(*asked, **more)
        return self

    def delete_cookie(self, *named: Any, **more: Any) -> None:
        """Werkzeug's, with the attributes that the cookie was set with: Flask-Session
        leaves them out, and browsers keep a __Host- cookie unless `Secure` is there."""
        super().delete_cookie(*named, **more | cookie_attributes())


class Request(flask.Request):
    """Flask's request; its cookies come from where WSGI has joined them (-15 µs)."""

    @cached_property
    def cookies(self) -> Any:
        return parse_cookie(self.environ.get("HTTP_COOKIE"), self.dict_storage_class)


class JoipShare(Flask):
    """The application: Flask, and the parts that its views use."""

    request_class, response_class = Request, Answer

    def __init__(self, settings: Settings, link: Link) -> None:
        super().__init__(__name__)
        self.url_map.merge_slashes = False  # its redirects would name another host
        self.url_map.converters["path"] = wsgi.AnyPath  # as people paste links
        self.config.update(
            # Werkzeug cuts a chunked body there without a word: see whole_body.
            MAX_CONTENT_LENGTH=MAX_BODY + 1,
            PERMANENT_SESSION_LIFETIME=LOGIN_LIFETIME,
            SEND_FILE_MAX_AGE_DEFAULT=365 * DAY,
            SESSION_COOKIE_NAME=settings.cookie_name,
            SESSION_COOKIE_PATH=settings.path or "/",
            SESSION_COOKIE_SAMESITE="Lax",
            SESSION_COOKIE_SECURE=settings.secure,
            SESSION_REFRESH_EACH_REQUEST=False,
        )
        self.settings = settings
        self.metrics = Metrics()
        keys, uncounted = Keys(settings.key_prefix), self.metrics.uncounted.inc
        self.store = Store(link, keys, settings.quotas, uncounted)
        self.passwords = Passwords()
        self.media_places, self.page_places = Places(2), Places(2)
        self.warned_of_proxies = False
        self.unseen = ""  # why the data in Redis have not been looked at yet
        self.stopping = False  # set by who serves: /readyz says 503
        self.session_interface = LoginInterface(self, self.store)
        self.asset = functools.cache(functools.partial(asset_url, settings.path))
        self.jinja_env.globals.update(
            base=settings.path,
            asset=self.asset,
            auth_url=settings.auth_header and settings.auth_url,
            registration=settings.registration,
        )
        self.preview_page = functools.lru_cache(PREVIEWS_KNOWN)(draw_preview)
        self.card_url = settings.origin + self.asset("card.png")
        self.known_route = functools.lru_cache(ROUTES_KNOWN)(self._route)

    def create_url_adapter(self, request: flask.Request | None) -> MapAdapter | None:
        """Flask's hook: how a request is routed."""
        if request is None:
            return None
        path, method = request.environ["PATH_INFO"], request.environ["REQUEST_METHOD"]
        short = len(path) + len(method) <= ROUTE_LENGTH
        return self.known_route(path, method) if short else self._route(path, method)

    def _route(self, raw_path: str, method: str) -> wsgi.Route:
        path = raw_path.encode("latin-1").decode("utf-8", "replace") or "/"
        base = self.settings.path or "/"
        return wsgi.Route(self.url_map, "localhost", base, "", "http", path, method)


# The application and the WSGI environment of the request under way: Flask's proxies
# cost four calls at each use, some 15 µs of a preview.
_under_way: ContextVar[tuple[JoipShare, dict[str, Any]] | None] = ContextVar(
    "joip_share", default=None
)


def application() -> JoipShare:
    """The current application."""
    found = _under_way.get()
    return found[0] if found else cast(JoipShare, current_app)


def wsgi_environ() -> dict[str, Any]:
    """The WSGI environment of the current request."""
    found = _under_way.get()
    return found[1] if found else request.environ


def store() -> Store:
    """The current application's store."""
    return application().store


def settings() -> Settings:
    """The current application's settings."""
    return application().settings


def cookie_attributes() -> dict[str, Any]:
    """What all cookies have: no script and no other site's form gets to use one."""
    return {"secure": settings().secure, "httponly": True, "samesite": "Lax"}


def json_response(
    body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON response."""
    return Answer(to_json(body), status, headers, content_type=JSON)


def no_content() -> Response:
    """The response that says nothing."""
    return Answer(status=204)


# --------------------------------------------------------------------------- Errors


def as_problem(error: Exception) -> Problem:
    """Any exception as what its reader is told; nothing of a driver's text."""
    if isinstance(error, InternalServerError) and error.original_exception:
        error = cast(Exception, error.original_exception)
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        return _http_problem(error)
    if isinstance(error, Refusal):
        return _refusal_problem(error)
    if isinstance(error, Busy):
        return Problem("BUSY", headers={"Retry-After": "1"})
    if isinstance(error, StoreUnavailable):
        return Problem("STORE_UNAVAILABLE", headers={"Retry-After": "1"})
    log.error("unexpected %s", type(error).__name__, exc_info=error)
    return Problem("INTERNAL_ERROR")


def _http_problem(error: HTTPException) -> Problem:
    status = error.code or 500
    if status == 404 and request.path.startswith(SHARED):
        return Problem(NotShared.code)  # a code with a slash is malformed, too
    headers = {k: v for k, v in error.get_headers() if k in HTTP_ERROR_HEADERS}
    return Problem(code_of(status), headers=headers)


def _refusal_problem(refusal: Refusal) -> Problem:
    if isinstance(refusal, BadIntervals):
        return field_problem("intervalMin", BAD_INTERVALS)
    if refusal.code in QUOTA_MESSAGES:
        message = QUOTA_MESSAGES[refusal.code].format(settings().quotas)
        return Problem("LIMIT_REACHED", message)
    return Problem(refusal.code)


def handle_error(error: Exception) -> Response:
    """The one place where errors become responses: JSON under /api, else a page."""
    problem = as_problem(error)
    if problem.code == "STORE_UNAVAILABLE":
        application().metrics.store_errors.inc()
        flask.session.modified = False  # the login is not written at the end either
    body = problem.body(wsgi_environ()["joip_share.id"])
    if re.match(r"/(api|oembed|metrics|readyz)(/|$)", request.path):
        return json_response(body, problem.status, problem.headers)
    html = page("error.html", None, status=problem.status, **body)
    return html_response(html, problem)


# ------------------------------------------------------------------------- Requests

T = TypeVar("T")


def field_problem(field: str, message: str) -> Problem:
    """400 that names the field to blame, if there is one."""
    if not field:
        return Problem("INVALID_REQUEST", f"The body {message}")
    details = [{"field": field, "message": message}]
    return Problem("INVALID_REQUEST", f"{field} {message}", details)


def whole_body() -> bytes:
    """The body, once all of it has come, however it was sent. 413 for a large one."""
    if wsgi_environ().get("CONTENT_LENGTH") == "0":
        return b""
    body = request.get_data()
    if len(body) > MAX_BODY:
        raise Problem("BODY_TOO_LARGE")
    return body


def read_body(kind: type[T], optional: bool = False) -> T:
    """The JSON body as a checked record. 413, 415 or 400 with the field to blame."""
    body = whole_body()
    if optional and not body.strip():
        return kind()
    if request.mimetype != JSON:
        raise Problem("UNSUPPORTED_MEDIA_TYPE")
    return decode_json(body, kind)


def decode_json(body: bytes, kind: type[T]) -> T:
    """JSON as a checked record. 400 with the field to blame."""
    return checked(lambda: msgspec.json.decode(body, type=kind))


def checked(decode: Callable[[], T]) -> T:
    """What `decode` gives; its complaints as Problems."""
    try:
        return decode()
    except msgspec.ValidationError as error:
        raise field_problem(*explain_invalid(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if request.content_encoding:  # RFC 9110, 15.5.16
            told = "The body must be sent as it is, not compressed"
            raise Problem("UNSUPPORTED_MEDIA_TYPE", told) from None
        raise Problem("INVALID_REQUEST", "The body is not valid JSON") from None


def read_form(kind: type[T]) -> T:
    """An HTML form as a checked record; empty fields are as if they were not there."""
    given = {name: value for name, value in request.form.items() if value}
    return checked(lambda: msgspec.convert(given, kind))


def parse_session_id(text: str) -> int:
    """ASCII digits only: `str.isdigit` takes other scripts', `<int:>` gives a 404."""
    if not re.fullmatch(r"[1-9][0-9]*", text):
        raise Problem("INVALID_SESSION_ID")
    return int(text) if len(text) <= len(str(MAX_ID)) else MAX_ID  # none is that large


def query_int(name: str, default: int, low: int, high: int) -> int:
    """A whole number from the query string; anything else is 400 naming it."""
    text = request.args.get(name, str(default))
    if re.fullmatch(r"[0-9]{1,16}", text) and low <= int(text) <= high:
        return int(text)
    raise field_problem(name, f"must be a whole number from {low} to {high}")


def page_wanted(lowest: int) -> tuple[int, int]:
    """`limit`, and `cursor`: where the page begins, from the newest if not given."""
    given = request.args.get("cursor")  # empty is the same as none
    cursor = query_int("cursor", MAX_ID, lowest, MAX_ID) if given else MAX_ID
    return query_int("limit", 50, 1, 200), cursor


def next_link(path: str, query: str) -> dict[str, str]:
    """RFC 8288's `Link` to the next page, if there is one."""
    url = f"{settings().public_url}{path}?{query}"
    return {"Link": f'<{url}>; rel="next"'} if query else {}


# ------------------------------------------------------------------------- Identity

LOGIN_ID = re.compile(r"[A-Za-z0-9_-]{43}")


class LoginSerializer(Serializer):
    """JSON and nothing else: Flask-Session's own unpickles what will not decode."""

    def encode(self, session: Any) -> bytes:
        return to_json(dict(session))

    def decode(self, serialized_data: bytes) -> dict[str, Any]:
        try:
            return msgspec.json.decode(serialized_data, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}


class Login(SessionMixin):
    """Flask's `session`, read from the store by whatever first touches it.

    `password` is the hash that was checked to begin it, for the store to look at again.
    """

    def __init__(self, read: Callable[[], tuple[str, dict[str, Any]]]) -> None:
        self._read = read
        self._loaded: tuple[str, dict[str, Any]] | None = None
        self.modified = self.accessed = False
        self.password: str | None = None

    def _load(self) -> dict[str, Any]:
        self.accessed = True
        if self._loaded is None:
            self._loaded = self._read()
        return self._loaded[1]

    @property
    def sid(self) -> str:
        """Its id, the cookie's value."""
        self._load()
        return self._loaded[0] if self._loaded else ""

    @sid.setter
    def sid(self, value: str) -> None:
        self._loaded = (value, self._load())

    def __getitem__(self, key: str) -> Any:
        return self._load()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._load()[key] = value
        self.modified = True

    def __delitem__(self, key: str) -> None:
        del self._load()[key]
        self.modified = True

    def __iter__(self) -> Iterator[str]:
        return iter(self._load())

    def __len__(self) -> int:
        return len(self._load())


class LoginInterface(ServerSideSessionInterface):
    """Flask-Session on our store: read when it is touched, written when it changed."""

    def __init__(self, app: Flask, store: Store) -> None:
        super().__init__(app, key_prefix="")  # Keys.login spells the keys
        self.serializer = LoginSerializer()
        self.store = store

    def open_session(self, app: Flask, request: flask.Request) -> Login:
        return Login(functools.partial(self._read, app, request))

    def _read(self, app: Flask, request: flask.Request) -> tuple[str, dict[str, Any]]:
        given = request.cookies.getlist(self.get_cookie_name(app))
        well_formed = len(given) == 1 and LOGIN_ID.fullmatch(given[0])
        data = self._retrieve_session_data(given[0]) if well_formed else None
        return (given[0], data) if data else (self._generate_sid(self.sid_length), {})

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        if session.modified:  # nothing that is only read is kept by caches either
            super().save_session(app, session, response)

    def start(self, account: Account, response: Response) -> Response:
        """Sign in: under a new id, and the old one is dead. Written here, within the
        view, so that its failure is the view's. Raises WrongPassword where the password
        was changed meanwhile."""
        login = current_login()
        if login:
            self.store.end_login(login.sid, login.get("userId", ""))
        login.clear()
        login["userId"], login["renewed"] = account.id, today()
        login.permanent = True
        self.regenerate(login)
        login.password = account.password
        try:
            self.save_session(application(), login, response)
        finally:
            login.password, login.modified = None, False  # it is written, or never
        return response

    def end(self) -> None:
        """Sign out, for good."""
        login = current_login()
        self.store.end_login(login.sid, login.get("userId", ""))
        login.clear()

    # What Flask-Session asks of an interface; its store ids are our login ids.

    def _retrieve_session_data(self, store_id: str) -> dict[str, Any] | None:
        value = self.store.read_login(store_id)
        return self.serializer.decode(value) or None if value else None

    def _delete_session(self, store_id: str) -> None:
        self.store.end_login(store_id)

    def _upsert_session(
        self, session_lifetime: timedelta, session: Any, store_id: str
    ) -> None:
        value, user_id = self.serializer.encode(session), session.get("userId")
        if session.password is not None:
            self.store.keep_login(store_id, user_id, value, session.password)
        elif user_id:
            with contextlib.suppress(StoreUnavailable):  # it lives for six days more
                self.store.renew_login(store_id, user_id, value)
        else:
            self.store.keep_anonymous(store_id, value)


def current_login() -> Login:
    """Flask's `session` by its real type."""
    return cast(Login, flask.session)


def logins() -> LoginInterface:
    """Where logins start and end."""
    return cast(LoginInterface, current_app.session_interface)


def bearer_token() -> str | None:
    """The token of `Authorization: Bearer …` (RFC 6750)."""
    scheme, _, token = wsgi_environ().get("HTTP_AUTHORIZATION", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def current_user_id() -> str | None:
    """Who is asking, by token, by the proxy's header or by login; no look-up where
    nothing of that came."""
    environ = wsgi_environ()
    if "joip_share.user_id" not in environ:
        environ["joip_share.user_id"] = _identify()
    return cast("str | None", environ["joip_share.user_id"])


def _identify() -> str | None:
    if (token := bearer_token()) is not None:
        return store().token_owner(token)
    if settings().auth_header:
        return proxy_user_id()
    if "HTTP_COOKIE" not in wsgi_environ():
        return None
    login = current_login()
    user_id = login.get("userId")
    if isinstance(user_id, str) and login.get("renewed") != today():
        login["renewed"] = today()  # the seven days run from the last use
    return user_id if isinstance(user_id, str) else None


def proxy_email() -> str:
    """The email in AUTH_HEADER, if the request came through every trusted proxy."""
    header = settings().auth_header.upper().replace("-", "_")
    text = wsgi_environ().get(f"HTTP_{header}", "").strip()
    hops = wsgi_environ().get("HTTP_X_FORWARDED_FOR", "").split(",")
    if not text or not hops[0] or len(hops) < settings().trusted_proxies:
        return ""
    try:
        return msgspec.convert(text, Email)
    except msgspec.ValidationError:  # two headers are joined by a comma
        return ""


def proxy_user_id() -> str | None:
    """Whom the proxy has signed in; the account is made on first sight."""
    email = proxy_email()
    if not email:
        return None
    with contextlib.suppress(UserNotFound):
        return store().account_by_email(email).id
    try:
        account = store().register(email, "", "")
    except EmailTaken:  # by another request of theirs
        return store().account_by_email(email).id
    attribute(account, sender() or sender_by_link(), None)
    return account.id


def current_account() -> Account | None:
    """The account of who is asking."""
    user_id = current_user_id()
    try:
        return store().account(user_id) if user_id else None
    except UserNotFound:
        return None


def login_required(view: Callable[..., Response]) -> Callable[..., Response]:
    """Gives the view the signed-in user's id; 401 without one, before all else, and
    where the account is gone meanwhile."""

    @functools.wraps(view)
    def guarded(**arguments: str) -> Response:
        with contextlib.suppress(UserNotFound):
            if user_id := current_user_id():
                return view(user_id, **arguments)
        raise Problem("UNAUTHORIZED")

    return guarded


def account_required(view: Callable[..., Response]) -> Callable[..., Response]:
    """Gives the view the signed-in account; 401 without one."""

    @functools.wraps(view)
    def guarded(user_id: str) -> Response:
        return view(store().account(user_id))

    return login_required(guarded)


def owned_session(view: Callable[..., Response]) -> Callable[..., Response]:
    """For routes of one session: signed in, and `:id` a positive integer."""

    @functools.wraps(view)
    def guarded(user_id: str, session_id: str, **arguments: str) -> Response:
        return view(user_id, parse_session_id(session_id), **arguments)

    return login_required(guarded)


def signed_in_page(view: Callable[..., Any]) -> Callable[..., Any]:
    """Gives the view the signed-in account; others sign in first and come back."""

    @functools.wraps(view)
    def guarded(**arguments: str) -> Any:
        account = current_account()
        return view(account, **arguments) if account else sent_to_sign_in()

    return guarded


def sent_to_sign_in() -> Response:
    """The way to sign in, and from there back to this page."""
    url = sign_in_url(settings().path + request.path)
    return cast(Response, flask.redirect(url, 303))


def sign_in_url(back: str) -> str:
    """Where people sign in, and come back from to a path of this service."""
    if settings().auth_header:
        mark = "&" if "?" in settings().auth_url else "?"
        way_back = quote(settings().origin + back, safe="")
        return f"{settings().auth_url}{mark}rd={way_back}"
    return f"{settings().path}/login?next={quote(back)}"


# --------------------------------------------------------------------------- Limits


def network() -> str:
    """What limits go by: the network of who is asking."""
    environ = wsgi_environ()
    proxies = settings().trusted_proxies
    return visits.network(visits.client_address(environ, proxies))


def told_apart(person: str) -> str:
    """Somebody as a log or a key may know them: one from another, and no more."""
    return pseudonym(person, store().signing_key).hex()[:32]


def enforce(attempts: Attempts, spend: bool = True) -> None:
    """429 after too many attempts; `spend` counts this one. Counted in Redis, for all
    processes; who it was is an HMAC: no address, no email."""
    if not settings().ratelimit_enabled:
        return
    key = store().keys.attempts
    counted = store().execute_many(
        [
            ATTEMPT([key(limit.name, told_apart(who))], int(spend), limit.seconds)
            for limit, who in attempts
        ]
    )
    for (limit, _), (count, left) in zip(attempts, counted, strict=True):
        if count - spend >= limit.amount:
            raise _rate_limited(limit, left // 1000 + 1)


def _rate_limited(limit: Limit, wait: int) -> Problem:
    note("refused by a limit", limit=limit.name)
    return Problem(
        "RATE_LIMITED",
        headers={
            "Retry-After": str(wait),
            "X-RateLimit-Limit": str(limit.amount),
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(int(time.time()) + wait),
        },
    )


def note(message: str, **more: str) -> None:
    """A log line about who is asking, by the HMAC of their network."""
    line = {"requestId": wsgi_environ()["joip_share.id"], **more}
    write_log("warning", message, line | {"network": told_apart(network())[:16]})


# ----------------------------------------------------------------------------- Accounts


def check_account_password(account: Account, password: str | UnsetType) -> None:
    """That whoever is signed in also knows the password. 403 WRONG_PASSWORD, counted as
    a failed sign-in."""
    if password is UNSET:
        raise field_problem("currentPassword", "is required")
    attempts = failures(account.email)
    enforce(attempts, spend=False)
    if not application().passwords.match(account.password, password):
        note("wrong password")
        enforce(attempts)
        raise WrongPassword


def failures(email: str) -> Attempts:
    """What a failed sign-in counts against."""
    where, who = network(), email.lower()
    return [
        (FAILURES_OF_BOTH, f"{where}\n{who}"),
        (FAILURES_OF_NETWORK, where),
        (FAILURES_OF_EMAIL, who),
    ]


def authenticate(given: Credentials) -> Account:
    """The account of an email and its password. 401, the same for an unknown email; 429
    after too many failures."""
    attempts, passwords = failures(given.email), application().passwords
    enforce(attempts, spend=False)
    try:
        account = store().account_by_email(given.email)
    except UserNotFound:
        account = None
    matched = passwords.match(account.password if account else None, given.password)
    if not matched or account is None:
        note("sign-in failed")
        enforce(attempts)
        raise Problem("INVALID_CREDENTIALS")
    enforce(attempts, spend=False)  # a burst of guesses gains nothing
    if is_outdated(account.password):
        try:
            account = _renew_hash(account, given.password)
        except (WrongPassword, UserNotFound):  # another sign-in may have renewed it
            return authenticate(given)
    store().adopt(account)
    return account


def _renew_hash(account: Account, password: str) -> Account:
    new = application().passwords.hash(normalized(password))
    store().change_account(account.id, {"password": new}, account.password)
    return msgspec.structs.replace(account, password=new)


def create_account(
    new: Registration, count: Callable[[], None] = lambda: None
) -> Account:
    """Make the account that was asked for. Raises EmailTaken, and Busy; `count` is
    called for every attempt but one that Busy ends."""
    taken = store().is_email_taken(new.email)  # not at the price of a hash
    password = "" if taken else application().passwords.hash(new.password)
    count()
    if taken:
        raise EmailTaken
    name = "" if new.name is UNSET else new.name.strip()
    return store().register(new.email, name, password)


def may_register(find_sender: Callable[[], Sender | None]) -> bool:
    """Whether whoever is asking may make an account; who sent them is looked up only
    where that decides."""
    mode = settings().registration
    return mode == "open" or (mode == "invite" and find_sender() is not None)


def sign_up(new: Registration) -> Account:
    """Make an account, if registration is open to who is asking, and credit who brought
    it. 403 REGISTRATION_CLOSED; 409 EMAIL_TAKEN; 429."""
    sent_by = sender(new.referral_code)
    if not may_register(lambda: sent_by):
        raise Problem("REGISTRATION_CLOSED")
    attempts = [(REGISTRATIONS, network())]
    enforce(attempts, spend=False)
    before = current_user_id()
    account = create_account(new, functools.partial(enforce, attempts))
    attribute(account, sent_by, before)
    return account


def refuse_own_sign_in() -> None:
    """403 where the proxy signs people in."""
    if settings().auth_header:
        raise Problem("SIGN_IN_ELSEWHERE")


# --------------------------------------------------------------------------- Visits


def visitor() -> bytes:
    """Who is asking as HyperLogLog gets to see them: an HMAC of their truncated address
    and browser, by the day's key, from which nobody can be told."""
    app, environ = application(), wsgi_environ()
    address = visits.client_address(environ, app.settings.trusted_proxies)
    person = f"{visits.visitor_network(address)}\n{environ.get('HTTP_USER_AGENT', '')}"
    return pseudonym(person, app.store.visitor_key(today()))


def visit(owner_sees_paused: bool = False) -> Visit:
    """This request as the counters see it; asks for the login only if a cookie came."""
    environ, viewer = wsgi_environ(), ""
    with contextlib.suppress(StoreRefusesWrites):  # a newcomer's account: they look on
        viewer = current_user_id() or ""
    seen_as = functools.partial(Visit, viewer, owner_sees_paused=owner_sees_paused)
    excluded = visits.exclusion(environ)
    if excluded != "bot" and not visits.is_navigation(environ):
        return seen_as()
    if excluded:  # the same page may be shown later
        return seen_as(excluded)
    referer = environ.get("HTTP_REFERER")
    host = visits.referring_host(referer, settings().host) if referer else ""
    try:
        return seen_as("", visitor(), host)
    except StoreRefusesWrites:  # the day's key is not there, and cannot be made
        application().metrics.uncounted.inc()
        return seen_as()


# A page carries a token that its message "I was shown" has to bring back, so that views
# cannot be made up: an HMAC of the code and the kind of page by the day's key.
SHOWN, AHEAD = "shown", "ahead"  # fetched to be shown; fetched ahead, and shown perhaps


def seen_token(code: str, kind: str, key: bytes) -> str:
    """The token of a page of this kind on the day that has this key."""
    return pseudonym(f"{kind}:{code}", key).hex()[:32]


def kind_of_page(code: str, token: str) -> str:
    """Which kind of page has this token, "" for none. It was served today or yesterday,
    or by a host whose clock is a little ahead and says tomorrow."""
    for ago in (0, 1, -1) if token else ():
        with contextlib.suppress(LookupError):  # no key of that day, no page
            key = store().visitor_key(today(ago), make=False)
            for kind in (SHOWN, AHEAD):
                valid = seen_token(code, kind, key)
                if hmac.compare_digest(token.encode(), valid.encode()):
                    return kind
    return ""


def seen_token_given() -> str:
    """The token of the message's body, however it was sent."""
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(whole_body(), type=Seen).token
    return ""


# ------------------------------------------------------------------------ Referrals

REFERRAL_VALUE = re.compile(r"([a-z0-9]{8})\.([0-9]{1,12})\.([0-9a-f-]{36}|)")


@dataclass(frozen=True)
class Sender:
    """Who sent a visitor here, and by which link ("" by none)."""

    user_id: str
    share_code: str


def query_text() -> str:
    """The query as it stands in a link."""
    return f"?{wsgi_environ().get('QUERY_STRING', '')}"


def remembered() -> tuple[str, str] | None:
    """The referral and share code of the visitor's first touch, within 30 days."""
    if REFERRAL_COOKIE not in wsgi_environ().get("HTTP_COOKIE", ""):
        return None
    value, _, signature = request.cookies.get(REFERRAL_COOKIE, "").rpartition(".")
    match = REFERRAL_VALUE.fullmatch(value)
    if not match or not hmac.compare_digest(signature.encode(), _sign(value).encode()):
        return None
    if not -CLOCK_SKEW <= time.time() - int(match[2]) <= REFERRAL_LIFETIME:
        return None
    return match[1], match[3]


def _sign(value: str) -> str:
    return pseudonym(f"{REFERRAL_COOKIE}:{value}", store().signing_key).hex()[:32]


def remember(response: Response, code: str, share_code: str = "") -> None:
    """Keep who sent this visitor; the first one wins, unless their account is gone."""
    first, _ = remembered() or ("", "")
    if first and (first == code or store().referrer(first)):
        return
    value = f"{code}.{int(time.time())}.{share_code}"
    response.set_cookie(
        REFERRAL_COOKIE,
        f"{value}.{_sign(value)}",
        max_age=REFERRAL_LIFETIME,
        path=settings().path or "/",
        **cookie_attributes(),
    )


def sender(given_code: str | None = None) -> Sender | None:
    """Who sent whoever is asking: remembered, else named by a referral code."""
    named = given_code.strip().lower() if given_code else ""
    for code, share_code in (remembered() or ("", ""), (named, "")):
        if user_id := store().referrer(code):
            return Sender(user_id, share_code)
    return None


def sender_by_link(leads_to: str = "") -> Sender | None:
    """Who sent whoever follows a link with this very request, or is led to one by it,
    of which nothing is remembered yet."""
    if request.path == "/":
        return sender(referral_in(query_text(), "ref"))
    if link := re.search(r"/shared/(?:media/)?([^/?]+)", leads_to or request.path):
        with contextlib.suppress(NotShared):
            opened = store().open_shared(pasted_code(link[1]), Visit())
            user_id = store().referrer(referral_followed()) or opened.owner
            return Sender(user_id, opened.preview.share_code)
    return None


def attribute(
    account: Account, sent_by: Sender | None, signed_in_as: str | None
) -> None:
    """Credit a new account to who sent it; never to oneself. An account is not refused
    because its credit could not be written."""
    if sent_by and sent_by.user_id not in (account.id, signed_in_as):
        with contextlib.suppress(StoreUnavailable):
            store().credit_signup(sent_by.user_id, sent_by.share_code)


def credit_visit(
    response: Response,
    code: str,
    owner_code: str,
    referral: str,
    viewer: str,
    owner: str = "",
) -> None:
    """A visit by a link: remember its session and who is to be credited, its owner
    where no other known user's code stands in it. Whose code does gets a click, the
    owner only if named here: an open has counted theirs."""
    own = referral == owner_code
    user = owner if own else store().referrer(referral)
    if user and user != viewer:
        store().count_click(user, "session_share", visitor())
    remember(response, referral if user else owner_code, code)


# ------------------------------------------------------------------------- JSON API

api = Blueprint("api", __name__, url_prefix="/api")
USER_ID = re.compile(r"[0-9a-f]{32}")
REFERRAL_EVENTS = ReferralCounts.__struct_encode_fields__


@api.post("/register")
def register() -> Response:
    """Make an account, credit who brought it, sign in."""
    refuse_own_sign_in()
    account = sign_up(read_body(Registration))
    return logins().start(account, json_response(public(account), 201))


@api.post("/login")
def login() -> Response:
    """Sign in. A wrong password and an unknown email cost the same hash."""
    refuse_own_sign_in()
    account = authenticate(read_body(Credentials))
    return sign_in(account, json_response(public(account)))


def sign_in(account: Account, response: Response) -> Response:
    """Begin a login, unless the password was changed while it was checked."""
    try:
        return logins().start(account, response)
    except (WrongPassword, UserNotFound):
        raise Problem("INVALID_CREDENTIALS") from None


@api.post("/logout")
def logout() -> Response:
    """Sign out, for good; everywhere, if that is asked for."""
    return sign_out(read_body(Logout, optional=True).everywhere, no_content())


def sign_out(everywhere: bool, response: Response) -> Response:
    """End this login, or every one of whoever is asking."""
    if everywhere and (account := current_account()):
        with contextlib.suppress(UserNotFound):  # then nothing of it is left
            store().change_account(account.id, {}, keep_login="")
    if "HTTP_COOKIE" in wsgi_environ() and current_login():
        logins().end()
    return response


@api.get("/auth/user")
@account_required
def auth_user(account: Account) -> Response:
    """Who is signed in."""
    return json_response(public(account))


def public(account: Account) -> User:
    """The account without its password."""
    return msgspec.convert(account, User, from_attributes=True)


@api.patch("/auth/user")
@account_required
def update_account(account: Account) -> Response:
    """Change my name, my email, my password."""
    patch = read_body(AccountPatch)
    if {patch.email, patch.password, patch.current_password} != {UNSET}:
        refuse_own_sign_in()
        check_account_password(account, patch.current_password)
    hashed = ""
    if patch.password is not UNSET:  # first: it may be BUSY, and nothing is changed
        hashed = application().passwords.hash(patch.password)
    if patch.email is not UNSET:
        store().change_email(account, patch.email)
    if hashed:
        change_password(account, hashed, kept_login())
    if patch.name is not UNSET:  # last: all else may be refused
        store().change_account(account.id, {"name": patch.name.strip()})
    return json_response(public(store().account(account.id)))


def change_password(account: Account, hashed: str, keep: str) -> None:
    """Set a new password and end every login but `keep`. Raises WrongPassword where it
    was changed meanwhile."""
    store().change_account(account.id, {"password": hashed}, account.password, keep)


def kept_login() -> str:
    """The id of the login that asks, "" where something else does."""
    return current_login().sid if bearer_token() is None else ""


@api.delete("/auth/user")
@account_required
def delete_account(account: Account) -> Response:
    """Delete my account with all that belongs to it."""
    wanted = read_body(AccountDeletion, optional=True)
    if not settings().auth_header:
        check_account_password(account, wanted.current_password)
    with store().link.deadline(30):  # ten thousand sessions take some seconds
        store().delete_account(account)
    if bearer_token() is None:
        current_login().clear()
    return no_content()


@api.get("/tokens")
@login_required
def list_tokens(user_id: str) -> Response:
    """My tokens, without their secrets."""
    return json_response(store().list_tokens(user_id))


@api.post("/tokens")
@login_required
def create_token(user_id: str) -> Response:
    """Make a token; its secret is told this once."""
    token, secret = store().create_token(user_id, read_body(NewToken).name.strip())
    where = f"{settings().public_url}/api/tokens/{token.id}"
    answer = NewTokenAnswer(**asdict(token), token=secret)
    return json_response(answer, 201, {"Location": where})


@api.delete("/tokens/<token_id>")
@login_required
def delete_token(user_id: str, token_id: str) -> Response:
    """Take a token back."""
    store().delete_token(user_id, token_id)
    return no_content()


@api.get("/sessions")
@login_required
def list_sessions(user_id: str) -> Response:
    """My sessions, newest first."""
    rows, following = session_page(user_id)
    sessions = [row.session for row in rows]
    return json_response(sessions, headers=next_link("/api/sessions", following))


def session_page(user_id: str) -> tuple[list[Summary], str]:
    """A page of the user's sessions, and the query of the next one."""
    limit, cursor = page_wanted(1)
    rows, following = store().list_sessions(user_id, limit, cursor)
    return rows, f"limit={limit}&cursor={following}" if following else ""


@api.post("/sessions")
@login_required
def create_session(user_id: str) -> Response:
    """Make a session, also from what GET /api/sessions/:id gave."""
    enforce([(WRITES, user_id)])
    with room_for_media():
        new = read_new_session()
        check_addresses(new)
        session = store().create_session(user_id, new)
    where = f"{settings().public_url}/api/sessions/{session.id}"
    return json_response(session, 201, {"Location": where})


def room_for(large: bool, places: Places) -> contextlib.AbstractContextManager[None]:
    """Around work on a body that has come, or on a page: what is large takes one of few
    places, for it takes CPU that others wait for. 503 BUSY where all are taken."""
    return places.taken() if large else contextlib.nullcontext()


def room_for_media() -> contextlib.AbstractContextManager[None]:
    """The room for a body that has come."""
    return room_for(len(whole_body()) > LARGE_BODY, application().media_places)


def read_new_session() -> NewSession:
    """The session to be made: its members, or the envelope of a copy."""
    raw = read_body(dict[str, msgspec.Raw])
    if "session" not in raw:
        return decode_json(to_json(raw), NewSession)
    return decode_json(to_json(raw), SessionCopy).session


def check_addresses(given: NewSession | SessionPatch) -> None:
    """400 for media at this service itself, but for its static files: whoever looked at
    them would act here without knowing."""
    items = given.media if given.media is not UNSET else []
    for number, item in enumerate(items):
        for name in ("media_url", "thumbnail", "captions"):
            _check_address(f"media[{number}].{name}", getattr(item, name))
    _check_address("thumbnail", given.thumbnail)


def _check_address(field: str, url: Any) -> None:
    if not isinstance(url, str):
        return
    own, bare = settings().public_url, re.sub(r"//[^/@]*@", "//", url, count=1)
    read = re.sub("(?<!:)/+", "/", unquote(bare))  # as the server reads it
    inside = re.match(rf"{re.escape(own)}([/?#]|\Z)", read)
    if inside and not bare.startswith(f"{own}/static/"):
        name = re.sub(r"_(\w)", lambda match: match[1].upper(), field)
        raise field_problem(name, "must not be an address of this service itself")


@api.get("/sessions/<session_id>")
@owned_session
def read_session(user_id: str, session_id: int) -> Response:
    """A session of mine with its media and links."""
    session, media, shares = store().read_session(session_id, user_id)
    links = link_answers(shares, user_id)
    return json_response(OwnedSession(session, cast(Any, media), links))


def link_answers(shares: Iterable[Share], user_id: str) -> list[LinkAnswer]:
    """A session's links with their URLs."""
    own = store().referral_code(user_id)
    return [
        LinkAnswer(**asdict(share), share_url=share_url(share.share_code, own))
        for share in shares
    ]


def share_url(code: str, referral_code: str = "") -> str:
    """The link that is handed out."""
    query = f"?r={referral_code}" if referral_code else ""
    return f"{settings().public_url}/shared/{code}{query}"


@api.get("/sessions/<session_id>/media")
@owned_session
def session_media(user_id: str, session_id: int) -> Response:
    """A page of the media of a session of mine, for the player."""
    wanted = media_wanted()
    _, media, _ = store().read_session(session_id, user_id)
    return media_page(media, wanted)


def media_wanted() -> slice:
    """The part of some media that `offset` and `limit` ask for."""
    offset = query_int("offset", 0, 0, MAX_ID)
    return slice(offset, offset + query_int("limit", 100, 1, 500))


def media_page(media: msgspec.Raw, wanted: slice) -> Response:
    """A part of some media, and how many there are."""
    items = media_items(media)
    return json_response(MediaPage(cast(Any, items[wanted]), len(items)))


@api.patch("/sessions/<session_id>")
@owned_session
def update_session(user_id: str, session_id: int) -> Response:
    """Change a session of mine, unless it was changed after what I have seen."""
    enforce([(WRITES, user_id)])
    with room_for_media():
        patch = read_body(SessionPatch)
        check_addresses(patch)
        store().check_owner(session_id, user_id)
        try:
            session = store().update_session(session_id, user_id, patch, seen_before())
        except EditConflict:
            raise _edit_conflict(session_id, user_id) from None
    return json_response(session)


def seen_before() -> str:
    """The updatedAt that `If-Unmodified-Since` (RFC 9110, 13.1.4) names, or ""."""
    with contextlib.suppress(OverflowError):
        given = request.if_unmodified_since  # as UTC, where it names no zone
        return f"{given.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if given else ""
    return ""


def _edit_conflict(session_id: int, user_id: str) -> Problem:
    session, media, _ = store().read_session(session_id, user_id)
    current = {"session": session, "media": media}
    return Problem("EDIT_CONFLICT", more={"current": current})


@api.delete("/sessions/<session_id>")
@owned_session
def delete_session(user_id: str, session_id: int) -> Response:
    """Delete a session of mine, with all that belongs to it."""
    store().delete_session(session_id, user_id)
    return no_content()


@api.post("/sessions/<session_id>/share")
@owned_session
def share_session(user_id: str, session_id: int) -> Response:
    """The session's link for an audience, made on first demand."""
    wanted = read_body(ShareRequest, optional=True)
    if wanted != ShareRequest():  # a session has one link for everyone, and many others
        enforce([(LINKS, user_id)])
    try:
        code = share_for(wanted, session_id, user_id)
    except NotOwner:
        raise Problem("NOT_OWNER_SHARE") from None
    application().metrics.shares.inc()
    own = store().referral_code(user_id)
    return json_response(ShareAnswer(code, share_url(code, own), own))


def share_for(wanted: ShareRequest, session_id: int, user_id: str) -> str:
    """The code of the link that was asked for."""
    if wanted.email is not None:
        return store().share_by_email(session_id, user_id, wanted.email)
    if wanted.label is not None:
        return store().share(session_id, user_id, f"{BY_LABEL}{wanted.label}")
    if wanted.user_id is not None:
        audience = wanted.user_id if USER_ID.fullmatch(wanted.user_id) else "-"
        try:
            return store().share(session_id, user_id, audience)
        except UserNotFound:
            raise Problem("USER_NOT_FOUND") from None
    return store().share(session_id, user_id, GENERAL)


@api.delete("/sessions/<session_id>/shares/<code>")
@owned_session
def revoke_share(user_id: str, session_id: int, code: str) -> Response:
    """Take one link of a session of mine back."""
    code = code.lower() if SHARE_CODE.fullmatch(code) else "-"
    store().revoke(session_id, user_id, code)
    return no_content()


@api.get("/sessions/<session_id>/stats")
@owned_session
def session_stats(user_id: str, session_id: int) -> Response:
    """What came of a session's links."""
    days = query_int("days", 30, 1, 365)
    return json_response(store().session_stats(session_id, user_id, days))


@api.get("/sessions/<session_id>/stats.csv")
@owned_session
def session_stats_csv(user_id: str, session_id: int) -> Response:
    """The daily series as CSV (RFC 4180); with `by=link`, a row per link."""
    days = query_int("days", 30, 1, 365)
    stats = store().session_stats(session_id, user_id, days)
    by_link = request.args.get("by") == "link"
    names = LINK_COLUMNS if by_link else ("date", *EVENTS)
    rows = stats.links if by_link else stats.daily
    table = io.StringIO()
    writer = csv.DictWriter(table, names, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(map(csv_row, rows))
    what = "links" if by_link else "stats"
    name = f'attachment; filename="session-{session_id}-{what}.csv"'
    headers = {"Content-Disposition": name}
    return Answer(table.getvalue(), headers=headers, mimetype="text/csv")


@api.get("/shared/<code>/preview")
def shared_preview(code: str) -> Response:
    """What anyone with the link may see; counts an open, and a click for `?r=`."""
    code = parse_code(code)
    return open_link(code, visit(), lambda opened: json_response(opened.preview))


def open_link(
    code: str, seen_by: Visit, draw: Callable[[Opened], Response]
) -> Response:
    """A link is opened: its answer, as `draw` makes it, with what is remembered of who
    sent its visitor. Raises NotShared."""
    referral = referral_followed()
    opened = store().open_shared(code, seen_by, referral)
    response = draw(opened)
    if opened.reason == "" and (referral or response.mimetype != JSON):
        credit_visit(response, code, opened.owner_code, referral, seen_by.viewer)
    return response


def referral_followed() -> str:
    """The referral code of the link that was followed, "" for none."""
    return referral_in(unquote(request.path) + query_text(), "r")


@api.get("/shared/<code>")
@login_required
def shared_session(user_id: str, code: str) -> Response:
    """A shared session in full; counts a play, by a recipient's script as well."""
    environ = wsgi_environ()
    excluded = visits.exclusion(environ)
    counted = visits.is_navigation(environ) and excluded in ("", "bot")
    session, media = store().play_shared(parse_code(code), user_id, counted)
    return json_response(Playback(session, cast(Any, media)))


def is_persons_visit() -> bool:
    """Whether this request is a person's, who sees what it is answered with."""
    environ = wsgi_environ()
    return visits.is_navigation(environ) and not visits.exclusion(environ)


@api.get("/shared/media/<code>")
@login_required
def shared_media(user_id: str, code: str) -> Response:
    """A page of a shared session's media."""
    wanted = media_wanted()
    _, media = store().play_shared(parse_code(code), user_id)
    return media_page(media, wanted)


@api.post("/shared/<code>/seen")
def shared_seen(code: str) -> Response:
    """A page tells that it was shown; counts a view, and of a page that was fetched
    ahead the open and the click as well."""
    code = parse_code(code)
    kind = kind_of_page(code, seen_token_given())
    seen_by = visit() if kind else Visit()
    counted, place = store().seen(code, seen_by, kind == AHEAD)
    response = no_content()
    if counted and kind == AHEAD:
        owner, referral = place.owner, referral_followed()
        owner_code = store().referral_code(owner)
        credit_visit(response, code, owner_code, referral, seen_by.viewer, owner)
    return response


@api.get("/referrals")
@account_required
def referrals(account: Account) -> Response:
    """Whom my links brought."""
    report, following = referral_page(account)
    return json_response(report, headers=next_link("/api/referrals", following))


def referral_page(user: Account) -> tuple[ReferralReport, str]:
    """A page of the user's referrals as answered, and the query of the next one."""
    limit, cursor = page_wanted(0)
    found = store().referral_report(user.id, limit, cursor)
    counts = {
        source: [found.counts.get(f"{what}:{source}", 0) for what in REFERRAL_EVENTS]
        for source in SOURCES
    }
    report = ReferralReport(
        user.referral_code,
        f"{settings().public_url}/?ref={user.referral_code}",
        ReferralCounts(*map(sum, zip(*counts.values(), strict=True))),
        BySource(**{source: ReferralCounts(*both) for source, both in counts.items()}),
        found.history,
    )
    ended = found.cursor is None
    return report, "" if ended else f"limit={limit}&cursor={found.cursor}"


@api.get("/openapi.json")
def openapi_json() -> Response:
    """The OpenAPI document, with this service as its server."""
    given = settings()
    return json_response(openapi.document(given.public_url, given.cookie_name))


# ---------------------------------------------------------------------------- Pages

pages = Blueprint("pages", __name__)
CARD_SIZE = 1200, 630  # pixels of static/card.png


def page(template: str, me: Account | str | None, **variables: Any) -> str:
    """A rendered page; `me` is who is signed in."""
    return flask.render_template(template, me=me, **variables)


def html_response(html: str | bytes, problem: Problem | None = None) -> Response:
    """A page as a response, with the status and the headers of what is wrong."""
    status, headers = (problem.status, problem.headers) if problem else (200, {})
    return Answer(html, status, headers, content_type=HTML)


def safe_next() -> str:
    """Where to go after signing in: a path of this service, never another site."""
    home = f"{settings().path}/"
    path = request.values.get("next", "")
    inside = path.startswith(home) and re.fullmatch(r"/(?!/)[!-\[\]-~]*", path)
    return path if inside and ".." not in unquote(path) else home


@pages.get("/")
def home() -> Response:
    """What this is; signed in: my slideshows and what I played. Counts a click for
    `?ref=`."""
    account = current_account()
    if account:
        response = html_response(shelf(account))
    else:
        invited = may_register(lambda: sender(referral_in(query_text(), "ref")))
        urls = {"public_url": settings().public_url, "card_url": application().card_url}
        html = page("welcome.html", None, may_register=invited, **urls)
        response = html_response(html)
    follow_referral_link(response, account)
    return response


def shelf(account: Account) -> str:
    """The page of a signed-in user's slideshows."""
    rows, following = session_page(account.id)
    code = account.referral_code
    with room_for(len(rows) > MANY_TILES, application().page_places):
        return page(
            "sessions.html",
            account,
            rows=[
                plain(row) | {"shareUrl": row.code and share_url(row.code, code)}
                for row in rows
            ],
            played=[plain(row) for row in store().played(account.id)],
            next_url=following and f"{settings().path}/?{following}",
        )


def follow_referral_link(response: Response, account: Account | None) -> None:
    """Count a click for `?ref=` and remember who sent this visitor."""
    code = referral_in(query_text(), "ref")
    if not code or not is_persons_visit():
        return
    user_id = store().referrer(code)
    if user_id and user_id != (account and account.id):
        with contextlib.suppress(StoreRefusesWrites):
            remember(response, code)
            store().count_click(user_id, "direct", visitor())


@pages.get("/account")
@signed_in_page
def account_page(account: Account) -> str:
    """My name, email, password, tokens, and the end of it all."""
    tokens = [plain(token) for token in store().list_tokens(account.id)]
    return page("account.html", account, tokens=tokens)


@pages.get("/.well-known/change-password")
def change_password_page() -> Any:
    """https://w3c.github.io/webappsec-change-password-url/"""
    return flask.redirect(f"{settings().path}/account", 302)


@pages.get("/sessions/new")
@signed_in_page
def new_session(account: Account) -> str:
    """The editor, empty."""
    return page(
        "editor.html", account, session=None, media=[], shares=[], stats=None, days=30
    )


@pages.get("/sessions/<session_id>")
@signed_in_page
def edit_session(account: Account, session_id: str) -> str:
    """The editor, with the share panel and the numbers."""
    number, days = parse_session_id(session_id), query_int("days", 30, 1, 365)
    session, media, shares = store().read_session(number, account.id)
    with room_for(len(shares) > MANY_LINKS, application().page_places):
        names = store().names([link.user_id for link in shares if link.user_id])
        links = [
            plain(link)
            | {
                "name": audience_name(link, names),
                "gone": link.user_id is not None and link.user_id not in names,
            }
            for link in link_answers(shares, account.id)
        ]
        return page(
            "editor.html",
            account,
            session=plain(session),
            media=msgspec.json.decode(media),
            shares=links,
            stats=plain(store().session_stats(number, account.id, days)),
            days=days,
        )


@pages.get("/sessions/<session_id>/qr/<code>")
@signed_in_page
def qr_page(account: Account, session_id: str, code: str) -> Response:
    """The QR code of one of my links: drawn when it is looked at, not before."""
    _, _, shares = store().read_session(parse_session_id(session_id), account.id)
    if code not in [link.share_code for link in shares]:
        raise ShareNotFound
    drawing = qr_code(share_url(code, account.referral_code))
    return Answer(drawing, content_type="image/svg+xml")


@pages.get("/sessions/<session_id>/play")
@signed_in_page
def play_own_session(account: Account, session_id: str) -> str:
    """The player for the owner, before anything is shared."""
    number = parse_session_id(session_id)
    session, _, _ = store().read_session(number, account.id)
    preview = plain(session) | {"ownerName": account.name, "shareCode": ""}
    back = f"{settings().path}/sessions/{number}"
    media = f"/api/sessions/{number}/media"
    return player(account, preview, back, media, share_link="")


def player(
    account: Account, preview: dict[str, Any], back: str, media: str, share_link: str
) -> str:
    """The player's page, which pages through the media at this path of the service;
    `back` is where it is left for."""
    return page(
        "play.html",
        account,
        preview=preview,
        leave_url=back,
        media_path=media,
        share_url=share_link,
    )


@pages.get("/referrals")
@signed_in_page
def referrals_page(account: Account) -> str:
    """My referral link and what came of it."""
    report, following = referral_page(account)
    ids = [row.session_id for row in report.history if row.session_id]
    titles = store().titles(account.id, ids)
    told = plain(report)
    for row in told["history"]:
        row["title"] = titles.get(row["sessionId"])
    next_url = following and f"{settings().path}/referrals?{following}"
    return page("referrals.html", account, report=told, next_url=next_url)


@pages.get("/login")
def login_page() -> Any:
    """Sign in, then go on to `next`."""
    return entrance("login.html")


@pages.get("/register")
def register_page() -> Any:
    """Create an account, then go on to `next`."""
    return entrance("register.html")


def entrance(template: str, problem: Problem | None = None) -> Any:
    """The page to sign in or register, and what was wrong with the last try there."""
    if problem is None and current_account() is not None:
        return flask.redirect(safe_next(), 303)
    if settings().auth_header:
        return flask.redirect(sign_in_url(safe_next()), 303)
    errors = {d["field"]: d["message"] for d in problem.details} if problem else {}
    at_fields = errors.keys() & {"email", "password", "name"}
    told = "" if problem is None or at_fields else problem.message
    taken = problem is not None and problem.code == "EMAIL_TAKEN"
    if problem and taken:
        errors, told = {"email": problem.message}, ""
    sent_by = sender() or sender_by_link(safe_next())
    html = page(
        template,
        None,
        next=safe_next(),
        values={name: request.values.get(name, "") for name in ("email", "name")},
        errors=errors,
        taken=taken,
        problem=told,
        retry_after=problem.headers.get("Retry-After") if problem else None,
        invited_to=invited_to(),
        may_register=may_register(lambda: sent_by),
    )
    response = html_response(html, problem)
    if sent_by and is_persons_visit():  # the link was opened in another browser
        remember(response, store().referral_code(sent_by.user_id), sent_by.share_code)
    return response


def invited_to() -> str:
    """The title of the slideshow that a newcomer wants to play, if there is one."""
    with contextlib.suppress(NotShared):
        if match := re.search(r"/shared/([^/?]+)/play", safe_next()):
            return store().open_shared(parse_code(match[1]), Visit()).preview.title
    return ""


@pages.post("/login")
def login_form() -> Any:
    """Sign in without a script."""
    return submit(
        "login.html", lambda: sign_in(authenticate(read_form(SignInForm)), onward())
    )


@pages.post("/register")
def register_form() -> Any:
    """Create an account without a script."""
    return submit(
        "register.html",
        lambda: logins().start(sign_up(read_form(SignUpForm)), onward()),
    )


@pages.post("/logout")
def logout_form() -> Any:
    """Sign out without a script."""
    return submit(
        "login.html", lambda: sign_out("everywhere" in request.form, onward())
    )


class SignInForm(Credentials):
    """What the form of /login sends."""

    next: str = ""


class SignUpForm(Registration):
    """What the form of /register sends."""

    next: str = ""


def submit(template: str, act: Callable[[], Response]) -> Any:
    """A form's work; what is wrong with it is told on its page."""
    refuse_own_sign_in()
    if len(whole_body()) > LARGE_BODY:  # it costs ten times what JSON does
        raise Problem("BODY_TOO_LARGE", "The form is larger than 64 KiB")
    if not wsgi.is_utf8_form(whole_body(), request.mimetype):
        raise Problem("INVALID_REQUEST", "The form is not UTF-8")
    try:
        return act()
    except (Problem, Refusal) as error:
        return entrance(template, as_problem(error))


def onward() -> Response:
    """The way to `next`."""
    return cast(Response, flask.redirect(safe_next(), 303))


@pages.get("/shared/<path:pasted>")
def shared_page(pasted: str) -> Response:
    """The preview. Counts an open, and a click for `?r=`; this page goes round."""
    seen_by = visit(owner_sees_paused=True)
    me = current_account() if seen_by.viewer else None
    draw = functools.partial(preview_response, who=(me.name or me.email) if me else "")
    return open_link(pasted_code(pasted), seen_by, draw)


def preview_response(opened: Opened, who: str) -> Response:
    """The page of an opened link; it tells when it is shown, unless that is no news."""
    kind = {"": SHOWN, "head": SHOWN, "prefetch": AHEAD}.get(opened.reason, "")
    if opened.reason == "head" and visits.is_machine(request.user_agent.string):
        kind = ""  # as long as what it would get
    followed = f"?r={referral_followed()}" if kind == AHEAD else ""
    html = application().preview_page(
        opened.preview,
        opened.owner_code,
        who,
        opened.personal,
        0 if opened.public else opened.session_id,
        followed,
        (kind, store().visitor_key(today())) if kind else None,
    )
    return html_response(html)


def draw_preview(
    preview: Preview,
    owner_code: str,
    who: str,
    personal: bool,
    paused_id: int,
    followed: str,
    seen: tuple[str, bytes] | None,
) -> bytes:
    """The page of a preview, drawn once for what is given; `who` is signed in, "" for
    nobody; `paused_id` is the session's id where its owner has paused it, else 0. Kept
    as it is sent: with an emoji in it, a string takes four bytes for every letter."""
    code, link = preview.share_code, share_url(preview.share_code, owner_code)
    image, size = social_image(preview)
    play = f"{settings().path}/shared/{code}/play"
    own = f"{settings().path}/sessions/{paused_id}"
    told = f"{settings().path}/api/shared/{code}/seen{followed}"
    return page(
        "shared.html",
        who,
        **asdict(preview),
        share_url=link,
        play_url=f"{own}/play" if paused_id else f"{play}?r={owner_code}",
        edit_url=own,
        sign_in_url=sign_in_url(play),
        oembed_url=f"{settings().public_url}/oembed?url={quote(link, safe='')}",
        image_url=image,
        image_size=size,
        about=about(preview),
        summary=summary(preview),
        personal=personal,
        paused=bool(paused_id),
        seen={"path": told, "token": seen_token(code, *seen)} if seen else None,
    ).encode()


def social_image(preview: Preview) -> tuple[str, tuple[int, int] | None]:
    """The picture that stands for a session elsewhere, and its size where known."""
    if preview.thumbnail is None:
        return application().card_url, CARD_SIZE
    try:
        return web_url("thumbnail", preview.thumbnail), None
    except FieldError:  # of version 1
        return application().card_url, CARD_SIZE


@pages.get("/shared/<code>/play")
def play_page(code: str) -> Any:
    """The player, for the signed in; others sign in first and come back."""
    account = current_account()
    return play(account, parse_code(code)) if account else newcomer(code)


def newcomer(code: str) -> Response:
    """Somebody who came by the player's address and not by the preview's: the link is
    remembered all the same."""
    response = sent_to_sign_in()
    if is_persons_visit():
        with contextlib.suppress(NotShared, StoreRefusesWrites):
            code = parse_code(code)
            opened = store().open_shared(code, Visit())
            referral, owner_code = referral_followed(), opened.owner_code
            credit_visit(response, code, owner_code, referral, "", opened.owner)
    return response


def play(account: Account, code: str) -> str:
    """The player; the play is counted here, or, fetched ahead, once it is shown."""
    session, _ = store().play_shared(code, account.id, is_persons_visit())
    opened = store().open_shared(code, Visit())
    ahead = visits.exclusion(wsgi_environ()) == "prefetch"
    preview = plain(session) | {"shareCode": code, "ahead": ahead}
    link = share_url(code, opened.owner_code)
    back = link.removeprefix(settings().origin)
    media = f"/api/shared/media/{code}"
    return player(account, preview, back, media, link)


@pages.get("/oembed")
def oembed() -> Response:
    """oEmbed 1.0 (https://oembed.com) of a share URL; opens nothing, counts nothing."""
    if request.args.get("format", "json") != "json":
        raise Problem("NOT_IMPLEMENTED", "Only format=json is offered")
    code = shared_code(request.args.get("url", ""))
    opened = store().open_shared(code, Visit())
    preview = opened.preview
    told: dict[str, Any] = {
        "version": "1.0",
        "type": "link",
        "title": preview.title,
        "description": summary(preview),
        "author_name": preview.owner_name,
        "provider_name": "Joip Share",
        "provider_url": f"{settings().public_url}/",
        "url": share_url(code, opened.owner_code),
        **oembed_picture(preview),
    }
    return json_response(told)


def oembed_picture(preview: Preview) -> dict[str, Any]:
    """The picture that OpenGraph tells too; oEmbed allows none without its size."""
    image, size = social_image(preview)
    if size is None:
        return {}
    width, height = size
    if oembed_limit("maxwidth") < width or oembed_limit("maxheight") < height:
        return {}
    measures = {"thumbnail_width": width, "thumbnail_height": height}
    return {"thumbnail_url": image} | measures


def shared_code(url: str) -> str:
    """The code of one of our share URLs. Raises NotShared for any other URL."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        raise NotShared from None
    head, shared, code = parts.path.partition("/shared/")
    base = f"{parts.scheme.lower()}://{parts.netloc.lower()}{head}"
    if not shared or base != settings().public_url or code.endswith("/play"):
        raise NotShared  # a player is no page that others show
    return pasted_code(unquote(code))  # encoded as a part of the URL


def oembed_limit(name: str) -> int:
    """The pixels that a thumbnail may have; what is no number limits nothing."""
    given = request.args.get(name, "")
    return int(given) if re.fullmatch(r"[0-9]{1,9}", given) else MAX_ID


ROOT_FILES = "favicon.ico", "robots.txt", "manifest.webmanifest", "apple-touch-icon.png"


@pages.get(f"/<any{ROOT_FILES}:name>")
def root_file(name: str) -> Response:
    """What browsers and crawlers look for at the root."""
    folder = cast(str, application().static_folder)
    return flask.send_from_directory(folder, name, max_age=DAY)


# ----------------------------------------------------------------------- Operations

operations = Blueprint("operations", __name__, cli_group=None)


@operations.get("/healthz")
def healthz() -> Response:
    """The process answers; Redis is not asked."""
    return json_response({"status": "ok"}, headers={"X-Version": __version__})


@operations.get("/readyz")
def readyz() -> Response:
    """Whether to send requests here: Redis takes a write, its data are of a version
    that we know, and nobody said stop."""
    process = "stopping" if application().stopping else "ok"
    checks = {"redis": redis_state(store()), "process": process}
    ready = set(checks.values()) == {"ok"}
    body = {"status": "ok" if ready else "unavailable", "checks": checks}
    status, headers = (200, {}) if ready else (503, {"Retry-After": "1"})
    return json_response(body, status, headers)


def start_checks(app: JoipShare) -> None:
    """Refuse data that we do not know, and warn of a Redis that may lose shares."""
    try:
        app.unseen = look_at_data(app.store, log)
    except UnknownData as error:
        raise SystemExit(f"joip_share: Redis has {error}") from None
    if app.unseen:
        log.warning("Redis does not serve yet: %s", app.unseen)


@operations.get("/metrics")
def metrics() -> Response:
    """Prometheus's text format."""
    text = prometheus.generate_latest(application().metrics.registry)
    return Answer(text, content_type=prometheus.CONTENT_TYPE_LATEST)


KNOWN_METHODS = frozenset(("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"))
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
NO_ROUTE = "(none)"
UNLOGGED = frozenset(("/healthz", "/readyz"))
DIRECT = UNLOGGED | {"/metrics"}  # what is asked of each process, past the proxy


def before_request() -> None:
    """Refuse what is outside, from another site, or malformed."""
    app, environ = application(), wsgi_environ()
    if not app.warned_of_proxies:
        warn_of_proxies(environ)
    if app.unseen and request.path not in UNLOGGED:
        app.unseen = look_at_data(app.store, log)
    if "joip_share.outside" in environ:
        request.url_rule = None  # what it resembles is not what it asks for
        raise Problem("NOT_FOUND")
    if not wsgi.is_utf8(environ["QUERY_STRING"].encode("latin-1")):
        raise Problem("INVALID_REQUEST", "The query is not UTF-8")
    by_cookie = environ["REQUEST_METHOD"] not in SAFE_METHODS and bearer_token() is None
    if by_cookie and wsgi.is_cross_site(environ, settings().origin):
        raise Problem("CROSS_SITE")
    length = environ.get("CONTENT_LENGTH", "0")
    if length != "0" and (request.content_length or 0) > MAX_BODY:
        raise Problem("BODY_TOO_LARGE")


def current_request_id() -> str:
    """The name of the request under way, "" where there is none."""
    named = flask.has_request_context()
    return wsgi_environ().get("joip_share.id", "") if named else ""


def warn_of_proxies(environ: Mapping[str, Any]) -> None:
    """Once, where the number of trusted proxies and what arrives do not go together."""
    warning = visits.proxy_warning(environ, settings().trusted_proxies)
    if warning and (not settings().trusted_proxies or request.path not in DIRECT):
        application().warned_of_proxies = True
        log.warning(warning)


def after_request(response: Response) -> Response:
    """The metrics and the log line of every request."""
    environ, rule = wsgi_environ(), request.url_rule
    seconds = time.perf_counter() - environ["joip_share.started"]
    route = rule.rule if rule else NO_ROUTE
    method, status = environ["REQUEST_METHOD"], response.status_code
    if method not in KNOWN_METHODS:
        method = "OTHER"
    application().metrics.observe(route, method, status, seconds)
    if route not in UNLOGGED and log.isEnabledFor(logging.INFO):
        # No path, query, cookie or address: a link is a secret.
        told = {
            "requestId": environ["joip_share.id"],
            "method": method,
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 2),
        }
        write_log("info", "request", told)
    return response


# ------------------------------------------------------------------------- Commands


def command(
    name: str, writes: bool = True
) -> Callable[[Callable[..., None]], click.Command]:
    """A command of `flask --app joip_share`; what cannot be ends it with one line."""

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def run(**arguments: Any) -> None:
            try:
                refuse_unknown_data(store(), claim=writes)
                function(**arguments)
            except StoreUnavailable as error:
                told = f"Redis does not serve: {reason(error)}"
                raise click.ClickException(told) from None
            except (Problem, Refusal) as error:
                raise click.ClickException(as_problem(error).message) from None

        return operations.cli.command(name)(run)

    return decorate


@command("create-user")
@click.option("--email", prompt=True)
@click.option("--name", prompt=True, default="")
@click.password_option()
def create_user_command(email: str, name: str, password: str) -> None:
    """Make an account."""
    given = {"email": email, "password": password} | ({"name": name} if name else {})
    account = create_account(checked(lambda: msgspec.convert(given, Registration)))
    click.echo(f"{account.id} {account.email}")


@command("list-users", writes=False)
def list_users_command() -> None:
    """Every account: id, email, name, sessions, since, last sign-in."""
    for account, sessions in store().accounts():
        last = account.last_login
        day = f"{datetime.fromtimestamp(last, UTC):%Y-%m-%d}" if last else "never"
        columns = (account.id, account.email, account.name, str(sessions))
        click.echo("\t".join((*columns, account.created_at[:10], day)))


@command("set-password")
@click.argument("email")
@click.password_option()
def set_password_command(email: str, password: str) -> None:
    """Give an account a new password, and end all its logins."""
    account = store().account_by_email(email.strip())
    given = {"password": password}
    new = cast(str, checked(lambda: msgspec.convert(given, AccountPatch)).password)
    change_password(account, application().passwords.hash(new), keep="")
    click.echo(f"{account.id} {account.email}: every login has ended")


@command("delete-user")
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete_user_command(email: str, yes: bool) -> None:
    """Delete an account with its sessions, links, logins and tokens."""
    account = store().account_by_email(email.strip())
    if not yes:
        click.confirm(f"Delete {account.email} and all that belongs to it?", abort=True)
    store().delete_account(account, checked=False)
    click.echo(f"{account.id} {account.email} is gone")


@command("report", writes=False)
def report_command() -> None:
    """How many accounts, sessions, links and opens there are, and what they take."""
    import maintain

    for line in maintain.report(store()):
        click.echo(line)


# ----------------------------------------------------------------------- create_app


def create_app(
    settings: Settings | None = None,
    redis: redis_py.Redis | redis_py.RedisCluster | None = None,
) -> JoipShare:
    """The WSGI application.

    Without `settings` it is configured from the environment, as in production, where
    REDIS_URL and PUBLIC_URL are required. `redis` is a client to use instead.
    """
    production = settings is None
    if settings is None:
        settings = production_settings(os.environ)
    start_logging(log, current_request_id)
    link = Link(redis, settings.redis_wait) if redis else link_of(settings)
    app = JoipShare(settings, link)
    app.before_request(before_request)
    app.after_request(after_request)
    app.register_error_handler(Exception, handle_error)
    for blueprint in (api, pages, operations):
        app.register_blueprint(blueprint)
    app.wsgi_app = wsgi_stack(app)  # type: ignore[method-assign]
    if production and click.get_current_context(silent=True) is None:
        log.info("Joip Share %s", __version__)
        start_checks(app)
    return app


def link_of(settings: Settings) -> Link:
    """The link to the Redis that the settings name."""
    return connect(RedisUrl.parse(settings.redis_url), settings.redis_wait)


def wsgi_stack(app: JoipShare) -> Callable[..., Any]:
    """Around Flask: a request's name and deadline, and PUBLIC_URL's path, under which
    the whole service lives."""
    inner, secure = app.wsgi_app, app.settings.secure

    def timed(environ: dict[str, Any], start_response: Any) -> Any:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        environ["joip_share.id"] = wsgi.accepted_request_id(given)
        environ["joip_share.started"] = time.perf_counter()
        environ["joip_share.secure"] = secure
        before = _under_way.set((app, environ))
        try:
            with app.store.link.deadline(REQUEST_SECONDS):
                return inner(environ, start_response)
        finally:
            _under_way.reset(before)

    def outside(environ: dict[str, Any], start_response: Any) -> Any:
        environ["joip_share.outside"] = True
        return timed(environ, start_response)

    path = app.settings.path
    return DispatcherMiddleware(outside, {path: timed}) if path else timed


def production_settings(environ: Mapping[str, str]) -> Settings:
    """The settings of the environment; exits with one line where they will not do."""
    missing = [name for name in ("REDIS_URL", "PUBLIC_URL") if not environ.get(name)]
    try:
        if missing:
            raise ConfigError(f"{' and '.join(missing)} must be set")
        return Settings.from_env(environ)
    except ConfigError as error:
        raise SystemExit(f"joip_share: {error}") from None


# ----------------------------------------------------------------------------- main


def main() -> None:
    """The service to try: in memory, with a demo, unless REDIS_URL is set."""
    import demo
    import serve

    try:
        settings = Settings.from_env(os.environ)
        redis = None if settings.redis_url else demo.memory(settings.redis_wait)
        app = create_app(settings, redis)
    except ConfigError as error:
        raise SystemExit(f"joip_share: {error}") from None
    listener = serve.new_socket("127.0.0.1", settings.port)
    print(f"Joip Share {__version__} on {settings.public_url}/", flush=True)
    if settings.redis_url:
        start_checks(app)
    else:
        pictures = [app.asset(f"demo-{n}.svg") for n in range(1, 6)]
        codes = demo.populate(app.store, [settings.origin + path for path in pictures])
        print(demo.told(settings.public_url, *codes), flush=True)
    serve.run(app, listener)


if __name__ == "__main__":
    main()
