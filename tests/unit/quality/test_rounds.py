from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from placer.engine.asking import Question, Reply
from placer.engine.client import ServerAnswerError
from placer.quality.attempt import REFUSED, Asking, Attempt
from placer.quality.grade import Grade, Graded
from placer.quality.problem import Checked, Problem, Suite
from placer.quality.rounds import keys, run_round

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.engine.asking import AskingClient
    from placer.sandbox import Sandbox

COUNT = 6


class Easy:
    """Tests that everything passes."""

    def check(self, sandbox: object, program: str) -> Checked:
        del sandbox, program
        return Checked(grade=Grade.PASSED)


class Server:
    """Answers every question with a function; what else it does is asked for."""

    def __init__(self, before: Callable[[int], None] = lambda _: None) -> None:
        self.asked: list[Question] = []
        self.most_at_once = 0
        self.is_closed = False
        self._before = before
        self._at_once = 0
        self._lock = threading.Lock()

    def ask(self, question: Question) -> Reply:
        with self._lock:
            self.asked.append(question)
            number = len(self.asked)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            self._before(number)
        finally:
            with self._lock:
                self._at_once -= 1
        return Reply(
            text="def f():\n    return 1\n",
            reasoning="",
            finish="stop",
            prompt_tokens=3,
            tokens=5,
            ttft_s=0.1,
            seconds=0.2,
        )

    def close(self) -> None:
        self.is_closed = True


SUITE = Suite(
    name="tiny",
    title="Tiny",
    digest="0" * 16,
    problems=tuple(
        Problem(
            id=f"T/{n}",
            prompt=f'def f():\n    """{n}"""\n',
            entry_point="f",
            tests=Easy(),
        )
        for n in range(COUNT)
    ),
)
SANDBOX: Sandbox = None  # type: ignore[assignment]


class Heard:
    """All that a round tells, and whether it ever told two things at once."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.graded: list[Graded] = []
        self._telling = threading.Lock()

    def on_attempt(self, attempt: Attempt) -> None:
        with self._alone():
            self.attempts.append(attempt)

    def on_graded(self, graded: Graded) -> None:
        with self._alone():
            self.graded.append(graded)

    def _alone(self) -> threading.Lock:
        assert not self._telling.locked()
        return self._telling


def run(server: Server | None, heard: Heard, **asked: object) -> None:
    """A round of the tiny suite."""
    client: AskingClient | None = server  # type: ignore[assignment]
    run_round(
        client,
        SANDBOX,
        SUITE,
        Asking(),
        on_attempt=heard.on_attempt,
        on_graded=heard.on_graded,
        **asked,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("users", [1, 3])
def test_each_problem_and_sample_is_asked_and_graded_once(users: int) -> None:
    """However many ask at once."""
    server, heard = Server(), Heard()

    run(server, heard, samples=2, users=users)

    wanted = sorted(keys(SUITE, 2))
    assert sorted((a.problem, a.sample) for a in heard.attempts) == wanted
    assert sorted((g.problem, g.sample) for g in heard.graded) == wanted
    assert len({q.sampling["seed"] for q in server.asked}) == 2 * COUNT


def test_as_many_ask_at_once_as_there_are_users() -> None:
    """Neither one after the other nor more than were asked for."""
    together = threading.Barrier(3)

    def wait(_: int) -> None:
        together.wait(timeout=5)

    server = Server(wait)

    run(server, Heard(), users=3)

    assert server.most_at_once == 3


def test_what_is_on_record_is_neither_asked_nor_graded_again() -> None:
    """An answer without a grade is graded, and that is all."""
    done = Attempt(problem="T/0", sample=0, text="")
    waiting = Attempt(problem="T/1", sample=0, text="def f():\n    return 2\n")
    server, heard = Server(), Heard()

    run(
        server,
        heard,
        attempts={("T/0", 0): done, ("T/1", 0): waiting},
        graded={("T/0", 0): Graded(problem="T/0", sample=0, grade=Grade.NO_CODE)},
    )

    assert len(server.asked) == COUNT - 2
    assert {a.problem for a in heard.attempts} == {f"T/{n}" for n in range(2, COUNT)}
    assert {g.problem for g in heard.graded} == {f"T/{n}" for n in range(1, COUNT)}


def test_answers_alone_need_no_server() -> None:
    """Grading goes on where asking is over."""
    attempts = {
        key: Attempt(problem=key[0], sample=0, text="") for key in keys(SUITE, 1)
    }
    heard = Heard()

    run(None, heard, attempts=attempts)

    assert {g.grade for g in heard.graded} == {Grade.NO_CODE}
    assert len(heard.graded) == COUNT


def test_a_server_that_fails_ends_the_round_at_once() -> None:
    """What came before is kept, and nobody asks on."""

    def fail_third(number: int) -> None:
        if number == 3:
            raise ServerAnswerError("gone")

    server, heard = Server(fail_third), Heard()

    with pytest.raises(ServerAnswerError, match="gone"):
        run(server, heard)

    assert server.is_closed
    assert len(heard.attempts) in range(2, COUNT)
    assert len(heard.graded) <= len(heard.attempts)


def test_a_problem_too_long_for_the_context_stops_nobody() -> None:
    """It is an answer like others, one that does not pass."""

    def refuse_first(number: int) -> None:
        if number == 1:
            raise ServerAnswerError('HTTP 400: {"type": "exceed_context_size_error"}')

    heard = Heard()

    run(Server(refuse_first), heard)

    assert [a.finish for a in heard.attempts].count(REFUSED) == 1
    assert len(heard.graded) == COUNT


def test_a_listener_that_fails_ends_the_round() -> None:
    """A record that cannot be written loses no answer silently."""

    class Full(Heard):
        def on_graded(self, graded: Graded) -> None:
            raise OSError("disk full")

    server = Server()

    with pytest.raises(OSError, match="disk full"):
        run(server, Full())

    assert server.is_closed
