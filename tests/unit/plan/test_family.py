"""Strategies as families, small enough to do by head."""

from __future__ import annotations

import pytest

from placer.placement import Strategy, TensorException, Workload
from placer.plan import Family, Spread, families, slot_costs
from placer.plan.settle import families_for
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import KIB

WORKLOAD = Workload(ctx=256)
# Five layers: norm 1 + dense 9 KiB, experts 30 KiB; output 1 + 9 KiB.
MOE = fake_shape([FakeLayer(dense_kib=9, expert_kib=30, kv_heads=0)] * 5, output_kib=9)
DENSE = fake_shape([FakeLayer(dense_kib=9, kv_heads=0)] * 5, output_kib=9)


def family(strategy: Strategy, *, moe: bool = True, devices: int = 2) -> Family:
    """The family of a strategy."""
    machine = fake_machine([0] * devices)
    found = families_for(MOE if moe else DENSE, WORKLOAD, machine)
    return next(f for f in found if f.strategy is strategy)


def best(strategy: Strategy, *room_kib: int, moe: bool = True) -> Spread | None:
    """The best spread for so much room."""
    chosen = family(strategy, moe=moe, devices=len(room_kib))
    return chosen.best([kib * KIB for kib in room_kib])


def test_one_gpu_takes_all_or_nothing() -> None:
    """Five layers of 40 and an output of 10 KiB."""
    assert best(Strategy.ONE_GPU, 210, 0) == Spread(slots=(6, 0))
    assert best(Strategy.ONE_GPU, 209, 999) is None


def test_layers_fill_the_first_gpu_first() -> None:
    """As many as it holds, the rest on the next, the output last."""
    assert best(Strategy.LAYERS, 130, 90) == Spread(slots=(3, 3))
    assert best(Strategy.LAYERS, 90, 130) == Spread(slots=(2, 4))
    assert best(Strategy.LAYERS, 130, 89) is None
    assert best(Strategy.LAYERS, 0, 210) == Spread(slots=(0, 6))


def test_experts_stay_where_there_is_room() -> None:
    """Beside the dense part of every layer, 60 KiB in all."""
    assert best(Strategy.EXPERTS_ON_CPU, 60, 0) == Spread(slots=(6, 0), kept=(0, 0))
    assert best(Strategy.EXPERTS_ON_CPU, 90, 0) == Spread(slots=(6, 0), kept=(1, 0))
    spread = best(Strategy.EXPERTS_ON_CPU, 80, 70)
    assert spread is not None
    assert spread.kept == (2, 1)
    assert best(Strategy.EXPERTS_ON_CPU, 30, 29) is None


def test_experts_are_traded_for_dense_layers() -> None:
    """A device gives dense layers away to keep one more layer of experts."""
    # 40 + 10 on the first, 50 on the second: 1 + 1 need 40 + 20 and 40 + 20 by turns.
    assert best(Strategy.EXPERTS_ON_CPU, 40, 80) == Spread(slots=(1, 5), kept=(1, 1))


def test_layers_on_the_cpu_are_the_first() -> None:
    """The most slots from the end on, the first device filled first."""
    chosen = family(Strategy.LAYERS_ON_CPU)
    spread = chosen.best([90 * KIB, 50 * KIB])
    assert spread == Spread(slots=(2, 2))
    devices = chosen.placement(spread).slot_devices(MOE.n_slots)
    assert devices == (None, None, 0, 0, 1, 1)
    assert best(Strategy.LAYERS_ON_CPU, 9, 9) is None


def test_a_better_spread_has_more_on_the_gpus_then_on_the_first() -> None:
    """The order of preference within a family."""
    chosen = family(Strategy.EXPERTS_ON_CPU)
    values = [
        chosen.value(Spread(slots=(3, 3), kept=kept))
        for kept in [(0, 0), (0, 2), (1, 1), (2, 0), (0, 3)]
    ]
    assert values == sorted(values)
    layers = family(Strategy.LAYERS)
    more_first = layers.value(Spread(slots=(4, 2)))
    assert more_first > layers.value(Spread(slots=(3, 3)))


def test_loads_are_counted_by_slot() -> None:
    """The first experts of a stretch stay, the context follows the layer."""
    chosen = family(Strategy.EXPERTS_ON_CPU)
    spread = Spread(slots=(2, 4), kept=(1, 3))
    assert [load // KIB for load in chosen.loads(spread)] == [50, 40 * 3 + 10]
    assert chosen.contexts(spread) == (0, 0)


def test_contexts_follow_the_layers() -> None:
    """Each device keeps the context of its own stretch."""
    shape = fake_shape([FakeLayer(kv_heads=n) for n in (1, 2, 4)])
    costs = (slot_costs(shape, WORKLOAD, "Vulkan"),) * 2
    chosen = families(shape, costs)[2]
    # 256 cells of K and V, 32 elements of 2 bytes a head.
    one_head = 256 * 32 * 2 * 2
    contexts = chosen.contexts(Spread(slots=(1, 2)))
    assert contexts == (2 * one_head, 4 * one_head)


def test_kept_experts_have_no_exception() -> None:
    """The others go to the CPU, tensor by tensor."""
    placement = family(Strategy.EXPERTS_ON_CPU).placement(
        Spread(slots=(3, 3), kept=(2, 1))
    )
    layers = {int(e.tensor.split(".")[1]) for e in placement.exceptions}
    assert layers == {2, 4}
    assert len(placement.exceptions) == 2 * 3
    name = "blk.2.ffn_up_exps.weight"
    assert TensorException(tensor=name, buffer="CPU") in placement.exceptions


def test_a_dense_model_has_no_experts_to_move() -> None:
    """And one GPU has no layers to spread."""
    machine = fake_machine([0, 0])
    assert [f.strategy.value for f in families_for(DENSE, WORKLOAD, machine)] == [
        *("A", "A", "C", "B")
    ]
    assert [f.strategy.value for f in families_for(MOE, WORKLOAD, machine)] == [
        *("A", "A", "C", "D", "B")
    ]
    alone = families_for(DENSE, WORKLOAD, fake_machine([0]))
    assert [f.strategy.value for f in alone] == ["A", "B"]


@pytest.mark.parametrize(
    ("strategy", "unit_kib"),
    [(Strategy.LAYERS, 10), (Strategy.EXPERTS_ON_CPU, 30)],
)
def test_the_unit_is_the_smallest_step(strategy: Strategy, unit_kib: int) -> None:
    """A layer, or the experts of a layer; the output is a step too."""
    assert family(strategy).unit_bytes(0) == unit_kib * KIB


def test_more_devices_than_layers_are_no_trouble() -> None:
    """Some stay empty."""
    spread = best(Strategy.EXPERTS_ON_CPU, 40, 40, 40, 40, 40, 40, 40)
    assert spread is not None
    assert sum(spread.slots) == 6
    assert spread.kept is not None
    assert sum(spread.kept) == 5
