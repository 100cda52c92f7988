"""A server that is up for a block, and what is said of one that is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from placer.engine.binary import Engine
from placer.engine.process import LocalRunner
from placer.engine.upright import ATTEMPTS, NotUprightError, upright
from placer.engine.verdict import Cause, Outcome
from placer.testing.fake_engine import Fault, fake_engine, launches, running

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from placer.engine.upright import Upright

SMALL = {"Vulkan0": 1, "Vulkan1": 1}


def started(
    binary: Path, model: Path, patience_s: float = 20.0
) -> AbstractContextManager[Upright]:
    """One of a tiny mixture."""
    folder = binary.parent
    runner = LocalRunner(Engine(binary=binary, config_home=folder))
    args = ("-m", str(model), "-c", "256", "-ngl", "9", "-ts", "5,4")
    return upright(runner, args, log_path=folder / "up.log", patience_s=patience_s)


def test_it_is_loaded_in_its_block_and_gone_after_it(
    tmp_path: Path, moe_path: Path
) -> None:
    """Its flags say that it places nothing by itself."""
    binary = fake_engine(tmp_path)
    with started(binary, moe_path) as server:
        assert len(running(binary)) == 1
        assert server.facts().buffers
        assert server.fallen() is None
    assert running(binary) == ()
    (launch,) = launches(binary)
    assert launch.args[-8:-4] == ("--fit", "off", "-lv", "4")


def test_it_ends_whatever_happens_in_its_block(tmp_path: Path, moe_path: Path) -> None:
    """Ctrl-C too."""
    binary = fake_engine(tmp_path)
    with pytest.raises(KeyboardInterrupt), started(binary, moe_path):
        raise KeyboardInterrupt
    assert running(binary) == ()


def test_why_it_did_not_come_up_is_told(tmp_path: Path, moe_path: Path) -> None:
    """By its log."""
    binary = fake_engine(tmp_path, devices=SMALL)
    with pytest.raises(NotUprightError) as caught, started(binary, moe_path):
        pytest.fail("it cannot hold that")
    assert caught.value.verdict.outcome is Outcome.OOM_WEIGHTS
    assert running(binary) == ()


def test_one_that_does_not_move_is_stalled(tmp_path: Path, moe_path: Path) -> None:
    """After the patience that was asked for."""
    binary = fake_engine(tmp_path, fault=Fault.HANG_AT_LOAD)
    with pytest.raises(NotUprightError) as caught, started(binary, moe_path, 0.3):
        pytest.fail("it never comes up")
    assert caught.value.verdict.outcome is Outcome.STALLED


def test_last_words_that_were_lost_are_asked_for_again(
    tmp_path: Path, moe_path: Path
) -> None:
    """So often, and then it is said."""
    binary = fake_engine(tmp_path, fault=Fault.CUT_OFF)
    with pytest.raises(NotUprightError) as caught, started(binary, moe_path):
        pytest.fail("it never comes up")
    assert caught.value.verdict.cause is Cause.CUT_OFF
    assert len(launches(binary)) == ATTEMPTS


def test_once_is_enough_where_it_was_chance(tmp_path: Path, moe_path: Path) -> None:
    """The second launch is as good as the first."""
    binary = fake_engine(tmp_path, fault=Fault.CUT_OFF, fault_times=1)
    with started(binary, moe_path):
        assert len(launches(binary)) == 2


def test_one_that_fell_in_its_block_says_why(tmp_path: Path, moe_path: Path) -> None:
    """Asked after a request that failed."""
    import os
    import signal

    binary = fake_engine(tmp_path)
    with started(binary, moe_path) as server:
        os.kill(running(binary)[0], signal.SIGKILL)
        error = server.fallen()
    assert error is not None
    assert error.verdict.outcome is Outcome.CRASHED
