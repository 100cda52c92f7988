"""Packing problems small enough to do by head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from placer.plan.problem import GroupCost, Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

BETWEEN, CPU_WAY = 1.0, 3.0


def group(n_bytes: int, *cost: float) -> GroupCost:
    """Experts of so many bytes on any device."""
    return GroupCost(n_bytes=(n_bytes,) * (len(cost) - 1), cost=cost)


def kind(n_bytes: int, *cost: float, groups: tuple[GroupCost, ...] = ()) -> Kind:
    """A slot of so many bytes on any device."""
    return Kind(n_bytes=(n_bytes,) * (len(cost) - 1), cost=cost, groups=groups)


def ways(n_devices: int) -> tuple[tuple[float, ...], ...]:
    """1 second between devices, 3 to the CPU and back."""
    homes = range(n_devices + 1)
    return tuple(
        tuple(
            0.0 if a == b else CPU_WAY if n_devices in (a, b) else BETWEEN
            for b in homes
        )
        for a in homes
    )


@pytest.fixture
def layers() -> Callable[..., Problem]:
    """A maker of problems: four layers and an output on two devices and the CPU.

    A layer is 10 bytes and two groups of 20 and 10; on the first device it is read in
    1 second and its groups in 2 and 1, on the second in twice the time, on the CPU in
    ten times. The output is 5 bytes.
    """

    def make(*capacity: int, **changes: object) -> Problem:
        experts = (group(20, 2, 4, 20), group(10, 1, 2, 10))
        values: dict[str, object] = {
            "capacity": capacity,
            "used": (0, 0),
            "last": (0, 0),
            "slots": (0, 0, 0, 0, 1),
            "kinds": (kind(10, 1, 2, 10, groups=experts), kind(5, 1, 2, 10)),
            "hop": ways(2),
            "torn": ways(2),
        }
        return Problem(**{**values, **changes})  # type: ignore[arg-type]

    return make
