"""The formula beside the truth, case by case, and the ceilings of the difference."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from placer.machine import Device, Machine
from placer.memory import MemoryBreakdown, MemoryEstimate, estimate_memory
from placer.placement import placement_from_args
from placer.units import MIB, from_mib

if TYPE_CHECKING:
    from collections.abc import Iterable

    from placer.model import ModelShape
    from placer.testing.accuracy.truth import Seen, Truth

#: Of the two emulated devices, so much that nothing is ever short.
CAPACITIES_MIB: Final = (64_000, 64_000)
#: Compute buffers may differ by the larger of the two.
COMPUTE_SHARE: Final = 0.10
COMPUTE_BYTES: Final = 64 * MIB
#: What is called exact: the log rounds, and the host's row may be cut.
EXACT_BYTES: Final = from_mib(0.1)
#: The log rounds compute buffers to 0.01 MiB.
ROUNDING_BYTES: Final = from_mib(0.01)


@cache
def machine() -> Machine:
    """The two emulated devices, and a host whose memory does not matter."""
    devices = tuple(
        Device(
            name=f"Vulkan{index}",
            buffer_type=f"Vulkan{index}",
            description="emulated",
            total_bytes=from_mib(mib),
            free_bytes=from_mib(mib),
        )
        for index, mib in enumerate(CAPACITIES_MIB)
    )
    return Machine(
        devices=devices, engine_build=None, host_total_bytes=0, host_free_bytes=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One device, or the host: what was said and what was seen."""

    name: str
    said: MemoryBreakdown
    seen: Seen

    @property
    def weights_equal(self) -> bool:
        """Within the part of a MiB that the engine cuts off."""
        return _is_cut(self.said.model_bytes, self.seen.model_mib)

    @property
    def context_equal(self) -> bool | None:
        """Likewise; None where the formula does not answer."""
        said = self.said.context_bytes
        return None if said is None else _is_cut(said, self.seen.context_mib)

    @property
    def compute_error_bytes(self) -> int | None:
        """Said less seen; None where the formula does not answer."""
        said = self.said.compute_bytes
        return None if said is None else said - self.seen.compute_bytes

    @property
    def compute_close(self) -> bool:
        """Whether there is an answer, and a good one."""
        error = self.compute_error_bytes
        allowed = max(COMPUTE_SHARE * self.seen.compute_bytes, COMPUTE_BYTES)
        return error is not None and abs(error) <= allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One case: the formula's answer beside the engine's."""

    truth: Truth
    said: MemoryEstimate
    rows: tuple[Row, ...]

    @property
    def weights_equal(self) -> bool:
        """On every device and the host."""
        return all(row.weights_equal for row in self.rows)

    @property
    def context_equal(self) -> bool | None:
        """On every device and the host; None where the formula does not answer."""
        answers = [row.context_equal for row in self.rows]
        return None if None in answers else all(answers)

    @property
    def compute_answered(self) -> bool:
        """Whether the formula says anything about compute buffers."""
        return all(row.compute_error_bytes is not None for row in self.rows)

    @property
    def compute_close(self) -> bool:
        """On every device and the host."""
        return all(row.compute_close for row in self.rows)

    @property
    def compute_exact(self) -> bool:
        """On every device and the host, within what the log rounds."""
        errors = [row.compute_error_bytes for row in self.rows]
        return all(e is not None and abs(e) <= EXACT_BYTES for e in errors)

    @property
    def worst_over_bytes(self) -> int:
        """The most that a row's compute buffer was said too large, 0 or more."""
        return max(0, *(row.compute_error_bytes or 0 for row in self.rows))

    @property
    def worst_under_bytes(self) -> int:
        """The most that a row's compute buffer was said too small, 0 or more."""
        return max(0, *(-(row.compute_error_bytes or 0) for row in self.rows))

    @property
    def splits_equal(self) -> bool:
        """Of both graphs."""
        return self.said.graph_splits == self.truth.splits


def compare(shape: ModelShape, truth: Truth) -> Comparison:
    """The formula's answer to a case that the engine has answered."""
    case = truth.case
    placement = placement_from_args(case.placement_args, shape, machine())
    said = estimate_memory(shape, case.workload, placement, machine())
    seen = (*truth.devices, truth.host)
    names = (*(device.name for device in machine().devices), "host")
    rows = tuple(
        Row(name=name, said=breakdown, seen=one)
        for name, breakdown, one in zip(
            names, (*said.devices, said.host), seen, strict=True
        )
        if one is not None
    )
    return Comparison(truth=truth, said=said, rows=rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How often the formula was right, over many cases."""

    n_cases: int
    weights_equal: float
    context_answered: float
    context_wrong: int
    compute_close: float
    splits_equal: float
    worst_over_bytes: int
    worst_under_bytes: int


def shares_of(comparisons: Iterable[Comparison]) -> Shares:
    """The shares over all of them, each a number from 0 to 1."""
    found = list(comparisons)
    n = len(found) or 1
    context = [comparison.context_equal for comparison in found]
    return Shares(
        n_cases=len(found),
        weights_equal=sum(c.weights_equal for c in found) / n,
        context_answered=sum(answer is not None for answer in context) / n,
        context_wrong=context.count(False),
        compute_close=sum(c.compute_close for c in found) / n,
        splits_equal=sum(c.splits_equal for c in found) / n,
        worst_over_bytes=max((c.worst_over_bytes for c in found), default=0),
        worst_under_bytes=max((c.worst_under_bytes for c in found), default=0),
    )


def _is_cut(n_bytes: int, whole_mib: int) -> bool:
    """Whether the engine, which cuts down, may have printed this."""
    return 0 <= n_bytes - whole_mib * MIB < MIB
