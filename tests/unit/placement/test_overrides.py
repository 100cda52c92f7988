"""``-ot`` as users write it, and as placer does."""

from __future__ import annotations

import re

import pytest

from placer.errors import InputError
from placer.placement import (
    Override,
    TensorException,
    buffer_of_tensors,
    minimal_overrides,
    parse_overrides,
)
from placer.testing.fake_shapes import FakeLayer, fake_shape

# GLM-4.7-Flash: one dense layer, then 46 of experts.
GLM = fake_shape([FakeLayer(), *[FakeLayer(expert_kib=300)] * 46])
NAMES = GLM.tensor_names
# Written by hand in profiles that are in use; the layers that they mean.
BY_HAND = {
    r"blk\.([0-9]|[12][0-9]|3[0-4])\.": range(35),
    r"blk\.(3[5-9]|4[0-6])\.": range(35, 47),
    r"blk\.([0-9]|1[0-2])\.": range(13),
    r"blk\.(1[3-7])\.": range(13, 18),
    r"blk\.(10)\.": [10],
    r"blk\.1[9]\.": [19],
    r"blk\.(2[0-1])\.": [20, 21],
    r"blk\.(1[01])\.": [10, 11],
    r"blk\.([0-9]|10|1[1-2])\.": range(13),
    r"blk\.([[:digit:]])\.": range(10),
    r"blk\.\d\.": range(10),
    r"blk\.(?:[0-4])\.": range(5),
    r"^blk\.4[0-6]\..*": range(40, 47),
    r"blk\.(4[0-6]|3[5-9])\.ffn": range(35, 47),
}


@pytest.mark.parametrize(("pattern", "layers"), BY_HAND.items())
def test_every_spelling_is_understood(pattern: str, layers: range) -> None:
    """The layers that a pattern matches are those that its writer meant."""
    moved = buffer_of_tensors([Override(pattern=pattern, buffer="X")], NAMES)
    found = {int(name.split(".")[1]) for name in moved}
    has_experts = "ffn" not in pattern
    assert found == {n for n in layers if has_experts or n > 0}


def test_a_missing_dot_matches_more_than_meant() -> None:
    """``blk.1`` without an end is also blk.10 to blk.19, as in the engine."""
    moved = buffer_of_tensors([Override(pattern="blk.1", buffer="X")], NAMES)
    layers = {int(name.split(".")[1]) for name in moved}
    assert layers == {1, *range(10, 20)}


def test_the_first_match_wins() -> None:
    """Later overrides get what earlier ones left."""
    text = r"blk\.([0-9]|1[0-2])\.=CUDA0,blk\.(1[3-7])\.=CUDA1,exps=CPU"
    overrides = parse_overrides(text)
    moved = buffer_of_tensors(overrides, NAMES)
    assert moved["blk.12.ffn_up_exps.weight"] == "CUDA0"
    assert moved["blk.13.ffn_up_exps.weight"] == "CUDA1"
    assert moved["blk.18.ffn_up_exps.weight"] == "CPU"
    assert "blk.18.attn_q.weight" not in moved
    assert ",".join(map(str, overrides)) == text


def test_a_value_is_split_as_the_engine_splits_it() -> None:
    """At commas, then at the first equals sign."""
    assert parse_overrides("a=CPU,b.*=CUDA0") == (
        Override(pattern="a", buffer="CPU"),
        Override(pattern="b.*", buffer="CUDA0"),
    )
    assert parse_overrides("a=RPC0[127.0.0.1:50052]")[0].buffer == (
        "RPC0[127.0.0.1:50052]"
    )


@pytest.mark.parametrize("text", ["", "exps", "a=CPU,", "a=", "blk{1,2}=CPU"])
def test_a_part_without_a_buffer_is_refused(text: str) -> None:
    """A comma inside a pattern is such a part; the error quotes it."""
    with pytest.raises(InputError, match="does not say where to"):
        parse_overrides(text)


@pytest.mark.parametrize("pattern", ["(", "[", "*a", "a{99999999999}", "(?P<x"])
def test_a_broken_pattern_is_an_input_error(pattern: str) -> None:
    """The error names the pattern."""
    with pytest.raises(InputError, match="no regular expression") as error:
        _ = Override(pattern=pattern, buffer="CPU").regex
    assert repr(pattern) in str(error.value)


def written(*tensors: str, buffer: str = "CPU") -> list[str]:
    """The overrides that move exactly these tensors."""
    exceptions = [TensorException(tensor=name, buffer=buffer) for name in tensors]
    return [str(override) for override in minimal_overrides(exceptions, NAMES)]


def layers_of(*numbers: int) -> list[str]:
    """The experts of these layers."""
    wanted = re.compile(rf"blk\.({'|'.join(map(str, numbers))})\.ffn_.*_exps")
    return [name for name in NAMES if wanted.search(name)]


def test_all_experts_are_one_word() -> None:
    """The shortest there is."""
    assert written(*[n for n in NAMES if "exps" in n]) == ["exps=CPU"]


def test_experts_of_some_layers_are_one_pattern() -> None:
    """Not one flag a layer."""
    assert written(*layers_of(*range(13, 47))) == [
        r"blk\.(1[3-9]|[23][0-9]|4[0-6])\..*exps=CPU"
    ]


def test_whole_layers_are_one_pattern() -> None:
    """Whatever stands in them."""
    names = [n for n in NAMES if n.startswith(("blk.3.", "blk.4."))]
    assert written(*names, buffer="CUDA1") == [r"blk\.[34]\.=CUDA1"]


def test_single_tensors_are_named() -> None:
    """A dot is a dot, and nothing else matches."""
    assert written("blk.3.attn_q.weight", "blk.5.attn_q.weight") == [
        r"blk\.[35]\.attn_q=CPU"
    ]
    assert written("token_embd.weight", buffer="CUDA0") == [
        r"^token_embd\.weight=CUDA0"
    ]
    assert written("output.weight") == [r"^output\.weight=CPU"]


def test_single_matrices_of_the_experts_are_an_alternation() -> None:
    """What they have in common is written once."""
    one, two = "blk.3.ffn_down_exps.weight", "blk.3.ffn_up_exps.weight"
    assert written(one) == [r"blk\.3\.ffn_down_exps=CPU"]
    assert written(one, two) == [r"blk\.3\.ffn_(down|up)_exps=CPU"]


def test_a_stem_that_matches_more_is_written_in_full() -> None:
    """A bias of the same name stays where it is."""
    names = ["blk.3.ffn_up_exps.weight", "blk.3.ffn_up_exps.bias"]
    exceptions = [TensorException(tensor=names[0], buffer="CPU")]
    found = minimal_overrides(exceptions, names)
    assert [str(override) for override in found] == [r"blk\.3\.ffn_up_exps\.weight=CPU"]


@pytest.mark.parametrize("moved", [{"up"}, {"gate", "down"}, {"up", "gate", "down"}])
def test_what_is_written_matches_exactly_what_was_moved(moved: set[str]) -> None:
    """However short the pattern is."""
    stems = tuple(f".ffn_{name}_exps.weight" for name in moved)
    wanted = {n for n in layers_of(3, 5, 12, 46) if n.endswith(stems)}
    exceptions = [TensorException(tensor=name, buffer="CUDA1") for name in wanted]
    found = buffer_of_tensors(minimal_overrides(exceptions, NAMES), NAMES)
    assert set(found) == wanted


def test_nothing_is_no_override() -> None:
    """A placement without exceptions has no -ot."""
    assert written() == []
