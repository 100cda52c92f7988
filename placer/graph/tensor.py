"""Tensors of a compute graph, as ggml counts them: shape, strides, bytes.

Nothing is computed: a tensor knows what it would take and what it is made of. Sources
are files of llama.cpp build 11434.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from placer.gguf import type_size

if TYPE_CHECKING:
    from collections.abc import Sequence

# Elements along each of ggml's four dimensions, the fastest first.
Shape = tuple[int, int, int, int]

# ggml_is_view_op, ggml-backend.cpp:897.
VIEW_OPS = frozenset({"VIEW", "RESHAPE", "PERMUTE", "TRANSPOSE"})


class GraphTensor:
    """A node or leaf of a graph.

    Attributes:
        op: ggml's operation without its prefix, ``"NONE"`` for a leaf.
        type_name: ggml's type, ``"F32"``.
        ne: elements along each dimension.
        nb: bytes from one element to the next along each dimension.
        src: what it is computed from.
        view_src: whose memory it looks into, None where it has its own.
        buffer: the backend whose memory holds it before any graph runs (weights,
            caches), None for what a graph computes.
        is_weight: whether that buffer is one of weights.
        is_input: filled in by the host before each run.
        is_output: kept until the end of the run.
        forced: the backend that it must run on, where one was named.
        backend: what the scheduler gave it.
    """

    __slots__ = (
        "addr",
        "allocated",
        "backend",
        "buffer",
        "forced",
        "home",
        "is_input",
        "is_output",
        "is_weight",
        "n_bytes",
        "n_children",
        "n_views",
        "name",
        "nb",
        "ne",
        "op",
        "seen",
        "src",
        "type_name",
        "view_src",
    )

    def __init__(
        self,
        op: str,
        type_name: str,
        ne: Shape,
        src: Sequence[GraphTensor] = (),
        *,
        nb: Shape | None = None,
        view_src: GraphTensor | None = None,
        name: str = "",
    ) -> None:
        self.op = op
        self.type_name = type_name
        self.ne = ne
        self.nb = strides(type_name, ne) if nb is None else nb
        self.src = list(src)
        self.view_src = view_src
        self.name = name
        self.buffer: int | None = None
        self.is_weight = self.is_input = self.is_output = False
        self.forced: int | None = None
        self.backend: int | None = None
        self.seen = False
        # Without gaps the last stride says it all.
        self.n_bytes = (
            self.nb[3] * ne[3] if nb is None else tensor_bytes(type_name, ne, nb)
        )
        # The allocator's: how many read it, how many look into it, where it lies.
        self.n_children = self.n_views = 0
        self.allocated = False
        self.home = 0
        self.addr = (0, 0)

    def __repr__(self) -> str:
        return f"<{self.op} {self.name} {self.type_name} {self.ne}>"

    @property
    def n_rows(self) -> int:
        """All elements over those of a row."""
        return self.ne[1] * self.ne[2] * self.ne[3]

    @property
    def n_elements(self) -> int:
        """The product of the dimensions."""
        return self.ne[0] * self.n_rows

    @property
    def is_contiguous(self) -> bool:
        """Whether no byte lies between its elements: ggml_is_contiguous."""
        return self.nb == strides(self.type_name, self.ne)

    @property
    def held_in(self) -> int | None:
        """The backend whose memory holds it, or what it looks into, beforehand."""
        return self.buffer if self.view_src is None else self.view_src.buffer


@lru_cache(maxsize=4096)
def strides(type_name: str, ne: Shape) -> Shape:
    """Bytes between elements of a tensor without gaps: ggml.c, ggml_new_tensor_impl."""
    block, n_bytes = type_size(type_name)
    row = n_bytes * (ne[0] // block)
    return (n_bytes, row, row * ne[1], row * ne[1] * ne[2])


def tensor_bytes(type_name: str, ne: Shape, nb: Shape) -> int:
    """From the first byte to the last: ggml_nbytes."""
    if min(ne) <= 0:
        return 0
    block, n_bytes = type_size(type_name)
    far = (ne[1] - 1) * nb[1] + (ne[2] - 1) * nb[2] + (ne[3] - 1) * nb[3]
    if block == 1:
        return n_bytes + (ne[0] - 1) * nb[0] + far
    return ne[0] * nb[0] // block + far


def shape4(dims: Sequence[int]) -> Shape:
    """The dimensions, filled up with ones."""
    a, b, c, d = (*dims, 1, 1, 1, 1)[:4]
    return (a, b, c, d)
