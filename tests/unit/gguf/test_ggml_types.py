"""Block sizes by type name."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from placer.errors import InputError, MachineError
from placer.gguf import ggml_types, row_bytes, type_names, type_size

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("F32", (1, 4)),
        ("F16", (1, 2)),
        ("BF16", (1, 2)),
        ("Q8_0", (32, 34)),
        ("Q4_0", (32, 18)),
        ("Q4_K", (256, 144)),
        ("Q5_K", (256, 176)),
        ("Q6_K", (256, 210)),
        ("IQ4_NL", (32, 18)),
        ("MXFP4", (32, 17)),
    ],
)
def test_block_sizes(name: str, size: tuple[int, int]) -> None:
    """Elements and bytes of a block are those of ggml-common.h."""
    assert type_size(name) == size


def test_numbers_are_those_of_the_file_format() -> None:
    """A tensor table's number stands for the type that ggml.h gives it."""
    numbers = type_names()
    assert (numbers[0], numbers[8], numbers[12], numbers[39]) == (
        "F32",
        "Q8_0",
        "Q4_K",
        "MXFP4",
    )


def test_rows_are_whole_blocks() -> None:
    """A row takes its blocks; one that is not made of whole blocks is refused."""
    assert row_bytes("Q8_0", 64) == 68
    assert row_bytes("Q8_0", 0) == 0
    with pytest.raises(InputError, match="not made of whole Q4_K blocks of 256"):
        row_bytes("Q4_K", 32)


def test_unknown_names_list_the_known() -> None:
    """A misspelt type is answered with those that there are."""
    with pytest.raises(InputError, match=r"unknown tensor type 'q8_0'.*Q8_0"):
        type_size("q8_0")


def test_neither_numpy_nor_gguf_is_imported() -> None:
    """The table is read without the 0.2 s that importing the package costs."""
    script = (
        "import sys; from placer.gguf import type_size; type_size('Q8_0');"
        "sys.exit(any(name in sys.modules for name in ('numpy', 'gguf')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.fixture
def fresh_tables() -> Iterator[None]:
    """The cached tables are forgotten before and after."""
    caches = (ggml_types._constants, ggml_types._sizes, ggml_types.type_names)
    for one in caches:
        one.cache_clear()
    yield
    for one in caches:
        one.cache_clear()


@pytest.mark.usefixtures("fresh_tables")
def test_an_absent_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the gguf package the error says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MachineError, match="pip install gguf"):
        type_size("Q8_0")
