"""How fast each device of a machine reads, computes and is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from placer.machine import Device, Machine
    from placer.speed.calibration import Calibration

# What is taken for what nobody said, of a card in the middle of the field. Cards of
# unknown bandwidth rank alike.
BANDWIDTH = 500e9
# DDR4-3200 and DDR5-5600 in two channels are 51 and 90 GB/s.
HOST_BANDWIDTH = 60e9
# One core reads this much; so many of them as it takes saturate the memory.
CORE_BANDWIDTH = 12e9
# Arithmetic for each byte a second of bandwidth: 70 to 165 on most cards that come with
# placer, 300 to 400 on a few.
FLOPS_PER_BANDWIDTH = 100.0
# PCIe 4.0 with 16 lanes: 2 GB/s a lane, doubled with each generation.
LINK_GENERATION, LINK_WIDTH = 4, 16
LANE_BYTES_PER_S = 1.97e9
# Gigabit Ethernet and a round trip through a switch.
NETWORK_BYTES_PER_S = 0.118e9
NETWORK_LATENCY_S = 200e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRates:
    """One device, or the CPU.

    Attributes:
        name: as the machine calls it, ``"CPU"`` for the host.
        bytes_per_s: with which weights are read.
        flops_per_s: of a data sheet, before any efficiency.
        link_bytes_per_s: between it and the host.
        hop_s: to reach it from another device of the machine.
        is_remote: whether that is over a network.
        assumed: which of these nobody said, in words.
    """

    name: str
    bytes_per_s: float
    flops_per_s: float
    link_bytes_per_s: float
    hop_s: float
    is_remote: bool = False
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """A machine's devices in order, and its CPU behind them."""

    homes: tuple[DeviceRates, ...]
    calibration: Calibration

    @property
    def cpu(self) -> int:
        """The index of the CPU."""
        return len(self.homes) - 1

    @property
    def prefers_devices(self) -> bool:
        """Whether whatever fits on a device is faster there than on the CPU.

        Not where one is a network away, or its memory is no faster.
        """
        *devices, cpu = self.homes
        return all(
            not one.is_remote and one.bytes_per_s > cpu.bytes_per_s for one in devices
        )

    @property
    def assumed(self) -> tuple[str, ...]:
        """What nobody said, over all homes."""
        return tuple(what for home in self.homes for what in home.assumed)

    def hop_s(self, a: int, b: int, n_bytes: float, n_tensors: int = 1) -> float:
        """Seconds for so many bytes from one home to another.

        Nobody waits for what is sent to a remote device; each tensor that is fetched
        from one takes a round trip.
        """
        if a == b:
            return 0.0
        one, other = self.homes[a], self.homes[b]
        speed = min(one.link_bytes_per_s, other.link_bytes_per_s)
        if one.is_remote:
            return n_tensors * one.hop_s + n_bytes / speed
        if other.is_remote:
            return n_bytes / speed
        is_host = self.cpu in (a, b)
        cal = self.calibration
        return (cal.host_hop_s if is_host else cal.device_hop_s) + n_bytes / speed


def rates_of(
    machine: Machine, calibration: Calibration, threads: int | None = None
) -> Rates:
    """The rates of a machine.

    Args:
        machine: its devices.
        calibration: what data sheets are multiplied with.
        threads: of the CPU, where a flag says so.
    """
    homes = [_device(device, calibration, machine) for device in machine.devices]
    return Rates(
        homes=(*homes, _host(machine, calibration, threads)), calibration=calibration
    )


def _device(device: Device, cal: Calibration, machine: Machine) -> DeviceRates:
    assumed = []
    bandwidth = device.bandwidth
    if bandwidth is None:
        bandwidth = BANDWIDTH
        assumed.append(f"bandwidth of {device.name} ({bandwidth / 1e9:.0f} GB/s)")
    flops = device.flops_per_s or bandwidth * FLOPS_PER_BANDWIDTH
    link, hop_s = _link_bytes_per_s(device, cal), cal.device_hop_s
    is_remote = device.backend == "RPC"
    if is_remote:
        if device.network_bytes_per_s is None:
            assumed.append(f"network to {device.name} (1 Gbit/s)")
        if device.network_latency_s is None:
            assumed.append(f"latency of {device.name} (200 us)")
        link = device.network_bytes_per_s or NETWORK_BYTES_PER_S
        latency_s = device.network_latency_s
        hop_s = NETWORK_LATENCY_S if latency_s is None else latency_s
    elif machine.is_unified:
        link = bandwidth * cal.device_efficiency
    return DeviceRates(
        name=device.name,
        bytes_per_s=bandwidth * cal.device_efficiency,
        flops_per_s=flops,
        link_bytes_per_s=link,
        hop_s=hop_s,
        is_remote=is_remote,
        assumed=tuple(assumed),
    )


def _link_bytes_per_s(device: Device, cal: Calibration) -> float:
    generation, width = device.link
    generation, width = generation or LINK_GENERATION, width or LINK_WIDTH
    lane = LANE_BYTES_PER_S * 2.0 ** (generation - LINK_GENERATION)
    return lane * width * cal.link_efficiency


def _host(machine: Machine, cal: Calibration, threads: int | None) -> DeviceRates:
    bandwidth = machine.host_bandwidth_bytes_per_s
    assumed: tuple[str, ...] = ()
    if bandwidth is None:
        bandwidth = HOST_BANDWIDTH
        assumed = (f"bandwidth of the CPU's memory ({bandwidth / 1e9:.0f} GB/s)",)
    # Of this machine it was measured by reading, of another it is a data sheet's.
    is_measured = machine.name is None and not assumed
    share = cal.read_efficiency if is_measured else cal.host_efficiency
    read = bandwidth * share
    if threads is not None:
        read = min(read, threads * CORE_BANDWIDTH * share)
    return DeviceRates(
        name="CPU",
        bytes_per_s=read,
        flops_per_s=cal.host_flops_per_s,
        link_bytes_per_s=bandwidth,
        hop_s=cal.host_hop_s,
        assumed=assumed,
    )
