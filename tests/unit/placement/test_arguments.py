from __future__ import annotations

from pathlib import Path

import pytest

from placer.errors import InputError
from placer.placement.arguments import (
    OPTIONS,
    flag_values,
    option_of,
    parse_arguments,
    read_tokens,
    unread_tokens,
)


def test_every_spelling_finds_its_flag() -> None:
    """Short, long, negative and underscored spellings are one flag."""
    for option in OPTIONS:
        for spelling in (*option.spellings, *option.off):
            assert option_of(spelling) is option
    assert option_of("--ctx_size") is option_of("-c")
    assert option_of("-ctx_size") is None


def test_no_spelling_belongs_to_two_flags() -> None:
    """The table of flags holds each spelling once."""
    spellings = [s for option in OPTIONS for s in (*option.spellings, *option.off)]
    assert len(spellings) == len(set(spellings))


def test_a_users_line_is_understood() -> None:
    """Flags come by name whatever their spelling; the other tokens are passed on."""
    arguments = parse_arguments(
        "--jinja -b 4096 --ubatch-size 1024 -ctk q8_0 -fa on --temp 0.7 "
        "--n-gpu-layers 99 --split-mode none --main-gpu 0 --no-mmap -nkvo --cpu-moe"
    )
    assert flag_values(arguments) == {
        "-b": "4096",
        "-ub": "1024",
        "-ctk": "q8_0",
        "-fa": "on",
        "-ngl": "99",
        "-sm": "none",
        "-mg": "0",
        "--mmap": "off",
        "-kvo": "off",
        "-cmoe": "on",
    }
    assert unread_tokens(arguments) == ("--jinja", "--temp", "0.7")


def test_the_last_of_a_repeated_flag_wins_but_overrides_add_up() -> None:
    """What llama-server does with a flag that is given twice."""
    arguments = parse_arguments("-c 1 -ot a=CPU -c 2 --override-tensor b=CUDA0,c=CPU")
    assert flag_values(arguments) == {"-c": "2", "-ot": "a=CPU,b=CUDA0,c=CPU"}


def test_the_text_of_the_arguments_is_the_text() -> None:
    """Blanks of every width stay with the argument that they precede."""
    text = "-b\t 4096   --jinja \t-ot  blk\\.[0-9]\\.=CUDA0"
    assert "".join(a.text for a in parse_arguments(f"  {text} ")) == text


def test_negative_values_are_values() -> None:
    """A value that begins with - is taken as one, unless it is a flag."""
    assert flag_values(parse_arguments("-ngl -1")) == {"-ngl": "-1"}


@pytest.mark.parametrize("text", ["-fa", "-fa --jinja", "-fa -b 5"])
def test_flash_attention_may_lack_a_value(text: str) -> None:
    """Older builds took -fa alone; what follows is not its value."""
    assert "-fa" not in flag_values(parse_arguments(text))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("-ts", "-ts has no value"),
        ("-ts -ot a=CPU", "-ts has no value"),
        ("--ctx-size=4096", "llama-server does not read --ctx-size="),
        ("-ngl=99", "llama-server does not read -ngl="),
    ],
)
def test_what_the_engine_would_refuse_is_refused(text: str, says: str) -> None:
    """The error names the file, the line and the flag."""
    with pytest.raises(InputError, match=says) as caught:
        parse_arguments(text, path=Path("m.conf"), line=7)
    assert str(caught.value).startswith("m.conf:7: ")


def test_whole_tokens_keep_their_blanks() -> None:
    """A path with a space is one value; kinds of drafting add up, as -ot does."""
    tokens = ["-md", "my models/draft.gguf", "--spec-type", "a", "--spec-type", "b"]
    values = flag_values(read_tokens(tokens))

    assert values == {"-md": "my models/draft.gguf", "--spec-type": "a,b"}
