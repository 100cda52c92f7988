"""The order of a graph: nodes and leaves as the engine lines them up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from placer.graph.tensor import GraphTensor


@dataclass(slots=True)
class Graph:
    """Nodes in the order in which they run, and leaves in the order of their use."""

    nodes: list[GraphTensor] = field(default_factory=list)
    leaves: list[GraphTensor] = field(default_factory=list)

    def expand(self, tensor: GraphTensor) -> None:
        """Add what the tensor needs, depth first, and then itself.

        Source: ggml_build_forward_expand and ggml_visit_parents_graph, ggml.c.
        """
        if tensor.seen:
            return
        tensor.seen = True
        stack = [(tensor, iter(tensor.src))]
        while stack:
            current, parents = stack[-1]
            for parent in parents:
                if not parent.seen:
                    parent.seen = True
                    stack.append((parent, iter(parent.src)))
                    break
            else:
                stack.pop()
                self._append(current)

    def _append(self, tensor: GraphTensor) -> None:
        (self.leaves if tensor.op == "NONE" else self.nodes).append(tensor)
