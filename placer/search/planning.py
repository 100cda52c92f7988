"""Where a search takes its placements from: the planner, under what launches taught."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from placer.plan.pipelining import unpipelined
from placer.plan.plan import ALIKE
from placer.search.pace import slowed
from placer.speed.predict import overlapped_s, spent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from placer.memory import MemoryEstimate
    from placer.placement import Placement
    from placer.plan import Choice, Goal, Planner
    from placer.speed import CostTable

# What is not better by more no prediction can tell apart: it is not worth a launch.
WORTH = ALIKE - 1
# To find out how fast a device is, it is taken to be so much faster.
CONTRAST = 16.0
# The least step is found to a part of the smallest one.
PARTS = 4


@dataclass(slots=True, kw_only=True)
class Planning:
    """The planner, corrected by each dry run of the engine.

    Attributes:
        planner: its compute buffers are by formula and by what dry runs said so far.
        goal: what placements are to be best at.
        formula: what a placement holds, by formula.
        dry_run: what it holds by the engine, None where that says nothing.
    """

    planner: Planner
    goal: Goal
    formula: Callable[[Placement], MemoryEstimate]
    dry_run: Callable[[Placement], MemoryEstimate | None]
    _asked: dict[Placement, MemoryEstimate | None] = field(default_factory=dict)
    _known: dict[tuple[int, ...], Choice | None] = field(default_factory=dict)
    _first: CostTable = field(init=False)

    def __post_init__(self) -> None:
        self._first = self.planner.table

    def best(self, capacities: Sequence[int]) -> Choice | None:
        """The best where the engine may hold so many bytes of each device.

        What the user wants left free is taken off.
        """
        key = self._without_margins(capacities)
        if key not in self._known:
            self._known[key] = self.planner.within(key).best(self.goal)
        return self._known[key]

    def fits(self, placement: Placement, capacities: Sequence[int]) -> bool:
        """Whether it needs no more than so many bytes of each device, margins kept."""
        room = self._without_margins(capacities)
        needs = self.needs(placement)
        return all(n <= most or not n for n, most in zip(needs, room, strict=True))

    def _without_margins(self, capacities: Sequence[int]) -> tuple[int, ...]:
        margins = self.planner.margins_bytes
        pairs = zip(capacities, margins, strict=True)
        return tuple(max(n - margin, 0) for n, margin in pairs)

    def cost(self, placement: Placement, *, pipelined: bool) -> float:
        """What any placement costs, as the planner counts.

        Args:
            placement: where everything goes.
            pipelined: whether batches overlap over the devices: the engine gives that
                up where its buffers do not fit, and the flags do not say so.
        """
        table, machine = self.planner.table, self.planner.machine
        used, worth = spent(table, placement, machine), self.goal.worth
        batch_s = used.total.prefill_s
        if pipelined:
            batch_s = overlapped_s(used, table)
        per_token = worth.prefill * batch_s / table.n_tokens
        return worth.decode * used.total.decode_s + per_token

    def with_slowness(self, factors: Sequence[float]) -> None:
        """Each home takes so many times as long as it was first taken to."""
        rates = slowed(self._first.rates, factors)
        table = replace(self._first, rates=rates)
        self.planner = replace(self.planner.afresh(), table=table)
        self._known.clear()

    def favouring(self, device: int, capacities: Sequence[int]) -> Choice | None:
        """The best if one device were far faster than it is taken for."""
        factors = [1.0] * len(self._first.rates.homes)
        factors[device] = 1 / CONTRAST
        planner = self.planner
        self.with_slowness(factors)
        try:
            return self.best(capacities)
        finally:
            self.planner = planner
            self._known.clear()

    def needs(self, placement: Placement) -> tuple[int, ...]:
        """Bytes that it takes of each device, without a pipeline over them.

        The engine gives that up where its buffers do not fit: llama-context.cpp:680.
        """
        return self.planner.totals(unpipelined(placement))

    def ask(self, placement: Placement) -> MemoryEstimate | None:
        """The engine's dry run of it; what it says corrects the planner."""
        if placement not in self._asked:
            self._asked[placement] = self.dry_run(placement)
            self.planner = self.planner.afresh()
            self._known.clear()
        return self._asked[placement]

    def has_asked(self, placement: Placement) -> bool:
        """Whether the engine was asked already."""
        return placement in self._asked

    @property
    def unit_bytes(self) -> tuple[int, ...]:
        """The smallest part of the model that can be moved, on each device."""
        return self.planner.unit_bytes

    def step(
        self, low: Sequence[int], high: Sequence[int], below: float | None
    ) -> Choice | None:
        """The least of what ``high`` allows beyond ``low`` that costs less.

        Args:
            low: bytes on each device that allow nothing so cheap.
            high: bytes on each device.
            below: what it has to cost less than; None where anything will do.
        """
        found = self.cheaper(high, below)
        if found is None:
            return None
        n_steps = max(
            (b - a) * PARTS // max(unit, 1)
            for a, b, unit in zip(low, high, self.unit_bytes, strict=True)
        )
        least, most = 0, max(n_steps, 1)
        reach = most
        while most - least > 1:
            middle = (least + most) // 2
            between = [
                a + (b - a) * middle // reach for a, b in zip(low, high, strict=True)
            ]
            choice = self.cheaper(between, below)
            if choice is None:
                least = middle
            else:
                most, found = middle, choice
        return found

    def cheaper(self, capacities: Sequence[int], below: float | None) -> Choice | None:
        """The best, if it is worth a launch beside what costs so much."""
        choice = self.best(capacities)
        if choice is None or below is None:
            return choice
        cost = self.cost(choice.placement, pipelined=choice.overlaps)
        is_worth_it = cost < below * (1 - WORTH)
        return choice if is_worth_it else None
