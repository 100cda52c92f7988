"""What a backend takes beside the engine's buffers, which no reservation shows.

These are assumptions: nothing here was measured on a card. A context of CUDA itself is
not among it, since the engine reports what is free with one in place.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from placer.units import MIB

if TYPE_CHECKING:
    from placer.machine.device import Device, Machine

# CUDA, ROCm, MUSA: kernels are loaded when they are first used, cuBLAS takes its
# workspace, and a pool grows with the first full physical batch. Vulkan: pipelines and
# scratch for matrix products, made at the first product. SYCL as CUDA. Metal: pipelines
# only. An RPC device has what its own backend takes: taken to be CUDA.
DEFAULT_MIB = {
    "CUDA": 256,
    "ROCm": 256,
    "MUSA": 256,
    "SYCL": 256,
    "RPC": 256,
    "Vulkan": 128,
    "MTL": 32,
    "Metal": 32,
}
OTHER_MIB = 256
# Never more than a sixteenth of a device.
LARGEST_PART = 16


def default_overhead_bytes(device: Device) -> int:
    """What is set aside on a device until something was observed."""
    default = DEFAULT_MIB.get(device.backend, OTHER_MIB) * MIB
    return min(default, device.total_bytes // LARGEST_PART)


def with_overhead(machine: Machine) -> Machine:
    """The same machine, with the default set aside on each device."""
    return replace(
        machine,
        devices=tuple(
            replace(device, overhead_bytes=default_overhead_bytes(device))
            for device in machine.devices
        ),
    )
