"""The engine's reservation of compute buffers, played through without an engine.

Mirrors llama_context::sched_reserve, llama-context.cpp:617 of llama.cpp build 11434:
a graph of one full physical batch is built, cut and allocated; a graph of one token a
slot is built and cut for its splits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from placer.gguf import type_size
from placer.graph.allocate import Allocator
from placer.graph.backends import host_rules, rules_of
from placer.graph.build import Batch, Build, Layout
from placer.graph.families import graph_of
from placer.graph.fold import folds, is_steady, unfolded
from placer.graph.schedule import Scheduler

if TYPE_CHECKING:
    from placer.graph.fold import Fold
    from placer.graph.graph import Graph
    from placer.graph.schedule import Schedule
    from placer.model import ModelShape
    from placer.placement import Workload

GraphOf = Callable[[Build], "Graph"]
# GGML_SCHED_MAX_COPIES, ggml-backend.cpp:911
PIPELINE_COPIES = 4
# What may be fused, in the order in which the engine tries it.
RESOLVED = (
    "flash_attn",
    "hc_pre",
    "hc_comb",
    "hc_post",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """What a graph takes.

    Attributes:
        device_bytes: compute buffer of each of the layout's devices.
        host_bytes: the one of the CPU, pinned or not.
        graph_splits: of the graph of a full batch, and of one token a slot.
    """

    device_bytes: tuple[int, ...]
    host_bytes: int
    graph_splits: tuple[int, int]


def reserve(
    shape: ModelShape,
    workload: Workload,
    layout: Layout,
    *,
    pipelined: bool,
    graph: GraphOf = graph_of,
    is_folded: bool = True,
) -> Reserve:
    """The compute buffers and graph splits of a placement.

    Args:
        shape: the model.
        workload: what is asked.
        layout: where everything lies.
        pipelined: whether batches overlap over the devices, which takes copies of
            all that crosses from one to another.
        graph: which of the model's graphs.
        is_folded: whether layers that repeat are left out where that changes nothing;
            NextN layers are not among those.

    Raises:
        UnknownGraphError: placer has no graph for the architecture.
    """
    scheduler = Scheduler(
        [rules_of(name) for name in layout.backends],
        op_offload=workload.op_offload,
        n_copies=PIPELINE_COPIES if pipelined else 1,
    )
    tried = folds(shape, layout) if is_folded else (unfolded(shape),)
    builders = (_Builder(shape, workload, scheduler, graph, fold) for fold in tried)
    found = (builder.reserved(layout) for builder in builders)
    return next(one for one in found if one is not None)


class _Builder:
    """Graphs of one model and workload, for several batches."""

    def __init__(
        self,
        shape: ModelShape,
        workload: Workload,
        scheduler: Scheduler,
        graph: GraphOf,
        fold: Fold,
    ) -> None:
        self._shape = shape
        self._workload = workload
        self._scheduler = scheduler
        self._graph = graph
        self._fold = fold

    def reserved(self, layout: Layout) -> Reserve | None:
        """What both graphs take, None where it is not sure without all layers."""
        fold = self._fold
        decode, layout = self.resolved(layout)
        _, prefill = self.scheduled(layout, prefill_batch(self._workload))
        marks, decode_marks = fold.marks(prefill), fold.marks(decode)
        if marks is None or decode_marks is None:
            return None
        n_prefill = fold.n_splits(prefill, marks)
        n_decode = fold.n_splits(decode, decode_marks)
        if n_prefill is None or n_decode is None:
            return None
        nodes = prefill.graph.nodes
        blocks = [[nodes[place] for place in places] for places in marks]
        self._scheduler.optimize(prefill)
        first = layout.backends[0] if layout.backends else None
        rules = [rules_of(name) for name in layout.backends]
        allocator = Allocator([*rules, host_rules(first)])
        n_bytes = allocator.run(prefill, [node for block in blocks for node in block])
        if not is_steady(allocator, blocks):
            return None
        return Reserve(
            device_bytes=n_bytes[:-1],
            host_bytes=n_bytes[-1],
            graph_splits=(n_prefill, n_decode),
        )

    @property
    def _demands_flash_attn(self) -> bool:
        """A quantised cache of values has no other way: llama-context.cpp:3843."""
        is_quantised = type_size(self._workload.type_v.upper())[0] > 1
        return self._workload.flash_attn == "on" or is_quantised

    def scheduled(self, layout: Layout, batch: Batch) -> tuple[Build, Schedule]:
        """A graph with a backend for every node."""
        layers = self._fold.layers
        build = Build(self._shape, self._workload, layout, batch, layers)
        return build, self._scheduler.split(self._graph(build))

    def resolved(self, layout: Layout) -> tuple[Schedule, Layout]:
        """The graph of one token a slot, and a layout that fuses what it can.

        A fused operation that does not run where its layer is, is not fused:
        resolve_fused_ops, llama-context.cpp:508.
        """
        slots = self._workload.parallel
        batch = Batch(n_tokens=slots, n_seqs=slots, n_outputs=slots)
        build, decode = self.scheduled(layout, batch)
        for name in RESOLVED:
            demanded = name == "flash_attn" and self._demands_flash_attn
            if not demanded and not _runs_at_home(build, name):
                layout = replace(layout, fused=layout.fused - {name})
                build, decode = self.scheduled(layout, batch)
        return decode, layout


def _runs_at_home(build: Build, fused: str) -> bool:
    """Whether each fused node of the kind is on its layer's backend."""
    return all(
        node.backend == build.layout.layers[il]
        for name, node, il in build.fused_nodes
        if name == fused
    )


def prefill_batch(workload: Workload) -> Batch:
    """One full physical batch, a multiple of the slots: llama-context.cpp:2531."""
    slots = workload.parallel
    n_tokens = min(workload.ctx, workload.n_ubatch)
    n_outputs = min(n_tokens, workload.n_outputs_max)
    n_tokens = -(-n_tokens // slots) * slots
    return Batch(n_tokens=n_tokens, n_seqs=slots, n_outputs=n_outputs, is_held=False)
