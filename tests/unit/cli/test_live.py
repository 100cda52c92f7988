from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from placer.cli.live import SearchView
from placer.placement import Workload
from placer.search.events import TrialDone
from placer.search.forecast import Forecast
from placer.speed import FIELD_NOTES, rates_of
from placer.testing.fake_search import Arithmetic, fake_search
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from placer.search.trial import Trial

WORKLOAD = Workload(ctx=1024, batch=64, ubatch=64, parallel=1, kv_unified=False)


def fitting(folder: Path, *, predicted: bool = True) -> Trial:
    """A launch that decoded one token per second."""
    truth = Arithmetic(
        shape=fake_shape([FakeLayer()] * 4),
        workload=WORKLOAD,
        machine=fake_machine([200 * MIB]),
        hidden_bytes=(0,),
    )
    search = fake_search(truth, folder)
    if predicted:
        rates = rates_of(truth.machine, FIELD_NOTES)
        search.forecast = Forecast(test=search.test, rates=rates)
    return search.run().trial


def told(trial: Trial, width: int, *, is_terminal: bool = True) -> str:
    """What is printed of a finished launch."""
    out = Console(file=StringIO(), width=width, force_terminal=is_terminal)
    SearchView(out).tell(TrialDone(trial=trial))
    assert isinstance(out.file, StringIO)
    return out.file.getvalue()


def test_a_finished_launch_says_how_fast_it_was_and_was_to_be(tmp_path: Path) -> None:
    """Measured first, predicted behind it, where one line has room for both."""
    trial = fitting(tmp_path)
    assert "1.0 tokens/s (" in told(trial, 120)
    assert " predicted)" in told(trial, 120)


@pytest.mark.parametrize("width", [40, 50])
def test_a_narrow_terminal_keeps_the_flags_alone(tmp_path: Path, width: int) -> None:
    """The speed is left out before the line breaks for it."""
    text = told(fitting(tmp_path), width)
    assert "predicted" not in text
    assert "-ngl 5" in text


def test_a_pipe_has_room_for_everything(tmp_path: Path) -> None:
    """Its lines are as long as they need to be."""
    assert "predicted" in told(fitting(tmp_path), 40, is_terminal=False)


def test_without_a_prediction_the_measurement_stands_alone(tmp_path: Path) -> None:
    """Nothing is made up."""
    text = told(fitting(tmp_path, predicted=False), 120)
    assert "1.0 tokens/s  " in text
    assert "predicted" not in text
