"""Hyper-connections over latent attention: Hunyuan 4.

The residual stream is several streams side by side; each block reads a mixture of them
and writes to all. Mirrors src/models/hy-v4.cpp of llama.cpp build 11434.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.mla import (
    RECIPE,
    absorbed,
    attend_latent,
    latent,
    latent_input,
    latent_shape,
    logits,
    queries,
    query_parts,
    short_queries,
)
from placer.graph.recipe import feed_forward
from placer.graph.sparse import (
    SparseInput,
    best_cells,
    sparse_attention,
    sparse_input,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.graph.attention import AttentionInput
    from placer.graph.build import Build
    from placer.graph.graph import Graph
    from placer.graph.tensor import GraphTensor


def n_streams(build: Build) -> int:
    """Residual streams side by side."""
    return build.hparams.integer("hyper_connection.count", 1)


def spread(build: Build, x: GraphTensor) -> GraphTensor:
    """The embedding as every stream: [n_embd, streams, tokens]."""
    n = build.n_tokens
    x = ops.reshape(x, build.n_embd, 1, n)
    return ops.repeat(x, build.n_embd, n_streams(build), n, 1)


def picked_rows(build: Build, x: GraphTensor, out_ids: GraphTensor) -> GraphTensor:
    """The rows that get logits, of every stream."""
    hc, n_embd = n_streams(build), build.n_embd
    flat = ops.get_rows(ops.reshape(x, n_embd * hc, build.n_tokens), out_ids)
    return ops.reshape(flat, n_embd, hc, build.n_outputs)


def mixes_of(build: Build, x: GraphTensor, weight: GraphTensor, hc: int) -> GraphTensor:
    """What says how streams mix, of all of them normalised together."""
    flat = ops.reshape(x, hc * build.n_embd, x.ne[2])
    return ops.mul_mat(weight, ops.same("RMS_NORM", flat))


def part_of_mixes(
    mixes: GraphTensor, scale: GraphTensor, base: GraphTensor, n: int
) -> GraphTensor:
    """A part of the mixes, scaled, moved and squeezed."""
    part = ops.view(mixes, (n, mixes.ne[1]), (mixes.nb[1],))
    part = ops.mul(part, ops.view(scale, (1,)))
    return ops.unary("SIGMOID", ops.add(part, ops.view(base, (n,))))


def weighed(x: GraphTensor, weights: GraphTensor) -> GraphTensor:
    """The streams summed, each by its weight: [n_embd, tokens]."""
    n_embd, hc, n = x.ne[:3]
    total: GraphTensor | None = None
    for _ in range(hc):
        part = ops.view(x, (n_embd, n), (x.nb[2],))
        part = ops.mul(part, ops.view(weights, (1, n), (weights.nb[1],)))
        total = part if total is None else ops.add(total, part)
    if total is None:
        raise ValueError(x)
    return total


def _read(
    build: Build, x: GraphTensor, il: int, name: str
) -> tuple[GraphTensor, GraphTensor]:
    """build_hc_pre, hy-v4.cpp:175: a block's input, and weights for its result."""
    hc = n_streams(build)
    mixes = mixes_of(build, x, build.must(il, f"hc_{name}_fn.weight"), hc)
    scale = build.must(il, f"hc_{name}_scale.weight")
    base = build.must(il, f"hc_{name}_base.weight")
    pre = ops.scale(part_of_mixes(mixes, scale, base, hc))
    post = ops.scale(ops.scale(part_of_mixes(mixes, scale, base, hc)))
    return _reduced(x, pre), post


def _reduced(x: GraphTensor, weights: GraphTensor) -> GraphTensor:
    """hy_v4_hc_reduce, hy-v4.cpp:163: summed in f32."""
    return ops.cast(weighed(ops.cast(x, "F32"), weights), x.type_name)


def _written(x: GraphTensor, streams: GraphTensor, weights: GraphTensor) -> GraphTensor:
    """build_hc_post, hy-v4.cpp:217: a block's result on top of every stream."""
    n_embd, hc, n = streams.ne[:3]
    x, weights = ops.cast(x, "F32"), ops.cast(weights, "F32")
    before = ops.cast(streams, "F32")
    made: GraphTensor | None = None
    for _ in range(hc):
        old = ops.view(before, (n_embd, n), (before.nb[2],))
        weight = ops.view(weights, (1, n), (weights.nb[1],))
        new = ops.reshape(ops.add(old, ops.mul(x, weight)), n_embd, 1, n)
        made = new if made is None else ops.concat(made, new, 1)
    if made is None:
        raise ValueError(streams)
    return ops.cast(made, streams.type_name)


def hy_v4(build: Build) -> Graph:
    """src/models/hy-v4.cpp:497."""
    x = build.embedded()
    pos = build.positions()
    is_sparse = build.hparams.integer("attention.indexer.top_k", 0) > 0
    inp = sparse_input(build) if is_sparse else latent_input(build)
    out_ids = build.out_ids()
    x = spread(build, x)
    best: GraphTensor | None = None
    for il in build.layers:
        y, post = _read(build, x, il, "attn")
        y = build.layer_norm(y, il, "attn_norm")
        y, best = _attention(build, y, inp, (pos, best), il)
        x = _written(y, x, post)
        y, post = _read(build, x, il, "ffn")
        y = feed_forward(build, build.layer_norm(y, il, "ffn_norm"), il, RECIPE)
        x = _written(y, x, post)
    x = _head(build, picked_rows(build, x, out_ids))
    return logits(build, build.norm(x, build.weight("output_norm.weight"), None, -1))


def _attention(
    build: Build,
    x: GraphTensor,
    inp: SparseInput | AttentionInput,
    given: tuple[GraphTensor, GraphTensor | None],
    il: int,
) -> tuple[GraphTensor, GraphTensor | None]:
    """Gated; over the best cells, found anew where the layer has an index."""
    pos, best = given
    if isinstance(inp, SparseInput):
        short = short_queries(build, x, il)
        if best is None or build.shape.layers[il].index_k:
            best = best_cells(build, x, short, inp, pos, il)
        y = sparse_attention(build, (x, short, best), inp, pos, il, name="")
    else:
        s = latent_shape(build, il)
        still, turning = query_parts(build, queries(build, x, il), s)
        kv, pe = latent(build, x, il, s)
        parts = (still, ops.rope(turning, pos))
        heads = absorbed(build, parts, kv, ops.rope(pe, pos), il)
        sinks = build.of_layer(il, "attn_sinks.weight")
        y = attend_latent(build, heads, inp, il, name="", sinks=sinks)
    gate = ops.mul_mat(build.must(il, "attn_gate.weight"), x)
    y = ops.mul(y, ops.unary("SIGMOID", gate))
    return ops.mul_mat(build.must(il, "attn_output.weight"), y), best


def _head(build: Build, x: GraphTensor) -> GraphTensor:
    """build_hc_head, hy-v4.cpp:248: the streams as one."""
    hc = n_streams(build)
    fn, scale, base = (
        build.weight(f"output_hc_{name}.weight") for name in ("fn", "scale", "base")
    )
    if fn is None or scale is None or base is None:
        raise ValueError(build.arch)
    mixes = ops.add(ops.mul(mixes_of(build, x, fn, hc), scale), base)
    return _reduced(x, ops.scale(ops.unary("SIGMOID", mixes)))


GRAPHS: dict[str, Callable[[Build], Graph]] = {"hy_v4": hy_v4}
