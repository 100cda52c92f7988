"""The ledger's file: JSON lines, appended whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from placer.errors import JournalError
from placer.ledger.entry import Entry, entry_of_record, entry_record
from placer.ledger.speeds import SPEED, SpeedEntry, speed_of_record, speed_record
from placer.search.journal import read_records

if TYPE_CHECKING:
    from collections.abc import Iterable

VARIABLE = "PLACER_LEDGER"
HINT = "move the damaged file away; the ledger fills again by itself"


def default_path() -> Path:
    """Where the ledger lies: ``PLACER_LEDGER``, or the user's data folder."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    from platformdirs import user_data_path

    return user_data_path("placer", appauthor=False) / "ledger.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """What a ledger holds, oldest first.

    Attributes:
        entries: on the memory of devices.
        speeds: on the speed of launches.
    """

    entries: tuple[Entry, ...] = ()
    speeds: tuple[SpeedEntry, ...] = ()


class Ledger:
    """An append-only file of entries, which several processes may write."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self, architecture: str | None = None) -> tuple[Entry, ...]:
        """Those on memory alone, as ``read`` gives them."""
        return self.read(architecture).entries

    def read(self, architecture: str | None = None) -> Lines:
        """All entries, oldest first; none where there is no file.

        Args:
            architecture: leaves out what says nothing of it: the dry runs of others.
                What was observed says something of overhead, and of the machine's
                speed, whatever it was.

        Raises:
            JournalError: it cannot be read, or a line before the last is damaged.
        """
        if not self.path.exists():
            return Lines()
        records = read_records(self.path, what="entry of a ledger", hint=HINT)
        found = [
            self._entry(record, line)
            for line, record in enumerate(records, start=1)
            if architecture is None or _concerns(record, architecture)
        ]
        return Lines(
            entries=tuple(e for e in found if isinstance(e, Entry)),
            speeds=tuple(e for e in found if isinstance(e, SpeedEntry)),
        )

    def add(self, entries: Iterable[Entry | SpeedEntry]) -> int:
        """Write what is not there yet; how many that was.

        Raises:
            JournalError: the file cannot be read or written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                there = self.read()
                known = {entry.identity for entry in there.entries}
                known |= {speed.identity for speed in there.speeds}
                new = {e.identity: e for e in entries if e.identity not in known}
                _append(file, list(new.values()))
                return len(new)
        except OSError as error:
            raise JournalError(
                f"cannot be written: {error.strerror}",
                path=self.path,
                hint=f"name another file with --ledger or {VARIABLE}",
            ) from None

    def _entry(self, record: dict[str, Any], line: int) -> Entry | SpeedEntry:
        try:
            if record["kind"] == SPEED:
                return speed_of_record(record)
            return entry_of_record(record)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise JournalError(
                "is no entry of a ledger", path=self.path, line=line, hint=HINT
            ) from None


def _concerns(record: dict[str, Any], architecture: str) -> bool:
    """Whether to look closer; a damaged line is, and is told."""
    key = record.get("key")
    if record["kind"] == SPEED:
        return True
    if not isinstance(key, dict) or key.get("architecture") == architecture:
        return True
    return any(record.get(name) is not None for name in ("taken_bytes", "peak_bytes"))


def _append(file: BinaryIO, entries: list[Entry | SpeedEntry]) -> None:
    """One write, on disk, after whatever a killed writer left torn was cut off."""
    if not entries:
        return
    file.seek(0)
    whole = file.read().rfind(b"\n") + 1
    file.truncate(whole)
    lines = [json.dumps(_record(e), ensure_ascii=False) + "\n" for e in entries]
    file.write("".join(lines).encode())
    file.flush()
    os.fsync(file.fileno())


def _record(entry: Entry | SpeedEntry) -> dict[str, Any]:
    return entry_record(entry) if isinstance(entry, Entry) else speed_record(entry)
