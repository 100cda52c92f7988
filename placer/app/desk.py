"""A target on a machine, with the engine to ask where there is one."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from placer.app.companions import (
    PROJECTOR,
    Companion,
    Companions,
    companions_of,
    without_drafting,
)
from placer.app.learned import learned, prepared
from placer.app.target import Target, resolve
from placer.machine.overhead import with_overhead
from placer.memory import MemoryBreakdown, MemoryEstimate, estimate_memory
from placer.memory.compute import is_pipelined
from placer.placement import placement_args
from placer.placement.drafting import NEXTN
from placer.plan.pipelining import unpipelined
from placer.speed import FIELD_NOTES, cost_table, predict, rates_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from placer.app.learned import Learned
    from placer.app.rig import Rig
    from placer.app.where import Request, Where
    from placer.engine.fit import FitAnswer
    from placer.engine.process import Runner
    from placer.machine import Machine
    from placer.placement import Placement, Workload
    from placer.speed import Calibration, CostTable, Rates, Speed

# Tokens in the cache at which speed is predicted, where nobody says.
DEPTH = 4096


@dataclass(slots=True)
class Asking:
    """How long the engine was asked for dry runs."""

    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A target on a machine, with an engine to ask where there is one.

    Attributes:
        target: the model and what is asked of it.
        machine: the devices, here or only described.
        companions: what is loaded beside the model.
        learned: what the ledger says.
        runner: starts the engine; None where the devices are only described.
        depth: tokens in the cache at which speed is predicted.
        answers: the engine's figures of each launch, or why it gave none; it is asked
            once.
        formulas: what the formula said of each workload and placement.
        asking: how long that took.
        heard: flags, formula and dry run of those that it answered, for the ledger.
    """

    target: Target
    machine: Machine
    companions: Companions
    learned: Learned
    runner: Runner | None
    depth: int = DEPTH
    answers: dict[tuple[str, ...], MemoryEstimate | str] = field(default_factory=dict)
    formulas: dict[tuple[Workload, Placement], MemoryEstimate] = field(
        default_factory=dict
    )
    asking: Asking = field(default_factory=Asking)
    heard: list[tuple[tuple[str, ...], MemoryEstimate, MemoryEstimate]] = field(
        default_factory=list
    )

    def formula(
        self, placement: Placement, workload: Workload | None = None
    ) -> MemoryEstimate:
        """What the placement holds by formula, under another workload too."""
        asked = workload or self.target.workload
        bare = replace(placement, unpipelined=False)
        if not is_pipelined(self.target.shape, bare, asked, self.machine):
            placement = bare
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
        answer = self._answer(placement)
        return None if isinstance(answer, str) else answer

    def refusal(self, placement: Placement) -> str | None:
        """Why the engine gives no dry run of it; None where it does, or is not here."""
        answer = self._answer(placement)
        return answer if isinstance(answer, str) else None

    def is_refused(self, placement: Placement) -> bool:
        """Whether the engine would not run it: not merely too old for dry runs."""
        reason = self.refusal(placement)
        return reason is not None and "--fit" not in reason

    def _answer(self, placement: Placement) -> MemoryEstimate | str | None:
        if self.runner is None:
            return None
        args = self._args(placement)
        if args not in self.answers:
            started = time.perf_counter()
            said = _dry_run(self.runner, args, self.machine)
            self.asking.seconds += time.perf_counter() - started
            self.answers[args] = said
            if not isinstance(said, str):
                self.heard.append((args, self.formula(placement), said))
        return self.answers[args]

    def fit(self, margins_bytes: Sequence[int]) -> FitAnswer | None:
        """What ``--fit`` would do; None where there is no engine, or it will not say.

        It leaves free what a plan leaves free, overhead included.
        """
        if self.runner is None:
            return None
        from pathlib import Path
        from tempfile import TemporaryDirectory

        from placer.engine.fit import fit

        margins = [
            margin + device.overhead_bytes
            for margin, device in zip(margins_bytes, self.machine.devices, strict=True)
        ]
        shape, machine = self.target.shape, self.machine
        with TemporaryDirectory(prefix="placer-") as folder:
            log = Path(folder) / "fit.log"
            return fit(
                self.runner, self.asked_args, shape, machine, margins, log_path=log
            )

    def _args(self, placement: Placement) -> tuple[str, ...]:
        """The flags of a dry run of the placement."""
        return (*self.asked_args, *self._placement_args(placement))

    @cached_property
    def asked_args(self) -> tuple[str, ...]:
        """The flags of a dry run without those of a placement."""
        target = self.target
        extra = without_drafting(target.extra_args)
        return ("-m", str(target.file.path), *target.workload.args(), *extra)

    def _placement_args(self, placement: Placement) -> list[str]:
        return placement_args(placement, self.target.shape, self.machine)

    def corrected(self, formula: MemoryEstimate) -> MemoryEstimate:
        """The formula with what the ledger knows of such launches."""
        architecture = self.target.shape.architecture
        return self.learned.corrected(formula, architecture, self.machine)[0]

    def compute_of(self, placement: Placement) -> Sequence[int]:
        """What beside weights, context and ``beside_by_slot`` each device holds.

        Compute buffers by the engine where it was asked, else by formula with the most
        that its answers said beyond it; what is loaded beside the model; and what
        the host holds of a memory that both share.
        """
        machine = self.machine
        counted = self._counted(placement)
        said = self._known(placement)
        beside = beside_bytes(said, self.companions_on(placement, said), machine)
        shared = machine.shared_bytes(said.host.total_bytes)
        return [
            (held.compute_bytes or 0) + extra + shared - done
            for held, extra, done in zip(said.devices, beside, counted, strict=True)
        ]

    def _known(self, placement: Placement) -> MemoryEstimate:
        """The best that is known without asking the engine again."""
        formula = self.corrected(self.formula(placement))
        if not self.heard:
            return formula
        answer = self.answers.get(self._args(placement))
        if isinstance(answer, MemoryEstimate):
            return answer
        beyond = [_beyond(ours, theirs) for _, ours, theirs in self.heard]
        most = [max(figures) for figures in zip(*beyond, strict=True)]
        devices = tuple(
            replace(held, compute_bytes=max(held.compute_bytes + more, 0))
            if held.compute_bytes
            else held
            for held, more in zip(formula.devices, most, strict=True)
        )
        return replace(formula, devices=devices)

    def remember(self) -> None:
        """Write to the ledger what the engine said; what is there already stays."""
        self.learned.keep_dry_runs(self.target, self.machine, self.heard)

    def under(self, workload: Workload) -> Desk:
        """The same with another workload."""
        return replace(self, target=replace(self.target, workload=workload), heard=[])

    def on(self, machine: Machine) -> Desk:
        """The same with other devices, of which nothing was asked yet."""
        return replace(self, machine=machine, answers={}, formulas={}, heard=[])

    @cached_property
    def calibration(self) -> Calibration:
        """What data sheets are multiplied with, and what launches taught."""
        return self.learned.calibrated(FIELD_NOTES, self.target.shape, self.machine)

    @cached_property
    def rates(self) -> Rates:
        """How fast the machine is."""
        return rates_of(self.machine, self.calibration, self.target.threads)

    def table(self, workload: Workload | None = None) -> CostTable:
        """What everything costs in time, under another workload too."""
        asked = workload or self.target.workload
        depth = min(self.depth, asked.slot_ctx)
        return cost_table(self.target.shape, asked, self.machine, self.rates, depth)

    def speed(self, placement: Placement, workload: Workload | None = None) -> Speed:
        """What the placement is predicted to do."""
        asked = workload or self.target.workload
        shape, machine = self.target.shape, self.machine
        pipelined = is_pipelined(shape, placement, asked, machine)
        return predict(self.table(asked), placement, machine, pipelined=pipelined)

    @cached_property
    def beside_by_slot(self) -> tuple[int, ...]:
        """What follows each slot without being of the model."""
        devices = self.machine.devices
        if not devices:
            return ()
        return self.companions.by_slot(self.target, devices[0].backend)

    def _counted(self, placement: Placement) -> list[int]:
        """The sum of ``beside_by_slot`` over the slots of each device."""
        counted = [0] * len(self.machine.devices)
        homes = placement.slot_devices(self.target.shape.n_slots)
        for n_bytes, home in zip(self.beside_by_slot, homes, strict=False):
            if home is not None:
                counted[home] += n_bytes
        return counted

    def companions_on(
        self, placement: Placement, said: MemoryEstimate
    ) -> tuple[Companion, ...]:
        """What is loaded beside the model, so placed."""
        found = self.companions.on(placement, self.target, self.machine)
        return tuple(_with_engines_word(c, said) for c in found)


@contextmanager
def open_desk(
    name: str, where: Where, request: Request, *, depth: int = DEPTH
) -> Iterator[Desk]:
    """The target on the machine that is described, else on the one that is here.

    Args:
        name: of a profile or of a model's file.
        where: the engine, its devices, the files.
        request: changes to what the profile asks.
        depth: tokens in the cache at which speed is predicted.
    """
    target = resolve(name, where.folders, request.asked)
    described = where.described()
    if described is not None:
        if target.devices is not None:
            described = described.only(target.devices)
        known = learned(where.ledger, target.shape.architecture)
        machine = known.with_overhead(with_overhead(described))
        yield _desk(target, machine, where, known, depth)
        return
    with (
        where.rig(target.rpc) as opened,
        open_desk_on(target, where, opened, depth=depth) as (desk, _),
    ):
        yield desk


@contextmanager
def open_desk_on(
    target: Target,
    where: Where,
    opened: Rig,
    *,
    depth: int = DEPTH,
    before: str | None = None,
) -> Iterator[tuple[Desk, Rig]]:
    """The target on the devices of a rig that it uses, and the rig with these alone.

    Args:
        target: the model and what is asked of it.
        where: the ledger, and the files.
        opened: the engine and all of its devices.
        depth: tokens in the cache at which speed is predicted.
        before: what the ledger learned later does not count; None for all of it.
    """
    known, rig = prepared(target, where, opened, before=before)
    desk = _desk(target, rig.machine, where, known, depth)
    desk = replace(desk, runner=rig.runner)
    try:
        yield desk, rig
    finally:
        desk.remember()


def _desk(
    target: Target, machine: Machine, where: Where, known: Learned, depth: int
) -> Desk:
    """The target on a machine, with nobody to ask yet."""
    return Desk(
        target=target,
        machine=machine,
        companions=companions_of(target, where.folders),
        learned=known,
        runner=None,
        depth=depth,
    )


def _beyond(formula: MemoryEstimate, said: MemoryEstimate) -> list[int]:
    """Compute buffers that the engine has beyond the formula, on each device."""
    return [
        (theirs.compute_bytes or 0) - (ours.compute_bytes or 0)
        for ours, theirs in zip(formula.devices, said.devices, strict=True)
    ]


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


def _with_engines_word(companion: Companion, said: MemoryEstimate) -> Companion:
    """The companion with the engine's figures, where it gave some."""
    if companion.kind == NEXTN and said.drafting is not None:
        return replace(companion, devices=said.drafting[:-1], host=said.drafting[-1])
    total_bytes = said.projector_bytes
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
) -> MemoryEstimate | str:
    """The engine's figures, or why it gave none."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from placer.engine.dryrun import dry_run, refusal

    with TemporaryDirectory(prefix="placer-") as folder:
        log = Path(folder) / "dry-run.log"
        return dry_run(runner, args, machine, log_path=log) or refusal(log)
