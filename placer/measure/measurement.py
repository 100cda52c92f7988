"""What one launch of a contender came to, and how a journal keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.engine.log import LogFacts
    from placer.engine.verdict import Verdict
    from placer.measure.contender import Contender
    from placer.plan.goal import Worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A contender's launch in a round.

    Attributes:
        contender: who is launched.
        round: from 1.
        place: in the round's order, from 1.
        depths: tokens in the cache at which it is measured, least first.
    """

    contender: Contender
    round: int
    place: int
    depths: tuple[int, ...]

    @property
    def record(self) -> dict[str, Any]:
        """Which launch it is, as the journal keeps it."""
        name = self.contender.name
        return {"contender": name, "round": self.round, "place": self.place}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The server's own timing of one request.

    Attributes:
        read_tokens: tokens of the prompt that it read, not those that it had.
        prefill_tokens_per_s: while reading them.
        decode_tokens_per_s: while writing.
    """

    read_tokens: int
    prefill_tokens_per_s: float
    decode_tokens_per_s: float

    def cost_s(self, worth: Worth) -> float:
        """Seconds, weighed by what is worth what."""
        return (
            worth.decode / self.decode_tokens_per_s
            + worth.prefill / self.prefill_tokens_per_s
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A launch that has ended.

    Attributes:
        turn: which.
        timings: by depth; the depths that there was time for.
        verdict: what went wrong; None where it was measured.
        facts: of its log.
        load_s: seconds until it answered.
        total_s: seconds of the whole launch.
    """

    turn: Turn
    timings: dict[int, tuple[Timing, ...]]
    verdict: Verdict | None
    facts: LogFacts
    load_s: float | None
    total_s: float


def measured_record(
    turn: Turn, depth: int, timings: Sequence[Timing]
) -> dict[str, Any]:
    """A depth of a launch, as the journal keeps it."""
    return {
        **turn.record,
        "depth": depth,
        "read_tokens": [timing.read_tokens for timing in timings],
        "prefill_tokens_per_s": [round(t.prefill_tokens_per_s, 3) for t in timings],
        "decode_tokens_per_s": [round(t.decode_tokens_per_s, 3) for t in timings],
    }


def ended_record(found: Measurement) -> dict[str, Any]:
    """How a launch ended, and what it held, as the journal keeps it."""
    verdict = found.verdict
    return {
        **found.turn.record,
        "verdict": None if verdict is None else verdict.outcome.value,
        "device": None if verdict is None else verdict.device,
        "evidence": [] if verdict is None else list(verdict.evidence),
        "buffers": [
            {"device": b.device, "phase": b.phase.value, "bytes": b.n_bytes}
            for b in found.facts.buffers
        ],
        "graph_splits": found.facts.graph_splits,
        "pipelined": found.facts.pipelined,
        "load_s": None if found.load_s is None else round(found.load_s, 2),
        "total_s": round(found.total_s, 2),
    }
