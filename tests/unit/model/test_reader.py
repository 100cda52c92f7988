"""Headers of five architectures, and what the engine makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from placer.errors import InputError
from placer.gguf import read_gguf
from placer.model import ModelShape, model_shape
from placer.model.shape import is_expert
from placer.testing import models
from placer.testing.models_file import Field, Weight, text, uint32, write_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def shape_of(writer: Callable[..., Path], folder: Path, **shape: int) -> ModelShape:
    """What the engine loads of a tiny model."""
    return model_shape(read_gguf(writer(folder / "m.gguf", **shape)))


def test_a_dense_model_has_a_cache_in_every_layer(tmp_path: Path) -> None:
    """llama: one K and one V for the whole context."""
    shape = shape_of(models.write_llama, tmp_path, n_layer=3)
    assert shape.architecture == "llama"
    assert shape.n_layer_all == 3
    assert shape.n_slots == 4
    assert not shape.is_moe
    assert shape.cache_unknown is None
    for layer in shape.layers:
        assert layer.has_kv
        assert (layer.n_head, layer.n_head_kv, layer.head_dim_k) == (4, 2, 64)
        assert not layer.is_swa
        assert layer.recurrent_elements == 0


def test_experts_are_told_from_the_rest(tmp_path: Path) -> None:
    """qwen3moe: three expert tensors a layer, the router is none."""
    shape = shape_of(models.write_qwen3moe, tmp_path)
    assert shape.is_moe
    assert shape.moe_layers == (0, 1, 2, 3)
    layer = shape.layers[0]
    # gate, down and up: 256 x 128 in F16, for 8 experts.
    assert layer.expert_bytes == 3 * 256 * 128 * 2 * 8
    assert layer.kind == shape.layers[1].kind
    total = sum(x.expert_bytes + x.dense_bytes for x in shape.layers)
    outer = (*shape.input_tensors, *shape.output_tensors)
    assert shape.weight_bytes == total + sum(t.n_bytes for t in outer)


def test_every_second_layer_of_gpt_oss_has_a_window(tmp_path: Path) -> None:
    """Its expert biases are experts too: --cpu-moe moves them."""
    shape = shape_of(models.write_gpt_oss, tmp_path)
    assert [layer.is_swa for layer in shape.layers] == [True, False, True, False]
    assert shape.n_swa > 0
    names = [t.name for t in shape.layers[0].tensors]
    assert "blk.0.ffn_up_exps.bias" in names
    assert is_expert("blk.0.ffn_up_exps.bias")
    assert not is_expert("blk.0.ffn_gate_inp.weight")
    assert not is_expert("blk.0.ffn_up_shexp.weight")


def test_deepseek2_keeps_one_latent(tmp_path: Path) -> None:
    """One head, as wide as latent and position; dense layers first."""
    shape = shape_of(models.write_deepseek2, tmp_path, n_layer_dense_lead=2)
    assert shape.is_mla
    assert shape.moe_layers == (2, 3)
    assert {layer.n_head_kv for layer in shape.layers} == {1}
    assert {layer.head_dim_k for layer in shape.layers} == {64 + 32}


def test_qwen3next_keeps_a_state_in_three_of_four_layers(tmp_path: Path) -> None:
    """And a cache in the fourth."""
    shape = shape_of(models.write_qwen3next, tmp_path, n_layer=8)
    assert [layer.has_kv for layer in shape.layers] == [False, False, False, True] * 2
    for layer in shape.layers:
        assert (layer.recurrent_elements == 0) == layer.has_kv


def write_fields(path: Path, *fields: Field, weights: tuple[Weight, ...] = ()) -> Path:
    """A header that says little."""
    first = text("general.architecture", "llama")
    return write_file(path, [first, *fields], weights)


LAYERS = uint32("llama.block_count", 2)
WIDTH = uint32("llama.embedding_length", 64)


def test_a_tied_output_is_loaded_twice(tmp_path: Path) -> None:
    """Without an output matrix the token embedding is one."""
    embedding = Weight(name="token_embd.weight", dims=(64, 100), type_name="F16")
    path = write_fields(tmp_path / "m.gguf", LAYERS, WIDTH, weights=(embedding,))
    shape = model_shape(read_gguf(path))
    assert [t.name for t in shape.output_tensors] == ["token_embd.weight"]
    assert shape.tensor_names == ("token_embd.weight",)
    assert shape.weight_bytes == 2 * 64 * 100 * 2
    assert shape.n_vocab == 100


def test_what_projects_embeddings_of_layers_belongs_to_the_first(
    tmp_path: Path,
) -> None:
    """The table itself is input, and stays on the CPU: llama-arch.cpp:957."""
    names = ("per_layer_token_embd", "per_layer_model_proj", "per_layer_proj_norm")
    weights = tuple(
        Weight(name=f"{name}.weight", dims=(64, 64), type_name="F16") for name in names
    )
    path = write_fields(tmp_path / "m.gguf", LAYERS, WIDTH, weights=weights)
    shape = model_shape(read_gguf(path))
    table, projection, norm = (w.name for w in weights)
    assert [t.name for t in shape.layers[0].tensors] == [projection, norm]
    assert table in [t.name for t in shape.input_tensors]


@pytest.mark.parametrize("count", [0, 5000])
def test_an_absurd_number_of_layers_is_refused(tmp_path: Path, count: int) -> None:
    """The error has the path."""
    path = write_fields(tmp_path / "m.gguf", uint32("llama.block_count", count), WIDTH)
    with pytest.raises(InputError, match=f"block_count is {count}"):
        model_shape(read_gguf(path))


def test_a_tensor_beyond_the_last_layer_is_refused(tmp_path: Path) -> None:
    """The file is not what it says."""
    beyond = Weight(name="blk.2.attn_q.weight", dims=(64, 64), type_name="F16")
    path = write_fields(tmp_path / "m.gguf", LAYERS, WIDTH, weights=(beyond,))
    with pytest.raises(InputError, match=r"blk\.2\.attn_q\.weight is beyond"):
        model_shape(read_gguf(path))


def test_missing_keys_are_named(tmp_path: Path) -> None:
    """An adapter is no model."""
    path = write_fields(tmp_path / "m.gguf", LAYERS)
    with pytest.raises(InputError, match="embedding_length"):
        model_shape(read_gguf(path))


def test_an_unknown_architecture_has_no_guessed_context(tmp_path: Path) -> None:
    """It is loaded all the same; its context is the engine's to say."""
    fields = [
        text("general.architecture", "brand-new"),
        uint32("brand-new.block_count", 2),
        uint32("brand-new.embedding_length", 64),
    ]
    shape = model_shape(read_gguf(write_file(tmp_path / "m.gguf", fields, ())))
    assert shape.n_layer_all == 2
    assert shape.cache_unknown is not None
    assert "brand-new" in shape.cache_unknown


def test_nextn_layers_hold_nothing_unless_they_draft(tmp_path: Path) -> None:
    """Their tensors are not loaded: TENSOR_SKIP."""
    weights = tuple(
        Weight(name=f"blk.{i}.attn_q.weight", dims=(64, 64), type_name="F16")
        for i in range(2)
    )
    path = write_fields(
        tmp_path / "m.gguf",
        LAYERS,
        WIDTH,
        uint32("llama.nextn_predict_layers", 1),
        weights=weights,
    )
    shape = model_shape(read_gguf(path))
    assert shape.n_layer_nextn == 1
    assert shape.n_slots == 3
    assert [len(layer.tensors) for layer in shape.layers] == [1, 0]


@pytest.mark.parametrize(
    ("architecture", "where"), [("lfm2", "output"), ("bloom", "layer 0")]
)
def test_a_norm_of_embeddings_is_where_its_architecture_has_it(
    tmp_path: Path, architecture: str, where: str
) -> None:
    """The first layer's norm, but the last norm of an LFM2, by the same name."""
    norm = Weight(name="token_embd_norm.weight", dims=(64,), type_name="F32")
    fields = [
        text("general.architecture", architecture),
        uint32(f"{architecture}.block_count", 2),
        uint32(f"{architecture}.embedding_length", 64),
    ]
    path = write_file(tmp_path / "m.gguf", fields, (norm,))
    shape = model_shape(read_gguf(path))
    held = {
        "output": [t.name for t in shape.output_tensors],
        "layer 0": [t.name for t in shape.layers[0].tensors],
    }
    assert {k for k, v in held.items() if v == [norm.name]} == {where}


def test_factors_of_rotations_belong_to_every_device(tmp_path: Path) -> None:
    """They are neither input nor output: llama-arch.cpp:778."""
    factors = Weight(name="rope_freqs.weight", dims=(32,), type_name="F32")
    path = write_fields(tmp_path / "m.gguf", LAYERS, WIDTH, weights=(factors,))
    shape = model_shape(read_gguf(path))
    assert [t.name for t in shape.shared_tensors] == [factors.name]
    assert not shape.input_tensors
    assert not shape.output_tensors
