from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placer.machine import Device, Machine
from placer.router import Resident, left_bytes, most_at_once, pools_of
from placer.router.residents import CONTEXT_BYTES
from placer.units import GIB

SIZES = st.integers(min_value=0, max_value=12)


def machine(
    *free_gib: int,
    name: str = "Vulkan",
    host_gib: int | None = 64,
    unified: bool = False,
) -> Machine:
    """Devices with so much free."""
    devices = tuple(
        Device(
            name=f"{name}{index}",
            buffer_type=f"{name}{index}",
            description="",
            total_bytes=24 * GIB,
            free_bytes=free * GIB,
        )
        for index, free in enumerate(free_gib)
    )
    host = None if host_gib is None else host_gib * GIB
    return Machine(
        devices=devices,
        engine_build=None,
        host_total_bytes=host,
        host_free_bytes=host,
        is_unified=unified,
    )


def resident(*device_gib: int, host_gib: int = 0) -> Resident:
    """What holds so much."""
    held = tuple(n * GIB for n in device_gib)
    return Resident(name="one", device_bytes=held, host_bytes=host_gib * GIB)


def test_what_is_left_is_what_all_of_them_leave() -> None:
    """Of each device and of the host."""
    pools = pools_of(machine(24, 16))
    left = left_bytes(
        pools, [resident(10, 4, host_gib=30), resident(8, 0, host_gib=40)]
    )

    assert left == (6 * GIB, 12 * GIB, -6 * GIB)


def test_each_process_of_cuda_but_the_first_takes_a_context_more() -> None:
    """On the devices that it uses; of Vulkan nothing is assumed."""
    both = [resident(10, 4), resident(8, 0)]

    for name, context in (("CUDA", CONTEXT_BYTES), ("Vulkan", 0)):
        left = left_bytes(pools_of(machine(24, 16, name=name)), both)
        assert left[:2] == (6 * GIB - context, 12 * GIB)


def test_a_host_of_which_nothing_is_known_limits_nothing() -> None:
    """There is no pool of it."""
    pools = pools_of(machine(24, host_gib=None))

    assert [pool.name for pool in pools] == ["Vulkan0"]


def test_of_one_memory_device_and_host_draw_from_the_same() -> None:
    """The host has what the device leaves of all that is free."""
    pools = pools_of(machine(100, host_gib=120, unified=True))

    assert left_bytes(pools, [resident(90, host_gib=40)]) == (10 * GIB, -10 * GIB)


def test_of_a_router_that_counts_any_so_many_have_to_fit() -> None:
    """Two small ones fit beside each other; but somebody asks for the big one too."""
    pools = pools_of(machine(24))
    small, big = resident(8), resident(20)

    assert most_at_once(pools, [small, small, small]) == 3
    assert most_at_once(pools, [small, small, big]) == 1


@pytest.mark.parametrize("name", ["Vulkan", "CUDA"])
@given(
    held=st.lists(st.tuples(SIZES, SIZES, SIZES), min_size=1, max_size=5),
    free=st.tuples(SIZES, SIZES, SIZES),
)
def test_the_largest_number_is_that_of_looking_at_every_set(
    name: str, held: list[tuple[int, int, int]], free: tuple[int, int, int]
) -> None:
    """All sets of that many fit, and of one more some do not."""
    pools = pools_of(machine(free[0], free[1], host_gib=free[2], name=name))
    residents = [resident(a, b, host_gib=c) for a, b, c in held]

    def all_fit(n: int) -> bool:
        return all(
            min(left_bytes(pools, some)) >= 0 for some in combinations(residents, n)
        )

    counts = [n for n in range(1, len(residents) + 1) if all_fit(n)]
    assert most_at_once(pools, residents) == max(counts, default=0)
