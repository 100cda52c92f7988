"""What is varied, and in what order it is run.

Cards warm up, other work comes and goes. Every repeat therefore holds every cell once,
and all of it is in random order. The server is started again only for what it takes at
its start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

# A value of every factor, by the factor's name.
Cell = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """One thing that is varied.

    Attributes:
        name: a flag of llama-server or a sampling parameter, without dashes.
        values: all that it takes, the base among them.
        base: what the others are compared with.
        restarts: whether the server has to be started again for it.

    Raises:
        ValueError: a value twice, or a base that is none of them.
    """

    name: str
    values: tuple[str, ...]
    base: str
    restarts: bool

    def __post_init__(self) -> None:
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"{self.name} takes a value twice")
        if self.base not in self.values:
            raise ValueError(f"{self.name} is never {self.base}")

    @property
    def levels(self) -> tuple[str, ...]:
        """The values beside the base."""
        return tuple(value for value in self.values if value != self.base)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A cell, measured once.

    Attributes:
        repeat: from 1.
        cell: a value of every factor, of those of the launch also.
    """

    repeat: int
    cell: Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One start of the server, and what is asked of it.

    Attributes:
        number: from 1, in the order in which they are started.
        settings: of the factors that restart it; empty where none does.
        turns: in the order in which they are run. They are of one repeat, or of all
            repeats, one after the other, where no factor restarts the server.
    """

    number: int
    settings: Cell
    turns: tuple[Turn, ...]


def grid(factors: Sequence[Factor]) -> tuple[Cell, ...]:
    """All cells, the last factor changing fastest.

    Raises:
        ValueError: two factors of one name.
    """
    names = [factor.name for factor in factors]
    if len(set(names)) < len(names):
        raise ValueError(f"a factor is named twice: {', '.join(names)}")
    values = product(*(factor.values for factor in factors))
    return tuple(dict(zip(names, one, strict=True)) for one in values)


def schedule(
    factors: Sequence[Factor], repeats: int, random: Random
) -> tuple[Launch, ...]:
    """The whole sweep in the order in which it is run.

    In each repeat the server is started once with each of its settings, in random
    order, and asked all that is varied beside them, in random order. Where no factor
    restarts it, it is started once for everything. The same seed gives the same sweep,
    so that one that was broken off can go on by leaving out what is done.

    Raises:
        ValueError: no repeat, or two factors of one name.
    """
    if repeats < 1:
        raise ValueError(f"{repeats} repeats")
    cells = grid(factors)
    restarting = [factor for factor in factors if factor.restarts]
    if not restarting:
        rounds = range(1, repeats + 1)
        turns = [turn for n in rounds for turn in _turns(n, cells, {}, random)]
        return (Launch(number=1, settings={}, turns=tuple(turns)),)
    launches: list[Launch] = []
    for repeat in range(1, repeats + 1):
        for settings in random.sample(grid(restarting), k=len(grid(restarting))):
            turns = _turns(repeat, cells, settings, random)
            number = len(launches) + 1
            launches.append(
                Launch(number=number, settings=settings, turns=tuple(turns))
            )
    return tuple(launches)


def _turns(
    repeat: int, cells: Sequence[Cell], settings: Cell, random: Random
) -> list[Turn]:
    """Of a launch in a repeat: the cells with its settings, in random order."""
    asked = [cell for cell in cells if settings.items() <= cell.items()]
    return [Turn(repeat=repeat, cell=cell) for cell in random.sample(asked, len(asked))]
