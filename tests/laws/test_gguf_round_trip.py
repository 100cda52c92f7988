"""What the ``gguf`` package writes is what is read."""

from __future__ import annotations

import tempfile
from pathlib import Path

import gguf
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from placer.gguf import GGUFArray, GGUFFile, read_gguf, row_bytes

SCALARS = {
    "u8": ("add_uint8", st.integers(0, 2**8 - 1)),
    "i8": ("add_int8", st.integers(-(2**7), 2**7 - 1)),
    "u16": ("add_uint16", st.integers(0, 2**16 - 1)),
    "i16": ("add_int16", st.integers(-(2**15), 2**15 - 1)),
    "u32": ("add_uint32", st.integers(0, 2**32 - 1)),
    "i32": ("add_int32", st.integers(-(2**31), 2**31 - 1)),
    "u64": ("add_uint64", st.integers(0, 2**64 - 1)),
    "i64": ("add_int64", st.integers(-(2**63), 2**63 - 1)),
    "f32": ("add_float32", st.floats(width=32, allow_nan=False)),
    "f64": ("add_float64", st.floats(allow_nan=False)),
    "bool": ("add_bool", st.booleans()),
    "text": ("add_string", st.text(min_size=1)),
}
QUANTISED = ("Q8_0", "Q4_0", "MXFP4", "Q4_K", "Q6_K", "IQ4_NL")
ROUND_TRIP = settings(max_examples=60, deadline=2000)

scalars = st.sampled_from(sorted(SCALARS)).flatmap(
    lambda kind: st.tuples(st.just(kind), SCALARS[kind][1])
)
shapes = st.lists(st.integers(1, 4), max_size=3).map(lambda rest: (256, *rest))
weights = st.lists(
    st.tuples(st.sampled_from(("F32", "F16", *QUANTISED)), shapes), max_size=6
)


def add_weight(
    writer: gguf.GGUFWriter, name: str, type_name: str, dims: tuple[int, ...]
) -> None:
    """One tensor of zeros; ``dims`` innermost first, numpy's shape the other way."""
    rows = dims[:0:-1]
    if type_name in ("F32", "F16"):
        kind = np.float32 if type_name == "F32" else np.float16
        writer.add_tensor(name, np.zeros((*rows, dims[0]), kind))
        return
    raw = np.zeros((*rows, row_bytes(type_name, dims[0])), np.uint8)
    writer.add_tensor(name, raw, raw_dtype=gguf.GGMLQuantizationType[type_name])


def finish(writer: gguf.GGUFWriter) -> None:
    """The file is written out and closed."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_back(
    values: list[tuple[str, float | str]],
    tensors: list[tuple[str, tuple[int, ...]]],
    byte_order: gguf.GGUFEndian,
) -> GGUFFile:
    """A file written by the package and read by placer."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.gguf")
        writer = gguf.GGUFWriter(path, "llama", endianess=byte_order)
        for index, (kind, value) in enumerate(values):
            getattr(writer, SCALARS[kind][0])(f"k{index}", value)
        for index, (type_name, dims) in enumerate(tensors):
            add_weight(writer, f"t{index}", type_name, dims)
        finish(writer)
        return read_gguf(path)


@ROUND_TRIP
@given(st.lists(scalars, max_size=12), st.sampled_from(gguf.GGUFEndian))
def test_scalars(values: list[tuple[str, float | str]], order: gguf.GGUFEndian) -> None:
    """Scalars of every type, in both byte orders, come back equal."""
    file = read_back(values, [], order)
    assert [file.metadata[f"k{n}"] for n in range(len(values))] == [
        value for _, value in values
    ]
    assert file.byte_order == order.name.lower()


@ROUND_TRIP
@given(weights)
def test_tensors(tensors: list[tuple[str, tuple[int, ...]]]) -> None:
    """Types, dimensions, sizes and offsets are those of the package's own reader."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.gguf")
        writer = gguf.GGUFWriter(path, "llama")
        for index, (type_name, dims) in enumerate(tensors):
            add_weight(writer, f"t{index}", type_name, dims)
        finish(writer)
        theirs = gguf.GGUFReader(path)
        ours = read_gguf(path)
        assert [
            (
                tensor.name,
                tensor.type_name,
                list(tensor.dims),
                tensor.n_bytes,
                tensor.n_elements,
                tensor.offset + theirs.data_offset,
            )
            for tensor in ours.tensors
        ] == [
            (
                tensor.name,
                tensor.tensor_type.name,
                tensor.shape.tolist(),
                tensor.n_bytes,
                tensor.n_elements,
                tensor.data_offset,
            )
            for tensor in theirs.tensors
        ]


@ROUND_TRIP
@given(
    st.lists(st.text(), min_size=1, max_size=30),
    st.lists(st.integers(-100, 100), min_size=1),
)
def test_arrays(tokens: list[str], numbers: list[int]) -> None:
    """Arrays of numbers come back equal, those of strings with their length."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.gguf")
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_token_list(tokens)
        writer.add_array("llama.n", numbers)
        finish(writer)
        file = read_gguf(path)
    assert file.metadata["tokenizer.ggml.tokens"] == GGUFArray(
        element_type="string", count=len(tokens)
    )
    assert file.integers("n", len(numbers)) == tuple(numbers)


@settings(max_examples=20, deadline=2000)
@given(st.integers(1, 7), st.integers(1, 3))
def test_splits(n_tensors: int, per_shard: int) -> None:
    """A model that the package writes in several files is joined whole, in order."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.gguf")
        writer = gguf.GGUFWriter(path, "llama", split_max_tensors=per_shard)
        names = [f"t{index}" for index in range(n_tensors)]
        for name in names:
            add_weight(writer, name, "F32", (8, 2))
        finish(writer)
        shards = sorted(Path(folder).iterdir())
        file = read_gguf(shards[-1])
        assert list(file.shards) == shards
        assert len(shards) == -(-n_tensors // per_shard)
        assert [tensor.name for tensor in file.tensors] == names
        assert [t.shard for t in file.tensors] == [
            index // per_shard for index in range(n_tensors)
        ]
