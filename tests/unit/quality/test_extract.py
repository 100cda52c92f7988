from __future__ import annotations

import ast

import pytest

from placer.quality.extract import preamble, program_of
from placer.quality.human_eval import FunctionTests
from placer.quality.problem import Problem

PROMPT = (
    "import math\nfrom typing import List\n\n\n"
    "def helper(x):\n    return x\n\n\n"
    'def area(radius: float) -> float:\n    """The area of a circle."""\n'
)
WHOLE = "def area(radius):\n    return math.pi * radius ** 2"
BODY = "    return math.pi * radius ** 2\n"
TEST = "def test():\n    assert area(0) == 0"


def problem(prompt: str = PROMPT, entry_point: str | None = "area") -> Problem:
    """A problem whose tests are not run here."""
    return Problem(
        id="T/0", prompt=prompt, entry_point=entry_point, tests=FunctionTests(text="")
    )


def fenced(code: str, tag: str = "python") -> str:
    """Code as models hand it over."""
    return f"```{tag}\n{code}\n```\n"


RIGHT = {
    "a block": fenced(WHOLE),
    "a block without a tag": fenced(WHOLE, ""),
    "a block of another tag": fenced(WHOLE, "py3"),
    "a capital tag": fenced(WHOLE, "Python"),
    "tildes": f"~~~python\n{WHOLE}\n~~~",
    "longer fences": f"````python\n{WHOLE}\n````",
    "text around": f"Sure! Here it is:\n\n{fenced(WHOLE)}\nIt squares the radius.",
    "a fence behind prose": f"Here it is: ```python\n{WHOLE}\n```",
    "the whole prompt again": fenced(PROMPT + BODY),
    "an example behind it": fenced(WHOLE) + fenced("print(area(2))"),
    "tests behind it": fenced(WHOLE) + "Tests:\n" + fenced(TEST),
    "a shell first": fenced("pip install math", "sh") + fenced(WHOLE),
    "a wrong one first": fenced("def area(radius):\n    return 0") + fenced(WHOLE),
    "a broken one behind it": fenced(WHOLE) + fenced("def area(radius:\n  return"),
    "never closed": f"```python\n{WHOLE}",
    "carriage returns": fenced(WHOLE).replace("\n", "\r\n"),
    "in a list": "1. Do this:\n\n   ```python\n   "
    + WHOLE.replace("\n", "\n   ")
    + "\n   ```\n",
    "tabs": fenced(WHOLE.replace("    ", "\t")),
    "thoughts": f"<think>\n{fenced('def area(r): return 1')}</think>\n{fenced(WHOLE)}",
    "thoughts that the template began": f"so I\n</think>\n{fenced(WHOLE)}",
    "thoughts of another model": f"[THINK]hm[/THINK]{fenced(WHOLE)}",
    "a body": BODY,
    "a body in a block": fenced(BODY.rstrip()),
    "a body with tabs": "\treturn math.pi * radius ** 2\n",
    "a body without indentation": fenced("return math.pi * radius ** 2"),
    "no block": WHOLE,
    "no block, text around": f"Sure:\n\n{WHOLE}\n\nThis squares the radius.",
    "no block, its imports above": f"Sure:\n\nimport math\n\n{WHOLE}\n",
    "a lambda": fenced("area = lambda radius: math.pi * radius ** 2"),
    "a future": fenced(f"from __future__ import annotations\n{WHOLE}"),
}


@pytest.mark.parametrize("answer", RIGHT.values(), ids=RIGHT.keys())
def test_a_right_answer_is_right_however_it_is_wrapped(answer: str) -> None:
    """What models write around code, and into it, costs them nothing."""
    program = program_of(problem(), answer)

    assert program is not None
    there: dict[str, object] = {}
    exec(program, there)  # noqa: S102 - one of those above
    area = there["area"]
    assert callable(area)
    assert area(2) == pytest.approx(12.566, abs=0.001)
    assert "helper" in there


NO_CODE = {
    "nothing": "",
    "blanks": " \n\n",
    "a refusal": "I am sorry, I cannot do that.",
    "a word": "None",
    "still thinking": f"<think>\nmaybe\n{fenced(WHOLE)}",
    "thinking again": f"<think>a</think>ok<think>\n{fenced(WHOLE)}",
}


@pytest.mark.parametrize("answer", NO_CODE.values(), ids=NO_CODE.keys())
def test_an_answer_without_code_has_none(answer: str) -> None:
    """Prose is no program, nor are thoughts that never end."""
    assert program_of(problem(), answer) is None


def test_code_that_does_not_parse_is_handed_on() -> None:
    """A broken program is a failure of its model, not an answer without code."""
    program = program_of(problem(), fenced("def area(radius:\n    return"))

    assert program is not None
    with pytest.raises(SyntaxError):
        ast.parse(program)


def test_the_longest_block_counts_where_none_defines_the_function() -> None:
    """Another name is a failure, told by the tests and not guessed here."""
    program = program_of(
        problem(), fenced("x = 1") + fenced(WHOLE.replace("area", "a"))
    )

    assert program is not None
    assert "def a(radius)" in program


def test_what_the_prompt_has_above_its_function_is_kept() -> None:
    """Imports and helpers of the prompt need not be written again."""
    assert preamble(problem()) == PROMPT[: PROMPT.index("def area")]
    assert preamble(problem(prompt='"""\nWrite area.\n"""\n')) == ""


def test_of_a_whole_program_the_last_block_counts() -> None:
    """Where no function is asked for, models write examples first."""
    whole = problem(prompt="Read a number.", entry_point=None)
    answer = fenced("4 2") + fenced("print(int(input()) ** 2)") + "done"

    assert program_of(whole, answer) == "print(int(input()) ** 2)\n"
    assert program_of(whole, "Square it.") is None
    assert program_of(whole, "n = int(input())\nprint(n * n)\n") is not None
