"""The ledger at work: verbs write to it what they saw, estimates are corrected by it.

A ledger that cannot be read or written costs one line of warning, never a verb.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from placer.errors import JournalError
from placer.ledger import (
    Entry,
    Key,
    Ledger,
    Pace,
    SpeedEntry,
    correction,
    default_path,
    overhead,
    taught,
)
from placer.ledger.entry import HOST
from placer.machine.files import with_data_sheets
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from placer.app.rig import Rig
    from placer.app.target import Target
    from placer.app.where import Where
    from placer.ledger import Correction
    from placer.machine import Machine
    from placer.memory import MemoryBreakdown, MemoryEstimate
    from placer.model import ModelShape
    from placer.search.trial import Trial
    from placer.speed import Calibration

    # Flags of a launch, and what formula and dry run say of it.
    Asked = tuple[Sequence[str], MemoryEstimate, MemoryEstimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What the ledger said when a verb began.

    Attributes:
        ledger: the file.
        entries: oldest first.
        emulated: whether the verb's devices are.
        speeds: how fast launches were, oldest first.
    """

    ledger: Ledger
    entries: tuple[Entry, ...]
    emulated: bool = False
    speeds: tuple[SpeedEntry, ...] = ()

    def with_overhead(self, machine: Machine) -> Machine:
        """The machine, with the overhead that was observed on such devices."""
        if self.emulated:
            return machine
        build = machine.engine_build or ""
        devices = []
        for device in machine.devices:
            seen = overhead(self.entries, build, device.backend)
            n_bytes = device.overhead_bytes if seen is None else seen.n_bytes
            devices.append(replace(device, overhead_bytes=n_bytes))
        return replace(machine, devices=tuple(devices))

    def notes(self, machine: Machine) -> tuple[str, ...]:
        """Which overhead was observed, in words."""
        if self.emulated:
            return ()
        build = machine.engine_build or ""
        found = []
        for backend in dict.fromkeys(d.backend for d in machine.devices):
            seen = overhead(self.entries, build, backend)
            if seen is not None:
                what = _times(seen.count, "observation")
                found.append(f"overhead on {backend}: by {what} of build {seen.build}")
        return tuple(found)

    def corrected(
        self, formula: MemoryEstimate, architecture: str, machine: Machine
    ) -> tuple[MemoryEstimate, tuple[str, ...]]:
        """The formula with what dry runs taught about its compute buffers.

        Returns:
            the estimate, and a note for each device that was corrected.
        """
        if not self.entries:
            return formula, ()
        held, notes = [], []
        rows = (*formula.devices, formula.host)
        for index, place in enumerate(places(formula)):
            key = self.key(machine, index, architecture)
            found = None if place is None else self._correction(key, place)
            held.append(rows[index] if found is None else _moved(rows[index], found))
            if found is not None and rows[index].compute_bytes is not None:
                notes.append(_note(device_name(machine, index), found))
        estimate = replace(formula, devices=tuple(held[:-1]), host=held[-1])
        return estimate, tuple(notes)

    def calibrated(
        self, base: Calibration, shape: ModelShape, machine: Machine
    ) -> Calibration:
        """The calibration with what launches on these very devices taught.

        Emulated devices are not real ones, and another version's predictions were
        another's.
        """
        from placer import VERSION

        devices = cards(machine)
        alike = [
            entry
            for entry in self.speeds
            if entry.devices == devices
            and entry.key.emulated == self.emulated
            and entry.version == VERSION
        ]
        return taught(base, alike, shape.architecture)

    def keep_dry_runs(
        self, target: Target, machine: Machine, asked: Sequence[Asked]
    ) -> None:
        """Write down what formula and dry run say of the same launches."""
        book = _Book(learned=self, target=target, machine=machine)
        self._add([entry for one in asked for entry in book.entries(one)])

    def keep_trials(
        self,
        target: Target,
        machine: Machine,
        trials: Sequence[Trial],
        calibration: Calibration,
    ) -> None:
        """Write down what was seen of launches, beside what was said of them.

        Args:
            target: the model and what was asked of it.
            machine: its devices.
            trials: the launches.
            calibration: that their speeds were predicted with.
        """
        book = _Book(learned=self, target=target, machine=machine)
        found: list[Entry | SpeedEntry] = []
        for trial in trials:
            found += book.seen(trial)
            speed = book.speed(trial, calibration)
            found += [] if speed is None else [speed]
        self._add(found)

    def _add(self, entries: Sequence[Entry | SpeedEntry]) -> None:
        if not entries:
            return
        try:
            self.ledger.add(entries)
        except JournalError as error:
            _warn(error)

    def _correction(self, key: Key, place: str) -> Correction | None:
        from placer import VERSION

        return correction(self.entries, key, place, VERSION)

    def key(self, machine: Machine, index: int, architecture: str) -> Key:
        """The host goes by the first device, whose backend shapes its buffers."""
        device = machine.devices[index if index < len(machine.devices) else 0]
        return Key(
            build=machine.engine_build or "",
            backend=device.backend,
            emulated=self.emulated,
            architecture=architecture,
        )


class _Book:
    """Entries on launches of one model on one machine."""

    def __init__(self, *, learned: Learned, target: Target, machine: Machine) -> None:
        self._learned = learned
        self._target = target
        self._machine = machine
        self._fingerprint: str | None = None

    def entries(self, asked: Asked) -> list[Entry]:
        """One a device that holds something, and one for the host."""
        from placer import VERSION

        (args, formula, said), machine = asked, self._machine
        rows = zip(
            (*formula.devices, formula.host), (*said.devices, said.host), strict=True
        )
        when, launch = _now(), self._launch(args)
        architecture = self._target.shape.architecture
        return [
            Entry(
                when=when,
                version=VERSION,
                key=self._learned.key(machine, index, architecture),
                model=self._target.file.path.name,
                launch=launch,
                device=device_name(machine, index),
                place=place,
                formula=ours,
                dry_run=theirs,
            )
            for index, (place, (ours, theirs)) in enumerate(
                zip(places(formula), rows, strict=True)
            )
            if place is not None
        ]

    def seen(self, trial: Trial) -> list[Entry]:
        """The same of a launch, with what was observed; none without a dry run."""
        from placer.engine.observation import Stage

        probe = trial.probe
        if probe.dry_run is None:
            return []
        entries = self.entries((probe.args, probe.formula, probe.dry_run))
        if trial.observation.stage is not Stage.DECODED:
            return entries
        return [_observed(entry, trial, self._machine) for entry in entries]

    def speed(self, trial: Trial, calibration: Calibration) -> SpeedEntry | None:
        """How fast a launch was, beside what was predicted; None if it was not seen.

        Behind a prompt a remote device is first asked for the size of everything: the
        few tokens of a load test say more of that than of what comes later.
        """
        from placer import VERSION

        probe, architecture = trial.probe, self._target.shape.architecture
        decode, prefill = trial.decode_tokens_per_s, trial.prefill_tokens_per_s
        is_remote = any(d.backend == "RPC" for d in self._machine.devices)
        if probe.speed is None or decode is None or is_remote:
            return None
        if not self._is_full_batch(trial):
            prefill = None
        machine, said = self._machine, probe.speed
        return SpeedEntry(
            when=_now(),
            version=VERSION,
            key=self._learned.key(machine, len(machine.devices), architecture),
            model=self._target.file.path.name,
            launch=self._launch(probe.args),
            devices=cards(machine),
            predicted=Pace(
                decode_tokens_per_s=said.decode.mid / calibration.decode_factor,
                prefill_tokens_per_s=said.prefill.mid / calibration.prefill_factor,
            ),
            measured=Pace(decode_tokens_per_s=decode, prefill_tokens_per_s=prefill),
        )

    def _is_full_batch(self, trial: Trial) -> bool:
        """Whether the slot's prompt was what prefill is predicted of."""
        single = trial.observation.single
        return (
            single is not None
            and single.prompt_tokens == self._target.workload.n_ubatch
        )

    def _launch(self, args: Sequence[str]) -> str:
        """Sixteen hex digits of the model and the flags, wherever its file lies."""
        import hashlib

        from placer.app.study import fingerprint

        if self._fingerprint is None:
            self._fingerprint = fingerprint(self._target.file)
        names = [device.name for device in self._machine.devices]
        text = repr((self._fingerprint, list(args[2:]), names))
        return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


def learned(
    path: Path | None,
    architecture: str,
    *,
    emulated: bool = False,
    before: str | None = None,
) -> Learned:
    """What the ledger says, nothing where it cannot be read.

    Args:
        path: of its file; None for the default.
        architecture: of the model that it is asked about.
        emulated: whether the verb's devices are.
        before: what was written then or later does not count; None for all of it.
    """
    ledger = Ledger(path or default_path())
    try:
        found = ledger.read(architecture)
        return Learned(
            ledger=ledger,
            entries=_until(before, found.entries),
            emulated=emulated,
            speeds=_until(before, found.speeds),
        )
    except JournalError as error:
        _warn(error)
        return Learned(ledger=ledger, entries=(), emulated=emulated)


T = TypeVar("T", Entry, SpeedEntry)


def _until(moment: str | None, entries: Sequence[T]) -> tuple[T, ...]:
    return tuple(e for e in entries if moment is None or e.when < moment)


def prepared(
    target: Target, where: Where, opened: Rig, *, before: str | None = None
) -> tuple[Learned, Rig]:
    """What the ledger says, and the rig with the target's devices and what is known.

    Args:
        target: the model, and the devices that it is to use.
        where: the ledger.
        opened: the engine and all of its devices.
        before: what the ledger learned later does not count; None for all of it.
    """
    known = learned(
        where.ledger,
        target.shape.architecture,
        emulated=opened.emulated,
        before=before,
    )
    rig = opened.only(target.devices)
    machine = with_data_sheets(known.with_overhead(rig.machine))
    return known, replace(rig, machine=machine)


def places(estimate: MemoryEstimate) -> list[str | None]:
    """Where in the row each device stands, the host last; None if it holds nothing."""
    used = [i for i, held in enumerate(estimate.devices) if held.model_bytes]
    found: list[str | None] = [None] * len(estimate.devices)
    for index in used:
        found[index] = "middle"
    if used:
        found[used[0]], found[used[-1]] = "first", "last"
    if len(used) == 1:
        found[used[0]] = "only"
    return [*found, HOST]


def device_name(machine: Machine, index: int) -> str:
    """The device's name, ``"host"`` after the last."""
    return machine.devices[index].name if index < len(machine.devices) else HOST


def cards(machine: Machine) -> tuple[str, ...]:
    """What the machine's devices are called by their drivers."""
    return tuple(device.description for device in machine.devices)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _observed(entry: Entry, trial: Trial, machine: Machine) -> Entry:
    """The entry with what was seen of its device."""
    from placer.search.reading import left_bytes

    names = [device.name for device in machine.devices]
    if entry.device not in names:
        return entry
    index, seen = names.index(entry.device), trial.observation
    left = left_bytes(trial, machine)[index]
    return replace(
        entry,
        taken_bytes=None if left is None else max(seen.free_bytes[index] - left, 0),
        peak_bytes=None if seen.peak_bytes is None else seen.peak_bytes[index],
    )


def _moved(held: MemoryBreakdown, found: Correction) -> MemoryBreakdown:
    if held.compute_bytes is None:
        return held
    return replace(held, compute_bytes=max(held.compute_bytes + found.n_bytes, 0))


def _note(device: str, found: Correction) -> str:
    kind = " on emulated devices" if found.emulated else ""
    return (
        f"compute buffers of {device}: formula {found.n_bytes / MIB:+.0f} MiB, by "
        f"{_times(found.count, 'dry run')} of build {found.build}{kind}"
    )


def _times(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"


def _warn(error: JournalError) -> None:
    """One line on standard error, unless the caller's logging says otherwise."""
    import logging

    logging.getLogger("placer").warning("placer: the ledger is left out: %s", error)
