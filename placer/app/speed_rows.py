"""Launches of a bench of speed as rows: the mean of each figure, and how sure it is.

The launch is the unit: what was asked within one is one figure already.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from placer.app.speed_asking import Pace
from placer.app.speed_question import Cell, Launch, Settings
from placer.measure.student import half_width

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FIGURES = (
    "prefill_tokens_per_s",
    "decode_tokens_per_s",
    "user_decode_tokens_per_s",
    "ttft_s",
    "joules",
    "tokens_per_joule",
)
DEVICE_FIGURES = ("held_bytes", "used_bytes", "watts")
DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One cell of one launch."""

    launch: Launch
    cell: Cell
    pace: Pace

    def record(self) -> dict[str, Any]:
        """As the journal has it."""
        pace = self.pace
        figures = {name: _rounded(getattr(pace, name)) for name in FIGURES}
        held = pace.held_bytes
        return {
            "launch": self.launch.number,
            "repeat": self.launch.repeat,
            **self.launch.settings.record(),
            "depth": self.cell.depth,
            "users": self.cell.users,
            **figures,
            "held_bytes": None if held is None else list(held),
            "used_bytes": list(pace.used_bytes),
            "watts": [_rounded(watts) for watts in pace.watts],
        }


def sample_of(record: Mapping[str, Any]) -> Sample:
    """What :meth:`Sample.record` wrote."""
    held = record["held_bytes"]
    return Sample(
        launch=Launch(
            number=record["launch"],
            repeat=record["repeat"],
            settings=Settings(batch=record["batch"], ubatch=record["ubatch"]),
        ),
        cell=Cell(depth=record["depth"], users=record["users"]),
        pace=Pace(
            **{name: record[name] for name in FIGURES},
            held_bytes=None if held is None else tuple(held),
            used_bytes=tuple(record["used_bytes"]),
            watts=tuple(record["watts"]),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A figure over launches.

    Attributes:
        mean: of the launches that told it.
        half_width: of its interval, as a share of it; None for a single launch.
    """

    mean: float
    half_width: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One cell under one setting, over all launches.

    Attributes:
        settings: of the launches.
        cell: what was asked of them.
        n: how many launches.
        figures: by their names; None where no launch told one.
        held_bytes: the most that the server held of each device; None for not known.
        used_bytes: the most that all processes held of each.
        watts: what each drew on average.
    """

    settings: Settings
    cell: Cell
    n: int
    figures: Mapping[str, Mean | None]
    held_bytes: tuple[int, ...] | None
    used_bytes: tuple[int | None, ...]
    watts: tuple[float | None, ...]

    def record(self) -> dict[str, Any]:
        """As the journal and ``--json`` have it."""
        held = self.held_bytes
        return {
            **self.settings.record(),
            "depth": self.cell.depth,
            "users": self.cell.users,
            "n": self.n,
            **{name: _mean_record(mean) for name, mean in self.figures.items()},
            "held_bytes": None if held is None else list(held),
            "used_bytes": list(self.used_bytes),
            "watts": [_rounded(watts) for watts in self.watts],
        }


def rows_of(samples: Iterable[Sample]) -> tuple[Row, ...]:
    """A row a setting and cell, in their order."""
    found: dict[tuple[Settings, Cell], list[Pace]] = {}
    for one in samples:
        found.setdefault((one.launch.settings, one.cell), []).append(one.pace)
    return tuple(_row(*key, paces) for key, paces in sorted(found.items(), key=_key))


def _key(item: tuple[tuple[Settings, Cell], list[Pace]]) -> tuple[Settings, Cell]:
    return item[0]


def _row(settings: Settings, cell: Cell, paces: Sequence[Pace]) -> Row:
    held = [pace.held_bytes for pace in paces if pace.held_bytes is not None]
    used = zip(*(pace.used_bytes for pace in paces), strict=True)
    watts = zip(*(pace.watts for pace in paces), strict=True)
    return Row(
        settings=settings,
        cell=cell,
        n=len(paces),
        figures={
            name: mean_of([getattr(pace, name) for pace in paces]) for name in FIGURES
        },
        held_bytes=tuple(map(max, zip(*held, strict=True))) if held else None,
        used_bytes=tuple(max(_known(each), default=None) for each in used),
        watts=tuple(fmean(_known(each)) if _known(each) else None for each in watts),
    )


def mean_of(figures: Sequence[float | None]) -> Mean | None:
    """Their mean and its interval; None where nobody told one."""
    known = _known(figures)
    if not known:
        return None
    width = half_width(known)
    return Mean(mean=fmean(known), half_width=width if math.isfinite(width) else None)


def _known(figures: Iterable[Any]) -> list[Any]:
    return [figure for figure in figures if figure is not None]


def _mean_record(mean: Mean | None) -> dict[str, float | None] | None:
    if mean is None:
        return None
    return {"mean": _rounded(mean.mean), "half_width": _rounded(mean.half_width)}


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, DIGITS)
