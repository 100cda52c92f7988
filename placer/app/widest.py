"""The largest context at a floor of speed: ``--for context``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from placer.app.planned import planner_of
from placer.errors import SearchError
from placer.plan import Goal

if TYPE_CHECKING:
    from placer.app.desk import Desk
    from placer.app.planned import PlanOptions

# Contexts are tried in such steps, and up to this many tokens where the model does not
# say what it was trained for.
STEP = 1024
LARGEST = 1 << 20
# The floor where none is given: so much of the speed at the asked context.
SHARE = 0.8


def with_largest_context(
    desk: Desk, margins: tuple[int, ...], options: PlanOptions
) -> Desk:
    """The same with the largest context at which the best placement is fast enough.

    Raises:
        SearchError: even the smallest context is too slow, or does not fit.
    """
    floor = options.least_speed
    if floor is None:
        floor = SHARE * _speed(desk, margins, desk.target.workload.ctx)
    most = (desk.target.shape.context_length or LARGEST) // STEP
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        is_fast = _speed(desk, margins, middle * STEP) >= max(floor, 1e-9)
        low, high = (middle, high) if is_fast else (low, middle)
    if not low:
        raise SearchError(
            f"no context is written at {floor:.1f} tokens/s or faster",
            hint="lower --min-speed or the cache types",
        )
    return _with_ctx(desk, low * STEP)


def _with_ctx(desk: Desk, ctx: int) -> Desk:
    return desk.under(replace(desk.target.workload, ctx=ctx))


def _speed(desk: Desk, margins: tuple[int, ...], ctx: int) -> float:
    """Tokens per second that the best placement writes; 0 where nothing fits."""
    other = _with_ctx(desk, ctx)
    choice = planner_of(other, margins).best(Goal.CONTEXT)
    return 0.0 if choice is None else other.speed(choice.placement).decode.mid
