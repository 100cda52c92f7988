"""Lightning attention, a linear kind, with attention every few layers: MiniMax-01.

Mirrors src/models/minimax-01.cpp of llama.cpp build 11434.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.attention import AttentionInput, Heads, attend
from placer.graph.build import SOFTMAX
from placer.graph.experts import experts
from placer.graph.mla import latent_input
from placer.graph.recipe import Recipe, routing
from placer.graph.recurrent import (
    StateInput,
    read_state,
    state_input,
    state_rows,
    write_state,
)
from placer.graph.standard import qkv

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.graph.build import Build
    from placer.graph.graph import Graph
    from placer.graph.tensor import GraphTensor

RECIPE = Recipe(gating=SOFTMAX, norm_experts=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decays:
    """How fast each head forgets: llm_graph_input_la, minimax-01.cpp:67."""

    slopes: GraphTensor
    q: GraphTensor
    k: GraphTensor
    diagonal: GraphTensor


def minimax_01(build: Build) -> Graph:
    """minimax-01.cpp:192."""
    x = build.embedded()
    states, inp = state_input(build), latent_input(build)
    pos, out_ids = build.positions(), build.out_ids()
    decays = _decays(build)
    for il in build.layers:
        y = x = build.layer_norm(x, il, "attn_norm")
        if build.shape.layers[il].recurrent_elements:
            y = _linear(build, states, decays, y, il)
        else:
            y = _full(build, y, inp, pos, il)
        if il == build.n_layer - 1:
            y, x = ops.get_rows(y, out_ids), ops.get_rows(x, out_ids)
        x = build.layer_norm(ops.add(y, ops.scale(x)), il, "ffn_norm")
        y = experts(build, x, il, routing(build, RECIPE))
        x = ops.add(y, ops.scale(x))
    return build.logits(build.norm(x, build.weight("output_norm.weight"), None, -1))


def _decays(build: Build) -> Decays:
    n_head = build.shape.layers[0].n_head
    n_t, n_s = build.n_tokens // build.n_seqs, build.n_seqs
    return Decays(
        slopes=build.input("F32", n_head, name="slopes"),
        q=build.input("F32", 1, n_head, n_t, n_s, name="q_decay_exp"),
        k=build.input("F32", 1, n_head, n_t, n_s, name="k_decay_exp"),
        diagonal=build.input("F32", n_t, n_t, n_head, n_s, name="diag_decay_exp"),
    )


def _full(
    build: Build, x: GraphTensor, inp: AttentionInput, pos: GraphTensor, il: int
) -> GraphTensor:
    heads = qkv(build, x, il)
    if heads.k is None:
        raise ValueError(heads)
    heads = Heads(q=ops.rope(heads.q, pos), k=ops.rope(heads.k, pos), v=heads.v)
    return attend(build, heads, inp, il)


def _linear(
    build: Build, inp: StateInput, decays: Decays, x: GraphTensor, il: int
) -> GraphTensor:
    """A layer of lightning attention: minimax-01.cpp:278."""
    n_t, n_s = build.n_tokens // build.n_seqs, build.n_seqs
    layer = build.shape.layers[il]
    head, n_head, rows = layer.head_dim_v, layer.n_head, state_rows(build)
    # The engine reads a state of convolutions that has no elements.
    read_state(build, inp, build.stored(il, "F32", 0, rows, name="cache_r"), 0)
    rate = ops.scale(decays.slopes)
    x = ops.reshape(x, x.ne[0], n_t, 1, n_s)
    both = ops.unary("SILU", ops.mul_mat(build.must(il, "attn_qkv.weight"), x))
    both = ops.reshape(both, 3 * head, n_head, n_t, n_s)
    q, k, v = (ops.view(both, (head, n_head, n_t, n_s), both.nb[1:]) for _ in "qkv")
    size = head * head * n_head
    states = build.stored(il, "F32", size, rows, name="cache_s")
    old = read_state(build, inp, states, size)
    old = ops.reshape(old, head, head, n_head, n_s)
    v = ops.cont(ops.permute(v, 1, 2, 0, 3))
    y = _outputs(build, decays, (q, k, v), old)
    write_state(build, _new_state(decays, rate, (k, v), old), states, size * n_s)
    y = ops.cont(ops.permute(y, 0, 2, 1, 3))
    y = ops.reshape(y, y.ne[0] * y.ne[1], y.ne[2], 1, y.ne[3])
    y = build.layer_norm(y, il, "attn_norm_2")
    gate = ops.unary("SIGMOID", ops.mul_mat(build.must(il, "attn_gate.weight"), x))
    y = ops.mul_mat(build.must(il, "attn_output.weight"), ops.mul(gate, y))
    return ops.reshape(y, y.ne[0], n_t * n_s)


def _outputs(
    build: Build,
    decays: Decays,
    qkv: tuple[GraphTensor, GraphTensor, GraphTensor],
    old: GraphTensor,
) -> GraphTensor:
    """What the state and the batch itself give: [head, tokens, heads, sequences]."""
    q, k, v = qkv
    faded = ops.mul(q, ops.unary("EXP", ops.scale(decays.q)))
    before = ops.mul_mat(old, ops.permute(faded, 0, 2, 1, 3))
    qk = ops.mul_mat(ops.permute(k, 0, 2, 1, 3), ops.permute(q, 0, 2, 1, 3))
    qk = ops.mul(qk, ops.unary("EXP", ops.scale(decays.diagonal)))
    y = ops.add(before, ops.mul_mat(v, qk))
    build.graph.expand(y)
    return y


def _new_state(
    decays: Decays,
    rate: GraphTensor,
    kv: tuple[GraphTensor, GraphTensor],
    old: GraphTensor,
) -> GraphTensor:
    k, v = kv
    fade = ops.unary("EXP", ops.scale(rate))
    fade = ops.reshape(fade, 1, 1, fade.ne[0])
    k = ops.mul(k, ops.unary("EXP", ops.scale(decays.k)))
    k = ops.cont(ops.permute(k, 1, 2, 0, 3))
    return ops.add(ops.mul(old, fade), ops.mul_mat(k, v))


GRAPHS: dict[str, Callable[[Build], Graph]] = {"minimax-01": minimax_01}
