"""The models, the recorded truth, and a sample of it that touches everything."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from placer.testing.accuracy.compare import Comparison, compare
from placer.testing.accuracy.models import KnownModel, big_models, read_models
from placer.testing.accuracy.truth import Truth, read_truths

if TYPE_CHECKING:
    from placer.model import ModelShape

DATA = Path(__file__).parent / "data"
#: One case in so many of a model's; models begin at different ones.
STRIDE = 5
BIG_STRIDE = 13


@pytest.fixture(scope="session")
def known() -> dict[str, KnownModel]:
    """All models by name."""
    models = [*read_models(DATA / "architectures.jsonl.gz"), *big_models()]
    return {model.name: model for model in models}


@pytest.fixture(scope="session")
def shapes(known: dict[str, KnownModel]) -> dict[tuple[str, bool], ModelShape]:
    """Their shapes, with NextN layers that draft and without."""
    return {
        (name, nextn): model.shape(nextn=nextn)
        for name, model in known.items()
        for nextn in (False, True)
    }


@pytest.fixture(scope="session")
def truths() -> list[Truth]:
    """All of the recorded truth."""
    return list(read_truths(DATA / "truth-11434.jsonl.gz"))


@pytest.fixture(scope="session")
def sample(
    known: dict[str, KnownModel],
    shapes: dict[tuple[str, bool], ModelShape],
    truths: list[Truth],
) -> list[Comparison]:
    """Some cases of every model, and of every kind of placement."""
    by_model: dict[str, list[Truth]] = defaultdict(list)
    for truth in truths:
        by_model[truth.case.model].append(truth)
    return [
        compare(shapes[name, truth.case.by_nextn], truth)
        for at, (name, own) in enumerate(by_model.items())
        for truth in own[at % STRIDE :: BIG_STRIDE if known[name].is_big else STRIDE]
        if truth.refused is None
    ]
