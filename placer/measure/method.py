"""How a launch is measured: loaded, warmed up, asked again and again at each depth.

A slot that has read the tokens of a depth keeps them, so that each request at that
depth reads new tokens behind them, and decodes behind those. What cannot be taken back
out of a cache, a recurrent state for one, the engine reads again; a timing says how
many tokens it is of.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from placer.engine.client import ServerAnswerError, ServerClient
from placer.engine.judge import judge_log
from placer.engine.loadtest import PATIENCE_S
from placer.engine.log import LogFacts, read_log
from placer.engine.prompts import prompt_of
from placer.engine.verdict import Cause, Outcome, Verdict
from placer.engine.vigil import Vigil, settle, wait_for_health
from placer.measure.measurement import Measurement, Timing, Turn
from placer.measure.student import half_width

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from placer.engine.process import EngineProcess, Runner
    from placer.model import ModelShape
    from placer.placement import Workload

DECODE_TOKENS = 16
# Of the interval of a launch's mean, from which on more requests are not worth it.
NARROW = 0.03
# Parts of a slot, of which a request reads one anew at most, and parts of a launch, of
# which one may be spent on a request, and one on what is before the deepest depth.
SLOT_PARTS, REQUEST_PARTS, DEPTH_PARTS = 4, 20, 4
# A batch below this is not read as prompts are: GGML_OP_OFFLOAD_MIN_BATCH.
LEAST_READ = 32
# A slot stops one short of its end.
SPARE_TOKENS = 2
# The part of a server's answer that a prompt is read to.
SLOT = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What is done with every launch.

    Attributes:
        runner: starts the engine.
        shape: the model, for its vocabulary and trained context.
        workload: for the length of a slot and of a batch.
        budget_s: that a launch may take, loading included; one request at the least
            depth is made all the same.
        read_per_s: tokens of a prompt that are read per second, as far as known.
        patience_s: seconds without a sign after which a launch counts as stalled.
    """

    runner: Runner
    shape: ModelShape
    workload: Workload
    budget_s: float
    read_per_s: float
    patience_s: float = PATIENCE_S

    @property
    def depths(self) -> tuple[int, ...]:
        """None, half and all of what a slot holds, or of what there is time to read."""
        end = self._slot_tokens - self.read_tokens - DECODE_TOKENS - SPARE_TOKENS
        deepest = min(end, int(self.budget_s / DEPTH_PARTS * self.read_per_s))
        deeper = (d for d in (deepest // 2, deepest) if d >= self.read_tokens)
        return (0, *deeper)

    @property
    def read_tokens(self) -> int:
        """Tokens that a request reads anew: a batch, as far as there is room and time.

        The same in all launches, or they would not be compared.
        """
        in_time = int(self.budget_s / REQUEST_PARTS * self.read_per_s)
        most = min(self.workload.batch, self._slot_tokens // SLOT_PARTS)
        return max(min(most, max(in_time, LEAST_READ)), 1)

    @property
    def _slot_tokens(self) -> int:
        """What one slot alone can hold."""
        trained = self.shape.context_length or self.workload.slot_ctx
        return min(self.workload.slot_ctx, trained)

    def measure(
        self,
        turn: Turn,
        *,
        log_path: Path,
        on_depth: Callable[[int, tuple[Timing, ...]], None],
    ) -> Measurement:
        """Launch a contender, measure it as far as there is time, and end it.

        The engine is ended whatever happens, Ctrl-C included.
        """
        process = self.runner.start(turn.contender.launch_args, log_path=log_path)
        session = _Session(method=self, turn=turn, process=process, on_depth=on_depth)
        try:
            session.run()
        finally:
            process.stop()
        return session.measurement()


class _OutOfTimeError(Exception):
    """The budget of a launch was spent while a prompt was being read."""


@dataclass(slots=True, kw_only=True)
class _Session:
    """One launch under way."""

    method: Method
    turn: Turn
    process: EngineProcess
    on_depth: Callable[[int, tuple[Timing, ...]], None]
    timings: dict[int, tuple[Timing, ...]] = field(default_factory=dict)
    answer_error: str | None = None
    load_s: float | None = None
    n_asked: int = 0
    vigil: Vigil = field(init=False)

    def __post_init__(self) -> None:
        self.vigil = Vigil(process=self.process, patience_s=self.method.patience_s)

    def run(self) -> None:
        """All depths, as far as it goes and as far as there is time."""
        patience_s = self.method.patience_s
        with ServerClient(self.process.base_url, read_timeout_s=patience_s) as client:
            if not wait_for_health(client, self._tick):
                return
            self.load_s = self.vigil.elapsed_s
            try:
                self._all_depths(client)
            except _OutOfTimeError:
                pass
            except ServerAnswerError as error:
                self.answer_error = str(error)
                settle(self._tick)

    def _tick(self) -> bool:
        """Look around once; whether the engine is alive and moving."""
        return self.vigil.look(loading=self.load_s is None)

    def _all_depths(self, client: ServerClient) -> None:
        self._ask(client, 0)  # Kernels are compiled, pages touched: not counted.
        depths = self.turn.depths
        until_s = self.vigil.started_s + self.method.budget_s
        for at, depth in enumerate(depths):
            left_s = until_s - time.monotonic()
            if depth:
                self._go_to(client, depth)
            end_s = until_s - left_s * (len(depths) - at - 1) / (len(depths) - at)
            found = self._asked_until(client, depth, end_s)
            self.timings[depth] = found
            self.on_depth(depth, found)

    def _go_to(self, client: ServerClient, depth: int) -> None:
        """Let the slot read so many tokens; the first of them it may have already."""
        self._require_time(0)
        prompt = prompt_of(depth, self.method.shape.n_vocab, 0)
        client.complete(prompt, 1, self._require_time, slot=SLOT)

    def _require_time(self, n_tokens: int) -> None:
        del n_tokens
        if time.monotonic() > self.vigil.started_s + self.method.budget_s:
            raise _OutOfTimeError

    def _asked_until(
        self, client: ServerClient, depth: int, end_s: float
    ) -> tuple[Timing, ...]:
        """Requests at a depth until their mean is known or the time is over."""
        found = [self._ask(client, depth)]
        while time.monotonic() < end_s and not _is_narrow(found):
            found.append(self._ask(client, depth))
        return tuple(found)

    def _ask(self, client: ServerClient, depth: int) -> Timing:
        """One request; what it reads beyond the depth no other has read."""
        self.n_asked += 1
        n_vocab = self.method.shape.n_vocab
        prompt = prompt_of(depth, n_vocab, 0)
        prompt += prompt_of(self.method.read_tokens, n_vocab, self.n_asked)
        done = client.complete(prompt, DECODE_TOKENS, lambda _: None, slot=SLOT)
        if not done.prompt_tokens_per_s or not done.decoded_tokens_per_s:
            raise ServerAnswerError("the answer has no timings")
        return Timing(
            read_tokens=done.prompt_tokens,
            prefill_tokens_per_s=done.prompt_tokens_per_s,
            decode_tokens_per_s=done.decoded_tokens_per_s,
        )

    def measurement(self) -> Measurement:
        """All that was seen, the last words of the log included."""
        self.vigil.hear_out()
        facts = read_log(self.vigil.lines)
        return Measurement(
            turn=self.turn,
            timings=self.timings,
            verdict=self._verdict(facts),
            facts=facts,
            load_s=self.load_s,
            total_s=self.vigil.elapsed_s,
        )

    def _verdict(self, facts: LogFacts) -> Verdict | None:
        """What went wrong, by the log where it says so."""
        if self.vigil.stalled:
            said = f"it did not answer, and said nothing for {self.method.patience_s} s"
            return Verdict(
                outcome=Outcome.STALLED, evidence=(said,), cause=Cause.TIME_OUT
            )
        if self.vigil.exit_code is None and self.answer_error is None:
            return None
        verdict = judge_log(facts, exit_code=self.vigil.exit_code)
        if verdict.outcome in (Outcome.OK, Outcome.UNKNOWN):
            said = self.answer_error or f"exit code {self.vigil.exit_code}"
            return Verdict(outcome=Outcome.CRASHED, evidence=(said,))
        return verdict


def _is_narrow(found: list[Timing]) -> bool:
    return (
        max(
            half_width([timing.prefill_tokens_per_s for timing in found]),
            half_width([timing.decode_tokens_per_s for timing in found]),
        )
        <= NARROW
    )
