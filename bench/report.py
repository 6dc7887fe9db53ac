"""What a run found: the table, RESULTS.md and its chart."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Self

from stage import CONNECTIONS, HERE, Sample

RESULTS = HERE / "RESULTS.md"
CHART = HERE / "results.svg"
INTRODUCTION = """\
# What a request costs

Written by `make bench` and `make bench-scale`; what is measured, and how, is in
[bench.py](bench.py). Absolute figures belong to the machine and drift; the ratios of
one run are the result. Figures are medians over the rounds, with the lowest and the
highest round behind them. What was tried on the row that is missed stands in the
[README](../README.md#what-it-costs).
"""
LABELS = {
    "yardstick": "yardstick: Flask `jsonify(ok=True)`",
    "P": "P: `GET /api/shared/:code/preview`",
    "H": "H: `GET /shared/:code?r=…`",
    "F": "F: `GET /api/shared/:code`, signed in",
    "S": "S: `POST /api/sessions/:id/share`",
    "Z": "Z: `GET /healthz`",
    "express-P": "Express: P",
    "express-F": "Express: F",
    "snappass": "SnapPass: a secret's preview page",
}
TARGETS = (  # request, against, at most
    ("P", "yardstick", 1.15),
    ("P", "express-P", 0.6),
    ("H", "yardstick", 1.45),
    ("H", "snappass", 0.85),
    ("F", "yardstick", 1.4),
    ("F", "express-F", 0.8),
    ("S", "yardstick", 1.45),
    ("Z", "yardstick", 0.8),
)
PAIR_TARGET = 1.3
TRIP_TARGETS = {"P": 1, "P+": 2, "H": 1, "H+": 2, "F": 2, "S": 2, "Z": 0, "Z+": 0}
TRIP_SLACK = 0.02  # a connection may be made anew in between


@dataclass(frozen=True)
class Spread:
    """A median, and the lowest and highest value behind it."""

    low: float
    mid: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Over one value a round."""
        ordered = sorted(values)
        return cls(ordered[0], median(ordered), ordered[-1])

    def text(self, digits: int) -> str:
        """As in `1.10 (1.08-1.13)`."""
        low, mid, high = (f"{x:,.{digits}f}" for x in (self.low, self.mid, self.high))
        return f"{mid} ({low}-{high})"


@dataclass(frozen=True)
class Row:
    """One candidate's rounds."""

    name: str
    samples: list[Sample]
    ratio: Spread  # CPU a request, to the yardstick's in the same round

    @classmethod
    def of(cls, name: str, samples: list[Sample], yardstick: list[Sample]) -> Self:
        """From the rounds of a candidate and those of the yardstick."""
        return cls(name, samples, ratios(samples, yardstick))

    def cells(self) -> list[str]:
        """The row as the table shows it."""
        return [
            LABELS[self.name],
            Spread.of(s.rate for s in self.samples).text(0),
            Spread.of(s.cpu for s in self.samples).text(0),
            f"{median(s.p50 for s in self.samples):.2f}",
            f"{median(s.p99 for s in self.samples):.2f}",
            self.ratio.text(2),
        ]


@dataclass(frozen=True)
class Pair:
    """Two processes at once, each against one alone: CPU a request."""

    first: Spread
    second: Spread

    @classmethod
    def of(cls, alone: list[list[Sample]], both: list[list[Sample]]) -> Self:
        """From the rounds of one process alone and of the two together."""
        base = [samples[0] for samples in alone]
        return cls(
            ratios([samples[0] for samples in both], base),
            ratios([samples[1] for samples in both], base),
        )


@dataclass(frozen=True)
class Trips:
    """What one request of a kind asks of Redis; `+` is with a recipient's login."""

    kind: str
    reads: float  # packets of commands that Redis read: round trips
    commands: dict[str, float]  # those inside scripts are among them


@dataclass(frozen=True)
class Result:
    """All that one run measured."""

    rows: list[Row]
    pair: Pair | None
    trips: list[Trips]
    rounds: int
    seconds: int


def ratios(samples: Sequence[Sample], base: Sequence[Sample]) -> Spread:
    """CPU a request, round by round."""
    return Spread.of(s.cpu / b.cpu for s, b in zip(samples, base, strict=True))


def speed(result: Result) -> str:
    """The table, the targets, the round trips."""
    parts = [
        f"{result.rounds} rounds of {result.seconds} s in turns after a warm-up, "
        f"{CONNECTIONS} connections, server on core 0, load and Redis on core 1; "
        "1,000 shared sessions of 20 media, counters and request log on.",
        table(
            [
                "request",
                "requests/s",
                "CPU µs a request",
                "p50 ms",
                "p99 ms",
                "CPU ratio",
            ],
            [row.cells() for row in result.rows],
        ),
    ]
    if targets := list(_targets(result)):
        parts.append(table(["target", "at most", "measured", ""], targets))
    if result.trips:
        parts.append(
            table(
                ["request (+: a recipient's login)", "round trips to Redis", "at most",
                 "", "its commands, those inside scripts included"],
                [_trip_cells(trips) for trips in result.trips],
            )
        )  # fmt: skip
    return "\n\n".join(parts)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; columns after the first are right-aligned where numeric."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [_line(head, widths), _line(["-" * width for width in widths], widths)]
    return "\n".join(lines + [_line(row, widths) for row in rows])


def _line(cells: list[str], widths: list[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def verdict(measured: float, at_most: float) -> str:
    """Met, or missed by how much."""
    if measured <= at_most:
        return "met"
    return f"MISSED by {100 * (measured / at_most - 1):.0f} %" if at_most else "MISSED"


def _targets(result: Result) -> Iterable[list[str]]:
    rows = {row.name: row for row in result.rows}
    for name, against, at_most in TARGETS:
        if name in rows and against in rows:
            spread = ratios(rows[name].samples, rows[against].samples)
            yield _target(f"{name} against {against}", spread, at_most)
    if result.pair:
        what = "P, two pinned processes at once against one alone"
        yield _target(f"{what}: the first", result.pair.first, PAIR_TARGET)
        yield _target(f"{what}: the second", result.pair.second, PAIR_TARGET)


def _target(what: str, spread: Spread, at_most: float) -> list[str]:
    return [what, f"{at_most:.2f}", spread.text(2), verdict(spread.mid, at_most)]


def _trip_cells(trips: Trips) -> list[str]:
    at_most = TRIP_TARGETS[trips.kind]
    commands = ", ".join(
        f"{name} {count:.2g}" for name, count in trips.commands.items()
    )
    return [
        trips.kind, f"{trips.reads:.2f}", str(at_most),
        verdict(trips.reads - TRIP_SLACK, at_most), commands,
    ]  # fmt: skip


def versions() -> str:
    """The machine and the versions of all that ran, as one paragraph."""
    packages = ("flask", "werkzeug", "waitress", "redis", "hiredis", "msgspec")
    found = [f"{name} {version(name)}" for name in packages]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}. {_cpu()}, {os.cpu_count()} cores, Linux "
        f"{platform.release()}. Python {platform.python_version()}, "
        f"{', '.join(found)}; "
        f"{_says('redis-server', '--version')}, {_says('wrk', '--version')}; "
        f"Node {_says('node', '--version')}, {_express_versions()}; "
        f"{_snappass_version()}."
    )


def _cpu() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    match = re.search(r"model name\s*:\s*(.+)", text)
    return match[1].strip() if match else platform.machine()


def _says(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    words = re.search(r"(?:(\w+)\D*?)?v?=?(\d+\.\d+[\w.]*)", done.stdout + done.stderr)
    name = command[0].removesuffix("-server").capitalize()
    if not words:
        return name
    return words[2] if command[0] == "node" else f"{name} {words[2]}"


def _express_versions() -> str:
    text = (HERE / "express_peer" / "package.json").read_text(encoding="utf-8")
    pairs = re.findall(
        r'"([\w-]+)": "(\d+\.\d+\.\d+)"', text.partition("dependencies")[2]
    )
    return ", ".join(f"{name} {number}" for name, number in pairs)


def _snappass_version() -> str:
    text = (HERE / "snappass" / "requirements.txt").read_text(encoding="utf-8")
    return ", ".join(re.findall(r"^(snappass==.+)$", text, re.MULTILINE)).replace(
        "==", " "
    )


def write(section: str, title: str, text: str) -> None:
    """Put a section into RESULTS.md in place of the last run's; leave the others."""
    old = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else INTRODUCTION
    begin, end = f"<!-- {section} -->", f"<!-- /{section} -->"
    new = f"{begin}\n## {title}\n\n{text}\n\n{versions()}\n{end}"
    pattern = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    if pattern.search(old):
        RESULTS.write_text(pattern.sub(lambda _: new, old), encoding="utf-8")
    else:
        RESULTS.write_text(f"{old.rstrip()}\n\n{new}\n", encoding="utf-8")


# ---------------------------------------------------------------------------- chart

STYLE = """\
  text { font: 14px system-ui, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; }
  .quiet { fill: #59636e; font-size: 12px; }
  .ours { fill: #0969da; }
  .peer { fill: #afb8c1; }
  .line { stroke: #59636e; stroke-dasharray: 4 3; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .quiet { fill: #9198a1; }
    .ours { fill: #4493f8; }
    .peer { fill: #656c76; }
    .line { stroke: #9198a1; }
  }"""
WIDTH, LEFT, TOP, STEP, BAR = 760, 268, 62, 30, 18


def draw(rows: Sequence[Row]) -> None:
    """The CPU ratios as bars, legible on light and on dark."""
    scale = (WIDTH - LEFT - 60) / max(row.ratio.mid for row in rows)
    height = TOP + STEP * len(rows) + 14
    one = LEFT + scale
    bars = "\n".join(_bar(row, TOP + STEP * n, scale) for n, row in enumerate(rows))
    CHART.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-labelledby="title">\n'
        f'<title id="title">{_summary(rows)}</title>\n<style>\n{STYLE}\n</style>\n'
        '<text class="title" x="0" y="18">CPU time a request, one core</text>\n'
        '<text class="quiet" x="0" y="38">against Flask\'s Hello World on waitress '
        "(less is better)</text>\n"
        f'{bars}\n<line class="line" x1="{one:.1f}" x2="{one:.1f}" y1="{TOP - 8}" '
        f'y2="{height - 8}"/>\n</svg>\n',
        encoding="utf-8",
    )


def _bar(row: Row, y: int, scale: float) -> str:
    label = LABELS[row.name].replace("`", "")
    kind = "peer" if row.name == "yardstick" or len(row.name) > 1 else "ours"
    width = scale * row.ratio.mid
    return (
        f'<text x="0" y="{y + 14}">{label}</text>'
        f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{width:.1f}" '
        f'height="{BAR}" rx="2"/>'
        f'<text x="{LEFT + width + 8:.1f}" y="{y + 14}">{row.ratio.mid:.2f}</text>'
    )


def _summary(rows: Sequence[Row]) -> str:
    return "CPU time a request against Flask's Hello World: " + ", ".join(
        f"{LABELS[row.name].partition(':')[0] if len(row.name) == 1 else row.name} "
        f"{row.ratio.mid:.2f}"
        for row in rows
    )
