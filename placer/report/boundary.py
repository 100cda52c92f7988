"""Why not more: what each launch beyond the answer ran out of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from placer.report.figures import mib_text, split_text, strategy_text
from placer.report.held import exhausted
from placer.report.table import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from placer.search.records import StudyRecord


def is_oom(trial: Mapping[str, Any]) -> bool:
    """Whether memory ran out."""
    return str(trial["verdict"]).startswith("OOM_")


def boundary_trials(study: StudyRecord) -> tuple[dict[str, Any], ...]:
    """Every launch that ran out of memory, the nearest to the answer first.

    Those of the answer's own strategy come before those of another.
    """
    best = study.best
    if best is None:
        return ()
    failed = [trial for trial in study.trials if is_oom(trial)]
    return tuple(sorted(failed, key=lambda t: (*_distance(t, best), t["number"])))


def boundary_sentence(
    trial: Mapping[str, Any],
    best: Mapping[str, Any],
    devices: Sequence[Mapping[str, Any]],
) -> str:
    """What the launch asked for beyond the answer, and what it ran out of.

    Args:
        trial: that ran out of memory.
        best: the answer.
        devices: as the header of the study lists them.
    """
    names = [device["name"] for device in devices]
    grown: list[str] = []
    what = f"{strategy_text(trial)}, {split_text(trial)}"
    if trial["strategy"] == best["strategy"]:
        changes = _changes(trial, best)
        grown = [names[index] for index, n in changes if n > 0]
        what = _step_text(changes, names, of_experts=_kept_differs(trial, best))
    where = _where(exhausted(trial, devices), grown)
    sentence = f"{what}: {oom_text(trial)}{where}{_sizes(trial)}"
    return f"{sentence[:1].upper()}{sentence[1:]} (trial {trial['number']})."


def oom_text(trial: Mapping[str, Any]) -> str:
    """``"out of memory at weights"``, ``"out of memory in use"``."""
    phase = trial["phase"]
    return f"out of memory {'' if phase == 'in use' else 'at '}{phase}"


def _where(device: str | None, grown: Sequence[str]) -> str:
    """The device that ran out, where the sentence does not say it already."""
    if device is None:
        return " on a device that the log does not name"
    return "" if list(grown) == [device] else f" on {plain(device)}"


def _sizes(trial: Mapping[str, Any]) -> str:
    text = ""
    if trial["asked_bytes"] is not None:
        text += f", asked {mib_text(trial['asked_bytes'])} MiB"
    if trial["free_bytes"] is not None:
        text += f", {mib_text(trial['free_bytes'])} MiB free"
    return text


def _kept_differs(trial: Mapping[str, Any], best: Mapping[str, Any]) -> bool:
    return bool(trial["kept"] != best["kept"])


def _changes(
    trial: Mapping[str, Any], best: Mapping[str, Any]
) -> list[tuple[int, int]]:
    """Devices with what they had more than in the answer, gains before losses."""
    units = "kept" if _kept_differs(trial, best) else "slots"
    changes = [
        (index, there - here)
        for index, (there, here) in enumerate(
            zip(trial[units] or (), best[units] or (), strict=False)
        )
        if there != here
    ]
    return sorted(changes, key=lambda change: change[1] < 0)


def _step_text(
    changes: Sequence[tuple[int, int]], names: Sequence[str], *, of_experts: bool
) -> str:
    """``"one more layer on CUDA0 and one fewer on CUDA1"``."""
    parts = []
    for position, (index, n) in enumerate(changes):
        number = "one" if abs(n) == 1 else str(abs(n))
        noun = "" if position else " layer" if abs(n) == 1 else " layers"
        word = "more" if n > 0 else "fewer"
        parts.append(f"{number} {word}{noun} on {plain(names[index])}")
    if not parts:
        return "the same split"
    if of_experts:
        return "the experts of " + " and of ".join(parts)
    return " and ".join(parts)


def _distance(trial: Mapping[str, Any], best: Mapping[str, Any]) -> tuple[bool, int]:
    """How far a launch lay from the answer; another strategy is beyond all."""
    if trial["strategy"] != best["strategy"]:
        return (True, 0)
    return (False, sum(abs(n) for _, n in _changes(trial, best)))
