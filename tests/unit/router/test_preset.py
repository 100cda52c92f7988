from __future__ import annotations

import pytest

from placer.errors import InputError
from placer.router import Preset, options_of, preset_text


def options(text: str) -> dict[str, str]:
    """Of a command line in one text."""
    return options_of(text.split())


def test_a_preset_is_a_section_of_long_names() -> None:
    """A flag without a value is true, its opposite false."""
    found = options(
        "--model a.gguf -c 256 -np 1 -no-kvu -nkvo -fa on -ctk q8_0 --jinja"
    )
    text = preset_text([Preset(name="a", options=found, on_startup=True)], ["A line."])

    assert (
        text
        == """\
; A line.
version = 1

[a]
model = a.gguf
ctx-size = 256
parallel = 1
kv-unified = false
kv-offload = false
flash-attn = on
cache-type-k = q8_0
jinja = true
load-on-startup = true
"""
    )


def test_what_adds_up_on_a_command_line_stands_in_one_value() -> None:
    """In its order: the first pattern that matches wins."""
    found = options(r"-ot blk\.1\.=CUDA0 -cmoe -ot x=CPU,y=CPU -ncmoe 2")
    experts = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps=CPU"

    assert found == {
        "override-tensor": rf"blk\.1\.=CUDA0,{experts},x=CPU,y=CPU,"
        rf"blk\.0{experts},blk\.1{experts}"
    }


def test_drafting_of_several_kinds_stands_in_one_value() -> None:
    """As the engine takes them."""
    found = options("--spec-type ngram-mod --spec-type draft-mtp")

    assert found == {"spec-type": "ngram-mod,draft-mtp"}


def test_of_any_other_flag_the_last_one_counts() -> None:
    """As on a command line."""
    assert options("-c 256 --ctx-size 512") == {"ctx-size": "512"}


def test_a_number_below_zero_is_no_flag() -> None:
    """It belongs to the flag before it; underscores are dashes."""
    assert options("--seed -1 --top_p 0.9 --no-warmup") == {
        "seed": "-1",
        "top-p": "0.9",
        "no-warmup": "true",
    }


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("--chat-template a#b", "cannot be said"),
        ("--chat-template a;b", "cannot be said"),
        ("--control-vector-layer-range 1 2", "2 values"),
        ("--lora a --lora b", "stands twice"),
        ("-otd a=CPU -otd b=CPU", "stands twice"),
        ("loose", "no flag"),
    ],
)
def test_what_a_preset_cannot_say_is_an_input_error(text: str, match: str) -> None:
    """Better than a router that says something else, or does not start."""
    with pytest.raises(InputError, match=match):
        options(text)


def test_a_path_with_blanks_is_one_value() -> None:
    """At its ends they would be lost."""
    assert options_of(["--model", "my models/a.gguf"]) == {"model": "my models/a.gguf"}
    with pytest.raises(InputError, match="blank"):
        options_of(["--model", "a.gguf "])
