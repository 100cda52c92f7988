"""The graph in which a NextN layer drafts, in a context of its own.

Mirrors graph_mtp of src/models/*.cpp of llama.cpp build 11434.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.attention import attention_input
from placer.graph.build import UnknownGraphError
from placer.graph.delta_net import gated_attention, gated_feed_forward
from placer.graph.mla import RECIPE as LATENT
from placer.graph.mla import latent_attention, latent_input
from placer.graph.recipe import feed_forward
from placer.graph.recipes import RECIPES
from placer.graph.standard import Inputs, one_by_one

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.graph.build import Build
    from placer.graph.graph import Graph
    from placer.graph.tensor import GraphTensor

# From [n_embd, tokens] to the same, and whether rows without logits are left.
Block = tuple["GraphTensor", bool]


def nextn_graph(build: Build) -> Graph:
    """A token and the model's last state, one layer, logits.

    Raises:
        UnknownGraphError: placer has no such graph of the architecture.
    """
    il = build.n_layer
    block = BLOCKS.get(build.arch)
    if block is None or build.shape.n_layer_nextn != 1:
        raise UnknownGraphError(f"placer has no NextN graph of {build.arch}")
    own = build.of_layer(il, "nextn.embed_tokens.weight")
    table = build.weight("token_embd.weight") if own is None else own
    if table is None:
        raise UnknownGraphError(f"{build.arch} without token_embd.weight")
    tokens = build.input("I32", build.n_tokens, name="inp_tokens")
    token = ops.get_rows(table, tokens)
    state = build.input("F32", build.n_embd, build.n_tokens, name="mtp_h_input")
    pos, out_ids = build.positions(POSITIONS.get(build.arch, 1)), build.out_ids()
    state = build.layer_norm(state, il, "nextn.hnorm")
    token = build.layer_norm(token, il, "nextn.enorm")
    both = ops.concat(token, state, 0)
    scale = build.of_layer(il, "nextn.eh_proj.scale")
    x = build.mm(build.must(il, "nextn.eh_proj.weight"), both, scale)
    x, all_rows = block(build, x, pos, out_ids, il)
    norm = build.of_layer(il, "nextn.shared_head_norm.weight")
    x = build.norm(
        x, build.weight("output_norm.weight") if norm is None else norm, None, -1
    )
    x = ops.get_rows(x, out_ids) if all_rows else x
    head = build.of_layer(il, "nextn.shared_head_head.weight")
    build.graph.expand(build.mm(build.output_matrix() if head is None else head, x))
    return build.graph


def _standard(
    build: Build, x: GraphTensor, pos: GraphTensor, out_ids: GraphTensor, il: int
) -> Block:
    """glm4-moe.cpp:132, hy-v3.cpp:239: a layer as the others."""
    inputs = Inputs(
        pos=pos,
        full=attention_input(build, build.layout.cells[il]),
        window=None,
        out_ids=out_ids,
        attn_scale=None,
    )
    return one_by_one(build, x, inputs, il, RECIPES[build.arch], None), True


def _gated(
    build: Build, x: GraphTensor, pos: GraphTensor, out_ids: GraphTensor, il: int
) -> Block:
    """qwen35moe.cpp:551 and qwen3next.cpp:628; the latter drops rows at once."""
    inp = attention_input(build, build.layout.cells[il])
    y = build.layer_norm(x, il, "attn_norm")
    y = gated_attention(build, y, pos, inp, il)
    is_early = build.arch == "qwen3next"
    if is_early:
        y, x = ops.get_rows(y, out_ids), ops.get_rows(x, out_ids)
    x = ops.add(y, x)
    y = build.layer_norm(x, il, "post_attention_norm")
    return ops.add(gated_feed_forward(build, y, il), x), not is_early


def _latent(
    build: Build, x: GraphTensor, pos: GraphTensor, out_ids: GraphTensor, il: int
) -> Block:
    """deepseek2.cpp:170, deepseek32.cpp:495, glm-dsa.cpp:539: without an index."""
    del out_ids
    inp = latent_input(build, il)
    y = build.layer_norm(x, il, "attn_norm")
    y = latent_attention(build, y, inp, (pos, None), il)
    x = ops.add(y, x)
    y = build.layer_norm(x, il, "ffn_norm")
    return ops.add(feed_forward(build, y, il, LATENT), x), True


BLOCKS: dict[
    str, Callable[[Build, GraphTensor, GraphTensor, GraphTensor, int], Block]
] = {
    "deepseek2": _latent,
    "deepseek32": _latent,
    "glm-dsa": _latent,
    "glm4moe": _standard,
    "hy_v3": _standard,
    "qwen35": _gated,
    "qwen35moe": _gated,
    "qwen3next": _gated,
}
# Numbers a token, for rotations in sections.
POSITIONS = {"qwen35": 4, "qwen35moe": 4}
