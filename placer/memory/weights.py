"""Bytes of weights a buffer.

Sources are files of llama.cpp build 11434.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from placer.gguf import Tensor, row_bytes, type_size
from placer.units import pad

if TYPE_CHECKING:
    from placer.machine import Machine
    from placer.model import ModelShape
    from placer.placement import Placement

# Builds of ggml-cuda, and SYCL, which pads as they do: ggml-sycl.cpp:1061 and :1096.
CUDA_LIKE = frozenset({"CUDA", "ROCm", "MUSA", "SYCL"})
CUDA_ROW_PADDING = 512  # MATRIX_ROW_PADDING, common.cuh:186
# ggml-cuda.cu:898, ggml-metal.cpp:270; the default is Vulkan's, which is
# minStorageBufferOffsetAlignment of every driver seen.
ALIGNMENT = dict.fromkeys(CUDA_LIKE, 128) | dict.fromkeys(("Metal", "MTL", "CPU"), 32)
ALIGNMENT_DEFAULT = 64
# Which ask for a tied output before they have the input, and so load it twice wherever
# it lies: gemma4.cpp:53, gemma3n.cpp:31.
OUTPUT_FIRST = frozenset({"gemma3n", "gemma4"})


def weight_bytes_by_buffer(
    shape: ModelShape, placement: Placement, machine: Machine
) -> dict[str, int]:
    """Bytes of weights in each buffer type of the machine, ``"CPU"`` among them.

    Each buffer holds the sum of its padded tensors: ggml-alloc.c:1167.
    """
    backends = {device.buffer_type: device.backend for device in machine.devices}
    held: dict[str, int] = defaultdict(int, dict.fromkeys(machine.buffer_types, 0))
    for tensor, buffer in tensor_buffers(shape, placement, machine):
        held[buffer] += allocated_bytes(tensor, backends.get(buffer, "CPU"))
    return dict(held)


def tensor_buffers(
    shape: ModelShape, placement: Placement, machine: Machine
) -> list[tuple[Tensor, str]]:
    """Every tensor as often as it is loaded, with the buffer that holds it."""
    devices = placement.slot_devices(shape.n_slots)
    names = machine.buffer_types
    moved = {e.tensor: e.buffer for e in placement.exceptions}

    def place(tensors: tuple[Tensor, ...], device: int | None) -> None:
        home = "CPU" if device is None else names[device]
        placed.extend((t, moved.get(t.name, home)) for t in tensors)

    placed: list[tuple[Tensor, str]] = []
    place(shape.input_tensors, None)
    for layer in shape.layers:
        place(layer.tensors, devices[layer.index])
    for device in dict.fromkeys(devices[:-1]):
        place(shape.shared_tensors, device)
    outputs = shape.output_tensors
    if devices[-1] is None and shape.architecture not in OUTPUT_FIRST:
        # A tied output on the CPU is the input itself: llama-model-loader.cpp:1371.
        inputs = {t.name for t in shape.input_tensors}
        outputs = tuple(t for t in outputs if t.name not in inputs)
    place(outputs, devices[-1])
    return placed


def allocated_bytes(tensor: Tensor, backend: str) -> int:
    """What the backend sets aside for the tensor.

    CUDA pads the last row of a quantised tensor to 512 elements:
    ggml-cuda.cu:912.
    """
    n_bytes = tensor.n_bytes
    block, _ = type_size(tensor.type_name)
    rest = tensor.dims[0] % CUDA_ROW_PADDING
    if backend in CUDA_LIKE and block > 1 and rest:
        n_bytes += row_bytes(tensor.type_name, CUDA_ROW_PADDING - rest)
    return pad(n_bytes, ALIGNMENT.get(backend, ALIGNMENT_DEFAULT))
