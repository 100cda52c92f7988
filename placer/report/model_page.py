"""``docs/models/<profile>.md``: all that the searches of one profile have shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from placer.report.answer import (
    answer_sentence,
    flags_block,
    memory_table,
    speed_table,
)
from placer.report.boundary import boundary_sentence, boundary_trials
from placer.report.charts import (
    LAUNCHES,
    MEMORY,
    READ,
    WRITTEN,
    chart_link,
    study_charts,
)
from placer.report.conditions import devices_table, facts_list
from placer.report.contested import contest_blocks
from placer.report.figures import split_text, strategy_text
from placer.report.limits import limit_sentence, limits_table
from placer.report.paths import without_folders
from placer.report.table import plain
from placer.report.tried import (
    excluded_table,
    failures,
    interruptions,
    tried_table,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from placer.report.chart import Chart
    from placer.search.records import StudyRecord

GENERATED = """\
Written by `placer report` from the journals of the searches; what is changed here by
hand is lost with the next one."""
HOW_TO_READ = """\
A dash is a figure that is not known. A split counts slots: the repeating layers and,
as the very last slot, the output. Where some experts are on the CPU, the other expert
tensors are counted: on each GPU, or on all together where `-ot` puts some of them on
another GPU than their layer."""
ABOUT_FLAGS = "The flags of the launch, `-m` and the model aside, with `--fit off`:"
ABOUT_MEMORY = """\
MiB, a row for each source. *Formula* is arithmetic on the model's header, *dry run*
the engine's own figures before anything is loaded; neither is a proof. *Observed
buffers* are what the log of the launch reports, *observed peak* is the most that its
process was seen to hold. *Left* is what was free before the launch, less the total.
Of the host's memory, weights that are mapped from the file are counted with all that
lies between them, though a device may hold it."""
ABOUT_SPEED = """\
Prefill is the whole context, all slots together. *Ubatch* is one slot alone that reads
a prompt of one physical batch, decode is the same slot behind it. *Predicted* is what
the speed model said before the launch, and between what the truth was expected. Graph
splits are those of the prefill and of the decode graph, once where they are equal."""
ABOUT_TRIED = """\
In the order of the launches. All figures are observed but *predicted*, which is decode
t/s by the speed model."""
ABOUT_FAILURES = "Neither fitted nor out of memory:"
ABOUT_LIMITS = """\
*Needed* is what the answer asks of each device, *next step* the least more of it that
would make anything better by 1 %: both by the engine's dry run, or by formula. *Left*
is what the device was seen to have left; with a pipeline, which gives up copies where
room is short, it is not known. *Seen to refuse* is the least that a launch asked of it
in all and did not get."""
ABOUT_BOUNDARY = "Launches that ran out of memory, and how they differ from the answer:"
ABOUT_EXCLUDED = "Not launched, because they take more than is free:"
NO_BOUNDARY = "No launch of the search ran out of memory."


def model_page(profile: str, studies: Sequence[StudyRecord]) -> str:
    """The page of a profile: its newest proved study in full, then the others.

    Args:
        profile: the name above it.
        studies: of this profile, at least one, in any order.
    """
    newest_first = sorted(studies, key=study_age, reverse=True)
    shown = _shown(newest_first)
    others = [study for study in newest_first if study is not shown]
    links = {
        name: chart_link(chart, f"{profile}/{name}.svg")
        for name, chart in study_charts(shown).items()
    }
    blocks = [f"# {plain(profile)}", GENERATED, HOW_TO_READ]
    if shown is not newest_first[0]:
        newer = newest_first[0].folder.name
        blocks.append(
            f"A newer search, `{newer}`, has no answer: see "
            "[Other searches](#other-searches)."
        )
    blocks += _study_blocks(shown, links)
    if others:
        blocks.append("## Other searches")
    for study in others:
        blocks += _other_blocks(study)
    return "\n\n".join(blocks) + "\n"


def model_charts(studies: Iterable[StudyRecord]) -> dict[str, Chart]:
    """The charts of the same page by their names, to lie in the profile's folder."""
    return study_charts(_shown(sorted(studies, key=study_age, reverse=True)))


def study_age(study: StudyRecord) -> tuple[str, int, str]:
    """A key that puts studies in the order in which they started."""
    # Of those that started in the same second, the later have -2, ... -10 behind.
    name = study.folder.name
    return (str(study.header["started"]), len(name), name)


def outcome_sentence(study: StudyRecord) -> str:
    """How a search ended."""
    best, end = study.best, study.end
    if end is None:
        return (
            f"No end is recorded: placer was killed, or is searching.{_by_then(study)}"
        )
    # A trial's flags say where a path with spaces ends.
    args = study.trials[0]["args"] if study.trials else ()
    stopped = plain(without_folders(end["stopped"] or "", args))
    if best is None:
        return f"Ended without an answer: {stopped}."
    found = f"Found {_what(best)}"
    return f"{found}, and stopped early: {stopped}." if stopped else f"{found}."


def _shown(newest_first: Sequence[StudyRecord]) -> StudyRecord:
    """The newest with an answer, or the newest."""
    proved = (study for study in newest_first if study.best is not None)
    return next(proved, newest_first[0])


def _by_then(study: StudyRecord) -> str:
    fitted = [trial for trial in study.trials if trial["verdict"] == "FITS"]
    if not fitted:
        return " Nothing had been seen to fit."
    return f" Seen to fit by then: {_what(fitted[-1])}."


def _what(trial: Mapping[str, Any]) -> str:
    return f"{strategy_text(trial)}, {split_text(trial)} (trial {trial['number']})"


def _study_blocks(study: StudyRecord, links: Mapping[str, str]) -> Iterator[str]:
    best = study.best
    if best is None:
        yield "## No answer"
        yield outcome_sentence(study)
    else:
        yield "## Answer"
        yield answer_sentence(study, best)
        yield ABOUT_FLAGS
        yield flags_block(best)
    yield "## Conditions"
    yield facts_list(study)
    yield devices_table(study)
    if best is not None:
        yield from _proof_blocks(study, best, links)
    yield "## Every split that was tried"
    yield from _chosen(links, LAUNCHES)
    yield from _tried_blocks(study)


def _chosen(links: Mapping[str, str], *names: str) -> Iterator[str]:
    return (links[name] for name in names if name in links)


def _proof_blocks(
    study: StudyRecord, best: Mapping[str, Any], links: Mapping[str, str]
) -> Iterator[str]:
    yield "## Memory"
    yield from _chosen(links, MEMORY)
    yield ABOUT_MEMORY
    yield memory_table(study, best)
    yield "## Speed"
    yield from _chosen(links, WRITTEN, READ)
    yield ABOUT_SPEED
    yield speed_table(best)
    beside = list(contest_blocks(study))
    if beside:
        yield "## Beside --fit and one GPU"
        yield from beside
    yield "## Why not more"
    if study.end is not None and study.end["stopped"] is not None:
        yield f"{outcome_sentence(study)} What is better was not all tried."
    limits = [] if study.end is None else study.end["limits"]
    if limits:
        yield ABOUT_LIMITS
        yield limits_table(limits)
        yield _list_text(plain(limit_sentence(limit)) for limit in limits)
    devices = study.header["devices"]
    sentences = [boundary_sentence(t, best, devices) for t in boundary_trials(study)]
    if sentences:
        yield ABOUT_BOUNDARY
    yield _list_text(sentences) or NO_BOUNDARY


def _list_text(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _tried_blocks(study: StudyRecord) -> Iterator[str]:
    if study.trials:
        yield ABOUT_TRIED
        yield tried_table(study)
    else:
        yield "No launch was answered."
    said = list(failures(study))
    if said:
        yield ABOUT_FAILURES
        yield _list_text(said)
    if study.skipped:
        yield ABOUT_EXCLUDED
        yield excluded_table(study)
    yield from interruptions(study)


def _other_blocks(study: StudyRecord) -> Iterator[str]:
    yield f"### {study.folder.name}"
    yield outcome_sentence(study)
    yield facts_list(study)
    yield from _tried_blocks(study)
