"""A whole search, told by its record and its events."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from placer.engine.judge import Outcome
from placer.engine.log import LogFacts
from placer.errors import SearchError
from placer.placement import Strategy, Workload
from placer.search.events import Launching, StrategyExcluded, TrialDone
from placer.search.search import ATTEMPTS
from placer.testing.fake_search import Arithmetic, ListJournal, fake_search
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from placer.search.events import Event
    from placer.search.search import Found

WORKLOAD = Workload(ctx=1024, batch=64, ubatch=64, parallel=1, kv_unified=False)
MOE = fake_shape([FakeLayer(dense_kib=20480, expert_kib=204800)] * 4, output_kib=20480)
DENSE = fake_shape([FakeLayer(dense_kib=204800)] * 4, output_kib=20480)


class Desk:
    """A search of a shape on devices with so many MiB, and what it told."""

    def __init__(
        self,
        folder: Path,
        shape: Any,
        *free_mib: int,
        hidden_mib: int = 0,
        by_launch: bool = False,
    ) -> None:
        self.events: list[Event] = []
        self.truth = Arithmetic(
            shape=shape,
            workload=WORKLOAD,
            machine=fake_machine([mib * MIB for mib in free_mib]),
            hidden_bytes=(hidden_mib * MIB,) * len(free_mib),
        )
        self.search = fake_search(
            self.truth, folder, on_event=self.events.append, by_launch=by_launch
        )

    def run(self) -> Found:
        """The best that fits."""
        return self.search.run()

    def records(self, kind: str) -> list[dict[str, Any]]:
        """What was written of one kind."""
        journal = self.search.journal
        assert isinstance(journal, ListJournal)
        return [r for r in journal.records if r["kind"] == kind]

    @property
    def kinds(self) -> list[str]:
        """What was written, in order."""
        journal = self.search.journal
        assert isinstance(journal, ListJournal)
        return [r["kind"] for r in journal.records]


def test_a_model_that_fits_one_gpu_is_not_spread(tmp_path: Path) -> None:
    """One launch proves it: nothing would be better with more."""
    found = Desk(tmp_path, DENSE, 2000, 2000).run()
    assert found.trial.probe.strategy is Strategy.ONE_GPU
    assert found.trial.probe.placement.main_gpu == 0
    assert len(found.trials) == 1
    assert found.boundary == ()
    assert [limit.step_bytes for limit in found.limits] == [None, None]


def test_the_second_gpu_is_used_alone_too(tmp_path: Path) -> None:
    """The larger card may come second."""
    desk = Desk(tmp_path, DENSE, 500, 2000)
    found = desk.run()
    assert found.trial.probe.placement.main_gpu == 1
    (excluded,) = [e for e in desk.events if isinstance(e, StrategyExcluded)]
    assert excluded.device == "Vulkan0"


def test_strategies_that_cannot_work_are_on_record(tmp_path: Path) -> None:
    """By formula, with what they are short, and without a launch."""
    desk = Desk(tmp_path, MOE, 400, 300)
    found = desk.run()
    assert found.trial.probe.strategy is Strategy.EXPERTS_ON_CPU
    skipped = desk.records("skipped")
    assert [(s["strategy"], s["device"]) for s in skipped] == [
        ("A", "Vulkan0"),
        ("A", "Vulkan1"),
        ("C", None),
    ]
    weights = MOE.weight_bytes - sum(t.n_bytes for t in MOE.input_tensors)
    assert skipped[0]["short_bytes"] >= weights - 400 * MIB
    assert skipped[2]["short_bytes"] >= weights - 700 * MIB
    assert all(s["source"] == "formula" for s in skipped)


def test_single_expert_tensors_fill_what_is_left(tmp_path: Path) -> None:
    """Not whole layers: a third of a layer's experts is as good as it gets."""
    found = Desk(tmp_path, MOE, 400, 400).run()
    kept = found.trial.probe.kept
    assert kept is not None
    assert sum(kept) % 3
    for limit in found.limits:
        assert limit.left_bytes is not None
        assert limit.left_bytes < 70 * MIB


def test_one_step_beyond_is_launched_where_asked(tmp_path: Path) -> None:
    """Each device is then seen to refuse, and the answer is the same."""
    without = Desk(tmp_path, MOE, 400, 400).run()
    found = Desk(tmp_path, MOE, 400, 400, by_launch=True).run()
    assert found.trial.probe.placement == without.trial.probe.placement
    assert without.boundary == ()
    assert {t.verdict.device for t in found.boundary} == {"Vulkan0", "Vulkan1"}
    assert all(limit.refused_bytes for limit in found.limits)


def test_a_launch_is_written_down_before_and_after(tmp_path: Path) -> None:
    """Launching and trial alternate, with the same number and the same flags."""
    desk = Desk(tmp_path, MOE, 400, 300, hidden_mib=60)
    found = desk.run()
    kinds = [kind for kind in desk.kinds if kind != "skipped"]
    assert kinds == ["launching", "trial"] * len(found.trials)
    pairs = zip(desk.records("launching"), desk.records("trial"), strict=True)
    for number, (before, after) in enumerate(pairs, start=1):
        assert before["number"] == after["number"] == number
        assert before["args"] == after["args"]
        assert before["args"][:2] == ["-m", "model.gguf"]
    launched = [e for e in desk.events if isinstance(e, Launching)]
    done = [e for e in desk.events if isinstance(e, TrialDone)]
    assert len(launched) == len(done) == len(found.trials) > 1


def test_records_are_json_with_the_names_that_reports_use(tmp_path: Path) -> None:
    """Bytes are whole numbers, what is not known is null."""
    desk = Desk(tmp_path, MOE, 400, 300, by_launch=True)
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
    """What nobody can have is learned by launching, once for all."""
    without = Desk(tmp_path, MOE, 400, 400).run().trial.probe.kept
    found = Desk(tmp_path, MOE, 400, 400, hidden_mib=140).run()
    assert found.trials[0].verdict.outcome.is_oom
    assert found.trial.verdict.outcome is Outcome.FITS
    assert sum(found.trial.probe.kept or ()) < sum(without or ())
    assert len(found.trials) <= 4


def test_the_cpu_is_the_last_resort(tmp_path: Path) -> None:
    """Where the dense part alone is too much, whole layers stay on the host."""
    found = Desk(tmp_path, DENSE, 300, 300).run()
    probe = found.trial.probe
    assert probe.strategy is Strategy.LAYERS_ON_CPU
    assert 0 < probe.placement.n_gpu_layers < DENSE.n_slots


def test_without_room_for_a_layer_all_is_on_the_cpu(tmp_path: Path) -> None:
    """It runs: that is an answer, and what more memory would do is told."""
    found = Desk(tmp_path, DENSE, 10).run()
    assert found.trial.probe.placement.n_gpu_layers == 0
    assert found.trial.probe.strategy is Strategy.LAYERS_ON_CPU


def test_purposes_tell_why_a_launch_was_made(tmp_path: Path) -> None:
    """The plan's answer, then smaller ones, then one step more."""
    desk = Desk(tmp_path, MOE, 400, 400, hidden_mib=140, by_launch=True)
    desk.run()
    purposes = [t["purpose"] for t in desk.records("trial")]
    assert purposes[0] == "the plan's answer"
    assert purposes[1] == "the next smaller"
    assert purposes[-1] == "one step more"


def test_margins_stay_free(tmp_path: Path) -> None:
    """What the user wants left is left, measured."""
    desk = Desk(tmp_path, MOE, 400, 400)
    planner = desk.search.planning.planner
    margins = (100 * MIB, 20 * MIB)
    desk.search.planning.planner = replace(
        planner, margins_bytes=margins, _guesses={}, _answers={}
    )
    found = desk.run()
    for limit, margin in zip(found.limits, margins, strict=True):
        assert limit.left_bytes is not None
        assert limit.left_bytes >= margin - MIB


@pytest.mark.parametrize("times", [1, ATTEMPTS])
def test_a_spoiled_launch_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Another process took memory meanwhile: it says nothing, unless it goes on."""
    desk = Desk(tmp_path, MOE, 400, 400)
    test = desk.search.test
    seen: list[tuple[str, ...]] = []

    def observe(args: tuple[str, ...], **others: Any) -> Any:
        honest = type(test).observe(test, args, **others)
        seen.append(args)
        if len(seen) > times:
            return honest
        facts = LogFacts(failed_phase=None)
        return replace(honest, facts=facts, exit_code=1)

    class Spoiling:
        """The same test, its first answers spoiled."""

        def __getattr__(self, name: str) -> Any:
            return observe if name == "observe" else getattr(test, name)

    def judged(observation: Any, *_: Any) -> Any:
        from placer.engine.judge import Verdict

        spoiled = observation.exit_code == 1
        return Verdict(outcome=Outcome.SPOILED if spoiled else Outcome.FITS)

    monkeypatch.setattr("placer.search.search.judge", judged)
    monkeypatch.setattr(desk.search, "test", Spoiling())
    if times < ATTEMPTS:
        found = desk.run()
        assert seen[0] == seen[1]
        assert found.stopped is None
    else:
        with pytest.raises(SearchError, match="SPOILED"):
            desk.run()
        assert len(set(seen)) == 1
        assert len(seen) == ATTEMPTS
