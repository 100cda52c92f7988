"""A search's answer against its rivals: the faster placement is the one written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from placer import app
from placer.app.contest import ONE_GPU
from placer.cli import show
from placer.engine.judge import Outcome
from placer.measure.events import RoundStarted
from placer.search.records import read_study
from placer.testing.fake_engine import fake_engine, running, set_pace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONF = """\
[tiny]
MODEL=moe.gguf
CTX_SIZE=1024
EXTRA_ARGS=-b 256 -ub 256 -np 1
"""
OPTIONS = app.StudyOptions(compare_s=8)
ALIKE = {"-fit off": 1.0}
ONE_IS_FASTER = {"-fit off": 1.0, "-sm none": 0.4}
ONE_IS_SLOWER = {"-fit off": 1.0, "-sm none": 2.5}


class Desk:
    """A profile on two devices, and an engine whose speed depends on its flags."""

    def __init__(self, folder: Path, models: Path) -> None:
        self.engine = fake_engine(folder, devices={"Vulkan0": 40, "Vulkan1": 20})
        self.conf = folder / "models.conf"
        self.conf.write_text(CONF)
        self.events: list[object] = []
        self.where = app.Where(
            server=self.engine, conf=self.conf, models=models, logs=folder / "logs"
        )

    def optimize(self, pace: Mapping[str, float]) -> app.Optimized:
        """Search and compare, at a planted pace."""
        set_pace(self.engine, pace)
        request = app.Request()
        return app.optimize(
            "tiny", self.where, request, OPTIONS, on_event=self.events.append
        )


@pytest.fixture
def desk(tmp_path: Path, moe_path: Path) -> Desk:
    """A desk of its own."""
    return Desk(tmp_path, moe_path.parent)


def test_a_faster_rival_is_proved_and_written(desk: Desk) -> None:
    """Its placement passes the same load test, and the record says why it is there."""
    found = desk.optimize(ONE_IS_FASTER)
    held, trial = found.study.contest, found.study.found.trial
    assert held is not None
    assert held.standing.winner == ONE_GPU
    rival = next(e for e in held.entrants if e.name == ONE_GPU)
    assert trial.probe.placement == rival.placement
    assert trial.probe.purpose == "one GPU was faster: its proof"
    assert trial.verdict.outcome is Outcome.FITS
    study = read_study(found.study.folder)
    assert study.best is not None
    assert study.best["number"] == trial.probe.number
    assert study.is_whole
    assert "-sm none -mg 0" in desk.conf.read_text()
    assert running(desk.engine) == ()


@pytest.mark.parametrize("pace", [ALIKE, ONE_IS_SLOWER])
def test_an_answer_that_is_no_slower_stays(
    desk: Desk, pace: Mapping[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    """And it is said, in words and in JSON, what was measured."""
    found = desk.optimize(pace)
    assert found.study.contest is not None
    assert found.study.contest.standing.winner != ONE_GPU
    purposes = {t.probe.purpose for t in found.study.found.trials}
    assert "one GPU was faster: its proof" not in purposes
    assert any(isinstance(event, RoundStarted) for event in desk.events)
    show.optimized(found, as_json=True, quiet=False)
    record = json.loads(capsys.readouterr().out)
    assert record["contest"]["contenders"][0]["name"] == "placer"
    show.optimized(found, as_json=False, quiet=False)
    text = capsys.readouterr().out
    assert record["contest"]["answer"] in " ".join(text.split())


def test_nothing_is_compared_unasked(desk: Desk) -> None:
    """A library's caller says whether there is time for it."""
    options = app.StudyOptions()
    found = app.optimize("tiny", desk.where, app.Request(), options)
    assert found.study.contest is None
    kinds = (found.study.folder / "trials.jsonl").read_text()
    assert '"contest"' not in kinds
