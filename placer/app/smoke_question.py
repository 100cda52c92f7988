"""What a smoke test asks of a server: a little of everything, the same each time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from placer.app.compared import Tolerance
from placer.engine.loadtest import PATIENCE_S
from placer.errors import InputError, MachineError
from placer.quality.problem import Problem, Suite
from placer.quality.suite import load_suite
from placer.sandbox import find_sandbox
from placer.tune.quality import N_TOKENS, PLACES, TEXT

if TYPE_CHECKING:
    from placer.app.target import Target
    from placer.quality.problem import Checked
    from placer.sandbox import Sandbox

SUITE = "humaneval"
# Of a prompt, and of what is written behind it: enough to be timed.
N_PROMPT, N_GEN = 512, 32
# The text's own next token, and those that a template adds.
SPARE_TOKENS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokeOptions:
    """How much is asked, and what counts as no difference.

    Attributes:
        problems: of HumanEval; 0 for none.
        max_tokens: of an answer.
        requests: by which a launch is timed.
        rounds: launches of each of two engines.
        seed: of their order; None for another each time.
        sandbox: what answers run in.
        is_accepted: whether this is the record from now on, whatever it says.
        tolerance: what counts as no difference.
        patience_s: seconds without a sign of loading after which one is stalled.
    """

    problems: int = 8
    max_tokens: int = 512
    requests: int = 3
    rounds: int = 3
    seed: int | None = None
    sandbox: str = "auto"
    is_accepted: bool = False
    tolerance: Tolerance = field(default_factory=Tolerance)
    patience_s: float = PATIENCE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """The problems.

    Attributes:
        suite: they are of.
        sandbox: what answers run in; None where only their texts are compared.
        note: why that is so.
    """

    suite: Suite
    sandbox: Sandbox | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """All that is asked of a launch.

    Attributes:
        n_prompt: tokens to read, to be timed.
        n_gen: tokens to write, likewise.
        requests: how often.
        n_text: tokens of the text on which it is asked what comes next.
        max_tokens: of an answer.
        exam: the problems; None for none.
    """

    n_prompt: int
    n_gen: int
    requests: int
    n_text: int
    max_tokens: int
    exam: Exam | None

    def record(self) -> dict[str, Any]:
        """What the first line of a record says of it."""
        suite = None if self.exam is None else self.exam.suite
        sandbox = None if self.exam is None else self.exam.sandbox
        return {
            "n_prompt": self.n_prompt,
            "n_gen": self.n_gen,
            "requests": self.requests,
            "text": hashlib.sha256(TEXT.encode()).hexdigest()[:16],
            "n_text": self.n_text,
            "places": PLACES,
            "suite": None if suite is None else suite.name,
            "digest": None if suite is None else suite.digest,
            "problems": [] if suite is None else [p.id for p in suite.problems],
            "max_tokens": self.max_tokens,
            "sandbox": None if sandbox is None else sandbox.name,
        }


class Untested:
    """Nobody knows what a right answer would be."""

    def check(self, sandbox: Sandbox, program: str) -> Checked:
        """Nobody asks: without a sandbox there is nothing to run."""
        raise AssertionError(sandbox.name, program)


def exam_of(options: SmokeOptions) -> Exam | None:
    """The problems, and what their answers run in, as far as that is here.

    Raises:
        InputError: there is no such sandbox.
    """
    if not options.problems:
        return None
    try:
        suite = load_suite(SUITE, limit=options.problems)
    except InputError as error:
        note = f"answers go on with a text, and are not run: {error}"
        return Exam(suite=own_suite(options.problems), note=note)
    try:
        return Exam(suite=suite, sandbox=find_sandbox(options.sandbox))
    except MachineError as error:
        return Exam(suite=suite, note=f"answers are compared, and not run: {error}")


def own_suite(limit: int) -> Suite:
    """Paragraphs to go on with, where there are no problems."""
    paragraphs = TEXT.strip().split("\n\n")[:limit]
    return Suite(
        name="text",
        title="paragraphs",
        digest=hashlib.sha256(TEXT.encode()).hexdigest()[:16],
        problems=tuple(
            Problem(
                id=f"text/{number}",
                prompt=text,
                entry_point=None,
                tests=Untested(),
                question=f"Go on with this text:\n\n{text}",
            )
            for number, text in enumerate(paragraphs)
        ),
    )


def question_of(target: Target, options: SmokeOptions) -> Question:
    """What is asked of a target, whose slots may be short.

    Raises:
        InputError: no such sandbox, or no slot has room for anything.
    """
    work = target.workload
    held = min(work.slot_ctx, target.shape.context_length or work.slot_ctx)
    room = held - N_GEN - SPARE_TOKENS
    if room < 1:
        raise InputError(
            f"{target.name} has a context of {held} tokens, which is too short",
            hint=f"raise CTX_SIZE to at least {N_GEN + SPARE_TOKENS + 1} a slot",
        )
    return Question(
        n_prompt=min(N_PROMPT, room),
        n_gen=N_GEN,
        requests=options.requests,
        n_text=min(N_TOKENS, room),
        max_tokens=options.max_tokens,
        exam=exam_of(options),
    )
