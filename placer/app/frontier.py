"""What other settings would give, and what limits the best placement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from placer.app.planned import planner_of
from placer.app.rated import Rated, candidate_of, rate
from placer.app.relief import SMALLEST_CTX, SMALLEST_UBATCH, Relief, reliefs
from placer.units import GIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from placer.app.desk import Desk
    from placer.placement import Workload
    from placer.plan import Goal, Planner

WIDE = ("f32", "f16", "bf16")
LARGEST_UBATCH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Tradeoff:
    """The best placement under another setting.

    Attributes:
        kind: what is changed: ``"context"``, ``"ubatch"``, ``"cache type"`` or
            ``"op-offload"``.
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
        tokens_per_s: written per second then, by prediction.
        gained: as a share of what is written now.
    """

    device: str
    tokens_per_s: float
    gained: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What limits a placement.

    Attributes:
        seconds: of a token, by where they pass: each device, ``"CPU"``, ``"hops"``.
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
        other = desk.under(asked)
        choice = planner_of(other, planner.margins_bytes).best(goal)
        rated = None
        if choice is not None:
            placement = choice.placement
            rated = rate(candidate_of(placement, placement, other), other, ask=False)
        found.append(Tradeoff(kind=kind, args=args, rated=rated))
    return tuple(found)


def other_settings(
    work: Workload,
) -> Iterator[tuple[str, tuple[str, ...], dict[str, Any]]]:
    """Kind, flags and changes of settings next to a workload's."""
    for ctx in (work.ctx // 4, work.ctx // 2, work.ctx * 2):
        if ctx >= SMALLEST_CTX:
            yield "context", ("-c", str(ctx)), {"ctx": ctx}
    for ubatch in (work.n_ubatch // 2, work.n_ubatch * 2, work.n_ubatch * 4):
        if SMALLEST_UBATCH <= ubatch <= LARGEST_UBATCH:
            batch = max(work.batch, ubatch)
            args = ["-ub", str(ubatch)]
            if batch != work.batch:
                args = ["-b", str(batch), *args]
            yield "ubatch", tuple(args), {"ubatch": ubatch, "batch": batch}
    fused = work.flash_attn != "off"
    for name in ("f16", "q8_0", "q5_0", "q4_0"):
        if (work.type_k, work.type_v) != (name, name) and (fused or name in WIDE):
            args = ["-ctk", name, "-ctv", name]
            yield "cache type", tuple(args), {"type_k": name, "type_v": name}
    flag = "--no-op-offload" if work.op_offload else "--op-offload"
    yield "op-offload", (flag,), {"op_offload": not work.op_offload}


def explained(desk: Desk, planner: Planner, best: Rated, goal: Goal) -> Explained:
    """What limits the best placement, and what would help."""
    speed, machine = best.candidate.speed, desk.machine
    names = (*(device.name for device in machine.devices), "CPU")
    seconds = dict(zip(names, speed.by_home, strict=True)) | {"hops": speed.hops_s}
    now = speed.decode.mid
    more = []
    for index, device in enumerate(machine.devices):
        choice = planner.with_more(index, GIB).best(goal)
        placement = best.launched if choice is None else choice.placement
        then = max(desk.speed(placement).decode.mid, now)
        more.append(
            MoreMemory(device=device.name, tokens_per_s=then, gained=then / now - 1)
        )
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
