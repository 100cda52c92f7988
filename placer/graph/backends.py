"""What each kind of backend does with a graph: alignment, chunks, what it can run.

Sources are files of llama.cpp build 11434.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.gguf import row_bytes, type_size
from placer.units import MIB

if TYPE_CHECKING:
    from placer.graph.tensor import GraphTensor

NO_LIMIT = 1 << 62
# ggml-cuda/common.cuh: MATRIX_ROW_PADDING
ROW_PADDING = 512
# op_offload_min_batch_size, ggml-vulkan.cpp:16135 and ggml-cuda.cu:5757
OFFLOAD_MIN_BATCH = 32
MULTIPLIED = frozenset({"MUL_MAT", "MUL_MAT_ID"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendRules:
    """The rules of one kind of device, or of the CPU.

    Attributes:
        name: the prefix of its device names.
        alignment: bytes that each allocation in a compute buffer is rounded up to.
        max_chunk_bytes: the largest piece that a compute buffer is made of.
        is_pipelined: whether it computes asynchronously and has events.
        offloads: whether it takes operations on host weights of a big batch.
        pads_rows: whether rows of quantised tensors are padded.
        copies_kv: whether attention needs an f16 copy of a quantised cache.
        reorders: whether it changes the order of nodes.
    """

    name: str
    alignment: int
    max_chunk_bytes: int = NO_LIMIT
    is_pipelined: bool = True
    offloads: bool = True
    pads_rows: bool = False
    copies_kv: bool = False
    reorders: bool = False

    def allocated_bytes(self, tensor: GraphTensor) -> int:
        """What the backend sets aside for the tensor, before alignment."""
        n_bytes = tensor.n_bytes
        if self.copies_kv and tensor.op == "FLASH_ATTN_EXT":
            n_bytes = _with_f16_copies(tensor)
        if self.pads_rows and type_size(tensor.type_name)[0] > 1:
            rest = tensor.ne[0] % ROW_PADDING
            if rest:
                n_bytes += row_bytes(tensor.type_name, ROW_PADDING - rest)
        return n_bytes


def _with_f16_copies(tensor: GraphTensor) -> int:
    """Attention's result and f16 copies of what is not f16: fattn.cu:722.

    Each copy starts on 128 bytes (fattn-common.cuh). V that looks into K, as in MLA,
    is not copied again. The vector kernel, which reads some quantised types as they
    are, is chosen for one or two tokens only.
    """
    n_bytes = tensor.n_bytes
    k, v = tensor.src[1], tensor.src[2]
    for cache in (k, v):
        is_k_again = cache is v and v.view_src is not None and v.view_src is k.view_src
        if cache.type_name != "F16" and not is_k_again:
            n_bytes = -(-n_bytes // 128) * 128 + 2 * cache.n_elements
    return n_bytes


# Buffers of 1 GiB at most, ggml-vulkan.cpp:4219; alignment is the driver's
# minStorageBufferOffsetAlignment, 64 at most on those seen.
VULKAN_CHUNK = 1024 * MIB
# TENSOR_ALIGNMENT, ggml-impl.h:44
CPU_ALIGNMENT = 32
RULES = {
    rules.name: rules
    for rules in (
        BackendRules(name="CUDA", alignment=128, pads_rows=True, copies_kv=True),
        BackendRules(name="ROCm", alignment=128, pads_rows=True, copies_kv=True),
        BackendRules(name="MUSA", alignment=128, pads_rows=True, copies_kv=True),
        BackendRules(
            name="Vulkan", alignment=64, max_chunk_bytes=VULKAN_CHUNK, reorders=True
        ),
        BackendRules(name="SYCL", alignment=128, is_pipelined=False, pads_rows=True),
        BackendRules(name="Metal", alignment=32, is_pipelined=True),
        BackendRules(name="MTL", alignment=32, is_pipelined=True),
        # No offload: ggml-rpc.cpp:2264; asynchronous, with events: :2194.
        BackendRules(name="RPC", alignment=128, offloads=False),
    )
}
OTHER = BackendRules(name="", alignment=64)


def rules_of(backend: str) -> BackendRules:
    """The rules of a kind of device."""
    return RULES.get(backend, OTHER)


def host_rules(first: str | None) -> BackendRules:
    """The rules of the CPU's compute buffer, pinned by the first device if it can.

    Source: llama-context.cpp:412.
    """
    if first == "Vulkan":
        # minMemoryMapAlignment: 64 on every driver seen
        return BackendRules(name="CPU", alignment=64, max_chunk_bytes=VULKAN_CHUNK)
    return BackendRules(name="CPU", alignment=CPU_ALIGNMENT)


def batch_size(op: GraphTensor) -> int:
    """The tokens that an operation works on: get_op_batch_size, ggml-cuda.cu:5739."""
    if op.op == "GET_ROWS":
        return 0
    if op.op == "MUL_MAT":
        return op.ne[1]
    if op.op in ("MUL_MAT_ID", "ROPE"):
        return op.ne[2]
    return op.n_rows
