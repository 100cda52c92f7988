"""What a machine shows while it works: its cards by NVML, its processor and memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from placer.machine.nvml import handles_of, held_of, open_nvml

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.machine.device import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class CardReading:
    """One device at one moment; None for what nobody says.

    Attributes:
        used_bytes: of its memory, by all processes.
        total_bytes: its memory.
        held_bytes: of its memory, by the process that was asked for.
        busy_percent: the share of the last moment in which it computed.
        power_w: that it draws.
        power_limit_w: that it may draw.
        temperature_c: of the chip.
        link_generation: of its PCIe link, now: an idle card saves there.
        link_width: lanes, now.
    """

    used_bytes: int | None = None
    total_bytes: int | None = None
    held_bytes: int | None = None
    busy_percent: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    temperature_c: int | None = None
    link_generation: int | None = None
    link_width: int | None = None


NOTHING = CardReading()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReading:
    """The processor and the host's memory at one moment; None for what nobody says.

    Attributes:
        cpu_percent: of all cores together, since the reading before.
        used_bytes: of the memory, without what may be given back at once.
        total_bytes: the memory.
        swap_used_bytes: of the swap space.
        swap_total_bytes: the swap space; 0 where there is none.
        process_bytes: that the server's process has in memory, its mapped model too.
    """

    cpu_percent: float | None
    used_bytes: int
    total_bytes: int
    swap_used_bytes: int
    swap_total_bytes: int
    process_bytes: int | None = None


def read_cards(
    devices: tuple[Device, ...], pid: int | None = None
) -> tuple[CardReading, ...]:
    """Each device now, as far as NVML knows it.

    Args:
        devices: in the engine's order; those of other backends stay unknown.
        pid: the process whose share is told.
    """
    with open_nvml(devices) as nvml:
        if nvml is None:
            return (NOTHING,) * len(devices)
        try:
            handles = handles_of(nvml, devices)
        except nvml.NVMLError:
            return (NOTHING,) * len(devices)
        return tuple(
            _card(nvml, handles[device.name], pid)
            if device.name in handles
            else NOTHING
            for device in devices
        )


def _card(nvml: Any, handle: Any, pid: int | None) -> CardReading:
    def ask(question: Callable[..., Any], *args: Any) -> Any:
        try:
            return question(handle, *args)
        except nvml.NVMLError:
            return None

    memory = ask(nvml.nvmlDeviceGetMemoryInfo)
    busy = ask(nvml.nvmlDeviceGetUtilizationRates)
    return CardReading(
        used_bytes=None if memory is None else int(memory.used),
        total_bytes=None if memory is None else int(memory.total),
        held_bytes=_share(nvml, handle, pid),
        busy_percent=None if busy is None else int(busy.gpu),
        power_w=_watts(ask(nvml.nvmlDeviceGetPowerUsage)),
        power_limit_w=_watts(ask(nvml.nvmlDeviceGetEnforcedPowerLimit)),
        temperature_c=ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
        link_generation=ask(nvml.nvmlDeviceGetCurrPcieLinkGeneration),
        link_width=ask(nvml.nvmlDeviceGetCurrPcieLinkWidth),
    )


def _share(nvml: Any, handle: Any, pid: int | None) -> int | None:
    """What the process holds; None where the driver does not list it."""
    if pid is None:
        return None
    try:
        return held_of(nvml, handle).get(pid)
    except nvml.NVMLError:
        return None


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def read_host(pid: int | None = None) -> HostReading:
    """The host now.

    Args:
        pid: the process whose memory is told.
    """
    import psutil

    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return HostReading(
        cpu_percent=_cpu_percent(),
        used_bytes=memory.total - memory.available,
        total_bytes=memory.total,
        swap_used_bytes=swap.used,
        swap_total_bytes=swap.total,
        process_bytes=None if pid is None else _resident(pid),
    )


def _cpu_percent() -> float | None:
    """Since it was last asked; 0.0 the first time, which is no reading."""
    import psutil

    return float(psutil.cpu_percent(interval=None)) or None


def _resident(pid: int) -> int | None:
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None
