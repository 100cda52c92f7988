"""The search against every launch that there is."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from placer import app
from placer.app.desk import open_desk
from placer.app.rig import Rig, open_rig
from placer.app.target import Asked, Folders, Target, resolve
from placer.engine.judge import Outcome
from placer.engine.loadtest import LoadTest
from placer.engine.observation import Proof
from placer.model.shape import is_expert
from placer.placement import Placement, TensorException
from placer.search.planning import WORTH
from placer.search.search import launch_args
from placer.testing.launch import launched
from placer.testing.models import write_llama, write_qwen3moe
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from placer.model import ModelShape

pytestmark = pytest.mark.engine

# Loading allocates everything on these devices, so loading decides.
PROOF = Proof.LOAD
# What formula and engine differ by in compute buffers of models so small.
PRECISION = MIB
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


def every_placement(shape: ModelShape, n_devices: int) -> Iterator[Placement]:
    """Every split, and with experts each number of layers that keep theirs."""
    for split in product(range(shape.n_slots + 1), repeat=n_devices):
        if not 0 < sum(split) <= shape.n_slots:
            continue
        used = [index for index, n in enumerate(split) if n]
        if sum(split) == shape.n_slots and len(used) == 1:
            yield Placement(split=split, main_gpu=used[0])
        yield Placement(split=split)
        if shape.is_moe and sum(split) == shape.n_slots:
            yield from _with_experts_away(shape, split)


def _with_experts_away(
    shape: ModelShape, split: tuple[int, ...]
) -> Iterator[Placement]:
    """The first layers of each device keep their experts, the others do not."""
    ranges, start = [], 0
    for count in split:
        ranges.append(shape.layers[start : start + count])
        start += count
    for kept in product(*(range(len(layers) + 1) for layers in ranges)):
        away = [
            layer
            for layers, n in zip(ranges, kept, strict=True)
            for layer in layers[n:]
        ]
        exceptions = frozenset(
            TensorException(tensor=tensor.name, buffer="CPU")
            for layer in away
            for tensor in layer.tensors
            if is_expert(tensor.name)
        )
        if exceptions:
            yield Placement(split=split, exceptions=exceptions)


def loads(placement: Placement, target: Target, rig: Rig, log_path: Path) -> bool:
    """Whether the real engine loads it."""
    test = LoadTest(
        runner=rig.runner,
        machine=rig.machine,
        shape=target.shape,
        workload=target.workload,
        proof=PROOF,
    )
    path, shape = str(target.file.path), target.shape
    args = launch_args(path, target.workload, EXTRA, placement, shape, rig.machine)
    outcome = launched(test, args, log_path)[1].outcome
    assert outcome is Outcome.FITS or outcome.is_oom, log_path.read_text()[-2000:]
    return outcome is Outcome.FITS


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
def test_nothing_that_loads_is_better_than_the_answer(
    models: Path, tmp_path: Path, model: str, emulate: tuple[int, int]
) -> None:
    """Whatever is predicted to be faster by what counts was launched, and refused."""
    path = str(models / f"{model}.gguf")
    where = app.Where(emulate=emulate, logs=tmp_path / "logs")
    request = app.Request(values=VALUES, extra_args=EXTRA)
    found = app.optimize(path, where, request, app.StudyOptions(proof=PROOF))
    answer = found.study.found.trial.probe.placement
    with open_desk(path, where, request) as desk:
        shape = desk.target.shape
        least = desk.speed(answer).decode.mid

        def is_faster(placement: Placement) -> bool:
            # Whole layers go to the CPU only where nothing else does.
            if placement.n_gpu_layers < answer.n_gpu_layers == shape.n_slots:
                return False
            return desk.speed(placement).decode.mid > least * (1 + 2 * WORTH)

        def is_clear(placement: Placement) -> bool:
            held = desk.formula(placement).devices
            pairs = zip(held, emulate, strict=True)
            return all(one.total_bytes < mib * MIB - PRECISION for one, mib in pairs)

        faster = [p for p in every_placement(shape, len(emulate)) if is_faster(p)]
        clear = {p for p in faster if is_clear(p)}
    target = resolve(path, Folders(), Asked(values=VALUES, extra_args=EXTRA))
    with open_rig(emulate=emulate) as rig:
        log = tmp_path / "launch.log"
        that_load = {p for p in faster if loads(p, target, rig, log)}
    assert not that_load & clear
    assert len(that_load) <= 1
    assert found.study.found.stopped is None
