"""Fits that are no fits: far slower than others of the same search."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from placer.engine.client import Completion
from placer.engine.judge import Outcome
from placer.placement import Workload
from placer.search.forecast import Forecast
from placer.search.reading import with_doubts
from placer.speed import FIELD_NOTES, rates_of
from placer.testing.fake_search import Arithmetic, fake_search
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from placer.search.trial import Trial


@pytest.fixture
def fitting(tmp_path: Path) -> Trial:
    """A launch that fitted, as fast as predicted by a model that errs by ten."""
    truth = Arithmetic(
        shape=fake_shape([FakeLayer(dense_kib=2048)] * 4),
        workload=Workload(ctx=1024, batch=64, ubatch=64, parallel=1),
        machine=fake_machine([200 * MIB]),
        hidden_bytes=(0,),
    )
    search = fake_search(truth, tmp_path)
    rates = rates_of(truth.machine, FIELD_NOTES)
    search.forecast = Forecast(test=search.test, rates=rates)
    trial = search.run().trial
    return at(trial, decode=0.1, prefill=0.1)


def at(trial: Trial, *, decode: float, prefill: float) -> Trial:
    """The same at so much of what was predicted."""
    said = trial.probe.speed
    assert said is not None
    single = Completion(
        prompt_tokens=64,
        prompt_tokens_per_s=said.prefill.mid * prefill,
        decoded_tokens=16,
        decoded_tokens_per_s=said.decode.mid * decode,
    )
    return replace(trial, observation=replace(trial.observation, single=single))


def outcome_of(trial: Trial, *earlier: Trial) -> Outcome:
    """What it is after a second look."""
    seen = trial.observation
    return with_doubts(trial.verdict, trial.probe, seen, earlier).outcome


def test_a_collapse_of_both_is_spilled(fitting: Trial) -> None:
    """A fiftieth of what another fit had: memory of the host."""
    slow = at(fitting, decode=0.002, prefill=0.002)
    assert outcome_of(slow, fitting) is Outcome.SPILLED
    assert outcome_of(slow, fitting, fitting, slow) is Outcome.SPILLED


@pytest.mark.parametrize(
    ("decode", "prefill"), [(0.1, 0.1), (0.03, 0.03), (0.002, 0.1), (0.1, 0.002)]
)
def test_a_hiccup_is_none(fitting: Trial, decode: float, prefill: float) -> None:
    """Somewhat slower, or slow in one of two things."""
    trial = at(fitting, decode=decode, prefill=prefill)
    assert outcome_of(trial, fitting) is Outcome.FITS


def test_the_first_launch_has_nothing_to_be_held_to(fitting: Trial) -> None:
    """The model may err by any factor."""
    assert outcome_of(at(fitting, decode=1e-4, prefill=1e-4)) is Outcome.FITS
