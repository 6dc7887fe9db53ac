"""What a run found: the tables, and their section of docs/performance.md."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from bench.stage import ROOT, Sample

PAGE = ROOT / "docs" / "performance.md"
SECTION = re.compile("(<!-- bench -->\n).*(<!-- /bench -->)", re.DOTALL)
YARDSTICK = "hello"
LABELS = {
    YARDSTICK: "Flask's Hello World on waitress",
    "P": "P: a full preview, as JSON",
    "H": "H: the preview page",
    "F": "F: the full session, signed in",
    "S": "S: sharing again",
    "N": "N: sharing for the first time",
    "Z": "Z: `/healthz`",
    "express-P": "Express: P",
    "express-F": "Express: F",
    "snappass": "SnapPass: a secret's preview page",
}
TARGETS = (  # candidate, against which other, at most
    ("P", YARDSTICK, 1.20),
    ("H", YARDSTICK, 1.35),
    ("F", YARDSTICK, 1.45),
    ("S", YARDSTICK, 1.30),
    ("Z", YARDSTICK, 0.80),
    ("P", "express-P", 0.85),
    ("F", "express-F", 0.80),
    ("H", "snappass", 0.70),
)

Samples = dict[str, list[Sample]]  # a candidate's rounds


def speed(samples: Samples) -> str:
    """What each request cost, and which targets that meets."""
    head = ["request", "requests/s", "CPU µs", "p50 ms", "p99 ms", "CPU ratio"]
    rows = [_row(name, samples) for name in samples]
    met = [
        _target(samples, *target) for target in TARGETS if {*target[:2]} <= {*samples}
    ]
    return f"{table(head, rows)}\n\n{table(['target', 'at most', 'is', ''], met)}"


def round_trips(trips: dict[str, tuple[float, dict[str, float]]]) -> str:
    """How often a request asks Redis, and what it asks."""
    rows = [
        [
            LABELS[kind],
            f"{reads:.2f}",
            ", ".join(f"{n} {c:.2g}" for n, c in did.items()),
        ]
        for kind, (reads, did) in trips.items()
    ]
    return table(["request", "round trips", "commands, in scripts too"], rows)


def _row(name: str, samples: Samples) -> list[str]:
    rounds = samples[name]
    return [
        LABELS[name],
        spread((s.rate for s in rounds), 0),
        spread((s.cpu for s in rounds), 0),
        f"{median(s.p50 for s in rounds):.2f}",
        f"{median(s.p99 for s in rounds):.2f}",
        spread(ratios(rounds, samples[YARDSTICK]), 2),
    ]


def _target(samples: Samples, name: str, other: str, at_most: float) -> list[str]:
    measured = ratios(samples[name], samples[other])
    verdict = "met" if median(measured) <= at_most else "MISSED"
    return [f"{name} against {other}", f"{at_most:.2f}", spread(measured, 2), verdict]


def ratios(rounds: Sequence[Sample], others: Sequence[Sample]) -> list[float]:
    """CPU time per request, round by round."""
    return [mine.cpu / its.cpu for mine, its in zip(rounds, others, strict=True)]


def spread(values: Iterable[float], digits: int) -> str:
    """The median, and between what the middle half is: `1.10 (1.08-1.13)`."""
    ordered = sorted(values)
    quarter = len(ordered) // 4
    ends = median(ordered), ordered[quarter], ordered[-1 - quarter]
    return "{} ({}-{})".format(*(f"{value:,.{digits}f}" for value in ends))


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines
    )


def write(text: str) -> None:
    """Put a run into the page in place of the last one's."""
    page = PAGE.read_text(encoding="utf-8")
    section = f"{text}\n\n{versions()}\n"
    PAGE.write_text(
        SECTION.sub(lambda found: found[1] + section + found[2], page), "utf-8"
    )


def versions() -> str:
    """The day, the machine and the versions of what ran."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    names = ("flask", "werkzeug", "waitress", "redis", "hiredis", "msgspec")
    packages = [f"{name} {version(name)}" for name in names]
    programs = [
        _first_line("redis-server", "--version"),
        f"Node {_first_line('node', '--version')}",
    ]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}; {cpu[1] if cpu else platform.machine()}, "
        f"{os.cpu_count()} cores; Python {platform.python_version()}, "
        f"{', '.join([*packages, *programs])}."
    )


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.partition("\n")[0].partition(" sha=")[0]
