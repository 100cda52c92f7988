"""Drafting, with figures of the dry run of llama-server, build 11434."""

from __future__ import annotations

import pytest

import placer
from placer.testing.accuracy.models import big_models
from placer.units import MIB

WIDE = placer.Where(devices="Vulkan0:300000:300000,Vulkan1:300000:300000")
VALUES = {"ctx": 32768, "parallel": 2, "kv_unified": False, "flash_attn": "on"}
EVEN = ("-ts", "1,1")


@pytest.fixture(scope="module")
def glm(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The header of a model with a NextN layer."""
    model = next(m for m in big_models() if m.name == "GLM-4.5-Air")
    return str(model.write(tmp_path_factory.mktemp("glm") / "glm.gguf"))


def estimated(model: str, *companions: str) -> placer.app.Rated:
    """With these flags of drafting."""
    request = placer.Request(values=VALUES, companions=companions)
    return placer.estimate(model, WIDE, request, EVEN).rated


def test_nextn_layers_are_loaded_where_they_draft(glm: str) -> None:
    """Their weights, their own context, and more rows of logits, as the engine has."""
    alone, drafted = estimated(glm), estimated(glm, "--spec-type", "draft-mtp")
    held = drafted.best.devices
    own = drafted.companions[0]

    assert [d.model_bytes // MIB for d in held] == [54851, 56525]
    assert [(d.context_bytes or 0) // MIB for d in held] == [3072, 2816]
    assert [(d.compute_bytes or 0) // MIB for d in held] == [330, 290]
    assert alone.best.devices[0] == held[0]
    assert alone.best.devices[1].model_bytes < held[1].model_bytes
    assert own.kind == "draft-mtp"
    assert [d.context_bytes for d in own.devices] == [0, 128 * MIB]
    assert own.host.context_bytes == 0


def test_what_drafting_computes_with_is_not_known(glm: str) -> None:
    """So the estimate does not say that it fits, however much is left."""
    drafted = estimated(glm, "--spec-type", "draft-mtp")

    assert min(drafted.headroom_bytes) > 200_000 * MIB
    assert not drafted.fits
    assert any(
        note.startswith("the compute buffer of glm.gguf (draft-mtp) is not known")
        for note in drafted.notes
    )


def test_a_cache_of_its_own_type(glm: str) -> None:
    """-ctkd and -ctvd are those of the second context."""
    types = ("-ctkd", "q8_0", "-ctvd", "q8_0")
    drafted = estimated(glm, "--spec-type", "draft-mtp", *types)

    assert drafted.companions[0].devices[1].context_bytes == 68 * MIB


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The header of a model with as many layers as its draft."""
    model = next(m for m in big_models() if m.name == "Qwen2.5-32B")
    return str(model.write(tmp_path_factory.mktemp("dense") / "dense.gguf"))


def test_a_draft_on_the_same_devices_is_planned_for(dense: str) -> None:
    """It follows the same -ts, so a plan with all on GPUs is found, and is tight."""
    request = placer.Request(
        values={"ctx": 8192, "parallel": 1}, companions=("-md", dense)
    )
    whole = placer.estimate(dense, WIDE, request, ("-ts", "1,0")).rated
    both_mib = (300_000 * MIB - whole.headroom_bytes[0]) // MIB
    first, second = both_mib * 6 // 10, both_mib * 5 // 10
    where = placer.Where(devices=f"CUDA0:{first}:{first},CUDA1:{second}:{second}")
    best = placer.plan(dense, where, request).candidates[0]
    slots = best.candidate.placement.split

    assert best.candidate.strategy.name == "LAYERS"
    assert min(best.headroom_bytes) >= 0
    more = (slots[0] + 1, slots[1] - 1)
    shares = ",".join(map(str, more))
    fuller = placer.estimate(dense, where, request, ("-ts", shares)).rated
    assert fuller.headroom_bytes[0] < 0
