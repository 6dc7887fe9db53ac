"""What a request costs: Joip Share against Flask's Hello World and two peers.

    python bench/bench.py                       the whole table, as in RESULTS.md
    python bench/bench.py --only P,H --rounds 3 --seconds 2
    python bench/scale.py                       up to a million shared sessions

Servers run on core 0; wrk and Redis on core 1. Candidates take turns, so that what
drifts on a machine drifts for all of them; a ratio is taken within a round.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

import peers
import report
import service
from report import Row, Trips
from stage import LOAD_CORE, Api, BenchError, Load, Sample, Server, Stage, measure

SESSIONS = peers.SESSIONS
YARDSTICK = "yardstick"
OURS = ("P", "H", "F", "S", "Z")
PEERS = ("express-P", "express-F", "snappass")
PAIR = "pair"
TRIPS = "trips"
EVERYTHING = (*OURS, *PEERS, PAIR, TRIPS)
TRIP_KINDS = ("P", "P+", "H", "H+", "F", "S", "Z", "Z+")
WARM_UP = 3  # seconds; V8 needs them, Python does not


@dataclass(frozen=True)
class World:
    """The service, filled: what its requests are made of."""

    server: Server
    store: redis.Redis
    sessions: list[service.Shared]
    recipients: list[str]

    def load(self, stage: Stage, kind: str, server: Server | None = None) -> Load:
        """The requests of one kind, to the service or another process of it."""
        requests = service.requests(kind, self.sessions, self.recipients)
        return stage.load(server or self.server, requests)


def build_world(stage: Stage) -> World:
    """Start the service on an empty Redis and share a thousand sessions in it."""
    store = stage.redis()
    server = service.start(stage, store)
    owners = service.register(server, "owner")
    sessions = service.share(server, owners, SESSIONS)
    return World(server, store, sessions, service.register(server, "recipient"))


def build_peers(stage: Stage, wanted: Sequence[str]) -> dict[str, Load]:
    """The yardstick, and the peers that were asked for."""
    loads = {YARDSTICK: stage.load(*peers.yardstick(stage))}
    kinds = [name[-1] for name in wanted if name.startswith("express-")]
    if kinds:
        server, codes, cookie = peers.express(stage, stage.redis())
        for kind in kinds:
            requests = peers.express_requests(kind, codes, cookie)
            loads[f"express-{kind}"] = stage.load(server, requests)
    if "snappass" in wanted:
        loads["snappass"] = stage.load(*peers.snappass(stage, stage.redis()))
    return loads


def take_turns(
    loads: dict[str, list[Load]], rounds: int, seconds: int
) -> dict[str, list[list[Sample]]]:
    """A B C A B C …: for each name, a round's samples, one for each of its loads."""
    for name, together in loads.items():
        progress(f"warm-up: {name}")
        measure(together, WARM_UP, seed=0)
    samples: dict[str, list[list[Sample]]] = {name: [] for name in loads}
    for number in range(1, rounds + 1):
        for name, together in loads.items():
            progress(f"round {number} of {rounds}: {name}")
            samples[name].append(measure(together, seconds, seed=number))
    progress("")
    return samples


def round_trips(world: World, kind: str, repeats: int = 500) -> Trips:
    """Redis's own count of what one request asks of it, one request at a time.

    Each code was seen before by the process: the first pass is not counted.
    """
    requests = list(service.requests(kind, world.sessions[:50], world.recipients))[::4]
    api = Api(world.server.port, requests[0].agent)

    def send(count: int) -> None:
        for request in itertools.islice(itertools.cycle(requests), count):
            api.cookie = request.cookie
            api.call(request.method, request.path)

    send(4 * len(requests))
    before = _redis_counts(world.store)
    send(repeats)
    after = _redis_counts(world.store)
    reads = after[0] - before[0] - 1  # one for the INFO itself
    commands = {
        name: count / repeats
        for name in after[1]
        if (count := after[1][name] - before[1].get(name, 0)) and name != "info"
    }
    return Trips(kind, reads / repeats, commands)


def _redis_counts(store: redis.Redis) -> tuple[int, dict[str, int]]:
    """Reads from clients, and calls of each command, from scripts too."""
    info: dict[str, Any] = store.info("everything")
    calls = {
        name.removeprefix("cmdstat_"): int(stat["calls"])
        for name, stat in info.items()
        if name.startswith("cmdstat_")
    }
    return int(info["total_reads_processed"]), calls


def run(
    stage: Stage, wanted: Sequence[str], rounds: int, seconds: int
) -> report.Result:
    """Measure what was asked for."""
    loads = {name: [load] for name, load in build_peers(stage, wanted).items()}
    needed = {*OURS, PAIR, TRIPS} & set(wanted)
    world = build_world(stage) if needed else None
    trips: list[Trips] = []
    pair: report.Pair | None = None
    if world:
        ours = {kind: [world.load(stage, kind)] for kind in OURS if kind in wanted}
        loads = {YARDSTICK: loads.pop(YARDSTICK)} | ours | loads
    samples = take_turns(loads, rounds, seconds)
    single = {name: [s for (s,) in rounds_] for name, rounds_ in samples.items()}
    rows = [Row.of(name, single[name], single[YARDSTICK]) for name in single]
    if world and PAIR in wanted:
        pair = two_processes(stage, world, rounds, seconds)
    if world and TRIPS in wanted:
        trips = [round_trips(world, kind) for kind in TRIP_KINDS]
    return report.Result(rows, pair, trips, rounds, seconds)


def two_processes(stage: Stage, world: World, rounds: int, seconds: int) -> report.Pair:
    """P on one process, then on two at once, each on its core, over one Redis.

    The second shares its core with Redis and both wrk: there are only two.
    """
    second = service.start(stage, world.store, LOAD_CORE, "second")
    first_load, second_load = world.load(stage, "P"), world.load(stage, "P", second)
    samples = take_turns(
        {"one alone": [first_load], "two at once": [first_load, second_load]},
        rounds,
        seconds,
    )
    return report.Pair.of(samples["one alone"], samples["two at once"])


def progress(text: str) -> None:
    """One line that is written over, where someone watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="a round's, for each")
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=list(EVERYTHING),
        help=f"some of {','.join(EVERYTHING)}; writes no files",
    )  # fmt: skip
    options = parser.parse_args()
    if unknown := set(options.only) - set(EVERYTHING):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    started = time.monotonic()
    try:
        with Stage() as stage:
            result = run(stage, options.only, options.rounds, options.seconds)
            text = report.speed(result)
            if len(options.only) == len(EVERYTHING):
                report.write("speed", "CPU time a request", text)
                report.draw(result.rows)
    except BenchError as error:
        sys.exit(f"bench: {error}")
    print(text)
    print(f"({time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    main()
