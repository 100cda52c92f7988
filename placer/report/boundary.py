"""What each launch ran out of that ran out of memory, beside the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from placer.report.figures import has_moved, mib_text, split_text, strategy_text
from placer.report.held import exhausted, said_by
from placer.report.table import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from placer.search.records import StudyRecord

# A sentence that would name more differences names the split instead.
CHANGES_MAX = 3

# A device by its index, and by how many it has more than in the answer.
Change = tuple[int, int]


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
    """How the launch differed from the answer, and what it ran out of.

    Args:
        trial: that ran out of memory.
        best: the answer.
        devices: as the header of the study lists them.
    """
    what = f"{strategy_text(trial)}, {split_text(trial)}"
    grown: set[str] = set()
    if _is_alike(trial, best):
        what, grown = _differences(trial, best, [device["name"] for device in devices])
    where = _where(exhausted(trial, devices), grown)
    sentence = f"{what}: {oom_text(trial)}{where}{_sizes(trial)}"
    return f"{sentence[:1].upper()}{sentence[1:]} (trial {trial['number']})."


def oom_text(trial: Mapping[str, Any]) -> str:
    """``"out of memory at weights"``, ``"out of memory in use"``."""
    phase = trial["phase"]
    return f"out of memory {'' if phase == 'in use' else 'at '}{phase}"


def _where(device: str | None, grown: set[str]) -> str:
    """The device that ran out, where it is not the only one that was to hold more."""
    if device is None:
        return " on a device that the log does not name"
    return "" if grown == {device} else f" on {plain(device)}"


def _sizes(trial: Mapping[str, Any]) -> str:
    text = ""
    if trial["asked_bytes"] is not None:
        text += f", asked {mib_text(trial['asked_bytes'])} MiB"
    if trial["free_bytes"] is not None:
        text += f", {mib_text(trial['free_bytes'])} MiB free"
    return text


def _is_alike(trial: Mapping[str, Any], best: Mapping[str, Any]) -> bool:
    """Whether a difference from the answer can be counted."""
    same = trial["strategy"] == best["strategy"]
    return same and (trial["kept"] is None) == (best["kept"] is None)


def _differences(
    trial: Mapping[str, Any], best: Mapping[str, Any], names: Sequence[str]
) -> tuple[str, set[str]]:
    """In layers and in expert tensors, with the devices that were to hold more."""
    layers, experts = _changes(trial, best, "slots"), _changes(trial, best, "kept")
    if trial["args"] == best["args"]:
        return "the same placement", set()
    moved = has_moved(trial) or has_moved(best)
    if moved or len(layers) + len(experts) > CHANGES_MAX:
        more = _bytes_text(trial, best, names)
        return f"another split, {split_text(trial)}{more}", set()
    if not layers and not experts:
        return "the same split, other tensors", set()
    parts = [
        _step_text(changes, noun, names)
        for changes, noun in ((layers, "layer"), (experts, "expert tensor"))
        if changes
    ]
    return ", with ".join(parts), {names[i] for i, n in layers + experts if n > 0}


def _bytes_text(
    trial: Mapping[str, Any], best: Mapping[str, Any], names: Sequence[str]
) -> str:
    """What it takes more and less of each device; nothing where that is not known."""
    parts = []
    for index, name in enumerate(names):
        there = said_by(trial["formula"], index).total_bytes
        here = said_by(best["formula"], index).total_bytes
        if there is None or here is None:
            return ""
        if there != here:
            word = "more" if there > here else "less"
            parts.append(f"{mib_text(abs(there - here))} MiB {word} of {plain(name)}")
    return f", by formula {' and '.join(parts)}" if parts else ""


def _changes(
    trial: Mapping[str, Any], best: Mapping[str, Any], units: str
) -> list[Change]:
    """Devices with what they had more than in the answer, gains before losses."""
    pairs = zip(trial[units] or (), best[units] or (), strict=False)
    changes = [(i, there - here) for i, (there, here) in enumerate(pairs)]
    return sorted((c for c in changes if c[1]), key=lambda change: change[1] < 0)


def _step_text(changes: Sequence[Change], noun: str, names: Sequence[str]) -> str:
    """``"one more layer on CUDA0 and one fewer on CUDA1"``."""
    return " and ".join(
        f"{_more_text(n, '' if position else noun)} on {plain(names[index])}"
        for position, (index, n) in enumerate(changes)
    )


def _more_text(n: int, noun: str) -> str:
    """``"one more layer"``, ``"3 fewer layers"``, ``"3 fewer"``."""
    number = "one" if abs(n) == 1 else str(abs(n))
    ending = "s" if noun and abs(n) != 1 else ""
    return f"{number} {'more' if n > 0 else 'fewer'} {noun}{ending}".rstrip()


def _distance(trial: Mapping[str, Any], best: Mapping[str, Any]) -> tuple[bool, int]:
    """How far a launch lay from the answer; another strategy is beyond all."""
    if not _is_alike(trial, best):
        return (True, 0)
    changes = [*_changes(trial, best, "slots"), *_changes(trial, best, "kept")]
    return (False, sum(abs(n) for _, n in changes))
