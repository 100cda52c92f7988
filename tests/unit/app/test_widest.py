from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import placer
from placer.app.planned import PlanOptions, planner_of
from placer.app.widest import SHARE, STEP, _speed, with_largest_context
from placer.plan import Goal

if TYPE_CHECKING:
    from tests.unit.app.conftest import Planning

NONE = (0, 0)


def test_the_largest_context_is_fast_enough_and_a_larger_one_is_not(
    planning: Planning,
) -> None:
    """To a step of 1024 tokens."""
    with planning() as (desk, _):
        now = _speed(desk, NONE, desk.target.workload.ctx)
        options = PlanOptions(goal=Goal.CONTEXT, least_speed=0.9 * now)
        ctx = with_largest_context(desk, NONE, options).target.workload.ctx

        assert ctx % STEP == 0
        assert _speed(desk, NONE, ctx) >= 0.9 * now > _speed(desk, NONE, ctx + STEP)


def test_no_floor_is_four_fifths_of_the_speed_now(planning: Planning) -> None:
    """At the context that is asked for."""
    with planning() as (desk, _):
        floor = SHARE * _speed(desk, NONE, desk.target.workload.ctx)
        given, none = (
            with_largest_context(desk, NONE, PlanOptions(least_speed=speed))
            for speed in (floor, None)
        )

        assert none.target.workload == given.target.workload


def test_a_context_that_fits_nowhere_is_no_context(planning: Planning) -> None:
    """However slow it may be: what is found can be planned."""
    with planning() as (desk, _):
        options = PlanOptions(goal=Goal.CONTEXT, least_speed=0.0)
        widest = with_largest_context(desk, NONE, options)

        assert planner_of(widest, NONE).best(Goal.CONTEXT) is not None


def test_no_context_is_larger_than_what_the_model_was_trained_for(
    planning: Planning,
) -> None:
    """131072 tokens, if all of them are fast."""
    with planning("Vulkan0:90000") as (desk, _):
        options = PlanOptions(goal=Goal.CONTEXT, least_speed=1.0)
        widest = with_largest_context(desk, (0,), options)

        assert widest.target.workload.ctx == 131072
        asked = replace(desk.target.workload, ctx=131072)
        assert widest.target.workload == asked


def test_a_floor_that_nothing_reaches_is_an_error(planning: Planning) -> None:
    """It says which."""
    with planning() as (desk, _):
        options = PlanOptions(goal=Goal.CONTEXT, least_speed=1e9)
        with pytest.raises(
            placer.SearchError, match=r"1000000000\.0 tokens/s or faster"
        ):
            with_largest_context(desk, NONE, options)
