from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from placer.machine.files import load_machine
from placer.placement import Placement, TensorException, Workload
from placer.speed import (
    FIELD_NOTES,
    Calibration,
    CostTable,
    Interval,
    Speed,
    cost_table,
    predict,
    rates_of,
)
from placer.speed.predict import COPIES, batches_in_flight, spent
from placer.testing.accuracy.models import big_models

if TYPE_CHECKING:
    from placer.model import ModelShape

MACHINE = load_machine("desktop-4090-5070-ti")
WORK = Workload(ctx=4096, parallel=1, kv_unified=False, batch=512, ubatch=512)
FIRST, SECOND, CPU = 0, 1, 2


@cache
def shape() -> ModelShape:
    """A mixture with biases: 36 layers and the output."""
    return next(m for m in big_models() if m.name == "gpt-oss-120b-F16").shape()


def table(calibration: Calibration = FIELD_NOTES, **changes: Any) -> CostTable:
    """It on the desktop, 1024 tokens deep."""
    rates = rates_of(MACHINE, calibration)
    return cost_table(shape(), replace(WORK, **changes), MACHINE, rates, 1024)


def predicted(
    placement: Placement,
    calibration: Calibration = FIELD_NOTES,
    *,
    pipelined: bool = False,
    **changes: Any,
) -> Speed:
    """The speed of a placement."""
    found = table(calibration, **changes)
    return predict(found, placement, MACHINE, pipelined=pipelined)


def moved(*parts: str, to: str = "CPU", layer: int = 3) -> frozenset[TensorException]:
    """The tensors of a layer whose names hold any of the parts."""
    return frozenset(
        TensorException(tensor=tensor.name, buffer=to)
        for tensor in shape().layers[layer].tensors
        if any(part in tensor.name for part in parts)
    )


WHOLE = Placement(split=(37, 0))


def homes_s(speed: Speed) -> list[float]:
    """Seconds of a token on each home."""
    return [times.decode_s for times in speed.spent.by_home]


def hops_s(speed: Speed) -> float:
    """Seconds of a token between homes."""
    return speed.spent.hops.decode_s


def test_an_interval_lies_around_its_middle() -> None:
    """So many times less and more."""
    found = Interval.around(50.0, (0.5, 1.5))

    assert (found.low, found.mid, found.high) == (25.0, 50.0, 75.0)


def test_a_tokens_time_is_that_on_all_homes_and_between_them() -> None:
    """One after the other."""
    speed = predicted(Placement(split=(20, 10), exceptions=moved("exps", layer=20)))

    assert min(*homes_s(speed), hops_s(speed)) > 0
    assert speed.decode.mid * (sum(homes_s(speed)) + hops_s(speed)) == pytest.approx(1)
    assert speed.depth == 1024


def test_what_launches_taught_multiplies() -> None:
    """The middle and both ends; times are the model's own."""
    taught = replace(FIELD_NOTES, decode_factor=0.5, prefill_factor=2.0)
    before, after = predicted(WHOLE), predicted(WHOLE, taught)

    assert after.decode.mid == pytest.approx(before.decode.mid / 2)
    assert after.decode.high == pytest.approx(before.decode.high / 2)
    assert after.prefill.low == pytest.approx(before.prefill.low * 2)
    assert homes_s(after) == homes_s(before)


def test_the_spread_is_the_calibrations() -> None:
    """Of what is written and of what is read."""
    speed = predicted(WHOLE)

    assert speed.decode.low == pytest.approx(0.8 * speed.decode.mid)
    assert speed.prefill.high == pytest.approx(1.6 * speed.prefill.mid)


def test_experts_on_the_cpu_are_read_there() -> None:
    """What a device no longer reads, and two hops besides."""
    before, after = (
        predicted(WHOLE),
        predicted(replace(WHOLE, exceptions=moved("exps"))),
    )
    found = table()
    groups = range(3)

    assert homes_s(before)[CPU] == 0
    assert homes_s(after)[CPU] == pytest.approx(
        sum(found.group(3, index, CPU).decode_s for index in groups)
    )
    assert homes_s(before)[FIRST] - homes_s(after)[FIRST] == pytest.approx(
        sum(found.group(3, index, FIRST).decode_s for index in groups)
    )
    assert hops_s(after) - hops_s(before) == pytest.approx(
        2 * found.hop(FIRST, CPU).decode_s
    )


def test_a_matrix_decides_for_its_bias() -> None:
    """A bias alone moves nothing."""
    bias = moved("up_exps.bias")
    matrix = moved("up_exps.weight")
    alone, both = (
        predicted(replace(WHOLE, exceptions=some)) for some in (matrix, matrix | bias)
    )

    assert len(bias) == len(matrix) == 1
    assert homes_s(alone) == homes_s(both)
    assert homes_s(predicted(replace(WHOLE, exceptions=bias)))[CPU] == 0


def test_a_dense_matrix_is_read_where_it_is() -> None:
    """Not where its layer is."""
    before = predicted(WHOLE)
    after = predicted(replace(WHOLE, exceptions=moved("attn_q.weight", to="CUDA1")))
    found = table()
    tensor = next(t for t in shape().layers[3].tensors if "attn_q.weight" in t.name)

    assert homes_s(after)[SECOND] == pytest.approx(found.dense(tensor, SECOND).decode_s)
    assert homes_s(before)[FIRST] - homes_s(after)[FIRST] == pytest.approx(
        found.dense(tensor, FIRST).decode_s
    )


def test_nothing_on_a_device_makes_no_hop() -> None:
    """All on the CPU."""
    speed = predicted(Placement(split=(0, 0)))

    assert hops_s(speed) == 0
    assert homes_s(speed)[FIRST] == homes_s(speed)[SECOND] == 0


@pytest.mark.parametrize(("batch", "ubatch", "n"), [(512, 512, 1), (2048, 512, 4)])
def test_batches_are_in_flight_as_many_as_a_logical_one_has(
    batch: int, ubatch: int, n: int
) -> None:
    """No more than fit into it."""
    assert batches_in_flight(table(batch=batch, ubatch=ubatch)) == n


SPLIT = Placement(split=(19, 18))


def test_one_batch_alone_overlaps_with_nothing() -> None:
    """The devices wait for each other as before."""
    before, after = predicted(SPLIT), predicted(SPLIT, pipelined=True)

    assert after == before


def test_of_overlapping_batches_all_but_the_first_wait_for_the_slowest() -> None:
    """Half of two batches is a way through all devices and the slowest once more."""
    found = table(batch=1024)
    used = spent(found, SPLIT, MACHINE)
    slowest = max(times.prefill_s for times in used.by_home)
    speed = predicted(SPLIT, pipelined=True, batch=1024)

    assert 512 / speed.prefill.mid == pytest.approx(
        (used.total.prefill_s + slowest) / 2
    )
    assert speed.decode == predicted(SPLIT).decode


def test_more_copies_than_the_engine_has_do_not_help() -> None:
    """It has four."""
    four, eight = (
        predicted(SPLIT, pipelined=True, batch=512 * n) for n in (COPIES, 2 * COPIES)
    )

    assert four.prefill == eight.prefill
    assert four.prefill.mid > predicted(SPLIT, pipelined=True, batch=1024).prefill.mid


def test_a_device_alone_takes_the_weights_of_the_cpu() -> None:
    """With -sm none: the second card's slower arithmetic, its faster link."""
    away = moved("exps")
    layer = {t.tensor for t in away}
    second = Placement(split=(0, 37), main_gpu=SECOND, exceptions=away)
    found = table()
    alone = spent(found, second, MACHINE)
    anyhow = spent(found, replace(second, main_gpu=None), MACHINE)

    assert layer
    assert alone.by_home[CPU].prefill_s > anyhow.by_home[CPU].prefill_s
    assert alone.total.decode_s == anyhow.total.decode_s
