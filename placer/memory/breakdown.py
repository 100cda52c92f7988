"""The engine's triple, so that an error is a subtraction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBreakdown:
    """What one device (or the host) holds, in the engine's own words.

    Attributes:
        model_bytes: weights.
        context_bytes: KV cache and recurrent state; None where it is not known.
        compute_bytes: graph buffers; None where it is not known.
    """

    model_bytes: int
    context_bytes: int | None
    compute_bytes: int | None

    @property
    def total_bytes(self) -> int:
        """The sum of what is known."""
        return self.model_bytes + (self.context_bytes or 0) + (self.compute_bytes or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """What each device and the host would hold.

    Attributes:
        devices: one a device, in the machine's order.
        host: what the CPU holds.
        source: ``"formula"`` or ``"dry-run"``: who says so.
        graph_splits: of the prefill and the decode graph, where known.
        projector_bytes: what an image projector would take at most beside it, where
            the engine was given one and says so.
        drafting: what each device and the host would hold for NextN layers that draft,
            where the engine was asked to and says so.
    """

    devices: tuple[MemoryBreakdown, ...]
    host: MemoryBreakdown
    source: str
    graph_splits: tuple[int, int] | None = None
    projector_bytes: int | None = None
    drafting: tuple[MemoryBreakdown, ...] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every figure is known."""
        return all(
            held.context_bytes is not None and held.compute_bytes is not None
            for held in (*self.devices, self.host)
        )
