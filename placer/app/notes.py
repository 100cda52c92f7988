"""What beside its figures has to be said of an estimate, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.app.companions import PROJECTOR
from placer.placement.drafting import NEXTN
from placer.units import MIB, size_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from placer.app.companions import Companion
    from placer.app.desk import Desk
    from placer.machine import Machine
    from placer.memory import MemoryEstimate
    from placer.placement import Placement
    from placer.plan import Candidate

# The build whose rules the formula follows, and how far off it may be unsaid.
FOLLOWS = "11434"
UNSAID_BYTES = 64 * MIB
# Remote devices that are only described; a real one's buffer has an address.
REMOTE_NAMES = frozenset(f"RPC{index}" for index in range(16))
# Who knows what the formula does not know of a companion.
SAID = {
    PROJECTOR: ": llama-server says it",
    NEXTN: f": llama-server says it from build {FOLLOWS} on",
}


def notes_of(
    candidate: Candidate,
    launched: Placement,
    said: MemoryEstimate | None,
    companions: Sequence[Companion],
    desk: Desk,
    *,
    ask: bool = True,
) -> tuple[str, ...]:
    """What is not known, what was assumed, and where two rungs disagree.

    Args:
        candidate: the placement, and what it holds by formula.
        launched: what the figures are of: without the pipeline, where it does not fit
            with it.
        said: the engine's word, None where there is none.
        companions: what is loaded beside it.
        desk: the target on the machine.
        ask: whether the engine was asked, where there is one.
    """
    best = said or candidate.estimate
    return (
        *_unknown(best, companions, desk),
        *(_refused(launched, desk) if ask else ()),
        *_apart(candidate.estimate, said, desk),
        *_host(best, companions, desk),
        *_assumed(candidate.placement, desk),
    )


def _unknown(
    best: MemoryEstimate, companions: Sequence[Companion], desk: Desk
) -> Iterator[str]:
    shape = desk.target.shape
    if any(held.context_bytes is None for held in best.devices):
        yield f"context: ask the engine: {shape.cache_unknown}"
    if any(held.compute_bytes is None for held in best.devices):
        architecture = shape.architecture
        yield f"compute buffers: ask the engine: placer has no graph of {architecture}"
    for companion in companions:
        if companion.unknown is not None:
            where = SAID.get(companion.kind, "")
            yield f"the {companion.unknown} is not known{where}"
    for kind in desk.companions.unknown:
        yield f"what --spec-type {kind} takes is not known"


def _refused(placement: Placement, desk: Desk) -> Iterator[str]:
    reason = desk.refusal(placement)
    if reason is not None:
        yield f"llama-server gave no dry run: {reason}"


def _apart(
    formula: MemoryEstimate, said: MemoryEstimate | None, desk: Desk
) -> Iterator[str]:
    """Where formula and dry run are so far apart that one of them is of another build.

    The dry run decides; but the same estimate without an engine would be as far off.
    """
    if said is None:
        return
    names = (*(device.name for device in desk.machine.devices), "the CPU")
    pairs = zip(
        names,
        (*formula.devices, formula.host),
        (*said.devices, said.host),
        strict=True,
    )
    for name, ours, theirs in pairs:
        if ours.compute_bytes is None or theirs.compute_bytes is None:
            continue
        apart = theirs.compute_bytes - ours.compute_bytes
        if abs(apart) > max(UNSAID_BYTES, theirs.compute_bytes // 10):
            more = "more" if apart > 0 else "less"
            yield (
                f"the dry run has {size_text(abs(apart))} {more} of compute buffers on "
                f"{name} than the formula, which follows llama.cpp build {FOLLOWS}"
            )


def _host(
    best: MemoryEstimate, companions: Sequence[Companion], desk: Desk
) -> Iterator[str]:
    if host_is_short(best, companions, desk.machine):
        free = desk.machine.host_free_bytes or 0
        yield (
            f"the CPU would hold {size_text(_on_host(best, companions))} of "
            f"{size_text(free)} that are free: weights would be read from the disk "
            f"again and again, and no speed is foreseen"
        )


def host_is_short(
    best: MemoryEstimate, companions: Sequence[Companion], machine: Machine
) -> bool:
    """Whether the host lacks the memory for what it would hold."""
    free = machine.host_free_bytes
    if free is None or machine.is_unified:
        return False
    return _on_host(best, companions) > free


def _on_host(best: MemoryEstimate, companions: Sequence[Companion]) -> int:
    return best.host.total_bytes + sum(c.host.total_bytes for c in companions)


def _assumed(placement: Placement, desk: Desk) -> Iterator[str]:
    if desk.target.workload.drafted:
        yield "what drafting gains in speed is not predicted"
    if any(e.buffer in REMOTE_NAMES for e in placement.exceptions):
        yield "RPC0 stands for what llama-server calls RPC0[host:port]"
    if placement.unpipelined:
        yield "no tensor matches the -ot: it only keeps batches from overlapping"
    assumed = [d.name for d in desk.machine.devices if d.free_is_assumed]
    if assumed:
        yield f"free memory of {', '.join(assumed)} is assumed, not measured"
