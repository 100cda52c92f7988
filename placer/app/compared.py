"""A launch beside the record of the same launch: what is better, the same or worse."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from placer.app.study import fingerprint
from placer.app.told import told
from placer.errors import InputError
from placer.placement import Workload, placement_from_args
from placer.report.held import seen_in
from placer.search.records import read_study, study_folders
from placer.units import MIB, mib

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from placer.app.target import Target
    from placer.machine import Machine
    from placer.placement import Placement
    from placer.search.records import StudyRecord

# docs/verify.md says what they rest on.
SHARE = 0.1
MEMORY_BYTES = 64 * MIB
NATS = 0.01
RATES = ("decode_tokens_per_s", "prompt_tokens_per_s")


class Kind(Enum):
    """What became of a figure."""

    BETTER = "better"
    SAME = "same"
    WORSE = "worse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """What counts as no difference.

    Attributes:
        share: of tokens per second that may be lost; so much less than now is better.
        memory_bytes: that a device may hold more or less.
        nats: by which something else may be expected: what another rounding does.
    """

    share: float = SHARE
    memory_bytes: int = MEMORY_BYTES
    nats: float = NATS


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure, as recorded and as it is now.

    Attributes:
        name: of what: ``memory_bytes``, ``decode_tokens_per_s`` and so on.
        recorded: None where the record does not have it.
        now: None where it was not seen.
        kind: what became of it; None where the two cannot be compared.
        device: whose, where it is a device's.
        source: of memory: ``"peak"`` or ``"buffers"``; None for other figures.
    """

    name: str
    recorded: float | None
    now: float | None
    kind: Kind | None
    device: str | None = None
    source: str | None = None

    @property
    def is_slower(self) -> bool:
        """Whether it is a speed, and worse: a single measurement that may be wrong."""
        return self.name in RATES and self.kind is Kind.WORSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The record of a placement, or why there is none.

    Attributes:
        study: the newest search whose best trial is this very placement, or what the
            profile's comment tells of it.
        missing: in words, where there is none.
    """

    study: StudyRecord | None = None
    missing: str | None = None


def recorded(
    logs: Path, target: Target, placement: Placement, machine: Machine
) -> Recorded:
    """The newest search that found what the profile has now.

    Where there is none, what the comment beside the profile tells of it.

    Raises:
        JournalError: a record on the way there is damaged.
    """
    why, model = None, fingerprint(target.file)
    for folder in reversed(study_folders(logs, target.name)):
        study = read_study(folder)
        best = study.best_so_far
        if best is None:
            continue
        other: str | None = "model"
        if study.header["model"]["fingerprint"] == model:
            other = _otherness(study, best, target, placement, machine)
        if other is None:
            return Recorded(study=study)
        why = why or f"the newest search, {folder.name}, was of another {other}"
    by_comment = told(target, machine)
    if by_comment is not None:
        return Recorded(study=by_comment)
    return Recorded(missing=why or f"no search of it under {logs}")


def _otherness(
    study: StudyRecord,
    best: dict[str, Any],
    target: Target,
    placement: Placement,
    machine: Machine,
) -> str | None:
    """In what a search of the model differs from what is asked; None in nothing."""
    header = study.header
    devices = [(d["name"], d["description"]) for d in header["devices"]]
    if devices != [(d.name, d.description) for d in machine.devices]:
        return "set of devices"
    if Workload(**header["workload"]) != target.workload:
        return "context, batch or cache type"
    args = best["args"]
    try:
        found = placement_from_args(args[args.index("-ngl") :], target.shape, machine)
    except InputError:
        return "placement"
    return None if found == placement else "placement"


def compared(
    old: StudyRecord | None, new: StudyRecord, tolerance: Tolerance
) -> tuple[Figure, ...]:
    """Every figure of a launch that fits, beside the record's; none of another.

    The speed of emulated devices means nothing, so it is shown and not judged.
    """
    now = new.best_so_far
    if now is None:
        return ()
    then = {} if old is None else old.best_so_far or {}
    headers = [new.header] if old is None else [old.header, new.header]
    is_timed = not any(header.get("emulated") for header in headers)
    return (
        *_memory(old, then, new, now, tolerance.memory_bytes),
        *_rates(then, now, tolerance.share if is_timed else None),
        *_splits(then, now),
    )


def _memory(
    old: StudyRecord | None,
    then: dict[str, Any],
    new: StudyRecord,
    now: dict[str, Any],
    slack_bytes: int,
) -> Iterator[Figure]:
    """The most that was seen where both saw it in the same proof, else the buffers."""
    names = [device["name"] for device in new.header["devices"]]
    after, source = now["peak_bytes"], "peak"
    before = [None] * len(names) if old is None else then["peak_bytes"]
    is_other_proof = old is not None and then["stage"] != now["stage"]
    if before is None or after is None or is_other_proof:
        source = "buffers"
        before = [None] * len(names) if old is None else _buffers(old, then)
        after = _buffers(new, now)
    yield from held_figures(names, zip(before, after, strict=True), slack_bytes, source)


def held_figures(
    names: Sequence[str],
    held: Iterable[tuple[int | None, int | None]],
    slack_bytes: int,
    source: str,
) -> Iterator[Figure]:
    """What each device held.

    Args:
        names: of the devices.
        held: by each, as recorded and now.
        slack_bytes: that are no difference.
        source: who says so: ``"peak"`` or ``"buffers"``.
    """
    for name, (was, is_now) in zip(names, held, strict=True):
        yield Figure(
            name="memory_bytes",
            device=name,
            recorded=was,
            now=is_now,
            kind=_smaller(was, is_now, slack_bytes),
            source=source,
        )


def _buffers(study: StudyRecord, trial: dict[str, Any]) -> list[int | None]:
    """What the engine's log says that each device held."""
    held = seen_in(study, trial)
    return [held[device["name"]].total_bytes for device in study.header["devices"]]


def _rates(
    then: dict[str, Any], now: dict[str, Any], share: float | None
) -> Iterator[Figure]:
    if then.get("stage") != now["stage"]:
        # Prompts of a ubatch and a filled context are read at different speeds.
        share = None
    for name in RATES:
        was, is_now = then.get(name), now[name]
        kind = None if share is None else faster(was, is_now, share)
        yield Figure(name=name, recorded=was, now=is_now, kind=kind)


def _splits(then: dict[str, Any], now: dict[str, Any]) -> Iterator[Figure]:
    pairs = [one.get("graph_splits") or (None, None) for one in (then, now)]
    for name, was, is_now in zip(
        ("prompt_graph_splits", "token_graph_splits"), *pairs, strict=True
    ):
        kind = _smaller(was, is_now, 0)
        yield Figure(name=name, recorded=was, now=is_now, kind=kind)


def _smaller(was: float | None, is_now: float | None, slack: float) -> Kind | None:
    """Of what is the better the less there is of it."""
    if was is None or is_now is None:
        return None
    if abs(is_now - was) <= slack:
        return Kind.SAME
    return Kind.WORSE if is_now > was else Kind.BETTER


def faster(was: float | None, is_now: float | None, share: float) -> Kind | None:
    """Of what is the better the more there is of it; single measurements spread."""
    if was is None or is_now is None:
        return None
    if is_now < was * (1 - share):
        return Kind.WORSE
    return Kind.BETTER if was < is_now * (1 - share) else Kind.SAME


def remarks(old: StudyRecord, new: StudyRecord) -> tuple[str, ...]:
    """What else is not as it was, in words."""
    found = []
    then, now = (" ".join(one.header["extra_args"]) for one in (old, new))
    if then != now:
        found.append(
            f"other flags: {then or 'none'} when recorded, {now or 'none'} now"
        )
    if old.header["proof"] != new.header["proof"]:
        proofs = f"{old.header['proof']} when recorded, {new.header['proof']} now"
        found.append(f"another proof: {proofs}")
    if old.header.get("emulated") or new.header.get("emulated"):
        found.append("the speed of emulated devices means nothing: not compared")
    if new.best_so_far is None:
        found += _taken(old, new)
    return tuple(found)


def _taken(old: StudyRecord, new: StudyRecord) -> Iterator[str]:
    """Devices that have less free than when it was recorded."""
    for then, now in zip(old.header["devices"], new.header["devices"], strict=True):
        was, is_now = (round(mib(d["free_bytes"])) for d in (then, now))
        if is_now < was:
            yield f"{now['name']} had {is_now:,} MiB free, {was:,} when recorded"
