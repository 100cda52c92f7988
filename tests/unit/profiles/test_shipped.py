from __future__ import annotations

import re
from datetime import date
from pathlib import Path

from placer.placement.arguments import flag_values
from placer.profiles import Edit, read_arguments, read_conf

SHIPPED = Path(__file__).parents[3] / "models.conf"
CTX_SIZES = {
    "glm-q4": 131072,
    "glm-q8": 131072,
    "gpt-oss-120b": 65536,
    "qwen-next-q5": 262144,
    "qwen-next-q6": 262144,
}


def layers(pattern: str, n_layers: int) -> set[int]:
    """The layers with a tensor whose name matches."""
    names = {layer: f"blk.{layer}.ffn_up_exps.weight" for layer in range(n_layers)}
    return {layer for layer, name in names.items() if re.search(pattern, name)}


def test_each_model_has_a_production_and_a_bench_profile() -> None:
    """Ten profiles, in that order, of the same five models."""
    conf = read_conf(SHIPPED)
    ids = [profile.id for profile in conf.profiles]
    assert ids == [*CTX_SIZES, *(f"bench-{name}" for name in CTX_SIZES)]
    for name, ctx_size in CTX_SIZES.items():
        profile, bench = conf.profile(name), conf.profile(f"bench-{name}")
        assert (profile.ctx_size, bench.ctx_size) == (ctx_size, 10240)
        assert profile.model == bench.model


def test_every_flag_is_one_that_placer_knows() -> None:
    """Nothing as shipped is passed on unread, and nothing claims a measurement."""
    for profile in read_conf(SHIPPED).profiles:
        arguments = read_arguments(profile)
        flags = flag_values(arguments)
        assert all(argument.option is not None for argument in arguments)
        assert (flags["-ngl"], flags["-fit"], flags["-fa"]) == ("99", "off", "on")
        assert profile.speed is None
        assert profile.provenance is None
        if profile.id.startswith("bench-"):
            assert (flags["-b"], flags["-ub"]) == ("512", "512")


def test_the_splits_by_hand_are_those_that_users_run() -> None:
    """GLM Q8 is 35 + 12 layers, GPT-OSS 13 + 5 with the other experts on the CPU."""
    conf = read_conf(SHIPPED)
    sizes = {}
    for name, n_layers in (("glm-q8", 47), ("gpt-oss-120b", 36)):
        value = flag_values(read_arguments(conf.profile(name)))["-ot"]
        parts = [part.partition("=") for part in value.split(",")]
        sizes[name] = {to: len(layers(pattern, n_layers)) for pattern, _, to in parts}
    assert sizes["glm-q8"] == {"CUDA0": 35, "CUDA1": 12}
    assert sizes["gpt-oss-120b"] == {"CUDA0": 13, "CUDA1": 5, "CPU": 36}


def test_every_profile_can_be_edited() -> None:
    """A placement can be written into each of them, and is read back."""
    conf = read_conf(SHIPPED)
    placement = ("-ngl", "9", "-ts", "5,4", "-ot", "exps=CPU")
    for profile in conf.profiles:
        edit = Edit(on=date(2026, 11, 23), placement=placement)
        after = conf.updated(profile.id, edit).profile(profile.id)
        flags = flag_values(read_arguments(after))
        assert (flags["-ngl"], flags["-ts"], flags["-ot"]) == ("9", "5,4", "exps=CPU")
        assert "-sm" not in flags
