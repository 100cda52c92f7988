from __future__ import annotations

from typing import TYPE_CHECKING, Any

from placer.report import oom_page
from placer.report.oom_page import HOW_TO_READ, NONE_YET
from placer.report.tried import EVIDENCE_MAX_CHARS
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.search.records import StudyRecord


def test_without_any_it_says_so(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """No profile, and a profile in which all fitted, are the same to it."""
    page = oom_page({})
    assert page.endswith(f"\n\n{NONE_YET}\n")
    assert oom_page({"m": [study(fit(), best=1)]}) == page


def test_they_are_counted_by_phase_and_device(
    study: Callable[..., StudyRecord], trial: Callable[..., dict[str, Any]]
) -> None:
    """Over all studies of a profile; a device without a name stands last."""
    first = study(trial(), trial(device="CUDA1"), trial(device=None, phase="weights"))
    second = study(
        trial(),
        trial(verdict="OOM_IN_USE", phase="in use"),
        trial(verdict="CRASHED", phase=None),
        folder="20261124-000000",
    )
    page = oom_page({"m": [first, second], "a": [study(trial(device="Vulkan0"))]})
    summary = page.split("## Summary\n\n")[1].split("\n\n")[0]
    assert summary == (
        "| profile | device  | weights | context | compute | in use | all |\n"
        "| ------- | ------- | ------: | ------: | ------: | -----: | --: |\n"
        "| a       | Vulkan0 |       0 |       0 |       1 |      0 |   1 |\n"
        "| m       | CUDA0   |       0 |       0 |       2 |      1 |   3 |\n"
        "| m       | CUDA1   |       0 |       0 |       1 |      0 |   1 |\n"
        "| m       | -       |       1 |       0 |       0 |      0 |   1 |"
    )


def test_they_are_grouped_by_profile_and_phase(
    study: Callable[..., StudyRecord], trial: Callable[..., dict[str, Any]]
) -> None:
    """Phases stand in the engine's order, studies the newest first."""
    old = study(trial(), folder="20261101-000000", started="2026-11-01")
    new = study(
        trial(verdict="OOM_IN_USE", phase="in use"),
        trial(number=2),
        folder="20261102-000000",
        started="2026-11-02",
    )
    page = oom_page({"m": [old, new], "b": [old]})
    lines = page.split("## Summary")[1].splitlines()
    heads = [line for line in lines if line.startswith("#")]
    assert heads == ["## b", "### Compute", "## m", "### Compute", "### In use"]
    compute = page.split("## m")[1].split("### In use")[0]
    assert compute.index("20261102-000000") < compute.index("20261101-000000")


def test_what_was_held_by_then_is_told(
    study: Callable[..., StudyRecord], trial: Callable[..., dict[str, Any]]
) -> None:
    """Of the devices, as far as the log says; a dash where it says nothing at all."""
    buffers = [
        {"device": "CUDA0", "phase": "weights", "bytes": 61 * MIB},
        {"device": "CPU", "phase": "weights", "bytes": 9 * MIB},
        {"device": "CUDA0", "phase": "context", "bytes": 8 * MIB},
    ]
    page = oom_page({"m": [study(trial(buffers=buffers))]})
    assert "| CUDA0 61 + 8 + -; CUDA1 0 + 0 + - |" in page
    page = oom_page({"m": [study(trial(phase="weights"))]})
    assert "|        24 |       11 | -                |" in page


def test_the_evidence_is_fit_for_a_table(
    study: Callable[..., StudyRecord], trial: Callable[..., dict[str, Any]]
) -> None:
    """One row a line, bars and backticks kept, folders gone, and no endless line."""
    evidence = ["a | `b` /home/jo/c.cu:9", "x" * 5000]
    page = oom_page({"m": [study(trial(evidence=evidence))]})
    assert r"| ``a \| `b` c.cu:9``" in page
    assert f"`{'x' * EVIDENCE_MAX_CHARS}...` |" in page
    assert "what the engine said" not in oom_page({"m": [study(trial(evidence=[]))]})


def test_it_says_how_to_read_it(
    study: Callable[..., StudyRecord], trial: Callable[..., dict[str, Any]]
) -> None:
    """Every phase is explained, with a flag that helps."""
    page = oom_page({"m": [study(trial())]})
    for phase in ("weights", "context", "compute", "in use"):
        assert f"- **{phase}**: " in HOW_TO_READ
    assert HOW_TO_READ in page
