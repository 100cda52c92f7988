"""What a backend takes beside the engine's buffers, which no reservation shows.

A context of CUDA itself is not among it, since the engine reports what is free with one
in place. Nothing here was measured on a card: these are assumptions, until something
is observed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from placer.units import MIB

if TYPE_CHECKING:
    from placer.machine.device import Machine

# Kernels are loaded when they are first used, cuBLAS and its kin take a workspace, and
# a pool grows with the first full physical batch.
LAZY_MIB = 256
LAZY = frozenset({"CUDA", "ROCm", "MUSA", "SYCL", "CANN"})


def default_overhead_bytes(backend: str) -> int:
    """What is set aside on a device of this backend until something was observed.

    Vulkan took less than 1 MiB on emulated devices, and nothing is set aside for it,
    for Metal and for RPC devices.
    """
    return LAZY_MIB * MIB if backend in LAZY else 0


def with_overhead(machine: Machine) -> Machine:
    """The same machine, with the default set aside on each device."""
    return replace(
        machine,
        devices=tuple(
            replace(device, overhead_bytes=default_overhead_bytes(device.backend))
            for device in machine.devices
        ),
    )
