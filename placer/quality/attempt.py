"""One answer of a model to one problem."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from placer.engine.asking import LENGTH, Question
from placer.engine.client import ServerAnswerError
from placer.quality.extract import begins

if TYPE_CHECKING:
    from collections.abc import Mapping

    from placer.engine.asking import AskingClient, Reply
    from placer.quality.problem import Problem

GREEDY: Mapping[str, Any] = {"temperature": 0.0}
MOST_TOKENS = 1024
WRITE = (
    "Write the Python function {name} for the following task. Answer with the whole "
    "function, its imports and whatever helpers it needs, in one Python code block, "
    "and nothing else."
)
COMPLETE = (
    "Complete the following Python function. Answer with the whole function, its "
    "imports and whatever helpers it needs, in one Python code block, and nothing else."
)
# Where a completion goes on with something else: Chen et al. 2021, section 2.2.
STOP = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
# Where a prompt has no function to go on with, one comes first: EvalPlus, codegen.py.
STOP_OF_WORDS = ('\n"""', "\nassert", "\nif __name__", "\nprint(")
# finish of a problem that does not fit the context: server-task.cpp.
TOO_LONG, REFUSED = "exceed_context_size_error", "refused"


class Style(Enum):
    """How a problem is put to a model."""

    CHAT = "chat"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How all problems are put.

    Attributes:
        max_tokens: of an answer, its reasoning among them.
        sampling: fields of the request by their names.
        style: as a message, or as a text to be continued.
        system: a system message; None for none.
    """

    max_tokens: int = MOST_TOKENS
    sampling: Mapping[str, Any] = field(default_factory=lambda: dict(GREEDY))
    style: Style = Style.CHAT
    system: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An answer.

    Attributes:
        problem: the id of what it answers.
        sample: which of several to the same problem, from 0.
        text: what it says.
        reasoning: what was thought before, where the server tells that apart.
        finish: why it ended: ``"stop"``, ``"length"``, ``"refused"`` where the problem
            does not fit the context.
        tokens: that were written.
        prompt_tokens: that were read.
        ttft_s: seconds until its first token.
        seconds: all of it.
        decoded_tokens_per_s: by the server's own clock; None where it does not say.
    """

    problem: str
    sample: int
    text: str
    reasoning: str = ""
    finish: str = "stop"
    tokens: int = 0
    prompt_tokens: int = 0
    ttft_s: float = 0.0
    seconds: float = 0.0
    decoded_tokens_per_s: float | None = None

    @property
    def is_truncated(self) -> bool:
        """Whether it was not at its end when it had to stop."""
        return self.finish == LENGTH


def attempt(
    client: AskingClient, problem: Problem, asking: Asking, sample: int
) -> Attempt:
    """Ask for one answer.

    The same problem and sample get the same seed; of sampling that names one, later
    samples get those after it.

    Raises:
        ServerAnswerError: anything but a whole answer.
    """
    try:
        reply = client.ask(question(problem, asking, sample))
    except ServerAnswerError as error:
        if TOO_LONG not in str(error):
            raise
        return Attempt(problem=problem.id, sample=sample, text="", finish=REFUSED)
    return _attempt(problem, sample, reply)


def question(problem: Problem, asking: Asking, sample: int) -> Question:
    """What is asked of the server."""
    is_raw = asking.style is Style.COMPLETE
    return Question(
        prompt=problem.prompt if is_raw else chat_text(problem),
        max_tokens=asking.max_tokens,
        sampling={**asking.sampling, "seed": _seed(problem, asking, sample)},
        system=asking.system,
        is_raw=is_raw,
        stop=_stop(problem) if is_raw else (),
    )


def chat_text(problem: Problem) -> str:
    """A problem as a message."""
    if problem.question is not None:
        return problem.question
    request = COMPLETE if begins(problem) else WRITE.format(name=problem.entry_point)
    return f"{request}\n\n```python\n{problem.prompt.strip()}\n```\n"


def _stop(problem: Problem) -> tuple[str, ...]:
    return STOP if begins(problem) else STOP_OF_WORDS


def _seed(problem: Problem, asking: Asking, sample: int) -> int:
    named = asking.sampling.get("seed")
    if named is not None:
        return int(named) + sample
    return zlib.crc32(f"{problem.id} {sample}".encode())


def _attempt(problem: Problem, sample: int, reply: Reply) -> Attempt:
    return Attempt(
        problem=problem.id,
        sample=sample,
        text=reply.text,
        reasoning=reply.reasoning,
        finish=reply.finish,
        tokens=reply.tokens,
        prompt_tokens=reply.prompt_tokens,
        ttft_s=reply.ttft_s,
        seconds=reply.seconds,
        decoded_tokens_per_s=reply.decoded_tokens_per_s,
    )
