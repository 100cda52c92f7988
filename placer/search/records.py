"""A finished or broken-off search, read back from its journal."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from placer.errors import InputError, JournalError
from placer.search.journal import FILE_NAME, SCHEMA, read_journal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

STEPS = frozenset({"study", "resumed", "launching", "trial", "end"})
OWN_KINDS = (STEPS - {"resumed"}) | {"skipped"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecord:
    """All that a journal says.

    Attributes:
        folder: where it lies.
        header: the ``study`` record: profile, model, workload, devices, engine.
        skipped: strategies that were excluded by formula.
        trials: every answered launch, in order.
        in_flight: records of launches that were under way when placer was killed.
        end: the ``end`` record, None where there is none.
        others: records of other kinds, in order.
    """

    folder: Path
    header: dict[str, Any]
    skipped: tuple[dict[str, Any], ...]
    trials: tuple[dict[str, Any], ...]
    in_flight: tuple[dict[str, Any], ...]
    end: dict[str, Any] | None
    others: tuple[dict[str, Any], ...] = ()

    @property
    def profile(self) -> str:
        """The profile that was searched for."""
        return str(self.header.get("profile", self.folder.parent.name))

    @property
    def unanswered(self) -> tuple[int, ...]:
        """Numbers of the launches that were under way when placer was killed."""
        return tuple(record["number"] for record in self.in_flight)

    @property
    def is_whole(self) -> bool:
        """Whether the search came to its end, and not merely to an end."""
        return self.end is not None and self.end["stopped"] is None

    @property
    def best(self) -> dict[str, Any] | None:
        """The answer: the best trial that was seen to fit, None where none was."""
        number = None if self.end is None else self.end.get("best")
        return next((t for t in self.trials if t["number"] == number), None)

    @property
    def best_so_far(self) -> dict[str, Any] | None:
        """The same, of a search that was broken off too: the fastest that fitted.

        Where nothing was measured the last: a search only goes on to what is better.
        """
        fitting = [t for t in self.trials if t["verdict"] == "FITS"]

        def rank(trial: dict[str, Any]) -> tuple[float, int]:
            return trial.get("decode_tokens_per_s") or 0.0, trial["number"]

        return self.best or max(fitting, key=rank, default=None)


def read_study(folder: Path) -> StudyRecord:
    """The study in a folder.

    Raises:
        JournalError: its journal is damaged, or written by another schema.
    """
    path = folder / FILE_NAME
    records = read_journal(path)
    headers = [r for r in records if r["kind"] == "study"]
    if not headers:
        raise JournalError("has no study line", path=path, hint="move it away")
    if headers[0].get("schema") != SCHEMA:
        raise JournalError(
            f"has schema {headers[0].get('schema')}, this placer reads {SCHEMA}",
            path=path,
            hint="move it away and search again",
        )
    trials = tuple(r for r in records if r["kind"] == "trial")
    # An end that something came after was none: the search went on.
    last = next((r for r in reversed(records) if r["kind"] in STEPS), headers[0])
    return StudyRecord(
        folder=folder,
        header=headers[0],
        skipped=_each_once(r for r in records if r["kind"] == "skipped"),
        trials=trials,
        in_flight=tuple(_unanswered(records)),
        end=last if last["kind"] == "end" else None,
        others=tuple(r for r in records if r["kind"] not in OWN_KINDS),
    )


def _unanswered(records: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Launches without a trial, those that were made again later left out."""
    launched = {r["number"]: r for r in records if r["kind"] == "launching"}
    answered = {r["number"] for r in records if r["kind"] == "trial"}
    yield from (r for number, r in launched.items() if number not in answered)


def _each_once(records: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """A search that went on says again what it excludes."""
    return tuple({json.dumps(r, sort_keys=True): r for r in records}.values())


def study_folders(logs: Path, profile: str | None = None) -> tuple[Path, ...]:
    """The studies under ``logs``, of one profile or of all, oldest first."""
    pattern = f"{profile or '*'}/*/{FILE_NAME}"
    return tuple(sorted(path.parent for path in logs.glob(pattern)))


def latest_proved(logs: Path, profile: str) -> StudyRecord:
    """The newest study of a profile in which something was seen to fit.

    Raises:
        InputError: there is none.
    """
    for folder in reversed(study_folders(logs, profile)):
        study = read_study(folder)
        if study.best_so_far is not None:
            return study
    raise InputError(
        f"no search of {profile!r} under {logs} has found a placement",
        hint=f"run: placer optimize {profile}",
    )
