"""What NVML knows of the CUDA devices that the engine lists."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from placer.machine.device import Device, GPUProcess, NvmlFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def with_nvml(devices: tuple[Device, ...]) -> tuple[Device, ...]:
    """The same devices, the CUDA ones with NVML's facts where it can be asked."""
    with open_nvml(devices) as nvml:
        if nvml is None:
            return devices
        handles = handles_of(nvml, devices)
        return tuple(
            device
            if handles.get(device.name) is None
            else replace(device, nvml=_facts(nvml, handles[device.name]))
            for device in devices
        )


class NvmlWatch:
    """Memory of processes on the CUDA devices, as the driver counts it."""

    def __init__(self, devices: tuple[Device, ...]) -> None:
        self._devices = devices
        self._peaks: dict[int, tuple[int, ...]] = {}

    @classmethod
    def of(cls, devices: tuple[Device, ...]) -> NvmlWatch | None:
        """A watch over the devices, None where NVML cannot see all of them."""
        with open_nvml(devices) as nvml:
            seen = {} if nvml is None else handles_of(nvml, devices)
        return cls(devices) if len(seen) == len(devices) else None

    def peak_bytes(self, pid: int) -> tuple[int, ...] | None:
        """The most that the process was seen to hold of each device, in bytes.

        None where the driver does not name the process (another namespace) or does
        not say what it holds.
        """
        used = self._used_bytes(pid)
        if used is None:
            return self._peaks.get(pid)
        before = self._peaks.get(pid, (0,) * len(used))
        self._peaks[pid] = tuple(map(max, before, used))
        return self._peaks[pid]

    def others_bytes(self, pid: int) -> tuple[int, ...] | None:
        """What all other processes hold of each device now, in bytes.

        None until the driver names the process itself: in another namespace it has
        another id there, and would count among the others.
        """
        held = self._held()
        if held is None or not any(pid in by_pid for by_pid in held):
            return None
        return tuple(
            sum(n for other, n in by_pid.items() if other != pid) for by_pid in held
        )

    def _used_bytes(self, pid: int) -> tuple[int, ...] | None:
        held = self._held()
        if held is None or not any(pid in by_pid for by_pid in held):
            return None
        # A device on which the process is not listed holds nothing of it.
        return tuple(by_pid.get(pid, 0) for by_pid in held)

    def _held(self) -> list[dict[int, int]] | None:
        """What each process holds of each device; None where it cannot be asked."""
        with open_nvml(self._devices) as nvml:
            if nvml is None:
                return None
            try:
                handles = handles_of(nvml, self._devices)
                return [held_of(nvml, handles[d.name]) for d in self._devices]
            except (nvml.NVMLError, KeyError):
                return None


@contextmanager
def open_nvml(devices: tuple[Device, ...]) -> Iterator[Any]:
    """NVML, ready to be asked, or None where there is no CUDA device or no driver."""
    if not any(device.backend == "CUDA" for device in devices):
        yield None
        return
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def handles_of(nvml: Any, devices: tuple[Device, ...]) -> dict[str, Any]:
    """NVML's handle of each CUDA device.

    The engine's list gives no PCI id, and CUDA's order is not NVML's: a device is
    matched by the card's name, and cards of one name among themselves in order.
    """
    by_name: dict[str, list[Any]] = {}
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        by_name.setdefault(_text(nvml.nvmlDeviceGetName(handle)), []).append(handle)
    found = {}
    for device in devices:
        if device.backend == "CUDA" and by_name.get(device.description):
            found[device.name] = by_name[device.description].pop(0)
    return found


def held_of(nvml: Any, handle: Any) -> dict[int, int]:
    """What each process holds of one device, of those of which the driver says it.

    A process that computes and draws is listed under both, each time with all of it.
    """
    held: dict[int, int] = {}
    for question in (
        nvml.nvmlDeviceGetComputeRunningProcesses,
        nvml.nvmlDeviceGetGraphicsRunningProcesses,
    ):
        for process in question(handle):
            if process.usedGpuMemory is not None:
                before = held.get(process.pid, 0)
                held[process.pid] = max(before, process.usedGpuMemory)
    return held


def _facts(nvml: Any, handle: Any) -> NvmlFacts:
    def ask(question: Callable[..., Any], *args: Any) -> Any:
        try:
            return question(handle, *args)
        except nvml.NVMLError:
            return None

    pci = ask(nvml.nvmlDeviceGetPciInfo)
    return NvmlFacts(
        pci_bus_id="" if pci is None else _text(pci.busId),
        driver=_text(nvml.nvmlSystemGetDriverVersion()),
        link_generation=ask(nvml.nvmlDeviceGetMaxPcieLinkGeneration),
        link_width=ask(nvml.nvmlDeviceGetMaxPcieLinkWidth),
        memory_clock_mhz=ask(nvml.nvmlDeviceGetMaxClockInfo, nvml.NVML_CLOCK_MEM),
        memory_bus_bits=ask(nvml.nvmlDeviceGetMemoryBusWidth),
        processes=_processes(ask, nvml),
    )


def _processes(ask: Callable[..., Any], nvml: Any) -> tuple[GPUProcess, ...]:
    found: dict[int, GPUProcess] = {}
    for question in (
        nvml.nvmlDeviceGetComputeRunningProcesses,
        nvml.nvmlDeviceGetGraphicsRunningProcesses,
    ):
        for process in ask(question) or ():
            found[process.pid] = GPUProcess(
                pid=process.pid,
                name=_process_name(process.pid),
                used_bytes=process.usedGpuMemory,
            )
    return tuple(sorted(found.values(), key=lambda p: -(p.used_bytes or 0)))


def _process_name(pid: int) -> str:
    import psutil

    try:
        return str(psutil.Process(pid).name())
    except psutil.Error:
        return f"pid {pid}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
