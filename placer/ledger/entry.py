"""One device (or the host) in one launch, as three sources saw it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from placer.memory import MemoryBreakdown

HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What residuals depend on.

    Attributes:
        build: of the engine, as it calls itself.
        backend: ``"CUDA"``.
        emulated: whether the devices were not real.
        architecture: of the model.
    """

    build: str
    backend: str
    emulated: bool
    architecture: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a device holds by formula, by dry run, and as it was seen.

    Attributes:
        when: UTC, ISO 8601.
        version: of placer, whose formula it is.
        key: engine, backend, architecture.
        model: its file's name.
        launch: sixteen hex digits of model and flags.
        device: its name, or ``"host"``.
        place: ``"only"``, ``"first"``, ``"middle"`` or ``"last"`` of the devices that
            hold something, or ``"host"``.
        formula: by placer.
        dry_run: by the engine, None where it did not say.
        taken_bytes: by how much the device's free memory had fallen in the end.
        peak_bytes: most that the process held there.
    """

    when: str
    version: str
    key: Key
    model: str
    launch: str
    device: str
    place: str
    formula: MemoryBreakdown
    dry_run: MemoryBreakdown | None
    taken_bytes: int | None = None
    peak_bytes: int | None = None

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes two entries the same fact."""
        what = (self.key, self.launch, self.device, self.formula, self.dry_run)
        return (self.version, *what, self.observed_bytes is not None)

    @property
    def subject(self) -> tuple[object, ...]:
        """What is measured; the newest entry on it counts."""
        return (self.key, self.launch, self.device)

    @property
    def residual_bytes(self) -> int | None:
        """Compute buffers by dry run less those by formula."""
        said = None if self.dry_run is None else self.dry_run.compute_bytes
        if said is None or self.formula.compute_bytes is None:
            return None
        return said - self.formula.compute_bytes

    @property
    def observed_bytes(self) -> int | None:
        """What was taken; a process's own figure has the driver's context in it."""
        return self.peak_bytes if self.taken_bytes is None else self.taken_bytes

    @property
    def overhead_bytes(self) -> int | None:
        """What was taken beside the engine's buffers.

        Weights and context are the formula's, which are exact to the byte.
        """
        seen, said = self.observed_bytes, self.dry_run
        context = self.formula.context_bytes
        if seen is None or said is None or said.compute_bytes is None:
            return None
        context = said.context_bytes if context is None else context
        if context is None:
            return None
        held = self.formula.model_bytes + context + said.compute_bytes
        return max(seen - held, 0)


def entry_record(entry: Entry) -> dict[str, Any]:
    """The entry as the file keeps it."""
    return {"kind": "entry", **asdict(entry)}


def entry_of_record(record: dict[str, Any]) -> Entry:
    """The entry of a line.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    fields = {name: value for name, value in record.items() if name != "kind"}
    fields["key"] = Key(**fields["key"])
    fields["formula"] = _triple(fields["formula"])
    if fields["dry_run"] is not None:
        fields["dry_run"] = _triple(fields["dry_run"])
    for name in ("taken_bytes", "peak_bytes"):
        if not isinstance(fields[name], int | None):
            raise TypeError(name)
    return Entry(**fields)


def _triple(record: dict[str, Any]) -> MemoryBreakdown:
    if not isinstance(record["model_bytes"], int):
        raise TypeError("model_bytes")
    for name in ("context_bytes", "compute_bytes"):
        if not isinstance(record[name], int | None):
            raise TypeError(name)
    return MemoryBreakdown(**record)
