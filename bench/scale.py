"""Whether a preview costs more among a million, and what a shared session weighs.

    python bench/scale.py                       the section of RESULTS.md; some 6 GB
    python bench/scale.py --sizes 1000,100000 --rounds 3 --seconds 2

In each Redis the first thousand sessions are made through the service's own API. The
others are copies of them, key by key, under ids and codes of their own.
"""

from __future__ import annotations

import argparse
import random
import socket
import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

import redis

import report
import service
from bench import SESSIONS, World, build_world, progress, take_turns
from content import compact, user_agents
from report import Row
from stage import Api, BenchError, Load, Stage

SIZES = (1_000, 100_000, 1_000_000)
AT_MOST = 1.05  # P among the most, against P among the fewest
WEIGHED = 2_000  # sessions over which memory's growth is taken
FIRST_ID = 1_000_001  # of the copies; all of one length, like their placeholder
ID = b"\x00<ID>\x00\x01"
CODE = b"\x00<the share code, 36 characters>".ljust(35, b".") + b"\x00"
CHUNK = 4 << 20


# ---------------------------------------------------------------------------- copies


def fill(world: World, size: int, seed: int) -> list[str]:
    """Copy sessions until there are `size`; the codes of all."""
    codes = [shared.code for shared in world.sessions]
    templates = [template(world.store, shared) for shared in world.sessions]
    rng = random.Random(seed)
    copies = size - len(codes)
    new = [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(copies)]
    keys, errors, each = world.store.dbsize(), _errors(world.store), _keys_of(world)
    _send(world.store, _copies(templates, new))
    written = world.store.dbsize() - keys
    if written != copies * each or _errors(world.store) != errors:
        raise BenchError(f"{copies} copies came out as {written} keys")
    check(world, new)
    return codes + new


def template(store: redis.Redis, shared: service.Shared) -> bytes:
    """The commands that write a copy of one session, as Redis's protocol has them."""
    number, code = str(shared.id).encode(), shared.code.encode()
    owner: Any = store.hget(f"session:{{{shared.id}}}", "userId")
    own = f"user:{{{owner.decode()}}}:sessions"
    commands = [_rewrite(store, key) for key in _keys(store, shared)]
    commands.append(["SET", f"share:{shared.code}", ID])
    commands.append(["ZADD", own, store.zscore(own, shared.id), ID])

    def generic(given: object) -> bytes:
        word = given if isinstance(given, bytes) else str(given).encode()
        return word.replace(b"{%b}" % number, b"{%b}" % ID).replace(code, CODE)

    return b"".join(_packed([generic(word) for word in words]) for words in commands)


def _keys(store: redis.Redis, shared: service.Shared) -> list[bytes]:
    """The keys of a session's slot. (SCAN would be too slow to do for each.)"""
    base = f"session:{{{shared.id}}}"
    parts = ("", ":media", ":shares", ":codes", ":stats", ":daily", ":referrers")
    return [(base + part).encode() for part in parts if store.exists(base + part)]


def _keys_of(world: World) -> int:
    """How many keys a shared session has, by Redis's own count."""
    named = sum(1 for key in world.store.scan_iter(count=10_000) if _is_sessions(key))
    each, rest = divmod(named, len(world.sessions))
    if rest or each != len(_keys(world.store, world.sessions[0])) + 1:  # share:<code>
        raise BenchError(
            f"{named} keys of {len(world.sessions)} sessions: unknown kinds"
        )
    return each


def _is_sessions(key: bytes) -> bool:
    return key.startswith((b"session:{", b"share:"))


def _rewrite(store: redis.Redis, key: bytes) -> list[Any]:
    """The command that writes what a key holds."""
    kind = store.type(key)
    if kind == b"string":
        return ["SET", key, store.get(key)]
    if kind == b"hash":
        return ["HSET", key, *(x for pair in store.hgetall(key).items() for x in pair)]
    raise BenchError(f"{key!r} holds a {kind!r}, which bench/scale.py cannot copy")


def _packed(words: Sequence[bytes]) -> bytes:
    parts = [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"*%d\r\n%b" % (len(words), b"".join(parts))


def _copies(templates: Sequence[bytes], codes: Iterable[str]) -> Iterator[bytes]:
    for number, code in enumerate(codes):
        text = templates[number % len(templates)]
        copy_id = b"%d" % (FIRST_ID + number)
        yield text.replace(ID, copy_id).replace(CODE, code.encode())


def _send(store: redis.Redis, commands: Iterable[bytes]) -> None:
    """Write raw commands, some megabytes at a time; read no replies but the last."""
    port = store.connection_pool.connection_kwargs["port"]
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(b"CLIENT REPLY OFF\r\n")
        buffer = bytearray()
        for number, command in enumerate(commands):
            buffer += command
            if len(buffer) > CHUNK:
                progress(f"copies: {number:,}")
                link.sendall(buffer)
                buffer.clear()
        link.sendall(bytes(buffer) + b"CLIENT REPLY ON\r\n")
        if link.recv(16) != b"+OK\r\n":
            raise BenchError("Redis did not take the copies")


def _errors(store: redis.Redis) -> int:
    return int(store.info("stats")["total_error_replies"])


def check(world: World, codes: Sequence[str]) -> None:
    """Some copies must read, for the service, as what they were copied from."""
    api = Api(world.server.port)  # curl's user agent is a bot's: not counted
    for number in range(0, len(codes), max(1, len(codes) // 50)):
        original = world.sessions[number % len(world.sessions)].code
        copied = _full(api, codes[number], world.recipients[0])
        wanted = _full(api, original, world.recipients[0])
        if copied != {**wanted, "shareCode": codes[number]}:
            raise BenchError(f"a copy differs: {codes[number]} of {original}")


def _full(api: Api, code: str, cookie: str) -> dict[str, Any]:
    api.cookie = ""
    preview: dict[str, Any] = api.call("GET", f"/api/shared/{code}/preview")
    api.cookie = cookie
    media = api.call("GET", f"/api/shared/media/{code}")
    return {**preview, "media": media}


# ----------------------------------------------------------------------------- scale


def scale(stage: Stage, sizes: Sequence[int], rounds: int, seconds: int) -> str:
    """P among each number of sessions, in turns; all Redises stand at the same time."""
    loads = {f"{size:,}": [_load(stage, size)] for size in sizes}
    samples = {
        name: [sample for (sample,) in those]
        for name, those in take_turns(loads, rounds, seconds).items()
    }
    base = samples[f"{sizes[0]:,}"]
    rows = [Row.of("P", samples[name], base) for name in samples]
    head = ["shared sessions", "requests/s", "CPU µs a request", "p50 ms", "p99 ms",
            "CPU ratio"]  # fmt: skip
    cells = [[name, *row.cells()[1:]] for name, row in zip(samples, rows, strict=True)]
    last = rows[-1].ratio
    what = f"P among {sizes[-1]:,} against P among {sizes[0]:,}"
    return (
        f"P over {SESSIONS:,} codes drawn from all; {rounds} rounds of {seconds} s in "
        f"turns.\n\n{report.table(head, cells)}\n\n"
        + report.table(
            ["target", "at most", "measured", ""],
            [[what, f"{AT_MOST:.2f}", last.text(2), report.verdict(last.mid, AT_MOST)]],
        )
    )


def _load(stage: Stage, size: int) -> Load:
    progress(f"filling {size:,}")
    world = build_world(stage)
    codes = fill(world, size, seed=size)
    rng = random.Random(size)
    chosen = [
        replace(world.sessions[0], code=code)
        for code in rng.sample(codes, min(SESSIONS, len(codes)))
    ]
    return stage.load(world.server, service.requests("P", chosen, world.recipients))


# ---------------------------------------------------------------------------- memory


@dataclass(frozen=True)
class Weight:
    """Bytes of one shared session, the mean over many."""

    posted: float  # its fields and media as its owner posted them, compact JSON
    answered: float  # the same as the API answers them, with ids and times
    dataset: float  # growth of used_memory_dataset, created and shared
    total: float  # growth of used_memory
    visited: float  # growth of used_memory_dataset, opened and played once besides


def weigh(stage: Stage, count: int) -> Weight:
    """Create, share and open sessions for real, and see how much Redis grows."""
    progress(f"weighing {count:,}")
    world = build_world(stage)
    owners = sorted({shared.owner for shared in world.sessions})
    before = _memory(world.store)
    sessions = service.share(world.server, owners, count, seed=service.SEED + 1)
    shared = _memory(world.store)
    _visit(world, sessions)
    visited = _memory(world.store)
    return Weight(
        posted=mean(len(compact(s.content)) for s in sessions),
        answered=mean(len(compact(answer)) for answer in _answers(world, sessions)),
        dataset=(shared[0] - before[0]) / count,
        total=(shared[1] - before[1]) / count,
        visited=(visited[0] - before[0]) / count,
    )


def _memory(store: redis.Redis) -> tuple[int, int]:
    info = store.info("memory")
    return int(info["used_memory_dataset"]), int(info["used_memory"])


def _visit(world: World, sessions: Sequence[service.Shared]) -> None:
    api = Api(world.server.port, user_agents(random.Random(0), 1)[0])
    for shared in sessions:
        api.cookie = ""
        api.call("GET", f"/api/shared/{shared.code}/preview")
        api.cookie = world.recipients[0]
        api.call("GET", f"/api/shared/{shared.code}")


def _answers(world: World, sessions: Sequence[service.Shared]) -> Iterator[Any]:
    api = Api(world.server.port)
    for shared in sessions[::20]:
        api.cookie = shared.owner
        answer = api.call("GET", f"/api/sessions/{shared.id}")
        yield {"session": answer["session"], "media": answer["media"]}


def weight_table(weight: Weight, count: int) -> str:
    """What a shared session weighs, against its own JSON."""
    rows = [
        ["its fields and media as posted, compact JSON", weight.posted],
        ["the same as the API answers them", weight.answered],
        ["Redis: growth of `used_memory_dataset`", weight.dataset],
        ["Redis: growth of `used_memory`, the key table and all", weight.total],
        [
            "Redis: `used_memory_dataset`, opened and played once besides",
            weight.visited,
        ],
    ]
    cells = [[str(name), f"{size:,.0f}"] for name, size in rows]
    what = "bytes of Redis, opened and played once, against its JSON as posted"
    ratio = weight.visited / weight.posted
    target = [what, "1.00", f"{ratio:.2f}", report.verdict(ratio, 1)]
    head = [f"one shared session of 20 media, mean of {count:,}", "bytes"]
    return (
        f"{report.table(head, cells)}\n\n"
        "A day's HyperLogLog of visitors may add up to 12 kB, for two days.\n\n"
        f"{report.table(['target', 'at most', 'measured', ''], [target])}"
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument(
        "--sizes", type=lambda text: [int(n) for n in text.split(",")], default=SIZES,
        help="numbers of sessions; other than the usual writes no file",
    )  # fmt: skip
    options = parser.parse_args()
    try:
        with Stage() as stage:
            weight = weight_table(weigh(stage, WEIGHED), WEIGHED)
        with Stage() as stage:
            text = scale(stage, options.sizes, options.rounds, options.seconds)
    except BenchError as error:
        sys.exit(f"bench: {error}")
    text = f"{text}\n\n{weight}"
    if tuple(options.sizes) == SIZES:
        report.write("scale", "Scale and memory", text)
    print(text)


if __name__ == "__main__":
    main()
