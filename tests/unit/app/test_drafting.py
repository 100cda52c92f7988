"""Drafting, with figures of the dry run of llama-server, build 11434."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import placer
from placer.testing.accuracy.models import KnownModel, big_models, read_models
from placer.testing.models_file import Weight, uint32
from placer.units import MIB

MODELS = Path(__file__).parents[2] / "accuracy" / "data" / "architectures.jsonl.gz"
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


NARROW = {"ctx": 16384, "parallel": 4, "ubatch": 256, "flash_attn": "off"}
QUANTISED = ("-ctkd", "q8_0", "-ctvd", "q8_0")


def with_nextn(model: KnownModel) -> KnownModel:
    """The model with its last layer once more, as a NextN layer."""
    values = {field.key: field.value for field in model.fields}
    count, width = (
        int(str(values[f"{model.architecture}.{key}"]))
        for key in ("block_count", "embedding_length")
    )
    fields = [
        replace(field, value=count + 1) if field.key.endswith(".block_count") else field
        for field in model.fields
        if not field.key.endswith(".nextn_predict_layers")
    ]
    fields.append(uint32(f"{model.architecture}.nextn_predict_layers", 1))
    last, own = f"blk.{count - 1}.", f"blk.{count}."
    weights = [
        replace(weight, name=weight.name.replace(last, own))
        for weight in model.weights
        if weight.name.startswith(last)
    ]
    both = (2 * width, width)
    name = f"{own}nextn.eh_proj.weight"
    weights.append(Weight(name=name, dims=both, type_name="Q8_0"))
    for part in ("enorm", "hnorm", "shared_head_norm"):
        name = f"{own}nextn.{part}.weight"
        weights.append(Weight(name=name, dims=(width,), type_name="F32"))
    return replace(model, fields=tuple(fields), weights=(*model.weights, *weights))


@pytest.mark.parametrize(
    ("name", "values", "split", "types", "context", "compute", "host"),
    [
        ("GLM-4.5-Air", VALUES, "1,1", (), 128, 244.05, 96),
        ("GLM-4.5-Air", NARROW, "1,3", (), 64, 458.0, 40),
        ("GLM-4.5-Air", VALUES, "1,1", QUANTISED, 68, 244.4, 96),
        ("Qwen3.5-397B-A17B", VALUES, "1,1", (), 64, 287.1, 104),
        ("Qwen3.5-397B-A17B", NARROW, "1,3", (), 32, 213.0, 40),
        ("Qwen3.5-397B-A17B", VALUES, "1,1", QUANTISED, 34, 288.1, 105),
        ("deepseek32-moe", VALUES, "1,1", (), 36, 70.77, 70),
        ("deepseek32-moe", NARROW, "1,3", (), 18, 38.26, 19),
        ("hy_v3-moe", VALUES, "1,1", (), 32, 74.3, 66),
        ("hy_v3-moe", NARROW, "1,3", (), 16, 28.51, 19),
        ("DeepSeek-V3", VALUES, "1,1", (), 36, 671.0, 682),
        ("DeepSeek-V3", NARROW, "1,3", (), 18, 831.5, 334),
        ("DeepSeek-V3", VALUES, "1,1", QUANTISED, 19, 671.0, 682),
        ("Qwen3-Coder-Next-UD-Q5_K_XL", VALUES, "1,1", (), 64, 130.0, 84),
        ("Qwen3-Coder-Next-UD-Q5_K_XL", NARROW, "1,3", (), 32, 117.0, 30),
        ("Qwen3-Coder-Next-UD-Q5_K_XL", VALUES, "1,1", QUANTISED, 34, 139.1, 85),
    ],
)
def test_the_second_context_is_as_the_engine_has_it(
    tmp_path: Path,
    name: str,
    values: dict[str, object],
    split: str,
    types: tuple[str, ...],
    context: int,
    compute: float,
    host: int,
) -> None:
    """In MiB: its cache cut down, its compute buffer to 0.1, the host's cut down."""
    known = (*big_models(), *read_models(MODELS))
    model = next(m for m in known if m.name == name)
    if not model.shape().n_layer_nextn:
        model = with_nextn(model)
    path = model.write(tmp_path / "model.gguf")
    request = placer.Request(
        values=values, companions=("--spec-type", "draft-mtp", *types)
    )
    wide = placer.Where(devices="Vulkan0:900000:900000,Vulkan1:900000:900000")
    rated = placer.estimate(str(path), wide, request, ("-ts", split)).rated
    first, second = rated.companions[0].devices

    assert rated.fits
    assert first.total_bytes == 0
    assert (second.context_bytes or 0) // MIB == context
    assert (second.compute_bytes or 0) / MIB == pytest.approx(compute, abs=0.1)
    assert (rated.companions[0].host.compute_bytes or 0) // MIB == host


def test_what_has_no_graph_is_never_said_to_fit(tmp_path: Path) -> None:
    """An architecture whose NextN graph placer has not, however much is left."""
    models = {m.name: m for m in read_models(MODELS)}
    path = with_nextn(models["cohere2moe-moe"]).write(tmp_path / "cohere.gguf")
    drafted = estimated(str(path), "--spec-type", "draft-mtp")

    assert min(drafted.headroom_bytes) > 200_000 * MIB
    assert not drafted.fits
    assert any(
        note.startswith("the compute buffer of cohere.gguf (draft-mtp) is not known")
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


CARDS = """\
[[devices]]
backend = "CUDA"
total_mib = {first}
bandwidth_gb_per_s = 1000

[[devices]]
backend = "CUDA"
total_mib = {second}
bandwidth_gb_per_s = 500
"""


def test_a_draft_on_the_same_devices_is_planned_for(dense: str, tmp_path: Path) -> None:
    """It follows the same -ts, so that the faster device is full with both."""
    request = placer.Request(
        values={"ctx": 8192, "parallel": 1}, companions=("-md", dense)
    )
    whole = placer.estimate(dense, WIDE, request, ("-ts", "1,0")).rated
    both_mib = (300_000 * MIB - whole.headroom_bytes[0]) // MIB
    cards = tmp_path / "cards.toml"
    cards.write_text(CARDS.format(first=both_mib * 6 // 10, second=both_mib * 5 // 10))
    where = placer.Where(machine=str(cards))
    best = placer.plan(dense, where, request).candidates[0]
    slots = best.candidate.placement.split

    assert best.candidate.strategy.name == "LAYERS"
    assert min(best.headroom_bytes) >= 0
    more = (slots[0] + 1, slots[1] - 1)
    shares = ",".join(map(str, more))
    fuller = placer.estimate(dense, where, request, ("-ts", shares)).rated
    assert fuller.headroom_bytes[0] < 0
