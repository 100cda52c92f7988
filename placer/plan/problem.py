"""The packing problem as numbers: what everything takes and costs, everywhere.

Homes are the devices, from 0, and the CPU behind them. Layers go to homes in one piece
each, front to back: first those of the CPU, then those of each device. Groups of
experts may leave a layer of a device for any other home; each change of the home on the
way through a layer is a hop.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product

# With more homes than these a layer's groups go to two homes beside their own at most,
# the CPU and one device: all combinations would be too many.
ALL_COMBINATIONS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCost:
    """One group of a layer's experts.

    Attributes:
        n_bytes: on each device.
        cost: on each home, in seconds.
    """

    n_bytes: tuple[int, ...]
    cost: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of slot.

    Attributes:
        n_bytes: of all but the experts, context included, on each device.
        cost: of the same on each home, in seconds.
        groups: the experts, in the order of their use.
    """

    n_bytes: tuple[int, ...]
    cost: tuple[float, ...]
    groups: tuple[GroupCost, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Homes of a layer's groups.

    Attributes:
        homes: one a group.
        cost: of the groups and the hops between them, in seconds.
        hops: the part of it that is hops.
        n_bytes: on each device.
        host_bytes: what is on the CPU, counted as on the device where it is smallest.
    """

    homes: tuple[int, ...]
    cost: float
    hops: float
    n_bytes: tuple[int, ...]
    host_bytes: int


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is to be packed.

    Attributes:
        capacity: bytes of each device.
        used: bytes that a device lacks as soon as it holds anything.
        last: bytes that it lacks besides if it holds the last slot; negative for fewer.
        slots: the kind of each slot, front to back.
        kinds: what the numbers of kinds stand for.
        hop: seconds from each home to each other, between layers.
        torn: the same within a layer whose experts are elsewhere.
        experts_on_cpu: whether groups may leave for the CPU.
        layers_on_cpu: whether whole layers may.
    """

    capacity: tuple[int, ...]
    used: tuple[int, ...]
    last: tuple[int, ...]
    slots: tuple[int, ...]
    kinds: tuple[Kind, ...]
    hop: tuple[tuple[float, ...], ...]
    torn: tuple[tuple[float, ...], ...]
    experts_on_cpu: bool = True
    layers_on_cpu: bool = False

    @property
    def cpu(self) -> int:
        """The CPU among the homes."""
        return len(self.capacity)

    @property
    def order(self) -> tuple[int, ...]:
        """The homes in the order in which layers go to them."""
        devices = tuple(range(self.cpu))
        return (self.cpu, *devices) if self.layers_on_cpu else devices

    @cached_property
    def experts(self) -> tuple[int, ...]:
        """Of each kind, the first that has the same groups: what experts go by."""
        first: dict[tuple[GroupCost, ...], int] = {}
        return tuple(
            first.setdefault(kind.groups, number)
            for number, kind in enumerate(self.kinds)
        )

    @cached_property
    def _configs(self) -> dict[tuple[int, int], tuple[Config, ...]]:
        return {}

    def configs(self, home: int, kind: int) -> tuple[Config, ...]:
        """What can become of the groups of such a layer, the cheapest first.

        Left out is what costs no less than another and takes no less of any device.
        """
        key = (home, self.experts[kind])
        if key not in self._configs:
            groups = self.kinds[kind].groups
            homes = self._combinations(home, groups)
            found = [self._config(home, groups, some) for some in homes]
            self._configs[key] = undominated(found)
        return self._configs[key]

    def _combinations(
        self, home: int, groups: tuple[GroupCost, ...]
    ) -> set[tuple[int, ...]]:
        if home == self.cpu:
            return {(home,) * len(groups)}
        homes = list(range(self.cpu))
        if self.experts_on_cpu:
            homes.append(self.cpu)
        if len(homes) <= ALL_COMBINATIONS:
            return set(product(homes, repeat=len(groups)))
        found: set[tuple[int, ...]] = set()
        for other in homes:
            some = {home, other, homes[-1]}
            found.update(product(some, repeat=len(groups)))
        return found

    def _config(
        self, home: int, groups: tuple[GroupCost, ...], homes: tuple[int, ...]
    ) -> Config:
        route = (home, *homes, home)
        hops = sum(self.torn[a][b] for a, b in pairwise(route))
        n_bytes = [0] * self.cpu
        host_bytes = 0
        for group, at in zip(groups, homes, strict=True):
            if at == self.cpu:
                host_bytes += min(group.n_bytes)
            else:
                n_bytes[at] += group.n_bytes[at]
        cost = sum(g.cost[at] for g, at in zip(groups, homes, strict=True))
        return Config(
            homes=homes,
            cost=cost + hops,
            hops=hops,
            n_bytes=tuple(n_bytes),
            host_bytes=host_bytes,
        )


def undominated(configs: list[Config]) -> tuple[Config, ...]:
    """Those that no other beats in cost and bytes at once, the cheapest first."""
    ordered = sorted(configs, key=lambda c: (c.cost, sum(c.n_bytes), c.homes))
    kept: list[Config] = []
    for config in ordered:
        beaten = any(
            all(a <= b for a, b in zip(k.n_bytes, config.n_bytes, strict=True))
            for k in kept
        )
        if not beaten:
            kept.append(config)
    return tuple(kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """An answer.

    Attributes:
        counts: slots of each home in the problem's order.
        homes: of each slot's groups.
        cost: in seconds.
        bound: no placement costs less than this.
    """

    counts: tuple[int, ...]
    homes: tuple[tuple[int, ...], ...]
    cost: float
    bound: float

    @property
    def gap(self) -> float:
        """By what share of its cost something better could exist; 0 is proved best."""
        return 0.0 if self.cost <= 0 else max(1.0 - self.bound / self.cost, 0.0)


def slot_homes(problem: Problem, counts: tuple[int, ...]) -> list[int]:
    """The home of each slot."""
    return [
        home for home, n in zip(problem.order, counts, strict=True) for _ in range(n)
    ]


def cost_of(
    problem: Problem, homes: list[int], groups: tuple[tuple[int, ...], ...]
) -> float:
    """What a placement costs, by the definition: the yardstick of the packer.

    Args:
        problem: the numbers.
        homes: of each slot.
        groups: homes of each slot's groups.
    """
    total, at = 0.0, problem.cpu
    for number, home, own in zip(problem.slots, homes, groups, strict=True):
        kind = problem.kinds[number]
        total += problem.hop[at][home] + kind.cost[home]
        total += sum(g.cost[h] for g, h in zip(kind.groups, own, strict=True))
        total += sum(problem.torn[a][b] for a, b in pairwise((home, *own, home)))
        at = home
    return total + problem.hop[at][problem.cpu]


def fits(
    problem: Problem, homes: list[int], groups: tuple[tuple[int, ...], ...]
) -> bool:
    """Whether a placement is within every device's capacity, by the definition."""
    held = [0] * problem.cpu
    touched: set[int] = set()
    for number, home, own in zip(problem.slots, homes, groups, strict=True):
        kind = problem.kinds[number]
        if home != problem.cpu:
            held[home] += kind.n_bytes[home]
        for group, at in zip(kind.groups, own, strict=True):
            if at != problem.cpu:
                held[at] += group.n_bytes[at]
        touched |= {home, *own}
    if homes[-1] != problem.cpu:
        held[homes[-1]] += problem.last[homes[-1]]
    return all(
        held[d] + problem.used[d] <= problem.capacity[d]
        for d in touched - {problem.cpu}
    )
