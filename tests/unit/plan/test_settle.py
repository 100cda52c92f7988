from __future__ import annotations

from placer.placement import Placement, Strategy, TensorException, Workload
from placer.plan.settle import (
    families_for,
    formula_compute,
    formula_of,
    settle,
    unpipelined,
)
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import MIB

WORKLOAD = Workload(ctx=4096, parallel=1, kv_unified=False)
MOE = fake_shape(
    [FakeLayer(dense_kib=20480, expert_kib=204800, kv_heads=4)] * 8, output_kib=10240
)
MACHINE = fake_machine([1000 * MIB, 1000 * MIB])


def test_settling_takes_the_compute_buffers_off() -> None:
    """By whoever says what they are."""
    family = next(
        f
        for f in families_for(MOE, WORKLOAD, MACHINE)
        if f.strategy is Strategy.EXPERTS_ON_CPU
    )
    room = [d.free_bytes for d in MACHINE.devices]
    none = settle(family, room, lambda _: [0, 0])
    half = settle(family, room, lambda _: [500 * MIB, 500 * MIB])
    all_of_it = settle(family, room, lambda _: [1000 * MIB, 1000 * MIB])
    by_formula = settle(
        family, room, formula_compute(formula_of(MOE, WORKLOAD, MACHINE))
    )

    assert none.capacities == tuple(room)
    assert half.capacities == (500 * MIB, 500 * MIB)
    assert none.spread is not None
    assert half.spread is not None
    assert sum(half.spread.kept or ()) < sum(none.spread.kept or ())
    assert all_of_it.spread is None
    assert by_formula.spread is not None


def test_only_what_has_no_override_needs_one_to_stop_pipelining() -> None:
    """An exception stops it already."""
    expert = TensorException(tensor="blk.0.ffn_up_exps.weight", buffer="CPU")
    plain = Placement(split=(5, 4))
    with_expert = Placement(split=(5, 4), exceptions=frozenset({expert}))

    assert unpipelined(plain).unpipelined
    assert unpipelined(with_expert) == with_expert
