"""The record of a search that is gone, as far as the profile's comment tells it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from placer.app.study import fingerprint
from placer.engine.judge import Outcome
from placer.engine.observation import Proof, Stage
from placer.profiles import read_proved
from placer.search.records import StudyRecord

if TYPE_CHECKING:
    from placer.app.target import Target
    from placer.machine import Machine
    from placer.profiles import Proved


def told(target: Target, machine: Machine) -> StudyRecord | None:
    """A search of one launch, made of the facts beside a profile.

    What the comment does not have is not known: what each buffer held, graph splits.

    Returns:
        None where there are no facts, where they are not about the profile as it
        stands, its model and these devices, or where a figure cannot be read.
    """
    profile = target.profile
    proved = None if profile is None else read_proved(profile)
    if profile is None or proved is None or not profile.provenance_holds:
        return None
    names = [device.name for device in machine.devices]
    is_other = [device.name for device in proved.devices] != names
    is_broken = any(device.free_bytes is None for device in proved.devices)
    if is_other or is_broken or proved.model != fingerprint(target.file):
        return None
    depths = {proof.name.lower(): proof for proof in Proof}
    depth = depths.get(proved.proof or "")
    if depth is None:
        return None
    return StudyRecord(
        folder=profile.path,
        header=_header(target, proved, machine),
        skipped=(),
        trials=(_trial(proved, depth),),
        in_flight=(),
        end=None,
    )


def _header(target: Target, proved: Proved, machine: Machine) -> dict[str, Any]:
    return {
        "profile": target.name,
        "started": proved.day,
        "workload": asdict(target.workload),
        "extra_args": list(target.extra_args),
        "devices": [
            {
                "name": device.name,
                "description": device.description,
                "free_bytes": seen.free_bytes,
            }
            for device, seen in zip(machine.devices, proved.devices, strict=True)
        ],
        "engine": proved.engine,
        "emulated": proved.emulated,
        "proof": proved.proof,
    }


def _trial(proved: Proved, depth: Proof) -> dict[str, Any]:
    peaks = [device.peak_bytes for device in proved.devices]
    return {
        "number": 1,
        "verdict": Outcome.FITS.value,
        "stage": Stage(depth).title,
        "phase": None,
        "strategy": proved.strategy,
        "peak_bytes": None if None in peaks else peaks,
        "buffers": [],
        "graph_splits": None,
        "prompt_tokens_per_s": proved.prompt_tokens_per_s,
        "decode_tokens_per_s": proved.decode_tokens_per_s,
    }
