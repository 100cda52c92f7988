"""A bench of quality under way: every answer and grade is on disk before the next."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from placer.app.quality_options import Begun, Event, Progress
from placer.app.quality_record import (
    ANSWER,
    END,
    GRADED,
    Answers,
    Past,
    attempt_record,
    graded_record,
)
from placer.app.quality_score import Quality, quality_of
from placer.engine.asking import AskingClient
from placer.engine.client import ServerAnswerError
from placer.errors import InterruptedSearchError, MachineError, PlacerError
from placer.quality.grade import Grade
from placer.quality.rounds import keys, run_round

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from placer.app.quality_bench import Bench
    from placer.app.testbed import Testbed
    from placer.engine.meter import Lap
    from placer.quality.attempt import Attempt
    from placer.quality.grade import Graded
    from placer.search.journal import Journal

# Of a slot's context, what the longest problems take.
PROMPT_TOKENS = 1024


@dataclass(slots=True, kw_only=True)
class UnderWay:
    """A bench under way.

    Attributes:
        bench: what is asked.
        bed: the model on its devices.
        journal: its record.
        past: what it goes on with; None for a new one.
        answers: what there is, those of the past among them.
        on_event: told of all that happens.
        began_s: when, by the clock that never goes back.
        known: grades that were there when it began.
        tokens: that were written since.
    """

    bench: Bench
    bed: Testbed
    journal: Journal
    past: Past | None
    answers: Answers
    on_event: Callable[[Event], None]
    began_s: float = field(default_factory=time.monotonic)
    known: int = 0
    tokens: int = 0

    def run(self) -> Quality:
        """All that is left; the end is on record whatever it is."""
        self.known = len(self.answers.graded)
        self.on_event(self._begun())
        try:
            lap = self._all()
        except KeyboardInterrupt:
            self._end("interrupted")
            raise self._interrupted() from None
        except PlacerError as error:
            self._end(str(error))
            raise
        before_s = 0.0 if self.past is None else self.past.seconds
        found = quality_of(
            self.answers,
            ks=self.bench.options.ks,
            is_plus=self.bench.suite.is_plus,
            seconds=before_s + self._elapsed_s(),
            held_bytes=None if lap is None else lap.held_bytes,
            # What it drew before it was broken off nobody knows any more.
            joules=None if lap is None or self.past is not None else lap.joules,
        )
        self.journal.append(END, {"stopped": None, **found.record()})
        return found

    @property
    def total(self) -> int:
        """Answers that are wanted."""
        return len(self.bench.suite.problems) * self.bench.options.samples

    def _begun(self) -> Begun:
        return Begun(
            name=self.bench.measured,
            suite=self.bench.suite,
            total=self.total,
            known=len(self.answers.attempts),
            placed=self.bed.placed,
            notes=tuple(self._notes()),
        )

    def _notes(self) -> Iterator[str]:
        if self.bench.suite.note:
            yield self.bench.suite.note
        workload, wanted = self.bed.target.workload, self.bench.options.users or 0
        if wanted > workload.parallel:
            yield f"There are {workload.parallel} slots, and so as many users."
        shared = workload.kv_unified
        slot = workload.ctx // (1 if shared else workload.parallel)
        if slot < self.bench.options.asking.max_tokens + PROMPT_TOKENS:
            yield f"A slot has {slot:,} tokens: longer answers are cut off there."

    def _all(self) -> Lap | None:
        """Ask and grade; no server is needed where all is answered."""
        wanted = keys(self.bench.suite, self.bench.options.samples)
        if all(key in self.answers.attempts for key in wanted):
            self._round(None, 1)
            return None
        number = 1 + (0 if self.past is None else self.past.launches)
        log_path = self.journal.folder / f"server-{number:03d}.log"
        patience_s = self.bench.options.patience_s
        with self.bed.server(log_path, patience_s=patience_s) as server:
            self.journal.append("launched", {"load_s": server.up.load_s})
            with AskingClient(server.base_url) as client:
                try:
                    self._round(client, self.bench.users(self.bed))
                except ServerAnswerError as error:
                    server.require()
                    raise MachineError(
                        f"llama-server of {server.name} answered: {error}",
                        hint=f"its log is {log_path}",
                    ) from None
            return server.meter.lap()

    def _round(self, client: AskingClient | None, users: int) -> None:
        run_round(
            client,
            self.bench.sandbox,
            self.bench.suite,
            self.bench.options.asking,
            samples=self.bench.options.samples,
            users=users,
            attempts=dict(self.answers.attempts),
            graded=dict(self.answers.graded),
            on_attempt=self._answered,
            on_graded=self._graded,
        )

    def _answered(self, attempt: Attempt) -> None:
        record = attempt_record(attempt, at_s=round(self._elapsed_s(), 3))
        self.journal.append(ANSWER, record)
        self.answers.take(attempt)
        self.tokens += attempt.tokens

    def _graded(self, graded: Graded) -> None:
        self.journal.append(GRADED, graded_record(graded))
        self.answers.take_grade(graded)
        done = self.answers.graded.values()
        each_s = self._elapsed_s() / (len(done) - self.known)
        attempts = self.answers.attempts
        self.on_event(
            Progress(
                graded=graded,
                done=len(done),
                total=self.total,
                passed=sum(one.grade is Grade.PASSED for one in done),
                truncated=sum(
                    attempts[key].is_truncated for key in self.answers.graded
                ),
                tokens_per_s=self.tokens / self._elapsed_s(),
                left_s=each_s * (self.total - len(done)),
            )
        )

    def _elapsed_s(self) -> float:
        return time.monotonic() - self.began_s

    def _end(self, stopped: str) -> None:
        count = len(self.answers.graded)
        self.journal.append(END, {"stopped": stopped, "scores": [], "answers": count})

    def _interrupted(self) -> InterruptedSearchError:
        count = len(self.answers.attempts)
        return InterruptedSearchError(
            f"interrupted after {count} of {self.total} answers of {self.bench.name}",
            hint="the same command with --resume goes on",
        )
