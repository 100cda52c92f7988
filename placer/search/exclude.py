"""The strategies that cannot work: by formula they take more than is free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.placement import Strategy
from placer.search.events import StrategyExcluded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from placer.machine import Machine
    from placer.search.planning import Planning


def too_big(planning: Planning, machine: Machine) -> Iterator[StrategyExcluded]:
    """One device alone, each of them, and all of them without the CPU."""
    planner = planning.planner
    room = [device.usable_bytes for device in machine.devices]
    for index, device in enumerate(machine.devices):
        needs = planning.needs(planner.alone(index))[index]
        if needs > room[index]:
            yield StrategyExcluded(
                strategy=Strategy.ONE_GPU,
                device=device.name,
                short_bytes=needs - room[index],
            )
    if len(room) > 1:
        needs = sum(planning.needs(planner.in_proportion()))
        if needs > sum(room):
            yield StrategyExcluded(
                strategy=Strategy.LAYERS,
                device=None,
                short_bytes=needs - sum(room),
            )
