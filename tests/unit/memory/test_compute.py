"""How compute buffers grow: relations, for the figures are the engine's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from placer.memory.compute import compute_bytes_by_device, is_pipelined
from placer.placement import Placement, TensorException, Workload
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import KIB

SHAPE = fake_shape([FakeLayer(expert_kib=3000)] * 4)
MACHINE = fake_machine([1, 1])
WORKLOAD = Workload(ctx=8192, parallel=1, kv_unified=False)
BOTH = Placement(split=(3, 2))
EXPERT = TensorException(tensor="blk.0.ffn_up_exps.weight", buffer="CPU")
ON_CPU = Placement(split=(3, 2), exceptions=frozenset({EXPERT}))


def compute(
    placement: Placement = BOTH, workload: Workload = WORKLOAD
) -> tuple[int, ...]:
    """Bytes of the two devices."""
    return compute_bytes_by_device(SHAPE, workload, placement, MACHINE)


def test_an_unused_device_holds_nothing() -> None:
    """No layer, no graph."""
    first, second = compute(Placement(split=(5, 0)))
    assert first > 0
    assert second == 0
    assert compute(Placement(split=(0, 0))) == (0, 0)


def test_the_physical_batch_drives_it() -> None:
    """Twice the tokens, about twice the bytes; the logical batch changes nothing."""
    small, large = (
        compute(workload=replace(WORKLOAD, ubatch=n))[0] for n in (256, 512)
    )
    assert large == pytest.approx(2 * small, rel=0.1)
    assert compute(workload=replace(WORKLOAD, batch=4096)) == compute()


def test_the_context_drives_the_mask() -> None:
    """More with a longer context, much more without flash attention."""
    longer = compute(workload=replace(WORKLOAD, ctx=65536))
    assert longer[0] > compute()[0]
    without = compute(workload=replace(WORKLOAD, flash_attn="off"))
    assert without[0] > 2 * compute()[0]


def test_pipelining_holds_its_inputs_four_times() -> None:
    """It is off where there is any override, part of the model is on the CPU, ..."""
    assert is_pipelined(SHAPE, BOTH, WORKLOAD)
    for placement in (
        ON_CPU,
        replace(BOTH, unpipelined=True),
        Placement(split=(5, 0)),
        Placement(split=(2, 2)),
    ):
        assert not is_pipelined(SHAPE, placement, WORKLOAD)
    assert not is_pipelined(SHAPE, BOTH, replace(WORKLOAD, kv_offload=False))
    piped, plain = compute(), compute(replace(BOTH, unpipelined=True))
    assert all(a > b for a, b in zip(piped, plain, strict=True))


def test_experts_on_the_cpu_visit_the_first_device() -> None:
    """A big batch computes there: a copy of the largest weight, unless forbidden."""
    plain = compute(replace(BOTH, unpipelined=True))
    with_expert = compute(ON_CPU)
    assert with_expert[0] - plain[0] == 1000 * KIB
    assert with_expert[1] == plain[1]
    forbidden = replace(WORKLOAD, op_offload=False)
    assert compute(ON_CPU, forbidden) == plain
    few = replace(WORKLOAD, ubatch=16)
    assert compute(ON_CPU, few) == compute(replace(BOTH, unpipelined=True), few)
