"""What the engine says decides: of models that placer does not know, and of flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import placer
from placer.app.rated import estimate
from placer.graph import families
from placer.model import architectures

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.engine
REQUEST = placer.Request(values={"ctx": 1024, "parallel": 1})
SPLIT = ("-ts", "3,2")


@pytest.fixture
def _unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """An architecture that the engine has and placer has never heard of."""
    monkeypatch.setattr(
        architectures, "KNOWN", architectures.KNOWN - frozenset({"qwen3moe"})
    )
    monkeypatch.setattr(families, "MODULES", ())


@pytest.mark.usefixtures("engine", "_unknown")
def test_the_engine_is_asked_for_what_has_no_formula(moe_path: Path) -> None:
    """Every figure is there, and all of the engine's; weights are ours, and equal."""
    rated = estimate(
        str(moe_path), placer.Where(emulate=(200, 100)), REQUEST, SPLIT
    ).rated
    formula, said = rated.candidate.estimate, rated.dry_run

    assert said is not None
    assert rated.best is said
    assert said.is_complete
    assert rated.fits
    assert not any("ask the engine" in note for note in rated.notes)
    for ours, theirs in zip(
        (*formula.devices, formula.host), (*said.devices, said.host), strict=True
    ):
        assert ours.context_bytes is None
        assert ours.compute_bytes is None
        assert abs(ours.model_bytes - theirs.model_bytes) <= 2**20


@pytest.mark.usefixtures("_unknown")
def test_without_an_engine_the_reason_is_given(moe_path: Path) -> None:
    """Weights, and by name what is not known: nothing is guessed, nothing fits."""
    rated = estimate(
        str(moe_path), placer.Where(machine="rtx-4090"), REQUEST, ("-ts", "5")
    ).rated

    assert rated.best.devices[0].model_bytes > 0
    assert rated.best.devices[0].context_bytes is None
    assert not rated.fits
    assert any(
        note.startswith("context: ask the engine") and "'qwen3moe'" in note
        for note in rated.notes
    )
    assert any(note.startswith("compute buffers: ask") for note in rated.notes)


@pytest.mark.usefixtures("engine")
def test_a_refused_dry_run_is_no_silence(moe_path: Path) -> None:
    """The engine's reason is passed on, and what it will not run does not fit."""
    request = placer.Request(values=REQUEST.values, extra_args=("--bogus",))
    rated = estimate(
        str(moe_path), placer.Where(emulate=(200, 100)), request, SPLIT
    ).rated

    assert rated.dry_run is None
    assert min(rated.headroom_bytes) > 0
    assert not rated.fits
    assert any(
        note.startswith("llama-server gave no dry run") and "--bogus" in note
        for note in rated.notes
    )
