from __future__ import annotations

from typing import TYPE_CHECKING, Any

from placer.report.held import HOST, Held, exhausted, said_by, seen_in
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.search.records import StudyRecord


def buffer(device: str, phase: str, mib: int) -> dict[str, Any]:
    """A buffer as a journal has it."""
    return {"device": device, "phase": phase, "bytes": mib * MIB}


def mib_parts(held: Held) -> tuple[float | None, ...]:
    """The parts in MiB."""
    return tuple(None if part is None else part / MIB for part in held.parts)


def test_buffers_of_a_phase_add_up(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """Two caches of a device are one figure, all kinds of host memory another."""
    seen = fit(
        buffers=[
            buffer("CUDA0", "weights", 100),
            buffer("CPU_Mapped", "weights", 7),
            buffer("CUDA0", "context", 4),
            buffer("CUDA0", "context", 6),
            buffer("CUDA0", "compute", 20),
            buffer("CUDA_Host", "compute", 3),
            buffer("CPU", "compute", 1),
        ]
    )
    held = seen_in(study(seen), seen)
    assert list(held) == ["CUDA0", "CUDA1", HOST]
    assert mib_parts(held["CUDA0"]) == (100, 10, 20)
    assert mib_parts(held["CUDA1"]) == (0, 0, 0)
    assert mib_parts(held[HOST]) == (7, 0, 4)
    assert held["CUDA0"].total_bytes == 130 * MIB


def test_what_was_not_reported_is_not_known(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """A log without a word of a phase says nothing of it, least of all 0."""
    seen = fit(buffers=[buffer("CUDA0", "weights", 100)])
    held = seen_in(study(seen), seen)
    assert mib_parts(held["CUDA0"]) == (100, None, None)
    assert mib_parts(held["CUDA1"]) == (0, None, None)
    assert held["CUDA0"].total_bytes is None


def test_nothing_is_known_of_the_phase_that_failed(
    study: Callable[..., StudyRecord], trial: Callable[..., dict[str, Any]]
) -> None:
    """Of the phases before it, silence about a device means that it holds nothing."""
    failed = trial(
        phase="context",
        buffers=[buffer("CUDA0", "weights", 100), buffer("CUDA0", "context", 10)],
    )
    held = seen_in(study(failed), failed)
    assert mib_parts(held["CUDA0"]) == (100, 10, None)
    assert mib_parts(held["CUDA1"]) == (0, None, None)


def test_a_crash_while_loading_says_nothing_of_silence(
    study: Callable[..., StudyRecord], trial: Callable[..., dict[str, Any]]
) -> None:
    """Where it is not known which phase was over, only what was reported is."""
    buffers = [buffer("CUDA0", "weights", 100)]
    crashed = trial(verdict="CRASHED", phase=None, buffers=buffers)
    held = seen_in(study(crashed), crashed)
    assert mib_parts(held["CUDA1"]) == (None, None, None)


def test_memory_without_an_owner_keeps_its_name(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """It may be any device's, so of a device that is silent nothing is known."""
    seen = fit(buffers=[buffer("RPC0[host:1]", "weights", 5)])
    held = seen_in(study(seen), seen)
    assert list(held) == ["CUDA0", "CUDA1", "RPC0[host:1]", HOST]
    assert mib_parts(held["RPC0[host:1]"]) == (5, None, None)
    assert mib_parts(held["CUDA0"]) == (None, None, None)


def test_memory_of_a_remote_device_is_known_by_its_endpoint(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """The number in a buffer's name is another than that in the device's."""
    seen = fit(buffers=[buffer("RPC0[host:2]", "weights", 5)])
    devices = [
        {"name": f"RPC{index}", "description": f"host:{index + 1}"}
        for index in range(2)
    ]
    held = seen_in(study(seen, devices=devices), seen)
    assert list(held) == ["RPC0", "RPC1", HOST]
    assert held["RPC0"].weights_bytes == 0
    assert held["RPC1"].weights_bytes == 5 * MIB


def test_the_device_that_ran_out_may_be_unknown(
    study: Callable[..., StudyRecord], trial: Callable[..., dict[str, Any]]
) -> None:
    """Else it goes by the name that the engine lists it under."""
    devices = study().header["devices"]
    assert exhausted(trial(), devices) == "CUDA0"
    assert exhausted(trial(device=None), devices) is None
    assert exhausted(trial(device="Vulkan3"), devices) == "Vulkan3"


def test_an_estimate_is_read_device_by_device(
    trial: Callable[..., dict[str, Any]],
) -> None:
    """What it does not know stays unknown, and so does the sum."""
    formula = trial()["formula"]
    assert mib_parts(said_by(formula, 0)) == (100, 10, 20)
    assert mib_parts(said_by(formula, 1)) == (50, None, 5)
    assert mib_parts(said_by(formula, None)) == (7, 0, None)
    assert said_by(formula, 1).total_bytes is None
    assert said_by(None, 0) == Held()
