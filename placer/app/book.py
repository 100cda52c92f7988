"""What launches of one model on one machine leave in the ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from placer.ledger import Entry, Key, Pace, SpeedEntry
from placer.ledger.entry import HOST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.app.target import Target
    from placer.machine import Machine
    from placer.memory import MemoryEstimate
    from placer.search.trial import Trial
    from placer.speed import Calibration

    # Flags of a launch, and what formula and dry run say of it.
    Asked = tuple[Sequence[str], MemoryEstimate, MemoryEstimate]


class Book:
    """Entries on launches of one model on one machine."""

    def __init__(self, target: Target, machine: Machine, *, emulated: bool) -> None:
        self._target = target
        self._emulated = emulated
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
        return [
            Entry(
                when=when,
                version=VERSION,
                key=self._key(index),
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

        probe = trial.probe
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
            key=self._key(len(machine.devices)),
            model=self._target.file.path.name,
            launch=self._launch(probe.args),
            devices=cards(machine),
            predicted=Pace(
                decode_tokens_per_s=said.decode.mid / calibration.decode_factor,
                prefill_tokens_per_s=said.prefill.mid / calibration.prefill_factor,
            ),
            measured=Pace(decode_tokens_per_s=decode, prefill_tokens_per_s=prefill),
        )

    def _key(self, index: int) -> Key:
        architecture = self._target.shape.architecture
        return key_of(self._machine, index, architecture, emulated=self._emulated)

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


def key_of(machine: Machine, index: int, architecture: str, *, emulated: bool) -> Key:
    """The host goes by the first device, whose backend shapes its buffers."""
    device = machine.devices[index if index < len(machine.devices) else 0]
    return Key(
        build=machine.engine_build or "",
        backend=device.backend,
        emulated=emulated,
        architecture=architecture,
    )


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
