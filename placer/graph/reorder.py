"""How Vulkan reorders a split, so that independent nodes run side by side.

Mirrors ggml_vk_graph_optimize, ggml-vulkan.cpp:14687 of llama.cpp build 11434. The
order decides which tensors live at once, and with it the compute buffer. Patterns that
the backend fuses stay together; some of them keep their operands until their end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from placer.graph.tensor import VIEW_OPS, GraphTensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

EMPTY = VIEW_OPS | {"NONE"}
# NUM_TO_CHECK: how far ahead it looks for nodes to run beside the first.
AHEAD = 20
# How far ahead it looks for the rest of something that it fuses.
NEAR = 15


def _ops(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# ggml-vulkan-types.h:508-560; the first five keep their operands to their end.
TOP_K_EXPERTS = (
    _ops("SOFT_MAX RESHAPE ARGSORT VIEW GET_ROWS RESHAPE SUM_ROWS CLAMP DIV RESHAPE"),
    _ops("UNARY RESHAPE ADD ARGSORT VIEW GET_ROWS RESHAPE SUM_ROWS CLAMP DIV RESHAPE"),
    _ops(
        "UNARY SQRT RESHAPE ADD ARGSORT VIEW GET_ROWS"
        " RESHAPE SUM_ROWS CLAMP DIV RESHAPE"
    ),
    _ops("SOFT_MAX RESHAPE ARGSORT VIEW GET_ROWS"),
    _ops("ARGSORT VIEW GET_ROWS RESHAPE SOFT_MAX RESHAPE"),
)
TOP_K_INDEX = _ops("GET_ROWS PERMUTE CONT CPY RESHAPE ADD TOP_K")
GATED_POST = _ops("SCALE UNARY SCALE DSV4_HC_POST")
KEPT_TOGETHER = (
    _ops("MUL SIN SQR MUL ADD"),
    TOP_K_INDEX,
    _ops("RMS_NORM MUL ADD MUL"),
    _ops("RMS_NORM MUL ADD"),
    _ops("RMS_NORM MUL ROPE VIEW SET_ROWS"),
    _ops("RMS_NORM VIEW SET_ROWS"),
    _ops("ROPE VIEW SET_ROWS"),
)
PATTERNS = (*TOP_K_EXPERTS, *KEPT_TOGETHER, GATED_POST)
STARTS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    op: tuple(p for p in PATTERNS if p[0] == op) for op in {p[0] for p in PATTERNS}
}
# A node may run right behind the one that it needs, where the two are fused.
FUSED_APART = frozenset({("RMS_NORM", "MUL"), ("UNARY", "MUL")})
FUSED_ADJACENT = frozenset(
    {
        ("MUL_MAT", "ADD"),
        ("MUL_MAT_ID", "ADD_ID"),
        ("MUL_MAT_ID", "MUL"),
        ("ADD", "ADD"),
        ("SSM_CONV", "ADD"),
        ("SSM_CONV", "UNARY"),
    }
)
# ggml_vk_unary_mul_op_index
FUSED_UNARY = frozenset({"SIGMOID", "SILU", "SOFTPLUS", "RELU", "TANH", "GELU"})


@dataclass(slots=True)
class Reordered:
    """Nodes in the order in which they run.

    Attributes:
        nodes: the same nodes.
        kept: tensors that must not be given back before a node has run, by its id.
    """

    nodes: list[GraphTensor] = field(default_factory=list)
    kept: dict[int, list[GraphTensor]] = field(default_factory=dict)


class Reorder:
    """One split on its way to another order."""

    def __init__(self, nodes: Sequence[GraphTensor], uses: Mapping[int, int]) -> None:
        self._nodes = nodes
        self._uses = uses
        self._ops = [node.op for node in nodes]
        self._empty = [op in EMPTY for op in self._ops]
        self._needs = _dependencies(nodes, self._empty)
        self._patterns = [_patterns_at(self._ops, i) for i in range(len(nodes))]
        self._used = [False] * len(nodes)
        self._done: set[int] = set()
        self._first = 0
        self._has_index = "TOP_K" in self._ops
        self._out = Reordered()

    def run(self) -> Reordered:
        """The new order."""
        while self._first < len(self._nodes):
            pattern = self._pattern_at(self._first)
            if pattern is not None:
                self._keep_together(pattern)
            else:
                self._emit(self._side_by_side())
        return self._out

    def _emit(self, indexes: Sequence[int]) -> None:
        for index in indexes:
            self._out.nodes.append(self._nodes[index])
            self._done.add(id(self._nodes[index]))
            self._used[index] = True
        while self._first < len(self._nodes) and self._used[self._first]:
            self._first += 1

    def _pattern_at(self, start: int) -> tuple[str, ...] | None:
        for pattern in self._patterns[start]:
            if self._matches(pattern, start):
                return pattern
        return None

    def _matches(self, pattern: tuple[str, ...], start: int) -> bool:
        """Whether all of a pattern that is there has yet to run."""
        return pattern in self._patterns[start] and not any(
            self._used[start : start + len(pattern)]
        )

    def _keep_together(self, pattern: tuple[str, ...]) -> None:
        first, last = self._first, self._first + len(pattern) - 1
        if pattern in TOP_K_EXPERTS or pattern == GATED_POST:
            scaled = last + 1 < len(self._ops) and self._ops[last + 1] == "SCALE"
            until = last + 1 if scaled and pattern != GATED_POST else last
            self._keep_operands(first, last, until)
        self._emit(range(first, last + 1))

    def _keep_operands(self, first: int, last: int, until: int) -> None:
        """Operands from outside stay until the node ``until`` has run."""
        seen: set[int] = set()
        kept = self._out.kept.setdefault(id(self._nodes[until]), [])
        for index in range(first, last + 1):
            node = self._nodes[index]
            for src in node.src:
                if id(src) not in seen:
                    seen.add(id(src))
                    kept.append(src)
            seen.add(id(node))

    def _side_by_side(self) -> list[int]:
        """The first node that has not run, and those that need not wait for it."""
        current = [self._first]
        end = min(self._first + AHEAD, len(self._nodes))
        for j in range(self._first + 1, end):
            if self._used[j] or self._empty[j] or self._in_pattern(j):
                continue
            if self._is_ready(j, current[-1]):
                current.append(j)
                self._pull(j, current)
        if self._ops[current[-1]] != "ADD":
            self._add_views(current, end)
        return current

    def _in_pattern(self, j: int) -> bool:
        if self._pattern_at(j) is not None:
            return True
        return self._has_index and any(
            j - o >= 0 and self._matches(TOP_K_INDEX, j - o)
            for o in range(len(TOP_K_INDEX))
        )

    def _is_ready(self, j: int, last: int) -> bool:
        for c in self._needs[j]:
            if c < self._first or self._used[c]:
                continue
            if c != last:
                return False
            pair = (self._ops[c], self._ops[j])
            is_next = j == c + 1
            if pair in FUSED_APART and (is_next or self._only_empty(c + 1, j)):
                continue
            if not (is_next and pair in FUSED_ADJACENT):
                return False
        return True

    def _only_empty(self, low: int, high: int) -> bool:
        return all(self._used[v] or self._empty[v] for v in range(low, high))

    def _pull(self, j: int, current: list[int]) -> None:
        """Bring forward what is fused with the node that was just taken."""
        op, before = self._ops[j], self._ops[j - 1]
        rope = j
        if op == "MUL" and before == "RMS_NORM":
            found = self._next_reader(j, "ROPE", self._is_plain_rope)
            if found is not None:
                rope = found
                self._take(found, current)
        if self._ops[rope] in ("ROPE", "RMS_NORM"):
            self._pull_store(rope, current)
        if (before, op) == ("MUL_MAT_ID", "ADD_ID"):
            self._take_next(j, "MUL", current, self._is_other_ready)
        elif (before, op) == ("MUL_MAT", "ADD"):
            self._take_next(j, "ADD", current, self._is_other_ready)
        elif (before, op) == ("SSM_CONV", "ADD"):
            self._take_next(j, "UNARY", current, lambda _: True)
        elif op == "UNARY":
            self._pull_product(j, current)

    def _take(self, index: int, current: list[int]) -> None:
        current.append(index)
        self._used[index] = True

    def _take_next(
        self,
        j: int,
        op: str,
        current: list[int],
        accepts: Callable[[GraphTensor], bool],
    ) -> None:
        found = self._next_reader(j, op, accepts)
        if found is not None:
            self._take(found, current)

    def _next_reader(
        self, j: int, op: str, accepts: Callable[[GraphTensor], bool]
    ) -> int | None:
        node = self._nodes[j]
        for k in range(j + 1, min(j + NEAR, len(self._nodes))):
            reader = self._nodes[k]
            if reader.op == op and reader.src[0] is node and accepts(reader):
                return k
        return None

    def _is_plain_rope(self, rope: GraphTensor) -> bool:
        return all(src.op == "NONE" for src in rope.src[1:3])

    def _is_other_ready(self, node: GraphTensor) -> bool:
        return node.src[1].op == "NONE" or id(node.src[1]) in self._done

    def _pull_product(self, j: int, current: list[int]) -> None:
        unary = self._nodes[j]
        for k in range(j + 1, min(j + NEAR, len(self._nodes))):
            product = self._nodes[k]
            if product.op != "MUL" or unary not in product.src:
                continue
            other = product.src[1] if product.src[0] is unary else product.src[0]
            is_ready = other.op == "NONE" or id(other) in self._done
            if is_ready and _fuses_product(unary, other, product):
                self._take(k, current)
                return

    def _pull_store(self, at: int, current: list[int]) -> None:
        """A rotated or normalised tensor that goes straight to the cache."""
        view = store = None
        for k in range(at + 1, min(at + NEAR, len(self._nodes))):
            if self._used[k]:
                continue
            node = self._nodes[k]
            if view is None and node.op == "VIEW" and node.src[0] is self._nodes[at]:
                view = k
            elif (
                view is not None
                and node.op == "SET_ROWS"
                and node.src[0] is self._nodes[view]
            ):
                store = k
                break
        if view is None or store is None or not self._is_private(at, view):
            return
        waits = any(
            not self._used[c] and c not in (at, view) and not self._empty[c]
            for c in self._needs[store]
            if at < c < store
        )
        if not waits:
            self._take(view, current)
            self._take(store, current)

    def _is_private(self, *indexes: int) -> bool:
        """Whether each is read once: ggml_can_fuse_subgraph_ext."""
        return all(
            self._uses.get(id(self._nodes[i]), 0) == 1 and not self._nodes[i].is_output
            for i in indexes
        )

    def _add_views(self, current: list[int], end: int) -> None:
        members = set(current)
        for j in range(self._first + 1, end):
            if self._used[j] or not self._empty[j]:
                continue
            if all(
                c < self._first or self._used[c] or c in members for c in self._needs[j]
            ):
                current.append(j)
                members.add(j)


def _patterns_at(names: Sequence[str], start: int) -> list[tuple[str, ...]]:
    """The patterns that the operations from there on are."""
    starting = STARTS.get(names[start], ())
    return [p for p in starting if tuple(names[start : start + len(p)]) == p]


def _fuses_product(
    unary: GraphTensor, other: GraphTensor, product: GraphTensor
) -> bool:
    """ggml_vk_can_fuse_unary_mul, ggml-vulkan.cpp:13446."""
    if unary.name not in FUSED_UNARY or other.type_name != unary.type_name:
        return False
    if product.type_name != unary.type_name:
        return False
    small, big = (other, unary) if product.src[0] is unary else (unary, product.src[0])
    return all(b % s == 0 for s, b in zip(small.ne, big.ne, strict=True))


def _dependencies(
    nodes: Sequence[GraphTensor], empty: Sequence[bool]
) -> list[list[int]]:
    """For each node, the earlier ones within reach that must run before it.

    It reads them, reads or writes the memory that they write, or writes what they read.
    """
    at: dict[int, int] = {}
    writers: dict[int, list[int]] = {}  # by the memory written
    solid: dict[int, list[int]] = {}  # likewise, views left out
    readers: dict[int, list[int]] = {}  # by the memory read
    result: list[list[int]] = []
    for j, node in enumerate(nodes):
        base = id(node.view_src or node)
        needed = {at[id(src)] for src in node.src if id(src) in at}
        needed.update(writers.get(base, ()))
        if not empty[j]:
            needed.update(readers.get(base, ()))
            for src in node.src:
                read = id(src.view_src or src)
                needed.update(solid.get(read, ()))
                readers.setdefault(read, []).append(j)
            solid.setdefault(base, []).append(j)
        at[id(node)] = j
        writers.setdefault(base, []).append(j)
        result.append([c for c in needed if j - c < 2 * AHEAD])
    return result
