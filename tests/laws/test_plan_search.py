"""A search finds what trying everything would find, and shows where it ends."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from placer.engine.judge import Outcome
from placer.errors import SearchError
from placer.placement import Strategy, Workload
from placer.plan import Family, Spread
from placer.plan.settle import families_for
from placer.search.search import Found, Search
from placer.testing.fake_search import Arithmetic, ListJournal, fake_load_test
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

LAYERS = st.builds(
    FakeLayer,
    dense_kib=st.integers(300, 9000),
    expert_kib=st.just(0) | st.integers(2000, 30000),
    kv_heads=st.sampled_from([1, 4]),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model on devices that really have less than they say.

    Attributes:
        free_percent: of each device, in terms of the model's weights.
        hidden_percent: of each device's free memory, what nobody can have.
        compute_percent: compute buffers, in terms of the formula's.
        answers: whether the engine's dry run says anything.
        is_even: whether compute buffers are much the same for every placement, and
            small beside a layer, as they are for models of any use.
    """

    layers: tuple[FakeLayer, ...]
    output_kib: int
    ctx: int
    free_percent: tuple[int, ...]
    hidden_percent: tuple[int, ...]
    compute_percent: int
    answers: bool
    is_even: bool = True

    def truth(self) -> Arithmetic:
        """What really fits."""
        shape = fake_shape(self.layers, output_kib=self.output_kib)
        total = shape.weight_bytes + 10 * MIB
        free = [total * percent // 100 for percent in self.free_percent]
        hidden = zip(free, self.hidden_percent, strict=False)
        return Arithmetic(
            shape=shape,
            workload=Workload(
                ctx=self.ctx if self.is_even else 4 * self.ctx,
                batch=256,
                ubatch=32 if self.is_even else 256,
                parallel=1,
                kv_unified=False,
                op_offload=not self.is_even,
            ),
            machine=fake_machine(free),
            hidden_bytes=tuple(n * percent // 100 for n, percent in hidden),
            compute_factor=self.compute_percent / 100,
            answers=self.answers,
        )


def cases(most_wrong: int) -> st.SearchStrategy[Case]:
    """Cases in which the estimate is wrong by so many percent, or less."""
    wrong = st.integers(0, most_wrong)
    return st.builds(
        Case,
        layers=st.lists(LAYERS, min_size=2, max_size=6).map(tuple),
        output_kib=st.integers(500, 9000),
        ctx=st.sampled_from([256, 1024, 4096]),
        free_percent=st.lists(st.integers(10, 100), min_size=1, max_size=3).map(tuple),
        hidden_percent=st.tuples(wrong, wrong, wrong),
        compute_percent=st.integers(100 - most_wrong, 100 + most_wrong),
        answers=st.booleans(),
    )


def search(
    truth: Arithmetic, *, names_device: bool = True, reports_room: bool = True
) -> Found | None:
    """What a search finds, None where it says that nothing fits."""
    with tempfile.TemporaryDirectory() as folder:
        test = fake_load_test(
            truth, names_device=names_device, reports_room=reports_room
        )
        try:
            return Search(
                test=test,
                model_path="model.gguf",
                extra_args=(),
                journal=ListJournal(Path(folder)),
                on_event=lambda _: None,
            ).run()
        except SearchError:
            return None


def every_spread(family: Family) -> Iterator[Spread]:
    """All members of a family, by counting."""
    n_slots, n_devices = family.shape.n_slots, len(family.costs)
    for slots in product(range(n_slots + 1), repeat=n_devices):
        total = sum(slots)
        if family.strategy is Strategy.LAYERS_ON_CPU:
            if 0 < total <= n_slots:
                yield Spread(slots=slots)
        elif total != n_slots:
            continue
        elif family.strategy is Strategy.EXPERTS_ON_CPU:
            yield from _every_kept(family, slots)
        elif family.device is None or slots[family.device] == n_slots:
            yield Spread(slots=slots)


def _every_kept(family: Family, slots: tuple[int, ...]) -> Iterator[Spread]:
    ranges, start = [], 0
    for count in slots:
        experts = family.costs[0].experts[start : start + count]
        ranges.append(range(sum(1 for size in experts if size) + 1))
        start += count
    for kept in product(*ranges):
        yield Spread(slots=slots, kept=kept)


def largest(truth: Arithmetic) -> tuple[Family, tuple[int, ...]] | None:
    """The first family with a member that really fits, and its greatest value."""
    for family in families_for(truth.shape, truth.workload, truth.machine):
        values = [
            family.value(spread)
            for spread in every_spread(family)
            if truth.first_refusal(family.placement(spread)) is None
        ]
        if values:
            return family, max(values)
    return None


def assert_is_largest(truth: Arithmetic, found: Found | None) -> None:
    """The search found a spread that nothing beats."""
    expected = largest(truth)
    if expected is None:
        assert found is None
        return
    family, value = expected
    assert found is not None
    probe = found.trial.probe
    assert probe.strategy is family.strategy
    assert family.value(probe.spread) == value
    assert found.stopped is None
    assert found.trial.verdict.outcome is Outcome.FITS


@settings(max_examples=120)
@given(cases(30))
def test_a_search_finds_the_largest(case: Case) -> None:
    """With estimates wrong by up to 30 %, in the order A, C, D, B."""
    truth = case.truth()
    assert_is_largest(truth, search(truth))


@settings(max_examples=60)
@given(cases(30))
def test_uneven_compute_buffers_still_end_the_search(case: Case) -> None:
    """Where they differ from placement to placement, the answer fits all the same."""
    truth = replace(case, is_even=False).truth()
    found = search(truth)
    if found is not None:
        assert truth.first_refusal(found.trial.probe.placement) is None
        assert len(found.trials) < 60


@settings(max_examples=60)
@given(cases(30))
def test_a_search_needs_no_word_on_what_is_left(case: Case) -> None:
    """A driver that does not count what is used costs launches, not the answer."""
    truth = case.truth()
    assert_is_largest(truth, search(truth, reports_room=False))


@settings(max_examples=60)
@given(cases(30))
def test_a_log_without_a_device_still_ends_the_search(case: Case) -> None:
    """Where the log does not say which device ran out, the answer fits all the same."""
    truth = case.truth()
    found = search(truth, names_device=False)
    if found is not None:
        assert truth.first_refusal(found.trial.probe.placement) is None
        assert len(found.trials) < 60


@settings(max_examples=80)
@given(cases(30))
def test_every_step_beyond_the_answer_was_refused(case: Case) -> None:
    """Each better spread asks a device for no less than it refused in a launch."""
    truth = case.truth()
    found = search(truth)
    if found is None:
        return
    families = families_for(truth.shape, truth.workload, truth.machine)
    family = next(f for f in families if f.strategy is found.trial.probe.strategy)
    if family.strategy is Strategy.ONE_GPU:
        return
    names = [device.name for device in truth.machine.devices]
    refused: list[int | None] = [None] * len(names)
    for trial in found.boundary:
        if trial.probe.strategy is family.strategy:
            index = names.index(trial.verdict.device or "")
            load = family.loads(trial.probe.spread)[index]
            known = refused[index]
            refused[index] = load if known is None else min(known, load)
    # Compute buffers differ a little from spread to spread.
    slack = 256 * KIB
    best = family.value(found.trial.probe.spread)
    for spread in every_spread(family):
        if family.value(spread) > best:
            assert any(
                limit is not None and load + slack >= limit
                for load, limit in zip(family.loads(spread), refused, strict=True)
            )


@settings(max_examples=80)
@given(cases(0))
def test_a_right_estimate_needs_few_launches(case: Case) -> None:
    """The answer, and one refusal for each device that could take more."""
    truth = case.truth()
    found = search(truth)
    if found is None:
        return
    strategy = found.trial.probe.strategy
    count = sum(1 for t in found.trials if t.probe.strategy is strategy)
    n_devices = len(truth.machine.devices)
    if strategy is Strategy.ONE_GPU:
        assert count <= n_devices
    elif strategy is Strategy.LAYERS:
        assert count <= (2 if n_devices <= 2 else 2 * n_devices)
    else:
        # Dense layers can be traded between devices: a few more to be sure.
        assert count <= 3 * n_devices
