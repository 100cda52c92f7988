"""Benches of speed on record: what one that was broken off has measured already."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from placer.app.speed_question import Settings
from placer.app.speed_rows import Sample, sample_of
from placer.errors import InputError, JournalError, SearchError
from placer.search.journal import FILE_NAME, read_records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# One folder deeper than searches: what looks for searches does not see it.
FOLDER = KIND = "speed"
RESUMED = "resumed"
# What may be another when a bench goes on.
PASSING = frozenset({"kind", "started", "devices"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """Settings that could not be measured, all of them or some depths.

    Attributes:
        settings: of the launch.
        why: in words.
        exit_code: what it would be an error of.
    """

    settings: Settings
    why: str
    exit_code: int = SearchError.exit_code

    def record(self) -> dict[str, Any]:
        """As the journal and ``--json`` have it."""
        asked = self.settings.record()
        return {"settings": asked, "why": self.why, "exit_code": self.exit_code}


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What a bench has found so far.

    Attributes:
        folder: of its record.
        samples: that were measured.
        unfit: that cannot be measured.
        is_whole: whether there is nothing left to do.
    """

    folder: Path
    samples: tuple[Sample, ...] = ()
    unfit: tuple[Unfit, ...] = ()
    is_whole: bool = False


def past_of(parent: Path, header: Mapping[str, Any]) -> Past | None:
    """The newest bench that asked the same, of the same; None where there is none."""
    for path in sorted(parent.glob(f"*/{FILE_NAME}"), reverse=True):
        try:
            records = read_records(path, what="record of a bench", hint="move it away")
        except JournalError:
            # What is damaged can be measured again.
            continue
        if records and records[0]["kind"] == KIND and _same(records[0], header):
            return _read(path.parent, records)
    return None


def broken_off(parent: Path, header: Mapping[str, Any]) -> Past:
    """The same, where it has not come to its end.

    Raises:
        InputError: there is none, or it is whole.
    """
    past = past_of(parent, header)
    if past is None or past.is_whole:
        raise InputError(
            f"no bench of {header['profile']!r} that asked just this was broken off",
            hint="leave out --resume to begin one",
        )
    return past


def _read(folder: Path, records: Sequence[Mapping[str, Any]]) -> Past:
    last = records[-1]
    return Past(
        folder=folder,
        samples=tuple(sample_of(r) for r in records if r["kind"] == "measured"),
        unfit=tuple(
            Unfit(
                settings=Settings(**r["settings"]),
                why=r["why"],
                exit_code=r["exit_code"],
            )
            for r in records
            if r["kind"] == "unfit"
        ),
        is_whole=last["kind"] == "end" and last["stopped"] is None,
    )


def _same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether both ask the same, of the same model on the same devices."""
    written = json.loads(json.dumps(new))
    return _lasting(old) == _lasting(written)


def _lasting(header: Mapping[str, Any]) -> dict[str, Any]:
    devices = [(one["name"], one["total_bytes"]) for one in header["devices"]]
    lasting = {k: v for k, v in header.items() if k not in PASSING}
    return lasting | {"on": devices}
