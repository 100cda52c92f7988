"""What a whole file says comes back as it was written."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from placer.errors import InputError
from placer.gguf import GGUFArray, Tensor, read_gguf
from placer.testing.models_file import (
    Array,
    Field,
    Weight,
    float32,
    header_bytes,
    strings,
    text,
    uint32,
    write_file,
)

if TYPE_CHECKING:
    from pathlib import Path

LLAMA = text("general.architecture", "llama")
WEIGHTS = (
    Weight(name="token_embd.weight", dims=(64, 10), type_name="Q8_0"),
    Weight(name="output_norm.weight", dims=(3,), type_name="F32"),
    Weight(name="output.weight", dims=(256, 2, 3), type_name="Q4_K"),
)


def array(key: str, element_type: str, *values: float) -> Field:
    """An array of numbers."""
    return Field(
        key=key,
        type_name="array",
        value=Array(element_type=element_type, values=values),
    )


def test_tensors_come_back_with_sizes_and_offsets(tmp_path: Path) -> None:
    """Offsets are padded to 32 bytes, sizes are those of whole blocks."""
    file = read_gguf(write_file(tmp_path / "m.gguf", [LLAMA], WEIGHTS))
    assert file.tensors == (
        Tensor(
            name="token_embd.weight",
            dims=(64, 10),
            type_name="Q8_0",
            offset=0,
            n_bytes=680,
            shard=0,
        ),
        Tensor(
            name="output_norm.weight",
            dims=(3,),
            type_name="F32",
            offset=704,
            n_bytes=12,
            shard=0,
        ),
        Tensor(
            name="output.weight",
            dims=(256, 2, 3),
            type_name="Q4_K",
            offset=736,
            n_bytes=6 * 144,
            shard=0,
        ),
    )
    assert [tensor.n_elements for tensor in file.tensors] == [640, 3, 1536]


def test_the_file_itself_is_described(tmp_path: Path) -> None:
    """A single file is its own only shard, and its size is that on disk."""
    path = write_file(tmp_path / "m.gguf", [LLAMA], WEIGHTS)
    file = read_gguf(path)
    assert file.path == path
    assert file.shards == (path,)
    assert file.size_bytes == path.stat().st_size
    assert (file.version, file.byte_order) == (3, "little")
    assert file.architecture == "llama"


@pytest.mark.parametrize("byte_order", ["little", "big"])
@pytest.mark.parametrize("version", [2, 3])
def test_both_versions_and_byte_orders_read_alike(
    tmp_path: Path, version: int, byte_order: str
) -> None:
    """The version field tells the byte order, and all numbers follow it."""
    fields = [LLAMA, uint32("llama.block_count", 7), array("a", "int16", -2, 300)]
    header = header_bytes(fields, WEIGHTS, version=version, byte_order=byte_order)
    path = tmp_path / "m.gguf"
    path.write_bytes(header + bytes(4096))
    file = read_gguf(path)
    assert (file.version, file.byte_order) == (version, byte_order)
    assert file.integer("block_count") == 7
    assert file.metadata["a"] == (-2, 300)
    assert [tensor.dims for tensor in file.tensors] == [w.dims for w in WEIGHTS]


@pytest.mark.parametrize(
    ("type_name", "value"),
    [
        ("uint8", 255),
        ("int8", -128),
        ("uint16", 65535),
        ("int16", -32768),
        ("uint32", 2**32 - 1),
        ("int32", -(2**31)),
        ("uint64", 2**64 - 1),
        ("int64", -(2**63)),
        ("float32", 0.5),
        ("float64", 1e300),
        ("float64", -math.inf),
        ("bool", True),
        ("bool", False),
        ("string", ""),
        ("string", "größe\x00\n"),
    ],
)
def test_scalars_of_every_type_come_back(
    tmp_path: Path, type_name: str, value: float | str
) -> None:
    """A scalar has the value and the Python type that was written."""
    field = Field(key="k", type_name=type_name, value=value)
    read = read_gguf(write_file(tmp_path / "m.gguf", [field], ())).metadata["k"]
    assert read == value
    assert type(read) is type(value)


def test_a_value_that_is_not_utf8_does_no_harm(tmp_path: Path) -> None:
    """Only keys must be UTF-8: a badly encoded description is read with marks."""
    field = Field(key="general.name", type_name="string", value=b"caf\xe9")
    file = read_gguf(write_file(tmp_path / "m.gguf", [field], ()))
    assert file.text("general.name") == "caf\N{REPLACEMENT CHARACTER}"


def test_short_arrays_of_numbers_are_kept(tmp_path: Path) -> None:
    """Numbers and booleans per layer come back as tuples."""
    fields = [array("b", "bool", True, False), array("f", "float32", 0.25)]
    file = read_gguf(write_file(tmp_path / "m.gguf", fields, ()))
    assert file.metadata["b"] == (True, False)
    assert file.metadata["f"] == (0.25,)


def test_strings_and_long_arrays_are_summarised(tmp_path: Path) -> None:
    """A vocabulary is counted, not built; 65,536 numbers are the most to be kept."""
    fields = [
        strings("tokenizer.ggml.tokens", ["a", "", "b" * 1000]),
        array("kept", "int8", *[1] * 65_536),
        array("long", "int8", *[1] * 65_537),
        uint32("after", 9),
    ]
    file = read_gguf(write_file(tmp_path / "m.gguf", fields, ()))
    tokens = GGUFArray(element_type="string", count=3)
    assert file.metadata["tokenizer.ggml.tokens"] == tokens
    assert file.metadata["kept"] == (1,) * 65_536
    assert file.metadata["long"] == GGUFArray(element_type="int8", count=65_537)
    assert file.metadata["after"] == 9


def test_the_sum_of_kept_elements_is_bounded(tmp_path: Path) -> None:
    """Arrays past the first million elements together are summarised."""
    fields = [array(str(n), "uint8", *[0] * 65_536) for n in range(17)]
    file = read_gguf(write_file(tmp_path / "m.gguf", fields, ()))
    assert isinstance(file.metadata["15"], tuple)
    assert file.metadata["16"] == GGUFArray(element_type="uint8", count=65_536)


def test_alignment_is_the_files_own(tmp_path: Path) -> None:
    """``general.alignment`` moves the data section and the tensors in it."""
    fields = [LLAMA, uint32("general.alignment", 512)]
    path = tmp_path / "m.gguf"
    path.write_bytes(header_bytes(fields, WEIGHTS, alignment=512) + bytes(4096))
    assert [t.offset for t in read_gguf(path).tensors] == [0, 1024, 1536]


def test_metadata_cannot_be_changed(tmp_path: Path) -> None:
    """What was read stays what was read."""
    file = read_gguf(write_file(tmp_path / "m.gguf", [LLAMA], ()))
    with pytest.raises(TypeError):
        file.metadata["x"] = 1  # type: ignore[index]


def test_a_scalar_without_dimensions_is_one_element(tmp_path: Path) -> None:
    """Zero dimensions are legal in ggml and mean one element."""
    header = header_bytes([LLAMA], [Weight(name="s", dims=(1,), type_name="F32")])
    cut = header.index(b"\x01\x00\x00\x00" + (1).to_bytes(8, "little"), 60)
    raw = header[:cut] + bytes(4) + header[cut + 12 :]
    path = tmp_path / "m.gguf"
    path.write_bytes(raw + bytes(64))
    (tensor,) = read_gguf(path).tensors
    assert (tensor.dims, tensor.n_elements, tensor.n_bytes) == ((), 1, 4)


def test_missing_architecture_is_an_input_error(tmp_path: Path) -> None:
    """A file that names no architecture is read, and refused when asked for it."""
    file = read_gguf(write_file(tmp_path / "m.gguf", [float32("x", 1.0)], ()))
    with pytest.raises(InputError, match=r"no key 'general\.architecture'"):
        _ = file.architecture
