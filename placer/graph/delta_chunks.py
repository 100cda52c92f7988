"""A gated delta net over chunks of tokens, where no device can do it in one node.

Mirrors build_delta_net_chunking, src/models/delta-net-base.cpp:16 of llama.cpp build
11434.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.graph import ops

if TYPE_CHECKING:
    from placer.graph.tensor import GraphTensor

# Tokens of a chunk: with one decay a head, and with one an element.
CHUNK, CHUNK_BY_ELEMENT = 64, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunked:
    """Operands cut into chunks: [elements, chunk, chunks, heads x sequences]."""

    q: GraphTensor
    k: GraphTensor
    k_b: GraphTensor
    v_b: GraphTensor
    decay: GraphTensor  # summed over the chunk: [chunk, elements, chunks, ...]
    chunk: int


def chunked(parts: tuple[GraphTensor, ...]) -> tuple[GraphTensor, GraphTensor]:
    """Outputs [head, heads, tokens, sequences] and the new states."""
    q, _, v, gate, _, state = parts
    head, n_head, n_t, n_s = v.ne
    by_element = gate.ne[0] == q.ne[0] and gate.ne[1] == q.ne[1]
    cut = _cut(parts, CHUNK_BY_ELEMENT if by_element else CHUNK)
    kb, kq = _scores_by_element(cut) if by_element else _scores(cut)
    kq = ops.same("TRI", kq)
    attn = _solved(ops.same("TRI", kb), cut.chunk)
    v = ops.mul_mat(ops.cont(ops.transpose(cut.v_b)), attn)
    y, state = _recurrence(
        cut, kq, attn, v, ops.reshape(state, head, head, 1, n_head * n_s)
    )
    per = cut.chunk * cut.q.ne[2]
    nb = (4 * head, 4 * head * per, 4 * head * per * n_head)
    y = ops.permute(ops.view(y, (head, n_t, n_head, n_s), nb), 0, 2, 1, 3)
    return y, ops.reshape(state, head, head, n_head, n_s)


def _cut(parts: tuple[GraphTensor, ...], chunk: int) -> _Chunked:
    q, k, v, gate, beta, _ = parts
    n_t, n_s = q.ne[2], q.ne[3]
    n_k, n_v, head = q.ne[1], v.ne[1], q.ne[0]
    more = -n_t % chunk
    n_chunks = (n_t + more) // chunk
    q, k, v, gate, beta = (
        ops.pad(ops.permute(x, 0, 2, 1, 3), 0, more)
        for x in (ops.scale(q), k, v, gate, beta)
    )
    v_b, k_b = ops.mul(v, beta), ops.mul(k, beta)
    heads = n_v * n_s
    gate = ops.reshape(gate, gate.ne[0], chunk, n_chunks, heads)
    return _Chunked(
        q=ops.reshape(q, head, chunk, n_chunks, n_k * n_s),
        k=ops.reshape(k, head, chunk, n_chunks, n_k * n_s),
        k_b=ops.reshape(k_b, head, chunk, n_chunks, heads),
        v_b=ops.reshape(v_b, v.ne[0], chunk, n_chunks, heads),
        decay=ops.same("CUMSUM", ops.cont(ops.transpose(gate))),
        chunk=chunk,
    )


def _scores(cut: _Chunked) -> tuple[GraphTensor, GraphTensor]:
    """Keys against keys and queries, one decay a head."""
    n_chunks, heads = cut.k_b.ne[2], cut.k_b.ne[3]
    j = ops.reshape(cut.decay, 1, cut.chunk, n_chunks, heads)
    j = ops.repeat(j, cut.chunk, cut.chunk, n_chunks, heads)
    mask = ops.unary("EXP", ops.same("TRI", ops.sub(j, cut.decay)))
    kb = ops.mul(ops.mul_mat(cut.k, cut.k_b), mask)
    return kb, ops.mul(ops.mul_mat(cut.k, cut.q), mask)


def _scores_by_element(cut: _Chunked) -> tuple[GraphTensor, GraphTensor]:
    """The same with a decay for each element, as in Kimi's delta attention."""
    c, head = cut.chunk, cut.q.ne[0]
    n_chunks, heads = cut.k_b.ne[2], cut.k_b.ne[3]
    every = n_chunks * heads
    i = ops.reshape(cut.decay, c, 1, head, every)
    j = ops.repeat(ops.reshape(cut.decay, 1, c, head, every), c, c, head, every)
    mask = ops.unary("EXP", ops.same("TRI", ops.sub(j, i)))
    mask = ops.cont(ops.permute(mask, 2, 1, 0, 3), head, c, c, every)
    k_j = ops.reshape(cut.k, head, 1, c, every)
    scores = []
    for x in (cut.k_b, cut.q):
        decayed = ops.mul(mask, ops.reshape(x, head, c, 1, every))
        y = ops.reshape(ops.mul_mat(decayed, k_j), c, c, n_chunks, heads)
        scores.append(ops.cont(ops.transpose(y)))
    return scores[0], scores[1]


def _solved(attn: GraphTensor, chunk: int) -> GraphTensor:
    identity = ops.diag(ops.same("FILL", ops.view(attn, (chunk,))))
    left = ops.add(attn, identity)
    solved = ops.solve_tri(left, ops.unary("NEG", attn))
    return ops.add(solved, identity)


def _recurrence(
    cut: _Chunked,
    kq: GraphTensor,
    attn: GraphTensor,
    v: GraphTensor,
    state: GraphTensor,
) -> tuple[GraphTensor, GraphTensor]:
    """Chunk after chunk."""
    g = cut.decay
    g_exp = ops.unary("EXP", g)
    kbg = ops.mul(ops.cont(ops.transpose(cut.k_b)), g_exp)
    k_cd = ops.mul_mat(kbg, attn)
    q_g = ops.mul(cut.q, ops.cont(ops.transpose(g_exp)))
    last = ops.cont(ops.view(g, (1, *g.ne[1:]), g.nb[1:]))
    last_exp = ops.transpose(ops.unary("EXP", last))
    diff = ops.unary("NEG", ops.sub(g, last))
    diff = ops.cont(ops.transpose(ops.unary("EXP", diff)))
    kg_t = ops.cont(ops.transpose(ops.mul(cut.k, diff)))
    v_t = ops.cont(ops.transpose(v))
    for _ in range(cut.q.ne[2]):
        new = ops.sub(_slice(v_t), ops.mul_mat(_slice(k_cd), state))
        inner = ops.mul_mat(new, _slice(kq))
        across = ops.mul_mat(state, _slice(q_g))
        v = ops.set_inplace(v, ops.add(across, inner))
        kgv = ops.mul_mat(_slice(kg_t), new)
        state = ops.add(ops.mul(state, _slice(last_exp)), kgv)
    return v, state


def _slice(x: GraphTensor) -> GraphTensor:
    """One chunk: get_slice_2d."""
    return ops.view(x, (x.ne[0], x.ne[1], 1, x.ne[3]), x.nb[1:])
