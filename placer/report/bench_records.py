"""Journals of benches, sweeps and smoke tests, read back: whole ones and others."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from placer.errors import JournalError
from placer.search.journal import FILE_NAME, SCHEMA, read_records

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator
    from pathlib import Path

KINDS = QUALITY, SPEED, SWEEP, SMOKE = ("quality", "speed", "sweep", "smoke")
REFERENCES = "references.jsonl"
OF_REFERENCE = ("name", "suite", "source", "day")
KILLED = "killed"
HINT_REFERENCE = "correct the line, or take it out"
HINT = "move the damaged file away; it can be measured again"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRecord:
    """All that the journal of a bench says.

    Attributes:
        path: of the journal.
        kind: which bench.
        header: its first line; empty where it was killed before that was on disk.
        lines: all others, in order.
    """

    path: Path
    kind: str
    header: dict[str, Any]
    lines: tuple[dict[str, Any], ...]

    @property
    def profile(self) -> str:
        """What was measured, by the folder that it lies in."""
        return self.path.parents[2].name

    @property
    def stamp(self) -> str:
        """When it began; those of a profile stand in this order."""
        return self.path.parent.name

    @property
    def day(self) -> str:
        """The same, as far as a person wants to know."""
        return str(self.header["started"])[:10]

    @property
    def is_emulated(self) -> bool:
        """Whether it ran on devices whose speed means nothing."""
        return bool(self.header["emulated"])

    @property
    def end(self) -> dict[str, Any] | None:
        """The last line of a run that came to its end; None for one that did not."""
        last = self.lines[-1] if self.lines else None
        is_whole = last is not None and _is_end(last) and last["stopped"] is None
        return last if is_whole else None

    @property
    def stopped(self) -> str:
        """Why it has not come to its end, in words."""
        last = self.lines[-1] if self.lines else {"kind": ""}
        return str(last["stopped"]) if _is_end(last) else KILLED

    def of(self, kind: str) -> tuple[dict[str, Any], ...]:
        """The lines of a kind."""
        return tuple(line for line in self.lines if line["kind"] == kind)

    def link(self, text: str, page: Path) -> str:
        """The text, leading to the journal from a page in Markdown."""
        return f"[{text}]({quote(os.path.relpath(self.path, page.parent))})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A score that somebody else measured.

    Attributes:
        name: of the model.
        suite: that it was asked.
        k: of pass@k.
        score: a share.
        source: the address of the page that says so.
        day: when that was read.
    """

    name: str
    suite: str
    k: int
    score: float
    source: str
    day: str


def bench_records(logs: Path) -> tuple[BenchRecord, ...]:
    """All that lie under ``logs``, by kind and profile, oldest first.

    Raises:
        JournalError: one is damaged, or written by another schema.
    """
    return tuple(
        _read(path, kind)
        for kind in KINDS
        for path in sorted(logs.glob(f"*/{kind}/*/{FILE_NAME}"))
    )


def newest(
    records: Iterable[BenchRecord], question: Callable[[BenchRecord], Hashable]
) -> list[BenchRecord]:
    """The newest whole run of each question of each profile.

    Args:
        records: of one kind, each profile's oldest first.
        question: two runs that have the same are of one question.
    """
    found: dict[Hashable, BenchRecord] = {}
    for record in records:
        if record.end is not None:
            with understood(record):
                key = (record.profile, question(record))
            found.pop(key, None)
            found[key] = record
    return sorted(found.values(), key=lambda record: (record.profile, record.stamp))


@contextmanager
def understood(record: BenchRecord) -> Iterator[None]:
    """What is missing or odd in a record, in one line.

    Raises:
        JournalError: something was.
    """
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise JournalError(
            f"is not what placer writes: {type(error).__name__} {error}",
            path=record.path,
            hint=HINT,
        ) from None


def references(logs: Path) -> tuple[Reference, ...]:
    """What others measured, the latest that was said of each.

    Raises:
        JournalError: the file is damaged.
    """
    path = logs / REFERENCES
    if not path.exists():
        return ()
    records = read_records(path, what="reference", hint=HINT_REFERENCE)
    found: dict[Hashable, Reference] = {}
    for number, said in enumerate(records, start=1):
        try:
            score = float(said["score"]) / 100
            told = {name: str(said[name]) for name in OF_REFERENCE}
            one = Reference(k=int(said["k"]), score=score, **told)
        except (ValueError, TypeError, KeyError):
            raise JournalError(
                "is no reference", path=path, line=number, hint=HINT_REFERENCE
            ) from None
        found[one.name, one.suite, one.k] = one
    return tuple(found.values())


def _read(path: Path, kind: str) -> BenchRecord:
    header, *lines = read_records(path, what="record of a bench", hint=HINT) or ({},)
    if header and header["kind"] != kind:
        raise JournalError(f"has no {kind} line first", path=path, hint=HINT)
    if header and header.get("schema") != SCHEMA:
        raise JournalError(
            f"has schema {header.get('schema')}, this placer reads {SCHEMA}",
            path=path,
            hint="move it away and measure again",
        )
    record = BenchRecord(path=path, kind=kind, header=header, lines=tuple(lines))
    with understood(record):
        _ = header and (record.day, record.is_emulated, record.end)
    return record


def _is_end(line: dict[str, Any]) -> bool:
    return bool(line["kind"] == "end")
