"""Ranked candidates."""

from __future__ import annotations

from placer.memory import estimate_memory
from placer.placement import Placement, Strategy, TensorException, Workload
from placer.plan import Spread, plan_candidates
from placer.plan.plan import (
    MARGINS_BYTES,
    candidate_for_placement,
    families_for,
    formula_compute,
    formula_of,
    settle,
    strategy_of,
    unpipelined,
)
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import MIB

WORKLOAD = Workload(ctx=4096, parallel=1, kv_unified=False)
MOE = fake_shape(
    [FakeLayer(dense_kib=20480, expert_kib=204800, kv_heads=4)] * 8, output_kib=10240
)


def test_candidates_come_in_the_order_of_preference() -> None:
    """One GPU, layers over both, experts on the CPU, layers on the CPU."""
    machine = fake_machine([3000 * MIB, 1600 * MIB])
    strategies = [c.strategy for c in plan_candidates(MOE, WORKLOAD, machine)]
    order = list(Strategy)
    assert strategies[0] is Strategy.ONE_GPU
    assert [order.index(s) for s in strategies] == sorted(map(order.index, strategies))


def test_candidates_fit_by_formula_and_differ() -> None:
    """With headroom on each device, and no placement twice."""
    machine = fake_machine([1100 * MIB, 700 * MIB])
    candidates = plan_candidates(MOE, WORKLOAD, machine)
    assert candidates
    for candidate in candidates:
        assert candidate.fits
        for device, held, left in zip(
            machine.devices,
            candidate.estimate.devices,
            candidate.headroom_bytes,
            strict=True,
        ):
            assert held.total_bytes + left == device.free_bytes
    placements = [(c.placement.split, c.placement.exceptions) for c in candidates]
    assert len(set(placements)) == len(placements)


def test_margins_leave_room() -> None:
    """The last candidate of a strategy leaves the largest margin on each device."""
    machine = fake_machine([700 * MIB + max(MARGINS_BYTES)] * 2)
    candidates = plan_candidates(MOE, WORKLOAD, machine)
    for strategy in (Strategy.EXPERTS_ON_CPU, Strategy.LAYERS_ON_CPU):
        last = [c for c in candidates if c.strategy is strategy][-1]
        assert min(last.headroom_bytes) >= max(MARGINS_BYTES)


def test_nothing_fits_is_an_empty_plan() -> None:
    """An answer, not an error."""
    assert plan_candidates(MOE, WORKLOAD, fake_machine([MIB])) == ()


def test_settling_takes_the_compute_buffers_off() -> None:
    """By whoever says what they are."""
    machine = fake_machine([1000 * MIB, 1000 * MIB])
    family = next(
        f
        for f in families_for(MOE, WORKLOAD, machine)
        if f.strategy is Strategy.EXPERTS_ON_CPU
    )
    room = [d.free_bytes for d in machine.devices]
    none = settle(family, room, lambda _: [0, 0])
    half = settle(family, room, lambda _: [500 * MIB, 500 * MIB])
    all_of_it = settle(family, room, lambda _: [1000 * MIB, 1000 * MIB])
    assert none.capacities == tuple(room)
    assert half.capacities == (500 * MIB, 500 * MIB)
    assert none.spread is not None
    assert half.spread is not None
    assert sum(half.spread.kept or ()) < sum(none.spread.kept or ())
    assert all_of_it.spread is None
    by_formula = settle(
        family, room, formula_compute(formula_of(MOE, WORKLOAD, machine))
    )
    assert by_formula.spread is not None


def test_any_placement_can_be_rated() -> None:
    """A hand-made one too, with negative headroom where it would not fit."""
    machine = fake_machine([1000 * MIB, 1000 * MIB])
    placement = Placement(split=(9, 0))
    estimate = estimate_memory(MOE, WORKLOAD, placement, machine)
    candidate = candidate_for_placement(placement, MOE, estimate, machine)
    assert candidate.spread == Spread(slots=(9, 0))
    assert not candidate.fits
    assert candidate.headroom_bytes[0] < 0 < candidate.headroom_bytes[1]


def test_strategies_are_told_from_placements() -> None:
    """Whoever made them."""
    expert = TensorException(tensor="blk.0.ffn_up_exps.weight", buffer="CPU")
    moved = TensorException(tensor="blk.0.ffn_up_exps.weight", buffer="Vulkan1")
    for placement, strategy in (
        (Placement(split=(9, 0)), Strategy.ONE_GPU),
        (Placement(split=(0, 9), main_gpu=1), Strategy.ONE_GPU),
        (Placement(split=(5, 4)), Strategy.LAYERS),
        (Placement(split=(5, 4), exceptions=frozenset({moved})), Strategy.LAYERS),
        (
            Placement(split=(5, 4), exceptions=frozenset({expert})),
            Strategy.EXPERTS_ON_CPU,
        ),
        (Placement(split=(5, 3)), Strategy.LAYERS_ON_CPU),
        (Placement(split=(0, 0)), Strategy.LAYERS_ON_CPU),
    ):
        assert strategy_of(placement, MOE) is strategy


def test_only_what_has_no_override_needs_one_to_stop_pipelining() -> None:
    """An exception stops it already."""
    expert = TensorException(tensor="blk.0.ffn_up_exps.weight", buffer="CPU")
    plain = Placement(split=(5, 4))
    assert unpipelined(plain).unpipelined
    with_expert = Placement(split=(5, 4), exceptions=frozenset({expert}))
    assert unpipelined(with_expert) == with_expert
