from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from placer.machine import Device
from placer.machine.nvml import NvmlWatch, with_nvml
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


Card = tuple[str, str, dict[int, int]]


class FakeError(Exception):
    """What pynvml raises."""


class FakeNvml:
    """NVML of a machine with these cards: (name, bus id, {pid: MiB})."""

    NVMLError = FakeError
    NVML_CLOCK_MEM = 2

    def __init__(self, cards: Sequence[Card], *, driver: bool = True) -> None:
        self.cards = [list(card) for card in cards]
        self.graphics: dict[int, dict[int, int]] = {}
        self._driver = driver
        self.open = 0

    def nvmlInit(self) -> None:
        if not self._driver:
            raise FakeError("driver not loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> Any:
        return self.cards[handle][0]

    def nvmlDeviceGetPciInfo(self, handle: int) -> Any:
        return SimpleNamespace(busId=str(self.cards[handle][1]).encode())

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.1"

    def nvmlDeviceGetMaxPcieLinkGeneration(self, handle: int) -> int:
        raise FakeError(f"not supported on {handle}")

    def nvmlDeviceGetMaxPcieLinkWidth(self, handle: int) -> int:
        return 16

    def nvmlDeviceGetMaxClockInfo(self, handle: int, kind: int) -> int:
        assert kind == self.NVML_CLOCK_MEM
        return 10501

    def nvmlDeviceGetMemoryBusWidth(self, handle: int) -> int:
        return 384

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> Any:
        used: dict[int, int] = self.cards[handle][2]  # type: ignore[assignment]
        return _listed(used)

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: int) -> Any:
        return _listed(self.graphics.get(handle, {}))


def _listed(used: Mapping[int, int]) -> list[SimpleNamespace]:
    return [
        SimpleNamespace(pid=pid, usedGpuMemory=mib * MIB) for pid, mib in used.items()
    ]


def device(name: str, description: str) -> Device:
    """A card as the engine lists it."""
    return Device(
        name=name,
        buffer_type=name,
        description=description,
        total_bytes=24564 * MIB,
        free_bytes=23671 * MIB,
    )


FAST, SLOW = "NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 5070 Ti"
# NVML counts by PCI bus, CUDA the fastest card first.
CARDS: list[Card] = [(SLOW, "0000:01:00.0", {7: 900}), (FAST, "0000:05:00.0", {})]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """Two unequal cards, in the other order than CUDA's."""
    fake = FakeNvml(CARDS)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def test_cards_are_matched_by_name_not_by_index(nvml: FakeNvml) -> None:
    """CUDA0 is the card that CUDA calls so, wherever NVML counts it."""
    first, second = with_nvml((device("CUDA0", FAST), device("CUDA1", SLOW)))

    assert first.nvml is not None
    assert second.nvml is not None
    assert first.nvml.pci_bus_id == "0000:05:00.0"
    assert second.nvml.pci_bus_id == "0000:01:00.0"
    assert [(p.pid, p.used_bytes) for p in second.nvml.processes] == [(7, 900 * MIB)]
    assert nvml.open == 0


def test_two_cards_of_one_name_are_two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal cards are matched among themselves in order, none twice."""
    cards: list[Card] = [(FAST, "0000:01:00.0", {}), (FAST, "0000:02:00.0", {})]
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(cards))
    found = with_nvml((device("CUDA0", FAST), device("CUDA1", FAST)))

    assert [d.nvml and d.nvml.pci_bus_id for d in found] == [c[1] for c in cards]


def test_what_the_driver_does_not_say_is_none(nvml: FakeNvml) -> None:
    """An unsupported question leaves None; bandwidth is bus x clock x 2."""
    (found,) = with_nvml((device("CUDA0", FAST),))

    assert found.nvml is not None
    assert found.nvml.link_generation is None
    assert found.nvml.bandwidth_bytes_per_s == pytest.approx(1008.1e9, rel=1e-3)


def test_without_a_driver_the_devices_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """NVML adds to the engine's list and never stands in its way."""
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(CARDS, driver=False))
    devices = (device("CUDA0", FAST),)

    assert with_nvml(devices) == devices
    assert NvmlWatch.of(devices) is None


def test_other_backends_do_not_ask_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Vulkan machine needs no pynvml at all."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    devices = (device("Vulkan0", "Emulated GPU 0"),)

    assert with_nvml(devices) == devices
    assert NvmlWatch.of(devices) is None


def test_the_watch_keeps_the_most_that_a_process_held(nvml: FakeNvml) -> None:
    """A peak stays when the memory is given back."""
    watch = NvmlWatch.of((device("CUDA0", FAST), device("CUDA1", SLOW)))
    assert watch is not None
    nvml.cards[1][2] = {42: 500}
    first = watch.peak_bytes(42)
    nvml.cards[1][2] = {42: 300}
    nvml.cards[0][2] = {42: 100}

    assert first == (500 * MIB, 0)
    assert watch.peak_bytes(42) == (500 * MIB, 100 * MIB)


def test_a_process_that_nobody_names_is_not_known(nvml: FakeNvml) -> None:
    """Another namespace, or a driver that does not count: None, never 0."""
    watch = NvmlWatch.of((device("CUDA0", FAST), device("CUDA1", SLOW)))
    assert watch is not None

    assert watch.peak_bytes(42) is None


def test_a_card_that_fails_in_mid_search_keeps_its_peak(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last figure stays, and nothing is raised."""
    watch = NvmlWatch.of((device("CUDA0", FAST), device("CUDA1", SLOW)))
    assert watch is not None
    nvml.cards[0][2] = {42: 100}
    first = watch.peak_bytes(42)

    def lost(handle: int) -> None:
        raise FakeError(f"GPU {handle} is lost")

    monkeypatch.setattr(nvml, "nvmlDeviceGetComputeRunningProcesses", lost)

    assert watch.peak_bytes(42) == first == (0, 100 * MIB)


def test_what_others_hold_is_not_the_process(nvml: FakeNvml) -> None:
    """Card by card, those that only draw too; None until the process is named."""
    watch = NvmlWatch.of((device("CUDA0", FAST), device("CUDA1", SLOW)))
    assert watch is not None
    nvml.graphics[0] = {7: 900, 9: 40}
    assert watch.others_bytes(42) is None

    nvml.cards[1][2] = {42: 500, 8: 30}
    assert watch.others_bytes(42) == (30 * MIB, 940 * MIB)
    assert watch.peak_bytes(42) == (500 * MIB, 0)


def test_a_process_of_which_nothing_is_said_holds_nothing(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under Windows the driver names processes and does not say what they hold."""
    watch = NvmlWatch.of((device("CUDA0", FAST), device("CUDA1", SLOW)))
    assert watch is not None
    nvml.cards[1][2] = {42: 500}
    drawing = [SimpleNamespace(pid=9, usedGpuMemory=None)]
    monkeypatch.setattr(
        nvml, "nvmlDeviceGetGraphicsRunningProcesses", lambda _: drawing
    )

    assert watch.others_bytes(42) == (0, 900 * MIB)
