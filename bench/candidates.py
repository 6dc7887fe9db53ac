"""Who takes part: Joip Share, Flask's Hello World, Express and SnapPass."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import redis

from bench.content import compact, slideshow, user_agents
from bench.stage import HERE, ROOT, Api, Request, Server, Stage

SESSIONS = 1_000
ACCOUNTS = 10  # owners, and as many recipients
SEED = 20261124
TOOLS = ROOT / ".bench"  # node_modules and SnapPass's environment; not in git
WAITRESS = ["waitress-serve", "--host=127.0.0.1", "--port=$PORT", "--threads=8"]


# ----------------------------------------------------------------------- Joip Share


@dataclass(frozen=True)
class Shared:
    """A session that was created and shared, and its owner's login."""

    id: int
    code: str
    link: str  # the path of its page, with the referral code
    owner: str  # cookie


@dataclass(frozen=True)
class Service:
    """Joip Share with a thousand shared sessions, made through its own API."""

    server: Server
    store: redis.Redis
    sessions: list[Shared]
    recipients: list[str]  # cookies

    @classmethod
    def start(cls, stage: Stage) -> Service:
        """As production runs it, without limits: all comes from one address."""
        store = stage.redis()
        env = {"REDIS_URL": store.url, "PUBLIC_URL": "http://127.0.0.1:8000"}
        env |= {"RATELIMIT_ENABLED": "0"}
        command = [sys.executable, str(ROOT / "serve.py")]
        server = stage.server(command, "/healthz", env)
        owners = list(register(server, "owner"))
        contents = random.Random(SEED)
        shows = [slideshow(contents) for _ in range(SESSIONS)]
        batches = [shows[n::ACCOUNTS] for n in range(ACCOUNTS)]
        with ThreadPoolExecutor(2) as pool:  # more bodies of media are refused
            shared = pool.map(share_all, [server] * ACCOUNTS, owners, batches)
            sessions = [one for batch in shared for one in batch]
        return cls(server, store.client, sessions, list(register(server, "recipient")))

    def requests(self, kind: str) -> Iterator[Request]:
        """The load of one kind: every session, in several browsers."""
        rng = random.Random(SEED)
        agents = user_agents(rng)
        for shared in self.sessions:
            for agent in rng.sample(agents, 4):
                yield self.request(kind, shared, agent, rng.choice(self.recipients))

    def request(self, kind: str, shared: Shared, agent: str, recipient: str) -> Request:
        """One request of a kind; `N` shares with an audience that has no link yet."""
        full = f"/api/shared/{shared.code}"
        share = f"/api/sessions/{shared.id}/share"
        return {
            "P": Request(f"{full}/preview", agent),
            "H": Request(shared.link, agent),
            "F": Request(full, agent, recipient),
            "S": Request(share, agent, shared.owner, "POST"),
            "N": Request(share, agent, shared.owner, "POST", '{"label": "$n"}'),
            "Z": Request("/healthz", agent),
        }[kind]


def register(server: Server, role: str) -> Iterator[str]:
    """New accounts; the cookies of their logins."""
    for n in range(ACCOUNTS):
        api, email = Api(server), f"{role}{n}@example.com"
        account = {"email": email, "password": f"bench-{n:08}", "name": f"{role} {n}"}
        api.call("POST", "/api/register", json=account)
        yield api.cookie()


def share_all(server: Server, owner: str, shows: Iterable[object]) -> list[Shared]:
    """Create and share sessions."""
    api = Api(server)
    api.headers["Cookie"] = owner
    shared = []
    for show in shows:
        session = api.call("POST", "/api/sessions", json=show).json()
        path = f"/api/sessions/{session['id']}/share"
        link = api.call("POST", path).json()
        page = urlsplit(link["shareUrl"])
        code, path = link["shareCode"], f"{page.path}?{page.query}"
        shared.append(Shared(session["id"], code, path, owner))
    return shared


# ---------------------------------------------------------------------------- Peers


def hello_world(stage: Stage) -> tuple[Server, Iterable[Request]]:
    """The yardstick: Flask's Hello World on waitress as it comes, with 8 threads."""
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    server = stage.server([*WAITRESS, "yardstick:app"], "/", env, HERE)
    return server, _each(["/"] * SESSIONS)


class Express:
    """The same two requests on the stack that the product began on."""

    def __init__(self, stage: Stage) -> None:
        folder = install_express()
        store = stage.redis()
        self.codes = fill_express(store.client)
        env = {"NODE_ENV": "production", "REDIS_URL": store.url}
        command, path = ["node", "server.js"], self.path("P", 0)
        self.server = stage.server(command, path, env, folder)
        api = Api(self.server)
        api.call("POST", "/api/login")
        self.cookie = api.cookie()

    def path(self, kind: str, n: int) -> str:
        """P or F of the n-th session."""
        return f"/api/shared/{self.codes[n]}" + ("/preview" if kind == "P" else "")

    def requests(self, kind: str) -> Iterable[Request]:
        """P or F of all sessions."""
        paths = [self.path(kind, n) for n in range(SESSIONS)]
        return _each(paths, self.cookie if kind == "F" else "")


def snappass(stage: Stage) -> tuple[Server, Iterable[Request]]:
    """SnapPass on waitress as it comes, with 8 threads: its secrets' preview pages."""
    programs = install_snappass()
    env = {"PATH": f"{programs}:/usr/bin:/bin", "REDIS_URL": stage.redis().url}
    env |= {"NO_SSL": "True", "SECRET_KEY": "of one benchmark"}
    command = [*WAITRESS, "snappass.main:app"]
    server = stage.server(command, "/", env, stage.folder)
    api, rng = Api(server), random.Random(SEED)
    api.headers["Accept"] = "application/json"
    paths = []
    for _ in range(SESSIONS):
        form = {"password": f"{rng.getrandbits(128):x}", "ttl": "Day"}
        link = api.call("POST", "/", data=form).json()["link"]
        paths.append(urlsplit(link).path)
    return server, _each(paths)


def fill_express(store: redis.Redis) -> list[str]:
    """The same sessions as the service's, in the plain shape that the peer reads."""
    rng = random.Random(SEED)
    contents = [slideshow(rng) for _ in range(SESSIONS)]
    codes = [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in contents]
    when = "2026-11-24T12:00:00Z"
    pipe = store.pipeline(transaction=False)
    for number, (code, content) in enumerate(zip(codes, contents, strict=True), 1):
        media, key = content.pop("media"), f"session:{{{number}}}"
        owner = {
            "userId": uuid.UUID(int=number % 10).hex,
            "ownerName": f"owner {number}",
        }
        state = {"mediaCount": len(media), "isPublic": 1}
        fields = content | owner | state | {"createdAt": when, "updatedAt": when}
        pipe.set(f"share:{code}", number)
        pipe.hset(key, mapping=fields)
        pipe.set(f"{key}:media", compact(media))
    pipe.execute()
    return codes


def install_express() -> Path:
    """Express and what it needs, unless it is there; the folder."""
    source, target = HERE / "express_peer", TOOLS / "express_peer"
    before = target / "package.json"
    wanted = (source / "package.json").read_bytes()
    fresh = before.exists() and before.read_bytes() == wanted
    shutil.copytree(source, target, dirs_exist_ok=True)
    if not fresh or not (target / "node_modules").exists():
        options = ["--no-audit", "--no-fund", "--no-package-lock"]
        _install(["npm", "install", *options], target)
    return target


def install_snappass() -> Path:
    """SnapPass into its own virtual environment, unless it is there; its programs."""
    wanted, target = HERE / "snappass" / "requirements.txt", TOOLS / "snappass"
    installed = target / "requirements.txt"
    if not installed.exists() or installed.read_bytes() != wanted.read_bytes():
        _install([sys.executable, "-m", "venv", "--clear", str(target)], HERE)
        pip = str(target / "bin" / "pip")
        _install([pip, "install", "-q", "-r", str(wanted)], HERE)
        shutil.copyfile(wanted, installed)
    return target / "bin"


def _install(command: list[str], folder: Path) -> None:
    print("installing:", " ".join(command), file=sys.stderr)
    subprocess.run(command, cwd=folder, check=True, stdout=sys.stderr)


def _each(paths: Iterable[str], cookie: str = "") -> Iterator[Request]:
    rng = random.Random(SEED)
    agents = user_agents(rng)
    for path in paths:
        for agent in rng.sample(agents, 4):
            yield Request(path, agent, cookie)
