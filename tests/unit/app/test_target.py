from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from placer.app.target import Asked, Folders, Target, resolve
from placer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Resolver = Callable[..., Target]


@pytest.fixture
def profile(tmp_path: Path, moe_path: Path) -> Resolver:
    """A profile with the given CTX_SIZE and EXTRA_ARGS, resolved."""

    def make(extra: str, ctx: str = "4096", **asked: object) -> Target:
        conf = tmp_path / "models.conf"
        conf.write_text(
            f"[moe]\nMODEL={moe_path.name}\nCTX_SIZE={ctx}\nEXTRA_ARGS={extra}\n"
        )
        folders = Folders(conf=conf, models=moe_path.parent)
        return resolve("moe", folders, Asked(values=asked))

    return make


def test_a_profile_without_slots_means_what_the_engine_means(profile: Resolver) -> None:
    """-np auto is four slots that share one cache."""
    workload = profile("-b 1024").workload

    assert (workload.parallel, workload.kv_unified) == (4, True)
    assert (workload.ctx, workload.batch, workload.ubatch) == (4096, 1024, 512)


def test_slots_that_are_named_have_caches_of_their_own(profile: Resolver) -> None:
    """-np 2 alone is not unified; with -kvu it is."""
    assert profile("-np 2").workload.kv_unified is False
    assert profile("-np 2 -kvu").workload.kv_unified is True


def test_the_command_line_wins_over_the_profile(profile: Resolver) -> None:
    """What is asked replaces what the profile says; the rest stays."""
    workload = profile("-b 1024 -ctk q8_0 -ctv q8_0", batch=256, ctx=8192).workload

    assert (workload.ctx, workload.batch, workload.type_k) == (8192, 256, "q8_0")


def test_a_context_of_zero_is_the_models_own(profile: Resolver) -> None:
    """-c 0 is what the model was trained for, as in the engine."""
    assert profile("", ctx="0").workload.ctx == 131072


def test_long_spellings_and_switches_are_understood(profile: Resolver) -> None:
    """Every alias of a flag means the same."""
    workload = profile(
        "--batch-size 64 --cache-type-k q4_0 --flash-attn on "
        "--no-kv-offload --no-op-offload --swa-full"
    ).workload

    assert (workload.batch, workload.type_k, workload.flash_attn) == (64, "q4_0", "on")
    assert not workload.kv_offload
    assert not workload.op_offload
    assert workload.swa_full


def test_what_placer_does_not_own_is_passed_through(profile: Resolver) -> None:
    """Foreign flags go to every launch, but for those that hide the server."""
    target = profile("--jinja -t 8 --temp 0.7 --api-key secret --log-disable -ub 64")

    assert target.extra_args == ("--jinja", "-t", "8", "--temp", "0.7")


def test_the_placement_of_today_is_kept_apart(profile: Resolver) -> None:
    """-ts and -ot of the profile are what estimate looks at, not what is launched."""
    target = profile("-ts 3,2 --jinja -ot exps=CPU")

    assert target.placement_args == ("-ts", "3,2", "-ot", "exps=CPU")
    assert target.extra_args == ("--jinja",)


def test_a_missing_model_says_where_it_was_looked_for(tmp_path: Path) -> None:
    """Both places and the way out are named."""
    conf = tmp_path / "models.conf"
    conf.write_text("[glm]\nMODEL=GLM.gguf\n")
    with pytest.raises(InputError) as caught:
        resolve("glm", Folders(conf=conf, models=tmp_path / "m"), Asked())

    text = str(caught.value)
    assert str(tmp_path / "m" / "GLM.gguf") in text
    assert "--models-dir" in text


def test_a_profile_without_a_model_is_named_with_its_line(tmp_path: Path) -> None:
    """The error points at the section."""
    conf = tmp_path / "models.conf"
    conf.write_text("# none\n\n[glm]\nCTX_SIZE=1\n")
    with pytest.raises(InputError, match=r"models\.conf:3: \[glm\] has no MODEL"):
        resolve("glm", Folders(conf=conf), Asked())
