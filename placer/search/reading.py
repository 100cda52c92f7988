"""What a trial says in bytes of each device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.engine.judge import Outcome

if TYPE_CHECKING:
    from placer.engine.log import BreakdownRow
    from placer.machine import Machine
    from placer.memory import MemoryEstimate
    from placer.search.trial import Probe, Trial


def compute_bytes(probe: Probe) -> list[int]:
    """Compute buffers of each device, by the best word on them."""
    return [device.compute_bytes or 0 for device in _estimate(probe).devices]


def not_asked_bytes(trial: Trial, device: int) -> int:
    """What the device had not been asked for when it ran out.

    Weights come first, then the context, then compute buffers.
    """
    held = _estimate(trial.probe).devices[device]
    if trial.verdict.outcome is Outcome.OOM_WEIGHTS:
        return (held.context_bytes or 0) + (held.compute_bytes or 0)
    if trial.verdict.outcome is Outcome.OOM_CONTEXT:
        return held.compute_bytes or 0
    return 0


def room_bytes(trial: Trial, machine: Machine) -> list[int | None]:
    """What each device had left in the end, None where the engine cannot say.

    A pipeline holds copies that it gives up when room is short, so that what it
    leaves says too little.
    """
    facts = trial.observation.facts
    rows = {} if facts.pipelined else {row.device: row for row in facts.breakdown}
    return [_credible_room(rows.get(device.name)) for device in machine.devices]


def _credible_room(row: BreakdownRow | None) -> int | None:
    """None from a driver that does not count what is used."""
    if row is None or row.free_bytes is None or row.total_bytes is None:
        return None
    used = row.total_bytes - row.free_bytes
    held = row.model_bytes + row.context_bytes + row.compute_bytes
    return row.free_bytes if used >= held else None


def _estimate(probe: Probe) -> MemoryEstimate:
    return probe.dry_run or probe.formula
