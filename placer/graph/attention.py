"""Attention over a cache, as the engine builds it.

Mirrors build_attn and build_attn_mha, llama-graph.cpp:2691-3290, and
llama-kv-cache.cpp:1296-1440 of llama.cpp build 11434.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.gguf import row_bytes, type_size
from placer.graph import ops
from placer.graph.tensor import GraphTensor

if TYPE_CHECKING:
    from placer.graph.build import Build

Maybe = GraphTensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionInput:
    """What the host fills in for the caches of one kind.

    Attributes:
        k_idxs: cells that new keys go to.
        v_idxs: likewise for values, None for a cache of keys alone.
        mask: [cells, tokens of a stream, 1, streams].
        k_rot: turns queries and keys before a quantised cache.
        v_rot: likewise for values.
        n_kv: cells of one stream.
        keys_first: whether keys are made before values, as where some layers have a
            window: llama-graph.cpp:3222.
    """

    k_idxs: GraphTensor
    v_idxs: Maybe
    mask: GraphTensor
    k_rot: Maybe
    v_rot: Maybe
    n_kv: int
    keys_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Queries, keys and values of a layer, each [head, heads, tokens]."""

    q: GraphTensor
    k: Maybe
    v: Maybe


def attention_input(
    build: Build,
    n_kv: int,
    *,
    values: bool = True,
    rotated: bool = True,
    is_swa: bool | None = None,
) -> AttentionInput:
    """build_attn_inp_kv, llama-graph.cpp:2910, or its variant for keys alone.

    Args:
        build: the graph.
        n_kv: cells of one stream.
        values: whether values are cached.
        rotated: whether quantised keys are turned.
        is_swa: which layers are in the cache, None for all.
    """
    work, n_tokens = build.workload, build.n_tokens
    n_stream = n_streams(build)
    n_v = n_tokens
    if build.layout.v_transposed:
        n_v *= build.shape.n_embd_v_gqa_max
    k_idxs = build.input("I64", n_tokens, name="attn_inp_k_idxs")
    v_idxs = build.input("I64", n_v, name="attn_inp_v_idxs") if values else None
    mask = build.input(
        "F16" if build.layout.flash_attn else "F32",
        n_kv,
        n_tokens // n_stream,
        1,
        n_stream,
        name="attn_inp_kq_mask",
    )
    n_k_rot = rotation(work.type_k, build.shape.layers[0].head_dim_k) if rotated else 0
    if n_k_rot:
        n_k_rot = _largest_rotation(build, n_k_rot, is_swa=is_swa)
    n_v_rot = rotation(work.type_v, build.shape.layers[0].head_dim_v) if values else 0
    return AttentionInput(
        k_idxs=k_idxs,
        v_idxs=v_idxs,
        mask=mask,
        k_rot=build.input("F32", n_k_rot, n_k_rot, name="k_rot") if n_k_rot else None,
        v_rot=build.input("F32", n_v_rot, n_v_rot, name="v_rot") if n_v_rot else None,
        n_kv=n_kv,
        keys_first=any(layer.is_swa for layer in build.shape.layers),
    )


def batch_input(build: Build) -> AttentionInput:
    """build_attn_inp_no_cache, llama-graph.cpp:2832: a batch that sees itself."""
    kind = "F16" if build.layout.flash_attn else "F32"
    mask = build.input(kind, build.n_tokens, build.n_tokens, name="self_kq_mask")
    return AttentionInput(
        k_idxs=mask, v_idxs=None, mask=mask, k_rot=None, v_rot=None, n_kv=0
    )


def attend_at_once(
    build: Build, heads: Heads, inp: AttentionInput, il: int
) -> GraphTensor:
    """build_attn without a cache, llama-graph.cpp:2858."""
    q, k, v = heads.q, heads.k, heads.v
    if k is None or v is None:
        raise ValueError(heads)
    for x in (q, k, v):
        build.graph.expand(x)
    return output(build, il, "attn_output", mha(build, q, (k, v), inp.mask, il=il))


def n_streams(build: Build) -> int:
    """Streams that a batch is divided among."""
    return 1 if build.workload.kv_unified else build.n_seqs


def rotation(type_name: str, head: int) -> int:
    """Side of the Hadamard matrix for a cache of this type, 0 for none.

    Source: llama-kv-cache.cpp:321.
    """
    is_quantised = type_size(type_name.upper())[0] > 1
    return 64 if is_quantised and head % 64 == 0 else 0


def _largest_rotation(build: Build, n: int, *, is_swa: bool | None) -> int:
    """Keys turn as wide as their heads allow, where all in the cache are alike."""
    heads = {
        layer.head_dim_k
        for layer in build.shape.layers
        if layer.has_kv and is_swa in (None, layer.is_swa)
    }
    if len(heads) != 1:
        return 0
    head = heads.pop()
    while head % (2 * n) == 0:
        n *= 2
    return n


def attend(
    build: Build,
    heads: Heads,
    inp: AttentionInput,
    il: int,
    *,
    name: str = "attn_output",
    sinks: Maybe = None,
    kv_layer: int | None = None,
    bias: Maybe = None,
) -> GraphTensor:
    """build_attn over a cache of keys and values, and the output projection.

    Args:
        build: the graph.
        heads: queries, keys and values; the last two None where the layer reads
            another one's cache.
        inp: what the host fills in.
        il: the layer.
        name: of the output projection; ``""`` for none.
        sinks: one logit a head that takes attention away.
        kv_layer: the layer whose cache it reads, if not its own.
        bias: added to the scores, which no fused attention can do.
    """
    q, k, v = turned(heads, inp)
    expand = build.graph.expand
    expand(q)
    for x in (k, v) if inp.keys_first else (v, k):
        if x is not None:
            expand(x)
    source = il if kv_layer is None else kv_layer
    layer = build.shape.layers[source]
    cache_k, cache_v = caches(build, source, inp.n_kv)
    if k is not None:
        expand(stored_k(cache_k, k, inp))
    if v is not None and inp.v_idxs is not None:
        expand(stored_v(build, cache_v, v, inp))
    seen_k = k_view(build, cache_k, layer.head_dim_k, layer.n_head_kv, inp.n_kv)
    seen_v = v_view(build, cache_v, layer.head_dim_v, layer.n_head_kv, inp.n_kv)
    x = mha(build, q, (seen_k, seen_v), inp.mask, il=il, sinks=sinks, bias=bias)
    if inp.v_rot is not None:
        x = hadamard(x, inp.v_rot)
    return output(build, il, name, x) if name else x


# Whose graphs load a bias of the output projection and leave it.
OUTPUT_UNBIASED = frozenset({"ernie4_5", "ernie4_5-moe", "llada", "refact"})


def output(build: Build, il: int, name: str, x: GraphTensor) -> GraphTensor:
    """The projection of attention's result."""
    if build.arch not in OUTPUT_UNBIASED:
        return build.linear(il, name, x)
    scale = build.of_layer(il, f"{name}.scale")
    return build.mm(build.must(il, f"{name}.weight"), x, scale)


def turned(heads: Heads, inp: AttentionInput) -> tuple[GraphTensor, Maybe, Maybe]:
    """Queries, keys and values as a quantised cache wants them."""
    q, k, v = heads.q, heads.k, heads.v
    if inp.k_rot is not None:
        q = hadamard(q, inp.k_rot)
        k = None if k is None else hadamard(k, inp.k_rot)
    if inp.v_rot is not None and v is not None:
        v = hadamard(v, inp.v_rot)
    return q, k, v


def hadamard(x: GraphTensor, rot: GraphTensor) -> GraphTensor:
    """llama_mul_mat_hadamard, llama-impl.h:57."""
    n = rot.ne[0]
    rows = x.n_elements // n
    flat = ops.reshape(x, n, rows) if x.is_contiguous else ops.cont(x, n, rows)
    return ops.reshape(ops.mul_mat(rot, flat), *x.ne)


def caches(build: Build, il: int, n_kv: int) -> tuple[GraphTensor, GraphTensor]:
    """The layer's keys and values: [elements of a cell, cells, streams]."""
    work, layer = build.workload, build.shape.layers[il]
    n_k = layer.head_dim_k * layer.n_head_kv
    n_v = layer.head_dim_v * layer.n_head_kv
    if build.layout.v_transposed:
        n_v = build.shape.n_embd_v_gqa_max
    k = build.stored(il, work.type_k.upper(), n_k, n_kv, work.n_stream, name="cache_k")
    v = build.stored(il, work.type_v.upper(), n_v, n_kv, work.n_stream, name="cache_v")
    return k, v


def stored_k(cache: GraphTensor, k: GraphTensor, inp: AttentionInput) -> GraphTensor:
    """cpy_k, llama-kv-cache.cpp:1348."""
    n = k.ne[0] * k.ne[1]
    rows = ops.view(k, (n, k.ne[2]), (k.nb[2],))
    if cache.ne[2] > 1:
        cache = ops.reshape(cache, n, cache.ne[1] * cache.ne[2])
    return ops.set_rows(cache, rows, inp.k_idxs)


def stored_v(
    build: Build, cache: GraphTensor, v: GraphTensor, inp: AttentionInput
) -> GraphTensor:
    """cpy_v, llama-kv-cache.cpp:1383: without fused attention, transposed."""
    if inp.v_idxs is None:
        raise ValueError(inp)
    n, n_tokens = v.ne[0] * v.ne[1], v.ne[2]
    if not build.layout.v_transposed:
        rows = ops.view(v, (n, n_tokens), (v.nb[2],))
        if cache.ne[2] > 1:
            cache = ops.reshape(cache, n, cache.ne[1] * cache.ne[2])
        return ops.set_rows(cache, rows, inp.v_idxs)
    if row_bytes(v.type_name, n) == v.nb[2]:
        rows = ops.reshape(v, n, n_tokens)
    else:
        rows = ops.cont(v, n, n_tokens)
    if n < cache.ne[0]:
        rows = ops.pad(rows, cache.ne[0] - n)
    flat = ops.reshape(cache, 1, cache.n_elements)
    return ops.set_rows(flat, ops.reshape(rows, 1, rows.n_elements), inp.v_idxs)


def k_view(
    build: Build, cache: GraphTensor, head: int, n_head: int, n_kv: int
) -> GraphTensor:
    """get_k, llama-kv-cache.cpp:1296: [head, heads, cells, streams]."""
    kind, ns = cache.type_name, n_streams(build)
    cell = row_bytes(kind, cache.ne[0])
    nb = (row_bytes(kind, head), cell, cell * cache.ne[1])
    return ops.view(cache, (head, n_head, n_kv, ns), nb)


def v_view(
    build: Build, cache: GraphTensor, head: int, n_head: int, n_kv: int
) -> GraphTensor:
    """get_v, llama-kv-cache.cpp:1316: transposed where attention is not fused."""
    kind, ns = cache.type_name, n_streams(build)
    if not build.layout.v_transposed:
        return k_view(build, cache, head, n_head, n_kv)
    size = cache.ne[1]
    nb = (
        row_bytes(kind, size * head),
        row_bytes(kind, size),
        row_bytes(kind, size * cache.ne[0]),
    )
    return ops.view(cache, (n_kv, n_head, head, ns), nb)


def mha(
    build: Build,
    q: GraphTensor,
    kv: tuple[GraphTensor, GraphTensor],
    mask: Maybe,
    *,
    il: int,
    sinks: Maybe = None,
    v_mla: Maybe = None,
    bias: Maybe = None,
) -> GraphTensor:
    """build_attn_mha, llama-graph.cpp:2691: [heads of values, tokens]."""
    k, v = kv
    is_transposed = v.nb[1] > v.nb[2]
    ns = k.ne[3]
    per = q.ne[2] // ns
    q = ops.view(q, (q.ne[0], q.ne[1], per, ns), (q.nb[1], q.nb[2], q.nb[2] * per))
    q, k, v = (ops.permute(x, 0, 2, 1, 3) for x in (q, k, v))
    if build.layout.flash_attn and bias is None:
        x = _fused(q, ops.transpose(v) if is_transposed else v, k, mask, sinks)
        build.add_fused("flash_attn", x, il)
        x = _merged(x, v_mla)
    else:
        x = _in_steps(
            build,
            (q, k, v),
            (mask, sinks, v_mla, bias),
            is_transposed=is_transposed,
        )
    build.graph.expand(x)
    return x


def _fused(
    q: GraphTensor, v: GraphTensor, k: GraphTensor, mask: Maybe, sinks: Maybe
) -> GraphTensor:
    k = ops.cast(k, "F16") if k.type_name == "F32" else k
    v = ops.cast(v, "F16") if v.type_name == "F32" else v
    return ops.flash_attn_ext(q, k, v, mask, sinks)


def _merged(x: GraphTensor, v_mla: Maybe) -> GraphTensor:
    """Heads side by side; latent values made into values first."""
    if v_mla is not None:
        x = ops.mul_mat(v_mla, ops.permute(x, 0, 2, 1, 3))
        x = ops.cont(ops.permute(x, 0, 2, 1, 3))
    return ops.reshape(x, x.ne[0] * x.ne[1], x.ne[2] * x.ne[3])


def _in_steps(
    build: Build,
    qkv: tuple[GraphTensor, GraphTensor, GraphTensor],
    extra: tuple[Maybe, Maybe, Maybe, Maybe],
    *,
    is_transposed: bool,
) -> GraphTensor:
    q, k, v = qkv
    mask, sinks, v_mla, bias = extra
    kq = _capped(build, ops.mul_mat(k, q))
    if bias is not None:
        kq = ops.add(kq, bias)
    kq = ops.soft_max_ext(kq, mask, sinks)
    if not is_transposed:
        v = ops.cont(ops.transpose(v))
    x = ops.mul_mat(v, kq)
    if v_mla is not None:
        x = ops.mul_mat(v_mla, x)
    x = ops.permute(x, 0, 2, 1, 3)
    x = ops.cont(x, x.ne[0] * x.ne[1], x.ne[2] * x.ne[3])
    if not build.workload.kv_offload and build.is_held:
        x.forced = build.layout.cpu
    return x


def _capped(build: Build, kq: GraphTensor) -> GraphTensor:
    """Scores squeezed by a tanh, in the architectures that do."""
    if build.arch == "grok":
        kq = ops.scale(ops.unary("TANH", ops.scale(kq)))
    if build.arch == "gemma2":
        kq = ops.scale(ops.unary("TANH", ops.scale(kq)))
    return kq
