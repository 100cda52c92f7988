"""Every kind of damage is an InputError that names file and byte."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest

from placer.errors import InputError
from placer.gguf import cursor, read_gguf
from placer.testing.models_file import (
    Field,
    Weight,
    header_bytes,
    strings,
    text,
    uint32,
    write_file,
)

if TYPE_CHECKING:
    from pathlib import Path

LLAMA = text("general.architecture", "llama")
NORM = Weight(name="norm", dims=(8,), type_name="F32")


def refusal(path: Path) -> InputError:
    """The error with which a file is refused; it names the file."""
    with pytest.raises(InputError) as caught:
        read_gguf(path)
    assert caught.value.path == path
    return caught.value


def written(tmp_path: Path, content: bytes) -> Path:
    """A file of these bytes."""
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    return path


def preamble(n_tensors: int = 0, n_keys: int = 0, version: int = 3) -> bytes:
    """Magic, version and counts."""
    return b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_keys)


def tensor_line(
    name: bytes = b"norm",
    dims: tuple[int, ...] = (8,),
    type_number: int = 0,
    offset: int = 0,
) -> bytes:
    """One line of a tensor table, true or not."""
    return (
        struct.pack("<Q", len(name))
        + name
        + struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
        + struct.pack("<IQ", type_number, offset)
    )


def key_line(key: bytes, type_number: int, value: bytes = b"") -> bytes:
    """One key with a value."""
    return struct.pack("<Q", len(key)) + key + struct.pack("<I", type_number) + value


def test_a_missing_file(tmp_path: Path) -> None:
    """A path that does not exist says so."""
    assert "no such file" in str(refusal(tmp_path / "nope.gguf"))


def test_a_folder(tmp_path: Path) -> None:
    """A folder is not a file, and the hint says what to give."""
    assert "is a folder; give the .gguf file in it" in str(refusal(tmp_path))


def test_an_empty_file(tmp_path: Path) -> None:
    """Nothing at all is not a GGUF."""
    assert "the file is empty" in str(refusal(written(tmp_path, b"")))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """What is not a regular file is refused without being opened."""
    path = tmp_path / "pipe.gguf"
    os.mkfifo(path)
    assert "not a regular file" in str(refusal(path))


def test_a_path_that_no_system_takes(tmp_path: Path) -> None:
    """A zero byte in a path is an InputError as well."""
    assert "cannot be read" in str(refusal(tmp_path / "a\x00b.gguf"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads what it likes")
def test_a_file_without_permission(tmp_path: Path) -> None:
    """A file that may not be read says so."""
    path = written(tmp_path, preamble())
    path.chmod(0)
    assert "permission denied" in str(refusal(path))


def test_a_refused_open_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs it, a system that denies the file is told from a missing file."""

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = written(tmp_path, preamble())
    monkeypatch.setattr(type(path), "open", denied)
    assert "permission denied; make the file readable" in str(refusal(path))


def test_something_else_entirely(tmp_path: Path) -> None:
    """Other files are told by their first bytes."""
    error = refusal(written(tmp_path, b"PK\x03\x04 a zip file"))
    assert error.offset == 0
    assert "not a GGUF: it starts with b'PK" in str(error)


def test_a_git_lfs_pointer(tmp_path: Path) -> None:
    """The text that git keeps in the place of a big file has a hint of its own."""
    error = refusal(written(tmp_path, b"version https://git-lfs.example/spec/v1\n"))
    assert "git lfs pull" in str(error)


@pytest.mark.parametrize("length", range(1, 24))
def test_a_file_cut_off_in_its_first_bytes(tmp_path: Path, length: int) -> None:
    """Every prefix of the preamble is refused at a byte that it has or just lacks."""
    error = refusal(written(tmp_path, preamble()[:length]))
    assert error.offset is not None
    assert 0 <= error.offset <= length


def test_version_1_is_refused_by_name(tmp_path: Path) -> None:
    """The format that llama.cpp dropped says what to do."""
    error = refusal(written(tmp_path, preamble(version=1)))
    assert "version 1, which llama.cpp no longer reads" in str(error)


@pytest.mark.parametrize("version", [0, 4, 0x00040000, 2**32 - 1])
def test_unknown_versions(tmp_path: Path, version: int) -> None:
    """A version that is neither 2 nor 3 in either byte order is refused."""
    error = refusal(written(tmp_path, preamble(version=version)))
    assert error.offset == 4
    assert "known are 2 and 3" in str(error)


@pytest.mark.parametrize("count", [65_537, 2**40, 2**64 - 1])
def test_absurd_counts_of_keys(tmp_path: Path, count: int) -> None:
    """A count is judged before anything is done with it."""
    error = refusal(written(tmp_path, preamble(n_keys=count)))
    assert "more than any model has" in str(error)
    assert error.offset == 16


@pytest.mark.parametrize("count", [262_145, 2**63])
def test_absurd_counts_of_tensors(tmp_path: Path, count: int) -> None:
    """Likewise the number of tensors."""
    error = refusal(written(tmp_path, preamble(n_tensors=count)))
    assert "more than any model has" in str(error)
    assert error.offset == 8


def test_counts_that_the_file_does_not_keep(tmp_path: Path) -> None:
    """A believable count of keys or tensors that are not there ends the header."""
    for content in (preamble(n_keys=3), preamble(n_tensors=3)):
        error = refusal(written(tmp_path, content))
        assert "the file ends inside the header" in str(error)
        assert error.offset == 24


@pytest.mark.parametrize("length", [0, 65_536, 2**60])
def test_keys_of_impossible_length(tmp_path: Path, length: int) -> None:
    """A key has 1 to 65,535 bytes."""
    content = preamble(n_keys=1) + struct.pack("<Q", length) + bytes(100_000)
    assert "a key of" in str(refusal(written(tmp_path, content)))


def test_a_key_that_is_not_utf8(tmp_path: Path) -> None:
    """Keys are text."""
    content = preamble(n_keys=1) + key_line(b"\xff\xfe", 4, bytes(4))
    error = refusal(written(tmp_path, content))
    assert "a key is not UTF-8" in str(error)
    assert error.offset == 24


def test_a_key_twice(tmp_path: Path) -> None:
    """Which of two values holds cannot be known."""
    path = tmp_path / "m.gguf"
    write_file(path, [uint32("a", 1), uint32("a", 2)], ())
    assert "the key 'a' is there twice" in str(refusal(path))


def test_a_long_key_is_shown_cut(tmp_path: Path) -> None:
    """An error stays one line of bearable length."""
    path = tmp_path / "m.gguf"
    write_file(path, [uint32("k" * 5000, 1), uint32("k" * 5000, 2)], ())
    assert len(str(refusal(path)).removeprefix(str(path))) < 200


@pytest.mark.parametrize("number", [13, 255, 2**32 - 1])
def test_values_of_unknown_type(tmp_path: Path, number: int) -> None:
    """A value type that GGUF does not have is refused by number."""
    content = preamble(n_keys=1) + key_line(b"k", number, bytes(64))
    assert f"of unknown type {number}" in str(refusal(written(tmp_path, content)))


def test_arrays_of_arrays(tmp_path: Path) -> None:
    """The specification has nested arrays and no engine reads them."""
    content = preamble(n_keys=1) + key_line(b"k", 9, struct.pack("<IQ", 9, 1))
    content += struct.pack("<IQ", 4, 0)
    assert "an array of arrays" in str(refusal(written(tmp_path, content)))


@pytest.mark.parametrize("element", [0, 4, 7, 8, 10, 12])
@pytest.mark.parametrize("count", [1 << 30, (1 << 64) - 1])
def test_arrays_longer_than_the_file(tmp_path: Path, element: int, count: int) -> None:
    """The length of an array is judged against the bytes that are left."""
    content = preamble(n_keys=1) + key_line(b"k", 9, struct.pack("<IQ", element, count))
    error = refusal(written(tmp_path, content + bytes(4096)))
    assert "the file ends inside the header, in the value of 'k'" in str(error)


@pytest.mark.parametrize("length", [5000, 2**63 - 1, 2**64 - 1])
def test_strings_that_lie_about_their_length(tmp_path: Path, length: int) -> None:
    """A string beyond the end is found out, alone or in an array of strings."""
    alone = key_line(b"k", 8, struct.pack("<Q", length))
    within = key_line(b"k", 9, struct.pack("<IQQQ", 8, 2, length, 1))
    for line in (alone, within):
        error = refusal(written(tmp_path, preamble(n_keys=1) + line + bytes(100)))
        assert "the file ends inside the header" in str(error)


def test_the_last_string_beyond_the_end(tmp_path: Path) -> None:
    """The last string of an array has no follower to betray it."""
    line = key_line(b"k", 9, struct.pack("<IQQ", 8, 1, 20))
    for n_bytes, whole in ((20, True), (19, False)):
        path = written(tmp_path, preamble(n_keys=1) + line + bytes(n_bytes))
        if whole:
            assert read_gguf(path).array_length("tokenizer.none", 0) == 0
        else:
            assert "ends inside the header" in str(refusal(path))


def test_a_header_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may be header is bounded, whatever the size of the file."""
    monkeypatch.setattr("placer.gguf.header.MAX_HEADER_BYTES", 8192)
    assert cursor.MAX_HEADER_BYTES > 64 << 20
    path = tmp_path / "m.gguf"
    write_file(path, [strings("k", ["x" * 100] * 100)], ())
    assert "the header is longer than" in str(refusal(path))


@pytest.mark.parametrize("alignment", [0, 3, 48, 2**32 - 1])
def test_alignments_that_are_not_powers_of_two(tmp_path: Path, alignment: int) -> None:
    """The alignment must be a power of two."""
    path = tmp_path / "m.gguf"
    write_file(path, [uint32("general.alignment", alignment)], ())
    assert "not a power of two" in str(refusal(path))


def test_an_alignment_that_is_no_number(tmp_path: Path) -> None:
    """The alignment must be a number."""
    path = tmp_path / "m.gguf"
    write_file(path, [text("general.alignment", "32")], ())
    assert "general.alignment is '32'" in str(refusal(path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (tensor_line(name=b"n" * 64), "a tensor's name of 64 bytes"),
        (tensor_line(name=b"\xff"), "name is not UTF-8"),
        (tensor_line(dims=(2,) * 5), "has 5 dimensions, it can have 4"),
        (tensor_line(dims=(2**32, 2**32)), "more than 2^63 elements"),
        (tensor_line(dims=(2**63,)), "more than 2^63 elements"),
        (tensor_line(dims=(0, 2**63)), "more than 2^63 elements"),
        (tensor_line(type_number=4), "unknown tensor type 4"),
        (tensor_line(type_number=9999), "unknown tensor type 9999"),
        (tensor_line(type_number=2**31), "unknown tensor type"),
        (tensor_line(type_number=8), "not made of whole Q8_0 blocks of 32"),
        (tensor_line(offset=32), "is said to be at 32, should be at 0"),
        (tensor_line(offset=2**64 - 1), "should be at 0 of the data section"),
        (tensor_line()[:-1], "the file ends inside the header"),
    ],
)
def test_lines_of_the_tensor_table(tmp_path: Path, line: bytes, message: str) -> None:
    """A line that ggml refuses is refused, at a byte within it."""
    error = refusal(written(tmp_path, preamble(n_tensors=1) + line))
    assert message in str(error)
    assert error.offset is not None
    assert 24 <= error.offset <= 24 + len(line)


def test_a_tensor_twice(tmp_path: Path) -> None:
    """Two tensors of one name cannot both be meant."""
    path = write_file(tmp_path / "m.gguf", [LLAMA], [NORM, NORM])
    assert "the tensor 'norm' is there twice" in str(refusal(path))


def test_an_incomplete_download(tmp_path: Path) -> None:
    """A file shorter than its tensors need says by how many bytes."""
    big = Weight(name="big", dims=(1024, 1024), type_name="F32")
    path = write_file(tmp_path / "m.gguf", [LLAMA], [NORM, big])
    whole = path.stat().st_size
    os.truncate(path, whole - 1_000_000)
    error = refusal(path)
    assert "truncated: 1000000 bytes short" in str(error)
    assert "the download is incomplete" in str(error)
    assert error.offset == whole - 1_000_000


def test_missing_padding_is_no_damage(tmp_path: Path) -> None:
    """The last tensor needs its own bytes and no padding after them."""
    three = Weight(name="three", dims=(3,), type_name="F32")
    path = write_file(tmp_path / "m.gguf", [LLAMA], [NORM, three])
    os.truncate(path, path.stat().st_size - 20)
    assert len(read_gguf(path).tensors) == 2
    os.truncate(path, path.stat().st_size - 1)
    assert "truncated: 1 bytes short" in str(refusal(path))


def test_a_cut_at_every_byte_of_a_header(tmp_path: Path) -> None:
    """However short a download stopped, it is refused with a byte that it has."""
    fields = [
        LLAMA,
        strings("t", ["a", "bc"]),
        Field(key="b", type_name="bool", value=1),
    ]
    header = header_bytes(fields, [NORM])
    for length in range(1, len(header)):
        error = refusal(written(tmp_path, header[:length]))
        assert error.offset is not None
        assert error.offset <= length
