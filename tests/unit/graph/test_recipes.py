"""What graphs hold where a file is silent or a model is the odd one of its family."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from placer.graph.build import Batch, Build
from placer.graph.families import graph_of
from placer.memory.compute import layout_of
from placer.model import model_shape
from placer.placement import Placement, Workload
from placer.testing.accuracy.models import read_models
from placer.testing.fake_shapes import fake_machine

if TYPE_CHECKING:
    from placer.gguf import GGUFFile
    from placer.model import ModelShape

DATA = Path(__file__).parents[2] / "accuracy" / "data" / "architectures.jsonl.gz"
FILES = {model.name: model.file() for model in read_models(DATA)}
WORKLOAD = Workload(ctx=8192, parallel=1, kv_unified=False)


def operations(shape: ModelShape) -> Counter[str]:
    """How often the graph of a prefill has each operation."""
    placement = Placement(split=(shape.n_layer_all + 1, 0))
    layout = layout_of(shape, WORKLOAD, placement, fake_machine([1, 1]))
    batch = Batch(n_tokens=512, n_seqs=1, n_outputs=1)
    return Counter(n.op for n in graph_of(Build(shape, WORKLOAD, layout, batch)).nodes)


def without(file: GGUFFile, *keys: str) -> GGUFFile:
    """The file without some keys of its architecture."""
    gone = {file.full_key(key) for key in keys}
    kept = {key: value for key, value in file.metadata.items() if key not in gone}
    return replace(file, metadata=kept)


@pytest.mark.parametrize("name", ["grok-moe", "minicpm-dense"])
def test_older_files_are_scaled_all_the_same(name: str) -> None:
    """Grok and MiniCPM multiply by factors of their own where the file has none."""
    silent = without(FILES[name], "embedding_scale", "residual_scale", "logit_scale")
    found, said = (operations(model_shape(f)) for f in (silent, FILES[name]))
    assert found["SCALE"] == said["SCALE"] > 0


def test_a_file_without_a_gate_means_a_sigmoid() -> None:
    """GLM 4.5 finds its experts by a sigmoid, not a softmax, if the file is silent."""
    silent = without(FILES["glm4moe-moe"], "expert_gating_func")
    found = operations(model_shape(silent))
    assert found["SOFT_MAX"] == 0


def test_llama_4_of_many_experts_leaves_heads_as_they_are() -> None:
    """Of two norms of heads a rotated layer, the model of 128 experts has none."""
    shape = model_shape(FILES["llama4-moe"])
    n_rotated = sum((il + 1) % 4 != 0 for il in range(shape.n_layer_all))
    few, many = (operations(replace(shape, n_expert=n)) for n in (16, 128))
    assert few["RMS_NORM"] - many["RMS_NORM"] == 2 * n_rotated
