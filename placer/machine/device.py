"""A machine as the engine sees it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from placer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class GPUProcess:
    """A process that holds memory of a GPU."""

    pid: int
    name: str
    used_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmlFacts:
    """What NVML adds to a CUDA device; None where the driver does not say."""

    pci_bus_id: str
    driver: str
    link_generation: int | None
    link_width: int | None
    memory_clock_mhz: int | None
    memory_bus_bits: int | None
    processes: tuple[GPUProcess, ...]

    @property
    def bandwidth_bytes_per_s(self) -> float | None:
        """Memory bandwidth: bus width x clock x 2 transfers a clock."""
        if self.memory_clock_mhz is None or self.memory_bus_bits is None:
            return None
        return self.memory_bus_bits / 8 * self.memory_clock_mhz * 1e6 * 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device of the engine's list.

    Attributes:
        name: as ``-dev`` and ``-ot`` spell it, ``"CUDA0"``.
        buffer_type: what ``-ot`` calls its memory; differs from the name for RPC.
        description: the card's name.
        total_bytes: as the engine reports, whole MiB.
        free_bytes: likewise, at the time of asking.
        nvml: what NVML knows of it, where it does.
        bandwidth_bytes_per_s: of its memory, by a machine file; None where not known.
        link_generation: of its PCIe link, by a machine file; None where not known.
        link_width: lanes of that link.
        flops_per_s: multiplications and additions of 16-bit matrices, by a data sheet;
            None where not known.
        network_bytes_per_s: of the way to a device of another machine, RPC; None where
            not known.
        network_latency_s: of a message to it and back; likewise.
        free_is_assumed: whether nobody has seen the free memory.
        overhead_bytes: what the backend takes beside the engine's buffers once it
            computes, which no reservation shows.
    """

    name: str
    buffer_type: str
    description: str
    total_bytes: int
    free_bytes: int
    nvml: NvmlFacts | None = None
    bandwidth_bytes_per_s: float | None = None
    link_generation: int | None = None
    link_width: int | None = None
    flops_per_s: float | None = None
    network_bytes_per_s: float | None = None
    network_latency_s: float | None = None
    free_is_assumed: bool = False
    overhead_bytes: int = 0

    @property
    def usable_bytes(self) -> int:
        """What the engine's buffers can take."""
        return self.free_bytes - self.overhead_bytes

    def overhead_under(self, n_bytes: int) -> int:
        """The overhead where so much is held: none where nothing is."""
        return self.overhead_bytes if n_bytes else 0

    @property
    def bandwidth(self) -> float | None:
        """Of its memory, in bytes a second: by NVML, else by a machine file."""
        seen = None if self.nvml is None else self.nvml.bandwidth_bytes_per_s
        return seen or self.bandwidth_bytes_per_s

    @property
    def link(self) -> tuple[int | None, int | None]:
        """Generation and lanes of its PCIe link: by NVML, else by a machine file."""
        seen = self.nvml
        if seen is not None and seen.link_generation and seen.link_width:
            return seen.link_generation, seen.link_width
        return self.link_generation, self.link_width

    @property
    def backend(self) -> str:
        """``"CUDA"`` of ``"CUDA0"``."""
        match = re.match(r"[A-Za-z]+", self.name)
        return match[0] if match else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The devices in the engine's order, and the host.

    Attributes:
        devices: as ``--list-devices`` prints them.
        engine_build: what the engine calls itself, or None where none was asked.
        host_total_bytes: the machine's memory; None where nobody said.
        host_free_bytes: what of it is available; likewise.
        chosen: whether the user named the devices; every launch then does.
        name: what a machine file calls it; None for the machine that is here.
        host_bandwidth_bytes_per_s: of the host's memory; None where not known.
        is_unified: whether the devices use the host's memory.
        sources: where the figures of a machine file come from, one line each.
    """

    devices: tuple[Device, ...]
    engine_build: str | None
    host_total_bytes: int | None
    host_free_bytes: int | None
    chosen: bool = False
    name: str | None = None
    host_bandwidth_bytes_per_s: float | None = None
    is_unified: bool = False
    sources: tuple[str, ...] = ()

    def only(self, names: Sequence[str]) -> Machine:
        """The same machine with these devices alone, in this order.

        Raises:
            InputError: one of them is not there, or named twice.
        """
        names = list(names)
        by_name = {device.name: device for device in self.devices}
        for name in names:
            if name not in by_name:
                raise InputError(
                    f"no device {name!r}",
                    hint=f"this machine has {', '.join(by_name) or 'none'}",
                )
            if names.count(name) > 1:
                raise InputError(
                    f"device {name} is named twice", hint="name each device once"
                )
        devices = tuple(by_name[name] for name in names)
        return replace(self, devices=devices, chosen=True)

    def shared_bytes(self, host_bytes: int) -> int:
        """What a device lacks when the host holds so much of a memory they share.

        Nothing, as long as the host has that much beside all that the device may take.
        """
        if not self.is_unified:
            return 0
        room = (self.host_free_bytes or 0) - self.devices[0].free_bytes
        return max(host_bytes - max(room, 0), 0)

    @property
    def device_args(self) -> list[str]:
        """The flag that names the devices, where the user did."""
        return ["-dev", ",".join(d.name for d in self.devices)] if self.chosen else []

    @property
    def buffer_types(self) -> tuple[str, ...]:
        """What ``-ot`` may name, the devices in order and the CPU last."""
        return (*(device.buffer_type for device in self.devices), "CPU")
