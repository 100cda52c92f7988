from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from placer.errors import InputError
from placer.quality.attempt import Attempt
from placer.quality.grade import Grade, grade
from placer.quality.suite import load_suite

if TYPE_CHECKING:
    from pathlib import Path

    from placer.quality.suite import Suite
    from placer.sandbox import Sandbox

pytest.importorskip("evalplus.eval")
SHARED = {
    "task_id": "Mbpp/2",
    "prompt": '"""\nWrite a function to find the shared elements of two lists.\n'
    'assert set(similar_elements((3, 4),(5, 4))) == set((4,))\n"""\n',
    "entry_point": "similar_elements",
    "canonical_solution": "\ndef similar_elements(a, b):\n"
    "    assert isinstance(a, tuple)\n    return tuple(set(a) & set(b))\n",
    "base_input": [[[3, 4, 5], [5, 4, 10]]],
    "plus_input": [[[], [1]]],
    "atol": 0,
}


def write(path: Path, *tasks: dict[str, Any]) -> Path:
    """A file of problems as EvalPlus has them."""
    lines = [json.dumps({"contract": "", **task}) for task in tasks]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def plus(tmp_path: Path, human_eval: Suite, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """The problem ``add`` of HumanEval with further inputs."""
    add = human_eval.problems[53]
    task = {
        "task_id": add.id,
        "prompt": add.prompt,
        "entry_point": add.entry_point,
        "canonical_solution": add.solution,
        "base_input": [[0, 1], [2, 3]],
        "plus_input": [[10**20, 5], [-1, 1]],
        "atol": 0,
    }
    path = write(tmp_path / "plus.jsonl", task)
    monkeypatch.setenv("HUMANEVAL_OVERRIDE_PATH", str(path))
    return load_suite("humaneval+")


def graded(sandbox: Sandbox, suite: Suite, text: str) -> tuple[Grade, str]:
    """What becomes of an answer to the only problem."""
    (problem,) = suite.problems
    attempt = Attempt(problem=problem.id, sample=0, text=text)
    found = grade(sandbox, problem, attempt)
    return found.grade, found.detail


def test_a_right_program_passes_both_kinds(sandbox: Sandbox, plus: Suite) -> None:
    """EvalPlus's checker, in the sandbox, is of one mind with its reference."""
    assert graded(sandbox, plus, "    return x + y\n")[0] is Grade.PASSED


def test_a_program_that_only_further_inputs_tell_apart_is_told_apart(
    sandbox: Sandbox, plus: Suite
) -> None:
    """Passed base, failed plus: neither a pass nor like any failure."""
    wrong = "    return x + y if x < 9 else 0\n"

    assert graded(sandbox, plus, wrong) == (
        Grade.BASE_ONLY,
        "passed base, failed plus: fail after 0 of 2 inputs",
    )


@pytest.mark.parametrize(
    "body", ["    return x - y\n", "    import os; os._exit(0)\n", "    exit(0)\n"]
)
def test_a_wrong_program_passes_neither(
    sandbox: Sandbox, plus: Suite, body: str
) -> None:
    """Nor does one that leaves."""
    found, detail = graded(sandbox, plus, body)

    assert found in (Grade.FAILED, Grade.TIMED_OUT)
    assert detail.startswith("base ")


def test_inputs_of_mbpp_are_what_json_has_lost(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tuples come back as tuples, and lists count as sets where the suite says so."""
    path = write(tmp_path / "mbpp.jsonl", SHARED)
    monkeypatch.setenv("MBPP_OVERRIDE_PATH", str(path))
    answer = "def similar_elements(a, b):\n    return [x for x in b if x in a + ()]\n"

    found = graded(sandbox, load_suite("mbpp+"), f"```\n{answer}```")

    assert found[0] is Grade.PASSED


def test_without_its_data_the_command_that_fetches_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is fetched by placer itself."""
    monkeypatch.delenv("HUMANEVAL_OVERRIDE_PATH", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    with pytest.raises(InputError, match="import get_human_eval_plus") as caught:
        load_suite("humaneval+")

    assert "HUMANEVAL_OVERRIDE_PATH" in str(caught.value)


def test_its_data_is_found_where_it_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What EvalPlus has fetched need not be named."""
    monkeypatch.delenv("MBPP_OVERRIDE_PATH", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "evalplus").mkdir()
    write(tmp_path / "evalplus" / "MbppPlus-v0.2.0.jsonl", SHARED)

    suite = load_suite("mbpp+")

    assert [p.id for p in suite.problems] == ["Mbpp/2"]
    assert suite.is_plus


@pytest.mark.parametrize("text", ["{", '{"task_id": 1}', "[]", "\x1f\x8b"])
def test_damaged_data_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """One line says which file it is."""
    path = tmp_path / "damaged.jsonl"
    path.write_text(text, encoding="latin-1")
    monkeypatch.setenv("MBPP_OVERRIDE_PATH", str(path))

    with pytest.raises(InputError) as caught:
        load_suite("mbpp+")

    assert caught.value.path == path
