"""What can be varied: spellings, bases, and what a cell is to the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from placer.app.sweep_factors import Varied, parse_varied, sampling_of, tokens_of
from placer.app.sweep_measures import parse_measures, usual_repeats
from placer.app.sweep_question import SweepOptions, varied_of
from placer.app.target import Asked, Folders, Target, resolve
from placer.errors import InputError
from placer.experiment.named import EXPERIMENTS
from placer.placement.arguments import option_of
from placer.testing.models import write_llama

if TYPE_CHECKING:
    from pathlib import Path

CONF = """\
[plain]
MODEL=tiny.gguf
CTX_SIZE=512
EXTRA_ARGS=-np 1

[said]
MODEL=tiny.gguf
CTX_SIZE=512
N_GPU_LAYERS=4
EXTRA_ARGS=-np 1 -ctk q8_0 -ctv q8_0 -ub 128 -t 3 --temp 0.60 --reasoning-budget 0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two profiles of one model."""
    folder = tmp_path_factory.mktemp("factors")
    write_llama(folder / "tiny.gguf")
    (folder / "models.conf").write_text(CONF)
    return folder


@pytest.fixture(scope="module")
def plain(folder: Path) -> Target:
    """A profile that leaves all to the engine."""
    return resolve("plain", _folders(folder), Asked())


@pytest.fixture(scope="module")
def said(folder: Path) -> Target:
    """A profile that says things."""
    return resolve("said", _folders(folder), Asked())


def _folders(folder: Path) -> Folders:
    return Folders(conf=folder / "models.conf", models=folder)


def one(vary: str, target: Target, *base: str) -> Varied:
    """A single factor."""
    (found,) = parse_varied((vary,), base, target)
    return found


@pytest.mark.parametrize(
    ("vary", "values", "base"),
    [
        ("temp=0.6,0.8,1.0", ("0.6", "0.8", "1.0"), "0.6"),
        ("temp=0.2,0.4", ("0.60", "0.2", "0.4"), "0.60"),
        ("top-p=0.9,0.95", ("0.9", "0.95"), "0.95"),
        ("top_k=20,40", ("20", "40"), "40"),
        ("seed=1,2", ("1", "2"), "1"),
        ("ctk=f16,q4_0", ("q8_0", "f16", "q4_0"), "q8_0"),
        ("kv=f16,q8_0", ("f16", "q8_0"), "q8_0"),
        ("-ub=128,256", ("128", "256"), "128"),
        ("--threads=3,5", ("3", "5"), "3"),
        ("op-offload=off,on", ("off", "on"), "on"),
        ("ngl=2,4", ("2", "4"), "4"),
        ("reasoning-budget=0,-1", ("0", "-1"), "0"),
        ("foo=1,2,2", ("1", "2"), "1"),
    ],
)
def test_the_base_is_what_is_done_anyhow(
    said: Target, vary: str, values: tuple[str, ...], base: str
) -> None:
    """What the profile says, else what the engine does, else the first; never twice."""
    factor = one(vary, said).factor
    assert (factor.values, factor.base) == (values, base)


def test_another_base_can_be_named(said: Target) -> None:
    """Then the profile's own value is not among them, if nobody asked for it."""
    factor = one("ctk=f16,q4_0", said, "ctk=f16").factor
    assert (factor.values, factor.base) == (("f16", "q4_0"), "f16")
    factor = one("ctk=q4_0", said, "-ctk=f16").factor
    assert (factor.values, factor.base) == (("f16", "q4_0"), "f16")


@pytest.mark.parametrize(
    ("vary", "value", "tokens"),
    [
        ("ctk=f16,q4_0", "q4_0", ("-ctk", "q4_0")),
        ("ctk=f16,q4_0", "q8_0", ()),
        ("kv=f16,q8_0", "f16", ("-ctk", "f16", "-ctv", "f16")),
        ("t=3,auto", "auto", ("-t", "-1")),
        ("op-offload=on,off", "off", ("--no-op-offload",)),
        ("op-offload=on,off", "on", ()),
        ("swa-full=on,off", "on", ("--swa-full",)),
        ("ub=256,4096", "256", ("-ub", "256")),
        ("ub=256,4096", "4096", ("-b", "4096", "-ub", "4096")),
        ("ts=3,1;2,2", "2,2", ("-ts", "2,2")),
        ("cont-batching=on,off", "off", ("--no-cont-batching",)),
        ("cont-batching=on,off", "on", ()),
        ("rope-scale=1,2", "2", ("--rope-scale", "2")),
    ],
)
def test_a_value_is_flags(
    said: Target, vary: str, value: str, tokens: tuple[str, ...]
) -> None:
    """As the engine spells them, and none for what it does anyhow."""
    varied = one(vary, said)
    assert varied.factor.restarts
    if varied.own is None:
        tokens = tokens or varied.tokens(value)
    assert tokens_of((varied,), {varied.name: value}) == tokens


def test_sampling_is_said_by_requests(plain: Target) -> None:
    """No flag, no new start; whole numbers stay whole."""
    varied = parse_varied(("temp=0.6,1.0", "top-k=20,40", "kv=f16,q8_0"), (), plain)
    assert [one.factor.restarts for one in varied] == [False, False, True]
    cell = {"temp": "0.6", "top-k": "20", "kv": "q8_0"}
    assert sampling_of(varied, cell) == {"temperature": 0.6, "top_k": 20}
    assert tokens_of(varied, cell) == ("-ctk", "q8_0", "-ctv", "q8_0")


@pytest.mark.parametrize(
    ("vary", "base", "said_of_it"),
    [
        ((), (), "nothing is varied"),
        (("temp",), (), "names no values"),
        (("temp=",), (), "names no values"),
        (("=1",), (), "names no values"),
        (("temp=warm,cold",), (), "temp=warm is no number"),
        (("top-k=1.5,2",), (), "top-k=1.5 is no number"),
        (("ctk=q9,f16",), (), "ctk=q9 is no setting"),
        (("kv=q9,f16",), (), "ctk=q9 is no setting"),
        (("ub=0,1",), (), "ub=0 is no number"),
        (("op-offload=yes,no",), (), "op-offload=yes is no setting"),
        (("swa-full=1,2",), (), "swa-full=1 is no setting"),
        (("temp=0.5,0.7", "--temperature=1,2"), (), "temp is given twice"),
        (("kv=f16,q8_0", "ctk=f16,q8_0"), (), "ctk and ctv together"),
        (("temp=0.8",), (), "temp is 0.8 anyhow"),
        (("temp=0.5,0.7",), ("top-p=0.5",), "is no base"),
        (("temp=0.5,0.7",), ("temp=0.5,0.7",), "is no base"),
        (("port=1,2",), (), "'port' is nothing to vary"),
        (("model=a,b",), (), "'model' is nothing to vary"),
        (("rpc=a,b",), (), "'rpc' is nothing to vary"),
        (("api-key=a,b",), (), "'api-key' is nothing to vary"),
    ],
)
def test_what_cannot_be_varied_is_said(
    plain: Target, vary: tuple[str, ...], base: tuple[str, ...], said_of_it: str
) -> None:
    """In one line that says what to do, before anything is started."""
    with pytest.raises(InputError, match=said_of_it) as caught:
        parse_varied(vary, base, plain)
    assert caught.value.hint


def test_a_grid_without_end_is_a_mistake(plain: Target) -> None:
    """Unless cells of it are to be proposed."""
    many = ",".join(str(n) for n in range(1, 40))
    vary = (f"top-k={many}", f"seed={many}")
    with pytest.raises(InputError, match="1,560 cells"):
        varied_of(plain, SweepOptions(vary=vary))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_can_be_asked(plain: Target, name: str) -> None:
    """It varies what the engine knows, by measures that there are."""
    experiment = EXPERIMENTS[name]
    varied = varied_of(plain, SweepOptions(experiment=name))
    for one_of in varied:
        flags = [
            token
            for value in one_of.factor.values
            for token in one_of.tokens(value)
            if token.startswith("-") and not token.lstrip("-").isdecimal()
        ]
        assert all(option_of(flag) for flag in flags)
        assert one_of.sampler is not None or flags or name == "threads"
    assert usual_repeats(parse_measures(experiment.measures)) >= 1
    assert experiment.question.endswith("?")


def test_an_experiment_takes_other_values(plain: Target) -> None:
    """--vary takes the place of its own, and of its base."""
    options = SweepOptions(experiment="kv-types", vary=("ctk=f16,q8_0",))
    assert [one.name for one in varied_of(plain, options)] == ["ctk"]
    options = SweepOptions(experiment="kv-types", base=("kv=q8_0",))
    assert varied_of(plain, options)[0].factor.base == "q8_0"
    with pytest.raises(InputError, match="--list shows"):
        varied_of(plain, SweepOptions(experiment="nothing"))


def test_measures_say_how_often_they_are_taken() -> None:
    """Clocks five times, bytes twice, problems once."""
    assert usual_repeats(parse_measures("pass@1,truncated,kl,ppl")) == 1
    assert usual_repeats(parse_measures("pass@1,vram")) == 2
    assert usual_repeats(parse_measures("vram, ttft")) == 5
    assert parse_measures("pass@10")[0].k == 10
    assert parse_measures("ppl?")[0].is_optional
    for wrong in ("", "pass@0", "pass@", "speed", "tokens/s,,vrm"):
        with pytest.raises(InputError):
            parse_measures(wrong)
