"""Placements with what formula and dry run say of them: estimate and plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from placer.app.desk import Desk, beside_bytes, open_desk
from placer.app.notes import notes_of
from placer.app.relief import Relief, reliefs
from placer.errors import SearchError
from placer.memory.estimate import without_compute
from placer.placement import Placement, placement_args, placement_from_args
from placer.plan import Candidate, plan_candidates
from placer.plan.plan import candidate_for_placement, headroom_bytes
from placer.units import size_text

if TYPE_CHECKING:
    from placer.app.companions import Companion
    from placer.app.target import Target
    from placer.app.where import Request, Where
    from placer.machine import Machine
    from placer.memory import MemoryEstimate


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
        """The device with the least left."""
        return self.headroom_bytes.index(min(self.headroom_bytes))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Ranked candidates for a target on a machine, best first."""

    target: Target
    machine: Machine
    candidates: tuple[Rated, ...]


def estimate(
    name: str, where: Where, request: Request, placement: tuple[str, ...] = ()
) -> Estimated:
    """What a placement holds: the given flags, else the profile's, else all on GPUs.

    Raises:
        PlacerError: as for ``plan``.
    """
    with open_desk(name, where, request) as desk:
        target, machine = desk.target, desk.machine
        flags = placement or target.placement_args
        chosen = placement_from_args(flags, target.shape, machine)
        # What weights and context alone exceed is launched without a pipeline.
        bare = without_compute(target.shape, target.workload, chosen, machine)
        is_short = min(headroom_bytes(bare, machine)) < 0
        launched = desk.unpipelined(chosen) if is_short else chosen
        candidate = candidate_for_placement(
            chosen, target.shape, desk.formula(launched), machine
        )
        rated = rate(candidate, desk)
        return Estimated(
            target=target, machine=machine, rated=rated, reliefs=_reliefs(rated, desk)
        )


def _reliefs(rated: Rated, desk: Desk) -> tuple[Relief, ...]:
    """What would help on the device that is short of memory."""
    if min(rated.headroom_bytes) >= 0:
        return ()
    return reliefs(
        desk.target.workload,
        lambda asked: desk.formula(rated.launched, asked),
        rated.tightest,
    )


def plan(name: str, where: Where, request: Request) -> Plan:
    """The placements worth trying, best first, each with the engine's dry run.

    Raises:
        InputError: the model or the profile is not what it should be.
        MachineError: no engine, or no device.
        SearchError: nothing fits, by formula.
    """
    with open_desk(name, where, request) as desk:
        target = desk.target
        candidates = plan_candidates(
            target.shape,
            target.workload,
            desk.machine,
            formula=desk.formula,
            compute_of=desk.compute_of,
            beside=desk.beside_by_slot,
        )
        rated = tuple(rate(candidate, desk) for candidate in candidates)
        with_room = tuple(r for r in rated if min(r.headroom_bytes) >= 0)
        if not with_room:
            raise _nothing_fits(desk, rated)
        return Plan(target=target, machine=desk.machine, candidates=with_room)


def _nothing_fits(desk: Desk, rated: tuple[Rated, ...]) -> SearchError:
    """By how much the nearest candidate misses."""
    problem = f"no placement of {desk.target.shape.name} fits by formula"
    if rated:
        nearest = max(rated, key=lambda r: min(r.headroom_bytes))
        device = desk.machine.devices[nearest.tightest].name
        short = size_text(-min(nearest.headroom_bytes))
        problem += f": the nearest is {short} short on {device}"
    return SearchError(
        problem, hint="lower --ctx, -ub or the cache types, or free memory"
    )


def rate(candidate: Candidate, desk: Desk) -> Rated:
    """The candidate with the engine's own figures.

    Where it fits only without pipelining, those are the figures: the engine gives it
    up by itself, and so does the formula.
    """
    placement, target, machine = candidate.placement, desk.target, desk.machine
    launched, said = placement, desk.ask(placement)
    if min(headroom_bytes(said or desk.corrected(candidate.estimate), machine)) < 0:
        launched = desk.unpipelined(placement)
        said = desk.ask(launched)
        formula = desk.formula(launched)
        candidate = replace(
            candidate,
            estimate=formula,
            headroom_bytes=headroom_bytes(formula, machine),
        )
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
            *notes_of(candidate, launched, said, companions, desk),
            *_lessons(candidate.estimate, said, desk),
        ),
        is_complete=best.is_complete
        and not desk.companions.unknown
        and not any(companion.unknown for companion in companions)
        and not desk.is_refused(launched),
        corrected=None if corrected == candidate.estimate else corrected,
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
