"""What a request costs: Joip Share against Flask's Hello World, Express and SnapPass.

    make bench                            the whole table, for docs/performance.md
    PYTHONPATH=tests python -m bench --only P,H --rounds 3 --seconds 2

Servers run on core 0; wrk and Redis on core 1. Candidates take turns of a second, so
that what drifts on a machine drifts for all of them; a ratio is taken within a round.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from typing import Any

import redis

from bench import report
from bench.candidates import Express, Service, hello_world, snappass
from bench.report import LABELS, YARDSTICK
from bench.stage import Api, BenchError, Load, Sample, Stage, measure

OURS = ("P", "H", "F", "S", "N", "Z")
WARM_UP = 3  # seconds; V8 needs them, Python does not


def start(stage: Stage, wanted: Sequence[str]) -> tuple[dict[str, Load], Service]:
    """The candidates that were asked for, after the yardstick; and the service."""
    service = Service.start(stage)
    loads = {YARDSTICK: stage.load(*hello_world(stage))}
    for kind in OURS:
        if kind in wanted:
            loads[kind] = stage.load(service.server, service.requests(kind))
    express = Express(stage) if {"express-P", "express-F"} & {*wanted} else None
    for kind in "PF":
        if express and f"express-{kind}" in wanted:
            requests = express.requests(kind)
            loads[f"express-{kind}"] = stage.load(express.server, requests)
    if "snappass" in wanted:
        loads["snappass"] = stage.load(*snappass(stage))
    return loads, service


def take_turns(
    loads: dict[str, Load], rounds: int, seconds: int
) -> dict[str, list[Sample]]:
    """A B C A B C …: each candidate's samples, one per round."""
    for name, load in loads.items():
        progress(f"warm-up: {name}")
        measure(load, WARM_UP, seed=0)
    samples: dict[str, list[Sample]] = {name: [] for name in loads}
    for number in range(1, rounds + 1):
        for name, load in loads.items():
            progress(f"round {number} of {rounds}: {name}")
            samples[name].append(measure(load, seconds, seed=number))
    progress("")
    return samples


def round_trips(
    service: Service, kind: str, count: int = 200
) -> tuple[float, dict[str, float]]:
    """Redis's own count of what one request asks of it, one request at a time: the
    packets that it read, and the commands, those of scripts too."""
    first = [*itertools.islice(service.requests(kind), 0, 4 * count, 4)]
    api = Api(service.server, first[0].agent)
    counts = []
    for number in ("known", "counted"):  # at first the process gets to know the codes
        counts.append(redis_counts(service.store))
        for n, request in enumerate(first):
            api.headers["Cookie"] = request.cookie
            body = request.body.replace("$n", f"{number}-{n}")
            json = {"headers": {"Content-Type": "application/json"}, "data": body}
            api.call(request.method, request.path, **(json if body else {}))
    (reads, before), (reads_after, after) = counts[1], redis_counts(service.store)
    calls = {name: (after[name] - before.get(name, 0)) / count for name in after}
    asked = {name: each for name, each in calls.items() if each and name != "info"}
    return (reads_after - reads - 1) / count, asked  # one for the INFO itself


def redis_counts(store: redis.Redis) -> tuple[int, dict[str, int]]:
    """Reads from clients, and calls of each command."""
    info: dict[str, Any] = store.info("everything")
    calls = {
        name.removeprefix("cmdstat_"): int(stat["calls"])
        for name, stat in info.items()
        if name.startswith("cmdstat_")
    }
    return int(info["total_reads_processed"]), calls


def progress(text: str) -> None:
    """One line that is written over, where someone watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main() -> None:
    """The command line."""
    everything = [name for name in LABELS if name != YARDSTICK]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=1, help="of a candidate's round")
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=everything,
        help=f"some of {','.join(everything)}; then no file is written",
    )
    options = parser.parse_args()
    if unknown := {*options.only} - {*everything}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    try:
        with Stage() as stage:
            loads, service = start(stage, options.only)
            trips = {k: round_trips(service, k) for k in OURS if k in options.only}
            text = report.speed(take_turns(loads, options.rounds, options.seconds))
    except BenchError as error:
        sys.exit(f"bench: {error}")
    text = f"{text}\n\n{report.round_trips(trips)}"
    print(text)
    if options.only == everything:
        report.write(text)


if __name__ == "__main__":
    main()
