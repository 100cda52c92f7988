"""A placement and its flags mean the same, tensor by tensor."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from placer.memory.weights import (
    allocated_bytes,
    tensor_buffers,
    weight_bytes_by_buffer,
)
from placer.placement import (
    Placement,
    TensorException,
    buffer_of_tensors,
    minimal_overrides,
    placement_args,
    placement_from_args,
)
from placer.placement.flags import home_buffers
from placer.placement.placement import devices_of_shares
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.model import ModelShape

layers = st.builds(
    FakeLayer,
    dense_kib=st.integers(1, 40),
    expert_kib=st.just(0) | st.integers(3, 90),
)
shapes = st.builds(fake_shape, st.lists(layers, min_size=1, max_size=24))


@st.composite
def placements(draw: st.DrawFn) -> tuple[ModelShape, int, Placement]:
    """A model, a number of devices, and any placement of it on them."""
    shape = draw(shapes)
    n_devices = draw(st.integers(1, 4))
    act = draw(st.integers(0, shape.n_slots))
    main_gpu = draw(st.none() | st.integers(0, n_devices - 1))
    if main_gpu is None:
        cuts = sorted(draw(st.tuples(*[st.integers(0, act)] * (n_devices - 1))))
        bounds = [0, *cuts, act]
        split = tuple(b - a for a, b in itertools.pairwise(bounds))
    else:
        split = tuple(act if i == main_gpu else 0 for i in range(n_devices))
    bare = Placement(split=split, main_gpu=main_gpu)
    return shape, n_devices, draw(with_exceptions(shape, n_devices, bare))


@st.composite
def with_exceptions(
    draw: st.DrawFn, shape: ModelShape, n_devices: int, bare: Placement
) -> Placement:
    """The placement with some tensors elsewhere: whole layers, experts, or any."""
    machine = fake_machine([1] * n_devices)
    home = home_buffers(bare, shape, machine)
    word = draw(st.sampled_from(["", "exps", "attn", ".weight", "blk.1"]))
    names = [name for name in shape.tensor_names if word in name]
    some = draw(st.sets(st.sampled_from(names), max_size=12)) if names else set()
    chosen = set(names) if draw(st.booleans()) and word == "exps" else some
    buffers = st.sampled_from(machine.buffer_types)
    moved = {name: draw(buffers) for name in sorted(chosen)}
    return Placement(
        split=bare.split,
        main_gpu=bare.main_gpu,
        exceptions=frozenset(
            TensorException(tensor=name, buffer=buffer)
            for name, buffer in moved.items()
            if buffer != home[name]
        ),
    )


@settings(max_examples=300)
@given(placements())
def test_flags_parse_back(case: tuple[ModelShape, int, Placement]) -> None:
    """What placer writes is what the engine makes of it."""
    shape, n_devices, placement = case
    machine = fake_machine([7, 3, 5, 2][:n_devices])
    args = placement_args(placement, shape)
    if not any(placement.split) and placement.main_gpu is None:
        # -ts 0,0 would be the free memory; -ngl 0 is what counts.
        assert args[:2] == ["-ngl", "0"]
    assert placement_from_args(args, shape, machine) == placement


@given(placements())
def test_overrides_move_what_they_should_and_nothing_else(
    case: tuple[ModelShape, int, Placement],
) -> None:
    """Patterns match the exceptions exactly, in words that survive a shell."""
    shape, _, placement = case
    overrides = minimal_overrides(placement.exceptions, shape.tensor_names)
    moved = buffer_of_tensors(overrides, shape.tensor_names)
    assert moved == {e.tensor: e.buffer for e in placement.exceptions}
    for override in overrides:
        assert not set(override.pattern) & set(" ,='\"$`;&<>")


@given(placements())
def test_every_tensor_is_somewhere_once(
    case: tuple[ModelShape, int, Placement],
) -> None:
    """Bytes over all devices and the host are those of all tensors as loaded."""
    shape, n_devices, placement = case
    machine = fake_machine([1] * n_devices)
    placed = tensor_buffers(shape, placement, machine)
    assert sum(tensor.n_bytes for tensor, _ in placed) == shape.weight_bytes
    assert {buffer for _, buffer in placed} <= set(machine.buffer_types)
    held = weight_bytes_by_buffer(shape, placement, machine)
    backends = {d.buffer_type: d.backend for d in machine.devices}
    for name in machine.buffer_types:
        assert held[name] == sum(
            allocated_bytes(tensor, backends.get(name, "CPU"))
            for tensor, buffer in placed
            if buffer == name
        )


def engine_counts(shares: Sequence[float], n_slots: int) -> list[int]:
    """Slots of each device by the engine's own arithmetic: llama-model.cpp:1334."""
    sums = np.cumsum(np.array(shares, np.float32), dtype=np.float32)
    bounds = sums / sums[-1]
    slots = np.arange(n_slots).astype(np.float32) / np.float32(n_slots)
    devices = np.searchsorted(bounds, slots, side="right")
    return [int((devices == i).sum()) for i in range(len(shares))]


def placer_counts(shares: Sequence[float], n_slots: int) -> list[int]:
    """The same by placer's arithmetic."""
    devices = devices_of_shares(shares, n_slots)
    return [devices.count(i) for i in range(len(shares))]


def test_whole_splits_of_two_devices_come_out_exactly() -> None:
    """Every ``-ts a,b`` up to 200 slots puts a slots here and b slots there."""
    for total in range(1, 201):
        for first in range(total + 1):
            split = [first, total - first]
            assert engine_counts(split, total) == split
    for total in (1, 2, 3, 33, 47, 48, 49, 61, 94, 127, 199, 200):
        for first in range(total + 1):
            split = [first, total - first]
            assert placer_counts(split, total) == split


@settings(max_examples=300)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=8).filter(any))
def test_whole_splits_come_out_exactly(split: list[int]) -> None:
    """Whatever the number of devices, and with devices left out."""
    assert engine_counts(split, sum(split)) == split
    assert placer_counts(split, sum(split)) == split


# Cards alike, or of twice the size, meet the slots' own fractions.
multiples = st.builds(
    lambda unit, counts: [float(unit * n) for n in counts],
    st.integers(1, 1 << 34),
    st.lists(st.integers(0, 7), min_size=2, max_size=6).filter(any),
)
sizes = st.lists(st.integers(0, 96 << 30).map(float), min_size=1, max_size=6)


@settings(max_examples=500)
@given(multiples | sizes.filter(any), st.integers(1, 200))
@example([0.0, 375840844.0, 751681688.0, 375840844.0], 28)
@example([17579750805.0, 11719833870.0, 5859916935.0, 5859916935.0], 105)
def test_shares_that_are_not_whole_follow_the_engine(
    shares: list[float], n_slots: int
) -> None:
    """Free bytes as shares, too big for 32-bit floats, are rounded as it rounds."""
    assert placer_counts(shares, n_slots) == engine_counts(shares, n_slots)
