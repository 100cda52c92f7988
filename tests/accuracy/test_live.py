"""The bundled engine, asked anew: a sample of placements on models of three kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from placer.testing import bundled_engine
from placer.testing.accuracy.cases import KINDS, Case, cases_of
from placer.testing.accuracy.compare import compare
from placer.testing.accuracy.live import LiveEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from placer.model import ModelShape
    from placer.testing.accuracy.compare import Comparison
    from placer.testing.accuracy.models import KnownModel

    Shapes = dict[tuple[str, bool], ModelShape]

pytestmark = pytest.mark.engine

#: Dense, experts, a window, a latent: what build 10434 knows as 11434 does.
MODELS = ("qwen3-dense", "qwen3moe-moe", "gpt-oss-moe", "deepseek2-moe")


@pytest.fixture(scope="module")
def engine() -> Iterator[LiveEngine]:
    """The bundled llama-server on two emulated devices."""
    server = bundled_engine()
    if server is None:
        pytest.skip("no bundled engine; scripts/setup installs it")
    with LiveEngine(server) as engine:
        yield engine


@pytest.fixture(scope="module")
def comparisons(
    engine: LiveEngine, known: dict[str, KnownModel], shapes: Shapes
) -> list[Comparison]:
    """Every kind of placement, once for each model."""
    return [
        compare(shapes[name, False], truth)
        for at, name in enumerate(MODELS)
        for truth in engine.truths(known[name], _without_drafting(name, shapes, at))
        if truth.refused is None
    ]


def _without_drafting(name: str, shapes: Shapes, at: int) -> list[Case]:
    """The bundled build has other defaults of drafting than the recorded one."""
    cases = cases_of(name, shapes[name, False], at, n_rows=1)
    return [case for case in cases if not case.drafting]


def test_every_placement_is_answered(comparisons: list[Comparison]) -> None:
    """The engine refuses none of them."""
    assert len(comparisons) == len(MODELS) * len(KINDS)


def test_weights_and_context_equal_the_dry_run(
    comparisons: list[Comparison],
) -> None:
    """On every device and on the host, to the whole MiB that the engine prints."""
    off = [
        (c.truth.case.model, c.truth.case.args)
        for c in comparisons
        if not c.weights_equal or c.context_equal is not True
    ]
    assert off == []
