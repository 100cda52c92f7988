"""What devices held and drew while a server worked."""

from __future__ import annotations

import time
from itertools import chain, repeat

from placer.engine.meter import PERIOD_S, Lap, Meter
from placer.machine.sensors import NOTHING, CardReading
from placer.machine.spec import machine_of_spec

DEVICES = machine_of_spec("CUDA0:24564,CUDA1:16303").devices
Readings = tuple[CardReading, ...]


class Cards:
    """Shows what it is told to, and then the last of it again and again."""

    def __init__(self, *shown: Readings) -> None:
        self.shown = chain(shown, repeat(shown[-1]))
        self.looks = 0

    def __call__(self, devices: object) -> Readings:
        """The next reading."""
        self.looks += 1
        return next(self.shown)


class Watch:
    """A process that holds ever more, until nobody sees it any more."""

    def __init__(self) -> None:
        self.held: list[tuple[int, ...] | None] = [(1, 0), (5, 2), None]

    def peak_bytes(self, pid: int) -> tuple[int, ...] | None:
        return self.held.pop(0) if len(self.held) > 1 else self.held[0]

    def others_bytes(self, pid: int) -> tuple[int, ...] | None:
        return None


def drawing(first: float, second: float, used: int = 0) -> Readings:
    """Both cards at a moment."""
    return (
        CardReading(power_w=first, used_bytes=used),
        CardReading(power_w=second, used_bytes=2 * used),
    )


def meter(cards: Cards, watch: Watch | None = None) -> Meter:
    """One that is not running: it looks only when it is asked."""
    return Meter(devices=DEVICES, pid=7, watch=watch, cards=cards)


def test_a_lap_has_the_mean_of_what_was_drawn_and_the_most_that_was_held() -> None:
    """Of the looks since the lap before, and no others."""
    found = meter(Cards(drawing(100, 50, 9), drawing(300, 70, 4)))
    first, second = found.lap(), found.lap()
    assert (first.watts, first.used_bytes) == ((100, 50), (9, 18))
    assert (second.watts, second.used_bytes) == ((300, 70), (4, 8))


def test_energy_is_power_by_time() -> None:
    """Of all devices together; unknown where one of them is."""
    assert Lap(seconds=2.0, watts=(100.0, 50.0)).joules == 300.0
    assert Lap(seconds=2.0, watts=(100.0, None)).joules is None
    assert Lap(seconds=2.0).joules is None


def test_what_nobody_says_is_not_known() -> None:
    """Emulated devices draw nothing that could be measured."""
    lap = meter(Cards((NOTHING, NOTHING))).lap()
    assert lap.watts == (None, None)
    assert lap.used_bytes == (None, None)
    assert lap.held_bytes is None


def test_what_a_server_held_is_remembered_after_its_end() -> None:
    """The watch says its peak while it sees the process."""
    found = meter(Cards((NOTHING, NOTHING)), Watch())
    assert [found.lap().held_bytes for _ in range(3)] == [(1, 0), (5, 2), (5, 2)]


def test_it_looks_by_itself_until_its_block_ends() -> None:
    """And not once more after that."""
    cards = Cards(drawing(100, 50))
    with meter(cards):
        time.sleep(2.5 * PERIOD_S)
    looks = cards.looks
    assert looks >= 1
    time.sleep(1.5 * PERIOD_S)
    assert cards.looks == looks
