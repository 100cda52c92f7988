from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from placer.placement import Placement, Workload
from placer.search.forecast import Forecast
from placer.speed import FIELD_NOTES, cost_table, predict, rates_of
from placer.testing.fake_search import (
    Arithmetic,
    ListJournal,
    fake_load_test,
    fake_search,
)
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from placer.search.search import Search

SHAPE = fake_shape([FakeLayer(dense_kib=2048, kv_heads=4)] * 4, output_kib=2048)
MACHINE = fake_machine([200 * MIB, 200 * MIB], backend="CUDA")
ALL = Placement(split=(3, 2))
RATES = rates_of(MACHINE, FIELD_NOTES)


def truth_of(workload: Workload) -> Arithmetic:
    """Two devices with room for everything."""
    return Arithmetic(
        shape=SHAPE, workload=workload, machine=MACHINE, hidden_bytes=(0, 0)
    )


def forecast(workload: Workload) -> Forecast:
    """Of launches with the workload."""
    return Forecast(test=fake_load_test(truth_of(workload)), rates=RATES)


def records(search: Search) -> list[dict[str, Any]]:
    """What the search wrote."""
    assert isinstance(search.journal, ListJournal)
    return search.journal.records


def test_decoding_is_predicted_behind_a_full_physical_batch() -> None:
    """As the load test does it, and whatever overlaps batches of a prompt."""
    workload = Workload(ctx=4096, batch=256, ubatch=64, parallel=1, kv_unified=False)
    said = forecast(workload).speed(ALL)
    assert said.depth == 64
    for pipelined in (False, True):
        table = cost_table(SHAPE, workload, MACHINE, RATES, 64)
        speed = predict(table, ALL, MACHINE, pipelined=pipelined)
        assert said.decode == speed.decode
        assert said.spent == speed.spent


def test_prefill_is_predicted_of_one_batch_on_an_empty_cache() -> None:
    """Nothing overlaps with it, and there is nothing behind it."""
    workload = Workload(ctx=4096, batch=256, ubatch=64, parallel=1, kv_unified=False)
    said = forecast(workload).speed(ALL)
    table = cost_table(SHAPE, workload, MACHINE, RATES, 0)
    assert said.prefill == predict(table, ALL, MACHINE, pipelined=False).prefill
    pipelined = predict(table, ALL, MACHINE, pipelined=True).prefill
    assert said.prefill.mid < pipelined.mid


def test_a_slot_smaller_than_the_batch_reads_what_it_can_hold() -> None:
    """The prediction is of that prompt, not of a batch that never comes."""
    workload = Workload(ctx=256, batch=512, ubatch=512, parallel=1, kv_unified=False)
    found = forecast(workload)
    assert found.prompt_tokens == found.test.slot_prompt_tokens < 256
    assert found.speed(ALL).depth == found.prompt_tokens


def test_the_journal_keeps_the_prediction_before_and_after(tmp_path: Path) -> None:
    """A launch that never answers has left what was expected of it."""
    workload = Workload(ctx=1024, batch=64, ubatch=64, parallel=1, kv_unified=False)
    said = forecast(workload)
    search = fake_search(truth_of(workload), tmp_path)
    search.forecast = said
    found = search.run()
    speed = found.trial.probe.speed
    assert speed is not None
    before, after = (
        next(r for r in records(search) if r["kind"] == kind)
        for kind in ("launching", "trial")
    )
    assert before["predicted"] == after["predicted"]
    record = json.loads(json.dumps(after))
    assert record["predicted"]["depth"] == 64
    assert record["predicted"]["decode_tokens_per_s"] == pytest.approx(
        [speed.decode.low, speed.decode.mid, speed.decode.high], abs=0.01
    )
    assert len(record["predicted"]["prefill_tokens_per_s"]) == 3
    assert record["decode_tokens_per_s"] == record["prefill_tokens_per_s"] == 1.0


def test_without_a_forecast_nothing_is_predicted(tmp_path: Path) -> None:
    """The search does not need one."""
    workload = Workload(ctx=1024, batch=64, ubatch=64, parallel=1, kv_unified=False)
    search = fake_search(truth_of(workload), tmp_path)
    search.run()
    trials = [r for r in records(search) if r["kind"] == "trial"]
    assert {r["predicted"] for r in trials} == {None}


def test_a_factor_is_all_that_calibration_changes() -> None:
    """What the ledger keeps can so be had from what was shown."""
    workload = Workload(ctx=1024, batch=64, ubatch=64, parallel=1, kv_unified=False)
    plain = forecast(workload)
    learned = replace(FIELD_NOTES, decode_factor=0.5, prefill_factor=3.0)
    taught = replace(plain, rates=rates_of(MACHINE, learned))
    before, after = plain.speed(ALL), taught.speed(ALL)
    assert after.decode.mid / 0.5 == pytest.approx(before.decode.mid)
    assert after.prefill.mid / 3.0 == pytest.approx(before.prefill.mid)
