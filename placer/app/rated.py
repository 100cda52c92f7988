"""A placement with what formula, dry run and speed model say of it; estimate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.app.desk import Desk, beside_bytes, open_desk
from placer.app.notes import host_is_short, notes_of
from placer.app.relief import Relief, reliefs
from placer.memory.estimate import without_compute
from placer.memory.weights import tensor_buffers
from placer.model.shape import is_expert
from placer.placement import Placement, placement_args, placement_from_args
from placer.plan import Candidate, headroom_bytes, strategy_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.app.companions import Companion
    from placer.app.target import Target
    from placer.app.where import Request, Where
    from placer.machine import Machine
    from placer.memory import MemoryEstimate
    from placer.model import ModelShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """A placement with what formula and dry run say, kept apart.

    Attributes:
        candidate: the placement and its formula.
        args: its flags.
        dry_run: the engine's figures, None where it was not asked or did not answer.
        headroom_bytes: of each device, by the better of the two, less companions and
            overhead; what is not known counts as nothing.
        companions: what is loaded beside the model.
        notes: what is not known or was assumed, in words.
        is_complete: whether every figure that decides is known.
        launched: the placement that the figures are of: without the pipeline over the
            devices where it does not fit with it.
        corrected: the formula's figures with what the ledger knows of such launches.
        expert_bytes_on_host: of routed experts that the CPU holds.
        host_is_short: whether the host lacks the memory for what it would hold, and
            would read from the disk instead.
    """

    candidate: Candidate
    args: tuple[str, ...]
    launched: Placement
    dry_run: MemoryEstimate | None
    headroom_bytes: tuple[int, ...]
    companions: tuple[Companion, ...] = ()
    notes: tuple[str, ...] = ()
    is_complete: bool = True
    corrected: MemoryEstimate | None = None
    expert_bytes_on_host: int = 0
    host_is_short: bool = False

    @property
    def best(self) -> MemoryEstimate:
        """The engine's figures, the formula's where it gave none."""
        return self.dry_run or self.corrected or self.candidate.estimate

    def overhead_bytes(self, machine: Machine) -> tuple[int, ...]:
        """What each device takes beside all that it holds."""
        return tuple(
            device.overhead_under(
                held.total_bytes
                + sum(c.devices[index].total_bytes for c in self.companions)
            )
            for index, (device, held) in enumerate(
                zip(machine.devices, self.best.devices, strict=True)
            )
        )

    @property
    def fits(self) -> bool:
        """Whether all is known and every device has room for it; no proof."""
        return self.is_complete and min(self.headroom_bytes) >= 0

    @property
    def tightest(self) -> int:
        """The device with the least left, of those that hold anything."""
        left = self.headroom_bytes
        holding = [i for i, held in enumerate(self.best.devices) if held.total_bytes]
        return min(holding or range(len(left)), key=lambda index: left[index])


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """One placement of a target on a machine.

    Attributes:
        target: the model and what is asked of it.
        machine: the devices.
        rated: the placement and what is known of it.
        reliefs: what would help, where it does not fit.
    """

    target: Target
    machine: Machine
    rated: Rated
    reliefs: tuple[Relief, ...] = ()


def estimate(
    name: str, where: Where, request: Request, placement: tuple[str, ...] = ()
) -> Estimated:
    """What a placement holds: the given flags, else the profile's, else all on GPUs.

    Raises:
        PlacerError: as for ``plan``.
    """
    with open_desk(name, where, request) as desk:
        target, machine = desk.target, desk.machine
        rated = rated_flags(placement or target.placement_args, desk)
        return Estimated(
            target=target, machine=machine, rated=rated, reliefs=_reliefs(rated, desk)
        )


def rated_flags(flags: Sequence[str], desk: Desk) -> Rated:
    """The placement that flags amount to, as the engine would launch it.

    Raises:
        InputError: flags that the engine would refuse, or that placer does not know.
    """
    target, machine = desk.target, desk.machine
    chosen = placement_from_args(flags, target.shape, machine)
    # What weights and context alone exceed is launched without a pipeline.
    bare = without_compute(target.shape, target.workload, chosen, machine)
    is_short = min(headroom_bytes(bare, machine)) < 0
    launched = desk.unpipelined(chosen) if is_short else chosen
    return rate(candidate_of(chosen, launched, desk), desk)


def _reliefs(rated: Rated, desk: Desk) -> tuple[Relief, ...]:
    """What would help on the device that is short of memory."""
    if min(rated.headroom_bytes) >= 0:
        return ()
    return reliefs(
        desk.target.workload,
        lambda asked: desk.formula(rated.launched, asked),
        rated.tightest,
    )


def candidate_of(
    placement: Placement, launched: Placement, desk: Desk, gap: float | None = None
) -> Candidate:
    """Any placement, a hand-made one for example, with what the formulas say of it.

    Args:
        placement: as it is asked for.
        launched: as it would run: without a pipeline over the devices, perhaps.
        desk: the target on a machine.
        gap: by what share something faster could exist, where it was planned.
    """
    formula = desk.formula(launched)
    return Candidate(
        strategy=strategy_of(placement, desk.target.shape),
        placement=placement,
        estimate=formula,
        headroom_bytes=headroom_bytes(formula, desk.machine),
        speed=desk.speed(launched),
        gap=gap,
    )


def rate(candidate: Candidate, desk: Desk, *, ask: bool = True) -> Rated:
    """The candidate with the engine's own figures.

    Where it fits only without pipelining, those are the figures: the engine gives it
    up by itself, and so does the formula.

    Args:
        candidate: the placement.
        desk: the target on a machine.
        ask: whether the engine is asked, where there is one.
    """
    placement, target, machine = candidate.placement, desk.target, desk.machine
    launched, said = placement, desk.ask(placement) if ask else None
    if min(headroom_bytes(said or desk.corrected(candidate.estimate), machine)) < 0:
        launched = desk.unpipelined(placement)
        said = desk.ask(launched) if ask else None
        candidate = candidate_of(placement, launched, desk, candidate.gap)
    corrected = desk.corrected(candidate.estimate)
    best = said or corrected
    companions = desk.companions_on(placement, best)
    beside = beside_bytes(best, companions, machine)
    left = headroom_bytes(best, machine, beside)
    return Rated(
        candidate=candidate,
        args=tuple(placement_args(placement, target.shape, machine)),
        launched=launched,
        dry_run=said,
        headroom_bytes=left,
        companions=companions,
        notes=(
            *notes_of(candidate, launched, said, companions, desk, ask=ask),
            *_lessons(candidate.estimate, said, desk),
        ),
        is_complete=_is_known(best, companions, desk)
        and not (ask and desk.is_refused(launched)),
        corrected=None if corrected == candidate.estimate else corrected,
        expert_bytes_on_host=expert_bytes_on_host(target.shape, placement, machine),
        host_is_short=host_is_short(best, companions, machine),
    )


def _is_known(
    best: MemoryEstimate, companions: Sequence[Companion], desk: Desk
) -> bool:
    """Whether every figure that decides is known, of what is loaded beside it too."""
    unknown = [companion.unknown for companion in companions]
    return best.is_complete and not desk.companions.unknown and not any(unknown)


def expert_bytes_on_host(
    shape: ModelShape, placement: Placement, machine: Machine
) -> int:
    """Bytes of routed experts that a placement leaves on the CPU."""
    return sum(
        tensor.n_bytes
        for tensor, buffer in tensor_buffers(shape, placement, machine)
        if buffer == "CPU" and is_expert(tensor.name)
    )


def _lessons(
    formula: MemoryEstimate, said: MemoryEstimate | None, desk: Desk
) -> tuple[str, ...]:
    """What came from the ledger, in words."""
    from_ledger, machine = desk.learned, desk.machine
    notes = from_ledger.notes(machine)
    if said is not None:
        return notes
    architecture = desk.target.shape.architecture
    return (*from_ledger.corrected(formula, architecture, machine)[1], *notes)
