"""What other settings would give, and what limits the best placement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from placer.app.planned import each_kind, fastest_link_first, planner_of
from placer.app.rated import Rated, candidate_of, rate
from placer.app.relief import SMALLEST_CTX, SMALLEST_UBATCH, Relief, reliefs
from placer.plan import Goal
from placer.units import GIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from placer.app.desk import Desk
    from placer.machine import Machine
    from placer.placement import Workload
    from placer.plan import Planner
    from placer.speed import Speed

WIDE = ("f32", "f16", "bf16")
LARGEST_UBATCH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Tradeoff:
    """The best placement under another setting.

    Attributes:
        kind: what is changed: ``"context"``, ``"ubatch"``, ``"cache type"``,
            ``"cache place"``, ``"op-offload"`` or ``"device order"``.
        args: the change as flags.
        rated: the placement; None where nothing fits so.
    """

    kind: str
    args: tuple[str, ...]
    rated: Rated | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreMemory:
    """What one more GiB of a device would buy.

    Attributes:
        device: its name.
        tokens_per_s: written, or read where that is the goal, per second then.
        gained: as a share of what there is now.
    """

    device: str
    tokens_per_s: float
    gained: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What limits a placement.

    Attributes:
        seconds: of a token, or of a batch of a prompt where reading is the goal, by
            where they pass: each device, ``"CPU"``, ``"hops"``.
        limit: the one of them that takes the most.
        tightest: the device with the least memory left.
        more_memory: what one more GiB on each device would buy.
        reliefs: what other flags would free on the tightest device, the most first.
        gap: by what share something faster could exist at most.
    """

    seconds: dict[str, float]
    limit: str
    tightest: str
    more_memory: tuple[MoreMemory, ...]
    reliefs: tuple[Relief, ...]
    gap: float | None


def tradeoffs(desk: Desk, planner: Planner, goal: Goal) -> tuple[Tradeoff, ...]:
    """The best placement under each of some other settings, by formula."""
    found = []
    most_ctx = desk.target.shape.context_length
    for kind, args, changes in other_settings(desk.target.workload):
        if most_ctx and changes.get("ctx", 0) > most_ctx:
            continue
        asked = replace(desk.target.workload, **changes)
        rated = _best_rated(desk.under(asked), planner.margins_bytes, goal)
        found.append(Tradeoff(kind=kind, args=args, rated=rated))
    turned = fastest_link_first(desk, planner.margins_bytes)
    if turned is not None:
        other, margins = turned
        rated = _best_rated(other, margins, goal)
        args = tuple(other.machine.device_args)
        found.append(Tradeoff(kind="device order", args=args, rated=rated))
    return tuple(found)


def _best_rated(desk: Desk, margins: tuple[int, ...], goal: Goal) -> Rated | None:
    """The best placement by formula, None where nothing fits."""
    choice = planner_of(desk, margins).best(goal)
    if choice is None:
        return None
    placement = choice.placement
    return rate(candidate_of(placement, placement, desk, choice.gap), desk, ask=False)


def other_settings(
    work: Workload,
) -> Iterator[tuple[str, tuple[str, ...], dict[str, Any]]]:
    """Kind, flags and changes of settings next to a workload's."""
    for ctx in (work.ctx // 4, work.ctx // 2, work.ctx * 2):
        if ctx >= SMALLEST_CTX:
            yield "context", ("-c", str(ctx)), {"ctx": ctx}
    yield from _other_batches(work)
    fused = work.flash_attn != "off"
    for name in ("f16", "q8_0", "q5_0", "q4_0"):
        if (work.type_k, work.type_v) != (name, name) and (fused or name in WIDE):
            args = ["-ctk", name, "-ctv", name]
            yield "cache type", tuple(args), {"type_k": name, "type_v": name}
    if work.kv_offload:
        yield "cache place", ("-nkvo",), {"kv_offload": False}
    flag = "--no-op-offload" if work.op_offload else "--op-offload"
    yield "op-offload", (flag,), {"op_offload": not work.op_offload}


def _other_batches(
    work: Workload,
) -> Iterator[tuple[str, tuple[str, ...], dict[str, Any]]]:
    for ubatch in (work.n_ubatch // 2, work.n_ubatch * 2, work.n_ubatch * 4):
        if SMALLEST_UBATCH <= ubatch <= LARGEST_UBATCH:
            batch = max(work.batch, ubatch)
            larger = () if batch == work.batch else ("-b", str(batch))
            changes = {"ubatch": ubatch, "batch": batch}
            yield "ubatch", (*larger, "-ub", str(ubatch)), changes


def explained(desk: Desk, planner: Planner, best: Rated, goal: Goal) -> Explained:
    """What limits the best placement, and what would help."""
    machine = desk.machine
    now = _per_s(best.candidate.speed, goal)
    more = []
    for index in each_kind(desk):
        device = machine.devices[index]
        choice = planner.with_more(index, GIB).best(goal)
        placement = best.launched if choice is None else choice.placement
        then = max(_per_s(desk.speed(placement), goal), now)
        more.append(
            MoreMemory(device=device.name, tokens_per_s=then, gained=then / now - 1)
        )
    seconds = _seconds(best.candidate.speed, goal, machine)
    return Explained(
        seconds=seconds,
        limit=max(seconds, key=seconds.__getitem__),
        tightest=machine.devices[best.tightest].name,
        more_memory=tuple(more),
        reliefs=reliefs(
            desk.target.workload,
            lambda asked: desk.formula(best.launched, asked),
            best.tightest,
        ),
        gap=best.candidate.gap,
    )


def _per_s(speed: Speed, goal: Goal) -> float:
    """Tokens per second of what the goal is about."""
    return speed.prefill.mid if goal is Goal.PREFILL else speed.decode.mid


def _seconds(speed: Speed, goal: Goal, machine: Machine) -> dict[str, float]:
    """Where the time of what the goal is about goes."""
    names = (*(device.name for device in machine.devices), "CPU", "hops")
    spent = (*speed.spent.by_home, speed.spent.hops)
    return {
        name: times.prefill_s if goal is Goal.PREFILL else times.decode_s
        for name, times in zip(names, spent, strict=True)
    }
