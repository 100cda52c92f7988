from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from placer.machine import Device
from placer.machine.sensors import NOTHING, CardReading, read_cards, read_host
from placer.units import MIB

if TYPE_CHECKING:
    import pytest

NAME = "NVIDIA GeForce RTX 4090"


class FakeError(Exception):
    """What pynvml raises."""


class FakeCard:
    """NVML of a machine with one card; what it does not support raises."""

    NVMLError = FakeError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, *, unsupported: tuple[str, ...] = ()) -> None:
        self._unsupported = unsupported
        self.open = 0

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if name.startswith("nvmlDeviceGet") and name in self._unsupported:
            return self._refuse
        return found

    def _refuse(self, *_: Any) -> Any:
        raise FakeError("Not Supported")

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:
        return NAME

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(used=9000 * MIB, total=24564 * MIB)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return SimpleNamespace(gpu=97, memory=41)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return 318_400

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:
        return 450_000

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        assert sensor == self.NVML_TEMPERATURE_GPU
        return 67

    def nvmlDeviceGetCurrPcieLinkGeneration(self, handle: int) -> int:
        return 4

    def nvmlDeviceGetCurrPcieLinkWidth(self, handle: int) -> int:
        return 16

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> Any:
        return [SimpleNamespace(pid=7, usedGpuMemory=8000 * MIB)]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: int) -> Any:
        return []


def device(name: str, description: str = NAME) -> Device:
    """A card as the engine lists it."""
    return Device(
        name=name,
        buffer_type=name,
        description=description,
        total_bytes=24564 * MIB,
        free_bytes=23671 * MIB,
    )


def test_a_card_tells_all_it_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory of all and of one process, work, power in watts, heat, link."""
    card = FakeCard()
    monkeypatch.setitem(sys.modules, "pynvml", card)
    assert read_cards((device("CUDA0"),), 7) == (
        CardReading(
            used_bytes=9000 * MIB,
            total_bytes=24564 * MIB,
            held_bytes=8000 * MIB,
            busy_percent=97,
            power_w=318.4,
            power_limit_w=450.0,
            temperature_c=67,
            link_generation=4,
            link_width=16,
        ),
    )
    assert card.open == 0


def test_what_a_card_does_not_measure_is_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Laptops have no limit of power, and some drivers tell no processes."""
    refused = (
        "nvmlDeviceGetEnforcedPowerLimit",
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetComputeRunningProcesses",
    )
    monkeypatch.setitem(sys.modules, "pynvml", FakeCard(unsupported=refused))
    (card,) = read_cards((device("CUDA0"),), 7)
    assert (card.power_limit_w, card.busy_percent, card.held_bytes) == (None,) * 3
    assert card.power_w == 318.4


def test_a_process_that_is_not_listed_has_no_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In another namespace it has another number: nothing is not what it holds."""
    monkeypatch.setitem(sys.modules, "pynvml", FakeCard())
    (card,) = read_cards((device("CUDA0"),), 8)
    assert card.held_bytes is None
    assert card.used_bytes == 9000 * MIB


def test_cards_that_nvml_does_not_know_stay_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Other backends, other names, a driver that fails: never a zero."""
    monkeypatch.setitem(sys.modules, "pynvml", FakeCard())
    devices = (device("Vulkan0"), device("CUDA0", "another card"))
    assert read_cards(devices) == (NOTHING, NOTHING)
    broken = FakeCard(unsupported=("nvmlDeviceGetCount",))
    monkeypatch.setitem(sys.modules, "pynvml", broken)
    assert read_cards((device("CUDA0"),)) == (NOTHING,)


def test_the_host_is_read() -> None:
    """Used is no more than there is, and this process has some of it."""
    host = read_host(os.getpid())
    assert 0 < host.used_bytes <= host.total_bytes
    assert 0 <= host.swap_used_bytes <= host.swap_total_bytes
    assert host.process_bytes is not None
    assert MIB < host.process_bytes < host.total_bytes


def test_a_process_that_has_gone_holds_nothing_known() -> None:
    """Nor does it raise."""
    assert read_host(2**22 + 1).process_bytes is None
