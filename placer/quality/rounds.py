"""All problems of a suite, asked by as many users as wanted, graded as answers come."""

from __future__ import annotations

import os
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from placer.quality.attempt import attempt
from placer.quality.grade import grade

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from placer.engine.asking import AskingClient
    from placer.quality.attempt import Asking, Attempt
    from placer.quality.grade import Graded
    from placer.quality.problem import Problem, Suite
    from placer.sandbox import Sandbox

# The id of a problem, and which of its answers.
Key = tuple[str, int]
NOTHING: Mapping[Any, Any] = MappingProxyType({})
MOST_GRADERS = 4


def keys(suite: Suite, samples: int) -> list[Key]:
    """All that is to be asked, in order."""
    return [(p.id, sample) for p in suite.problems for sample in range(samples)]


def run_round(  # noqa: PLR0913 - each is one thing
    client: AskingClient | None,
    sandbox: Sandbox,
    suite: Suite,
    asking: Asking,
    *,
    samples: int = 1,
    users: int = 1,
    attempts: Mapping[Key, Attempt] = NOTHING,
    graded: Mapping[Key, Graded] = NOTHING,
    on_attempt: Callable[[Attempt], None],
    on_graded: Callable[[Graded], None],
) -> None:
    """Ask and grade all that is neither asked nor graded yet.

    Args:
        client: the server; closed where the round breaks off. None where nothing is
            left to ask.
        sandbox: what runs in it.
        suite: the problems.
        asking: how they are put.
        samples: answers to each.
        users: that ask at once.
        attempts: answers that are there: not asked for again.
        graded: what is graded: not graded again.
        on_attempt: told of each new answer, one at a time with ``on_graded``.
        on_graded: told of each new grade.

    Raises:
        ServerAnswerError: the server gave anything but a whole answer.
        MachineError: the sandbox cannot be made, or was ended by somebody.
        KeyboardInterrupt: Ctrl-C; what was under way is lost.
    """
    problems = {p.id: p for p in suite.problems}
    with ExitStack() as stack:
        under_way = _UnderWay(
            client=client,
            sandbox=sandbox,
            asking=asking,
            askers=stack.enter_context(ThreadPoolExecutor(users)),
            graders=stack.enter_context(ThreadPoolExecutor(_graders())),
            on_attempt=on_attempt,
            on_graded=on_graded,
        )
        for key in keys(suite, samples):
            if key in graded:
                continue
            if key in attempts:
                under_way.grade(problems[key[0]], attempts[key])
            else:
                under_way.ask(problems[key[0]], key[1])
        under_way.end()


def _graders() -> int:
    """Not all of the CPU: the model may be on it."""
    return max(1, min(MOST_GRADERS, (os.cpu_count() or 1) // 2))


@dataclass(slots=True, kw_only=True)
class _UnderWay:
    """What is being asked and graded."""

    client: AskingClient | None
    sandbox: Sandbox
    asking: Asking
    askers: ThreadPoolExecutor
    graders: ThreadPoolExecutor
    on_attempt: Callable[[Attempt], None]
    on_graded: Callable[[Graded], None]
    lock: Lock = field(default_factory=Lock)
    pending: set[Future[Any]] = field(default_factory=set)

    def ask(self, problem: Problem, sample: int) -> None:
        """Have it answered, and the answer graded."""
        self.pending.add(self.askers.submit(self._ask, problem, sample))

    def grade(self, problem: Problem, answer: Attempt) -> None:
        """Have an answer graded."""
        self.pending.add(self.graders.submit(self._grade, problem, answer))

    def end(self) -> None:
        """Wait for all; the first that fails ends them all."""
        try:
            while self.pending:
                ended, self.pending = wait(self.pending, return_when=FIRST_COMPLETED)
                for one in ended:
                    grading = one.result()
                    if grading is not None:
                        self.pending.add(grading)
        except BaseException:
            self._break_off()
            raise

    def _ask(self, problem: Problem, sample: int) -> Future[None]:
        if self.client is None:
            raise AssertionError(problem.id)
        answer = attempt(self.client, problem, self.asking, sample)
        with self.lock:
            self.on_attempt(answer)
        return self.graders.submit(self._grade, problem, answer)

    def _grade(self, problem: Problem, answer: Attempt) -> None:
        found = grade(self.sandbox, problem, answer)
        with self.lock:
            self.on_graded(found)

    def _break_off(self) -> None:
        for pool in (self.askers, self.graders):
            pool.shutdown(wait=False, cancel_futures=True)
        if self.client is not None:
            self.client.close()
