"""LiveCodeBench by a stand-in of the same interface: its own package is not here."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

import pytest

from placer.errors import InputError
from placer.quality.attempt import Asking, Attempt, question
from placer.quality.grade import Grade, grade
from placer.quality.suite import load_suite

if TYPE_CHECKING:
    from pathlib import Path

    from placer.sandbox import Sandbox

BENCHMARKS = """
import json
import os
from dataclasses import dataclass


@dataclass
class CodeGenerationProblem:
    question_id: str
    question_content: str
    starter_code: str
    tests: dict

    def get_evaluation_sample(self):
        return {"input_output": json.dumps(self.tests)}


def load_code_generation_dataset(release_version="release_v1"):
    assert os.environ["HF_DATASETS_OFFLINE"] == "1"
    if os.environ.get("STAND_IN_IS_EMPTY"):
        raise ConnectionError("Couldn't reach the dataset")
    print("Loaded 1 problems")
    tests = {"inputs": ["3", "4"], "outputs": ["9", "16"], "fn_name": None}
    return [CodeGenerationProblem("abc_a", "Square a number.", "", tests)]
"""
CHECKER = """
import contextlib
import io
import json
import sys


def run_test(sample, test=None, debug=False, timeout=6):
    told = json.loads(sample["input_output"])
    results = []
    for given, wanted in zip(told["inputs"], told["outputs"]):
        said = io.StringIO()
        sys.stdin = io.StringIO(given)
        try:
            with contextlib.redirect_stdout(said):
                exec(test, {})
        except Exception as error:
            return [*results, -4], {"error_code": -4, "error_message": repr(error)}
        if said.getvalue().strip() != wanted:
            return [*results, -2], {"error_code": -2, "error_message": "Wrong Answer"}
        results.append(True)
    return results, {}
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package ``lcb_runner`` with the functions that are called."""
    for name, text in {
        "__init__": "",
        "benchmarks/__init__": BENCHMARKS,
        "evaluation/__init__": "",
        "evaluation/testing_util": CHECKER,
    }.items():
        path = tmp_path / "lcb_runner" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    # Read in the sandbox by a user who is nobody here.
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "0")
    for name in [n for n in sys.modules if n.partition(".")[0] == "lcb_runner"]:
        monkeypatch.delitem(sys.modules, name)
    importlib.invalidate_caches()


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("print(int(input()) ** 2)", Grade.PASSED),
        ("print(9)", Grade.FAILED),
        ("print(int(input()) / 0)", Grade.FAILED),
        ("import os; os._exit(0)", Grade.FAILED),
    ],
)
def test_its_own_checker_grades_in_the_sandbox(
    sandbox: Sandbox, code: str, wanted: Grade
) -> None:
    """Codes of errors, which are no zeros, count as failures."""
    (problem,) = load_suite("livecodebench").problems

    attempt = Attempt(problem=problem.id, sample=0, text=f"```python\n{code}\n```")

    assert grade(sandbox, problem, attempt).grade is wanted


def test_its_loader_says_nothing_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """What a package prints is no part of --json."""
    suite = load_suite("livecodebench")

    assert capsys.readouterr().out == ""
    (problem,) = suite.problems
    assert "Square a number." in str(question(problem, Asking(), 0).prompt)


def test_without_its_data_the_command_that_fetches_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is fetched by placer itself."""
    monkeypatch.setenv("STAND_IN_IS_EMPTY", "1")

    with pytest.raises(InputError, match="load_code_generation_dataset"):
        load_suite("livecodebench")


def test_without_its_package_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for by name, and so its absence has one."""
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(tmp_path)])
    importlib.invalidate_caches()

    with pytest.raises(InputError, match="lcb_runner is not installed"):
        load_suite("livecodebench")
