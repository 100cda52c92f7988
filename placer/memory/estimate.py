"""All three parts of the estimate, device by device."""

from __future__ import annotations

from dataclasses import replace
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
    bare = without_compute(shape, workload, placement, machine)
    compute = compute_of(shape, workload, placement, machine)
    if compute is None:
        return bare
    devices = tuple(
        replace(held, compute_bytes=n_bytes)
        for held, n_bytes in zip(bare.devices, compute.device_bytes, strict=True)
    )
    return replace(
        bare,
        devices=devices,
        host=replace(bare.host, compute_bytes=compute.host_bytes),
        graph_splits=compute.graph_splits,
    )


def without_compute(
    shape: ModelShape, workload: Workload, placement: Placement, machine: Machine
) -> MemoryEstimate:
    """The same but for compute buffers and graph splits, in a tenth of the time."""
    weights = weight_bytes_by_buffer(shape, placement, machine)
    by_layer = context_bytes_by_layer(shape, workload)
    context = by_device(by_layer, shape, workload, placement, machine)
    names = [*(device.buffer_type for device in machine.devices), "CPU"]
    held = [
        MemoryBreakdown(
            model_bytes=weights[name],
            context_bytes=None if context is None else context[index],
            compute_bytes=None,
        )
        for index, name in enumerate(names)
    ]
    return MemoryEstimate(devices=tuple(held[:-1]), host=held[-1], source="formula")


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
