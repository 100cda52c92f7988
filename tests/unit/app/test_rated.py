from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import placer
from placer.errors import InputError
from placer.testing.models import write_qwen3moe
from placer.testing.models_file import Weight, text, write_file
from placer.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

TWO = "CUDA0:2000:1800,CUDA1:1000:900"
SMALL = placer.Request(values={"ctx": 512, "ubatch": 64, "parallel": 1})


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A mixture of 80 MiB."""
    path = tmp_path / "moe.gguf"
    write_qwen3moe(path, n_layer=6, n_expert=16, n_ff_exp=512)
    return str(path)


@pytest.fixture(autouse=True)
def _no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any start of an engine would fail."""
    monkeypatch.setenv("PLACER_LLAMA_SERVER", f"{os.sep}nowhere")
    monkeypatch.setenv("PATH", "")


def test_described_devices_need_no_engine(model: str) -> None:
    """All figures are there, and the formula says them."""
    found = placer.estimate(model, placer.Where(devices=TWO), SMALL, ("-ts", "5,2"))
    rated = found.rated

    assert rated.fits
    assert rated.dry_run is None
    assert rated.best.source == "formula"
    assert rated.best.graph_splits is not None
    assert rated.args == ("-ngl", "7", "-ts", "5,2")


def test_headroom_is_what_is_free_less_all_that_is_held(model: str) -> None:
    """Weights, context, compute and overhead, on every device."""
    found = placer.estimate(model, placer.Where(devices=TWO), SMALL, ("-ts", "5,2"))
    rows = zip(
        found.machine.devices,
        found.rated.best.devices,
        found.rated.headroom_bytes,
        strict=True,
    )

    for device, held, left in rows:
        assert device.overhead_bytes > 0
        assert left == device.free_bytes - held.total_bytes - device.overhead_bytes


def test_a_plan_on_described_devices_fits_them(model: str) -> None:
    """The best candidate by formula, nothing launched."""
    where = placer.Where(devices="Vulkan0:60,Vulkan1:60")
    plan = placer.plan(model, where, SMALL)

    assert plan.candidates
    assert all(rated.fits for rated in plan.candidates)
    assert {rated.best.source for rated in plan.candidates} == {"formula"}


def test_named_devices_are_picked_out_of_the_described(model: str) -> None:
    """--device chooses, and orders, as it does of real ones."""
    request = placer.Request(values=SMALL.values, devices=("CUDA1",))
    found = placer.estimate(model, placer.Where(devices=TWO), request)

    assert [device.name for device in found.machine.devices] == ["CUDA1"]
    assert found.rated.args[-2:] == ("-dev", "CUDA1")


def test_a_device_that_shares_the_hosts_memory_leaves_room_for_it(model: str) -> None:
    """Weights on the CPU come out of the same memory."""
    where = placer.Where(machine="dgx-spark")
    rated = placer.estimate(model, where, SMALL, ("-cmoe",)).rated
    device = placer.devices(where).devices[0]
    held = rated.best.devices[0].total_bytes + rated.best.host.total_bytes

    assert rated.best.host.model_bytes > 50 * MIB
    assert rated.headroom_bytes[0] == device.free_bytes - held - 256 * MIB


@pytest.fixture
def projector(tmp_path: Path) -> str:
    """An image projector of 16 MiB."""
    weight = Weight(name="v.patch_embd.weight", dims=(2048, 4096), type_name="F16")
    fields = [text("general.architecture", "clip")]
    return str(write_file(tmp_path / "mmproj.gguf", fields, [weight]))


def test_a_projector_lies_on_the_first_device(model: str, projector: str) -> None:
    """Its weights count there; its compute buffer is not known, which is said."""
    request = placer.Request(values=SMALL.values, companions=("--mmproj", projector))
    where = placer.Where(devices=TWO)
    alone = placer.estimate(model, where, SMALL, ("-ts", "5,2")).rated
    both = placer.estimate(model, where, request, ("-ts", "5,2")).rated
    first, second = (
        a - b for a, b in zip(alone.headroom_bytes, both.headroom_bytes, strict=True)
    )

    assert first == both.companions[0].devices[0].model_bytes == 16 * MIB
    assert second == 0
    assert min(both.headroom_bytes) > 0
    assert not both.fits
    assert any(
        note.startswith("the compute buffer of mmproj.gguf (mmproj) is not known")
        for note in both.notes
    )


def test_a_projector_can_stay_on_the_cpu(model: str, projector: str) -> None:
    """--no-mmproj-offload takes nothing of any device."""
    companions = ("--mmproj", projector, "--no-mmproj-offload")
    request = placer.Request(values=SMALL.values, companions=companions)
    rated = placer.estimate(model, placer.Where(devices=TWO), request).rated

    assert [d.total_bytes for d in rated.companions[0].devices] == [0, 0]
    assert rated.companions[0].host.model_bytes == 16 * MIB


def test_a_draft_model_is_one_more_estimate_with_its_own_cache_types(
    model: str,
) -> None:
    """As many tokens as the model, split as it is, f16 whatever the model's cache."""
    values = {**SMALL.values, "type_k": "q8_0", "type_v": "q8_0"}
    request = placer.Request(values=values, companions=("-md", model))
    where = placer.Where(devices=TWO)
    wide = placer.estimate(model, where, SMALL, ("-ts", "5,2")).rated.best
    draft = placer.estimate(model, where, request, ("-ts", "5,2")).rated.companions[0]

    assert draft.kind == "draft"
    assert [d.context_bytes for d in draft.devices] == [
        d.context_bytes for d in wide.devices
    ]
    assert [d.model_bytes for d in draft.devices] == [
        d.model_bytes for d in wide.devices
    ]


def test_a_draft_model_has_layers_of_its_own_on_the_cpu(model: str) -> None:
    """-ngld is its -ngl."""
    companions = ("-md", model, "-ngld", "0")
    request = placer.Request(values=SMALL.values, companions=companions)
    draft = placer.estimate(model, placer.Where(devices=TWO), request).rated

    assert [d.model_bytes for d in draft.companions[0].devices] == [0, 0]


def test_drafting_without_a_formula_is_never_said_to_fit(model: str) -> None:
    """The estimate says so and is not complete."""
    companions = ("--spec-type", "draft-eagle3")
    request = placer.Request(values=SMALL.values, companions=companions)
    rated = placer.estimate(model, placer.Where(devices=TWO), request).rated

    assert not rated.fits
    assert min(rated.headroom_bytes) > 0
    assert "what --spec-type draft-eagle3 takes is not known" in rated.notes


@pytest.mark.parametrize(
    ("companions", "problem"),
    [
        (("--spec-type", "nonsense"), "'nonsense' is no kind of drafting"),
        (("--spec-type", "draft-mtp"), "no NextN layers to draft with"),
        (("-ctkd", "q99"), "'q99' is no cache type"),
        (("--mmproj", "MODEL"), "is no image projector but a model, qwen3moe"),
    ],
)
def test_what_the_engine_would_refuse_is_refused(
    model: str, companions: tuple[str, ...], problem: str
) -> None:
    """Before anything is computed, with the way out."""
    given = tuple(model if word == "MODEL" else word for word in companions)
    request = placer.Request(values=SMALL.values, companions=given)
    with pytest.raises(InputError, match=problem):
        placer.estimate(model, placer.Where(devices=TWO), request)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"ctxx": 3}, "a workload has no 'ctxx'"),
        ({"ctx": "abc"}, "ctx is 'abc'"),
        ({"type_v": "q8_0", "flash_attn": "off"}, "needs flash attention"),
    ],
)
def test_a_wrong_request_is_an_input_error(
    model: str, values: dict[str, object], problem: str
) -> None:
    """Also where it comes from Python."""
    request = placer.Request(values=values)
    with pytest.raises(InputError, match=problem):
        placer.estimate(model, placer.Where(devices=TWO), request)


def test_a_device_is_named_once(model: str) -> None:
    """-dev CUDA0,CUDA0 would count its memory twice."""
    request = placer.Request(values=SMALL.values, devices=("CUDA0", "CUDA0"))
    with pytest.raises(InputError, match="CUDA0 is named twice"):
        placer.estimate(model, placer.Where(devices=TWO), request)


def test_reliefs_free_what_they_say(model: str) -> None:
    """Asked again with a relief, the short device has so much more left."""
    where = placer.Where(devices="CUDA0:50")
    values = {"ctx": 65536, "parallel": 1}
    short = placer.estimate(model, where, placer.Request(values=values))
    relief = next(r for r in short.reliefs if r.args[0] == "--ctx")
    values["ctx"] = int(relief.args[1])
    again = placer.estimate(model, where, placer.Request(values=values))
    freed = again.rated.headroom_bytes[0] - short.rated.headroom_bytes[0]

    assert not short.rated.fits
    assert freed == relief.freed_bytes > 0


def test_a_placement_that_fits_needs_no_relief(model: str) -> None:
    """Nothing is proposed."""
    assert placer.estimate(model, placer.Where(devices=TWO), SMALL).reliefs == ()


@pytest.mark.parametrize(
    "where",
    [
        placer.Where(devices=TWO, machine="l40s"),
        placer.Where(devices=TWO, emulate=(400,)),
        placer.Where(machine="l40s", rpc="a:1"),
    ],
)
def test_what_contradicts_described_devices_is_refused(
    model: str, where: placer.Where
) -> None:
    """One way to say which machine it is."""
    with pytest.raises(placer.InputError, match="contradict each other"):
        placer.estimate(model, where, SMALL)


def test_described_devices_cannot_be_searched(model: str) -> None:
    """Optimize launches; that needs what is here."""
    with pytest.raises(placer.InputError, match="cannot run anything"):
        placer.optimize(model, placer.Where(devices=TWO), SMALL)


def test_without_an_engine_the_way_out_is_named(model: str) -> None:
    """--devices and --machine, in the one line of the error."""
    os.environ.pop("PLACER_LLAMA_SERVER")
    with pytest.raises(placer.MachineError, match="with --devices or --machine"):
        placer.estimate(model, placer.Where(), SMALL)


def test_the_verbs_of_the_package_stay_verbs(model: str) -> None:
    """Subpackages of the same name, once imported, do not hide them."""
    placer.estimate(model, placer.Where(devices=TWO), SMALL)

    assert callable(placer.plan)
    assert callable(placer.report)


def test_a_plan_never_shows_what_does_not_fit(model: str) -> None:
    """With all on the CPU a device still needs buffers to read prompts with."""
    with pytest.raises(placer.SearchError, match="no placement of moe fits"):
        placer.plan(model, placer.Where(devices="Vulkan0:1"), SMALL)
