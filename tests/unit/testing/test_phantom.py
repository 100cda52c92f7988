"""A phantom has the header of a big model, and a hole where its data would be."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from placer.errors import InputError
from placer.gguf import read_gguf
from placer.testing.phantom import write_phantom
from placer.testing.phantom_shapes import PHANTOMS
from placer.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

every_phantom = pytest.mark.parametrize("name", list(PHANTOMS))


@every_phantom
def test_a_phantom_has_the_size_of_the_published_file(
    tmp_path: Path, name: str
) -> None:
    """Within half a percent of the file that people download."""
    file = read_gguf(write_phantom(name, tmp_path))
    assert file.size_bytes == pytest.approx(PHANTOMS[name].size_bytes, rel=0.005)


@every_phantom
def test_a_phantom_is_cheap(tmp_path: Path, name: str) -> None:
    """It is written in a moment and takes a few MiB of disk."""
    started = time.perf_counter()
    write_phantom(name, tmp_path)
    assert time.perf_counter() - started < 5
    on_disk = sum(path.stat().st_blocks for path in tmp_path.iterdir()) * 512
    assert on_disk < 8 * MIB


@pytest.mark.parametrize(
    ("name", "architecture", "n_tensors", "n_vocab"),
    [
        ("GLM-4.7-Flash-Q4_K_M", "deepseek2", 844, 154_880),
        ("GLM-4.7-Flash-Q8_0", "deepseek2", 844, 154_880),
        ("gpt-oss-120b-F16", "gpt-oss", 687, 201_088),
        ("Qwen3-Coder-Next-UD-Q5_K_XL", "qwen3next", 843, 151_936),
        ("Qwen3-Coder-Next-UD-Q6_K_XL", "qwen3next", 843, 151_936),
    ],
)
def test_a_phantom_has_the_tensors_of_the_published_file(
    tmp_path: Path, name: str, architecture: str, n_tensors: int, n_vocab: int
) -> None:
    """The counts are those that llama.cpp logs for the true files."""
    file = read_gguf(write_phantom(name, tmp_path))
    assert file.architecture == architecture
    assert len(file.tensors) == n_tensors
    assert file.array_length("tokenizer.ggml.tokens") == n_vocab


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("gpt-oss-120b-F16", ["gpt-oss-120b-F16.gguf"]),
        (
            "Qwen3-Coder-Next-UD-Q5_K_XL",
            [f"Qwen3-Coder-Next-UD-Q5_K_XL-0000{n}-of-00003.gguf" for n in (1, 2, 3)],
        ),
        (
            "Qwen3-Coder-Next-UD-Q6_K_XL",
            [f"Qwen3-Coder-Next-UD-Q6_K_XL-0000{n}-of-00002.gguf" for n in (1, 2)],
        ),
    ],
)
def test_files_are_named_and_split_as_published(
    tmp_path: Path, name: str, names: list[str]
) -> None:
    """The path that comes back is that of the first file."""
    path = write_phantom(name, tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == names
    assert path == tmp_path / names[0]
    assert [shard.name for shard in read_gguf(path).shards] == names


def test_the_first_file_can_be_without_tensors(tmp_path: Path) -> None:
    """As in the three files of the Q5 model, whose first is a few MB."""
    file = read_gguf(write_phantom("Qwen3-Coder-Next-UD-Q5_K_XL", tmp_path))
    assert {tensor.shard for tensor in file.tensors} == {1, 2}
    assert file.shards[1].stat().st_size < 50.1e9


def test_weights_on_each_gpu_are_what_a_user_saw(tmp_path: Path) -> None:
    """Layers 0-14 whole, 15-21 whole, the rest without experts: within 1 % of the log.

    CUDA0 held 17,176 MiB and CUDA1 8,192 MiB, with the boundary of the attention at
    layer 32.
    """
    file = read_gguf(write_phantom("Qwen3-Coder-Next-UD-Q5_K_XL", tmp_path))
    on = [0, 0]
    for tensor in file.tensors:
        if tensor.name == "token_embd.weight":
            continue
        layer = int(tensor.name.split(".")[1]) if tensor.name[:3] == "blk" else 48
        if layer < 22 or "_exps." not in tensor.name:
            on[layer >= 32 or 15 <= layer < 22] += tensor.n_bytes
    assert on[0] / MIB == pytest.approx(17_176, rel=0.01)
    assert on[1] / MIB == pytest.approx(8_192, rel=0.01)


def test_unknown_names_list_the_known(tmp_path: Path) -> None:
    """A misspelt name is answered with those that there are."""
    with pytest.raises(InputError, match=r"'gpt-oss'; there are GLM-4\.7-Flash-Q4"):
        write_phantom("gpt-oss", tmp_path)
