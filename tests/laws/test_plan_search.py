"""A search finds what planning with the true memory would find, in few launches."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pytest

from placer.engine.judge import Outcome
from placer.search.evidence import slack_bytes
from placer.testing.simulated import Simulated, random_truth, simulate

if TYPE_CHECKING:
    from placer.testing.fake_search import Arithmetic

# scripts/bench makes a thousand of them.
SEEDS = range(18)
FEW = range(100, 105)


def simulated(truth: Arithmetic, **asked: bool) -> Simulated:
    """One search, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return simulate(truth, Path(folder), **asked)


def assert_right(one: Simulated) -> None:
    """What was found really fits, and nothing that fits is better by what counts."""
    assert one.is_right
    if one.found is not None:
        assert one.found.trial.verdict.outcome is Outcome.FITS
        assert one.found.stopped is None


def test_every_answer_is_the_best_in_few_launches() -> None:
    """Overheads up to a tenth, wrong compute buffers and noisy readings."""
    found = [simulated(random_truth(seed)) for seed in SEEDS]
    for one in found:
        assert_right(one)
    counts = [one.launches for one in found if one.launches]
    assert len(counts) > len(SEEDS) / 2
    assert median(counts) <= 3, counts
    assert max(counts) <= 6, counts


@pytest.mark.parametrize("seed", FEW)
def test_an_honest_machine_needs_one_launch(seed: int) -> None:
    """Nothing hidden, buffers as the formula has them: the plan is the answer."""
    truth = random_truth(seed)
    nothing = (0,) * len(truth.hidden_bytes)
    truth = replace(truth, hidden_bytes=nothing, compute_factor=1.0, noise_bytes=0)
    one = simulated(truth)
    assert_right(one)
    assert one.launches <= 1


@pytest.mark.parametrize("seed", FEW)
def test_a_search_needs_no_word_on_what_is_left(seed: int) -> None:
    """A driver that does not count what is used costs launches, not the answer."""
    assert_right(simulated(random_truth(seed), reports_room=False))


@pytest.mark.parametrize("seed", FEW)
def test_a_log_without_a_device_still_ends_the_search(seed: int) -> None:
    """Where the log does not say which device ran out, the answer fits all the same."""
    one = simulated(random_truth(seed), names_device=False)
    if one.found is not None:
        placement = one.found.trial.probe.placement
        assert one.truth.first_refusal(placement) is None
        assert one.launches < 40


@pytest.mark.parametrize("seed", FEW)
def test_dry_runs_that_say_nothing_cost_launches_only(seed: int) -> None:
    """Wrong compute buffers are hidden memory then."""
    one = simulated(replace(random_truth(seed), answers=False))
    if one.found is not None:
        placement = one.found.trial.probe.placement
        assert one.truth.first_refusal(placement) is None


@pytest.mark.parametrize("seed", FEW)
def test_each_limit_is_true(seed: int) -> None:
    """What a device is said to have left is what it has, to the precision of it."""
    one = simulated(random_truth(seed))
    if one.found is None:
        return
    truth = one.truth
    needs = truth.needs(replace(one.found.trial.probe.placement, unpipelined=True))
    rows = zip(
        one.found.limits,
        truth.machine.devices,
        truth.hidden_bytes,
        needs.devices,
        strict=True,
    )
    for limit, device, hidden, held in rows:
        left = device.free_bytes - hidden - held.total_bytes
        assert limit.device == device.name
        if limit.left_bytes is not None:
            assert abs(limit.left_bytes - left) <= slack_bytes(device)
        if limit.left_bytes is not None and limit.step_bytes is not None:
            assert limit.step_bytes > limit.left_bytes


@pytest.mark.parametrize("seed", FEW)
def test_every_step_beyond_is_launched_where_asked(seed: int) -> None:
    """Each device on which more would help was seen to refuse it."""
    one = simulated(random_truth(seed), by_launch=True)
    assert_right(one)
    if one.found is None:
        return
    for limit in one.found.limits:
        if limit.step_bytes is not None:
            assert limit.refused_bytes is not None
            assert limit.refused_bytes <= limit.needs_bytes + limit.step_bytes
