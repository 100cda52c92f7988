"""What a device holds, as one source says it: formula, dry run or observation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from placer.engine.observation import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from placer.search.records import StudyRecord

# In the order in which the engine asks for them.
PHASES = ("weights", "context", "compute")
HOST = "Host"
# CPU_Mapped, CPU_REPACK, CUDA_Host, Vulkan_Host: all of them the host's memory.
HOST_BUFFER = re.compile(r"^(CPU|AMX|BLAS)|_Host$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Bytes of one device by the phase they are asked in; None where not known."""

    weights_bytes: int | None = None
    context_bytes: int | None = None
    compute_bytes: int | None = None

    @property
    def parts(self) -> tuple[int | None, ...]:
        """The three, in the order of ``PHASES``."""
        return (self.weights_bytes, self.context_bytes, self.compute_bytes)

    @property
    def total_bytes(self) -> int | None:
        """Their sum; None where one of them is not known."""
        known = [part for part in self.parts if part is not None]
        return sum(known) if len(known) == len(self.parts) else None


def said_by(estimate: Mapping[str, Any] | None, device: int | None) -> Held:
    """What an estimate says of a device by its index; of the host for None."""
    if estimate is None:
        return Held()
    row = estimate["host"] if device is None else estimate["devices"][device]
    return Held(
        weights_bytes=row["model_bytes"],
        context_bytes=row["context_bytes"],
        compute_bytes=row["compute_bytes"],
    )


def owner_of(buffer: str, devices: Sequence[Mapping[str, Any]]) -> str:
    """The device, or the host, that owns a buffer; the buffer's name if none does.

    A remote device is described by its endpoint, and its memory carries it:
    ``RPC1`` at ``10.0.0.2:50052`` owns ``RPC0[10.0.0.2:50052]`` (ggml-rpc.cpp:766).
    """
    for device in devices:
        remote = f"RPC0[{device['description']}]"
        if buffer in (device["name"], remote):
            return str(device["name"])
    return HOST if HOST_BUFFER.search(buffer) else buffer


def exhausted(
    trial: Mapping[str, Any], devices: Sequence[Mapping[str, Any]]
) -> str | None:
    """The device that ran out of memory, None where the log does not name it."""
    device = trial["device"]
    return None if device is None else owner_of(device, devices)


def seen_in(study: StudyRecord, trial: Mapping[str, Any]) -> dict[str, Held]:
    """What the log of a launch reports that each device, and the host, held.

    The machine's devices come first, then memory that no device of the machine is
    known to own, under the engine's name for it, then the host.

    A device of which a finished phase says nothing holds nothing in it: the engine
    prints no line for an empty buffer (llama-context.cpp:680). Of a phase that failed
    or was not reported at all, nothing is known, nor of any device's silence where
    there is memory without an owner.
    """
    sums = _sums(study, trial)
    devices = [device["name"] for device in study.header["devices"]]
    others = sorted({name for name, _ in sums} - {HOST, *devices})
    reported = set() if others else {phase for _, phase in sums}
    nothing = {phase: 0 for phase in _finished(trial) if phase in reported}
    return {
        name: Held(
            **{f"{p}_bytes": sums.get((name, p), nothing.get(p)) for p in PHASES}
        )
        for name in (*devices, *others, HOST)
    }


def _sums(study: StudyRecord, trial: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    sums: dict[tuple[str, str], int] = {}
    for buffer in trial["buffers"]:
        key = owner_of(buffer["device"], study.header["devices"]), buffer["phase"]
        sums[key] = sums.get(key, 0) + buffer["bytes"]
    return sums


def _finished(trial: Mapping[str, Any]) -> tuple[str, ...]:
    """The phases of loading that were over when the launch ended."""
    if trial["stage"] != Stage.STARTED.title:
        return PHASES
    if trial["phase"] in PHASES:
        return PHASES[: PHASES.index(trial["phase"])]
    return ()
