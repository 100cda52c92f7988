"""Launch a placement and fill its context: the dear rung of proof."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from placer.engine.client import Completion, ServerAnswerError, ServerClient
from placer.engine.follow import LogFollower
from placer.engine.log import read_log
from placer.engine.observation import Observation, Proof, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from placer.engine.process import EngineProcess, Runner
    from placer.machine import Machine
    from placer.model import ModelShape
    from placer.placement import Workload

POLL_S = 0.05
PATIENCE_S = 600.0
DECODE_TOKENS = 16
# The last ubatch must not meet the very last cell: a slot stops one short of its end.
SPARE_TOKENS = 2


class MemoryWatch(Protocol):
    """Says what a process holds of each device, where anything can say so."""

    def peak_bytes(self, pid: int) -> tuple[int, ...] | None:
        """The most that the process was seen to hold of each device; None if never.

        Asked again and again while the process runs, and once after its end.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadProgress:
    """Where a launch stands: shown, never judged."""

    stage: Stage
    done_tokens: int
    total_tokens: int
    peak_bytes: tuple[int, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTest:
    """What is asked of every launch.

    Attributes:
        runner: starts the engine.
        machine: devices and what they had free.
        shape: the model, for its vocabulary and trained context.
        workload: what is filled.
        proof: how far to go.
        watch: memory of a process, where it can be seen.
        patience_s: seconds without any progress after which it counts as stalled.
        free_now: asks the devices what they have free; None to go by ``machine``.
    """

    runner: Runner
    machine: Machine
    shape: ModelShape
    workload: Workload
    proof: Proof = Proof.FULL
    watch: MemoryWatch | None = None
    patience_s: float = PATIENCE_S
    free_now: Callable[[], tuple[int, ...]] | None = None

    def observe(
        self,
        args: Sequence[str],
        *,
        log_path: Path,
        on_progress: Callable[[LoadProgress], None],
    ) -> Observation:
        """Launch with ``args``, go as far as ``proof``, end it, and say what was seen.

        The engine is ended whatever happens, Ctrl-C included.
        """
        free_bytes = tuple(device.free_bytes for device in self.machine.devices)
        if self.free_now is not None:
            free_bytes = self.free_now()
        launch_args = [*args, "--fit", "off", "-lv", "4"]
        process = self.runner.start(launch_args, log_path=log_path)
        session = _Session(
            test=self, process=process, on_progress=on_progress, free_bytes=free_bytes
        )
        try:
            session.run()
        finally:
            process.stop()
        return session.observation()

    @property
    def slot_prompt_tokens(self) -> int:
        """Tokens of the prompt of each slot so that all slots fill the context."""
        cells = self.workload.n_ctx_seq * self.workload.n_stream
        share = cells // self.workload.parallel
        if self.shape.context_length:
            # A slot is capped at what the model was trained for.
            share = min(share, self.shape.context_length)
        return max(share - DECODE_TOKENS - SPARE_TOKENS, 1)


def prompt_of(n_tokens: int, n_vocab: int, seed: int) -> list[int]:
    """A deterministic prompt that visits the vocabulary, and so the experts, widely."""
    return [(seed * 7919 + i * 104729 + 11) % max(n_vocab, 1) for i in range(n_tokens)]


@dataclass(slots=True, kw_only=True)
class _Session:
    """One launch under way."""

    test: LoadTest
    process: EngineProcess
    on_progress: Callable[[LoadProgress], None]
    free_bytes: tuple[int, ...]
    stage: Stage = Stage.STARTED
    exit_code: int | None = None
    stalled: bool = False
    answer_error: str | None = None
    lines: list[str] = field(default_factory=list)
    peak: tuple[int, ...] | None = None
    done: dict[int, int] = field(default_factory=dict)
    total: int = 0
    prompt_tokens: int = 0
    prompt_tokens_per_s: float | None = None
    single: Completion | None = None
    load_s: float | None = None
    read_s: float | None = None
    resident_bytes: int = 0
    started_s: float = field(default_factory=time.monotonic)
    moved_s: float = field(default_factory=time.monotonic)
    follower: LogFollower = field(init=False)

    def __post_init__(self) -> None:
        self.follower = LogFollower(self.process.log_path)

    def run(self) -> None:
        """Load, fill, decode, as far as it is asked and as far as it goes."""
        patience_s = self.test.patience_s
        base_url = self.process.base_url
        with ServerClient(base_url, read_timeout_s=patience_s) as client:
            if not self._wait_for_health(client):
                return
            self.load_s = time.monotonic() - self.started_s
            self.stage = Stage.LOADED
            if self.test.proof is Proof.LOAD:
                return
            if not self._fill(client):
                return
            self.stage = Stage.FILLED
            if self._decode(client):
                self.stage = Stage.DECODED

    def _wait_for_health(self, client: ServerClient) -> bool:
        while self._tick():
            if client.is_healthy():
                return True
        return False

    def _fill(self, client: ServerClient) -> bool:
        """All slots at once, each with its share of the context."""
        tokens = self.test.slot_prompt_tokens
        slots = self.test.workload.parallel
        began_s = time.monotonic()
        completions = self._ask(client, [tokens] * slots)
        if completions is None:
            return False
        self.prompt_tokens = sum(c.prompt_tokens for c in completions)
        if self.read_s is not None:
            self.prompt_tokens_per_s = self.prompt_tokens / (self.read_s - began_s)
        return True

    def _decode(self, client: ServerClient) -> bool:
        """One slot alone, from a full ubatch: the speed that one user sees."""
        tokens = min(self.test.workload.n_ubatch, self.test.slot_prompt_tokens)
        completions = self._ask(client, [tokens])
        if completions is None:
            return False
        self.single = completions[0]
        return True

    def _ask(self, client: ServerClient, sizes: list[int]) -> list[Completion] | None:
        """Prompts of these sizes at the same time; None if any was not answered."""
        self.done.clear()
        self.read_s = None
        self.total = sum(sizes)
        vocab = self.test.shape.n_vocab
        with ThreadPoolExecutor(len(sizes)) as pool:
            futures = [
                pool.submit(
                    client.complete,
                    prompt_of(size, vocab, slot),
                    DECODE_TOKENS,
                    lambda n, slot=slot: self._advance(slot, n),  # type: ignore[misc]
                )
                for slot, size in enumerate(sizes)
            ]
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
            self._settle()
            return None

    def _settle(self) -> None:
        """A server that failed a request may be dying: let it, for a moment."""
        until_s = time.monotonic() + 1.0
        while time.monotonic() < until_s and self._tick():
            pass

    def _wait_for(self, futures: list[Future[Completion]]) -> bool:
        while not all(future.done() for future in futures):
            if not self._tick():
                return False
        return True

    def _advance(self, slot: int, n_tokens: int) -> None:
        self.done[slot] = n_tokens
        self.moved_s = time.monotonic()
        if sum(self.done.values()) >= self.total:
            # The last slot has read its prompt; others decode already.
            self.read_s = self.moved_s

    def _tick(self) -> bool:
        """Look around once; whether the engine is alive and moving."""
        code = self.process.exit_code()
        new = self.follower.new_lines()
        if new:
            self.lines += new
            self.moved_s = time.monotonic()
        self._sample()
        if self.stage is Stage.STARTED and self._is_reading():
            self.moved_s = time.monotonic()
        self.on_progress(
            LoadProgress(
                stage=self.stage,
                done_tokens=sum(self.done.values()),
                total_tokens=self.total,
                peak_bytes=self.peak,
            )
        )
        if code is not None:
            self.exit_code = code
            return False
        if time.monotonic() - self.moved_s > self.test.patience_s:
            self.stalled = True
            return False
        time.sleep(POLL_S)
        return True

    def _is_reading(self) -> bool:
        """Whether the engine's memory has changed: it reads weights without a word."""
        import psutil

        if self.process.pid is None:
            return False
        try:
            resident = psutil.Process(self.process.pid).memory_info().rss
        except psutil.Error:
            return False
        changed = resident != self.resident_bytes
        self.resident_bytes = resident
        return changed

    def _sample(self) -> None:
        if self.test.watch is None or self.process.pid is None:
            return
        self.peak = self.test.watch.peak_bytes(self.process.pid) or self.peak

    def observation(self) -> Observation:
        """All that was seen, the last words of the log included."""
        self.lines += self.follower.new_lines() + self.follower.last_line()
        self._sample()
        return Observation(
            stage=self.stage,
            exit_code=self.exit_code,
            stalled=self.stalled,
            answer_error=self.answer_error,
            facts=read_log(self.lines),
            free_bytes=self.free_bytes,
            peak_bytes=self.peak,
            prompt_tokens=self.prompt_tokens,
            prompt_tokens_per_s=self.prompt_tokens_per_s,
            single=self.single,
            load_s=self.load_s,
            total_s=time.monotonic() - self.started_s,
        )
