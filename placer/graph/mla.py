"""Attention over a latent: DeepSeek V2 and V3, GLM-4.7-Flash, MiniCPM3, PLM.

Keys and values of all heads are made of one short vector a token. Files that hold
``attn_k_b`` and ``attn_v_b`` attend to that vector itself; older ones make keys and
values of it first. Sources are files of llama.cpp build 11434.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.attention import (
    AttentionInput,
    Heads,
    attend,
    attention_input,
    k_view,
    mha,
    output,
    stored_k,
)
from placer.graph.experts import ffn
from placer.graph.recipe import Recipe, feed_forward

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.graph.build import Build
    from placer.graph.graph import Graph
    from placer.graph.tensor import GraphTensor

# Gating and normalisation of experts are the file's word in all of them.
RECIPE = Recipe(gating=None, norm_experts=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentShape:
    """Sizes of latent attention, elements.

    Attributes:
        n_head: query heads.
        head_k: of a key as one head sees it.
        head_v: of a value likewise.
        n_rope: the part of a key that rotates and that all heads share.
        rank: of the latent.
    """

    n_head: int
    head_k: int
    head_v: int
    n_rope: int
    rank: int

    @property
    def n_nope(self) -> int:
        """The part of a key that does not rotate."""
        return self.head_k - self.n_rope


def latent_shape(build: Build, il: int) -> LatentShape:
    """n_embd_head_k_mla and its like, llama-hparams.cpp."""
    hparams, layer = build.hparams, build.shape.layers[il]
    head_k, head_v = layer.head_dim_k, layer.head_dim_v
    if build.shape.is_mla:
        head_k = hparams.integer("attention.key_length_mla", head_k)
        head_v = hparams.integer("attention.value_length_mla", head_v)
    return LatentShape(
        n_head=layer.n_head,
        head_k=head_k,
        head_v=head_v,
        n_rope=hparams.integer("rope.dimension_count", head_k),
        rank=hparams.integer("attention.kv_lora_rank", 0),
    )


def latent_input(build: Build, nextn: int | None = None) -> AttentionInput:
    """build_attn_inp_k or build_attn_inp_kv, llama-graph.cpp:3048 and :2920.

    Args:
        build: the graph.
        nextn: the only layer of the cache, where it is a NextN layer's.
    """
    cells = build.layout.cells
    if nextn is None:
        layers = zip(cells, build.shape.layers, strict=True)
        n_kv = max(n for n, layer in layers if layer.has_kv and not layer.is_swa)
    else:
        n_kv = cells[nextn]
    is_mla = build.shape.is_mla
    return attention_input(build, n_kv, values=not is_mla, rotated=not is_mla)


def queries(build: Build, x: GraphTensor, il: int) -> GraphTensor:
    """Queries of all heads, by way of a short vector where the file has it."""
    whole = build.of_layer(il, "attn_q.weight")
    if whole is not None:
        return ops.mul_mat(whole, x)
    return ops.mul_mat(build.must(il, "attn_q_b.weight"), short_queries(build, x, il))


def short_queries(build: Build, x: GraphTensor, il: int) -> GraphTensor:
    """The vector that queries are made of, normalised."""
    q = ops.mul_mat(build.must(il, "attn_q_a.weight"), x)
    return build.layer_norm(q, il, "attn_q_a_norm")


def latent(
    build: Build, x: GraphTensor, il: int, s: LatentShape
) -> tuple[GraphTensor, GraphTensor]:
    """The latent, normalised, and the shared part of the keys, not yet rotated."""
    both = ops.mul_mat(build.must(il, "attn_kv_a_mqa.weight"), x)
    row = both.nb[1]
    kv = ops.view(both, (s.rank, build.n_tokens), (row,))
    pe = ops.view(both, (s.n_rope, 1, build.n_tokens), (row, row))
    return build.layer_norm(kv, il, "attn_kv_a_norm"), pe


def query_parts(
    build: Build, q: GraphTensor, s: LatentShape
) -> tuple[GraphTensor, GraphTensor]:
    """The still and the rotating part of each head's query."""
    nb = (4 * s.head_k, 4 * s.head_k * s.n_head)
    n = build.n_tokens
    return (
        ops.view(q, (s.n_nope, s.n_head, n), nb),
        ops.view(q, (s.n_rope, s.n_head, n), nb),
    )


def absorbed(
    build: Build,
    parts: tuple[GraphTensor, GraphTensor],
    kv: GraphTensor,
    k_pe: GraphTensor,
    il: int,
) -> Heads:
    """Queries against the latent itself: one head of keys, values a part of it."""
    still, q_pe = parts
    q = ops.mul_mat(build.must(il, "attn_k_b.weight"), ops.permute(still, 0, 2, 1, 3))
    q = ops.concat(ops.permute(q, 0, 2, 1, 3), q_pe, 0)
    v = ops.reshape(kv, kv.ne[0], 1, build.n_tokens)
    return Heads(q=q, k=ops.concat(v, k_pe, 0), v=v)


def unfolded(
    build: Build, kv: GraphTensor, k_pe: GraphTensor, il: int, s: LatentShape
) -> tuple[GraphTensor, GraphTensor]:
    """Keys and values of every head, made of the latent.

    The shared part of the keys comes last, but first in Kimi's: kimi-linear.cpp:476.
    """
    n = build.n_tokens
    made = ops.mul_mat(build.must(il, "attn_kv_b.weight"), kv)
    head = 4 * (s.n_nope + s.head_v)
    nb = (head, head * s.n_head)
    still = ops.view(made, (s.n_nope, s.n_head, n), nb)
    v = ops.cont(ops.view(made, (s.head_v, s.n_head, n), nb))
    shared = ops.repeat(k_pe, s.n_rope, s.n_head, n, 1)
    parts = (shared, still) if build.arch.startswith("kimi") else (still, shared)
    return ops.concat(*parts, 0), v


def attend_latent(
    build: Build,
    heads: Heads,
    inp: AttentionInput,
    il: int,
    *,
    name: str = "attn_output",
    sinks: GraphTensor | None = None,
    mask: GraphTensor | None = None,
) -> GraphTensor:
    """build_attn over a cache of latents, llama-graph.cpp:3056 and :3114.

    Args:
        build: the graph.
        heads: of ``absorbed``.
        inp: what the host fills in.
        il: the layer.
        name: of the output projection; ``""`` for none.
        sinks: one logit a head that takes attention away.
        mask: where it is not the input's own.
    """
    q, k, v = heads.q, heads.k, heads.v
    if k is None or v is None:
        raise ValueError(heads)
    for x in (q, v, k):
        build.graph.expand(x)
    work, head = build.workload, k.ne[0]
    kind = work.type_k.upper()
    cache = build.stored(il, kind, head, inp.n_kv, work.n_stream, name="cache_k")
    build.graph.expand(stored_k(cache, k, inp))
    found = inp.mask if mask is None else mask
    seen = k_view(build, cache, head, 1, inp.n_kv)
    values = ops.view(seen, (v.ne[0], *seen.ne[1:]), seen.nb[1:])
    v_mla = build.must(il, "attn_v_b.weight")
    y = mha(build, q, (seen, values), found, il=il, sinks=sinks, v_mla=v_mla)
    return output(build, il, name, y) if name else y


def logits(build: Build, x: GraphTensor) -> Graph:
    """The output projection, without the scale of the others."""
    build.graph.expand(ops.mul_mat(build.output_matrix(), x))
    return build.graph


def deepseek2(build: Build) -> Graph:
    """src/models/deepseek2.cpp:418."""
    x = build.embedded()
    scale = None
    if build.hparams.number("attention.temperature_scale", 0.0):
        scale = build.input("F32", 1, 1, build.n_tokens, name="attn_scale")
    pos, inp, out_ids = build.positions(), latent_input(build), build.out_ids()
    for il in build.layers:
        y = build.layer_norm(x, il, "attn_norm")
        y = latent_attention(build, y, inp, (pos, scale), il)
        if il == build.n_layer - 1:
            y, x = ops.get_rows(y, out_ids), ops.get_rows(x, out_ids)
        x = ops.add(y, x)
        y = build.layer_norm(x, il, "ffn_norm")
        x = ops.add(feed_forward(build, y, il, RECIPE), x)
    return logits(build, build.norm(x, build.weight("output_norm.weight"), None, -1))


def latent_attention(
    build: Build,
    x: GraphTensor,
    inp: AttentionInput,
    inputs: tuple[GraphTensor, GraphTensor | None],
    il: int,
) -> GraphTensor:
    """Of deepseek2, over the latent or over what is made of it."""
    pos, scale = inputs
    s = latent_shape(build, il)
    q = ops.reshape(queries(build, x, il), s.head_k, s.n_head, build.n_tokens)
    kv, pe = latent(build, x, il, s)
    pe = ops.rope(pe, pos)
    if build.shape.is_mla:
        still, turning = query_parts(build, q, s)
        heads = absorbed(build, (still, ops.rope(turning, pos)), kv, pe, il)
    else:
        k, v = unfolded(build, kv, pe, il, s)
        heads = Heads(q=ops.rope(q, pos), k=k, v=v)
    if scale is not None:
        heads = Heads(q=ops.mul(heads.q, scale), k=heads.k, v=heads.v)
    if build.shape.is_mla:
        return attend_latent(build, heads, inp, il)
    return attend(build, heads, inp, il)


def minicpm3(build: Build) -> Graph:
    """src/models/minicpm3.cpp:63: residuals and logits scaled."""
    x = ops.scale(build.embedded())
    pos, inp, out_ids = build.positions(), latent_input(build), build.out_ids()
    for il in build.layers:
        y = build.layer_norm(x, il, "attn_norm")
        y = _short_attention(build, y, inp, pos, il)
        if il == build.n_layer - 1:
            y, x = ops.get_rows(y, out_ids), ops.get_rows(x, out_ids)
        x = ops.add(ops.scale(y), x)
        y = ffn(build, build.layer_norm(x, il, "ffn_norm"), il)
        x = ops.add(ops.scale(y), x)
    x = build.norm(x, build.weight("output_norm.weight"), None, -1)
    return build.logits(ops.scale(x))


def plm(build: Build) -> Graph:
    """src/models/plm.cpp:48: a feed-forward without a gate."""
    x = build.embedded()
    pos, inp, out_ids = build.positions(), latent_input(build), build.out_ids()
    for il in build.layers:
        y = build.layer_norm(x, il, "attn_norm")
        y = _short_attention(build, y, inp, pos, il)
        if il == build.n_layer - 1:
            y, x = ops.get_rows(y, out_ids), ops.get_rows(x, out_ids)
        x = ops.add(y, x)
        y = build.layer_norm(x, il, "ffn_norm")
        y = ffn(build, y, il, activation="relu_sqr", parallel=False)
        x = ops.add(y, x)
    return build.logits(build.norm(x, build.weight("output_norm.weight"), None, -1))


def _short_attention(
    build: Build, x: GraphTensor, inp: AttentionInput, pos: GraphTensor, il: int
) -> GraphTensor:
    """Of MiniCPM3 and PLM: keys and values of every head are cached."""
    s = latent_shape(build, il)
    factors = build.rope_factors(il) if build.arch == "minicpm3" else None
    q = ops.reshape(queries(build, x, il), s.head_k, s.n_head, build.n_tokens)
    kv, pe = latent(build, x, il, s)
    k, v = unfolded(build, kv, ops.rope(pe, pos, factors), il, s)
    heads = Heads(q=ops.rope(q, pos, factors), k=k, v=v)
    return attend(build, heads, inp, il)


GRAPHS: dict[str, Callable[[Build], Graph]] = {
    "deepseek2": deepseek2,
    "minicpm3": minicpm3,
    "mistral4": deepseek2,
    "plm": plm,
}
