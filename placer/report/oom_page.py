"""``docs/oom-results.md``: every launch that ran out of memory, of all profiles."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from placer.engine.log import Phase
from placer.report.boundary import is_oom
from placer.report.chart import Bar, Chart, Group, Part
from placer.report.charts import chart_link
from placer.report.figures import (
    DASH,
    mib_text,
    name_text,
    split_text,
    strategy_text,
)
from placer.report.held import HOST, exhausted, seen_in
from placer.report.model_page import GENERATED, study_age
from placer.report.table import (
    code_cell,
    figure_columns,
    plain,
    table,
    text_columns,
)
from placer.report.tried import evidence_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from placer.search.records import StudyRecord

PHASE_NAMES = tuple(phase.value for phase in Phase)
COUNTS = (*text_columns("profile", "device"), *figure_columns(*PHASE_NAMES, "all"))
RESULTS = (
    *text_columns("search"),
    *figure_columns("trial"),
    *text_columns("strategy", "split", "device"),
    *figure_columns("MiB asked", "MiB free"),
    *text_columns("MiB held by then"),
)
EVIDENCE = (
    *text_columns("search"),
    *figure_columns("trial"),
    *text_columns("what the engine said"),
)
HOW_TO_READ = """\
The phase is what the engine was asking memory for. For each there are flags that help:

- **weights**: the tensors. Give the device fewer layers (`-ts`), or more experts to the
  CPU (`-ot`).
- **context**: the KV cache and the recurrent state, which follow `-ts` and never `-ot`.
  Lower `-c`, take smaller cache types (`-ctk`, `-ctv`) or fewer slots (`-np`).
- **compute**: the buffers of the graph. Lower `-ub`, not `-b`; use `-fa on`; with
  experts on the CPU, `--no-op-offload` makes those of the first device smaller.
- **in use**: it loaded, then failed while the context was filled or tokens were
  decoded. Leave the device more room, by a lower `-ub` or by a layer fewer, and look
  for other programs that use it.

*MiB asked* is the one buffer that the device did not give. *MiB free* is what it had
left by then at most: free before the launch, less what the log says it had been given.
*MiB held by then* is what the log says, as weights + context + compute. The engine
reports weights only when all of them are in place: where they failed, nothing is known
to be held, and the free figure is that before the launch. A dash is a figure that is
not known."""
# The phase in use is no word for a class of a style.
KINDS = {name: name.replace("in use", "use") for name in PHASE_NAMES}
NONE_YET = "No launch has run out of memory yet."

Result = tuple["StudyRecord", dict[str, Any]]


def oom_page(profiles: Mapping[str, Sequence[StudyRecord]]) -> str:
    """The page of all out-of-memory results.

    Args:
        profiles: the studies of each profile, in any order.
    """
    blocks = ["# Out of memory", GENERATED]
    found = _found(profiles)
    if not found:
        return "\n\n".join([*blocks, NONE_YET]) + "\n"
    blocks += ["## How to read it", HOW_TO_READ, "## Summary", _summary(found)]
    blocks.append(chart_link(oom_chart(profiles), "oom-results.svg"))
    for name, results in found.items():
        blocks.append(f"## {plain(name)}")
        blocks += _profile_blocks(results)
    return "\n\n".join(blocks) + "\n"


def oom_chart(profiles: Mapping[str, Sequence[StudyRecord]]) -> Chart:
    """How often each device of each profile ran out, and of what; the summary drawn."""
    groups = []
    for name, results in _found(profiles).items():
        bars = [
            Bar(
                label=device or "not named",
                parts=tuple(
                    Part(kind=KINDS[phase], value=n) for phase, n in by_phase.items()
                ),
                text=", ".join(f"{n} {phase}" for phase, n in by_phase.items() if n),
            )
            for device, by_phase in _counts(results)
        ]
        groups.append(Group(title=name, bars=tuple(bars)))
    return Chart(
        title="Launches that ran out of memory, by profile and device",
        unit="",
        groups=tuple(groups),
        is_counted=True,
        legend=tuple((kind, phase) for phase, kind in KINDS.items()),
    )


def _found(
    profiles: Mapping[str, Sequence[StudyRecord]],
) -> dict[str, list[Result]]:
    """The results of every profile that has any."""
    found = {name: _results(studies) for name, studies in sorted(profiles.items())}
    return {name: results for name, results in found.items() if results}


def _results(studies: Iterable[StudyRecord]) -> list[Result]:
    """Every out-of-memory of the studies, the newest study first."""
    newest_first = sorted(studies, key=study_age, reverse=True)
    return [(s, trial) for s in newest_first for trial in s.trials if is_oom(trial)]


def _summary(found: Mapping[str, Sequence[Result]]) -> str:
    """How often each device of each profile ran out, by phase."""
    rows = [
        [
            plain(name),
            name_text(device),
            *map(str, (*by_phase.values(), sum(by_phase.values()))),
        ]
        for name, results in found.items()
        for device, by_phase in _counts(results)
    ]
    return table(COUNTS, rows)


def _counts(
    results: Sequence[Result],
) -> Iterator[tuple[str | None, dict[str, int]]]:
    """How often each device ran out in each phase."""
    counts = Counter(
        (exhausted(trial, study.header["devices"]), trial["phase"])
        for study, trial in results
    )
    # A device that the log does not name comes last.
    for device in sorted({d for d, _ in counts}, key=lambda d: (d is None, d or "")):
        yield device, {phase: counts[device, phase] for phase in PHASE_NAMES}


def _profile_blocks(results: Sequence[Result]) -> Iterator[str]:
    for phase in PHASE_NAMES:
        of_phase = [result for result in results if result[1]["phase"] == phase]
        if of_phase:
            yield f"### {phase.capitalize()}"
            yield table(RESULTS, [_result_row(*result) for result in of_phase])
        evidence = [row for result in of_phase for row in _evidence_rows(*result)]
        if evidence:
            yield table(EVIDENCE, evidence)


def _result_row(study: StudyRecord, trial: Mapping[str, Any]) -> list[str]:
    return [
        study.folder.name,
        str(trial["number"]),
        strategy_text(trial),
        split_text(trial),
        name_text(exhausted(trial, study.header["devices"])),
        mib_text(trial["asked_bytes"]),
        mib_text(trial["free_bytes"]),
        _held_text(study, trial),
    ]


def _held_text(study: StudyRecord, trial: Mapping[str, Any]) -> str:
    """``"CUDA0 61.2 + 8 + -; CUDA1 40 + - + -"``, a dash where nothing is known."""
    held = {n: h for n, h in seen_in(study, trial).items() if n != HOST}
    if all(part is None for device in held.values() for part in device.parts):
        return DASH
    return "; ".join(
        f"{plain(name)} {' + '.join(map(mib_text, device.parts))}"
        for name, device in held.items()
    )


def _evidence_rows(study: StudyRecord, trial: Mapping[str, Any]) -> Iterator[list[str]]:
    for line in evidence_lines(trial):
        yield [study.folder.name, str(trial["number"]), code_cell(line)]
