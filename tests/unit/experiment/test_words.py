"""Verdicts in words."""

from __future__ import annotations

import math
from typing import Any

import pytest

from placer.app.sweep_measures import parse_measures
from placer.experiment.cells import cell_figures, figure_of
from placer.experiment.measures import Run
from placer.experiment.verdict import Contrast, Verdict
from placer.experiment.words import cell_text, contrast_text, figure_text

MEASURES = {
    one.name: one.measure for one in parse_measures("tokens/s,pass@1,vram,kl,ppl")
}


def contrast(name: str, **known: Any) -> Contrast:
    """Of q4_0 beside f16."""
    told = {"p": 0.5, "units": 5, "verdict": Verdict.NO_DIFFERENCE, **known}
    return Contrast(
        factor="ctk", level="q4_0", base="f16", measure=MEASURES[name], **told
    )


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        (
            "tokens/s",
            {"difference": 0.012, "low": -0.008, "high": 0.031},
            "tokens/s +1.2 % (-0.8 to +3.1 %): no difference seen",
        ),
        (
            "tokens/s",
            {"difference": 0.5, "low": -0.9, "high": math.inf},
            "tokens/s +50.0 % (-90.0 to more than +1000 %): no difference seen",
        ),
        (
            "pass@1",
            {"difference": -0.1, "low": -0.2, "high": -0.01, "verdict": Verdict.WORSE},
            "pass@1 -10.0 points (-20.0 to -1.0 points): worse",
        ),
        (
            "vram",
            {
                "difference": -(1 << 30),
                "low": -(1 << 30),
                "high": -(1 << 30),
                "verdict": Verdict.BETTER,
            },
            "vram -1,024 MiB: better",
        ),
        (
            "kl",
            {"difference": 0.01, "low": 0.005, "high": 0.015, "verdict": Verdict.WORSE},
            "kl +0.01 nats (+0.005 to +0.015 nats): worse",
        ),
        (
            "tokens/s",
            {
                "difference": 0.012,
                "low": -math.inf,
                "high": math.inf,
                "verdict": Verdict.TOO_FEW,
                "repeats_needed": 3,
            },
            "tokens/s +1.2 %: too few, --repeats 3 would be needed",
        ),
        (
            "vram",
            {
                "difference": math.nan,
                "low": -math.inf,
                "high": math.inf,
                "verdict": Verdict.TOO_FEW,
            },
            "vram: nothing to compare",
        ),
    ],
)
def test_a_verdict_is_a_line(name: str, known: dict[str, Any], said: str) -> None:
    """What is beside what, by how much, how sure, and what it comes to."""
    assert contrast_text(contrast(name, **known)) == f"ctk=q4_0 beside f16: {said}"


def test_a_cell_is_its_values() -> None:
    """In the order of the factors; where nothing restarts the server, that."""
    assert cell_text({"temp": "0.8", "ctk": "f16"}) == "temp=0.8 ctk=f16"
    assert cell_text({}) == "as it stands"


def run(repeat: int, **known: Any) -> Run:
    """Of one cell."""
    return Run(cell={"ctk": "f16"}, launch=repeat, repeat=repeat, **known)


def test_a_rate_has_a_geometric_mean() -> None:
    """As rates are compared by their ratio; no interval goes below 0."""
    runs = [run(n, figures={"tokens/s": x}) for n, x in enumerate((10.0, 40.0), 1)]
    found = figure_of(runs, MEASURES["tokens/s"])
    assert found is not None
    assert found.mean == pytest.approx(20)
    assert found.low is not None
    assert found.low > 0
    alone = figure_of(runs[:1], MEASURES["tokens/s"])
    assert alone is not None
    assert alone.mean == pytest.approx(10)
    assert (alone.low, alone.high) == (None, None)


def test_a_share_is_of_problems() -> None:
    """Repeats of a problem are averaged; Wilson's interval stays between 0 and 1."""
    runs = [
        run(1, problems={"pass@1": {"a": 1.0, "b": 0.0}}),
        run(2, problems={"pass@1": {"a": 1.0, "b": 1.0}}),
    ]
    found = figure_of(runs, MEASURES["pass@1"])
    assert found is not None
    assert found.mean == 0.75
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < 0.75 < found.high <= 1
    text = figure_text(found, MEASURES["pass@1"])
    assert text.startswith("75.0 (")


def test_what_nobody_measured_has_no_figure() -> None:
    """And what was seen beside the measures is kept with its mean."""
    runs = [run(n, figures={"vram": 8.0, "vram CUDA0": 8.0}) for n in (1, 2)]
    cells = ({"ctk": "f16"}, {"ctk": "q8_0"})
    (found,) = cell_figures(runs, cells, list(MEASURES.values()))
    assert (found.n, list(found.figures)) == (2, ["vram"])
    assert found.others == {"vram CUDA0": 8.0}
    assert found.record()["figures"]["vram"]["half_width"] == 0
