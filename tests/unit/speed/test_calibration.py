from __future__ import annotations

from dataclasses import fields

import pytest

from placer.speed import FIELD_NOTES, Calibration


def test_the_field_notes_say_where_they_are_from() -> None:
    """Eight measurements on two machines."""
    assert "eight measurements" in FIELD_NOTES.source
    assert "DGX Spark" in FIELD_NOTES.source


@pytest.mark.parametrize(
    "name", [f.name for f in fields(Calibration) if f.name.endswith("_efficiency")]
)
def test_nothing_does_more_than_its_data_sheet(name: str) -> None:
    """Each efficiency is a share."""
    assert 0 < getattr(FIELD_NOTES, name) <= 1


def test_a_prediction_lies_between_its_bounds() -> None:
    """Prompts, of which nothing was measured, within wider ones."""
    decode, prefill = FIELD_NOTES.decode_spread, FIELD_NOTES.prefill_spread

    assert prefill[0] < decode[0] < 1 < decode[1] < prefill[1]


def test_what_no_launch_taught_changes_nothing() -> None:
    """The factors are those of a launch that ran as predicted."""
    assert (FIELD_NOTES.decode_factor, FIELD_NOTES.prefill_factor) == (1, 1)


def test_the_cpu_is_further_than_the_next_card() -> None:
    """What a hop starts with."""
    assert FIELD_NOTES.host_hop_s > FIELD_NOTES.device_hop_s > FIELD_NOTES.node_s
