"""What layers of many architectures keep: windows, states, shared and second caches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from placer.gguf import GGUFFile
from placer.model import Hparams, LayerShape
from placer.model.architectures import KNOWN
from placer.model.layers import Layers

if TYPE_CHECKING:
    from placer.gguf import MetadataValue

HEADS: dict[str, MetadataValue] = {
    "embedding_length": 256,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
}
MLA: dict[str, MetadataValue] = {
    "attention.head_count_kv": 1,
    "attention.key_length": 96,
    "attention.value_length": 64,
    "attention.key_length_mla": 48,
    "attention.value_length_mla": 32,
}
INDEXER: dict[str, MetadataValue] = {
    "attention.indexer.key_length": 128,
    "attention.indexer.top_k": 64,
}


def layers_of(
    architecture: str, n_layer: int, keys: dict[str, MetadataValue]
) -> Layers:
    """The layers of a file that says so much and no more."""
    path = Path("m.gguf")
    said = {**HEADS, **keys, "block_count": n_layer}
    metadata: dict[str, MetadataValue] = {"general.architecture": architecture}
    metadata |= {f"{architecture}.{key}": value for key, value in said.items()}
    file = GGUFFile(
        path=path,
        shards=(path,),
        version=3,
        byte_order="little",
        metadata=metadata,
        tensors=(),
        size_bytes=0,
    )
    return Layers(Hparams(file))


def made(
    architecture: str, n_layer: int, **keys: MetadataValue
) -> tuple[LayerShape, ...]:
    """Every layer; in names of keys two underscores are a dot."""
    layers = layers_of(
        architecture, n_layer, {k.replace("__", "."): v for k, v in keys.items()}
    )
    return tuple(layers.layer(index, ()) for index in range(n_layer))


@pytest.mark.parametrize(
    ("architecture", "windows"),
    [
        ("cohere2", "wwwf"),
        ("cohere2moe", "fwww"),
        ("gemma2", "wfwf"),
        ("gpt-oss", "wfwf"),
        ("olmo2", "wwwf"),
        ("laguna", "fwww"),
        ("llama", "ffff"),
    ],
)
def test_each_architecture_has_its_own_order_of_windows(
    architecture: str, windows: str
) -> None:
    """The odd layer out of a period is its last one, or its first."""
    found = made(architecture, 4, attention__sliding_window=128)
    assert "".join("w" if layer.is_swa else "f" for layer in found) == windows


def test_a_file_may_name_each_layer_that_has_a_window() -> None:
    """The pattern wins over the architecture's period."""
    pattern = (True, True, False, True)
    found = made(
        "gemma3",
        4,
        attention__sliding_window=128,
        attention__sliding_window_pattern=pattern,
    )
    assert tuple(layer.is_swa for layer in found) == pattern


def test_a_window_of_no_tokens_is_no_window() -> None:
    """Where the file gives zero every layer attends to everything."""
    layers = layers_of("olmo2", 4, {"attention.sliding_window": 0})
    assert layers.n_swa == 0
    assert not any(layers.layer(i, ()).is_swa for i in range(4))


def test_exaone4_has_windows_only_at_64_layers() -> None:
    """The smaller model ignores the key."""
    small = layers_of("exaone4", 30, {"attention.sliding_window": 4096})
    large = layers_of("exaone4", 64, {"attention.sliding_window": 4096})
    assert (small.n_swa, large.n_swa) == (0, 4096)


def test_layers_with_a_window_may_have_smaller_heads() -> None:
    """A Gemma 4 has keys of two sizes."""
    found = made(
        "gemma4",
        2,
        attention__sliding_window=128,
        attention__sliding_window_pattern=(True, False),
        attention__key_length=512,
        attention__key_length_swa=256,
    )
    assert [layer.head_dim_k for layer in found] == [256, 512]


@pytest.mark.parametrize(
    ("architecture", "n_layer", "keys", "n_own"),
    [
        ("gemma3n", 30, {}, 20),
        ("gemma4", 30, {"attention.shared_kv_layers": 12}, 18),
        ("gemma4", 30, {}, 30),
    ],
)
def test_layers_that_read_another_cache_keep_none(
    architecture: str, n_layer: int, keys: dict[str, MetadataValue], n_own: int
) -> None:
    """The last layers share, the first have their own."""
    layers = layers_of(architecture, n_layer, keys)
    kept = [layers.layer(i, ()).has_kv for i in range(n_layer)]
    assert kept == [True] * n_own + [False] * (n_layer - n_own)


def test_layers_without_key_heads_have_a_state_instead() -> None:
    """LFM2: a short convolution keeps its last inputs, one less than its length."""
    found = made("lfm2", 2, attention__head_count_kv=(0, 2), shortconv__l_cache=3)
    assert [layer.has_kv for layer in found] == [False, True]
    assert [layer.recurrent_elements for layer in found] == [256 * 2, 0]


def test_a_mamba_keeps_a_window_and_a_state() -> None:
    """Of inner size and groups, and of the state's size."""
    (layer,) = made(
        "mamba2",
        1,
        ssm__conv_kernel=4,
        ssm__inner_size=512,
        ssm__state_size=128,
        ssm__group_count=1,
    )
    assert not layer.has_kv
    assert layer.recurrent_elements == 3 * (512 + 2 * 128) + 128 * 512


def test_an_rwkv_keeps_shifts_and_heads() -> None:
    """Two shifted tokens and a matrix a head."""
    (layer,) = made("rwkv7", 1, wkv__head_size=64)
    assert layer.recurrent_elements == 256 * (2 + 64)


def test_lightning_attention_keeps_a_matrix_for_each_head() -> None:
    """MiniMax-01: seven layers of eight."""
    found = made("minimax-01", 8, attention__key_length=64)
    assert [layer.recurrent_elements for layer in found] == [64 * 64 * 4] * 7 + [0]
    assert [layer.has_kv for layer in found] == [False] * 7 + [True]


def test_falcon_h1_has_both_in_every_layer() -> None:
    """Attention and a state side by side."""
    (layer,) = made(
        "falcon-h1", 1, ssm__conv_kernel=4, ssm__inner_size=256, ssm__state_size=16
    )
    assert layer.has_kv
    assert layer.recurrent_elements == 3 * 256 + 16 * 256


def test_nemotron_h_feeds_forward_without_a_cache() -> None:
    """Layers are of three kinds, by heads and by feed-forward."""
    found = made(
        "nemotron_h",
        3,
        attention__head_count_kv=(0, 2, 0),
        feed_forward_length=(0, 0, 1024),
        ssm__inner_size=64,
        ssm__state_size=16,
    )
    assert [layer.has_kv for layer in found] == [False, True, False]
    assert [layer.recurrent_elements > 0 for layer in found] == [True, False, False]


def test_an_index_is_a_second_cache_of_keys() -> None:
    """DeepSeek V3.2: beside the latent, with no values."""
    layers = layers_of("deepseek32", 2, {**MLA, **INDEXER})
    assert layers.is_mla
    assert (layers.layer(0, ()).index_k, layers.layer(0, ()).index_v) == (128, 0)


def test_only_layers_that_own_an_index_keep_one() -> None:
    """GLM: the file says which; without that the context is the engine's to say."""
    keys = {**MLA, **INDEXER}
    assert layers_of("glm-dsa", 2, keys).unknown is not None
    keys["attention.indexer.types"] = (1, 0)
    layers = layers_of("glm-dsa", 2, keys)
    assert layers.unknown is None
    assert [layers.layer(i, ()).index_k for i in range(2)] == [128, 0]


@pytest.mark.parametrize("architecture", ["bert", "llada", "dream", "rnd1"])
def test_models_that_read_all_at_once_keep_nothing(architecture: str) -> None:
    """No memory of tokens, and that is known."""
    assert layers_of(architecture, 2, {}).unknown is None
    assert not any(layer.has_kv for layer in made(architecture, 2))


@pytest.mark.parametrize("architecture", ["t5", "deepseek4", "rwkv5", "brand-new"])
def test_what_is_not_covered_names_its_architecture(architecture: str) -> None:
    """Never a guess: the reason names what is not known."""
    assert architecture not in KNOWN
    unknown = layers_of(architecture, 2, {}).unknown
    assert unknown is not None
    assert architecture in unknown


def test_nextn_layers_keep_no_cache() -> None:
    """The main graph does not run through them."""
    found = made("glm4moe", 3, nextn_predict_layers=1)
    assert [layer.has_kv for layer in found] == [True, True, False]
