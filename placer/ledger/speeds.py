"""How fast launches were, beside what the speed model had said of them.

What is kept of the model is what it says untaught, with factors of 1: else each lesson
would be learned on top of the one before.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from placer.ledger.correct import RECENT
from placer.ledger.entry import Key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from placer.speed import Calibration

SPEED = "speed"
# Launches of other architectures that it takes to speak for all.
LEAST_OF_OTHERS = 2
# The truth is never expected to be nearer to a prediction than this, and less near
# where few launches speak for it, ...
NEAREST = 0.1
NEAREST_OF_ONE = 0.25
# ... and a prediction that could be further off says nothing.
WIDEST = (1 / 3, 3.0)
# Tokens per second that nothing does; NaN is not below it either.
FASTEST = 1e12
# Architectures that are named one by one.
MOST_NAMES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Tokens per second of one slot alone.

    Attributes:
        decode_tokens_per_s: written.
        prefill_tokens_per_s: read of a full physical batch; None where there was none.
    """

    decode_tokens_per_s: float
    prefill_tokens_per_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedEntry:
    """One launch that decoded.

    Attributes:
        when: UTC, ISO 8601.
        version: of placer, whose speed model it is.
        key: engine, backend, architecture.
        model: its file's name.
        launch: sixteen hex digits of model and flags.
        devices: what the cards are called, in their order.
        predicted: by the speed model, with factors of 1.
        measured: by the engine.
    """

    when: str
    version: str
    key: Key
    model: str
    launch: str
    devices: tuple[str, ...]
    predicted: Pace
    measured: Pace

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes two entries the same fact."""
        what = (self.key, self.launch, self.devices, self.predicted, self.measured)
        return (self.version, *what)

    @property
    def decode_ratio(self) -> float:
        """Measured over predicted."""
        return self.measured.decode_tokens_per_s / self.predicted.decode_tokens_per_s

    @property
    def prefill_ratio(self) -> float | None:
        """Measured over predicted."""
        seen, said = (
            pace.prefill_tokens_per_s for pace in (self.measured, self.predicted)
        )
        return None if seen is None or said is None else seen / said


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratios:
    """How measured over predicted lies.

    Attributes:
        count: of launches.
        low: the least; below 1 where the model promised too much.
        middle: the median.
        high: the most.
    """

    count: int
    low: float
    middle: float
    high: float

    @property
    def spread(self) -> tuple[float, float]:
        """The factors around the median that hold them all, within reason."""
        nearest = max(NEAREST, NEAREST_OF_ONE / self.count)
        low = min(self.low / self.middle, 1 - nearest)
        high = max(self.high / self.middle, 1 + nearest)
        return max(low, WIDEST[0]), min(high, WIDEST[1])


def taught(
    base: Calibration, entries: Sequence[SpeedEntry], architecture: str
) -> Calibration:
    """The calibration with what launches on one machine say of an architecture.

    Its own launches come first; those of others count where there are two of them.

    Args:
        base: untaught.
        entries: of the machine, oldest first.
        architecture: of the model that is predicted.
    """
    latest = newest(entries)
    chosen = [e for e in latest if e.key.architecture == architecture]
    if not chosen and len(latest) >= LEAST_OF_OTHERS:
        chosen = latest
    chosen = chosen[-RECENT:]
    decode, prefill = ratios_of(chosen)
    if decode is None:
        return base
    changed = replace(
        base,
        source=f"{_source(chosen)}, beside {base.source}",
        decode_factor=decode.middle,
        decode_spread=decode.spread,
    )
    if prefill is None:
        return changed
    return replace(
        changed, prefill_factor=prefill.middle, prefill_spread=prefill.spread
    )


def newest(entries: Iterable[SpeedEntry]) -> list[SpeedEntry]:
    """The last entry on each launch, whatever the engine's build, oldest first."""
    found: dict[object, SpeedEntry] = {}
    for entry in entries:
        subject = (entry.launch, entry.devices, entry.key.emulated)
        found.pop(subject, None)
        found[subject] = entry
    return list(found.values())


def ratios_of(entries: Sequence[SpeedEntry]) -> tuple[Ratios | None, Ratios | None]:
    """Those of decoding and of prefill; None without any."""
    return (
        _ratios([entry.decode_ratio for entry in entries]),
        _ratios([entry.prefill_ratio for entry in entries]),
    )


def _ratios(figures: Sequence[float | None]) -> Ratios | None:
    known = [figure for figure in figures if figure is not None]
    if not known:
        return None
    return Ratios(
        count=len(known), low=min(known), middle=median(known), high=max(known)
    )


def _source(entries: Sequence[SpeedEntry]) -> str:
    times = "1 launch" if len(entries) == 1 else f"{len(entries)} launches"
    names = list(dict.fromkeys(entry.key.architecture for entry in entries))
    of = ", ".join(names)
    if len(names) > MOST_NAMES:
        of = f"{len(names)} architectures"
    return f"{times} on these devices ({of})"


def speed_record(entry: SpeedEntry) -> dict[str, Any]:
    """The entry as the file keeps it."""
    return {"kind": SPEED, **asdict(entry)}


def speed_of_record(record: dict[str, Any]) -> SpeedEntry:
    """The entry of a line.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    fields = {name: value for name, value in record.items() if name != "kind"}
    fields["key"] = Key(**fields["key"])
    if not all(isinstance(name, str) for name in fields["devices"]):
        raise TypeError("devices")
    fields["devices"] = tuple(fields["devices"])
    for name in ("predicted", "measured"):
        fields[name] = _pace(fields[name])
    return SpeedEntry(**fields)


def _pace(record: dict[str, Any]) -> Pace:
    pace = Pace(**record)
    prefill = pace.prefill_tokens_per_s
    for figure in (pace.decode_tokens_per_s, 1.0 if prefill is None else prefill):
        if not 0 < figure < FASTEST:
            raise ValueError("tokens per second")
    return pace
