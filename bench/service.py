"""Joip Share as a candidate: run as the Procfile says, filled through its own API."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from content import slideshow, user_agents
from stage import ROOT, SERVER_CORE, Api, BenchError, Request, Server, Stage

ACCOUNTS = 10  # owners, and as many recipients
SEED = 20261124
BIN = Path(sys.executable).parent  # the environment this driver runs in


@dataclass(frozen=True)
class Shared:
    """A session that was created and shared, and its owner's login."""

    id: int
    code: str
    link: str  # the path of its page, with the referral code
    owner: str  # cookie
    content: dict[str, Any]


def start(
    stage: Stage, store: redis.Redis, core: int = SERVER_CORE, name: str = "service"
) -> Server:
    """The Procfile's own command, kept to 127.0.0.1."""
    env = {
        "PATH": f"{BIN}:/usr/bin:/bin",
        "REDIS_URL": f"redis://127.0.0.1:{store.connection_pool.connection_kwargs['port']}",
        "PUBLIC_URL": "http://127.0.0.1:8000",
        "RATELIMIT_ENABLED": "0",
    }
    return stage.server(name, procfile_command(), "/healthz", env, core=core)


def procfile_command() -> str:
    """What the Procfile runs for `web`."""
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    command = next(line[4:].strip() for line in lines if line.startswith("web:"))
    program, _, rest = command.removeprefix("exec ").partition(" ")
    if program != "waitress-serve":
        raise BenchError(f"the Procfile runs {program}, not waitress-serve")
    return f"{program} --host=127.0.0.1 {rest}"


def register(server: Server, role: str, count: int = ACCOUNTS) -> list[str]:
    """New accounts; the cookies of their logins."""
    cookies = []
    for n in range(count):
        api = Api(server.port)
        name = f"{role.capitalize()} Number {n}"
        body = {
            "email": f"{role}{n}@example.com",
            "password": f"bench-{n:08}",
            "name": name,
        }
        api.call("POST", "/api/register", body)
        cookies.append(api.cookie)
    return cookies


def share(
    server: Server, owners: list[str], count: int, seed: int = SEED
) -> list[Shared]:
    """Create and share sessions for real, a few at a time."""
    rng = random.Random(seed)
    contents = [slideshow(rng) for _ in range(count)]
    with ThreadPoolExecutor(len(owners)) as pool:
        batches = pool.map(
            lambda n: _share_all(server, owners[n], contents[n :: len(owners)]),
            range(len(owners)),
        )
        return [shared for batch in batches for shared in batch]


def _share_all(
    server: Server, owner: str, contents: Iterable[dict[str, Any]]
) -> list[Shared]:
    api = Api(server.port)
    api.cookie = owner
    return [_share(api, content) for content in contents]


def _share(api: Api, content: dict[str, Any]) -> Shared:
    session = api.call("POST", "/api/sessions", content)
    link = api.call("POST", f"/api/sessions/{session['id']}/share")
    path = "/shared/" + link["shareUrl"].partition("/shared/")[2]
    return Shared(session["id"], link["shareCode"], path, api.cookie, content)


def requests(
    kind: str, sessions: list[Shared], recipients: list[str]
) -> Iterable[Request]:
    """The load of one kind of request: every session, in several browsers."""
    rng = random.Random(SEED)
    agents = user_agents(rng)
    for shared in sessions:
        for agent in rng.sample(agents, 4):
            yield _request(kind, shared, agent, rng.choice(recipients))


def _request(kind: str, shared: Shared, agent: str, recipient: str) -> Request:
    api = f"/api/shared/{shared.code}"
    match kind:
        case "P":
            return Request(f"{api}/preview", agent)
        case "P+":
            return Request(f"{api}/preview", agent, recipient)
        case "H":
            return Request(shared.link, agent)
        case "H+":
            return Request(shared.link, agent, recipient)
        case "F":
            return Request(api, agent, recipient)
        case "S":
            path = f"/api/sessions/{shared.id}/share"
            return Request(path, agent, shared.owner, "POST")
        case "Z":
            return Request("/healthz", agent)
        case "Z+":
            return Request("/healthz", agent, recipient)
    raise BenchError(f"no such request: {kind}")
