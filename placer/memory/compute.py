"""Bytes of the graph buffers and graph splits of a placement.

The engine's own reservation is played through (``placer.graph``): a graph of one full
physical batch, cut by its scheduler and placed by its allocator. Sources are files of
llama.cpp build 11434.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.graph import (
    Layout,
    Reserve,
    UnknownGraphError,
    graph_of,
    reserve,
    rules_of,
)
from placer.memory.context import has_flash_attn, kv_cells
from placer.memory.weights import tensor_buffers

if TYPE_CHECKING:
    from placer.graph import GraphOf
    from placer.machine import Machine
    from placer.model import ModelShape
    from placer.placement import Placement, Workload


def compute_of(
    shape: ModelShape, workload: Workload, placement: Placement, machine: Machine
) -> Reserve | None:
    """The compute buffers of all devices of the machine, and the graph splits.

    None where placer has no graph for the architecture: ask the engine.
    """
    return _reserved(shape, workload, placement, machine, graph_of)


def nextn_compute_of(
    shape: ModelShape, workload: Workload, placement: Placement, machine: Machine
) -> Reserve | None:
    """The same of the context in which a NextN layer drafts."""
    from placer.graph.nextn import nextn_graph

    return _reserved(shape, workload, placement, machine, nextn_graph)


def _reserved(
    shape: ModelShape,
    workload: Workload,
    placement: Placement,
    machine: Machine,
    graph: GraphOf,
) -> Reserve | None:
    layout = layout_of(shape, workload, placement, machine)
    pipelined = is_pipelined(shape, placement, workload, machine)
    try:
        found = reserve(
            shape,
            workload,
            layout,
            pipelined=pipelined,
            graph=graph,
            is_folded=graph is graph_of,
        )
    except UnknownGraphError:
        return None
    if placement.main_gpu is None:
        return found
    n_bytes = [0] * len(machine.devices)
    n_bytes[placement.main_gpu] = found.device_bytes[0]
    return Reserve(
        device_bytes=tuple(n_bytes),
        host_bytes=found.host_bytes,
        graph_splits=found.graph_splits,
    )


def layout_of(
    shape: ModelShape, workload: Workload, placement: Placement, machine: Machine
) -> Layout:
    """Where everything lies, by the engine's numbers of its backends."""
    used = used_devices(placement, machine)
    number = {device: at for at, device in enumerate(used)}
    cpu = len(used)
    by_buffer = {machine.devices[d].buffer_type: at for d, at in number.items()}
    layers = tuple(
        cpu if device is None else number[device]
        for device in placement.slot_devices(shape.n_slots)
    )
    return Layout(
        backends=tuple(machine.devices[d].backend for d in used),
        tensors={
            tensor.name: by_buffer.get(buffer, cpu)
            for tensor, buffer in reversed(tensor_buffers(shape, placement, machine))
        },
        layers=layers,
        caches=layers if workload.kv_offload else (cpu,) * len(layers),
        cells=tuple(kv_cells(layer, shape, workload) for layer in shape.layers),
        is_full=placement.n_gpu_layers > shape.n_layer_all,
        v_transposed=not has_flash_attn(shape, workload),
        fused=_fused(shape, workload),
    )


def _fused(shape: ModelShape, workload: Workload) -> frozenset[str]:
    """What may be fused, before it is seen whether the devices can."""
    names = {"hc_pre", "hc_comb", "hc_post"}
    if has_flash_attn(shape, workload):
        names.add("flash_attn")
    return frozenset(names)


def used_devices(placement: Placement, machine: Machine) -> tuple[int, ...]:
    """The devices that the engine makes a backend for."""
    if placement.main_gpu is not None:
        return (placement.main_gpu,)
    return tuple(range(len(machine.devices)))


def is_pipelined(
    shape: ModelShape, placement: Placement, workload: Workload, machine: Machine
) -> bool:
    """Whether the engine overlaps batches over the devices: llama-context.cpp:428.

    It costs copies of all inputs, and is given up where they do not fit (:680). Any
    ``-ot`` turns it off, also one that matches nothing.
    """
    used = used_devices(placement, machine)
    return (
        len(used) > 1
        and placement.n_gpu_layers > shape.n_layer_all
        and workload.kv_offload
        and not placement.overridden
        and all(rules_of(machine.devices[d].backend).is_pipelined for d in used)
    )
