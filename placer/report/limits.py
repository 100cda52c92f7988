"""Why each device takes no more than the answer asks of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from placer.report.figures import mib_text
from placer.report.table import figure_columns, plain, table, text_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIMITS = (
    *text_columns("device"),
    *figure_columns(
        "MiB needed", "MiB left (observed)", "next step needs MiB", "seen to refuse MiB"
    ),
)


def limits_table(limits: Sequence[Mapping[str, Any]]) -> str:
    """What each device has left, and what would have to fit there."""
    rows = [
        [
            plain(limit["device"]),
            mib_text(limit["needs_bytes"]),
            mib_text(limit["left_bytes"]),
            _known_text(limit["step_bytes"], "none"),
            _known_text(limit["refused_bytes"], "nothing"),
        ]
        for limit in limits
    ]
    return table(LIMITS, rows)


def limit_sentence(limit: Mapping[str, Any]) -> str:
    """``"CUDA0 had 0.4 MiB left; the next step that would help needs 3.1 MiB more"``.

    Args:
        limit: as the ``end`` of a journal lists them.
    """
    device, left, step = limit["device"], limit["left_bytes"], limit["step_bytes"]
    had = f"{mib_text(left)} MiB" if left and left > 0 else "nothing"
    if step is None:
        beside = "" if left is None else f"; it had {had} left"
        return f"A little more of {device} would not help{beside}."
    if left is None:
        return f"The next step on {device} that would help {_step_text(limit)}."
    return (
        f"{device} had {had} left; the next step that would help {_step_text(limit)}."
    )


def _step_text(limit: Mapping[str, Any]) -> str:
    """What it needs, and whether that was seen to be too much or would even fit."""
    left, step = limit["left_bytes"], limit["step_bytes"]
    refused = limit["refused_bytes"]
    if step == 0:
        return "needs no more of it"
    text = f"needs {mib_text(step)} MiB more"
    if refused is not None and refused <= limit["needs_bytes"] + step:
        return f"{text}, which it was seen to refuse"
    if left is not None and step <= left:
        return f"{text}, and would leave {mib_text(left - step)} MiB"
    return text


def _known_text(n_bytes: int | None, otherwise: str) -> str:
    return otherwise if n_bytes is None else mib_text(n_bytes)
