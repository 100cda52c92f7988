"""The record of a search: one JSON line a fact, on disk before the next launch.

``search_logs/<profile>/<time>/trials.jsonl`` holds, in order, a ``study`` line, then
``skipped``, ``launching`` and ``trial`` lines, and an ``end`` line. A search that was
killed leaves a ``launching`` without its ``trial``. The engine's logs lie beside it.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from placer.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FILE_NAME = "trials.jsonl"
SCHEMA = 2


class Journal:
    """An append-only file of records.

    A torn last line of an earlier search is cut off: what was being written when that
    died was never true.

    Args:
        folder: made if it is not there.

    Raises:
        JournalError: the folder or the file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab")
            self._cut_torn()
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def _cut_torn(self) -> None:
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            self._file.truncate(whole)

    def append(self, kind: str, record: Mapping[str, Any]) -> None:
        """Write one record and see it on disk.

        Raises:
            JournalError: the disk is full or gone.
        """
        line = json.dumps({"kind": kind, **record}, ensure_ascii=False) + "\n"
        try:
            self._file.write(line.encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def log_path(self, name: str) -> Path:
        """Where an engine's output goes."""
        return self.folder / f"{name}.log"

    def close(self) -> None:
        """No more records."""
        try:
            self._file.close()
        except OSError as error:
            raise _unwritable(self.path, error) from None


def read_journal(path: Path) -> tuple[dict[str, Any], ...]:
    """All whole records of a journal; a torn last line is passed over.

    Raises:
        JournalError: the file cannot be read, or a line before the last is broken.
    """
    hint = "move the damaged file away; its search can be run again"
    return read_records(path, what="record of a search", hint=hint)


def read_records(path: Path, *, what: str, hint: str) -> tuple[dict[str, Any], ...]:
    """All whole lines of a file of records; a torn last line is passed over.

    Args:
        path: the file.
        what: a line is, for the error.
        hint: what to do about a broken line.

    Raises:
        JournalError: the file cannot be read, or a line before the last is broken.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise JournalError(
            f"cannot be read: {error.strerror}", path=path, hint="check the path"
        ) from None
    return tuple(_records(path, data, what, hint))


def _records(path: Path, data: bytes, what: str, hint: str) -> Iterator[dict[str, Any]]:
    *lines, torn = data.split(b"\n")
    del torn  # Without its line break it was being written when placer died.
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or "kind" not in record:
            raise JournalError(f"is no {what}", path=path, line=number, hint=hint)
        yield record


def _unwritable(path: Path, error: OSError) -> JournalError:
    return JournalError(
        f"cannot be written: {error.strerror}",
        path=path,
        hint="free some space or give another folder with --logs",
    )
