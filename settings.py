"""The environment, parsed once: what is wrong stops the start with one line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from inputs import FieldError, web_url
from redis_url import ConfigError, RedisUrl
from store import Quotas
from wording import explain_invalid

REFERRAL_COOKIE = "joip_ref"
PUBLIC_URL = re.compile(
    r"https?://(?:[\w-]+(?:\.[\w-]+)*\.?|\[[0-9a-f:.]+\])(?::0*[1-9][0-9]*)?"
    r"(?:/(?!\.\.?(?:/|$))[\w.~-]+)*/?",
    re.ASCII | re.IGNORECASE,
)

Port = Annotated[int, Meta(ge=1, le=65535)]
Few = Annotated[int, Meta(ge=0, le=16)]
Many = Annotated[int, Meta(ge=1, le=1_000_000)]


class Settings(Struct, frozen=True, kw_only=True, rename="upper"):
    """The service's configuration; README.md explains each setting."""

    redis_url: str = ""
    redis_wait: Few = 0
    public_url: str = ""
    port: Port = 8000
    key_prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:/-]{0,64}\Z")] = ""
    registration: Literal["open", "invite", "closed"] = "open"
    auth_header: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{0,64}\Z")] = ""
    auth_url: str = ""
    cookie_name: Annotated[
        str, Meta(pattern=r"^[A-Za-z0-9_!#$%&'*+.^`|~-]{1,64}\Z")
    ] = "connect.sid"
    ratelimit_enabled: bool = True
    trusted_proxies: Few = 0
    max_sessions: Many = Quotas.sessions
    max_megabytes: Many = Quotas.megabytes
    max_links: Many = Quotas.links
    max_tokens: Many = Quotas.tokens
    max_logins: Many = Quotas.logins

    def __post_init__(self) -> None:
        url = self.public_url or f"http://127.0.0.1:{self.port}"
        msgspec.structs.force_setattr(self, "public_url", _checked_public_url(url))
        if self.redis_url:
            RedisUrl.parse(self.redis_url)
        self._check_cookie_name()
        if self.auth_url:
            self._check_auth_url()
        if self.auth_header:
            self._check_auth_header()

    def _check_cookie_name(self) -> None:
        if self.cookie_name == REFERRAL_COOKIE:
            raise ConfigError(f"COOKIE_NAME: {REFERRAL_COOKIE} is the service's own")
        name = self.cookie_name.lower()  # as browsers look for the prefixes
        if name.startswith(("__host-", "__secure-", "__http-")) and not self.secure:
            raise ConfigError("COOKIE_NAME: this prefix needs an https PUBLIC_URL")
        if name.startswith("__host-") and self.path:
            raise ConfigError("COOKIE_NAME: __Host- allows no path in PUBLIC_URL")

    def _check_auth_header(self) -> None:
        if not self.trusted_proxies:
            raise ConfigError("AUTH_HEADER needs TRUSTED_PROXIES of 1 or more")
        if not self.auth_url:
            raise ConfigError("AUTH_URL must be set with AUTH_HEADER")

    def _check_auth_url(self) -> None:
        wrong = ConfigError("AUTH_URL must be an http or https URL")
        # The parser drops blanks, and adds slashes, which as a redirect lead elsewhere.
        if not re.fullmatch(r"(?i)https?://(?!/)[^\s\x00-\x1f]+", self.auth_url):
            raise wrong
        try:
            web_url("AUTH_URL", self.auth_url)
        except FieldError:
            raise wrong from None

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check every setting. Raises ConfigError naming the wrong one."""
        given = {name: value for name, value in environ.items() if value}
        for name, (form, words) in FORMS.items():
            if name in given and not re.fullmatch(form, given[name]):
                raise ConfigError(f"{name} must be {words}")
        try:
            return msgspec.convert(given, cls, strict=False)
        except msgspec.ValidationError as error:
            if isinstance(error.__cause__, ConfigError):
                raise error.__cause__ from None
            field, message = explain_invalid(str(error))
            raise ConfigError(f"{field} {message}") from None

    @property
    def path(self) -> str:
        """The path under which the whole service lives: "" or "/joip"."""
        return urlsplit(self.public_url).path

    @property
    def origin(self) -> str:
        """Scheme and host of PUBLIC_URL, as browsers send it in `Origin`."""
        return self.public_url.removesuffix(self.path)

    @property
    def host(self) -> str:
        """The host of PUBLIC_URL."""
        return urlsplit(self.public_url).hostname or ""

    @property
    def secure(self) -> bool:
        """Whether cookies are sent over https only."""
        return self.public_url.startswith("https:")

    @property
    def quotas(self) -> Quotas:
        """What one account may have."""
        return Quotas(
            self.max_sessions,
            self.max_megabytes,
            self.max_links,
            self.max_tokens,
            self.max_logins,
        )


def _checked_public_url(text: str) -> str:
    """In the spelling of browsers, whose `Origin` it is compared with."""
    try:
        if PUBLIC_URL.fullmatch(text):  # the parser mends what was not meant
            return web_url("PUBLIC_URL", text).rstrip("/")
    except FieldError:
        pass
    raise ConfigError("PUBLIC_URL must be like https://example.org or …/path")


BY_TYPE = {  # msgspec alone takes "8e3" for a number
    int: ("[0-9]{1,9}", "a whole number"),
    bool: ("[01]", "0 or 1"),
}
FORMS = {
    field.encode_name: BY_TYPE[type(field.default)]
    for field in msgspec.structs.fields(Settings)
    if type(field.default) in BY_TYPE
} | {"REGISTRATION": ("open|invite|closed", "open, invite or closed")}
