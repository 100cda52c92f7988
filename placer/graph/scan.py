"""The recurrent layers of state space models, and short convolutions.

Mirrors src/models/mamba-base.cpp:9 (Mamba) and :151 (Mamba 2), plamo2.cpp and lfm2.cpp
of llama.cpp build 11434.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.recurrent import StateInput, read_state, state_rows, write_state

if TYPE_CHECKING:
    from placer.graph.build import Build
    from placer.graph.tensor import GraphTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanShape:
    """Sizes of a scan, by the hyperparameters ``ssm.*`` and the batch."""

    window: int
    d_inner: int
    d_state: int
    dt_rank: int
    n_group: int
    n_t: int
    n_s: int

    @property
    def channels(self) -> int:
        """Of Mamba 2's convolution."""
        return self.d_inner + 2 * self.n_group * self.d_state

    @property
    def head(self) -> int:
        """Elements of one of Mamba 2's heads."""
        return self.d_inner // self.dt_rank


def scan_shape(build: Build) -> ScanShape:
    """The sizes of the model's scans."""
    hparams = build.hparams
    return ScanShape(
        window=hparams.integer("ssm.conv_kernel", 1) - 1,
        d_inner=hparams.integer("ssm.inner_size", 0),
        d_state=hparams.integer("ssm.state_size", 0),
        dt_rank=hparams.integer("ssm.time_step_rank", 1),
        n_group=hparams.integer("ssm.group_count", 0),
        n_t=build.n_tokens // build.n_seqs,
        n_s=build.n_seqs,
    )


def mamba1(build: Build, inp: StateInput, x: GraphTensor, il: int) -> GraphTensor:
    """build_mamba_layer, mamba-base.cpp:9."""
    d = scan_shape(build)
    conv, states = _stored(build, il, d.d_inner)
    before = read_state(build, inp, conv, conv.ne[0])
    before = ops.reshape(before, d.window, d.d_inner, d.n_s)
    x = ops.reshape(x, x.ne[0], d.n_t, d.n_s)
    xz = _projected_in(build, x, il)
    half = (d.d_inner, d.n_t, d.n_s)
    x = ops.view(xz, half, (xz.nb[1], xz.nb[2]))
    z = ops.view(xz, half, (xz.nb[1], xz.nb[2]))
    x = _convolved(build, before, x, conv, il, d, in_rows=False)
    x = ops.unary("SILU", ops.add(x, build.must(il, "ssm_conv1d.bias")))
    db = ops.mul_mat(build.must(il, "ssm_x.weight"), x)
    dt = ops.view(db, (d.dt_rank, d.n_t, d.n_s), (db.nb[1], db.nb[2]))
    group = (d.d_state, 1, d.n_t, d.n_s)
    nb = (d.d_state * 4, db.nb[1], db.nb[2])
    b, c = ops.view(db, group, nb), ops.view(db, group, nb)
    if build.of_layer(il, "ssm_dt_norm.weight") is not None:
        dt = build.layer_norm(dt, il, "ssm_dt_norm")
        b = build.layer_norm(b, il, "ssm_b_norm")
        c = build.layer_norm(c, il, "ssm_c_norm")
    elif build.hparams.flag("ssm.dt_b_c_rms", default=False):
        dt, b, c = (ops.same("RMS_NORM", part) for part in (dt, b, c))
    else:
        dt = ops.cont(dt)
    dt = ops.mul_mat(build.must(il, "ssm_dt.weight"), dt)
    dt = ops.add(dt, build.must(il, "ssm_dt.bias"))
    flat = x
    x = ops.reshape(x, 1, d.d_inner, d.n_t, d.n_s)
    a = build.must(il, "ssm_a")
    y = _scanned(build, inp, states, (x, dt, a, b, c), in_rows=False)
    y = ops.view(y, half, (x.nb[2], x.nb[3]))
    y = ops.add(y, ops.mul(flat, build.must(il, "ssm_d")))
    return _out(build, ops.glu("SWIGLU", ops.cont(z), y), il, d)


def mamba2(build: Build, inp: StateInput, x: GraphTensor, il: int) -> GraphTensor:
    """build_mamba2_layer, mamba-base.cpp:151."""
    d = scan_shape(build)
    conv, states = _stored(build, il, d.channels)
    before = read_state(build, inp, conv, conv.ne[0])
    before = ops.reshape(before, d.window, d.channels, d.n_s)
    y = _projected_in(build, x, il)
    y = ops.reshape(y, y.ne[0], d.n_t, d.n_s)
    heads = (d.head, d.dt_rank, d.n_t, d.n_s)
    z = ops.view(y, heads, (d.head * 4, y.nb[1], y.nb[2]))
    xbc = ops.view(y, (d.channels, d.n_t, d.n_s), (y.nb[1], y.nb[2]))
    dt = ops.view(y, (d.dt_rank, d.n_t, d.n_s), (y.nb[1], y.nb[2]))
    xbc = _convolved(build, before, xbc, conv, il, d, in_rows=True)
    xbc = ops.unary("SILU", ops.add(xbc, build.must(il, "ssm_conv1d.bias")))
    x = ops.view(xbc, heads, (d.head * 4, xbc.nb[1], xbc.nb[2]))
    group = (d.d_state, d.n_group, d.n_t, d.n_s)
    nb = (d.d_state * 4, xbc.nb[1], xbc.nb[2])
    b, c = ops.view(xbc, group, nb), ops.view(xbc, group, nb)
    dt = ops.add(ops.cont(dt), build.must(il, "ssm_dt.bias"))
    a = build.must(il, "ssm_a")
    scan = _scanned(build, inp, states, (x, dt, a, b, c), in_rows=True)
    row = x.nb[1]
    y = ops.view(scan, heads, (row, d.dt_rank * row, d.n_t * d.dt_rank * row))
    y = ops.add(y, ops.mul(x, build.must(il, "ssm_d")))
    y = ops.glu("SWIGLU", ops.cont(z), y)
    if build.of_layer(il, "ssm_norm.weight") is not None:
        y = ops.reshape(y, d.d_inner // d.n_group, d.n_group, d.n_t, d.n_s)
        y = build.layer_norm(y, il, "ssm_norm")
    y = ops.reshape(y, d.d_inner, d.n_t * d.n_s)
    return build.mm(
        build.must(il, "ssm_out.weight"), y, build.of_layer(il, "ssm_out.scale")
    )


def mamba_plamo2(build: Build, inp: StateInput, x: GraphTensor, il: int) -> GraphTensor:
    """build_plamo2_mamba_layer, plamo2.cpp."""
    d = scan_shape(build)
    conv, states = _stored(build, il, d.channels)
    before = read_state(build, inp, conv, conv.ne[0])
    before = ops.reshape(before, d.window, d.channels, d.n_s)
    x = ops.reshape(x, x.ne[0], d.n_t, d.n_s)
    zx = ops.permute(ops.mul_mat(build.must(il, "ssm_in.weight"), x), 0, 2, 1, 3)
    zx = ops.cont(zx, 2 * d.head, d.dt_rank, d.n_t, d.n_s)
    heads = (d.head, d.dt_rank, d.n_t, d.n_s)
    x = ops.cont(ops.view(zx, heads, zx.nb[1:]), d.d_inner, d.n_t, d.n_s)
    z = ops.view(zx, heads, zx.nb[1:])
    x = _convolved(build, before, x, conv, il, d, in_rows=False)
    x = ops.unary("SILU", x)
    bcdt = ops.mul_mat(build.must(il, "ssm_x.weight"), x)
    dt_dim = max(64, build.n_embd // 16)
    nb = (bcdt.nb[1], bcdt.nb[2])
    b, c, dt = (
        ops.view(bcdt, (n, d.n_t, d.n_s), nb) for n in (d.d_state, d.d_state, dt_dim)
    )
    b = build.layer_norm(b, il, "ssm_b_norm")
    c = build.layer_norm(c, il, "ssm_c_norm")
    dt = build.layer_norm(dt, il, "ssm_dt_norm")
    dt = ops.mul_mat(build.must(il, "ssm_dt.weight"), dt)
    dt = ops.add(dt, build.must(il, "ssm_dt.bias"))
    a = ops.reshape(build.must(il, "ssm_a"), 1, d.dt_rank)
    x = ops.view(x, heads)
    group = (d.d_state, 1, d.n_t, d.n_s)
    b, c = (ops.view(g, group, (d.d_state * 4, g.nb[1], g.nb[2])) for g in (b, c))
    y = ops.view(_scanned(build, inp, states, (x, dt, a, b, c), in_rows=False), heads)
    skip = ops.reshape(build.must(il, "ssm_d"), 1, d.dt_rank)
    y = ops.add(y, ops.mul(x, skip))
    y = ops.glu("SWIGLU", ops.cont(z), y)
    y = ops.view(y, (d.d_inner, d.n_t, d.n_s), (y.nb[2], y.nb[3]))
    y = ops.mul_mat(build.must(il, "ssm_out.weight"), y)
    return ops.reshape(y, y.ne[0], d.n_t * d.n_s)


def short_conv(build: Build, inp: StateInput, x: GraphTensor, il: int) -> GraphTensor:
    """build_shortconv_block, lfm2.cpp."""
    n_s = build.n_seqs
    n_t = build.n_tokens // n_s
    window, n = build.hparams.integer("shortconv.l_cache", 1) - 1, build.n_embd
    x = ops.reshape(x, x.ne[0], n_t, n_s)
    bcx = ops.mul_mat(build.must(il, "shortconv.in_proj.weight"), x)
    third = (bcx.ne[0] // 3, n_t, n_s)
    b, c, x = (ops.view(bcx, third, (bcx.nb[1], bcx.nb[2])) for _ in range(3))
    bx = ops.transpose(ops.mul(b, x))
    stored = build.stored(il, "F32", window * n, state_rows(build), name="cache_r")
    before = ops.reshape(read_state(build, inp, stored, window * n), window, n, n_s)
    bx = ops.concat(before, bx, 0)
    for _ in range(min(n_t, 1 + build.n_rs_seq)):
        last = ops.view(bx, (window, n, n_s), (bx.nb[1], bx.nb[2]))
        write_state(build, last, stored, window * n, n_s)
    y = ops.mul(c, ops.ssm_conv(bx, build.must(il, "shortconv.conv.weight")))
    y = ops.mul_mat(build.must(il, "shortconv.out_proj.weight"), y)
    return ops.reshape(y, y.ne[0], n_t * n_s)


def _stored(build: Build, il: int, channels: int) -> tuple[GraphTensor, GraphTensor]:
    """The layer's convolution state and scan state."""
    d = scan_shape(build)
    rows = state_rows(build)
    conv = build.stored(il, "F32", d.window * channels, rows, name="cache_r")
    size = d.d_state * d.d_inner
    return conv, build.stored(il, "F32", size, rows, name="cache_s")


def _convolved(
    build: Build,
    before: GraphTensor,
    x: GraphTensor,
    stored: GraphTensor,
    il: int,
    d: ScanShape,
    *,
    in_rows: bool,
) -> GraphTensor:
    """The convolution over what came before and what is new; its end is kept."""
    channels = before.ne[1]
    y = ops.concat(before, ops.transpose(x), 0)
    size = d.window * channels
    dims = (size, d.n_s) if in_rows else (size * d.n_s,)
    for _ in range(min(d.n_t, 1 + build.n_rs_seq)):
        last = ops.view(y, (d.window, channels, d.n_s), (y.nb[1], y.nb[2]))
        write_state(build, last, stored, *dims)
    return ops.ssm_conv(y, build.must(il, "ssm_conv1d.weight"))


def _scanned(
    build: Build,
    inp: StateInput,
    stored: GraphTensor,
    parts: tuple[GraphTensor, ...],
    *,
    in_rows: bool,
) -> GraphTensor:
    """The scan over the batch's own states; the new ones are kept."""
    d = scan_shape(build)
    x, dt, a, b, c = parts
    size, head, n_head = stored.ne[0], x.ne[0], x.ne[1]

    def rows(states: GraphTensor, ids: GraphTensor) -> GraphTensor:
        state = ops.reshape(states, d.d_state, head, n_head, stored.ne[1])
        return ops.ssm_scan(state, x, dt, a, b, c, ids, n_kept=1 + build.n_rs_seq)

    y = read_state(build, inp, stored, size, rows=rows)
    if in_rows:
        kept = min(d.n_t, 1 + build.n_rs_seq)
        new = ops.view(y, (size, d.n_s, kept), (4 * size, 4 * size * d.n_s))
        write_state(build, new, stored, size, d.n_s, kept)
    else:
        new = ops.view(y, (size * d.n_s,))
        write_state(build, new, stored, size * d.n_s)
    return y


def _projected_in(build: Build, x: GraphTensor, il: int) -> GraphTensor:
    scale = build.of_layer(il, "ssm_in.scale")
    return build.mm(build.must(il, "ssm_in.weight"), x, scale)


def _out(build: Build, y: GraphTensor, il: int, d: ScanShape) -> GraphTensor:
    scale = build.of_layer(il, "ssm_out.scale")
    y = build.mm(build.must(il, "ssm_out.weight"), y, scale)
    return ops.reshape(y, y.ne[0], d.n_t * d.n_s)
