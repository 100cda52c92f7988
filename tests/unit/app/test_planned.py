from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import placer
from placer.app.planned import DRY_RUNS, Plan, PlanOptions
from placer.plan import Goal
from placer.speed import FIELD_NOTES
from placer.testing.fake_engine import fake_engine, launches
from placer.testing.fake_shapes import fake_machine
from placer.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

SMALL = placer.Request(values={"ctx": 8192, "ubatch": 128, "parallel": 1})
# Neither holds all of it; both together do.
TIGHT = placer.Where(devices="Vulkan0:60,Vulkan1:60")
ROOMY = placer.Where(devices="Vulkan0:200,Vulkan1:300")


def planned(
    model: str,
    where: placer.Where = TIGHT,
    options: PlanOptions | None = None,
    request: placer.Request = SMALL,
) -> Plan:
    """The plan."""
    return placer.plan(model, where, request, options)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engine on two devices of 60 MiB, whose buffers are thrice the formula's."""
    path = fake_engine(
        tmp_path, devices={"Vulkan0": 60, "Vulkan1": 60}, compute_factor=3.0
    )
    monkeypatch.setenv("PLACER_LLAMA_SERVER", str(path))
    return path


def test_one_margin_is_for_all_devices() -> None:
    """Or each has its own."""
    machine = fake_machine([MIB, MIB])

    assert PlanOptions(margins_mib=(5,)).margins_bytes(machine) == (5 * MIB,) * 2
    assert PlanOptions(margins_mib=(5, 0)).margins_bytes(machine) == (5 * MIB, 0)


def test_any_other_number_of_margins_is_an_input_error() -> None:
    """It says how many there are and how many devices."""
    with pytest.raises(placer.InputError, match="--margin has 3 figures"):
        PlanOptions(margins_mib=(1, 2, 3)).margins_bytes(fake_machine([MIB, MIB]))


def test_every_candidate_has_room_and_is_there_once(mixture: str) -> None:
    """The best first; then what one device alone would do, if it holds all."""
    found = planned(mixture, ROOMY)
    placements = [rated.candidate.placement for rated in found.candidates]

    assert len(placements) == 2
    assert {p.main_gpu for p in placements} == {0, 1}
    assert all(rated.fits for rated in found.candidates)


def test_a_plan_says_what_its_speeds_rest_on(mixture: str) -> None:
    """At what depth, by which notes, and what was taken for what nobody said."""
    found = planned(mixture)

    assert found.depth == 4096
    assert found.calibration == FIELD_NOTES.source
    assert any("bandwidth of Vulkan1" in what for what in found.assumed)
    assert found.goal is Goal.DECODE


def test_a_cache_is_no_deeper_than_a_slots_context(mixture: str) -> None:
    """Of several slots each has its share."""
    request = placer.Request(values={"ctx": 2048, "parallel": 2, "kv_unified": False})

    assert planned(mixture, options=PlanOptions(), request=request).depth == 1024


def test_without_an_engine_nothing_is_asked(mixture: str, no_engine: None) -> None:
    """Neither a dry run nor --fit."""
    found = planned(mixture)

    assert (found.fit, found.fit_seconds) == (None, None)
    assert found.dry_run_seconds == 0
    assert found.candidates[0].dry_run is None


def test_the_first_is_seen_to_fit_by_the_engine(mixture: str, engine: Path) -> None:
    """Though the formula believed in less; what is dry is not loaded."""
    found = planned(mixture, placer.Where())
    first = found.candidates[0]
    formula = first.candidate.estimate

    assert first.dry_run is not None
    assert min(first.headroom_bytes) >= 0
    assert (first.dry_run.devices[0].compute_bytes or 0) > 2 * (
        formula.devices[0].compute_bytes or 0
    )
    asked = [launch for launch in launches(engine) if launch.dry_run]
    (fit,) = (n for n, launch in enumerate(asked) if "-fitt" in launch.args)
    assert 1 <= fit <= DRY_RUNS


def test_what_the_engine_takes_beyond_the_formula_is_planned_for(
    mixture: str, engine: Path
) -> None:
    """Where it takes no more, more experts stay on devices."""
    by_formula = planned(mixture).candidates[0]
    by_engine = planned(mixture, placer.Where()).candidates[0]

    assert by_engine.expert_bytes_on_host > by_formula.expert_bytes_on_host


def test_margins_stay_free(mixture: str) -> None:
    """On each device what is asked there."""
    options = PlanOptions(margins_mib=(20, 5))
    first = planned(mixture, options=options).candidates[0]

    assert first.headroom_bytes[0] >= 20 * MIB
    assert first.headroom_bytes[1] >= 5 * MIB


def test_baselines_are_what_is_asked_for(mixture: str) -> None:
    """One GPU alone, by the same model: no faster than all of them."""
    found = planned(mixture)
    bare = planned(mixture, options=PlanOptions(baselines=False))

    assert bare.one_gpu is None
    assert found.one_gpu is not None
    assert found.one_gpu.candidate.placement.main_gpu in {0, 1}
    assert (
        found.one_gpu.candidate.speed.decode.mid
        <= found.candidates[0].candidate.speed.decode.mid
    )


def test_tradeoffs_and_limits_are_what_is_asked_for(mixture: str) -> None:
    """They are nothing unless somebody looks at them."""
    bare = planned(mixture)
    full = planned(mixture, options=PlanOptions(tradeoffs=True, explain=True))

    assert (bare.tradeoffs, bare.explained) == ((), None)
    assert full.tradeoffs
    assert full.explained is not None


def test_every_step_is_told(mixture: str) -> None:
    """In the order of what is done."""
    told: list[str] = []
    options = PlanOptions(tradeoffs=True, explain=True, on_step=told.append)
    planned(mixture, options=options)

    assert told == ["planning", "trying other settings", "asking what limits"]


def test_what_is_missing_is_in_the_error(mixture: str) -> None:
    """Where the devices have too little even for the CPU's operations."""
    where = placer.Where(devices="CUDA0:1000:1")
    with pytest.raises(placer.SearchError) as caught:
        planned(mixture, where)

    assert "no placement of moe fits" in str(caught.value)
    assert "MiB are missing on each device" in str(caught.value)
    assert "--no-op-offload frees" in str(caught.value)


def test_the_largest_context_is_planned_where_it_is_asked(mixture: str) -> None:
    """The target's own is the one that is launched."""
    options = PlanOptions(goal=Goal.CONTEXT, least_speed=1.0, baselines=False)
    request = replace(SMALL, values={**SMALL.values, "ctx": 4096})
    found = planned(mixture, options=options, request=request)

    assert found.target.workload.ctx > 4096
    assert found.candidates[0].fits
