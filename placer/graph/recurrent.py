"""Recurrent states as the engine reads and writes them.

Mirrors build_rs and its inputs, llama-graph.cpp:3587-3676 of llama.cpp build 11434. A
reservation sees every slot's state: one row a slot and drafted token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.graph import ops

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.graph.build import Build
    from placer.graph.tensor import GraphTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class StateInput:
    """Which rows of the states a batch reads: build_rs_inp, llama-graph.cpp:3630.

    Attributes:
        copy: a row for every state that there is.
        main: the first of them, one a sequence of the batch.
        tail: all but the first.
        n_rows: how many there are.
    """

    copy: GraphTensor
    main: GraphTensor
    tail: GraphTensor
    n_rows: int


def state_input(build: Build) -> StateInput:
    """The rows that the host fills in."""
    n_rows = max(build.workload.parallel, 1)
    copy = build.input("I32", n_rows, name="rs_s_copy")
    return StateInput(
        copy=copy,
        main=ops.view(copy, (build.n_seqs,)),
        tail=ops.view(copy, (n_rows - 1,)),
        n_rows=n_rows,
    )


def state_rows(build: Build) -> int:
    """Rows of a layer's states: llama-memory-recurrent.cpp:94."""
    return max(build.workload.parallel, 1) * (1 + build.n_rs_seq)


def read_state(
    build: Build,
    inp: StateInput,
    stored: GraphTensor,
    size: int,
    *,
    rows: Callable[[GraphTensor, GraphTensor], GraphTensor] | None = None,
) -> GraphTensor:
    """build_rs, llama-graph.cpp:3587: the states of the batch, [size, sequences].

    Args:
        build: the graph.
        inp: which rows.
        stored: the layer's states.
        size: elements of one.
        rows: how to get the batch's own, where not by copying.
    """
    expand, n_seqs = build.graph.expand, build.n_seqs
    states = ops.reshape(stored, size, stored.ne[1])
    expand(ops.scale_inplace(ops.view(states, (size,))))
    copy = inp.copy if rows is None else inp.tail
    every = ops.get_rows(states, copy)
    if rows is None:
        found = ops.view(every, (size, n_seqs), (every.nb[1],))
    else:
        found = rows(states, inp.main)
    expand(found)
    others = inp.n_rows - n_seqs
    extra = ops.view(every, (size, others), (every.nb[1],))
    expand(ops.cpy(extra, ops.view(stored, (size, others), (stored.nb[1],))))
    return found


def write_state(
    build: Build, new: GraphTensor, stored: GraphTensor, *dims: int
) -> None:
    """Copy the batch's new states to their rows."""
    nb = (stored.nb[1],) if len(dims) > 1 else ()
    build.graph.expand(ops.cpy(new, ops.view(stored, dims, nb)))
