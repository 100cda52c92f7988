from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from placer.report import model_page
from placer.report.contested import UNFINISHED, contest_blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.search.records import StudyRecord


def contender(name: str, absent: str | None = None) -> dict[str, Any]:
    """One that a contest was to measure."""
    split = None if absent else [20, 11]
    exceptions = None if absent else 6
    return {"name": name, "split": split, "exceptions": exceptions, "absent": absent}


def figure(name: str, depth: int, half: float | None = 0.5) -> dict[str, Any]:
    """What a contender did at a depth."""
    return {
        "contender": name,
        "depth": depth,
        "prefill_tokens_per_s": {"mean": 1200.04, "half_width": half},
        "decode_tokens_per_s": {"mean": 40.0, "half_width": half},
    }


ASKED = {
    "kind": "contest",
    "goal": "decode",
    "contenders": [
        contender("placer"),
        contender("--fit"),
        contender("one GPU", absent="nothing fits so, by formula"),
    ],
}


def ended(**changes: Any) -> dict[str, Any]:
    """A contest of two rounds, but for the changes."""
    found = {
        "kind": "contested",
        "rounds": 2,
        "figures": [figure("placer", 4096), figure("placer", 0), figure("--fit", 0)],
        "comparisons": [],
        "failed": {},
    }
    return found | changes


def said(study: StudyRecord) -> str:
    """All that is said of contests."""
    return "\n\n".join(contest_blocks(study))


def test_without_a_contest_there_is_no_section(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """Most searches are not followed by one."""
    heading = "## Beside --fit and one GPU"
    searched = study(fit(), best=1, others=[{"kind": "resumed"}])
    assert said(searched) == ""
    assert heading not in model_page("m", [searched])
    measured = study(fit(), best=1, others=[ASKED, ended()])
    assert heading in model_page("m", [measured])


def test_rates_stand_by_depth(study: Callable[..., StudyRecord]) -> None:
    """With their intervals, where there are any, and with what was launched."""
    figures = [figure("placer", 4096, half=None), figure("--fit", 0)]
    rows = said(study(others=[ASKED, ended(figures=figures)])).splitlines()
    cells = [[c.strip() for c in r.strip("|").split("|")] for r in rows if "20 +" in r]
    interval = "\N{PLUS-MINUS SIGN} 0.5"
    assert cells == [
        ["--fit", "20 + 11", "6", "0", f"1,200.0 {interval}", f"40.0 {interval}"],
        ["placer", "20 + 11", "6", "4,096", "1,200.0", "40.0"],
    ]


@pytest.mark.parametrize(
    ("outcome", "faster_by", "confidence", "sentence"),
    [
        (
            "faster",
            [0.041, 0.06, 0.089],
            0.992,
            (
                "The answer was 4.1 to 8.9 % faster than --fit, with a confidence of "
                "99.20 %."
            ),
        ),
        (
            "slower",
            [-0.089, -0.06, -0.041],
            0.999999,
            (
                "The answer was 4.1 to 8.9 % slower than --fit, with a confidence of "
                "over 99.99 %."
            ),
        ),
        (
            "alike",
            [-0.01, 0.0, 0.012],
            0.1,
            (
                "No difference was seen beside --fit: the answer was between 1.0 % "
                "slower and 1.2 % faster."
            ),
        ),
        (
            "open",
            [-0.1, 0.0, 0.2],
            0.1,
            (
                "It is not clear beside --fit: the answer was between 10.0 % slower "
                "and 20.0 % faster."
            ),
        ),
    ],
)
def test_a_comparison_is_a_sentence(
    outcome: str,
    faster_by: list[float],
    confidence: float,
    sentence: str,
    study: Callable[..., StudyRecord],
) -> None:
    """Faster, slower, no difference, and not clear are all answers."""
    one = {
        "rival": "--fit",
        "outcome": outcome,
        "faster_by": faster_by,
        "confidence": confidence,
    }
    assert f"- {sentence}\n" in said(study(others=[ASKED, ended(comparisons=[one])]))


def test_who_did_not_run_and_who_was_not_launched_is_said(
    study: Callable[..., StudyRecord],
) -> None:
    """With the verdict, or with the reason; and no table where nobody was measured."""
    failed = {"--fit": {"verdict": "OOM_IN_USE", "device": "CUDA1"}}
    page = said(study(others=[ASKED, ended(failed=failed, figures=[], rounds=1)]))
    assert page == (
        "- --fit did not run: OOM_IN_USE on CUDA1.\n"
        "- one GPU was not launched: nothing fits so, by formula.\n"
        "- One round was complete; what counted was decode."
    )


def test_the_newest_contest_counts(study: Callable[..., StudyRecord]) -> None:
    """One that was broken off has no result, whatever an older one had."""
    assert said(study(others=[ASKED, ended(), ASKED])) == UNFINISHED
    later = ended(rounds=7)
    assert "7 rounds were" in said(study(others=[ASKED, ended(), ASKED, later]))
