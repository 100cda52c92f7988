"""Probe, trial: a question, and what is persisted of its answer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from placer.engine.judge import Outcome
from placer.engine.verdict import Cause
from placer.memory.records import memory_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.engine.judge import Verdict
    from placer.engine.observation import Observation
    from placer.memory import MemoryEstimate
    from placer.placement import Placement, Strategy
    from placer.speed import Interval, Speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A question, complete before it is asked.

    Attributes:
        number: of the launch, from 1.
        strategy: which of the four it is.
        placement: where everything goes.
        kept: expert tensors on each device; None where none is on the CPU.
        args: the flags of the launch.
        formula: what placer's formula says.
        dry_run: what the engine's dry run says, None if it would not.
        purpose: why it is asked.
        speed: what the speed model says that the load test will measure of one slot
            alone; None where it says nothing.
    """

    number: int
    strategy: Strategy
    placement: Placement
    kept: tuple[int, ...] | None
    args: tuple[str, ...]
    formula: MemoryEstimate
    dry_run: MemoryEstimate | None
    purpose: str
    speed: Speed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A probe, what was seen and what it means."""

    probe: Probe
    observation: Observation
    verdict: Verdict

    @property
    def is_disturbed(self) -> bool:
        """Whether it is to be made again, as it says nothing of its placement.

        Somebody took its port or its memory, or what the engine said last is lost.
        """
        is_spoiled = self.verdict.outcome is Outcome.SPOILED
        is_cut_off = self.verdict.cause is Cause.CUT_OFF
        return is_spoiled or is_cut_off or self.observation.facts.port_taken is not None

    @property
    def decode_tokens_per_s(self) -> float | None:
        """What one slot alone wrote."""
        single = self.observation.single
        return None if single is None else single.decoded_tokens_per_s or None

    @property
    def prefill_tokens_per_s(self) -> float | None:
        """What one slot alone read: a prompt of one physical batch."""
        single = self.observation.single
        return None if single is None else single.prompt_tokens_per_s or None


def probe_record(probe: Probe) -> dict[str, Any]:
    """The probe as the journal keeps it."""
    return {
        "number": probe.number,
        "strategy": probe.strategy.value,
        "slots": list(probe.placement.split),
        "kept": None if probe.kept is None else list(probe.kept),
        "args": list(probe.args),
        "formula": memory_record(probe.formula),
        "dry_run": None if probe.dry_run is None else memory_record(probe.dry_run),
        "purpose": probe.purpose,
        "predicted": None if probe.speed is None else _speed_record(probe.speed),
    }


def trial_record(trial: Trial) -> dict[str, Any]:
    """The trial as the journal keeps it."""
    seen, verdict = trial.observation, trial.verdict
    return {
        **probe_record(trial.probe),
        "verdict": verdict.outcome.value,
        "device": verdict.device,
        "phase": None if verdict.phase is None else verdict.phase.value,
        "asked_bytes": verdict.asked_bytes,
        "free_bytes": verdict.free_bytes,
        "evidence": list(verdict.evidence),
        "cause": None if verdict.cause is None else verdict.cause.value,
        "stage": seen.stage.title,
        "exit_code": seen.exit_code,
        "buffers": [
            {"device": b.device, "phase": b.phase.value, "bytes": b.n_bytes}
            for b in seen.facts.buffers
        ],
        "free_before_bytes": list(seen.free_bytes),
        "free_after_bytes": _listed(seen.free_after_bytes),
        "others_bytes": _listed(seen.others_bytes),
        "image_tokens": seen.image_tokens,
        "peak_bytes": _listed(seen.peak_bytes),
        "graph_splits": seen.facts.graph_splits,
        "pipelined": seen.facts.pipelined,
        "prompt_tokens": seen.prompt_tokens,
        "prompt_tokens_per_s": _rounded(seen.prompt_tokens_per_s),
        "prefill_tokens_per_s": _rounded(trial.prefill_tokens_per_s),
        "decode_tokens_per_s": _rounded(trial.decode_tokens_per_s),
        "single": None if seen.single is None else asdict(seen.single),
        "load_s": _rounded(seen.load_s),
        "total_s": _rounded(seen.total_s),
    }


def _speed_record(speed: Speed) -> dict[str, Any]:
    return {
        "depth": speed.depth,
        "decode_tokens_per_s": _interval(speed.decode),
        "prefill_tokens_per_s": _interval(speed.prefill),
    }


def _interval(found: Interval) -> list[float]:
    return [round(figure, 2) for figure in (found.low, found.mid, found.high)]


def _listed(figures: Sequence[int] | None) -> list[int] | None:
    return None if figures is None else list(figures)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
