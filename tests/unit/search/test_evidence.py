"""What each launch teaches about a device."""

from __future__ import annotations

from placer.placement import Workload
from placer.plan import Spread
from placer.plan.settle import families_for
from placer.search.evidence import DeviceEvidence, Evidence
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import KIB, MIB

UNIT = 10


def device(believed: int = 100) -> DeviceEvidence:
    """A device that should hold so much."""
    return DeviceEvidence(believed_bytes=believed, unit_bytes=UNIT)


def test_what_confirms_the_estimate_does_not_move_it() -> None:
    """A load within the belief that is held, one beyond it that is refused."""
    one = device()
    one.hold(90, None)
    one.refuse(110, 110)
    assert one.believed_bytes == 100
    assert one.held_bytes == 90
    assert one.refused_load_bytes == 110


def test_room_that_was_measured_is_believed() -> None:
    """What is left after a launch is what the device can take beyond it."""
    one = device()
    one.hold(60, 25)
    assert one.believed_bytes == 85


def test_refusals_step_down_faster_and_faster() -> None:
    """By 1, 3 and 7 units below what was refused, until something holds."""
    one = device()
    beliefs = []
    for load in (100, 85, 50):
        one.refuse(load, load)
        beliefs.append(one.believed_bytes)
    assert beliefs == [100 - 10, 85 - 30, 0]


def test_surprises_are_bisected_once_both_sides_are_seen() -> None:
    """Between the most held and the least refused, in the middle."""
    one = device()
    one.refuse(100, 100)
    one.hold(60, None)
    assert one.believed_bytes == 80
    one.refuse(80, 80)
    assert one.believed_bytes == 70
    one.hold(70, None)
    assert one.believed_bytes == 75


def test_a_pessimistic_estimate_is_left_behind() -> None:
    """Each load held beyond the belief steps up faster."""
    one = device(believed=10)
    one.hold(20, None)
    assert one.believed_bytes == 30
    one.hold(35, None)
    assert one.believed_bytes == 65


def test_what_was_not_asked_for_lowers_the_belief_further() -> None:
    """Weights alone that are refused leave no room for context and buffers."""
    one = device()
    one.refuse(100, 60)
    assert one.believed_bytes == 50
    assert one.refused_load_bytes == 100


def test_a_refusal_counts_with_its_compute_buffers() -> None:
    """The same load may fit beside smaller ones."""
    one = device()
    one.see(100, 40)
    one.refuse(100, 100)
    one.see(50, 30)
    assert one.refused_load_bytes == 110
    # A device that holds nothing says nothing about buffers beside a load.
    one.see(0, 5)
    assert one.refused_load_bytes == 110


SHAPE = fake_shape([FakeLayer(dense_kib=10, kv_heads=0)] * 9, output_kib=9)
WORKLOAD = Workload(ctx=256)


def layers_evidence(*believed_kib: int) -> Evidence:
    """Ten slots of about 11 KiB over devices that should hold so much."""
    machine = fake_machine([MIB] * len(believed_kib))
    family = families_for(SHAPE, WORKLOAD, machine)[len(believed_kib)]
    return Evidence(family, [kib * KIB for kib in believed_kib])


def test_the_believed_best_comes_first() -> None:
    """As many layers on the first device as it should hold."""
    assert layers_evidence(70, 70).next_spread(None) == Spread(slots=(6, 4))


def test_the_answer_stands_once_one_more_was_refused() -> None:
    """One launch that fits, one that does not, and there is nothing more to ask."""
    evidence = layers_evidence(70, 70)
    best = evidence.next_spread(None)
    assert best is not None
    evidence.hold(best, (0, 0), (None, None))
    more = evidence.next_spread(best)
    assert more == Spread(slots=(7, 3))
    evidence.refuse(more, (0, 0), 0, 0)
    assert evidence.next_spread(best) is None


def test_a_refused_spread_is_not_asked_again() -> None:
    """Not even where its compute buffers make another reading possible."""
    evidence = layers_evidence(70, 70)
    asked = []
    spread = evidence.next_spread(None)
    while spread is not None:
        asked.append(spread)
        compute = (30 * KIB, 0) if len(asked) == 1 else (1, 0)
        evidence.refuse(spread, compute, 0, 0)
        spread = evidence.next_spread(None)
    assert len(asked) == len(set(asked))
    assert asked[0] == Spread(slots=(6, 4))


def test_a_device_without_room_for_its_buffers_ends_the_family() -> None:
    """It ran out with no layer at all on it: nothing smaller can be asked."""
    evidence = layers_evidence(0, 200)
    spread = evidence.next_spread(None)
    assert spread == Spread(slots=(0, 10))
    evidence.refuse(spread, (5, 5), 0, 0)
    assert evidence.next_spread(None) is None
