"""Flags of profiles that are in use, and the placements that they mean."""

from __future__ import annotations

import pytest

from placer.errors import InputError
from placer.placement import (
    Placement,
    Strategy,
    TensorException,
    placement_args,
    placement_from_args,
)
from placer.placement.flags import home_buffers
from placer.plan import strategy_of
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape

GLM = fake_shape([FakeLayer(), *[FakeLayer(expert_kib=300)] * 46])
MACHINE = fake_machine([23671 << 20, 12761 << 20], backend="CUDA")


def read(text: str) -> Placement:
    """What the flags mean for GLM-4.7-Flash on a 4090 and a 5070 Ti."""
    return placement_from_args(text.split(), GLM, MACHINE)


def homes(placement: Placement) -> dict[str, str]:
    """Where every tensor is."""
    home = home_buffers(placement, GLM, MACHINE)
    return home | {e.tensor: e.buffer for e in placement.exceptions}


def test_strategy_a_is_one_gpu() -> None:
    """``--split-mode none --main-gpu 0`` takes all of the model."""
    placement = read("--n-gpu-layers 99 --split-mode none --main-gpu 1")
    assert placement == Placement(split=(0, 48), main_gpu=1)
    assert strategy_of(placement, GLM) is Strategy.ONE_GPU
    assert placement_args(placement, GLM) == [
        *("-ngl", "48", "-sm", "none", "-mg", "1", "-ts", "48")
    ]


def test_strategy_b_is_shares() -> None:
    """``--tensor-split 3,1`` is three of four slots, the output among the last."""
    placement = read("-ngl 99 --tensor-split 3,1")
    assert placement == Placement(split=(36, 12))
    assert placement_args(placement, GLM)[2:] == ["-ts", "36,12"]
    assert homes(placement)["output.weight"] == "CUDA1"


def test_strategy_c_without_ts_is_misaligned() -> None:
    """Weights follow -ot; the slots, and with them the context, follow free memory."""
    placement = read(
        r"-ngl 99 -ot blk\.([0-9]|[12][0-9]|3[0-4])\.=CUDA0,"
        r"blk\.(3[5-9]|4[0-6])\.=CUDA1"
    )
    assert placement.split == (32, 16)
    moved = {int(e.tensor.split(".")[1]) for e in placement.exceptions}
    assert moved == {32, 33, 34}
    assert {e.buffer for e in placement.exceptions} == {"CUDA0"}
    assert strategy_of(placement, GLM) is Strategy.LAYERS


def test_strategy_c_aligned_needs_no_ot() -> None:
    """The same boundary by -ts alone: an override that changes nothing is none."""
    aligned = read(r"-ngl 99 -ts 35,13 -ot blk\.(3[5-9]|4[0-6])\.=CUDA1")
    assert aligned.exceptions == frozenset()
    # The engine pipelines only where there is no -ot at all.
    assert aligned.unpipelined
    assert read("-ngl 99 -ts 35,13") == Placement(split=(35, 13))


def test_strategy_d_leaves_experts_on_the_cpu() -> None:
    """13 layers on the first, 5 on the second, the other experts on the host."""
    placement = read(
        r"-ngl 99 -ts 24,24 -ot "
        r"blk\.([0-9]|1[0-2])\.=CUDA0,blk\.(1[3-7])\.=CUDA1,exps=CPU"
    )
    where = homes(placement)
    assert where["blk.12.ffn_up_exps.weight"] == "CUDA0"
    assert where["blk.13.attn_q.weight"] == "CUDA1"
    assert where["blk.17.ffn_down_exps.weight"] == "CUDA1"
    assert where["blk.18.ffn_down_exps.weight"] == "CPU"
    assert where["blk.18.attn_q.weight"] == "CUDA0"
    assert where["blk.46.attn_q.weight"] == "CUDA1"
    assert strategy_of(placement, GLM) is Strategy.EXPERTS_ON_CPU
    assert read(" ".join(placement_args(placement, GLM))) == placement


def test_layers_that_are_not_offloaded_are_the_first() -> None:
    """-ngl counts from the end, the output first."""
    placement = read("-ngl 10 -ts 1,1")
    assert placement.split == (5, 5)
    devices = placement.slot_devices(48)
    assert devices == (None,) * 38 + (0,) * 5 + (1,) * 5
    assert strategy_of(placement, GLM) is Strategy.LAYERS_ON_CPU


@pytest.mark.parametrize("text", ["", "-ngl auto", "-ngl all", "-ngl -1", "-ngl 99"])
def test_all_layers_are_offloaded_unless_said(text: str) -> None:
    """By free memory, where -ts does not say how."""
    assert read(text).split == (32, 16)


def test_cpu_moe_is_the_engines_pattern() -> None:
    """``-cmoe`` moves all experts, ``-ncmoe`` those of the first layers."""
    everywhere = read("-cmoe -ts 24,24")
    assert {e.buffer for e in everywhere.exceptions} == {"CPU"}
    assert len(everywhere.exceptions) == 46 * 3
    first = read("-ncmoe 4 -ts 24,24")
    assert {e.tensor.split(".")[1] for e in first.exceptions} == {"1", "2", "3"}
    assert len(first.exceptions) == 3 * 3


def test_the_last_flag_wins_and_overrides_add_up() -> None:
    """As in the engine: -ngl and -ts are replaced, -ot is extended."""
    placement = read("-ngl 5 -ts 1,0 -ngl 48 -ts 24,24 -ot output=CPU -ot exps=CPU")
    assert placement.split == (24, 24)
    assert TensorException(tensor="output.weight", buffer="CPU") in placement.exceptions
    assert len(placement.exceptions) == 46 * 3 + 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("-ngl many", "'many' is no whole number"),
        ("-ts a,b", "is no list of numbers"),
        ("-ts 1,2,3", "names 3 devices, there are 2"),
        ("-ot exps=CUDA7", "'CUDA7', which is not here"),
        ("-ot exps=CUDA_Host", "'CUDA_Host', which is not here"),
    ],
)
def test_what_the_engine_would_refuse_is_refused(text: str, problem: str) -> None:
    """With the flag and its value in the error."""
    with pytest.raises(InputError, match=problem):
        read(text)


def test_a_split_that_contradicts_itself_is_refused() -> None:
    """Negative slots, and one GPU that is not the one named."""
    with pytest.raises(InputError):
        Placement(split=(3, -1))
    with pytest.raises(InputError):
        Placement(split=(3, 1), main_gpu=0)


def test_nothing_on_a_gpu_is_a_placement() -> None:
    """0 is a real answer, not an absent one."""
    placement = read("-ngl 0")
    assert placement == Placement(split=(0, 0))
    assert placement.n_gpu_layers == 0
    assert placement.slot_devices(48) == (None,) * 48
    assert placement_args(placement, GLM)[:2] == ["-ngl", "0"]


def test_pipelining_is_switched_off_by_an_override_of_nothing() -> None:
    """It parses back, and matches no tensor."""
    placement = Placement(split=(24, 24), unpipelined=True)
    args = placement_args(placement, GLM)
    assert args[-2] == "-ot"
    assert read(" ".join(args)) == placement
    assert placement.overridden
    assert not Placement(split=(24, 24)).overridden
