from __future__ import annotations

from placer.plan.guess import SLACK_BYTES, Guess
from placer.units import GIB, MIB

MIDDLE, LAST = (0, False), (1, True)


def guess() -> Guess:
    """Of three devices, of which two were seen."""
    found = Guess(3, 64 * GIB)
    found.learn([MIDDLE, LAST], [100 * MIB, 300 * MIB, 0], fits=True)
    return found


def test_nothing_seen_is_nothing_taken() -> None:
    """The first answer is as large as it can be."""
    assert Guess(2, 64 * GIB).used == Guess(2, 64 * GIB).last == (0, 0)


def test_what_was_seen_of_one_device_is_believed_of_the_others() -> None:
    """In the middle, and what the output takes besides."""
    found = guess()

    assert found.used == (100 * MIB,) * 3
    assert found.last == (200 * MIB,) * 3


def test_where_only_the_end_was_seen_it_is_believed_of_all() -> None:
    """A model on one device alone."""
    found = Guess(2, 64 * GIB)
    found.learn([(0, True)], [300 * MIB, 0], fits=True)

    assert found.used == (300 * MIB, 300 * MIB)
    assert found.last == (0, 0)


def test_an_untouched_device_teaches_nothing() -> None:
    """Its 0 bytes are not what it takes with something on it."""
    found = guess()
    found.learn([MIDDLE], [100 * MIB, 0, 0], fits=True)

    assert found.last[1] == 200 * MIB


def test_what_is_right_is_not_worth_asking_again() -> None:
    """Nor is what is too large by little."""
    found = guess()
    right = [100 * MIB, 300 * MIB, 0]
    little = [100 * MIB, 300 * MIB - SLACK_BYTES, 0]

    assert not found.learn([MIDDLE, LAST], right, fits=True)
    assert not found.learn([MIDDLE, LAST], little, fits=True)
    assert found.last[1] == 200 * MIB


def test_what_is_too_large_by_more_shrinks() -> None:
    """Something better may fit."""
    found = guess()
    n_bytes = 300 * MIB - SLACK_BYTES - 1

    assert found.learn([MIDDLE, LAST], [100 * MIB, n_bytes, 0], fits=True)
    assert found.used[1] + found.last[1] == n_bytes


def test_what_does_not_fit_is_too_small() -> None:
    """It grows, by however little."""
    found = guess()

    assert found.learn([MIDDLE, LAST], [100 * MIB + 1, 300 * MIB, 0], fits=False)
    assert found.used[0] == 100 * MIB + 1


def test_what_fits_though_it_took_more_is_not_asked_again() -> None:
    """There was room; the guess is corrected all the same."""
    found = guess()

    assert not found.learn([MIDDLE, LAST], [101 * MIB, 300 * MIB, 0], fits=True)
    assert found.used[0] == 101 * MIB


def test_once_too_small_it_never_shrinks_again() -> None:
    """Or two placements could take turns for ever."""
    found = guess()
    found.learn([MIDDLE], [200 * MIB, 0, 0], fits=False)

    assert not found.learn([MIDDLE], [10 * MIB, 0, 0], fits=True)
    assert found.used[0] == 200 * MIB
