"""What NVML knows of the CUDA devices that the engine lists."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from placer.machine.device import Device, GPUProcess, NvmlFacts

if TYPE_CHECKING:
    from collections.abc import Callable


def with_nvml(
    devices: tuple[Device, ...], pci_bus_ids: dict[str, str]
) -> tuple[Device, ...]:
    """The same devices, the CUDA ones with NVML's facts where it can be asked.

    Args:
        devices: the engine's list.
        pci_bus_ids: device name -> PCI bus id where the engine logged one. A device
            without one is matched by its position, which is NVML's own order under
            ``CUDA_DEVICE_ORDER=PCI_BUS_ID`` (placer always sets it).
    """
    if not any(device.backend == "CUDA" for device in devices):
        return devices
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return devices
    try:
        return tuple(_with_facts(pynvml, device, pci_bus_ids) for device in devices)
    finally:
        pynvml.nvmlShutdown()


def _with_facts(nvml: Any, device: Device, pci_bus_ids: dict[str, str]) -> Device:
    if device.backend != "CUDA":
        return device
    try:
        handle = _handle(nvml, device, pci_bus_ids)
    except nvml.NVMLError:
        return device
    return replace(device, nvml=_facts(nvml, handle))


def _handle(nvml: Any, device: Device, pci_bus_ids: dict[str, str]) -> Any:
    bus_id = pci_bus_ids.get(device.name)
    if bus_id is not None:
        return nvml.nvmlDeviceGetHandleByPciBusId(bus_id.encode())
    return nvml.nvmlDeviceGetHandleByIndex(int(device.name.removeprefix("CUDA")))


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
