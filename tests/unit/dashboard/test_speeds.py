from __future__ import annotations

import pytest

from placer.dashboard.speeds import Speedometer
from placer.engine.health import Health
from placer.engine.live_stats import Counters, ServerStats, Slot


def slot(number: int = 0, *, task: int = 1, prompt: int = 0, decoded: int = 0) -> Slot:
    """A slot at work."""
    return Slot(
        number=number,
        ctx=4096,
        is_processing=True,
        task=task,
        prompt_tokens=prompt,
        decoded_tokens=decoded,
    )


IDLE = Slot(number=0, ctx=4096, is_processing=False)


def stats(*slots: Slot, counters: Counters | None = None) -> ServerStats:
    """What a server answers."""
    return ServerStats(health=Health.READY, slots=slots, counters=counters)


def test_slots_that_write_are_added_up() -> None:
    """What all of them wrote since the last look, by the time since then."""
    meter = Speedometer()
    meter.read(stats(slot(decoded=100), slot(1, decoded=10)), 5.0)
    speeds = meter.read(stats(slot(decoded=140), slot(1, decoded=30)), 7.0)
    assert speeds.decode == pytest.approx(30.0)
    assert speeds.prompt == 0.0


def test_the_first_look_knows_no_speed() -> None:
    """A server in the middle of its work was not watched before."""
    assert Speedometer().read(stats(slot(decoded=100)), 5.0).decode is None


def test_a_speed_holds_for_as_long_as_a_batch_took() -> None:
    """And goes down from then on, as nothing more is read."""
    meter = Speedometer()
    meter.read(stats(slot(prompt=0)), 0.0)
    assert meter.read(stats(slot(prompt=0)), 1.0).prompt is None
    assert meter.read(stats(slot(prompt=2000)), 2.0).prompt == 1000
    assert meter.read(stats(slot(prompt=2000)), 3.0).prompt == 1000
    assert meter.read(stats(slot(prompt=2000)), 6.0).prompt == 500
    assert meter.read(stats(slot(prompt=4000)), 6.0).prompt == 500
    assert meter.read(stats(IDLE), 7.0).prompt == 0


def test_a_new_request_begins_at_nothing() -> None:
    """A slot's count that is smaller than before is another request's."""
    meter = Speedometer()
    meter.read(stats(slot(task=1, decoded=900)), 0.0)
    assert meter.read(stats(slot(task=2, decoded=50)), 1.0).decode == 50


def test_requests_between_two_looks_are_counted_by_the_server() -> None:
    """No slot was seen at work, the counters moved: theirs is the speed."""
    meter = Speedometer()
    meter.read(stats(IDLE, counters=Counters()), 0.0)
    moved = Counters(prompt_tokens=300, prompt_s=0.2, decoded_tokens=40, decode_s=0.5)
    speeds = meter.read(stats(IDLE, counters=moved), 1.0)
    assert speeds.prompt == pytest.approx(1500)
    assert speeds.decode == pytest.approx(80)
    speeds = meter.read(stats(IDLE, counters=moved), 2.0)
    assert (speeds.prompt, speeds.decode) == (0, 0)


def test_a_server_that_says_nothing_has_no_speed() -> None:
    """Neither slots nor counters: not known is not zero."""
    meter = Speedometer()
    silent = ServerStats(health=Health.READY)
    meter.read(silent, 0.0)
    speeds = meter.read(silent, 1.0)
    assert (speeds.prompt, speeds.decode) == (None, None)
