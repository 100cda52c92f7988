"""Whatever bytes a file has, reading it ends soon: with a file or an InputError."""

from __future__ import annotations

import struct
import tempfile
import tracemalloc
from pathlib import Path
from typing import Final

from hypothesis import example, given, settings
from hypothesis import strategies as st

from placer.errors import InputError
from placer.gguf import GGUFFile, read_gguf
from placer.testing.models_file import (
    Array,
    Field,
    Weight,
    header_bytes,
    strings,
    text,
    uint32,
)

SEED_FIELDS: Final = (
    text("general.architecture", "llama"),
    uint32("llama.block_count", 2),
    Field(key="general.alignment", type_name="uint32", value=32),
    Field(
        key="llama.heads",
        type_name="array",
        value=Array(element_type="int32", values=(1, 2)),
    ),
    strings("tokenizer.ggml.tokens", ["a", "bc", "def"]),
)
SEED_WEIGHTS: Final = (
    Weight(name="token_embd.weight", dims=(64, 2), type_name="Q8_0"),
    Weight(name="blk.0.norm.weight", dims=(8,), type_name="F32"),
)
HEADER: Final = header_bytes(SEED_FIELDS, SEED_WEIGHTS)
SEED: Final = HEADER + bytes(160 + 32)
#: Numbers on which a check that is off by one, or too late, breaks.
EDGES: Final = (
    0,
    1,
    4,
    9,
    63,
    64,
    255,
    2**16,
    2**31 - 1,
    2**32 - 1,
    2**63 - 1,
    2**63,
    2**64 - 8,
    2**64 - 1,
)
PEAK_BYTES: Final = 8 << 20

FUZZ: Final = settings(max_examples=300, deadline=1000)


def outcome(content: bytes, name: str = "model.gguf") -> GGUFFile | InputError:
    """What reading these bytes comes to; any other error escapes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        result = attempt(path)
    if isinstance(result, InputError):
        assert result.path is not None
        assert result.path.parent == path.parent
        assert "\n" not in str(result)
    return result


def attempt(path: Path) -> GGUFFile | InputError:
    """The file, or the error with which it was refused."""
    try:
        return read_gguf(path)
    except InputError as error:
        return error


def test_the_seed_is_a_good_file() -> None:
    """The mutations start from a file that is read."""
    assert isinstance(outcome(SEED), GGUFFile)


@FUZZ
@given(st.integers(0, len(SEED) - 1))
def test_any_truncation(length: int) -> None:
    """A file cut off anywhere, in its header or its data, is refused."""
    result = outcome(SEED[:length])
    assert isinstance(result, InputError)


@FUZZ
@given(
    st.lists(
        st.tuples(st.integers(0, len(HEADER) - 1), st.integers(0, 255)),
        min_size=1,
        max_size=8,
    )
)
def test_any_changed_bytes(changes: list[tuple[int, int]]) -> None:
    """Bytes of the header changed at random leave a file or an InputError."""
    content = bytearray(SEED)
    for at, value in changes:
        content[at] = value
    outcome(bytes(content))


@FUZZ
@given(st.integers(0, len(HEADER) - 8), st.sampled_from(EDGES), st.sampled_from("IQ"))
@example(8, 2**64 - 1, "Q")
@example(16, 2**64 - 1, "Q")
def test_any_number_in_any_place(at: int, number: int, layout: str) -> None:
    """A count, length, type or offset of any size takes neither time nor memory."""
    content = bytearray(SEED)
    struct.pack_into(
        "<" + layout, content, at, number % 2 ** (32 + 32 * (layout == "Q"))
    )
    tracemalloc.start()
    try:
        outcome(bytes(content))
        assert tracemalloc.get_traced_memory()[1] < PEAK_BYTES
    finally:
        tracemalloc.stop()


@FUZZ
@given(st.binary(max_size=400))
def test_anything_after_the_preamble(rest: bytes) -> None:
    """Noise behind a true magic, version and believable counts is survived."""
    outcome(b"GGUF" + struct.pack("<IQQ", 3, 2, 2) + rest)


@FUZZ
@given(
    st.lists(st.tuples(st.integers(0, len(HEADER)), st.binary(max_size=12)), max_size=4)
)
def test_inserted_bytes(insertions: list[tuple[int, bytes]]) -> None:
    """Bytes put in, so that all that follows is read askew, are survived."""
    content = SEED
    for at, new in insertions:
        content = content[:at] + new + content[at:]
    outcome(content)


@FUZZ
@given(st.integers(), st.integers(), st.integers(1, 99_999))
def test_any_claim_to_be_split(number: int, count: int, named: int) -> None:
    """A file that claims to be one of many, falsely, leaves a file or an InputError."""
    fields = [
        Field(key="split.no", type_name="uint64", value=number % 2**64),
        Field(key="split.count", type_name="uint64", value=count % 2**64),
    ]
    content = header_bytes((*SEED_FIELDS, *fields), ())
    outcome(content, name=f"m-00001-of-{named:05}.gguf")
