from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from placer.app.frontier import explained, other_settings, tradeoffs
from placer.app.rated import candidate_of, rate
from placer.placement import Workload
from placer.plan import Goal

if TYPE_CHECKING:
    from tests.unit.app.conftest import Planning

WORK = Workload(ctx=16384, parallel=1, kv_unified=False, batch=2048, ubatch=512)


def changes_of(kind: str, **asked: Any) -> list[dict[str, Any]]:
    """What is changed of a workload, of one kind."""
    work = replace(WORK, **asked)
    return [changes for k, _, changes in other_settings(work) if k == kind]


def test_contexts_beside_the_asked_one_are_tried() -> None:
    """A quarter, a half and twice as much; none that is smaller than any use."""
    assert [c["ctx"] for c in changes_of("context")] == [4096, 8192, 32768]
    assert [c["ctx"] for c in changes_of("context", ctx=4096)] == [8192]


def test_physical_batches_beside_the_asked_one_are_tried() -> None:
    """No larger than the engine's kernels; the logical one is no smaller."""
    found = changes_of("ubatch", batch=512)

    assert [c["ubatch"] for c in found] == [256, 1024, 2048]
    assert [c["batch"] for c in found] == [512, 1024, 2048]
    assert [c["ubatch"] for c in changes_of("ubatch", batch=4096, ubatch=2048)] == [
        *(1024, 4096)
    ]


def test_a_larger_logical_batch_is_in_the_flags() -> None:
    """What is shown is what would be launched."""
    args = [args for kind, args, _ in other_settings(replace(WORK, batch=512))]

    assert ("-b", "1024", "-ub", "1024") in args
    assert ("-ub", "256") in args


def test_cache_types_other_than_the_asked_are_tried() -> None:
    """Without flash attention only those that the engine takes."""
    types = {
        c["type_k"] for c in changes_of("cache type", type_k="q8_0", type_v="q8_0")
    }
    plain = changes_of("cache type", flash_attn="off", type_k="f32", type_v="f32")

    assert types == {"f16", "q5_0", "q4_0"}
    assert [c["type_v"] for c in plain] == ["f16"]


@pytest.mark.parametrize("asked", [True, False])
def test_the_other_way_to_read_prompts_is_tried(*, asked: bool) -> None:
    """With the devices' help, or without."""
    assert changes_of("op-offload", op_offload=asked) == [{"op_offload": not asked}]


def test_every_tradeoff_is_the_best_under_its_setting(planning: Planning) -> None:
    """A larger context is no faster, a smaller one no slower."""
    with planning() as (desk, planner):
        found = tradeoffs(desk, planner, Goal.DECODE)
        now = planner.best(Goal.DECODE)
        assert now is not None
        speed = desk.speed(now.placement).decode.mid
    contexts = {
        one.args[1]: one.rated.candidate.speed.decode.mid
        for one in found
        if one.kind == "context" and one.rated is not None
    }

    assert contexts["16384"] <= speed <= contexts["4096"]
    assert all(one.rated.fits for one in found if one.rated is not None)


def test_no_context_is_tried_for_which_the_model_was_not_trained(
    planning: Planning,
) -> None:
    """131072 tokens are the most."""
    with planning("Vulkan0:9000", ctx=131072) as (desk, planner):
        found = tradeoffs(desk, planner, Goal.DECODE)

    assert [one.args[1] for one in found if one.kind == "context"] == ["32768", "65536"]


def test_a_setting_under_which_nothing_fits_is_told_so(planning: Planning) -> None:
    """The row is there, and empty."""
    with planning("Vulkan0:12") as (desk, planner):
        found = tradeoffs(desk, planner, Goal.DECODE)
    fits = {one.args: one.rated is not None for one in found}

    assert fits["-c", "4096"]
    assert fits["--no-op-offload",]
    assert not fits["-c", "16384"]
    assert not fits["-ub", "256"]


def test_what_limits_is_what_takes_the_most_time(planning: Planning) -> None:
    """A token's time, each device, the CPU and the way between."""
    with planning() as (desk, planner):
        choice = planner.best(Goal.DECODE)
        assert choice is not None
        placement = choice.placement
        best = rate(candidate_of(placement, placement, desk, choice.gap), desk)
        found = explained(desk, planner, best, Goal.DECODE)
    total = sum(found.seconds.values())

    assert list(found.seconds) == ["Vulkan0", "Vulkan1", "CPU", "hops"]
    assert total == pytest.approx(1 / best.candidate.speed.decode.mid)
    assert found.seconds[found.limit] == max(found.seconds.values())
    assert found.gap == choice.gap
    assert found.tightest == f"Vulkan{best.tightest}"


def test_more_memory_never_makes_it_slower(planning: Planning) -> None:
    """A GiB holds all of the model; where it does already it buys nothing."""
    gained = {}
    for devices in ("Vulkan0:40,Vulkan1:30", "Vulkan0:300,Vulkan1:30"):
        with planning(devices) as (desk, planner):
            choice = planner.best(Goal.DECODE)
            assert choice is not None
            placement = choice.placement
            best = rate(candidate_of(placement, placement, desk), desk)
            found = explained(desk, planner, best, Goal.DECODE)
        gained[devices] = [one.gained for one in found.more_memory]

    assert min(gained["Vulkan0:40,Vulkan1:30"]) > 0
    assert gained["Vulkan0:300,Vulkan1:30"] == [0, 0]
