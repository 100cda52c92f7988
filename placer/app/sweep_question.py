"""What a sweep asks, out of what somebody gave or of an experiment with a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from placer.app.sweep_bench import Exam, Probe, Reading
from placer.app.sweep_factors import Varied, parse_varied
from placer.app.sweep_measures import (
    PPL,
    Needs,
    Wanted,
    needs_of,
    parse_measures,
    usual_repeats,
)
from placer.engine.loadtest import PATIENCE_S
from placer.errors import InputError, MachineError
from placer.experiment.design import Factor, grid
from placer.experiment.named import EXPERIMENTS, Experiment
from placer.quality.attempt import MOST_TOKENS, Style

if TYPE_CHECKING:
    from pathlib import Path

    from placer.app.rig import Rig
    from placer.app.target import Target
    from placer.experiment.measures import Measure
    from placer.tune.budget import Budget

SUITE_DEFAULT = "humaneval"
MEASURE_DEFAULT = "tokens/s,vram"
SEED = 11434
# A grid beyond it is no sweep but a mistake, or a matter for --budget.
MOST_CELLS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """What is asked, and how.

    Attributes:
        vary: ``temp=0.6,0.8`` and the like.
        base: ``ctk=f16``, what others of a factor are compared with.
        measure: ``pass@1,tokens/s``; None for the experiment's, or the usual.
        experiment: by its name; None for none.
        repeats: None for as many as the measures need.
        seed: of the order, and of proposals.
        budget: what may be spent where the grid is too large; None for all of it.
        suite: of problems.
        limit: so many of its problems; None for all.
        samples: answers to each problem in a repeat.
        users: that ask at once.
        max_tokens: of an answer to a problem.
        style: how a problem is put.
        sandbox: what answers run in.
        prompt_tokens: read to measure a speed; None for the experiment's, or the usual.
        tokens: written to measure a speed.
        text: what perplexity is measured on.
        patience_s: seconds without a sign of loading after which one is stalled.
        resume: whether the newest sweep, which was broken off, goes on.
    """

    vary: tuple[str, ...] = ()
    base: tuple[str, ...] = ()
    measure: str | None = None
    experiment: str | None = None
    repeats: int | None = None
    seed: int = SEED
    budget: Budget | None = None
    suite: str = SUITE_DEFAULT
    limit: int | None = None
    samples: int = 1
    users: int = 1
    max_tokens: int = MOST_TOKENS
    style: Style = Style.CHAT
    sandbox: str = "auto"
    prompt_tokens: int | None = None
    tokens: int = Probe().written
    text: Path | None = None
    patience_s: float = PATIENCE_S
    resume: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is varied and what is measured, ready to be asked.

    Attributes:
        varied: with what it is to the server.
        wanted: the first being what counts most.
        repeats: how often everything is measured.
        probe: how speeds are measured.
        exam: how problems are put; None where none are.
        reading: how perplexity is measured; None where it is not.
        notes: what was left out, and what else to know.
    """

    varied: tuple[Varied, ...]
    wanted: tuple[Wanted, ...]
    repeats: int
    probe: Probe
    exam: Exam | None
    reading: Reading | None
    notes: tuple[str, ...]

    @property
    def factors(self) -> tuple[Factor, ...]:
        """What is varied."""
        return tuple(one.factor for one in self.varied)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What is measured."""
        return tuple(one.measure for one in self.wanted)

    def record(self, options: SweepOptions) -> dict[str, Any]:
        """What the first line of the record says of it."""
        exam, budget = self.exam, options.budget
        return {
            "factors": [
                {
                    "name": one.name,
                    "values": list(one.values),
                    "base": one.base,
                    "restarts": one.restarts,
                }
                for one in self.factors
            ],
            "measures": [one.name for one in self.measures],
            "repeats": self.repeats,
            "seed": options.seed,
            "experiment": options.experiment,
            "suite": None if exam is None else _exam_record(exam),
            "sandbox": None if exam is None else exam.sandbox.name,
            "probe": {"read": self.probe.read, "written": self.probe.written},
            "proposes": budget is not None,
            "notes": list(self.notes),
        }


def _exam_record(exam: Exam) -> dict[str, Any]:
    return {
        "name": exam.suite.name,
        "digest": exam.suite.digest,
        "problems": [problem.id for problem in exam.suite.problems],
        "samples": exam.samples,
        "max_tokens": exam.max_tokens,
        "style": exam.style.value,
    }


def experiment_of(name: str | None) -> Experiment:
    """The experiment of that name; an empty one for None.

    Raises:
        InputError: there is none.
    """
    if name is None:
        return Experiment(name="", question="", vary=(), measures=MEASURE_DEFAULT)
    if name not in EXPERIMENTS:
        raise InputError(
            f"there is no experiment {name!r}",
            hint="placer sweep --list shows those that there are",
        )
    return EXPERIMENTS[name]


def varied_of(target: Target, options: SweepOptions) -> tuple[Varied, ...]:
    """What is varied; ``--vary`` takes the place of the experiment's.

    Raises:
        InputError: what cannot be varied, or too much of it.
    """
    named = experiment_of(options.experiment)
    theirs = () if options.vary else named.base
    base = (*(b for b in theirs if not options.base), *options.base)
    varied = parse_varied(options.vary or named.vary, base, target)
    cells = len(grid([one.factor for one in varied]))
    if cells > MOST_CELLS and options.budget is None:
        raise InputError(
            f"these are {cells:,} cells",
            hint="name fewer values, or give --budget to have some proposed",
        )
    return varied


def question_of(
    varied: tuple[Varied, ...], options: SweepOptions, rig: Rig
) -> Question:
    """All of it, with the problems and programs that it takes.

    Raises:
        InputError: what cannot be measured, or problems that are not here.
        MachineError: no sandbox, or no llama-perplexity.
    """
    named = experiment_of(options.experiment)
    wanted = parse_measures(options.measure or named.measures)
    notes = [named.note] if named.note else []
    reading = None
    if Needs.PERPLEXITY in needs_of(wanted):
        try:
            reading = _reading(options, rig)
        except (InputError, MachineError) as error:
            left = tuple(o for o in wanted if o.name != PPL or not o.is_optional)
            if len(left) == len(wanted) or not left:
                raise
            wanted = left
            notes.append(f"{PPL} is left out: {error}")
    repeats = options.repeats or named.repeats or usual_repeats(wanted)
    read = options.prompt_tokens or named.prompt_tokens or Probe().read
    return Question(
        varied=varied,
        wanted=wanted,
        repeats=repeats,
        probe=Probe(read=read, written=options.tokens),
        exam=_exam(wanted, options),
        reading=reading,
        notes=tuple(notes),
    )


def _exam(wanted: tuple[Wanted, ...], options: SweepOptions) -> Exam | None:
    if Needs.SUITE not in needs_of(wanted):
        return None
    from placer.quality.suite import load_suite
    from placer.sandbox import find_sandbox

    most = max((one.k for one in wanted if one.k is not None), default=1)
    if most > options.samples:
        raise InputError(
            f"pass@{most} takes {most} answers to a problem",
            hint=f"give --samples {most}",
        )
    return Exam(
        suite=load_suite(options.suite, limit=options.limit),
        sandbox=find_sandbox(options.sandbox),
        samples=options.samples,
        users=options.users,
        max_tokens=options.max_tokens,
        style=options.style,
    )


def _reading(options: SweepOptions, rig: Rig) -> Reading:
    from placer.engine.binary import Engine
    from placer.engine.perplexity import HINT, PROGRAM, find_perplexity

    engine = rig.engine
    program = find_perplexity(engine) if isinstance(engine, Engine) else None
    if program is None:
        raise MachineError(
            f"{PROGRAM} is neither beside llama-server nor on PATH", hint=HINT
        )
    if options.text is None:
        raise InputError(
            "perplexity is of a text, and none is given",
            hint="give a file with --text, wiki.test.raw for example",
        )
    if not options.text.is_file():
        raise InputError("is no file", path=options.text, hint="check --text")
    return Reading(program=program, text=options.text)
