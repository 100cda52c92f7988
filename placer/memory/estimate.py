"""All three parts of the estimate, device by device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.memory.breakdown import MemoryBreakdown, MemoryEstimate
from placer.memory.compute import compute_of
from placer.memory.context import context_bytes_by_layer
from placer.memory.weights import weight_bytes_by_buffer

if TYPE_CHECKING:
    from placer.machine import Machine
    from placer.model import ModelShape
    from placer.placement import Placement, Workload


def estimate_memory(
    shape: ModelShape, workload: Workload, placement: Placement, machine: Machine
) -> MemoryEstimate:
    """What each device and the host would hold, by formula, no engine."""
    weights = weight_bytes_by_buffer(shape, placement, machine)
    by_layer = context_bytes_by_layer(shape, workload)
    context = by_device(by_layer, shape, workload, placement, machine)
    compute = compute_of(shape, workload, placement, machine)
    devices = tuple(
        MemoryBreakdown(
            model_bytes=weights[device.buffer_type],
            context_bytes=None if context is None else context[index],
            compute_bytes=None if compute is None else compute.device_bytes[index],
        )
        for index, device in enumerate(machine.devices)
    )
    host = MemoryBreakdown(
        model_bytes=weights["CPU"],
        context_bytes=None if context is None else context[-1],
        compute_bytes=None if compute is None else compute.host_bytes,
    )
    return MemoryEstimate(
        devices=devices,
        host=host,
        source="formula",
        graph_splits=None if compute is None else compute.graph_splits,
    )


def by_device(
    by_layer: tuple[int, ...] | None,
    shape: ModelShape,
    workload: Workload,
    placement: Placement,
    machine: Machine,
) -> list[int] | None:
    """Bytes of context on each device, the host last, of those of each layer."""
    if by_layer is None:
        return None
    held = [0] * (len(machine.devices) + 1)
    devices = placement.slot_devices(shape.n_slots)
    for layer, n_bytes in zip(shape.layers, by_layer, strict=True):
        device = devices[layer.index] if workload.kv_offload else None
        held[-1 if device is None else device] += n_bytes
    return held
