from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from placer.report.boundary import boundary_sentence, boundary_trials

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.search.records import StudyRecord

CARDS = [{"name": name, "description": "a card"} for name in ("CUDA0", "CUDA1")]


def test_the_nearest_comes_first(
    study: Callable[..., StudyRecord],
    trial: Callable[..., dict[str, Any]],
    fit: Callable[..., dict[str, Any]],
) -> None:
    """Then those further off, then other strategies; what did not run out is no OOM."""
    searched = study(
        trial(number=1, strategy="A", slots=[31, 0]),
        trial(number=2, slots=[23, 8]),
        trial(number=3, slots=[21, 10]),
        fit(number=4),
        trial(number=5, verdict="CRASHED", phase=None, slots=[21, 10]),
        best=4,
    )
    assert [t["number"] for t in boundary_trials(searched)] == [3, 2, 1]


def test_without_an_answer_there_is_no_boundary(
    study: Callable[..., StudyRecord], trial: Callable[..., dict[str, Any]]
) -> None:
    """Nothing is one step beyond nothing."""
    assert boundary_trials(study(trial())) == ()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"slots": [21, 11], "phase": "weights"},
            (
                "One more layer on CUDA0: out of memory at weights, asked 24 MiB, "
                "11 MiB free (trial 1)."
            ),
        ),
        (
            {"slots": [22, 9]},
            (
                "2 more layers on CUDA0 and 2 fewer on CUDA1: out of memory at "
                "compute, asked 24 MiB, 11 MiB free (trial 1)."
            ),
        ),
        (
            {"slots": [21, 12], "device": "CUDA1", "phase": "in use"},
            (
                "One more layer on CUDA0 and one more on CUDA1: out of memory in use "
                "on CUDA1, asked 24 MiB, 11 MiB free (trial 1)."
            ),
        ),
        (
            {"slots": [20, 12], "asked_bytes": None, "free_bytes": 0},
            (
                "One more layer on CUDA1: out of memory at compute on CUDA0, "
                "0 MiB free (trial 1)."
            ),
        ),
        (
            {
                "slots": [21, 11],
                "device": None,
                "asked_bytes": None,
                "free_bytes": None,
            },
            (
                "One more layer on CUDA0: out of memory at compute on a device that "
                "the log does not name (trial 1)."
            ),
        ),
        (
            {"strategy": "A", "slots": [31, 0]},
            (
                "One GPU, 31 + 0: out of memory at compute on CUDA0, asked 24 MiB, "
                "11 MiB free (trial 1)."
            ),
        ),
        (
            {},
            (
                "The same split: out of memory at compute on CUDA0, asked 24 MiB, "
                "11 MiB free (trial 1)."
            ),
        ),
    ],
)
def test_a_step_is_said_in_layers(
    changes: dict[str, Any],
    sentence: str,
    trial: Callable[..., dict[str, Any]],
    fit: Callable[..., dict[str, Any]],
) -> None:
    """What was asked beyond the answer, when it failed, and the sizes if known."""
    assert boundary_sentence(trial(**changes), fit(), CARDS) == sentence


def test_a_step_of_experts_is_said_so(
    trial: Callable[..., dict[str, Any]], fit: Callable[..., dict[str, Any]]
) -> None:
    """Where the experts differ, they are the step, however the slots moved."""
    best = fit(strategy="D", kept=[5, 3])
    more = trial(strategy="D", slots=[19, 12], kept=[4, 5], device="CUDA1")
    assert boundary_sentence(more, best, CARDS) == (
        "The experts of 2 more layers on CUDA1 and of one fewer on CUDA0: out of "
        "memory at compute, asked 24 MiB, 11 MiB free (trial 1)."
    )
    moved = trial(strategy="D", slots=[21, 10], kept=[5, 3])
    assert boundary_sentence(moved, best, CARDS).startswith("One more layer on CUDA0")


def test_a_remote_device_goes_by_its_name(
    trial: Callable[..., dict[str, Any]], fit: Callable[..., dict[str, Any]]
) -> None:
    """The engine names its memory, which is that of the second by its endpoint."""
    remote = [
        {"name": f"RPC{index}", "description": f"10.0.0.{index}:50052"}
        for index in range(2)
    ]
    failed = trial(device="RPC0[10.0.0.1:50052]")
    assert " on RPC1, asked" in boundary_sentence(failed, fit(), remote)
    more = trial(device="RPC0[10.0.0.1:50052]", slots=[20, 12])
    assert boundary_sentence(more, fit(), remote).startswith(
        "One more layer on RPC1: out of memory at compute, asked"
    )
