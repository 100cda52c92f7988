"""Scores that were not measured here: of cloud models, each with its source."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from placer.errors import InputError, JournalError
from placer.quality.suite import SUITES

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "references.jsonl"
KIND = "reference"
HUNDRED = 100.0
HINT = "correct the line, or take it out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A score that somebody else measured.

    Attributes:
        name: the model.
        suite: the name of the suite.
        score: pass@k in per cent.
        source: where it is to be read.
        day: on which that was so, as ``"2026-01-31"``.
        k: answers that a problem may be given.
    """

    name: str
    suite: str
    score: float
    source: str
    day: str
    k: int = 1

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            InputError: it is no score of a suite, or has no source.
        """
        for problem, hint in _problems(self):
            raise InputError(problem, hint=hint)


def _problems(one: Reference) -> list[tuple[str, str]]:
    """What is wrong with it, and what would be right."""
    found = []
    if not one.name.strip():
        found.append(("a reference has no name", "name the model"))
    if one.suite not in SUITES:
        hint = f"there are {', '.join(SUITES)}"
        found.append((f"there is no suite {one.suite!r}", hint))
    if not 0 <= one.score <= HUNDRED:
        found.append((f"{one.score:g} is no score", "give per cent: 87.2"))
    if not is_source(one.source):
        hint = "give the address of the page that says so: https://..."
        found.append((f"{one.source!r} is no source", hint))
    if not _is_day(one.day):
        found.append((f"{one.day!r} is no day", "give one such as 2026-01-31"))
    if one.k < 1:
        found.append((f"pass@{one.k} is no score", "give -k 1"))
    return found


def is_source(text: str) -> bool:
    """Whether it is the address of a page."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    is_whole = parts.scheme in ("http", "https") and bool(parts.hostname)
    return is_whole and text.isprintable() and " " not in text


def today() -> str:
    """The day, for a score that was looked up just now."""
    return datetime.now(UTC).date().isoformat()


def read_references(logs: Path) -> tuple[Reference, ...]:
    """All that are on record, in the order they were added.

    Raises:
        JournalError: a line of the file is none.
    """
    path = logs / FILE_NAME
    if not path.exists():
        return ()
    from placer.search.journal import read_records

    records = read_records(path, what="reference", hint=HINT)
    found = []
    for number, record in enumerate(records, start=1):
        try:
            told = {name: record[name] for name in Reference.__slots__}
            found.append(Reference(**told))
        except (KeyError, TypeError, InputError) as error:
            raise JournalError(
                f"is no reference: {error}", path=path, line=number, hint=HINT
            ) from None
    return tuple(found)


def add_reference(logs: Path, one: Reference) -> Path:
    """Put one on record, in place of an earlier one of the same name, suite and k.

    The file is replaced as a whole.

    Returns:
        The file.

    Raises:
        JournalError: what is there cannot be read, or the new one cannot be written.
    """
    path = logs / FILE_NAME
    same = (one.name, one.suite, one.k)
    kept = [r for r in read_references(logs) if (r.name, r.suite, r.k) != same]
    lines = [_line({"kind": KIND, **asdict(r)}) for r in (*kept, one)]
    beside = path.with_name(f".{FILE_NAME}.{os.getpid()}")
    try:
        logs.mkdir(parents=True, exist_ok=True)
        with beside.open("w", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        hint = "give another folder with --logs"
        raise JournalError(
            f"cannot be written: {error.strerror}", path=path, hint=hint
        ) from None
    return path


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
