from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from placer.machine.files import load_machine
from placer.speed import FIELD_NOTES, Rates, rates_of
from placer.speed.rates import (
    BANDWIDTH,
    CORE_BANDWIDTH,
    FLOPS_PER_BANDWIDTH,
    HOST_BANDWIDTH,
    NETWORK_BYTES_PER_S,
    NETWORK_LATENCY_S,
)
from placer.testing.fake_shapes import fake_machine
from placer.units import MIB

if TYPE_CHECKING:
    from placer.machine import Machine

CAL = FIELD_NOTES
MB = 1_000_000


def rates(machine: Machine, threads: int | None = None) -> Rates:
    """By the field notes."""
    return rates_of(machine, CAL, threads)


def remote(
    bytes_per_s: float | None = None, latency_s: float | None = None
) -> tuple[Rates, int]:
    """A remote device and one that is here, and the CPU's index."""
    machine = fake_machine([MIB, MIB])
    first = replace(
        machine.devices[0],
        name="RPC0",
        network_bytes_per_s=bytes_per_s,
        network_latency_s=latency_s,
    )
    found = rates(replace(machine, devices=(first, machine.devices[1])))
    return found, found.cpu


def test_a_data_sheet_is_read_with_its_share() -> None:
    """Bandwidth times efficiency, the arithmetic as it stands, and the CPU last."""
    found = rates(load_machine("desktop-4090-5070-ti"))
    first, second, cpu = found.homes

    assert first.bytes_per_s == pytest.approx(1008e9 * CAL.device_efficiency)
    assert second.bytes_per_s == pytest.approx(896e9 * CAL.device_efficiency)
    assert first.flops_per_s == pytest.approx(165.2e12)
    assert cpu.bytes_per_s == pytest.approx(51.2e9 * CAL.host_efficiency)
    assert (cpu.name, found.cpu) == ("CPU", 2)
    assert found.assumed == ()


def test_what_nobody_said_is_assumed_and_said() -> None:
    """One phrase for each device and for the host; all cards rank alike."""
    found = rates(fake_machine([MIB, MIB]))
    first, second, _ = found.homes

    assert first.bytes_per_s == second.bytes_per_s == BANDWIDTH * CAL.device_efficiency
    assert first.flops_per_s == BANDWIDTH * FLOPS_PER_BANDWIDTH
    assert found.assumed == (
        "bandwidth of Vulkan0 (500 GB/s)",
        "bandwidth of Vulkan1 (500 GB/s)",
        f"bandwidth of the CPU's memory ({HOST_BANDWIDTH / 1e9:.0f} GB/s)",
    )


def test_few_threads_do_not_saturate_the_memory() -> None:
    """So many cores read so much, and no number of them more than the memory has."""
    machine = load_machine("desktop-4090-5070-ti")
    one, all_of_it = rates(machine, 1).homes[-1], rates(machine, 64).homes[-1]

    assert one.bytes_per_s == pytest.approx(CORE_BANDWIDTH * CAL.host_efficiency)
    assert all_of_it == rates(machine).homes[-1]


def test_what_was_measured_here_is_no_data_sheet() -> None:
    """A read of this machine's memory gets nearer to what a model gets of it."""
    sheet = load_machine("desktop-4090-5070-ti")
    measured = rates(replace(sheet, name=None)).homes[-1]

    assert measured.bytes_per_s == pytest.approx(51.2e9 * CAL.read_efficiency)
    assert measured.bytes_per_s > rates(sheet).homes[-1].bytes_per_s


def test_a_link_is_its_lanes_and_generation() -> None:
    """Twice the lanes or one more generation is twice as fast."""
    sheet = load_machine("rtx-4090")
    card = sheet.devices[0]
    speeds = [
        rates(
            replace(
                sheet,
                devices=(replace(card, link_generation=generation, link_width=lanes),),
            )
        )
        .homes[0]
        .link_bytes_per_s
        for generation, lanes in [(4, 8), (4, 16), (5, 16), (None, None)]
    ]

    assert [speed / speeds[0] for speed in speeds] == pytest.approx([1, 2, 4, 2])


def test_a_hop_takes_its_start_and_its_bytes() -> None:
    """None within a home; the slower link counts; the host costs more than a card."""
    found = rates(load_machine("rtx-4090+rtx-5070-ti"))
    link = found.homes[0].link_bytes_per_s

    assert found.hop_s(0, 0, MB) == 0.0
    assert found.hop_s(0, 1, MB) == pytest.approx(CAL.device_hop_s + MB / link)
    assert found.hop_s(1, 0, MB) == found.hop_s(0, 1, MB)
    assert found.hop_s(0, 2, MB) == pytest.approx(CAL.host_hop_s + MB / link)


def test_a_device_that_shares_the_hosts_memory_is_reached_at_its_speed() -> None:
    """There is no link."""
    home = rates(load_machine("dgx-spark")).homes[0]

    assert home.link_bytes_per_s == home.bytes_per_s


def test_what_is_fetched_from_afar_takes_a_round_trip_a_tensor() -> None:
    """Nobody waits for what is sent there but its bytes."""
    found, cpu = remote(bytes_per_s=1e9, latency_s=1e-3)

    assert found.hop_s(0, 1, MB) == pytest.approx(1e-3 + 1e-3)
    assert found.hop_s(0, 1, MB, n_tensors=3) == pytest.approx(3e-3 + 1e-3)
    assert found.hop_s(1, 0, MB, n_tensors=3) == pytest.approx(1e-3)
    assert found.hop_s(cpu, 0, MB) == pytest.approx(1e-3)


def test_a_network_that_nobody_measured_is_assumed_and_said() -> None:
    """Its speed and its latency, each for itself."""
    unknown, _ = remote()
    half, _ = remote(bytes_per_s=1e9)

    assert unknown.homes[0].link_bytes_per_s == NETWORK_BYTES_PER_S
    assert unknown.homes[0].hop_s == NETWORK_LATENCY_S
    assert "network to RPC0 (1 Gbit/s)" in unknown.assumed
    assert "latency of RPC0 (200 us)" in unknown.assumed
    assert "network to RPC0 (1 Gbit/s)" not in half.assumed
    assert "latency of RPC0 (200 us)" in half.assumed


def test_no_latency_is_one() -> None:
    """0 is a figure, not a gap."""
    found, _ = remote(bytes_per_s=1e9, latency_s=0.0)

    assert found.homes[0].hop_s == 0.0
    assert not any("latency" in what for what in found.assumed)


@pytest.mark.parametrize("name", ["desktop-4090-5070-ti", "rtx-4090", "dgx-spark"])
def test_cards_are_faster_than_the_cpu(name: str) -> None:
    """Whatever fits there belongs there."""
    assert rates(load_machine(name)).prefers_devices


def test_a_device_afar_or_one_that_is_no_faster_is_no_better_than_the_cpu() -> None:
    """What fits there may be better off on the CPU."""
    slow = load_machine("desktop-4090-5070-ti")
    cards = [replace(d, bandwidth_bytes_per_s=30e9) for d in slow.devices]

    assert not remote()[0].prefers_devices
    assert not rates(replace(slow, devices=tuple(cards))).prefers_devices
