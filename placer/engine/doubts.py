"""Verdicts that a second look takes back: memory that was not what it seemed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from placer.engine.gauge import NOISE_BYTES
from placer.engine.log import Phase
from placer.engine.verdict import Outcome, Verdict
from placer.units import MIB, size_text

if TYPE_CHECKING:
    from placer.engine.log import LogFacts
    from placer.engine.observation import Observation
    from placer.machine import Device, Machine

# More than what free memory is off by, and what its figures are cut down by.
OVERHELD_BYTES = 64 * MIB
# Memory of the host is five times slower than any device's, and mostly far more.
COLLAPSE = 5.0


def second_look(verdict: Verdict, seen: Observation, machine: Machine) -> Verdict:
    """The verdict, or SPOILED or SPILLED in its place."""
    if verdict.outcome.is_oom:
        return _spoiled(verdict, seen, machine)
    if verdict.outcome is Outcome.FITS:
        return _overheld(verdict, seen, machine)
    return verdict


def spilled(
    verdict: Verdict, *, what: str, measured: float, predicted: float, reference: float
) -> Verdict:
    """SPILLED for a fit whose speed collapsed, else the verdict as it is.

    Args:
        verdict: on a launch.
        what: ``"decode"`` or ``"prefill"``.
        measured: its tokens per second.
        predicted: the least that the speed model said.
        reference: what other launches of the same search measured, in terms of what
            was predicted of them: a model that errs by ten errs so for all.
    """
    expected = predicted * reference
    if verdict.outcome is not Outcome.FITS or measured * COLLAPSE >= expected:
        return verdict
    line = (
        f"{what} at {measured:.1f} tokens/s where {expected:.1f} were to be expected: "
        "memory of a device lies with the host"
    )
    return replace(
        verdict,
        outcome=Outcome.SPILLED,
        evidence=(line, *verdict.evidence),
    )


def _spoiled(verdict: Verdict, seen: Observation, machine: Machine) -> Verdict:
    """Out of memory, while another process took some of it."""
    for index, device in enumerate(machine.devices):
        if verdict.device not in (None, device.name, device.buffer_type):
            continue
        taken = _taken_bytes(seen, index)
        if taken > NOISE_BYTES:
            line = f"another process took {size_text(taken)} of {device.name} meanwhile"
            return replace(
                verdict, outcome=Outcome.SPOILED, evidence=(line, *verdict.evidence)
            )
    return verdict


def _taken_bytes(seen: Observation, index: int) -> int:
    """What others took of a device: as it was watched, or as it was missing after."""
    watched = 0 if seen.others_bytes is None else seen.others_bytes[index]
    if seen.free_after_bytes is None:
        return watched
    return max(watched, seen.free_bytes[index] - seen.free_after_bytes[index])


def _overheld(verdict: Verdict, seen: Observation, machine: Machine) -> Verdict:
    """A fit for which a device gave more than it had."""
    for index, device in enumerate(machine.devices):
        had = seen.free_bytes[index]
        if seen.free_after_bytes is not None:
            # Another process may have ended meanwhile.
            had = max(had, seen.free_after_bytes[index])
        held = _held_bytes(seen.facts, device)
        if held > had + OVERHELD_BYTES:
            line = (
                f"the engine held {size_text(held)} of {device.name}, which had "
                f"{size_text(had)} free: the rest lies with the host"
            )
            return replace(
                verdict,
                outcome=Outcome.SPILLED,
                device=device.name,
                evidence=(line, *verdict.evidence),
            )
    return verdict


def _held_bytes(facts: LogFacts, device: Device) -> int:
    """By the engine's last table, or by its buffers where it printed none."""
    for row in facts.breakdown:
        if row.device == device.name:
            return row.model_bytes + row.context_bytes + row.compute_bytes
    names = (device.name, device.buffer_type)
    # Not by the device of the buffer: two RPC devices are both RPC0[...] there.
    of_device = [b for b in facts.buffers if b.device.removesuffix("_Mapped") in names]
    # Compute buffers may be reserved again, in place of the first.
    compute = [b.n_bytes for b in of_device if b.phase is Phase.COMPUTE]
    others = sum(b.n_bytes for b in of_device if b.phase is not Phase.COMPUTE)
    return others + max(compute, default=0)
