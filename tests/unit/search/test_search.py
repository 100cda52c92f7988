"""A whole search, told by its record and its events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from placer.engine.judge import Outcome
from placer.errors import SearchError
from placer.placement import Strategy, Workload
from placer.search.events import FamilySkipped, FamilyStarted, Launching, TrialDone
from placer.search.search import Search
from placer.testing.fake_search import Arithmetic, ListJournal, fake_load_test
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from placer.search.events import Event
    from placer.search.search import Found

WORKLOAD = Workload(ctx=1024, batch=64, ubatch=64, parallel=1, kv_unified=False)
MOE = fake_shape([FakeLayer(dense_kib=2048, expert_kib=20480)] * 4, output_kib=2048)
DENSE = fake_shape([FakeLayer(dense_kib=20480)] * 4, output_kib=2048)


class Desk:
    """A search of a shape on devices with so many MiB, and what it told."""

    def __init__(
        self, folder: Path, shape: Any, *free_mib: int, hidden_mib: int = 0
    ) -> None:
        self.journal = ListJournal(folder)
        self.events: list[Event] = []
        truth = Arithmetic(
            shape=shape,
            workload=WORKLOAD,
            machine=fake_machine([mib * MIB for mib in free_mib]),
            hidden_bytes=(hidden_mib * MIB,) * len(free_mib),
        )
        self.search = Search(
            test=fake_load_test(truth),
            model_path="model.gguf",
            extra_args=("--jinja",),
            journal=self.journal,
            on_event=self.events.append,
        )

    def run(self) -> Found:
        """The largest that fits."""
        return self.search.run()

    def records(self, kind: str) -> list[dict[str, Any]]:
        """What was written of one kind."""
        return [r for r in self.journal.records if r["kind"] == kind]


def test_the_first_strategy_that_fits_is_the_answer(tmp_path: Path) -> None:
    """A model that fits one GPU is not spread, and one launch proves it."""
    found = Desk(tmp_path, DENSE, 200, 200).run()
    assert found.trial.probe.strategy is Strategy.ONE_GPU
    assert found.trial.probe.placement.main_gpu == 0
    assert len(found.trials) == 1
    assert found.boundary == ()


def test_the_second_gpu_is_tried_alone_too(tmp_path: Path) -> None:
    """The larger card may come second."""
    desk = Desk(tmp_path, DENSE, 50, 200)
    found = desk.run()
    assert found.trial.probe.placement.main_gpu == 1
    (skipped,) = [e for e in desk.events if isinstance(e, FamilySkipped)]
    assert skipped.device == "Vulkan0"


def test_strategies_that_cannot_work_are_skipped_on_record(tmp_path: Path) -> None:
    """By formula, with what they are short, and without a launch."""
    desk = Desk(tmp_path, MOE, 40, 30)
    found = desk.run()
    assert found.trial.probe.strategy is Strategy.EXPERTS_ON_CPU
    skipped = desk.records("skipped")
    assert [(s["strategy"], s["device"]) for s in skipped] == [
        ("A", "Vulkan0"),
        ("A", "Vulkan1"),
        ("C", None),
    ]
    total = sum(desk.search.test.shape.layers[0].dense_bytes for _ in range(4))
    assert skipped[0]["short_bytes"] > 90 * MIB - total - 40 * MIB
    assert all(s["source"] == "formula" for s in skipped)
    started = [e.strategy for e in desk.events if isinstance(e, FamilyStarted)]
    assert started == [Strategy.EXPERTS_ON_CPU]


def test_the_boundary_names_each_device(tmp_path: Path) -> None:
    """One expert layer more was refused by either device."""
    found = Desk(tmp_path, MOE, 40, 40).run()
    assert found.trial.probe.spread.kept == (1, 1)
    assert {t.verdict.device for t in found.boundary} == {"Vulkan0", "Vulkan1"}
    assert found.stopped is None


def test_a_launch_is_written_down_before_and_after(tmp_path: Path) -> None:
    """Launching and trial alternate, with the same number and the same flags."""
    desk = Desk(tmp_path, MOE, 40, 30)
    found = desk.run()
    kinds = [r["kind"] for r in desk.journal.records if r["kind"] != "skipped"]
    assert kinds == ["launching", "trial"] * len(found.trials)
    pairs = zip(desk.records("launching"), desk.records("trial"), strict=True)
    for number, (before, after) in enumerate(pairs, start=1):
        assert before["number"] == after["number"] == number
        assert before["args"] == after["args"]
        assert before["args"][:2] == ["-m", "model.gguf"]
        assert "--jinja" in before["args"]
    launched = [e for e in desk.events if isinstance(e, Launching)]
    done = [e for e in desk.events if isinstance(e, TrialDone)]
    assert len(launched) == len(done) == len(found.trials)


def test_records_are_json_with_the_names_that_reports_use(tmp_path: Path) -> None:
    """Bytes are whole numbers, what is not known is null."""
    desk = Desk(tmp_path, MOE, 40, 30)
    desk.run()
    trial = json.loads(json.dumps(desk.records("trial")[0]))
    assert trial["verdict"] == "FITS"
    assert trial["strategy"] == "D"
    assert trial["phase"] is None
    assert trial["peak_bytes"] is None
    assert trial["decode_tokens_per_s"] == 1.0
    assert len(trial["formula"]["devices"]) == 2
    assert isinstance(trial["dry_run"]["devices"][0]["compute_bytes"], int)
    refused = json.loads(json.dumps(desk.records("trial")[-1]))
    assert refused["verdict"].startswith("OOM_")
    assert refused["device"] in ("Vulkan0", "Vulkan1")
    assert refused["phase"] in ("weights", "context", "compute")


def test_hidden_memory_makes_the_answer_smaller(tmp_path: Path) -> None:
    """What nobody can have is learned by launching."""
    without = Desk(tmp_path, MOE, 40, 40).run().trial.probe.spread
    desk = Desk(tmp_path, MOE, 40, 40, hidden_mib=14)
    found = desk.run()
    assert found.trials[0].verdict.outcome.is_oom
    assert found.trial.verdict.outcome is Outcome.FITS
    assert sum(found.trial.probe.spread.kept or ()) < sum(without.kept or ())


def test_the_cpu_is_the_last_resort(tmp_path: Path) -> None:
    """Where the dense part alone is too much, whole layers stay on the host."""
    found = Desk(tmp_path, DENSE, 30, 30).run()
    probe = found.trial.probe
    assert probe.strategy is Strategy.LAYERS_ON_CPU
    assert 0 < probe.placement.n_gpu_layers < DENSE.n_slots


def test_nothing_that_fits_is_an_error_with_the_nearest_miss(tmp_path: Path) -> None:
    """Which strategy, where and by how much, and what to lower."""
    desk = Desk(tmp_path, DENSE, 1)
    with pytest.raises(SearchError, match="nearest miss") as error:
        desk.run()
    text = str(error.value)
    assert "MiB short" in text
    assert "--ctx" in text
    assert error.value.exit_code == 4


def test_purposes_tell_why_a_launch_was_made(tmp_path: Path) -> None:
    """The plan's answer, then smaller ones, then one step more."""
    desk = Desk(tmp_path, MOE, 40, 40, hidden_mib=14)
    desk.run()
    purposes = [t["purpose"] for t in desk.records("trial")]
    assert purposes[0] == "the plan's answer"
    assert purposes[1] == "the next smaller"
    assert purposes[-1] == "one step more"
