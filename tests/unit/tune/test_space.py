"""What is worth trying around where it starts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from placer.errors import InputError
from placer.gguf import read_gguf
from placer.machine.spec import machine_of_spec
from placer.model import model_shape
from placer.placement import Placement, TensorException, Workload
from placer.tune.knobs import settings_of
from placer.tune.space import Space, Start, key_of

if TYPE_CHECKING:
    from pathlib import Path

WORK = Workload(ctx=4096, batch=2048, ubatch=512, parallel=1, kv_unified=False)
CUDA = "CUDA0:24564:23671,CUDA1:16303:12761"


@pytest.fixture
def start(moe_path: Path) -> Start:
    """All of a small model on two cards."""
    shape = model_shape(read_gguf(moe_path))
    n_first = shape.n_slots // 2
    return Start(
        settings={**settings_of(WORK, ()), "placement": "plan"},
        ctx=WORK.ctx,
        shape=shape,
        machine=machine_of_spec(CUDA),
        placement=Placement(split=(n_first, shape.n_slots - n_first)),
        cores=(8, 16),
    )


def with_cpu(start: Start) -> Start:
    """The same with an expert on the CPU."""
    exception = TensorException(tensor="blk.0.ffn_up_exps.weight", buffer="CPU")
    assert start.placement is not None
    moved = replace(start.placement, exceptions=frozenset({exception}))
    return replace(start, placement=moved)


def test_batches_are_multiples_of_the_starts(start: Start) -> None:
    """No more than there is context to read."""
    space = start.space({}, only=False)
    assert set(space.values["ub"]) == {"128", "256", "512", "1024", "2048"}
    assert set(space.values["b"]) == {"2048", "4096"}
    narrow = replace(start, ctx=1024).space({}, only=False)
    assert set(narrow.values["ub"]) == {"128", "256", "512", "1024"}
    assert "b" not in narrow.values


def test_nothing_that_costs_quality_is_usual(start: Start) -> None:
    """Nor where somebody started with it."""
    assert start.space({}, only=False).values["ctk"] == ("f16", "q8_0")
    low = replace(start, settings={**start.settings, "ctk": "q4_0", "ctv": "q4_0"})
    assert low.space({}, only=False).values["ctk"] == ("q4_0", "f16", "q8_0")


def test_threads_count_where_the_cpu_computes(start: Start) -> None:
    """And so does where its weights are computed with."""
    on_gpus = start.space({}, only=False).values
    assert not {"t", "tb", "op-offload"} & on_gpus.keys()
    values = with_cpu(start).space({}, only=False).values
    assert values["t"] == values["tb"] == ("auto", "4", "16")
    assert values["op-offload"] == ("on", "off")


def test_other_splits_need_cards_that_know_them(start: Start) -> None:
    """And a model that lies on two of them, all of it."""
    assert start.space({}, only=False).values["sm"] == ("layer", "row", "tensor")
    assert "sm" not in with_cpu(start).space({}, only=False).values
    vulkan = replace(start, machine=machine_of_spec("Vulkan0:9000,Vulkan1:9000"))
    assert "sm" not in vulkan.space({}, only=False).values
    with pytest.raises(InputError, match="no build of Vulkan splits by rows"):
        vulkan.space({"sm": ("row",)}, only=False)
    olmoe = replace(start, shape=replace(start.shape, architecture="olmoe"))
    assert olmoe.space({}, only=False).values["sm"] == ("layer", "row")
    with pytest.raises(InputError, match="not implemented for olmoe"):
        olmoe.space({"sm": ("tensor",)}, only=False)


def test_what_the_user_names_replaces_the_usual(start: Start) -> None:
    """The start's own value is always among it; --only leaves nothing else."""
    space = start.space({"ub": ("1024",), "np": ("2", "4")}, only=False)
    assert space.values["ub"] == ("512", "1024")
    assert space.values["np"] == ("1", "2", "4")
    assert "ctk" in space.values
    assert set(start.space({"ub": ("1024",)}, only=True).values) == {"ub"}


def test_quantised_caches_need_heads_of_whole_blocks(start: Start) -> None:
    """A head of 80 is no multiple of 32."""
    layers = tuple(replace(layer, head_dim_k=80) for layer in start.shape.layers)
    odd = replace(start, shape=replace(start.shape, layers=layers))
    assert "ctk" not in odd.space({}, only=False).values


def test_some_settings_follow_others(start: Start) -> None:
    """A batch is never below its parts, values are kept as keys are."""
    space = start.space({"ub": ("4096",)}, only=False)
    found = space.settled({"ub": "4096", "b": "2048", "ctk": "q8_0"})
    assert (found["b"], found["ctv"]) == ("4096", "q8_0")
    apart = start.space({"ctv": ("q4_0",)}, only=False)
    assert apart.settled({"ctk": "q8_0"})["ctv"] == "f16"


def test_the_own_placement_is_of_its_own_settings(start: Start) -> None:
    """Everything else is planned."""
    own = replace(start, settings={**start.settings, "placement": "own"})
    space = own.space({"ub": ("1024",)}, only=True)
    assert space.values["placement"] == ("own", "plan")
    assert space.settled({"ub": "512", "placement": "own"})["placement"] == "own"
    assert space.settled({"ub": "1024", "placement": "own"})["placement"] == "plan"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"fa": "off", "ctk": "q8_0", "ctv": "q8_0"}, "need flash attention"),
        ({"fa": "off", "sm": "tensor"}, "-sm tensor needs"),
        ({"fa": "off", "ctk": "q8_0"}, None),
        ({}, None),
    ],
)
def test_what_the_engine_would_not_take(
    start: Start, changes: dict[str, str], why: str | None
) -> None:
    """Known without asking it."""
    objection = start.space({}, only=False).objection({**start.settings, **changes})
    assert (objection is None) == (why is None)
    assert why is None or why in str(objection)


def test_untried_are_all_found_and_then_none() -> None:
    """However the values are drawn."""
    start = {**settings_of(WORK, ()), "placement": "plan"}
    values = {"ub": ("512", "1024"), "fa": ("auto", "off"), "ctk": ("f16", "q8_0")}
    space = Space(start=start, values=values)
    tried: set[str] = set()
    while (asked := space.untried(tried, len(tried))) is not None:
        key = key_of(space.settled(asked))
        assert key not in tried
        tried.add(key)
    # Of eight, two cannot be: quantised values without flash attention.
    assert len(tried) == 6
