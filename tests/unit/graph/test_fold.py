"""Layers are left out of a graph where that changes nothing of what it takes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from placer.graph.fold import EVERY_FOURTH, folds
from placer.graph.recipes import RECIPES
from placer.graph.reserve import reserve
from placer.memory.compute import is_pipelined, layout_of
from placer.model import model_shape
from placer.placement import Placement, TensorException, Workload
from placer.testing.accuracy.models import big_models, read_models
from placer.testing.fake_shapes import fake_machine

if TYPE_CHECKING:
    from placer.gguf import GGUFFile, Tensor
    from placer.model import ModelShape

DATA = Path(__file__).parents[2] / "accuracy" / "data" / "architectures.jsonl.gz"
FILES = {model.name: model.file() for model in read_models(DATA)}
QWEN = next(m.shape() for m in big_models() if m.name == "Qwen3-235B-A22B")
WORKLOAD = Workload(ctx=8192, parallel=1, kv_unified=False)
WITHOUT = replace(WORKLOAD, flash_attn="off", op_offload=False)
ON_HOST = replace(WORKLOAD, kv_offload=False, parallel=4)
TIMES = 6
# Whose first layers alone have no index: not a model when they come again.
UNREPEATABLE = "minimax-m3-moe"


def deepened(file: GGUFFile) -> ModelShape:
    """The model with its layers over and over."""
    n_layer = file.integer("block_count")
    metadata = {
        key: value * TIMES
        if isinstance(value, tuple) and len(value) == n_layer
        else value
        for key, value in file.metadata.items()
    }
    metadata[file.full_key("block_count")] = n_layer * TIMES
    tensors = [one for t in file.tensors for one in _repeated(t, n_layer)]
    return model_shape(replace(file, metadata=metadata, tensors=tuple(tensors)))


def _repeated(tensor: Tensor, n_layer: int) -> list[Tensor]:
    found = re.fullmatch(r"blk\.(\d+)\.(.+)", tensor.name)
    if found is not None:
        first, rest = int(found[1]), found[2]
        return [
            replace(tensor, name=f"blk.{first + n_layer * i}.{rest}")
            for i in range(TIMES)
        ]
    if tensor.name == "per_layer_token_embd.weight":
        return [replace(tensor, dims=(tensor.dims[0] * TIMES, tensor.dims[1]))]
    if tensor.name == "per_layer_model_proj.weight":
        return [replace(tensor, dims=(tensor.dims[0], tensor.dims[1] * TIMES))]
    return [tensor]


def check(
    shape: ModelShape,
    placement: Placement,
    workload: Workload = WORKLOAD,
    *,
    n_devices: int = 2,
    backend: str = "Vulkan",
) -> None:
    """Folded equals unfolded."""
    machine = fake_machine([1] * n_devices, backend=backend)
    layout = layout_of(shape, workload, placement, machine)
    pipelined = is_pipelined(shape, placement, workload, machine)
    folded, unfolded = (
        reserve(shape, workload, layout, pipelined=pipelined, is_folded=is_folded)
        for is_folded in (True, False)
    )
    assert folded == unfolded


def moved(shape: ModelShape, pattern: str, buffer: str) -> frozenset[TensorException]:
    """The tensors that match, in another buffer."""
    return frozenset(
        TensorException(tensor=tensor.name, buffer=buffer)
        for layer in shape.layers
        for tensor in layer.tensors
        if re.search(pattern, tensor.name)
    )


@pytest.mark.parametrize("name", sorted(FILES.keys() - {UNREPEATABLE}))
def test_every_architecture_takes_the_same(name: str) -> None:
    """Whatever its layers refer to; where it cannot be folded it is not."""
    shape = deepened(FILES[name])
    n = shape.n_slots
    check(shape, Placement(split=(n // 3, n - n // 3), unpipelined=True))


@pytest.mark.parametrize("backend", ["Vulkan", "CUDA"])
@pytest.mark.parametrize("workload", [WORKLOAD, WITHOUT, ON_HOST])
@pytest.mark.parametrize("split", [(95,), (31, 64), (20, 3, 72), (50, 1, 11, 23)])
def test_a_deep_model_takes_the_same_on_any_devices(
    split: tuple[int, ...], workload: Workload, backend: str
) -> None:
    """Overlapped batches too."""
    check(QWEN, Placement(split=split), workload, n_devices=len(split), backend=backend)


@pytest.mark.parametrize(
    ("pattern", "buffer"),
    [
        (r"_exps", "CPU"),
        (r"blk\.[0-3].\..*_exps", "CPU"),
        (r"blk\.40\.ffn_down_exps", "CPU"),
        (r"blk\.40\.ffn_down_exps", "CUDA1"),
        (r"blk\.[1-9]?[02468]\.ffn_up_exps", "CUDA0"),
        (r"attn_output", "CPU"),
    ],
)
@pytest.mark.parametrize("workload", [WORKLOAD, WITHOUT])
def test_tensors_elsewhere_take_the_same(
    pattern: str, buffer: str, workload: Workload
) -> None:
    """All, some layers', a single one's, every second layer's."""
    exceptions = moved(QWEN, pattern, buffer)
    placement = Placement(split=(50, 45), exceptions=exceptions)
    check(QWEN, placement, workload, backend="CUDA")


def test_layers_on_the_cpu_take_the_same() -> None:
    """Before those on devices."""
    check(QWEN, Placement(split=(30, 20)))


def test_few_layers_of_many_are_built() -> None:
    """The first and the last among them."""
    layout = layout_of(QWEN, WORKLOAD, Placement(split=(50, 45)), fake_machine([1, 1]))
    first, *_, last = folds(QWEN, layout)
    assert len(first.layers) <= 12
    assert (first.layers[0], first.layers[-1]) == (0, QWEN.n_layer_all - 1)
    assert last.layers == tuple(range(QWEN.n_layer_all))
    n_dropped = sum(run.block * run.n_dropped for run in first.runs)
    assert len(first.layers) + n_dropped == QWEN.n_layer_all


def test_what_the_number_of_a_layer_decides_is_known() -> None:
    """Recipes that turn all but every fourth layer are on the list."""
    assert {arch for arch, r in RECIPES.items() if r.rope == "step"} <= EVERY_FOURTH


def test_streams_that_pile_up_are_built_whole() -> None:
    """Kimi K3's graph grows from layer to layer."""
    shape = deepened(FILES["kimi-k3-moe"])
    placement = Placement(split=(shape.n_slots, 0))
    layout = layout_of(shape, WORKLOAD, placement, fake_machine([1, 1]))
    assert len([*folds(shape, layout)]) == 1
