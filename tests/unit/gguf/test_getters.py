"""The typed getters of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from placer.errors import InputError
from placer.gguf import GGUFFile, read_gguf
from placer.testing.models_file import (
    Array,
    Field,
    float32,
    strings,
    text,
    uint32,
    write_file,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> GGUFFile:
    """A file with a value of each kind."""
    return read_gguf(
        write_file(
            tmp_path / "m.gguf",
            [
                text("general.architecture", "llama"),
                uint32("llama.block_count", 3),
                uint32("llama.zero", 0),
                float32("llama.scale", 0.5),
                Field(key="llama.causal", type_name="bool", value=False),
                Field(
                    key="llama.heads",
                    type_name="array",
                    value=Array(element_type="int32", values=(8, 0, 4)),
                ),
                Field(
                    key="llama.swa",
                    type_name="array",
                    value=Array(element_type="bool", values=(True, False, True)),
                ),
                Field(
                    key="llama.floats",
                    type_name="array",
                    value=Array(element_type="float32", values=(1.0, 2.0, 3.0)),
                ),
                strings("tokenizer.ggml.tokens", ["a", "b"]),
            ],
            (),
        )
    )


def test_keys_are_under_the_architecture(file: GGUFFile) -> None:
    """A key without one of the global prefixes is the architecture's."""
    assert file.full_key("block_count") == "llama.block_count"
    assert file.full_key("tokenizer.ggml.tokens") == "tokenizer.ggml.tokens"


def test_values_come_back_by_type(file: GGUFFile) -> None:
    """Each getter returns its own type; a whole number serves as a number."""
    assert file.integer("block_count") == 3
    assert file.number("scale") == 0.5
    assert file.number("block_count") == 3.0
    assert file.flag("causal") is False
    assert file.text("general.architecture") == "llama"


def test_zero_and_false_are_values(file: GGUFFile) -> None:
    """A default stands in for what is absent, never for 0 or False."""
    assert file.integer("zero", 5) == 0
    assert file.flag("causal", default=True) is False


def test_defaults_stand_in_for_what_is_absent(file: GGUFFile) -> None:
    """Every getter returns the default, ``None`` included, where the key is absent."""
    assert file.integer("nope", None) is None
    assert file.number("nope", 1.5) == 1.5
    assert file.text("nope", None) is None
    assert file.flag("nope", default=None) is None
    assert file.integers("nope", 3, (1, 1, 1)) == (1, 1, 1)
    assert file.array_length("nope", None) is None


def test_a_number_stands_for_every_layer(file: GGUFFile) -> None:
    """A scalar and an array of the right length both give one value a layer."""
    assert file.integers("block_count", 4) == (3, 3, 3, 3)
    assert file.integers("heads", 3) == (8, 0, 4)
    assert file.integers("swa", 3) == (1, 0, 1)


def test_array_lengths(file: GGUFFile) -> None:
    """The length is known of kept arrays and of skipped ones."""
    assert file.array_length("tokenizer.ggml.tokens") == 2
    assert file.array_length("heads") == 3


@pytest.mark.parametrize(
    ("getter", "key", "message"),
    [
        ("integer", "scale", "'llama.scale' should be a whole number, is 0.5"),
        ("integer", "causal", "'llama.causal' should be a whole number, is False"),
        ("integer", "nope", "has no key 'llama.nope'"),
        ("number", "general.architecture", "should be a number, is 'llama'"),
        ("number", "causal", "should be a number, is False"),
        ("text", "block_count", "should be a string, is 3"),
        ("flag", "block_count", "should be true or false, is 3"),
        ("array_length", "block_count", "should be an array, is 3"),
        ("integer", "tokenizer.ggml.tokens", "whole number, is an array of 2"),
        ("integer", "heads", "should be a whole number, is an array of 3"),
    ],
)
def test_wrong_types_name_file_and_key(
    file: GGUFFile, getter: str, key: str, message: str
) -> None:
    """A value of another type is an InputError that names file, key and value."""
    with pytest.raises(InputError) as caught:
        getattr(file, getter)(key)
    assert message in str(caught.value)
    assert caught.value.path == file.path


@pytest.mark.parametrize("key", ["heads", "floats", "scale", "tokenizer.ggml.tokens"])
def test_arrays_of_another_length_or_type_are_refused(file: GGUFFile, key: str) -> None:
    """A value that cannot be one whole number for each layer is an InputError."""
    with pytest.raises(InputError, match="should be a whole number or 2 of them"):
        file.integers(key, 2)


def test_arrays_of_fractions_are_refused(file: GGUFFile) -> None:
    """The right length does not make floats whole numbers."""
    with pytest.raises(InputError, match="whole number or 3 of them"):
        file.integers("floats", 3)
