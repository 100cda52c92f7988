"""What a trial says in bytes of each device."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from placer.engine.doubts import spilled
from placer.engine.judge import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.engine.judge import Verdict
    from placer.engine.log import BreakdownRow
    from placer.engine.observation import Observation
    from placer.machine import Device, Machine
    from placer.search.trial import Probe, Trial


def not_asked_bytes(trial: Trial, device: int) -> int:
    """What the device had not been asked for when it ran out.

    Weights come first, then the context, then compute buffers.
    """
    held = (trial.probe.dry_run or trial.probe.formula).devices[device]
    if trial.verdict.outcome is Outcome.OOM_WEIGHTS:
        return (held.context_bytes or 0) + (held.compute_bytes or 0)
    if trial.verdict.outcome is Outcome.OOM_CONTEXT:
        return held.compute_bytes or 0
    return 0


def left_bytes(trial: Trial, machine: Machine) -> list[int | None]:
    """What each device had left under the launch, None where nobody can say.

    The engine's last table says it at the end, the samples of what the process held
    at the worst. A pipeline holds copies that it gives up when room is short, so that
    what it leaves says too little.
    """
    facts, seen = trial.observation.facts, trial.observation
    if facts.pipelined:
        return [None] * len(machine.devices)
    rows = {row.device: row for row in facts.breakdown}
    found = []
    for index, device in enumerate(machine.devices):
        left = _credible_left(rows.get(device.name))
        if seen.peak_bytes is not None and left is not None:
            left = min(left, seen.free_bytes[index] - seen.peak_bytes[index])
        found.append(left)
    return found


def with_doubts(
    verdict: Verdict, probe: Probe, seen: Observation, earlier: Sequence[Trial]
) -> Verdict:
    """SPILLED in the place of a fit that is far slower than other fits would have it.

    Args:
        verdict: on the launch.
        probe: what was asked, with the speed that was predicted.
        seen: of the launch.
        earlier: launches of the same search.
    """
    fits = [t for t in earlier if t.verdict.outcome is Outcome.FITS]
    if not fits or probe.speed is None or seen.single is None:
        return verdict
    said = probe.speed
    looks = (
        ("decode", said.decode.low, seen.single.decoded_tokens_per_s),
        ("prefill", said.prefill.low, seen.single.prompt_tokens_per_s),
    )
    for what, low, measured in looks:
        paces = [pace for trial in fits if (pace := _pace(trial, what)) is not None]
        if not paces:
            return verdict
        found = spilled(
            verdict,
            what=what,
            measured=measured,
            predicted=low,
            reference=median(paces),
        )
        # A hiccup is over before both are measured; a spill slows both.
        if found is verdict:
            return verdict
    return found


def _pace(trial: Trial, what: str) -> float | None:
    """What one slot was measured to do, in terms of what was predicted."""
    said = trial.probe.speed
    if said is None:
        return None
    if what == "decode":
        measured, predicted = trial.decode_tokens_per_s, said.decode.mid
    else:
        measured, predicted = trial.prefill_tokens_per_s, said.prefill.mid
    return None if measured is None else measured / predicted


def blamed(trial: Trial, machine: Machine, needs: Sequence[int]) -> int:
    """The device that ran out; the tightest one where the log names none."""
    for index, device in enumerate(machine.devices):
        if trial.verdict.device in (device.name, device.buffer_type):
            return index
    return tightest(machine.devices, needs)


def tightest(devices: Sequence[Device], needs: Sequence[int]) -> int:
    """The device that has least left under these needs."""
    room = [d.free_bytes - n for d, n in zip(devices, needs, strict=True)]
    return room.index(min(room))


def _credible_left(row: BreakdownRow | None) -> int | None:
    """None from a driver that does not count what is used."""
    if row is None or row.free_bytes is None or row.total_bytes is None:
        return None
    used = row.total_bytes - row.free_bytes
    held = row.model_bytes + row.context_bytes + row.compute_bytes
    return row.free_bytes if used >= held else None
