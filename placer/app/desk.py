"""A target on a machine, with the engine to ask where there is one."""

from __future__ import annotations

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
from placer.app.learned import learned
from placer.app.target import Target, resolve
from placer.machine.overhead import with_overhead
from placer.memory import MemoryBreakdown, MemoryEstimate, estimate_memory
from placer.memory.compute import is_pipelined
from placer.placement.drafting import NEXTN
from placer.plan.plan import unpipelined

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from placer.app.learned import Learned
    from placer.app.where import Request, Where
    from placer.engine.process import Runner
    from placer.machine import Machine
    from placer.placement import Placement, Workload


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A target on a machine, with an engine to ask where there is one.

    Attributes:
        target: the model and what is asked of it.
        machine: the devices, here or only described.
        companions: what is loaded beside the model.
        learned: what the ledger says.
        runner: starts the engine; None where the devices are only described.
        answers: the engine's figures of each launch, or why it gave none; it is asked
            once.
        formulas: what the formula said of each workload and placement.
        heard: flags, formula and dry run of those that it answered, for the ledger.
    """

    target: Target
    machine: Machine
    companions: Companions
    learned: Learned
    runner: Runner | None
    answers: dict[tuple[str, ...], MemoryEstimate | str] = field(default_factory=dict)
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
            said = _dry_run(self.runner, args, self.machine)
            self.answers[args] = said
            if not isinstance(said, str):
                self.heard.append((args, self.formula(placement), said))
        return self.answers[args]

    def corrected(self, formula: MemoryEstimate) -> MemoryEstimate:
        """The formula with what the ledger knows of such launches."""
        architecture = self.target.shape.architecture
        return self.learned.corrected(formula, architecture, self.machine)[0]

    def compute_of(self, placement: Placement) -> Sequence[int]:
        """What beside weights, context and ``beside_by_slot`` each device holds.

        Compute buffers by the engine, by formula where it will not say; what is loaded
        beside the model; and what the host holds of a memory that both share.
        """
        machine = self.machine
        counted = self._counted(placement)
        said = self.ask(placement) or self.corrected(self.formula(placement))
        beside = beside_bytes(said, self.companions_on(placement, said), machine)
        shared = machine.shared_bytes(said.host.total_bytes)
        return [
            (held.compute_bytes or 0) + extra + shared - done
            for held, extra, done in zip(said.devices, beside, counted, strict=True)
        ]

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
def open_desk(name: str, where: Where, request: Request) -> Iterator[Desk]:
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
