from __future__ import annotations

from placer.machine.overhead import default_overhead_bytes, with_overhead
from placer.machine.spec import machine_of_spec
from placer.units import MIB


def test_what_loads_lazily_has_an_overhead_and_the_rest_none() -> None:
    """CUDA and its kin; Vulkan showed none."""
    assert default_overhead_bytes("CUDA") == 256 * MIB
    assert default_overhead_bytes("Vulkan") == 0


def test_overhead_takes_what_can_be_used_and_leaves_what_is_free() -> None:
    """The engine's own figure stays as it is."""
    device = with_overhead(machine_of_spec("CUDA0:1000:900")).devices[0]

    assert device.free_bytes == 900 * MIB
    assert device.usable_bytes == 644 * MIB
