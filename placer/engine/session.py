"""One launch under way: what the load test asks of it, round by round."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from placer.engine.client import Completion, ServerAnswerError, ServerClient
from placer.engine.log import read_log
from placer.engine.observation import Observation, Proof, Stage
from placer.engine.prompts import prompt_of
from placer.engine.vigil import POLL_S, Vigil, settle, wait_for_health

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from placer.engine.gauge import Gauge
    from placer.engine.loadtest import LoadTest
    from placer.engine.process import EngineProcess

    Ask = Callable[[], Completion]

DECODE_TOKENS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadProgress:
    """Where a launch stands: shown, never judged."""

    stage: Stage
    done_tokens: int
    total_tokens: int
    peak_bytes: tuple[int, ...] | None


@dataclass(slots=True, kw_only=True)
class Session:
    """One launch under way."""

    test: LoadTest
    process: EngineProcess
    on_progress: Callable[[LoadProgress], None]
    gauge: Gauge
    stage: Stage = Stage.STARTED
    answer_error: str | None = None
    done: dict[int, int] = field(default_factory=dict)
    total: int = 0
    prompts_sent: int = 0
    image_tokens: int = 0
    prompt_tokens: int = 0
    prompt_tokens_per_s: float | None = None
    single: Completion | None = None
    load_s: float | None = None
    read_s: float | None = None
    vigil: Vigil = field(init=False)

    def __post_init__(self) -> None:
        self.vigil = Vigil(process=self.process, patience_s=self.test.patience_s)

    def run(self) -> None:
        """Load, fill, decode, as far as it is asked and as far as it goes."""
        patience_s = self.test.patience_s
        base_url = self.process.base_url
        with ServerClient(base_url, read_timeout_s=patience_s) as client:
            if not wait_for_health(client, self._tick):
                return
            self.load_s = self.vigil.elapsed_s
            self.stage = Stage.LOADED
            if self.test.proof is Proof.LOAD or not self._look(client):
                return
            for stage, step in self._steps():
                if not step(client):
                    return
                self.stage = stage

    def _steps(self) -> Sequence[tuple[Stage, Callable[[ServerClient], bool]]]:
        """What comes after loading, and the stage that is reached by it."""
        if self.test.proof is Proof.PROMPT:
            return ((Stage.PROMPTED, self._prompt),)
        return (
            (Stage.FILLED, self._fill),
            (Stage.REFILLED, self._refill),
            (Stage.DECODED, self._decode),
        )

    def _look(self, client: ServerClient) -> bool:
        """The largest image that a slot has room for, where images are understood.

        It comes first: what the projector took for it is kept beside all that follows.
        """
        marker = client.image_marker()
        if marker is None:
            return True
        completions = self._ask([partial(client.see, marker, DECODE_TOKENS)], 0)
        if completions is None:
            return False
        self.image_tokens = completions[0].prompt_tokens
        return True

    def _prompt(self, client: ServerClient) -> bool:
        """All slots at once, each with a full ubatch."""
        return self._read_in_all_slots(client, self.test.ubatch_prompt_tokens)

    def _fill(self, client: ServerClient) -> bool:
        """All slots at once, each with its share of the context."""
        return self._read_in_all_slots(client, self.test.slot_prompt_tokens)

    def _read_in_all_slots(self, client: ServerClient, tokens: int) -> bool:
        began_s = time.monotonic()
        completions = self._send(client, [tokens] * self.test.workload.parallel)
        if completions is None:
            return False
        self.prompt_tokens = sum(c.prompt_tokens for c in completions)
        if self.read_s is not None:
            self.prompt_tokens_per_s = self.prompt_tokens / (self.read_s - began_s)
        return True

    def _refill(self, client: ServerClient) -> bool:
        """All slots at once with other prompts: the cache is full of the first."""
        slots = self.test.workload.parallel
        return self._send(client, [self.test.ubatch_prompt_tokens] * slots) is not None

    def _decode(self, client: ServerClient) -> bool:
        """One slot alone, from a full ubatch: the speed that one user sees."""
        completions = self._send(client, [self.test.ubatch_prompt_tokens])
        if completions is None:
            return False
        self.single = completions[0]
        return True

    def _send(self, client: ServerClient, sizes: list[int]) -> list[Completion] | None:
        """Prompts of these sizes, no two alike; None if any was not answered."""
        vocab, first = self.test.shape.n_vocab, self.prompts_sent
        self.prompts_sent += len(sizes)
        asks: list[Ask] = [
            partial(
                client.complete,
                prompt_of(size, vocab, first + slot),
                DECODE_TOKENS,
                partial(self._advance, slot),
            )
            for slot, size in enumerate(sizes)
        ]
        return self._ask(asks, sum(sizes))

    def _ask(self, asks: list[Ask], total: int) -> list[Completion] | None:
        """All of it at the same time; None if any was not answered."""
        self.done.clear()
        self.read_s = None
        self.total = total
        with ThreadPoolExecutor(len(asks)) as pool:
            futures = [pool.submit(ask) for ask in asks]
            try:
                alive = self._wait_for(futures)
            finally:
                if not all(future.done() for future in futures):
                    # The requests end when their server does.
                    self.process.stop()
        return self._results(futures) if alive else None

    def _results(self, futures: list[Future[Completion]]) -> list[Completion] | None:
        try:
            return [future.result() for future in futures]
        except ServerAnswerError as error:
            self.answer_error = str(error)
            settle(self._tick)
            return None

    def _wait_for(self, futures: list[Future[Completion]]) -> bool:
        while wait(futures, timeout=POLL_S).not_done:
            if not self._tick():
                return False
        self._tick()
        return True

    def _advance(self, slot: int, n_tokens: int) -> None:
        self.done[slot] = n_tokens
        self.vigil.move()
        if sum(self.done.values()) >= self.total:
            # The last slot has read its prompt; others decode already.
            self.read_s = self.vigil.moved_s

    def _tick(self) -> bool:
        """Look around once; whether the engine is alive and moving."""
        alive = self.vigil.look(loading=self.stage is Stage.STARTED)
        self.gauge.sample(self.process.pid)
        self.on_progress(
            LoadProgress(
                stage=self.stage,
                done_tokens=sum(self.done.values()),
                total_tokens=self.total,
                peak_bytes=self.gauge.peak,
            )
        )
        return alive

    def observation(self) -> Observation:
        """All that was seen of an engine that has ended, its last words included."""
        self.vigil.hear_out()
        self.gauge.sample(self.process.pid)
        total_s = self.vigil.elapsed_s
        return Observation(
            stage=self.stage,
            exit_code=self.vigil.exit_code,
            stalled=self.vigil.stalled,
            answer_error=self.answer_error,
            facts=read_log(self.vigil.lines),
            free_bytes=self.gauge.free_bytes,
            free_after_bytes=self.gauge.free_after(),
            peak_bytes=self.gauge.peak,
            others_bytes=self.gauge.others,
            image_tokens=self.image_tokens,
            prompt_tokens=self.prompt_tokens,
            prompt_tokens_per_s=self.prompt_tokens_per_s,
            single=self.single,
            load_s=self.load_s,
            total_s=total_s,
        )
