"""What each slot of a model costs a device: whole numbers to pack with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.memory import context_bytes_by_layer
from placer.memory.weights import allocated_bytes
from placer.model.shape import is_expert

if TYPE_CHECKING:
    from placer.model import ModelShape
    from placer.placement import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotCosts:
    """Bytes of each slot on one kind of device; slots are the layers and the output.

    Attributes:
        fixed: all but the routed experts, and the context that follows the layer.
        experts: the routed experts; 0 where there are none.
        context: the part of ``fixed`` that is context.
    """

    fixed: tuple[int, ...]
    experts: tuple[int, ...]
    context: tuple[int, ...]

    @property
    def n_slots(self) -> int:
        """Layers and the output."""
        return len(self.fixed)

    @property
    def total_bytes(self) -> int:
        """The whole model on one device."""
        return sum(self.fixed) + sum(self.experts)


def slot_costs(shape: ModelShape, workload: Workload, backend: str) -> SlotCosts:
    """The costs on a device of ``backend``.

    Where placer has no formula for the context it counts as 0, and the search learns
    what it takes.
    """
    context = context_bytes_by_layer(shape, workload) or (0,) * shape.n_layer_all
    if not workload.kv_offload:
        context = (0,) * shape.n_layer_all
    fixed, experts = [], []
    for layer, context_bytes in zip(shape.layers, context, strict=True):
        sizes = [
            (is_expert(t.name), allocated_bytes(t, backend)) for t in layer.tensors
        ]
        fixed.append(context_bytes + sum(size for expert, size in sizes if not expert))
        experts.append(sum(size for expert, size in sizes if expert))
    output = sum(allocated_bytes(t, backend) for t in shape.output_tensors)
    return SlotCosts(
        fixed=(*fixed, output), experts=(*experts, 0), context=(*context, 0)
    )
