"""Problems that a model is to write code for, and the suites they come in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from placer.sandbox import Sandbox


class Grade(Enum):
    """What became of an answer, in one word; only one of them is a pass."""

    PASSED = "passed"
    BASE_ONLY = "base-only"  # the suite's own tests passed, the further ones did not
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    TRUNCATED = "truncated"  # cut off, and what there is does not pass
    NO_CODE = "no-code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What tests say of a program.

    Attributes:
        grade: of it.
        detail: why it did not pass, in a line.
    """

    grade: Grade
    detail: str = ""


class Tests(Protocol):
    """What a program has to stand."""

    def check(self, sandbox: Sandbox, program: str) -> Checked:
        """Run it, in there and nowhere else.

        Raises:
            MachineError: the sandbox cannot be made, or was ended by somebody.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem.

    Attributes:
        id: its name in the suite.
        prompt: what the suite gives: the beginning of a program, or words.
        entry_point: the function to write; None where the whole program is tested.
        tests: what its answers have to stand.
        question: what is asked of a chat; None for the usual words and the prompt.
        solution: one that is right, continuing the prompt; None where nobody says.
    """

    id: str
    prompt: str
    entry_point: str | None
    tests: Tests
    question: str | None = None
    solution: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Problems that are asked together.

    Attributes:
        name: by which it is asked for.
        title: what it calls itself.
        digest: sixteen hex digits that change with the data of any problem.
        problems: in the suite's order.
        is_plus: whether there are further tests beyond the suite's own.
        note: what else is to be known of it.
    """

    name: str
    title: str
    digest: str
    problems: tuple[Problem, ...]
    is_plus: bool = False
    note: str = ""
