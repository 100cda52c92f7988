"""Placements with what formula and dry run say of them: estimate and plan."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from placer.app.companions import (
    PROJECTOR,
    Companion,
    Companions,
    companions_of,
    without_drafting,
)
from placer.app.learned import learned
from placer.app.relief import Relief, reliefs
from placer.app.target import Target, resolve
from placer.errors import SearchError
from placer.machine.overhead import with_overhead
from placer.memory import MemoryBreakdown, MemoryEstimate, estimate_memory
from placer.memory.compute import is_pipelined
from placer.placement import Placement, placement_args, placement_from_args
from placer.plan import Candidate, plan_candidates
from placer.plan.plan import candidate_for_placement, headroom_bytes, unpipelined
from placer.units import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from placer.app.learned import Learned
    from placer.app.where import Request, Where
    from placer.engine.process import Runner
    from placer.machine import Machine
    from placer.placement import Workload


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A target on a machine, with an engine to ask where there is one.

    Attributes:
        target: the model and what is asked of it.
        machine: the devices, here or only described.
        companions: what is loaded beside the model.
        learned: what the ledger says.
        runner: starts the engine; None where the devices are only described.
        answers: the engine's word on each launch; it is asked once.
        formulas: what the formula said of each workload and placement.
        heard: flags, formula and dry run of those that it answered, for the ledger.
    """

    target: Target
    machine: Machine
    companions: Companions
    learned: Learned
    runner: Runner | None
    answers: dict[tuple[str, ...], MemoryEstimate | None] = field(default_factory=dict)
    formulas: dict[tuple[Workload, Placement], MemoryEstimate] = field(
        default_factory=dict
    )
    heard: list[tuple[tuple[str, ...], MemoryEstimate, MemoryEstimate]] = field(
        default_factory=list
    )

    def formula(
        self, placement: Placement, workload: Workload | None = None
    ) -> MemoryEstimate:
        """What the placement holds by formula, under another workload too."""
        asked = workload or self.target.workload
        key = (asked, placement)
        if key not in self.formulas:
            self.formulas[key] = estimate_memory(
                self.target.shape, asked, placement, self.machine
            )
        return self.formulas[key]

    def unpipelined(self, placement: Placement) -> Placement:
        """The same without a pipeline over the devices; itself where there is none."""
        target = self.target
        if is_pipelined(target.shape, placement, target.workload, self.machine):
            return unpipelined(placement)
        return placement

    def ask(self, placement: Placement) -> MemoryEstimate | None:
        """What the engine says that the placement would hold, None if nothing."""
        if self.runner is None:
            return None
        from placer.search.search import launch_args

        target = self.target
        args = launch_args(
            str(target.file.path),
            target.workload,
            without_drafting(target.extra_args),
            placement,
            target.shape,
            self.machine,
        )
        if args not in self.answers:
            said = self.answers[args] = _dry_run(self.runner, args, self.machine)
            if said is not None:
                self.heard.append((args, self.formula(placement), said))
        return self.answers[args]

    def corrected(self, formula: MemoryEstimate) -> MemoryEstimate:
        """The formula with what the ledger knows of such launches."""
        architecture = self.target.shape.architecture
        return self.learned.corrected(formula, architecture, self.machine)[0]

    def compute_of(self, placement: Placement) -> Sequence[int]:
        """What beside weights and context each device holds.

        Compute buffers by the engine, by formula where it will not say; what is loaded
        beside the model; and what the host holds of a memory that both share.
        """
        machine = self.machine
        said = self.ask(placement) or self.corrected(self.formula(placement))
        beside = beside_bytes(said, self.companions_on(placement, said), machine)
        shared = machine.shared_bytes(said.host.total_bytes)
        return [
            (held.compute_bytes or 0) + extra + shared
            for held, extra in zip(said.devices, beside, strict=True)
        ]

    def companions_on(
        self, placement: Placement, said: MemoryEstimate
    ) -> tuple[Companion, ...]:
        """What is loaded beside the model, so placed."""
        found = self.companions.on(placement, self.target, self.machine)
        return tuple(_with_engines_word(c, said.projector_bytes) for c in found)


def estimate(
    name: str, where: Where, request: Request, placement: tuple[str, ...] = ()
) -> Estimated:
    """What a placement holds: the given flags, else the profile's, else all on GPUs.

    Raises:
        PlacerError: as for ``plan``.
    """
    with _desk(name, where, request) as desk:
        target, machine = desk.target, desk.machine
        flags = placement or target.placement_args
        chosen = placement_from_args(flags, target.shape, machine)
        candidate = candidate_for_placement(
            chosen, target.shape, desk.formula(chosen), machine
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
    with _desk(name, where, request) as desk:
        target = desk.target
        candidates = plan_candidates(
            target.shape, target.workload, desk.machine, desk.compute_of
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


@contextmanager
def _desk(name: str, where: Where, request: Request) -> Iterator[Desk]:
    """The target on the machine that is described, else on the one that is here."""
    target = resolve(name, where.folders, request.asked)
    companions = companions_of(target, where.folders)
    described = where.described()
    if described is not None:
        if target.devices is not None:
            described = described.only(target.devices)
        from_ledger = learned(where.ledger, target.shape.architecture)
        yield Desk(
            target=target,
            machine=from_ledger.with_overhead(with_overhead(described)),
            companions=companions,
            learned=from_ledger,
            runner=None,
        )
        return
    with where.rig(target.rpc) as opened:
        rig = opened.only(target.devices)
        from_ledger = learned(
            where.ledger, target.shape.architecture, emulated=rig.emulated
        )
        desk = Desk(
            target=target,
            machine=from_ledger.with_overhead(rig.machine),
            companions=companions,
            learned=from_ledger,
            runner=rig.runner,
        )
        try:
            yield desk
        finally:
            from_ledger.keep_dry_runs(target, desk.machine, desk.heard)


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
    left = zip(headroom_bytes(best, machine), beside, strict=True)
    return Rated(
        candidate=candidate,
        args=tuple(placement_args(placement, target.shape, machine)),
        launched=launched,
        dry_run=said,
        headroom_bytes=tuple(room - extra for room, extra in left),
        companions=companions,
        notes=(*_notes(best, desk), *_lessons(candidate.estimate, said, desk)),
        is_complete=best.is_complete and not desk.companions.unknown,
        corrected=None if corrected == candidate.estimate else corrected,
    )


def beside_bytes(
    estimate: MemoryEstimate, companions: Sequence[Companion], machine: Machine
) -> tuple[int, ...]:
    """What companions take of each device, as far as it is known."""
    alone = estimate.host.total_bytes
    host = alone + sum(companion.host.total_bytes for companion in companions)
    shared = machine.shared_bytes(host) - machine.shared_bytes(alone)
    return tuple(
        sum(c.devices[index].total_bytes for c in companions) + shared
        for index in range(len(machine.devices))
    )


def _notes(best: MemoryEstimate, desk: Desk) -> tuple[str, ...]:
    """What is not known or assumed, in words."""
    shape, notes = desk.target.shape, []
    if any(held.context_bytes is None for held in best.devices):
        notes.append(f"context: ask the engine: {shape.cache_unknown}")
    if any(held.compute_bytes is None for held in best.devices):
        notes.append(
            f"compute buffers: ask the engine: placer has no graph of "
            f"{shape.architecture}"
        )
    told = best.projector_bytes is not None
    notes += [n for n in desk.companions.notes if not (told and "projector" in n)]
    assumed = [d.name for d in desk.machine.devices if d.free_is_assumed]
    if assumed:
        notes.append(f"free memory of {', '.join(assumed)} is assumed, not measured")
    return tuple(notes)


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


def _with_engines_word(companion: Companion, total_bytes: int | None) -> Companion:
    """A projector with its compute buffer, where the engine says what both take."""
    if companion.kind != PROJECTOR or total_bytes is None:
        return companion

    def told(held: MemoryBreakdown) -> MemoryBreakdown:
        if held.compute_bytes is not None:
            return held
        return replace(held, compute_bytes=max(total_bytes - held.model_bytes, 0))

    return replace(
        companion,
        devices=tuple(map(told, companion.devices)),
        host=told(companion.host),
    )


def _dry_run(
    runner: Runner, args: tuple[str, ...], machine: Machine
) -> MemoryEstimate | None:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from placer.engine.dryrun import dry_run

    with TemporaryDirectory(prefix="placer-") as folder:
        return dry_run(runner, args, machine, log_path=Path(folder) / "dry-run.log")
