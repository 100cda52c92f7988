from __future__ import annotations

import pytest

from placer.errors import InputError
from placer.profiles.extra_args import given_arguments, rewrite

PLACED = ("-ts", "33,15", "-ot", r"blk\.3\.ffn_(up|down)_exps=CPU")


def rewritten(
    text: str,
    placement: tuple[str, ...] | None = None,
    workload: tuple[str, ...] = (),
    elsewhere: frozenset[str] = frozenset(),
) -> str:
    """EXTRA_ARGS after these flags."""
    settings = {a.name: a for a in given_arguments(workload) if a.name is not None}
    placed = None if placement is None else given_arguments(placement)
    return rewrite(text, placed=placed, settings=settings, elsewhere=elsewhere)


def test_a_placement_replaces_the_whole_placement() -> None:
    """Every placement flag goes, in any spelling; every other token stays."""
    text = (
        "--jinja -ot a=CPU --tensor-split 3,1  -fa on --cpu-moe --n_cpu_moe 4 -ngl 99 "
        "-sm layer --main-gpu 1 -dev CUDA1,CUDA0 -fit off -fitt 512 --temp 0.7"
    )
    after = f"--jinja  -fa on -fitt 512 --temp 0.7 {' '.join(PLACED)}"
    assert rewritten(text, PLACED) == after


def test_overrides_stand_last() -> None:
    """-ot comes after every other flag, as users write it."""
    placement = ("-ot", "a=CPU", "-ts", "3,1")
    assert rewritten("--jinja", placement) == "--jinja -ts 3,1 -ot a=CPU"
    assert rewritten("-ot a=CPU", None, ("-b", "512")) == "-b 512 -ot a=CPU"


def test_overrides_keep_their_order() -> None:
    """The first match wins, so -ncmoe before -ot is not the same as after it."""
    placement = ("-ncmoe", "2", "-ot", "a=CPU", "-ts", "3,1")
    assert rewritten("", placement) == "-ts 3,1 -ncmoe 2 -ot a=CPU"


@pytest.mark.parametrize(
    "text",
    [
        "--tensor-split  33,15 --jinja -ot a=CPU,b=CUDA0",
        "-ot a=CPU -ts 33,15 --jinja -ot b=CUDA0",
        "-ts 1,1 -ot a=CPU,b=CUDA0 -ts 33,15",
    ],
)
def test_the_same_placement_in_other_words_stays(text: str) -> None:
    """A placement that already stands there is not rewritten."""
    assert rewritten(text, ("-ts", "33,15", "-ot", "a=CPU,b=CUDA0")) == text


def test_overrides_in_another_order_are_another_placement() -> None:
    """The first match wins, so an order that differs is written."""
    placement = ("-ot", "b=CUDA0,a=CPU")
    assert rewritten("-ot a=CPU,b=CUDA0", placement) == "-ot b=CUDA0,a=CPU"


def test_no_placement_removes_it() -> None:
    """An empty placement is a placement: the engine's own."""
    assert rewritten("-ts 3,1 --jinja -ot a=CPU", ()) == "--jinja"
    assert rewritten("-ts 3,1 -ot a=CPU", ()) == ""


def test_without_a_placement_it_stays() -> None:
    """Only what is asked for changes."""
    text = "-ts 3,1  --jinja -ot a=CPU"
    assert rewritten(text) == text


def test_a_setting_changes_where_it_stands() -> None:
    """The spelling and the blanks of the user stay; of two the last one counts."""
    text = "-b 1 --batch-size   4096 --jinja -ub 512"
    after = "-b 1 --batch-size   2048 --jinja -ub 512"
    assert rewritten(text, None, ("-b", "2048", "-ub", "512")) == after


def test_a_setting_that_is_absent_is_added() -> None:
    """A new flag comes after the others and before the overrides."""
    assert rewritten("", None, ("-b", "5", "-np", "1")) == "-b 5 -np 1"
    placement = ("-ts", "1,1", "-ot", "a=CPU")
    after = "--jinja -b 5 -ts 1,1 -ot a=CPU"
    assert rewritten("--jinja", placement, ("-b", "5")) == after


def test_switches_turn() -> None:
    """A flag without a value is replaced by its other spelling, and only if need be."""
    assert rewritten("--jinja -nkvo -b 5", None, ("-kvo",)) == "--jinja -kvo -b 5"
    assert rewritten("--no-op-offload", None, ("--no-op-offload",)) == "--no-op-offload"
    assert rewritten("-fa --jinja", None, ("-fa", "on")) == "-fa on --jinja"


def test_what_a_key_says_leaves() -> None:
    """A flag in EXTRA_ARGS would come later than its key and win."""
    after = rewritten("-c 8 --jinja -ngl 3", elsewhere=frozenset({"-c", "-ngl"}))
    assert after == "--jinja"


@pytest.mark.parametrize(
    "pattern",
    [
        "blk\\.[0-9]{1,3}\\.=CUDA0",
        "blk .=CPU",
        "a'b=CPU",
        'a"b=CPU',
        "$HOME=CPU",
        "`id`=CPU",
        "a=CPU\n",
        "a=CPU,",
        "=CPU",
        "a=",
        "a=b=CPU",
        "bl\u212a=CPU",
        "a=CPU,b",
        "",
    ],
)
def test_a_pattern_that_would_not_arrive_is_refused(pattern: str) -> None:
    """What the shell or the engine would cut or expand is never written."""
    with pytest.raises(InputError):
        given_arguments(["-ot", pattern])


@pytest.mark.parametrize("tokens", [("--jinja",), ("33,15",), ("-fa",), ("-ts",)])
def test_only_flags_that_placer_knows_are_written(tokens: tuple[str, ...]) -> None:
    """A token whose meaning is not known cannot be replaced by a later edit."""
    with pytest.raises(InputError):
        given_arguments(tokens)


def test_the_buffer_of_an_rpc_device_is_written() -> None:
    """Brackets and colons are part of a buffer's name."""
    value = "a=RPC0[127.0.0.1:50052],exps=CPU"
    assert given_arguments(["-ot", value])[0].value == value
