from __future__ import annotations

import pytest

from placer.report.limits import limit_sentence, limits_table
from placer.search.limits import Limit
from placer.units import MIB


def limit(
    left: float | None, step: float | None, refused: float | None = None
) -> Limit:
    """A device that the answer asks for 60 MiB."""
    sizes = [None if n is None else int(n * MIB) for n in (left, step, refused)]
    return Limit(
        device="CUDA0",
        needs_bytes=60 * MIB,
        left_bytes=sizes[0],
        step_bytes=sizes[1],
        refused_bytes=sizes[2],
    )


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            limit(0.5, 3.125),
            "CUDA0 had 0.5 MiB left; the next step that would help needs 3.1 MiB more.",
        ),
        (
            limit(0.5, 3, refused=63),
            (
                "CUDA0 had 0.5 MiB left; the next step that would help needs 3 MiB "
                "more, which it was seen to refuse."
            ),
        ),
        (
            limit(0.5, 3, refused=64),
            "CUDA0 had 0.5 MiB left; the next step that would help needs 3 MiB more.",
        ),
        (
            limit(None, 3),
            "The next step on CUDA0 that would help needs 3 MiB more.",
        ),
        (
            limit(256, 3),
            (
                "CUDA0 had 256 MiB left; the next step that would help needs 3 MiB "
                "more, and would leave 253 MiB."
            ),
        ),
        (
            limit(0, 3),
            "CUDA0 had nothing left; the next step that would help needs 3 MiB more.",
        ),
        (
            limit(-1, 3),
            "CUDA0 had nothing left; the next step that would help needs 3 MiB more.",
        ),
        (
            limit(2, 0, refused=50),
            "CUDA0 had 2 MiB left; the next step that would help needs no more of it.",
        ),
        (
            limit(12, None, refused=80),
            "A little more of CUDA0 would not help; it had 12 MiB left.",
        ),
        (limit(None, None), "A little more of CUDA0 would not help."),
    ],
)
def test_a_limit_is_said_in_a_sentence(found: Limit, sentence: str) -> None:
    """What was left, what would help, and whether that was refused or would fit."""
    assert limit_sentence(found.record()) == sentence


def test_what_there_is_not_is_no_dash() -> None:
    """A dash is a figure that is not known; these are known not to be."""
    found = [limit(0.5, 3.125, refused=63), limit(None, None)]
    rows = limits_table([one.record() for one in found]).splitlines()[2:]
    assert [[cell.strip() for cell in row.strip("|").split("|")] for row in rows] == [
        ["CUDA0", "60", "0.5", "3.1", "63"],
        ["CUDA0", "60", "-", "none", "nothing"],
    ]
