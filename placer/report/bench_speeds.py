"""How fast profiles are, what they hold and draw: tables and charts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from placer.report.bench_records import SPEED, newest, understood
from placer.report.chart import Bar, Chart, Group, Part
from placer.report.charts import EMULATED
from placer.report.figures import DASH, count_text, mib_text, rate_text, times_text
from placer.report.table import figure_columns, plain, table
from placer.units import mib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from placer.report.bench_records import BenchRecord

ASKED = figure_columns("-b", "-ub", "depth", "users")
RATES = figure_columns("read t/s", "written t/s", "of one user", "first token s")
RATE_NAMES = (
    "prefill_tokens_per_s",
    "decode_tokens_per_s",
    "user_decode_tokens_per_s",
    "ttft_s",
)
POWER = figure_columns("W", "tokens/J")
ABOUT = """\
The newest whole bench of each question. *Depth* are the tokens in the cache before the
prompt; *read* and *written* are those of all users together. Behind ± is how far the
mean of the launches may be off, nineteen times of twenty; one launch does not tell.
*MiB* is the most that the server was seen to hold of a device."""
NO_POWER = "What the devices draw they do not tell."
QUESTION = ("depths", "batches", "ubatches", "users", "n_prompt", "n_gen", "workload")


def speed_runs(records: Iterable[BenchRecord]) -> list[BenchRecord]:
    """The newest whole run of each question, by profile."""
    return newest((one for one in records if one.kind == SPEED), _question)


def speed_blocks(runs: Sequence[BenchRecord], page: Path) -> Iterator[str]:
    """A table a run, and what could not be measured.

    Raises:
        JournalError: a record is not what a bench writes.
    """
    yield ABOUT
    for run in runs:
        with understood(run):
            yield from _blocks(run, page)


def decode_chart(runs: Sequence[BenchRecord]) -> Chart:
    """Tokens that are written per second, by depth."""
    return _rate_chart(runs, "decode_tokens_per_s", "Tokens written per second")


def prefill_chart(runs: Sequence[BenchRecord]) -> Chart:
    """Tokens that are read per second, by depth."""
    return _rate_chart(runs, "prefill_tokens_per_s", "Tokens read per second")


def memory_chart(runs: Sequence[BenchRecord]) -> Chart:
    """What the server held of each device, by batch."""
    return _chart(runs, "Memory that the server held of each device", "MiB", _held_bars)


def _question(record: BenchRecord) -> str:
    return json.dumps([record.header[name] for name in QUESTION], sort_keys=True)


def _blocks(run: BenchRecord, page: Path) -> Iterator[str]:
    rows, header = _rows(run), run.header
    launches = times_text(header["repeats"])
    facts = f"{run.day}, each batch launched {launches}"
    yield f"### {plain(run.profile)}"
    yield (
        f"`{plain(str(header['model']['name']))}` on build "
        f"{plain(str(header['engine']))}, {run.link(facts, page)}."
    )
    if run.is_emulated:
        yield EMULATED
    names = [f"MiB of {plain(device['name'])}" for device in header["devices"]]
    is_told = any(_watts(row) is not None for row in rows)
    columns = (*ASKED, *RATES, *figure_columns(*names), *(POWER if is_told else ()))
    if rows:
        yield table(columns, [_cells(row, len(names), told=is_told) for row in rows])
    if rows and not is_told:
        yield NO_POWER
    unfit = [_unfit_text(line) for line in run.of("unfit")]
    if unfit:
        yield "\n".join(f"- {text}" for text in dict.fromkeys(unfit))


def _rows(run: BenchRecord) -> Sequence[Mapping[str, Any]]:
    rows: Sequence[Mapping[str, Any]] = (run.end or {})["rows"]
    return rows


def _cells(row: Mapping[str, Any], n_devices: int, *, told: bool) -> list[str]:
    asked = [count_text(row[name]) for name in ("batch", "ubatch", "depth", "users")]
    rates = [_mean_text(row[name]) for name in RATE_NAMES]
    held = row["held_bytes"] or [None] * n_devices
    power = [_whole(_watts(row)), _mean_text(row["tokens_per_joule"])] if told else []
    return [*asked, *rates, *map(mib_text, held), *power]


def _watts(row: Mapping[str, Any]) -> float | None:
    """Of all devices that tell."""
    known = [watts for watts in row["watts"] if watts is not None]
    return sum(known) if known else None


def _whole(watts: float | None) -> str:
    return DASH if watts is None else f"{watts:,.0f}"


def _mean_text(figure: Mapping[str, Any] | None) -> str:
    """``"61.2 ±1.3 %"``; three digits of what is small."""
    if figure is None:
        return DASH
    mean, half = figure["mean"], figure["half_width"]
    text = rate_text(mean) if mean >= 10 else f"{mean:.3g}"
    return text if half is None else f"{text} ±{100 * half:.1f} %"


def _unfit_text(line: Mapping[str, Any]) -> str:
    asked = line["settings"]
    why = plain(str(line["why"]))
    return f"`-b {asked['batch']} -ub {asked['ubatch']}` was not measured: {why}"


def _rate_chart(runs: Sequence[BenchRecord], name: str, title: str) -> Chart:
    def bars(run: BenchRecord) -> Iterator[Bar]:
        for row in _rows(run):
            if row[name] is not None:
                yield _rate_bar(row, row[name])

    return _chart(runs, f"{title}, all users together", "tokens/s", bars)


def _chart(
    runs: Sequence[BenchRecord],
    title: str,
    unit: str,
    bars: Callable[[BenchRecord], Iterator[Bar]],
) -> Chart:
    groups = []
    for run in runs:
        with understood(run):
            found = tuple(bars(run))
        title_of = f"{run.profile}, {run.day}" + ", emulated" * run.is_emulated
        groups.append(Group(title=title_of, bars=found))
    return Chart(
        title=title,
        unit=unit,
        groups=tuple(group for group in groups if group.bars),
        note=EMULATED if any(run.is_emulated for run in runs) else "",
    )


def _rate_bar(row: Mapping[str, Any], figure: Mapping[str, Any]) -> Bar:
    mean, half = figure["mean"], figure["half_width"]
    users = "1 user" if row["users"] == 1 else f"{row['users']} users"
    span = None if half is None else (max(mean * (1 - half), 0.0), mean * (1 + half))
    return Bar(
        label=f"-b {row['batch']} -ub {row['ubatch']}, depth {row['depth']:,}, {users}",
        parts=(Part(kind="measured", value=mean),),
        text=_mean_text(figure),
        span=span,
    )


def _held_bars(run: BenchRecord) -> Iterator[Bar]:
    """The most over all that was asked with a batch."""
    names = [device["name"] for device in run.header["devices"]]
    most: dict[str, list[int]] = {}
    for row in _rows(run):
        if row["held_bytes"] is not None:
            batch = f"-b {row['batch']} -ub {row['ubatch']}"
            before = most.get(batch, [0] * len(names))
            most[batch] = [max(x) for x in zip(before, row["held_bytes"], strict=True)]
    for batch, held in most.items():
        for name, n_bytes in zip(names, held, strict=True):
            yield Bar(
                label=f"{batch}, {name}",
                parts=(Part(kind="measured", value=mib(n_bytes)),),
                text=mib_text(n_bytes),
            )
