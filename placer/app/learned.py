"""The ledger at work: verbs write to it what they saw, estimates are corrected by it.

A ledger that cannot be read or written costs one line of warning, never a verb.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from placer.app.book import Book, cards, device_name, key_of, places
from placer.errors import JournalError
from placer.ledger import (
    Entry,
    Key,
    Ledger,
    SpeedEntry,
    correction,
    default_path,
    overhead,
    taught,
)
from placer.machine.files import with_data_sheets
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from placer.app.book import Asked
    from placer.app.rig import Rig
    from placer.app.target import Target
    from placer.app.where import Where
    from placer.ledger import Correction
    from placer.machine import Machine
    from placer.memory import MemoryBreakdown, MemoryEstimate
    from placer.model import ModelShape
    from placer.search.trial import Trial
    from placer.speed import Calibration


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
            key = key_of(machine, index, architecture, emulated=self.emulated)
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
        book = Book(target, machine, emulated=self.emulated)
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
        book = Book(target, machine, emulated=self.emulated)
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
