"""``placer sweep``: what it refuses, what it lists, what it prints."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from placer.app.sweep_measures import parse_measures
from placer.app.sweep_result import Swept, found_in
from placer.app.target import Asked, Folders, resolve
from placer.cli import sweeps
from placer.experiment.design import Factor
from placer.experiment.measures import Run
from placer.experiment.named import EXPERIMENTS
from placer.machine.spec import machine_of_spec

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Desk

TEMP = Factor(name="temp", values=("0.6", "0.8"), base="0.6", restarts=False)
CTK = Factor(name="ctk", values=("f16", "q8_0"), base="f16", restarts=True)
MIB = 1 << 20


@pytest.fixture
def found(desk: Desk) -> Swept:
    """Types that hold less and temperatures that change nothing, in two repeats."""
    folders = Folders(conf=desk.conf, models=desk.folder / "models")
    measures = tuple(one.measure for one in parse_measures("tokens/s,vram"))
    runs = [
        Run(
            cell={"temp": temp, "ctk": ctk},
            launch=2 * repeat + at,
            repeat=repeat,
            figures={
                "tokens/s": 20 * math.exp(0.01 * math.sin(9 * repeat + at + n)),
                "vram": float((100 - 10 * at) * MIB),
            },
        )
        for repeat in (1, 2)
        for at, ctk in enumerate(CTK.values)
        for n, temp in enumerate(TEMP.values)
    ]
    return Swept(
        target=resolve("moe", folders, Asked()),
        machine=machine_of_spec("Vulkan0:400:400"),
        emulated=False,
        folder=desk.folder / "logs",
        factors=(TEMP, CTK),
        measures=measures,
        repeats=2,
        found=found_in(runs, (TEMP, CTK), measures),
        unfit=(({"ctk": "q4_1"}, "nothing fits"),),
        notes=("a note",),
    )


def test_the_experiments_are_listed(desk: Desk) -> None:
    """With their questions; their names alone to a script."""
    shown = desk.placer("sweep", "--list")
    assert (shown.code, shown.err) == (0, "")
    for one in EXPERIMENTS.values():
        assert one.question in shown.out
    assert desk.placer("sweep", "--list", "-q").out.split() == list(EXPERIMENTS)
    listed = json.loads(desk.placer("sweep", "--list", "--json").out)
    assert [one["name"] for one in listed["experiments"]] == list(EXPERIMENTS)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "name a profile"),
        (("moe",), "give --vary or --experiment"),
        (("moe", "--experiment", "all"), "--list shows"),
        (("moe", "--vary", "temp=hot,cold"), "temp=hot is no number"),
        (("moe", "--vary", "port=1,2"), "is nothing to vary"),
        (("moe", "--vary", "temp=0.5,1", "--measure", "luck"), "nothing to measure"),
        (("moe", "--vary", "temp=0.5,1", "--budget", "soon"), "is no budget"),
        (("moe", "--vary", "temp=0.5,1", "--measure", "pass@5"), "give --samples 5"),
        (("moe", "--vary", "temp=0.5,1", "--measure", "ppl"), "llama-perplexity"),
        (("nobody", "--vary", "temp=0.5,1"), "nobody"),
    ],
)
def test_what_cannot_be_asked_is_said(
    desk: Desk, args: tuple[str, ...], said: str
) -> None:
    """In a line, with what to do, and nothing is written."""
    answer = desk.placer("sweep", *args)
    assert answer.code in (2, 3)
    assert said in answer.err
    assert not (desk.folder / "search_logs").exists()


def test_a_table_verdicts_and_what_to_take(
    found: Swept, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cells, contrasts in words, a recommendation a measure, what does not run."""
    sweeps.swept(found, (), as_json=False, quiet=False)
    said = capsys.readouterr().out
    assert "ctk=q8_0 beside f16: vram -10.0 MiB: better" in said
    assert "temp=0.8 beside 0.6: tokens/s " in said
    assert "no difference seen" in said
    assert "By tokens/s: keep temp=0.6 ctk=f16, nothing was seen to be better" in said
    assert "By vram: take temp=0.6 ctk=q8_0" in said
    assert "ctk=q4_1 does not run: nothing fits" in said
    assert "a note" in said
    assert "\x1b" not in said


def test_quiet_is_what_to_take(
    found: Swept, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line a measure."""
    sweeps.swept(found, (), as_json=False, quiet=True)
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said] == ["By tokens/s", "By vram"]


def test_json_is_all_of_it(
    found: Swept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing else."""
    drawn = sweeps.draw(found, tmp_path / "s.svg")
    sweeps.swept(found, drawn, as_json=True, quiet=False)
    record = json.loads(capsys.readouterr().out)
    assert record["schema"] == 1
    assert record["best"]["vram"] == {"temp": "0.6", "ctk": "q8_0"}
    assert len(record["cells"]) == 4
    assert {one["verdict"] for one in record["contrasts"]} >= {"better"}
    assert record["unfit"] == [{"settings": {"ctk": "q4_1"}, "why": "nothing fits"}]
    assert record["charts"] == [str(tmp_path / "s.svg"), str(tmp_path / "s-vram.svg")]
