"""Models by their scores: those that were measured here, and what others say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from placer.report.bench_records import QUALITY, newest, understood
from placer.report.chart import Bar, Chart, Group, Part
from placer.report.figures import DASH, mib_text, rate_text
from placer.report.table import figure_columns, plain, table, text_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from placer.report.bench_records import BenchRecord, Reference

COLUMNS = (
    *text_columns("model"),
    *figure_columns("pass@1", "95 % interval"),
    *text_columns("other scores"),
    *figure_columns("problems", "cut off", "tokens/s", "VRAM MiB"),
    *text_columns("sampling", "build", "day", "run or source"),
)
ABOUT = """\
The newest whole run of each profile, by suite, problems and sampling. The interval is
for problems of this sort, and not for these alone: two models whose intervals overlap
much were not told apart. *Cut off* are answers that were longer than they might be;
where they are many, the score says little of the model. *VRAM* is the most that the
server held of all devices together. Each line leads to the run that made it. A
*reference* was not measured here: its line leads to who says so, and how it was asked
may differ."""
# What would end the address of a link.
IN_A_LINK = {ord(mark): f"%{ord(mark):02X}" for mark in "()<>|"}
LEGEND = (("answer", "measured here"), ("rival", "reference, not measured here"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A line of the table, and a bar of the chart.

    Attributes:
        suite: what was asked.
        name: of the model.
        score: pass@1 as a share; None where only other k were looked at.
        interval: of it; None where nobody says.
        cells: of the table.
        is_reference: whether somebody else measured it.
    """

    suite: str
    name: str
    score: float | None
    interval: tuple[float, float] | None
    cells: tuple[str, ...]
    is_reference: bool


def scored(
    records: Iterable[BenchRecord], told: Sequence[Reference], page: Path
) -> dict[str, list[Scored]]:
    """Of each suite, its models, the best first.

    Raises:
        JournalError: a record is not what a bench writes.
    """
    of_quality = [record for record in records if record.kind == QUALITY]
    lines = [_measured(one, page) for one in newest(of_quality, _question)]
    lines += [_told(one) for one in told]
    found: dict[str, list[Scored]] = {}
    for line in sorted(lines, key=_rank):
        found.setdefault(line.suite, []).append(line)
    return dict(sorted(found.items()))


def score_blocks(found: Mapping[str, Sequence[Scored]]) -> Iterator[str]:
    """A table a suite."""
    yield ABOUT
    for suite, lines in found.items():
        yield f"### {plain(suite)}"
        yield table(COLUMNS, [line.cells for line in lines])


def score_chart(found: Mapping[str, Sequence[Scored]]) -> Chart:
    """pass@1 of all models, suite by suite."""
    groups = (
        Group(
            title=suite,
            bars=tuple(_bar(x, x.score) for x in lines if x.score is not None),
        )
        for suite, lines in found.items()
    )
    return Chart(
        title="Problems that are solved at the first answer",
        unit="%",
        groups=tuple(group for group in groups if group.bars),
        legend=LEGEND,
        note="Whiskers are the 95 % interval; of a reference nobody knows it.",
    )


def _question(record: BenchRecord) -> tuple[str, ...]:
    """What makes two runs of a profile comparable."""
    header = record.header
    asked = (header[name] for name in ("problems", "sampling", "style", "samples"))
    return (header["suite"], *(json.dumps(one, sort_keys=True) for one in asked))


def _measured(record: BenchRecord, page: Path) -> Scored:
    with understood(record):
        return _line(record, record.end or {}, page)


def _line(record: BenchRecord, end: Mapping[str, Any], page: Path) -> Scored:
    header = record.header
    first = next((one for one in end["scores"] if one["k"] == 1), None)
    mean = None if first is None else float(first["mean"])
    interval = None if first is None else (float(first["low"]), float(first["high"]))
    held = end["held_bytes"]
    is_slow = record.is_emulated or end["decode_tokens_per_s"] is None
    answers = sum(end["grades"].values())
    cells = (
        plain(record.profile),
        DASH if mean is None else _share(mean),
        DASH if interval is None else " to ".join(map(_share, interval)),
        _others(end),
        str(len(header["problems"])),
        f"{end['truncated']} of {answers}" if end["truncated"] else "0",
        DASH if is_slow else rate_text(end["decode_tokens_per_s"]),
        mib_text(None if held is None else sum(held)),
        _sampling(header),
        plain(str(header["engine"])) + (", emulated" if record.is_emulated else ""),
        record.day,
        record.link(record.stamp, page),
    )
    return Scored(
        suite=str(header["suite"]),
        name=record.profile,
        score=mean,
        interval=interval,
        cells=cells,
        is_reference=False,
    )


def _told(one: Reference) -> Scored:
    is_first = one.k == 1
    name, figure = f"{plain(one.name)} (reference)", _share(one.score)
    other = DASH if is_first else f"pass@{one.k} {figure}"
    unknown = (DASH,) * 4
    cells = (
        name,
        figure if is_first else DASH,
        DASH,
        other,
        *unknown,
        DASH,
        DASH,
        plain(one.day),
        f"[source]({one.source.translate(IN_A_LINK)})",
    )
    return Scored(
        suite=one.suite,
        name=f"{one.name} (reference)",
        score=one.score if is_first else None,
        interval=None,
        cells=cells,
        is_reference=True,
    )


def _rank(line: Scored) -> tuple[str, float, str, bool]:
    score = -1.0 if line.score is None else line.score
    return line.suite, -score, line.name, line.is_reference


def _others(end: Mapping[str, Any]) -> str:
    """pass@k for other k, and by the base tests where a suite has more than those."""
    said = [
        f"pass@{one['k']} {_share(one['mean'])}"
        for one in end["scores"]
        if one["k"] != 1
    ]
    said += [
        f"pass@{one['k']} of its base tests {_share(one['mean'])}"
        for one in end.get("base", ())
    ]
    return ", ".join(said) or DASH


def _sampling(header: Mapping[str, Any]) -> str:
    """``"greedy"``; ``"10 answers, temperature 0.8, top_p 0.95"``."""
    asked, n = dict(header["sampling"]), header["samples"]
    if asked.get("temperature") == 0:
        del asked["temperature"]
        asked = {"greedy": "", **asked}
    said = [f"{name} {value}".strip() for name, value in asked.items()]
    return plain(", ".join([f"{n} answers"] * (n > 1) + (said or ["the engine's"])))


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"


def _bar(line: Scored, score: float) -> Bar:
    span = line.interval
    text = _share(score)
    if span is not None:
        text += f" ({_share(span[0])} to {_share(span[1])})"
    return Bar(
        label=line.name,
        parts=(
            Part(kind="rival" if line.is_reference else "answer", value=100 * score),
        ),
        text=text,
        span=None if span is None else (100 * span[0], 100 * span[1]),
    )
