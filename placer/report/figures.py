"""Figures as the documents print them; what is not known is a dash, never 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from placer.placement import Strategy
from placer.report.table import plain
from placer.units import MIB, mib

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DASH = "-"
STRATEGY_TITLES = {strategy.value: strategy.title for strategy in Strategy}


def mib_text(n_bytes: int | None) -> str:
    """Bytes in MiB, whole where they are whole: ``"24"``, ``"1,204.3"``, ``"0.003"``.

    A size that is not 0 is never printed as 0.
    """
    if n_bytes is None:
        return DASH
    if n_bytes % MIB == 0:
        return f"{n_bytes // MIB:,}"
    size = mib(n_bytes)
    return f"{size:,.1f}" if abs(size) >= 0.05 else f"{size:.1g}"


def rate_text(per_s: float | None) -> str:
    """A rate or a duration to a tenth."""
    return DASH if per_s is None else f"{per_s:,.1f}"


def predicted_rate(
    trial: Mapping[str, Any], name: str
) -> tuple[float, float, float] | None:
    """The least, the middle and the most that the speed model said of a rate.

    None where it said nothing.
    """
    said = trial["predicted"]
    if said is None:
        return None
    low, mid, high = said[name]
    return low, mid, high


def interval_text(figures: tuple[float, float, float] | None) -> str:
    """``"48.1 (38.5 to 57.7)"``."""
    if figures is None:
        return DASH
    low, mid, high = map(rate_text, figures)
    return f"{mid} ({low} to {high})"


def count_text(n: int | None) -> str:
    """A whole number with separators."""
    return DASH if n is None else f"{n:,}"


def name_text(name: str | None) -> str:
    """A name as it is, fit for a table."""
    return DASH if name is None else plain(name)


def graph_splits_text(splits: Sequence[int] | None) -> str:
    """Splits of the prefill and the decode graph: ``"9 / 33"``, ``"3"`` where equal."""
    if splits is None:
        return DASH
    return " / ".join(map(str, dict.fromkeys(splits)))


def strategy_text(record: Mapping[str, Any]) -> str:
    """The strategy in words."""
    letter = str(record["strategy"])
    return plain(STRATEGY_TITLES.get(letter, letter))


def split_text(trial: Mapping[str, Any]) -> str:
    """Slots of each device, and expert tensors where some are on the CPU."""
    slots = " + ".join(map(str, trial["slots"]))
    return slots if trial["kept"] is None else f"{slots}, {kept_text(trial)}"


def kept_text(trial: Mapping[str, Any]) -> str:
    """``"36 + 24 expert tensors"``; all together where ``-ot`` puts some elsewhere."""
    kept = trial["kept"]
    if has_moved(trial):
        return f"{sum(kept)} expert tensors"
    return f"{' + '.join(map(str, kept))} expert tensors"


def has_moved(trial: Mapping[str, Any]) -> bool:
    """Whether ``-ot`` puts a tensor on another GPU than its layer."""
    args = trial["args"]
    overrides = args[args.index("-ot") + 1] if "-ot" in args else ""
    return any(rule.partition("=")[2] != "CPU" for rule in overrides.split(",") if rule)


def times_text(n: int) -> str:
    """``"once"``, ``"3 times"``."""
    return "once" if n == 1 else f"{n} times"


def started_text(header: Mapping[str, Any]) -> str:
    """When a study started: ``"2026-11-23 14:02:11 UTC"``."""
    return plain(str(header["started"]).replace("T", " ").replace("+00:00", " UTC"))
