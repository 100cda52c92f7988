"""The search against every launch that there is."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from placer import app
from placer.app.rig import Rig, open_rig
from placer.app.target import Asked, Folders, Target, resolve
from placer.engine.judge import Outcome, judge
from placer.engine.loadtest import LoadTest
from placer.engine.observation import Proof
from placer.placement import Strategy
from placer.plan import Family, Spread
from placer.plan.settle import families_for
from placer.search.search import launch_args
from placer.testing.models import write_llama, write_qwen3moe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.engine

# Loading allocates everything on these devices, so loading decides.
PROOF = Proof.LOAD
EXTRA = ("--no-warmup",)
VALUES = {"ctx": 2048, "parallel": 1, "batch": 256, "ubatch": 256}

DENSE = {"n_layer": 5, "n_embd": 512, "n_ff": 1536, "n_vocab": 8192}
MOE = {"n_layer": 4, "n_embd": 256, "n_ff_exp": 512, "n_expert": 16, "n_head_kv": 4}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dense model of 5 layers and one of 4 layers of experts."""
    folder = tmp_path_factory.mktemp("models")
    write_llama(folder / "dense.gguf", **DENSE)
    write_qwen3moe(folder / "moe.gguf", **MOE)
    return folder


def every_spread(family: Family) -> Iterator[Spread]:
    """All members of a family, by counting."""
    n_slots, n_devices = family.shape.n_slots, len(family.costs)
    for slots in product(range(n_slots + 1), repeat=n_devices):
        total = sum(slots)
        if family.strategy is Strategy.ONE_GPU:
            if slots[family.device or 0] == total == n_slots:
                yield Spread(slots=slots)
        elif family.strategy is Strategy.LAYERS_ON_CPU:
            if 0 < total <= n_slots:
                yield Spread(slots=slots)
        elif total == n_slots:
            if family.strategy is Strategy.LAYERS:
                yield Spread(slots=slots)
            else:
                yield from _every_kept(family, slots)


def _every_kept(family: Family, slots: tuple[int, ...]) -> Iterator[Spread]:
    most, start = [], 0
    for count in slots:
        moe = family.costs[0].experts[start : start + count]
        most.append(sum(1 for size in moe if size))
        start += count
    for kept in product(*(range(n + 1) for n in most)):
        yield Spread(slots=slots, kept=kept)


def fits(
    family: Family, spread: Spread, target: Target, rig: Rig, folder: Path
) -> bool:
    """Whether the real engine loads the spread."""
    test = LoadTest(
        runner=rig.runner,
        machine=rig.machine,
        shape=target.shape,
        workload=target.workload,
        proof=PROOF,
    )
    path = str(target.file.path)
    placement = family.placement(spread)
    args = launch_args(
        path, target.workload, EXTRA, placement, target.shape, rig.machine
    )
    name = "-".join(map(str, (*spread.slots, *(spread.kept or ()))))
    log_path = folder / f"{family.strategy.value}-{name}.log"
    seen = test.observe(args, log_path=log_path, on_progress=lambda _: None)
    outcome = judge(seen, rig.machine, PROOF).outcome
    assert outcome is Outcome.FITS or outcome.is_oom, log_path.read_text()[-2000:]
    return outcome is Outcome.FITS


def largest_by_exhaustion(
    target: Target, rig: Rig, folder: Path
) -> tuple[Strategy, tuple[int, ...]] | None:
    """The first strategy with a member that loads, and the value of its best."""
    for family in families_for(target.shape, target.workload, rig.machine):
        values = [
            family.value(spread)
            for spread in every_spread(family)
            if fits(family, spread, target, rig, folder)
        ]
        if values:
            return family.strategy, max(values)
    return None


@pytest.mark.parametrize(
    ("model", "emulate"),
    [
        ("dense", (60, 25)),
        ("dense", (38, 30)),
        ("dense", (26, 44)),
        ("dense", (25, 14)),
        ("dense", (42, 3)),
        ("moe", (50, 34)),
        ("moe", (34, 24)),
        ("moe", (24, 36)),
        ("moe", (45, 4)),
    ],
)
def test_the_answer_equals_exhaustive_search(
    models: Path, tmp_path: Path, model: str, emulate: tuple[int, int]
) -> None:
    """No placement that loads is better than the one that the search found."""
    path = str(models / f"{model}.gguf")
    target = resolve(path, Folders(), Asked(values=VALUES, extra_args=EXTRA))
    with open_rig(emulate=emulate) as rig:
        expected = largest_by_exhaustion(target, rig, tmp_path)
        families = families_for(target.shape, target.workload, rig.machine)
    where = app.Where(emulate=emulate, logs=tmp_path / "logs")
    request = app.Request(values=VALUES, extra_args=EXTRA)
    result = app.optimize(path, where, request, proof=PROOF)
    probe = result.study.found.trial.probe
    family = next(f for f in families if f.strategy is probe.strategy)

    assert (probe.strategy, family.value(probe.spread)) == expected
