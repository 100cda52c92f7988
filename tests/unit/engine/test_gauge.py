"""What others take meanwhile, and what comes back afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from placer.engine import gauge as gauge_module
from placer.engine.gauge import Gauge
from placer.errors import MachineError
from placer.units import MIB

if TYPE_CHECKING:
    import pytest

FREE = (400 * MIB, 300 * MIB)
Bytes = tuple[int, ...]


@dataclass(slots=True)
class Watch:
    """Says what it is told to, one figure after the other."""

    others: list[Bytes | None]
    peaks: list[Bytes | None] = field(default_factory=list)

    def peak_bytes(self, pid: int) -> Bytes | None:
        """The next peak."""
        del pid
        return self.peaks.pop(0) if self.peaks else None

    def others_bytes(self, pid: int) -> Bytes | None:
        """The next figure of the others."""
        del pid
        return self.others.pop(0)


def others_after(*figures: Bytes | None) -> Bytes | None:
    """What the others are said to have taken after these figures."""
    gauge = Gauge(watch=Watch([*figures]), free_now=None, free_bytes=FREE)
    for _ in figures:
        gauge.sample(1)
    return gauge.others


def test_others_are_counted_from_where_they_stood() -> None:
    """Only what came meanwhile counts, at its most, device by device."""
    assert others_after((100, 50), (180, 50), (90, 70), (90, 60)) == (80, 20)
    assert others_after((100, 50), (10, 5)) == (0, 0)
    # A device that was empty at first is no device of which nothing is known.
    assert others_after((0, 0), (30, 0)) == (30, 0)


def test_nobody_says_nothing() -> None:
    """A watch that knows nothing yet is asked again; one that never does is None."""
    assert others_after(None, (100, 50), None, (101, 50)) == (1, 0)
    assert others_after(None, None) is None
    unseen = Gauge(watch=None, free_now=None, free_bytes=FREE)
    unseen.sample(1)
    assert (unseen.peak, unseen.others, unseen.free_after()) == (None, None, None)


def test_the_last_peak_stays() -> None:
    """A process that has ended holds nothing, and its peak is what it was."""
    gauge = Gauge(
        watch=Watch([None] * 2, [(5, 6), None]), free_now=None, free_bytes=FREE
    )
    gauge.sample(1)
    gauge.sample(1)
    assert gauge.peak == (5, 6)


def test_memory_is_waited_for_that_comes_back_late() -> None:
    """Drivers take a moment; what others hold by then stays away."""
    answers = [(10 * MIB, 300 * MIB), (10 * MIB, 300 * MIB), (380 * MIB, 300 * MIB)]
    gauge = Gauge(watch=None, free_now=lambda: answers.pop(0), free_bytes=FREE)
    assert gauge.free_after() == (380 * MIB, 300 * MIB)
    assert answers == []


def test_memory_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not back in time is missing."""
    monkeypatch.setattr(gauge_module, "GIVEN_BACK_WITHIN_S", 0.05)
    gauge = Gauge(watch=None, free_now=lambda: (0, 300 * MIB), free_bytes=FREE)
    assert gauge.free_after() == (0, 300 * MIB)


def test_a_machine_that_does_not_answer_any_more_has_nothing_to_say() -> None:
    """A lost device makes the engine's list fail; the launch is judged all the same."""

    def fail() -> Bytes:
        raise MachineError("lists no device")

    assert Gauge(watch=None, free_now=fail, free_bytes=FREE).free_after() is None
