"""Every route of the service, and what it needs of Redis."""

from __future__ import annotations

from typing import NamedTuple

NOTHING, READ, FREE, WRITE = "nothing", "a read", "a deletion", "a write"


class Route(NamedTuple):
    """One route; what it needs when the session's owner calls it, and a stranger."""

    method: str
    rule: str
    owner: str
    stranger: str
    json: dict[str, object] | None = None
    query: str = ""

    def path(self, base: str, session_id: int, code: str, referral_code: str) -> str:
        """The path and query for one shared session."""
        known = {
            "<base>": base,
            "<session_id>": str(session_id),
            "<code>": code,
            "<path:filename>": "favicon.svg",
            "<referral_code>": referral_code,
        }
        path = self.rule + self.query
        for name, value in known.items():
            path = path.replace(name, value)
        return path


NEWCOMER = {"email": "newcomer@example.com", "password": "long enough"}
OWNER = {"email": "owner@example.com", "password": "long enough"}

# In an order in which each may be called once: the owner deletes and signs out last.
ROUTES = [
    Route("GET", "/healthz", NOTHING, NOTHING),
    Route("GET", "/readyz", WRITE, WRITE),
    Route("GET", "/metrics", NOTHING, NOTHING),
    Route("GET", "/static/<path:filename>", NOTHING, NOTHING),
    Route("GET", "/api/openapi.json", NOTHING, NOTHING),
    Route("GET", "/api/auth/user", READ, NOTHING),
    Route("GET", "/api/sessions", READ, NOTHING),
    Route("POST", "/api/sessions", WRITE, NOTHING, {"title": "Another walk"}),
    Route("GET", "/api/sessions/<session_id>", READ, NOTHING),
    Route("PATCH", "/api/sessions/<session_id>", WRITE, NOTHING, {"title": "Ours"}),
    Route("POST", "/api/sessions/<session_id>/share", WRITE, NOTHING, {}),
    Route("GET", "/api/sessions/<session_id>/stats", READ, NOTHING),
    Route("GET", "/api/sessions/<session_id>/stats.csv", READ, NOTHING),
    Route("GET", "/api/shared/<code>/preview", WRITE, WRITE),
    Route("GET", "/api/shared/<code>", READ, NOTHING),
    Route("GET", "/api/shared/media/<code>", READ, NOTHING),
    Route("POST", "/api/shared/<code>/seen", WRITE, WRITE),
    Route("GET", "/api/referrals", READ, NOTHING),
    Route("GET", "/", READ, NOTHING),
    Route("GET", "/", READ, WRITE, query="?ref=<referral_code>"),
    Route("GET", "/sessions/new", READ, NOTHING),
    Route("GET", "/sessions/<session_id>", READ, NOTHING),
    Route("GET", "/referrals", READ, NOTHING),
    Route("GET", "/login", READ, NOTHING),
    Route("GET", "/register", READ, NOTHING),
    Route("GET", "/shared/<code>", WRITE, WRITE, query="?r=<referral_code>"),
    Route("GET", "/shared/<code>/play", READ, NOTHING),
    Route("GET", "/oembed", READ, READ, query="?url=<base>/shared/<code>"),
    Route("POST", "/api/register", WRITE, WRITE, NEWCOMER),
    Route("POST", "/api/login", WRITE, WRITE, OWNER),
    Route("DELETE", "/api/sessions/<session_id>", WRITE, NOTHING),
    Route("POST", "/api/logout", FREE, NOTHING),
]
