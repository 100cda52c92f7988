"""Estimates as plain values: what journals keep and ``--json`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from placer.memory.breakdown import MemoryBreakdown, MemoryEstimate


def memory_record(estimate: MemoryEstimate) -> dict[str, Any]:
    """An estimate as JSON prints it."""
    return {
        "source": estimate.source,
        "devices": [breakdown_record(device) for device in estimate.devices],
        "host": breakdown_record(estimate.host),
        "graph_splits": estimate.graph_splits,
    }


def breakdown_record(breakdown: MemoryBreakdown) -> dict[str, int | None]:
    """A triple as JSON prints it."""
    return {
        "model_bytes": breakdown.model_bytes,
        "context_bytes": breakdown.context_bytes,
        "compute_bytes": breakdown.compute_bytes,
    }
