"""What is asked (Workload), what is decided (Placement), and how flags say both."""

from placer.placement.flags import (
    placement_args,
    placement_from_args,
    require_whole_layers,
    whole_number,
)
from placer.placement.overrides import (
    Override,
    buffer_of_tensors,
    minimal_overrides,
    parse_overrides,
)
from placer.placement.placement import Placement, Strategy, TensorException
from placer.placement.workload import KV_TYPES, Workload

__all__ = [
    "KV_TYPES",
    "Override",
    "Placement",
    "Strategy",
    "TensorException",
    "Workload",
    "buffer_of_tensors",
    "minimal_overrides",
    "parse_overrides",
    "placement_args",
    "placement_from_args",
    "require_whole_layers",
    "whole_number",
]
