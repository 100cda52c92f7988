"""Bytes of the graph buffers, roughly: what the engine reserves for one ubatch.

A first formula: it counts the tensors that are alive together at the widest point of
a layer, the attention mask, and what moves between devices. The engine's dry run is
exact and replaces it wherever an engine is at hand.

Sources are files of llama.cpp build 10435.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.memory.context import kv_cells
from placer.memory.weights import tensor_buffers
from placer.model.shape import is_expert

if TYPE_CHECKING:
    from placer.machine import Machine
    from placer.model import LayerShape, ModelShape
    from placer.placement import Placement, Workload

F32 = 4
# GGML_SCHED_MAX_COPIES, ggml-backend.cpp:761
PIPELINE_COPIES = 4


def compute_bytes_by_device(
    shape: ModelShape, workload: Workload, placement: Placement, machine: Machine
) -> tuple[int, ...]:
    """Graph buffers of each device; 0 for a device that holds no layer.

    Bytes, of one physical batch of ``workload.n_ubatch`` tokens.
    """
    devices = placement.slot_devices(shape.n_slots)
    copies = PIPELINE_COPIES if is_pipelined(shape, placement, workload) else 1
    offload = _offloaded_bytes(shape, workload, placement, machine)
    result = []
    for index in range(len(machine.devices)):
        layers = [x for x in shape.layers if devices[x.index] == index]
        n_bytes = offload if index == _first_used(placement) else 0
        if layers or devices[-1] == index:
            n_bytes += _activation_bytes(shape, workload, layers)
            n_bytes += copies * _input_bytes(shape, workload, layers)
        if devices[-1] == index:
            n_bytes += workload.parallel * shape.n_vocab * F32
        result.append(n_bytes)
    return tuple(result)


def is_pipelined(shape: ModelShape, placement: Placement, workload: Workload) -> bool:
    """Whether the engine overlaps batches over the devices: llama-context.cpp:428.

    It costs copies of all inputs, and is given up where they do not fit (:637). Any
    ``-ot`` turns it off, also one that matches nothing.
    """
    used = sum(1 for n in placement.split if n)
    whole = placement.n_gpu_layers > shape.n_layer_all
    return used > 1 and whole and workload.kv_offload and not placement.overridden


def _first_used(placement: Placement) -> int | None:
    """The device that operations on host weights are offloaded to."""
    if placement.main_gpu is not None:
        return placement.main_gpu
    return 0 if placement.n_gpu_layers else None


def _input_bytes(
    shape: ModelShape, workload: Workload, layers: list[LayerShape]
) -> int:
    """Residual stream and masks: llama-graph.cpp:28."""
    tokens = workload.n_ubatch
    width = 4 if workload.flash_attn == "off" else 2
    cells = {kv_cells(x, shape, workload) for x in layers if x.has_kv}
    masks = sum(cells) * tokens * width
    return masks + shape.n_embd * tokens * F32


def _activation_bytes(
    shape: ModelShape, workload: Workload, layers: list[LayerShape]
) -> int:
    tokens = workload.n_ubatch
    widest = max((_layer_width(x, shape, workload) for x in layers), default=0)
    return (widest + 2 * shape.n_embd) * tokens * F32


def _layer_width(layer: LayerShape, shape: ModelShape, workload: Workload) -> int:
    """Elements a token alive at the widest point of a layer."""
    attention = layer.n_head * (layer.head_dim_k + layer.head_dim_v)
    if workload.flash_attn == "off" and layer.has_kv:
        attention += layer.n_head * kv_cells(layer, shape, workload)
    feed_forward = 0
    for tensor in layer.tensors:
        if tensor.name.endswith("ffn_up.weight"):
            feed_forward = max(feed_forward, 2 * tensor.dims[1])
        elif is_expert(tensor.name) and len(tensor.dims) == 3:
            width = max(tensor.dims[0], tensor.dims[1])
            feed_forward = max(feed_forward, 2 * width * shape.n_expert_used)
    return max(attention, feed_forward)


def _offloaded_bytes(
    shape: ModelShape, workload: Workload, placement: Placement, machine: Machine
) -> int:
    """The copy of the largest weight on the host that a big batch visits.

    op-offload moves the operation to the first device: ggml-backend.cpp:956.
    """
    if not workload.op_offload or workload.n_ubatch < 32:
        return 0
    inputs = {t.name for t in shape.input_tensors}
    return max(
        (
            tensor.n_bytes
            for tensor, buffer in tensor_buffers(shape, placement, machine)
            if buffer == "CPU" and tensor.name not in inputs
        ),
        default=0,
    )
