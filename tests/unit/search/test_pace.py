"""How fast devices are that nobody knows, out of launches."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from placer.placement import Placement, Workload
from placer.plan import Goal
from placer.search.pace import Pace, Pacing, pace_of, slowness, strangers
from placer.speed.predict import spent
from placer.testing.fake_search import Arithmetic, planning_of
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import MIB

SHAPE = fake_shape([FakeLayer(dense_kib=20480)] * 6, output_kib=20480)
WORKLOAD = Workload(ctx=1024, batch=64, ubatch=64, parallel=1, kv_unified=False)
MACHINE = fake_machine([400 * MIB, 400 * MIB])


def pace(first: float, second: float, slow: tuple[float, float], error: float) -> Pace:
    """A launch that takes so long on each device by prediction, and in truth."""
    hops = 0.1
    true = first * slow[0] + second * slow[1] + hops
    return Pace(by_home=(first, second, 0.0), hops=hops, measured=error * true)


@pytest.mark.parametrize(
    ("slow", "error"),
    list(product([(1.0, 4.0), (4.0, 1.0), (1.0, 1.0)], [0.02, 1, 50])),
)
def test_two_unlike_launches_tell_devices_apart(
    slow: tuple[float, float], error: float
) -> None:
    """Whatever the whole model is off by."""
    paces = [pace(4, 4, slow, error), pace(8, 0, slow, error)]
    first, second, _ = slowness(paces, (0, 1))
    assert second / first == pytest.approx(slow[1] / slow[0], rel=0.25)


def test_one_launch_tells_nothing_apart() -> None:
    """Both are as they were taken to be, in terms of each other."""
    first, second, cpu = slowness([pace(4, 4, (1, 9), 1)], (0, 1))
    assert first == pytest.approx(second)
    assert cpu == 1


def test_devices_that_are_known_have_one_factor() -> None:
    """Only the stranger is learned."""
    slow = (1.0, 5.0)
    paces = [pace(4, 4, slow, 3), pace(7, 1, slow, 3)]
    first, second, cpu = slowness(paces, (1,))
    assert first == cpu == 1
    assert second == pytest.approx(5, rel=0.25)


def test_devices_that_are_alike_are_no_strangers() -> None:
    """Nor are those whose bandwidth somebody knows."""
    assert strangers(MACHINE) == ()
    first, second = MACHINE.devices
    unlike = replace(
        MACHINE, devices=(first, replace(second, description="Another GPU"))
    )
    assert strangers(unlike) == (0, 1)
    known = replace(second, description="Another GPU", bandwidth_bytes_per_s=5e11)
    assert strangers(replace(MACHINE, devices=(first, known))) == (0,)


@pytest.mark.parametrize("slow", [0, 1])
def test_the_planner_goes_to_the_faster_device(slow: int) -> None:
    """Two launches, and what would be best is known."""
    truth = Arithmetic(
        shape=SHAPE, workload=WORKLOAD, machine=MACHINE, hidden_bytes=(0, 0)
    )
    planning = planning_of(truth, Goal.DECODE)
    table, rooms = planning.planner.table, [150 * MIB, 150 * MIB]
    pacing = Pacing(planning, table, MACHINE, (0, 1))

    def tokens_per_s(placement: Placement) -> float:
        used = spent(table, placement, MACHINE)
        by_home = [times.decode_s for times in used.by_home]
        by_home[slow] *= 6
        return 1 / (sum(by_home) + used.hops.decode_s)

    choice = planning.best(rooms)
    assert choice is not None
    launches = 0
    while choice is not None and launches < 4:
        pacing.learn(choice.placement, tokens_per_s(choice.placement))
        launches += 1
        asked = pacing.contrast(rooms)
        choice = None if asked is None else asked[0]
    assert launches <= 3
    best = planning.best(rooms)
    assert best is not None
    assert best.placement.split[slow] < best.placement.split[1 - slow]


def test_a_prediction_that_holds_changes_nothing() -> None:
    """The equation of a launch that was as fast as predicted has factor 1."""
    truth = Arithmetic(
        shape=SHAPE, workload=WORKLOAD, machine=MACHINE, hidden_bytes=(0, 0)
    )
    table = planning_of(truth).planner.table
    placement = Placement(split=(4, 3))
    used = spent(table, placement, MACHINE)
    seen = pace_of(table, placement, MACHINE, 1 / used.total.decode_s)
    assert slowness([seen], (0, 1)) == pytest.approx((1, 1, 1))
