"""Bytes of context a layer: KV cache, latent cache, recurrent state.

Sources are files of llama.cpp build 11434.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.gguf import row_bytes
from placer.model.architectures import DRAFTS_BY_NEXTN
from placer.units import pad

if TYPE_CHECKING:
    from placer.model import LayerShape, ModelShape
    from placer.placement import Workload


def context_bytes_by_layer(
    shape: ModelShape, workload: Workload
) -> tuple[int, ...] | None:
    """Bytes of context of each layer, or None where placer has no formula.

    ``shape.cache_unknown`` says why not. -ot never moves any of it: it follows the
    layer's device, or stays on the CPU with ``--no-kv-offload``.
    """
    if shape.cache_unknown is not None:
        return None
    return tuple(_layer_bytes(layer, shape, workload) for layer in shape.layers)


def nextn_bytes_by_layer(
    shape: ModelShape, workload: Workload
) -> tuple[int, ...] | None:
    """Bytes of the second context, in which the NextN layers draft; None if unknown.

    It holds those layers alone, as plain attention: llama-model.cpp:2636.

    Args:
        shape: the model.
        workload: what is asked of the drafts, their cache types among it.
    """
    if shape.architecture not in DRAFTS_BY_NEXTN:
        return None
    first = shape.n_layer_all - shape.n_layer_nextn
    return tuple(
        _kv_bytes(layer, shape, workload) if layer.index >= first else 0
        for layer in shape.layers
    )


def _layer_bytes(layer: LayerShape, shape: ModelShape, workload: Workload) -> int:
    n_bytes = 0
    if layer.recurrent_elements:
        # f32, one row a sequence and state kept: llama-memory-recurrent.cpp:101
        rows = max(workload.parallel, 1) * (1 + workload.kept_states)
        n_bytes += 4 * layer.recurrent_elements * rows
    if layer.has_kv:
        n_bytes += _kv_bytes(layer, shape, workload)
        n_bytes += _index_bytes(layer, workload)
    return n_bytes


def _kv_bytes(layer: LayerShape, shape: ModelShape, workload: Workload) -> int:
    n_cells = kv_cells(layer, shape, workload) * workload.n_stream
    return _cell_bytes(layer, shape, workload) * n_cells


def _cell_bytes(layer: LayerShape, shape: ModelShape, workload: Workload) -> int:
    """Keys and values of one cell: llama-kv-cache.cpp:200-233.

    A latent has no values. Without fused attention values are stored transposed, as
    wide as those of the widest layer.
    """
    n_bytes = kv_row_bytes(workload.type_k, layer.head_dim_k * layer.n_head_kv)
    if shape.is_mla:
        return n_bytes
    n_values = layer.head_dim_v * layer.n_head_kv
    if not has_flash_attn(shape, workload):
        n_values = shape.n_embd_v_gqa_max
    return n_bytes + kv_row_bytes(workload.type_v, n_values)


def _index_bytes(layer: LayerShape, workload: Workload) -> int:
    """The second cache of an index: llama-kv-cache-dsa.cpp, llama-kv-cache-msa.cpp."""
    if not layer.index_k:
        return 0
    n_bytes = kv_row_bytes(workload.type_k, layer.index_k)
    if layer.index_v:
        n_bytes += kv_row_bytes(workload.type_v, layer.index_v)
    return n_bytes * workload.n_ctx_seq * workload.n_stream


def has_flash_attn(shape: ModelShape, workload: Workload) -> bool:
    """Whether attention is asked to be fused: llama-context.cpp:3819."""
    return workload.flash_attn != "off" and shape.architecture != "grok"


def kv_row_bytes(type_name: str, n_elements: int) -> int:
    """Bytes of one cell: ggml_row_size of the cache type."""
    return row_bytes(type_name.upper(), n_elements)


def kv_cells(layer: LayerShape, shape: ModelShape, workload: Workload) -> int:
    """Cells of one stream of the layer's cache.

    A window holds its own length for each slot that shares the stream, and one
    physical batch: llama-kv-cache-iswa.cpp:73.
    """
    full = workload.n_ctx_seq
    if not layer.is_swa or workload.swa_full:
        return full
    sharing = workload.parallel if workload.kv_unified else 1
    return pad(min(full, shape.n_swa * sharing + workload.n_ubatch), 256)
