"""Layers that repeat, left out of a graph without a change to what it takes.

Most models are the same few layers over and over. Where such blocks also lie in the
same way, each adds the same nodes, and after the first ones the allocator does the same
for each and is left as it was found: then a graph with fewer of them takes the same
buffers, and has as many graph splits less as the blocks left out have. Whether it comes
to that is seen from the allocator, not assumed: on Vulkan, whose nodes change their
order, some graphs take more with every layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from placer.graph.allocate import Allocator
    from placer.graph.build import Layout
    from placer.graph.schedule import Schedule
    from placer.graph.tensor import GraphTensor
    from placer.model import LayerShape, ModelShape

# Layers of a run before the two blocks that are compared, and how many of its periods
# are a block: a stream may change between two places from one period to the next.
# Tried in this order.
TRIES = ((2, 1), (4, 2))
# Of the layers, no more than so many may be left: a try in vain must not cost much.
WORTHWHILE = 1 / 3
# Layers behind the two blocks: the order of nodes depends on the next ones.
BEHIND = 1
# The longest period that is looked for, layers: Granite 4.0 has ten.
LONGEST = 12
# Whose graphs have every fourth layer otherwise, by its number.
EVERY_FOURTH = frozenset({"afmoe", "llama4", "smallthinker", "smollm3"})
# What graphs read of a file by the number of the layer.
BY_LAYER = (
    "attention.rope_pattern",
    "expert_used_count",
    "swiglu_clamp_exp",
    "swiglu_clamp_shexp",
)
# What graphs do in the first layers only, so many as the file says.
LEADING = ("leading_dense_block_count", "n_deepstack_layers")

# Where two blocks begin and the second one ends, by the place of a node.
Marks = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Blocks of layers that repeat, most of them left out.

    Attributes:
        start: the first layer of the two blocks that are compared.
        block: layers of a block.
        n_dropped: blocks left out.
    """

    start: int
    block: int
    n_dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """The layers that a graph is built of.

    Attributes:
        layers: their numbers, in order.
        runs: where layers are missing.
    """

    layers: tuple[int, ...]
    runs: tuple[Run, ...] = ()

    def marks(self, schedule: Schedule) -> list[Marks] | None:
        """Of each run, the places of the nodes between which its two blocks are.

        None where they are not known, since no node reads a weight of the layer.
        """
        layers = {r.start + i * r.block for r in self.runs for i in range(3)}
        first = _first_readers(schedule.graph.nodes, layers)
        if len(first) < len(layers):
            return None
        return [
            (first[r.start], first[r.start + r.block], first[r.start + 2 * r.block])
            for r in self.runs
        ]

    def n_splits(self, schedule: Schedule, marks: Sequence[Marks]) -> int | None:
        """Graph splits with the layers left out, None where two blocks differ."""
        starts = [split.start for split in schedule.splits]
        n_splits = len(starts)
        for run, (a, b, c) in zip(self.runs, marks, strict=True):
            first = sum(a <= start < b for start in starts)
            second = sum(b <= start < c for start in starts)
            if first != second:
                return None
            n_splits += run.n_dropped * second
        return n_splits


def is_steady(allocator: Allocator, blocks: Sequence[Sequence[GraphTensor]]) -> bool:
    """Whether the allocator did the same for both blocks of each run.

    And whether it was left as it had been found: what was set aside for a block before
    it began, such as inputs of its own, has then been given back.

    Args:
        allocator: it has run with all of these nodes marked.
        blocks: of each run, the nodes at which the blocks begin and the second ends.
    """
    return all(
        allocator.states[id(b)] == allocator.states[id(c)]
        and [] != allocator.trace(a, b) == allocator.trace(b, c)
        for a, b, c in blocks
    )


def unfolded(shape: ModelShape) -> Fold:
    """Every layer but NextN's."""
    return Fold(layers=tuple(range(shape.n_layer_all - shape.n_layer_nextn)))


def folds(shape: ModelShape, layout: Layout) -> Iterator[Fold]:
    """Folds with more and more layers; the last one has them all."""
    kinds = _kinds(shape, layout)
    for lead, n_periods in TRIES:
        fold = _folded(kinds, lead, n_periods)
        if fold.runs and len(fold.layers) <= WORTHWHILE * len(kinds):
            yield fold
    yield unfolded(shape)


def _folded(kinds: Sequence[int], lead: int, n_periods: int) -> Fold:
    layers: list[int] = []
    runs: list[Run] = []
    at = 0
    while at < len(kinds):
        end, block, n_dropped = _run_at(kinds, at, lead, n_periods)
        last = end - n_dropped * block
        layers += range(at, last)
        if n_dropped:
            start = last - BEHIND - 2 * block
            runs.append(Run(start=start, block=block, n_dropped=n_dropped))
        at = end
    return Fold(layers=tuple(layers), runs=tuple(runs))


def _run_at(
    kinds: Sequence[int], at: int, lead: int, n_periods: int
) -> tuple[int, int, int]:
    """The end of a run, layers of a block, blocks to leave out: as many as there are.

    One layer that is no run where none can be left out.
    """
    best, most = (at + 1, 1, 0), 0
    for period in range(1, min(LONGEST, (len(kinds) - at) // 2) + 1):
        end = at + period
        while end < len(kinds) and kinds[end] == kinds[end - period]:
            end += 1
        block = period * n_periods
        n_dropped = max(end - at - lead - BEHIND, 0) // block - 2
        if n_dropped * block > most:
            best, most = (end, block, n_dropped), n_dropped * block
    return best


def _kinds(shape: ModelShape, layout: Layout) -> list[int]:
    """A number for each layer, equal where graphs have the same nodes for both.

    The last one, where rows without logits are dropped, is like no other.
    """
    numbers: dict[object, int] = {}
    n_layer = shape.n_layer_all - shape.n_layer_nextn
    places = _places(shape)
    kinds = []
    for il in range(n_layer):
        layer = shape.layers[il]
        kind = (_shape_of(layer), _homes_of(layer, layout), places[il])
        kinds.append(numbers.setdefault(kind, len(numbers)))
    return [*kinds[:-1], -1]


def _shape_of(layer: LayerShape) -> object:
    prefix = len(f"blk.{layer.index}.")
    return (
        layer.n_head,
        layer.n_head_kv,
        layer.head_dim_k,
        layer.head_dim_v,
        layer.has_kv,
        layer.is_swa,
        layer.recurrent_elements,
        layer.index_k,
        layer.index_v,
        tuple((t.name[prefix:], t.type_name, t.dims) for t in layer.tensors),
    )


def _homes_of(layer: LayerShape, layout: Layout) -> object:
    il, tensors = layer.index, layout.tensors
    return (
        layout.layers[il],
        layout.caches[il],
        layout.cells[il],
        tuple(tensors[t.name] for t in layer.tensors),
    )


def _places(shape: ModelShape) -> list[object]:
    """What graphs make of the number of each layer."""
    hparams, layers = shape.hparams, range(shape.n_layer_all)
    if hparams.integer("attn_res.block_size", 0):
        return [*layers]  # streams pile up from layer to layer: kimi-k3.cpp
    said = [values for key in BY_LAYER if (values := hparams.numbers(key))]
    n_leading = [hparams.integer(key, 0) for key in LEADING]
    step = 4 if shape.architecture in EVERY_FOURTH else 1
    grams = hparams.array("ple.layers") or ()
    return [
        (
            tuple(il < n for n in n_leading),
            tuple(values[il] for values in said if il < len(values)),
            il % step,
            il in grams,
        )
        for il in layers
    ]


def _first_readers(
    nodes: Sequence[GraphTensor], layers: Collection[int]
) -> dict[int, int]:
    """Of each of the layers, the place of the first node that reads a weight of it."""
    wanted = {f"blk.{il}": il for il in layers}
    found: dict[int, int] = {}
    for place, node in enumerate(nodes if wanted else ()):
        for src in node.src:
            il = wanted.get(src.name[: src.name.find(".", 4)])
            if il is not None:
                found.setdefault(il, place)
    return found
