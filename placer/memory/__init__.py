"""ModelShape + Workload + Placement -> MemoryEstimate, by formula."""

from placer.memory.breakdown import MemoryBreakdown, MemoryEstimate
from placer.memory.context import context_bytes_by_layer
from placer.memory.estimate import estimate_memory
from placer.memory.weights import weight_bytes_by_buffer

__all__ = [
    "MemoryBreakdown",
    "MemoryEstimate",
    "context_bytes_by_layer",
    "estimate_memory",
    "weight_bytes_by_buffer",
]
