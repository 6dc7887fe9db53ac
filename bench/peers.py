"""The other candidates: the yardstick, Express and SnapPass."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import redis

from content import compact, slideshow, user_agents
from service import BIN, SEED
from stage import HERE, TOOLS, Api, Request, Server, Stage, tool

SESSIONS = 1_000
EXPRESS = TOOLS / "express_peer"
SNAPPASS = TOOLS / "snappass"


def yardstick(stage: Stage) -> tuple[Server, Iterable[Request]]:
    """Flask's Hello World on waitress's defaults and 8 threads."""
    command = "waitress-serve --host=127.0.0.1 --port=$PORT --threads=8 yardstick:app"
    env = {"PATH": f"{BIN}:/usr/bin:/bin"}
    server = stage.server("yardstick", command, "/", env, HERE)
    return server, _each(["/"] * SESSIONS)


def express(stage: Stage, store: redis.Redis) -> tuple[Server, list[str], str]:
    """The Express server, the codes it shares, and a recipient's cookie."""
    install_express()
    codes = _fill_express(store)
    env = {"NODE_ENV": "production", "REDIS_URL": _url(store)}
    path = f"/api/shared/{codes[0]}/preview"
    server = stage.server(
        "express", f"{tool('node', 'nodejs')} server.js", path, env, EXPRESS
    )
    api = Api(server.port)
    api.call("POST", "/api/login")
    return server, codes, api.cookie


def express_requests(kind: str, codes: list[str], cookie: str) -> Iterable[Request]:
    """P or F."""
    if kind == "P":
        return _each([f"/api/shared/{code}/preview" for code in codes])
    return _each([f"/api/shared/{code}" for code in codes], cookie)


def snappass(stage: Stage, store: redis.Redis) -> tuple[Server, Iterable[Request]]:
    """SnapPass on waitress's defaults and 8 threads, and its secrets' preview pages."""
    install_snappass()
    env = {
        "PATH": f"{SNAPPASS / 'bin'}:/usr/bin:/bin", "REDIS_URL": _url(store),
        "NO_SSL": "True", "SECRET_KEY": "of one benchmark",
    }  # fmt: skip
    command = (
        "waitress-serve --host=127.0.0.1 --port=$PORT --threads=8 snappass.main:app"
    )
    server = stage.server("snappass", command, "/", env, stage.folder)
    api, rng = Api(server.port), random.Random(SEED)
    paths = []
    for _ in range(SESSIONS):
        form = urlencode({"password": f"{rng.getrandbits(128):x}", "ttl": "Day"})
        paths.append(urlsplit(api.call("POST", "/", form)["link"]).path)
    return server, _each(paths)


def install_express() -> None:
    """npm's packages into a copy of the peer under .bench, unless they are there."""
    tool("node", "nodejs")
    source, target = HERE / "express_peer", EXPRESS
    manifest = target / "package.json"
    fresh = manifest.exists() and (target / "node_modules").exists() and (
        manifest.read_bytes() == (source / "package.json").read_bytes()
    )  # fmt: skip
    target.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "server.js"):
        shutil.copyfile(source / name, target / name)
    if not fresh:
        options = ["install", "--no-audit", "--no-fund", "--no-package-lock"]
        _install([tool("npm", "npm"), *options], target)


def install_snappass() -> None:
    """SnapPass into its own virtual environment, unless it is there."""
    wanted = HERE / "snappass" / "requirements.txt"
    installed = SNAPPASS / "requirements.txt"
    if installed.exists() and installed.read_bytes() == wanted.read_bytes():
        return
    _install([sys.executable, "-m", "venv", "--clear", str(SNAPPASS)], HERE)
    _install([str(SNAPPASS / "bin" / "pip"), "install", "-q", "-r", str(wanted)], HERE)
    shutil.copyfile(wanted, installed)


def _install(command: list[str], cwd: Path) -> None:
    print("installing:", " ".join(command), file=sys.stderr)
    cwd.mkdir(parents=True, exist_ok=True)
    subprocess.run(command, cwd=cwd, check=True, stdout=sys.stderr)


def _fill_express(store: redis.Redis) -> list[str]:
    """The same sessions as the service's, in the plain shape the peer reads."""
    rng = random.Random(SEED)
    contents = [slideshow(rng) for _ in range(SESSIONS)]
    codes = [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in contents]
    pipe = store.pipeline(transaction=False)
    for number, (code, content) in enumerate(zip(codes, contents, strict=True), 1):
        media = content.pop("media")
        fields: dict[str, str | int] = content | {
            "mediaCount": len(media), "ownerName": f"Owner Number {number % 10}",
            "userId": uuid.UUID(int=number % 10).hex, "isPublic": 1,
            "createdAt": "2026-11-24T12:00:00Z", "updatedAt": "2026-11-24T12:00:00Z",
        }  # fmt: skip
        pipe.set(f"share:{code}", number)
        pipe.hset(
            f"session:{{{number}}}", items=[x for pair in fields.items() for x in pair]
        )
        pipe.set(f"session:{{{number}}}:media", compact(media))
    pipe.execute()
    return codes


def _each(paths: list[str], cookie: str = "") -> Iterable[Request]:
    rng = random.Random(SEED)
    agents = user_agents(rng)
    for path in paths:
        for agent in rng.sample(agents, 4):
            yield Request(path, agent, cookie)


def _url(store: redis.Redis) -> str:
    return f"redis://127.0.0.1:{store.connection_pool.connection_kwargs['port']}"
