"""placer's formula against the engine's dry run, on models of real size."""

from __future__ import annotations

from pathlib import Path

import pytest

from placer import app
from placer.placement import Strategy
from placer.testing.phantom import write_phantom
from placer.testing.phantom_shapes import PHANTOMS
from placer.units import MIB

pytestmark = pytest.mark.engine

DESKTOP = (23671, 12761)
SHIPPED = Path(__file__).parents[2] / "models.conf"
PROFILES = ("glm-q4", "glm-q8", "gpt-oss-120b", "qwen-next-q5", "qwen-next-q6")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All five phantoms, under the names of the shipped profiles."""
    folder = tmp_path_factory.mktemp("phantoms")
    for name in PHANTOMS:
        write_phantom(name, folder)
    return folder


def planned(models: Path, profile: str, **values: int | str) -> app.Plan:
    """The plan of a shipped profile for the first user's two cards, and no other."""
    where = app.Where(emulate=DESKTOP, conf=SHIPPED, models=models)
    alone = app.PlanOptions(baselines=False)
    return app.plan(profile, where, app.Request(values=values), alone)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("parallel", [4, 1])
def test_weights_and_context_equal_the_dry_run(
    models: Path, profile: str, parallel: int
) -> None:
    """Within the whole MiB that the engine cuts off, for each ranked placement."""
    plan = planned(models, profile, ctx=131072, batch=4096, parallel=parallel)

    assert plan.candidates
    for rated in plan.candidates:
        assert rated.dry_run is not None
        formula = rated.candidate.estimate
        pairs = zip(formula.devices, rated.dry_run.devices, strict=True)
        for said, seen in pairs:
            assert said.context_bytes is not None
            assert seen.context_bytes is not None
            assert 0 <= said.model_bytes - seen.model_bytes < MIB
            assert 0 <= said.context_bytes - seen.context_bytes < MIB
        host = formula.host.model_bytes - rated.dry_run.host.model_bytes
        assert 0 <= host < MIB
        assert min(rated.headroom_bytes) >= 0


def test_the_aligned_placement_of_glm_q8_has_three_graph_splits(models: Path) -> None:
    """All on two cards at 128K, by -ts alone."""
    best = planned(models, "glm-q8", ctx=131072, batch=4096).candidates[0]

    assert best.candidate.strategy is Strategy.LAYERS
    assert best.args[:3] == ("-ngl", "48", "-ts")
    assert "-ot" not in best.args
    assert best.dry_run is not None
    assert best.dry_run.graph_splits == (3, 3)


def test_the_hand_made_regex_of_glm_q8_has_ten_times_the_splits(models: Path) -> None:
    """The same boundary said by -ot alone: the cache stays where -ts leaves it."""
    where = app.Where(emulate=DESKTOP, conf=SHIPPED, models=models)
    by_hand = (
        r"-ngl 99 -ot blk\.([0-9]|[12][0-9]|3[0-4])\.=Vulkan0,"
        r"blk\.(3[5-9]|4[0-6])\.=Vulkan1"
    )
    found = app.estimate("glm-q8", where, app.Request(), tuple(by_hand.split()))
    rated = found.rated

    assert rated.dry_run is not None
    assert rated.dry_run.graph_splits is not None
    _, decode = rated.dry_run.graph_splits
    assert decode == 33


@pytest.mark.parametrize("type_k", ["f16", "q8_0", "q4_0"])
@pytest.mark.parametrize("swa_full", [False, True])
def test_windows_and_cache_types_equal_the_dry_run(
    models: Path, *, type_k: str, swa_full: bool
) -> None:
    """Half of gpt-oss's layers keep a window, at any type of cache."""
    where = app.Where(emulate=DESKTOP, models=models)
    values = {"ctx": 65536, "type_k": type_k, "type_v": type_k, "swa_full": swa_full}
    found = app.estimate(
        "gpt-oss-120b-F16.gguf",
        where,
        app.Request(values=values),
        ("-ngl", "99", "-ts", "20,17", "-cmoe"),
    )
    rated = found.rated

    assert rated.dry_run is not None
    formula = rated.candidate.estimate
    for said, seen in zip(formula.devices, rated.dry_run.devices, strict=True):
        assert said.context_bytes is not None
        assert seen.context_bytes is not None
        assert 0 <= said.model_bytes - seen.model_bytes < MIB
        assert 0 <= said.context_bytes - seen.context_bytes < MIB
