"""What a load test asks of a server, and what it counts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from placer.app.rig import machine_of
from placer.engine.binary import Engine, list_devices
from placer.engine.loadtest import DECODE_TOKENS, LoadTest, prompt_of
from placer.engine.observation import Proof, Stage
from placer.engine.process import LocalRunner
from placer.gguf import read_gguf
from placer.model import model_shape
from placer.placement import Placement, Workload
from placer.search.search import launch_args
from placer.testing.fake_engine import Fault, fake_engine
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from placer.engine.loadtest import LoadProgress
    from placer.model import ModelShape

SHAPE = fake_shape([FakeLayer()])
PLACEMENT = Placement(split=(3, 2))


def prompt_tokens(workload: Workload, shape: ModelShape = SHAPE) -> int:
    """Tokens of each slot's prompt."""
    machine = fake_machine([MIB])
    runner = LocalRunner(Engine(binary=__file__, config_home=__file__))  # type: ignore[arg-type]
    test = LoadTest(runner=runner, machine=machine, shape=shape, workload=workload)
    return test.slot_prompt_tokens


@pytest.mark.parametrize(
    ("workload", "cells"),
    [
        (Workload(ctx=4096, parallel=1, kv_unified=False), 4096),
        (Workload(ctx=4096, parallel=4, kv_unified=True), 1024),
        (Workload(ctx=4096, parallel=4, kv_unified=False), 1024),
        # A stream of 1000 cells is made of 256s.
        (Workload(ctx=2000, parallel=2, kv_unified=False), 1024),
        (Workload(ctx=300, parallel=1, kv_unified=True), 512),
    ],
)
def test_all_slots_together_fill_the_context(workload: Workload, cells: int) -> None:
    """Each slot's prompt and the tokens it decodes take its share, but for two."""
    assert prompt_tokens(workload) + DECODE_TOKENS + 2 == cells


def test_a_tiny_context_still_has_a_prompt() -> None:
    """There is always a token to read."""
    many = Workload(ctx=256, parallel=64, kv_unified=True)
    assert prompt_tokens(many) == 1


def test_a_prompt_visits_the_vocabulary_widely() -> None:
    """Tokens are valid, the same every time, and differ from slot to slot."""
    prompt = prompt_of(2000, 512, 0)
    assert len(prompt) == 2000
    assert all(0 <= token < 512 for token in prompt)
    assert len(set(prompt)) == 512
    assert prompt == prompt_of(2000, 512, 0)
    assert prompt[:10] != prompt_of(2000, 512, 1)[:10]
    assert prompt_of(3, 0, 1) == [0, 0, 0]


def load_test(
    engine: Path, model: Path, workload: Workload, proof: Proof = Proof.FULL
) -> tuple[LoadTest, tuple[str, ...]]:
    """A test of a placement that fits, and its flags."""
    shape = model_shape(read_gguf(model))
    described = Engine(binary=engine, config_home=engine.parent)
    test = LoadTest(
        runner=LocalRunner(described),
        machine=machine_of(list_devices(described), "a build"),
        shape=shape,
        workload=workload,
        proof=proof,
        patience_s=10,
    )
    args = launch_args(str(model), workload, (), PLACEMENT, shape, test.machine)
    return test, args


def test_progress_comes_in_order(tmp_path: Path, moe_path: Path) -> None:
    """Loading, then more and more of the prompt, then the decoding."""
    workload = Workload(ctx=8192, batch=512, ubatch=512, parallel=2)
    engine = fake_engine(tmp_path, fault=Fault.SLOW)
    test, args = load_test(engine, moe_path, workload)
    seen: list[LoadProgress] = []
    observation = test.observe(
        args, log_path=tmp_path / "a.log", on_progress=seen.append
    )
    assert observation.stage is Stage.DECODED
    stages = [progress.stage for progress in seen]
    assert stages == sorted(stages)
    assert set(stages) == {Stage.STARTED, Stage.LOADED, Stage.FILLED}
    filling = [p.done_tokens for p in seen if p.stage is Stage.LOADED]
    assert filling == sorted(filling)
    assert len(set(filling)) > 3
    assert filling[-1] <= observation.prompt_tokens
    assert observation.prompt_tokens == 2 * test.slot_prompt_tokens
    assert observation.load_s is not None
    assert 0 < observation.load_s < observation.total_s


def test_a_load_is_enough_where_it_is_asked_for(tmp_path: Path, moe_path: Path) -> None:
    """Then no prompt is sent, and nothing is timed."""
    workload = Workload(ctx=1024, parallel=1)
    engine = fake_engine(tmp_path, fault=Fault.HANG_AT_PROMPT)
    test, args = load_test(engine, moe_path, workload, Proof.LOAD)
    seen = test.observe(args, log_path=tmp_path / "a.log", on_progress=lambda _: None)
    assert seen.stage is Stage.LOADED
    assert seen.prompt_tokens == 0
    assert seen.single is None


class Watch:
    """Counts up: a process that holds more each time it is looked at."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def peak_bytes(self, pid: int) -> tuple[int, ...] | None:
        """Nothing at first, then more and more."""
        self.asked.append(pid)
        return None if len(self.asked) < 3 else (len(self.asked), 7)


def test_memory_is_watched_to_the_end(tmp_path: Path, moe_path: Path) -> None:
    """The peak is what the watch said last, and progress shows it."""
    test, args = load_test(fake_engine(tmp_path), moe_path, Workload(ctx=1024))
    watch = Watch()
    peaks: list[tuple[int, ...] | None] = []
    seen = replace(test, watch=watch).observe(
        args,
        log_path=tmp_path / "a.log",
        on_progress=lambda progress: peaks.append(progress.peak_bytes),
    )
    assert seen.peak_bytes == (len(watch.asked), 7)
    assert len(set(watch.asked)) == 1
    assert peaks[0] is None
    assert peaks[-1] is not None


def test_free_memory_is_asked_before_each_launch(
    tmp_path: Path, moe_path: Path
) -> None:
    """What the devices have now counts, not what they had when the search began."""
    test, args = load_test(
        fake_engine(tmp_path), moe_path, Workload(ctx=1024), Proof.LOAD
    )
    now = replace(test, free_now=lambda: (5 * MIB, 6 * MIB))
    log_path = tmp_path / "a.log"
    seen = now.observe(args, log_path=log_path, on_progress=lambda _: None)
    assert seen.free_bytes == (5 * MIB, 6 * MIB)
    seen = test.observe(args, log_path=log_path, on_progress=lambda _: None)
    assert seen.free_bytes == (400 * MIB, 300 * MIB)
