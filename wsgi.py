"""What a request says of itself before Flask looks at it."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from werkzeug.routing import MapAdapter, PathConverter

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Route(MapAdapter):
    """Werkzeug's routing of one path and method, done once: links are opened often.

    Raises Werkzeug's NotFound or MethodNotAllowed when it is made.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._found = super().match(return_rule=True)

    def match(self, path: Any = None, *asked: Any, **more: Any) -> Any:  # type: ignore[override]
        """What was found, for who asks as Flask does; else Werkzeug's answer."""
        if path or asked or more != {"return_rule": True}:
            return super().match(path, *asked, **more)
        rule, arguments = self._found
        return rule, dict(arguments)


class AnyPath(PathConverter):
    """Werkzeug's `path` converter, but one that takes line breaks as well."""

    regex = r"[^/](?s:.*?)"


def accepted_request_id(given: str) -> str:
    """The proxy's name for a request, else a new one to find it by in the log. It is
    no secret, so that `random`, which costs no system call, is good enough."""
    return given if REQUEST_ID.fullmatch(given) else f"{random.getrandbits(64):016x}"


def is_utf8(data: bytes) -> bool:
    """Whether these bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_utf8_form(body: bytes, mimetype: str) -> bool:
    """Whether a form is UTF-8; Werkzeug replaces, without a word, whatever is not."""
    quoted = mimetype == "application/x-www-form-urlencoded"
    return is_utf8(unquote_to_bytes(body) if quoted else body)


def is_cross_site(environ: Mapping[str, Any], own_origin: str) -> bool:
    """Whether a browser acts for another site, by Sec-Fetch-Site (W3C Fetch Metadata),
    else Origin. What sends neither is no browser: no cookies to steal."""
    site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN")
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and origin.lower() != own_origin
