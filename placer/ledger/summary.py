"""The ledger, one line for each engine, backend and architecture."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from placer.ledger.correct import amount, newest
from placer.ledger.speeds import newest as newest_speeds
from placer.ledger.speeds import ratios_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.ledger.entry import Entry, Key
    from placer.ledger.speeds import Ratios, SpeedEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How figures lie, in bytes.

    Attributes:
        count: of them.
        low: the least; of residuals, negative where the formula was over.
        middle: the median.
        high: the most; of residuals, positive where the formula was under.
    """

    count: int
    low: int
    middle: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What is known of one architecture on one backend of one build.

    Attributes:
        key: which.
        dry_run: compute buffers by dry run less those by formula; None without any.
        overhead: what was seen to be taken beside the engine's buffers.
        corrections: bytes that are added to the next estimate, by place.
        decode_ratio: tokens per second measured over those predicted; None without any.
        prefill_ratio: the same of prompts.
    """

    key: Key
    dry_run: Spread | None
    overhead: Spread | None
    corrections: dict[str, int]
    decode_ratio: Ratios | None
    prefill_ratio: Ratios | None


def summary(
    entries: Sequence[Entry], speeds: Sequence[SpeedEntry], version: str
) -> tuple[Line, ...]:
    """The lines, in the order in which they were first seen."""
    keys = dict.fromkeys([e.key for e in entries] + [s.key for s in speeds])
    return tuple(
        _line(
            key,
            [entry for entry in entries if entry.key == key],
            [speed for speed in speeds if speed.key == key],
            version,
        )
        for key in keys
    )


def _line(
    key: Key, entries: Sequence[Entry], speeds: Sequence[SpeedEntry], version: str
) -> Line:
    current = [e for e in newest(entries) if e.version == version]
    by_place: dict[str, list[Entry]] = {}
    for entry in current:
        by_place.setdefault(entry.place, []).append(entry)
    added = {place: amount(alike) for place, alike in by_place.items()}
    decode, prefill = ratios_of(
        newest_speeds(speed for speed in speeds if speed.version == version)
    )
    return Line(
        key=key,
        dry_run=_spread([e.residual_bytes for e in current]),
        overhead=_spread([e.overhead_bytes for e in entries]),
        corrections={place: n for place, n in added.items() if n},
        decode_ratio=decode,
        prefill_ratio=prefill,
    )


def _spread(figures: Sequence[int | None]) -> Spread | None:
    known = [n_bytes for n_bytes in figures if n_bytes is not None]
    if not known:
        return None
    return Spread(
        count=len(known), low=min(known), middle=round(median(known)), high=max(known)
    )
