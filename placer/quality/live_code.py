"""LiveCodeBench, through its own package, where that and its data are installed.

Jain et al. 2024, "LiveCodeBench: Holistic and Contamination Free Evaluation of Large
Language Models for Code". Nothing is fetched.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from placer.errors import InputError
from placer.quality import inside_live
from placer.quality.problem import Checked, Grade, Problem, Suite
from placer.quality.trial import Trial
from placer.sandbox import Limits
from placer.units import GIB, MIB

if TYPE_CHECKING:
    from placer.sandbox import Sandbox

RELEASE = "release_latest"
PACKAGES = ("lcb_runner", "numpy")
INSTALL = "install LiveCodeBench's own package lcb_runner beside placer, see its README"
FETCH = (
    "fetch them once: python -c "
    '"from lcb_runner.benchmarks import load_code_generation_dataset as load; '
    f"load('{RELEASE}')\""
)
# Of one test, as its own runner has it.
TIMEOUT_S = 6
TIME_OUT = -3
# The words of its prompts: lcb_runner/prompts/code_generation.py.
ROLE = (
    "You will be given a question (problem specification) and will generate a correct "
    "Python program that matches the specification and passes all tests."
)
WITH_STARTER = (
    "You will use the following starter code to write the solution to the problem and "
    "enclose your code within delimiters."
)
WITHOUT_STARTER = (
    "Read the inputs from stdin solve the problem and write the answer to stdout (do "
    "not directly test on the sample inputs). Enclose your code within delimiters as "
    "follows. Ensure that when the python program runs, it reads the inputs, runs the "
    "algorithm and writes output to STDOUT."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveTests:
    """Inputs and outputs of a whole program, or of a method.

    Attributes:
        input_output: as its checker takes them: JSON.
    """

    input_output: str = field(repr=False)

    def check(self, sandbox: Sandbox, program: str) -> Checked:
        """Hold it to them."""
        count = len(json.loads(self.input_output)["inputs"])
        # As long as its own runner waits.
        most_s = (TIMEOUT_S + 1) * count + 5
        trial = Trial(
            inside=inside_live,
            order={
                "input_output": self.input_output,
                "program": program,
                "timeout_s": TIMEOUT_S,
            },
            limits=Limits(
                wall_s=most_s,
                cpu_s=most_s,
                memory_bytes=4 * GIB,
                file_bytes=256 * MIB,
                temp_bytes=512 * MIB,
            ),
            packages=PACKAGES,
        )
        found = trial.run(sandbox)
        return found if isinstance(found, Checked) else _checked(found)


def load(name: str) -> Suite:
    """All problems of the newest release that is here.

    Raises:
        InputError: its package or its data is not here.
    """
    if find_spec("lcb_runner") is None:
        raise InputError("lcb_runner is not installed", hint=INSTALL)
    found = _dataset()
    problems = tuple(_problem(one) for one in found)
    if not problems:
        raise InputError("LiveCodeBench has no problems here", hint=FETCH)
    digest = hashlib.sha256()
    for one in problems:
        digest.update(f"{one.id}\n{one.question}\n{one.tests}".encode())
    return Suite(
        name=name,
        title=f"LiveCodeBench {RELEASE}",
        digest=digest.hexdigest()[:16],
        problems=problems,
    )


def _dataset() -> list[Any]:
    """What its own loader gives, which must not reach for the network."""
    for variable in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE"):
        os.environ[variable] = "1"
    try:
        with redirect_stdout(sys.stderr):
            benchmarks = import_module("lcb_runner.benchmarks")
            found: list[Any] = benchmarks.load_code_generation_dataset(RELEASE)
    except Exception as error:  # noqa: BLE001 - whatever its packages raise
        said = f"{type(error).__name__}: {error}"
        raise InputError(
            f"LiveCodeBench's problems are not here ({said})", hint=FETCH
        ) from None
    return found


def _problem(one: Any) -> Problem:
    tests = LiveTests(input_output=one.get_evaluation_sample()["input_output"])
    return Problem(
        id=str(one.question_id),
        prompt=one.question_content,
        entry_point=None,
        tests=tests,
        question=_question(one),
    )


def _question(one: Any) -> str:
    how, code = WITHOUT_STARTER, "# YOUR CODE HERE"
    if one.starter_code:
        how, code = WITH_STARTER, one.starter_code
    return (
        f"{ROLE}\n\n### Question:\n{one.question_content}\n\n### Format: {how}\n"
        f"```python\n{code}\n```\n\n"
        "### Answer: (use the provided format with backticks)\n\n"
    )


def _checked(report: dict[str, Any]) -> Checked:
    if report["passed"]:
        return Checked(grade=Grade.PASSED)
    is_late = report["code"] == TIME_OUT
    grade = Grade.TIMED_OUT if is_late else Grade.FAILED
    return Checked(grade=grade, detail=" ".join(report["detail"].split())[:200])
