"""What settings cost, by sweeps: the differences that were seen, and where none was."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from placer.experiment.measures import Kind, Measure, UnitOfAnalysis
from placer.experiment.verdict import Verdict
from placer.experiment.words import cell_text, difference_text
from placer.report.bench_records import SWEEP, newest, understood
from placer.report.charts import EMULATED
from placer.report.table import code, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from placer.report.bench_records import BenchRecord

ABOUT = """\
The newest whole sweep of each question: each setting beside the base that it was
compared with. Behind a difference is the interval that holds for all of a sweep
together, nineteen times of twenty. *No difference seen* does not say that there is
none: the interval says how large one may be."""
SEEN = (Verdict.WORSE.value, Verdict.BETTER.value)
NOTHING = {
    Verdict.NO_DIFFERENCE.value: "No difference seen in",
    Verdict.ALIKE.value: "Alike in",
    Verdict.TOO_FEW.value: "Too few to tell of",
}


def sweep_runs(records: Iterable[BenchRecord]) -> list[BenchRecord]:
    """The newest whole run of each question, by profile."""
    return newest((one for one in records if one.kind == SWEEP), _question)


def settings_blocks(runs: Sequence[BenchRecord], page: Path) -> Iterator[str]:
    """The contrasts of each sweep, in words.

    Raises:
        JournalError: a record is not what a sweep writes.
    """
    yield ABOUT
    for run in runs:
        with understood(run):
            yield from _blocks(run, run.end or {}, page)


def _question(record: BenchRecord) -> str:
    header = record.header
    asked = ("factors", "measures", "workload", "suite")
    return json.dumps([header[name] for name in asked], sort_keys=True)


def _blocks(run: BenchRecord, end: Mapping[str, Any], page: Path) -> Iterator[str]:
    header = run.header
    names = ", ".join(factor["name"] for factor in header["factors"])
    named = header["experiment"]
    what = f"the experiment {named}" if named else "a sweep"
    yield f"### {plain(run.profile)}: {plain(names)}"
    yield (
        f"By {run.link(f'{plain(what)} of {run.day}', page)} on build "
        f"{plain(str(header['engine']))}, cells: {len(end['cells'])}, repeats: "
        f"{header['repeats']}."
    )
    if run.is_emulated:
        yield EMULATED
    lines = [*_settings(end["contrasts"]), *_unfit(run)]
    yield "\n".join(f"- {line}" for line in lines or ("Nothing was compared.",))
    yield from _best(end["best"], header["factors"])


def _settings(contrasts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line a setting, those that cost something first."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in contrasts:
        found.setdefault(_setting(one), []).append(one)
    for setting, theirs in sorted(found.items(), key=_is_free):
        yield f"{setting}: {'. '.join(_sentences(theirs))}."


def _is_free(item: tuple[str, Sequence[Mapping[str, Any]]]) -> bool:
    return all(one["verdict"] != Verdict.WORSE.value for one in item[1])


def _sentences(contrasts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What was seen, the worst first; then by what measures nothing was."""
    seen = [one for one in contrasts if one["verdict"] in SEEN]
    if seen:
        seen.sort(key=lambda one: SEEN.index(one["verdict"]))
        yield "; ".join(f"{_changed(one)}, {one['verdict']}" for one in seen)
    for verdict, words in NOTHING.items():
        those = [one for one in contrasts if one["verdict"] == verdict]
        if those:
            yield f"{words} {', '.join(map(_bounds, those))}"


def _unfit(run: BenchRecord) -> Iterator[str]:
    for line in run.of("unfit"):
        yield f"{code(cell_text(line['settings']))} does not run: {plain(line['why'])}"


def _best(
    best: Mapping[str, Mapping[str, str]], factors: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """What to take by each measure."""
    base = {factor["name"]: factor["base"] for factor in factors}
    said = [
        f"by {plain(measure)} {code(cell_text(cell))}"
        + (", the base" if dict(cell) == base else "")
        for measure, cell in best.items()
    ]
    if said:
        yield f"To take {'; '.join(said)}."


def _setting(one: Mapping[str, Any]) -> str:
    setting = f"{one['factor']}={one['level']}"
    return f"{code(setting)} beside {plain(one['base'])}"


def _changed(one: Mapping[str, Any]) -> str:
    """``"tokens/s +1.2 % (-0.8 % to +3.1 %)"``."""
    change = difference_text(one["difference"], _measure(one))
    is_fact = one["low"] == one["high"]
    return f"{plain(one['measure'])} {change}" if is_fact else _bounds(one, change)


def _bounds(one: Mapping[str, Any], change: str = "") -> str:
    """``"tokens/s (-0.8 % to +3.1 %)"``; the name alone where nothing is known."""
    name, low, high = plain(one["measure"]), one["low"], one["high"]
    if low is None or high is None or low == high:
        return name
    ends = (difference_text(x, _measure(one)) for x in (low, high))
    return f"{name} {change} ({' to '.join(ends)})".replace("  ", " ")


def _measure(one: Mapping[str, Any]) -> Measure:
    """How its differences are read."""
    return Measure(
        name=one["measure"],
        unit=one["unit"],
        higher_is_better=True,
        kind=Kind(one["kind"]),
        unit_of_analysis=UnitOfAnalysis.PROBLEM,
    )
