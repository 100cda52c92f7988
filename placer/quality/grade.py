"""An answer, graded: its code found, and run where it can do no harm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.quality.attempt import REFUSED
from placer.quality.extract import program_of
from placer.quality.problem import Checked, Grade

if TYPE_CHECKING:
    from placer.quality.attempt import Attempt
    from placer.quality.problem import Problem
    from placer.sandbox import Sandbox

__all__ = ["Grade", "Graded", "grade"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """What became of an answer.

    Attributes:
        problem: the id of what it answers.
        sample: which of several to the same problem.
        grade: in one word.
        detail: why it did not pass, in a line.
    """

    problem: str
    sample: int
    grade: Grade
    detail: str = ""


def grade(sandbox: Sandbox, problem: Problem, attempt: Attempt) -> Graded:
    """Find its code and let the tests have it.

    An answer that was cut off is graded as it is: its code may have come before.

    Raises:
        MachineError: the sandbox cannot be made, or was ended by somebody.
    """
    checked = _checked(sandbox, problem, attempt)
    found = checked.grade
    if attempt.is_truncated and found is not Grade.PASSED:
        found = Grade.TRUNCATED
    return Graded(
        problem=attempt.problem,
        sample=attempt.sample,
        grade=found,
        detail=checked.detail,
    )


def _checked(sandbox: Sandbox, problem: Problem, attempt: Attempt) -> Checked:
    if attempt.finish == REFUSED:
        detail = "the problem does not fit the context"
        return Checked(grade=Grade.NO_CODE, detail=detail)
    program = program_of(problem, attempt.text)
    if program is None:
        return Checked(grade=Grade.NO_CODE, detail="there is no code in it")
    return problem.tests.check(sandbox, program)
