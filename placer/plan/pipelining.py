"""Placements over several devices with and without a pipeline over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from placer.placement import Placement

# Compute buffers of a placement, in bytes a device.
ComputeOf = Callable[[Placement], Sequence[int]]


def unpipelined(placement: Placement) -> Placement:
    """The same tensors in the same places, with no pipeline over the devices."""
    return replace(placement, unpipelined=not placement.exceptions)
