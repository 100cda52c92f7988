from __future__ import annotations

from dataclasses import replace

import pytest

from placer.errors import InputError
from placer.machine import Device, Machine
from placer.machine.device import NvmlFacts
from placer.units import MIB


def machine(*names: str) -> Machine:
    """A machine with devices of these names."""
    return Machine(
        devices=tuple(
            Device(
                name=name,
                buffer_type=name,
                description="a card",
                total_bytes=400 * MIB,
                free_bytes=300 * MIB,
            )
            for name in names
        ),
        engine_build=None,
        host_total_bytes=0,
        host_free_bytes=0,
    )


def test_the_devices_that_are_named_come_in_that_order() -> None:
    """Every launch then names them too, so that -ts means these."""
    chosen = machine("CUDA0", "CUDA1", "CUDA2").only(["CUDA2", "CUDA0"])

    assert [d.name for d in chosen.devices] == ["CUDA2", "CUDA0"]
    assert chosen.device_args == ["-dev", "CUDA2,CUDA0"]
    assert chosen.buffer_types == ("CUDA2", "CUDA0", "CPU")


def test_devices_that_nobody_named_are_not_named_to_the_engine() -> None:
    """What the engine does by itself stays as it is."""
    assert machine("CUDA0").device_args == []


def test_a_device_that_is_not_there_is_an_input_error() -> None:
    """The error lists those that are."""
    with pytest.raises(InputError, match="no device 'CUDA7'; this machine has CUDA0"):
        machine("CUDA0").only(["CUDA7"])


@pytest.mark.parametrize(
    ("name", "backend"),
    [("CUDA0", "CUDA"), ("Vulkan1", "Vulkan"), ("RPC0", "RPC"), ("Metal", "Metal")],
)
def test_the_backend_is_the_name_without_its_number(name: str, backend: str) -> None:
    """The prefix decides alignment and compute rules."""
    assert machine(name).devices[0].backend == backend


@pytest.mark.parametrize(
    ("host_free_mib", "host_mib", "lacks_mib"),
    [(300, 50, 50), (400, 50, 0), (400, 150, 50), (200, 10, 10)],
)
def test_a_device_lacks_what_the_host_holds_of_a_memory_they_share(
    host_free_mib: int, host_mib: int, lacks_mib: int
) -> None:
    """But for what the host has beside all that the device may take (300 MiB)."""
    alone = replace(machine("MTL0"), host_free_bytes=host_free_mib * MIB)
    shared = replace(alone, is_unified=True)

    assert shared.shared_bytes(host_mib * MIB) == lacks_mib * MIB
    assert alone.shared_bytes(host_mib * MIB) == 0


SEEN = NvmlFacts(
    pci_bus_id="0",
    driver="570",
    link_generation=4,
    link_width=8,
    memory_clock_mhz=10_000,
    memory_bus_bits=256,
    processes=(),
)


def test_a_bandwidth_that_was_seen_goes_before_a_data_sheet() -> None:
    """Twice the clock times the bus; the sheet where the driver does not say."""
    sheet = replace(machine("CUDA0").devices[0], bandwidth_bytes_per_s=500e9)
    silent = replace(SEEN, memory_clock_mhz=None)

    assert sheet.bandwidth == 500e9
    assert replace(sheet, nvml=SEEN).bandwidth == 2 * 10_000e6 * 256 / 8
    assert replace(sheet, nvml=silent).bandwidth == 500e9
    assert machine("CUDA0").devices[0].bandwidth is None


def test_a_link_that_was_seen_goes_before_a_data_sheet() -> None:
    """Whole: the lanes of one link say nothing of another's generation."""
    sheet = replace(machine("CUDA0").devices[0], link_generation=5, link_width=16)
    half = replace(SEEN, link_generation=None)

    assert sheet.link == (5, 16)
    assert replace(sheet, nvml=SEEN).link == (4, 8)
    assert replace(sheet, nvml=half).link == (5, 16)
    assert machine("CUDA0").devices[0].link == (None, None)


def test_overhead_is_taken_where_anything_is_held() -> None:
    """And of what the engine's buffers can take."""
    lazy = replace(machine("CUDA0").devices[0], overhead_bytes=100 * MIB)

    assert lazy.usable_bytes == 200 * MIB
    assert (lazy.overhead_under(0), lazy.overhead_under(1)) == (0, 100 * MIB)
