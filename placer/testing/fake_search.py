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
from placer.engine.log import AllocationFailure, LogFacts, Phase
from placer.engine.observation import Observation, Stage
from placer.memory.compute import is_pipelined
from placer.placement import placement_from_args
from placer.plan.plan import unpipelined
from placer.search.journal import Journal
from placer.testing.fake_log import Log
from placer.testing.fake_memory import true_needs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from placer.engine.loadtest import LoadProgress
    from placer.machine import Machine
    from placer.memory import MemoryEstimate
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
                log.say_table(self.machine, self.needs(placement))
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

    def first_over(self, placement: Placement) -> int | None:
        """The device that a launch with the placement runs out of, None if it fits."""
        if is_pipelined(self.shape, placement, self.workload):
            # Tried without pipelining where it does not fit with it.
            placement = unpipelined(placement)
        for index, held in enumerate(self.needs(placement).devices):
            free_bytes = self.machine.devices[index].free_bytes
            room_bytes = free_bytes - self.hidden_bytes[index]
            if held.total_bytes and held.total_bytes > room_bytes:
                return index
        return None


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
    """

    truth: Arithmetic
    names_device: bool = True

    def observe(
        self,
        args: Sequence[str],
        *,
        log_path: Path,
        on_progress: Callable[[LoadProgress], None],
    ) -> Observation:
        """What a launch with these flags would show."""
        del log_path, on_progress
        over = self.truth.first_over(self.truth.placement_of(args))
        return Observation(
            stage=Stage.DECODED if over is None else Stage.STARTED,
            exit_code=None if over is None else 1,
            stalled=False,
            answer_error=None,
            facts=LogFacts() if over is None else self._failure(over),
            free_bytes=tuple(d.free_bytes for d in self.machine.devices),
            single=COMPLETION if over is None else None,
        )

    def _failure(self, index: int) -> LogFacts:
        name = self.machine.devices[index].name if self.names_device else ""
        line = f"failed to allocate {name} buffer of size 1"
        failure = AllocationFailure(device=name, asked_bytes=1, line=line)
        return LogFacts(failures=(failure,), failed_phase=Phase.COMPUTE)


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


def fake_load_test(truth: Arithmetic, *, names_device: bool = True) -> FakeLoadTest:
    """A load test of what ``truth`` says."""
    return FakeLoadTest(
        runner=truth,
        machine=truth.machine,
        shape=truth.shape,
        workload=truth.workload,
        truth=truth,
        names_device=names_device,
    )
