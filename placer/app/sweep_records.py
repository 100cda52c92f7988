"""The record of a sweep: what is written of it, and what a broken-off one knows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from placer.app.study import STAMP
from placer.app.sweep_measures import AGREEMENT, KL, PPL
from placer.errors import InputError, JournalError
from placer.experiment.measures import Run
from placer.quality.attempt import Attempt
from placer.search.journal import FILE_NAME, read_journal
from placer.tune.quality import quality_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from placer.engine.predictions import Prediction
    from placer.experiment.design import Cell, Turn
    from placer.quality.grade import Graded
    from placer.search.journal import Journal

KIND, FOLDER = "sweep", "sweep"
# Of the header: two sweeps with the same answers to these are the same question.
QUESTION = (
    "profile",
    "model",
    "workload",
    "extra_args",
    "devices",
    "engine",
    "factors",
    "measures",
    "repeats",
    "seed",
    "experiment",
    "suite",
    "probe",
    "proposes",
)
# Of a device, what is the same as long as it is the same device.
OF_DEVICE = ("name", "description", "total_bytes")
Key = tuple[tuple[str, str], ...]


def key_of(cell: Cell) -> Key:
    """The same for the same values, in whatever order."""
    return tuple(sorted(cell.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one run of a cell came to.

    Attributes:
        figures: counted by launch, by the measure's name.
        problems: counted by problem, likewise.
    """

    figures: Mapping[str, float] = field(default_factory=dict)
    problems: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(kw_only=True)
class Past:
    """What is known of a sweep, from its record and since.

    Attributes:
        runs: in the order in which they were made.
        launches: starts of the server so far, those that came to nothing too.
        unfit: settings and cells that do not run, with why.
        expected: by the settings of the server, what the model expects.
        parts: by the settings of the server, the perplexity of parts of the text; none
            where it could not be had.
        answers: to problems, by the repeat and the cell, of runs under way too.
    """

    runs: list[Run] = field(default_factory=list)
    launches: int = 0
    unfit: list[tuple[Cell, str]] = field(default_factory=list)
    expected: dict[Key, tuple[Prediction, ...]] = field(default_factory=dict)
    parts: dict[Key, tuple[float, ...]] = field(default_factory=dict)
    answers: dict[tuple[int, Key], dict[tuple[str, int], Attempt]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    def has(self, turn: Turn) -> bool:
        """Whether that was run, or is known not to."""
        return self.why_unfit(turn.cell) is not None or any(
            run.repeat == turn.repeat and run.cell == turn.cell for run in self.runs
        )

    def why_unfit(self, cell: Cell) -> str | None:
        """Why a cell does not run; None where nothing is known against it."""
        for settings, why in self.unfit:
            if settings.items() <= cell.items():
                return why
        return None

    def take(self, record: Mapping[str, Any]) -> None:
        """Learn what a line of the record says."""
        kind = record["kind"]
        if kind in ("launching", "launched"):
            self.launches = max(self.launches, record["number"])
        elif kind == "run":
            self.runs.append(run_of(record))
        elif kind == "unfit":
            self.unfit.append((record["settings"], record["why"]))
        elif kind == "expected":
            places = (
                {int(token): p for token, p in one.items()} for one in record["places"]
            )
            self.expected[key_of(record["settings"])] = tuple(places)
        elif kind == "perplexity":
            self.parts[key_of(record["settings"])] = tuple(record["parts"])
        elif kind == "answer":
            answer = Attempt(**record["answer"])
            theirs = self.answers[record["repeat"], key_of(record["cell"])]
            theirs[answer.problem, answer.sample] = answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Answers to problems, each on disk as it comes: a broken-off run goes on.

    Attributes:
        journal: of the sweep.
        past: what is known.
    """

    journal: Journal
    past: Past

    def known(self, turn: Turn) -> Mapping[tuple[str, int], Attempt]:
        """What was answered already."""
        return dict(self.past.answers[turn.repeat, key_of(turn.cell)])

    def keep(self, turn: Turn, answer: Attempt) -> None:
        """One more."""
        record = {
            "repeat": turn.repeat,
            "cell": dict(turn.cell),
            "answer": asdict(answer),
        }
        self.journal.append("answer", record)
        self.past.take({"kind": "answer", **record})

    def graded(self, turn: Turn, graded: Graded) -> None:
        """What became of one."""
        self.journal.append(
            "graded",
            {
                "repeat": turn.repeat,
                "cell": dict(turn.cell),
                "problem": graded.problem,
                "sample": graded.sample,
                "grade": graded.grade.value,
                "detail": graded.detail,
            },
        )


def run_of(record: Mapping[str, Any]) -> Run:
    """A run out of its line."""
    return Run(
        cell=record["cell"],
        launch=record["launch"],
        repeat=record["repeat"],
        figures=record["figures"],
        problems=record["problems"],
    )


def joined(past: Past, base: Cell) -> list[Run]:
    """The runs with what is known of their settings of the server.

    KL and agreement are of each place, beside what is expected with the base; the
    perplexity is of each part of the text.

    Args:
        past: what was seen.
        base: the settings of the server that the others are held to.
    """
    reference = past.expected.get(key_of(base))
    names = base.keys()
    return [_joined(run, past, reference, names) for run in past.runs]


def _joined(
    run: Run,
    past: Past,
    reference: tuple[Prediction, ...] | None,
    names: Collection[str],
) -> Run:
    key = key_of({name: run.cell[name] for name in names})
    problems = dict(run.problems)
    said = past.expected.get(key)
    if reference is not None and said is not None and len(said) == len(reference):
        pairs = [
            quality_of(("", ""), (ours,), (theirs,))
            for ours, theirs in zip(said, reference, strict=True)
        ]
        problems[KL] = {str(n): one.divergence for n, one in enumerate(pairs)}
        problems[AGREEMENT] = {str(n): one.agreement for n, one in enumerate(pairs)}
    if past.parts.get(key):
        problems[PPL] = {str(n): one for n, one in enumerate(past.parts[key], 1)}
    return Run(
        cell=run.cell,
        launch=run.launch,
        repeat=run.repeat,
        figures=run.figures,
        problems=problems,
    )


def newest_broken_off(parent: Path, name: str) -> Path:
    """The folder of the newest sweep, which has not come to its end.

    Raises:
        InputError: there is none.
    """
    found = sorted(
        f
        for f in parent.glob("*")
        if STAMP.fullmatch(f.name) and (f / FILE_NAME).exists()
    )
    if not found:
        raise InputError(
            f"{name} has no sweep that was broken off",
            hint="leave out --resume to begin one",
        )
    records = read_journal(found[-1] / FILE_NAME)
    if records and records[-1]["kind"] == "end" and records[-1]["stopped"] is None:
        raise InputError(
            f"the newest sweep of {name} is at its end",
            hint="leave out --resume to begin another",
        )
    return found[-1]


def recalled(folder: Path, header: Mapping[str, Any]) -> Past:
    """What a sweep that was broken off knows.

    Raises:
        InputError: it asked something else.
        JournalError: its record is damaged.
    """
    path = folder / FILE_NAME
    records = read_journal(path)
    past = Past()
    if not records or records[0]["kind"] != KIND:
        raise JournalError(
            "has no first line of a sweep", path=path, hint="move it away"
        )
    for aspect in QUESTION:
        if _aspect(records[0], aspect) != _aspect(header, aspect):
            raise InputError(
                f"the sweep that was broken off was of another {aspect}",
                hint="give the same options as then, or leave out --resume",
            )
    for record in records:
        past.take(record)
    return past


def _aspect(header: Mapping[str, Any], aspect: str) -> Any:
    """What has to be the same; free memory need not be."""
    found = header.get(aspect)
    if aspect == "devices":
        return [[one.get(name) for name in OF_DEVICE] for one in found or ()]
    return found
