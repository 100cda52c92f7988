"""A finished or broken-off search, read back from its journal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from placer.errors import InputError, JournalError
from placer.search.journal import FILE_NAME, SCHEMA, read_journal

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecord:
    """All that a journal says.

    Attributes:
        folder: where it lies.
        header: the ``study`` record: profile, model, workload, devices, engine.
        skipped: strategies that were excluded by formula.
        trials: every answered launch, in order.
        unanswered: numbers of launches that were under way when placer was killed.
        end: the ``end`` record, None where there is none.
    """

    folder: Path
    header: dict[str, Any]
    skipped: tuple[dict[str, Any], ...]
    trials: tuple[dict[str, Any], ...]
    unanswered: tuple[int, ...]
    end: dict[str, Any] | None

    @property
    def profile(self) -> str:
        """The profile that was searched for."""
        return str(self.header.get("profile", self.folder.parent.name))

    @property
    def best(self) -> dict[str, Any] | None:
        """The largest trial that was seen to fit, None where none was."""
        number = None if self.end is None else self.end.get("best")
        return next((t for t in self.trials if t["number"] == number), None)

    @property
    def best_so_far(self) -> dict[str, Any] | None:
        """The same, of a search that was broken off too: the last that fitted.

        A search only goes on to what is better.
        """
        fitting = [t for t in self.trials if t["verdict"] == "FITS"]
        return self.best or (fitting[-1] if fitting else None)


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
    answered = {t["number"] for t in trials}
    launched = [r["number"] for r in records if r["kind"] == "launching"]
    ends = [r for r in records if r["kind"] == "end"]
    return StudyRecord(
        folder=folder,
        header=headers[0],
        skipped=tuple(r for r in records if r["kind"] == "skipped"),
        trials=trials,
        unanswered=tuple(n for n in launched if n not in answered),
        end=ends[-1] if ends else None,
    )


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
