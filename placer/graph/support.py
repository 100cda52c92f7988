"""Which operations a device takes; what it does not take runs on the CPU.

Only what graphs of language models hold is listed, by the rules of
ggml_backend_vk_device_supports_op (ggml-vulkan.cpp:15324) and
ggml_backend_cuda_device_supports_op (ggml-cuda.cu:5304) of llama.cpp build 11434. The
CPU takes everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.gguf import type_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.graph.tensor import GraphTensor

# The name of a multiplication whose second operand must stay f32: ggml_prec_set_src.
WIDE_SOURCE = "wide source"
# Mamba-2 states that there are kernels for, elements.
SCAN_STATES_CUDA = (96, 128, 256)
SCAN_STATES = {"Vulkan": (128, 256)}
# Heads of a gated delta net that there are kernels for, elements.
DELTA_HEADS = (16, 32, 64, 128)


# The largest tensor that a Vulkan device takes: what 32 bits count to, as most drivers
# report maxStorageBufferRange and maxBufferSize; ggml-vulkan.cpp:15346.
VULKAN_BYTES = 2**32 - 1


def supports(backend: str, op: GraphTensor) -> bool:
    """Whether a device of this kind takes the operation."""
    if backend == "Vulkan" and _is_too_large(op):
        return False
    check = CHECKS.get(op.op)
    return check is None or check(backend, op)


def _is_too_large(op: GraphTensor) -> bool:
    if op.n_bytes > VULKAN_BYTES:
        return True
    return any(source.n_bytes > VULKAN_BYTES for source in op.src)


def _mul_mat(backend: str, op: GraphTensor) -> bool:
    if op.src[0].ne[3] != op.src[1].ne[3]:
        return False
    return backend != "Vulkan" or _has_whole_rows(op.src[0])


def _has_whole_rows(a: GraphTensor) -> bool:
    """Whether Vulkan can read the rows: quantised ones must lie one after the other.

    Those of a quantised cache of several heads do not: ggml-vulkan.cpp:15459.
    """
    block, n_bytes = type_size(a.type_name)
    if block == 1:
        return True
    is_row = a.nb[:2] == (n_bytes, n_bytes * (a.ne[0] // block))
    return is_row and (a.ne[3] == 1 or a.nb[3] == a.nb[2] * a.ne[2])


def _mul_mat_id(backend: str, op: GraphTensor) -> bool:
    return op.name != WIDE_SOURCE or backend in ("Metal", "MTL", "SYCL")


def _flash_attn(backend: str, op: GraphTensor) -> bool:
    head_k, head_v = op.src[1].ne[0], op.src[2].ne[0]
    if backend == "Vulkan":
        return head_k % 8 == 0 and head_v % 8 == 0
    return (
        CUDA_HEADS.get(head_k) == head_v
        and {op.src[1].type_name, op.src[2].type_name} <= CUDA_KV_TYPES
        and _shares_keys(op, CUDA_SHARED.get(head_k))
    )


def _shares_keys(op: GraphTensor, every: int | None) -> bool:
    """Whether as many query heads share a key head as the kernel asks for.

    Wide heads have a kernel only where several share one and there is a mask over a
    whole number of ``FATTN_KQ_STRIDE`` cells: gqa_opt_applies, fattn.cu:558.
    """
    if every is None:
        return True
    q, k = op.src[0], op.src[1]
    shared = q.ne[2] // k.ne[2]
    has_mask = len(op.src) > MASK_AT and k.ne[1] % KQ_STRIDE == 0
    return shared > 1 and shared % every == 0 and has_mask


# Heads of keys that CUDA's attention has kernels for, and the heads of values that go
# with them: ggml_cuda_get_best_fattn_kernel, fattn.cu:542.
CUDA_HEADS = {
    **{n: n for n in (40, 64, 72, 80, 96, 112, 128, 256, 512)},
    192: 128,
    320: 256,
    576: 512,
}
# Of those, the ones with kernels for shared keys alone, in multiples of so many heads.
CUDA_SHARED = {192: 8, 320: 32, 512: 1, 576: 1}
CUDA_KV_TYPES = frozenset(
    {"F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"}
)
MASK_AT, KQ_STRIDE = 3, 256


def _ssm_scan(backend: str, op: GraphTensor) -> bool:
    state, a = op.src[0], op.src[3]
    is_second = a.nb[1] == 4 if backend == "Vulkan" else a.ne[0] == 1
    if is_second:
        sizes = SCAN_STATES.get(backend, SCAN_STATES_CUDA)
        return state.ne[0] in sizes and state.ne[1] % 16 == 0
    if backend == "Vulkan":
        return False
    is_plain = state.ne[0] == 16 and state.ne[1] == 1 and op.src[4].ne[1] == 1
    return is_plain and state.ne[2] % 128 == 0


def _scale(_backend: str, op: GraphTensor) -> bool:
    return op.src[0].is_contiguous and op.src[0].type_name == "F32"


def _gated_delta_net(_backend: str, op: GraphTensor) -> bool:
    return op.src[2].ne[0] in DELTA_HEADS


def _contiguous(_backend: str, op: GraphTensor) -> bool:
    return op.src[0].is_contiguous


def _gated_linear_attn(_backend: str, op: GraphTensor) -> bool:
    return op.src[0].ne[0] == 64


def _hc_pre(backend: str, op: GraphTensor) -> bool:
    return backend != "Vulkan" or op.src[0].ne[1] == HC_STREAMS_VULKAN


def _hc_comb(backend: str, _op: GraphTensor) -> bool:
    """On Vulkan only with 16 lanes a subgroup, ggml-vulkan.cpp:3600.

    Not every device has them, and what is not fused takes next to nothing more.
    """
    return backend != "Vulkan"


def _hc_post(backend: str, op: GraphTensor) -> bool:
    return backend != "Vulkan" or op.src[1].ne[1] == HC_STREAMS_VULKAN


# Streams of hyper-connections that there are kernels for.
HC_STREAMS_VULKAN = 4


def _lightning_indexer(backend: str, op: GraphTensor) -> bool:
    head, n_head = op.src[0].ne[:2]
    is_known = backend not in CUDA_LIKE or n_head in INDEX_HEADS_CUDA
    return head == INDEX_HEAD and is_known


# ggml_cuda_lightning_indexer_supported
CUDA_LIKE = frozenset({"CUDA", "ROCm", "MUSA"})
INDEX_HEAD, INDEX_HEADS_CUDA = 128, frozenset({4, 32, 64})


CHECKS: dict[str, Callable[[str, GraphTensor], bool]] = {
    "MUL_MAT": _mul_mat,
    "MUL_MAT_ID": _mul_mat_id,
    "FLASH_ATTN_EXT": _flash_attn,
    "SSM_SCAN": _ssm_scan,
    "SCALE": _scale,
    "GATED_DELTA_NET": _gated_delta_net,
    "GATED_LINEAR_ATTN": _gated_linear_attn,
    "LIGHTNING_INDEXER": _lightning_indexer,
    "DSV4_HC_COMB": _hc_comb,
    "DSV4_HC_PRE": _hc_pre,
    "DSV4_HC_POST": _hc_post,
    "ARGSORT": _contiguous,
    "SOFT_MAX": _contiguous,
}
