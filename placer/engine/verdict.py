"""What a launch, or a log of one, is judged to be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from placer.engine.log import Phase
from placer.units import size_text


class Outcome(Enum):
    """What a launch showed; ``says_size`` of those from which a size follows.

    SPOILED ran out of memory while another process took some. SPILLED ran, though not
    in the memory of its devices. OK and UNKNOWN are of a log alone: it proves no fit,
    and it may stop too early.
    """

    FITS = "FITS"
    OOM_WEIGHTS = "OOM_WEIGHTS"
    OOM_CONTEXT = "OOM_CONTEXT"
    OOM_COMPUTE = "OOM_COMPUTE"
    OOM_IN_USE = "OOM_IN_USE"
    SPOILED = "SPOILED"
    SPILLED = "SPILLED"
    HOST_MEMORY = "HOST_MEMORY"
    REFUSED = "REFUSED"
    CRASHED = "CRASHED"
    STALLED = "STALLED"
    OK = "OK"
    UNKNOWN = "UNKNOWN"

    @property
    def is_oom(self) -> bool:
        """Whether memory of a device ran out."""
        return self.value.startswith("OOM_")

    @property
    def says_size(self) -> bool:
        """Whether it says that a placement has or has not the room that it needs."""
        return self.is_oom or self in (Outcome.FITS, Outcome.SPILLED)


class Cause(Enum):
    """What was behind an outcome that has several causes, where it is known."""

    BUFFER_LIMIT = "buffer limit"
    ILLEGAL_INSTRUCTION = "illegal instruction"
    SEGMENTATION_FAULT = "segmentation fault"
    BUS_ERROR = "bus error"
    KILLED = "killed"
    DEVICE_LOST = "device lost"
    NO_KERNEL = "no kernel"
    RPC_SERVER = "rpc server"
    PORT = "port"
    FLAG = "flag"
    MODEL = "model"
    ABORTED = "aborted"
    CONTEXT_FULL = "context full"
    NO_GPU = "no gpu"
    TIME_OUT = "time-out"
    CUT_OFF = "cut off"


OOM_OF = {
    Phase.WEIGHTS: Outcome.OOM_WEIGHTS,
    Phase.CONTEXT: Outcome.OOM_CONTEXT,
    Phase.COMPUTE: Outcome.OOM_COMPUTE,
    Phase.IN_USE: Outcome.OOM_IN_USE,
}
PHASE_OF = {outcome: phase for phase, outcome in OOM_OF.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judgement of one launch.

    Attributes:
        outcome: what it showed.
        device: the device that ran out of memory, where the log says.
        asked_bytes: the buffer that it did not give.
        free_bytes: what it had left at that moment: free before, less what the
            engine had been given of it by then.
        evidence: the lines and facts that decided.
        cause: what was behind it, where one outcome has several.
    """

    outcome: Outcome
    device: str | None = None
    asked_bytes: int | None = None
    free_bytes: int | None = None
    evidence: tuple[str, ...] = ()
    cause: Cause | None = None

    @property
    def phase(self) -> Phase | None:
        """When memory ran out."""
        return PHASE_OF.get(self.outcome)


def verdict_text(verdict: Verdict) -> str:
    """A verdict in one line: what ran out, where, asked and free."""
    parts = [verdict.outcome.value]
    if verdict.device is not None:
        parts.append(f"on {verdict.device}")
    if verdict.asked_bytes is not None:
        parts.append(f"asked {size_text(verdict.asked_bytes)}")
    if verdict.free_bytes is not None:
        parts.append(f"{size_text(verdict.free_bytes)} free")
    if not verdict.outcome.is_oom and verdict.evidence:
        parts.append(verdict.evidence[0])
    return ", ".join(parts)
