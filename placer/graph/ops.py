"""What ggml's operations make of their operands: the shape and type of the result.

One function an operation, named as ggml names it; the rules are those of
ggml/src/ggml.c of llama.cpp build 11434. Operands are listed in ggml's order, since
the scheduler and the allocator walk them in it.
"""

from __future__ import annotations

from placer.graph.tensor import GraphTensor, shape4, strides

Maybe = GraphTensor | None


def leaf(type_name: str, *dims: int, name: str = "") -> GraphTensor:
    """A tensor that no operation makes."""
    return GraphTensor("NONE", type_name, shape4(dims), name=name)


def same(op: str, a: GraphTensor, *more: Maybe) -> GraphTensor:
    """An operation whose result is shaped and typed like its first operand."""
    return GraphTensor(op, a.type_name, a.ne, [a, *(x for x in more if x is not None)])


def mul_mat(a: GraphTensor, b: GraphTensor) -> GraphTensor:
    """F32 [a rows, b rows, ...]."""
    return GraphTensor("MUL_MAT", "F32", (a.ne[1], *b.ne[1:]), [a, b])


def mul_mat_id(experts: GraphTensor, b: GraphTensor, ids: GraphTensor) -> GraphTensor:
    """F32 [rows of an expert, experts used, tokens]."""
    ne = (experts.ne[1], ids.ne[0], b.ne[2], 1)
    return GraphTensor("MUL_MAT_ID", "F32", ne, [experts, b, ids])


def add(a: GraphTensor, b: GraphTensor) -> GraphTensor:
    """Shaped like ``a``."""
    return same("ADD", a, b)


def add_inplace(a: GraphTensor, b: GraphTensor) -> GraphTensor:
    """In the memory of ``a``."""
    return GraphTensor("ADD", a.type_name, a.ne, [a, b], nb=a.nb, view_src=_root(a))


def mul(a: GraphTensor, b: GraphTensor) -> GraphTensor:
    """Shaped like ``a``."""
    return same("MUL", a, b)


def div(a: GraphTensor, b: GraphTensor) -> GraphTensor:
    """Shaped like ``a``."""
    return same("DIV", a, b)


def sub(a: GraphTensor, b: GraphTensor) -> GraphTensor:
    """Shaped like ``a``."""
    return same("SUB", a, b)


def add_id(a: GraphTensor, b: GraphTensor, ids: GraphTensor) -> GraphTensor:
    """Shaped like ``a``."""
    return same("ADD_ID", a, b, ids)


def unary(name: str, a: GraphTensor) -> GraphTensor:
    """An element-wise function; contiguous whatever ``a`` is."""
    made = same("UNARY", a)
    made.name = name
    return made


def scale(a: GraphTensor) -> GraphTensor:
    """Shaped like ``a``."""
    return same("SCALE", a)


def scale_inplace(a: GraphTensor) -> GraphTensor:
    """In the memory of ``a``."""
    return _inplace("SCALE", a)


def _inplace(op: str, a: GraphTensor) -> GraphTensor:
    return GraphTensor(op, a.type_name, a.ne, [a], nb=a.nb, view_src=_root(a))


def glu(kind: str, a: GraphTensor, b: Maybe = None) -> GraphTensor:
    """A gated unit of two tensors, or of the halves of one."""
    ne = a.ne if b is not None else (a.ne[0] // 2, *a.ne[1:])
    made = GraphTensor("GLU", a.type_name, ne, [a] if b is None else [a, b])
    made.name = kind
    return made


def soft_max_ext(a: GraphTensor, mask: Maybe, sinks: Maybe = None) -> GraphTensor:
    """Shaped like ``a``."""
    return same("SOFT_MAX", a, mask, sinks)


def rope(a: GraphTensor, positions: GraphTensor, factors: Maybe = None) -> GraphTensor:
    """Shaped like ``a``."""
    return same("ROPE", a, positions, factors)


def get_rows(a: GraphTensor, ids: GraphTensor) -> GraphTensor:
    """The rows that ``ids`` names, in F32 (or I32)."""
    type_name = "I32" if a.type_name == "I32" else "F32"
    ne = (a.ne[0], ids.ne[0], ids.ne[1], ids.ne[2])
    return GraphTensor("GET_ROWS", type_name, ne, [a, ids])


def set_rows(a: GraphTensor, rows: GraphTensor, ids: GraphTensor) -> GraphTensor:
    """``a`` itself, with some rows written."""
    src = [rows, ids, a]
    return GraphTensor("SET_ROWS", a.type_name, a.ne, src, nb=a.nb, view_src=_root(a))


def view(
    a: GraphTensor, dims: tuple[int, ...], nb: tuple[int, ...] = ()
) -> GraphTensor:
    """A window of these dimensions; ``nb`` are the strides of its outer ones."""
    ne = shape4(dims)
    packed = strides(a.type_name, ne)
    steps = [packed[0], *(nb or packed[1:])]
    while len(steps) < 4:
        steps.append(steps[-1] * ne[len(steps) - 1])
    full = (steps[0], steps[1], steps[2], steps[3])
    return GraphTensor("VIEW", a.type_name, ne, [a], nb=full, view_src=_root(a))


def reshape(a: GraphTensor, *dims: int) -> GraphTensor:
    """The same elements in other dimensions; ``a`` is contiguous."""
    return GraphTensor("RESHAPE", a.type_name, shape4(dims), [a], view_src=_root(a))


def permute(a: GraphTensor, *axes: int) -> GraphTensor:
    """Dimension ``i`` of ``a`` becomes dimension ``axes[i]``."""
    ne, nb = [0] * 4, [0] * 4
    for i, axis in enumerate(axes):
        ne[axis], nb[axis] = a.ne[i], a.nb[i]
    return GraphTensor(
        "PERMUTE",
        a.type_name,
        (ne[0], ne[1], ne[2], ne[3]),
        [a],
        nb=(nb[0], nb[1], nb[2], nb[3]),
        view_src=_root(a),
    )


def transpose(a: GraphTensor) -> GraphTensor:
    """The first two dimensions changed over."""
    ne, nb = a.ne, a.nb
    return GraphTensor(
        "TRANSPOSE",
        a.type_name,
        (ne[1], ne[0], ne[2], ne[3]),
        [a],
        nb=(nb[1], nb[0], nb[2], nb[3]),
        view_src=_root(a),
    )


def cont(a: GraphTensor, *dims: int) -> GraphTensor:
    """A copy without gaps, in other dimensions where they are given."""
    ne = shape4(dims) if dims else a.ne
    return GraphTensor("CONT", a.type_name, ne, [a])


def cast(a: GraphTensor, type_name: str) -> GraphTensor:
    """A copy in another type."""
    return GraphTensor("CPY", type_name, a.ne, [a])


def cpy(a: GraphTensor, to: GraphTensor) -> GraphTensor:
    """``to`` itself, with ``a`` written to it."""
    return GraphTensor(
        "CPY", to.type_name, to.ne, [a, to], nb=to.nb, view_src=_root(to)
    )


def dup(a: GraphTensor) -> GraphTensor:
    """A copy."""
    return same("DUP", a)


def concat(a: GraphTensor, b: GraphTensor, dim: int) -> GraphTensor:
    """The two behind each other along a dimension."""
    ne = list(a.ne)
    ne[dim] += b.ne[dim]
    return GraphTensor("CONCAT", a.type_name, shape4(ne), [a, b])


def repeat(a: GraphTensor, *dims: int) -> GraphTensor:
    """``a`` over and over, until the dimensions are filled."""
    return GraphTensor("REPEAT", a.type_name, shape4(dims), [a])


def pad(a: GraphTensor, *more: int) -> GraphTensor:
    """``a`` with zeros behind it along each dimension."""
    ne = tuple(n + m for n, m in zip(a.ne, (*more, 0, 0, 0, 0), strict=False))
    return GraphTensor("PAD", a.type_name, shape4(ne), [a])


def arange(n: int) -> GraphTensor:
    """Numbers that follow one another, F32."""
    return GraphTensor("ARANGE", "F32", (n, 1, 1, 1))


def pool_rows(a: GraphTensor, n: int) -> GraphTensor:
    """One element for every ``n`` of a row: ggml_pool_2d."""
    return GraphTensor("POOL_2D", "F32", (a.ne[0] // n, *a.ne[1:]), [a])


def sum_rows(a: GraphTensor) -> GraphTensor:
    """One element a row."""
    return GraphTensor("SUM_ROWS", a.type_name, (1, *a.ne[1:]), [a])


def argsort(a: GraphTensor) -> GraphTensor:
    """The order of each row's elements, I32."""
    return GraphTensor("ARGSORT", "I32", a.ne, [a])


def argsort_top_k(a: GraphTensor, k: int) -> GraphTensor:
    """The first ``k`` of each row's order: a view of a full sort."""
    order = argsort(a)
    return view(order, (k, *order.ne[1:]), order.nb[1:])


def top_k(a: GraphTensor, k: int) -> GraphTensor:
    """The places of each row's ``k`` largest, I32."""
    return GraphTensor("TOP_K", "I32", (k, *a.ne[1:]), [a])


def lightning_indexer(
    q: GraphTensor, k: GraphTensor, weights: GraphTensor, mask: GraphTensor
) -> GraphTensor:
    """F32 [cells, tokens, 1, streams]: how much each token wants each cell."""
    ne = (k.ne[2], q.ne[2], 1, q.ne[3])
    return GraphTensor("LIGHTNING_INDEXER", "F32", ne, [q, k, weights, mask])


def hc_pre(x: GraphTensor, weights: GraphTensor) -> GraphTensor:
    """F32 [n_embd, tokens]: streams [n_embd, streams, tokens] summed by weight."""
    return GraphTensor("DSV4_HC_PRE", "F32", (x.ne[0], x.ne[2], 1, 1), [x, weights])


def hc_comb(
    mixes: GraphTensor, scale: GraphTensor, base: GraphTensor, hc: int
) -> GraphTensor:
    """F32 [streams, streams, tokens]: how much of each stream goes to each."""
    ne = (hc, hc, mixes.ne[1], 1)
    return GraphTensor("DSV4_HC_COMB", "F32", ne, [mixes, scale, base])


def hc_post(
    x: GraphTensor, streams: GraphTensor, post: GraphTensor, comb: Maybe = None
) -> GraphTensor:
    """F32 [n_embd, streams, tokens]: streams mixed, ``x`` added to each."""
    ne = (*streams.ne[:2], x.ne[1], 1)
    src = [x, streams, post] if comb is None else [x, streams, post, comb]
    return GraphTensor("DSV4_HC_POST", "F32", ne, src)


def flash_attn_ext(
    q: GraphTensor, k: GraphTensor, v: GraphTensor, mask: Maybe, sinks: Maybe = None
) -> GraphTensor:
    """F32 [value head, heads, tokens, streams]."""
    ne = (v.ne[0], q.ne[2], q.ne[1], q.ne[3])
    src = [q, k, v, *(x for x in (mask, sinks) if x is not None)]
    return GraphTensor("FLASH_ATTN_EXT", "F32", ne, src)


def ssm_conv(sx: GraphTensor, kernel: GraphTensor) -> GraphTensor:
    """F32 [channels, tokens of a sequence, sequences]."""
    n_t = sx.ne[0] - kernel.ne[0] + 1
    return GraphTensor("SSM_CONV", "F32", (sx.ne[1], n_t, sx.ne[2], 1), [sx, kernel])


def ssm_scan(
    state: GraphTensor,
    x: GraphTensor,
    dt: GraphTensor,
    a: GraphTensor,
    b: GraphTensor,
    c: GraphTensor,
    ids: GraphTensor,
    *,
    n_kept: int = 1,
) -> GraphTensor:
    """One row: outputs, then ``n_kept`` states a sequence behind them."""
    n_states = ids.ne[0] * n_kept
    n = x.n_elements + state.ne[0] * state.ne[1] * state.ne[2] * n_states
    return GraphTensor("SSM_SCAN", "F32", (n, 1, 1, 1), [state, x, dt, a, b, c, ids])


def gated_delta_net(
    q: GraphTensor,
    k: GraphTensor,
    v: GraphTensor,
    g: GraphTensor,
    beta: GraphTensor,
    state: GraphTensor,
    n_kept: int = 1,
) -> GraphTensor:
    """Outputs, then ``n_kept`` states a sequence behind them."""
    head, n_head, n_tokens, n_seqs = v.ne
    rows = n_tokens * n_seqs + n_kept * head * n_seqs
    src = [q, k, v, g, beta, state]
    return GraphTensor("GATED_DELTA_NET", "F32", (head * n_head, rows, 1, 1), src)


def solve_tri(a: GraphTensor, b: GraphTensor) -> GraphTensor:
    """Shaped like ``b``."""
    return GraphTensor("SOLVE_TRI", "F32", b.ne, [a, b])


def diag(a: GraphTensor) -> GraphTensor:
    """A row as the diagonal of a square."""
    return GraphTensor("DIAG", a.type_name, (a.ne[0], a.ne[0], a.ne[2], a.ne[3]), [a])


def set_inplace(a: GraphTensor, b: GraphTensor) -> GraphTensor:
    """``a`` itself, with ``b`` written to a part of it."""
    return GraphTensor("SET", a.type_name, a.ne, [a, b], nb=a.nb, view_src=_root(a))


def _root(a: GraphTensor) -> GraphTensor:
    return a if a.view_src is None else a.view_src
