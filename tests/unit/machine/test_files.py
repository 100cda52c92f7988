from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from placer.errors import InputError
from placer.machine.files import load_machine, machine_names, with_data_sheets
from placer.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

CARD = """\
name = "A card"
sources = ["its data sheet"]

[[devices]]
backend = "CUDA"
total_mib = 1000
free_mib = 900
bandwidth_gb_per_s = 500
pcie_generation = 4
pcie_lanes = 16
"""
HOST = """
[host]
total_mib = 64000
free_mib = 60000
bandwidth_gb_per_s = 51.2
"""


@pytest.mark.parametrize("name", machine_names())
def test_every_shipped_machine_is_whole_and_says_where_its_figures_come_from(
    name: str,
) -> None:
    """Names, sizes and speed of every device, and a source for them."""
    machine = load_machine(name)

    assert machine.name
    assert machine.sources
    for device in machine.devices:
        assert 0 < device.free_bytes <= device.total_bytes
        assert device.bandwidth_bytes_per_s is not None
        assert 1e11 < device.bandwidth_bytes_per_s < 1e13
        assert device.description != device.backend
    assert machine.is_unified is (
        machine.host_bandwidth_bytes_per_s == machine.devices[0].bandwidth_bytes_per_s
    )


@pytest.mark.parametrize("name", machine_names())
def test_an_assumed_free_memory_is_marked_where_its_source_says_so(name: str) -> None:
    """The mark and the words of the file never disagree."""
    machine = load_machine(name)
    words = " ".join(line.split("host:")[0] for line in machine.sources)
    phrases = ("free: total less", "recommended working set", "taken to hold")
    assumed = any(phrase in words for phrase in phrases)

    assert any(d.free_is_assumed for d in machine.devices) is assumed


def test_cards_are_put_together_in_the_order_given() -> None:
    """Each backend numbers its own, as the engine does."""
    machine = load_machine("rtx-4090+rx-7900-xtx+rtx-5070-ti")
    names = [device.name for device in machine.devices]

    assert names == ["CUDA0", "ROCm0", "CUDA1"]
    assert [d.buffer_type for d in machine.devices] == names
    assert machine.devices[2].description == "NVIDIA GeForce RTX 5070 Ti"
    assert machine.host_total_bytes is None


def test_a_file_of_ones_own_says_what_a_shipped_one_says(tmp_path: Path) -> None:
    """Devices, link, speeds, host; what is not said is None."""
    path = tmp_path / "mine.toml"
    path.write_text(CARD + HOST)
    machine = load_machine(str(path))
    device = machine.devices[0]

    assert (device.total_bytes, device.free_bytes) == (1000 * MIB, 900 * MIB)
    assert (device.link_generation, device.link_width) == (4, 16)
    assert device.bandwidth_bytes_per_s == 500e9
    assert machine.host_total_bytes == 64000 * MIB
    assert machine.host_bandwidth_bytes_per_s == 51.2e9
    assert not machine.is_unified


def test_a_file_says_how_fast_a_device_computes_and_is_reached(tmp_path: Path) -> None:
    """In the units of data sheets; what is not said is None."""
    path = tmp_path / "mine.toml"
    speeds = "tflops = 165.2\nnetwork_gbit_per_s = 2.5\nnetwork_latency_us = 150\n"
    path.write_text(CARD + speeds)
    told = load_machine(str(path)).devices[0]
    path.write_text(CARD)
    silent = load_machine(str(path)).devices[0]

    assert told.flops_per_s == pytest.approx(165.2e12)
    assert told.network_bytes_per_s == pytest.approx(312.5e6)
    assert told.network_latency_s == pytest.approx(150e-6)
    assert silent.flops_per_s is None
    assert silent.network_bytes_per_s is silent.network_latency_s is None


@pytest.mark.parametrize("name", machine_names())
def test_arithmetic_and_bandwidth_of_a_shipped_card_go_together(name: str) -> None:
    """Where a file says both: 50 to 500 operations for each byte."""
    for device in load_machine(name).devices:
        if device.flops_per_s is not None:
            assert device.bandwidth is not None
            assert 50 < device.flops_per_s / device.bandwidth < 500


def test_a_card_that_is_here_is_known_by_its_drivers_name() -> None:
    """Its bandwidth and its arithmetic; not what memory or link it has here."""
    card = load_machine("rtx-4090").devices[0]
    bare = replace(
        load_machine("rtx-4090"),
        devices=(
            replace(
                card,
                bandwidth_bytes_per_s=None,
                flops_per_s=None,
                link_width=None,
                free_bytes=MIB,
            ),
        ),
    )
    found = with_data_sheets(bare).devices[0]

    assert found.bandwidth_bytes_per_s == card.bandwidth_bytes_per_s
    assert found.flops_per_s == card.flops_per_s is not None
    assert (found.free_bytes, found.link_width) == (MIB, None)


def test_what_is_known_of_a_device_stays() -> None:
    """And of a card without a sheet nothing is made up."""
    here = load_machine("rtx-4090")
    known = replace(here.devices[0], bandwidth_bytes_per_s=1.0, flops_per_s=None)
    unknown = replace(known, bandwidth_bytes_per_s=None, description="A card")
    found = with_data_sheets(replace(here, devices=(known, unknown))).devices

    assert found[0].bandwidth_bytes_per_s == 1.0
    assert found[0].flops_per_s == here.devices[0].flops_per_s
    assert found[1] == unknown
    assert with_data_sheets(here) is here


def test_a_file_goes_together_with_a_card(tmp_path: Path) -> None:
    """The host is the one that a part describes."""
    path = tmp_path / "mine.toml"
    path.write_text(CARD + HOST)
    machine = load_machine(f"{path}+rtx-3090")

    assert [device.name for device in machine.devices] == ["CUDA0", "CUDA1"]
    assert machine.host_total_bytes == 64000 * MIB


def test_a_machine_whose_device_uses_the_hosts_memory_stands_alone() -> None:
    """It is no card, and nothing can be added to it."""
    assert load_machine("dgx-spark").is_unified
    with pytest.raises(InputError, match="put cards together"):
        load_machine("rtx-3090+dgx-spark")


def test_an_unknown_name_lists_those_that_there_are() -> None:
    """One line with every shipped name, or with the one that was meant."""
    with pytest.raises(InputError) as caught:
        load_machine("toaster")

    assert all(name in str(caught.value) for name in machine_names())
    with pytest.raises(InputError, match="perhaps rtx-4090;"):
        load_machine("rtx4090")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no toml", "is no TOML"),
        ("", "has no [[devices]]"),
        ("devices = 1", "has no [[devices]]"),
        ("devices = [1]", "is no table"),
        ("host = 1\n" + CARD, "has no [[devices]]"),
        (CARD.replace("backend", "backand"), "unknown key 'backand'"),
        (CARD.replace('backend = "CUDA"\n', ""), "has no backend"),
        (CARD.replace('"CUDA"', '"GPU"'), "no backend 'GPU'"),
        (CARD.replace("= 1000", "= 800"), "900 MiB free of 800"),
        (CARD.replace("= 1000", '= "1000"'), "total_mib = '1000'"),
        (CARD.replace("= 1000", "= true"), "total_mib = True"),
        ("unified = 1\n" + CARD, "unified = 1"),
        (CARD + HOST + "cores = 8\n", "unknown key 'cores'"),
        (CARD + "tflops = 0\n", "tflops is 0"),
        (CARD + "tflops = inf\n", "tflops is inf"),
        (CARD + 'network_gbit_per_s = "fast"\n', "network_gbit_per_s = 'fast'"),
        (CARD + "network_latency_us = -1\n", "network_latency_us is -1"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(
    tmp_path: Path, text: str, says: str
) -> None:
    """One line that begins with the path."""
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_machine(str(path))

    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)
