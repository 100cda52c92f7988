from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from placer.testing.accuracy.cases import KINDS
from placer.testing.accuracy.ceilings import (
    ARCHITECTURES_ANSWERED,
    missed,
    unanswered,
)
from placer.testing.accuracy.compare import shares_of

if TYPE_CHECKING:
    from placer.testing.accuracy.compare import Comparison
    from placer.testing.accuracy.models import KnownModel
    from placer.testing.accuracy.truth import Truth

N_ARCHITECTURES = 92


def test_the_sample_touches_every_model_and_every_placement(
    known: dict[str, KnownModel], sample: list[Comparison]
) -> None:
    """What is not sampled is not held."""
    assert {c.truth.case.model for c in sample} == set(known)
    assert {c.truth.case.kind for c in sample} == set(KINDS)
    assert sum(not model.is_big for model in known.values()) == N_ARCHITECTURES


def test_the_formula_keeps_to_its_ceilings(sample: list[Comparison]) -> None:
    """Weights and context are equal, compute buffers close, graph splits equal."""
    assert missed(sample) == []


def test_few_architectures_are_left_to_the_engine(
    known: dict[str, KnownModel], sample: list[Comparison]
) -> None:
    """Whose context the formula does not answer is said, and they are few."""
    tiny = {name for name, model in known.items() if not model.is_big}

    left = unanswered(sample) & tiny

    assert N_ARCHITECTURES - len(left) >= ARCHITECTURES_ANSWERED


def test_every_placement_keeps_weights_and_context_equal(
    sample: list[Comparison],
) -> None:
    """No kind of placement hides behind the others."""
    by_kind: dict[str, list[Comparison]] = defaultdict(list)
    for comparison in sample:
        by_kind[comparison.truth.case.kind].append(comparison)
    for kind, own in by_kind.items():
        shares = shares_of(own)
        assert (kind, shares.weights_equal, shares.context_wrong) == (kind, 1, 0)


def test_the_engine_answered_every_recorded_case(truths: list[Truth]) -> None:
    """No model is a phantom that llama-server would not load."""
    refused = [(t.case.model, t.refused) for t in truths if t.refused is not None]

    assert refused == []
