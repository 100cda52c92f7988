"""What each launch teaches about a device."""

from __future__ import annotations

import pytest

from placer.search.evidence import SLACK_BYTES, DeviceEvidence, Evidence
from placer.testing.fake_shapes import fake_machine
from placer.units import GIB, MIB

UNIT = 10


def device(believed: int = 100, most: int = 1000) -> DeviceEvidence:
    """A device that should hold so much."""
    return DeviceEvidence(
        believed_bytes=believed, most_bytes=most, unit_bytes=UNIT, slack_bytes=3
    )


def test_what_confirms_the_estimate_does_not_move_it() -> None:
    """A load within the belief that is held, one beyond it that is refused."""
    one = device()
    one.hold(90, None)
    one.refuse(110)
    assert one.believed_bytes == 100
    assert one.held_bytes == 90
    assert one.ceiling_bytes == 109


def test_what_was_left_is_believed_and_bounds() -> None:
    """What a device had left is what it can take beyond, and no more."""
    one = device()
    one.hold(60, 25)
    assert one.believed_bytes == one.ceiling_bytes == 85
    one.hold(80, 7)
    assert one.believed_bytes == one.ceiling_bytes == 87


def test_a_device_that_holds_nothing_says_nothing() -> None:
    """The driver takes of it only when it is used."""
    one = device()
    one.hold(0, 500)
    assert one.believed_bytes == 100
    assert one.measured_bytes is None


def test_a_refusal_shows_a_reading_to_be_off() -> None:
    """It is then believed less by what a reading may be off, not thrown away."""
    one = device()
    one.hold(60, 25)
    one.refuse(84)
    assert one.ceiling_bytes == 81
    assert one.believed_bytes == 81
    one.hold(70, 20)
    assert one.ceiling_bytes == 81


def test_what_was_held_stands_against_any_reading() -> None:
    """A later reading that says less does not undo a launch that was seen."""
    one = device()
    one.hold(90, 0)
    one.hold(50, 20)
    assert one.believed_bytes == one.ceiling_bytes == 90


def test_refusals_step_down_faster_and_faster() -> None:
    """One step below what was refused, then five, then twenty-one, or half of it."""
    one = device()
    beliefs = []
    for asked in (100, 85, 30):
        one.refuse(asked)
        beliefs.append(one.believed_bytes)
    assert beliefs == [100 - 10, 85 // 2, 15]


def test_a_large_device_steps_by_a_share_of_itself() -> None:
    """Its smallest part may be a thousandth of it."""
    one = device(believed=16000, most=20000)
    one.refuse(16000)
    assert one.believed_bytes == 15000


def test_surprises_are_bisected_where_nothing_is_measured() -> None:
    """Between the most held and the least refused, in the middle."""
    one = device()
    one.refuse(100)
    one.hold(60, None)
    assert one.believed_bytes == 80
    one.refuse(80)
    assert one.believed_bytes == 70
    one.hold(70, None)
    assert one.believed_bytes == 75


def test_a_pessimistic_estimate_is_left_behind() -> None:
    """Each load held beyond the belief steps up faster."""
    one = device(believed=10)
    one.hold(20, None)
    assert one.believed_bytes == 30
    one.hold(35, None)
    assert one.believed_bytes == 85


def test_nothing_holds_more_than_is_free() -> None:
    """Whatever is believed; a reading may be off by a little."""
    machine = fake_machine([GIB, 24 * GIB])
    evidence = Evidence(machine, (MIB, MIB))
    assert evidence.believed == [GIB, 24 * GIB]
    assert evidence.ceilings == [GIB + SLACK_BYTES, 24 * GIB + 48 * MIB]


def test_what_one_device_hides_the_others_may_hide_too() -> None:
    """Those of which nothing is known are believed to hold as much less."""
    evidence = Evidence(fake_machine([1600, 800, 400]), (1, 1, 1))
    evidence.devices[2].hold(300, None)
    evidence.refuse(0, 1600)
    assert evidence.believed == [1500, 750, 400]


@pytest.mark.parametrize("asked", [1, 1599])
def test_a_refusal_below_the_belief_lowers_it(asked: int) -> None:
    """Memory ran out before all of it was asked for: it holds less than that."""
    evidence = Evidence(fake_machine([1600]), (1,))
    evidence.refuse(0, asked)
    assert evidence.believed[0] < asked
