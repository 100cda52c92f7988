"""Settings, and what they make of a launch."""

from __future__ import annotations

import pytest

from placer.errors import InputError
from placer.placement import Workload
from placer.tune.knobs import (
    changes_of,
    costs_quality,
    extra_under,
    parse_vary,
    settings_of,
    words_of,
    workload_under,
)

WORK = Workload(ctx=4096, batch=2048, ubatch=512, parallel=1, kv_unified=False)
EXTRA = ("--jinja", "-t", "8", "--mlock")


@pytest.mark.parametrize("name", ["ub", "-ub", "ubatch-size", "--ubatch-size"])
def test_a_knob_has_the_names_of_its_flag(name: str) -> None:
    """Whichever of llama-server's spellings a person knows."""
    assert parse_vary([f"{name}=512, 1024,512"]) == {"ub": ("512", "1024")}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ub", "names no values"),
        ("ub=", "names no values"),
        ("ub=many", "no number"),
        ("ub=0", "no number"),
        ("ctk=q9_9", "use some of f32"),
        ("c=1024", "nothing to vary"),
        ("fa=maybe", "use some of on, off, auto"),
    ],
)
def test_what_cannot_be_varied_is_said(text: str, why: str) -> None:
    """Before anything is launched."""
    with pytest.raises(InputError, match=why):
        parse_vary([text])


def test_a_knob_is_named_once() -> None:
    """The second list would quietly replace the first."""
    with pytest.raises(InputError, match="twice"):
        parse_vary(["ub=512", "-ub=1024"])


def test_settings_are_those_of_the_flags() -> None:
    """Threads of prompts are those of tokens, unless they are said apart."""
    found = settings_of(WORK, EXTRA)
    assert found["ub"] == "512"
    assert found["op-offload"] == "on"
    assert (found["t"], found["tb"]) == ("8", "8")
    assert settings_of(WORK, ()) == found | {"t": "auto", "tb": "auto"}


def test_settings_change_the_workload_and_nothing_else() -> None:
    """Each in its own type; those that are as before change nothing."""
    start = settings_of(WORK, EXTRA)
    assert workload_under(WORK, start) == WORK
    changed = {**start, "ub": "1024", "op-offload": "off", "ctk": "q8_0"}
    work = workload_under(WORK, changed)
    assert (work.ubatch, work.op_offload, work.type_k) == (1024, False, "q8_0")
    assert (work.ctx, work.type_v) == (4096, "f16")


def test_threads_replace_the_flags_that_say_them() -> None:
    """All other flags stay, in their order."""
    start = settings_of(WORK, EXTRA)
    assert extra_under(EXTRA, start, start) == EXTRA
    found = extra_under(EXTRA, {**start, "t": "4", "tb": "auto"}, start)
    assert found == ("--jinja", "--mlock", "-t", "4", "-tb", "-1")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("f16", "q8_0", False),
        ("f16", "q5_1", True),
        ("f16", "q4_0", True),
        ("q4_0", "q4_0", False),
        ("q4_0", "q8_0", False),
        ("q5_0", "q4_0", True),
        ("q8_0", "iq4_nl", True),
    ],
)
def test_less_than_8_bits_and_less_than_before_costs_quality(
    before: str, after: str, *, expected: bool
) -> None:
    """What the profile has already was somebody's choice."""
    start = {**settings_of(WORK, ()), "ctk": before, "ctv": before}
    assert costs_quality({**start, "ctv": after}, start) is expected
    assert costs_quality({**start, "ctk": after}, start) is expected


def test_changes_are_said_as_flags() -> None:
    """Nothing is said of what is as before."""
    start = {**settings_of(WORK, ()), "placement": "own"}
    assert words_of(changes_of(start, start)) == "as it stands"
    planned = {**start, "placement": "plan"}
    assert words_of(changes_of(planned, start)) == "as planned"
    assert words_of(changes_of({**planned, "ub": "64"}, start)) == "ub=64"
