"""Launches that are answered by arithmetic: a search in milliseconds, no process.

``FakeLoadTest`` stands where ``LoadTest`` stands. Each device really has what the
machine says, less ``hidden_bytes``; the compute buffers really are the formula's times
``compute_factor``, which the dry run knows. ``fits`` is the truth that a search should
find by launching.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from placer.engine.client import Completion
from placer.engine.loadtest import LoadTest
from placer.engine.log import AllocationFailure, BreakdownRow, LogFacts, Phase
from placer.engine.observation import Observation, Stage
from placer.memory.compute import is_pipelined
from placer.placement import placement_from_args
from placer.plan.settle import unpipelined
from placer.search.journal import Journal
from placer.testing.fake_log import Log
from placer.testing.fake_memory import true_needs
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from placer.engine.loadtest import LoadProgress
    from placer.machine import Machine
    from placer.memory import MemoryBreakdown, MemoryEstimate
    from placer.model import ModelShape
    from placer.placement import Placement, Workload

COMPLETION = Completion(
    prompt_tokens=1, prompt_tokens_per_s=1.0, decoded_tokens=1, decoded_tokens_per_s=1.0
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """What the devices really have and what placements really need.

    It is a runner too, of dry runs only; ``answers`` says whether they answer.
    """

    shape: ModelShape
    workload: Workload
    machine: Machine
    hidden_bytes: tuple[int, ...]
    compute_factor: float = 1.0
    answers: bool = True

    def start(self, args: Sequence[str], *, log_path: Path) -> FinishedProcess:
        """A dry run that has already written its log."""
        placement = self.placement_of(args)
        with log_path.open("w") as out:
            log = Log(level=5, out=out)
            if self.answers:
                free = [device.free_bytes for device in self.machine.devices]
                log.say_table(self.machine, self.needs(placement), free)
            log.say("I common_fit_params: fitting params to free memory took 0.02 s")
        return FinishedProcess(log_path=log_path)

    def placement_of(self, args: Sequence[str]) -> Placement:
        """The placement that flags amount to; placer's own stand last."""
        flags = args[args.index("-ngl") :]
        return placement_from_args(flags, self.shape, self.machine)

    def needs(self, placement: Placement) -> MemoryEstimate:
        """What a launch asks for."""
        return true_needs(
            self.shape, self.workload, placement, self.machine, self.compute_factor
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
class FinishedProcess:
    """A process that has said all that it had to say."""

    log_path: Path
    pid: int | None = None
    base_url: str = "http://127.0.0.1:9"

    def exit_code(self) -> int | None:
        """It has ended well."""
        return 0

    def stop(self) -> int:
        """Nothing is left to stop."""
        return 0


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
        if not self.reports_room:
            return LogFacts()
        rows = []
        needs = self.truth.needs(unpipelined(placement)).devices
        hidden = self.truth.hidden_bytes
        devices = zip(self.machine.devices, needs, hidden, strict=True)
        for device, held, hidden_bytes in devices:
            room_bytes = device.free_bytes - hidden_bytes - held.total_bytes
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
        return LogFacts(breakdown=tuple(rows))

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
