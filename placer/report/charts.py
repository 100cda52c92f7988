"""The charts of a search: what it held, how fast it was, what each launch asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from placer.report.boundary import is_oom, oom_text
from placer.report.chart import Bar, Chart, Group, Part
from placer.report.chart_style import BLANK
from placer.report.contested import newest_contest
from placer.report.figures import (
    count_text,
    mib_text,
    predicted_rate,
    rate_text,
    split_text,
    strategy_text,
)
from placer.report.held import PHASES, Held, exhausted, said_by, seen_in
from placer.report.table import plain
from placer.units import mib

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from placer.search.records import StudyRecord

MEMORY = "memory"
WRITTEN = "written"
READ = "read"
LAUNCHES = "launches"
PARTS = (*((phase, phase) for phase in PHASES), (BLANK, "left"))
SPEEDS = (("predicted", "predicted"), ("measured", "measured"))
CONTEST = (("answer", "the answer"), ("rival", "beside it"))
OUTCOMES = (
    ("fits", "fits"),
    ("oom", "ran out of memory here"),
    ("asked", "did not run out here"),
)
EMULATED = (
    "These devices are emulated: their memory is exact, but they compute on the CPU, "
    "and how fast they are means nothing."
)


def chart_link(chart: Chart, path: str) -> str:
    """The chart in a page, by its path from there."""
    return f"![{plain(chart.title)}]({quote(path)})"


def study_charts(study: StudyRecord) -> dict[str, Chart]:
    """The charts by their names; those that would be empty are not there."""
    found = {}
    if study.best is not None:
        found = {
            MEMORY: _memory_chart(study, study.best),
            WRITTEN: _speed_chart(study, "decode"),
            READ: _speed_chart(study, "prefill"),
        }
    found[LAUNCHES] = _launches_chart(study)
    return {name: chart for name, chart in found.items() if chart.bars}


def _memory_chart(study: StudyRecord, best: Mapping[str, Any]) -> Chart:
    seen = seen_in(study, best)
    groups = []
    for index, device in enumerate(study.header["devices"]):
        free = best["free_before_bytes"][index]
        said = {
            "formula": said_by(best["formula"], index),
            "dry run": said_by(best["dry_run"], index),
            "observed": seen[device["name"]],
        }
        bars = [_held_bar(source, held, free) for source, held in said.items()]
        title = f"{device['name']}, {mib_text(free)} MiB free"
        groups.append(Group(title=title, bars=tuple(b for b in bars if b.parts)))
    return Chart(
        title=f"{study.profile}: what the answer holds of each device",
        unit="MiB",
        groups=tuple(groups),
        legend=PARTS,
        mark="free before the launch",
    )


def _held_bar(source: str, held: Held, free_bytes: int) -> Bar:
    """No parts where the source does not know them all."""
    total = held.total_bytes
    if total is None:
        return Bar(label=source, parts=())
    parts = [
        Part(kind=phase, value=mib(n_bytes or 0))
        for phase, n_bytes in zip(PHASES, held.parts, strict=True)
    ]
    left = free_bytes - total
    parts.append(Part(kind=BLANK, value=max(0.0, mib(left))))
    what = f"{mib_text(left)} left" if left >= 0 else f"{mib_text(-left)} too much"
    return Bar(
        label=source,
        parts=tuple(parts),
        text=f"{mib_text(total)}, {what}",
        mark=mib(free_bytes),
    )


def _speed_chart(study: StudyRecord, what: str) -> Chart:
    """Predicted beside measured, and beside what else was measured."""
    is_decode = what == "decode"
    verb = "written" if is_decode else "read"
    duels = tuple(_contest_groups(study, f"{what}_tokens_per_s"))
    note = [] if is_decode else ["The search read one physical batch."]
    note += [EMULATED] if study.header.get("emulated") else []
    return Chart(
        title=f"{study.profile}: tokens {verb} per second by one user",
        unit="tokens/s",
        groups=(Group(title="", bars=tuple(_own_bars(study, what))), *duels),
        legend=SPEEDS + (CONTEST if duels else ()),
        note=" ".join(note),
    )


def _own_bars(study: StudyRecord, what: str) -> Iterator[Bar]:
    """What the speed model said of the answer, and what the search saw of it."""
    best, name = study.best, f"{what}_tokens_per_s"
    if best is None:
        return
    predicted, measured = predicted_rate(best, name), best[name]
    if predicted is not None:
        low, middle, high = predicted
        yield Bar(
            label="predicted",
            parts=(Part(kind="predicted", value=middle),),
            text=f"{rate_text(middle)} ({rate_text(low)} to {rate_text(high)})",
            span=(low, high),
        )
    if measured is not None:
        yield Bar(
            label="measured",
            parts=(Part(kind="measured", value=measured),),
            text=rate_text(measured),
        )


def _contest_groups(study: StudyRecord, name: str) -> Iterator[Group]:
    """The contenders at each depth; nothing where there was no contest."""
    contest = newest_contest(study)
    asked, ended = contest or ({}, None)
    if ended is None:
        return
    answer = asked["contenders"][0]["name"]
    for depth in sorted({figure["depth"] for figure in ended["figures"]}):
        bars = tuple(
            _contender_bar(figure, name, is_answer=figure["contender"] == answer)
            for figure in ended["figures"]
            if figure["depth"] == depth
        )
        title = f"In turn, with {count_text(depth)} tokens in the cache"
        yield Group(title=title, bars=bars)


def _contender_bar(figure: Mapping[str, Any], name: str, *, is_answer: bool) -> Bar:
    mean, half = figure[name]["mean"], figure[name]["half_width"]
    kind = "answer" if is_answer else "rival"
    return Bar(
        label=figure["contender"],
        parts=(Part(kind=kind, value=mean),),
        text=rate_text(mean) + ("" if half is None else f" ± {rate_text(half)}"),
        span=None if half is None else (mean - half, mean + half),
    )


def _launches_chart(study: StudyRecord) -> Chart:
    """What each launch asked of each device, by the dry run; or else by formula."""
    return Chart(
        title=f"{study.profile}: what each launch asked of each device",
        unit="MiB",
        groups=tuple(_launch_group(study, trial) for trial in study.trials),
        legend=OUTCOMES,
        mark="free",
        note="As the engine's dry run says it, or else the formula: no launch that ran "
        "out of memory was seen to hold all that it asked for.",
    )


def _launch_group(study: StudyRecord, trial: Mapping[str, Any]) -> Group:
    devices = study.header["devices"]
    verdict = str(trial["verdict"])
    where = exhausted(trial, devices) if is_oom(trial) else None
    bars = []
    for index, device in enumerate(devices):
        kind = "oom" if device["name"] == where else "asked"
        kind = "fits" if verdict == "FITS" else kind
        bars.append(_asked_bar(device["name"], trial, index, kind))
    outcome = oom_text(trial) if is_oom(trial) else verdict.lower().replace("_", " ")
    what = f"{strategy_text(trial)}, {split_text(trial)}"
    return Group(
        title=f"{trial['number']}. {what}: {outcome}",
        bars=tuple(bar for bar in bars if bar.parts),
    )


def _asked_bar(name: str, trial: Mapping[str, Any], index: int, kind: str) -> Bar:
    dry_run = said_by(trial["dry_run"], index).total_bytes
    formula = said_by(trial["formula"], index).total_bytes
    asked = formula if dry_run is None else dry_run
    if asked is None:
        return Bar(label=name, parts=())
    free = trial["free_before_bytes"][index]
    source = " by formula" if dry_run is None else ""
    return Bar(
        label=name,
        parts=(Part(kind=kind, value=mib(asked)),),
        text=f"{mib_text(asked)} of {mib_text(free)}{source}",
        mark=mib(free),
    )
