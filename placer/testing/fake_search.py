"""Launches that are answered by arithmetic: a search in milliseconds, no process.

``FakeLoadTest`` stands where ``LoadTest`` stands. Each device really has what the
machine says, less ``hidden_bytes``; the compute buffers really are the formula's times
``compute_factor``, which the dry run knows. ``fits`` is the truth that a search should
find by launching.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from placer.engine.client import Completion
from placer.engine.loadtest import LoadTest
from placer.engine.log import AllocationFailure, BreakdownRow, LogFacts, Phase
from placer.engine.observation import Observation, Stage
from placer.machine.files import with_data_sheets
from placer.memory import estimate_memory
from placer.memory.compute import is_pipelined
from placer.placement import placement_from_args
from placer.plan import Goal, Planner
from placer.plan.pipelining import unpipelined
from placer.search.journal import Journal
from placer.search.planning import Planning
from placer.search.search import Search
from placer.speed import FIELD_NOTES, cost_table, rates_of
from placer.testing.fake_memory import true_needs
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from placer.engine.loadtest import LoadProgress
    from placer.engine.process import EngineProcess
    from placer.machine import Machine
    from placer.memory import MemoryBreakdown, MemoryEstimate
    from placer.model import ModelShape
    from placer.placement import Placement, Workload
    from placer.search.events import Event

COMPLETION = Completion(
    prompt_tokens=1, prompt_tokens_per_s=1.0, decoded_tokens=1, decoded_tokens_per_s=1.0
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """What the devices really have and what placements really need.

    It starts nothing; ``answers`` says whether its dry runs say anything.

    Attributes:
        shape: the model.
        workload: what is asked of it.
        machine: the devices, with what they say that is free.
        hidden_bytes: of each device, what nobody can have.
        compute_factor: true compute buffers, in terms of the formula's.
        answers: whether dry runs say anything.
        noise_bytes: by how much a reading of free memory may be off, either way.
    """

    shape: ModelShape
    workload: Workload
    machine: Machine
    hidden_bytes: tuple[int, ...]
    compute_factor: float = 1.0
    answers: bool = True
    noise_bytes: int = 0

    def start(self, args: Sequence[str], *, log_path: Path) -> EngineProcess:
        """Nothing is ever started."""
        raise AssertionError((args, log_path))

    def placement_of(self, args: Sequence[str]) -> Placement:
        """The placement that flags amount to; placer's own stand last."""
        flags = args[args.index("-ngl") :]
        return placement_from_args(flags, self.shape, self.machine)

    def needs(self, placement: Placement) -> MemoryEstimate:
        """What a launch asks for."""
        return true_needs(
            self.shape, self.workload, placement, self.machine, self.compute_factor
        )

    def overlaps(self, placement: Placement) -> bool:
        """Whether there is room for the copies of a pipeline over the devices."""
        if not is_pipelined(self.shape, placement, self.workload, self.machine):
            return False
        rows = zip(
            self.needs(placement).devices,
            self.machine.devices,
            self.hidden_bytes,
            strict=True,
        )
        return all(
            held.total_bytes <= device.free_bytes - hidden
            for held, device, hidden in rows
        )

    def first_refusal(self, placement: Placement) -> Refusal | None:
        """Where a launch with the placement gives out, None if it fits.

        Weights are asked of all devices first, then the context, then the rest.
        """
        if is_pipelined(self.shape, placement, self.workload, self.machine):
            # Tried without pipelining where it does not fit with it.
            placement = unpipelined(placement)
        held = self.needs(placement).devices
        asked = [0] * len(held)
        for phase in (Phase.WEIGHTS, Phase.CONTEXT, Phase.COMPUTE):
            for index, parts in enumerate(held):
                asked[index] += _part(parts, phase)
                room_bytes = self.machine.devices[index].free_bytes
                room_bytes -= self.hidden_bytes[index]
                if asked[index] and asked[index] > room_bytes:
                    return Refusal(device=index, phase=phase)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Which device gave out, and when."""

    device: int
    phase: Phase


def _part(parts: MemoryBreakdown, phase: Phase) -> int:
    if phase is Phase.WEIGHTS:
        return parts.model_bytes
    n_bytes = parts.context_bytes if phase is Phase.CONTEXT else parts.compute_bytes
    return n_bytes or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeLoadTest(LoadTest):
    """Answers launches by arithmetic.

    Attributes:
        truth: what really fits.
        names_device: whether the log says which device ran out.
        reports_room: whether the memory table counts what is used.
    """

    truth: Arithmetic
    names_device: bool = True
    reports_room: bool = True

    def observe(
        self,
        args: Sequence[str],
        *,
        log_path: Path,
        on_progress: Callable[[LoadProgress], None],
    ) -> Observation:
        """What a launch with these flags would show."""
        del log_path, on_progress
        placement = self.truth.placement_of(args)
        refusal = self.truth.first_refusal(placement)
        facts = self._success(placement) if refusal is None else self._failure(refusal)
        return Observation(
            stage=Stage.DECODED if refusal is None else Stage.STARTED,
            exit_code=None if refusal is None else 1,
            stalled=False,
            answer_error=None,
            facts=facts,
            free_bytes=tuple(d.free_bytes for d in self.machine.devices),
            single=COMPLETION if refusal is None else None,
        )

    def _success(self, placement: Placement) -> LogFacts:
        """The memory table, in whole MiB cut down."""
        pipelined = self.truth.overlaps(placement)
        if not self.reports_room:
            return LogFacts(pipelined=pipelined)
        rows = []
        needs = self.truth.needs(unpipelined(placement)).devices
        hidden = self.truth.hidden_bytes
        devices = zip(self.machine.devices, needs, hidden, strict=True)
        for device, held, hidden_bytes in devices:
            room_bytes = device.free_bytes - hidden_bytes - held.total_bytes
            room_bytes += self._noise(device.name, placement)
            rows.append(
                BreakdownRow(
                    device=device.name,
                    total_bytes=_cut(device.total_bytes),
                    free_bytes=_cut(room_bytes),
                    model_bytes=_cut(held.model_bytes),
                    context_bytes=_cut(held.context_bytes or 0),
                    compute_bytes=_cut(held.compute_bytes or 0),
                )
            )
        return LogFacts(breakdown=tuple(rows), pipelined=pipelined)

    def _noise(self, device: str, placement: Placement) -> int:
        """By how much this reading is off: as at random, and always the same."""
        most = self.truth.noise_bytes
        seed = zlib.crc32(f"{device} {sorted(placement.exceptions)}".encode())
        return seed % (2 * most + 1) - most

    def _failure(self, refusal: Refusal) -> LogFacts:
        device = self.machine.devices[refusal.device]
        name = device.buffer_type if self.names_device else ""
        line = f"failed to allocate {name} buffer of size 1"
        failure = AllocationFailure(device=name, asked_bytes=1, line=line)
        return LogFacts(failures=(failure,), failed_phase=refusal.phase)


def _cut(n_bytes: int) -> int:
    return n_bytes // MIB * MIB


class ListJournal(Journal):
    """A journal in memory; only engines' logs go to its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "nowhere"
        self.records: list[dict[str, Any]] = []

    def append(self, kind: str, record: Mapping[str, Any]) -> None:
        """Keep one record."""
        self.records.append({"kind": kind, **record})

    def close(self) -> None:
        """Nothing is open."""


def fake_load_test(
    truth: Arithmetic, *, names_device: bool = True, reports_room: bool = True
) -> FakeLoadTest:
    """A load test of what ``truth`` says."""
    return FakeLoadTest(
        runner=truth,
        machine=truth.machine,
        shape=truth.shape,
        workload=truth.workload,
        truth=truth,
        names_device=names_device,
        reports_room=reports_room,
    )


@dataclass(slots=True, kw_only=True)
class _Estimates:
    """Formula and dry run of a truth, the one corrected by the other."""

    truth: Arithmetic
    beyond: list[int]

    def formula(self, placement: Placement) -> MemoryEstimate:
        """By formula alone."""
        truth = self.truth
        return estimate_memory(truth.shape, truth.workload, placement, truth.machine)

    def dry_run(self, placement: Placement) -> MemoryEstimate | None:
        """The truth, where the engine says anything."""
        if not self.truth.answers:
            return None
        said = self.truth.needs(placement)
        pairs = zip(said.devices, self.formula(placement).devices, strict=True)
        for index, (ours, theirs) in enumerate(pairs):
            more = (ours.compute_bytes or 0) - (theirs.compute_bytes or 0)
            self.beyond[index] = max(self.beyond[index], more)
        return said

    def compute_of(self, placement: Placement) -> list[int]:
        """Compute buffers by formula, and what a dry run said beyond it."""
        held = self.formula(placement).devices
        return [
            max((d.compute_bytes or 0) + more, 0) if d.total_bytes else 0
            for d, more in zip(held, self.beyond, strict=True)
        ]


def planning_of(truth: Arithmetic, goal: Goal = Goal.DECODE) -> Planning:
    """What a search of the truth plans with."""
    machine = with_data_sheets(truth.machine)
    estimates = _Estimates(truth=truth, beyond=[0] * len(machine.devices))
    table = cost_table(
        truth.shape, truth.workload, machine, rates_of(machine, FIELD_NOTES, 8), 0
    )
    planner = Planner(
        table=table,
        machine=machine,
        compute_of=estimates.compute_of,
        margins_bytes=(0,) * len(machine.devices),
    )
    return Planning(
        planner=planner,
        goal=goal,
        formula=estimates.formula,
        dry_run=estimates.dry_run,
    )


def fake_search(
    truth: Arithmetic,
    folder: Path,
    *,
    on_event: Callable[[Event], None] = lambda _: None,
    by_launch: bool = False,
    **log: bool,
) -> Search:
    """A search whose launches are answered by arithmetic.

    Args:
        truth: what really fits.
        folder: where a journal would lie.
        on_event: told of all that happens.
        by_launch: whether only refusals bound a device.
        log: what engines' logs tell, see ``FakeLoadTest``.
    """
    return Search(
        test=fake_load_test(truth, **log),
        model_path="model.gguf",
        extra_args=(),
        journal=ListJournal(folder),
        on_event=on_event,
        planning=planning_of(truth),
        by_launch=by_launch,
    )
