from __future__ import annotations

from dataclasses import replace

import pytest

from placer.errors import InputError
from placer.machine import Device, Machine
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
