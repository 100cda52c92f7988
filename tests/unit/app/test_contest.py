"""A contest on a fake engine, from end to end: who is launched, what is said."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from placer.app import Request, Where
from placer.app.contest import ANSWER, FIT, ONE_GPU, Answer, ContestOptions, contest
from placer.app.desk import open_desk
from placer.cli.contests import (
    answer_text,
    contest_record,
    progress_text,
    show_contest,
)
from placer.engine.verdict import Outcome, Verdict
from placer.errors import MachineError
from placer.measure import Comparison, Margin
from placer.measure.events import LaunchEnded, RoundStarted
from placer.placement import Placement
from placer.plan import Goal
from placer.search.journal import Journal, read_journal
from placer.search.search import launch_args
from placer.testing.fake_engine import fake_engine, launches, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from placer.app.contest import Contest
    from placer.app.desk import Desk

REQUEST = Request(values={"ctx": 1024, "batch": 64, "ubatch": 64, "parallel": 1})
SLOWER = "placer's answer is"
ALIKE = "No difference seen between placer's answer and"
OPTIONS = ContestOptions(budget_s=6, margins_bytes=(0, 0), seed=3, patience_s=10)


def answer_on(desk: Desk, split: tuple[int, ...]) -> Answer:
    """Whole layers so split."""
    target, placement = desk.target, Placement(split=split)
    args = launch_args(
        str(target.file.path),
        target.workload,
        target.extra_args,
        placement,
        target.shape,
        desk.machine,
    )
    return Answer(args=args, placement=placement, prompt_tokens_per_s=1000.0)


Ended = tuple["Hall", "Contest"]


class Hall:
    """Where contests are held: a fake engine, a model, a journal."""

    def __init__(self, folder: Path, model: Path, **devices: int) -> None:
        self.engine = fake_engine(folder, devices=devices)
        self.folder = folder / "record"
        self._model = str(model)
        self.events: list[object] = []

    def hold(
        self,
        options: ContestOptions = OPTIONS,
        split: tuple[int, ...] = (1, 4),
        on_event: Callable[[object], None] | None = None,
    ) -> Contest:
        """A contest of a placement."""
        where = Where(server=self.engine)
        with (
            open_desk(self._model, where, REQUEST) as desk,
            closing(Journal(self.folder)) as journal,
        ):
            answer = answer_on(desk, split)
            return contest(
                desk, answer, options, journal, on_event or self.events.append
            )

    def records(self, kind: str) -> list[dict[str, Any]]:
        """What the journal has of a kind."""
        found = read_journal(self.folder / "trials.jsonl")
        return [record for record in found if record["kind"] == kind]


@pytest.fixture
def hall(tmp_path: Path, moe_path: Path) -> Hall:
    """Two devices with room for the model on each."""
    return Hall(tmp_path, moe_path, Vulkan0=400, Vulkan1=300)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, moe_path: Path) -> Ended:
    """Such a hall, and the contest that was held in it."""
    hall = Hall(tmp_path_factory.mktemp("hall"), moe_path, Vulkan0=400, Vulkan1=300)
    return hall, hall.hold()


@pytest.fixture
def held(ended: Ended) -> Contest:
    """The contest that has ended."""
    return ended[1]


def test_everybody_is_measured_and_kept(
    ended: Ended, capsys: pytest.CaptureFixture[str]
) -> None:
    """The answer, ``--fit`` and one GPU, in each round; shown, and as JSON too."""
    hall, held = ended
    assert [entrant.name for entrant in held.entrants] == [ANSWER, FIT, ONE_GPU]
    assert held.standing.rounds >= 2
    assert {figure.contender for figure in held.standing.figures} == {
        ANSWER,
        FIT,
        ONE_GPU,
    }
    assert running(hall.engine) == ()
    (header,) = hall.records("contest")
    assert (header["goal"], header["seed"]) == ("decode", 3)
    assert [c["name"] for c in header["contenders"]] == [ANSWER, FIT, ONE_GPU]
    assert header["contenders"][1]["split"] is not None
    orders = [record["order"] for record in hall.records("round")]
    assert len(orders) == held.standing.rounds
    assert len(hall.records("launched")) == 3 * len(orders)
    (end,) = hall.records("contested")
    assert end["rounds"] == held.standing.rounds

    show_contest(held, quiet=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["tokens/s", "in", "the", "cache", "read/s", "written/s"]
    assert sum(" ± " in line for line in lines) == 3 * len(held.standing.depths)
    assert lines[-1] == answer_text(held)
    show_contest(held, quiet=True)
    assert capsys.readouterr().out == answer_text(held) + "\n"
    record = json.loads(json.dumps(contest_record(held)))
    assert record["answer"] == answer_text(held)
    assert len(record["figures"]) == 3 * len(held.standing.depths)


def test_launches_differ_by_the_placement_alone(ended: Ended) -> None:
    """All three are asked for the same, and ``--fit`` for its own placement."""
    hall, held = ended
    seen = [launch.args for launch in launches(hall.engine)]
    measured = [args for args in seen if "-v" not in args]
    asked = {args[: args.index("--fit")] for args in measured}
    assert len(asked) == 3
    common = min(asked, key=len)
    assert all(args[: len(common)] == common for args in asked)
    assert "-ngl" not in common
    told = [args for args in measured if "on" in args]
    assert len(told) == held.standing.rounds
    assert all("-fitt" in args for args in told)


def test_whoever_places_the_same_is_not_launched(hall: Hall, held: Contest) -> None:
    """It is said instead; with everything on one GPU that is the one GPU."""
    one_gpu = next(e for e in held.entrants if e.name == ONE_GPU)
    assert one_gpu.placement is not None
    where = Where(server=hall.engine)
    with (
        open_desk(hall._model, where, REQUEST) as desk,
        closing(Journal(hall.folder)) as journal,
    ):
        answer = Answer(args=one_gpu.contender.args, placement=one_gpu.placement)
        found = contest(desk, answer, OPTIONS, journal, lambda _: None)
    assert [e.absent for e in found.entrants if e.name == ONE_GPU] == [
        "the same placement"
    ]
    assert ONE_GPU not in {figure.contender for figure in found.standing.figures}


def test_a_rival_that_runs_out_of_memory_is_told(
    tmp_path: Path, moe_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is launched once, and the others are compared."""
    hall = Hall(tmp_path, moe_path, Vulkan0=60, Vulkan1=60)
    config = hall.engine.with_suffix(".json")
    values = json.loads(config.read_text())
    # More than any dry run shows, and only where all of it is on one device.
    values["overhead_mib"] = {"Vulkan0": 30, "Vulkan1": 30}
    config.write_text(json.dumps(values))
    found = hall.hold(split=(2, 3))
    failed = found.standing.failed
    assert ONE_GPU in failed
    assert failed[ONE_GPU].outcome.is_oom
    assert ANSWER not in failed
    told = [r for r in hall.records("launched") if r["contender"] == ONE_GPU]
    assert [record["verdict"] for record in told] == [failed[ONE_GPU].outcome.value]
    show_contest(found, quiet=False)
    assert f"{ONE_GPU} did not run: OOM_" in capsys.readouterr().out


def test_an_interruption_leaves_what_was_measured(hall: Hall) -> None:
    """No engine, whole records, and where it stood."""

    def interrupt(event: object) -> None:
        hall.events.append(event)
        if sum(isinstance(one, LaunchEnded) for one in hall.events) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hall.hold(on_event=interrupt)
    assert running(hall.engine) == ()
    assert len(hall.records("launched")) == 4
    assert len(hall.records("measured")) >= 4
    (end,) = hall.records("contested")
    assert end["ended"] == "interrupted"
    assert end["rounds"] == 1


def test_every_event_is_a_line(ended: Ended) -> None:
    """Or nothing, where there is nothing to say."""
    hall, _ = ended
    started = [event for event in hall.events if isinstance(event, RoundStarted)]
    names = ", ".join(contender.name for contender in started[0].order)
    assert progress_text(started[0]) == f"Round 1: {names}"
    lines = [progress_text(event) for event in hall.events]  # type: ignore[arg-type]
    said = [line for line in lines if line is not None]
    assert any("read/s" in line for line in said)
    assert said[-1].startswith("  placer beside --fit ")
    assert all("\n" not in line for line in said)


def test_described_devices_run_nothing(mixture: str, tmp_path: Path) -> None:
    """There is no engine to launch."""
    where = Where(devices="Vulkan0:60,Vulkan1:60")
    with (
        open_desk(mixture, where, REQUEST) as desk,
        closing(Journal(tmp_path)) as journal,
    ):
        answer = Answer(args=(), placement=Placement(split=(3, 4)))
        with pytest.raises(MachineError, match="no engine"):
            contest(desk, answer, OPTIONS, journal, lambda _: None)


def beside(rival: str, low: float, high: float, confidence: float = 0.99) -> Comparison:
    """A comparison with this interval."""
    margin = Margin(low=low, mid=(low + high) / 2, high=high)
    return Comparison(rival=rival, margin=margin, confidence=confidence)


@pytest.mark.parametrize(
    ("comparisons", "winner", "words"),
    [
        (
            [beside(FIT, 0.041, 0.089, 0.992), beside(ONE_GPU, 0.5, 0.6)],
            ANSWER,
            "placer wins: 4.1 to 8.9 % faster than --fit, confidence 99.2 %.",
        ),
        (
            [beside(FIT, -0.2, -0.1, 0.99999), beside(ONE_GPU, 0.1, 0.2)],
            FIT,
            f"--fit wins: {SLOWER} 10 to 20 % slower, confidence over 99.99 %.",
        ),
        (
            [beside(FIT, 0.1, 0.2), beside(ONE_GPU, -0.05, -0.01)],
            ONE_GPU,
            f"one GPU wins: {SLOWER} 1.0 to 5.0 % slower, confidence 99.0 %.",
        ),
        (
            [beside(FIT, -0.014, 0.012), beside(ONE_GPU, 0.1, 0.2)],
            None,
            f"{ALIKE} --fit: within ±1.4 %, confidence 95 %.",
        ),
        (
            [beside(FIT, 0.3, 0.4), beside(ONE_GPU, -0.03, 0.09)],
            None,
            f"{ALIKE} one GPU: from 3.0 % slower to 9.0 % faster; not clear yet.",
        ),
    ],
)
def test_every_answer_is_a_sentence(
    held: Contest, comparisons: list[Comparison], winner: str | None, words: str
) -> None:
    """Who wins, by how much and how sure that is; that nobody does is an answer too."""
    standing = replace(held.standing, comparisons=tuple(comparisons), failed={})
    found = replace(held, standing=standing, goal=Goal.DECODE)
    assert standing.winner == winner
    assert answer_text(found) == words


def test_an_answer_that_does_not_run_is_the_answer(held: Contest) -> None:
    """So is it where no rival runs, or where there was no time."""
    oom = Verdict(outcome=Outcome.OOM_CONTEXT, device="CUDA0")

    def said(**values: Any) -> str:
        standing = replace(held.standing, comparisons=(), **values)
        return answer_text(replace(held, standing=standing))

    assert said(failed={ANSWER: oom}) == (
        "placer's answer did not run: OOM_CONTEXT, on CUDA0."
    )
    assert said(failed={FIT: oom, ONE_GPU: oom}) == (
        "placer's answer alone was measured. --fit: OOM_CONTEXT, on CUDA0; "
        "one GPU: OOM_CONTEXT, on CUDA0."
    )
    assert said(failed={}, rounds=1) == (
        "Not compared: 2 rounds are the least, and the budget was spent after 1."
    )
