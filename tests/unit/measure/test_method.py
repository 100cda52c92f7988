"""How a launch is measured, and what becomes of one that goes wrong."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from placer.engine.binary import Engine
from placer.engine.process import LocalRunner
from placer.engine.verdict import Outcome
from placer.gguf import read_gguf
from placer.measure import Contender, Method, Timing, Turn
from placer.measure.method import DECODE_TOKENS, SPARE_TOKENS
from placer.model import model_shape
from placer.placement import Placement, Workload, placement_args
from placer.testing.fake_engine import Fault, fake_engine, launches, running
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from placer.measure import Measurement

WORKLOAD = Workload(ctx=2048, batch=256, ubatch=128, parallel=2, kv_unified=False)
DEPTHS = (0, 256, 700)

Launch = tuple[Method, Turn]


def launch(
    engine: Path,
    model: Path,
    *,
    budget_s: float = 6.0,
    patience_s: float = 10.0,
    workload: Workload = WORKLOAD,
) -> Launch:
    """A placement on both devices, and how it is measured."""
    shape = model_shape(read_gguf(model))
    runner = LocalRunner(Engine(binary=engine, config_home=engine.parent))
    method = Method(
        runner=runner,
        shape=shape,
        workload=workload,
        budget_s=budget_s,
        read_per_s=1e6,
        patience_s=patience_s,
    )
    flags = placement_args(Placement(split=(3, 2)), shape)
    contender = Contender(
        name="placer", args=("-m", str(model), *workload.args(), *flags)
    )
    turn = Turn(contender=contender, round=1, place=1, depths=DEPTHS)
    return method, turn


def measured(
    launched: Launch,
    folder: Path,
    on_depth: Callable[[int, tuple[Timing, ...]], None] = lambda *_: None,
) -> Measurement:
    """What it comes to."""
    method, turn = launched
    return method.measure(turn, log_path=folder / "a.log", on_depth=on_depth)


def test_a_launch_is_measured_at_every_depth(tmp_path: Path, moe_path: Path) -> None:
    """Each depth is told when it is known, and the engine is gone in the end."""
    engine = fake_engine(tmp_path)
    told: list[int] = []
    found = measured(
        launch(engine, moe_path), tmp_path, lambda depth, _: told.append(depth)
    )
    assert told == list(found.timings) == list(DEPTHS)
    assert found.verdict is None
    assert all(len(row) > 1 for row in found.timings.values())
    assert all(t.decode_tokens_per_s > 0 for row in found.timings.values() for t in row)
    assert found.load_s is not None
    assert found.load_s < found.total_s < 8
    assert found.facts.buffers
    assert running(engine) == ()
    (seen,) = launches(engine)
    assert seen.args[-8:-4] == ("--fit", "off", "-lv", "4")


def test_without_time_the_least_depth_is_measured_all_the_same(
    tmp_path: Path, moe_path: Path
) -> None:
    """And not one request more."""
    found = measured(launch(fake_engine(tmp_path), moe_path, budget_s=0.0), tmp_path)
    assert list(found.timings) == [0]
    assert len(found.timings[0]) == 1


def test_a_budget_that_ends_while_a_prompt_is_read_breaks_it_off(
    tmp_path: Path, moe_path: Path
) -> None:
    """The depths before it stand, and it is no fault of the contender's."""
    engine = fake_engine(tmp_path, fault=Fault.SLOW)
    workload = replace(WORKLOAD, batch=32, ubatch=32)
    method, turn = launch(engine, moe_path, workload=workload, budget_s=6.0)
    turn = replace(turn, depths=(0, 700))
    began_s = time.monotonic()

    def wait(depth: int, timings: tuple[Timing, ...]) -> None:
        assert depth == 0
        time.sleep(max(began_s + method.budget_s - 0.15 - time.monotonic(), 0))

    found = measured((method, turn), tmp_path, wait)
    assert list(found.timings) == [0]
    assert found.verdict is None
    assert time.monotonic() - began_s < method.budget_s + 1


def test_fit_is_told_what_to_leave_free(tmp_path: Path, moe_path: Path) -> None:
    """In whole MiB, and it gets no placement."""
    engine = fake_engine(tmp_path)
    method, turn = launch(engine, moe_path)
    contender = Contender(
        name="--fit",
        args=("-m", str(moe_path), *WORKLOAD.args()),
        fit_margins_bytes=(100 * MIB + 1, 0),
    )
    found = measured((method, replace(turn, contender=contender)), tmp_path)
    assert list(found.timings) == list(DEPTHS)
    (seen,) = launches(engine)
    assert seen.args[-10:-4] == ("--fit", "on", "-fitt", "101,0", "-lv", "4")
    assert "-ngl" not in seen.args


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault.SIGILL_AT_START, Outcome.CRASHED),
        (Fault.EXIT_EARLY, Outcome.CRASHED),
        (Fault.HANG_AT_LOAD, Outcome.STALLED),
        (Fault.OOM_IN_USE, Outcome.OOM_IN_USE),
        (Fault.SIGILL_AT_PROMPT, Outcome.CRASHED),
        (Fault.CUDA_ERROR, Outcome.OOM_IN_USE),
    ],
)
def test_who_goes_wrong_is_judged(
    tmp_path: Path, moe_path: Path, fault: Fault, outcome: Outcome
) -> None:
    """By the same rules as everything else, and nothing is left running."""
    engine = fake_engine(tmp_path, fault=fault)
    found = measured(launch(engine, moe_path, patience_s=1.5), tmp_path)
    assert found.verdict is not None
    assert found.verdict.outcome is outcome
    assert found.verdict.evidence
    assert found.timings == {}
    assert running(engine) == ()


def test_who_does_not_fit_is_told_with_the_device(
    tmp_path: Path, moe_path: Path
) -> None:
    """Out of memory is what the launch came to, not an error."""
    engine = fake_engine(tmp_path, devices={"Vulkan0": 400, "Vulkan1": 2})
    found = measured(launch(engine, moe_path), tmp_path)
    assert found.verdict is not None
    assert found.verdict.outcome is Outcome.OOM_WEIGHTS
    assert found.verdict.device == "Vulkan1"
    assert found.load_s is None


def test_an_interruption_leaves_no_engine(tmp_path: Path, moe_path: Path) -> None:
    """Ctrl-C in the middle of a launch."""
    engine = fake_engine(tmp_path)

    def interrupt(depth: int, timings: tuple[Timing, ...]) -> None:
        assert running(engine) != ()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(launch(engine, moe_path), tmp_path, interrupt)
    assert running(engine) == ()


@pytest.mark.parametrize(
    ("budget_s", "read_per_s", "read", "depths"),
    [
        (1e6, 1000.0, 256, (0, 375, 750)),
        (40.0, 128.0, 256, (0, 375, 750)),
        (20.0, 128.0, 128, (0, 320, 640)),
        (4.0, 600.0, 120, (0, 300, 600)),
        (4.0, 150.0, 32, (0, 75, 150)),
        (4.0, 50.0, 32, (0, 50)),
        (4.0, 30.0, 32, (0,)),
        (0.0, 1000.0, 32, (0,)),
    ],
)
def test_depths_are_what_there_is_time_to_read(
    moe_path: Path,
    tmp_path: Path,
    budget_s: float,
    read_per_s: float,
    read: int,
    depths: tuple[int, ...],
) -> None:
    """Down to the end of a slot, with room for what is read and written there."""
    launched, _ = launch(fake_engine(tmp_path), moe_path)
    method = replace(launched, budget_s=budget_s, read_per_s=read_per_s)
    assert method.read_tokens == read
    assert method.depths == depths
    assert WORKLOAD.n_ctx_seq == 750 + 256 + DECODE_TOKENS + SPARE_TOKENS
