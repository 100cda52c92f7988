"""The best homes for the experts where every layer's home is given: branch and bound.

Layers of one kind on one home are interchangeable, so that only how many of them have
which configuration is decided, class by class, the cheapest configuration first.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.plan.floor import Floor
    from placer.plan.problem import Config

# Costs are sums of floats in different orders.
EPSILON = 1e-12


@dataclass(slots=True)
class Budget:
    """How many nodes may still be looked at; negative where one too many was wanted."""

    left: int

    def spend(self) -> bool:
        """Whether there was one left."""
        self.left -= 1
        return self.left >= 0

    @property
    def is_spent(self) -> bool:
        """Whether something was left undone."""
        return self.left < 0


@dataclass(slots=True, kw_only=True)
class Class:
    """Layers of one kind on one home.

    Attributes:
        count: how many.
        configs: what can become of each, the cheapest first.
        own_bytes: of the groups of each, where they are smallest; 0 on the CPU, whose
            layers have theirs beside them.
    """

    home: int
    kind: int
    count: int
    configs: tuple[Config, ...]
    own_bytes: int


@dataclass(slots=True, kw_only=True)
class Leaf:
    """One assignment of layers to homes.

    Attributes:
        classes: its layers.
        room: bytes of each device beside what its layers take without experts.
        floor: what experts cost at least.
        best: the least cost that is known; only what is below it is of interest.
        chosen: of each class, how many layers have each configuration.
    """

    classes: Sequence[Class]
    room: list[int]
    floor: Floor
    budget: Budget
    best: float
    chosen: list[Counter[int]] | None = None
    _rest: list[tuple[float, list[int]]] = field(default_factory=list)

    def solve(self) -> None:
        """Leave the cheapest choice below ``best`` in ``chosen``, if there is one."""
        self._rest = [(0.0, [0] * (len(self.room) + 1))]
        for one in reversed(self.classes):
            cost, own = self._rest[-1]
            own = list(own)
            own[one.home] += one.count * one.own_bytes
            self._rest.append((cost + one.count * one.configs[0].cost, own))
        self._rest.reverse()
        self._start()
        picked: list[Counter[int]] = [Counter() for _ in self.classes]
        self._branch(0, 0, self.classes[0].count, self.room, 0.0, picked)

    def _start(self) -> None:
        """A first answer: experts stay where there is room, and then are moved."""
        room = list(self.room)
        picked: list[Counter[int]] = []
        for one in self.classes:
            found = _kept_at_home(one, room)
            if found is None:
                return
            picked.append(found)
        _improve(self.classes, picked, room)
        self._offer(picked)

    def _offer(self, picked: list[Counter[int]]) -> None:
        cost = sum(
            one.configs[index].cost * n
            for one, found in zip(self.classes, picked, strict=True)
            for index, n in found.items()
        )
        if cost < self.best - EPSILON:
            self.best = cost
            self.chosen = [Counter(found) for found in picked]

    def _branch(
        self,
        at: int,
        index: int,
        left: int,
        room: Sequence[int],
        cost: float,
        picked: list[Counter[int]],
    ) -> None:
        """Decide how many of the ``left`` layers have configuration ``index``."""
        if not left:
            if at + 1 == len(self.classes):
                self._offer(picked)
                return
            at, index, left = at + 1, 0, self.classes[at + 1].count
        one = self.classes[at]
        if index == len(one.configs):
            return
        config = one.configs[index]
        is_last = index + 1 == len(one.configs)
        following = config.cost if is_last else one.configs[index + 1].cost
        rest_cost, rest_own = self._rest[at + 1]
        most = _most(config, room, left)
        for n in range(most, left - 1 if is_last else -1, -1):
            now = cost + n * config.cost
            least = now + (left - n) * following + rest_cost
            if least >= self.best - EPSILON or not self.budget.spend():
                return
            after = [r - n * b for r, b in zip(room, config.n_bytes, strict=True)]
            own = list(rest_own)
            own[one.home] += (left - n) * one.own_bytes
            if now + self.floor.cost(own, after) >= self.best - EPSILON:
                continue
            picked[at][index] = n
            self._branch(at, index + 1, left - n, after, now, picked)
            del picked[at][index]


def _most(config: Config, room: Sequence[int], left: int) -> int:
    """How many layers can have the configuration."""
    for have, each in zip(room, config.n_bytes, strict=True):
        if each:
            left = min(left, have // each)
    return left


def _kept_at_home(one: Class, room: list[int]) -> Counter[int] | None:
    """As many experts beside their layers as there is room for, taken off it."""
    left, found = one.count, Counter[int]()
    for index, config in enumerate(one.configs):
        away = [n for d, n in enumerate(config.n_bytes) if d != one.home]
        if any(away):
            continue
        n = _most(config, room, left)
        if n:
            found[index] = n
            _take(room, config, n)
            left -= n
    return None if left else found


def _improve(
    classes: Sequence[Class], picked: list[Counter[int]], room: list[int]
) -> None:
    """Give layers cheaper configurations as long as there is room for one."""
    for one, found in zip(classes, picked, strict=True):
        for worse in sorted(found, reverse=True):
            before = one.configs[worse]
            for index, config in enumerate(one.configs[:worse]):
                change = [
                    a - b for a, b in zip(config.n_bytes, before.n_bytes, strict=True)
                ]
                n = found[worse]
                for have, each in zip(room, change, strict=True):
                    if each > 0:
                        n = min(n, have // each)
                if n > 0:
                    _take(room, config, n)
                    _take(room, before, -n)
                    found[index] += n
                    found[worse] -= n
            if not found[worse]:
                del found[worse]


def _take(room: list[int], config: Config, n: int) -> None:
    for device, each in enumerate(config.n_bytes):
        room[device] -= n * each
