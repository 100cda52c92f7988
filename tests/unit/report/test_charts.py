from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from placer.report.charts import EMULATED, chart_link, study_charts
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.report.chart import Bar, Chart
    from placer.search.records import StudyRecord

BUFFERS = [
    {"device": name, "phase": phase, "bytes": size * MIB}
    for name, sizes in {"CUDA0": (101, 11, 21), "CUDA1": (51, 3, 6)}.items()
    for phase, size in zip(("weights", "context", "compute"), sizes, strict=True)
]
CONTEST = (
    {"kind": "contest", "goal": "decode", "contenders": [{"name": "placer"}]},
    {
        "kind": "contested",
        "figures": [
            {
                "contender": name,
                "depth": 512,
                "decode_tokens_per_s": {"mean": mean, "half_width": half},
                "prefill_tokens_per_s": {"mean": mean * 20, "half_width": half},
            }
            for name, mean, half in (("placer", 50.0, 0.5), ("--fit", 40.0, None))
        ],
    },
)


def bars_of(chart: Chart) -> dict[str, dict[str, Bar]]:
    """The bars by group and label."""
    return {g.title: {bar.label: bar for bar in g.bars} for g in chart.groups}


def figures(bar: Bar) -> dict[str, float]:
    """Its parts by kind."""
    return {part.kind: part.value for part in bar.parts}


def test_each_source_has_a_bar_of_its_own(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """Formula, dry run and observation stand beside each other, and free memory."""
    found = study_charts(study(fit(buffers=BUFFERS), best=1))["memory"]
    held = bars_of(found)["CUDA0, 200 MiB free"]
    assert list(held) == ["formula", "dry run", "observed"]
    seen = {"weights": 101, "context": 11, "compute": 21, "left": 67}
    assert figures(held["observed"]) == seen
    assert held["observed"].mark == 200
    assert held["formula"].text == "130, 70 left"


def test_what_is_not_known_has_no_bar(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """A source that does not know a part is left out, never drawn as if it were 0."""
    found = study_charts(study(fit(), best=1))["memory"]
    assert list(bars_of(found)["CUDA0, 200 MiB free"]) == ["formula", "dry run"]
    assert not bars_of(found)["CUDA1, 200 MiB free"]


def test_more_than_is_free_is_said(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """A bar that goes beyond its mark says by how much, and has nothing left."""
    tight = fit(free_before_bytes=[128 * MIB, 200 * MIB])
    found = study_charts(study(tight, best=1))["memory"]
    bar = bars_of(found)["CUDA0, 128 MiB free"]["formula"]
    assert bar.text == "130, 2 too much"
    assert figures(bar)["left"] == 0


def test_predicted_stands_beside_measured(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """The prediction with its interval, the measurement, and no contest."""
    found = bars_of(study_charts(study(fit(), best=1))["written"])
    assert list(found) == [""]
    assert found[""]["predicted"].span == (40.0, 60.0)
    assert found[""]["predicted"].text == "48.0 (40.0 to 60.0)"
    assert found[""]["measured"].text == "50.0"


def test_contenders_are_grouped_by_depth(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """Who was measured in turn is drawn with its interval, the answer told apart."""
    found = study_charts(study(fit(), best=1, others=CONTEST))
    duel = bars_of(found["written"])["In turn, with 512 tokens in the cache"]
    assert figures(duel["placer"]) == {"answer": 50.0}
    assert figures(duel["--fit"]) == {"rival": 40.0}
    assert duel["placer"].span == (49.5, 50.5)
    assert duel["--fit"].text == "40.0"
    reads = bars_of(found["read"])["In turn, with 512 tokens in the cache"]
    assert reads["placer"].text == "1,000.0 ± 0.5"


def test_a_contest_that_did_not_end_is_not_drawn(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """What is under way has no figures."""
    found = study_charts(study(fit(), best=1, others=CONTEST[:1]))["written"]
    assert list(bars_of(found)) == [""]


def test_a_launch_shows_where_it_ran_out(
    study: Callable[..., StudyRecord],
    trial: Callable[..., dict[str, Any]],
    fit: Callable[..., dict[str, Any]],
) -> None:
    """The device that ran out is told from those that did not, and from a fit."""
    found = study_charts(study(fit(), trial(number=2), best=1))["launches"]
    first, second = (group.bars for group in found.groups)
    assert [part.kind for bar in first for part in bar.parts] == ["fits"]
    assert [part.kind for bar in second for part in bar.parts] == ["oom"]
    assert second[0].text == "130 of 200"
    title = "2. layers over the GPUs, 20 + 11: out of memory at compute"
    assert found.groups[1].title == title


def test_without_a_dry_run_the_formula_is_named(
    study: Callable[..., StudyRecord], trial: Callable[..., dict[str, Any]]
) -> None:
    """No figure of the formula passes for one of the engine."""
    found = study_charts(study(trial(dry_run=None)))
    assert list(found) == ["launches"]
    assert found["launches"].groups[0].bars[0].text == "130 of 200 by formula"


def test_a_search_without_launches_has_no_chart(
    study: Callable[..., StudyRecord],
) -> None:
    """An empty chart is not made."""
    assert not study_charts(study())


def test_the_speed_of_emulated_devices_is_explained(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """Nobody takes it for a card's."""
    real = study(fit(), best=1)
    emulated = replace(real, header=real.header | {"emulated": True})
    assert EMULATED in study_charts(emulated)["written"].note
    assert EMULATED not in study_charts(real)["written"].note


def test_a_link_holds_a_name_with_spaces(
    study: Callable[..., StudyRecord], trial: Callable[..., dict[str, Any]]
) -> None:
    """A bare MODEL.gguf can be named anything, and the link is one all the same."""
    (chart,) = study_charts(study(trial(), profile="my [new] model")).values()
    link = chart_link(chart, "my model/launches.svg")
    assert link.endswith("](my%20model/launches.svg)")
    assert link.startswith(r"![my [new] model: what each launch asked")
