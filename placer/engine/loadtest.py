"""Launch a placement and fill its context: the dear rung of proof."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.engine.gauge import Gauge
from placer.engine.observation import Observation, Proof
from placer.engine.session import DECODE_TOKENS, LoadProgress, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from placer.engine.gauge import MemoryWatch
    from placer.engine.process import Runner
    from placer.machine import Machine
    from placer.model import ModelShape
    from placer.placement import Workload

__all__ = ["PATIENCE_S", "LoadProgress", "LoadTest"]

PATIENCE_S = 600.0
# The last ubatch must not meet the very last cell: a slot stops one short of its end.
SPARE_TOKENS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTest:
    """What is asked of every launch.

    Attributes:
        runner: starts the engine.
        machine: devices and what they had free.
        shape: the model, for its vocabulary and trained context.
        workload: what is filled.
        proof: how far to go.
        watch: memory of processes, where it can be seen.
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
        gauge = Gauge(watch=self.watch, free_now=self.free_now, free_bytes=free_bytes)
        launch_args = [*args, "--fit", "off", "-lv", "4"]
        process = self.runner.start(launch_args, log_path=log_path)
        session = Session(
            test=self, process=process, on_progress=on_progress, gauge=gauge
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

    @property
    def ubatch_prompt_tokens(self) -> int:
        """Tokens of a prompt of one full ubatch, where a slot's share has the room."""
        return min(self.workload.n_ubatch, self.slot_prompt_tokens)
