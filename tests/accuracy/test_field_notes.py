"""The speed model against what the first user measured, on machines known by file.

Tokens per second, as written beside the profiles of ``models.conf``: on an RTX 4090
with an RTX 5070 Ti, by hand-made placements, and on a DGX Spark.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import placer
from placer.app.planned import PlanOptions
from placer.speed import FIELD_NOTES
from placer.testing.phantom import write_phantom
from placer.testing.phantom_shapes import PHANTOMS

CONF = Path(__file__).parents[2] / "models.conf"
DESKTOP, SPARK = "desktop-4090-5070-ti", "dgx-spark"
NEAR = 0.2
# Nobody wrote down how full the cache was: 4096 tokens are the default.
OPTIONS = PlanOptions(baselines=False)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of phantoms."""
    folder = tmp_path_factory.mktemp("phantoms")
    for name in PHANTOMS:
        write_phantom(name, folder)
    return folder


def where(models: Path, machine: str) -> placer.Where:
    """The user's profiles on one of his machines."""
    return placer.Where(machine=machine, conf=CONF, models=models)


def of_hand(models: Path, profile: str, *flags: str, machine: str = DESKTOP) -> float:
    """What is predicted of a placement by hand, the profile's own if none is named."""
    desk = where(models, machine)
    rated = placer.estimate(profile, desk, placer.Request(), flags).rated
    return rated.candidate.speed.decode.mid


def of_plan(models: Path, profile: str) -> placer.app.Rated:
    """The best placement of a profile as it stands."""
    found = placer.plan(profile, where(models, DESKTOP), placer.Request(), OPTIONS)
    assert found.calibration == FIELD_NOTES.source
    return found.candidates[0]


def near(low: float, high: float | None = None) -> object:
    """What lies within a fifth of a measurement, or of all between two."""
    high = high or low
    middle = (low * (1 - NEAR) + high * (1 + NEAR)) / 2
    return pytest.approx(middle, abs=high * (1 + NEAR) - middle)


@pytest.mark.parametrize(
    ("profile", "flags", "measured"),
    [
        ("glm-q4", (), 140),
        ("glm-q8", (), 105),
        ("glm-q8", ("-ngl", "99", "-ts", "35,13"), 112),
        ("gpt-oss-120b", (), 22),
    ],
)
def test_placements_by_hand_are_predicted(
    models: Path, profile: str, flags: tuple[str, ...], measured: float
) -> None:
    """Within a fifth, one card or two, aligned or not, experts on the CPU or not."""
    assert of_hand(models, profile, *flags) == near(measured)


def test_a_whole_model_in_one_memory_is_predicted(models: Path) -> None:
    """Within a fifth of what was seen, which was 38 to 41."""
    speed = of_hand(models, "gpt-oss-120b", "-ngl", "99", machine=SPARK)
    assert speed == near(38, 41)


def test_an_aligned_split_is_predicted_to_be_faster(models: Path) -> None:
    """33 graph splits against 3 of the same layers on the same cards."""
    aligned = of_hand(models, "glm-q8", "-ngl", "99", "-ts", "35,13")
    assert aligned > of_hand(models, "glm-q8")


@pytest.mark.parametrize(
    ("profile", "low", "high"),
    [
        ("qwen-next-q5", 33, 33),
        ("qwen-next-q6", 24, 24),
        ("gpt-oss-120b", 22, 22),
        ("glm-q8", 105, 112),
    ],
)
def test_what_is_planned_is_predicted_as_fast_as_what_was_found_by_hand(
    models: Path, profile: str, low: float, high: float
) -> None:
    """Within a fifth, at the settings of the profile; and it fits."""
    rated = of_plan(models, profile)

    assert rated.fits
    assert rated.candidate.speed.decode.mid == near(low, high)


@pytest.mark.parametrize("profile", ["glm-q8", "gpt-oss-120b"])
def test_the_plan_is_no_slower_than_the_hand(models: Path, profile: str) -> None:
    """By the same model."""
    planned = of_plan(models, profile).candidate.speed.decode.mid

    assert planned >= of_hand(models, profile)
