"""A sweep from its question to its verdict, on servers that are never started."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from placer.app.study import new_folder
from placer.app.sweep import Session
from placer.app.sweep_bench import Probe
from placer.app.sweep_chart import chart_paths, sweep_charts
from placer.app.sweep_factors import parse_varied
from placer.app.sweep_measures import parse_measures
from placer.app.sweep_question import Question, SweepOptions
from placer.app.sweep_records import KIND, Past, newest_broken_off, recalled
from placer.app.target import Asked, Folders, Target, resolve
from placer.errors import InputError, InterruptedSearchError, SearchError
from placer.experiment.verdict import Verdict
from placer.machine.spec import machine_of_spec
from placer.report.chart import svg
from placer.search.journal import FILE_NAME, Journal, read_journal
from placer.testing.models import write_llama
from placer.tune.budget import Budget
from tests.unit.app.sweep_bench import ScriptedBench

if TYPE_CHECKING:
    from pathlib import Path

    from placer.app.sweep_result import Swept
    from placer.experiment.verdict import Contrast

CONF = "[tiny]\nMODEL=tiny.gguf\nCTX_SIZE=512\nEXTRA_ARGS=-np 1 --temp 0.6\n"
TEMPS, TYPES = "temp=0.6,0.8,1.0", "ctk=f16,q8_0"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    """A profile that says a temperature, and no cache type."""
    folder = tmp_path_factory.mktemp("sweep")
    write_llama(folder / "tiny.gguf")
    (folder / "models.conf").write_text(CONF)
    folders = Folders(conf=folder / "models.conf", models=folder)
    return resolve("tiny", folders, Asked())


@dataclass(kw_only=True)
class Lab:
    """Asks one question as often as it is told."""

    target: Target
    parent: Path
    vary: tuple[str, ...] = (TEMPS, TYPES)
    measure: str = "tokens/s,vram"
    repeats: int = 3
    budget: Budget | None = None
    heard: list[Any] = field(default_factory=list)

    @property
    def question(self) -> Question:
        """What is varied and measured."""
        return Question(
            varied=parse_varied(self.vary, (), self.target),
            wanted=parse_measures(self.measure),
            repeats=self.repeats,
            probe=Probe(),
            exam=None,
            reading=None,
            notes=(),
        )

    def run(self, bench: ScriptedBench, *, resume: bool = False) -> Swept:
        """To the end, or to an interruption."""
        options = SweepOptions(budget=self.budget, resume=resume)
        question = self.question
        header = json.loads(json.dumps(question.record(options)))
        folder, past = new_folder(self.parent), Past()
        if resume:
            folder = newest_broken_off(self.parent, "tiny")
            past = recalled(folder, header)
        with closing(Journal(folder)) as journal:
            journal.append("resumed" if resume else KIND, header)
            session = Session(
                target=self.target,
                machine=machine_of_spec("Vulkan0:400:400"),
                emulated=False,
                question=question,
                options=options,
                journal=journal,
                past=past,
                bench=bench,
                on_event=self.heard.append,
            )
            return session.run()

    @property
    def records(self) -> tuple[dict[str, Any], ...]:
        """Of the newest sweep."""
        return read_journal(max(self.parent.glob(f"*/{FILE_NAME}")))

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Its lines of a kind."""
        return [record for record in self.records if record["kind"] == kind]


@pytest.fixture
def lab(target: Target, tmp_path: Path) -> Lab:
    """Three temperatures and two types of keys."""
    return Lab(target=target, parent=tmp_path / "sweep")


def verdicts(found: Swept) -> dict[str, Verdict]:
    """By ``"ctk=q8_0 tokens/s"``."""
    return {name_of(one): one.verdict for one in found.found.contrasts}


def name_of(one: Contrast) -> str:
    """What a contrast is of."""
    return f"{one.factor}={one.level} {one.measure.name}"


def test_what_is_planted_is_found(lab: Lab) -> None:
    """A type that is a tenth faster and smaller is better, and recommended."""
    bench = ScriptedBench(faster={"q8_0": 0.1}, bytes_of={"q8_0": -300})
    lab.repeats = 5
    found = lab.run(bench)
    assert verdicts(found)["ctk=q8_0 tokens/s"] is Verdict.BETTER
    assert verdicts(found)["ctk=q8_0 vram"] is Verdict.BETTER
    assert found.found.best["tokens/s"] == {"temp": "0.6", "ctk": "q8_0"}
    (end,) = lab.of_kind("end")
    assert end["stopped"] is None
    assert end["best"]["tokens/s"] == {"temp": "0.6", "ctk": "q8_0"}
    assert len(end["cells"]) == 6


def test_where_there_is_none_no_difference_is_seen(lab: Lab) -> None:
    """And the base is what is recommended, by every measure."""
    found = lab.run(ScriptedBench(seed=3))
    none = {Verdict.NO_DIFFERENCE, Verdict.ALIKE}
    assert set(verdicts(found).values()) <= none
    assert all(cell == found.base for cell in found.found.best.values())


def test_problems_are_counted_and_not_launches(lab: Lab) -> None:
    """One repeat of sixty problems shows a temperature that solves many more."""
    lab.measure, lab.repeats, lab.vary = "pass@1", 1, (TEMPS,)
    found = lab.run(ScriptedBench(righter={"1.0": 0.5}))
    assert verdicts(found)["temp=1.0 pass@1"] is Verdict.BETTER
    assert verdicts(found)["temp=0.8 pass@1"] is Verdict.NO_DIFFERENCE


def test_the_server_starts_once_for_a_type_and_a_repeat(lab: Lab) -> None:
    """Temperatures are asked of the server that is up."""
    bench = ScriptedBench()
    lab.run(bench)
    assert len(bench.started) == len(lab.of_kind("launched")) == 2 * 3
    assert len(bench.ran) == len(lab.of_kind("run")) == 6 * 3
    lab.vary, bench = (TEMPS,), ScriptedBench()
    lab.run(bench)
    assert len(bench.started) == 1


def test_what_a_request_cannot_change_is_not_asked(lab: Lab) -> None:
    """The temperature holds no memory: no verdict, and no wider intervals."""
    found = lab.run(ScriptedBench())
    assert "temp=0.8 vram" not in verdicts(found)
    assert "temp=0.8 tokens/s" in verdicts(found)


@pytest.mark.parametrize("runs", [0, 1, 4, 17])
def test_an_interrupted_sweep_repeats_no_run(lab: Lab, runs: int) -> None:
    """It goes on with what is left, and counts starts of the server on."""
    first, second = ScriptedBench(dies_at=runs), ScriptedBench()
    with pytest.raises(InterruptedSearchError, match=r"--resume goes on"):
        lab.run(first)
    assert lab.of_kind("end")[-1]["stopped"] == "interrupted"
    found = lab.run(second, resume=True)
    both = [(repeat, tuple(cell.items())) for repeat, cell in first.ran + second.ran]
    assert len(both) == len(set(both)) == 18
    assert {one.n for one in found.found.cells} == {3}
    numbers = [record["number"] for record in lab.of_kind("launching")]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("keep", [1, 2, 3, 5, 20])
def test_any_beginning_of_a_record_goes_on(lab: Lab, keep: int) -> None:
    """After kill -9 what is on disk is all that is known, a torn line being nothing."""
    lab.run(ScriptedBench())
    path = next(lab.parent.glob(f"*/{FILE_NAME}"))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:keep]) + '{"kind": "run", "laun')
    kept = sum('"kind": "run"' in line for line in lines[:keep])
    bench = ScriptedBench()
    lab.run(bench, resume=True)
    assert len(bench.ran) == 18 - kept
    assert len(lab.of_kind("run")) == 18


def test_only_the_same_question_goes_on(lab: Lab) -> None:
    """Other values, measures or repeats are another sweep, and so is one at its end."""
    with pytest.raises(InterruptedSearchError):
        lab.run(ScriptedBench(dies_at=2))
    lab.repeats = 4
    with pytest.raises(InputError, match="another repeats"):
        lab.run(ScriptedBench(), resume=True)
    lab.repeats = 3
    lab.run(ScriptedBench(), resume=True)
    with pytest.raises(InputError, match="at its end"):
        lab.run(ScriptedBench(), resume=True)


def test_there_has_to_be_something_to_resume(lab: Lab) -> None:
    """The first sweep of a profile is begun without."""
    with pytest.raises(InputError, match="leave out --resume"):
        lab.run(ScriptedBench(), resume=True)


def test_what_does_not_fit_is_unfit_and_the_rest_goes_on(lab: Lab) -> None:
    """It is launched once, its reason is on record, and nobody waits for it again."""
    lab.vary = (TEMPS, "ctk=f16,q8_0,q4_0")
    bench = ScriptedBench(unfit=frozenset({"q4_0"}), bytes_of={"q8_0": -300})
    found = lab.run(bench)
    assert found.unfit == (({"ctk": "q4_0"}, "nothing fits"),)
    assert bench.started.count({"ctk": "q4_0"}) == 1
    assert lab.of_kind("unfit") == [
        {"kind": "unfit", "settings": {"ctk": "q4_0"}, "why": "nothing fits"}
    ]
    assert verdicts(found)["ctk=q8_0 vram"] is Verdict.BETTER
    assert verdicts(found)["ctk=q4_0 vram"] is Verdict.TOO_FEW


def test_what_a_server_refuses_is_asked_once(lab: Lab) -> None:
    """The other cells of that launch are measured all the same."""
    lab.vary = (TEMPS,)
    bench = ScriptedBench(refused=frozenset({"1.0"}))
    found = lab.run(bench)
    assert len(found.unfit) == 1
    assert [cell["temp"] for _, cell in bench.ran].count("0.8") == 3


def test_a_request_that_fails_once_is_no_verdict_on_a_cell(lab: Lab) -> None:
    """It is asked again, and all cells are measured as often as others."""
    found = lab.run(ScriptedBench(stumbles_at=4))
    assert found.unfit == ()
    assert {one.n for one in found.found.cells} == {3}


def test_without_a_base_nothing_is_recommended(lab: Lab) -> None:
    """It is said why, and the others are shown by themselves."""
    found = lab.run(ScriptedBench(unfit=frozenset({"f16"})))
    assert found.found.best == {}
    assert any("the base does not run" in note for note in found.notes)
    assert len(found.found.cells) == 3


def test_where_nothing_runs_that_is_an_error(lab: Lab) -> None:
    """With the first reason, and exit code 4."""
    with pytest.raises(
        SearchError, match=r"no cell runs; ctk=.*: nothing fits"
    ) as caught:
        lab.run(ScriptedBench(unfit=frozenset({"f16", "q8_0"})))
    assert caught.value.exit_code == 4


def test_kl_is_held_to_the_base_whatever_came_first(lab: Lab) -> None:
    """Each setting of the server is asked once; its own base is no nats away."""
    lab.measure, lab.repeats = "kl,agreement,ppl", 2
    bench = ScriptedBench(likeliest={"q8_0": 1})
    found = lab.run(bench)
    assert len(lab.of_kind("expected")) == len(bench.read) == 2
    figures = {one.cell["ctk"]: one.figures for one in found.found.cells}
    assert figures["f16"]["kl"].mean == 0
    assert figures["f16"]["agreement"].mean == 1
    assert figures["q8_0"]["agreement"].mean == pytest.approx(0.4)
    assert figures["q8_0"]["ppl"].mean > figures["f16"]["ppl"].mean
    worse = {"ctk=q8_0 kl", "ctk=q8_0 agreement", "ctk=q8_0 ppl"}
    assert {verdicts(found)[name] for name in worse} == {Verdict.WORSE}
    assert all("expected" not in run["problems"] for run in lab.of_kind("run"))


def test_the_time_that_is_left_is_told(lab: Lab) -> None:
    """It is known after the first run, and nothing is left after the last."""
    lab.run(ScriptedBench())
    left = [event.left_s for event in lab.heard if type(event).__name__ == "Ran"]
    assert left[0] is not None
    assert left[0] > 0
    assert left[-1] == 0


def test_charts_show_every_cell_with_its_interval(lab: Lab, tmp_path: Path) -> None:
    """The first measure is in the file that was named, others beside it."""
    found = lab.run(ScriptedBench(bytes_of={"q8_0": -300}))
    charts = sweep_charts(found)
    assert list(charts) == ["tokens/s", "vram"]
    bars = charts["tokens/s"].bars
    assert [bar.label for bar in bars][:2] == [
        "temp=0.6 ctk=f16 (base)",
        "temp=0.6 ctk=q8_0",
    ]
    for bar in bars:
        assert bar.span is not None
        assert bar.span[0] < bar.total < bar.span[1]
    assert "tiny: vram" in svg(charts["vram"])
    paths = chart_paths(tmp_path / "sweep.svg", found)
    assert [path.name for path in paths.values()] == ["sweep.svg", "sweep-vram.svg"]


class TestBudget:
    """A grid that is too large is not measured whole."""

    VARY = ("temp=0.6,0.7,0.8,0.9,1.0,1.1", "ctk=f16,q8_0,q5_0,q4_0", "ub=64,128,256")

    @pytest.fixture(autouse=True)
    def _large(self, lab: Lab) -> None:
        lab.vary, lab.repeats, lab.measure = self.VARY, 5, "tokens/s"
        lab.budget = Budget(launches=30)

    def test_the_best_is_held_to_the_base(self, lab: Lab) -> None:
        """Of 20 proposals the best, and only that pair gets a verdict."""
        bench = ScriptedBench(faster={"q4_0": 0.5, "256": 0.2})
        found = lab.run(bench)
        assert len(bench.ran) == 30
        assert found.proposed is not None
        assert found.proposed["ctk"] == "q4_0"
        (contrast,) = found.found.contrasts
        assert contrast.verdict is Verdict.BETTER
        assert found.found.best["tokens/s"] == found.proposed
        assert any(note.endswith("of 96 cells were tried") for note in found.notes)

    def test_the_luckiest_of_equals_is_not_better(self, lab: Lab) -> None:
        """It was chosen for its luck, which does not count: 5 of 100 are alarms."""
        alarms = 0
        for seed in range(6):
            found = lab.run(ScriptedBench(noise=0.03, seed=seed))
            judged = set(verdicts(found).values())
            alarms += bool(judged - {Verdict.NO_DIFFERENCE})
        assert alarms <= 1
        assert found.found.best["tokens/s"] == found.base

    def test_each_of_the_pair_is_started_anew(self, lab: Lab) -> None:
        """What a start does to all its runs would count twice otherwise."""
        found = lab.run(ScriptedBench(faster={"q4_0": 0.5}))
        compared = [record for record in lab.of_kind("run") if record["repeat"]]
        assert len({record["launch"] for record in compared}) == len(compared) == 10
        lab.vary = self.VARY[:1]
        lab.budget = Budget(launches=12)
        found = lab.run(ScriptedBench(faster={"0.8": 0.5}))
        assert found.proposed is not None
        assert len(lab.of_kind("launched")) == 2

    @pytest.mark.parametrize("runs", [3, 22])
    def test_it_goes_on_without_a_repeat(self, lab: Lab, runs: int) -> None:
        """In the middle of the proposals, or of the comparison."""
        planted = {"q4_0": 0.5}
        with pytest.raises(InterruptedSearchError):
            lab.run(ScriptedBench(faster=planted, dies_at=runs))
        found = lab.run(ScriptedBench(faster=planted), resume=True)
        ran = [
            (record["repeat"], tuple(record["cell"].items()))
            for record in lab.of_kind("run")
        ]
        assert len(ran) == len(set(ran)) == 30
        assert found.found.contrasts[0].verdict is Verdict.BETTER

    def test_it_has_to_pay_for_the_comparison(self, lab: Lab) -> None:
        """Or there is nothing to propose."""
        lab.budget = Budget(launches=10)
        with pytest.raises(InputError, match="give 12 or more"):
            lab.run(ScriptedBench())
