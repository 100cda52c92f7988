"""How compute buffers grow: relations, for the figures are the engine's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from placer.memory.compute import compute_of, is_pipelined
from placer.placement import Placement, TensorException, Workload
from placer.testing.accuracy.models import read_models
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape

DATA = Path(__file__).parents[2] / "accuracy" / "data" / "architectures.jsonl.gz"
SHAPE = next(m for m in read_models(DATA) if m.name == "qwen3moe-moe").shape()
N = SHAPE.n_layer_all
MACHINE = fake_machine([1, 1])
WORKLOAD = Workload(ctx=8192, parallel=1, kv_unified=False)
BOTH = Placement(split=(N - 1, 2))
EXPERT = TensorException(tensor="blk.0.ffn_up_exps.weight", buffer="CPU")
ON_CPU = replace(BOTH, exceptions=frozenset({EXPERT}))
UNPIPED = replace(BOTH, unpipelined=True)


def compute(
    placement: Placement = BOTH, workload: Workload = WORKLOAD
) -> tuple[int, ...]:
    """Bytes of the two devices."""
    found = compute_of(SHAPE, workload, placement, MACHINE)
    assert found is not None
    return found.device_bytes


def test_a_device_without_layers_keeps_next_to_nothing() -> None:
    """No layer, no graph."""
    first, second = compute(Placement(split=(N + 1, 0)))
    assert first > 100 * second


def test_the_physical_batch_drives_it() -> None:
    """Twice the tokens, about twice the bytes; the logical batch changes nothing."""
    small, large = (
        compute(UNPIPED, replace(WORKLOAD, ubatch=n))[1] for n in (256, 512)
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
    assert is_pipelined(SHAPE, BOTH, WORKLOAD, MACHINE)
    for placement in (ON_CPU, UNPIPED, Placement(split=(N - 1, 0))):
        assert not is_pipelined(SHAPE, placement, WORKLOAD, MACHINE)
    on_host = replace(WORKLOAD, kv_offload=False)
    assert not is_pipelined(SHAPE, BOTH, on_host, MACHINE)
    piped, plain = compute(), compute(UNPIPED)
    assert all(a > b for a, b in zip(piped, plain, strict=True))


def test_experts_on_the_cpu_visit_the_first_device() -> None:
    """A big batch computes there, which no step of one token does."""
    moved = compute_of(SHAPE, WORKLOAD, ON_CPU, MACHINE)
    at_home = compute_of(SHAPE, replace(WORKLOAD, op_offload=False), ON_CPU, MACHINE)
    assert moved is not None
    assert at_home is not None
    assert moved.graph_splits != at_home.graph_splits
    assert moved.graph_splits[1] == at_home.graph_splits[1]


def test_splits_follow_the_devices() -> None:
    """One on one device; one more for each change of device."""
    alone = compute_of(SHAPE, WORKLOAD, Placement(split=(N + 1, 0)), MACHINE)
    both = compute_of(SHAPE, WORKLOAD, UNPIPED, MACHINE)
    moved = compute_of(SHAPE, WORKLOAD, ON_CPU, MACHINE)
    assert alone is not None
    assert both is not None
    assert moved is not None
    assert alone.graph_splits < both.graph_splits < moved.graph_splits


def test_an_architecture_without_a_graph_is_left_to_the_engine() -> None:
    """No guess."""
    unknown = fake_shape([FakeLayer()] * 2)
    assert compute_of(unknown, WORKLOAD, Placement(split=(2, 1)), MACHINE) is None
