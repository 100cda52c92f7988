"""What is better, worse, alike and not known, on tables that fit on a page."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from placer.experiment.design import Cell, Factor
from placer.experiment.measures import Kind, Measure, Run, UnitOfAnalysis
from placer.experiment.verdict import (
    Contrast,
    Verdict,
    best,
    contrast_record,
    contrasts,
)

TEMP = Factor(name="temp", values=("0.6", "1.0"), base="0.6", restarts=False)
CTK = Factor(name="ctk", values=("f16", "q8_0"), base="f16", restarts=True)
UB = Factor(name="ub", values=("512", "256"), base="512", restarts=True)
SPEED = Measure(
    name="tokens/s", unit="tokens/s", higher_is_better=True, kind=Kind.RATE, alike=0.02
)
PASSES = Measure(
    name="pass@1",
    unit="",
    higher_is_better=True,
    kind=Kind.SHARE,
    unit_of_analysis=UnitOfAnalysis.PROBLEM,
)
VRAM = Measure(
    name="vram", unit="bytes", higher_is_better=False, kind=Kind.COST, is_exact=True
)
WATTS = replace(VRAM, name="power", unit="W", is_exact=False)


def only(
    runs: list[Run], factor: Factor, measure: Measure, *others: Factor
) -> Contrast:
    """The one contrast of a factor with one level."""
    found = contrasts(runs, (factor, *others), (measure,))
    (one,) = (contrast for contrast in found if contrast.factor == factor.name)
    return one


def run(launch: int, repeat: int, cell: Cell, **figures: Any) -> Run:
    """A run with its speed, its VRAM, its power or its problems."""
    names = {"speed": "tokens/s"}
    problems = {"pass@1": figures.pop("passed")} if "passed" in figures else {}
    named = {names.get(name, name): value for name, value in figures.items()}
    return Run(
        cell=cell, launch=launch, repeat=repeat, figures=named, problems=problems
    )


def of_types(name: str, f16: list[float], q8_0: list[float]) -> list[Run]:
    """A launch of each type a repeat, with a figure each."""
    pairs = enumerate(zip(f16, q8_0, strict=True), start=1)
    return [
        run(2 * n + i, n, {"ctk": ("f16", "q8_0")[i]}, **{name: figure})
        for n, pair in pairs
        for i, figure in enumerate(pair)
    ]


def greedy(f16: list[float], q8_0: list[float]) -> list[Run]:
    """One repeat of two types, with a share for each problem."""
    return [
        run(
            n, 1, {"ctk": kind}, passed={f"HumanEval/{i}": x for i, x in enumerate(row)}
        )
        for n, (kind, row) in enumerate((("f16", f16), ("q8_0", q8_0)), start=1)
    ]


def test_a_faster_level_is_better_and_a_slower_one_worse() -> None:
    """By the ratio; the interval is Student's of the logarithms."""
    slow, fast = [10.0, 11.0, 12.0, 10.5, 9.9], [12.1, 13.0, 14.6, 12.5, 11.9]
    one = only(of_types("speed", slow, fast), CTK, SPEED)
    other = only(of_types("speed", fast, slow), CTK, SPEED)
    logs = [math.log(b / a) for a, b in zip(slow, fast, strict=True)]
    mean = sum(logs) / 5
    half = 2.776445 * math.sqrt(sum((x - mean) ** 2 for x in logs) / 4 / 5)
    assert (one.verdict, other.verdict) == (Verdict.BETTER, Verdict.WORSE)
    assert one.difference == pytest.approx(math.exp(mean) - 1)
    assert one.low == pytest.approx(math.exp(mean - half) - 1, rel=1e-5)
    assert one.high == pytest.approx(math.exp(mean + half) - 1, rel=1e-5)
    assert (one.units, one.factor, one.level, one.base) == (5, "ctk", "q8_0", "f16")
    assert (1 + one.difference) * (1 + other.difference) == pytest.approx(1)


def test_what_is_not_seen_may_still_be_alike() -> None:
    """Where the whole interval is within two per cent, and only there."""
    near = of_types("speed", [10.0, 11.0, 12.0, 10.5], [10.01, 10.98, 12.03, 10.49])
    wide = of_types("speed", [10.0, 11.0, 12.0, 10.5], [10.5, 10.6, 12.4, 10.1])
    assert only(near, CTK, SPEED).verdict is Verdict.ALIKE
    assert only(wide, CTK, SPEED).verdict is Verdict.NO_DIFFERENCE


def test_cells_of_a_launch_count_once() -> None:
    """For a factor that restarts the server, and for one that does not."""
    runs = [
        run(launch, repeat, {"ctk": kind, "temp": temp}, speed=20.0 + launch)
        for launch, (repeat, kind) in enumerate(
            ((1, "f16"), (1, "q8_0"), (2, "q8_0"), (2, "f16"))
        )
        for temp in TEMP.values
    ]
    by_factor = {one.factor: one for one in contrasts(runs, (TEMP, CTK), (SPEED,))}
    assert by_factor["ctk"].units == 2
    assert by_factor["temp"].units == 4


def test_launches_are_paired_within_the_other_settings_of_the_server() -> None:
    """Another setting that triples the speed changes nothing about this one."""
    runs: list[Run] = []
    for repeat, jitter in enumerate((1.0, 1.01, 0.99), start=1):
        for ub, speed in {"512": 10.0, "256": 30.0}.items():
            base, cell = speed * repeat, {"ctk": "f16", "ub": ub}
            runs.append(run(len(runs), repeat, cell, speed=base))
            level = base * 1.2 * jitter
            runs.append(run(len(runs), repeat, {**cell, "ctk": "q8_0"}, speed=level))
    one = only(runs, CTK, SPEED, UB)
    assert one.units == 6
    assert one.verdict is Verdict.BETTER
    assert one.difference == pytest.approx(0.2, abs=0.001)


def test_temperatures_are_compared_within_a_launch_only() -> None:
    """Those of two launches may differ for the launch's sake: they are no pair."""
    runs = [
        run(1, 1, {"temp": "0.6"}, speed=20.0),
        run(2, 1, {"temp": "1.0"}, speed=30.0),
        run(2, 2, {"temp": "0.6"}, speed=31.0),
        run(2, 2, {"temp": "1.0"}, speed=30.0),
    ]
    one = only(runs, TEMP, SPEED)
    assert one.units == 1
    assert one.difference == pytest.approx(30 / 31 - 1)


def test_where_the_server_is_started_once_the_repeat_is_the_unit() -> None:
    """However many cells of another factor each repeat holds."""
    top_p = Factor(name="top-p", values=("0.9", "1.0"), base="1.0", restarts=False)
    runs = [
        run(1, repeat, {"temp": temp, "top-p": p}, speed=20.0 + repeat)
        for repeat in (1, 2, 3)
        for temp in TEMP.values
        for p in top_p.values
    ]
    assert only(runs, TEMP, SPEED, top_p).units == 3


def test_a_pair_that_lacks_one_side_does_not_count() -> None:
    """A cell that did not fit, a figure that is missing or is none: all alike."""
    runs = of_types("speed", [10.0] * 5, [12.0, 12.1, math.nan, 0.0, 12.2])
    missing = replace(runs[-1], figures={})
    one = only([*runs[:-1], missing], CTK, SPEED)
    assert one.units == 2
    assert one.difference == pytest.approx(0.205, abs=0.001)


def test_a_cell_that_is_missing_does_not_bend_the_others() -> None:
    """Where the slow cell of a launch failed, the fast ones are compared alone."""
    speed = {"0.6": 10.0, "1.0": 40.0}
    runs = [
        run(n, repeat, {"ctk": kind, "temp": temp}, speed=speed[temp])
        for n, (repeat, kind) in enumerate(
            ((1, "f16"), (1, "q8_0"), (2, "f16"), (2, "q8_0"))
        )
        for temp in TEMP.values
        if (repeat, kind, temp) != (1, "q8_0", "0.6")
    ]
    one = only(runs, CTK, SPEED, TEMP)
    assert (one.units, one.difference) == (2, 0.0)


def test_one_launch_is_too_few() -> None:
    """It says how many repeats there should have been, at as many failures."""
    one = only(of_types("speed", [10.0], [20.0]), CTK, SPEED)
    assert (one.verdict, one.units, one.repeats_needed) == (Verdict.TOO_FEW, 1, 2)
    assert one.difference == pytest.approx(1.0)
    assert (one.low, one.high, one.p) == (-math.inf, math.inf, 1.0)
    half = of_types("speed", [10.0, 10.0], [20.0, math.nan])
    assert only(half, CTK, SPEED).repeats_needed == 4


def test_two_launches_that_differ_beyond_reason_leave_everything_open() -> None:
    """The interval has no end that a float could hold."""
    one = only(of_types("speed", [1.0, 1.0], [1.0, 1e60]), CTK, SPEED)
    assert (one.verdict, one.high) == (Verdict.NO_DIFFERENCE, math.inf)
    assert contrast_record(one)["high"] is None


def test_a_level_that_never_ran_is_too_few_for_good() -> None:
    """Its difference is not known, and null to a program."""
    one = only(of_types("speed", [10.0, 11.0], [math.nan] * 2), CTK, SPEED)
    assert (one.verdict, one.units) == (Verdict.TOO_FEW, 0)
    assert one.repeats_needed is None
    record = json.loads(json.dumps(contrast_record(one), allow_nan=False))
    assert (record["difference"], record["low"], record["high"]) == (None, None, None)
    assert (record["verdict"], record["measure"]) == ("too few", "tokens/s")


def test_what_is_too_few_widens_no_other_interval() -> None:
    """Only what is tested has a part in the five per cent, and facts are no tests."""
    runs = of_types("speed", [10.0, 11.0, 12.0], [12.1, 13.0, 14.6])
    more = [replace(one, figures={**one.figures, "vram": 5.0}) for one in runs]
    once = replace(more[0], figures={**more[0].figures, "power": 250.0})
    alone = contrasts(runs, (CTK,), (SPEED,))[0]
    beside = contrasts([once, *more[1:]], (CTK,), (SPEED, VRAM, WATTS))
    assert beside[0] == alone
    assert [one.verdict for one in beside[1:]] == [Verdict.ALIKE, Verdict.TOO_FEW]


def test_two_tests_share_the_five_per_cent() -> None:
    """Each interval is as wide as for half the level, and the smaller p doubles."""
    watts = [250.0, 260.0, 255.0], [251.0, 249.0, 259.0]
    pairs = zip(
        of_types("speed", [10.0, 11.0, 12.0], [12.1, 13.0, 14.6]),
        of_types("power", *watts),
        strict=True,
    )
    both = [replace(a, figures={**a.figures, **b.figures}) for a, b in pairs]
    alone, _ = (contrasts(both, (CTK,), (one,))[0] for one in (SPEED, WATTS))
    speed, power = contrasts(both, (CTK,), (SPEED, WATTS))
    assert speed.p == pytest.approx(2 * alone.p)
    assert power.p > speed.p
    width = math.log1p(alone.high) - math.log1p(alone.low)
    wider = math.log1p(speed.high) - math.log1p(speed.low)
    assert wider / width == pytest.approx(6.205347 / 4.302653, rel=1e-5)


@pytest.mark.parametrize(
    ("by", "verdict"),
    [(-64.0, Verdict.BETTER), (64.0, Verdict.WORSE), (0.0, Verdict.ALIKE)],
)
def test_bytes_that_repeat_themselves_are_a_fact(by: float, verdict: Verdict) -> None:
    """Two launches do for it; less of it is better."""
    one = only(of_types("vram", [512.0] * 2, [512.0 + by] * 2), CTK, VRAM)
    assert (one.verdict, one.low, one.high) == (verdict, by, by)
    assert one.p == (0.0 if by else 1.0)


@pytest.mark.parametrize(
    ("other", "verdict"), [(-100.0, Verdict.BETTER), (30.0, Verdict.NO_DIFFERENCE)]
)
def test_a_fact_may_be_another_under_other_settings(
    other: float, verdict: Verdict
) -> None:
    """It is a difference where all are to one side."""
    by = {"512": -50.0, "256": other}
    runs = [
        run(0, n, {"ctk": kind, "ub": ub}, vram=500.0 + (kind == "q8_0") * less)
        for n in (1, 2)
        for ub, less in by.items()
        for kind in CTK.values
    ]
    one = only(runs, CTK, VRAM, UB)
    assert (one.low, one.high) == tuple(sorted((-50.0, other)))
    assert one.verdict is verdict


def test_bytes_that_differ_from_time_to_time_are_tested() -> None:
    """As soon as they do not repeat themselves they are figures like others."""
    one = only(of_types("vram", [512.0] * 2, [500.0, 511.0]), CTK, VRAM)
    assert one.verdict is Verdict.NO_DIFFERENCE


def test_watts_that_seem_exact_are_not() -> None:
    """Two of one sign come up every other time, eight do not."""
    two = only(of_types("power", [250.0] * 2, [249.0] * 2), CTK, WATTS)
    eight = only(of_types("power", [250.0] * 8, [249.0] * 8), CTK, WATTS)
    assert (two.verdict, two.p) == (Verdict.NO_DIFFERENCE, 0.5)
    assert (eight.verdict, eight.p) == (Verdict.BETTER, 2**-7)


def test_greedy_answers_that_agree_are_no_difference() -> None:
    """With p = 1, and room for what other problems would show."""
    one = only(greedy([1.0, 0.0] * 50, [1.0, 0.0] * 50), CTK, PASSES)
    assert (one.verdict, one.p, one.units) == (Verdict.NO_DIFFERENCE, 1.0, 100)
    assert one.difference == 0
    assert -0.05 < one.low < 0 < one.high < 0.05


def test_problems_that_all_differ_one_way_are_counted() -> None:
    """Three that have no spread are too few to claim anything; a dozen are enough."""
    three = only(greedy([1.0] * 3, [0.0] * 3), CTK, PASSES)
    dozen = only(greedy([1.0] * 12, [0.0] * 12), CTK, PASSES)
    assert (three.verdict, three.p) == (Verdict.NO_DIFFERENCE, 0.25)
    assert (dozen.verdict, dozen.p) == (Verdict.WORSE, 2**-11)
    assert (dozen.difference, dozen.low) == (-1.0, -1.0)


def test_a_difference_takes_both_the_test_and_the_interval() -> None:
    """Six of twelve by a tenth: p is 0.03, but one problem more would undo it."""
    one = only(greedy([0.0] * 12, [0.1] * 6 + [0.0] * 6), CTK, PASSES)
    assert one.p == pytest.approx(1 / 32)
    assert one.low < 0
    assert one.verdict is Verdict.NO_DIFFERENCE


def test_repeats_and_cells_are_no_problems() -> None:
    """Answers of ten repeats at two temperatures are those of three problems."""
    runs = [
        run(
            n,
            n,
            {"ctk": kind, "temp": temp},
            passed={"a": 0.4 + (kind == "q8_0") / 2, "b": 0.5, "c": 0.1 * (n % 3)},
        )
        for n in range(10)
        for temp in TEMP.values
        for kind in CTK.values
    ]
    one = only(runs, CTK, PASSES, TEMP)
    assert (one.units, one.p) == (3, 1.0)
    assert one.difference == pytest.approx(0.5 / 3)


def test_problems_of_launches_that_were_broken_off_still_pair() -> None:
    """An answer does not know which launch it is of; but both sides must have it."""
    runs = [
        run(1, 1, {"temp": "0.6"}, passed={"a": 1.0, "b": 0.0, "c": 1.0}),
        run(2, 1, {"temp": "1.0"}, passed={"b": 1.0, "c": 1.0, "d": 0.0}),
    ]
    one = only(runs, TEMP, PASSES)
    assert (one.units, one.difference) == (2, 0.5)


def test_one_problem_is_too_few_whatever_the_repeats() -> None:
    """No number of repeats makes two of it."""
    one = only(greedy([1.0], [0.0]), CTK, PASSES)
    assert (one.verdict, one.repeats_needed) == (Verdict.TOO_FEW, None)


def test_rates_may_be_counted_by_problem() -> None:
    """Then their ratio is; the length of answers, for one."""
    lengths = Measure(
        name="length",
        unit="tokens",
        higher_is_better=False,
        kind=Kind.RATE,
        unit_of_analysis=UnitOfAnalysis.PROBLEM,
    )
    rows = {
        "f16": [100.0 + i for i in range(12)],
        "q8_0": [50.0 + i for i in range(12)],
    }
    runs = [
        replace(
            run(1, 1, {"ctk": kind}),
            problems={"length": {str(i): x for i, x in enumerate(row)}},
        )
        for kind, row in rows.items()
    ]
    one = only(runs, CTK, lengths)
    assert one.verdict is Verdict.BETTER
    assert -0.5 < one.difference < -0.4


def test_measures_that_cannot_be_are_refused() -> None:
    """A share of launches; an exact one that is no cost of a launch."""
    with pytest.raises(ValueError, match="counted by problem"):
        replace(PASSES, unit_of_analysis=UnitOfAnalysis.LAUNCH)
    with pytest.raises(ValueError, match="no cost counted by launch"):
        replace(PASSES, is_exact=True)
    with pytest.raises(ValueError, match="no cost counted by launch"):
        replace(SPEED, is_exact=True)


def contrast(
    factor: str,
    level: str,
    difference: float,
    verdict: Verdict,
    measure: Measure = SPEED,
) -> Contrast:
    """As judged elsewhere."""
    return Contrast(
        factor=factor,
        level=level,
        base="",
        measure=measure,
        difference=difference,
        low=0.0,
        high=0.0,
        p=0.0,
        units=5,
        verdict=verdict,
    )


KINDS = Factor(name="ctk", values=("f16", "q8_0", "q4_0"), base="f16", restarts=True)
ALL = [{"ctk": kind, "ub": ub} for kind in KINDS.values for ub in UB.values]


def test_the_base_is_recommended_unless_something_is_better() -> None:
    """A level that seems faster, or is by another measure, is no reason."""
    found = [
        contrast("ctk", "q8_0", 0.3, Verdict.NO_DIFFERENCE),
        contrast("ctk", "q4_0", -0.3, Verdict.WORSE),
        contrast("ub", "256", -0.3, Verdict.BETTER, VRAM),
    ]
    assert best((KINDS, UB), found, SPEED, ALL) == {"ctk": "f16", "ub": "512"}
    assert best((KINDS, UB), found, VRAM, ALL) == {"ctk": "f16", "ub": "256"}
    assert best((KINDS, UB), [], SPEED, []) == {"ctk": "f16", "ub": "512"}


def test_what_gains_most_is_recommended_of_what_ran() -> None:
    """Both factors' better levels; where that did not fit, the better of the rest."""
    found = [
        contrast("ctk", "q8_0", 0.1, Verdict.BETTER),
        contrast("ctk", "q4_0", 0.2, Verdict.BETTER),
        contrast("ub", "256", 0.15, Verdict.BETTER),
    ]
    cell = {"ctk": "q4_0", "ub": "256"}
    assert best((KINDS, UB), found, SPEED, ALL) == cell
    rest = [one for one in ALL if one != cell]
    assert best((KINDS, UB), found, SPEED, rest) == {"ctk": "q8_0", "ub": "256"}


def test_less_time_is_a_gain() -> None:
    """Half the time is more than what a quarter less and three tenths less make."""
    seconds = replace(SPEED, name="ttft", unit="s", higher_is_better=False)
    found = [
        contrast("ctk", "q8_0", -0.3, Verdict.BETTER, seconds),
        contrast("ctk", "q4_0", -0.5, Verdict.BETTER, seconds),
        contrast("ub", "256", -0.25, Verdict.BETTER, seconds),
    ]
    cell = {"ctk": "q4_0", "ub": "256"}
    assert best((KINDS, UB), found, seconds, ALL) == cell
    rest = [one for one in ALL if one != cell]
    assert best((KINDS, UB), found, seconds, rest) == {"ctk": "q4_0", "ub": "512"}
