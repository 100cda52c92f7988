"""The best placement of a model on a machine, by formula and speed model.

The packer needs to know what compute buffers take, and they depend on the placement. So
it is asked with a guess, what its answer really takes corrects the guess, and it is
asked again, until they agree.

Where everything fits on several devices the engine overlaps batches over them, which
reads prompts faster and takes larger buffers. Both ways are packed, and the better one
is chosen; where the engine would overlap but must not, an ``-ot`` that matches nothing
keeps it from that.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from placer.memory.compute import is_pipelined
from placer.memory.estimate import without_compute
from placer.placement import Placement
from placer.plan.goal import Goal
from placer.plan.guess import Guess, in_proportion
from placer.plan.pack import pack
from placer.plan.packing import Packing, Room, Rules
from placer.plan.pipeline import pack_pipelined
from placer.plan.pipelining import unpipelined
from placer.speed.predict import COPIES, batches_in_flight
from placer.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from placer.machine import Machine
    from placer.plan.pipelining import ComputeOf
    from placer.speed import CostTable

# In the order in which they are tried.
RULES = (
    Rules(experts_on_cpu=False, layers_on_cpu=False),
    Rules(experts_on_cpu=True, layers_on_cpu=False),
    Rules(experts_on_cpu=True, layers_on_cpu=True),
)
ROUNDS = 4
# Costs that no prediction can tell apart.
ALIKE = 1.01
# More than compute buffers take on any device.
MOST_BUFFERS = 16 * GIB
# To this the least shortfall is searched for.
SHORT_BYTES = 64 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A placement that fits, and is the best by the speed model.

    Attributes:
        placement: where everything goes.
        cost: in seconds, weighed by the goal.
        bound: nothing costs less than this.
        overlaps: whether batches overlap over the devices; the engine may give that up
            by itself, and the flags do not say so then.
    """

    placement: Placement
    cost: float
    bound: float
    overlaps: bool

    @property
    def gap(self) -> float:
        """By what share something better could exist at most; 0 is proved best."""
        return max(1.0 - self.bound / self.cost, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What is packed.

    Attributes:
        goal: what it is to be best at.
        rules: what may be on the CPU.
        device: the only device that may be used, None for all.
        pipelined: whether batches overlap over the devices.
    """

    goal: Goal
    rules: Rules
    device: int | None = None
    pipelined: bool = False


@dataclass(frozen=True, kw_only=True)
class Planner:
    """A model on a machine.

    Attributes:
        table: what everything costs in time.
        machine: the devices.
        compute_of: what beside weights, context and ``beside`` a placement takes of
            each device.
        margins_bytes: to leave free on each device.
        beside: bytes that follow each slot without being of the model.
    """

    table: CostTable
    machine: Machine
    compute_of: ComputeOf
    margins_bytes: tuple[int, ...]
    beside: Sequence[int] = ()
    _guesses: dict[tuple[Rules, int | None, bool], Guess] = field(default_factory=dict)
    _answers: dict[tuple[Goal, int | None], Choice | None] = field(default_factory=dict)

    def best(self, goal: Goal, device: int | None = None) -> Choice | None:
        """The best placement that fits, on one device alone where it is named.

        Experts go to the CPU only where not everything fits on devices, and whole
        layers, their context with them, only where that does not do; unless a device
        is so slow, or so far away, that the CPU may be the better place. It is looked
        for once.
        """
        key = (goal, device)
        if key not in self._answers:
            self._answers[key] = self._best(goal, device)
        return self._answers[key]

    def _best(self, goal: Goal, device: int | None) -> Choice | None:
        found = []
        for rules in RULES:
            choice = self._best_by(goal, device, rules)
            if choice is not None:
                found.append(choice)
                if self.table.rates.prefers_devices:
                    break
        if device is None and goal.reads:
            # Alone a device is the first, and it is the first that reads prompts.
            n = len(self.machine.devices)
            alone = [self.best(goal, index) for index in range(n if n > 1 else 0)]
            found += [choice for choice in alone if choice is not None]
        return self._of_equals(found)

    @cached_property
    def unit_bytes(self) -> tuple[int, ...]:
        """The smallest part of the model that a placement can move, on each device."""
        return self._packing(Way(goal=Goal.DECODE, rules=RULES[0])).unit_bytes

    def alone(self, device: int) -> Placement:
        """All of the model on one device, whether it has the room or not."""
        return Placement(split=self._all_on(device), main_gpu=device)

    def in_proportion(self) -> Placement:
        """All of the model on all devices, by their memory, room or not."""
        return unpipelined(self._proportional(None, on_cpu=False))

    def whole_on(self, goal: Goal, device: int) -> Choice | None:
        """All of the model on one device; None where it has no room."""
        return self._best_by(goal, device, RULES[0])

    def afresh(self) -> Planner:
        """The same with nothing guessed: what is known of compute buffers changed."""
        return replace(self, _guesses={}, _answers={})

    def within(self, capacities: Sequence[int]) -> Planner:
        """The same where the engine may hold no more of each device than so much."""
        return self._with_margins(
            device.usable_bytes - n_bytes
            for device, n_bytes in zip(self.machine.devices, capacities, strict=True)
        )

    def with_more(self, device: int, n_bytes: int) -> Planner:
        """The same with so many bytes more on a device."""
        return self._with_margins(
            margin - n_bytes * (index == device)
            for index, margin in enumerate(self.margins_bytes)
        )

    def _with_margins(self, margins: Iterable[int]) -> Planner:
        """The same with other margins; what buffers take is as known as before."""
        return replace(self, margins_bytes=tuple(margins), _answers={})

    def shortfall(self) -> int | None:
        """Bytes more on each device with which something would fit; None for never."""
        packing = self._packing(Way(goal=Goal.DECODE, rules=RULES[0]))
        low, high = 0, packing.least_bytes.total + MOST_BUFFERS
        if not self._would_fit(high):
            return None
        while high - low > SHORT_BYTES:
            middle = (low + high) // 2
            low, high = (low, middle) if self._would_fit(middle) else (middle, high)
        return high

    def _would_fit(self, n_bytes: int) -> bool:
        """Whether anything fits with so many bytes more on each device."""
        other = self._with_margins(margin - n_bytes for margin in self.margins_bytes)
        return other.best(Goal.DECODE) is not None

    def _best_by(self, goal: Goal, device: int | None, rules: Rules) -> Choice | None:
        """The best under some rules, overlapping batches or not."""
        if not self._is_possible(self._free(device), rules):
            return None
        found = [self._settled(Way(goal=goal, rules=rules, device=device))]
        if device is None and not rules.experts_on_cpu and self._overlaps:
            found.append(self._settled(Way(goal=goal, rules=rules, pipelined=True)))
        return self._of_equals([choice for choice in found if choice is not None])

    def _of_equals(self, choices: Sequence[Choice]) -> Choice | None:
        """The best, or of those that are hardly worse the one to prefer.

        One device alone leaves the others to other work; overlapping batches reads
        prompts faster by far more than it may cost elsewhere.
        """
        if not choices:
            return None
        least = min(choice.cost for choice in choices)
        bound = min(choice.bound for choice in choices)
        alike = [choice for choice in choices if choice.cost <= least * ALIKE]

        def rank(choice: Choice) -> tuple[bool, bool, float]:
            is_spread = choice.placement.main_gpu is None
            return is_spread, not choice.overlaps, choice.cost

        return replace(min(alike, key=rank), bound=bound)

    @cached_property
    def _overlaps(self) -> bool:
        """Whether the engine would overlap batches, and it were of any use."""
        split = self._proportional(None, on_cpu=False)
        shape, work = self.table.shape, self.table.workload
        return batches_in_flight(self.table) > 1 and is_pipelined(
            shape, split, work, self.machine
        )

    def _settled(self, way: Way) -> Choice | None:
        """The best of a way: asked, corrected and asked again."""
        free, guess = self._free(way.device), self._guess(way)
        best: Choice | None = None
        for _ in range(ROUNDS):
            choice = self._packed(
                way, Room(free=free, used=guess.used, last=guess.last)
            )
            if choice is None:
                break
            compute = self.compute_of(choice.placement)
            fits = self._fits(choice.placement, compute, free)
            if fits and (best is None or choice.cost < best.cost):
                best = choice
            touched = self._touched(choice.placement)
            if not guess.learn(touched, compute, fits=fits):
                break
        return None if best is None else self._without_need(best)

    def _without_need(self, choice: Choice) -> Choice:
        """Without an ``-ot`` against overlapping where the engine gives it up itself.

        It does where its buffers do not fit then: llama-context.cpp:680.
        """
        placement = choice.placement
        bare = replace(placement, unpipelined=False)
        shape, work = self.table.shape, self.table.workload
        if not placement.unpipelined:
            return choice
        if is_pipelined(shape, bare, work, self.machine):
            free = [device.free_bytes for device in self.machine.devices]
            if self._fits(bare, self.compute_of(bare), free):
                return choice
        return replace(choice, placement=bare)

    def _packed(self, way: Way, room: Room) -> Choice | None:
        """What the packer says."""
        packing = self._packing(way)
        problem = packing.problem(room, way.rules)
        if way.pipelined:
            packed = pack_pipelined(problem, packing.pace().problem(room, way.rules))
        else:
            packed = pack(problem)
        if packed is None:
            return None
        placement = packing.placement(problem, packed)
        if not way.pipelined:
            placement = unpipelined(placement)
        return Choice(
            placement=placement,
            cost=packed.cost,
            bound=packed.bound,
            overlaps=way.pipelined,
        )

    def _packing(self, way: Way) -> Packing:
        table = self.table
        if way.device is not None:
            alone = Placement(split=self._all_on(way.device), main_gpu=way.device)
            table = table.of(alone)
        n = min(batches_in_flight(table), COPIES) if way.pipelined else 1
        return Packing(
            table=table,
            machine=self.machine,
            worth=way.goal.worth,
            beside=self.beside,
            in_flight=n,
        )

    def _all_on(self, device: int) -> tuple[int, ...]:
        n = len(self.machine.devices)
        return tuple(self.table.shape.n_slots if i == device else 0 for i in range(n))

    def _free(self, device: int | None) -> tuple[int, ...]:
        """Bytes of each device that may be taken; none but of the named one."""
        return tuple(
            max(d.usable_bytes - margin, 0) if device in (None, index) else 0
            for index, (d, margin) in enumerate(
                zip(self.machine.devices, self.margins_bytes, strict=True)
            )
        )

    def _fits(
        self, placement: Placement, compute: Sequence[int], free: Sequence[int]
    ) -> bool:
        """Whether weights, context, what is beside them and buffers are in the room.

        Of a device that holds nothing nothing is asked, not even a margin.
        """
        totals = self._totals(placement, compute)
        return all(n <= room or not n for n, room in zip(totals, free, strict=True))

    def totals(self, placement: Placement) -> tuple[int, ...]:
        """All bytes that the placement takes of each device, overhead not counted."""
        return self._totals(placement, self.compute_of(placement))

    def _totals(self, placement: Placement, compute: Sequence[int]) -> tuple[int, ...]:
        shape, work = self.table.shape, self.table.workload
        bare = without_compute(shape, work, placement, self.machine)
        beside = [0] * len(compute)
        homes = placement.slot_devices(shape.n_slots)
        for n_bytes, home in zip(self.beside, homes, strict=False):
            if home is not None:
                beside[home] += n_bytes
        return tuple(
            held.total_bytes + extra + buffers
            for held, extra, buffers in zip(bare.devices, beside, compute, strict=True)
        )

    def _touched(self, placement: Placement) -> list[tuple[int, bool]]:
        """The devices that hold anything, and whether the output is there."""
        buffers = {e.buffer for e in placement.exceptions}
        holding = [i for i, n in enumerate(placement.split) if n]
        return [
            (index, bool(holding) and index == holding[-1])
            for index, device in enumerate(self.machine.devices)
            if placement.split[index] or device.buffer_type in buffers
        ]

    def _is_possible(self, free: Sequence[int], rules: Rules) -> bool:
        """Whether what has to be on devices is no more than they have in all."""
        if rules.layers_on_cpu:
            return True
        if rules.experts_on_cpu and not self.table.shape.is_moe:
            return False
        least = self._packing(Way(goal=Goal.DECODE, rules=rules)).least_bytes
        wanted = least.dense if rules.experts_on_cpu else least.dense + least.experts
        return wanted <= sum(free)

    def _guess(self, way: Way) -> Guess:
        """What compute buffers take: by a placement in the devices' proportions."""
        key = (way.rules, way.device, way.pipelined)
        if key not in self._guesses:
            first = self._proportional(way.device, on_cpu=way.rules.experts_on_cpu)
            if not way.pipelined:
                first = unpipelined(first)
            guess = Guess(len(self.machine.devices), sum(self._free(None)))
            guess.learn(self._touched(first), self.compute_of(first), fits=True)
            self._guesses[key] = guess
        return self._guesses[key]

    def _proportional(self, device: int | None, *, on_cpu: bool) -> Placement:
        shape, free = self.table.shape, self._free(None)
        if device is None:
            return in_proportion(shape, free, on_cpu=on_cpu)
        split = self._all_on(device)
        return replace(in_proportion(shape, split, on_cpu=on_cpu), main_gpu=device)
