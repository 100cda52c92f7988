"""How many launches a search of a model of true size takes: ceilings that go down."""

from __future__ import annotations

import random
from statistics import median
from typing import TYPE_CHECKING

import pytest

from placer.placement import Strategy, Workload
from placer.search.search import Search
from placer.testing.fake_search import Arithmetic, ListJournal, fake_load_test
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import KIB, MIB

if TYPE_CHECKING:
    from pathlib import Path

    from placer.search.search import Found


def truth_of(seed: int, *, experts: bool, wrong: float) -> Arithmetic:
    """A model of 20 to 32 layers on two cards, of which up to ``wrong`` is hidden.

    With experts it fits only with some of them on the CPU, without only on both cards.
    """
    rng = random.Random(seed)  # noqa: S311 - the same cases every time
    expert_kib = rng.randint(200, 900) * KIB if experts else 0
    dense_kib = rng.randint(40, 90) * KIB if experts else rng.randint(200, 900) * KIB
    layer = FakeLayer(dense_kib=dense_kib, expert_kib=expert_kib, kv_heads=1)
    n_layer = rng.randint(20, 32)
    shape = fake_shape([layer] * n_layer, output_kib=400 * KIB)
    # Weights and context of the dense part, and as much of the experts as shall fit.
    total = n_layer * (dense_kib * KIB + 8 * MIB) + 1024 * MIB
    if experts:
        total += int(n_layer * expert_kib * KIB * rng.uniform(0.2, 0.5))
    total = int(total * (1.4 if experts else 1.65))
    first = rng.uniform(0.5, 0.58)
    free = [int(total * first), int(total * (1 - first))]
    return Arithmetic(
        shape=shape,
        workload=Workload(ctx=65536, parallel=1, kv_unified=False),
        machine=fake_machine(free),
        hidden_bytes=tuple(int(n * rng.uniform(0, wrong)) for n in free),
        compute_factor=1 + rng.uniform(-wrong, wrong),
    )


def search(truth: Arithmetic, folder: Path) -> Found:
    """What the search finds."""
    return Search(
        test=fake_load_test(truth),
        model_path="model.gguf",
        extra_args=(),
        journal=ListJournal(folder),
        on_event=lambda _: None,
    ).run()


@pytest.mark.parametrize(
    ("experts", "wrong", "typical", "most"),
    [
        (False, 0.0, 2, 2),
        (False, 0.3, 4, 7),
        (True, 0.0, 4, 5),
        (True, 0.1, 6, 9),
        (True, 0.3, 8, 11),
    ],
)
def test_launches_stay_below_their_ceiling(
    tmp_path: Path,
    experts: bool,  # noqa: FBT001 - a column of the table
    wrong: float,
    typical: int,
    most: int,
) -> None:
    """The median and the worst of eight searches."""
    strategy = Strategy.EXPERTS_ON_CPU if experts else Strategy.LAYERS
    counts = []
    for seed in range(8):
        found = search(truth_of(seed, experts=experts, wrong=wrong), tmp_path)
        assert found.trial.probe.strategy is strategy
        counts.append(sum(t.probe.strategy is strategy for t in found.trials))
    assert median(counts) <= typical, counts
    assert max(counts) <= most, counts
