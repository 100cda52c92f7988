"""The plan: ranked placements, and what to measure them by."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from placer.app.desk import DEPTH, Desk, open_desk
from placer.app.rated import Rated, candidate_of, rate
from placer.errors import InputError, SearchError
from placer.plan import Choice, Goal, Planner
from placer.units import MIB, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from placer.app.frontier import Explained, Tradeoff
    from placer.app.target import Target
    from placer.app.where import Request, Where
    from placer.machine import Machine

# Dry runs at most to confirm a plan, and what is not worth another one.
DRY_RUNS = 3
SAME = 0.995
WORTH_BYTES = MIB
# What another order of the devices has to gain before it is asked for with -dev.
WORTH_TURNING = 1.05


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What a plan is to be best at, and what is shown beside it.

    Attributes:
        goal: what it is to be best at.
        margins_mib: MiB to leave free on each device; one figure is for all.
        depth: tokens in the cache at which speed is predicted.
        least_speed: tokens per second that the largest context may not fall under;
            None for four fifths of the speed at the asked one.
        baselines: whether ``--fit`` and one GPU are planned too.
        tradeoffs: whether other settings are.
        explain: whether it is said what limits.
        on_step: told what is being done.
    """

    goal: Goal = Goal.DECODE
    margins_mib: tuple[int, ...] = (0,)
    depth: int = DEPTH
    least_speed: float | None = None
    baselines: bool = True
    tradeoffs: bool = False
    explain: bool = False
    on_step: Callable[[str], None] = field(default=lambda _: None)

    def margins_bytes(self, machine: Machine) -> tuple[int, ...]:
        """The margin of each device.

        Raises:
            InputError: there are as many devices as figures, or one figure.
        """
        return margins_bytes(self.margins_mib, machine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Ranked candidates for a target on a machine, best first.

    Attributes:
        target: the model and what is asked of it.
        machine: the devices.
        goal: what the first is best at.
        depth: tokens in the cache at which speeds are.
        margins_bytes: left free on each device.
        calibration: what the speed model rests on, in words.
        assumed: what it took for what nobody said.
        seconds: that planning took, without dry runs, baselines and trade-offs.
        dry_run_seconds: that the engine took to confirm the first candidate.
        candidates: best first.
        fit: what llama-server's own ``--fit`` would do, None without an engine.
        fit_seconds: that ``--fit`` needed, from the engine's start to its answer.
        one_gpu: the best on one device alone, None where nothing fits so.
        tradeoffs: what other settings would give.
        explained: what limits the first candidate.
    """

    target: Target
    machine: Machine
    goal: Goal
    depth: int
    margins_bytes: tuple[int, ...]
    calibration: str
    assumed: tuple[str, ...]
    seconds: float
    dry_run_seconds: float
    candidates: tuple[Rated, ...]
    fit: Rated | None = None
    fit_seconds: float | None = None
    one_gpu: Rated | None = None
    tradeoffs: tuple[Tradeoff, ...] = ()
    explained: Explained | None = None

    @property
    def best_args(self) -> tuple[str, ...]:
        """The flags of the first candidate, and the context where it was looked for."""
        asked = ("-c", str(self.target.workload.ctx))
        return (asked if self.goal is Goal.CONTEXT else ()) + self.candidates[0].args


def margins_bytes(given_mib: tuple[int, ...], machine: Machine) -> tuple[int, ...]:
    """The margin of each device; one figure is for all.

    Raises:
        InputError: there are neither as many figures as devices, nor one.
    """
    n = len(machine.devices)
    given = given_mib * n if len(given_mib) == 1 else given_mib
    if len(given) != n:
        raise InputError(
            f"--margin has {len(given)} figures, the machine has {n} devices",
            hint="give one figure a device, or one for all",
        )
    return tuple(n_mib * MIB for n_mib in given)


def plan(
    name: str, where: Where, request: Request, options: PlanOptions | None = None
) -> Plan:
    """The placements worth trying, best first, the first with the engine's dry run.

    Raises:
        InputError: the model or the profile is not what it should be.
        MachineError: no engine, or no device.
        SearchError: nothing fits.
    """
    options = options or PlanOptions()
    with open_desk(name, where, request, depth=options.depth) as opened:
        return plan_on(opened, options)


def plan_on(opened: Desk, options: PlanOptions) -> Plan:
    """The same for a target that is on its machine already."""
    options.on_step("planning")
    started = time.perf_counter()
    margins = options.margins_bytes(opened.machine)
    asked = opened
    if options.goal is Goal.CONTEXT:
        from placer.app.widest import with_largest_context

        asked = with_largest_context(opened, margins, options)
    desk, planner = on_best_devices(asked, margins, options.goal)
    candidates = _confirmed(desk, planner, options.goal)
    seconds = time.perf_counter() - started - desk.asking.seconds
    found = Plan(
        target=desk.target,
        machine=desk.machine,
        goal=options.goal,
        depth=desk.table().depth,
        margins_bytes=planner.margins_bytes,
        calibration=desk.calibration.source,
        assumed=desk.rates.assumed,
        seconds=seconds,
        dry_run_seconds=desk.asking.seconds,
        candidates=candidates,
    )
    found = _with_more(found, desk, planner, options)
    if desk is not opened:
        # Of other devices or another context: the opened one knows nothing of it.
        desk.remember()
    return found


def on_best_devices(
    desk: Desk, margins: tuple[int, ...], goal: Goal
) -> tuple[Desk, Planner]:
    """The target on all devices in the best order, or on those that are of use.

    A device that is nearly full may still have to hold a copy of experts, as the first
    one; nothing fits then until it is left out. Those that the user named all stay.
    """
    found = _in_best_order(desk, margins, goal)
    if found[1].best(goal) is None and not desk.machine.chosen:
        for smaller, kept in _without_smallest(desk, margins):
            planner = planner_of(smaller, kept)
            if planner.best(goal) is not None:
                return smaller, planner
    return found


def _in_best_order(
    desk: Desk, margins: tuple[int, ...], goal: Goal
) -> tuple[Desk, Planner]:
    """The first device reads prompts with the CPU's weights: its link may decide."""
    planner = planner_of(desk, margins)
    other = fastest_link_first(desk, margins) if goal.reads else None
    if other is None:
        return desk, planner
    turned = planner_of(*other)
    one, two = planner.best(goal), turned.best(goal)
    if one is None or (two is not None and two.cost < one.cost / WORTH_TURNING):
        return other[0], turned
    return desk, planner


def fastest_link_first(
    desk: Desk, margins: tuple[int, ...]
) -> tuple[Desk, tuple[int, ...]] | None:
    """The same with the device first that reads the CPU's weights fastest.

    None where it is first already, where nothing is read so, or where the user chose
    the order.
    """
    machine, table = desk.machine, desk.table()
    if machine.chosen or table.offloader is None or not desk.target.shape.is_moe:
        return None
    links = [home.link_bytes_per_s for home in desk.rates.homes[:-1]]
    fastest = links.index(max(links))
    if links[fastest] < links[0] * WORTH_TURNING:
        return None
    rest = [index for index in range(len(links)) if index != fastest]
    return _with_devices(desk, margins, [fastest, *rest])


def _without_smallest(
    desk: Desk, margins: tuple[int, ...]
) -> Iterator[tuple[Desk, tuple[int, ...]]]:
    """The same with fewer and fewer devices, those with the least room left out."""
    devices = desk.machine.devices
    room = [d.usable_bytes - m for d, m in zip(devices, margins, strict=True)]
    by_room = sorted(range(len(devices)), key=lambda index: -room[index])
    for n in range(len(devices) - 1, 0, -1):
        yield _with_devices(desk, margins, sorted(by_room[:n]))


def _with_devices(
    desk: Desk, margins: tuple[int, ...], indexes: Sequence[int]
) -> tuple[Desk, tuple[int, ...]]:
    """The same with these devices alone, in this order, and their margins."""
    names = [desk.machine.devices[index].name for index in indexes]
    return desk.on(desk.machine.only(names)), tuple(margins[i] for i in indexes)


def planner_of(desk: Desk, margins: tuple[int, ...]) -> Planner:
    """A planner for the desk's target on its machine."""
    return Planner(
        table=desk.table(),
        machine=desk.machine,
        compute_of=desk.compute_of,
        margins_bytes=margins,
        beside=desk.beside_by_slot,
    )


def _with_more(found: Plan, desk: Desk, planner: Planner, options: PlanOptions) -> Plan:
    """The plan with what was asked for beside it."""
    if options.baselines:
        alone = best_alone(desk, planner, options.goal)
        one_gpu = None if alone is None else _rated(alone, desk, ask=False)
        found = replace(found, one_gpu=one_gpu)
        found = _with_fit(found, desk, planner.margins_bytes, options)
    if options.tradeoffs:
        from placer.app.frontier import tradeoffs

        options.on_step("trying other settings")
        found = replace(found, tradeoffs=tradeoffs(desk, planner, options.goal))
    if options.explain:
        from placer.app.frontier import explained

        options.on_step("asking what limits")
        best = found.candidates[0]
        found = replace(found, explained=explained(desk, planner, best, options.goal))
    return found


def _confirmed(desk: Desk, planner: Planner, goal: Goal) -> tuple[Rated, ...]:
    """The candidates, the first of them seen to fit by the engine's dry run.

    What the engine says beyond the formula, or short of it, corrects it, and the
    planner is asked again, as long as it finds something better.
    """
    choice, first, best = planner.best(goal), None, None
    for _ in range(DRY_RUNS):
        if choice is None or (best is not None and choice.cost >= best.cost * SAME):
            break
        rated = _rated(choice, desk, ask=True)
        if rated.dry_run is None or _has_room(rated, planner):
            first, best = rated, choice
            if not _is_below_formula(rated):
                break
        planner = planner.afresh()
        choice = planner.best(goal)
    if first is None:
        raise _nothing_fits(desk, planner)
    others = [_rated(other, desk, ask=False) for other in _others(desk, planner, goal)]
    return _ranked([first, *others], planner, goal)


def _is_below_formula(rated: Rated) -> bool:
    """Whether a device holds less than the formula said, so that more may fit."""
    if rated.dry_run is None:
        return False
    pairs = zip(rated.dry_run.devices, rated.candidate.estimate.devices, strict=True)
    return any(
        (ours.compute_bytes or 0) - (theirs.compute_bytes or 0) > WORTH_BYTES
        for theirs, ours in pairs
    )


def _has_room(rated: Rated, planner: Planner) -> bool:
    """Whether every device that holds something keeps its margin."""
    return all(
        left >= margin or not held.total_bytes
        for left, margin, held in zip(
            rated.headroom_bytes,
            planner.margins_bytes,
            rated.best.devices,
            strict=True,
        )
    )


def _others(desk: Desk, planner: Planner, goal: Goal) -> Iterator[Choice]:
    """What else is worth a look: one GPU alone, where it holds everything."""
    for device in each_kind(desk):
        choice = planner.whole_on(goal, device)
        if choice is not None:
            yield choice


def _rated(choice: Choice, desk: Desk, *, ask: bool) -> Rated:
    placement = choice.placement
    return rate(candidate_of(placement, placement, desk, choice.gap), desk, ask=ask)


def _ranked(found: list[Rated], planner: Planner, goal: Goal) -> tuple[Rated, ...]:
    """Each placement once, the best first."""
    first = found[0]
    kept: dict[object, Rated] = {}
    for rated in found:
        placement = rated.candidate.placement
        kept.setdefault((placement.split, placement.exceptions), rated)
    others = [r for r in kept.values() if r is not first and _has_room(r, planner)]
    worth = goal.worth

    def cost(rated: Rated) -> float:
        speed = rated.candidate.speed
        return worth.decode / speed.decode.mid + worth.prefill / speed.prefill.mid

    return (first, *sorted(others, key=cost))


def best_alone(desk: Desk, planner: Planner, goal: Goal) -> Choice | None:
    """The best that one device alone can do; None where nothing fits so."""
    choices = [planner.best(goal, index) for index in each_kind(desk)]
    found = [choice for choice in choices if choice is not None]
    return min(found, key=lambda choice: choice.cost, default=None)


def each_kind(desk: Desk) -> list[int]:
    """One device of each kind: those alike in memory and speed can do the same."""
    first: dict[object, int] = {}
    homes = desk.rates.homes[:-1]
    for index, (device, home) in enumerate(
        zip(desk.machine.devices, homes, strict=True)
    ):
        speed = (home.bytes_per_s, home.flops_per_s, home.link_bytes_per_s, home.hop_s)
        key = (device.backend, device.usable_bytes, speed)
        first.setdefault(key, index)
    return list(first.values())


def _with_fit(
    found: Plan, desk: Desk, margins: tuple[int, ...], options: PlanOptions
) -> Plan:
    """The plan with what ``--fit`` would do, priced by the same model."""
    if desk.runner is None:
        return found
    options.on_step("asking --fit what it would do")
    answer = desk.fit(margins)
    if answer is None:
        return found
    placement = answer.placement
    rated = rate(candidate_of(placement, placement, desk), desk)
    if answer.message is not None:
        rated = replace(rated, notes=(*rated.notes, f"--fit says: {answer.message}"))
    return replace(found, fit=rated, fit_seconds=answer.waited_s)


def _nothing_fits(desk: Desk, planner: Planner) -> SearchError:
    """By how much the nearest placement misses."""
    short = planner.shortfall()
    name = desk.target.shape.name
    problem = f"no placement of {name} fits"
    if short is not None:
        problem += f": {size_text(short)} are missing on each device"
    hint = "lower --ctx, -ub or the cache types, or free memory"
    if desk.target.workload.op_offload:
        hint += "; --no-op-offload frees the first device of copied weights"
    return SearchError(problem, hint=hint)
