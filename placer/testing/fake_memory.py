"""What a launch needs of each device, and whether the devices give it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from placer.machine import Device, Machine
from placer.memory import MemoryBreakdown, estimate_memory
from placer.memory.compute import is_pipelined
from placer.units import MIB

if TYPE_CHECKING:
    from placer.memory import MemoryEstimate
    from placer.model import ModelShape
    from placer.placement import Placement, Workload
    from placer.testing.fake_engine import FakeConfig

HOST_COMPUTE_BYTES = 5 * MIB


class OutOfMemoryError(Exception):
    """A device did not give a buffer."""

    def __init__(self, device: Device, asked_bytes: int) -> None:
        super().__init__(device.name)
        self.device = device
        self.asked_bytes = asked_bytes


class Memory:
    """The devices of a fake engine, and what is taken of them."""

    def __init__(self, config: FakeConfig) -> None:
        self.machine = _machine(config)
        self._taken = [config.overhead_mib.get(n, 0) * MIB for n in config.devices]

    @property
    def free_bytes(self) -> list[int]:
        """What each device has left."""
        devices = self.machine.devices
        return [d.total_bytes - n for d, n in zip(devices, self._taken, strict=True)]

    def take(self, device: int, n_bytes: int) -> None:
        """Give a buffer.

        Raises:
            OutOfMemoryError: the device has too little left.
        """
        if self._taken[device] + n_bytes > self.machine.devices[device].total_bytes:
            raise OutOfMemoryError(self.machine.devices[device], n_bytes)
        self._taken[device] += n_bytes

    def give_back(self, device: int, n_bytes: int) -> None:
        """Take a buffer back."""
        self._taken[device] -= n_bytes


def _machine(config: FakeConfig) -> Machine:
    devices = tuple(
        Device(
            name=name,
            buffer_type=name,
            description="Fake GPU",
            total_bytes=capacity * MIB,
            free_bytes=capacity * MIB,
        )
        for name, capacity in config.devices.items()
    )
    return Machine(
        devices=devices, engine_build=None, host_total_bytes=0, host_free_bytes=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A model to be loaded, and how."""

    shape: ModelShape
    workload: Workload
    placement: Placement

    def needs(self, config: FakeConfig, *, pipelined: bool) -> MemoryEstimate:
        """What the devices and the host must give."""
        placement = self.placement
        if not pipelined:
            placement = replace(placement, unpipelined=True)
        factor = config.compute_factor
        return true_needs(
            self.shape, self.workload, placement, _machine(config), factor
        )

    def is_pipelined(self, config: FakeConfig) -> bool:
        """Whether the devices work as a pipeline."""
        machine = _machine(config)
        return is_pipelined(self.shape, self.placement, self.workload, machine)


def true_needs(
    shape: ModelShape,
    workload: Workload,
    placement: Placement,
    machine: Machine,
    compute_factor: float,
) -> MemoryEstimate:
    """By placer's formula, with compute buffers larger by a factor."""
    said = estimate_memory(shape, workload, placement, machine)
    devices = tuple(
        replace(
            device,
            context_bytes=device.context_bytes or 0,
            compute_bytes=round((device.compute_bytes or 0) * compute_factor),
        )
        for device in said.devices
    )
    host = MemoryBreakdown(
        model_bytes=said.host.model_bytes,
        context_bytes=said.host.context_bytes or 0,
        compute_bytes=HOST_COMPUTE_BYTES,
    )
    return replace(said, devices=devices, host=host)
