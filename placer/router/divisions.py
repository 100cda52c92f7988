"""Ways to divide devices among models, each a place to start planning from."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, permutations, product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Orders and assignments that are tried at most; both grow faster than they help.
MOST_ORDERS = 6
MOST_ASSIGNMENTS = 16
# Shares of the first of two models.
SHARES = (0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """Who is placed first, and what each may take at first.

    Attributes:
        order: indexes of the models, the first to be placed first.
        share_bytes: of each model, by its index, the most of each device.
    """

    order: tuple[int, ...]
    share_bytes: tuple[tuple[int, ...], ...]


def divisions(rooms: Sequence[int], wants: Sequence[int]) -> Iterator[Division]:
    """Every way to try.

    Each model in turn in what those before it left, in every order; each device to one
    model alone; and each device divided, by the size of the models and in other ways.

    Args:
        rooms: bytes of each device that they may take together.
        wants: bytes of each model, to divide by.
    """
    n = len(wants)
    whole = (tuple(rooms),) * n
    for order in islice(permutations(range(n)), MOST_ORDERS):
        yield Division(order=order, share_bytes=whole)
    # The largest first: it is the hardest to place in what is left over.
    order = tuple(sorted(range(n), key=lambda index: -wants[index]))
    for owners in _assignments(n, len(rooms)):
        yield Division(order=order, share_bytes=_owned(owners, rooms, n))
    for shares in _shares(wants):
        share_bytes = tuple(tuple(int(room * s) for room in rooms) for s in shares)
        yield Division(order=order, share_bytes=share_bytes)


def _assignments(n: int, n_devices: int) -> Iterator[tuple[int, ...]]:
    """The owner of each device; every model owns one."""
    if n**n_devices > MOST_ASSIGNMENTS:
        return
    for owners in product(range(n), repeat=n_devices):
        if len(set(owners)) == n:
            yield owners


def _owned(
    owners: Sequence[int], rooms: Sequence[int], n: int
) -> tuple[tuple[int, ...], ...]:
    """All of the devices that are a model's own, nothing of the others."""
    return tuple(
        tuple(
            room if owner == index else 0
            for owner, room in zip(owners, rooms, strict=True)
        )
        for index in range(n)
    )


def _shares(wants: Sequence[int]) -> Iterator[tuple[float, ...]]:
    """The share of each model of every device."""
    total = sum(wants) or 1
    yield tuple(want / total for want in wants)
    if len(wants) == 2:
        for share in SHARES:
            yield share, 1 - share
    else:
        yield (1 / len(wants),) * len(wants)
