"""Tokens per second of a placement, with an interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from placer.model.shape import is_expert
from placer.speed.route import homes_of_tensors, hop, hops, layer_route
from placer.speed.times import Times

if TYPE_CHECKING:
    from collections.abc import Mapping

    from placer.gguf import Tensor
    from placer.machine import Machine
    from placer.placement import Placement
    from placer.speed.table import CostTable

# Batches in flight at most: GGML_SCHED_MAX_COPIES, ggml-backend.cpp:911 of build 11434.
COPIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure between two others, in tokens per second."""

    low: float
    mid: float
    high: float

    @classmethod
    def around(cls, mid: float, spread: tuple[float, float]) -> Interval:
        """The figure with what lies between so many times less and more."""
        return cls(low=mid * spread[0], mid=mid, high=mid * spread[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Where the time goes.

    Attributes:
        by_home: seconds on each home, the CPU last.
        hops: on the way between them.
    """

    by_home: tuple[Times, ...]
    hops: Times

    @property
    def total(self) -> Times:
        """One after the other."""
        return sum(self.by_home, self.hops)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What a placement is predicted to do, at a depth.

    Attributes:
        decode: tokens written per second by one slot.
        prefill: tokens of a prompt read per second.
        depth: tokens in the cache.
        spent: where the time of a token, and of a batch of a prompt, goes.
    """

    decode: Interval
    prefill: Interval
    depth: int
    spent: Spent


def predict(
    table: CostTable, placement: Placement, machine: Machine, *, pipelined: bool
) -> Speed:
    """The speed of any placement, a hand-made one too.

    Args:
        table: what everything costs.
        placement: where everything is.
        machine: its devices, for the names of their buffers.
        pipelined: whether batches of a prompt overlap over the devices.
    """
    cal = table.rates.calibration
    used = spent(table, placement, machine)
    token = _of_token(used, table, pipelined=pipelined)
    decode, prefill = 1 / token.decode_s, 1 / token.prefill_s
    return Speed(
        decode=Interval.around(decode * cal.decode_factor, cal.decode_spread),
        prefill=Interval.around(prefill * cal.prefill_factor, cal.prefill_spread),
        depth=table.depth,
        spent=used,
    )


def _of_token(used: Spent, table: CostTable, *, pipelined: bool) -> Times:
    """Seconds of a token written, and of a token of a prompt read."""
    total = used.total
    batch_s = overlapped_s(used, table) if pipelined else total.prefill_s
    return Times(decode_s=total.decode_s, prefill_s=batch_s / table.n_tokens)


def overlapped_s(used: Spent, table: CostTable) -> float:
    """Seconds of a physical batch where the devices work on several at once.

    The first of a logical batch passes all devices; each other one waits for the
    slowest of them only, as far as so many are in flight.
    """
    total = used.total.prefill_s
    n = min(batches_in_flight(table), COPIES)
    slowest = max(times.prefill_s for times in used.by_home)
    return (total + (n - 1) * slowest) / n


def batches_in_flight(table: CostTable) -> int:
    """Physical batches of a logical one."""
    return max(table.workload.batch // max(table.n_tokens, 1), 1)


def spent(table: CostTable, placement: Placement, machine: Machine) -> Spent:
    """The time of a token and of a batch, home by home."""
    table = table.of(placement)
    cpu = table.rates.cpu
    slots = placement.slot_devices(table.shape.n_slots)
    moved = homes_of_tensors(
        {e.tensor: e.buffer for e in placement.exceptions}, machine.buffer_types
    )
    by_home = [Times() for _ in range(cpu + 1)]
    total, at = Times(), cpu
    # Slots that are alike and lie alike cost the same.
    seen: dict[object, _Visit] = {}
    for slot, device in enumerate(slots):
        home = cpu if device is None else device
        away = tuple(moved.get(t.name) for t in table.tensors_of(slot))
        key = (table.kinds[slot], home, away)
        if key not in seen:
            seen[key] = _visit(table, slot, home, moved)
        visit = seen[key]
        total += hop(table, at, visit.first) + visit.hops
        at = visit.last
        for place, times in visit.times:
            by_home[place] += times
    return Spent(by_home=tuple(by_home), hops=total + hop(table, at, cpu))


class _Visit(NamedTuple):
    """A slot on a token's way: where it begins and ends, and what it takes."""

    first: int
    last: int
    hops: Times
    times: list[tuple[int, Times]]


def _visit(table: CostTable, slot: int, home: int, moved: Mapping[str, int]) -> _Visit:
    route = _slot_route(table, slot, home, moved)
    times = _slot_times(table, slot, home, moved)
    return _Visit(route[0], route[-1], hops(table, route), times)


def _slot_route(
    table: CostTable, slot: int, home: int, moved: Mapping[str, int]
) -> list[int]:
    """The homes that a slot visits."""
    if slot == table.shape.n_layer_all:
        return [home]
    layer = table.shape.layers[slot]
    if table.workload.kv_offload and not any(t.name in moved for t in layer.tensors):
        return [home]

    def home_of(tensor: Tensor) -> int:
        return moved.get(tensor.name, home)

    return layer_route(table, slot, home, home_of)


def _slot_times(
    table: CostTable, slot: int, home: int, moved: Mapping[str, int]
) -> list[tuple[int, Times]]:
    """The times of a slot, each with the home where they pass."""
    found = [(home, table.slot(slot, home))]
    for tensor in table.tensors_of(slot):
        place = moved.get(tensor.name, home)
        if place != home and not is_expert(tensor.name):
            here, there = (table.dense(tensor, at) for at in (home, place))
            found += [(home, Times() - here), (place, there)]
    for index, group in enumerate(table.groups[slot]):
        # A matrix decides for its bias.
        main = max(group.tensors, key=lambda t: t.n_bytes)
        place = moved.get(main.name, home)
        found.append((place, table.group(slot, index, place)))
    return found
