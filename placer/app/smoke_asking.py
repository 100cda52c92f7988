"""A server under a smoke test: timed, asked what it expects, and given problems."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from placer.app.smoke_record import Answer, Look, said
from placer.engine.asking import AskingClient
from placer.engine.client import ServerAnswerError, ServerClient
from placer.engine.predictions import expected
from placer.engine.prompts import prompt_of
from placer.errors import MachineError
from placer.quality.attempt import Asking, attempt
from placer.quality.rounds import run_round
from placer.report.held import owner_of
from placer.tune.quality import PLACES, TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.app.smoke_question import Exam, Question
    from placer.app.testbed import Server, Testbed
    from placer.engine.client import Completion
    from placer.quality.attempt import Attempt
    from placer.quality.grade import Graded
    from placer.search.journal import Journal

# Written once before anything is counted: kernels are compiled, pages touched.
WARM_UP_TOKENS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One start of a server.

    Attributes:
        number: from 1.
        server: ``"A"`` or ``"B"`` of two engines; None of one.
        round: from 1.
    """

    number: int
    server: str | None = None
    round: int = 1

    @property
    def text(self) -> str:
        """``"launch 1"``, ``"B, round 2"``."""
        if self.server is None:
            return f"launch {self.number}"
        return f"{self.server}, round {self.round}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Launches a testbed and asks; each answer is on disk before the next.

    Attributes:
        question: what is asked.
        journal: where it is recorded.
        patience_s: seconds without a sign of loading after which one is stalled.
        on_step: told what is being done.
    """

    question: Question
    journal: Journal
    patience_s: float
    on_step: Callable[[str], None]

    def look(self, bed: Testbed, launch: Launch, exam: Exam | None = None) -> Look:
        """One launch, from its start to its end.

        Args:
            bed: what is launched.
            launch: which one it is.
            exam: problems that it is given; None for none.

        Raises:
            NotMeasuredError: it did not come up, or fell.
            MachineError: the engine cannot be started, or does not answer.
        """
        self.on_step(f"{bed.target.name}, {launch.text}: loading")
        log_path = self.journal.log_path(f"{launch.number:03d}")
        with bed.server(log_path, patience_s=self.patience_s) as server:
            started = {
                **asdict(launch),
                "load_s": round(server.up.load_s, 3),
                "args": list(bed.args),
            }
            self.journal.append("launched", started)
            try:
                return self._asked(bed, launch, server, exam)
            except ServerAnswerError as error:
                server.require()
                raise MachineError(
                    f"llama-server of {bed.target.name} does not answer: {error}",
                    hint=f"its log is {log_path}",
                ) from None

    def _asked(
        self, bed: Testbed, launch: Launch, server: Server, exam: Exam | None
    ) -> Look:
        self.on_step(f"{bed.target.name}, {launch.text}: reading and writing")
        timed = self._timed(server, bed.target.shape.n_vocab)
        told = expected(
            server.base_url, TEXT, n_tokens=self.question.n_text, places=PLACES
        )
        if told is None:
            server.require()
        answers = {}
        if exam is not None:
            self.on_step(f"{bed.target.name}, {launch.text}: answering")
            answers = self._answers(exam, launch, server)
        held, source = _held(bed, server)
        look = Look(
            memory_bytes=held,
            source=source,
            prompt_tokens_per_s=tuple(one.prompt_tokens_per_s for one in timed),
            decode_tokens_per_s=tuple(one.decoded_tokens_per_s for one in timed),
            expected=told,
            answers=answers,
        )
        self._append("seen", launch, look.record())
        return look

    def _append(self, kind: str, launch: Launch, record: dict[str, Any]) -> None:
        self.journal.append(kind, {"launch": launch.number, **record})

    def _timed(self, server: Server, n_vocab: int) -> list[Completion]:
        """Prompts that nobody has read before."""
        asked = self.question
        patience_s = self.patience_s
        with ServerClient(server.base_url, read_timeout_s=patience_s) as client:

            def ask(seed: int, n_gen: int) -> Completion:
                prompt = prompt_of(asked.n_prompt, n_vocab, seed)
                return client.complete(prompt, n_gen, lambda _: None)

            ask(0, WARM_UP_TOKENS)
            return [ask(seed + 1, asked.n_gen) for seed in range(asked.requests)]

    def _answers(self, exam: Exam, launch: Launch, server: Server) -> dict[str, Answer]:
        """Greedily, one after the other."""
        texts: dict[str, str] = {}
        grades: dict[str, str] = {}

        def keep(one: Attempt) -> None:
            record = asdict(one)
            texts[one.problem] = said(record)
            self._append("answer", launch, record)

        def keep_grade(one: Graded) -> None:
            grades[one.problem] = one.grade.value
            self._append("graded", launch, asdict(one) | {"grade": one.grade.value})

        asking = Asking(max_tokens=self.question.max_tokens)
        with AskingClient(server.base_url) as client:
            if exam.sandbox is None:
                for problem in exam.suite.problems:
                    keep(attempt(client, problem, asking, 0))
            else:
                run_round(
                    client,
                    exam.sandbox,
                    exam.suite,
                    asking,
                    on_attempt=keep,
                    on_graded=keep_grade,
                )
        return {
            problem: Answer(text=text, grade=grades.get(problem))
            for problem, text in texts.items()
        }


def _held(bed: Testbed, server: Server) -> tuple[tuple[int | None, ...], str]:
    """The most that was seen of each device; else what the engine's log says."""
    seen = server.meter.lap().held_bytes
    if seen is not None:
        return seen, "peak"
    devices = bed.header()["devices"]
    sums = {device["name"]: 0 for device in devices}
    for buffer in server.up.facts().buffers:
        owner = owner_of(buffer.device, devices)
        if owner in sums:
            sums[owner] += buffer.n_bytes
    return tuple(sums.values()), "buffers"
