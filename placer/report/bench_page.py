"""``docs/benchmarks/REPORT.md``: what benches, sweeps and smoke tests have shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.report.bench_records import (
    QUALITY,
    SMOKE,
    SWEEP,
    bench_records,
    references,
)
from placer.report.bench_scores import score_blocks, score_chart, scored
from placer.report.bench_settings import settings_blocks, sweep_runs
from placer.report.bench_speeds import (
    decode_chart,
    memory_chart,
    prefill_chart,
    speed_blocks,
    speed_runs,
)
from placer.report.charts import chart_link
from placer.report.table import code, figure_columns, plain, table, text_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from placer.report.bench_records import BenchRecord, Reference
    from placer.report.bench_scores import Scored
    from placer.report.chart import Chart

NAME, ENGINES = "REPORT.md", "engines.md"
GENERATED = """\
Written by `placer report` from the journals of benches and sweeps; what is changed here
by hand is lost with the next one. Every run is linked: its journal is all there is to
know of it. A dash is a figure that is not known."""
NO_SCORES = "No bench of quality has come to its end: `placer bench quality PROFILE`."
NO_SPEEDS = "No bench of speed has come to its end: `placer bench speed PROFILE`."
NO_SWEEPS = "No sweep has come to its end: `placer sweep --list`."
NO_WATCH = "No smoke test is on record: `placer verify PROFILE --suite smoke`."
WATCH = (
    f"What another build of the engine changed stands in [{ENGINES}]({ENGINES}), by "
    "`placer verify --suite smoke`."
)
ALL_WHOLE = "All runs have come to their end."
ABOUT_BROKEN = """\
They count for nothing above. With `--resume` the same command goes on with the newest
bench or sweep of a profile."""
BROKEN = (
    *text_columns("profile", "run", "command", "ended"),
    *figure_columns("on record"),
)
# What each run has on record, and the command that goes on.
STEPS = {QUALITY: "graded", "speed": "measured", SWEEP: "run", SMOKE: "launched"}
COMMANDS = {
    QUALITY: "placer bench quality",
    "speed": "placer bench speed",
    SWEEP: "placer sweep",
    SMOKE: "placer verify --suite smoke",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Benches:
    """All that the page tells, read and put in order.

    Attributes:
        page: where it goes; links lead from there.
        records: all of them.
        scores: of each suite.
        speeds: the newest whole runs.
        sweeps: likewise.
    """

    page: Path
    records: tuple[BenchRecord, ...]
    scores: Mapping[str, Sequence[Scored]]
    speeds: Sequence[BenchRecord]
    sweeps: Sequence[BenchRecord]

    @property
    def charts(self) -> dict[str, Chart]:
        """By the names of their files; those that would be empty are not there."""
        found = {
            "scores.svg": score_chart(self.scores),
            "written.svg": decode_chart(self.speeds),
            "read.svg": prefill_chart(self.speeds),
            "memory.svg": memory_chart(self.speeds),
        }
        return {name: chart for name, chart in found.items() if chart.bars}

    def text(self) -> str:
        """The page."""
        return "\n\n".join(self._blocks()) + "\n"

    def _blocks(self) -> Iterator[str]:
        drawn = {name: chart_link(chart, name) for name, chart in self.charts.items()}
        yield "# Benchmarks"
        yield GENERATED
        yield "## Models by score"
        yield from score_blocks(self.scores) if self.scores else (NO_SCORES,)
        yield from _those(drawn, "scores.svg")
        yield "## Speed, memory and power"
        speeds = speed_blocks(self.speeds, self.page)
        yield from speeds if self.speeds else (NO_SPEEDS,)
        yield from _those(drawn, "written.svg", "read.svg", "memory.svg")
        yield "## What a wrong setting costs"
        sweeps = settings_blocks(self.sweeps, self.page)
        yield from sweeps if self.sweeps else (NO_SWEEPS,)
        yield "## Other builds of the engine"
        is_watched = any(one.kind == SMOKE and one.end for one in self.records)
        yield WATCH if is_watched else NO_WATCH
        yield "## Runs that did not come to their end"
        yield from _broken([one for one in self.records if one.end is None], self.page)


def benches(logs: Path, page: Path) -> Benches | None:
    """What is on record; None where there is nothing at all.

    Args:
        logs: the folder of records.
        page: where the page goes.

    Raises:
        JournalError: a record is damaged.
    """
    records, told = bench_records(logs), references(logs)
    return _benches(records, told, page) if records or told else None


def _benches(
    records: tuple[BenchRecord, ...], told: Sequence[Reference], page: Path
) -> Benches:
    return Benches(
        page=page,
        records=records,
        scores=scored(records, told, page),
        speeds=speed_runs(records),
        sweeps=sweep_runs(records),
    )


def _those(drawn: Mapping[str, str], *names: str) -> Iterator[str]:
    yield from (drawn[name] for name in names if name in drawn)


def _broken(records: Iterable[BenchRecord], page: Path) -> Iterator[str]:
    rows = [
        [
            plain(one.profile),
            one.link(one.stamp, page),
            code(COMMANDS[one.kind]),
            plain(one.stopped),
            str(len(one.of(STEPS[one.kind]))),
        ]
        for one in records
    ]
    if not rows:
        yield ALL_WHOLE
        return
    yield ABOUT_BROKEN
    yield table(BROKEN, rows)
