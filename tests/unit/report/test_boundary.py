from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from placer.report.boundary import boundary_sentence, boundary_trials
from placer.units import MIB

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
                "The same placement: out of memory at compute on CUDA0, asked 24 MiB, "
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


def d_args(split: str, overrides: str) -> list[str]:
    """The flags of a placement with experts on the CPU."""
    return ["-m", "m.gguf", "-ngl", "31", "-ts", split, "-ot", overrides]


def test_a_step_of_experts_is_said_in_tensors(
    trial: Callable[..., dict[str, Any]], fit: Callable[..., dict[str, Any]]
) -> None:
    """Expert tensors, and the layers with them where those differ too."""
    best = fit(strategy="D", kept=[15, 9])
    more = trial(strategy="D", kept=[14, 11], device="CUDA1")
    assert boundary_sentence(more, best, CARDS) == (
        "2 more expert tensors on CUDA1 and one fewer on CUDA0: out of memory at "
        "compute, asked 24 MiB, 11 MiB free (trial 1)."
    )
    both = trial(strategy="D", slots=[20, 12], kept=[16, 9])
    assert boundary_sentence(both, best, CARDS) == (
        "One more layer on CUDA1, with one more expert tensor on CUDA0: out of memory "
        "at compute on CUDA0, asked 24 MiB, 11 MiB free (trial 1)."
    )
    moved = trial(strategy="D", slots=[21, 10], kept=[15, 9])
    assert boundary_sentence(moved, best, CARDS).startswith("One more layer on CUDA0")


def test_where_all_differs_the_split_and_its_bytes_are_said(
    trial: Callable[..., dict[str, Any]], fit: Callable[..., dict[str, Any]]
) -> None:
    """No list of changes that nobody could follow; bytes only where all are known."""
    best = fit(strategy="D", kept=[15, 9])
    other = trial(strategy="D", slots=[10, 21], kept=[6, 20])
    assert boundary_sentence(other, best, CARDS) == (
        "Another split, 10 + 21, 6 + 20 expert tensors: out of memory at compute on "
        "CUDA0, asked 24 MiB, 11 MiB free (trial 1)."
    )
    best["formula"] = sizes(100, 50)
    other["formula"] = sizes(98, 60)
    assert boundary_sentence(other, best, CARDS).startswith(
        "Another split, 10 + 21, 6 + 20 expert tensors, by formula 2 MiB less of CUDA0 "
        "and 10 MiB more of CUDA1: out of memory"
    )


def sizes(*mib: int) -> dict[str, Any]:
    """A formula's figures for devices that hold so much."""
    rows = [
        {"model_bytes": n * MIB, "context_bytes": 0, "compute_bytes": 0} for n in mib
    ]
    return {"devices": rows, "host": {}}


def test_tensors_on_another_gpu_are_not_counted_where_their_layer_is(
    trial: Callable[..., dict[str, Any]], fit: Callable[..., dict[str, Any]]
) -> None:
    """Numbers a device would be wrong then, so that the sum is said."""
    best = fit(strategy="D", kept=[15, 9], args=d_args("20,11", "a=CPU,b=CUDA1"))
    more = trial(strategy="D", kept=[16, 9], args=d_args("20,11", "a=CPU"))
    best["formula"], more["formula"] = sizes(10, 20), sizes(13, 20)
    assert boundary_sentence(more, best, CARDS).startswith(
        "Another split, 20 + 11, 16 + 9 expert tensors, by formula 3 MiB more of CUDA0:"
    )
    moved = trial(strategy="D", kept=[16, 9], args=d_args("20,11", "b=CUDA1"))
    assert boundary_sentence(moved, best, CARDS).startswith(
        "Another split, 20 + 11, 25 expert tensors"
    )
    same = trial(strategy="D", kept=[15, 9], args=best["args"])
    assert boundary_sentence(same, best, CARDS).startswith("The same placement: out")


def test_the_same_numbers_of_other_tensors_are_no_same_placement(
    trial: Callable[..., dict[str, Any]], fit: Callable[..., dict[str, Any]]
) -> None:
    """Tensors differ in size."""
    best = fit(strategy="D", kept=[15, 9], args=d_args("20,11", "a=CPU"))
    other = trial(strategy="D", kept=[15, 9], args=d_args("20,11", "b=CPU"))
    assert boundary_sentence(other, best, CARDS).startswith(
        "The same split, other tensors: out of memory at compute on CUDA0"
    )


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
