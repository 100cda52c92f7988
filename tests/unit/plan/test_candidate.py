"""What a placement is called, and what it leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from placer.memory import estimate_memory
from placer.placement import Placement, Strategy, TensorException, Workload
from placer.plan import Candidate, headroom_bytes, strategy_of
from placer.speed import Interval, Speed
from placer.speed.predict import Spent
from placer.speed.times import Times
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import MIB

WORKLOAD = Workload(ctx=4096, parallel=1, kv_unified=False)
MOE = fake_shape(
    [FakeLayer(dense_kib=20480, expert_kib=204800, kv_heads=4)] * 8, output_kib=10240
)
MACHINE = fake_machine([1000 * MIB, 1000 * MIB])
TO_CPU = TensorException(tensor="blk.0.ffn_up_exps.weight", buffer="CPU")
MOVED = TensorException(tensor="blk.0.ffn_up_exps.weight", buffer="Vulkan1")
UNKNOWN = Interval(low=1, mid=1, high=1)


@pytest.mark.parametrize(
    ("placement", "strategy"),
    [
        (Placement(split=(9, 0)), Strategy.ONE_GPU),
        (Placement(split=(0, 9), main_gpu=1), Strategy.ONE_GPU),
        (Placement(split=(5, 4)), Strategy.LAYERS),
        (Placement(split=(5, 4), exceptions=frozenset({MOVED})), Strategy.LAYERS),
        (
            Placement(split=(5, 4), exceptions=frozenset({TO_CPU})),
            Strategy.EXPERTS_ON_CPU,
        ),
        (Placement(split=(5, 3)), Strategy.LAYERS_ON_CPU),
        (
            Placement(split=(5, 3), exceptions=frozenset({TO_CPU})),
            Strategy.LAYERS_ON_CPU,
        ),
        (Placement(split=(0, 0)), Strategy.LAYERS_ON_CPU),
    ],
)
def test_strategies_are_told_from_placements(
    placement: Placement, strategy: Strategy
) -> None:
    """Whoever made them."""
    assert strategy_of(placement, MOE) is strategy


def test_any_placement_can_be_a_candidate() -> None:
    """A hand-made one too, with negative headroom where it would not fit."""
    placement = Placement(split=(9, 0))
    estimate = estimate_memory(MOE, WORKLOAD, placement, MACHINE)
    left = headroom_bytes(estimate, MACHINE)
    candidate = Candidate(
        strategy=Strategy.ONE_GPU,
        placement=placement,
        estimate=estimate,
        headroom_bytes=left,
        speed=Speed(
            decode=UNKNOWN,
            prefill=UNKNOWN,
            depth=0,
            spent=Spent(by_home=(Times(), Times(), Times()), hops=Times()),
        ),
    )

    assert left == (1000 * MIB - estimate.devices[0].total_bytes, 1000 * MIB)
    assert left[0] < 0
    assert not candidate.fits
    assert replace(candidate, headroom_bytes=(0, 1)).fits


def test_what_is_beside_the_model_is_not_left() -> None:
    """Nor is what the backend takes of a device that holds anything."""
    first, second = MACHINE.devices
    first = replace(first, overhead_bytes=100 * MIB)
    second = replace(second, overhead_bytes=7 * MIB)
    machine = replace(MACHINE, devices=(first, second))
    estimate = estimate_memory(MOE, WORKLOAD, Placement(split=(4, 0)), machine)
    held = estimate.devices[0].total_bytes

    assert headroom_bytes(estimate, machine) == (900 * MIB - held, 1000 * MIB)
    assert headroom_bytes(estimate, machine, (MIB, MIB)) == (
        899 * MIB - held,
        992 * MIB,
    )
