from __future__ import annotations

import pytest

from placer.router import divisions
from placer.router.divisions import MOST_ORDERS


@pytest.mark.parametrize("n", [2, 3, 4])
def test_no_division_gives_away_more_than_there_is(n: int) -> None:
    """But those in which each in turn may have all that is left."""
    rooms = (100, 60)
    for division in divisions(rooms, [10] * n):
        assert sorted(division.order) == list(range(n))
        for device, room in enumerate(rooms):
            shares = [share[device] for share in division.share_bytes]
            assert sum(shares) <= room or shares == [room] * n


def test_two_models_are_tried_in_both_orders_and_on_a_device_each() -> None:
    """And the memory is divided by their size, too."""
    found = list(divisions((100, 60), [30, 10]))
    shares = [division.share_bytes for division in found]

    whole = ((100, 60), (100, 60))
    assert [d.order for d in found if d.share_bytes == whole] == [(0, 1), (1, 0)]
    assert ((100, 0), (0, 60)) in shares
    assert ((0, 60), (100, 0)) in shares
    assert ((75, 45), (25, 15)) in shares


def test_many_models_are_not_tried_in_every_order() -> None:
    """Five have a hundred and twenty."""
    found = list(divisions((100, 60), [10] * 5))

    assert len(found) < MOST_ORDERS + 4
