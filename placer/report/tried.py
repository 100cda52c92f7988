"""The tables of what a search tried, excluded and never saw answered."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from placer.report.boundary import is_oom
from placer.report.figures import (
    graph_splits_text,
    mib_text,
    name_text,
    predicted_rate,
    rate_text,
    split_text,
    strategy_text,
    times_text,
)
from placer.report.held import exhausted
from placer.report.paths import without_folders
from placer.report.table import (
    code,
    figure_columns,
    plain,
    table,
    text_columns,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from placer.search.records import StudyRecord

EVIDENCE_MAX_CHARS = 400
TRIED = (
    *figure_columns("trial"),
    *text_columns("strategy", "split", "verdict", "phase", "device"),
    *figure_columns(
        "MiB asked",
        "MiB free",
        "graph splits",
        "prefill t/s",
        "predicted",
        "decode t/s",
        "seconds",
    ),
)
EXCLUDED = (
    *text_columns("strategy", "device"),
    *figure_columns("MiB short"),
    *text_columns("says"),
)


def tried_table(study: StudyRecord) -> str:
    """Every answered launch, with what was seen, and how fast it was expected."""
    return table(TRIED, [_tried_row(study, trial) for trial in study.trials])


def excluded_table(study: StudyRecord) -> str:
    """The strategies that were not launched, and by how much they are too big."""
    rows = [
        [
            strategy_text(record),
            name_text(record["device"]),
            mib_text(record["short_bytes"]),
            plain(record["source"]),
        ]
        for record in study.skipped
    ]
    return table(EXCLUDED, rows)


def failures(study: StudyRecord) -> Iterator[str]:
    """What is known of each launch that neither fitted nor ran out of memory."""
    for trial in study.trials:
        if trial["verdict"] == "FITS" or is_oom(trial):
            continue
        said = ", ".join(map(code, evidence_lines(trial))) or "nothing was said"
        cause = "" if trial["cause"] is None else f" ({plain(trial['cause'])})"
        line = f"Trial {trial['number']}, {plain(trial['verdict'])}{cause}: {said}"
        yield line + _again_text(study, trial)


def interruptions(study: StudyRecord) -> Iterator[str]:
    """What became of a search that did not go through in one go, in sentences."""
    resumed = [r for r in study.others if r["kind"] == "resumed"]
    if resumed:
        times = times_text(len(resumed))
        yield f"The search was broken off and went on {times}."
    # One that goes on again says again what it passes over.
    yield from dict.fromkeys(
        f"Not tried again, because {plain(record['why'])}: "
        f"{code(_placement_text(record['args']))}."
        for record in study.others
        if record["kind"] == "passed-over"
    )
    if study.unanswered:
        yield _unanswered_sentence(study)


def _again_text(study: StudyRecord, trial: Mapping[str, Any]) -> str:
    """Under which number the same was launched next, if it was."""
    later = study.trials[study.trials.index(trial) + 1 :]
    numbers = (t["number"] for t in later if t["args"] == trial["args"])
    number = next(numbers, None)
    return "" if number is None else f"; tried again as trial {number}"


def _placement_text(args: Sequence[str]) -> str:
    """The flags that place, which are the last of a launch."""
    return shlex.join(args[args.index("-ngl") :])


def _unanswered_sentence(study: StudyRecord) -> str:
    """The launches that were under way when the search ended."""
    numbers = ", ".join(map(str, study.unanswered))
    one = len(study.unanswered) == 1
    return (
        f"{'Launch' if one else 'Launches'} {numbers} {'was' if one else 'were'} under "
        "way when placer ended; what became of it is not known."
    )


def evidence_lines(trial: Mapping[str, Any]) -> tuple[str, ...]:
    """The lines that decided, without the folders of the machine they come from."""
    lines = (without_folders(line, trial["args"]) for line in trial["evidence"])
    return tuple(
        line if len(line) <= EVIDENCE_MAX_CHARS else f"{line[:EVIDENCE_MAX_CHARS]}..."
        for line in lines
    )


def _tried_row(study: StudyRecord, trial: Mapping[str, Any]) -> list[str]:
    predicted = predicted_rate(trial, "decode_tokens_per_s")
    return [
        str(trial["number"]),
        strategy_text(trial),
        split_text(trial),
        plain(trial["verdict"]),
        name_text(trial["phase"]),
        name_text(exhausted(trial, study.header["devices"])),
        mib_text(trial["asked_bytes"]),
        mib_text(trial["free_bytes"]),
        graph_splits_text(trial["graph_splits"]),
        rate_text(trial["prompt_tokens_per_s"]),
        rate_text(None if predicted is None else predicted[1]),
        rate_text(trial["decode_tokens_per_s"]),
        rate_text(trial["total_s"]),
    ]
