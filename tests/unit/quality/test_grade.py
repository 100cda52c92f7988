from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from placer.errors import MachineError
from placer.quality.attempt import REFUSED, Attempt
from placer.quality.grade import Grade, Graded, grade
from placer.sandbox import Ended, Finished

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.quality.suite import Problem, Suite
    from placer.sandbox import Sandbox

# Each third here, all of them by scripts/bench.d/humaneval.py.
STEP = 3
THREADS = 3


def answer(problem: Problem, text: str, finish: str = "stop") -> Attempt:
    """An answer that says just that."""
    return Attempt(problem=problem.id, sample=0, text=text, finish=finish)


def graded(
    sandbox: Sandbox, suite: Suite, text_of: Callable[[Problem], str]
) -> list[Graded]:
    """A third of the problems, several at once."""
    problems = suite.problems[::STEP]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(
            pool.map(lambda p: grade(sandbox, p, answer(p, text_of(p))), problems)
        )


def test_canonical_solutions_all_pass(sandbox: Sandbox, human_eval: Suite) -> None:
    """The harness fails no program that is right."""
    found = graded(sandbox, human_eval, lambda p: f"{p.prompt}{p.solution}")

    assert [g for g in found if g.grade is not Grade.PASSED] == []


def test_functions_that_do_nothing_all_fail(
    sandbox: Sandbox, human_eval: Suite
) -> None:
    """The harness passes no program that is wrong."""
    found = graded(sandbox, human_eval, lambda p: f"{p.prompt}    pass\n")

    assert {g.grade for g in found} == {Grade.FAILED}


def test_empty_answers_never_reach_the_sandbox(human_eval: Suite) -> None:
    """Nothing was written, so nothing is run, and nothing passes."""
    for problem in human_eval.problems:
        assert grade(NoSandbox(), problem, answer(problem, "")).grade is Grade.NO_CODE


FORGED = {
    "exit": "    exit(0)\n",
    "sys.exit": "    import sys; sys.exit(0)\n",
    "os._exit": "    import os; os._exit(0)\n",
    "an exit while it loads": "    pass\nimport os\nos._exit(0)\n",
    "a word of its own": "    print('passed')\n    import os; os._exit(0)\n",
    "a report of its own": "    import os\n"
    """    os.write(1, b'0 {"passed": true}\\n')\n    os._exit(0)\n""",
    "the word of its order": "    import json, os\n"
    "    word = json.load(open('order.json'))['word']\n"
    """    os.write(1, f'\\n{word} {{"passed": true}}\\n'.encode())\n"""
    "    os._exit(0)\n",
    "tests that are not run": "    pass\nglobals()['check'] = lambda f: None\n",
}


@pytest.mark.parametrize("body", FORGED.values(), ids=FORGED.keys())
def test_a_program_that_leaves_early_has_not_passed(
    sandbox: Sandbox, human_eval: Suite, body: str
) -> None:
    """Exit code 0 is no pass: only tests that came to their end are."""
    problem = human_eval.problems[0]

    found = grade(sandbox, problem, answer(problem, problem.prompt + body))

    assert found.grade is Grade.FAILED
    assert found.detail


def test_what_it_says_is_not_what_it_returns(
    sandbox: Sandbox, human_eval: Suite
) -> None:
    """A right program that prints without end of itself passes."""
    problem = human_eval.problems[2]
    noise = (
        "    print('x' * 100_000)\n    import sys; sys.stderr.write('y' * 100_000)\n"
    )

    found = grade(sandbox, problem, answer(problem, f"{noise}{problem.solution}"))

    assert found.grade is Grade.PASSED


def test_a_failed_assertion_is_told(sandbox: Sandbox, human_eval: Suite) -> None:
    """Whoever reads the record sees which test it was."""
    problem = human_eval.problems[2]

    found = grade(sandbox, problem, answer(problem, "    return 7\n"))

    assert found.detail == "assert candidate(3.5) == 0.5"


def test_an_answer_that_was_cut_off_is_graded_as_it_is(
    sandbox: Sandbox, human_eval: Suite
) -> None:
    """Its code may have come before the end; else it was cut off, not wrong."""
    problem = human_eval.problems[2]
    right = answer(problem, f"```\n{problem.prompt}{problem.solution}```\nIt", "length")
    half = answer(problem, f"```\n{problem.prompt}    return (", "length")

    assert grade(sandbox, problem, right).grade is Grade.PASSED
    assert grade(sandbox, problem, half).grade is Grade.TRUNCATED


class NoSandbox:
    """Runs nothing."""

    name = "none"

    def run(self, program: str, **_: object) -> Finished:
        raise AssertionError(program)


class Ending:
    """A sandbox that ends everything."""

    name = "ending"

    def __init__(self, by: Ended) -> None:
        self._by = by

    def run(self, program: str, **_: object) -> Finished:
        del program
        return Finished(exit_code=None, output="", seconds=10.0, ended_by=self._by)


@pytest.mark.parametrize(
    ("by", "wanted"),
    [
        (Ended.TIME, Grade.TIMED_OUT),
        (Ended.MEMORY, Grade.FAILED),
        (Ended.OUTPUT, Grade.FAILED),
    ],
)
def test_what_takes_too_much_has_not_passed(
    human_eval: Suite, by: Ended, wanted: Grade
) -> None:
    """A program that had to be ended says so in its grade."""
    problem = human_eval.problems[0]

    found = grade(Ending(by), problem, answer(problem, problem.prompt + "    pass\n"))

    assert found.grade is wanted
    assert found.detail


def test_a_sandbox_that_somebody_ended_grades_nothing(human_eval: Suite) -> None:
    """Ctrl-C reaches the sandbox too; that is no failure of the program."""
    problem = human_eval.problems[0]

    with pytest.raises(MachineError, match="ended by somebody"):
        grade(Ending(Ended.INTERRUPTED), problem, answer(problem, "    return True\n"))


def test_a_problem_that_does_not_fit_the_context_says_so(human_eval: Suite) -> None:
    """The model was not asked, and did not pass."""
    problem = human_eval.problems[0]

    found = grade(NoSandbox(), problem, answer(problem, "", REFUSED))

    assert found.grade is Grade.NO_CODE
    assert "context" in found.detail
