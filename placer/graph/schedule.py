"""Which backend runs which node, and where the graph is cut: ggml's scheduler.

Mirrors ggml_backend_sched_split_graph, ggml-backend.cpp:1213-1720 of llama.cpp build
11434, pass by pass. Backends are numbered by priority: devices in their order, the CPU
last. Each can read the memory of none but itself.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from placer.graph.backends import OFFLOAD_MIN_BATCH, batch_size
from placer.graph.reorder import Reorder
from placer.graph.support import supports
from placer.graph.tensor import VIEW_OPS, GraphTensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from placer.graph.backends import BackendRules
    from placer.graph.graph import Graph

# Their weights are too small to decide: ggml-backend.cpp:1082.
WEIGHTLESS = frozenset({"ROPE", "FLASH_ATTN_EXT"})


@dataclass(slots=True)
class Split:
    """A run of nodes on one backend, and what has to be copied to it first."""

    backend: int
    start: int
    end: int = 0
    inputs: list[GraphTensor] = field(default_factory=list)


@dataclass(slots=True)
class Schedule:
    """A graph with a backend for every node, cut into splits.

    Attributes:
        graph: its nodes have copies as sources where they read another backend.
        splits: in the order in which they run.
        copies: of each split input and backend, one for each batch in flight.
        uses: how often each tensor is read, by its id.
        graph_inputs: what the host fills in; only listed where batches overlap.
        kept: tensors to be kept until a node has run, by the node's id.
    """

    graph: Graph
    splits: list[Split]
    copies: dict[tuple[int, int], list[GraphTensor]]
    uses: dict[int, int]
    graph_inputs: list[GraphTensor] = field(default_factory=list)
    kept: dict[int, list[GraphTensor]] = field(default_factory=dict)


class Scheduler:
    """Assigns and cuts.

    Args:
        devices: rules of the devices, in order; the CPU comes behind them.
        op_offload: whether big batches take host weights to a device.
        n_copies: batches in flight, 1 without a pipeline.
    """

    def __init__(
        self, devices: Sequence[BackendRules], *, op_offload: bool, n_copies: int
    ) -> None:
        self._devices = tuple(devices)
        self._cpu = len(self._devices)
        self._op_offload = op_offload
        self._n_copies = n_copies

    def split(self, graph: Graph) -> Schedule:
        """The schedule of the graph."""
        self._assign_homes(graph)
        self._expand(graph.nodes, gpu_only=True)
        self._expand(reversed(graph.nodes), gpu_only=True)
        self._expand(graph.nodes, gpu_only=False)
        self._expand(reversed(graph.nodes), gpu_only=False)
        self._assign_rest(graph.nodes)
        self._assign_sources(graph.nodes)
        schedule = Schedule(graph=graph, splits=[], copies={}, uses=_uses(graph.nodes))
        self._cut(schedule)
        if self._n_copies > 1:
            self._copy_graph_inputs(schedule)
        return schedule

    def optimize(self, schedule: Schedule) -> None:
        """What the backends make of their splits: ggml_backend_graph_optimize."""
        for split in schedule.splits:
            is_device = split.backend != self._cpu
            if is_device and self._devices[split.backend].reorders:
                nodes = schedule.graph.nodes[split.start : split.end]
                found = Reorder(nodes, schedule.uses).run()
                schedule.graph.nodes[split.start : split.end] = found.nodes
                schedule.kept.update(found.kept)

    def _supports(self, backend: int, op: GraphTensor) -> bool:
        return backend == self._cpu or supports(self._devices[backend].name, op)

    def _assign_homes(self, graph: Graph) -> None:
        """Pass 1: what lies in memory already, and operations on weights."""
        for tensor in (*graph.leaves, *graph.nodes):
            if tensor.forced is not None:
                tensor.backend = tensor.forced
            else:
                tensor.backend = self._home(tensor)

    def _home(self, tensor: GraphTensor) -> int | None:
        held = tensor.held_in
        if held is not None:
            return held if self._supports(held, tensor) else None
        if tensor.is_input:
            return self._cpu
        if tensor.op in WEIGHTLESS:
            return None
        for src in tensor.src:
            if src.buffer is None or not src.is_weight:
                continue
            if src.buffer == self._cpu and self._op_offload:
                taker = self._taker(tensor)
                if taker is not None:
                    return taker
            return src.buffer if self._supports(src.buffer, tensor) else None
        return None

    def _taker(self, op: GraphTensor) -> int | None:
        """The first device that takes the operation off the CPU."""
        if batch_size(op) < OFFLOAD_MIN_BATCH:
            return None
        for index, device in enumerate(self._devices):
            if device.offloads and supports(device.name, op):
                return index
        return None

    def _expand(self, nodes: Iterable[GraphTensor], *, gpu_only: bool) -> None:
        """Pass 2: neighbours run where their neighbour runs, if they can."""
        current = None
        for node in nodes:
            if node.op in VIEW_OPS:
                continue
            if node.backend is not None:
                is_passed_over = gpu_only and node.backend == self._cpu
                current = None if is_passed_over else node.backend
            elif current is not None and self._supports(current, node):
                node.backend = current

    def _assign_rest(self, nodes: Iterable[GraphTensor]) -> None:
        """Pass 3: what no neighbour could take goes where most of its sources are."""
        for node in nodes:
            if node.op in VIEW_OPS or node.backend is not None:
                continue
            best = -1
            for backend in range(self._cpu + 1):
                if not self._supports(backend, node):
                    continue
                near = sum(1 for src in node.src if _is_at(src, backend))
                if near > best:
                    best, node.backend = near, backend

    def _assign_sources(self, nodes: Iterable[GraphTensor]) -> None:
        """Pass 4: views follow what they look into, sources their reader."""
        for node in nodes:
            if node.backend is None and node.view_src is not None:
                node.backend = node.view_src.backend
            for src in node.src:
                if src.backend is None:
                    seen_through = src.view_src
                    src.backend = (
                        node.backend if seen_through is None else seen_through.backend
                    )
            if node.backend is None:
                node.backend = next(
                    b for b in range(self._cpu + 1) if self._supports(b, node)
                )

    def _cut(self, schedule: Schedule) -> None:
        """Pass 5: a new split where the backend changes, or a weight has to move."""
        nodes = schedule.graph.nodes
        first = next((n for n in nodes if n.op not in VIEW_OPS), None)
        if first is None or first.backend is None:
            return
        split = Split(backend=first.backend, start=0)
        schedule.splits.append(split)
        for index, node in enumerate(nodes):
            if node.op in VIEW_OPS or node.backend is None:
                continue
            if node.backend != split.backend or _moves_weight(node, split):
                split.end = index
                split = Split(backend=node.backend, start=index)
                schedule.splits.append(split)
            self._copy_sources(node, split, schedule)
        split.end = len(nodes)

    def _copy_sources(
        self, node: GraphTensor, split: Split, schedule: Schedule
    ) -> None:
        for place, src in enumerate(node.src):
            if src.backend == split.backend or _held_at(src) == split.backend:
                continue
            key = (id(src), split.backend)
            copies = schedule.copies.get(key)
            if copies is None:
                copies = [_copy_of(src) for _ in range(self._n_copies)]
                for copy in copies:
                    copy.backend = split.backend
                    copy.is_output = copy.is_input = self._n_copies > 1
                schedule.copies[key] = copies
                split.inputs.append(src)
            node.src[place] = copies[0]

    def _copy_graph_inputs(self, schedule: Schedule) -> None:
        """Pass 6: every batch in flight has inputs of its own."""
        for leaf in schedule.graph.leaves:
            if not leaf.is_input or leaf.backend is None:
                continue
            key = (id(leaf), leaf.backend)
            if key not in schedule.copies:
                copies = [leaf, *(_copy_of(leaf) for _ in range(self._n_copies - 1))]
                for copy in copies:
                    copy.backend = leaf.backend
                    copy.is_input = copy.is_output = True
                schedule.copies[key] = copies
            schedule.graph_inputs.append(leaf)


def _uses(nodes: Iterable[GraphTensor]) -> dict[int, int]:
    """How often each tensor is read, before any of them is read by way of a copy."""
    counts: dict[int, int] = defaultdict(int)
    for node in nodes:
        for src in node.src:
            counts[id(src)] += 1
    return counts


def _is_at(src: GraphTensor, backend: int) -> bool:
    """Whether the backend can read it as things stand."""
    known = src.backend is not None or (
        src.view_src is not None and src.view_src.backend is not None
    )
    return known and _held_at(src) == backend


def _held_at(src: GraphTensor) -> int | None:
    """The backend whose memory a tensor is in, or will be."""
    held = src.held_in
    if held is not None:
        return held
    if src.backend is None and src.view_src is not None:
        return src.view_src.backend
    return src.backend


def _moves_weight(node: GraphTensor, split: Split) -> bool:
    """Whether a weight has to be copied, and the last one's room can be had for it."""
    return bool(split.inputs) and any(
        src.is_weight and src.buffer is not None and src.buffer != split.backend
        for src in node.src
    )


def _copy_of(src: GraphTensor) -> GraphTensor:
    return GraphTensor("NONE", src.type_name, src.ne, nb=src.nb, name=src.name)
