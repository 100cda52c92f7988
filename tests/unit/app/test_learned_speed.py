"""What launches say of speed, from the search to the next prediction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pytest

import placer
from placer.app.desk import open_desk
from placer.app.learned import Learned
from placer.ledger import Key, Ledger, Pace, SpeedEntry
from placer.machine import host
from placer.search.records import read_study, study_folders
from placer.speed import FIELD_NOTES
from placer.testing.fake_engine import fake_engine
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.testing.models import write_qwen3moe
from placer.units import MIB

if TYPE_CHECKING:
    from placer.speed import Calibration

SHAPE = fake_shape([FakeLayer()] * 2)
MACHINE = fake_machine([100 * MIB, 100 * MIB])
ENTRY = SpeedEntry(
    when="2026-11-28T12:00:00+00:00",
    version=placer.VERSION,
    key=Key(build="", backend="Vulkan", emulated=False, architecture="fake"),
    model="m.gguf",
    launch="0" * 16,
    devices=tuple(device.description for device in MACHINE.devices),
    predicted=Pace(decode_tokens_per_s=100.0, prefill_tokens_per_s=1000.0),
    measured=Pace(decode_tokens_per_s=80.0, prefill_tokens_per_s=500.0),
)


def calibrated(entry: SpeedEntry, *, emulated: bool = False) -> Calibration:
    """What one launch makes of the calibration."""
    learned = Learned(
        ledger=Ledger(Path("nowhere")), entries=(), emulated=emulated, speeds=(entry,)
    )
    return learned.calibrated(FIELD_NOTES, SHAPE, MACHINE)


def test_a_launch_on_these_devices_calibrates() -> None:
    """Measured over predicted is the factor."""
    found = calibrated(ENTRY)
    assert found.decode_factor == pytest.approx(0.8)
    assert found.prefill_factor == pytest.approx(0.5)
    assert found.source.startswith("1 launch on these devices (fake), beside a user's")


def test_other_devices_teach_nothing() -> None:
    """Neither one of them alone nor both the other way round."""
    first, second = ENTRY.devices
    assert calibrated(replace(ENTRY, devices=(first,))) is FIELD_NOTES
    other = replace(ENTRY, devices=("Another GPU", second))
    assert calibrated(other) is FIELD_NOTES


def test_emulated_devices_teach_emulated_ones_alone() -> None:
    """And real ones teach no emulated one."""
    emulated = replace(ENTRY, key=replace(ENTRY.key, emulated=True))
    assert calibrated(emulated) is FIELD_NOTES
    assert calibrated(ENTRY, emulated=True) is FIELD_NOTES
    assert calibrated(emulated, emulated=True).decode_factor == pytest.approx(0.8)


def test_another_version_teaches_nothing() -> None:
    """What it measured is over what it predicted."""
    assert calibrated(replace(ENTRY, version="0")) is FIELD_NOTES


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> placer.Where:
    """A model that needs two GPUs and the CPU, and an engine that is fake.

    The CPU's memory is remembered: a busy machine would measure it each time anew.
    """
    monkeypatch.setenv(host.VARIABLE, str(tmp_path))
    host._remember(host.default_path(), host._key(host._threads()), 20e9, until_s=None)
    models = tmp_path / "models"
    models.mkdir()
    write_qwen3moe(models / "moe.gguf", n_layer=6, n_expert=16, n_ff_exp=512)
    return placer.Where(
        server=fake_engine(tmp_path, devices={"Vulkan0": 40, "Vulkan1": 30}),
        models=models,
        logs=tmp_path / "logs",
        ledger=tmp_path / "ledger.jsonl",
    )


REQUEST = placer.Request(values={"ctx": 512, "batch": 256, "ubatch": 64, "parallel": 1})


def speeds(where: placer.Where) -> tuple[SpeedEntry, ...]:
    """What the ledger holds on speed."""
    return Ledger(where.ledger or Path()).read().speeds


def model_of(where: placer.Where) -> str:
    """The path of the model."""
    return str(where.folders.models_path / "moe.gguf")


def test_a_search_leaves_a_line_for_each_launch_that_decoded(
    where: placer.Where,
) -> None:
    """With devices, launch, and what was predicted and measured of one slot."""
    result = placer.optimize(model_of(where), where, REQUEST)
    decoded = [t for t in result.study.found.trials if t.decode_tokens_per_s]
    found = speeds(where)
    assert len(found) == len(decoded) > 0
    assert len({entry.launch for entry in found}) == len(found)
    for entry, trial in zip(found, decoded, strict=True):
        speed = trial.probe.speed
        assert speed is not None
        assert entry.model == "moe.gguf"
        assert entry.key.architecture == "qwen3moe"
        assert entry.devices == tuple(d.description for d in result.machine.devices)
        assert entry.measured.decode_tokens_per_s == trial.decode_tokens_per_s
        assert entry.measured.prefill_tokens_per_s == trial.prefill_tokens_per_s
        assert entry.predicted.decode_tokens_per_s == pytest.approx(speed.decode.mid)


def test_the_next_prediction_is_calibrated_and_its_line_is_not(
    where: placer.Where,
) -> None:
    """Learning does not feed on itself: what is kept is what was said without it."""
    placer.optimize(model_of(where), where, REQUEST)
    first = speeds(where)
    factor = median(entry.decode_ratio for entry in first)
    result = placer.optimize(model_of(where), where, REQUEST)
    second = speeds(where)[len(first) :]

    assert second
    assert factor != pytest.approx(1, rel=0.05)
    speed = result.study.found.trial.probe.speed
    assert speed is not None
    assert speed.decode.mid == pytest.approx(
        factor * second[-1].predicted.decode_tokens_per_s
    )


def test_the_desk_predicts_with_what_was_learned(where: placer.Where) -> None:
    """Estimates and plans see it too."""
    placer.optimize(model_of(where), where, REQUEST)
    with open_desk(model_of(where), where, REQUEST) as desk:
        assert "on these devices (qwen3moe)" in desk.calibration.source
        assert desk.calibration.decode_factor == pytest.approx(
            median(entry.decode_ratio for entry in speeds(where))
        )


def test_a_prompt_shorter_than_a_batch_says_nothing_of_prefill(
    where: placer.Where,
) -> None:
    """The slot of a small context cannot read a full physical batch."""
    values = {"ctx": 256, "batch": 512, "ubatch": 512, "parallel": 1}
    placer.optimize(model_of(where), where, placer.Request(values=values))
    found = speeds(where)
    assert found
    assert all(entry.measured.prefill_tokens_per_s is None for entry in found)


def test_drafting_is_not_predicted(where: placer.Where) -> None:
    """Tokens that come for nothing would make any machine look fast."""
    extra = ("--spec-type", "ngram-simple")
    with pytest.raises(placer.InputError):  # the fake engine cannot draft
        placer.optimize(model_of(where), where, replace(REQUEST, extra_args=extra))
    (folder,) = study_folders(where.logs)
    (trial,) = read_study(folder).trials
    assert trial["predicted"] is None
